//! `/api/v1/action/*` and `GET /api/v1/event/fetch` (CONTRACT 4.9, 4.11, 4.13, 4.15).

use serde_json::{Value, json};

use super::super::operation::{Operation, Tier};
use super::super::parameters::{action_filters, paging, query};
use super::super::schemas::{page, put, schema};

pub(super) fn operations() -> Vec<Operation> {
    vec![perform(), update_status(), fetch(), fetch_events()]
}

fn perform() -> Operation {
    Operation::post("/api/v1/action/perform", "performAction", "actions", Tier::User)
        .summary("Act with your item upon another item")
        .says(
            "Send it to the instance that holds your item. The target may be on any instance that the contract \
             registers; the action is then held there, and appears here when its first event arrives. After 504, or a \
             lost connection, repeat with the same `idempotency-key`: it makes no second action.",
        )
        .body(schema("Perform"))
        .sends(json!({
            "action_type": "connect", "source_item": item_ref("student"), "target_item": item_ref_plus("tutor"),
            "requirements_snapshot": {"subject": "math"},
        }))
        .answers(201, "The new action.", schema("Performed"))
        .like(performed())
        .appends()
        .idempotent()
        .forwards()
        .refuses(&[
            (400, "INVALID_ACTION_EVENT"),
            (400, "INVALID_ACTION_REQUEST"),
            (400, "INVALID_TARGET_INSTANCE"),
            (400, "INVALID_TARGET_ITEM"),
            (403, "SOURCE_ITEM_NOT_OWNED"),
            (403, "UNSERVED_DOMAIN_BINDING"),
            (404, "SOURCE_ITEM_NOT_FOUND"),
            (404, "TARGET_ITEM_NOT_FOUND"),
        ])
}

fn update_status() -> Operation {
    Operation::post("/api/v1/action/update-status", "updateActionStatus", "actions", Tier::User)
        .summary("Set an action's status")
        .says(
            "The owner of the target item answers; the owner of the source item may withdraw with `cancelled` while there \
             is no answer, unless the contract's lifecycle says otherwise. An action that is held elsewhere is changed \
             there. Of several calls at once on one state exactly one wins each step.",
        )
        .body(schema("StatusChange"))
        .sends(json!({
            "action_id": "019aa3d0-5b3e-7f44-a1b2-c3d4e5f60718", "action_status": "accepted", "remarks": "Saturday at ten",
        }))
        .answers(200, "The action's new status.", schema("StatusSet"))
        .like(status_set())
        .appends()
        .idempotent()
        .forwards()
        .refuses(STATUS_REFUSALS)
        .refuses(&[(501, "CANCEL_UNSUPPORTED_BY_TARGET")])
}

/// What a status change meets, wherever it comes from.
pub(super) const STATUS_REFUSALS: &[(u16, &str)] = &[
    (400, "INVALID_ACTION_EVENT"),
    (400, "INVALID_ACTION_STATUS"),
    (403, "TARGET_ITEM_NOT_OWNED"),
    (404, "ACTION_NOT_FOUND"),
    (409, "ACTION_CONFLICT"),
    (409, "INVALID_TRANSITION"),
];

fn fetch() -> Operation {
    Operation::get("/api/v1/action/fetch", "fetchActions", "actions", Tier::User)
        .summary("Actions of your items")
        .says("Those you started and those you received, the latest change first.")
        .parameters(action_filters())
        .parameters(paging())
        .answers(200, "A page of actions.", page("actions", "Action"))
        .like(json!({"meta": {"total": 1, "limit": 20, "offset": 0, "next_cursor": null}, "actions": [action()]}))
        .reads_tables()
}

fn fetch_events() -> Operation {
    Operation::get("/api/v1/event/fetch", "fetchEvents", "actions", Tier::User)
        .summary("Events of your actions")
        .says("Every status an action ever had, the latest first; those of other instances are mirrored here.")
        .parameters(action_filters())
        .parameters([query(
            "update_count",
            json!({"type": "integer", "minimum": 0, "maximum": i32::MAX}),
            "The number of the change; 0 is the action itself.",
        )])
        .parameters(paging())
        .answers(200, "A page of events.", page("events", "Event"))
        .like(json!({"meta": {"total": 1, "limit": 20, "offset": 0, "next_cursor": null}, "events": [event()]}))
        .reads_tables()
}

/// A reference for examples: the student's item, or the tutor's.
pub(super) fn item_ref(domain: &str) -> Value {
    let id =
        if domain == "tutor" { "019aa3c2-10aa-7e02-9d41-6a7b8c9d0e1f" } else { "019aa3c1-7f20-7b11-8c3d-2f4e5a6b7c8d" };
    json!({"item_network": "yellow_dot", "item_domain": domain, "item_type": "profile_1.0", "item_id": id})
}

/// The same with the instance that holds it.
pub(super) fn item_ref_plus(domain: &str) -> Value {
    let mut reference = item_ref(domain);
    let url = if domain == "tutor" { "https://b.example.org" } else { "https://a.example.org" };
    put(&mut reference, "item_instance_url", json!(url));
    reference
}

pub(super) fn performed() -> Value {
    json!({
        "action_id": "019aa3d0-5b3e-7f44-a1b2-c3d4e5f60718", "action_type": "connect", "action_status": "created",
        "update_count": 0, "source_item_id": "019aa3c1-7f20-7b11-8c3d-2f4e5a6b7c8d",
        "target_item_id": "019aa3c2-10aa-7e02-9d41-6a7b8c9d0e1f",
    })
}

pub(super) fn status_set() -> Value {
    json!({
        "action_id": "019aa3d0-5b3e-7f44-a1b2-c3d4e5f60718", "action_type": "connect", "action_status": "accepted",
        "update_count": 1,
    })
}

fn sides() -> Value {
    let mut sides = json!({});
    for (side, domain, owner) in [
        ("source", "student", "5e0c1f7a-3b2d-4c6e-8f90-a1b2c3d4e5f6"),
        ("target", "tutor", "8c7b6a59-4d3e-4f2a-9b1c-0d9e8f7a6b5c"),
    ] {
        let reference = item_ref_plus(domain);
        for part in ["network", "domain", "type", "id", "instance_url"] {
            let member = reference.get(format!("item_{part}")).cloned().unwrap_or_default();
            put(&mut sides, format!("{side}_item_{part}"), member);
        }
        put(&mut sides, format!("{side}_item_owner"), json!(owner));
    }
    sides
}

fn over(mut base: Value, more: Value) -> Value {
    if let (Some(base), Value::Object(more)) = (base.as_object_mut(), more) {
        base.extend(more);
    }
    base
}

fn action() -> Value {
    over(
        over(status_set(), sides()),
        json!({
            "partition_network": "yellow_dot", "requirements_snapshot": {"subject": "math", "phone": "1234567890"},
            "remarks": "Saturday at ten", "created_at": "2026-11-21T01:54:57.418Z",
            "updated_at": "2026-11-21T01:55:33.215Z", "ownership_roles": ["received"],
        }),
    )
}

fn event() -> Value {
    over(
        over(status_set(), sides()),
        json!({
            "partition_network": "yellow_dot", "event_id": "6baf41f0-cff9-5d18-ae2d-f3af7567c255",
            "origin_instance_domain": "https://b.example.org", "source_item_latitude": null,
            "source_item_longitude": null, "target_item_latitude": 12.97, "target_item_longitude": 77.59,
            "event_payload": {"subject": "math", "status": "accepted", "remark": "Saturday at ten"},
            "remarks": "Saturday at ten", "created_at": "2026-11-21T01:55:33.215Z", "ownership_roles": ["received"],
        }),
    )
}
