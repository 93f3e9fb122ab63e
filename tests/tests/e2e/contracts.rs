//! Where contracts come from (CONTRACT 7.9 and 8): other servers, what their documents name, the copies on disk for when
//! they are away; and what an instance refuses to start with.

use std::collections::BTreeMap;

use dpg_tests::network::{CONNECT, NETWORK, PROFILE, STUDENT, TUTOR};
use dpg_tests::peer::{Peer, Reply};
use dpg_tests::{Contract, Instance, Node, Role, TestDatabase, User, port};
use serde_json::{Value, json};
use tempfile::TempDir;

/// A server of documents by path; everything else is 404.
async fn registry(documents: BTreeMap<String, Value>) -> Peer {
    let peer = Peer::start(|_| Reply::html(404, "nothing here")).await;
    serve(&peer, documents);
    peer
}

fn serve(peer: &Peer, documents: BTreeMap<String, Value>) {
    peer.answer(move |request| {
        let path = request.line.split(' ').nth(1).unwrap_or_default();
        documents.get(path).map_or_else(|| Reply::html(404, "nothing here"), |document| Reply::json(200, document))
    });
}

fn switch_off(peer: &Peer) {
    peer.answer(|_| Reply::html(503, "closed"));
}

/// An instance of students whose contract the registry has, below its root.
async fn remote_instance(url: &str, registry: &Peer) -> Instance {
    let instance = Instance::new("remote", &[STUDENT], url, TestDatabase::create().await, &Contract::new());
    instance.set("NETWORK_CONFIG_SOURCE", "remote").set("SCHEMA_REGISTRY_URL", &registry.url())
}

const DOCUMENT: &str = "/open_lessons/network.json";

/// The tests' contract, with a part in another document and a schema of this instance's own.
fn contract(url: &str, registry: &str) -> BTreeMap<String, Value> {
    let network = Contract::new().instance(STUDENT, url).instance(TUTOR, "http://127.0.0.1:1").edit(|document| {
        document["domains"][0]["item_schemas"]["badge"] = json!({"type": "object", "properties": {
            "place": {"$ref": "parts.json#/$defs/place", "title": "Where"}, "parent": {"$ref": "parts.json#/$defs/node"}}});
        document["instances"][0]["custom_item_schema_urls"] = json!({PROFILE: format!("{registry}/own.json"), "secret": format!("{registry}/own.json#/$defs/secret")});
        document["instances"][1]["schema_url"] = json!(format!("{registry}/theirs.json"));
    });
    let parts = json!({"$defs": {"place": {"type": "string", "title": "Place"},
        "node": {"properties": {"parent": {"$ref": "#/$defs/node"}}}}});
    let own = json!({"type": "object", "required": ["nick"], "properties": {"nick": {"type": "string"},
        "pin": {"$ref": "#/$defs/secret"}}, "$defs": {"secret": {"type": "string", "private": true}}});
    let documents = [
        (DOCUMENT, network.document().clone()),
        ("/open_lessons/parts.json", parts),
        ("/own.json", own),
        ("/theirs.json", json!({"title": "Theirs"})),
    ];
    documents.into_iter().map(|(path, document)| (path.to_owned(), document)).collect()
}

async fn create(user: &User, item_type: &str, state: Value) -> dpg_tests::Answer {
    let body = json!({"item_network": NETWORK, "item_domain": STUDENT, "item_type": item_type, "item_state": state});
    user.post("/api/v1/item/create").json(&body).send().await
}

async fn schema(node: &Node, item_type: &str) -> dpg_tests::Answer {
    node.process.client().get(&format!("/api/v1/network/schema/{NETWORK}/{STUDENT}/{item_type}")).send().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_contract_from_elsewhere_is_served_and_outlives_its_source() {
    let port = port::free();
    let url = port::url(port);
    let registry = registry(BTreeMap::new()).await;
    serve(&registry, contract(&url, &registry.url()));
    let mut node = Node::of(remote_instance(&url, &registry).await, port).await;
    let asha = node.sign_up("asha").await;

    // Items are made by this instance's own schema, which keeps its private values private.
    let own = format!("{}/own.json", registry.url());
    let item = create(&asha, PROFILE, json!({"nick": "a", "pin": "1234"})).await.expect(201);
    assert_eq!(item.body["item_schema_url"], own.as_str());
    create(&asha, PROFILE, json!({"name": "Asha"})).await.expect_error(400, "INVALID_ITEM_STATE");
    let public = node.process.client();
    assert_eq!(schema(&node, PROFILE).await.expect(200).body["required"], json!(["nick"]));
    // A type that only this instance has is shown, and can't be created.
    assert_eq!(schema(&node, "secret").await.expect(200).body, json!({"type": "string", "private": true}));
    create(&asha, "secret", json!({})).await.expect_error(400, "INVALID_ITEM_STATE");
    let badge = schema(&node, "badge").await.expect(200).body;
    assert_eq!(badge["properties"]["place"], json!({"type": "string", "title": "Where"}));
    assert_eq!(badge["properties"]["parent"], json!({"$ref": "#/$defs/node"}));
    assert!(badge["$defs"]["node"].is_object(), "{badge}");

    let listed = public.get("/api/v1/network/schemas").send().await.expect(200).body;
    let listed = listed.as_array().expect("an array");
    let kinds = |kind: &str| listed.iter().filter(|entry| entry["kind"] == kind).collect::<Vec<_>>();
    assert!(listed.iter().all(|entry| entry["source"] == "remote"));
    let [config] = kinds("network_config")[..] else { panic!("{listed:?}") };
    assert_eq!(config["schema"]["x-theme"], json!({"colour": "teal"}));
    let source = format!("{}{DOCUMENT}", registry.url());
    assert_eq!((&config["schema_url"], &config["schema"]["source_url"]), (&json!(source), &json!(source)));
    let customs = kinds("instance_custom_item_schema");
    assert_eq!(customs.len(), 3);
    assert!(
        customs.iter().any(|entry| entry["instance_url"] == "http://127.0.0.1:1" && entry["item_type"] == "profile")
    );
    assert_eq!(kinds("item_schema_url").len(), 1, "a custom schema's document is listed once: {listed:?}");
    assert_eq!(kinds("domain_item_schema").len(), 3);
    let path = format!("/api/v1/network/schemas?schema_url={own}");
    let filtered = public.get(&path).send().await.expect(200).body;
    assert_eq!(filtered.as_array().map(Vec::len), Some(1), "{filtered}");

    // The next start finds nobody, and everything on disk.
    switch_off(&registry);
    let before: Vec<Value> = listed.iter().map(|entry| entry["schema"].clone()).collect();
    let status = node.process.terminate().await;
    assert!(status.success(), "{status}");
    node.process.restart().await;
    let listed = node.process.client().get("/api/v1/network/schemas").send().await.expect(200).body;
    let after: Vec<Value> = listed.as_array().expect("an array").iter().map(|entry| entry["schema"].clone()).collect();
    assert_eq!(before, after);
    let _item = create(&asha, PROFILE, json!({"nick": "b"})).await.expect(201);
    assert!(node.instance.logs().contains("the last good copy is used"));
    for request in registry.received("/") {
        assert!(request.line.starts_with("GET /"), "{}", request.line);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_custom_schema_that_was_never_seen_keeps_only_its_type_waiting() {
    let port = port::free();
    let url = port::url(port);
    let registry = registry(BTreeMap::new()).await;
    let mut documents = contract(&url, &registry.url());
    documents.remove("/own.json");
    serve(&registry, documents);
    let node = Node::of(remote_instance(&url, &registry).await, port).await;
    let asha = node.sign_up("asha").await;
    for item_type in [PROFILE, "secret"] {
        schema(&node, item_type).await.expect_error(502, "REMOTE_SCHEMA_FETCH_FAILED");
        create(&asha, item_type, json!({"nick": "a"})).await.expect_error(400, "INVALID_ITEM_STATE");
    }
    schema(&node, "nothing").await.expect_error(404, "ITEM_TYPE_NOT_FOUND");
    let _item = create(&asha, "badge", json!({"place": "Pune"})).await.expect(201);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_contract_with_mistakes_is_refused_with_all_of_them_named() {
    let registry = registry(BTreeMap::new()).await;
    let url = port::url(port::free());
    let mistaken = Contract::new().instance(STUDENT, &url).instance(TUTOR, "https://${HOST}").edit(|document| {
        document["instances"].as_array_mut().expect("instances").extend([
            json!({"domain_id": STUDENT, "instance_url": format!("{url}/"), "custom_item_schema_urls": {"t": "https://s.example/t.json"}}),
            json!({"domain_id": TUTOR, "instance_url": format!("{url}/tutors")}),
        ]);
        document["actions"][CONNECT]["interactions"][0]["to_items"] = json!(["profile_9"]);
        document["domains"][0]["item_schemas"]["bad"] = json!({"type": "strin"});
        document["domains"][0]["item_schemas"]["dead"] = json!({"$ref": "#/$defs/gone"});
        document["domains"][0]["item_schemas"]["away"] = json!({"$ref": "/away.json"});
        document["cross_network_origins"] = json!([{"id": "other", "schema_url": "http://127.0.0.1:1/other.json"}]);
    });
    serve(&registry, BTreeMap::from([(DOCUMENT.to_owned(), mistaken.document().clone())]));
    let instance = remote_instance(&url, &registry).await;
    for command in ["serve", "contract"] {
        let ended = instance.run(&[command]).await;
        let errors = String::from_utf8_lossy(&ended.stderr).into_owned();
        assert_eq!(ended.status.code(), Some(2), "{command}: {errors}");
        for part in [
            "#/instances/1/instance_url",
            "#/instances/2/custom_item_schema_urls",
            "#/instances/3/instance_url",
            "#/actions/connect/interactions/0/to_items/0",
            "#/domains/0/item_schemas/bad/type",
            "#/domains/0/item_schemas/dead/$ref",
            "#/domains/0/item_schemas/away/$ref",
            "http://127.0.0.1:1/other.json can't be had",
        ] {
            assert!(errors.contains(part), "{command}: {part} is not named in:\n{errors}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_source_that_was_never_reached_is_refused_and_one_that_was_is_not() {
    let port = port::free();
    let url = port::url(port);
    let registry = registry(BTreeMap::new()).await;
    let cache = TempDir::new().expect("a directory");
    let directory = cache.path().display().to_string();
    let instance = remote_instance(&url, &registry).await.set("SCHEMA_CACHE_DIR", &directory);
    let refused = instance.run(&["serve"]).await;
    let errors = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert_eq!(refused.status.code(), Some(2), "{errors}");
    assert!(errors.contains(&format!("{}{DOCUMENT} can't be had", registry.url())), "{errors}");

    serve(&registry, contract(&url, &registry.url()));
    // An operator's look at it leaves no copies.
    let looked = instance.run(&["contract"]).await;
    let output = String::from_utf8_lossy(&looked.stdout).into_owned();
    assert!(looked.status.success() && output.contains(NETWORK) && output.contains("badge"), "{output}");
    assert_eq!(std::fs::read_dir(cache.path()).expect("the directory").count(), 0);
    let mut process = instance.start(Role::Serve, port).await;
    let status = process.terminate().await;
    assert!(status.success(), "{status}");

    // A torn index hides nothing; without its document Postgres has the contract still, and another database has not.
    switch_off(&registry);
    let looked = instance.run(&["contract"]).await;
    let output = String::from_utf8_lossy(&looked.stdout).into_owned();
    assert!(looked.status.success() && output.contains(NETWORK), "{output}");
    assert!(output.contains(&format!("NOT CHECKED: {}{DOCUMENT}", registry.url())), "{output}");
    let own =
        std::fs::read_dir(cache.path()).expect("the directory").next().expect("one entry").expect("an entry").path();
    std::fs::write(own.join("index.json"), "{\"entries\":").expect("written");
    process.restart().await;
    process.kill();
    std::fs::remove_dir_all(own.join("schemas")).expect("removed");
    let elsewhere = remote_instance(&url, &registry).await.set("SCHEMA_CACHE_DIR", &directory);
    let refused = elsewhere.run(&["serve"]).await;
    assert_eq!(refused.status.code(), Some(2));
    process.restart().await;
}
