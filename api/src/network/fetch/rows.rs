//! What a peer may say (CONTRACT 6 step 9): counts, and rows that are items of the pair in every respect. Nothing that the
//! contract does not name gets through, a private state least of all. An item's state is passed on as the peer wrote it.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::value::RawValue;
use uuid::Uuid;

use crate::commands::payload::timestamp;
use crate::contract::InstanceUrl;

/// The answer of `count_local`.
#[derive(Deserialize)]
struct Counted {
    count: i64,
}

/// Reads an object. (Serde would take a list for the fields in their order, too.)
fn object<'j, T: Deserialize<'j>>(text: &'j [u8]) -> Option<T> {
    let first = text.iter().find(|byte| !byte.is_ascii_whitespace());
    if first == Some(&b'{') { serde_json::from_slice(text).ok() } else { None }
}

/// Reads a count; `None` when the answer is something else.
#[must_use]
pub(super) fn count(body: &[u8]) -> Option<i64> {
    let counted: Counted = object(body)?;
    (counted.count >= 0).then_some(counted.count)
}

/// The answer of `fetch_local`, its rows not yet looked at.
#[derive(Deserialize)]
struct Fetched<'j> {
    #[serde(borrow)]
    items: Vec<&'j RawValue>,
    #[serde(default)]
    meta: Option<Meta>,
}

/// What of `meta` counts for going on. Existing peers are not held to it.
#[derive(Deserialize, Default)]
struct Meta {
    /// Absent where a peer knows no cursors, `Some(None)` on the last page of one that does.
    #[serde(default, deserialize_with = "present")]
    next_cursor: Option<Option<String>>,
}

/// How a peer's part goes on after what it gave.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Onward {
    /// By offset: it gives no cursors.
    Offset,
    /// By its cursor.
    Cursor(String),
    /// There is no more.
    End,
}

/// The checked part of an answer.
#[derive(Debug)]
pub(super) struct Checked {
    /// Rows that are good.
    pub(super) rows: Vec<Box<RawValue>>,
    /// Rows that the peer gave, the good and the bad.
    pub(super) given: i64,
    /// Whether a row was no item of the pair.
    pub(super) faulty: bool,
    /// Rows that carry another instance's URL.
    pub(super) foreign: usize,
    /// How to go on.
    pub(super) onward: Onward,
}

/// What is expected of a row.
#[derive(Debug, Clone, Copy)]
pub(super) struct Expected<'a> {
    /// The network asked for.
    pub(super) network: &'a str,
    /// The domain asked for.
    pub(super) domain: &'a str,
    /// The peer.
    pub(super) instance: &'a InstanceUrl,
    /// Rows at most.
    pub(super) limit: i64,
}

/// Checks an answer; `None` when it is none, or holds more rows than were asked for.
#[must_use]
pub(super) fn check(body: &[u8], expected: Expected<'_>) -> Option<Checked> {
    let fetched: Fetched<'_> = object(body)?;
    let given = i64::try_from(fetched.items.len()).ok().filter(|given| *given <= expected.limit)?;
    let onward = match fetched.meta.unwrap_or_default().next_cursor {
        None => Onward::Offset,
        Some(None) => Onward::End,
        // A cursor without rows would never come to an end.
        Some(Some(_)) if given == 0 => Onward::End,
        Some(Some(cursor)) => Onward::Cursor(cursor),
    };
    let mut checked = Checked { rows: Vec::new(), given, faulty: false, foreign: 0, onward };
    for row in fetched.items {
        match item(row, expected) {
            Verdict::Good(row) => checked.rows.push(row),
            Verdict::Foreign => checked.foreign += 1,
            Verdict::Faulty => checked.faulty = true,
        }
    }
    Some(checked)
}

enum Verdict {
    Good(Box<RawValue>),
    Foreign,
    Faulty,
}

/// The item of CONTRACT 3.1: every key has to be there, and no other goes on.
#[derive(Deserialize, Serialize)]
struct Item<'j> {
    item_network: String,
    item_domain: String,
    item_type: String,
    item_id: Uuid,
    item_instance_url: String,
    item_schema_url: String,
    #[serde(borrow)]
    item_state: &'j RawValue,
    #[serde(deserialize_with = "required")]
    item_latitude: Option<f64>,
    #[serde(deserialize_with = "required")]
    item_longitude: Option<f64>,
    created_by: String,
    created_at: Time,
    updated_at: Time,
}

fn item(row: &RawValue, expected: Expected<'_>) -> Verdict {
    let Some(item) = object::<Item<'_>>(row.get().as_bytes()).filter(|item| item.fits(expected)) else {
        return Verdict::Faulty;
    };
    // Existing peers let owners write this field, so it may hold anything.
    if !InstanceUrl::parse(&item.item_instance_url).is_ok_and(|url| url == *expected.instance) {
        return Verdict::Foreign;
    }
    serde_json::value::to_raw_value(&item).map_or(Verdict::Faulty, Verdict::Good)
}

impl Item<'_> {
    fn fits(&self, expected: Expected<'_>) -> bool {
        let same_pair = self.item_network == expected.network && self.item_domain == expected.domain;
        let is_object = self.item_state.get().starts_with('{');
        let coordinates = match (self.item_latitude, self.item_longitude) {
            (None, None) => true,
            (Some(latitude), Some(longitude)) => latitude.abs() <= 90.0 && longitude.abs() <= 180.0,
            _ => false,
        };
        same_pair && is_object && coordinates && !self.item_type.is_empty()
    }
}

/// A time, written in our form whatever ISO 8601 it came in.
struct Time(DateTime<Utc>);

impl<'de> Deserialize<'de> for Time {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let time = DateTime::parse_from_rfc3339(&text).map_err(serde::de::Error::custom)?;
        Ok(Self(time.with_timezone(&Utc)))
    }
}

impl Serialize for Time {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&timestamp(self.0))
    }
}

/// Null is a value here; an absent key is a fault. (Serde alone takes both for `None`.)
fn required<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<f64>, D::Error> {
    Option::deserialize(deserializer)
}

/// Tells null from absent.
fn present<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Option<String>>, D::Error> {
    Option::deserialize(deserializer).map(Some)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    const HERE: &str = "https://b.example.org";

    fn row() -> Value {
        json!({
            "item_network": "yellow_dot", "item_domain": "tutor", "item_type": "profile_1.0",
            "item_id": "019AA3C1-7f20-7b11-8c3d-2f4e5a6b7c8d", "item_instance_url": "https://B.example.org:443/",
            "item_schema_url": "anything", "item_state": {"name": "Ravi", "big": 12345678901234567890123.0},
            "item_latitude": null, "item_longitude": null, "created_by": "ravi",
            "created_at": "2026-11-21T07:23:13.4351+05:30", "updated_at": "2026-11-21T01:53:13.435Z"
        })
    }

    fn checked(answer: &Value) -> Option<Checked> {
        let instance = InstanceUrl::parse(HERE).unwrap();
        let expected = Expected { network: "yellow_dot", domain: "tutor", instance: &instance, limit: 3 };
        check(answer.to_string().as_bytes(), expected)
    }

    fn one(change: impl FnOnce(&mut Value)) -> Checked {
        let mut row = row();
        change(&mut row);
        checked(&json!({"items": [row]})).unwrap()
    }

    #[test]
    fn a_good_row_passes_without_what_the_contract_does_not_name() {
        let checked = one(|row| {
            row["item_private_state"] = json!({"phone": "hidden"});
            row["version"] = json!(3);
        });
        assert!(!checked.faulty && checked.foreign == 0);
        let out: Value = serde_json::from_str(checked.rows[0].get()).unwrap();
        let keys: Vec<_> = out.as_object().unwrap().keys().cloned().collect();
        assert_eq!(keys.len(), 12, "{keys:?}");
        assert_eq!(out["item_id"], "019aa3c1-7f20-7b11-8c3d-2f4e5a6b7c8d");
        assert_eq!(out["created_at"], "2026-11-21T01:53:13.435Z");
        assert!(!checked.rows[0].get().contains("hidden"));
    }

    #[test]
    fn the_state_is_passed_on_as_it_was_written() {
        let text = r#"{"a" : 1.50,"deep":DEEP}"#.replace("DEEP", &format!("{}{}", "[".repeat(120), "]".repeat(120)));
        let mut all = row();
        all["item_state"] = Value::Null;
        let answer =
            json!({"items": [all]}).to_string().replace("\"item_state\":null", &format!("\"item_state\":{text}"));
        let instance = InstanceUrl::parse(HERE).unwrap();
        let expected = Expected { network: "yellow_dot", domain: "tutor", instance: &instance, limit: 3 };
        let checked = check(answer.as_bytes(), expected).unwrap();
        assert!(checked.rows[0].get().contains(&text), "{:?}", checked.rows);
    }

    #[test]
    fn every_key_has_to_be_there_and_of_its_type() {
        for key in row().as_object().unwrap().keys() {
            let without = one(|row| drop(row.as_object_mut().unwrap().remove(key)));
            assert!(without.faulty && without.rows.is_empty(), "without {key}");
            let wrong = one(|row| row[key] = json!([1]));
            assert!(wrong.faulty && wrong.rows.is_empty(), "a list as {key}");
        }
        for (key, value) in [
            ("item_network", json!("other")),
            ("item_domain", json!("student")),
            ("item_type", json!("")),
            ("item_id", json!("1")),
            ("item_state", json!("text")),
            ("item_latitude", json!(1.0)),
            ("created_at", json!("yesterday")),
            ("created_by", json!(null)),
        ] {
            assert!(one(|row| row[key] = value.clone()).faulty, "{key} = {value}");
        }
        let outside = |row: &mut Value| (row["item_latitude"], row["item_longitude"]) = (json!(91), json!(0));
        assert!(one(outside).faulty);
    }

    #[test]
    fn another_instances_row_is_dropped_and_is_no_fault() {
        for url in ["https://c.example.org", "", "anything", "http://b.example.org"] {
            let checked = one(|row| row["item_instance_url"] = json!(url));
            assert!(!checked.faulty && checked.foreign == 1 && checked.rows.is_empty(), "{url}");
            assert_eq!(checked.given, 1);
        }
    }

    #[test]
    fn answers_that_are_none() {
        let too_many = json!({"items": [row(), row(), row(), row()]});
        for answer in [json!({}), json!([]), json!({"items": {}}), json!({"items": null}), json!("x"), too_many] {
            assert!(checked(&answer).is_none(), "{answer}");
        }
        for (answer, expected) in [
            (json!({"count": 5}), Some(5)),
            (json!({"count": 0, "more": 1}), Some(0)),
            (json!({"count": -1}), None),
            (json!({"count": "5"}), None),
            (json!({"count": 1.5}), None),
            (json!({"count": null}), None),
            (json!([5]), None),
        ] {
            assert_eq!(count(answer.to_string().as_bytes()), expected, "{answer}");
        }
        assert_eq!(count(b"<html>"), None);
    }

    #[test]
    fn a_peer_says_how_to_go_on() {
        let onward = |meta: Value| checked(&json!({"items": [row()], "meta": meta})).unwrap().onward;
        assert_eq!(onward(json!({"total": 1})), Onward::Offset);
        assert_eq!(onward(Value::Null), Onward::Offset);
        assert_eq!(onward(json!({"next_cursor": null})), Onward::End);
        assert_eq!(onward(json!({"next_cursor": "abc"})), Onward::Cursor("abc".to_owned()));
        let endless = checked(&json!({"items": [], "meta": {"next_cursor": "abc"}})).unwrap();
        assert_eq!(endless.onward, Onward::End);
    }
}
