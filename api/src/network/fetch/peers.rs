//! The lines to peers, shared by all network pages of a process: how many calls each peer has to bear at once, who is
//! skipped for now because it keeps silent, and how many pages may fan out at once.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use dpg_eventstore::Chain;
use dpg_mirror::{PeerAnswer, PeerClient};
use prometheus::{IntCounterVec, Opts, Registry};
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::{Instant, timeout_at};
use url::Url;

use super::breaker::Breaker;
use super::reason::{Reason, of_status};
use crate::contract::InstanceUrl;
use crate::http::ApiError;

/// Network pages that may ask peers at once (CONTRACT 6 step 3).
const FAN_OUTS: usize = 64;
/// Calls in flight to one peer; more wait for their turn.
const IN_FLIGHT: usize = 32;

/// What is asked of a peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Question {
    /// `count_local`.
    Count,
    /// `fetch_local`.
    Fetch,
}

impl Question {
    const fn path(self) -> &'static str {
        match self {
            Self::Count => "/api/v1/network/item/count_local",
            Self::Fetch => "/api/v1/network/item/fetch_local",
        }
    }

    const fn label(self) -> &'static str {
        match self {
            Self::Count => "count",
            Self::Fetch => "fetch",
        }
    }
}

/// All lines of a process.
pub struct Peers {
    client: PeerClient,
    timeout: Duration,
    fan_outs: Semaphore,
    /// By normalised URL; contracts bound their number.
    lines: Mutex<HashMap<String, Arc<Line>>>,
    calls: IntCounterVec,
}

struct Line {
    turns: Semaphore,
    breaker: Mutex<Breaker>,
}

impl Peers {
    /// Lines through `client`, each call bounded by `timeout`.
    ///
    /// # Errors
    /// When a metric of the same name is registered already.
    pub fn new(client: PeerClient, timeout: Duration, registry: &Registry) -> prometheus::Result<Self> {
        let calls = Opts::new("dpg_network_reads_total", "Questions to peers for network pages, by what came of them.");
        let calls = IntCounterVec::new(calls, &["instance", "question", "outcome"])?;
        registry.register(Box::new(calls.clone()))?;
        let fan_outs = Semaphore::new(FAN_OUTS);
        Ok(Self { client, timeout, fan_outs, lines: Mutex::default(), calls })
    }

    /// Leave to ask peers for one page, for as long as the permit lives.
    ///
    /// # Errors
    /// 503 `SERVICE_UNAVAILABLE` when too many pages are asking already.
    pub(super) fn fan_out(&self) -> Result<SemaphorePermit<'_>, ApiError> {
        self.fan_outs.try_acquire().map_err(|_| ApiError::unavailable())
    }

    /// Asks a peer. The time-out bounds the whole, the wait for a turn included.
    ///
    /// # Errors
    /// Why there is no 2xx answer.
    pub(super) async fn ask(&self, peer: &InstanceUrl, question: Question, body: Bytes) -> Result<PeerAnswer, Reason> {
        let line = self.line(peer);
        let skipped = line.breaker().skips(Instant::now());
        let asked = match skipped {
            Some(reason) => Err(reason),
            None => self.call(&line, peer, question, body).await,
        };
        let outcome = match (skipped, &asked) {
            (Some(_), _) => "skipped",
            (None, Ok(_)) => "ok",
            (None, Err(reason)) => reason.as_str(),
        };
        self.calls.with_label_values(&[peer.normalised(), question.label(), outcome]).inc();
        asked
    }

    async fn call(
        &self,
        line: &Line,
        peer: &InstanceUrl,
        question: Question,
        body: Bytes,
    ) -> Result<PeerAnswer, Reason> {
        let Ok(url) = Url::parse(peer.as_str()) else { return Err(Reason::Unreachable) };
        let deadline = Instant::now() + self.timeout;
        // Who gets no turn in time has learned nothing about the peer that its other callers will not tell.
        let Ok(Ok(_turn)) = timeout_at(deadline, line.turns.acquire()).await else { return Err(Reason::Timeout) };
        let answer = match timeout_at(deadline, self.client.post(&url, question.path(), body, &[])).await {
            Ok(Ok(answer)) => of_status(&answer).map_or(Ok(answer), Err),
            Ok(Err(error)) => {
                tracing::warn!(peer = peer.as_str(), error = %Chain(&error), "a peer gave nothing to a network page");
                Err(Reason::from(&error))
            }
            Err(_elapsed) => Err(Reason::Timeout),
        };
        let silence = answer.as_ref().err().copied().filter(|reason| reason.is_silence());
        line.breaker().note(silence, Instant::now());
        answer
    }

    fn line(&self, peer: &InstanceUrl) -> Arc<Line> {
        let mut lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        let line = lines
            .entry(peer.normalised().to_owned())
            .or_insert_with(|| Arc::new(Line { turns: Semaphore::new(IN_FLIGHT), breaker: Mutex::default() }));
        line.clone()
    }
}

impl Line {
    fn breaker(&self) -> std::sync::MutexGuard<'_, Breaker> {
        self.breaker.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
