//! Names of partitions (CONTRACT 11). Many keys normalise to one name, and Postgres cuts names at 63 bytes, so a name is
//! chosen from a list of candidates: the first that no other key has taken. The registry table `partition_names`
//! remembers the choice.

use sha2::{Digest, Sha256};

/// Bytes of a name that Postgres keeps.
const LONGEST: usize = 63;
/// Hex digits of a key's hash, to begin with; more when even those are taken.
const DIGITS: std::ops::RangeInclusive<usize> = 8..=40;

/// The names that `keys` under `prefix` may have, best first. The last key is the one that is being named, those before
/// it lead to its parent.
pub fn candidates<'a>(prefix: &str, keys: &[&'a str]) -> impl Iterator<Item = String> + use<'a> {
    let (parents, key) = match keys.split_last() {
        Some((key, parents)) => (parents, *key),
        None => (keys, ""),
    };
    let head = parents.iter().fold(prefix.to_owned(), |name, parent| {
        let part = normalise(parent);
        format!("{name}_{}", if part.is_empty() { digits(parent, *DIGITS.start()) } else { part })
    });
    let part = normalise(key);
    let plain = (!part.is_empty()).then(|| format!("{head}_{part}")).filter(|name| is_usable(name));
    let stem = if part.is_empty() { head } else { format!("{head}_{part}") };
    plain.into_iter().chain(DIGITS.map(move |count| {
        let kept = LONGEST.saturating_sub(count + 1);
        format!("{}_{}", stem.get(..kept).unwrap_or(&stem), digits(key, count))
    }))
}

/// Lower-cased, and only `a-z0-9` of it.
#[must_use]
pub fn normalise(key: &str) -> String {
    key.to_lowercase().chars().filter(|c| matches!(c, 'a'..='z' | '0'..='9')).collect()
}

/// Whether a table can be made for a key at all.
#[must_use]
pub fn is_key(key: &str) -> bool {
    !key.trim().is_empty() && key.chars().count() <= 120
}

/// Postgres itself calls the index of a partition's primary key `<partition>_pkey`.
fn is_usable(name: &str) -> bool {
    name.len() <= LONGEST && !name.ends_with("_pkey")
}

fn digits(key: &str, count: usize) -> String {
    let hash = Sha256::digest(key.as_bytes());
    hash.iter()
        .flat_map(|byte| [byte >> 4, byte & 15])
        .filter_map(|n| char::from_digit(n.into(), 16))
        .take(count)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn first(prefix: &str, keys: &[&str]) -> String {
        candidates(prefix, keys).next().expect("there is always a candidate")
    }

    #[test]
    fn parts_are_lower_cased_and_stripped() {
        assert_eq!(first("i_p", &["yellow_dot"]), "i_p_yellowdot");
        assert_eq!(first("i_p", &["yellow_dot", "Student-1"]), "i_p_yellowdot_student1");
        assert_eq!(first("a_p", &["yellow_dot", "connect"]), "a_p_yellowdot_connect");
    }

    #[test]
    fn a_taken_name_gets_digits_of_the_exact_key() {
        let mut names = candidates("a_p", &["yellow_dot", "act-one"]);
        assert_eq!(names.next().as_deref(), Some("a_p_yellowdot_actone"));
        // printf act-one | sha256sum
        assert_eq!(names.next().as_deref(), Some("a_p_yellowdot_actone_48a2e093"));
        let third = names.next().expect("a longer one");
        assert!(third.starts_with("a_p_yellowdot_actone_48a2e093") && third.len() == "a_p_yellowdot_actone_".len() + 9);
    }

    #[test]
    fn a_key_of_which_nothing_is_left_is_named_by_digits() {
        let domain = first("i_p", &["yellow_dot", "हिन्दी"]);
        assert!(domain.starts_with("i_p_yellowdot_") && domain.len() == "i_p_yellowdot_".len() + 8, "{domain}");
        let network = first("i_p", &["हिन्दी"]);
        assert_eq!(network.len(), "i_p_".len() + 8);
        assert_eq!(first("i_p", &["हिन्दी", "tutor"]), format!("{network}_tutor"));
    }

    #[test]
    fn long_names_are_cut_to_63_bytes_and_stay_distinct() {
        let (one, two) = ("a".repeat(120), format!("{}b", "a".repeat(119)));
        let (one, two) = (first("e_p", &["yellow_dot", &one]), first("e_p", &["yellow_dot", &two]));
        assert_eq!((one.len(), two.len()), (63, 63));
        assert_ne!(one, two);
        assert!(candidates("e_p", &["n", &"x".repeat(120)]).all(|name| name.len() <= 63));
    }

    #[test]
    fn the_primary_key_index_keeps_its_name() {
        assert!(first("i_p", &["yellow_dot", "pkey"]).starts_with("i_p_yellowdot_pkey_"));
    }

    #[test]
    fn keys_are_not_blank_and_at_most_120_characters() {
        assert!(is_key("a") && is_key(&"ह".repeat(120)));
        assert!(!is_key("") && !is_key("  ") && !is_key(&"a".repeat(121)));
    }
}
