//! Effects on another instance: performing on its items, and passing on a source owner's status change (CONTRACT 4.9
//! step 8, 4.11). With a key, the call is claimed before it goes out, and what became of it is written down, so that a
//! retry never makes a second action.

use dpg_eventstore::Chain;
use std::time::Duration;

use actix_web::http::StatusCode;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use dpg_eventstore::idempotency::{self, Claimed, Progress, Record};
use dpg_mirror::{PeerAnswer, PeerError};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};
use url::Url;
use uuid::Uuid;

use super::held::{Performed, StatusSet};
use super::perform::Asked;
use crate::app::App;
use crate::commands::action::StatusChange;
use crate::commands::payload::{ItemRef, LoadedAction};
use crate::contract::InstanceUrl;
use crate::http::ApiError;
use crate::http::json::null_characters;
use crate::queries::mirrored::{FirstEvent, take_first_event};
use crate::writes::{Answer, Keyed};

const UPDATE_STATUS: &str = "/api/v1/network/action/update-status";

/// Whose call is passed on.
#[derive(Debug, Clone, Copy)]
pub struct Forward<'a> {
    /// The user who called us.
    pub user: &'a str,
    /// Their key.
    pub key: Option<&'a Keyed>,
    /// An earlier call with this key went out, or is on its way.
    pub resend: bool,
}

/// What an answer of the target comes to.
enum Heard {
    /// It is done there; the fields of the answer.
    Done(Value),
    /// It refused for reasons of its own: passed on as it is.
    Refused(Answer),
    /// It did nothing, which our caller is told in our words.
    Untouched(ApiError),
    /// It knows the key from before, when we handed over something else than now: it is done, the answer is not told.
    DoneBefore,
    /// What it did can't be told.
    Unclear(ApiError),
}

/// Performs on a remote target.
///
/// # Errors
/// 502 and 504 of CONTRACT 4.9; 409 `IDEMPOTENCY_KEY_IN_PROGRESS`.
pub async fn perform(app: &App, mut forward: Forward<'_>, asked: Asked) -> Result<Answer, ApiError> {
    let body = json!({
        "action_type": asked.action_type,
        "source_item": asked.source.item,
        "target_item": asked.target,
        "source_item_owner": asked.source.owner,
        "requirements_snapshot": asked.requirements,
    });
    let call = Call {
        to: &asked.target.item_instance_url,
        path: "/api/v1/network/action/perform",
        body: bytes(&body)?,
        status: StatusCode::CREATED,
        read: fields::<Performed>,
    };
    if forward.resend && !keeps_keys(app, &call).await {
        if let Some(answer) = settled(app, &forward, &asked).await? {
            return Ok(answer);
        }
        // It is on its way still: even if it comes to nothing certain meanwhile, this target is not sent it twice.
        forward.resend = false;
    }
    match call.send(app, forward).await? {
        Some(answer) => Ok(answer),
        None => settled(app, &forward, &asked).await?.ok_or_else(timeout),
    }
}

/// Passes on a source owner's status change to the instance that holds the action, if it is still registered.
///
/// # Errors
/// 501 `CANCEL_UNSUPPORTED_BY_TARGET`; otherwise as [`perform`].
pub async fn update_status(
    app: &App,
    forward: Forward<'_>,
    action: &LoadedAction,
    change: &StatusChange,
) -> Result<Answer, ApiError> {
    // The action names it as it was when it was stored; the contract may have changed since.
    let target = &action.state.target.item;
    let url = InstanceUrl::parse(&target.item_instance_url).map_err(|_| unavailable())?;
    let target = app.contracts.registered(&target.item_network, &target.item_domain, &url).ok_or_else(unavailable)?;
    // We may have moved since: we speak as who we are now.
    let source = &action.state.source.item;
    let own_url = app.contracts.own_instance_url(&source.item_network, &source.item_domain);
    let body = StatusBody {
        action_id: action.state.action_id,
        action_status: &change.status,
        remarks: change.remarks.as_deref(),
        event_payload: change.event_payload.as_ref(),
        source_item: ItemRef { item_instance_url: own_url, ..source.clone() },
        source_item_owner: action.state.source.owner.as_deref(),
    };
    let call = Call {
        to: target.url.as_str(),
        path: UPDATE_STATUS,
        body: bytes(&body)?,
        status: StatusCode::OK,
        read: fields::<StatusSet>,
    };
    call.send(app, forward).await?.ok_or_else(timeout)
}

/// The body of CONTRACT 4.12.
#[derive(Serialize)]
struct StatusBody<'a> {
    action_id: Uuid,
    action_status: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    remarks: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    event_payload: Option<&'a Map<String, Value>>,
    source_item: ItemRef,
    source_item_owner: Option<&'a str>,
}

struct Call<'a> {
    to: &'a str,
    path: &'static str,
    body: Bytes,
    status: StatusCode,
    read: fn(&[u8]) -> Option<Value>,
}

impl Call<'_> {
    /// `None` when it was done before, and the answer is not told.
    async fn send(&self, app: &App, forward: Forward<'_>) -> Result<Option<Answer>, ApiError> {
        let Some(key) = forward.key else {
            let random = URL_SAFE_NO_PAD.encode(rand::random::<[u8; 24]>());
            return self.answer_of(self.exchange(app, &random).await);
        };
        let deadline = tokio::time::Instant::now() + claim_time(app);
        loop {
            match claim(app, key, forward.resend).await? {
                Claimed::Ours => return self.send_claimed(app, forward.user, key).await,
                Claimed::Free => {}
                Claimed::Taken(record) => {
                    if let Some(answer) = self.await_other(app, key, record, deadline).await? {
                        return Ok(Some(answer));
                    }
                }
            }
            // The other call was refused, and its key is free again: now it is our turn.
            if tokio::time::Instant::now() >= deadline {
                return Err(in_progress());
            }
        }
    }

    /// Sends, and writes down what became of it.
    async fn send_claimed(&self, app: &App, user: &str, key: &Keyed) -> Result<Option<Answer>, ApiError> {
        let own_url = app.contracts.own_url().as_str();
        let heard = self.exchange(app, &derived_key(own_url, user, &key.scope.key)).await;
        match &heard {
            Ok(Heard::Done(answer)) => {
                idempotency::finish(&app.database, &key.scope, i32::from(self.status.as_u16()), answer).await?;
            }
            // A refusal, or nothing was sent: a known outcome, and the key is free.
            Ok(Heard::Refused(_) | Heard::Untouched(_)) => idempotency::give_up(&app.database, &key.scope).await?,
            Err(error) if error.known_unsent() => idempotency::give_up(&app.database, &key.scope).await?,
            Ok(Heard::DoneBefore | Heard::Unclear(_)) | Err(_) => {
                idempotency::unknown(&app.database, &key.scope).await?;
            }
        }
        self.answer_of(heard)
    }

    fn answer_of(&self, heard: Result<Heard, PeerError>) -> Result<Option<Answer>, ApiError> {
        match heard {
            Ok(Heard::Done(answer)) => Answer::of(self.status, &answer).map(Some),
            Ok(Heard::Refused(answer)) => Ok(Some(answer)),
            Ok(Heard::DoneBefore) => Ok(None),
            Ok(Heard::Untouched(refusal) | Heard::Unclear(refusal)) => Err(refusal),
            Err(PeerError::Timeout) => Err(timeout()),
            Err(error) => {
                tracing::warn!(to = self.to, error = %Chain(&error), "a peer could not be called");
                Err(unavailable())
            }
        }
    }

    async fn exchange(&self, app: &App, key: &str) -> Result<Heard, PeerError> {
        let url = Url::parse(self.to).map_err(|error| PeerError::Request(Box::new(error)))?;
        let answer = app.peers.post(&url, self.path, self.body.clone(), &[("idempotency-key", key)]).await?;
        Ok(self.hear(&answer))
    }

    /// Maps the target's answer as CONTRACT 4.9 says.
    fn hear(&self, answer: &PeerAnswer) -> Heard {
        let json: Option<Value> = serde_json::from_slice(&answer.body).ok();
        let code = json.as_ref().and_then(code_in);
        match (answer.status, json) {
            (404, _) if self.path == UPDATE_STATUS && code.as_deref() != Some("ACTION_NOT_FOUND") => {
                Heard::Untouched(unsupported())
            }
            (200..=299, Some(_)) => match (self.read)(&answer.body) {
                Some(fields) => Heard::Done(fields),
                None => Heard::Unclear(unavailable()),
            },
            (401, Some(_)) => Heard::Untouched(refused(code.as_deref())),
            (403, Some(_)) if code.as_deref().is_some_and(|code| code.starts_with("PEER_")) => {
                Heard::Untouched(refused(code.as_deref()))
            }
            // Our caller's body is the same as before, or their key would have been refused here.
            (422, Some(_)) if code.as_deref() == Some("IDEMPOTENCY_KEY_REUSED") => Heard::DoneBefore,
            (400..=499, Some(_)) => match passed_on(answer) {
                Some(answer) => Heard::Refused(answer),
                None => Heard::Unclear(unavailable()),
            },
            _ => Heard::Unclear(unavailable()),
        }
    }

    /// Another call with this key was first: its answer is ours. `None` when it was refused, and the key is free.
    async fn await_other(
        &self,
        app: &App,
        key: &Keyed,
        record: Record,
        deadline: tokio::time::Instant,
    ) -> Result<Option<Answer>, ApiError> {
        let mut record = Some(key.check(record)?);
        loop {
            match record.map(|record| record.progress) {
                None => return Ok(None),
                Some(Progress::Elsewhere { answer }) => return Answer::of(self.status, &answer).map(Some),
                Some(Progress::Unknown) => return Err(timeout()),
                Some(Progress::Here { .. }) => return Err(unavailable()),
                Some(Progress::Sending) if tokio::time::Instant::now() >= deadline => return Err(in_progress()),
                Some(Progress::Sending) => tokio::time::sleep(Duration::from_millis(20)).await,
            }
            record = key.earlier(app).await?;
        }
    }
}

async fn claim(app: &App, key: &Keyed, resend: bool) -> Result<Claimed, ApiError> {
    let milliseconds = i64::try_from(claim_time(app).as_millis()).unwrap_or(i64::MAX);
    Ok(idempotency::claim(&app.database, &key.scope, &key.digest, milliseconds, resend).await?)
}

/// The whole call, and a second.
fn claim_time(app: &App) -> Duration {
    app.config.peer_timeout + Duration::from_secs(1)
}

/// An earlier call went out to a target that keeps no keys: it is never sent again. What it came to shows when its first
/// event is mirrored; until then nobody can tell.
async fn settled(app: &App, forward: &Forward<'_>, asked: &Asked) -> Result<Option<Answer>, ApiError> {
    let Some(key) = forward.key else { return Ok(None) };
    let Some(record) = key.earlier(app).await? else { return Ok(None) };
    match record.progress {
        Progress::Unknown => {}
        _ => return Ok(None),
    }
    let status = StatusCode::CREATED;
    let wanted = FirstEvent {
        action_type: &asked.action_type,
        source: &asked.source.item,
        target: &asked.target,
        attempted_at: record.created_at,
    };
    match take_first_event(&app.database, wanted, &key.scope, i32::from(status.as_u16())).await? {
        Some(performed) => Ok(Some(Answer::of(status, &performed)?)),
        None => Err(timeout()),
    }
}

/// Whether the target says that it honours keys (CONTRACT 4.14b).
async fn keeps_keys(app: &App, call: &Call<'_>) -> bool {
    let Ok(url) = Url::parse(call.to) else { return false };
    let Ok(answer) = app.peers.get(&url, "/.well-known/dpg-peer", &[]).await else { return false };
    let told: Option<Value> = serde_json::from_slice(&answer.body).ok();
    let capabilities = told.as_ref().and_then(|told| told["capabilities"].as_array());
    answer.status == 200 && capabilities.is_some_and(|all| all.iter().any(|one| one == "idempotency-key"))
}

/// The key that the target sees: the same for every retry, however a contract may come to spell us, and telling nothing
/// of ours.
fn derived_key(own_url: &str, user: &str, key: &str) -> String {
    URL_SAFE_NO_PAD.encode(Sha256::digest(format!("{own_url}\n{user}\n{key}")))
}

/// The fields of the contract, and no others, if they can be kept: Postgres has no U+0000.
fn fields<T: DeserializeOwned + Serialize>(body: &[u8]) -> Option<Value> {
    let fields: T = serde_json::from_slice(body).ok()?;
    serde_json::to_value(fields).ok().filter(|fields| null_characters(fields).is_empty())
}

fn passed_on(answer: &PeerAnswer) -> Option<Answer> {
    let body = RawValue::from_string(String::from_utf8(answer.body.to_vec()).ok()?).ok()?;
    let status = StatusCode::from_u16(answer.status).ok()?;
    let retry_after = answer.headers.get("retry-after").and_then(|value| value.to_str().ok()).map(str::to_owned);
    Some(Answer { status, body: Some(body), version: None, at: None, retry_after })
}

/// The stable code in an error body, ours or another make's.
fn code_in(body: &Value) -> Option<String> {
    let code = body["code"].as_str().or_else(|| body["error"].as_str());
    code.map(str::to_owned)
}

fn bytes(body: &impl Serialize) -> Result<Bytes, ApiError> {
    serde_json::to_vec(body).map(Bytes::from).map_err(|error| ApiError::internal(&error))
}

fn unavailable() -> ApiError {
    let message = "The target instance did not answer as it should.";
    ApiError::new(StatusCode::BAD_GATEWAY, "TARGET_INSTANCE_UNAVAILABLE", message)
}

fn unsupported() -> ApiError {
    let message = "The target instance can't take a status change from the source's side.";
    ApiError::new(StatusCode::NOT_IMPLEMENTED, "CANCEL_UNSUPPORTED_BY_TARGET", message)
}

fn timeout() -> ApiError {
    let message = "The target instance did not answer in time.";
    ApiError::new(StatusCode::GATEWAY_TIMEOUT, "TARGET_INSTANCE_TIMEOUT", message)
}

fn refused(code: Option<&str>) -> ApiError {
    // Only what looks like a code is repeated.
    let code = code.filter(|code| code.len() <= 64 && code.bytes().all(|b| b.is_ascii_uppercase() || b == b'_'));
    let message = format!("The target instance does not trust this one: {}.", code.unwrap_or("no code given"));
    ApiError::new(StatusCode::BAD_GATEWAY, "TARGET_INSTANCE_REFUSED", message)
}

fn in_progress() -> ApiError {
    let message = "A call with this Idempotency-Key is still on its way.";
    ApiError::new(StatusCode::CONFLICT, "IDEMPOTENCY_KEY_IN_PROGRESS", message).with_retry_after(1)
}
