//! Histories that two instances share, compared by digest. Each side sums its events up in 256 buckets, by the last byte
//! of the action's id, which is random; only buckets whose digests differ are then compared event by event. So two
//! healthy sides exchange a few kilobytes, however many events they hold.

use std::collections::BTreeMap;

use dpg_eventstore::Database;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest, Sha256};
use uuid::Uuid;

use crate::commands::payload::parse;
use crate::contract::InstanceUrl;
use crate::http::ApiError;
use crate::queries::QueryError;
use crate::queries::histories::{self, SharedEvent, Side};

/// What a bucket holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bucket {
    /// How many events.
    pub events: u64,
    /// SHA-256 over the digests of its events, ordered by action and count; hexadecimal.
    pub digest: String,
}

/// Buckets by the last two hexadecimal digits of the action's id; empty ones are left out.
pub type Buckets = BTreeMap<String, Bucket>;

/// One event of a bucket.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// Its action.
    pub action_id: Uuid,
    /// Which of the action's events.
    pub update_count: i32,
    /// SHA-256 over what both sides must agree on; hexadecimal.
    pub digest: String,
    /// Its position in our log.
    #[serde(skip)]
    pub position: i64,
}

/// An event on which the two sides do not agree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Difference {
    /// We hold it, the peer doesn't.
    MissingThere(Entry),
    /// The peer holds it, we don't: our log was restored from before it.
    MissingHere(Entry),
    /// Both hold it, with another content.
    Different(Entry),
}

/// The buckets of what is shared with a peer, by all `addresses` that it has had, in a network.
///
/// # Errors
/// As the database says.
pub async fn buckets(
    database: &Database,
    network: &str,
    side: Side,
    addresses: &[InstanceUrl],
) -> Result<Buckets, ApiError> {
    let mut sums: BTreeMap<String, (u64, Sha256)> = BTreeMap::new();
    for_each(database, network, side, None, addresses, |entry| {
        let (events, sum) = sums.entry(bucket_of(entry.action_id)).or_default();
        *events += 1;
        sum.update(entry.digest.as_bytes());
    })
    .await?;
    let bucket = |(events, sum): (u64, Sha256)| Bucket { events, digest: format!("{:x}", sum.finalize()) };
    Ok(sums.into_iter().map(|(name, sum)| (name, bucket(sum))).collect())
}

/// The events of one bucket, ordered by action and count.
///
/// # Errors
/// As the database says.
pub async fn entries(
    database: &Database,
    network: &str,
    side: Side,
    addresses: &[InstanceUrl],
    bucket: &str,
) -> Result<Vec<Entry>, ApiError> {
    let mut entries = Vec::new();
    for_each(database, network, side, Some(bucket), addresses, |entry| entries.push(entry)).await?;
    Ok(entries)
}

async fn for_each(
    database: &Database,
    network: &str,
    side: Side,
    bucket: Option<&str>,
    addresses: &[InstanceUrl],
    mut take: impl FnMut(Entry),
) -> Result<(), ApiError> {
    let mut unreadable = None;
    let read = histories::each(database, network, side, bucket, |event| {
        if !InstanceUrl::parse(&event.peer).is_ok_and(|url| addresses.contains(&url)) {
            return;
        }
        match entry(&event) {
            Ok(entry) => take(entry),
            Err(error) => unreadable = Some(error),
        }
    });
    read.await.map_err(|error: QueryError| ApiError::from(error))?;
    match unreadable {
        Some(error) => Err(ApiError::internal(&error)),
        None => Ok(()),
    }
}

fn entry(event: &SharedEvent) -> serde_json::Result<Entry> {
    let payload: Value = parse(&event.payload)?;
    // Canonical JSON (RFC 8785): the two logs may write one number in two ways.
    let content = serde_json_canonicalizer::to_vec(&serde_json::json!([
        event.action_type,
        event.action_id,
        event.update_count,
        event.action_status,
        payload,
        event.remarks,
    ]))?;
    let digest = format!("{:x}", Sha256::digest(content));
    Ok(Entry { action_id: event.action_id, update_count: event.update_count, digest, position: event.position })
}

/// The buckets that the two sides do not agree on.
#[must_use]
pub fn differing(here: &Buckets, there: &Buckets) -> Vec<String> {
    let mut names: Vec<&String> = here.keys().chain(there.keys()).collect();
    names.sort_unstable();
    names.dedup();
    names.into_iter().filter(|name| here.get(*name) != there.get(*name)).cloned().collect()
}

/// How two lists of one bucket differ, ordered by action and count.
#[must_use]
pub fn compare(here: Vec<Entry>, there: Vec<Entry>) -> Vec<Difference> {
    let key = |entry: &Entry| (entry.action_id, entry.update_count);
    let mut theirs: BTreeMap<(Uuid, i32), Entry> = there.into_iter().map(|entry| (key(&entry), entry)).collect();
    let mut differences = BTreeMap::new();
    for entry in here {
        match theirs.remove(&key(&entry)) {
            None => drop(differences.insert(key(&entry), Difference::MissingThere(entry))),
            Some(other) if other.digest != entry.digest => {
                differences.insert(key(&entry), Difference::Different(entry));
            }
            Some(_) => {}
        }
    }
    differences.extend(theirs.into_iter().map(|(key, entry)| (key, Difference::MissingHere(entry))));
    differences.into_values().collect()
}

/// The bucket of an action.
#[must_use]
pub fn bucket_of(action_id: Uuid) -> String {
    let [.., last] = *action_id.as_bytes();
    format!("{last:02x}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(action: u128, count: i32, digest: &str) -> Entry {
        Entry { action_id: Uuid::from_u128(action), update_count: count, digest: digest.to_owned(), position: 0 }
    }

    #[test]
    fn every_difference_is_named_once_and_in_order() {
        let here = vec![entry(1, 0, "a"), entry(1, 1, "b"), entry(3, 0, "c")];
        let there = vec![entry(1, 0, "a"), entry(1, 1, "x"), entry(2, 0, "d")];
        assert_eq!(
            compare(here.clone(), there),
            [
                Difference::Different(entry(1, 1, "b")),
                Difference::MissingHere(entry(2, 0, "d")),
                Difference::MissingThere(entry(3, 0, "c")),
            ]
        );
        assert!(compare(here.clone(), here).is_empty());
    }

    #[test]
    fn buckets_differ_by_count_digest_and_presence() {
        let bucket = |events, digest: &str| Bucket { events, digest: digest.to_owned() };
        let here = Buckets::from([("00".to_owned(), bucket(1, "a")), ("7f".to_owned(), bucket(2, "b"))]);
        let there = Buckets::from([("00".to_owned(), bucket(1, "a")), ("ff".to_owned(), bucket(1, "c"))]);
        assert_eq!(differing(&here, &there), ["7f", "ff"]);
        assert!(differing(&here, &here).is_empty());
        assert_eq!(bucket_of(Uuid::from_u128(0x1234)), "34");
    }

    #[test]
    fn the_same_number_written_in_two_ways_is_the_same_event() {
        let event = |payload: &str| SharedEvent {
            action_type: "connect".to_owned(),
            action_id: Uuid::nil(),
            update_count: 0,
            action_status: "created".to_owned(),
            payload: RawValue::from_string(payload.to_owned()).unwrap(),
            remarks: None,
            position: 1,
            peer: String::new(),
        };
        use serde_json::value::RawValue;
        let digest = |payload: &str| super::entry(&event(payload)).unwrap().digest;
        assert_eq!(digest(r#"{"b":100.0,"a":1}"#), digest(r#"{"a":1.0,"b":1e2}"#));
        assert_ne!(digest(r#"{"a":1}"#), digest(r#"{"a":2}"#));
    }
}
