//! Fetches one JSON document. What a document names is fetched under the guard of peer calls (CONTRACT 8.2); what the
//! operator has configured may also stand on a private address.

use std::time::Duration;

use dpg_mirror::{Guard, PeerClient, PeerClientError, PeerError, PeerOptions};
use serde_json::Value;
use url::Url;

/// Largest document, in bytes.
const MAX_BYTES: usize = 4 * 1024 * 1024;

/// Why there is no document.
#[derive(Debug, thiserror::Error)]
pub(super) enum FetchError {
    #[error("no answer")]
    NoAnswer(#[source] PeerError),
    #[error("its address is one that outgoing calls may not reach")]
    Refused,
    #[error("it did not come in time")]
    Timeout,
    #[error("the document is larger than 4 MiB")]
    TooLarge,
    #[error("the answer has status {0}")]
    Status(u16),
    #[error("the answer is not JSON")]
    NotJson(#[source] serde_json::Error),
    #[error("a text in it contains U+0000")]
    Nul,
    #[error("the contract names more than {0} documents")]
    TooMany(usize),
}

/// Who asks for a document.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NamedBy {
    /// The operator's settings.
    Settings,
    /// Another document.
    Document,
}

/// Fetches documents.
#[derive(Debug, Clone)]
pub(super) struct Fetcher {
    configured: PeerClient,
    named: PeerClient,
}

impl Fetcher {
    pub(super) fn new(timeout: Duration, guard: Guard) -> Result<Self, PeerClientError> {
        // These are no calls to peers, so they are not signed.
        let client = |guard| {
            let client = PeerClient::new(PeerOptions { timeout, guard, signer: None })?;
            Ok(client.with_max_answer(MAX_BYTES))
        };
        Ok(Self { configured: client(Guard::open())?, named: client(guard)? })
    }

    pub(super) async fn get(&self, url: &Url, named_by: NamedBy) -> Result<Value, FetchError> {
        let client = if named_by == NamedBy::Settings { &self.configured } else { &self.named };
        let path = match url.query() {
            Some(query) => format!("{}?{query}", url.path()),
            None => url.path().to_owned(),
        };
        let answer = client.get(url, &path, &[("accept", "application/json")]).await.map_err(|error| match error {
            PeerError::RefusedAddress(_) => FetchError::Refused,
            PeerError::Timeout => FetchError::Timeout,
            PeerError::TooLarge { .. } => FetchError::TooLarge,
            error => FetchError::NoAnswer(error),
        })?;
        if !(200..300).contains(&answer.status) {
            return Err(FetchError::Status(answer.status));
        }
        let document = serde_json::from_slice(&answer.body).map_err(FetchError::NotJson)?;
        // The contract in force is kept in Postgres, whose texts can't hold it.
        if has_nul(&document) { Err(FetchError::Nul) } else { Ok(document) }
    }
}

fn has_nul(value: &Value) -> bool {
    match value {
        Value::String(text) => text.contains('\0'),
        Value::Array(values) => values.iter().any(has_nul),
        Value::Object(object) => object.iter().any(|(key, value)| key.contains('\0') || has_nul(value)),
        _ => false,
    }
}
