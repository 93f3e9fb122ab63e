//! Several events of one lane in one request: `POST /api/v1/event/store/batch` (CONTRACT 4.14a). Written here, and its
//! answer judged: event by event if the peer speaks about events, as a whole otherwise. An answer that does not fit what
//! was sent settles nothing.

use bytes::Bytes;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use url::Url;
use uuid::Uuid;

use crate::body::EventBody;
use crate::capability::Limits;
use crate::lane::Outcome;
use crate::outcome::{LONGEST_CODE, LONGEST_MESSAGE, Verdict, cut, judge_whole};
use crate::peer::{PeerAnswer, PeerClient, PeerError};

const EVENT_STORE_BATCH: &str = "/api/v1/event/store/batch";
/// Most withdrawn numbers in one batch; more go with the next.
pub(crate) const WITHDRAWN: usize = 500;
/// What one withdrawn number may take: nineteen digits and a comma.
const SEQ_BYTES: usize = 20;
/// Around each event: `{"seq":,"event":},` and the number.
const FRAME_BYTES: usize = 18 + SEQ_BYTES;

/// Which lane a batch is of.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Head<'a> {
    /// We, as our signature calls us.
    pub(crate) origin: &'a str,
    /// The target items' network.
    pub(crate) network: &'a str,
    /// The receiver, as the lane is keyed.
    pub(crate) destination: &'a str,
    /// Epoch of the log.
    pub(crate) epoch: Uuid,
}

/// An event that is ready to go.
#[derive(Debug, Clone)]
pub(crate) struct Outgoing {
    /// Its number in the lane.
    pub(crate) seq: i64,
    /// It was parked before.
    pub(crate) again: bool,
    /// When it was recorded.
    pub(crate) recorded_at: DateTime<Utc>,
    /// What is sent.
    pub(crate) body: EventBody,
}

/// How many of the first events fit one batch. None: the very first is too large for any.
pub(crate) fn fitting(events: &[Outgoing], withdrawn: usize, limits: Limits) -> Option<usize> {
    // Room for the head, whose URLs and network may be as long as they like.
    const HEAD_BYTES: usize = 8 * 1024;
    let mut left = limits.bytes.saturating_sub(HEAD_BYTES + withdrawn * SEQ_BYTES);
    let mut count = 0;
    for event in events.iter().take(limits.events) {
        let size = event.body.json.len() + FRAME_BYTES;
        if size > left {
            break;
        }
        left -= size;
        count += 1;
    }
    (count > 0).then_some(count)
}

#[derive(Serialize)]
struct Body<'a> {
    origin_instance_domain: &'a str,
    network: &'a str,
    destination: &'a str,
    epoch: Uuid,
    events: Vec<Entry<'a>>,
    withdrawn: &'a [i64],
}

#[derive(Serialize)]
struct Entry<'a> {
    seq: i64,
    event: &'a RawValue,
}

/// Writes a batch.
pub(crate) fn write(head: Head<'_>, events: &[Outgoing], withdrawn: &[i64]) -> Result<Bytes, serde_json::Error> {
    let mut entries = Vec::with_capacity(events.len());
    for event in events {
        entries.push(Entry { seq: event.seq, event: serde_json::from_slice(&event.body.json)? });
    }
    let body = Body {
        origin_instance_domain: head.origin,
        network: head.network,
        destination: head.destination,
        epoch: head.epoch,
        events: entries,
        withdrawn,
    };
    Ok(Bytes::from(serde_json::to_vec(&body)?))
}

/// What became of a batch.
#[derive(Debug)]
pub(crate) enum Answer {
    /// The peer spoke about each event, in order, and told its mark. After a `retry` nothing counts any more.
    Judged {
        /// One verdict per event, up to and with the first `retry`.
        verdicts: Vec<Verdict>,
        /// Every number up to it has arrived there, or never will.
        high_water: i64,
    },
    /// The peer's application refuses the form: perhaps one event that it can't read spoils it. Alone each gets its own
    /// answer.
    Refused(Verdict),
    /// The lane's matter: not let in, or not now.
    Failed(Verdict),
}

/// Sends a batch and judges the answer.
pub(crate) async fn deliver(
    client: &PeerClient,
    url: &Url,
    body: Bytes,
    seqs: &[i64],
    now: impl Fn() -> DateTime<Utc>,
) -> Answer {
    let answer = client.post(url, EVENT_STORE_BATCH, body, &[]).await;
    judge(&answer, seqs, now())
}

#[derive(Deserialize)]
struct Told {
    results: Vec<ToldResult>,
    high_water: i64,
}

#[derive(Deserialize)]
struct ToldResult {
    seq: i64,
    outcome: ToldOutcome,
    status: Option<u16>,
    error: Option<String>,
    message: Option<String>,
}

#[derive(Deserialize, Clone, Copy, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
enum ToldOutcome {
    Stored,
    Duplicate,
    Conflict,
    Rejected,
    Retry,
}

fn judge(answer: &Result<PeerAnswer, PeerError>, seqs: &[i64], now: DateTime<Utc>) -> Answer {
    if let Ok(answer) = answer
        && answer.status == 200
        && let Ok(told) = serde_json::from_slice::<Told>(&answer.body)
        && told.results.iter().map(|result| result.seq).eq(seqs.iter().copied())
        && told.high_water >= 0
    {
        return Answer::Judged { verdicts: verdicts(told.results), high_water: told.high_water };
    }
    let verdict = judge_whole(answer, now);
    match (answer, verdict.outcome) {
        (Ok(PeerAnswer { status: 400 | 413 | 422, .. }), Outcome::Parked) => Answer::Refused(verdict),
        (_, Outcome::Refused | Outcome::BackedOff { .. }) => Answer::Failed(verdict),
        // It speaks, but of no event of ours.
        (_, Outcome::Parked | Outcome::Delivered) => Answer::Failed(verdict.backed_off_instead()),
    }
}

fn verdicts(results: Vec<ToldResult>) -> Vec<Verdict> {
    let mut verdicts = Vec::with_capacity(results.len());
    for result in results {
        let outcome = match result.outcome {
            ToldOutcome::Stored | ToldOutcome::Duplicate => Outcome::Delivered,
            ToldOutcome::Conflict | ToldOutcome::Rejected => Outcome::Parked,
            ToldOutcome::Retry => Outcome::BackedOff { retry_after: None },
        };
        let said = |otherwise: &str| match outcome {
            Outcome::BackedOff { .. } => Some(otherwise.to_owned()),
            _ => None,
        };
        verdicts.push(Verdict {
            outcome,
            conflict: result.outcome == ToldOutcome::Conflict,
            status: Some(result.status.unwrap_or(200)),
            error: result.error.map(|code| cut(&code, LONGEST_CODE)).or_else(|| said("retry")),
            message: result
                .message
                .map(|text| cut(&text, LONGEST_MESSAGE))
                .or_else(|| said("The peer asks us to try again.")),
        });
        if result.outcome == ToldOutcome::Retry {
            break;
        }
    }
    verdicts
}

#[cfg(test)]
mod tests {
    use reqwest::header::HeaderMap;
    use serde_json::{Value, json};

    use super::*;
    use crate::outcome::EventIdentity;

    const SEQS: &[i64] = &[4, 5];

    fn event(bytes: usize) -> Outgoing {
        let json = Bytes::from(format!("\"{}\"", "x".repeat(bytes - 2)));
        let body = EventBody { identity: EventIdentity { action_id: Uuid::nil(), update_count: 0 }, json };
        Outgoing { seq: i64::MAX, again: false, recorded_at: DateTime::UNIX_EPOCH, body }
    }

    fn answered(status: u16, body: &str) -> Answer {
        let body = Bytes::copy_from_slice(body.as_bytes());
        judge(&Ok(PeerAnswer { status, headers: HeaderMap::new(), body }), SEQS, DateTime::UNIX_EPOCH)
    }

    fn results(outcomes: &[(i64, &str)], high_water: &Value) -> String {
        let results: Vec<Value> = outcomes.iter().map(|(seq, o)| json!({"seq": seq, "outcome": o})).collect();
        json!({"results": results, "high_water": high_water}).to_string()
    }

    fn outcomes(answer: Answer) -> Vec<&'static str> {
        match answer {
            Answer::Judged { verdicts, .. } => verdicts.iter().map(|verdict| verdict.outcome.as_str()).collect(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn each_event_has_its_own_outcome() {
        let told = |a, b| outcomes(answered(200, &results(&[(4, a), (5, b)], &json!(5))));
        assert_eq!(told("stored", "duplicate"), ["delivered", "delivered"]);
        assert_eq!(told("rejected", "conflict"), ["parked", "parked"]);
        assert_eq!(told("stored", "retry"), ["delivered", "backed_off"]);
        assert_eq!(told("retry", "stored"), ["backed_off"], "nothing counts after a retry");
    }

    #[test]
    fn garbage_settles_nothing() {
        let good = [(4, "stored"), (5, "stored")];
        for body in [
            results(&good[..1], &json!(5)),
            results(&[(5, "stored"), (4, "stored")], &json!(5)),
            results(&[(4, "stored"), (5, "eaten")], &json!(5)),
            results(&[(4, "stored"), (5, "stored"), (6, "stored")], &json!(6)),
            results(&good, &json!(-1)),
            results(&good, &json!("5")),
            results(&good, &Value::Null),
            r#"{"results":[]}"#.to_owned(),
            r#"{"event_id":null}"#.to_owned(),
            r#"{"conflict":true}"#.to_owned(),
            "<html>".to_owned(),
        ] {
            let answer = answered(200, &body);
            let Answer::Failed(verdict) = answer else { panic!("{body}: {answer:?}") };
            assert_eq!(verdict.outcome.as_str(), "backed_off", "{body}");
        }
        assert!(matches!(answered(201, &results(&good, &json!(5))), Answer::Failed(_)));
    }

    #[test]
    fn a_refusal_is_about_us_or_about_the_form() {
        let refused = |status, code| match answered(status, &json!({"error": code}).to_string()) {
            Answer::Failed(verdict) => verdict.outcome.as_str(),
            Answer::Refused(_) => "form",
            other => panic!("{other:?}"),
        };
        for status in [400, 413, 422] {
            assert_eq!(refused(status, "INVALID_JSON"), "form");
        }
        assert_eq!(refused(401, "PEER_SIGNATURE_REQUIRED"), "refused");
        assert_eq!(refused(403, "PEER_NOT_REGISTERED"), "refused");
        assert_eq!(refused(403, "NO"), "refused");
        for status in [404, 405, 409, 415, 429, 500, 503] {
            assert_eq!(refused(status, "X"), "backed_off", "{status}");
        }
        assert!(matches!(answered(400, "<html>"), Answer::Failed(_)));
    }

    #[test]
    fn a_batch_is_bounded_in_events_and_in_bytes() {
        let limits = Limits::default();
        let many = |count, bytes| -> Vec<Outgoing> { (0..count).map(|_| event(bytes)).collect() };
        assert_eq!(fitting(&many(60, 100), 0, limits), Some(50));
        assert_eq!(fitting(&many(5, 100_000), 0, limits), Some(2));
        assert_eq!(fitting(&[event(262_144)], 0, limits), None);
        assert_eq!(fitting(&[], 0, limits), None);
        let head = Head { origin: "https://b.example.org", network: "n", destination: "d", epoch: Uuid::nil() };
        let events = many(50, 5_000);
        let withdrawn: Vec<i64> = (0..500).map(|n| i64::MAX - n).collect();
        let count = fitting(&events, withdrawn.len(), limits).unwrap();
        assert!(count < 50);
        assert!(write(head, &events[..count], &withdrawn).unwrap().len() <= limits.bytes);
    }
}
