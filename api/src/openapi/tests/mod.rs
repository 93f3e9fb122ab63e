//! The document against the routes that are registered, the sources, itself, and a snapshot.

mod pages;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use actix_web::http::Method;
use serde_json::{Value, json};

use super::errors::CODES;
use super::{document, operations};
use crate::contract::tests::{load, options, yellow_dot};
use crate::http::endpoint::registered;

fn of_yellow_dot(served: &str) -> Value {
    let (contracts, _) = load(&yellow_dot(), &options(served));
    document(&contracts, false)
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

#[actix_web::test]
async fn every_route_is_documented_and_every_documented_route_exists() {
    let app = actix_web::App::new()
        .configure(crate::routes::configure_health)
        .configure(crate::routes::configure)
        .configure(crate::auth::configure);
    let _service = actix_web::test::init_service(app).await;
    // Sign-in is the one scope.
    let path = |at_root: bool, path: String| if at_root { path } else { format!("/api/auth{path}") };
    let routes: BTreeSet<(String, String)> = registered::take()
        .into_iter()
        .filter(|(_, _, method)| *method != Method::HEAD)
        .map(|(at_root, at, method)| (method.as_str().to_lowercase(), path(at_root, at)))
        .collect();
    let operations = operations::all();
    let documented: BTreeSet<(String, String)> =
        operations.iter().map(|it| (it.method.to_owned(), it.path.to_owned())).collect();
    assert_eq!(documented.len(), operations.len(), "an operation is described twice");
    let missing: Vec<_> = routes.difference(&documented).collect();
    assert!(missing.is_empty(), "registered, and not in api/src/openapi/operations: {missing:?}");
    let absent: Vec<_> = documented.difference(&routes).collect();
    assert!(absent.is_empty(), "documented, and not registered: {absent:?}");
}

#[test]
fn the_document_is_as_reviewed() {
    insta::assert_json_snapshot!(of_yellow_dot("yellow_dot/student"));
}

#[test]
fn every_reference_leads_somewhere_and_every_schema_compiles() {
    let document = of_yellow_dot("yellow_dot/student,yellow_dot/tutor");
    let mut references = Vec::new();
    gather(&document, &mut references);
    assert!(references.len() > 100);
    for reference in references {
        let pointer = reference.strip_prefix('#').expect("a reference inside the document");
        assert!(document.pointer(pointer).is_some(), "{reference} leads nowhere");
    }
    for name in document["components"]["schemas"].as_object().unwrap().keys() {
        validator(&document, &json!({"$ref": format!("#/components/schemas/{name}")}));
    }
}

fn gather<'d>(value: &'d Value, found: &mut Vec<&'d str>) {
    match value {
        Value::Object(members) => {
            found.extend(members.get("$ref").and_then(Value::as_str));
            members.values().for_each(|value| gather(value, found));
        }
        Value::Array(elements) => elements.iter().for_each(|element| gather(element, found)),
        _ => {}
    }
}

/// A schema of the document, with the document's components around it.
fn validator(document: &Value, schema: &Value) -> jsonschema::Validator {
    let whole = json!({"allOf": [schema], "$defs": document["components"]["schemas"]});
    // Where a validator looks for schemas that have identifiers of their own.
    let whole = whole.to_string().replace("#/components/schemas/", "#/$defs/");
    let whole: Value = serde_json::from_str(&whole).unwrap();
    jsonschema::draft202012::new(&whole).unwrap_or_else(|error| panic!("{schema}: {error}"))
}

#[test]
fn every_example_fits_its_schema() {
    let document = of_yellow_dot("yellow_dot/student");
    let mut seen = 0;
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            let bodies = operation.get("requestBody").into_iter();
            let answers = operation["responses"].as_object().unwrap().values();
            let answers = answers.map(|answer| resolved(&document, answer));
            for content in bodies.chain(answers).filter_map(|part| part["content"].get("application/json")) {
                let Some(example) = content.get("example") else { continue };
                let validator = validator(&document, &content["schema"]);
                let faults: Vec<String> = validator.iter_errors(example).map(|error| error.to_string()).collect();
                assert!(faults.is_empty(), "{method} {path}: {example}: {faults:?}");
                seen += 1;
            }
        }
    }
    assert!(seen > 200, "{seen} examples");
}

fn resolved<'d>(document: &'d Value, part: &'d Value) -> &'d Value {
    let reference = part.get("$ref").and_then(Value::as_str);
    reference.map_or(part, |reference| document.pointer(reference.trim_start_matches('#')).unwrap())
}

#[test]
fn the_contracts_types_are_in_it_under_the_roots_they_have_now() {
    let mut contract = yellow_dot();
    contract["domains"][0]["item_schemas"] = json!({
        "plain": {"type": "object", "$defs": {"n": {"type": "integer"}}, "properties": {"n": {"$ref": "#/$defs/n"}}},
        "anchored": {"type": "object", "$defs": {"n": {"$anchor": "here", "type": "integer"}}, "properties": {"n": {"$ref": "#here"}}},
        "old": {"$schema": "http://json-schema.org/draft-07/schema#", "type": "object",
                "definitions": {"n": {"type": "integer"}}, "properties": {"n": {"$ref": "#/definitions/n"}}},
        "हिन्दी": {"type": "object"},
    });
    contract["actions"] = json!({});
    let (contracts, _) = load(&contract, &options("yellow_dot/student"));
    let document = document(&contracts, false);
    let schemas = document["components"]["schemas"].as_object().unwrap();
    let legal = |name: &String| name.chars().all(|c| c.is_ascii_alphanumeric() || ".-_".contains(c));
    assert!(schemas.keys().all(legal), "{:?}", schemas.keys());
    assert_eq!(document["components"]["schemas"]["ServedNewItem"]["oneOf"].as_array().unwrap().len(), 4);
    let new = validator(&document, &json!({"$ref": "#/components/schemas/ServedNewItem"}));
    let item = |kind: &str, state: Value| json!({"item_network": "yellow_dot", "item_domain": "student", "item_type": kind, "item_state": state});
    for kind in ["plain", "anchored", "old"] {
        assert!(new.is_valid(&item(kind, json!({"n": 1}))), "{kind}");
        assert!(!new.is_valid(&item(kind, json!({"n": "x"}))), "{kind}");
    }
    assert!(new.is_valid(&item("हिन्दी", json!({}))));
    assert!(!new.is_valid(&item("other", json!({}))));
}

#[test]
fn every_code_in_the_sources_is_in_the_list_and_the_other_way_round() {
    let listed: BTreeSet<&str> = CODES.iter().map(|code| code.code).collect();
    let sources = sources(&root().join("api/src"));
    let used = codes(&sources);
    let settings: BTreeSet<&str> = crate::config::settings::ALL.iter().map(|setting| setting.name).collect();
    // Texts in capitals that are no codes of ours.
    let others =
        ["CARGO_PKG_VERSION", "CARGO_MANIFEST_DIR", "DPG_WRITE_DOCS", "LC_ALL", "PG_VERSION", "RUST_BACKTRACE"];
    let unlisted: Vec<_> = used
        .iter()
        .filter(|code| !listed.contains(*code) && !settings.contains(*code) && !others.contains(code))
        .collect();
    assert!(unlisted.is_empty(), "in the sources, and not in api/src/openapi/errors.rs: {unlisted:?}");
    let unused: Vec<_> = listed.difference(&used).collect();
    assert!(unused.is_empty(), "listed, and not in the sources: {unused:?}");
}

/// Every text literal that could be a code.
fn codes(sources: &[String]) -> BTreeSet<&str> {
    let capital = |text: &str| text.bytes().all(|b| b.is_ascii_uppercase() || b == b'_');
    let named = |text: &str| text.len() > 4 && text.trim_matches('_') == text && text.contains('_');
    let known = |text: &str| CODES.iter().any(|code| code.code == text);
    let code = |text: &&str| capital(text) && (named(text) || known(text));
    sources.iter().flat_map(|source| source.split('"')).filter(code).collect()
}

/// The sources below a directory, without tests, this module and the settings.
fn sources(directory: &Path) -> Vec<String> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            if !["tests", "openapi", "config"].iter().any(|name| path.ends_with(name)) {
                found.extend(sources(&path));
            }
        } else if path.extension().is_some_and(|extension| extension == "rs") && !path.ends_with("tests.rs") {
            let text = std::fs::read_to_string(&path).unwrap();
            found.push(text.split("#[cfg(test)]\nmod tests").next().unwrap_or_default().to_owned());
        }
    }
    found
}

#[test]
fn every_refusal_of_an_operation_is_in_the_list_and_every_code_belongs_somewhere() {
    let mut answered = BTreeSet::from([(404, "NOT_FOUND"), (405, "METHOD_NOT_ALLOWED")]);
    for operation in operations::all() {
        answered.extend(operation.refusals());
    }
    let listed: BTreeSet<(u16, &str)> = CODES.iter().map(|code| (code.status, code.code)).collect();
    assert_eq!(answered, listed);
    assert!(CODES.is_sorted_by_key(|code| (code.status, code.code)));
}
