//! Why an instance is missing from a network page (CONTRACT 6), told from what its call came to.

use dpg_mirror::{PeerAnswer, PeerError};
use serde::{Deserialize, Serialize};

/// A stable word of the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Reason {
    /// No whole answer in time.
    Timeout,
    /// No connection, or a broken one; an address that may not be called.
    Unreachable,
    /// It does not trust us: 401, 403.
    Refused,
    /// It does not serve the pair, or we don't where the contract names us.
    NotServed,
    /// Any other status.
    HttpError,
    /// A 2xx that is not what the contract says, wholly or in some rows.
    BadResponse,
}

impl Reason {
    /// As on the wire, and as a label of metrics.
    #[must_use]
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Timeout => "timeout",
            Self::Unreachable => "unreachable",
            Self::Refused => "refused",
            Self::NotServed => "not_served",
            Self::HttpError => "http_error",
            Self::BadResponse => "bad_response",
        }
    }

    /// Whether calling again soon would most likely only cost time.
    #[must_use]
    pub(super) const fn is_silence(self) -> bool {
        matches!(self, Self::Timeout | Self::Unreachable)
    }
}

impl From<&PeerError> for Reason {
    fn from(error: &PeerError) -> Self {
        match error {
            PeerError::Timeout => Self::Timeout,
            PeerError::Unreachable(error) if error.is_timeout() => Self::Timeout,
            PeerError::TooLarge { .. } => Self::BadResponse,
            PeerError::Unreachable(_)
            | PeerError::RefusedAddress(_)
            | PeerError::Lost(_)
            | PeerError::Request(_)
            | PeerError::Sign(_) => Self::Unreachable,
        }
    }
}

/// What a status says, `None` for success. Its body is only looked at to tell the two kinds of 403 apart.
#[must_use]
pub(super) fn of_status(answer: &PeerAnswer) -> Option<Reason> {
    match answer.status {
        200..=299 => None,
        403 if is_unserved(&answer.body) => Some(Reason::NotServed),
        401 | 403 => Some(Reason::Refused),
        _ => Some(Reason::HttpError),
    }
}

#[derive(Deserialize)]
struct Refusal {
    error: Option<String>,
    code: Option<String>,
}

fn is_unserved(body: &[u8]) -> bool {
    const UNSERVED: Option<&str> = Some("UNSERVED_DOMAIN_BINDING");
    serde_json::from_slice::<Refusal>(body)
        .is_ok_and(|refusal| refusal.error.as_deref() == UNSERVED || refusal.code.as_deref() == UNSERVED)
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    fn told(status: u16, body: &'static str) -> Option<Reason> {
        let body = Bytes::from_static(body.as_bytes());
        of_status(&PeerAnswer { status, headers: reqwest::header::HeaderMap::new(), body })
    }

    #[test]
    fn statuses_have_their_reasons() {
        assert_eq!(told(200, ""), None);
        assert_eq!(told(401, "{}"), Some(Reason::Refused));
        assert_eq!(told(403, "<html>"), Some(Reason::Refused));
        assert_eq!(told(403, r#"{"error":"PEER_NOT_REGISTERED"}"#), Some(Reason::Refused));
        assert_eq!(told(403, r#"{"error":"UNSERVED_DOMAIN_BINDING"}"#), Some(Reason::NotServed));
        // Another make may have the reason phrase in `error`.
        assert_eq!(told(403, r#"{"error":"Forbidden","code":"UNSERVED_DOMAIN_BINDING"}"#), Some(Reason::NotServed));
        for status in [100, 301, 404, 429, 500, 503] {
            assert_eq!(told(status, "{}"), Some(Reason::HttpError), "{status}");
        }
        let words = [Reason::Timeout, Reason::NotServed, Reason::HttpError, Reason::BadResponse];
        for reason in words {
            assert_eq!(serde_json::to_value(reason).unwrap(), reason.as_str());
        }
    }
}
