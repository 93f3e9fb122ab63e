//! What all writes have in common: keys, retries, and waiting until a write can be read (CONTRACT 1.8, 1.9).

use std::future::Future;
use std::time::Duration;

use actix_web::http::StatusCode;
use actix_web::http::header::{ETAG, HeaderValue, RETRY_AFTER};
use actix_web::{HttpRequest, HttpResponse};
use dpg_eventstore::IdempotencyRecord;
use dpg_eventstore::idempotency::{self, Record, Scope};
use dpg_projector::{Projection, Waited};
use serde::Serialize;
use serde_json::Value;
use serde_json::value::{RawValue, to_raw_value};
use sha2::{Digest, Sha256};
use uuid::Uuid;

use crate::app::App;
use crate::http::ApiError;
use crate::http::headers::{DPG_POSITION, DPG_PROJECTED, etag, prefers_async};

/// Losers of a race try again so often.
pub const TRIES: u32 = 16;

/// The projections that show an item.
pub const OF_ITEMS: &[Projection] = &[Projection::Items];
/// The projections that show an action. Items count: deleting one takes its actions away.
pub const OF_ACTIONS: &[Projection] = &[Projection::ItemActions, Projection::ActionEvents];
/// All projections.
pub const OF_ALL: &[Projection] = &[Projection::Items, Projection::ItemActions, Projection::ActionEvents];

/// Waits a moment, longer each time, before a lost race is run again.
pub async fn before_retry(attempt: u32) {
    let most = 1_u64 << attempt.min(6);
    tokio::time::sleep(Duration::from_millis(rand::random_range(0..=most))).await;
}

/// The answer to a write.
#[derive(Debug, Clone)]
pub struct Answer {
    /// 2xx.
    pub status: StatusCode,
    /// The body; `None` for 204.
    pub body: Option<Box<RawValue>>,
    /// Version, for the `ETag` of an item.
    pub version: Option<i32>,
    /// Where the effect is; `None` when it is not in this instance's log.
    pub at: Option<Effect>,
    /// A target's `Retry-After`, passed on.
    pub retry_after: Option<String>,
}

/// The event that holds what a write has done.
#[derive(Debug, Clone)]
pub struct Effect {
    /// Whose log it is in.
    pub network: String,
    /// Its position.
    pub position: i64,
    /// Its stream: one that is held back in the quarantine never shows.
    pub stream: Uuid,
}

impl Answer {
    /// An answer with a body.
    ///
    /// # Errors
    /// Only when the body can't be written as JSON.
    pub fn of(status: StatusCode, body: &impl Serialize) -> Result<Self, ApiError> {
        let body = Some(to_raw_value(body).map_err(|error| ApiError::internal(&error))?);
        Ok(Self { status, body, version: None, at: None, retry_after: None })
    }

    /// 204.
    #[must_use]
    pub fn empty() -> Self {
        Self { status: StatusCode::NO_CONTENT, body: None, version: None, at: None, retry_after: None }
    }

    /// Adds where the effect is.
    #[must_use]
    pub fn at(mut self, network: &str, position: i64, stream: Uuid) -> Self {
        self.at = Some(Effect { network: network.to_owned(), position, stream });
        self
    }

    /// Adds the item's version.
    #[must_use]
    pub fn version(mut self, version: i32) -> Self {
        self.version = Some(version);
        self
    }
}

/// Waits until readers see the write, unless the caller doesn't want to, and answers.
pub async fn answer(app: &App, request: &HttpRequest, answer: Answer, projections: &[Projection]) -> HttpResponse {
    let patience = if prefers_async(request.headers()) { Duration::ZERO } else { app.patience() };
    respond(app, answer, projections, patience).await
}

/// Answers a peer: mirrored events never wait, the header tells how things stand.
pub async fn mirrored_answer(app: &App, answer: Answer, projections: &[Projection]) -> HttpResponse {
    respond(app, answer, projections, Duration::ZERO).await
}

async fn respond(app: &App, answer: Answer, projections: &[Projection], patience: Duration) -> HttpResponse {
    let mut response = HttpResponse::build(answer.status);
    if let Some(version) = answer.version {
        response.insert_header((ETAG, etag(version.into())));
    }
    if let Some(seconds) = answer.retry_after {
        response.insert_header((RETRY_AFTER, seconds));
    }
    if answer.status.is_success() {
        let projected = match &answer.at {
            None => false,
            Some(Effect { network, position, stream }) => {
                response.insert_header((DPG_POSITION, HeaderValue::from(*position)));
                let waited = app.readers.wait_for_stream(network, *position, *stream, projections, patience).await;
                waited == Waited::Projected
            }
        };
        response.insert_header((DPG_PROJECTED, HeaderValue::from_static(if projected { "true" } else { "false" })));
    }
    match answer.body {
        Some(body) => response.json(body),
        None => response.finish(),
    }
}

/// A call that carries an `Idempotency-Key`.
#[derive(Debug, Clone)]
pub struct Keyed {
    /// Whose key, on which route.
    pub scope: Scope,
    /// SHA-256 of the body as canonical JSON.
    pub digest: Vec<u8>,
}

impl Keyed {
    /// The key of a call, if it has one.
    ///
    /// # Errors
    /// Only when the body can't be written as canonical JSON.
    pub fn of(key: Option<String>, caller: &str, route: &str, body: &Value) -> Result<Option<Self>, ApiError> {
        let Some(key) = key else { return Ok(None) };
        let canonical = serde_json_canonicalizer::to_vec(body).map_err(|error| ApiError::internal(&error))?;
        let scope = Scope { caller: caller.to_owned(), route: route.to_owned(), key };
        Ok(Some(Self { scope, digest: Sha256::digest(canonical).to_vec() }))
    }

    /// The record that commits with the events.
    #[must_use]
    pub fn record(&self, status: StatusCode, stream_id: Uuid, version: i32) -> IdempotencyRecord {
        IdempotencyRecord {
            caller: self.scope.caller.clone(),
            route: self.scope.route.clone(),
            key: self.scope.key.clone(),
            digest: self.digest.clone(),
            status: i32::from(status.as_u16()),
            stream_id,
            version,
        }
    }

    /// What an earlier call with this key has done.
    ///
    /// # Errors
    /// 422 `IDEMPOTENCY_KEY_REUSED` when it had another body.
    pub async fn earlier(&self, app: &App) -> Result<Option<Record>, ApiError> {
        let record = idempotency::find(&app.database, &self.scope).await?;
        match record {
            Some(record) => self.check(record).map(Some),
            None => Ok(None),
        }
    }

    /// Refuses a record of another body.
    ///
    /// # Errors
    /// 422 `IDEMPOTENCY_KEY_REUSED`.
    pub fn check(&self, record: Record) -> Result<Record, ApiError> {
        if record.digest == self.digest {
            return Ok(record);
        }
        let message = "This Idempotency-Key was used with another body.";
        Err(ApiError::new(StatusCode::UNPROCESSABLE_ENTITY, "IDEMPOTENCY_KEY_REUSED", message))
    }
}

/// What one try of a keyed or unkeyed write came to.
pub enum Tried {
    /// Written, or found written.
    Done(Answer),
    /// Another call with the same key was first.
    Replayed,
}

/// Runs a write whose effect is in this instance's log. A key that was used answers from its record; a keyed call that is
/// about to be refused looks its key up once more first, because the call that it races with may have won meanwhile.
///
/// # Errors
/// The refusal of `write`, or 422 for another body.
pub async fn keyed<W, R>(
    app: &App,
    key: Option<&Keyed>,
    write: impl FnOnce() -> W,
    replay: impl Fn(Record) -> R,
) -> Result<Answer, ApiError>
where
    W: Future<Output = Result<Tried, ApiError>>,
    R: Future<Output = Result<Answer, ApiError>>,
{
    let Some(key) = key else {
        return match write().await? {
            Tried::Done(answer) => Ok(answer),
            // Without a key nothing can have been replayed.
            Tried::Replayed => Err(ApiError::unavailable()),
        };
    };
    if let Some(record) = key.earlier(app).await? {
        return replay(record).await;
    }
    let refusal = match write().await {
        Ok(Tried::Done(answer)) => return Ok(answer),
        Ok(Tried::Replayed) => ApiError::unavailable(),
        Err(refusal) => refusal,
    };
    match key.earlier(app).await? {
        Some(record) if record.is_done() => replay(record).await,
        // What a call to another instance came to stays open until somebody asks again.
        Some(_) | None => Err(refusal),
    }
}
