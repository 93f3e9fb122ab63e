//! Every operation of the wire contract, a table per area.

mod actions;
mod admin;
mod auth;
mod items;
mod network;
mod peers;
mod service;

use serde_json::{Value, json};

use super::operation::Operation;

/// All of them.
pub(crate) fn all() -> Vec<Operation> {
    [
        items::operations(),
        actions::operations(),
        network::operations(),
        auth::operations(),
        peers::operations(),
        admin::operations(),
        service::operations(),
    ]
    .concat()
}

/// What the tags of operations mean.
pub(super) fn tags() -> Value {
    let tag = |name: &str, description: &str| json!({"name": name, "description": description});
    json!([
        tag("items", "A user's own items on this instance."),
        tag("actions", "Actions of a user's items, and their events."),
        tag("network", "What the whole network has, and its contract."),
        tag("auth", "Signing in, sessions, API keys. Every refusal has its code in `error` and in `code`."),
        tag("peers", "What other instances ask of this one."),
        tag("operator", "Delivery to other instances, for the operator."),
        tag("service", "The process itself."),
    ])
}
