//! A tape of what was asked and answered. Whatever a [`Client`](crate::Client) exchanges inside [`Tape::record`] is kept,
//! so that a test can show a failing exchange whole, or search every answer of a run for what must not be there.

use std::fmt;
use std::future::Future;
use std::sync::{Arc, Mutex};

use reqwest::header::HeaderMap;

use crate::Answer;

tokio::task_local! {
    static TAPE: Tape;
}

/// A request and its answer.
#[derive(Debug, Clone)]
pub struct Exchange {
    /// `GET`, `POST`, …
    pub method: String,
    /// Path and query as sent.
    pub path: String,
    /// The request's headers.
    pub headers: HeaderMap,
    /// The request's body as text.
    pub body: String,
    /// What came back.
    pub answer: Answer,
}

impl Exchange {
    /// A header of the request.
    #[must_use]
    pub fn sent(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }
}

impl fmt::Display for Exchange {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let cut = |text: &str| text.chars().take(1500).collect::<String>();
        writeln!(out, "> {}", self.answer.request)?;
        for (name, value) in &self.headers {
            writeln!(out, "> {name}: {}", String::from_utf8_lossy(value.as_bytes()))?;
        }
        writeln!(out, "> {}", cut(&self.body))?;
        writeln!(out, "< {}", self.answer.status)?;
        for (name, value) in &self.answer.headers {
            writeln!(out, "< {name}: {}", String::from_utf8_lossy(value.as_bytes()))?;
        }
        write!(out, "< {}", cut(&self.answer.text))
    }
}

/// What was recorded. Clones share it.
#[derive(Debug, Clone, Default)]
pub struct Tape(Arc<Mutex<Vec<Exchange>>>);

impl Tape {
    /// Runs a future and keeps what it exchanges. Tasks that it spawns are not heard.
    pub async fn record<F: Future>(&self, run: F) -> F::Output {
        TAPE.scope(self.clone(), run).await
    }

    /// What was exchanged so far.
    ///
    /// # Panics
    /// Never: nothing panics while it writes.
    #[must_use]
    pub fn exchanges(&self) -> Vec<Exchange> {
        self.0.lock().expect("nobody panics while writing").clone()
    }
}

/// Keeps an exchange, if somebody records.
pub(crate) fn note(exchange: impl FnOnce() -> Exchange) {
    // Outside a recording there is no tape, and nothing to keep.
    let _outside: Result<(), _> =
        TAPE.try_with(|tape| tape.0.lock().expect("nobody panics while writing").push(exchange()));
}
