//! Where a JSON Schema keeps further schemas. Walks that must miss nothing follow every keyword, known or not, because
//! a `$ref` may point anywhere; only plain data is left out.

use jsonschema::Draft;
use serde_json::{Map, Value};

/// What the value of a keyword holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Holds {
    /// Data: what looks like a schema in it is none.
    Data,
    /// A map whose keys are names and whose values are schemas.
    Named,
    /// A schema, or a list of them.
    Schemas,
    /// A keyword that no draft knows; it may hold what a reference points to.
    Unknown,
}

/// What `keyword` holds.
pub(super) fn holds(keyword: &str) -> Holds {
    match keyword {
        "enum" | "const" | "default" | "examples" | "required" | "dependentRequired" | "$vocabulary" => Holds::Data,
        "properties" | "patternProperties" | "$defs" | "definitions" | "dependentSchemas" | "dependencies" => {
            Holds::Named
        }
        "allOf"
        | "anyOf"
        | "oneOf"
        | "not"
        | "if"
        | "then"
        | "else"
        | "items"
        | "prefixItems"
        | "additionalItems"
        | "unevaluatedItems"
        | "contains"
        | "additionalProperties"
        | "unevaluatedProperties"
        | "propertyNames"
        | "contentSchema" => Holds::Schemas,
        _ => Holds::Unknown,
    }
}

/// The draft that `$schema` selects: 2020-12 without one, `None` for one that we don't know.
pub(super) fn draft_of(schema: &Value) -> Option<Draft> {
    let Some(named) = schema.get("$schema") else { return Some(Draft::Draft202012) };
    // The version-less URI means whatever is current, so it names no draft.
    let named = named.as_str().filter(|uri| !uri.trim_end_matches('#').ends_with("json-schema.org/schema"))?;
    match Draft::from_schema_uri(named) {
        Draft::Unknown => None,
        draft => Some(draft),
    }
}

/// Calls `visit` on every schema object in `schema`, its own first.
pub(super) fn each_schema_mut(schema: &mut Value, visit: &mut impl FnMut(&mut Map<String, Value>)) {
    match schema {
        Value::Array(schemas) => schemas.iter_mut().for_each(|schema| each_schema_mut(schema, visit)),
        Value::Object(object) => {
            visit(object);
            for (keyword, value) in object.iter_mut() {
                match (holds(keyword), value) {
                    (Holds::Data, _) => {}
                    (Holds::Named, Value::Object(named)) => {
                        named.values_mut().for_each(|schema| each_schema_mut(schema, visit));
                    }
                    (_, value) => each_schema_mut(value, visit),
                }
            }
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn names_and_data_are_no_keywords() {
        let mut schema = json!({
            "properties": {"additionalProperties": {"x": 1}, "enum": {"x": 1}},
            "default": {"x": 1}, "enum": [{"x": 1}],
            "allOf": [{"x": 1}], "x-shared": {"part": {"x": 1}}
        });
        let mut count = 0;
        each_schema_mut(&mut schema, &mut |object| count += usize::from(object.contains_key("x")));
        assert_eq!(count, 4);
    }

    #[test]
    fn drafts_are_told_by_their_uri() {
        assert_eq!(draft_of(&json!({})), Some(Draft::Draft202012));
        assert_eq!(draft_of(&json!({"$schema": "http://json-schema.org/draft-07/schema#"})), Some(Draft::Draft7));
        assert_eq!(draft_of(&json!({"$schema": "http://json-schema.org/draft-04/schema#"})), Some(Draft::Draft4));
        assert_eq!(draft_of(&json!({"$schema": "https://json-schema.org/schema"})), None);
        assert_eq!(draft_of(&json!({"$schema": "https://example.org/mine"})), None);
        assert_eq!(draft_of(&json!({"$schema": 7})), None);
    }
}
