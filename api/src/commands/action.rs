//! Decisions about actions that are held here: perform and status changes.

use actix_web::http::StatusCode;
use dpg_eventstore::{EventType, Metadata, NewEvent};
use serde_json::value::to_raw_value;
use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::payload::{ActionPayload, ActionState, Coordinates, HistoryRow, ItemRef, LoadedAction, Party};
use crate::contract::{Contracts, EventContext, InstanceUrl, Interaction, ItemKind, Refusal, Role};
use crate::http::{ApiError, Fault};

/// The namespace of event identities (CONTRACT 3.4).
const EVENT_NAMESPACE: Uuid = Uuid::from_u128(0xa7fc_c2b7_fa96_558b_85ab_b2c5_2581_557a);

/// A mirrored body, serialised, is at most 1 MiB − 1 KiB (CONTRACT 5.5).
const MIRRORED_BYTES: usize = (1 << 20) - (1 << 10);

/// `update_count` ends here.
const LAST_COUNT: i32 = 1_000_000;

/// The event's identity in the whole network: the same on every instance.
#[must_use]
pub fn event_id(origin: &InstanceUrl, action: Uuid, update_count: i32) -> Uuid {
    let name = format!("{}\n{}\n{update_count}", origin.normalised(), action.hyphenated());
    Uuid::new_v5(&EVENT_NAMESPACE, name.as_bytes())
}

/// What the source wants, with everything that was loaded for it.
#[derive(Debug, Clone)]
pub struct Perform {
    /// Type in the target network's contract.
    pub action_type: String,
    /// Identity of the new action.
    pub action_id: Uuid,
    /// Who asks.
    pub source: Party,
    /// Coordinates of the source item, when it lives here.
    pub source_coordinates: Coordinates,
    /// Who is asked: an item that lives here.
    pub target: Party,
    /// Coordinates of the target item.
    pub target_coordinates: Coordinates,
    /// What the source hands over.
    pub requirements: Map<String, Value>,
}

/// Looks an interaction up and checks what the source hands over (CONTRACT 7.5).
///
/// # Errors
/// 400 `INVALID_ACTION_REQUEST`.
pub fn check_request<'c>(
    contracts: &'c Contracts,
    action_type: &str,
    source: &ItemRef,
    target: &ItemRef,
) -> Result<&'c Interaction, ApiError> {
    interaction(contracts, action_type, source, target).ok_or_else(|| {
        let message = format!(
            "{}/{}/{} may not send {action_type} to {}/{}/{}.",
            source.item_network,
            source.item_domain,
            source.item_type,
            target.item_network,
            target.item_domain,
            target.item_type
        );
        invalid_request(message)
    })
}

/// Checks a requirements snapshot, private values merged in, against the interaction.
///
/// # Errors
/// 400 `INVALID_ACTION_REQUEST` with `details`.
pub fn check_requirements(interaction: &Interaction, requirements: &Map<String, Value>) -> Result<(), ApiError> {
    let faults = interaction.check_requirements(requirements);
    if faults.is_empty() {
        return Ok(());
    }
    Err(invalid_request("requirements_snapshot does not fit the action.").with_details(faults))
}

/// Makes an action.
///
/// # Errors
/// 400 `INVALID_ACTION_REQUEST`, `INVALID_ACTION_EVENT`.
pub fn perform(
    contracts: &Contracts,
    wanted: Perform,
    metadata: Metadata,
) -> Result<(NewEvent, ActionPayload), ApiError> {
    let interaction = check_request(contracts, &wanted.action_type, &wanted.source.item, &wanted.target.item)?;
    check_requirements(interaction, &wanted.requirements)?;
    let state = ActionState {
        action_type: wanted.action_type,
        partition_network: wanted.target.item.item_network.clone(),
        action_id: wanted.action_id,
        action_status: interaction.initial_status().to_owned(),
        update_count: 0,
        source: wanted.source,
        target: wanted.target,
        requirements_snapshot: wanted.requirements,
        remarks: None,
        created_at: None,
        updated_at: None,
    };
    let coordinates = (wanted.source_coordinates, wanted.target_coordinates);
    let payload = with_history(interaction, state, None, None, coordinates)?;
    let event = event_of(&payload, 1, EventType::ActionPerformed, metadata)?;
    if event.destination.is_some() && mirrored_bytes(&payload)? > MIRRORED_BYTES {
        return Err(invalid_request("The action is too large to be mirrored to the source instance."));
    }
    Ok((event, payload))
}

/// A status change, as a client or a source instance asks for it.
#[derive(Debug, Clone)]
pub struct StatusChange {
    /// The new status.
    pub status: String,
    /// For the history, and the row.
    pub remarks: Option<String>,
    /// Goes over the payload that the snapshot gives.
    pub event_payload: Option<Map<String, Value>>,
}

/// The role that a user has in an action, if any. Whether a side is ours was decided when the action was stored.
#[must_use]
pub fn role_of(action: &ActionState, user: &str) -> Option<Role> {
    let owns = |party: &Party| party.here && party.owner.as_deref() == Some(user);
    match (owns(&action.source), owns(&action.target)) {
        (true, true) => Some(Role::Both),
        (true, false) => Some(Role::Source),
        (false, true) => Some(Role::Target),
        (false, false) => None,
    }
}

/// Changes the status of an action that is held here; `coordinates` are those of source and target.
///
/// # Errors
/// 403 `TARGET_ITEM_NOT_OWNED`; 400 `INVALID_ACTION_STATUS`, `INVALID_ACTION_EVENT`; 409 `INVALID_TRANSITION`,
/// `ACTION_CONFLICT`.
pub fn update_status(
    contracts: &Contracts,
    action: &LoadedAction,
    role: Option<Role>,
    change: StatusChange,
    coordinates: (Coordinates, Coordinates),
    metadata: Metadata,
) -> Result<(NewEvent, ActionPayload), ApiError> {
    let present = &action.state;
    let role = role.ok_or_else(not_owned)?;
    let interaction = interaction(contracts, &present.action_type, &present.source.item, &present.target.item)
        .ok_or_else(|| invalid_event("The contract no longer has this interaction.", Vec::new()))?;
    may_set(interaction, role, present, &change.status)?;
    if present.update_count >= LAST_COUNT {
        return Err(conflict());
    }
    let mut state = present.clone();
    state.action_status = change.status;
    state.update_count += 1;
    state.updated_at = None;
    if change.remarks.is_some() {
        state.remarks.clone_from(&change.remarks);
    }
    let payload = with_history(interaction, state, change.event_payload.as_ref(), change.remarks, coordinates)?;
    let event = event_of(&payload, action.version + 1, EventType::ActionStatusUpdated, metadata)?;
    if event.destination.is_some() && mirrored_bytes(&payload)? > MIRRORED_BYTES {
        return Err(invalid_event("The event is too large to be mirrored to the source instance.", Vec::new()));
    }
    Ok((event, payload))
}

fn may_set(interaction: &Interaction, role: Role, present: &ActionState, status: &str) -> Result<(), ApiError> {
    let count = u32::try_from(present.update_count).unwrap_or(u32::MAX);
    interaction.may_set(role, &present.action_status, status, count).map_err(|refusal| match refusal {
        Refusal::NotAllowed => not_owned(),
        Refusal::NotInEnum => {
            let message = format!("{status} is no status of {}.", present.action_type);
            ApiError::new(StatusCode::BAD_REQUEST, "INVALID_ACTION_STATUS", message)
        }
        Refusal::NotFromHere => {
            let message = format!("The action can't go from {} to {status}.", present.action_status);
            ApiError::new(StatusCode::CONFLICT, "INVALID_TRANSITION", message)
        }
    })
}

fn interaction<'c>(
    contracts: &'c Contracts,
    action_type: &str,
    source: &ItemRef,
    target: &ItemRef,
) -> Option<&'c Interaction> {
    contracts.interaction(action_type, kind_of(source), kind_of(target))
}

/// What the contract's interactions tell items by.
#[must_use]
pub fn kind_of(item: &ItemRef) -> ItemKind<'_> {
    ItemKind { network: &item.item_network, domain: &item.item_domain, item_type: &item.item_type }
}

/// Builds and checks the event's payload (CONTRACT 5.1), and the history row that carries it.
fn with_history(
    interaction: &Interaction,
    state: ActionState,
    client_payload: Option<&Map<String, Value>>,
    remarks: Option<String>,
    (source, target): (Coordinates, Coordinates),
) -> Result<ActionPayload, ApiError> {
    let context = EventContext {
        action_type: &state.action_type,
        source_item: &json!(state.source.item),
        target_item: &json!(state.target.item),
        requirements_snapshot: &state.requirements_snapshot,
    };
    let event_payload = interaction.build_payload(&context, client_payload, &state.action_status, remarks.as_deref());
    let faults = interaction.check_payload(&event_payload);
    if !faults.is_empty() {
        return Err(invalid_event("The event does not fit the contract's event_schema.", faults));
    }
    let origin =
        InstanceUrl::parse(&state.target.item.item_instance_url).map_err(|error| ApiError::internal(&error))?;
    let event = HistoryRow {
        event_id: event_id(&origin, state.action_id, state.update_count),
        origin_instance_domain: state.target.item.item_instance_url.clone(),
        action_status: state.action_status.clone(),
        update_count: state.update_count,
        source_item_latitude: source.map(|(latitude, _)| latitude),
        source_item_longitude: source.map(|(_, longitude)| longitude),
        target_item_latitude: target.map(|(latitude, _)| latitude),
        target_item_longitude: target.map(|(_, longitude)| longitude),
        event_payload,
        remarks,
        occurred_at: None,
    };
    Ok(ActionPayload { action: state, event, seen: None, remarks_count: None })
}

fn event_of(
    payload: &ActionPayload,
    version: i32,
    event_type: EventType,
    metadata: Metadata,
) -> Result<NewEvent, ApiError> {
    let source = &payload.action.source;
    let destination = match source.here {
        true => None,
        false => Some(
            InstanceUrl::parse(&source.item.item_instance_url)
                .map_err(|error| ApiError::internal(&error))?
                .normalised()
                .to_owned(),
        ),
    };
    Ok(NewEvent {
        stream_id: payload.action.action_id,
        version,
        event_id: payload.event.event_id,
        event_type,
        payload: to_raw_value(payload).map_err(|error| ApiError::internal(&error))?,
        metadata,
        private: None,
        destination,
    })
}

/// Size of the body that the mirror will send.
fn mirrored_bytes(payload: &ActionPayload) -> Result<usize, ApiError> {
    let text = to_raw_value(payload).map_err(|error| ApiError::internal(&error))?;
    let body = dpg_mirror::body::event_body(text.get(), chrono::DateTime::UNIX_EPOCH)
        .map_err(|error| ApiError::internal(&error))?;
    Ok(body.json.len())
}

fn invalid_request(message: impl Into<String>) -> ApiError {
    ApiError::new(StatusCode::BAD_REQUEST, "INVALID_ACTION_REQUEST", message)
}

fn invalid_event(message: &str, faults: Vec<Fault>) -> ApiError {
    ApiError::new(StatusCode::BAD_REQUEST, "INVALID_ACTION_EVENT", message).with_details(faults)
}

/// 403: the caller may not make this change.
#[must_use]
pub fn not_owned() -> ApiError {
    ApiError::new(StatusCode::FORBIDDEN, "TARGET_ITEM_NOT_OWNED", "You may not make this change.")
}

/// 409: lost the race repeatedly, or no count is left.
#[must_use]
pub fn conflict() -> ApiError {
    ApiError::new(StatusCode::CONFLICT, "ACTION_CONFLICT", "The action changed meanwhile; read it and try again.")
}
