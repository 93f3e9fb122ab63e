//! What a peer can do: asked at `GET /.well-known/dpg-peer` (CONTRACT 4.14b), once per peer and hour and after a failure.
//! Only peers of our own make answer it; whatever else comes back means the single form, which every peer understands.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use chrono::{DateTime, TimeDelta, Utc};
use serde::Deserialize;
use url::Url;

use crate::peer::{PeerAnswer, PeerClient, PeerError};

const WELL_KNOWN: &str = "/.well-known/dpg-peer";
/// How long an answer holds.
const EVERY: TimeDelta = TimeDelta::hours(1);
/// How long a question without an answer is not asked again: long enough for a peer in trouble, and short enough that one
/// lost packet doesn't cost an hour of batches.
const UNANSWERED: TimeDelta = TimeDelta::minutes(1);

/// Most events in a batch (CONTRACT 4.14a): what we take, and what we send to a peer that takes more.
pub const BATCH_EVENTS: usize = 50;
/// Most bytes of a batch's body, likewise.
pub const BATCH_BYTES: usize = 256 * 1024;

/// How large a peer takes its batches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Events.
    pub events: usize,
    /// Bytes of the body.
    pub bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { events: BATCH_EVENTS, bytes: BATCH_BYTES }
    }
}

#[derive(Deserialize)]
struct Told {
    capabilities: Vec<String>,
    #[serde(default)]
    limits: ToldLimits,
}

#[derive(Default, Deserialize)]
struct ToldLimits {
    batch_events: Option<usize>,
    batch_bytes: Option<usize>,
}

/// What is known of peers, by destination.
#[derive(Debug, Default)]
pub(crate) struct Capabilities {
    known: Mutex<HashMap<String, Known>>,
}

/// What one peer said.
#[derive(Debug, Clone, Copy)]
struct Known {
    limits: Option<Limits>,
    until: DateTime<Utc>,
}

impl Capabilities {
    /// How large a peer takes batches; none when it takes none. `url` is where it is called.
    pub(crate) async fn batches(
        &self,
        client: &PeerClient,
        destination: &str,
        url: &Url,
        now: DateTime<Utc>,
    ) -> Option<Limits> {
        // Unsigned batches are refused, so that without a key there is nothing to ask for.
        client.keyid()?;
        if let Some(known) = self.known().get(destination).filter(|known| now < known.until) {
            return known.limits;
        }
        let answer = client.get(url, WELL_KNOWN, &[]).await;
        let limits = read(&answer);
        tracing::debug!(destination, ?limits, "asked a peer what it can do");
        let until = now + if answers(&answer) { EVERY } else { UNANSWERED };
        self.known().insert(destination.to_owned(), Known { limits, until });
        limits
    }

    /// The peer failed: it may be another one when it is back.
    pub(crate) fn forget(&self, destination: &str) {
        self.known().remove(destination);
    }

    fn known(&self) -> MutexGuard<'_, HashMap<String, Known>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether this is an answer at all: one that asks for patience is none.
fn answers(answer: &Result<PeerAnswer, PeerError>) -> bool {
    answer.as_ref().is_ok_and(|answer| answer.status < 500 && !matches!(answer.status, 408 | 425 | 429))
}

fn read(answer: &Result<PeerAnswer, PeerError>) -> Option<Limits> {
    let answer = answer.as_ref().ok().filter(|answer| answer.status == 200)?;
    let told: Told = serde_json::from_slice(&answer.body).ok()?;
    if !told.capabilities.iter().any(|capability| capability == "event-batch") {
        return None;
    }
    let within = |told: Option<usize>, ours: usize| told.map_or(ours, |told| told.min(ours));
    let limits = Limits {
        events: within(told.limits.batch_events, BATCH_EVENTS),
        bytes: within(told.limits.batch_bytes, BATCH_BYTES),
    };
    // A peer that takes batches of nothing takes none.
    (limits.events > 0 && limits.bytes > 0).then_some(limits)
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use reqwest::header::HeaderMap;
    use serde_json::json;

    use super::*;

    fn told(status: u16, body: &str) -> Option<Limits> {
        read(&Ok(PeerAnswer { status, headers: HeaderMap::new(), body: Bytes::copy_from_slice(body.as_bytes()) }))
    }

    #[test]
    fn only_a_peer_that_says_so_gets_batches() {
        let says = |capabilities: &[&str], limits: serde_json::Value| {
            told(200, &json!({"capabilities": capabilities, "limits": limits, "software": "dpg"}).to_string())
        };
        assert_eq!(says(&["event-batch"], json!({})), Some(Limits::default()));
        assert_eq!(
            says(&["x", "event-batch"], json!({"batch_events": 7})),
            Some(Limits { events: 7, bytes: BATCH_BYTES })
        );
        assert_eq!(says(&["event-batch"], json!({"batch_bytes": 9_999_999})), Some(Limits::default()));
        assert_eq!(says(&["event-batch"], json!({"batch_events": 0})), None);
        assert_eq!(says(&["status-forward"], json!({})), None);
        for body in ["", "{}", "[]", "<html>", r#"{"capabilities":"event-batch"}"#] {
            assert_eq!(told(200, body), None, "{body}");
        }
        assert_eq!(told(404, r#"{"capabilities":["event-batch"]}"#), None);
        assert_eq!(read(&Err(PeerError::Timeout)), None);
    }

    #[test]
    fn a_peer_that_asks_for_patience_has_not_answered() {
        let answered = |status| answers(&Ok(PeerAnswer { status, headers: HeaderMap::new(), body: Bytes::new() }));
        for (status, answers) in [(200, true), (302, true), (404, true), (408, false), (429, false), (503, false)] {
            assert_eq!(answered(status), answers, "{status}");
        }
        assert!(!answers(&Err(PeerError::Timeout)));
    }
}
