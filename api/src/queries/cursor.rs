//! Cursors: the sort key of a page's last row, with the point in each log that the walk started from. Rows that were made,
//! or moved, after that point are not in the walk, so nothing is repeated and nothing that existed throughout is skipped.

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::{DateTime, Datelike};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use uuid::Uuid;

use super::QueryError;
use crate::commands::payload::timestamp;

/// A cursor is at most so many bytes.
pub const MAX_BYTES: usize = 1024;

/// Where each log stood when the walk began: the start of its epoch, and the position that was projected.
pub type Bounds = BTreeMap<String, (String, i64)>;

/// What a sort key is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyType {
    /// ISO 8601.
    Time,
    /// 32 bits.
    Integer,
    /// An id.
    Uuid,
}

impl KeyType {
    /// As Postgres calls it.
    pub(super) const fn sql(self) -> &'static str {
        match self {
            Self::Time => "timestamptz",
            Self::Integer => "int",
            Self::Uuid => "uuid",
        }
    }

    /// Whether we could have written it. Other spellings that we would understand may be none to Postgres, such as an
    /// offset of 20 hours.
    fn reads(self, text: &str) -> bool {
        match self {
            // A leap second is beyond what a log records.
            Self::Time => DateTime::parse_from_rfc3339(text).is_ok_and(|time| {
                let leaps = time.timestamp_subsec_nanos() >= 1_000_000_000;
                (1..=9999).contains(&time.year()) && !leaps && timestamp(time.to_utc()) == text
            }),
            Self::Integer => text.parse::<i32>().is_ok_and(|number| number.to_string() == text),
            Self::Uuid => Uuid::try_parse(text).is_ok_and(|id| id.to_string() == text),
        }
    }
}

/// A readable cursor.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Cursor {
    /// Digest of the filters that it belongs to.
    #[serde(rename = "f")]
    filters: String,
    /// Where the walk began.
    #[serde(rename = "b")]
    pub bounds: Bounds,
    /// Sort key of the last row: its times, then its id.
    #[serde(rename = "k")]
    pub key: Vec<String>,
}

impl Cursor {
    /// A cursor after a row with the sort key `key`.
    #[must_use]
    pub fn after(filters: &impl std::fmt::Debug, bounds: Bounds, key: Vec<String>) -> Self {
        Self { filters: digest(filters), bounds, key }
    }

    /// As it goes out.
    ///
    /// # Errors
    /// Only when it can't be written as JSON.
    pub fn encode(&self) -> Result<String, serde_json::Error> {
        Ok(URL_SAFE_NO_PAD.encode(serde_json::to_vec(self)?))
    }

    /// Reads a cursor; `filters` must be those it was made for, and `keys` the types of its sort keys.
    ///
    /// # Errors
    /// [`QueryError::Cursor`] when it is not readable, or of another query.
    pub fn decode(text: &str, filters: &impl std::fmt::Debug, keys: &[KeyType]) -> Result<Self, QueryError> {
        if text.len() > MAX_BYTES {
            return Err(QueryError::Cursor);
        }
        let bytes = URL_SAFE_NO_PAD.decode(text).map_err(|_| QueryError::Cursor)?;
        let cursor: Self = serde_json::from_slice(&bytes).map_err(|_| QueryError::Cursor)?;
        let keys_fit = cursor.key.len() == keys.len() && cursor.key.iter().zip(keys).all(|(key, kind)| kind.reads(key));
        // No network has such a name, and Postgres takes no such JSON.
        let names_fit = cursor.bounds.keys().all(|network| !network.contains('\0'));
        let fits = cursor.filters == digest(filters) && keys_fit && names_fit;
        if fits { Ok(cursor) } else { Err(QueryError::Cursor) }
    }

    /// Whether the logs are still those of the walk's beginning.
    pub(super) fn check_epochs(&self, now: &Bounds) -> Result<(), QueryError> {
        let same = !self.bounds.is_empty()
            && self.bounds.iter().all(|(network, (epoch, _))| now.get(network).is_some_and(|(e, _)| e == epoch));
        if same { Ok(()) } else { Err(QueryError::Cursor) }
    }
}

fn digest(filters: &impl std::fmt::Debug) -> String {
    let hash = Sha256::digest(format!("{filters:?}"));
    URL_SAFE_NO_PAD.encode(hash.get(..12).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn reads_what_it_wrote(count in any::<i32>(), position in 0..i64::MAX, filter in ".*") {
            let bounds = Bounds::from([("blue_dot".to_owned(), ("5b1f0c3e".to_owned(), position))]);
            let kinds = [KeyType::Time, KeyType::Integer, KeyType::Uuid];
            let key = vec!["2026-11-21T01:53:13.435Z".to_owned(), count.to_string(), Uuid::new_v4().to_string()];
            let cursor = Cursor::after(&filter, bounds, key);
            let text = cursor.encode().unwrap();
            prop_assert_eq!(&Cursor::decode(&text, &filter, &kinds).unwrap(), &cursor);
            let other = format!("{filter}x");
            prop_assert!(Cursor::decode(&text, &other, &kinds).is_err());
            prop_assert!(Cursor::decode(&text, &filter, &kinds[1..]).is_err());
        }

        #[test]
        fn a_tampered_cursor_is_refused_or_readable(
            network in ".{0,20}", position in any::<i64>(), at in any::<prop::sample::Index>(), to in any::<char>(),
        ) {
            let kinds = [KeyType::Time, KeyType::Uuid];
            let bounds = Bounds::from([(network, ("5b1f0c3e".to_owned(), position))]);
            let key = vec!["2026-11-21T01:53:13.435Z".to_owned(), Uuid::nil().to_string()];
            let mut text: Vec<char> = Cursor::after(&"f", bounds, key).encode().unwrap().chars().collect();
            let at = at.index(text.len());
            text[at] = to;
            let text: String = text.into_iter().collect();
            // Whatever is still read has keys that Postgres reads too, and stays readable.
            if let Ok(cursor) = Cursor::decode(&text, &"f", &kinds) {
                prop_assert!(cursor.key.iter().zip(kinds).all(|(key, kind)| kind.reads(key)));
                prop_assert_eq!(&Cursor::decode(&cursor.encode().unwrap(), &"f", &kinds).unwrap(), &cursor);
            }
        }

        #[test]
        fn a_key_is_read_only_as_we_write_it(id in any::<u128>(), hours in 0..24_u32, count in any::<i32>()) {
            let id = Uuid::from_u128(id);
            let refused = [
                (KeyType::Uuid, id.urn().to_string()),
                (KeyType::Uuid, id.braced().to_string()),
                (KeyType::Uuid, id.simple().to_string()),
                (KeyType::Time, format!("2026-11-21T01:53:13.435+{hours:02}:00")),
                (KeyType::Time, "2026-11-21T01:53:60.000Z".to_owned()),
                (KeyType::Time, "2026-11-21t01:53:13.435z".to_owned()),
                (KeyType::Integer, format!("0{count}")),
                (KeyType::Integer, (i64::from(count) + (1 << 33)).to_string()),
            ];
            for (kind, text) in refused {
                prop_assert!(!kind.reads(&text), "{text}");
            }
            prop_assert!(KeyType::Uuid.reads(&id.to_string()) && KeyType::Integer.reads(&count.to_string()));
        }

        #[test]
        fn garbage_is_refused(text in ".*", key in "[^0-9-].*") {
            prop_assert!(Cursor::decode(&text, &"f", &[KeyType::Time]).is_err());
            let cursor = Cursor::after(&"f", Bounds::new(), vec![key]);
            for kind in [KeyType::Time, KeyType::Integer] {
                prop_assert!(Cursor::decode(&cursor.encode().unwrap(), &"f", &[kind]).is_err());
            }
        }
    }
}
