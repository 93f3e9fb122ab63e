//! Items: create, update, delete (CONTRACT 4.4, 4.6, 4.7).

use dpg_eventstore::EventType;
use serde_json::{Value, json};
use uuid::Uuid;

use super::*;
use crate::commands::item::{ItemChange, NewItem, create, delete, update};
use crate::commands::payload::{Coordinates, DeletedPayload, ItemPayload, LoadedItem, parse};
use crate::contract::merge;

const ID: Uuid = Uuid::from_u128(0xa);

fn plot(state: Value, coordinates: Coordinates) -> NewItem {
    NewItem {
        network: "harvest".to_owned(),
        domain: "farm".to_owned(),
        item_type: "plot_1".to_owned(),
        state,
        coordinates,
        owner: FARMER.to_owned(),
    }
}

fn private_of(event: &NewEvent) -> Option<Value> {
    event.private.as_deref().map(|private| serde_json::from_str(private.get()).unwrap())
}

fn created() -> LoadedItem {
    let state = json!({"name": "North", "phone": "1234"});
    let (event, _) = create(&contracts(), plot(state, Some((18.5, 73.8))), ID, metadata()).unwrap();
    LoadedItem::of(&appended(&event, at(0))).unwrap().unwrap()
}

#[test]
fn a_new_item_is_checked_split_and_named() {
    let state = json!({"name": "North", "phone": "1234", "helpers": [{"name": "Ira", "wage": 7}, {"name": "Uma"}]});
    let (event, written) = create(&contracts(), plot(state.clone(), Some((18.5, 73.8))), ID, metadata()).unwrap();
    assert_eq!((event.stream_id, event.version, event.event_type), (ID, 1, EventType::ItemCreated));
    assert_eq!((event.destination.as_deref(), event.metadata.actor.as_deref()), (None, Some(FARMER)));
    assert_eq!(
        serde_json::from_str::<Value>(event.payload.get()).unwrap(),
        json!({
            "item_network": "harvest", "item_domain": "farm", "item_type": "plot_1", "item_id": ID,
            "item_instance_url": "https://b.example.org",
            "item_schema_url": "https://b.example.org/api/v1/network/schema/harvest/farm/plot_1",
            "item_state": {"name": "North", "helpers": [{"name": "Ira"}, {"name": "Uma"}]},
            "item_latitude": 18.5, "item_longitude": 73.8, "created_by": FARMER
        })
    );
    assert_eq!(private_of(&event), Some(json!({"phone": "1234", "helpers": [{"wage": 7}, {}]})));
    assert_eq!(written.version, 1);
    let whole = merge(Value::Object(written.payload.item_state), Value::Object(written.private));
    assert_eq!(whole, state);
}

#[test]
fn an_item_without_private_values_or_a_place_has_neither() {
    let (event, written) = create(&contracts(), plot(json!({"name": "North"}), None), ID, metadata()).unwrap();
    assert!(event.private.is_none() && written.private.is_empty());
    assert_eq!((written.payload.item_latitude, written.payload.item_longitude), (None, None));
    let payload: Value = serde_json::from_str(event.payload.get()).unwrap();
    assert_eq!((&payload["item_latitude"], &payload["item_longitude"]), (&Value::Null, &Value::Null));
}

#[test]
fn the_registered_spelling_of_our_url_is_written() {
    let menu =
        NewItem { domain: "kitchen".to_owned(), item_type: "menu_1".to_owned(), ..plot(json!({"soup": 1}), None) };
    let (_, written) = create(&contracts(), menu, ID, metadata()).unwrap();
    assert_eq!(written.payload.item_instance_url, KITCHEN);
}

#[test]
fn what_is_not_served_is_refused_before_anything_else() {
    let error = create(&load("harvest/kitchen"), plot(json!({}), None), ID, metadata()).unwrap_err();
    assert_eq!(refusal(&error), (403, "UNSERVED_DOMAIN_BINDING"));
    assert_eq!(error.extra["requested"]["key"], "harvest/farm");
    let elsewhere = NewItem { network: "moon".to_owned(), ..plot(json!({}), None) };
    let error = create(&contracts(), elsewhere, ID, metadata()).unwrap_err();
    assert_eq!(refusal(&error), (403, "UNSERVED_DOMAIN_BINDING"));
}

#[test]
fn what_the_contract_does_not_define_is_no_item() {
    let unknown = NewItem { item_type: "plot_9".to_owned(), ..plot(json!({"name": "North"}), None) };
    let error = create(&contracts(), unknown, ID, metadata()).unwrap_err();
    assert_eq!((refusal(&error), paths(&error)), ((400, "INVALID_ITEM_STATE"), vec!["/item_type"]));
    // Served, but in no loaded contract.
    let elsewhere = NewItem { network: "moon".to_owned(), ..plot(json!({}), None) };
    let error = create(&load("harvest/farm,moon/farm"), elsewhere, ID, metadata()).unwrap_err();
    assert_eq!(refusal(&error), (400, "INVALID_ITEM_STATE"));
}

#[test]
fn every_fault_of_a_state_is_told_private_values_included() {
    let state = json!({"name": "", "phone": "12", "roof": true});
    let error = create(&contracts(), plot(state, None), ID, metadata()).unwrap_err();
    assert_eq!(refusal(&error), (400, "INVALID_ITEM_STATE"));
    assert_eq!(error.message, "item_state does not fit harvest/farm/plot_1.");
    let mut paths = paths(&error);
    paths.sort_unstable();
    assert_eq!(paths, ["/item_state", "/item_state/name", "/item_state/phone"]);
}

#[test]
fn a_state_that_is_no_object_is_refused() {
    for state in [Value::Null, json!([]), json!("North"), json!(1)] {
        let error = create(&contracts(), plot(state.clone(), None), ID, metadata()).unwrap_err();
        assert_eq!((refusal(&error), paths(&error)), ((400, "INVALID_ITEM_STATE"), vec!["/item_state"]));
        let change = ItemChange { state: Some(state), coordinates: None };
        let error = update(&contracts(), &created(), Map::new(), change, metadata()).unwrap_err();
        assert_eq!((refusal(&error), paths(&error)), ((400, "INVALID_ITEM_STATE"), vec!["/item_state"]));
    }
}

#[test]
fn a_change_of_state_replaces_both_halves() {
    let item = created();
    let change = ItemChange { state: Some(json!({"name": "South", "soil": "loam"})), coordinates: None };
    let private = object(json!({"phone": "1234"}));
    let (event, written) = update(&contracts(), &item, private, change, metadata()).unwrap();
    assert_eq!((event.stream_id, event.version, event.event_type), (ID, 2, EventType::ItemUpdated));
    assert_eq!(Value::Object(written.payload.item_state.clone()), json!({"name": "South", "soil": "loam"}));
    assert!(written.private.is_empty() && event.private.is_none());
    assert_eq!((written.payload.item_latitude, written.payload.item_longitude), (Some(18.5), Some(73.8)));
    assert_eq!(written.payload.created_at.as_deref(), Some("2026-11-21T01:53:04.000Z"));
    assert_eq!(written.payload.created_position, Some(41));
    let again = LoadedItem::of(&appended(&event, at(5))).unwrap().unwrap();
    assert_eq!((again.version, again.created_at.as_str()), (2, "2026-11-21T01:53:04.000Z"));
}

#[test]
fn a_change_of_place_keeps_the_state() {
    let item = created();
    let private = object(json!({"phone": "1234"}));
    for (coordinates, expected) in [(Some((-90.0, 180.0)), (Some(-90.0), Some(180.0))), (None, (None, None))] {
        let change = ItemChange { state: None, coordinates: Some(coordinates) };
        assert!(!change.is_empty());
        let (event, written) = update(&contracts(), &item, private.clone(), change, metadata()).unwrap();
        assert_eq!((written.payload.item_latitude, written.payload.item_longitude), expected);
        assert_eq!(written.payload.item_state, item.payload.item_state);
        assert_eq!(private_of(&event), Some(json!({"phone": "1234"})));
    }
    assert!(ItemChange::default().is_empty());
}

#[test]
fn a_change_is_checked_with_the_schema_of_now() {
    let mut item = created();
    item.payload.item_schema_url = "https://old.example.org/plot".to_owned();
    let change = |state| ItemChange { state: Some(state), coordinates: None };
    let (_, written) = update(&contracts(), &item, Map::new(), change(json!({"name": "South"})), metadata()).unwrap();
    assert_eq!(written.payload.item_schema_url, "https://b.example.org/api/v1/network/schema/harvest/farm/plot_1");
    let error = update(&contracts(), &item, Map::new(), change(json!({"phone": "1"})), metadata()).unwrap_err();
    let mut told = paths(&error);
    told.sort_unstable();
    assert_eq!((refusal(&error), told), ((400, "INVALID_ITEM_STATE"), vec!["/item_state", "/item_state/phone"]));
    // Without a state the schema is not looked at: the type may have left the contract.
    item.payload.item_type = "plot_0".to_owned();
    let moved = ItemChange { state: None, coordinates: Some(None) };
    let (_, written) = update(&contracts(), &item, Map::new(), moved, metadata()).unwrap();
    assert_eq!(written.payload.item_schema_url, "https://old.example.org/plot");
    let error = update(&contracts(), &item, Map::new(), change(json!({"name": "South"})), metadata()).unwrap_err();
    assert_eq!(refusal(&error), (400, "INVALID_ITEM_STATE"));
}

#[test]
fn an_ended_item_keeps_who_it_was_and_no_state() {
    let event = delete(&created(), metadata()).unwrap();
    assert_eq!((event.stream_id, event.version, event.event_type), (ID, 2, EventType::ItemDeleted));
    assert!(event.private.is_none() && event.destination.is_none());
    let payload: DeletedPayload = parse(&event.payload).unwrap();
    assert_eq!((payload.item_id, payload.created_by.as_str()), (ID, FARMER));
    assert!(serde_json::from_str::<ItemPayload>(event.payload.get()).is_err());
    assert!(LoadedItem::of(&appended(&event, at(9))).unwrap().is_none());
}
