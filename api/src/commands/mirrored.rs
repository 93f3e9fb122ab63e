//! Decisions about events of actions that other instances hold (CONTRACT 4.14). A mirror records what happened: no status
//! rule applies, late events join the history, and the highest `update_count` is the present state.

use actix_web::http::StatusCode;
use dpg_eventstore::{EventType, Metadata, NewEvent};
use serde_json::value::to_raw_value;
use serde_json::{Map, Value};

use super::action::event_id;
use super::payload::{ActionPayload, ActionState, HistoryRow, LoadedAction, Party};
use crate::contract::InstanceUrl;
use crate::http::ApiError;

/// An event as its origin tells it, checked against contract and trust.
#[derive(Debug, Clone)]
pub struct MirroredEvent {
    /// The instance that holds the action, in its registered spelling.
    pub origin: String,
    /// State of the action after the event; `source.here` is true.
    pub state: ActionState,
    /// Coordinates of source and target.
    pub coordinates: [Option<f64>; 4],
    /// Structured outcome.
    pub event_payload: Map<String, Value>,
    /// What this change said.
    pub remarks: Option<String>,
    /// Whether the body told the requirements.
    pub tells_requirements: bool,
    /// When the origin recorded it.
    pub occurred_at: Option<String>,
}

/// What is to be done with it.
#[derive(Debug)]
pub enum Mirrored {
    /// Append it.
    New(Box<NewEvent>),
    /// Its identity is known already: compare with what is stored under it.
    Known,
}

/// Refuses an event by which what an action *is* would change, or whose action is held here.
///
/// # Errors
/// 409 `EVENT_IDENTITY_CONFLICT`.
pub fn check_identity(known: Option<&LoadedAction>, event: &MirroredEvent) -> Result<(), ApiError> {
    let Some(known) = known else { return Ok(()) };
    let origin = InstanceUrl::parse(&event.origin).map_err(|error| ApiError::internal(&error))?;
    if known.state.target.here || !same_action(&known.state, &event.state, &origin) {
        return Err(identity_conflict());
    }
    Ok(())
}

/// Decides about an event whose identity fits; `known` is the action's stream, if there is one.
///
/// # Errors
/// Only when the payload can't be written as JSON.
pub fn store(known: Option<&LoadedAction>, event: MirroredEvent, metadata: Metadata) -> Result<Mirrored, ApiError> {
    let count = event.state.update_count;
    let origin = InstanceUrl::parse(&event.origin).map_err(|error| ApiError::internal(&error))?;
    let mut seen = Vec::new();
    let mut version = 1;
    if let Some(known) = known {
        seen = known.seen.clone().unwrap_or_default();
        version = known.version + 1;
    }
    if seen.iter().any(|(from, to)| (*from..=*to).contains(&count)) {
        return Ok(Mirrored::Known);
    }
    see(&mut seen, count);
    let [source_item_latitude, source_item_longitude, target_item_latitude, target_item_longitude] = event.coordinates;
    let history = HistoryRow {
        event_id: event_id(&origin, event.state.action_id, count),
        origin_instance_domain: event.origin.clone(),
        action_status: event.state.action_status.clone(),
        update_count: count,
        source_item_latitude,
        source_item_longitude,
        target_item_latitude,
        target_item_longitude,
        event_payload: event.event_payload,
        remarks: event.remarks,
        occurred_at: event.occurred_at,
    };
    let (action, remarks_count) = match known {
        Some(known) => succeed(known, event.state, event.tells_requirements),
        None => {
            let remarks_count = event.state.remarks.is_some().then_some(count);
            (event.state, remarks_count)
        }
    };
    let payload = ActionPayload { action, event: history, seen: Some(seen), remarks_count };
    Ok(Mirrored::New(Box::new(NewEvent {
        stream_id: payload.action.action_id,
        version,
        event_id: payload.event.event_id,
        event_type: EventType::ActionEventMirrored,
        payload: to_raw_value(&payload).map_err(|error| ApiError::internal(&error))?,
        metadata,
        private: None,
        destination: None,
    })))
}

/// Whether a stored event says the same as a body: status, payload and remarks (CONTRACT 4.14 step 6).
#[must_use]
pub fn same_content(stored: &HistoryRow, status: &str, payload: &Map<String, Value>, remarks: Option<&str>) -> bool {
    stored.action_status == status && same_json(&stored.event_payload, payload) && stored.remarks.as_deref() == remarks
}

/// Equal as JSON: Postgres may have written a number in another way (`1e2`, `100`). Whole numbers are compared as such:
/// as floats, two large ones would pass for one.
fn same_json(a: &Map<String, Value>, b: &Map<String, Value>) -> bool {
    a.len() == b.len() && a.iter().all(|(key, a)| b.get(key).is_some_and(|b| same_value(a, b)))
}

fn same_value(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Number(a), Value::Number(b)) if a.is_f64() || b.is_f64() => a.as_f64() == b.as_f64(),
        (Value::Array(a), Value::Array(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same_value(a, b)),
        (Value::Object(a), Value::Object(b)) => same_json(a, b),
        _ => a == b,
    }
}

/// The state after an event, and the count that its remark is from. The highest count wins, and a late event leaves
/// status, count and times as they are. What an event need not tell, a remark or the requirements, comes from the latest
/// that told it: so the state is the same in whatever order the events arrive.
fn succeed(known: &LoadedAction, event: ActionState, tells_requirements: bool) -> (ActionState, Option<i32>) {
    let present = &known.state;
    let count = event.update_count;
    let late = count < present.update_count;
    let (remarks, remarks_count) = match event.remarks.is_some() && Some(count) > known.remarks_count {
        true => (event.remarks.clone(), Some(count)),
        false => (present.remarks.clone(), known.remarks_count),
    };
    // Requirements never change, so an earlier event adds them only where nothing has told them yet.
    let requirements_snapshot = match tells_requirements && (!late || present.requirements_snapshot.is_empty()) {
        true => event.requirements_snapshot.clone(),
        false => present.requirements_snapshot.clone(),
    };
    let state = match late {
        true => ActionState { requirements_snapshot, remarks, ..present.clone() },
        false => ActionState {
            requirements_snapshot,
            remarks,
            created_at: present.created_at.clone(),
            updated_at: None,
            ..event
        },
    };
    (state, remarks_count)
}

/// Who and what an action is about may never change, and only its origin speaks about it.
fn same_action(known: &ActionState, told: &ActionState, origin: &InstanceUrl) -> bool {
    let same_party = |known: &Party, told: &Party| {
        let (a, b) = (&known.item, &told.item);
        (&a.item_network, &a.item_domain, &a.item_type, a.item_id)
            == (&b.item_network, &b.item_domain, &b.item_type, b.item_id)
            // An item of ours is ours under whatever address we had when the action was stored.
            && (known.here || same_instance(&a.item_instance_url, &b.item_instance_url))
    };
    known.action_type == told.action_type
        && same_instance(&known.target.item.item_instance_url, origin.normalised())
        && same_party(&known.source, &told.source)
        && same_party(&known.target, &told.target)
}

/// Whether two URLs name one instance (CONTRACT 5.3).
pub fn same_instance(a: &str, b: &str) -> bool {
    match (InstanceUrl::parse(a), InstanceUrl::parse(b)) {
        (Ok(a), Ok(b)) => a.normalised() == b.normalised(),
        _ => a == b,
    }
}

/// Adds a count to closed, ascending ranges, joining neighbours.
fn see(seen: &mut Vec<(i32, i32)>, count: i32) {
    seen.push((count, count));
    seen.sort_unstable();
    let mut joined: Vec<(i32, i32)> = Vec::with_capacity(seen.len());
    for (from, to) in seen.drain(..) {
        match joined.last_mut() {
            Some(last) if from <= last.1 + 1 => last.1 = last.1.max(to),
            _ => joined.push((from, to)),
        }
    }
    *seen = joined;
}

/// 409: the id is known as another action, or is held here.
#[must_use]
pub fn identity_conflict() -> ApiError {
    ApiError::new(
        StatusCode::CONFLICT,
        "EVENT_IDENTITY_CONFLICT",
        "This action_id is known here as another action, or is held here.",
    )
}

#[cfg(test)]
mod tests {
    use serde_json::Map;
    use uuid::Uuid;

    use super::{ActionState, LoadedAction, MirroredEvent, Party, check_identity, see};
    use crate::commands::payload::ItemRef;

    const ORIGIN: &str = "https://b.example.org";

    fn state(source_url: &str, source_here: bool, target_url: &str) -> ActionState {
        let party = |domain: &str, url: &str, here| Party {
            item: ItemRef {
                item_network: "n".to_owned(),
                item_domain: domain.to_owned(),
                item_type: "t".to_owned(),
                item_id: Uuid::nil(),
                item_instance_url: url.to_owned(),
            },
            owner: None,
            here,
        };
        ActionState {
            action_type: "connect".to_owned(),
            partition_network: "n".to_owned(),
            action_id: Uuid::nil(),
            action_status: "created".to_owned(),
            update_count: 0,
            source: party("student", source_url, source_here),
            target: party("tutor", target_url, false),
            requirements_snapshot: Map::new(),
            remarks: None,
            created_at: None,
            updated_at: None,
        }
    }

    fn known(state: ActionState) -> LoadedAction {
        LoadedAction { state, seen: None, remarks_count: None, version: 1, position: 1 }
    }

    fn event(state: ActionState) -> MirroredEvent {
        MirroredEvent {
            origin: ORIGIN.to_owned(),
            state,
            coordinates: [None; 4],
            event_payload: Map::new(),
            remarks: None,
            tells_requirements: false,
            occurred_at: None,
        }
    }

    /// We may have changed our address since; whoever else has is another instance.
    #[test]
    fn an_action_of_ours_is_known_under_our_earlier_address_too() {
        let now = || event(state("https://a.example.org", true, ORIGIN));
        assert!(check_identity(Some(&known(state("https://old.example.org", true, ORIGIN))), &now()).is_ok());
        assert!(check_identity(Some(&known(state("https://old.example.org", false, ORIGIN))), &now()).is_err());
        let elsewhere = known(state("https://a.example.org", true, "https://c.example.org"));
        assert!(check_identity(Some(&elsewhere), &now()).is_err());
    }

    #[test]
    fn counts_are_kept_as_ranges() {
        let mut seen = Vec::new();
        for (count, expected) in [
            (5, vec![(5, 5)]),
            (0, vec![(0, 0), (5, 5)]),
            (1, vec![(0, 1), (5, 5)]),
            (4, vec![(0, 1), (4, 5)]),
            (3, vec![(0, 1), (3, 5)]),
            (2, vec![(0, 5)]),
        ] {
            see(&mut seen, count);
            assert_eq!(seen, expected);
        }
    }
}
