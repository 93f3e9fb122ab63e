//! Compiled JSON Schemas (CONTRACT 8.5). Nothing is ever fetched, formats and contents are annotations, and a fault never
//! repeats the value it is about: values may be private.

use jsonschema::{Draft, Registry, ValidationOptions};
use serde_json::{Map, Value};

use super::faults::fault_of;
use super::keywords::{draft_of, each_schema_mut};
use crate::http::Fault;

/// Faults in one answer; a body of a megabyte can hold half a million.
const MAX_FAULTS: usize = 1000;

/// Why a schema does not compile.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum CompileError {
    /// `$schema` names a draft that we don't have.
    #[error("names a JSON Schema draft that is not supported; use 2020-12, 2019-09, draft-07, -06 or -04")]
    UnknownDraft,
    /// Places that the draft does not allow, with JSON Pointers into the schema.
    #[error("is not a valid JSON Schema")]
    Invalid(Vec<(String, String)>),
}

/// One compiled schema.
#[derive(Debug)]
pub(super) struct Validator {
    inner: jsonschema::Validator,
}

impl Validator {
    /// Compiles a self-contained `schema`.
    pub(super) fn compile(schema: &Value, allow_extra: bool) -> Result<Self, CompileError> {
        let draft = checked_draft(schema)?;
        let mut schema = schema.clone();
        if allow_extra {
            allow_extra_data(&mut schema);
        }
        Self::build(&options(draft), &schema)
    }

    /// Compiles the schema at `entry` (a reference such as `urn:x#/$defs/y`) of `document`, which is known as `uri`.
    pub(super) fn compile_at(
        document: &Value,
        uri: &str,
        entry: &str,
        allow_extra: bool,
    ) -> Result<Self, CompileError> {
        let draft = checked_draft(document)?;
        let mut document = document.clone();
        if allow_extra {
            allow_extra_data(&mut document);
        }
        let registry = Registry::new()
            .draft(draft)
            .add(uri, &document)
            .and_then(jsonschema::RegistryBuilder::prepare)
            .map_err(|error| CompileError::Invalid(vec![(String::new(), error.to_string())]))?;
        Self::build(&options(draft).with_registry(&registry), &serde_json::json!({ "$ref": entry }))
    }

    fn build(options: &ValidationOptions<'_>, schema: &Value) -> Result<Self, CompileError> {
        let inner = options.build(schema).map_err(|error| {
            CompileError::Invalid(vec![(error.instance_path().as_str().to_owned(), error.masked().to_string())])
        })?;
        Ok(Self { inner })
    }

    /// All faults of `value`, with paths below `prefix`.
    pub(super) fn faults(&self, value: &Value, prefix: &str) -> Vec<Fault> {
        let mut faults = Vec::new();
        for error in self.inner.iter_errors(value).take(MAX_FAULTS) {
            for fault in fault_of(&error, prefix) {
                if !faults.contains(&fault) {
                    faults.push(fault);
                }
            }
        }
        faults
    }

    /// Whether `value` fits.
    #[cfg(test)]
    pub(super) fn accepts(&self, value: &Value) -> bool {
        self.inner.is_valid(value)
    }
}

/// The draft of `schema`, once its meta-schema has nothing against it.
fn checked_draft(schema: &Value) -> Result<Draft, CompileError> {
    let draft = draft_of(schema).ok_or(CompileError::UnknownDraft)?;
    let faults: Vec<_> = match draft {
        Draft::Draft4 => jsonschema::draft4::meta::validator(),
        Draft::Draft6 => jsonschema::draft6::meta::validator(),
        Draft::Draft7 => jsonschema::draft7::meta::validator(),
        Draft::Draft201909 => jsonschema::draft201909::meta::validator(),
        _ => jsonschema::draft202012::meta::validator(),
    }
    .iter_errors(schema)
    .map(|error| (error.instance_path().as_str().to_owned(), error.to_string()))
    .collect();
    if faults.is_empty() { Ok(draft) } else { Err(CompileError::Invalid(faults)) }
}

fn options<'i>(draft: Draft) -> ValidationOptions<'i> {
    jsonschema::options()
        .with_draft(draft)
        .offline()
        .should_validate_formats(false)
        .without_content_media_type_support("application/json")
        .without_content_encoding_support("base64")
}

/// `ALLOW_EXTRA_SCHEMA_DATA`: what is closed becomes open, at any depth.
fn allow_extra_data(schema: &mut Value) {
    each_schema_mut(schema, &mut |object: &mut Map<String, Value>| {
        for keyword in ["additionalProperties", "unevaluatedProperties"] {
            if let Some(closed) = object.get_mut(keyword).filter(|value| **value == Value::Bool(false)) {
                *closed = Value::Bool(true);
            }
        }
    });
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn faults(schema: &Value, value: &Value) -> Vec<(String, String)> {
        let validator = Validator::compile(schema, false).unwrap();
        validator.faults(value, "/item_state").into_iter().map(|fault| (fault.path, fault.message)).collect()
    }

    #[test]
    fn all_faults_are_told_with_pointers() {
        let schema = json!({
            "type": "object", "required": ["name"], "additionalProperties": false,
            "properties": {"phone": {"type": "string", "pattern": "^[0-9]{10}$"},
                           "contacts": {"items": {"properties": {"num/ber": {"type": "integer"}}}}}
        });
        let value = json!({"phone": "12", "contacts": [{"num/ber": "x"}], "extra": 1});
        let mut found = faults(&schema, &value);
        found.sort();
        let expected = [
            ("/item_state", "\"extra\" is not allowed"),
            ("/item_state", "\"name\" is required"),
            ("/item_state/contacts/0/num~1ber", "must be an integer"),
            ("/item_state/phone", "does not match the pattern ^[0-9]{10}$"),
        ];
        assert_eq!(found, expected.map(|(path, message)| (path.to_owned(), message.to_owned())));
    }

    #[test]
    fn formats_and_contents_are_annotations() {
        for draft in ["2020-12/schema", "2019-09/schema"] {
            let schema = json!({"$schema": format!("https://json-schema.org/draft/{draft}"), "format": "email"});
            assert!(faults(&schema, &json!("nobody")).is_empty());
        }
        let schema = json!({"$schema": "http://json-schema.org/draft-07/schema#", "format": "uuid",
            "contentEncoding": "base64", "contentMediaType": "application/json"});
        assert!(faults(&schema, &json!("%%")).is_empty());
    }

    #[test]
    fn the_draft_decides() {
        let tuple = |schema: &str| json!({"$schema": schema, "items": [{"type": "string"}]});
        assert_eq!(faults(&tuple("http://json-schema.org/draft-07/schema#"), &json!([1])).len(), 1);
        assert!(matches!(
            Validator::compile(&tuple("https://json-schema.org/draft/2020-12/schema"), false),
            Err(CompileError::Invalid(_))
        ));
        assert_eq!(
            Validator::compile(&json!({"$schema": "https://example.org/own"}), false).unwrap_err(),
            CompileError::UnknownDraft
        );
    }

    #[test]
    fn every_place_that_does_not_compile_is_told() {
        let schema = json!({"properties": {"a": {"type": "strin"}, "b": {"minLength": -1}}});
        let CompileError::Invalid(places) = Validator::compile(&schema, false).unwrap_err() else { panic!() };
        let mut paths: Vec<_> = places.iter().map(|(path, _)| path.as_str()).collect();
        paths.sort_unstable();
        paths.dedup();
        assert_eq!(paths, ["/properties/a/type", "/properties/b/minLength"]);
    }

    #[test]
    fn nothing_is_fetched() {
        let error = Validator::compile(&json!({"$ref": "http://127.0.0.1:1/s.json"}), false);
        assert!(matches!(error, Err(CompileError::Invalid(_))));
    }

    #[test]
    fn extra_data_is_allowed_on_demand_but_names_stay_names() {
        let schema = json!({
            "additionalProperties": false, "properties": {
                "additionalProperties": false, "in": {"unevaluatedProperties": false}
            }
        });
        let open = Validator::compile(&schema, true).unwrap();
        assert!(open.accepts(&json!({"x": 1, "in": {"y": 1}})));
        assert!(!open.accepts(&json!({"additionalProperties": 1})));
        assert!(!Validator::compile(&schema, false).unwrap().accepts(&json!({"x": 1})));
    }

    #[test]
    fn references_in_circles_end() {
        for schema in [json!({"$ref": "#"}), json!({"allOf": [{"$ref": "#"}]}), json!({"not": {"$ref": "#"}})] {
            let _verdict = Validator::compile(&schema, false).unwrap().accepts(&json!({"a": 1}));
        }
        let tree = json!({"type": "object", "properties": {"kid": {"$ref": "#"}}});
        let mut value = json!(1);
        for _ in 0..120 {
            value = json!({ "kid": value });
        }
        assert_eq!(faults(&tree, &value).len(), 1);
    }

    proptest! {
        /// Whatever is wrong, the value itself is never repeated.
        #[test]
        fn no_message_repeats_a_value(secret in "[A-Z]{12}", number in 1_000_000_000u64..) {
            let schema = json!({"properties": {
                "a": {"enum": ["x", 5]}, "b": {"const": 7}, "c": {"type": ["null", "boolean"]}, "d": {"pattern": "^[a-z]$"},
                "e": {"maxLength": 2}, "f": {"maximum": 10}, "g": {"multipleOf": 7919}, "h": {"anyOf": [{"type": "null"}, {"const": 1}]},
                "i": {"oneOf": [{"type": "string"}, {"minLength": 1}]}, "j": {"not": {"type": "string"}},
                "k": {"prefixItems": [{}], "items": false}, "l": {"unevaluatedItems": false}, "m": {"uniqueItems": true},
                "n": {"contains": {"type": "null"}}, "o": false, "p": {"exclusiveMaximum": 3}, "q": {"format": "uuid"},
                "r": {"items": {"type": "null"}, "maxItems": 1}, "s": {"if": {"type": "string"}, "then": {"maxLength": 1}}
            }});
            let mut state = Map::new();
            for (place, name) in ('a'..='s').enumerate() {
                let value = match (place, name) {
                    (_, 'f' | 'g' | 'p') => json!(number),
                    (_, 'k' | 'l' | 'm' | 'n' | 'r') => json!([secret, secret, number]),
                    _ => json!(secret),
                };
                state.insert(name.to_string(), value);
            }
            let found = faults(&schema, &Value::Object(state));
            prop_assert!(found.len() >= 17, "{found:?}");
            for (_, message) in &found {
                prop_assert!(!message.contains(&secret) && !message.contains(&number.to_string()), "{message}");
            }
        }
    }
}
