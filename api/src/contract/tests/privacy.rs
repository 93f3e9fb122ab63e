//! `private` is found wherever a schema can say it.

use super::super::private::Privacy;
use super::*;

/// Splits `state` by `schema` and checks which pointers are left in the public half.
fn public(schema: &Value, state: &Value) -> Value {
    let (public, private) = Privacy::of(schema).split(state.as_object().unwrap());
    let public = Value::Object(public);
    assert_eq!(&merge(public.clone(), Value::Object(private)), state);
    public
}

fn hides_p(schema: &Value) {
    assert_eq!(public(schema, &json!({"p": "secret", "q": 1})), json!({"q": 1}), "{schema}");
}

#[test]
fn on_properties_through_every_keyword() {
    let private = json!({"private": true});
    let p = json!({"properties": {"p": private}});
    for schema in [
        p.clone(),
        json!({"patternProperties": {"^p$": private}}),
        json!({"properties": {"q": {}}, "additionalProperties": private}),
        json!({"properties": {"q": {}}, "unevaluatedProperties": private}),
        json!({"dependentSchemas": {"x": p}}),
        json!({"dependencies": {"x": p, "y": ["z"]}}),
        json!({"allOf": [p]}),
        json!({"anyOf": [{}, p]}),
        json!({"oneOf": [p, {}]}),
        json!({"if": p}),
        json!({"if": {}, "then": p}),
        json!({"if": {}, "else": p}),
        json!({"$ref": "#/$defs/a", "$defs": {"a": {"$ref": "#named"}, "b": {"$anchor": "named", "allOf": [p]}}}),
        json!({"properties": {"p": {"$ref": "https://x.example/s"}}, "$defs": {"s": {"$id": "https://x.example/s", "private": true}}}),
        json!({"$dynamicRef": "#d", "$defs": {"a": {"$dynamicAnchor": "d", "properties": {"p": private}}}}),
        json!({"properties": {"p": {"anyOf": [{"type": "string"}, {"allOf": [private]}]}}}),
        json!({"$schema": "http://json-schema.org/draft-07/schema#", "properties": {"p": {"$ref": "#/definitions/s", "private": true}},
               "definitions": {"s": {}}}),
        json!({"x-parts": {"p": p}, "$ref": "#/x-parts/p"}),
    ] {
        hides_p(&schema);
    }
}

#[test]
fn recursive_references_reach_every_level() {
    let schema = json!({"$schema": "https://json-schema.org/draft/2019-09/schema", "$recursiveAnchor": true,
        "properties": {"p": {"private": true}, "kids": {"items": {"$recursiveRef": "#"}}}});
    let state = json!({"p": 1, "kids": [{"p": 2, "kids": [{"p": 3, "q": 4}]}]});
    assert_eq!(public(&schema, &state), json!({"kids": [{"kids": [{"q": 4}]}]}));
}

#[test]
fn on_elements_the_whole_array_is_private() {
    let private = json!({"private": true});
    for schema in [
        json!({"items": private}),
        json!({"items": {"allOf": [private]}}),
        json!({"items": [{}], "additionalItems": private}),
        json!({"prefixItems": [{}], "unevaluatedItems": private}),
        json!({"contains": private}),
        json!({"anyOf": [{"items": {"$ref": "#/$defs/s"}}]}),
    ] {
        let schema = json!({"properties": {"list": schema}, "$defs": {"s": private}});
        assert_eq!(public(&schema, &json!({"list": [1, 2], "q": 1})), json!({"q": 1}), "{schema}");
        assert_eq!(public(&schema, &json!({"list": []})), json!({}), "{schema}");
        assert_eq!(public(&schema, &json!({"list": "no array"})), json!({"list": "no array"}), "{schema}");
    }
}

#[test]
fn elements_with_private_parts_are_split() {
    let part = json!({"properties": {"p": {"private": true}}});
    for schema in [
        json!({"items": part}),
        json!({"items": [part], "additionalItems": part}),
        json!({"prefixItems": [part], "items": part}),
        json!({"unevaluatedItems": part}),
        json!({"contains": part}),
    ] {
        let schema = json!({"properties": {"list": schema}});
        let state = json!({"list": [{"p": 1, "q": 2}, {"p": 3}, {"q": 4}, 5]});
        assert_eq!(public(&schema, &state), json!({"list": [{"q": 2}, {}, {"q": 4}, 5]}), "{schema}");
    }
}

#[test]
fn what_is_declared_elsewhere_is_not_left_over() {
    let schema = json!({
        "$defs": {"base": {"properties": {"name": {}}}}, "allOf": [{"$ref": "#/$defs/base"}],
        "anyOf": [{"properties": {"maybe": {}}}], "unevaluatedProperties": {"private": true}
    });
    // `maybe` is left over in some branches, so it counts as private.
    assert_eq!(public(&schema, &json!({"name": 1, "maybe": 2, "rest": 3})), json!({"name": 1}));
}

#[test]
fn only_true_is_private_and_undeclared_keys_are_public() {
    let schema = json!({"properties": {"a": {"private": "true"}, "b": {"private": false}, "private": {"type": "boolean"},
        "c": {"enum": [{"private": true}], "default": {"private": true}}, "d": {"not": {"private": true}}}});
    let state = json!({"a": 1, "b": 2, "private": true, "c": 3, "d": 4, "e": 5});
    assert_eq!(public(&schema, &state), state);
}

#[test]
fn a_private_root_hides_everything() {
    assert_eq!(public(&json!({"private": true}), &json!({"a": 1})), json!({}));
}

#[test]
fn a_long_chain_of_references_is_read_in_one_go() {
    let mut defs: Map<String, Value> = (0..20_000)
        .map(|link| (format!("d{link}"), json!({"allOf": [{"$ref": format!("#/$defs/d{}", link + 1)}]})))
        .collect();
    defs.insert("d20000".to_owned(), json!({"properties": {"p": {"private": true}}}));
    hides_p(&json!({"$ref": "#/$defs/d0", "$defs": defs}));
}
