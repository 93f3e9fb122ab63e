//! What other instances ask (CONTRACT 4.10, 4.12, 4.14 to 4.14b, 4.17, 4.18, 4.23).

use serde_json::{Value, json};

use super::super::operation::{Operation, Tier};
use super::super::parameters::{needed_query, query};
use super::super::schemas::{list, object, one, page, put, schema};
use super::actions::{STATUS_REFUSALS, item_ref_plus, performed, status_set};

pub(super) fn operations() -> Vec<Operation> {
    vec![
        perform(),
        update_status(),
        store(),
        store_batch(),
        count_local(),
        fetch_local(),
        status(),
        histories(),
        well_known(),
    ]
}

const UNSERVED: (u16, &str) = (403, "UNSERVED_DOMAIN_BINDING");

fn perform() -> Operation {
    Operation::post("/api/v1/network/action/perform", "peerPerform", "peers", Tier::PeerWrite)
        .summary("Make an action upon an item held here")
        .says("For the instance that holds the source item; its owner is believed as told.")
        .body(schema("PeerPerform"))
        .sends(json!({
            "action_type": "connect", "source_item": item_ref_plus("student"), "target_item": item_ref_plus("tutor"),
            "source_item_owner": "5e0c1f7a-3b2d-4c6e-8f90-a1b2c3d4e5f6",
            "requirements_snapshot": {"subject": "math", "phone": "1234567890"},
        }))
        .answers(201, "The new action.", schema("Performed"))
        .like(performed())
        .appends()
        .idempotent()
        .refuses(&[
            UNSERVED,
            (400, "INVALID_ACTION_EVENT"),
            (400, "INVALID_ACTION_REQUEST"),
            (400, "INVALID_TARGET_INSTANCE"),
            (404, "TARGET_ITEM_NOT_FOUND"),
        ])
}

fn update_status() -> Operation {
    Operation::post("/api/v1/network/action/update-status", "peerUpdateActionStatus", "peers", Tier::PeerSignedWrite)
        .summary("Pass on a status change of the source item's owner")
        .body(schema("PeerStatusChange"))
        .sends(json!({
            "action_id": "019aa3d0-5b3e-7f44-a1b2-c3d4e5f60718", "action_status": "cancelled", "remarks": "Found someone",
            "source_item": item_ref_plus("student"), "source_item_owner": "5e0c1f7a-3b2d-4c6e-8f90-a1b2c3d4e5f6",
        }))
        .answers(200, "The action's new status.", schema("StatusSet"))
        .like(status_set())
        .appends()
        .idempotent()
        .refuses(STATUS_REFUSALS)
        .refuses(&[(403, "SOURCE_ITEM_NOT_OWNED")])
}

fn store() -> Operation {
    Operation::post("/api/v1/event/store", "storeEvent", "peers", Tier::PeerWrite)
        .summary("Mirror an event to the source item's instance")
        .says(
            "The same event may come any number of times: an event is (origin, action, update count), and the first \
             content of it stays.",
        )
        .body(schema("EventBody"))
        .sends(event_body())
        .answers(201, "Newly stored.", schema("Stored"))
        .like(stored())
        .answers(200, "It was there already.", schema("Stored"))
        .like(stored())
        .mirrors()
        .refuses(EVENT_REFUSALS)
}

const EVENT_REFUSALS: &[(u16, &str)] = &[
    UNSERVED,
    (400, "INVALID_EVENT_REQUEST"),
    (400, "INVALID_SOURCE_INSTANCE"),
    (403, "EVENT_ORIGIN_MISMATCH"),
    (404, "SOURCE_ITEM_NOT_FOUND"),
    (409, "EVENT_IDENTITY_CONFLICT"),
];

fn store_batch() -> Operation {
    let answer = object(&[
        ("results", list(schema("BatchResult"))),
        ("high_water", json!({"type": "integer", "minimum": 0, "description": "Everything up to it is here."})),
    ]);
    Operation::post("/api/v1/event/store/batch", "storeEventBatch", "peers", Tier::PeerSignedWrite)
        .summary("Mirror the next events of a lane")
        .says(
            "At most 256 KiB. One result per event, in the same order: `stored`, `duplicate`, `conflict` (another content \
             is held), `rejected` (as the single route would refuse it), `retry` (from here on, later). An empty batch \
             asks for the mark.",
        )
        .body(schema("EventBatch"))
        .sends(json!({
            "origin_instance_domain": "https://b.example.org", "network": "yellow_dot",
            "destination": "https://a.example.org", "epoch": "5b1f0c3e-9a47-4d2b-8e61-0f3c7d9a2b45",
            "events": [{"seq": 41, "event": event_body()}], "withdrawn": [],
        }))
        .answers(200, "What became of each event.", answer)
        .like(json!({"results": [{"seq": 41, "outcome": "stored"}], "high_water": 41}))
        .stored()
        .refuses(&[(400, "INVALID_DESTINATION"), (500, "PARTITION_SETUP_FAILED")])
}

fn count_local() -> Operation {
    Operation::post("/api/v1/network/item/count_local", "countLocalItems", "peers", Tier::PeerRead)
        .summary("How many items this instance has")
        .says("Public values are filtered; members that are not listed are ignored.")
        .body(schema("ItemFilter"))
        .sends(json!({"item_network": "yellow_dot", "item_domain": "tutor", "item_state": {"subject": "math"}}))
        .answers(200, "The count.", object(&[("count", json!({"type": "integer", "minimum": 0}))]))
        .like(json!({"count": 1}))
        .reads_tables()
        .refuses(&[UNSERVED])
}

fn fetch_local() -> Operation {
    Operation::post("/api/v1/network/item/fetch_local", "fetchLocalItems", "peers", Tier::PeerRead)
        .summary("Items of this instance, the newest first")
        .says("Public values only.")
        .body(schema("ItemPageFilter"))
        .sends(json!({
            "item_network": "yellow_dot", "item_domain": "tutor", "item_type": "profile_1.0", "limit": 20, "offset": 0,
        }))
        .answers(200, "A page of items.", page("items", "Item"))
        .like(json!({
            "meta": {"total": 1, "limit": 20, "offset": 0, "next_cursor": null}, "items": [super::items::item()],
        }))
        .header("etag")
        .reads_tables()
        .refuses(&[UNSERVED])
}

fn status() -> Operation {
    let answer = object(&[("instance_url", one("string")), ("lanes", list(schema("Lane")))]);
    Operation::get("/api/v1/peers/self/status", "peerStatus", "peers", Tier::PeerStatus)
        .summary("How delivery to the caller stands")
        .says("The lanes of those networks whose contract gives the caller the key that signed.")
        .answers(200, "The lanes to the caller, by network.", answer)
        .like(json!({"instance_url": "https://a.example.org", "lanes": [lane()]}))
        .stored()
}

fn histories() -> Operation {
    let digest = || json!({"type": "string", "pattern": "^[0-9a-f]{64}$"});
    let bucket = object(&[("events", json!({"type": "integer", "minimum": 1})), ("digest", digest())]);
    let buckets =
        object(&[("network", schema("Name")), ("buckets", json!({"type": "object", "additionalProperties": bucket}))]);
    let entry = object(&[("action_id", schema("Uuid")), ("update_count", schema("UpdateCount")), ("digest", digest())]);
    let entries = object(&[("network", schema("Name")), ("bucket", one("string")), ("entries", list(entry))]);
    Operation::get("/api/v1/peers/self/histories", "peerHistories", "peers", Tier::PeerStatus)
        .summary("What this instance holds of the caller's events, as digests")
        .says(
            "For its operator to compare with what it holds itself: 256 buckets by the last byte of the action's id, then \
             the events of one bucket. Beyond the wire contract; the capability is `histories`.",
        )
        .parameters([
            needed_query("network", schema("Name"), "A network whose contract gives the caller the key that signed."),
            query("bucket", json!({"type": "string", "pattern": "^[0-9a-f]{2}$", "examples": ["7f"]}), "One bucket."),
        ])
        .answers(200, "Digests of buckets, or of the events of one.", json!({"anyOf": [buckets, entries]}))
        .like(json!({"network": "yellow_dot", "buckets": {"7f": {
            "events": 2, "digest": "24d5f609b240d653b42191ff59948e30d60f48534539896ae33c21f3da366aeb",
        }}}))
        .stored()
}

fn well_known() -> Operation {
    let answer = object(&[
        ("instance_url", one("string")),
        ("software", one("string")),
        ("version", one("string")),
        ("public_keys", list(one("string"))),
        ("capabilities", list(one("string"))),
        (
            "limits",
            object(&[
                ("batch_events", json!({"type": "integer", "minimum": 1})),
                ("batch_bytes", json!({"type": "integer", "minimum": 1})),
            ]),
        ),
    ]);
    Operation::get("/.well-known/dpg-peer", "peerCapabilities", "peers", Tier::Open)
        .summary("What this instance can do as a peer")
        .says("The keys are for information; trust comes from the network's contract alone.")
        .answers(200, "Capabilities and limits.", answer)
        .like(json!({
            "instance_url": "https://a.example.org", "software": "dpg", "version": "0.1.0",
            "public_keys": ["ed25519:11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo="],
            "capabilities": ["event-batch", "status-forward", "idempotency-key", "cursor"],
            "limits": {"batch_events": 50, "batch_bytes": 262_144},
        }))
}

fn event_body() -> Value {
    json!({
        "origin_instance_domain": "https://b.example.org", "action_type": "connect",
        "action_id": "019aa3d0-5b3e-7f44-a1b2-c3d4e5f60718", "action_status": "accepted", "update_count": 1,
        "source_item": item_ref_plus("student"), "target_item": item_ref_plus("tutor"),
        "source_item_owner": "5e0c1f7a-3b2d-4c6e-8f90-a1b2c3d4e5f6",
        "target_item_owner": "8c7b6a59-4d3e-4f2a-9b1c-0d9e8f7a6b5c",
        "source_item_latitude": null, "source_item_longitude": null,
        "target_item_latitude": 12.97, "target_item_longitude": 77.59,
        "event_payload": {"subject": "math", "status": "accepted", "remark": "Saturday at ten"},
        "remarks": "Saturday at ten",
    })
}

fn stored() -> Value {
    json!({
        "event_id": "6baf41f0-cff9-5d18-ae2d-f3af7567c255", "action_id": "019aa3d0-5b3e-7f44-a1b2-c3d4e5f60718",
        "action_type": "connect", "action_status": "accepted", "update_count": 1,
    })
}

/// A lane for examples.
pub(super) fn lane() -> Value {
    json!({
        "network": "yellow_dot", "instance_url": "https://a.example.org", "state": "backing_off", "diverged": false,
        "epoch": "5b1f0c3e-9a47-4d2b-8e61-0f3c7d9a2b45", "last_seq": 46, "acknowledged_seq": 44, "waiting": 2,
        "oldest_waiting_seconds": 95, "parked": 1, "failures": 3, "next_attempt_at": "2026-11-21T02:00:00.000Z",
        "last_error": {"at": "2026-11-21T01:58:20.101Z", "status": 503, "error": "SERVICE_UNAVAILABLE",
                       "message": "Try again."},
    })
}

/// A parked event for examples.
pub(super) fn parked(with_event: bool) -> Value {
    let mut parked = json!({
        "id": "019aa3f0-2c1d-7e55-9b60-3a4b5c6d7e8f", "network": "yellow_dot", "instance_url": "https://a.example.org",
        "seq": 43, "action_id": "019aa3d0-5b3e-7f44-a1b2-c3d4e5f60718", "update_count": 1,
        "parked_at": "2026-11-21T01:56:00.000Z", "attempts": 1, "conflict": false, "status": 400,
        "error": "INVALID_EVENT_REQUEST", "message": "The network yellow_dot has no such interaction.",
    });
    if with_event {
        put(&mut parked, "event", event_body());
    }
    parked
}
