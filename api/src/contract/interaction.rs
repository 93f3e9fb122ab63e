//! What one kind of item may ask of another (CONTRACT 5.1, 7.5, 8.7): requirements, events and statuses of an action.

use std::sync::Arc;

use serde_json::{Map, Value};

use super::event_schema::{EventSchema, OWN_FIELDS};
use super::lifecycle::{Lifecycle, Refusal, Role};
use super::split::merge;
use super::validator::Validator;
use crate::http::Fault;

/// A kind of item: what an interaction is looked up by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ItemKind<'a> {
    /// Network id.
    pub network: &'a str,
    /// Domain id.
    pub domain: &'a str,
    /// Item type.
    pub item_type: &'a str,
}

/// What an event payload can draw upon: the action as it was performed.
#[derive(Debug, Clone, Copy)]
pub struct EventContext<'a> {
    /// Action type.
    pub action_type: &'a str,
    /// The source item as an ItemRef+.
    pub source_item: &'a Value,
    /// The target item as an ItemRef+.
    pub target_item: &'a Value,
    /// The action's requirements.
    pub requirements_snapshot: &'a Map<String, Value>,
}

impl EventContext<'_> {
    fn member(&self, name: &str) -> Option<Value> {
        match name {
            "action_type" => Some(Value::String(self.action_type.to_owned())),
            "source_item" => Some(self.source_item.clone()),
            "target_item" => Some(self.target_item.clone()),
            "requirements_snapshot" => Some(Value::Object(self.requirements_snapshot.clone())),
            name => self.requirements_snapshot.get(name).cloned(),
        }
    }
}

/// One entry of `actions.*.interactions`, compiled.
#[derive(Debug)]
pub struct Interaction {
    pub(super) from_network: String,
    pub(super) from_domain: String,
    pub(super) from_items: Vec<String>,
    pub(super) to_network: String,
    pub(super) to_domain: String,
    pub(super) to_items: Vec<String>,
    pub(super) requirements: Validator,
    pub(super) requirement_names: Vec<String>,
    pub(super) event: Option<EventSchema>,
    pub(super) lifecycle: Arc<Lifecycle>,
}

impl Interaction {
    /// Network and domain of the source items.
    pub fn source(&self) -> (&str, &str) {
        (&self.from_network, &self.from_domain)
    }

    /// Network and domain of the target items.
    pub fn target(&self) -> (&str, &str) {
        (&self.to_network, &self.to_domain)
    }

    /// Whether this entry speaks about such a pair of items.
    pub(super) fn is_between(&self, source: ItemKind<'_>, target: ItemKind<'_>) -> bool {
        let holds = |items: &[String], item_type: &str| items.is_empty() || items.iter().any(|item| item == item_type);
        self.source() == (source.network, source.domain)
            && self.target() == (target.network, target.domain)
            && holds(&self.from_items, source.item_type)
            && holds(&self.to_items, target.item_type)
    }

    /// Names in the `properties` of the requirement schema.
    pub fn requirement_names(&self) -> &[String] {
        &self.requirement_names
    }

    /// Names in the `properties` of the event schema, without `status` and `remark`.
    pub fn event_names(&self) -> &[String] {
        self.event.as_ref().map_or(&[], |event| &event.names)
    }

    /// The statuses that the event schema's `enum` allows; `None` without one.
    pub fn statuses(&self) -> Option<&[String]> {
        self.event.as_ref()?.statuses.as_deref()
    }

    /// The requirements with the source item's private values laid over them, as far as the schema names them (8.7).
    pub fn overlay(&self, mut snapshot: Map<String, Value>, private: &Map<String, Value>) -> Map<String, Value> {
        for name in &self.requirement_names {
            if let Some(value) = private.get(name).cloned() {
                let merged = match snapshot.get_mut(name) {
                    Some(sent) => merge(sent.take(), value),
                    None => value,
                };
                snapshot.insert(name.clone(), merged);
            }
        }
        snapshot
    }

    /// Faults of a snapshot, with paths below `/requirements_snapshot`.
    pub fn check_requirements(&self, snapshot: &Map<String, Value>) -> Vec<Fault> {
        self.requirements.faults(&Value::Object(snapshot.clone()), "/requirements_snapshot")
    }

    /// The payload of an event (5.1): drawn from the action, overlaid by what the client sent, with the server's own
    /// `status` and `remark`.
    pub fn build_payload(
        &self,
        context: &EventContext<'_>,
        client_payload: Option<&Map<String, Value>>,
        status: &str,
        remarks: Option<&str>,
    ) -> Map<String, Value> {
        let drawn = self.event_names().iter().filter_map(|name| Some((name.clone(), context.member(name)?)));
        let mut payload: Map<String, Value> = drawn.collect();
        let sent = client_payload.into_iter().flatten().filter(|(name, _)| !OWN_FIELDS.contains(&name.as_str()));
        payload.extend(sent.map(|(name, value)| (name.clone(), value.clone())));
        let remark = remarks.map_or_else(|| format!("Action status set to {status}"), str::to_owned);
        payload.insert("status".to_owned(), Value::String(status.to_owned()));
        payload.insert("remark".to_owned(), Value::String(remark));
        payload
    }

    /// Faults of a payload, with paths below `/event_payload`; `status` and `remark` are not looked at.
    pub fn check_payload(&self, payload: &Map<String, Value>) -> Vec<Fault> {
        let Some(event) = &self.event else { return Vec::new() };
        let client = payload.iter().filter(|(name, _)| !OWN_FIELDS.contains(&name.as_str()));
        let client = client.map(|(name, value)| (name.clone(), value.clone())).collect();
        event.validator.faults(&Value::Object(client), "/event_payload")
    }

    /// The status of a new action.
    pub fn initial_status(&self) -> &str {
        self.lifecycle.initial()
    }

    /// Whether `role` may take an action of `update_count` from one status to another (5.2).
    ///
    /// # Errors
    /// The first [`Refusal`] in the order of CONTRACT 4.11: `enum`, role, present status.
    pub fn may_set(&self, role: Role, from: &str, to: &str, update_count: u32) -> Result<(), Refusal> {
        self.lifecycle.may_set(role, (from, to), update_count, self.statuses())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn interaction(event_schema: &Value) -> Interaction {
        let requirements = json!({"properties": {"subject": {"type": "string"}, "phone": {}, "contacts": {}}});
        Interaction {
            from_network: "n".into(),
            from_domain: "a".into(),
            from_items: vec!["t".into()],
            to_network: "n".into(),
            to_domain: "b".into(),
            to_items: Vec::new(),
            requirements: Validator::compile(&requirements, false).unwrap(),
            requirement_names: ["subject", "phone", "contacts"].map(str::to_owned).to_vec(),
            event: EventSchema::compile(event_schema, false).unwrap(),
            lifecycle: Arc::new(Lifecycle::of(None)),
        }
    }

    fn object(value: &Value) -> Map<String, Value> {
        value.as_object().unwrap().clone()
    }

    #[test]
    fn only_listed_types_match() {
        let interaction = interaction(&json!({}));
        let kind = |domain, item_type| ItemKind { network: "n", domain, item_type };
        assert!(interaction.is_between(kind("a", "t"), kind("b", "any")));
        assert!(!interaction.is_between(kind("a", "u"), kind("b", "any")));
        assert!(!interaction.is_between(kind("b", "t"), kind("a", "any")));
        assert!(!interaction.is_between(ItemKind { network: "m", ..kind("a", "t") }, kind("b", "any")));
    }

    #[test]
    fn private_values_are_laid_over_what_the_schema_names() {
        let private = object(&json!({"phone": "1", "secret": "x", "contacts": [{"number": "2"}, {}]}));
        let snapshot =
            object(&json!({"subject": "math", "phone": "9", "contacts": [{"label": "home"}, {"label": "work"}]}));
        let merged = interaction(&json!({})).overlay(snapshot, &private);
        assert_eq!(
            Value::Object(merged),
            json!({
                "subject": "math", "phone": "1", "contacts": [{"label": "home", "number": "2"}, {"label": "work"}]
            })
        );
    }

    #[test]
    fn payloads_draw_on_the_action_and_take_the_clients_word() {
        let interaction = interaction(&json!({"required": ["status"], "properties": {
            "status": {"enum": ["created"]}, "remark": {}, "action_type": {}, "source_item": {}, "subject": {"type": "string"},
            "constructor": {}, "__proto__": {}, "absent": {}
        }}));
        let requirements = object(&json!({"subject": "math", "phone": "1", "__proto__": 1}));
        let (source, target) = (json!({"item_id": 1}), json!({"item_id": 2}));
        let context = EventContext {
            action_type: "ask",
            source_item: &source,
            target_item: &target,
            requirements_snapshot: &requirements,
        };
        let payload = interaction.build_payload(&context, None, "created", None);
        assert_eq!(
            Value::Object(payload.clone()),
            json!({
                "action_type": "ask", "source_item": {"item_id": 1}, "subject": "math", "__proto__": 1,
                "status": "created", "remark": "Action status set to created"
            })
        );
        assert!(interaction.check_payload(&payload).is_empty());
        let sent = object(&json!({"subject": 5, "more": true, "status": "hacked", "remark": "hacked"}));
        let payload = interaction.build_payload(&context, Some(&sent), "odd", Some("Sunday"));
        assert_eq!(
            (&payload["status"], &payload["remark"], &payload["more"]),
            (&json!("odd"), &json!("Sunday"), &json!(true))
        );
        let faults = interaction.check_payload(&payload);
        assert_eq!(faults, [Fault::new("/event_payload/subject", "must be a string")]);
    }

    #[test]
    fn without_an_event_schema_nothing_is_drawn_and_nothing_checked() {
        let interaction = interaction(&json!({}));
        let requirements = object(&json!({"subject": "math"}));
        let context = EventContext {
            action_type: "ask",
            source_item: &json!({}),
            target_item: &json!({}),
            requirements_snapshot: &requirements,
        };
        let payload = interaction.build_payload(&context, Some(&object(&json!({"x": 1}))), "done", None);
        assert_eq!(
            Value::Object(payload.clone()),
            json!({"x": 1, "status": "done", "remark": "Action status set to done"})
        );
        assert!(interaction.check_payload(&payload).is_empty());
        assert_eq!(interaction.statuses(), None);
    }
}
