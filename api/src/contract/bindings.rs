//! Which pairs of network and domain this instance serves (`SERVED_DOMAINS`, CONTRACT 9.1).

use std::fmt;

/// One served pair.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Binding {
    /// Network id.
    pub network: String,
    /// Domain id.
    pub domain: String,
}

impl fmt::Display for Binding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.network, self.domain)
    }
}

/// Entries of `SERVED_DOMAINS` that are no pairs, all of them.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("expected network/domain, each of lower-case letters, digits and _, instead of {}", quoted(.entries))]
pub struct BindingsError {
    /// The entries as written.
    pub entries: Vec<String>,
}

fn quoted(entries: &[String]) -> String {
    entries.iter().map(|entry| format!("{entry:?}")).collect::<Vec<_>>().join(", ")
}

/// Parses the comma list; blanks are trimmed, duplicates dropped, the order is kept.
///
/// # Errors
/// [`BindingsError`] with every entry that is not a pair, an empty one included.
pub fn parse_bindings(text: &str) -> Result<Vec<Binding>, BindingsError> {
    let mut bindings = Vec::new();
    let mut entries = Vec::new();
    for entry in text.split(',').map(str::trim) {
        match entry.split_once('/') {
            Some((network, domain)) if is_name(network.trim()) && is_name(domain.trim()) => {
                let binding = Binding { network: network.trim().to_owned(), domain: domain.trim().to_owned() };
                if !bindings.contains(&binding) {
                    bindings.push(binding);
                }
            }
            _ => entries.push(entry.to_owned()),
        }
    }
    if entries.is_empty() { Ok(bindings) } else { Err(BindingsError { entries }) }
}

fn is_name(text: &str) -> bool {
    text.starts_with(|first: char| first.is_ascii_lowercase())
        && text.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn order_is_kept_and_duplicates_go() {
        let bindings = parse_bindings(" b/x ,a/y_1,b/x, a / z").unwrap();
        let texts: Vec<_> = bindings.iter().map(ToString::to_string).collect();
        assert_eq!(texts, ["b/x", "a/y_1", "a/z"]);
    }

    #[test]
    fn every_bad_entry_is_named() {
        let error = parse_bindings("a/b,,A/b,a,a/b/c,1a/b,a/,a/b-c").unwrap_err();
        assert_eq!(error.entries, ["", "A/b", "a", "a/b/c", "1a/b", "a/", "a/b-c"]);
        assert!(error.to_string().contains("\"A/b\""));
        assert!(parse_bindings("").is_err());
    }
}
