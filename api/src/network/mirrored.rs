//! Taking in an event of an action that another instance holds: the steps of CONTRACT 4.14 after trust.

use actix_web::http::StatusCode;
use chrono::{DateTime, Utc};
use dpg_eventstore::{Appended, Command, InboxMark, Metadata, Stream, StreamType, read};
use serde::Serialize;
use serde_json::{Map, Value};
use uuid::Uuid;

use super::held::{instance_url, loaded_action, stored_ref};
use crate::app::App;
use crate::commands::action::event_id;
use crate::commands::mirrored::{
    Mirrored, MirroredEvent, check_identity, identity_conflict, same_content, store as decide,
};
use crate::commands::payload::{ActionPayload, ActionState, HistoryRow, LoadedAction, Party, parse, timestamp};
use crate::contract::{InstanceUrl, ItemKind};
use crate::http::fields::Fields;
use crate::http::references::{ItemRef as ItemKey, ItemRefPlus, item_ref_plus};
use crate::http::scalars::{self, integer, name, number, object, owner, remarks, time, uuid};
use crate::http::{ApiError, Form};
use crate::writes::{Answer, TRIES, before_retry};

/// A body of 4.14.
#[derive(Debug, Clone, Default)]
pub struct EventBody {
    /// The instance that speaks.
    pub origin: String,
    /// Whose action it is.
    pub source: ItemRefPlus,
    /// Whose item it is about.
    pub target: ItemRefPlus,
    /// Whose event it is.
    pub action_id: Uuid,
    action_type: String,
    action_status: String,
    update_count: i32,
    target_owner: Option<String>,
    coordinates: [Option<f64>; 4],
    event_payload: Map<String, Value>,
    remarks: Option<String>,
    requirements: Option<Map<String, Value>>,
    occurred_at: Option<DateTime<Utc>>,
}

/// Reads a body of 4.14. `event_id` is accepted and ignored: it follows from the rest.
pub fn read_event(f: &mut Fields<'_>) -> EventBody {
    f.nullable("event_id", uuid);
    // Believed for no item of ours: the owner of a source item is who owns it here.
    f.nullable("source_item_owner", owner);
    EventBody {
        origin: f.required("origin_instance_domain", scalars::instance_url),
        action_type: f.required(("action_type", "action_name"), name),
        action_status: f.required("action_status", name),
        action_id: f.required("action_id", uuid),
        update_count: i32::try_from(f.required("update_count", integer(0..=1_000_000))).unwrap_or(i32::MAX),
        source: f.required("source_item", item_ref_plus),
        target: f.required("target_item", item_ref_plus),
        target_owner: f.nullable("target_item_owner", owner),
        coordinates: [
            f.nullable("source_item_latitude", number(-90.0..=90.0)),
            f.nullable("source_item_longitude", number(-180.0..=180.0)),
            f.nullable("target_item_latitude", number(-90.0..=90.0)),
            f.nullable("target_item_longitude", number(-180.0..=180.0)),
        ],
        event_payload: f.nullable("event_payload", object).unwrap_or_default(),
        remarks: f.nullable("remarks", remarks),
        requirements: f.nullable("requirements_snapshot", object),
        occurred_at: f.nullable("occurred_at", time),
    }
}

impl EventBody {
    /// Refuses an event of a network that is not loaded here.
    ///
    /// # Errors
    /// 400 `INVALID_EVENT_REQUEST`.
    pub fn check_network(&self, app: &App) -> Result<(), ApiError> {
        let network = &self.target.item.network;
        match app.contracts.network(network) {
            Some(_) => Ok(()),
            None => Err(invalid(format!("The network {network} is not loaded here."))),
        }
    }

    fn mirrored(self, origin: &str, source_owner: String, own_url: &str) -> MirroredEvent {
        let partition_network = self.source.item.network.clone();
        let tells_requirements = self.requirements.is_some();
        let state = ActionState {
            action_type: self.action_type,
            partition_network,
            action_id: self.action_id,
            action_status: self.action_status,
            update_count: self.update_count,
            source: Party { item: stored_ref(&self.source.item, own_url), owner: Some(source_owner), here: true },
            target: Party { item: stored_ref(&self.target.item, origin), owner: self.target_owner, here: false },
            requirements_snapshot: self.requirements.unwrap_or_default(),
            remarks: self.remarks.clone(),
            created_at: None,
            updated_at: None,
        };
        MirroredEvent {
            origin: origin.to_owned(),
            state,
            coordinates: self.coordinates,
            event_payload: self.event_payload,
            remarks: self.remarks,
            tells_requirements,
            occurred_at: self.occurred_at.map(timestamp),
        }
    }
}

/// The fields that answer an event.
#[derive(Debug, Serialize)]
struct Stored {
    event_id: Uuid,
    action_id: Uuid,
    action_type: String,
    action_status: String,
    update_count: i32,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    conflict: bool,
}

/// What can be told of an event before its action is looked at.
pub(super) struct Prepared {
    /// The event, in registered spellings.
    pub(super) event: MirroredEvent,
    /// The network whose log takes it in.
    pub(super) network: String,
    /// What the contract says of its payload; asked for after the action's identity.
    payload: Result<(), ApiError>,
}

/// Checks an event against everything but its action. `source` is the stream under its source item's id.
///
/// # Errors
/// Those of [`store`], but for `EVENT_IDENTITY_CONFLICT`.
pub(super) fn prepare(app: &App, body: EventBody, source: Option<&Stream>) -> Result<Prepared, ApiError> {
    let origin = registered_origin(app, &body)?;
    if !is_own(app, &body.source.instance_url) {
        let message = "The source item's instance is not this one.";
        return Err(ApiError::new(StatusCode::BAD_REQUEST, "INVALID_SOURCE_INSTANCE", message));
    }
    let key = &body.source.item;
    let own_url = app.contracts.own_instance_url(&key.network, &key.domain);
    let network = key.network.clone();
    let owner = owner_of(key, source)?;
    let payload = check_payload(app, &body);
    Ok(Prepared { event: body.mirrored(&origin, owner, &own_url), network, payload })
}

/// Decides about an event; `known` is its action as it stands.
///
/// # Errors
/// 409 `EVENT_IDENTITY_CONFLICT`; 400 `INVALID_EVENT_REQUEST` for its payload.
pub(super) fn judge(
    known: Option<&LoadedAction>,
    prepared: &Prepared,
    mut metadata: Metadata,
) -> Result<Mirrored, ApiError> {
    check_identity(known, &prepared.event)?;
    prepared.payload.clone()?;
    metadata.origin = Some(prepared.event.origin.clone());
    decide(known, prepared.event.clone(), metadata)
}

/// The action under an event's `action_id`, if there is one.
///
/// # Errors
/// 409 `EVENT_IDENTITY_CONFLICT` when it is no action, or one of another network.
pub(super) fn known_action(stream: Option<&Stream>, network: &str) -> Result<Option<LoadedAction>, ApiError> {
    if stream.is_some_and(|stream| stream.stream_type != StreamType::Action || stream.network != network) {
        return Err(identity_conflict());
    }
    loaded_action(stream)
}

/// What became of an event, and where it is in the log.
pub(super) struct Done {
    /// It was stored now.
    pub(super) new: bool,
    /// It was here before, with another content.
    pub(super) conflict: bool,
    /// The stored event's type and status.
    pub(super) action_type: String,
    pub(super) action_status: String,
    /// Its identity.
    pub(super) event_id: Uuid,
    /// Its position, or that of its action's last event.
    pub(super) position: i64,
}

/// Stores an event whose sender is trusted: 201, or 200 when it was there already.
///
/// # Errors
/// 403 `EVENT_ORIGIN_MISMATCH`; 400 `INVALID_SOURCE_INSTANCE`, `INVALID_EVENT_REQUEST`; 404 `SOURCE_ITEM_NOT_FOUND`; 409
/// `EVENT_IDENTITY_CONFLICT`.
pub async fn store(app: &App, body: EventBody, metadata: Metadata) -> Result<Answer, ApiError> {
    let source = read::load(&app.database, body.source.item.id).await?;
    let prepared = prepare(app, body, source.as_ref())?;
    let done = store_prepared(app, &prepared, &metadata, None).await?;
    let (action_id, update_count) = (prepared.event.state.action_id, prepared.event.state.update_count);
    let stored = Stored {
        event_id: done.event_id,
        action_id,
        action_type: done.action_type,
        action_status: done.action_status,
        update_count,
        conflict: done.conflict,
    };
    let status = if done.new { StatusCode::CREATED } else { StatusCode::OK };
    Ok(Answer::of(status, &stored)?.at(&prepared.network, done.position, action_id))
}

/// Stores an event on its own, however many others write to its action; `mark` moves with it.
pub(super) async fn store_prepared(
    app: &App,
    prepared: &Prepared,
    metadata: &Metadata,
    mark: Option<&InboxMark>,
) -> Result<Done, ApiError> {
    let Prepared { event, network, .. } = prepared;
    let action_id = event.state.action_id;
    for attempt in 0..TRIES {
        let turn = app.streams.lock(action_id).await;
        let stream = read::load(&app.database, action_id).await?;
        let known = known_action(stream.as_ref(), network)?;
        let new = match judge(known.as_ref(), prepared, metadata.clone())? {
            Mirrored::Known => return known_event(app, network, event).await,
            Mirrored::New(new) => new,
        };
        let event_id = new.event_id;
        let command = Command { inbox: mark.into_iter().cloned().collect(), ..Command::of(*new) };
        match app.log.append(network, command).await? {
            Appended::Won { position, .. } => {
                return Ok(Done {
                    new: true,
                    conflict: false,
                    action_type: event.state.action_type.clone(),
                    action_status: event.state.action_status.clone(),
                    event_id,
                    position: position.unwrap_or_default(),
                });
            }
            Appended::Conflict | Appended::Replayed => drop(turn),
        }
        before_retry(attempt).await;
    }
    Err(ApiError::unavailable())
}

/// The origin in its registered spelling: it must be the target item's instance.
fn registered_origin(app: &App, body: &EventBody) -> Result<String, ApiError> {
    let mismatch = || {
        let message = "An event comes from the instance of its target item.";
        ApiError::new(StatusCode::FORBIDDEN, "EVENT_ORIGIN_MISMATCH", message).with_form(Form::Both)
    };
    let origin = InstanceUrl::parse(&body.origin).map_err(|_| mismatch())?;
    let target = InstanceUrl::parse(&body.target.instance_url).map_err(|_| mismatch())?;
    if origin.normalised() != target.normalised() {
        return Err(mismatch());
    }
    let item = &body.target.item;
    // Without trust (`PEER_AUTH=off` too) the origin is registered: that was checked before.
    app.contracts
        .registered(&item.network, &item.domain, &origin)
        .map(|i| i.url.as_str().to_owned())
        .ok_or_else(mismatch)
}

fn is_own(app: &App, url: &str) -> bool {
    InstanceUrl::parse(url).is_ok_and(|url| app.contracts.is_own(&url))
}

/// The owner of the source item here. A deleted item counts: its stream exists.
fn owner_of(key: &ItemKey, stream: Option<&Stream>) -> Result<String, ApiError> {
    let stream = stream.filter(|stream| stream.stream_type == StreamType::Item);
    let state: Option<Value> = match stream {
        Some(stream) => Some(parse(&stream.payload).map_err(|error| ApiError::internal(&error))?),
        None => None,
    };
    let named = state.filter(|state| {
        state["item_network"] == key.network.as_str()
            && state["item_domain"] == key.domain.as_str()
            && state["item_type"] == key.item_type.as_str()
    });
    let owner = named.as_ref().and_then(|state| state["created_by"].as_str());
    owner.map(str::to_owned).ok_or_else(super::perform::source_not_found)
}

/// A mirror records what happened: the payload is checked without the rule of the status `enum`.
fn check_payload(app: &App, body: &EventBody) -> Result<(), ApiError> {
    let (source, target) = (&body.source.item, &body.target.item);
    let interaction = app.contracts.interaction(&body.action_type, kind_of(source), kind_of(target));
    let Some(interaction) = interaction else {
        return Err(invalid(format!("The contract has no such interaction for {}.", body.action_type)));
    };
    let faults = interaction.check_payload(&body.event_payload);
    if faults.is_empty() { Ok(()) } else { Err(invalid("event_payload is not valid.").with_details(faults)) }
}

fn kind_of(item: &ItemKey) -> ItemKind<'_> {
    ItemKind { network: &item.network, domain: &item.domain, item_type: &item.item_type }
}

/// An event that was here already; another content is told, and the first stays.
pub(super) async fn known_event(app: &App, network: &str, event: &MirroredEvent) -> Result<Done, ApiError> {
    let origin = instance_url(&event.origin)?;
    let (action_id, count) = (event.state.action_id, event.state.update_count);
    let event_id = event_id(&origin, action_id, count);
    let found = read::by_event_id(&app.database, network, action_id, event_id).await?;
    let Some(found) = found else { return Err(ApiError::unavailable()) };
    let payload: ActionPayload = parse(&found.payload).map_err(|error| ApiError::internal(&error))?;
    Ok(Done {
        new: false,
        conflict: !says_the_same(&payload.event, event),
        action_type: payload.action.action_type,
        action_status: payload.event.action_status,
        event_id,
        position: found.position,
    })
}

/// Whether a stored event has the content of one that came again (CONTRACT 4.14 step 6).
pub(super) fn says_the_same(stored: &HistoryRow, event: &MirroredEvent) -> bool {
    let same = same_content(stored, &event.state.action_status, &event.event_payload, event.remarks.as_deref());
    if !same {
        let (action_id, update_count) = (event.state.action_id, event.state.update_count);
        tracing::warn!(%action_id, update_count, "an event came again with another content");
    }
    same
}

pub(super) fn invalid(message: impl Into<String>) -> ApiError {
    ApiError::new(StatusCode::BAD_REQUEST, "INVALID_EVENT_REQUEST", message)
}
