//! `/api/v1/admin/*` (CONTRACT 4.24): the operator looks after delivery.

use serde_json::{Value, json};

use super::super::operation::{Operation, Tier};
use super::super::parameters::{paging, path, query};
use super::super::schemas::{list, object, page, schema};
use super::peers::{lane, parked};

pub(super) fn operations() -> Vec<Operation> {
    vec![
        lanes(),
        on_lanes("/api/v1/admin/peers/pause", "pausePeer", "Send nothing to a peer", "Only *resume* ends it."),
        on_lanes(
            "/api/v1/admin/peers/resume",
            "resumePeer",
            "Send to a peer again",
            "Waits are forgotten, also of a lane that was not paused.",
        )
        .refuses(&[CONFLICT]),
        on_lanes(
            "/api/v1/admin/peers/probe",
            "probePeer",
            "Try one event at once",
            "Whatever the wait; what came of it shows in the list of lanes.",
        )
        .refuses(&[CONFLICT]),
        list_parked(),
        get_parked(),
        retry(),
        drop_parked(),
        resend(),
    ]
}

const CONFLICT: (u16, &str) = (409, "LANE_STATE_CONFLICT");
const NO_LANE: (u16, &str) = (404, "LANE_NOT_FOUND");
const NOT_PARKED: (u16, &str) = (404, "PARKED_NOT_FOUND");

fn lanes_answer() -> Value {
    object(&[("lanes", list(schema("Lane")))])
}

fn lane_filters() -> [Value; 2] {
    [query("instance_url", schema("InstanceUrl"), "The peer."), query("network", schema("Name"), "The network.")]
}

fn parked_id() -> Value {
    path("id", schema("Uuid"), "The parked event's id.")
}

fn lanes() -> Operation {
    Operation::get("/api/v1/admin/peers", "listLanes", "operator", Tier::Admin)
        .summary("How delivery to every peer stands")
        .parameters(lane_filters())
        .answers(200, "Lanes by network, then instance URL.", lanes_answer())
        .like(json!({"lanes": [lane()]}))
        .stored()
}

fn on_lanes(path: &'static str, id: &'static str, summary: &'static str, says: &str) -> Operation {
    Operation::post(path, id, "operator", Tier::Admin)
        .summary(summary)
        .says(says)
        .body(schema("LaneChoice"))
        .sends(json!({"instance_url": "https://a.example.org", "network": "yellow_dot"}))
        .answers(200, "The lanes concerned, as they are now.", lanes_answer())
        .like(json!({"lanes": [lane()]}))
        .stored()
        .refuses(&[NO_LANE])
}

fn list_parked() -> Operation {
    Operation::get("/api/v1/admin/outbox/parked", "listParked", "operator", Tier::Admin)
        .summary("Events that peers have refused, the newest first")
        .parameters(lane_filters())
        .parameters(paging())
        .answers(200, "A page of parked events.", page("parked", "Parked"))
        .like(json!({"meta": {"total": 1, "limit": 20, "offset": 0, "next_cursor": null}, "parked": [parked(false)]}))
        .stored()
}

fn get_parked() -> Operation {
    Operation::get("/api/v1/admin/outbox/parked/{id}", "getParked", "operator", Tier::Admin)
        .summary("A parked event with the body that would be sent")
        .parameters([parked_id()])
        .answers(200, "The parked event.", schema("ParkedEvent"))
        .like(parked(true))
        .stored()
        .refuses(&[NOT_PARKED])
}

fn outcome(word: &str) -> Value {
    object(&[("id", schema("Uuid")), ("outcome", json!({"type": "string", "const": word}))])
}

fn retry() -> Operation {
    Operation::post("/api/v1/admin/outbox/parked/{id}/retry", "retryParked", "operator", Tier::Admin)
        .summary("Send a parked event again")
        .says("With its number, before the lane's next event.")
        .parameters([parked_id()])
        .answers(200, "It will be sent.", outcome("queued"))
        .like(json!({"id": "019aa3f0-2c1d-7e55-9b60-3a4b5c6d7e8f", "outcome": "queued"}))
        .stored()
        .refuses(&[NOT_PARKED, CONFLICT])
}

fn drop_parked() -> Operation {
    let reason = json!({"type": "string", "minLength": 1, "maxLength": 1000, "pattern": "^[^\\u0000]*$"});
    Operation::post("/api/v1/admin/outbox/parked/{id}/drop", "dropParked", "operator", Tier::Admin)
        .summary("Give a parked event up")
        .says("It is never sent; the peer is told that its number does not come.")
        .parameters([parked_id()])
        .body(object(&[("reason", reason)]))
        .sends(json!({"reason": "The item is gone on the other side."}))
        .answers(200, "It is never sent.", outcome("dropped"))
        .like(json!({"id": "019aa3f0-2c1d-7e55-9b60-3a4b5c6d7e8f", "outcome": "dropped"}))
        .stored()
        .refuses(&[NOT_PARKED])
}

fn resend() -> Operation {
    let from = object(&[
        ("instance_url", schema("InstanceUrl")),
        ("network", schema("Name")),
        ("since_seq", json!({"type": "integer", "minimum": 1, "description": "At most the lane's `last_seq`."})),
    ]);
    let answer = object(&[("lane", schema("Lane")), ("resent", json!({"type": "integer", "minimum": 0}))]);
    Operation::post("/api/v1/admin/outbox/resend", "resend", "operator", Tier::Admin)
        .summary("Send everything from a number on again")
        .says("But for parked and dropped events. The peer knows each event, so nothing happens twice.")
        .body(from)
        .sends(json!({"instance_url": "https://a.example.org", "network": "yellow_dot", "since_seq": 42}))
        .answers(200, "The lane, and how many events go again.", answer)
        .like(json!({"lane": lane(), "resent": 5}))
        .stored()
        .refuses(&[NO_LANE, CONFLICT])
}
