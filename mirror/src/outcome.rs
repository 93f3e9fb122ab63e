//! What an answer to one event means: the table of CONTRACT 5.5. An event counts as delivered only if the peer's
//! application says so in JSON, and is parked only if the application speaks about this event; a gateway's page, a
//! redirect or a login form does neither.

use std::time::Duration;

use chrono::{DateTime, Utc};
use dpg_eventstore::Chain;
use reqwest::header::{HeaderMap, RETRY_AFTER};
use serde_json::{Map, Value};
use uuid::Uuid;

use crate::lane::Outcome;
use crate::peer::{PeerAnswer, PeerError};

/// Longest message of a peer that is kept, in characters.
pub(crate) const LONGEST_MESSAGE: usize = 1000;
/// Longest error code of a peer that is kept, in characters.
pub(crate) const LONGEST_CODE: usize = 120;

/// Which event an answer must be about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EventIdentity {
    /// The action.
    pub action_id: Uuid,
    /// Which of its events.
    pub update_count: i32,
}

/// An outcome, and what to tell the operator about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    /// What the lane makes of it.
    pub outcome: Outcome,
    /// Parked because the peer holds another content for this event.
    pub conflict: bool,
    /// The HTTP status, when there was an answer.
    pub status: Option<u16>,
    /// The peer's code, or ours: `timeout`, `unreachable`, `unexpected_answer`, …
    pub error: Option<String>,
    /// For people.
    pub message: Option<String>,
}

impl Verdict {
    /// A fault on our own side: the event stays where it is and is tried again.
    #[must_use]
    pub fn local_fault(error: &str, message: &str) -> Self {
        Self::backed_off(None, error, message, None)
    }

    /// The same words, which settle nothing.
    pub(crate) fn backed_off_instead(self) -> Self {
        let unexpected = Self { outcome: Outcome::BackedOff { retry_after: None }, conflict: false, ..self };
        told(unexpected, "unexpected_answer", "The peer's answer does not fit what was sent.")
    }

    fn backed_off(status: Option<u16>, error: &str, message: &str, retry_after: Option<Duration>) -> Self {
        Self {
            outcome: Outcome::BackedOff { retry_after },
            conflict: false,
            status,
            error: Some(error.to_owned()),
            message: Some(message.to_owned()),
        }
    }
}

/// What an answer has to say of the event that it is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expected {
    /// Nothing: it is about several, or about none.
    Anything,
    /// Nothing against its being about this one: peers of another make may leave out which it was.
    AtMost(EventIdentity),
    /// That it was this one, as peers of our own make do.
    Exactly(EventIdentity),
}

/// Judges what came back for one event.
#[must_use]
pub fn judge(answer: &Result<PeerAnswer, PeerError>, event: Expected, now: DateTime<Utc>) -> Verdict {
    match answer {
        Ok(answer) => judge_answer(answer, event, now),
        Err(error) => judge_silence(error),
    }
}

/// Judges what came back for a batch as if for one event: whether we were let in, and whether the application spoke.
pub(crate) fn judge_whole(answer: &Result<PeerAnswer, PeerError>, now: DateTime<Utc>) -> Verdict {
    match answer {
        // Of whatever a refusal speaks, it is about the sender here.
        Ok(answer) if answer.status == 403 => refused(answer),
        Ok(answer) => judge_answer(answer, Expected::Anything, now),
        Err(error) => judge_silence(error),
    }
}

fn judge_silence(error: &PeerError) -> Verdict {
    let (status, code) = match error {
        PeerError::Timeout => (None, "timeout"),
        PeerError::TooLarge { status } => (Some(*status), "answer_too_large"),
        PeerError::Unreachable(_) | PeerError::RefusedAddress(_) | PeerError::Lost(_) => (None, "unreachable"),
        PeerError::Request(_) | PeerError::Sign(_) => (None, "request_not_made"),
    };
    Verdict::backed_off(status, code, &cut(&Chain(error).to_string(), LONGEST_MESSAGE), None)
}

fn spoken(answer: &PeerAnswer) -> Option<Map<String, Value>> {
    serde_json::from_slice(&answer.body).ok()
}

fn refused(answer: &PeerAnswer) -> Verdict {
    let verdict = in_words_of(answer, spoken(answer).as_ref(), Outcome::Refused, false);
    told(verdict, "refused", "The peer does not let us in.")
}

fn in_words_of(answer: &PeerAnswer, spoken: Option<&Map<String, Value>>, outcome: Outcome, conflict: bool) -> Verdict {
    Verdict {
        outcome,
        conflict,
        status: Some(answer.status),
        error: spoken.and_then(code).map(|code| cut(code, LONGEST_CODE)),
        message: spoken.and_then(|body| text(body, "message")).map(|message| cut(message, LONGEST_MESSAGE)),
    }
}

fn judge_answer(answer: &PeerAnswer, event: Expected, now: DateTime<Utc>) -> Verdict {
    let spoken = spoken(answer);
    let verdict = |outcome, conflict| in_words_of(answer, spoken.as_ref(), outcome, conflict);
    match (answer.status, &spoken) {
        (200..=299, Some(body)) if is_about(body, event) => match body.get("conflict") {
            Some(Value::Bool(true)) => verdict(Outcome::Parked, true),
            _ => verdict(Outcome::Delivered, false),
        },
        (400 | 404 | 409 | 413 | 422, Some(body)) if speaks(body) => verdict(Outcome::Parked, false),
        (403, Some(body)) if speaks(body) && !speaks_of_trust(body) => verdict(Outcome::Parked, false),
        (401 | 403, _) => refused(answer),
        (status, spoken) => {
            let retry_after = retry_after(&answer.headers, now);
            let message = format!(
                "The peer answered {status} with {}.",
                if spoken.is_some() { "a JSON object that settles nothing" } else { "a body that is no JSON object" }
            );
            told(verdict(Outcome::BackedOff { retry_after }, false), "unexpected_answer", &message)
        }
    }
}

/// Fills in what the peer left unsaid.
fn told(mut verdict: Verdict, error: &str, message: &str) -> Verdict {
    verdict.error.get_or_insert_with(|| error.to_owned());
    verdict.message.get_or_insert_with(|| message.to_owned());
    verdict
}

/// The application itself answered, not something in front of it.
fn speaks(body: &Map<String, Value>) -> bool {
    text(body, "error").is_some() || text(body, "message").is_some()
}

/// A trust error is about us, not about the event.
fn speaks_of_trust(body: &Map<String, Value>) -> bool {
    ["code", "error"].into_iter().filter_map(|key| text(body, key)).any(|code| code.starts_with("PEER_"))
}

/// An answer that names another event, or none where one has to be named, is not the answer to what was sent: something
/// in between has spoken.
fn is_about(body: &Map<String, Value>, event: Expected) -> bool {
    let action_id = text(body, "action_id").and_then(|id| Uuid::parse_str(id).ok());
    let update_count = body.get("update_count").and_then(Value::as_i64);
    match event {
        Expected::Anything => true,
        Expected::AtMost(event) => {
            action_id.is_none_or(|id| id == event.action_id)
                && update_count.is_none_or(|count| count == i64::from(event.update_count))
        }
        Expected::Exactly(event) => {
            action_id == Some(event.action_id) && update_count == Some(event.update_count.into())
        }
    }
}

fn code(body: &Map<String, Value>) -> Option<&str> {
    text(body, "error").or_else(|| text(body, "code"))
}

fn text<'a>(body: &'a Map<String, Value>, key: &str) -> Option<&'a str> {
    body.get(key).and_then(Value::as_str)
}

/// Postgres can't store U+0000, and a peer's essay is no use to an operator.
pub(crate) fn cut(text: &str, longest: usize) -> String {
    text.chars().filter(|c| *c != '\0').take(longest).collect()
}

/// `Retry-After` in either form, counted from now. A date in the past says nothing but that the clocks differ: a peer
/// whose clock is behind must not be tried every second for as long as it fails.
fn retry_after(headers: &HeaderMap, now: DateTime<Utc>) -> Option<Duration> {
    let value = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit()) {
        // Too many digits for a number mean "very long", which is bounded later.
        return Some(Duration::from_secs(value.parse().unwrap_or(u64::MAX)));
    }
    let at = DateTime::<Utc>::from(httpdate::parse_http_date(value).ok()?);
    (at - now).to_std().ok()
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    const EVENT: EventIdentity = EventIdentity { action_id: Uuid::from_u128(7), update_count: 3 };
    const HTML: &str = "<html><body>It works!</body></html>";

    fn now() -> DateTime<Utc> {
        DateTime::from_timestamp(1_795_225_984, 0).unwrap()
    }

    fn answered(status: u16, body: &str, retry_after: Option<&str>) -> Verdict {
        let mut headers = HeaderMap::new();
        if let Some(value) = retry_after {
            headers.insert(RETRY_AFTER, value.parse().unwrap());
        }
        let answer = PeerAnswer { status, headers, body: Bytes::copy_from_slice(body.as_bytes()) };
        judge(&Ok(answer), Expected::AtMost(EVENT), now())
    }

    fn outcome(status: u16, body: &str) -> &'static str {
        answered(status, body, None).outcome.as_str()
    }

    #[test]
    fn delivered_only_if_the_application_says_so() {
        let own = format!(r#"{{"event_id":"x","action_id":"{}","update_count":3}}"#, EVENT.action_id);
        for (status, body) in [(201, own.as_str()), (200, "{}"), (201, r#"{"event_id":null}"#), (202, r#"{"a":1}"#)] {
            assert_eq!(outcome(status, body), "delivered", "{status} {body}");
        }
        let other_action = format!(r#"{{"action_id":"{}","update_count":3}}"#, Uuid::from_u128(8));
        for body in [HTML, "", "null", "[]", "\"ok\"", "{", r#"{"update_count":4}"#, other_action.as_str()] {
            assert_eq!(outcome(200, body), "backed_off", "{body}");
        }
        assert_eq!(outcome(204, ""), "backed_off");
        let conflict = format!(r#"{{"action_id":"{}","update_count":3,"conflict":true}}"#, Uuid::from_u128(8));
        assert_eq!(outcome(200, &conflict), "backed_off", "it speaks of another event");
    }

    #[test]
    fn a_peer_of_our_own_make_says_which_event_it_took() {
        let said = |body: String| {
            let answer = PeerAnswer { status: 200, headers: HeaderMap::new(), body: body.into() };
            judge(&Ok(answer), Expected::Exactly(EVENT), now()).outcome.as_str()
        };
        let id = EVENT.action_id;
        assert_eq!(said(format!(r#"{{"action_id":"{id}","update_count":3}}"#)), "delivered");
        assert_eq!(said(format!(r#"{{"action_id":"{id}","update_count":3,"conflict":true}}"#)), "parked");
        let half = [format!(r#"{{"action_id":"{id}"}}"#), r#"{"update_count":3}"#.to_owned()];
        let other = format!(r#"{{"action_id":"{id}","update_count":"3"}}"#);
        for body in half.into_iter().chain([other, "{}".to_owned(), r#"{"conflict":true}"#.to_owned()]) {
            assert_eq!(said(body.clone()), "backed_off", "{body}");
        }
    }

    #[test]
    fn parked_only_if_the_application_speaks_about_the_event() {
        for status in [400, 404, 409, 413, 422, 403] {
            assert_eq!(outcome(status, r#"{"error":"SOURCE_ITEM_NOT_FOUND"}"#), "parked");
            assert_eq!(outcome(status, r#"{"message":"no"}"#), "parked");
            let silent = if status == 403 { "refused" } else { "backed_off" };
            for body in [HTML, "", "{}", r#"{"error":7}"#, "[]"] {
                assert_eq!(outcome(status, body), silent, "{status} {body}");
            }
        }
        let conflict = answered(200, r#"{"conflict":true}"#, None);
        assert_eq!((conflict.outcome, conflict.conflict), (Outcome::Parked, true));
        assert_eq!(outcome(200, r#"{"conflict":false}"#), "delivered");
    }

    #[test]
    fn trust_errors_refuse_the_lane_and_park_nothing() {
        assert_eq!(outcome(401, r#"{"error":"Unauthorized","message":"Sign in."}"#), "refused");
        assert_eq!(outcome(403, r#"{"error":"PEER_NOT_REGISTERED"}"#), "refused");
        assert_eq!(outcome(403, r#"{"error":"Forbidden","code":"PEER_IDENTITY_MISMATCH"}"#), "refused");
    }

    #[test]
    fn everything_else_backs_off() {
        for status in [100, 301, 302, 304, 307, 308, 402, 405, 406, 408, 410, 415, 425, 429, 451, 500, 502, 503, 504] {
            for body in [HTML, "", r#"{"error":"X","message":"y"}"#] {
                assert_eq!(outcome(status, body), "backed_off", "{status}");
            }
        }
        let timeout = judge(&Err(PeerError::Timeout), Expected::AtMost(EVENT), now());
        assert_eq!((timeout.outcome.as_str(), timeout.status), ("backed_off", None));
        assert_eq!(timeout.error.as_deref(), Some("timeout"));
    }

    #[test]
    fn retry_after_is_read_in_both_forms() {
        let wait = |value| match answered(503, "", Some(value)).outcome {
            Outcome::BackedOff { retry_after } => retry_after,
            other => panic!("{other:?}"),
        };
        let at = httpdate::fmt_http_date((now() + Duration::from_secs(90)).into());
        assert_eq!(wait("120"), Some(Duration::from_secs(120)));
        assert_eq!(wait(&at), Some(Duration::from_secs(90)));
        assert_eq!(wait("0"), Some(Duration::ZERO));
        assert_eq!(wait("99999999999999999999999"), Some(Duration::from_secs(u64::MAX)));
        for nonsense in ["", "soon", "-5", "1.5", "Sat, 01 Jan 2000 00:00:00 GMT"] {
            assert_eq!(wait(nonsense), None, "{nonsense}");
        }
    }

    #[test]
    fn what_is_kept_of_a_peers_words_is_short_and_storable() {
        let body = serde_json::json!({"error": "E\0X", "message": "ü".repeat(5000)}).to_string();
        let verdict = answered(422, &body, None);
        assert_eq!(verdict.error.as_deref(), Some("EX"));
        assert_eq!(verdict.message.map(|m| m.chars().count()), Some(1000));
    }
}
