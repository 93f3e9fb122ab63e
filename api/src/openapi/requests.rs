//! What requests are made of (CONTRACT 3.2, 4, 10). Members that are not listed are ignored, but for a PATCH.

use serde_json::{Map, Value, json};

use super::schemas::{coordinates, described, list, nullable, object, one, partly, put, put_property, schema};

pub(super) fn all() -> Map<String, Value> {
    let mut all = Map::new();
    let mut add = |name: &str, schema: Value| all.insert(name.to_owned(), schema);
    add("ItemRef", object(&reference()));
    add("ItemRefPlus", object(&reference_plus()));
    add("NewItem", new_item());
    add("ItemChange", item_change());
    add("Perform", perform());
    add("PeerPerform", peer_perform());
    add("StatusChange", status_change(&[], &[]));
    add("PeerStatusChange", peer_status_change());
    add("EventBody", event_body());
    add("EventBatch", event_batch());
    add("ItemFilter", item_filter(&[], &[]));
    add("ItemPageFilter", item_page_filter());
    add("ScoredItem", scored_item());
    add("Identifier", identifier());
    add("OtpProof", otp_proof());
    add("SignUp", sign_up());
    add("SignIn", sign_in());
    add("ApiKeyRequest", api_key_request());
    add("LaneChoice", lane_choice());
    all
}

fn reference() -> Vec<(&'static str, Value)> {
    vec![
        ("item_network", schema("Name")),
        ("item_domain", schema("Name")),
        ("item_type", schema("Name")),
        ("item_id", schema("Uuid")),
    ]
}

fn reference_plus() -> Vec<(&'static str, Value)> {
    let mut members = reference();
    members.push(("item_instance_url", schema("InstanceUrl")));
    members
}

/// A new item of any type; [`super::contract_types`] narrows it to the types that are served.
fn new_item() -> Value {
    let members = [
        ("item_network", schema("Name")),
        ("item_domain", schema("Name")),
        ("item_type", schema("Name")),
        (
            "item_state",
            json!({"type": ["object", "null"], "description": "Absent or null means `{}`, which has to fit, too."}),
        ),
        ("item_latitude", Value::Null),
        ("item_longitude", Value::Null),
        (
            "created_by",
            described(
                nullable(schema("OwnerId")),
                "The owner: needed from an admin's API key, refused from anybody else.",
            ),
        ),
    ];
    coordinates(partly(&members, &["item_network", "item_domain", "item_type"]))
}

fn item_change() -> Value {
    let members = [
        (
            "item_state",
            described(one("object"), "The whole new state, private values included: it replaces the old one."),
        ),
        ("item_latitude", Value::Null),
        ("item_longitude", Value::Null),
        ("item_instance_url", described(one("string"), "Accepted and never written.")),
        ("item_schema_url", described(one("string"), "Accepted and never written.")),
    ];
    let mut change = coordinates(partly(&members, &[]));
    put(&mut change, "minProperties", json!(1));
    put(&mut change, "additionalProperties", json!(false));
    change
}

fn action_members() -> Vec<(&'static str, Value)> {
    vec![
        ("action_type", schema("Name")),
        (
            "action_name",
            json!({"allOf": [schema("Name")], "deprecated": true, "description": "Older spelling of `action_type`."}),
        ),
    ]
}

fn perform() -> Value {
    let mut members = action_members();
    members.extend([
        ("source_item", described(schema("ItemRef"), "Your item.")),
        ("target_item", described(schema("ItemRefPlus"), "The item that the action is about, here or elsewhere.")),
        (
            "requirements_snapshot",
            described(
                schema("Requirements"),
                "What the contract's `requirement_schema` asks for. Private values of the source item that it names are \
                 filled in by the server and go over what is sent.",
            ),
        ),
    ]);
    partly(&members, &["action_type", "source_item", "target_item", "requirements_snapshot"])
}

fn peer_perform() -> Value {
    let mut members = action_members();
    members.extend([
        ("source_item", schema("ItemRefPlus")),
        ("target_item", schema("ItemRefPlus")),
        ("source_item_owner", schema("OwnerId")),
        ("requirements_snapshot", schema("Requirements")),
    ]);
    partly(&members, &["action_type", "source_item", "target_item", "source_item_owner", "requirements_snapshot"])
}

fn status_change(more: &[(&'static str, Value)], required: &[&'static str]) -> Value {
    let mut members = vec![
        ("action_id", schema("Uuid")),
        (
            "action_status",
            described(schema("Name"), "One that the contract allows from the present status, for your side."),
        ),
        ("remarks", nullable(schema("Remarks"))),
        (
            "event_payload",
            json!({"type": ["object", "null"],
                   "description": "Goes over the payload that the contract's `event_schema` makes; `status` and `remark` in it are dropped."}),
        ),
    ];
    members.extend_from_slice(more);
    partly(&members, &[&["action_id", "action_status"], required].concat())
}

fn peer_status_change() -> Value {
    let more = [("source_item", schema("ItemRefPlus")), ("source_item_owner", schema("OwnerId"))];
    status_change(&more, &["source_item", "source_item_owner"])
}

fn event_body() -> Value {
    let mut members = vec![(
        "origin_instance_domain",
        described(schema("InstanceUrl"), "The instance that holds the action: the target item's."),
    )];
    members.extend(action_members());
    members.extend([
        ("action_id", schema("Uuid")),
        ("action_status", schema("Name")),
        ("update_count", schema("UpdateCount")),
        ("source_item", schema("ItemRefPlus")),
        ("target_item", schema("ItemRefPlus")),
        ("source_item_owner", nullable(schema("OwnerId"))),
        ("target_item_owner", nullable(schema("OwnerId"))),
        ("source_item_latitude", schema("Latitude")),
        ("source_item_longitude", schema("Longitude")),
        ("target_item_latitude", schema("Latitude")),
        ("target_item_longitude", schema("Longitude")),
        ("event_payload", json!({"type": ["object", "null"]})),
        ("remarks", nullable(schema("Remarks"))),
        ("requirements_snapshot", json!({"type": ["object", "null"], "description": "Extension; may be left out."})),
        (
            "occurred_at",
            json!({"type": ["string", "null"], "format": "date-time", "examples": ["2026-11-21T01:55:33.215Z"],
                   "description": "When the origin recorded the event. Extension; may be left out."}),
        ),
        ("event_id", described(nullable(schema("Uuid")), "Accepted and ignored: it follows from the rest.")),
    ]);
    let required = [
        "origin_instance_domain",
        "action_type",
        "action_id",
        "action_status",
        "update_count",
        "source_item",
        "target_item",
    ];
    partly(&members, &required)
}

fn event_batch() -> Value {
    let seq = || json!({"type": "integer", "minimum": 1});
    let numbered = object(&[("seq", seq()), ("event", schema("EventBody"))]);
    let events = json!({"type": "array", "maxItems": 50, "items": numbered, "description": "Ascending by `seq`."});
    let members = [
        ("origin_instance_domain", schema("InstanceUrl")),
        ("network", described(schema("Name"), "The target items' network, the same for all events.")),
        ("destination", described(schema("InstanceUrl"), "The receiver, as the sender keys its lane.")),
        ("epoch", described(schema("Uuid"), "Of the sender's log: made with it, renewed after a restore.")),
        ("events", events),
        ("withdrawn", described(list(seq()), "Numbers that an operator dropped and that never come.")),
    ];
    partly(&members, &["origin_instance_domain", "network", "destination", "epoch", "events"])
}

fn item_filter(more: &[(&'static str, Value)], required: &[&'static str]) -> Value {
    let number = |bounds: Value| json!({"anyOf": [bounds, {"type": "string", "pattern": "^-?[0-9]+(\\.[0-9]+)?$", "examples": ["18.5"]}, {"type": "null"}]});
    let degrees = |most: f64| number(json!({"type": "number", "minimum": -most, "maximum": most}));
    let mut members = vec![
        ("item_network", schema("Name")),
        ("item_domain", schema("Name")),
        ("item_id", schema("Uuid")),
        ("item_type", schema("Name")),
        ("item_schema_url", nullable(schema("Url"))),
        ("item_instance_url", nullable(schema("InstanceUrl"))),
        ("item_state", described(one("object"), "Contained in the public state; at most 20 values.")),
        ("item_latitude", degrees(90.0)),
        ("item_longitude", degrees(180.0)),
        ("radius_meters", number(json!({"type": "number", "exclusiveMinimum": 0}))),
    ];
    members.extend_from_slice(more);
    let mut filter = partly(&members, &[&["item_network", "item_domain"], required].concat());
    let none = json!({"type": "null"});
    let some = json!({"type": ["number", "string"]});
    let place = json!([
        {"properties": {"item_latitude": none, "item_longitude": none}},
        {"required": ["item_latitude", "item_longitude", "radius_meters"],
         "properties": {"item_latitude": some, "item_longitude": some, "radius_meters": some}},
    ]);
    put(&mut filter, "anyOf", place);
    filter
}

fn item_page_filter() -> Value {
    let more = [
        ("limit", json!({"type": "integer", "minimum": 1, "maximum": 100})),
        ("offset", json!({"type": "integer", "minimum": 0, "maximum": 9_007_199_254_740_991_i64})),
        (
            "cursor",
            json!({"type": "string", "minLength": 1, "maxLength": 1024, "description": "`meta.next_cursor` of this route, instead of `offset`."}),
        ),
        ("cache_ttl_seconds", json!({"description": "Accepted and ignored."})),
    ];
    let mut filter = item_filter(&more, &["limit"]);
    put(&mut filter, "oneOf", json!([{"required": ["offset"]}, {"required": ["cursor"]}]));
    filter
}

fn scored_item() -> Value {
    let url = || json!({"type": "string", "maxLength": 2048});
    coordinates(object(&[
        ("item_network", schema("Name")),
        ("item_domain", schema("Name")),
        ("item_type", schema("Name")),
        ("item_id", schema("Uuid")),
        ("item_instance_url", url()),
        ("item_schema_url", url()),
        ("item_state", json!({"description": "Any JSON."})),
        ("item_latitude", Value::Null),
        ("item_longitude", Value::Null),
    ]))
}

fn identifier_members() -> Vec<(&'static str, Value)> {
    vec![("email", nullable(schema("Email"))), ("phoneNumber", nullable(schema("PhoneNumber")))]
}

/// Both given: the phone number counts.
fn identifier() -> Value {
    partly(&identifier_members(), &[])
}

fn boolean_or_null(default: bool) -> Value {
    json!({"type": ["boolean", "null"], "default": default})
}

fn otp_proof() -> Value {
    let mut members = identifier_members();
    members.extend([
        ("otp", json!({"type": "string", "minLength": 6, "maxLength": 6, "examples": ["482913"]})),
        ("name", json!({"type": ["string", "null"], "maxLength": 255, "description": "Of a new user."})),
        ("rememberMe", described(boolean_or_null(true), "False: the session ends after a day.")),
        ("dateOfBirth", json!({"type": ["string", "null"], "format": "date", "examples": ["1990-12-31"]})),
        (
            "createAdmin",
            described(
                boolean_or_null(false),
                "A new user becomes an admin, if the e-mail's domain is one of the operator's.",
            ),
        ),
    ]);
    partly(&members, &["otp"])
}

fn password() -> Value {
    json!({"type": "string", "format": "password", "minLength": 8, "maxLength": 128})
}

fn sign_up() -> Value {
    let members = [
        ("email", schema("Email")),
        ("password", password()),
        ("name", json!({"type": "string", "maxLength": 255})),
        ("rememberMe", boolean_or_null(true)),
    ];
    partly(&members, &["email", "password", "name"])
}

fn sign_in() -> Value {
    let members = [("email", schema("Email")), ("password", one("string")), ("rememberMe", boolean_or_null(true))];
    partly(&members, &["email", "password"])
}

fn api_key_request() -> Value {
    let members = [
        ("name", json!({"type": "string", "minLength": 1, "maxLength": 255, "pattern": "\\S", "examples": ["bot"]})),
        (
            "expiresIn",
            json!({"type": ["integer", "null"], "minimum": 1, "maximum": i32::MAX, "description": "Seconds."}),
        ),
        (
            "prefix",
            json!({"type": ["string", "null"], "minLength": 1, "maxLength": 32, "pattern": "^[A-Za-z0-9_-]+$", "examples": ["bot_"]}),
        ),
        ("metadata", json!({"type": ["object", "null"]})),
    ];
    let mut request = partly(&members, &["name"]);
    for refused in ["permissions", "userId", "remaining"] {
        put_property(&mut request, refused, json!({"not": {}, "description": "Not for clients to set."}));
    }
    let refused = json!({"^(refill|rateLimit)": {"not": {}, "description": "Not for clients to set."}});
    put(&mut request, "patternProperties", refused);
    request
}

fn lane_choice() -> Value {
    let members = [("instance_url", schema("InstanceUrl")), ("network", schema("Name"))];
    partly(&members, &["instance_url"])
}
