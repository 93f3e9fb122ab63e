//! Decisions without a database: an example network, and a log that is no more than the last event of a stream.

mod action;
mod item;
mod mirrored;
mod payload;
mod status;

use chrono::{DateTime, Utc};
use dpg_eventstore::{Metadata, NewEvent, Stream};
use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::payload::{ItemRef, LoadedAction, Party};
use crate::contract::{Contracts, Documents, InstanceUrl, LoadOptions, parse_bindings};
use crate::http::ApiError;

const FARM: &str = "https://a.example.org";
/// This instance, in its registered spelling.
const KITCHEN: &str = "https://B.example.org";
const FARMER: &str = "user-of-the-farm";
const COOK: &str = "user-of-the-kitchen";

/// Farms offer crops to kitchens. We are the kitchens' instance; farms live elsewhere, and some here.
fn contracts() -> Contracts {
    load("harvest/kitchen,harvest/farm")
}

fn load(served: &str) -> Contracts {
    let options = LoadOptions {
        own_url: InstanceUrl::parse("https://b.example.org").unwrap(),
        served: parse_bindings(served).unwrap(),
        production: false,
        allow_extra: false,
    };
    Contracts::build(Documents::local(vec![network()]), &options).unwrap().0
}

fn network() -> Value {
    json!({"id": "harvest", "domains": [
       {"id": "farm", "item_schemas": {"plot_1": {
           "type": "object", "additionalProperties": false, "required": ["name"],
           "properties": {
               "name": {"type": "string", "minLength": 1}, "soil": {"type": "string"},
               "phone": {"type": "string", "pattern": "^[0-9]{4}$", "private": true},
               "helpers": {"items": {"properties": {"name": {"type": "string"}, "wage": {"private": true}}}}
           }}}},
       {"id": "kitchen", "item_schemas": {"menu_1": {"type": "object"}}}],
    "instances": [
       {"domain_id": "farm", "instance_url": FARM}, {"domain_id": "farm", "instance_url": "https://b.example.org"},
       {"domain_id": "kitchen", "instance_url": "https://B.example.org/"}],
    "actions": {
       "offer": {"interactions": [interaction(
           &json!({"type": "object", "additionalProperties": false, "required": ["crop"],
               "properties": {"crop": {"type": "string"}, "weight": {"type": "number"}}}),
           &json!({"type": "object", "required": ["status", "crop"], "properties": {
               "status": {"enum": ["created", "accepted", "rejected"]}, "remark": {"type": "string"},
               "crop": {"type": "string"}, "slot": {"type": "string"}, "action_type": {}, "source_item": {}}}))]},
       "visit": {
           "lifecycle": {"initial": "asked", "terminal": ["declined", "done"], "transitions": [
               {"from": "asked", "to": "agreed"}, {"from": "asked", "to": "declined"},
               {"from": "asked", "to": "cancelled", "by": "source"}, {"from": "agreed", "to": "done", "by": "any"},
               {"from": "declined", "to": "agreed"}]},
           "interactions": [interaction(&json!({}), &json!({"properties": {"status": {
               "enum": ["asked", "agreed", "declined", "cancelled", "done"]}}}))]},
       "chat": {"interactions": [interaction(&json!({}), &json!({}))]},
       "strict": {"interactions": [interaction(&json!({}), &json!({"required": ["crop"], "properties": {
           "crop": {"type": "string"}}}))]}
    }})
}

fn interaction(requirement_schema: &Value, event_schema: &Value) -> Value {
    json!({"from_domain": "farm", "from_items": ["plot_1"], "to_domain": "kitchen", "to_items": ["menu_1"],
           "requirement_schema": requirement_schema, "event_schema": event_schema})
}

fn object(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(object) => object,
        other => panic!("{other} is no object"),
    }
}

/// Status and code of a refusal.
fn refusal(error: &ApiError) -> (u16, &str) {
    (error.status.as_u16(), &error.code)
}

fn paths(error: &ApiError) -> Vec<&str> {
    error.details.iter().map(|fault| fault.path.as_str()).collect()
}

fn metadata() -> Metadata {
    Metadata { actor: Some(FARMER.to_owned()), request_id: Some("r1".to_owned()), origin: None }
}

/// The farmer's plot: elsewhere, unless `here`.
fn source(here: bool) -> Party {
    let item_instance_url = if here { "https://b.example.org" } else { FARM }.to_owned();
    let item = item_ref("farm", "plot_1", Uuid::from_u128(0xa), item_instance_url);
    Party { item, owner: Some(FARMER.to_owned()), here }
}

/// The cook's menu, here.
fn target() -> Party {
    let item = item_ref("kitchen", "menu_1", Uuid::from_u128(0xb), KITCHEN.to_owned());
    Party { item, owner: Some(COOK.to_owned()), here: true }
}

fn item_ref(domain: &str, item_type: &str, item_id: Uuid, item_instance_url: String) -> ItemRef {
    ItemRef {
        item_network: "harvest".to_owned(),
        item_domain: domain.to_owned(),
        item_type: item_type.to_owned(),
        item_id,
        item_instance_url,
    }
}

fn at(seconds: i64) -> DateTime<Utc> {
    DateTime::from_timestamp(1_795_225_984 + seconds, 0).unwrap()
}

/// The stream as it is read once `event` has been appended.
fn appended(event: &NewEvent, recorded_at: DateTime<Utc>) -> Stream {
    Stream {
        network: "harvest".to_owned(),
        stream_type: event.event_type.stream_type(),
        version: event.version,
        position: 40 + i64::from(event.version),
        first_position: 41,
        open: !event.event_type.closes(),
        recorded_at,
        payload: event.payload.clone(),
    }
}

fn loaded_action(event: &NewEvent, recorded_at: DateTime<Utc>) -> LoadedAction {
    LoadedAction::of(&appended(event, recorded_at)).unwrap().unwrap()
}

/// `levels` arrays, one in the other.
fn nested(levels: usize) -> Value {
    (0..levels).fold(json!(1), |inner, _| Value::Array(vec![inner]))
}
