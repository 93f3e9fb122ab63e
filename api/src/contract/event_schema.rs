//! The `event_schema` of an interaction (CONTRACT 5.1). `status` and `remark` are the server's own: a payload is checked
//! without them, and without every `required` that asks for them at the schema's root.

use std::collections::{HashMap, HashSet};

use serde_json::{Map, Value};

use super::references::{Address, References, address};
use super::self_contained::put_into_defs;
use super::validator::{CompileError, Validator};

/// What the server fills in.
pub(super) const OWN_FIELDS: [&str; 2] = ["status", "remark"];

/// The name under which the validator knows the schema while it compiles.
const URI: &str = "urn:dpg:event-schema";

/// A compiled event schema.
#[derive(Debug)]
pub(super) struct EventSchema {
    pub(super) validator: Validator,
    /// Properties other than `status` and `remark`, in the contract's order.
    pub(super) names: Vec<String>,
    /// The `enum` of `properties.status`.
    pub(super) statuses: Option<Vec<String>>,
}

impl EventSchema {
    /// Compiles a self-contained schema; `None` if it says nothing (`{}`).
    pub(super) fn compile(schema: &Value, allow_extra: bool) -> Result<Option<Self>, CompileError> {
        if schema.as_object().is_some_and(Map::is_empty) {
            return Ok(None);
        }
        let references = References::new(schema, "");
        let (lenient, entry) = without_own_fields(schema, &references);
        let names = property_names(schema, &references);
        Ok(Some(Self {
            validator: Validator::compile_at(&lenient, URI, &format!("{URI}#/$defs/{entry}"), allow_extra)?,
            names: names.into_iter().filter(|name| !OWN_FIELDS.contains(&name.as_str())).collect(),
            statuses: statuses(schema, &references),
        }))
    }
}

/// Names in the `properties` of a schema, or of what it stands for by `$ref`.
pub(super) fn property_names(schema: &Value, references: &References<'_>) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    for schema in chain(schema, references) {
        for name in schema.get("properties").and_then(Value::as_object).into_iter().flat_map(Map::keys) {
            if !names.contains(name) {
                names.push(name.clone());
            }
        }
    }
    names
}

/// The `enum` of `properties.status`, if there is one.
fn statuses(schema: &Value, references: &References<'_>) -> Option<Vec<String>> {
    let property = chain(schema, references).into_iter().find_map(|schema| schema.get("properties")?.get("status"))?;
    let options = chain(property, references).into_iter().find_map(|schema| schema.get("enum")?.as_array())?;
    Some(options.iter().filter_map(Value::as_str).map(str::to_owned).collect())
}

/// `schema` and what its `$ref` leads to, and so on.
fn chain<'s>(schema: &'s Value, references: &References<'s>) -> Vec<&'s Value> {
    let mut seen = HashSet::from([address(schema)]);
    let mut found = vec![schema];
    let mut last = schema;
    while let Some(next) = last.get("$ref").and_then(Value::as_str).and_then(|text| references.resolve(last, text))
        && seen.insert(address(next))
    {
        found.push(next);
        last = next;
    }
    found
}

/// The schema with lenient copies of whatever applies at its root, under `$defs`, and the name of the root's copy. The
/// originals stay: places further down may refer to them and mean every `required`.
fn without_own_fields(schema: &Value, references: &References<'_>) -> (Value, String) {
    let mut copier = Copier { references, names: HashMap::new(), open: Vec::new() };
    let entry = copier.name(schema);
    let mut copies = Vec::new();
    while let Some((name, value)) = copier.open.pop() {
        copies.push((name, copier.copy(value)));
    }
    // A schema that is just `true` or `false` has no room for `$defs`.
    let mut lenient = if schema.is_object() { schema.clone() } else { Value::Object(Map::new()) };
    put_into_defs(&mut lenient, copies);
    (lenient, entry)
}

struct Copier<'s, 'r> {
    references: &'r References<'s>,
    names: HashMap<Address, String>,
    open: Vec<(String, &'s Value)>,
}

impl<'s> Copier<'s, '_> {
    fn name(&mut self, value: &'s Value) -> String {
        if let Some(name) = self.names.get(&address(value)) {
            return name.clone();
        }
        let name = format!("at-root-{}", self.names.len());
        self.names.insert(address(value), name.clone());
        self.open.push((name.clone(), value));
        name
    }

    fn copy(&mut self, schema: &'s Value) -> Value {
        let Value::Object(object) = schema else { return schema.clone() };
        let mut copy = Map::new();
        for (keyword, value) in object {
            let value = match (keyword.as_str(), value) {
                // The copy has no name of its own, and what it defines is found in the original.
                ("$id" | "id" | "$schema" | "$anchor" | "$dynamicAnchor" | "$defs" | "definitions", _) => continue,
                ("required", Value::Array(names)) => without_names(names),
                ("dependentRequired" | "dependencies" | "dependentSchemas", Value::Object(named)) => Value::Object(
                    named.iter().map(|(name, value)| (name.clone(), self.copy_dependency(value))).collect(),
                ),
                ("allOf" | "anyOf" | "oneOf", Value::Array(schemas)) => {
                    Value::Array(schemas.iter().map(|schema| self.copy_inline(schema)).collect())
                }
                ("if" | "then" | "else", schema) => self.copy_inline(schema),
                ("$ref", Value::String(text)) => self.copy_reference(schema, text),
                (_, value) => value.clone(),
            };
            copy.insert(keyword.clone(), value);
        }
        Value::Object(copy)
    }

    fn copy_dependency(&mut self, value: &'s Value) -> Value {
        match value {
            Value::Array(names) => without_names(names),
            schema => self.copy_inline(schema),
        }
    }

    /// A schema with an `$id` of its own resolves its references by that name, so it stays as it is.
    fn copy_inline(&mut self, schema: &'s Value) -> Value {
        if self.references.has_root_base(schema) { self.copy(schema) } else { schema.clone() }
    }

    fn copy_reference(&mut self, from: &'s Value, text: &str) -> Value {
        let target = self.references.resolve(from, text).filter(|target| self.references.has_root_base(target));
        Value::String(target.map_or_else(|| text.to_owned(), |target| format!("{URI}#/$defs/{}", self.name(target))))
    }
}

fn without_names(names: &[Value]) -> Value {
    let own = |name: &Value| name.as_str().is_some_and(|name| OWN_FIELDS.contains(&name));
    Value::Array(names.iter().filter(|name| !own(name)).cloned().collect())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn compile(schema: &Value) -> EventSchema {
        EventSchema::compile(schema, false).unwrap().unwrap()
    }

    #[test]
    fn own_fields_are_not_asked_for() {
        let schema = compile(&json!({
            "$schema": "https://json-schema.org/draft/2020-12/schema", "type": "object", "additionalProperties": false,
            "required": ["status", "remark", "subject"],
            "properties": {"status": {"enum": ["created", "done"]}, "remark": {"type": "string"}, "subject": {"type": "string"}}
        }));
        assert!(schema.validator.accepts(&json!({"subject": "math"})));
        assert_eq!(schema.validator.faults(&json!({}), "/event_payload").len(), 1);
        assert!(!schema.validator.accepts(&json!({"subject": "math", "other": 1})));
        assert_eq!(schema.names, ["subject"]);
        assert_eq!(schema.statuses, Some(vec!["created".to_owned(), "done".to_owned()]));
    }

    #[test]
    fn wherever_they_are_asked_for_at_the_root() {
        let schema = compile(&json!({
            "$ref": "#/$defs/base", "allOf": [{"required": ["remark"]}, {"$ref": "#/$defs/more"}],
            "if": {"required": ["status"]}, "then": {"required": ["x", "status"]},
            "dependentRequired": {"x": ["status", "y"]},
            "properties": {"nested": {"$ref": "#/$defs/base"}, "again": {"$ref": "#"}},
            "$defs": {"base": {"type": "object", "required": ["status"]},
                      "more": {"anyOf": [{"required": ["status", "z"]}, {"$ref": "#/$defs/more"}]}}
        }));
        assert!(schema.validator.accepts(&json!({"x": 1, "y": 1, "z": 1})));
        assert!(!schema.validator.accepts(&json!({"x": 1, "z": 1})));
        assert!(!schema.validator.accepts(&json!({"z": 1, "y": 1})));
        // Further down, `required` means what it says.
        assert!(!schema.validator.accepts(&json!({"x": 1, "y": 1, "z": 1, "nested": {}})));
        assert!(schema.validator.accepts(&json!({"x": 1, "y": 1, "z": 1, "nested": {"status": 1}})));
        assert!(!schema.validator.accepts(&json!({"x": 1, "y": 1, "z": 1, "again": {"x": 1, "y": 1, "z": 1}})));
    }

    #[test]
    fn references_stand_for_what_they_name() {
        let schema = compile(&json!({
            "$id": "https://x.example/event", "$ref": "#/$defs/event",
            "$defs": {"event": {"required": ["status", "note"], "properties": {"note": {"type": "string"}, "status": {"$ref": "#/$defs/status"}}},
                      "status": {"enum": ["a", "b"]}}
        }));
        assert_eq!(schema.names, ["note"]);
        assert_eq!(schema.statuses, Some(vec!["a".to_owned(), "b".to_owned()]));
        assert!(schema.validator.accepts(&json!({"note": "x"})));
        assert!(!schema.validator.accepts(&json!({"note": 1})));
    }

    #[test]
    fn older_drafts_and_empty_schemas() {
        let schema = compile(&json!({"$schema": "http://json-schema.org/draft-07/schema#",
            "required": ["status"], "definitions": {"n": {"type": "number"}}, "properties": {"n": {"$ref": "#/definitions/n"}}}));
        assert!(schema.validator.accepts(&json!({"n": 1})) && !schema.validator.accepts(&json!({"n": "1"})));
        assert!(EventSchema::compile(&json!({}), false).unwrap().is_none());
        assert!(EventSchema::compile(&json!({"type": "nothing"}), false).is_err());
        assert!(!compile(&json!(false)).validator.accepts(&json!({})));
    }
}
