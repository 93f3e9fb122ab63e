//! The contract's own schemas as components of the document, so that a client sees what it has to send: item types,
//! and what actions ask for. It follows the contract in force.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use super::schemas::{partly, schema};
use crate::contract::{Contracts, Network};

/// The dialect of OpenAPI 3.1's schemas.
const DIALECT: &str = "https://json-schema.org/draft/2020-12/schema";

/// What the contract adds to the document.
pub(super) struct Merged {
    pub(super) schemas: Map<String, Value>,
    pub(super) notes: Notes,
}

/// What the contract adds to the descriptions of operations.
#[derive(Default)]
pub(super) struct Notes {
    types: String,
    actions: String,
}

impl Notes {
    pub(super) fn of(&self, operation_id: &str) -> &str {
        match operation_id {
            "createItem" | "updateItem" => &self.types,
            "performAction" | "updateActionStatus" => &self.actions,
            _ => "",
        }
    }
}

/// Components and notes for a contract.
pub(super) fn merged(contracts: &Contracts) -> Merged {
    let mut names = Names::default();
    let mut schemas = Map::new();
    let mut notes = Notes::default();
    let mut creations = Vec::new();
    let mut states = Vec::new();
    for network in contracts.networks() {
        for domain in network.domains() {
            let served = contracts.serves(network.id(), &domain.id);
            for item_type in domain.item_types() {
                let key = [network.id(), &domain.id, item_type.name()];
                let state = names.give("State", &key);
                schemas.insert(state.clone(), embedded(item_type.schema(), &state, item_type.schema_url()));
                if served {
                    let new = names.give("NewItem", &key);
                    schemas.insert(new.clone(), creation(&key, &state));
                    notes.types.push_str(&type_note(&key, &state));
                    creations.push(schema(&new));
                    states.push(schema(&state));
                }
            }
        }
        add_actions(network, &mut names, &mut schemas, &mut notes);
    }
    schemas.insert("ServedNewItem".to_owned(), choice("oneOf", creations, schema("NewItem")));
    schemas.insert("ServedState".to_owned(), choice("anyOf", states, json!({"type": "object"})));
    if !notes.types.is_empty() {
        notes.types.insert_str(0, "\n\nItem types served here:\n");
    }
    if !notes.actions.is_empty() {
        notes.actions.insert_str(0, "\n\nActions of the contract:\n");
    }
    Merged { schemas, notes }
}

fn choice(kind: &str, among: Vec<Value>, otherwise: Value) -> Value {
    if among.is_empty() { otherwise } else { Value::Object(Map::from_iter([(kind.to_owned(), Value::Array(among))])) }
}

fn type_note([network, domain, item_type]: &[&str; 3], state: &str) -> String {
    format!("* `{network}/{domain}` `{item_type}`: `#/components/schemas/{state}`\n")
}

/// A new item of this type, beside what every new item has.
fn creation([network, domain, item_type]: &[&str; 3], state: &str) -> Value {
    let is = |text: &str| json!({"const": text});
    let members = [
        ("item_network", is(network)),
        ("item_domain", is(domain)),
        ("item_type", is(item_type)),
        ("item_state", schema(state)),
    ];
    json!({"allOf": [schema("NewItem"), partly(&members, &["item_network", "item_domain", "item_type"])]})
}

/// Requirements are checked after the server has filled private values in, so what a client sends need not fit alone:
/// the schemas are shown and not imposed.
fn add_actions(network: &Network, names: &mut Names, schemas: &mut Map<String, Value>, notes: &mut Notes) {
    let mut shown = vec![json!({"type": "object"})];
    if let Some(known) = schemas.get("Requirements").and_then(|known| known.get("anyOf")?.as_array()) {
        shown.clone_from(known);
    }
    let document = network.document();
    for action in network.actions() {
        let written = document.get("actions").and_then(|actions| actions.get(&action.action_type));
        let interactions = written.and_then(|action| action.get("interactions")).and_then(Value::as_array);
        for (number, (interaction, written)) in
            action.interactions.iter().zip(interactions.into_iter().flatten()).enumerate()
        {
            let number = (number + 1).to_string();
            let key = [network.id(), &action.action_type, &number];
            let (source, target) = (interaction.source(), interaction.target());
            let line =
                format!("* `{}`: from `{}/{}` to `{}/{}`", action.action_type, source.0, source.1, target.0, target.1);
            notes.actions.push_str(&line);
            for (what, member) in [("Requirements", "requirement_schema"), ("EventPayload", "event_schema")] {
                if let Some(written) = written.get(member).filter(|schema| schema.is_object() || schema.is_boolean()) {
                    let name = names.give(what, &key);
                    let id = format!("urn:dpg:{name}");
                    schemas.insert(name.clone(), embedded(written, &name, &id));
                    notes.actions.push_str(&format!(", `#/components/schemas/{name}`"));
                    if what == "Requirements" {
                        shown.insert(shown.len().saturating_sub(1), schema(&name));
                    }
                }
            }
            notes.actions.push('\n');
        }
    }
    schemas.insert("Requirements".to_owned(), json!({"anyOf": shown}));
}

/// A schema of the contract at its place in the document. Its local references mean its own root: pointers are turned to
/// where that root is now; a schema with anchors, or of another dialect, becomes a resource of its own instead.
fn embedded(written: &Value, name: &str, id: &str) -> Value {
    let mut schema = written.clone();
    let dialect = schema.get("$schema").and_then(Value::as_str).map(|text| text.trim_end_matches('#').to_owned());
    let ours = dialect.as_deref().is_none_or(|dialect| dialect == DIALECT);
    let Some(members) = schema.as_object_mut() else { return schema };
    if members.contains_key("$id") || members.contains_key("id") && !ours {
        return schema;
    }
    if ours && only_pointers(written) {
        members.shift_remove("$schema");
        turn(&mut schema, &format!("#/components/schemas/{name}"));
        return schema;
    }
    let draft_4 = dialect.is_some_and(|dialect| dialect.contains("draft-04"));
    members.insert(if draft_4 { "id" } else { "$id" }.to_owned(), json!(id));
    schema
}

/// Whether every reference is `#` or `#/…`, and nothing else names a place.
fn only_pointers(schema: &Value) -> bool {
    match schema {
        Value::Object(members) => members.iter().all(|(key, value)| match key.as_str() {
            "$ref" if value.is_string() => value.as_str().is_some_and(|to| to == "#" || to.starts_with("#/")),
            "$id" | "$anchor" | "$dynamicAnchor" | "$dynamicRef" if value.is_string() => false,
            _ => only_pointers(value),
        }),
        Value::Array(elements) => elements.iter().all(only_pointers),
        _ => true,
    }
}

fn turn(schema: &mut Value, root: &str) {
    match schema {
        Value::Object(members) => {
            for (key, value) in members {
                match value {
                    Value::String(to) if key == "$ref" => {
                        if let Some(rest) = to.strip_prefix('#') {
                            *to = format!("{root}{rest}");
                        }
                    }
                    other => turn(other, root),
                }
            }
        }
        Value::Array(elements) => elements.iter_mut().for_each(|element| turn(element, root)),
        _ => {}
    }
}

/// Names of components: letters, digits, `.`, `-` and `_` only, so a name that loses something gets a digest.
#[derive(Default)]
struct Names {
    given: BTreeSet<String>,
}

impl Names {
    fn give(&mut self, what: &str, key: &[&str; 3]) -> String {
        let exact = key.join(".");
        let kept: String = exact.chars().filter(|c| c.is_ascii_alphanumeric() || ".-_".contains(*c)).collect();
        let mut name = format!("{what}.{kept}");
        if kept != exact || self.given.contains(&name) {
            name = format!("{name}_{:.8x}", Sha256::digest(key.join("\n")));
        }
        self.given.insert(name.clone());
        name
    }
}
