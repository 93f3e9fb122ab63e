//! References of every kind, and the schemas that come of them.

use std::collections::BTreeMap;

use super::*;
use crate::contract::library::{Library, Shelved, parse};
use crate::contract::report::{Report, Weight};
use crate::contract::self_contained::{SelfContained, Wanted, self_contained};

fn resolve_with(document: &Value, named: &BTreeMap<String, Value>) -> (Option<SelfContained>, Report) {
    let (mut report, own_url) = (Report::default(), InstanceUrl::parse("https://own.example").unwrap());
    let schemas = vec!["/main".to_owned(), "/other".to_owned()];
    let url = document.get("source_url").and_then(Value::as_str).and_then(parse).map(|(url, _)| url);
    let network = Shelved { root: document, url, schemas, prefix: String::new() };
    let library = Library::new(vec![network], named, &[], &own_url);
    let wanted = Wanted {
        holder: library.schema(0, "/main").unwrap(),
        network: 0,
        at: ("/main", "/main"),
        weight: Weight::Warning,
        dead: Weight::Problem,
    };
    (self_contained(&library, &wanted, &mut report), report)
}

fn resolve(document: &Value) -> (Option<SelfContained>, Report) {
    resolve_with(document, &BTreeMap::new())
}

#[test]
fn a_schema_that_needs_nothing_stays_as_it_is() {
    let main =
        json!({"$defs": {"a": {"type": "string"}}, "properties": {"x": {"$ref": "#/$defs/a"}}, "type": "object"});
    let document = json!({"main": main, "$defs": {"a": {"type": "number"}}});
    let (found, report) = resolve(&document);
    let found = found.unwrap();
    assert_eq!(serde_json::to_string(&found.emitted).unwrap(), serde_json::to_string(&main).unwrap());
    assert_eq!(found.compiled, main);
    assert!(report.problems.is_empty());
}

#[test]
fn the_network_document_answers_what_the_schema_lacks() {
    let document = json!({
        "$defs": {"phone": {"type": "string", "private": true, "title": "Phone", "allOf": [{"$ref": "#/$defs/digits"}]},
                  "digits": {"pattern": "^[0-9]+$"}},
        "main": {"$defs": {"digits": {"minLength": 3}},
                 "properties": {"p": {"$ref": "#/$defs/phone", "title": "Mine"}, "d": {"$ref": "#/$defs/digits"}}}
    });
    let (found, _) = resolve(&document);
    let found = found.unwrap();
    assert_eq!(
        found.emitted["properties"]["p"],
        json!({
            "type": "string", "private": true, "title": "Mine", "allOf": [{"pattern": "^[0-9]+$"}]
        })
    );
    assert_eq!(found.emitted["properties"]["d"], json!({"$ref": "#/$defs/digits"}));
    // The schema's own `digits` is not mistaken for the document's.
    assert_eq!(found.compiled["$defs"]["phone"]["allOf"][0]["$ref"], "#/$defs/digits_2");
    assert_eq!(found.compiled["$defs"]["digits_2"], json!({"pattern": "^[0-9]+$"}));
    assert_eq!(found.compiled["$defs"]["digits"], json!({"minLength": 3}));
}

#[test]
fn recursive_parts_stay_references() {
    let document = json!({
        "$defs": {"tree": {"properties": {"kids": {"items": {"$ref": "#/$defs/tree"}}, "leaf": {"$ref": "#/$defs/leaf"}}},
                  "leaf": {"type": "string"}, "wrap": {"properties": {"t": {"$ref": "#/$defs/tree"}}}},
        "main": {"properties": {"w": {"$ref": "#/$defs/wrap"}}}
    });
    let (found, report) = resolve(&document);
    let emitted = found.unwrap().emitted;
    assert_eq!(emitted["properties"]["w"], json!({"properties": {"t": {"$ref": "#/$defs/tree"}}}));
    assert_eq!(
        emitted["$defs"],
        json!({
            "tree": {"properties": {"kids": {"items": {"$ref": "#/$defs/tree"}}, "leaf": {"type": "string"}}}
        })
    );
    assert!(report.problems.is_empty());
}

#[test]
fn a_part_of_another_schema_brings_that_schemas_own_definitions() {
    let document = json!({
        "$defs": {"n": {"type": "number"}},
        "other": {"$id": "https://x.example/other", "$defs": {"n": {"type": "string"}}, "properties": {"q": {"$ref": "#/$defs/n"}}},
        "main": {"properties": {"x": {"$ref": "#/other/properties/q"}, "y": {"$ref": "#/$defs/n"}}}
    });
    let (found, _) = resolve(&document);
    let emitted = found.unwrap().emitted;
    assert_eq!(emitted["properties"], json!({"x": {"type": "string"}, "y": {"type": "number"}}));
}

#[test]
fn dead_and_foreign_references_are_told_with_their_place() {
    let document = json!({"main": {
        "properties": {"a/b": {"$ref": "#/nowhere"}, "c": {"$ref": "https://x.example/s.json"}, "d": {"$ref": "#gone"}},
        "default": {"$ref": "#/data"}, "x-hint": {"$ref": "#/hint"},
        "allOf": [{"$ref": "https://json-schema.org/draft/2020-12/schema"}]
    }});
    let (_, report) = resolve(&document);
    let paths: Vec<_> = report.problems.iter().map(|problem| problem.path.as_str()).collect();
    assert_eq!(paths, ["/main/properties/a~1b/$ref", "/main/properties/d/$ref"]);
    assert_eq!(report.warnings.len(), 1);
    assert_eq!(report.warnings[0].path, "/main/properties/c/$ref");
}

#[test]
fn other_documents_are_inlined_and_their_cycles_kept() {
    let document = json!({"source_url": "https://r.example/net/network.json#x", "main": {"properties": {
        "relative": {"$ref": "../parts/a.json#/$defs/tree", "title": "Mine"},
        "anchor": {"$ref": "https://s.example/b.json#leaf"}, "whole": {"$ref": "https://s.example/b.json"},
        "itself": {"$ref": "https://r.example/net/network.json#/shared"}, "back": {"$ref": "../parts/a.json#/back"}
    }}, "shared": {"type": "integer"}});
    let named = BTreeMap::from([
        (
            "https://r.example/parts/a.json".to_owned(),
            json!({"back": {"$ref": "#/shared"}, "$defs": {"tree": {"title": "Tree", "properties": {
                "kids": {"items": {"$ref": "#/$defs/tree"}}, "leaf": {"$ref": "//s.example/b.json#leaf"}}}}}),
        ),
        (
            "https://s.example/b.json".to_owned(),
            json!({"$id": "https://other.example/x/b.json", "type": "object", "properties": {
                "c": {"$ref": "c.json"}, "me": {"$ref": "#"}}, "definitions": {"l": {"$anchor": "leaf", "type": "string"}}}),
        ),
        ("https://other.example/x/c.json".to_owned(), json!({"type": "null", "x": {"$ref": "a%20b.json#/no"}})),
    ]);
    let (found, report) = resolve_with(&document, &named);
    let found = found.unwrap();
    assert!(report.problems.is_empty() && report.warnings.is_empty(), "{report:?}");
    let tree = json!({"title": "Tree", "properties": {
        "kids": {"items": {"$ref": "#/$defs/tree"}}, "leaf": {"type": "string"}}});
    let properties = &found.emitted["properties"];
    assert_eq!(properties["relative"], json!({"$ref": "#/$defs/tree", "title": "Mine"}));
    assert_eq!(found.emitted["$defs"]["tree"], tree);
    assert_eq!(properties["anchor"], json!({"type": "string"}));
    assert_eq!(
        (&properties["itself"], &properties["back"]),
        (&json!({"type": "integer"}), &json!({"type": "integer"}))
    );
    let whole = properties["whole"]["$ref"].as_str().unwrap().strip_prefix("#/$defs/").unwrap();
    assert_eq!(found.emitted["$defs"][whole]["properties"]["c"]["type"], "null");
    assert_eq!(found.taken_from.len(), 4);
    assert!(jsonschema::validator_for(&found.compiled).is_ok() && jsonschema::validator_for(&found.emitted).is_ok());
}

#[test]
fn what_other_documents_lack_is_told_with_its_place() {
    let document = json!({"source_url": "https://r.example/network.json", "main": {"allOf": [
        {"$ref": "a.json#/dead"}, {"$ref": "a.json"}, {"$ref": "https://own.example/x"}, {"$ref": "urn:x"}]}});
    let named = BTreeMap::from([(
        "https://r.example/a.json".to_owned(),
        json!({"properties": {"p": {"$ref": "sub/b.json#/x"}, "q": {"$ref": "#gone"}}}),
    )]);
    let (_, report) = resolve_with(&document, &named);
    let paths: Vec<_> = report.problems.iter().map(|problem| problem.path.as_str()).collect();
    assert_eq!(paths, ["/main/allOf/0/$ref", "https://r.example/a.json#/properties/q/$ref"]);
    let paths: Vec<_> = report.warnings.iter().map(|warning| warning.path.as_str()).collect();
    let expected = ["/main/allOf/2/$ref", "/main/allOf/3/$ref", "https://r.example/a.json#/properties/p/$ref"];
    assert_eq!(paths, expected);
    assert_eq!(report.missing.keys().collect::<Vec<_>>(), ["https://r.example/sub/b.json"]);
}
