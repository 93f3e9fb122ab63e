//! The contract as a whole: documents in, answers out.

mod loading;
mod privacy;
mod resolving;

use serde_json::{Value, json};

use super::*;

pub(super) fn url(text: &str) -> InstanceUrl {
    InstanceUrl::parse(text).unwrap()
}

pub(crate) fn options(served: &str) -> LoadOptions {
    LoadOptions {
        own_url: url("https://a.example.org"),
        served: parse_bindings(served).unwrap(),
        production: false,
        allow_extra: false,
    }
}

pub(crate) fn load(document: &Value, options: &LoadOptions) -> (Contracts, Vec<Warning>) {
    Contracts::build(Documents::local(vec![document.clone()]), options).unwrap()
}

pub(super) fn problems(document: &Value, options: &LoadOptions) -> Vec<String> {
    let problems = Contracts::build(Documents::local(vec![document.clone()]), options).unwrap_err();
    problems.into_iter().map(|problem| problem.path).collect()
}

/// The contract's own example (7.8).
pub(crate) fn yellow_dot() -> Value {
    json!({"id":"yellow_dot","display_name":"Yellow Dot","schema_standard":"https://json-schema.org/draft/2020-12/schema",
     "domains":[
      {"id":"student","description":"Learners","minimum_cache_ttl_seconds":300,"item_schemas":{"profile_1.0":{
        "$schema":"https://json-schema.org/draft/2020-12/schema","type":"object","additionalProperties":false,"required":["name","phone"],
        "properties":{"name":{"type":"string","minLength":1},"city":{"type":"string"},"phone":{"type":"string","pattern":"^[0-9]{10}$","private":true}}}}},
      {"id":"tutor","item_schemas":{"profile_1.0":{"type":"object","required":["name","subject"],
        "properties":{"name":{"type":"string"},"subject":{"type":"string"},"phone":{"type":"string","private":true}}}}}],
     "instances":[
      {"domain_id":"student","instance_name":"A","instance_url":"https://a.example.org/","public_key":"ed25519:11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo="},
      {"domain_id":"tutor","instance_name":"B","instance_url":"https://b.example.org"}],
     "actions":{"connect":{"description":"Ask for lessons","interactions":[
      {"from_domain":"student","from_items":["profile_1.0"],"to_domain":"tutor","to_items":["profile_1.0"],
       "requirement_schema":{"type":"object","additionalProperties":false,"required":["subject"],"properties":{"subject":{"type":"string"},"phone":{"type":"string"}}},
       "event_schema":{"type":"object","required":["status","subject"],"properties":{"status":{"type":"string","enum":["created","accepted","rejected","cancelled","completed"]},"remark":{"type":"string"},"subject":{"type":"string"}}}}]}}})
}

fn kind<'a>(domain: &'a str, item_type: &'a str) -> ItemKind<'a> {
    ItemKind { network: "yellow_dot", domain, item_type }
}

#[test]
fn item_types_validate_and_split() {
    let (contracts, warnings) = load(&yellow_dot(), &options("yellow_dot/student"));
    assert_eq!(warnings, []);
    let item_type = contracts.item_type("yellow_dot", "student", "profile_1.0").unwrap();
    assert_eq!(item_type.schema_url(), "https://a.example.org/api/v1/network/schema/yellow_dot/student/profile_1.0");
    let state = json!({"name": "Asha", "city": "Pune", "phone": "1234567890"});
    assert_eq!(item_type.validate(&state), []);
    let (public, private) = item_type.split(state.as_object().unwrap());
    assert_eq!(Value::Object(public.clone()), json!({"name": "Asha", "city": "Pune"}));
    assert_eq!(merge(Value::Object(public), Value::Object(private)), state);
    let mut faults = item_type.validate(&json!({"phone": "12"}));
    faults.sort_by(|a, b| a.path.cmp(&b.path));
    let faults: Vec<_> = faults.iter().map(|fault| (fault.path.as_str(), fault.message.as_str())).collect();
    assert_eq!(
        faults,
        [("/item_state", "\"name\" is required"), ("/item_state/phone", "does not match the pattern ^[0-9]{10}$"),]
    );
    assert_eq!(item_type.validate(&json!([])).len(), 1);
    let missing = |network, domain, item_type| contracts.item_type(network, domain, item_type).unwrap_err();
    assert_eq!(missing("x", "student", "profile_1.0"), ItemTypeError::UnknownNetwork);
    assert_eq!(missing("yellow_dot", "x", "profile_1.0"), ItemTypeError::UnknownDomain);
    assert_eq!(missing("yellow_dot", "student", "x"), ItemTypeError::UnknownType);
}

#[test]
fn the_unserved_reply_says_what_is_served() {
    let (contracts, _) = load(&yellow_dot(), &options("yellow_dot/student,green_dot/shop"));
    assert!(contracts.serves("yellow_dot", "student") && !contracts.serves("yellow_dot", "tutor"));
    let error = contracts.unserved("yellow_dot", "tutor");
    assert_eq!((error.status.as_u16(), error.code.as_ref()), (403, "UNSERVED_DOMAIN_BINDING"));
    assert_eq!(error.message, "This instance does not serve yellow_dot/tutor.");
    assert_eq!(
        Value::Object(*error.extra),
        json!({
            "requested": {"network": "yellow_dot", "domain": "tutor", "key": "yellow_dot/tutor"},
            "allowed_bindings": ["yellow_dot/student", "green_dot/shop"], "allowed_networks": ["yellow_dot", "green_dot"],
            "allowed_domains": ["student", "shop"],
            "allowed_item_types_by_binding": {"yellow_dot/student": ["profile_1.0"], "green_dot/shop": []}
        })
    );
}

#[test]
fn urls_go_out_as_they_are_registered() {
    let mut document = yellow_dot();
    document["instances"][0]["instance_url"] = json!("HTTPS://A.example.org:443/");
    let (contracts, _) = load(&document, &options("yellow_dot/student"));
    assert_eq!(contracts.own_instance_url("yellow_dot", "student"), "HTTPS://A.example.org:443");
    assert_eq!(contracts.own_instance_url("yellow_dot", "tutor"), "https://a.example.org");
    assert!(contracts.is_own(&url("https://a.example.org/x")));
    for (called, signed) in [("a.example.org:443", "a.example.org"), ("a.example.org:80", "a.example.org:80")] {
        assert_eq!(contracts.without_default_port(called), signed);
        assert_eq!(contracts.is_own_authority(called), signed == "a.example.org");
    }
    assert!(contracts.is_registered("yellow_dot", &url("https://B.example.org")));
    assert!(contracts.registered("yellow_dot", "student", &url("https://b.example.org")).is_none());
    let found = contracts.registered("yellow_dot", "student", &url("https://a.example.org")).unwrap();
    assert_eq!(found.public_keys, ["ed25519:11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo="]);
}

#[test]
fn interactions_come_from_the_targets_network() {
    let (contracts, _) = load(&yellow_dot(), &options("yellow_dot/tutor"));
    let interaction =
        contracts.interaction("connect", kind("student", "profile_1.0"), kind("tutor", "profile_1.0")).unwrap();
    assert_eq!(interaction.requirement_names(), ["subject", "phone"]);
    assert_eq!(interaction.event_names(), ["subject"]);
    assert_eq!(interaction.initial_status(), "created");
    assert_eq!(interaction.may_set(Role::Target, "created", "bogus", 0), Err(Refusal::NotInEnum));
    let snapshot = json!({"phone": 1, "more": 2});
    let mut paths: Vec<_> =
        interaction.check_requirements(snapshot.as_object().unwrap()).into_iter().map(|it| it.path).collect();
    paths.sort();
    assert_eq!(paths, ["/requirements_snapshot", "/requirements_snapshot", "/requirements_snapshot/phone"]);
    assert!(contracts.interaction("connect", kind("tutor", "profile_1.0"), kind("student", "profile_1.0")).is_none());
    assert!(contracts.interaction("other", kind("student", "profile_1.0"), kind("tutor", "profile_1.0")).is_none());
    assert_eq!(contracts.peer_origins(), ["https://a.example.org", "https://b.example.org"]);
}

#[test]
fn entries_are_sorted_filtered_and_complete() {
    let (contracts, _) = load(&yellow_dot(), &options("yellow_dot/student"));
    let contracts = contracts.of_version(1, chrono::DateTime::from_timestamp_millis(1_795_225_984_435).unwrap());
    let all = contracts.entries(&EntryFilter::default());
    let keys: Vec<_> = all.iter().map(|entry| entry.cache_key.as_str()).collect();
    assert!(keys.is_sorted() && keys.len() == 3);
    let config = all.iter().find(|entry| entry.kind == EntryKind::NetworkConfig).unwrap();
    let written = serde_json::to_value(config).unwrap();
    let members: Vec<_> = written.as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(members, ["cache_key", "kind", "network", "source", "cached_at", "file_name", "schema"]);
    assert_eq!(written["cached_at"], "2026-11-21T01:53:04.435Z");
    assert_eq!(written["kind"], "network_config");
    let filter = EntryFilter { domain: Some("tutor"), network: Some(""), ..EntryFilter::default() };
    let tutors = contracts.entries(&filter);
    assert_eq!(tutors.len(), 1);
    assert_eq!((tutors[0].domain, tutors[0].item_type), (Some("tutor"), Some("profile_1.0")));
    assert!(contracts.entries(&EntryFilter { network: Some("x"), ..filter }).is_empty());
}

#[test]
fn a_document_with_a_source_names_its_schemas_by_it() {
    let mut document = yellow_dot();
    document["source_url"] = json!("https://r.example/network.json");
    document["domains"][0]["item_schemas"]["a b/c"] = json!(true);
    let (contracts, _) = load(&document, &options("yellow_dot/student"));
    let item_type = contracts.item_type("yellow_dot", "student", "a b/c").unwrap();
    let expected = "https://r.example/network.json#/item_schemas/yellow_dot/student/a%20b%2Fc";
    assert_eq!(item_type.schema_url(), expected);
    let filter = EntryFilter { schema_url: Some(expected), ..EntryFilter::default() };
    assert_eq!(contracts.entries(&filter).len(), 1);
}
