//! The cursor of a walk over several instances: which of them have not come to their end, and where those that have begun
//! go on. An instance that failed on its turn keeps its place. However many there are, the text stays within 1 KiB.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::queries::cursor::MAX_BYTES;

/// Where an instance goes on.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Place {
    /// Rows that it has given so far: its offset, as far as there is no cursor.
    pub(super) given: i64,
    /// Its own `next_cursor`.
    pub(super) cursor: Option<String>,
}

/// A walk: the places of the instances in document order, `None` for those that have come to their end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Walk(pub(super) Vec<Option<Place>>);

#[derive(Serialize, Deserialize)]
struct Written {
    /// Digest of the query and the instances that it belongs to.
    #[serde(rename = "f")]
    query: String,
    /// One bit for each instance, the lowest first: set where it has not ended.
    #[serde(rename = "u")]
    unfinished: String,
    /// The unfinished ones that have given rows: place in document order, rows given, cursor.
    #[serde(rename = "p")]
    begun: Vec<(usize, i64, Option<String>)>,
}

impl Walk {
    /// Whether every instance has come to its end.
    #[must_use]
    pub(super) fn has_ended(&self) -> bool {
        self.0.iter().all(Option::is_none)
    }

    /// As it goes out. What does not fit loses precision, the first instances first, for those have failed the longest
    /// ago: an offset for a cursor, then the beginning for an offset.
    ///
    /// # Errors
    /// Only when it can't be written as JSON.
    pub(super) fn encode(&self, query: &impl std::fmt::Debug) -> Result<String, serde_json::Error> {
        let begun = self.0.iter().enumerate().filter_map(|(instance, place)| {
            let place = place.as_ref().filter(|place| **place != Place::default())?;
            Some((instance, place.given, place.cursor.clone()))
        });
        let mut written =
            Written { query: digest(query), unfinished: URL_SAFE_NO_PAD.encode(self.bits()), begun: begun.collect() };
        loop {
            let text = URL_SAFE_NO_PAD.encode(serde_json::to_vec(&written)?);
            if text.len() <= MAX_BYTES || written.begun.is_empty() {
                return Ok(text);
            }
            match written.begun.iter_mut().find(|(_, _, cursor)| cursor.is_some()) {
                Some((_, _, cursor)) => *cursor = None,
                None => drop(written.begun.remove(0)),
            }
        }
    }

    /// Reads a cursor; `query` must be what it was made for, over so many instances. `None` when it is not.
    #[must_use]
    pub(super) fn decode(text: &str, query: &impl std::fmt::Debug, instances: usize) -> Option<Self> {
        if text.len() > MAX_BYTES {
            return None;
        }
        let written: Written = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(text).ok()?).ok()?;
        let bits = URL_SAFE_NO_PAD.decode(&written.unfinished).ok()?;
        if written.query != digest(query) || bits.len() != instances.div_ceil(8) {
            return None;
        }
        let is_set = |instance: usize| bits.get(instance / 8).is_some_and(|byte| byte & (1 << (instance % 8)) != 0);
        let mut walk = Self((0..instances).map(|instance| is_set(instance).then(Place::default)).collect());
        for (instance, given, cursor) in written.begun {
            let place = walk.0.get_mut(instance)?.as_mut()?;
            if given < 0 || *place != Place::default() {
                return None;
            }
            *place = Place { given, cursor };
        }
        // Nobody is given the cursor of a walk that has ended.
        (!walk.has_ended()).then_some(walk)
    }

    fn bits(&self) -> Vec<u8> {
        let bit = |(index, place): (usize, &Option<Place>)| if place.is_some() { 1 << index } else { 0 };
        self.0.chunks(8).map(|eight| eight.iter().enumerate().map(bit).sum()).collect()
    }
}

fn digest(query: &impl std::fmt::Debug) -> String {
    let hash = Sha256::digest(format!("{query:?}"));
    URL_SAFE_NO_PAD.encode(hash.get(..12).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn place(longest: usize) -> impl Strategy<Value = Option<Place>> {
        let cursor = proptest::option::of(proptest::string::string_regex(&format!(".{{1,{longest}}}")).unwrap());
        proptest::option::of((0..i64::MAX, cursor).prop_map(|(given, cursor)| Place { given, cursor }))
    }

    proptest! {
        #[test]
        fn reads_what_it_wrote(walk in proptest::collection::vec(place(60), 1..5), query in ".{0,20}") {
            let walk = Walk(walk);
            let text = walk.encode(&query).unwrap();
            prop_assert!(text.len() <= MAX_BYTES);
            let read = Walk::decode(&text, &query, walk.0.len());
            prop_assert_eq!(read, (!walk.has_ended()).then_some(walk.clone()));
            prop_assert_eq!(Walk::decode(&text, &format!("{query}x"), walk.0.len()), None);
            prop_assert_eq!(Walk::decode(&text, &query, walk.0.len() + 8), None);
        }

        #[test]
        fn however_many_instances_it_fits_and_forgets_none(
            mut walk in proptest::collection::vec(place(20), 1..150),
            long in place(1100),
        ) {
            walk.push(long);
            let walk = Walk(walk);
            let text = walk.encode(&"q").unwrap();
            prop_assert!(text.len() <= MAX_BYTES, "{}", text.len());
            prop_assume!(!walk.has_ended());
            let read = Walk::decode(&text, &"q", walk.0.len()).unwrap();
            for (read, written) in read.0.iter().zip(&walk.0) {
                prop_assert_eq!(read.is_some(), written.is_some());
                if let (Some(read), Some(written)) = (read, written) {
                    prop_assert!(read.given == written.given || *read == Place::default());
                    prop_assert!(read.cursor.is_none() || read.cursor == written.cursor);
                }
            }
        }

        #[test]
        fn garbage_is_refused_or_means_something(text in ".*", bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            prop_assert_eq!(Walk::decode(&text, &"q", 3), None);
            prop_assert_eq!(Walk::decode(&URL_SAFE_NO_PAD.encode(bytes), &"q", 3), None);
        }

        #[test]
        fn a_tampered_cursor_never_breaks_anything(
            walk in proptest::collection::vec(place(20), 1..10),
            at in 0..2000_usize,
            byte in any::<u8>(),
        ) {
            let mut json = URL_SAFE_NO_PAD.decode(Walk(walk.clone()).encode(&"q").unwrap()).unwrap();
            let length = json.len();
            json[at % length] = byte;
            if let Some(read) = Walk::decode(&URL_SAFE_NO_PAD.encode(json), &"q", walk.len()) {
                prop_assert_eq!(read.0.len(), walk.len());
                prop_assert!(read.0.iter().flatten().all(|place| place.given >= 0));
            }
        }
    }
}
