//! The body of CONTRACT 4.14, written from an event of the log. Postgres writes a large number out digit by digit
//! (`1e20` as 21 digits), which no peer takes for an integer; so payload and snapshot are written as we write JSON.

use bytes::Bytes;
use chrono::{DateTime, SecondsFormat, Utc};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;
use uuid::Uuid;

use crate::outcome::EventIdentity;

/// The event in the log can't be read: a fault of our own, for which no peer is to blame.
#[derive(Debug, thiserror::Error)]
#[error("the event in the log is not an action's event")]
pub struct BodyError(#[from] serde_json::Error);

/// A body that is ready to be sent, and what it is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventBody {
    /// Which event it is.
    pub identity: EventIdentity,
    /// The JSON.
    pub json: Bytes,
}

/// Writes the body of an `action.performed` or `action.status_updated` event from its payload as text.
///
/// # Errors
/// [`BodyError`] when the payload is not that of an action's event.
pub fn event_body(payload: &str, recorded_at: DateTime<Utc>) -> Result<EventBody, BodyError> {
    event_body_at(payload, recorded_at, None)
}

/// [`event_body`] for a source item's instance that has changed its address since: `source_instance_url` is the new one.
pub(crate) fn event_body_at(
    payload: &str,
    recorded_at: DateTime<Utc>,
    source_instance_url: Option<&str>,
) -> Result<EventBody, BodyError> {
    // A body that nests as deep as bodies may stands in its payload some levels deeper than serde_json reads by itself.
    let mut deserializer = serde_json::Deserializer::from_str(payload);
    deserializer.disable_recursion_limit();
    let Payload { action, event } = Payload::deserialize(&mut deserializer)?;
    let occurred_at = event.occurred_at.unwrap_or(recorded_at);
    let body = Body {
        origin_instance_domain: &event.origin_instance_domain,
        action_type: &action.action_type,
        action_id: action.action_id,
        action_status: &event.action_status,
        update_count: event.update_count,
        source_item: ItemReference {
            item_network: &action.source_item_network,
            item_domain: &action.source_item_domain,
            item_type: &action.source_item_type,
            item_id: action.source_item_id,
            item_instance_url: source_instance_url.unwrap_or(&action.source_item_instance_url),
        },
        target_item: ItemReference {
            item_network: &action.target_item_network,
            item_domain: &action.target_item_domain,
            item_type: &action.target_item_type,
            item_id: action.target_item_id,
            item_instance_url: &action.target_item_instance_url,
        },
        source_item_owner: action.source_item_owner.as_deref(),
        target_item_owner: action.target_item_owner.as_deref(),
        // Where the source is, is the receiver's to know.
        source_item_latitude: None,
        source_item_longitude: None,
        target_item_latitude: event.target_item_latitude,
        target_item_longitude: event.target_item_longitude,
        event_payload: event.event_payload,
        remarks: event.remarks.as_deref(),
        requirements_snapshot: action.requirements_snapshot,
        occurred_at: occurred_at.to_rfc3339_opts(SecondsFormat::Millis, true),
        event_id: event.event_id,
    };
    let json = Bytes::from(serde_json::to_vec(&body)?);
    Ok(EventBody { identity: EventIdentity { action_id: action.action_id, update_count: event.update_count }, json })
}

#[derive(Deserialize)]
struct Payload<'a> {
    action: Action,
    #[serde(borrow)]
    event: Event<'a>,
}

#[derive(Deserialize)]
struct Action {
    action_type: String,
    action_id: Uuid,
    source_item_network: String,
    source_item_domain: String,
    source_item_type: String,
    source_item_id: Uuid,
    source_item_instance_url: String,
    source_item_owner: Option<String>,
    target_item_network: String,
    target_item_domain: String,
    target_item_type: String,
    target_item_id: Uuid,
    target_item_instance_url: String,
    target_item_owner: Option<String>,
    requirements_snapshot: Value,
}

#[derive(Deserialize)]
struct Event<'a> {
    event_id: Uuid,
    origin_instance_domain: String,
    action_status: String,
    update_count: i32,
    #[serde(borrow)]
    target_item_latitude: Option<&'a RawValue>,
    #[serde(borrow)]
    target_item_longitude: Option<&'a RawValue>,
    event_payload: Value,
    remarks: Option<String>,
    occurred_at: Option<DateTime<Utc>>,
}

#[derive(Serialize)]
struct Body<'a> {
    origin_instance_domain: &'a str,
    action_type: &'a str,
    action_id: Uuid,
    action_status: &'a str,
    update_count: i32,
    source_item: ItemReference<'a>,
    target_item: ItemReference<'a>,
    source_item_owner: Option<&'a str>,
    target_item_owner: Option<&'a str>,
    source_item_latitude: Option<f64>,
    source_item_longitude: Option<f64>,
    target_item_latitude: Option<&'a RawValue>,
    target_item_longitude: Option<&'a RawValue>,
    event_payload: Value,
    #[serde(skip_serializing_if = "Option::is_none")]
    remarks: Option<&'a str>,
    requirements_snapshot: Value,
    occurred_at: String,
    event_id: Uuid,
}

#[derive(Serialize)]
struct ItemReference<'a> {
    item_network: &'a str,
    item_domain: &'a str,
    item_type: &'a str,
    item_id: Uuid,
    item_instance_url: &'a str,
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn payload() -> Value {
        let side = |side: &str, url: &str, owner: Value| {
            json!({format!("{side}_item_network"): "yellow_dot", format!("{side}_item_domain"): "d",
                   format!("{side}_item_type"): "profile_1.0", format!("{side}_item_id"): Uuid::from_u128(1),
                   format!("{side}_item_instance_url"): url, format!("{side}_item_owner"): owner})
        };
        let mut action = json!({"action_type": "connect", "partition_network": "yellow_dot",
            "action_id": Uuid::from_u128(7), "action_status": "accepted", "update_count": 1,
            "requirements_snapshot": {"n": 12345678901234567890u64, "big": 1e20}, "remarks": "x",
            "source_here": false, "target_here": true});
        for part in
            [side("source", "https://a.example.org", Value::Null), side("target", "https://b.example.org", json!("o"))]
        {
            action.as_object_mut().unwrap().extend(part.as_object().unwrap().clone());
        }
        json!({"action": action, "event": {"event_id": Uuid::from_u128(9),
            "origin_instance_domain": "https://b.example.org", "action_status": "accepted", "update_count": 1,
            "source_item_latitude": 1.5, "source_item_longitude": 2.5,
            "target_item_latitude": 12.97, "target_item_longitude": 77.59,
            "event_payload": {"status": "accepted"}, "remarks": null}})
    }

    fn written(payload: &Value) -> Value {
        let at = DateTime::from_timestamp_millis(1_795_225_984_007).unwrap();
        serde_json::from_slice(&event_body(&payload.to_string(), at).unwrap().json).unwrap()
    }

    #[test]
    fn exactly_the_keys_of_the_contract() {
        let body = written(&payload());
        let keys: Vec<&str> = body.as_object().unwrap().keys().map(String::as_str).collect();
        assert_eq!(
            keys,
            [
                "origin_instance_domain",
                "action_type",
                "action_id",
                "action_status",
                "update_count",
                "source_item",
                "target_item",
                "source_item_owner",
                "target_item_owner",
                "source_item_latitude",
                "source_item_longitude",
                "target_item_latitude",
                "target_item_longitude",
                "event_payload",
                "requirements_snapshot",
                "occurred_at",
                "event_id",
            ]
        );
        assert_eq!(body["source_item_latitude"], Value::Null);
        assert_eq!(body["source_item_owner"], Value::Null);
        assert_eq!(body["target_item_latitude"], json!(12.97));
        assert_eq!(body["occurred_at"], "2026-11-21T01:53:04.007Z");
        assert_eq!(body["requirements_snapshot"], json!({"n": 12345678901234567890u64, "big": 1e20}));
        assert_eq!(
            body["source_item"],
            json!({"item_network": "yellow_dot", "item_domain": "d",
            "item_type": "profile_1.0", "item_id": Uuid::from_u128(1), "item_instance_url": "https://a.example.org"})
        );
    }

    #[test]
    fn a_large_number_is_written_as_a_float_and_depth_does_not_matter() {
        let deep = format!("{}1{}", "[".repeat(140), "]".repeat(140));
        // As Postgres gives `1e20` back; no peer takes that for an integer.
        let text =
            payload().to_string().replace("1e20", "100000000000000000000").replace("1e+20", "100000000000000000000");
        let text = text.replace("\"status\":\"accepted\"", &format!("\"status\":\"accepted\",\"deep\":{deep}"));
        let body = event_body(&text, DateTime::UNIX_EPOCH).unwrap();
        let body = String::from_utf8(body.json.to_vec()).unwrap();
        assert!(body.contains("\"big\":1e+20") && body.contains(&deep), "{body}");
    }

    #[test]
    fn remarks_and_time_of_the_event_win() {
        let mut payload = payload();
        payload["event"]["remarks"] = json!("Saturday");
        payload["event"]["occurred_at"] = json!("2026-11-20T00:00:00.100Z");
        let body = written(&payload);
        assert_eq!((&body["remarks"], &body["occurred_at"]), (&json!("Saturday"), &json!("2026-11-20T00:00:00.100Z")));
    }

    #[test]
    fn anything_else_in_the_log_is_an_error() {
        assert!(event_body(r#"{"item_id":"x"}"#, Utc::now()).is_err());
    }
}
