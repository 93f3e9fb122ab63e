//! Performing actions (CONTRACT 4.10, 5.1), and the identity of events (3.4).

use dpg_eventstore::EventType;
use serde_json::{Value, json};
use uuid::Uuid;

use super::*;
use crate::commands::action::{Perform, check_request, event_id, perform};
use crate::commands::payload::ActionPayload;
use crate::http::json::parse as parse_body;

/// Largest body that may be mirrored.
const LIMIT: usize = (1 << 20) - (1 << 10);

pub(super) fn wanted(action_type: &str, here: bool, requirements: Value) -> Perform {
    Perform {
        action_type: action_type.to_owned(),
        action_id: Uuid::from_u128(0xc),
        source: source(here),
        source_coordinates: here.then_some((1.5, 2.5)),
        target: target(),
        target_coordinates: Some((12.97, 77.59)),
        requirements: object(requirements),
    }
}

fn performed(action_type: &str, here: bool, requirements: Value) -> Result<(NewEvent, ActionPayload), ApiError> {
    perform(&contracts(), wanted(action_type, here, requirements), metadata())
}

fn mirrored_bytes(payload: &str) -> usize {
    dpg_mirror::body::event_body(payload, at(0)).unwrap().json.len()
}

#[test]
fn event_ids_are_those_of_the_contract() {
    let action: Uuid = "019AA3D0-5B3E-7F44-A1B2-C3D4E5F60718".parse().unwrap();
    let expected: Uuid = "6baf41f0-cff9-5d18-ae2d-f3af7567c255".parse().unwrap();
    for origin in ["https://b.example.org", "HTTPS://B.Example.org:443/", "https://b.example.org/api?x#y"] {
        assert_eq!(event_id(&InstanceUrl::parse(origin).unwrap(), action, 1), expected, "{origin}");
    }
    let origin = InstanceUrl::parse("https://b.example.org").unwrap();
    assert_ne!(event_id(&origin, action, 2), expected);
    assert_ne!(event_id(&InstanceUrl::parse("http://b.example.org").unwrap(), action, 1), expected);
    let loopback = ["http://127.0.0.1:80/", "http://[::1]", "http://LOCALHOST"];
    let ids = loopback.map(|origin| event_id(&InstanceUrl::parse(origin).unwrap(), action, 1));
    assert_eq!([ids[0]; 3], ids);
}

#[test]
fn an_action_is_performed() {
    let (event, payload) = performed("offer", false, json!({"crop": "rice", "weight": 2.5})).unwrap();
    assert_eq!(
        (event.stream_id, event.version, event.event_type),
        (Uuid::from_u128(0xc), 1, EventType::ActionPerformed)
    );
    assert_eq!(event.event_id, payload.event.event_id);
    assert!(event.private.is_none());
    let state = &payload.action;
    assert_eq!((state.action_status.as_str(), state.update_count), ("created", 0));
    assert_eq!((state.partition_network.as_str(), state.action_type.as_str()), ("harvest", "offer"));
    assert_eq!((&state.source, &state.target), (&source(false), &target()));
    assert_eq!(Value::Object(state.requirements_snapshot.clone()), json!({"crop": "rice", "weight": 2.5}));
    assert_eq!((&state.remarks, &state.created_at, &state.updated_at, &payload.seen), (&None, &None, &None, &None));
    let row = &payload.event;
    assert_eq!((row.action_status.as_str(), row.update_count, &row.remarks), ("created", 0, &None));
    assert_eq!(row.origin_instance_domain, KITCHEN);
    assert_eq!((row.source_item_latitude, row.source_item_longitude), (None, None));
    assert_eq!((row.target_item_latitude, row.target_item_longitude), (Some(12.97), Some(77.59)));
    assert_eq!(row.event_id, event_id(&InstanceUrl::parse("https://b.example.org").unwrap(), state.action_id, 0));
}

#[test]
fn the_first_payload_is_drawn_from_context_and_requirements() {
    let (_, payload) = performed("offer", false, json!({"crop": "rice", "weight": 2.5})).unwrap();
    assert_eq!(
        Value::Object(payload.event.event_payload),
        json!({
            "status": "created", "remark": "Action status set to created", "crop": "rice", "action_type": "offer",
            "source_item": {"item_network": "harvest", "item_domain": "farm", "item_type": "plot_1",
                "item_id": Uuid::from_u128(0xa), "item_instance_url": FARM}
        })
    );
}

#[test]
fn only_a_source_elsewhere_is_told() {
    let (event, payload) = performed("offer", false, json!({"crop": "rice"})).unwrap();
    assert_eq!(event.destination.as_deref(), Some("https://a.example.org"));
    assert!(!payload.action.source.here);
    let (event, payload) = performed("offer", true, json!({"crop": "rice"})).unwrap();
    assert_eq!(event.destination, None);
    assert_eq!((payload.event.source_item_latitude, payload.event.source_item_longitude), (Some(1.5), Some(2.5)));
    // Lanes are keyed by the normal form.
    let mut shouted = wanted("chat", false, json!({}));
    shouted.source.item.item_instance_url = "HTTPS://A.example.org:443".to_owned();
    let (event, _) = perform(&contracts(), shouted, metadata()).unwrap();
    assert_eq!(event.destination.as_deref(), Some("https://a.example.org"));
}

#[test]
fn a_lifecycle_says_how_an_action_begins() {
    let (_, payload) = performed("visit", false, json!({})).unwrap();
    assert_eq!((payload.action.action_status.as_str(), payload.event.action_status.as_str()), ("asked", "asked"));
    assert_eq!(payload.event.event_payload["status"], "asked");
}

#[test]
fn without_an_interaction_there_is_no_action() {
    let error = performed("steal", false, json!({})).unwrap_err();
    assert_eq!(refusal(&error), (400, "INVALID_ACTION_REQUEST"));
    let contracts = contracts();
    let (farm, kitchen) = (source(false).item, target().item);
    assert!(check_request(&contracts, "offer", &farm, &kitchen).is_ok());
    let other_type = ItemRef { item_type: "plot_2".to_owned(), ..farm.clone() };
    let other_network = ItemRef { item_network: "moon".to_owned(), ..kitchen.clone() };
    for (source, target) in [(&kitchen, &farm), (&other_type, &kitchen), (&farm, &other_network)] {
        let error = check_request(&contracts, "offer", source, target).unwrap_err();
        assert_eq!(refusal(&error), (400, "INVALID_ACTION_REQUEST"));
    }
}

#[test]
fn requirements_are_checked_with_all_faults() {
    let error = performed("offer", false, json!({"weight": "much", "more": 1})).unwrap_err();
    assert_eq!(refusal(&error), (400, "INVALID_ACTION_REQUEST"));
    let mut told = paths(&error);
    told.sort_unstable();
    assert_eq!(told, ["/requirements_snapshot", "/requirements_snapshot", "/requirements_snapshot/weight"]);
}

#[test]
fn the_first_event_has_to_fit_the_contract() {
    let error = performed("strict", false, json!({})).unwrap_err();
    assert_eq!((refusal(&error), paths(&error)), ((400, "INVALID_ACTION_EVENT"), vec!["/event_payload"]));
    let error = performed("strict", false, json!({"crop": 1})).unwrap_err();
    assert_eq!((refusal(&error), paths(&error)), ((400, "INVALID_ACTION_EVENT"), vec!["/event_payload/crop"]));
    assert!(performed("strict", false, json!({"crop": "rice"})).is_ok());
}

#[test]
fn what_can_not_be_mirrored_is_refused_and_only_then() {
    let text = |length: usize| json!({"text": "x".repeat(length)});
    let (empty, _) = performed("chat", false, text(0)).unwrap();
    let room = LIMIT - mirrored_bytes(empty.payload.get());
    let (full, _) = performed("chat", false, text(room)).unwrap();
    assert_eq!(mirrored_bytes(full.payload.get()), LIMIT);
    let error = performed("chat", false, text(room + 1)).unwrap_err();
    assert_eq!(refusal(&error), (400, "INVALID_ACTION_REQUEST"));
    assert!(performed("chat", true, text(room + 1)).is_ok(), "nobody has to be told");
}

/// The mirror reads the payload as Postgres writes it: blanks after colons and commas, and no exponents.
#[test]
fn what_postgres_adds_to_a_payload_is_not_sent() {
    let requirements = json!({"list": vec![json!(1); 100], "large": 1e20});
    let (event, _) = performed("chat", false, requirements).unwrap();
    let sent = event.payload.get();
    let stored = sent.replace("1,1", "1, 1").replace("1e+20", "100000000000000000000").replace("\":", "\": ");
    assert!(stored.len() > sent.len() + 100);
    assert_eq!(mirrored_bytes(&stored), mirrored_bytes(sent));
}

#[test]
fn the_deepest_requirements_can_be_performed_and_mirrored() {
    let body = json!({"requirements_snapshot": {"deep": nested(126)}}).to_string();
    let body = parse_body(body.as_bytes()).unwrap();
    let (event, payload) = performed("chat", false, body["requirements_snapshot"].clone()).unwrap();
    assert_eq!(loaded_action(&event, at(0)).state.requirements_snapshot, payload.action.requirements_snapshot);
    let sent = dpg_mirror::body::event_body(event.payload.get(), at(0)).unwrap();
    let sent = parse_body(&sent.json).unwrap();
    assert_eq!(sent["requirements_snapshot"], body["requirements_snapshot"]);
}
