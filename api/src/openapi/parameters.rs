//! Query, path and header parameters that several operations share, and the headers of answers (CONTRACT 1).

use serde_json::{Map, Value, json};

use super::schemas::{one, put, schema};
use crate::http::page::{DEFAULT_LIMIT, MAX_LIMIT};

/// The largest whole number that every JSON reader keeps exact.
const MAX_EXACT: i64 = 9_007_199_254_740_991;

/// Headers that are judged with the credentials, or of which a faulty one is no fault.
const NEVER_A_FAULT: &[&str] = &["prefer", "signature", "signature-input", "content-digest"];

/// Whether a faulty value is answered with 400.
pub(super) fn can_be_faulty(parameter: &Value) -> bool {
    !NEVER_A_FAULT.iter().any(|name| parameter.get("name").is_some_and(|known| known == name))
}

/// A query parameter.
pub(super) fn query(name: &str, schema: Value, description: &str) -> Value {
    parameter(name, "query", false, schema, description)
}

/// A query parameter that has to be there.
pub(super) fn needed_query(name: &str, schema: Value, description: &str) -> Value {
    parameter(name, "query", true, schema, description)
}

/// A path parameter.
pub(super) fn path(name: &str, schema: Value, description: &str) -> Value {
    parameter(name, "path", true, schema, description)
}

fn header(name: &str, schema: Value, description: &str) -> Value {
    parameter(name, "header", false, schema, description)
}

fn parameter(name: &str, place: &str, required: bool, schema: Value, description: &str) -> Value {
    let parameter = json!({"name": name, "in": place, "required": required, "description": description});
    with(parameter, "schema", schema)
}

pub(super) fn item_id() -> Value {
    path("itemId", schema("Uuid"), "The item's id.")
}

/// Paging by offset or cursor (CONTRACT 1.7).
pub(super) fn paging() -> Vec<Value> {
    let whole = |least: i64, most: i64| json!({"type": "integer", "minimum": least, "maximum": most});
    vec![
        query("limit", with(whole(1, MAX_LIMIT), "default", json!(DEFAULT_LIMIT)), "Rows on the page."),
        query("offset", with(whole(0, MAX_EXACT), "default", json!(0)), "Rows to skip. Not together with `cursor`."),
        query(
            "cursor",
            json!({"type": "string", "minLength": 1, "maxLength": 1024}),
            "`meta.next_cursor` of an earlier page with the same filters. A walk by cursor repeats and skips nothing, \
             whatever is written meanwhile.",
        ),
    ]
}

/// Paging of item reads, which may also count pages.
pub(super) fn item_paging() -> Vec<Value> {
    let mut all = paging();
    all.push(query(
        "page",
        json!({"type": "integer", "minimum": 1, "maximum": MAX_EXACT}),
        "Counts from 1; the same as `offset` = (page − 1) × limit. Not together with `offset` or `cursor`.",
    ));
    all
}

/// The filters of item reads (CONTRACT 1.6). All that are given must hold.
pub(super) fn item_filters() -> Vec<Value> {
    let mut state = query(
        "item_state",
        json!({"type": "object", "additionalProperties": true}),
        "Values that the public state must contain, in bracket notation: `item_state[city]=Pune`, \
         `item_state[address][zip]=411001`, `item_state[tags][]=x`; at most 20 values, 5 levels. A text that spells a \
         number, `true` or `false` also finds that number or boolean. Private values match nothing.",
    );
    put(&mut state, "style", json!("deepObject"));
    put(&mut state, "explode", json!(true));
    let mut all = vec![
        needed_query("item_network", schema("Name"), "Network."),
        needed_query("item_domain", schema("Name"), "Domain."),
        old_spelling("network", "item_network"),
        old_spelling("domain", "item_domain"),
        query("item_id", schema("Uuid"), "One item."),
        query("item_type", schema("Name"), "Item type."),
        query("item_schema_url", schema("Url"), "Schema URL, compared as text."),
        query("item_instance_url", schema("InstanceUrl"), "The instance that holds the item."),
        state,
    ];
    all.extend(place());
    all
}

fn old_spelling(name: &str, canonical: &str) -> Value {
    let mut parameter = query(name, schema("Name"), &format!("Older spelling of `{canonical}`."));
    put(&mut parameter, "deprecated", json!(true));
    parameter
}

fn place() -> [Value; 3] {
    let number = |least: f64, most: f64| json!({"type": "number", "minimum": least, "maximum": most});
    [
        query("item_latitude", number(-90.0, 90.0), "Centre of a circle, in degrees; needs the other two."),
        query("item_longitude", number(-180.0, 180.0), "Centre of a circle, in degrees; needs the other two."),
        query(
            "radius_meters",
            json!({"type": "number", "exclusiveMinimum": 0}),
            "Radius of the circle, in metres along the ground. Alone it has no effect.",
        ),
    ]
}

/// The filters of actions and events (CONTRACT 4.13).
pub(super) fn action_filters() -> Vec<Value> {
    let roles = json!({"type": "string", "enum": ["all", "initiated", "received"], "default": "all"});
    vec![
        query("action_id", schema("Uuid"), "One action."),
        query("action_type", schema("Name"), "Action type."),
        old_spelling("action_name", "action_type"),
        query("action_status", schema("Name"), "Status."),
        query(
            "item_id",
            schema("Uuid"),
            "An item: the source item for `initiated`, the target item for `received`, either for `all`.",
        ),
        query("ownership_role", roles, "`initiated`: you own the source item; `received`: the target item."),
    ]
}

pub(super) fn idempotency_key() -> Value {
    header(
        "idempotency-key",
        json!({"type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[!-~]+$"}),
        "Makes a repetition safe: the same key with the same body is answered as the first time and has no further \
         effect, for 24 hours or longer. A refusal (4xx) does not use the key up.",
    )
}

pub(super) fn if_match() -> Value {
    header(
        "if-match",
        json!({"type": "string", "examples": ["\"3\"", "*"]}),
        "Versions that may be replaced, as `etag` gave them, or `*`. With another version: 412, and nothing changes.",
    )
}

pub(super) fn prefer() -> Value {
    header(
        "prefer",
        json!({"type": "string", "examples": ["respond-async"]}),
        "`respond-async`: answer at once, without waiting until reads show the write.",
    )
}

pub(super) fn min_position() -> Value {
    header(
        "dpg-min-position",
        json!({"type": "string", "pattern": "^(.+:)?[0-9]{1,18}$", "examples": ["42", "yellow_dot:42"]}),
        "`dpg-position` of an earlier write, or network, colon and position: the answer holds that write, or is 503 \
         `PROJECTION_BEHIND`.",
    )
}

/// The three headers of a peer's signature.
pub(super) fn signature(required: bool) -> [Value; 3] {
    let named = |name: &str, description: &str| {
        let mut parameter = header(name, one("string"), description);
        put(&mut parameter, "required", json!(required));
        parameter
    };
    [
        named("signature", "RFC 9421, label `dpg`; see the security scheme `peerSignature`."),
        named("signature-input", "RFC 9421: what the signature covers."),
        named("content-digest", "RFC 9530, `sha-256` of the body; of the empty body for GET."),
    ]
}

fn with(mut schema: Value, key: &str, value: Value) -> Value {
    put(&mut schema, key, value);
    schema
}

/// `components.headers`.
pub(super) fn response_headers() -> Map<String, Value> {
    let text = |description: &str| json!({"description": description, "schema": one("string")});
    let header = |name: &str, value: Value| (name.to_owned(), value);
    Map::from_iter([
        header(
            "x-request-id",
            json!({"description": "The id of this request: the one sent (1 to 200 visible ASCII characters), else minted.",
                   "schema": {"type": "string", "pattern": "^[!-~]{1,200}$"}}),
        ),
        header("vary", text("Always names `Origin`.")),
        header(
            "dpg-position",
            json!({"description": "Position of the write in its network's log; for `dpg-min-position` of a later read.",
                   "schema": {"type": "integer", "minimum": 0}}),
        ),
        header(
            "dpg-projected",
            json!({"description": "`true`: every read shows the write; `false`: it is durable, but the wait for the tables ended first.",
                   "schema": {"type": "string", "enum": ["true", "false"]}}),
        ),
        header(
            "etag",
            json!({"description": "The item's version, for `if-match`.",
                   "schema": {"type": "string", "pattern": "^\"[0-9]+\"$"}}),
        ),
        header(
            "x-cache",
            json!({"description": "Whether the page came from the cache; `bypass`: it can't be cached now.",
                   "schema": {"type": "string", "enum": ["hit", "miss", "bypass"]}}),
        ),
        header(
            "x-network-partial",
            json!({"description": "Only on an incomplete page.", "schema": {"type": "string", "const": "true"}}),
        ),
        header("set-auth-token", text("The new session's token with its signature, for `authorization: Bearer`.")),
        header("set-cookie", text("The session cookie.")),
        header("retry-after", json!({"description": "Whole seconds.", "schema": {"type": "integer", "minimum": 0}})),
    ])
}
