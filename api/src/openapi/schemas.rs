//! The objects of the wire contract as JSON Schemas (`components.schemas`): scalars with the bounds that the code
//! enforces, then what requests and answers are made of. An answer may carry more members than are listed, never fewer.

use serde_json::{Map, Value, json};

/// A reference to a component.
pub(super) fn schema(name: &str) -> Value {
    json!({"$ref": format!("#/components/schemas/{name}")})
}

/// A schema that is only a type.
pub(super) fn one(kind: &str) -> Value {
    json!({"type": kind})
}

/// The same, or null.
pub(super) fn nullable(inner: Value) -> Value {
    let mut either = json!({});
    put(&mut either, "anyOf", Value::Array(vec![inner, one("null")]));
    either
}

/// An object of which all listed members are there.
pub(super) fn object(members: &[(&str, Value)]) -> Value {
    let required: Vec<&str> = members.iter().map(|(name, _)| *name).collect();
    partly(members, &required)
}

/// An object of which some members may be missing.
pub(super) fn partly(members: &[(&str, Value)], required: &[&str]) -> Value {
    let properties: Map<String, Value> =
        members.iter().map(|(name, schema)| ((*name).to_owned(), schema.clone())).collect();
    let mut object = json!({"type": "object", "properties": properties});
    if !required.is_empty() {
        put(&mut object, "required", json!(required));
    }
    object
}

/// A list.
pub(super) fn list(of: Value) -> Value {
    let mut list = one("array");
    put(&mut list, "items", of);
    list
}

/// Adds a description.
pub(super) fn described(mut schema: Value, description: &str) -> Value {
    put(&mut schema, "description", json!(description));
    schema
}

/// Sets a member; what is no object stays as it is.
pub(super) fn put(object: &mut Value, name: impl Into<String>, member: Value) {
    if let Value::Object(members) = object {
        members.insert(name.into(), member);
    }
}

/// Sets a member of `properties`.
pub(super) fn put_property(object: &mut Value, name: &str, schema: Value) {
    if let Some(properties) = object.get_mut("properties") {
        put(properties, name, schema);
    }
}

/// A page of rows under `key`.
pub(super) fn page(key: &str, row: &str) -> Value {
    object(&[("meta", schema("Meta")), (key, list(schema(row)))])
}

/// Latitude and longitude: both or neither, numbers or null.
pub(super) fn coordinates(mut object: Value) -> Value {
    put_property(&mut object, "item_latitude", schema("Latitude"));
    put_property(&mut object, "item_longitude", schema("Longitude"));
    put(
        &mut object,
        "dependentRequired",
        json!({"item_latitude": ["item_longitude"], "item_longitude": ["item_latitude"]}),
    );
    let both = |kind: &str| json!({"properties": {"item_latitude": {"type": kind}, "item_longitude": {"type": kind}}});
    put(&mut object, "anyOf", json!([both("number"), both("null")]));
    object
}

/// Everything that does not depend on the contract.
pub(super) fn all() -> Map<String, Value> {
    let mut all = scalars();
    all.extend(super::objects::all());
    all.extend(super::requests::all());
    all.extend(super::refusal::schemas());
    all
}

/// Plain atoms, and a domain of two labels or more.
const EMAIL: &str = "^[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+(\\.[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+)*@\
                     ([A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?\\.)+[A-Za-z]{2,63}$";

fn scalars() -> Map<String, Value> {
    let text =
        |longest: u32| json!({"type": "string", "minLength": 1, "maxLength": longest, "pattern": "^[^\\u0000]*$"});
    let pairs = [
        ("Name", described(text(120), "A network, domain, item type, action type or status: 1 to 120 characters.")),
        ("OwnerId", described(text(255), "A user's id on the instance that holds the item.")),
        ("Remarks", described(text(4000), "Free text on a status change.")),
        (
            "Uuid",
            json!({"type": "string", "format": "uuid", "description": "Any version or variant; answers use lower case.",
                   "pattern": "^[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}$",
                   "examples": ["019aa3c1-7f20-7b11-8c3d-2f4e5a6b7c8d"]}),
        ),
        (
            "Url",
            json!({"type": "string", "format": "uri", "maxLength": 2048, "pattern": "^[A-Za-z][A-Za-z0-9+.-]*:",
                   "description": "An absolute URL, of at most 2048 bytes.",
                   "examples": ["https://a.example.org/schema"]}),
        ),
        (
            "InstanceUrl",
            json!({"type": "string", "format": "uri", "maxLength": 2048, "pattern": "^[hH][tT][tT][pP][sS]?:",
                   "description": "An instance's URL. Two URLs name one instance when scheme, host and port are the same; \
                                   `localhost`, `127.0.0.1` and `::1` are one host.",
                   "examples": ["https://a.example.org"]}),
        ),
        (
            "Time",
            json!({"type": "string", "format": "date-time", "description": "ISO 8601, UTC, milliseconds.",
                   "pattern": "^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\\.[0-9]{3}Z$",
                   "examples": ["2026-11-21T01:53:13.435Z"]}),
        ),
        (
            "Latitude",
            json!({"type": ["number", "null"], "minimum": -90, "maximum": 90,
                   "description": "Degrees. Comes with the longitude: both numbers or both null."}),
        ),
        (
            "Longitude",
            json!({"type": ["number", "null"], "minimum": -180, "maximum": 180,
                   "description": "Degrees. Comes with the latitude: both numbers or both null."}),
        ),
        (
            "UpdateCount",
            json!({"type": "integer", "minimum": 0, "maximum": 1_000_000,
                   "description": "How often the action's status was set; 0 for a new action."}),
        ),
        (
            "Email",
            json!({"type": "string", "format": "email", "maxLength": 254, "pattern": EMAIL,
                   "description": "Trimmed and lower-cased by the server.", "examples": ["asha@example.com"]}),
        ),
        (
            "PhoneNumber",
            json!({"type": "string", "maxLength": 64, "pattern": "^\\+?[0-9]([ ()./-]*[0-9]){4,17}$",
                   "description": "5 to 18 digits. Stripped to `+` and digits by the server.", "examples": ["+919812345678"]}),
        ),
    ];
    pairs.into_iter().map(|(name, schema)| (name.to_owned(), schema)).collect()
}
