//! What the private sweep needs: a schema with a private field of every shape that CONTRACT 8.6 names, a state that fills
//! each with a marker of its own, a peer that takes everything, and an ear at Redis.

use dpg_tests::peer::{Received, Reply};
use dpg_tests::required;
use serde_json::{Map, Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use uuid::Uuid;

/// One property per shape.
pub(crate) fn schema() -> Value {
    let mut properties = direct();
    properties.extend(indirect());
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "type": "object", "required": ["name"],
        "$defs": {
            "secret": secret(), "chain": {"$ref": "#/$defs/secret"},
            "anchored": {"$dynamicAnchor": "hidden", "private": true},
            "person": {"type": "object", "properties": {
                "name": text(), "number": secret(), "child": {"$ref": "#/$defs/person"}}}
        },
        "properties": properties,
        "patternProperties": {"^x_": secret()},
        "allOf": [{"properties": {"from_all": {"private": true}}}],
        "if": {"required": ["name"]}, "then": {"properties": {"from_then": {"private": true}}},
        "else": {"properties": {"from_else": {"private": true}}}
    })
}

fn text() -> Value {
    json!({"type": "string"})
}

fn secret() -> Value {
    json!({"type": "string", "private": true})
}

/// An object with these properties.
fn object(properties: &Value) -> Value {
    json!({"type": "object", "properties": properties})
}

/// Private by its own keyword, whole or in a part.
fn direct() -> Map<String, Value> {
    let properties = json!({
        "name": text(), "city": text(), "note": text(), "handed_over": secret(),
        "phone": {"type": "string", "minLength": 4, "private": true},
        "choice": {"type": "string", "private": true, "pattern": "^[a-z0-9 ]+$"},
        "papers": {"type": "object", "private": true},
        "empty": {"type": "object", "private": true},
        "home": object(&json!({"label": text(), "street": secret(), "inner": object(&json!({"door": secret()}))})),
        "contacts": {"type": "array", "items": object(&json!({"label": text(), "number": secret()}))},
        "codes": {"type": "array", "items": secret()},
        "couple": {"type": "array", "prefixItems": [text(), secret()], "items": text()},
        "rest": {"type": "array", "prefixItems": [text()], "unevaluatedItems": secret()},
        "holding": {"type": "array", "contains": {"private": true}},
        "vault": {"type": "object", "additionalProperties": secret()},
        "leftover": {"type": "object", "properties": {"label": text()}, "unevaluatedProperties": secret()},
        "patterned": {"type": "object", "patternProperties": {"^s_": secret()}}
    });
    properties.as_object().cloned().unwrap_or_default()
}

/// Private by what another keyword leads to, whichever branch the data takes.
fn indirect() -> Map<String, Value> {
    let when_labelled = json!({"label": {"properties": {"value": {"private": true}}}});
    let labelled = json!({"label": text(), "value": text()});
    let properties = json!({
        "by_ref": {"$ref": "#/$defs/secret"},
        "by_chain": {"$ref": "#/$defs/chain"},
        "by_dynamic": {"type": "string", "$dynamicRef": "#hidden"},
        "family": {"$ref": "#/$defs/person"},
        "by_all": {"allOf": [text(), {"private": true}]},
        "by_any": {"anyOf": [{"type": "integer", "private": true}, text()]},
        "by_one": {"oneOf": [text(), {"type": "integer", "private": true}]},
        "by_if": {"if": {"type": "integer"}, "then": {"private": true}, "else": text()},
        "by_else": {"if": {"type": "string"}, "then": text(), "else": {"private": true}},
        "dependent": {"type": "object", "properties": labelled, "dependentSchemas": when_labelled},
        "older": {"type": "object", "properties": labelled, "dependencies": when_labelled}
    });
    properties.as_object().cloned().unwrap_or_default()
}

/// A state that fills every private place with the marker and the place's name.
pub(crate) fn state(secret: &str, given: &str, public: &str) -> Value {
    let mark = |place: &str| json!(format!("{secret} {place}").to_lowercase());
    json!({
        "name": "Asha", "city": public, "note": "x", "handed_over": given,
        "phone": mark("phone"), "choice": mark("choice"),
        "papers": {"passport": mark("papers"), "list": [mark("papers list")]},
        "empty": {},
        "home": {"label": "home", "street": mark("street"), "inner": {"door": mark("door")}},
        "contacts": [{"label": "home", "number": mark("number")}, {"label": "work"}, {"number": mark("only")}],
        "codes": [mark("code one"), mark("code two")],
        "couple": ["one", mark("couple"), "three"],
        "rest": ["one", mark("rest")],
        "holding": ["one", mark("holding")],
        "by_ref": mark("ref"), "by_chain": mark("chain"), "by_dynamic": mark("dynamic"),
        "family": {"name": "x", "number": mark("parent"), "child": {"name": "y", "number": mark("child")}},
        "by_all": mark("all"), "by_any": mark("any"), "by_one": mark("one"), "by_if": mark("if"), "by_else": mark("else"),
        "vault": {"one": mark("vault")},
        "leftover": {"label": "x", "other": mark("leftover")},
        "patterned": {"s_one": mark("patterned"), "open": "x"},
        "dependent": {"label": "x", "value": mark("dependent")},
        "older": {"label": "x", "value": mark("older")},
        "x_root": mark("root pattern"), "from_all": mark("from all"), "from_then": mark("from then"),
        "from_else": mark("from else")
    })
}

/// A peer of another make that has nothing and refuses nothing.
pub(crate) fn courteous(request: &Received) -> Reply {
    let body = &request.body;
    match request.line.as_str() {
        line if line.contains("count_local") => Reply::json(200, &json!({"count": 0})),
        line if line.contains("event/store") => Reply::json(
            201,
            &json!({"event_id": Uuid::new_v4(),
            "action_id": body["action_id"], "action_type": body["action_type"],
            "action_status": body["action_status"], "update_count": body["update_count"]}),
        ),
        line if line.contains("network/action/perform") => Reply::json(
            201,
            &json!({"action_id": Uuid::new_v4(),
            "action_type": body["action_type"], "action_status": "created", "update_count": 0,
            "source_item_id": body["source_item"]["item_id"], "target_item_id": body["target_item"]["item_id"]}),
        ),
        _ => Reply::json(404, &json!({"error": "NOT_FOUND", "message": "no"})),
    }
}

/// What Redis is told while a test runs.
pub(crate) struct Monitor {
    stop: oneshot::Sender<()>,
    reading: JoinHandle<Vec<u8>>,
}

/// Listens to every command that the tests' Redis gets, from anyone.
pub(crate) async fn monitor() -> Monitor {
    let url: url::Url = required("DPG_TEST_REDIS").parse().expect("a URL");
    let address = format!("{}:{}", url.host_str().unwrap_or("127.0.0.1"), url.port().unwrap_or(6379));
    let mut stream = TcpStream::connect(address).await.expect("Redis listens");
    if let Some(password) = url.password() {
        stream.write_all(format!("AUTH {password}\r\n").as_bytes()).await.expect("Redis reads");
    }
    stream.write_all(b"MONITOR\r\n").await.expect("Redis reads");
    let mut heard = vec![0; 4096];
    let read = stream.read(&mut heard).await.expect("Redis answers");
    assert!(heard[..read].starts_with(b"+OK"), "{}", String::from_utf8_lossy(&heard[..read]));
    heard.truncate(read);
    let (stop, stopped) = oneshot::channel();
    let reading = tokio::spawn(async move {
        tokio::select! {
            _ = stopped => {}
            read = stream.read_to_end(&mut heard) => { read.expect("Redis stays"); }
        }
        heard
    });
    Monitor { stop, reading }
}

impl Monitor {
    /// All commands up to now, as `MONITOR` writes them.
    pub(crate) async fn stop(self) -> String {
        self.stop.send(()).expect("it listens");
        String::from_utf8_lossy(&self.reading.await.expect("it listened")).into_owned()
    }
}
