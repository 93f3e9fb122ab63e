//! The OpenAPI 3.1 document of this instance (CONTRACT 4.3): every route, every status and code, and the item types of
//! the contract in force. It is data, not annotations on handlers: one table of operations per area, from which
//! `docs/errors.md` comes, too. Tests hold the table against the registered routes and against what the routes answer.

mod contract_types;
mod errors;
mod objects;
mod operation;
mod operations;
mod parameters;
mod refusal;
mod requests;
mod schemas;
mod security;
#[cfg(test)]
mod tests;

use serde_json::{Map, Value, json};

use crate::contract::Contracts;
use operation::{Answer, Operation};
use schemas::put;

/// The document for the contract in force. `production` decides the session cookie's name.
#[must_use]
pub(crate) fn document(contracts: &Contracts, production: bool) -> Value {
    let operations = operations::all();
    let types = contract_types::merged(contracts);
    let mut schemas = schemas::all();
    schemas.extend(types.schemas);
    let mut paths = Map::new();
    let mut responses = Map::new();
    for operation in &operations {
        let path = paths.entry(operation.path).or_insert_with(|| json!({}));
        let rendered = render(operation, &types.notes, &mut responses);
        put(path, operation.method, rendered);
    }
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "DPG instance",
            "version": env!("CARGO_PKG_VERSION"),
            "summary": "Items, actions and events of a decentralised network",
            "description": INTRODUCTION,
            "license": {"name": "MIT", "identifier": "MIT"},
        },
        "servers": [{"url": contracts.own_url().as_str(), "description": "This instance."}],
        "tags": operations::tags(),
        "paths": paths,
        "components": {
            "schemas": schemas,
            "responses": responses,
            "headers": parameters::response_headers(),
            "securitySchemes": security::schemes(production),
        },
    })
}

const INTRODUCTION: &str = "\
An **item** is a record of a type that the network's contract defines. An **action** goes from one item to another, which \
may be held by another instance. An **event** is what became of an action, and never changes.

* Bodies are JSON in UTF-8, at most 1 MiB, sent with `content-type: application/json`. Members that are not listed are \
ignored, except by PATCH. No text and no key may hold U+0000; whole numbers must fit 64 bits.
* Times are ISO 8601, UTC, with milliseconds.
* `HEAD` works wherever `GET` does. An unknown path is 404 `NOT_FOUND`, a method that a path lacks 405 \
`METHOD_NOT_ALLOWED` with `allow`. Paths are case-sensitive, and a trailing slash is another path.
* Credentials are judged before the body: a bad body without credentials is 401.
* A refusal is JSON with a stable code: in `code` where there is one, else in `error`. `details` lists every fault of a \
request, each with a JSON Pointer.
* A page may call from the origins that the contract and the operator name, with credentials; others get no CORS header. \
Pages read `set-auth-token`, `etag`, `dpg-position`, `dpg-projected`, `x-network-partial`, `x-request-id` and `retry-after`.
* `x-request-id` may be sent (1 to 200 visible ASCII characters), is on every answer, and finds the request in the log.
* Every write answers `dpg-position`; a later read that sends it as `dpg-min-position` shows that write. Repeat a write \
with the same `idempotency-key` after a lost connection.
";

fn render(operation: &Operation, notes: &contract_types::Notes, shared: &mut Map<String, Value>) -> Value {
    let mut rendered = json!({
        "operationId": operation.id,
        "tags": [operation.tag],
        "summary": operation.summary,
    });
    let description = format!("{}{}", operation.description, notes.of(operation.id));
    if !description.is_empty() {
        put(&mut rendered, "description", json!(description));
    }
    if !operation.parameters.is_empty() {
        put(&mut rendered, "parameters", json!(operation.parameters));
    }
    if let Some(body) = &operation.body {
        let mut content = json!({"schema": body.schema});
        if let Some(example) = &body.example {
            put(&mut content, "example", example.clone());
        }
        put(&mut rendered, "requestBody", json!({"required": body.required, "content": {"application/json": content}}));
    }
    let mut responses = Map::new();
    for answer in &operation.answers {
        responses.insert(answer.status.to_string(), good(answer));
    }
    responses.extend(refusal::responses(operation, shared));
    put(&mut rendered, "responses", Value::Object(responses));
    put(&mut rendered, "security", operation.security());
    rendered
}

fn good(answer: &Answer) -> Value {
    let mut response = json!({"description": answer.description, "headers": refusal::headers(&answer.headers)});
    if let Some((media_types, schema)) = &answer.content {
        let mut content = json!({"schema": schema});
        if let Some(example) = &answer.example {
            put(&mut content, "example", example.clone());
        }
        let contents: Map<String, Value> =
            media_types.iter().map(|media_type| ((*media_type).to_owned(), content.clone())).collect();
        put(&mut response, "content", Value::Object(contents));
    }
    response
}
