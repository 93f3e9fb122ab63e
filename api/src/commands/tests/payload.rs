//! What is written to the log is read again, as deep as a body may be.

use dpg_eventstore::StreamType;
use serde_json::value::{RawValue, to_raw_value};
use serde_json::{Value, json};
use uuid::Uuid;

use super::action::wanted;
use super::*;
use crate::commands::action::{StatusChange, perform, update_status};
use crate::commands::item::{NewItem, create};
use crate::commands::mirrored::same_content;
use crate::commands::payload::{ActionPayload, ItemPayload, LoadedItem, parse, timestamp};
use crate::contract::Role;
use crate::http::json::{JsonFault, parse as parse_body};

/// The deepest body there is.
fn deepest(field: &str) -> Map<String, Value> {
    let text = |levels| json!({field: {"deep": nested(levels)}}).to_string();
    assert_eq!(parse_body(text(127).as_bytes()), Err(JsonFault::TooDeep));
    let body = parse_body(text(126).as_bytes()).unwrap();
    object(body[field].clone())
}

#[test]
fn a_state_as_deep_as_a_body_may_be_is_read_again() {
    let state = deepest("item_state");
    let item = NewItem {
        network: "harvest".to_owned(),
        domain: "kitchen".to_owned(),
        item_type: "menu_1".to_owned(),
        state: Value::Object(state.clone()),
        coordinates: None,
        owner: COOK.to_owned(),
    };
    let (event, written) = create(&contracts(), item, Uuid::from_u128(0xb), metadata()).unwrap();
    assert_eq!(parse::<ItemPayload>(&event.payload).unwrap(), written.payload);
    let item = LoadedItem::of(&appended(&event, at(0))).unwrap().unwrap();
    assert_eq!(item.payload.item_state, state);
    assert!(item.is("harvest", "kitchen", "menu_1") && !item.is("harvest", "farm", "menu_1"));
}

#[test]
fn an_outcome_as_deep_as_a_body_may_be_is_read_again() {
    let requirements = Value::Object(deepest("requirements_snapshot"));
    let (event, payload) = perform(&contracts(), wanted("chat", false, requirements), metadata()).unwrap();
    assert_eq!(parse::<ActionPayload>(&event.payload).unwrap(), payload);
    let sent = deepest("event_payload");
    let change = StatusChange {
        status: "accepted".to_owned(),
        remarks: Some("\u{0001} \"quoted\" \u{10ffff}".to_owned()),
        event_payload: Some(sent.clone()),
    };
    let action = loaded_action(&event, at(0));
    let (event, payload) =
        update_status(&contracts(), &action, Some(Role::Target), change, (None, None), metadata()).unwrap();
    let read: ActionPayload = parse(&event.payload).unwrap();
    assert_eq!(read, payload);
    assert_eq!(read.event.event_payload["deep"], sent["deep"]);
    assert!(same_content(&read.event, "accepted", &payload.event.event_payload, payload.event.remarks.as_deref()));
}

#[test]
fn numbers_come_back_as_they_went() {
    let text = r#"{"whole":[-9223372036854775808,18446744073709551615,0],"broken":[0.1,1e300,-2.5e-7,5e-324]}"#;
    let body = parse_body(text.as_bytes()).unwrap();
    let (event, _) = perform(&contracts(), wanted("chat", false, body.clone()), metadata()).unwrap();
    let read: ActionPayload = parse(&event.payload).unwrap();
    assert_eq!(Value::Object(read.action.requirements_snapshot), body);
}

#[test]
fn an_action_is_laid_out_flat_with_the_names_of_the_wire() {
    let (event, _) = perform(&contracts(), wanted("visit", true, json!({"n": 1})), metadata()).unwrap();
    let payload: Value = serde_json::from_str(event.payload.get()).unwrap();
    assert_eq!(
        payload["action"],
        json!({
            "action_type": "visit", "partition_network": "harvest", "action_id": Uuid::from_u128(0xc),
            "action_status": "asked", "update_count": 0,
            "source_item_network": "harvest", "source_item_domain": "farm", "source_item_type": "plot_1",
            "source_item_id": Uuid::from_u128(0xa), "source_item_instance_url": "https://b.example.org",
            "source_item_owner": FARMER, "source_here": true,
            "target_item_network": "harvest", "target_item_domain": "kitchen", "target_item_type": "menu_1",
            "target_item_id": Uuid::from_u128(0xb), "target_item_instance_url": KITCHEN,
            "target_item_owner": COOK, "target_here": true,
            "requirements_snapshot": {"n": 1}, "remarks": null
        })
    );
    let members: Vec<&str> = payload.as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(members, ["action", "event"], "what only mirrors have is left out");
}

#[test]
fn a_stream_of_the_other_kind_is_not_loaded() {
    let (event, _) = perform(&contracts(), wanted("chat", true, json!({})), metadata()).unwrap();
    let mut stream = appended(&event, at(0));
    assert!(LoadedItem::of(&stream).unwrap().is_none());
    stream.stream_type = StreamType::Item;
    assert!(LoadedAction::of(&stream).unwrap().is_none());
    assert!(LoadedItem::of(&stream).is_err(), "an action's payload is no item's");
}

#[test]
fn payloads_of_another_make_are_errors() {
    let foreign: Box<RawValue> = to_raw_value(&json!({"action": {}, "event": {}})).unwrap();
    assert!(parse::<ActionPayload>(&foreign).is_err());
}

#[test]
fn times_are_written_in_milliseconds() {
    assert_eq!(timestamp(at(0)), "2026-11-21T01:53:04.000Z");
}
