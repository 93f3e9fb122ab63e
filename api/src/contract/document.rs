//! Reads one `network.json` (CONTRACT 7): adds defaults and canonical spellings, checks the envelope, and removes nothing,
//! so that whatever a user interface looks for is still there. JSON Schemas inside stay as they are.

use serde_json::{Map, Value, json};

use super::instance_url::InstanceUrl;
use super::lifecycle::check_lifecycle;
use super::pointer::{index, join};
use super::report::Report;

type Object = Map<String, Value>;

/// Longest id, item type, action type and status, in characters (CONTRACT 1.4).
const MAX_NAME: usize = 120;
/// Longest URL in bytes (CONTRACT 1.4).
const MAX_URL: usize = 2048;
/// A domain's `minimum_cache_ttl_seconds` when it names none.
const DEFAULT_CACHE_TTL: u64 = 300;

/// The document with defaults and canonical spellings; `None` if it is no object. Faults go to `report`. A document that
/// was fetched has that URL as its source, whatever it says.
pub(super) fn normalise(document: &Value, fetched_from: Option<&str>, report: &mut Report) -> Option<Value> {
    refuse_nul(document, "", report);
    let Value::Object(document) = document else {
        report.problem("", "a network document must be an object");
        return None;
    };
    let mut document = document.clone();
    if let Some(url) = fetched_from {
        document.insert("source_url".to_owned(), json!(url));
    }
    fill_spelling(&mut document, "id", "name");
    name(&document, "id", "", report);
    for label in ["display_name", "description", "schema_standard"] {
        optional_text(&document, label, "", report);
    }
    if document.get("source_url").is_some_and(|url| !url.is_null()) {
        absolute_url(&document, "source_url", "", report);
    }
    let network = document.get("id").and_then(Value::as_str).unwrap_or_default().to_owned();
    each_object(&mut document, "domains", "", report, normalise_domain);
    each_object(&mut document, "instances", "", report, normalise_instance);
    each_object(&mut document, "cross_network_origins", "", report, |origin, at, report| {
        fill_spelling(origin, "id", "name");
        name(origin, "id", at, report);
        absolute_url(origin, "schema_url", at, report);
    });
    if let Some(actions) = object_or_default(&mut document, "actions", "", report) {
        for (action_type, action) in actions.iter_mut() {
            let at = join("/actions", action_type);
            check_name(action_type, &at, report);
            match action {
                Value::Object(action) => normalise_action(action, &network, &at, report),
                _ => report.problem(&at, "must be an object"),
            }
        }
    }
    Some(Value::Object(document))
}

fn normalise_domain(domain: &mut Object, at: &str, report: &mut Report) {
    fill_spelling(domain, "id", "name");
    name(domain, "id", at, report);
    optional_text(domain, "description", at, report);
    default(domain, "minimum_cache_ttl_seconds", json!(DEFAULT_CACHE_TTL));
    if domain.get("minimum_cache_ttl_seconds").and_then(Value::as_u64).is_none_or(|seconds| seconds == 0) {
        report.problem(&join(at, "minimum_cache_ttl_seconds"), "must be a whole number above 0");
    }
    for key in ["default_item_schemas", "item_schemas"] {
        if let Some(schemas) = object_or_default(domain, key, at, report) {
            for (item_type, schema) in schemas.iter() {
                let at = join(&join(at, key), item_type);
                check_name(item_type, &at, report);
                check_schema(schema, &at, report);
            }
        }
    }
    overlay_defaults(domain);
}

/// Effective schemas: the defaults, in their order, overlaid by the domain's own.
fn overlay_defaults(domain: &mut Object) {
    let defaults =
        domain.get("default_item_schemas").and_then(Value::as_object).filter(|defaults| !defaults.is_empty());
    if let Some(mut effective) = defaults.cloned()
        && let Some(own) = domain.get_mut("item_schemas").and_then(Value::as_object_mut)
    {
        effective.extend(std::mem::take(own));
        *own = effective;
    }
}

fn normalise_instance(instance: &mut Object, at: &str, report: &mut Report) {
    fill_spelling(instance, "domain_id", "domain_name");
    name(instance, "domain_id", at, report);
    optional_text(instance, "instance_name", at, report);
    optional_text(instance, "public_key", at, report);
    match instance.get("instance_url") {
        Some(Value::String(url)) => {
            if let Err(error) = InstanceUrl::parse(url) {
                report.problem(&join(at, "instance_url"), format!("{url:?} {error}"));
            }
        }
        _ => report.problem(&join(at, "instance_url"), "a URL is required"),
    }
    let shorthand = instance.get("schema_url").filter(|url| !url.is_null()).cloned();
    if shorthand.is_some() {
        absolute_url(instance, "schema_url", at, report);
    }
    if let Some(custom) = object_or_default(instance, "custom_item_schema_urls", at, report) {
        if let Some(url) = shorthand {
            custom.entry("profile").or_insert(url);
        }
        for item_type in custom.keys() {
            let at = join(at, "custom_item_schema_urls");
            check_name(item_type, &join(&at, item_type), report);
            absolute_url(custom, item_type, &at, report);
        }
    }
    texts_or_default(instance, "public_keys", at, report);
}

fn normalise_action(action: &mut Object, network: &str, at: &str, report: &mut Report) {
    optional_text(action, "description", at, report);
    if let Some(lifecycle) = action.get_mut("lifecycle").filter(|lifecycle| !lifecycle.is_null()) {
        check_lifecycle(lifecycle, &join(at, "lifecycle"), report);
    }
    each_object(action, "interactions", at, report, |interaction, at, report| {
        normalise_interaction(interaction, network, at, report);
    });
}

fn normalise_interaction(interaction: &mut Object, network: &str, at: &str, report: &mut Report) {
    for key in ["from_network", "to_network"] {
        if interaction.get(key).is_some_and(|network| !network.is_null()) {
            name(interaction, key, at, report);
        }
        default(interaction, key, json!(network));
    }
    for key in ["from_domain", "to_domain"] {
        name(interaction, key, at, report);
    }
    for key in ["from_items", "to_items"] {
        texts_or_default(interaction, key, at, report);
    }
    match interaction.get("requirement_schema") {
        Some(schema) => check_schema(schema, &join(at, "requirement_schema"), report),
        None => report.problem(&join(at, "requirement_schema"), "a JSON Schema is required"),
    }
    if let Some(schema) = interaction.get("event_schema").filter(|schema| !schema.is_null()) {
        check_schema(schema, &join(at, "event_schema"), report);
    }
}

/// The alternative spelling fills a missing canonical key and stays where it was.
fn fill_spelling(object: &mut Object, canonical: &str, alternative: &str) {
    if let Some(value) = object.get(alternative).cloned() {
        default(object, canonical, value);
    }
}

fn default(object: &mut Object, key: &str, value: Value) {
    if object.get(key).is_none_or(Value::is_null) {
        object.insert(key.to_owned(), value);
    }
}

/// Visits the objects of the array `key`, which is made if it is missing.
fn each_object(
    object: &mut Object,
    key: &str,
    at: &str,
    report: &mut Report,
    mut visit: impl FnMut(&mut Object, &str, &mut Report),
) {
    default(object, key, json!([]));
    let at = join(at, key);
    let Some(entries) = object.get_mut(key).and_then(Value::as_array_mut) else {
        return report.problem(&at, "must be an array");
    };
    for (position, entry) in entries.iter_mut().enumerate() {
        match entry {
            Value::Object(entry) => visit(entry, &index(&at, position), report),
            _ => report.problem(&index(&at, position), "must be an object"),
        }
    }
}

fn object_or_default<'o>(object: &'o mut Object, key: &str, at: &str, report: &mut Report) -> Option<&'o mut Object> {
    default(object, key, json!({}));
    let found = object.get_mut(key).and_then(Value::as_object_mut);
    if found.is_none() {
        report.problem(&join(at, key), "must be an object");
    }
    found
}

fn texts_or_default(object: &mut Object, key: &str, at: &str, report: &mut Report) {
    default(object, key, json!([]));
    if !object.get(key).and_then(Value::as_array).is_some_and(|texts| texts.iter().all(Value::is_string)) {
        report.problem(&join(at, key), "must be an array of strings");
    }
}

fn optional_text(object: &Object, key: &str, at: &str, report: &mut Report) {
    if object.get(key).is_some_and(|value| !value.is_string() && !value.is_null()) {
        report.problem(&join(at, key), "must be a string");
    }
}

fn name(object: &Object, key: &str, at: &str, report: &mut Report) {
    match object.get(key).and_then(Value::as_str) {
        Some(name) => check_name(name, &join(at, key), report),
        None => report.problem(&join(at, key), "a string is required"),
    }
}

/// What names a row in storage: not blank, and short enough to be asked for.
pub(super) fn check_name(name: &str, at: &str, report: &mut Report) {
    if name.trim().is_empty() {
        report.problem(at, "must not be blank");
    } else if name.chars().count() > MAX_NAME {
        report.problem(at, format!("must have at most {MAX_NAME} characters"));
    }
}

fn absolute_url(object: &Object, key: &str, at: &str, report: &mut Report) {
    let at = join(at, key);
    match object.get(key).and_then(Value::as_str) {
        None => report.problem(&at, "a URL is required"),
        Some(url) if url.len() > MAX_URL => report.problem(&at, format!("must have at most {MAX_URL} bytes")),
        Some(url) if url::Url::parse(url).is_err() => report.problem(&at, format!("{url:?} is not an absolute URL")),
        Some(_) => {}
    }
}

fn check_schema(schema: &Value, at: &str, report: &mut Report) {
    if !schema.is_object() && !schema.is_boolean() {
        report.problem(at, "must be a JSON Schema (an object, true or false)");
    }
}

/// The contract in force is kept in Postgres, whose `jsonb` can't hold U+0000.
fn refuse_nul(value: &Value, at: &str, report: &mut Report) {
    match value {
        Value::String(text) if text.contains('\0') => report.problem(at, "must not contain U+0000"),
        Value::Array(values) => {
            values.iter().enumerate().for_each(|(position, value)| refuse_nul(value, &index(at, position), report));
        }
        Value::Object(object) => {
            for (key, value) in object {
                if key.contains('\0') {
                    report.problem(at, "has a key that contains U+0000");
                }
                refuse_nul(value, &join(at, key), report);
            }
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn normalised(document: &Value) -> (Value, Vec<(String, String)>) {
        let mut report = Report::default();
        let found = normalise(document, None, &mut report).unwrap_or_default();
        (found, report.problems.into_iter().map(|problem| (problem.path, problem.message)).collect())
    }

    #[test]
    fn defaults_are_added_and_nothing_is_lost() {
        let document = json!({
            "name": "net", "x-tiles": [{"a": 1}], "actions": {"ask": {"interactions": [
                {"from_domain": "a", "to_domain": "b", "requirement_schema": {}, "card": "blue"}]}},
            "domains": [{"name": "a", "badge": true}],
            "instances": [{"domain_name": "a", "instance_url": "https://a.example", "schema_url": "https://a.example/s.json"}]
        });
        let (found, problems) = normalised(&document);
        assert_eq!(problems, []);
        assert_eq!(
            found,
            json!({
                "name": "net", "id": "net", "x-tiles": [{"a": 1}], "cross_network_origins": [],
                "actions": {"ask": {"interactions": [{"from_domain": "a", "to_domain": "b", "requirement_schema": {}, "card": "blue",
                    "from_network": "net", "to_network": "net", "from_items": [], "to_items": []}]}},
                "domains": [{"name": "a", "id": "a", "badge": true, "minimum_cache_ttl_seconds": 300,
                    "item_schemas": {}, "default_item_schemas": {}}],
                "instances": [{"domain_name": "a", "domain_id": "a", "instance_url": "https://a.example", "public_keys": [],
                    "schema_url": "https://a.example/s.json", "custom_item_schema_urls": {"profile": "https://a.example/s.json"}}]
            })
        );
    }

    #[test]
    fn the_canonical_spelling_wins_and_the_other_is_a_label() {
        let (found, _) = normalised(&json!({"id": "net", "name": "A label"}));
        assert_eq!((&found["id"], &found["name"]), (&json!("net"), &json!("A label")));
    }

    #[test]
    fn default_schemas_come_first() {
        let (found, _) = normalised(&json!({"id": "net", "domains": [{"id": "a",
            "item_schemas": {"z": true, "b": {"title": "own"}}, "default_item_schemas": {"y": true, "b": {}}}]}));
        let effective = found["domains"][0]["item_schemas"].as_object().unwrap();
        assert_eq!(effective.keys().collect::<Vec<_>>(), ["y", "b", "z"]);
        assert_eq!(effective["b"], json!({"title": "own"}));
        assert_eq!(found["domains"][0]["default_item_schemas"], json!({"y": true, "b": {}}));
    }

    #[test]
    fn every_problem_is_told() {
        let (_, problems) = normalised(&json!({
            "id": "", "display_name": 5, "source_url": "nowhere", "domains": [{"minimum_cache_ttl_seconds": 0, "id": "a",
                "item_schemas": {"t/1": 7}}, 3],
            "instances": [{"domain_id": "a", "instance_url": "__PUBLIC_API_URL__", "public_keys": "x"}],
            "cross_network_origins": {}, "label": "\u{0}",
            "actions": {"ask": {"interactions": [{"to_domain": "b", "from_items": [1]}], "lifecycle": {"terminal": "x"}}, " ": {}}
        }));
        let paths: Vec<_> = problems.iter().map(|(path, _)| path.as_str()).collect();
        assert_eq!(
            paths,
            [
                "/label",
                "/id",
                "/display_name",
                "/source_url",
                "/domains/0/minimum_cache_ttl_seconds",
                "/domains/0/item_schemas/t~11",
                "/domains/1",
                "/instances/0/instance_url",
                "/instances/0/public_keys",
                "/cross_network_origins",
                "/actions/ask/lifecycle/terminal",
                "/actions/ask/interactions/0/from_domain",
                "/actions/ask/interactions/0/from_items",
                "/actions/ask/interactions/0/requirement_schema",
                "/actions/ ",
            ]
        );
    }

    #[test]
    fn names_that_storage_writes_alike_are_two_names() {
        let (_, problems) = normalised(&json!({"id": "net", "actions": {"act_one": {}, "act-one": {}}}));
        assert_eq!(problems, []);
    }
}
