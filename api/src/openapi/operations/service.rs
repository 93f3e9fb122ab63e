//! The process itself: `/`, `/health/*`, `/metrics`, and this document (CONTRACT 4.1 to 4.3).

use serde_json::{Value, json};

use super::super::operation::{Operation, Tier};
use super::super::parameters::path;
use super::super::schemas::{list, object, one, partly};

pub(super) fn operations() -> Vec<Operation> {
    vec![root(), live(), ready(), metrics(), document(), explorer(), explorer_file()]
}

fn get(path: &'static str, id: &'static str) -> Operation {
    Operation::get(path, id, "service", Tier::Open)
}

fn root() -> Operation {
    let served = object(&[("network", one("string")), ("domain", one("string")), ("key", one("string"))]);
    let answer = object(&[
        ("service", one("string")),
        ("status", json!({"type": "string", "const": "ok"})),
        ("network_config_source", json!({"type": "string", "enum": ["local", "remote"]})),
        ("served_domains", list(served)),
    ]);
    get("/", "root")
        .summary("Who this is")
        .says("Touches neither database nor Redis.")
        .answers(200, "Name and served domains.", answer)
        .like(json!({
            "service": "instance-a", "status": "ok", "network_config_source": "local",
            "served_domains": [{"network": "yellow_dot", "domain": "student", "key": "yellow_dot/student"}],
        }))
}

fn live() -> Operation {
    get("/health/live", "live")
        .summary("Whether the process runs")
        .answers(200, "It does.", object(&[("status", json!({"type": "string", "const": "live"}))]))
        .like(json!({"status": "live"}))
}

fn check(more: &[(&str, Value)]) -> Value {
    let mut members = vec![("ok", one("boolean")), ("required", one("boolean"))];
    members.extend_from_slice(more);
    object(&members)
}

fn ready() -> Operation {
    let whole = || json!({"type": "integer", "minimum": 0});
    let checks = object(&[
        ("postgres", check(&[("latency_ms", whole())])),
        ("contract", check(&[("networks", list(one("string"))), ("version", whole())])),
        ("projector", check(&[("lag_events", whole()), ("lag_ms", whole())])),
        ("redis", check(&[("configured", one("boolean"))])),
    ]);
    let answer =
        |word: &str| object(&[("status", json!({"type": "string", "const": word})), ("checks", checks.clone())]);
    let example = |word: &str, ok: bool| {
        json!({"status": word, "checks": {
            "postgres": {"ok": ok, "required": true, "latency_ms": 1},
            "contract": {"ok": true, "required": true, "networks": ["yellow_dot"], "version": 3},
            "projector": {"ok": ok, "required": false, "lag_events": 0, "lag_ms": 0},
            "redis": {"ok": false, "required": false, "configured": true},
        }})
    };
    get("/health/ready", "ready")
        .summary("Whether the process can do its work")
        .says("Each check is capped at 2 seconds. Redis is reported and never required.")
        .answers(200, "Every required check is ok.", answer("ready"))
        .like(example("ready", true))
        .answers(503, "A required check failed, or the process is stopping.", answer("not_ready"))
        .like(example("not_ready", false))
}

fn metrics() -> Operation {
    get("/metrics", "metrics").summary("Prometheus metrics").answers_as(
        200,
        "Text of version 0.0.4.",
        Some(("text/plain", one("string"))),
    )
}

fn document() -> Operation {
    let document = partly(&[("openapi", one("string")), ("paths", one("object"))], &["openapi", "paths"]);
    get("/api/v1/openapi.json", "openapi").summary("This document").says("It follows the contract in force.").answers(
        200,
        "OpenAPI 3.1.",
        document,
    )
}

fn explorer() -> Operation {
    get("/api/reference", "reference").summary("This document for people").answers_as(
        200,
        "An HTML page that loads nothing from other hosts.",
        Some(("text/html", one("string"))),
    )
}

fn explorer_file() -> Operation {
    let names = json!({"type": "string", "enum": crate::routes::reference::FILES});
    get("/api/reference/{file}", "referenceFile")
        .summary("A script or style of the explorer")
        .parameters([path("file", names, "Its name.")])
        .answers_as(200, "The file.", Some(("text/javascript", one("string"))))
        .or_as("text/css")
}
