//! Changing the status of an action that is held here (CONTRACT 4.11, 5.1, 5.2).

use dpg_eventstore::EventType;
use serde_json::{Value, json};

use super::action::wanted;
use super::*;
use crate::commands::action::{StatusChange, event_id, perform, role_of, update_status};
use crate::commands::payload::ActionPayload;
use crate::contract::Role;

fn held(action_type: &str, here: bool) -> LoadedAction {
    let (event, _) = perform(&contracts(), wanted(action_type, here, json!({"crop": "rice"})), metadata()).unwrap();
    loaded_action(&event, at(0))
}

/// An action whose status has been changed `count` times.
fn changed(action_type: &str, status: &str, count: i32) -> LoadedAction {
    let mut action = held(action_type, false);
    action.state.action_status = status.to_owned();
    action.state.update_count = count;
    action.version = count + 1;
    action
}

fn to(status: &str) -> StatusChange {
    StatusChange { status: status.to_owned(), remarks: None, event_payload: None }
}

fn set(action: &LoadedAction, role: Option<Role>, change: StatusChange) -> Result<(NewEvent, ActionPayload), ApiError> {
    update_status(&contracts(), action, role, change, (None, Some((12.97, 77.59))), metadata())
}

fn refused(action: &LoadedAction, role: Option<Role>, status: &str) -> String {
    refusal(&set(action, role, to(status)).unwrap_err()).1.to_owned()
}

#[test]
fn a_change_raises_the_count_by_one_and_has_its_own_event() {
    let action = held("offer", false);
    let (event, payload) = set(&action, Some(Role::Target), to("accepted")).unwrap();
    assert_eq!(
        (event.stream_id, event.version, event.event_type),
        (action.state.action_id, 2, EventType::ActionStatusUpdated)
    );
    assert_eq!(event.destination.as_deref(), Some("https://a.example.org"));
    assert_eq!((payload.action.action_status.as_str(), payload.action.update_count), ("accepted", 1));
    assert_eq!((payload.event.action_status.as_str(), payload.event.update_count), ("accepted", 1));
    assert_eq!(event.event_id, event_id(&InstanceUrl::parse(KITCHEN).unwrap(), action.state.action_id, 1));
    assert_eq!(payload.action.created_at.as_deref(), Some("2026-11-21T01:53:04.000Z"));
    assert_eq!(payload.action.updated_at, None, "that is this event's time");
    let loaded = loaded_action(&event, at(7));
    assert_eq!(loaded.state.updated_at.as_deref(), Some("2026-11-21T01:53:11.000Z"));
    assert_eq!(loaded.state.created_at, payload.action.created_at);
    assert_eq!(set(&held("offer", true), Some(Role::Target), to("accepted")).unwrap().0.destination, None);
}

#[test]
fn roles_come_from_items_that_live_here() {
    let mut state = held("offer", false).state;
    assert_eq!((role_of(&state, COOK), role_of(&state, FARMER)), (Some(Role::Target), None));
    state.source.here = true;
    assert_eq!((role_of(&state, FARMER), role_of(&state, "admin")), (Some(Role::Source), None));
    state.source.owner = Some(COOK.to_owned());
    assert_eq!((role_of(&state, COOK), role_of(&state, FARMER)), (Some(Role::Both), None));
    state.source.owner = None;
    assert_eq!(role_of(&state, COOK), Some(Role::Target));
}

#[test]
fn refusals_come_in_order() {
    let action = held("offer", false);
    // Nobody to the action, before the enum; then the enum, before what the role may.
    assert_eq!(refused(&action, None, "bogus"), "TARGET_ITEM_NOT_OWNED");
    assert_eq!(refused(&action, Some(Role::Source), "bogus"), "INVALID_ACTION_STATUS");
    assert_eq!(refused(&action, Some(Role::Target), "bogus"), "INVALID_ACTION_STATUS");
    assert_eq!(refused(&action, Some(Role::Source), "accepted"), "TARGET_ITEM_NOT_OWNED");
    // The transition before the payload.
    let spoilt = |status: &str| StatusChange { event_payload: Some(object(json!({"crop": 1}))), ..to(status) };
    let done = changed("visit", "done", 2);
    let error = set(&done, Some(Role::Target), spoilt("agreed")).unwrap_err();
    assert_eq!(refusal(&error), (409, "INVALID_TRANSITION"));
    let error = set(&action, Some(Role::Target), spoilt("accepted")).unwrap_err();
    assert_eq!((refusal(&error), paths(&error)), ((400, "INVALID_ACTION_EVENT"), vec!["/event_payload/crop"]));
    // An interaction that has left the contract, for who has a role.
    let mut orphan = action;
    orphan.state.action_type = "gone".to_owned();
    assert_eq!(refused(&orphan, Some(Role::Target), "accepted"), "INVALID_ACTION_EVENT");
    assert_eq!(refused(&orphan, None, "accepted"), "TARGET_ITEM_NOT_OWNED");
}

#[test]
fn the_source_may_withdraw_while_unanswered_whatever_the_enum_says() {
    // The enum of "offer" lacks it.
    let fresh = held("offer", false);
    assert!(set(&fresh, Some(Role::Source), to("cancelled")).is_ok());
    assert!(set(&fresh, Some(Role::Both), to("cancelled")).is_ok());
    assert_eq!(refused(&fresh, Some(Role::Target), "cancelled"), "INVALID_ACTION_STATUS");
    let answered = changed("offer", "accepted", 1);
    assert_eq!(refused(&answered, Some(Role::Source), "cancelled"), "INVALID_ACTION_STATUS");
    assert_eq!(refused(&answered, Some(Role::Both), "cancelled"), "INVALID_ACTION_STATUS");
    // Where no enum forbids it, it is too late after an answer, but not for the target.
    let answered = changed("chat", "accepted", 1);
    assert_eq!(refused(&answered, Some(Role::Source), "cancelled"), "INVALID_TRANSITION");
    assert!(set(&answered, Some(Role::Both), to("cancelled")).is_ok());
    assert!(set(&answered, Some(Role::Target), to("anything")).is_ok());
}

#[test]
fn a_lifecycle_binds_both_sides() {
    let asked = held("visit", false);
    assert!(set(&asked, Some(Role::Target), to("agreed")).is_ok());
    assert!(set(&asked, Some(Role::Source), to("cancelled")).is_ok());
    assert!(set(&asked, Some(Role::Both), to("cancelled")).is_ok());
    assert_eq!(refused(&asked, Some(Role::Target), "cancelled"), "TARGET_ITEM_NOT_OWNED");
    assert_eq!(refused(&asked, Some(Role::Source), "agreed"), "TARGET_ITEM_NOT_OWNED");
    assert_eq!(refused(&asked, Some(Role::Both), "done"), "INVALID_TRANSITION");
    assert_eq!(refused(&asked, Some(Role::Target), "asked"), "TARGET_ITEM_NOT_OWNED");
    let agreed = changed("visit", "agreed", 1);
    assert!(set(&agreed, Some(Role::Source), to("done")).is_ok());
    assert_eq!(refused(&agreed, Some(Role::Source), "cancelled"), "INVALID_TRANSITION");
    // Terminal, though a transition is listed.
    assert_eq!(refused(&changed("visit", "declined", 1), Some(Role::Target), "agreed"), "INVALID_TRANSITION");
}

#[test]
fn the_count_ends_at_a_million() {
    let last = changed("chat", "accepted", 999_999);
    let (_, payload) = set(&last, Some(Role::Target), to("completed")).unwrap();
    assert_eq!(payload.action.update_count, 1_000_000);
    let full = changed("chat", "accepted", 1_000_000);
    let error = set(&full, Some(Role::Target), to("completed")).unwrap_err();
    assert_eq!(refusal(&error), (409, "ACTION_CONFLICT"));
    assert_eq!(refused(&full, None, "completed"), "TARGET_ITEM_NOT_OWNED");
    assert_eq!(refused(&full, Some(Role::Source), "cancelled"), "INVALID_TRANSITION");
}

#[test]
fn the_row_keeps_the_last_remark_and_the_event_has_its_own() {
    let said = StatusChange { remarks: Some("Saturday".to_owned()), ..to("accepted") };
    let (event, payload) = set(&held("offer", false), Some(Role::Target), said).unwrap();
    assert_eq!(
        (payload.action.remarks.as_deref(), payload.event.remarks.as_deref()),
        (Some("Saturday"), Some("Saturday"))
    );
    assert_eq!(payload.event.event_payload["remark"], "Saturday");
    let (_, payload) = set(&loaded_action(&event, at(1)), Some(Role::Target), to("rejected")).unwrap();
    assert_eq!((payload.action.remarks.as_deref(), payload.event.remarks.as_deref()), (Some("Saturday"), None));
    assert_eq!(payload.event.event_payload["remark"], "Action status set to rejected");
}

#[test]
fn the_clients_payload_goes_over_what_is_drawn() {
    let sent = json!({"slot": "ten", "crop": "oats", "status": "hacked", "remark": "hacked", "more": [1]});
    let change = StatusChange { event_payload: Some(object(sent)), ..to("accepted") };
    let (_, payload) = set(&held("offer", false), Some(Role::Target), change).unwrap();
    let mut told = payload.event.event_payload;
    assert!(told.remove("source_item").is_some());
    assert_eq!(
        Value::Object(told),
        json!({"status": "accepted", "remark": "Action status set to accepted", "crop": "oats", "slot": "ten",
               "action_type": "offer", "more": [1]})
    );
    assert_eq!(payload.action.requirements_snapshot["crop"], "rice", "what was handed over stays");
}

#[test]
fn what_can_not_be_mirrored_is_refused() {
    let large =
        |size| StatusChange { event_payload: Some(object(json!({"text": "x".repeat(size)}))), ..to("accepted") };
    assert!(set(&held("chat", false), Some(Role::Target), large(1_000_000)).is_ok());
    let error = set(&held("chat", false), Some(Role::Target), large(1 << 20)).unwrap_err();
    assert_eq!(refusal(&error), (400, "INVALID_ACTION_EVENT"));
    assert!(set(&held("chat", true), Some(Role::Target), large(1 << 20)).is_ok());
}

#[test]
fn every_event_of_an_action_carries_its_place() {
    let (_, payload) = set(&held("offer", false), Some(Role::Target), to("accepted")).unwrap();
    let row = payload.event;
    assert_eq!((row.source_item_latitude, row.source_item_longitude), (None, None));
    assert_eq!((row.target_item_latitude, row.target_item_longitude), (Some(12.97), Some(77.59)));
}
