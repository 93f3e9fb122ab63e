//! What answers are made of: items, actions, events, users, keys, lanes (CONTRACT 3, 4, 10).

use serde_json::{Map, Value, json};

use super::schemas::{coordinates, described, list, nullable, object, one, partly, schema};

pub(super) fn all() -> Map<String, Value> {
    let mut all = Map::new();
    let mut add = |name: &str, schema: Value| all.insert(name.to_owned(), schema);
    add("Meta", meta());
    add("NetworkMeta", network_meta());
    add("Item", item());
    add("ItemVersion", item_version());
    add("Action", action());
    add("Event", event());
    add("Performed", performed());
    add("StatusSet", status_set());
    add("Stored", stored());
    add("BatchResult", batch_result());
    add("User", user());
    add("Session", session());
    add("SignedIn", signed_in());
    add("ApiKey", api_key());
    add(
        "NewApiKey",
        json!({"allOf": [schema("ApiKey"), object(&[("key", described(one("string"), "The clear key. It is shown here and nowhere else."))])]}),
    );
    add("Lane", lane());
    add("Parked", parked());
    add("ParkedEvent", json!({"allOf": [schema("Parked"), object(&[("event", schema("EventBody"))])]}));
    add("SchemaEntry", schema_entry());
    add("MatchScore", match_score());
    all
}

fn count() -> Value {
    json!({"type": "integer", "minimum": 0})
}

fn text_or_null() -> Value {
    json!({"type": ["string", "null"]})
}

fn time_or_null() -> Value {
    nullable(schema("Time"))
}

fn meta() -> Value {
    object(&[
        ("total", described(count(), "Rows that the filters match; of the same snapshot as the rows.")),
        ("limit", count()),
        ("offset", described(count(), "0 on a page by cursor.")),
        ("next_cursor", described(text_or_null(), "Where to go on; null on the last page.")),
    ])
}

fn network_meta() -> Value {
    let reasons = ["timeout", "unreachable", "refused", "not_served", "http_error", "bad_response"];
    let away = object(&[("instance_url", one("string")), ("reason", json!({"type": "string", "enum": reasons}))]);
    json!({"allOf": [schema("Meta"), object(&[
        ("partial", described(one("boolean"), "Whether an instance's rows are missing.")),
        ("unavailable_instances", list(away)),
    ])]})
}

fn item() -> Value {
    let state =
        described(one("object"), "Fits the item type's schema. The owner sees private values in it, nobody else does.");
    coordinates(object(&[
        ("item_network", schema("Name")),
        ("item_domain", schema("Name")),
        ("item_type", schema("Name")),
        ("item_id", schema("Uuid")),
        ("item_instance_url", one("string")),
        ("item_schema_url", one("string")),
        ("item_state", state),
        ("item_latitude", Value::Null),
        ("item_longitude", Value::Null),
        ("created_by", schema("OwnerId")),
        ("created_at", schema("Time")),
        ("updated_at", schema("Time")),
    ]))
}

fn item_version() -> Value {
    object(&[
        ("version", json!({"type": "integer", "minimum": 1})),
        ("event_type", json!({"type": "string", "enum": ["item.created", "item.updated", "item.deleted"]})),
        ("recorded_at", schema("Time")),
        ("actor", described(text_or_null(), "The user who wrote this version, or `system`.")),
        ("item", described(nullable(schema("Item")), "Null where the version is the deletion.")),
    ])
}

/// The two sides as an action and an event show them.
fn sides() -> Vec<(String, Value)> {
    let mut members = Vec::new();
    for side in ["source", "target"] {
        for (name, schema) in [
            ("network", schema("Name")),
            ("domain", schema("Name")),
            ("type", schema("Name")),
            ("id", schema("Uuid")),
            ("instance_url", one("string")),
            ("owner", text_or_null()),
        ] {
            members.push((format!("{side}_item_{name}"), schema));
        }
    }
    members
}

fn with_sides(before: &[(&str, Value)], after: &[(&str, Value)]) -> Value {
    let sides = sides();
    let sides = sides.iter().map(|(name, schema)| (name.as_str(), schema.clone()));
    let members: Vec<_> = before.iter().cloned().chain(sides).chain(after.iter().cloned()).collect();
    object(&members)
}

fn roles() -> Value {
    json!({"type": "array", "minItems": 1, "items": {"type": "string", "enum": ["initiated", "received"]},
           "description": "`initiated`: you own the source item; `received`: the target item."})
}

fn action() -> Value {
    with_sides(
        &[
            ("action_type", schema("Name")),
            ("partition_network", schema("Name")),
            ("action_id", schema("Uuid")),
            ("action_status", schema("Name")),
            ("update_count", schema("UpdateCount")),
        ],
        &[
            ("requirements_snapshot", one("object")),
            ("remarks", text_or_null()),
            ("created_at", schema("Time")),
            ("updated_at", schema("Time")),
            ("ownership_roles", roles()),
        ],
    )
}

fn event() -> Value {
    let place = || json!({"type": ["number", "null"]});
    with_sides(
        &[
            ("action_type", schema("Name")),
            ("partition_network", schema("Name")),
            ("event_id", described(schema("Uuid"), "The same on every instance.")),
            ("origin_instance_domain", described(one("string"), "Base URL of the instance that holds the action.")),
            ("action_id", schema("Uuid")),
            ("action_status", schema("Name")),
            ("update_count", schema("UpdateCount")),
        ],
        &[
            ("source_item_latitude", place()),
            ("source_item_longitude", place()),
            ("target_item_latitude", place()),
            ("target_item_longitude", place()),
            ("event_payload", one("object")),
            ("remarks", text_or_null()),
            ("created_at", schema("Time")),
            ("ownership_roles", roles()),
        ],
    )
}

fn performed() -> Value {
    object(&[
        ("action_id", schema("Uuid")),
        ("action_type", schema("Name")),
        ("action_status", schema("Name")),
        ("update_count", schema("UpdateCount")),
        ("source_item_id", schema("Uuid")),
        ("target_item_id", schema("Uuid")),
    ])
}

fn status_set() -> Value {
    object(&[
        ("action_id", schema("Uuid")),
        ("action_type", schema("Name")),
        ("action_status", schema("Name")),
        ("update_count", schema("UpdateCount")),
    ])
}

fn stored() -> Value {
    let members = [
        ("event_id", schema("Uuid")),
        ("action_id", schema("Uuid")),
        ("action_type", schema("Name")),
        ("action_status", schema("Name")),
        ("update_count", schema("UpdateCount")),
        (
            "conflict",
            described(one("boolean"), "True when the event that was there has another content; the first stays."),
        ),
    ];
    partly(&members, &["event_id", "action_id", "action_type", "action_status", "update_count"])
}

fn batch_result() -> Value {
    let outcomes = ["stored", "duplicate", "conflict", "rejected", "retry"];
    let members = [
        ("seq", json!({"type": "integer", "minimum": 1})),
        ("outcome", json!({"type": "string", "enum": outcomes})),
        ("status", described(one("integer"), "Of a `rejected` event.")),
        ("error", described(one("string"), "Of a `rejected` event.")),
        ("message", one("string")),
    ];
    partly(&members, &["seq", "outcome"])
}

fn user() -> Value {
    object(&[
        ("id", one("string")),
        ("name", one("string")),
        ("email", text_or_null()),
        ("emailVerified", one("boolean")),
        ("image", text_or_null()),
        ("createdAt", schema("Time")),
        ("updatedAt", schema("Time")),
        ("role", json!({"type": "string", "enum": ["user", "admin"]})),
        ("banned", one("boolean")),
        ("banReason", text_or_null()),
        ("banExpires", time_or_null()),
        ("phoneNumber", text_or_null()),
        ("phoneNumberVerified", one("boolean")),
        ("dateOfBirth", json!({"type": ["string", "null"], "format": "date"})),
        ("termsAccepted", one("boolean")),
        ("privacyAccepted", one("boolean")),
    ])
}

fn session() -> Value {
    object(&[
        ("id", one("string")),
        ("token", one("string")),
        ("userId", one("string")),
        ("expiresAt", schema("Time")),
        ("createdAt", schema("Time")),
        ("updatedAt", schema("Time")),
        ("ipAddress", one("string")),
        ("userAgent", one("string")),
    ])
}

fn signed_in() -> Value {
    let members = [
        ("redirect", json!({"type": "boolean", "const": false})),
        ("token", described(one("string"), "For `authorization: Bearer`.")),
        ("user", schema("User")),
        ("afterUserCreate", described(object(&[("user", schema("User"))]), "Only for a new user.")),
    ];
    partly(&members, &["redirect", "token", "user"])
}

fn api_key() -> Value {
    let whole_or_null = || json!({"type": ["integer", "null"]});
    object(&[
        ("id", one("string")),
        ("configId", one("string")),
        ("name", one("string")),
        ("start", described(one("string"), "The first 6 characters of the key.")),
        ("prefix", one("string")),
        ("referenceId", one("string")),
        ("userId", one("string")),
        ("enabled", one("boolean")),
        ("rateLimitEnabled", one("boolean")),
        ("rateLimitTimeWindow", described(count(), "Milliseconds.")),
        ("rateLimitMax", described(count(), "Calls in the window.")),
        ("requestCount", count()),
        ("refillInterval", whole_or_null()),
        ("refillAmount", whole_or_null()),
        ("lastRefillAt", time_or_null()),
        ("remaining", whole_or_null()),
        ("lastRequest", time_or_null()),
        ("expiresAt", time_or_null()),
        ("createdAt", schema("Time")),
        ("updatedAt", schema("Time")),
        ("permissions", json!({"type": ["object", "null"]})),
        ("metadata", json!({"type": ["object", "null"]})),
    ])
}

fn lane() -> Value {
    let states = ["ready", "backing_off", "refused", "paused", "unregistered"];
    let error = object(&[
        ("at", schema("Time")),
        ("status", json!({"type": ["integer", "null"]})),
        ("error", one("string")),
        ("message", json!({"type": "string", "maxLength": 1000})),
    ]);
    object(&[
        ("network", schema("Name")),
        ("instance_url", one("string")),
        ("state", json!({"type": "string", "enum": states})),
        ("diverged", described(one("boolean"), "The peer holds another content of an event.")),
        ("epoch", described(schema("Uuid"), "Of the sender's log.")),
        ("last_seq", count()),
        ("acknowledged_seq", described(count(), "Every event up to it is delivered, parked or dropped.")),
        ("waiting", count()),
        ("oldest_waiting_seconds", count()),
        ("parked", count()),
        ("failures", count()),
        ("next_attempt_at", time_or_null()),
        ("last_error", nullable(error)),
    ])
}

fn parked() -> Value {
    object(&[
        ("id", schema("Uuid")),
        ("network", schema("Name")),
        ("instance_url", one("string")),
        ("seq", json!({"type": "integer", "minimum": 1})),
        ("action_id", schema("Uuid")),
        ("update_count", schema("UpdateCount")),
        ("parked_at", schema("Time")),
        ("attempts", count()),
        ("conflict", described(one("boolean"), "Parked for another content of the same event.")),
        ("status", json!({"type": ["integer", "null"]})),
        ("error", described(text_or_null(), "The peer's code.")),
        ("message", json!({"type": ["string", "null"], "maxLength": 1000})),
    ])
}

fn schema_entry() -> Value {
    let kinds = ["network_config", "domain_item_schema", "instance_custom_item_schema", "item_schema_url"];
    let members = [
        ("cache_key", json!({"type": "string", "pattern": "^[0-9a-f]{64}$"})),
        ("kind", json!({"type": "string", "enum": kinds})),
        ("network", schema("Name")),
        ("domain", schema("Name")),
        ("item_type", schema("Name")),
        ("instance_url", one("string")),
        ("schema_url", one("string")),
        ("source", json!({"type": "string", "enum": ["inline", "remote"]})),
        ("cached_at", schema("Time")),
        ("file_name", one("string")),
        (
            "schema",
            json!({"description": "A JSON Schema; of a `network_config`, the network's contract.",
                          "type": ["object", "boolean"]}),
        ),
    ];
    partly(&members, &["cache_key", "kind", "network", "source", "cached_at", "file_name", "schema"])
}

fn match_score() -> Value {
    let signal = object(&[("name", one("string")), ("impact", one("string")), ("summary", one("string"))]);
    let members = [
        ("provider", one("string")),
        ("score", described(one("number"), "0 to 10.")),
        ("band", one("string")),
        ("confidence", one("number")),
        ("version", one("string")),
        ("prompt_version", one("string")),
        ("model_provider", one("string")),
        ("model", one("string")),
        ("reasoning", one("string")),
        ("signals", list(signal)),
        ("raw_response", json!({"description": "The provider's answer as it came."})),
    ];
    partly(&members, &["provider"])
}
