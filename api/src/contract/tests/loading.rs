use super::*;

#[test]
fn several_networks_in_one_file() {
    let green = json!({"id": "green_dot", "domains": [{"id": "shop"}], "actions": {"ask": {"interactions": [
        {"from_network": "yellow_dot", "from_domain": "student", "to_domain": "shop", "requirement_schema": {}}]}}});
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), json!([yellow_dot(), green]).to_string()).unwrap();
    let (contracts, _) = Documents::read_file(file.path())
        .and_then(|read| Contracts::build(read, &options("yellow_dot/student,green_dot/shop")))
        .unwrap();
    assert_eq!(contracts.networks().iter().map(Network::id).collect::<Vec<_>>(), ["yellow_dot", "green_dot"]);
    let target = ItemKind { network: "green_dot", domain: "shop", item_type: "t" };
    assert!(contracts.interaction("ask", kind("student", "profile_1.0"), target).is_some());
    let green = ItemKind { network: "green_dot", ..kind("student", "profile_1.0") };
    assert!(contracts.interaction("ask", green, target).is_none());

    std::fs::write(file.path(), json!([{"id": "a"}, {"id": "a"}, {"id": 5}]).to_string()).unwrap();
    let problems =
        Documents::read_file(file.path()).and_then(|read| Contracts::build(read, &options("a/b"))).unwrap_err();
    assert_eq!(problems.iter().map(|problem| problem.path.as_str()).collect::<Vec<_>>(), ["/1/id", "/2/id"]);
    std::fs::write(file.path(), "{").unwrap();
    assert_eq!(
        Documents::read_file(file.path()).and_then(|read| Contracts::build(read, &options("a/b"))).unwrap_err().len(),
        1
    );
    assert!(Documents::read_file(std::path::Path::new("/nonexistent/network.json")).is_err());
    assert!(Contracts::build(Documents::local(Vec::new()), &options("a/b")).is_err());
}

#[test]
fn unknown_keys_and_schemas_reach_clients_unchanged() {
    let mut document = yellow_dot();
    document["x-theme"] = json!({"colour": [1, {"deep": null}]});
    document["domains"][0]["item_schemas"]["profile_1.0"]["x-wallet-aliases"] = json!(["n"]);
    document["actions"]["connect"]["tile"] = json!("big");
    let (contracts, _) = load(&document, &options("yellow_dot/student"));
    let network = contracts.network("yellow_dot").unwrap();
    let emitted = network.document();
    assert_eq!(emitted["x-theme"], document["x-theme"]);
    assert_eq!(emitted["actions"]["connect"]["tile"], "big");
    let text = |value: &Value| serde_json::to_string(value).unwrap();
    let at = "/domains/0/item_schemas";
    assert_eq!(text(emitted.pointer(at).unwrap()), text(document.pointer(at).unwrap()));
    assert_eq!(contracts.documents().networks[0].document, document);
}

#[test]
fn every_problem_of_a_document_is_told_at_once() {
    let mut document = yellow_dot();
    document["domains"][0]["item_schemas"]["profile_1.0"]["properties"]["city"] = json!({"type": "strin"});
    document["domains"][0]["default_item_schemas"] = json!({"extra": {"$ref": "#/nowhere"}});
    document["instances"][1]["instance_url"] = json!("__URL__");
    document["actions"]["connect"]["interactions"][0]["requirement_schema"]["$schema"] =
        json!("https://x.example/draft");
    document["actions"]["connect"]["interactions"][0]["event_schema"]["properties"]["subject"] =
        json!({"pattern": "("});
    let mut found = problems(&document, &options("yellow_dot/student"));
    found.sort();
    found.dedup();
    assert_eq!(
        found,
        [
            "/actions/connect/interactions/0/event_schema/properties/subject/pattern",
            "/actions/connect/interactions/0/requirement_schema/$schema",
            "/domains/0/default_item_schemas/extra",
            "/domains/0/default_item_schemas/extra/$ref",
            "/domains/0/item_schemas/profile_1.0/properties/city/type",
            "/instances/1/instance_url",
        ]
    );
}

#[test]
fn what_is_not_served_may_be_faulty() {
    let mut document = yellow_dot();
    document["domains"][1]["item_schemas"]["profile_1.0"] =
        json!({"type": 5, "properties": {"x": {"$ref": "https://x.example/y"}}});
    let (contracts, warnings) = load(&document, &options("yellow_dot/student"));
    assert!(warnings.iter().any(|warning| warning.path == "/domains/1/item_schemas/profile_1.0/type"));
    assert!(warnings.iter().any(|warning| warning.path == "/domains/1/item_schemas/profile_1.0/properties/x/$ref"));
    assert_eq!(contracts.item_type("yellow_dot", "tutor", "profile_1.0").unwrap_err(), ItemTypeError::Unusable);
    assert!(!problems(&document, &options("yellow_dot/tutor")).is_empty());
    // A pointer to nothing is an error wherever it stands.
    document["domains"][1]["item_schemas"]["profile_1.0"] = json!({"$ref": "#/nowhere"});
    assert!(
        problems(&document, &options("yellow_dot/student"))
            .contains(&"/domains/1/item_schemas/profile_1.0/$ref".to_owned())
    );
}

#[test]
fn references_reach_the_root_of_the_network_document() {
    let mut document = yellow_dot();
    document["$defs"] = json!({"phone": {"type": "string", "private": true, "title": "Phone"}, "tree": {"items": {"$ref": "#/$defs/tree"}}});
    document["domains"][0]["item_schemas"]["profile_1.0"]["properties"] =
        json!({"name": true, "phone": {"$ref": "#/$defs/phone", "title": "Mobile"}, "tree": {"$ref": "#/$defs/tree"}});
    let (contracts, _) = load(&document, &options("yellow_dot/student"));
    let emitted =
        contracts.network("yellow_dot").unwrap().document().pointer("/domains/0/item_schemas/profile_1.0").unwrap();
    assert_eq!(emitted["properties"]["phone"], json!({"type": "string", "private": true, "title": "Mobile"}));
    assert_eq!(emitted["$defs"], json!({"tree": {"items": {"$ref": "#/$defs/tree"}}}));
    let item_type = contracts.item_type("yellow_dot", "student", "profile_1.0").unwrap();
    assert_eq!(item_type.schema(), emitted);
    assert_eq!(item_type.validate(&json!({"name": "A", "phone": 7}))[0].path, "/item_state/phone");
    let (public, private) = item_type.split(json!({"name": "A", "phone": "7"}).as_object().unwrap());
    assert_eq!((Value::Object(public), Value::Object(private)), (json!({"name": "A"}), json!({"phone": "7"})));
}

#[test]
fn a_lifecycle_may_only_name_known_statuses() {
    let mut document = yellow_dot();
    document["actions"]["connect"]["lifecycle"] = json!({"terminal": ["rejected", "gone"], "transitions": [
        {"from": "created", "to": "accepted"}, {"from": "accepted", "to": "paused", "by": "any"}]});
    assert_eq!(
        problems(&document, &options("yellow_dot/student")),
        ["/actions/connect/lifecycle/terminal/1", "/actions/connect/lifecycle/transitions/1/to",]
    );
    // `created` is only a default here, so it need not be in the enum.
    document["actions"]["connect"]["lifecycle"] = json!({"terminal": ["done"]});
    document["actions"]["connect"]["interactions"][0]["event_schema"]["properties"]["status"]["enum"] = json!(["done"]);
    let (contracts, _) = load(&document, &options("yellow_dot/student"));
    assert_eq!(
        contracts.network("yellow_dot").unwrap().document()["actions"]["connect"]["lifecycle"]["initial"],
        "created"
    );
}

#[test]
fn serving_what_nobody_registered() {
    let mut here = options("yellow_dot/tutor,green_dot/shop");
    let (_, warnings) = load(&yellow_dot(), &here);
    assert_eq!(warnings.len(), 2, "{warnings:?}");
    here.production = true;
    let problems = Contracts::build(Documents::local(vec![yellow_dot()]), &here).unwrap_err();
    assert_eq!(problems.len(), 1);
    assert!(problems[0].message.contains("yellow_dot/tutor"));
}

#[test]
fn custom_schemas_are_ours_to_use_and_others_to_show() {
    let mut document = yellow_dot();
    let at = "/instances/0/custom_item_schema_urls/profile_1.0";
    document["instances"][0]["custom_item_schema_urls"] =
        json!({"profile_1.0": "https://s.example/own.json", "extra": "https://s.example/all.json#/extra"});
    document["instances"][1]["schema_url"] = json!("https://b.example.org/tutor.json");
    let here = options("yellow_dot/student");
    // Never had: the instance runs, but this type has to wait.
    let (contracts, warnings) = load(&document, &here);
    assert_eq!(warnings.len(), 3, "{warnings:?}");
    assert!(warnings.iter().any(|warning| warning.path == at));
    let missing = |item_type| contracts.item_type("yellow_dot", "student", item_type).unwrap_err();
    assert_eq!((missing("profile_1.0"), missing("extra")), (ItemTypeError::Unreachable, ItemTypeError::UnknownType));
    assert_eq!(contracts.shown_item_type("yellow_dot", "student", "extra").unwrap_err(), ItemTypeError::Unreachable);

    let mut documents = Documents::local(vec![document]);
    let secret = json!({"type": "object", "properties": {"x": {"$ref": "#/secret"}, "y": {"$ref": "all.json#/extra"}},
        "secret": {"private": true}});
    documents.named.insert("https://s.example/own.json".to_owned(), secret);
    documents.named.insert(
        "https://s.example/all.json".to_owned(),
        json!({"extra": {"$ref": "#/text"}, "text": {"type": "string"}}),
    );
    documents.named.insert("https://b.example.org/tutor.json".to_owned(), json!({"$ref": "#/nowhere", "title": "T"}));
    let (contracts, warnings) = Contracts::build(documents, &here).unwrap();
    assert_eq!(warnings.len(), 1, "{warnings:?}");
    assert_eq!(warnings[0].path, "https://b.example.org/tutor.json#/$ref");
    let own = contracts.item_type("yellow_dot", "student", "profile_1.0").unwrap();
    assert_eq!(own.schema_url(), "https://s.example/own.json");
    assert_eq!(own.schema()["properties"]["y"], json!({"type": "string"}));
    let (public, private) = own.split(json!({"x": 1, "y": "z"}).as_object().unwrap());
    assert_eq!((Value::Object(public), Value::Object(private)), (json!({"y": "z"}), json!({"x": 1})));
    let extra = contracts.shown_item_type("yellow_dot", "student", "extra").unwrap();
    assert_eq!((extra.schema_url(), extra.schema()), ("https://s.example/all.json#/extra", &json!({"type": "string"})));
    assert_eq!(contracts.item_type("yellow_dot", "student", "extra").unwrap_err(), ItemTypeError::UnknownType);
    // What clients see of the domain stays the domain's.
    let listed = contracts.entries(&EntryFilter {
        domain: Some("student"),
        item_type: Some("profile_1.0"),
        ..EntryFilter::default()
    });
    let kinds: Vec<_> = listed.iter().map(|entry| (entry.kind, entry.source, entry.instance_url)).collect();
    assert!(kinds.contains(&(EntryKind::DomainItemSchema, "inline", None)));
    assert!(kinds.contains(&(EntryKind::InstanceCustomItemSchema, "remote", Some("https://a.example.org"))));
    let urls: Vec<_> = contracts
        .entries(&EntryFilter::default())
        .into_iter()
        .filter(|entry| entry.kind == EntryKind::ItemSchemaUrl)
        .map(|entry| entry.schema_url.unwrap())
        .collect();
    assert_eq!(urls, ["https://s.example/all.json"]);
}

#[test]
fn a_custom_schema_at_our_own_url_is_the_domains() {
    let mut document = yellow_dot();
    let own = "https://a.example.org/api/v1/network/schema/yellow_dot/student/profile_1.0";
    document["source_url"] = json!("https://r.example/network.json");
    document["instances"][0]["custom_item_schema_urls"] = json!({"profile_1.0": own});
    document["domains"][0]["item_schemas"]["other"] = json!({"properties": {"p": {"$ref": own}}});
    let (contracts, warnings) = load(&document, &options("yellow_dot/student"));
    assert_eq!(warnings, []);
    let item_type = contracts.item_type("yellow_dot", "student", "profile_1.0").unwrap();
    assert_eq!((item_type.schema_url(), &item_type.schema()["required"]), (own, &json!(["name", "phone"])));
    let other = contracts.item_type("yellow_dot", "student", "other").unwrap();
    assert_eq!(other.schema()["properties"]["p"]["properties"]["phone"]["private"], true);
    document["domains"][0]["item_schemas"]["other"] = json!({"$ref": "https://a.example.org/else"});
    assert_eq!(
        problems(&document, &options("yellow_dot/student")),
        ["/domains/0/item_schemas/other/$ref", "/domains/0/item_schemas/other"]
    );
}

#[test]
fn extra_data_is_allowed_everywhere_on_demand() {
    let mut open = options("yellow_dot/student");
    open.allow_extra = true;
    let (contracts, _) = load(&yellow_dot(), &open);
    let item_type = contracts.item_type("yellow_dot", "student", "profile_1.0").unwrap();
    assert_eq!(item_type.validate(&json!({"name": "A", "phone": "1234567890", "more": 1})), []);
    assert_eq!(item_type.schema()["additionalProperties"], false);
    let interaction =
        contracts.interaction("connect", kind("student", "profile_1.0"), kind("tutor", "profile_1.0")).unwrap();
    assert_eq!(interaction.check_requirements(json!({"subject": "x", "more": 1}).as_object().unwrap()), []);
}

#[test]
fn names_that_storage_writes_alike_both_work() {
    let mut document = yellow_dot();
    let connect = document["actions"]["connect"].clone();
    document["actions"] = json!({"act_one": connect, "act-one": connect});
    let (contracts, _) = load(&document, &options("yellow_dot/student"));
    for action in ["act_one", "act-one"] {
        assert!(contracts.interaction(action, kind("student", "profile_1.0"), kind("tutor", "profile_1.0")).is_some());
    }
}

mod any_document {
    use proptest::prelude::*;

    use super::*;

    fn any_json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(json!(null)),
            Just(json!(true)),
            Just(json!(-1)),
            Just(json!("#/$defs/a")),
            Just(json!("#")),
            Just(json!("https://a.example.org")),
            Just(json!("created")),
            "[a-z/#~%]{0,6}".prop_map(|text| json!(text)),
        ];
        let keys = [
            "id",
            "name",
            "domains",
            "instances",
            "actions",
            "item_schemas",
            "default_item_schemas",
            "instance_url",
            "domain_id",
            "interactions",
            "requirement_schema",
            "event_schema",
            "lifecycle",
            "properties",
            "$ref",
            "$defs",
            "items",
            "allOf",
            "private",
            "status",
            "enum",
            "$id",
            "required",
            "transitions",
            "patternProperties",
            "a",
        ];
        leaf.prop_recursive(6, 80, 6, move |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..3).prop_map(Value::Array),
                prop::collection::hash_map(prop::sample::select(keys.to_vec()), inner, 0..6)
                    .prop_map(|named| json!(named)),
            ]
        })
    }

    proptest! {
        #[test]
        fn is_answered(document in any_json(), place in prop::sample::select(vec![
            "", "/domains/0/item_schemas/profile_1.0", "/actions", "/actions/connect/interactions/0/event_schema", "/instances", "/$defs",
        ])) {
            let mut whole = yellow_dot();
            whole["$defs"] = json!({});
            *whole.pointer_mut(place).unwrap() = document;
            if let Ok((contracts, _)) = Contracts::build(Documents::local(vec![whole]), &options("yellow_dot/student")) {
                for network in contracts.networks() {
                    // What is emitted can be loaded in its turn.
                    let again = Contracts::build(Documents::local(vec![network.document().clone()]), &options("yellow_dot/student"));
                    prop_assert!(again.is_ok(), "{again:?}");
                }
            }
        }

        /// Another process makes the same contract of what was stored, whatever the documents are.
        #[test]
        fn is_built_again_from_its_row(named in any_json(), place in prop::sample::select(vec![
            "/domains/0/item_schemas/profile_1.0", "/actions/connect/interactions/0/event_schema", "/$defs",
        ]), part in any_json()) {
            let mut whole = yellow_dot();
            whole["$defs"] = json!({});
            *whole.pointer_mut(place).unwrap() = part;
            whole["domains"][1]["item_schemas"]["other"] = json!({"properties": {"a": {"$ref": "https://s.example/x.json#/a"}}});
            whole["instances"][0]["custom_item_schema_urls"] = json!({"profile_1.0": "https://s.example/x.json"});
            let mut documents = Documents::local(vec![whole]);
            documents.networks[0].fetched_from = Some("https://r.example/network.json".to_owned());
            documents.named.insert("https://s.example/x.json".to_owned(), named);
            let here = options("yellow_dot/student");
            if let Ok((first, warnings)) = Contracts::build(documents, &here) {
                let row = serde_json::to_string(first.documents()).unwrap();
                let (again, repeated) = Contracts::build(serde_json::from_str(&row).unwrap(), &here).unwrap();
                let again = again.of_version(first.version(), first.loaded_at);
                let shown = |contracts: &Contracts| serde_json::to_string(&contracts.entries(&EntryFilter::default())).unwrap();
                prop_assert_eq!(shown(&first), shown(&again));
                prop_assert_eq!(warnings, repeated);
                let shown = |contracts: &Contracts| {
                    let found = contracts.shown_item_type("yellow_dot", "student", "profile_1.0");
                    found.map(|found| (found.schema_url().to_owned(), found.schema().clone()))
                };
                prop_assert_eq!(shown(&first), shown(&again));
            }
        }
    }
}
