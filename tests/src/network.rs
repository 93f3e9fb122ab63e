//! The contract that the tests speak about: students ask tutors for lessons. It has private fields of every shape, an
//! action with and without a lifecycle, and unknown keys that must survive.

use serde_json::{Value, json};
use uuid::Uuid;

/// The network's id.
pub const NETWORK: &str = "open_lessons";
/// The domain of source items.
pub const STUDENT: &str = "student";
/// The domain of target items.
pub const TUTOR: &str = "tutor";
/// The type of all items.
pub const PROFILE: &str = "profile_1.0";
/// The action that most tests use.
pub const CONNECT: &str = "connect";

/// A contract under construction.
#[derive(Debug, Clone)]
pub struct Contract {
    document: Value,
}

impl Default for Contract {
    fn default() -> Self {
        Self::new()
    }
}

impl From<Value> for Contract {
    fn from(document: Value) -> Self {
        Self { document }
    }
}

impl Contract {
    /// Domains and actions, no instances. `connect` has no lifecycle: a tutor may set any status at any time.
    #[must_use]
    pub fn new() -> Self {
        let document = json!({
            "id": NETWORK,
            "display_name": "Open Lessons",
            "schema_standard": "https://json-schema.org/draft/2020-12/schema",
            "x-theme": {"colour": "teal"},
            "domains": [
                {"id": STUDENT, "description": "Learners", "minimum_cache_ttl_seconds": 1,
                 "item_schemas": {PROFILE: student_schema()}},
                {"id": TUTOR, "item_schemas": {PROFILE: tutor_schema()}}
            ],
            "instances": [],
            "actions": {CONNECT: {"description": "Ask for lessons", "interactions": [interaction()]}}
        });
        Self { document }
    }

    /// Registers an instance for a domain.
    #[must_use]
    pub fn instance(self, domain: &str, url: &str) -> Self {
        self.edit(|document| {
            let entry = json!({"domain_id": domain, "instance_name": domain, "instance_url": url});
            document["instances"].as_array_mut().expect("an array").push(entry);
        })
    }

    /// Gives `connect` a lifecycle: the tutor answers, then completes; the student may cancel before the answer.
    #[must_use]
    pub fn with_lifecycle(self) -> Self {
        self.edit(|document| {
            document["actions"][CONNECT]["lifecycle"] = json!({
                "initial": "created",
                "terminal": ["rejected", "cancelled", "completed"],
                "transitions": [
                    {"from": "created", "to": "accepted", "by": "target"},
                    {"from": "created", "to": "rejected", "by": "target"},
                    {"from": "created", "to": "cancelled", "by": "source"},
                    {"from": "accepted", "to": "completed", "by": "target"}
                ]
            });
        })
    }

    /// Adds an action that works as `connect` does.
    #[must_use]
    pub fn with_action(self, action_type: &str) -> Self {
        self.edit(|document| document["actions"][action_type] = json!({"interactions": [interaction()]}))
    }

    /// Changes anything.
    #[must_use]
    pub fn edit(mut self, change: impl FnOnce(&mut Value)) -> Self {
        change(&mut self.document);
        self
    }

    /// The text of network.json.
    #[must_use]
    pub fn document(&self) -> &Value {
        &self.document
    }
}

/// Private values straight, behind `$ref`, behind `allOf` and inside array elements.
fn student_schema() -> Value {
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "type": "object", "additionalProperties": false, "required": ["name"],
        "$defs": {"secret": {"type": "string", "private": true}},
        "properties": {
            "name": {"type": "string", "minLength": 1},
            "city": {"type": "string"},
            "years": {"type": "integer"},
            "tags": {"type": "array", "items": {"type": "string"}},
            "extra": {"type": "object"},
            "phone": {"type": "string", "pattern": "^[0-9]{10}$", "private": true},
            "diary": {"type": "string", "private": true},
            "guardian": {"$ref": "#/$defs/secret"},
            "papers": {"allOf": [{"type": "string"}, {"private": true}]},
            "contacts": {"type": "array", "items": {"type": "object", "properties": {
                "label": {"type": "string"}, "number": {"type": "string", "private": true}}}}
        }
    })
}

fn tutor_schema() -> Value {
    json!({
        "type": "object", "required": ["name", "subject"],
        "properties": {
            "name": {"type": "string"},
            "subject": {"type": "string"},
            "phone": {"type": "string", "private": true}
        }
    })
}

/// From a student to a tutor. The student's private `phone` travels with it, `diary` does not.
fn interaction() -> Value {
    json!({
        "from_domain": STUDENT, "from_items": [PROFILE], "to_domain": TUTOR, "to_items": [PROFILE],
        "requirement_schema": {
            "type": "object", "additionalProperties": false, "required": ["subject"],
            "properties": {"subject": {"type": "string"}, "phone": {"type": "string"}}
        },
        "event_schema": {
            "type": "object", "required": ["status", "subject"],
            "properties": {
                "status": {"type": "string",
                           "enum": ["created", "pending", "accepted", "rejected", "cancelled", "completed"]},
                "remark": {"type": "string"},
                "subject": {"type": "string"},
                "room": {"type": "string"}
            }
        }
    })
}

/// A student's state with a private value of each shape; every private text holds `mark`.
#[must_use]
pub fn student_state(name: &str, mark: &str) -> Value {
    json!({
        "name": name, "city": "Pune", "years": 5, "tags": [], "extra": {},
        "phone": "1234567890",
        "diary": format!("{mark} diary"),
        "guardian": format!("{mark} guardian"),
        "papers": format!("{mark} papers"),
        "contacts": [{"label": "home", "number": format!("{mark} number")}, {"label": "work"}]
    })
}

/// A tutor's state.
#[must_use]
pub fn tutor_state(name: &str) -> Value {
    json!({"name": name, "subject": "math", "phone": "0987654321"})
}

/// An ItemRef+ (CONTRACT 3.2) of an item as a route answered it.
#[must_use]
pub fn reference(item: &Value) -> Value {
    let mut reference = json!({});
    for key in ["item_network", "item_domain", "item_type", "item_id", "item_instance_url"] {
        reference[key] = item[key].clone();
    }
    reference
}

/// A reference to an item that another instance says it has.
#[must_use]
pub fn item_at(url: &str, domain: &str) -> Value {
    json!({"item_network": NETWORK, "item_domain": domain, "item_type": PROFILE, "item_id": Uuid::new_v4(),
           "item_instance_url": url})
}

/// A body of `network/action/perform`: a student's item at another instance acts with one of ours.
#[must_use]
pub fn perform_from(url: &str, target: &Value) -> Value {
    json!({"action_type": CONNECT, "source_item": item_at(url, STUDENT), "target_item": reference(target),
           "source_item_owner": "somebody", "requirements_snapshot": {"subject": "math"}})
}
