//! Refusals in the document: one response per status, with the codes that the operation may answer under it and the
//! form of their bodies (CONTRACT 1.2).

use serde_json::{Map, Value, json};

use super::errors::meaning;
use super::operation::{Operation, Tier};
use super::schemas::{described, list, object, one, partly, put, schema};

/// Which schema a refusal has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Shape {
    /// The code in `error`.
    Plain,
    /// The code in `code`, the status in words in `error`.
    User,
    /// The code in both.
    Both,
    /// What is served, beside the code.
    Unserved,
}

impl Shape {
    fn of(tier: Tier, code: &str) -> Self {
        let of_credentials = matches!(
            code,
            "UNAUTHORIZED" | "INVALID_API_KEY" | "INVALID_ADMIN_KEY" | "ADMIN_REQUIRED" | "RATE_LIMITED"
        );
        match tier {
            _ if code == "UNSERVED_DOMAIN_BINDING" => Self::Unserved,
            Tier::Auth | Tier::Session => Self::Both,
            Tier::User | Tier::Admin if of_credentials => Self::User,
            _ if code.starts_with("PEER_") => Self::Both,
            _ => Self::Plain,
        }
    }

    /// The component, narrowed to these codes.
    fn narrowed(self, codes: &[&str]) -> Value {
        let codes = json!({"type": "string", "enum": codes});
        let (component, members) = match self {
            Self::Plain => ("Error", json!({"error": codes})),
            Self::Unserved => ("UnservedError", json!({"error": codes})),
            Self::User => ("CredentialsError", json!({"code": codes})),
            Self::Both => ("CodeError", json!({"error": codes, "code": codes})),
        };
        json!({"allOf": [schema(component), {"properties": members}]})
    }
}

/// The bodies of refusals.
pub(super) fn schemas() -> Map<String, Value> {
    let fault = object(&[
        ("path", described(one("string"), "JSON Pointer into the body, the query or the path parameters.")),
        ("message", one("string")),
    ]);
    let error = |error: &str, more: &[(&str, Value)]| {
        let mut members = vec![
            ("error", described(one("string"), error)),
            ("message", described(one("string"), "For people; may change.")),
            ("request_id", described(one("string"), "As in the header `x-request-id`.")),
            ("details", described(list(schema("Fault")), "Every fault of the request, where there are any.")),
        ];
        members.extend_from_slice(more);
        let required: Vec<&str> = members.iter().map(|(name, _)| *name).filter(|name| *name != "details").collect();
        partly(&members, &required)
    };
    let code = || [("code", described(one("string"), "The stable code."))];
    let texts = || list(one("string"));
    let types = json!({"type": "object", "additionalProperties": texts()});
    let requested = object(&[("network", one("string")), ("domain", one("string")), ("key", one("string"))]);
    let unserved = [
        ("requested", requested),
        ("allowed_bindings", texts()),
        ("allowed_networks", texts()),
        ("allowed_domains", texts()),
        ("allowed_item_types_by_binding", types),
    ];
    Map::from_iter([
        ("Fault".to_owned(), fault),
        ("Error".to_owned(), error("The stable code.", &[])),
        ("CredentialsError".to_owned(), error("The status in words; the stable code is in `code`.", &code())),
        ("CodeError".to_owned(), error("The stable code.", &code())),
        ("UnservedError".to_owned(), error("The stable code.", &unserved)),
    ])
}

/// The responses of all refusals of an operation, by status: references to `components.responses`, where those that are
/// new are added.
pub(super) fn responses(operation: &Operation, shared: &mut Map<String, Value>) -> Map<String, Value> {
    let refusals = operation.refusals();
    let mut responses = Map::new();
    for statuses in refusals.chunk_by(|one, next| one.0 == next.0) {
        let Some((status, _)) = statuses.first() else { continue };
        let codes: Vec<&str> = statuses.iter().map(|(_, code)| *code).collect();
        let form = if matches!(operation.tier, Tier::Auth | Tier::Session) { ".auth" } else { "" };
        let name = format!("{status}.{}{form}", codes.join("."));
        responses.insert(status.to_string(), json!({"$ref": format!("#/components/responses/{name}")}));
        shared.entry(name).or_insert_with(|| response(operation.tier, *status, &codes));
    }
    if operation.passes_on {
        responses.insert("4XX".to_owned(), json!({"$ref": "#/components/responses/4XX"}));
        shared.entry("4XX").or_insert_with(passed_on);
    }
    responses
}

fn passed_on() -> Value {
    json!({
        "description": "Any other refusal of the target instance, passed on as it came.",
        "headers": headers(&["retry-after"]),
        "content": {"application/json": {"schema": {}}},
    })
}

fn response(tier: Tier, status: u16, codes: &[&str]) -> Value {
    let mut shapes: Vec<(Shape, &str)> = codes.iter().map(|code| (Shape::of(tier, code), *code)).collect();
    shapes.sort_unstable();
    let mut bodies: Vec<Value> = shapes
        .chunk_by(|one, next| one.0 == next.0)
        .filter_map(|alike| {
            let codes: Vec<&str> = alike.iter().map(|(_, code)| *code).collect();
            alike.first().map(|(shape, _)| shape.narrowed(&codes))
        })
        .collect();
    let schema = if bodies.len() == 1 { bodies.remove(0) } else { json!({"anyOf": bodies}) };
    let lines: Vec<String> = codes.iter().map(|code| format!("* `{code}`: {}", meaning(status, code))).collect();
    let waits = codes.iter().any(|code| may_be_repeated(code));
    json!({
        "description": lines.join("\n"),
        "headers": headers(if waits { &["retry-after"] } else { &[] }),
        "content": {"application/json": {"schema": schema, "example": example(tier, status, codes)}},
    })
}

fn may_be_repeated(code: &str) -> bool {
    matches!(code, "RATE_LIMITED" | "SERVICE_UNAVAILABLE" | "PROJECTION_BEHIND" | "IDEMPOTENCY_KEY_IN_PROGRESS")
}

/// The first code's refusal as it goes out.
fn example(tier: Tier, status: u16, codes: &[&str]) -> Value {
    let code = codes.first().copied().unwrap_or_default();
    let mut example = json!({"error": code, "message": meaning(status, code), "request_id": "5f0c8d1e"});
    match Shape::of(tier, code) {
        Shape::Plain => {}
        Shape::Both => put(&mut example, "code", json!(code)),
        Shape::User => {
            let reason =
                actix_web::http::StatusCode::from_u16(status).ok().and_then(|status| status.canonical_reason());
            put(&mut example, "code", json!(code));
            put(&mut example, "error", json!(reason));
        }
        Shape::Unserved => {
            let more = json!({
                "requested": {"network": "yellow_dot", "domain": "tutor", "key": "yellow_dot/tutor"},
                "allowed_bindings": ["yellow_dot/student"], "allowed_networks": ["yellow_dot"],
                "allowed_domains": ["student"], "allowed_item_types_by_binding": {"yellow_dot/student": ["profile_1.0"]},
            });
            if let (Some(example), Value::Object(more)) = (example.as_object_mut(), more) {
                example.extend(more);
            }
        }
    }
    example
}

/// References to the headers of an answer: those that every answer has, and these.
pub(super) fn headers(names: &[&str]) -> Value {
    let all = ["x-request-id", "vary"].iter().chain(names);
    let headers: Map<String, Value> =
        all.map(|name| ((*name).to_owned(), json!({"$ref": format!("#/components/headers/{name}")}))).collect();
    Value::Object(headers)
}
