//! Where the JSON Schemas of a normalised network document stand.

use serde_json::{Map, Value};

use super::pointer::{index, join};

/// One schema of a network document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Place {
    /// Its pointer.
    pub(super) at: String,
    /// Number of the domain and item type; none for the schemas of actions.
    pub(super) item_type: Option<(usize, String)>,
}

/// The places of all schemas: those of domains first.
pub(super) fn places(normalised: &Value) -> Vec<Place> {
    let mut places = Vec::new();
    for (position, domain) in list(normalised, "domains").iter().enumerate() {
        for key in ["item_schemas", "default_item_schemas"] {
            for name in keys(domain.get(key)) {
                let at = schema_at(position, key, name);
                places.push(Place { at, item_type: Some((position, name.to_owned())) });
            }
        }
    }
    for action_type in keys(normalised.get("actions")) {
        let at = join(&join("/actions", action_type), "interactions");
        let interactions = normalised.pointer(&at).and_then(Value::as_array).map_or(0, Vec::len);
        for position in 0..interactions {
            for key in ["requirement_schema", "event_schema"] {
                places.push(Place { at: join(&index(&at, position), key), item_type: None });
            }
        }
    }
    places
        .retain(|place| normalised.pointer(&place.at).is_some_and(|schema| schema.is_object() || schema.is_boolean()));
    places
}

/// The pointer of a domain's schema.
pub(super) fn schema_at(domain: usize, key: &str, item_type: &str) -> String {
    join(&join(&index("/domains", domain), key), item_type)
}

/// Whether a schema is one of the defaults, which are reported where they take effect.
pub(super) fn is_default(at: &str) -> bool {
    at.split('/').nth(3) == Some("default_item_schemas")
}

pub(super) fn list<'v>(object: &'v Value, key: &str) -> &'v [Value] {
    object.get(key).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

pub(super) fn keys(value: Option<&Value>) -> impl Iterator<Item = &str> {
    value.and_then(Value::as_object).into_iter().flat_map(Map::keys).map(String::as_str)
}
