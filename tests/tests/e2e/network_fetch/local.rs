//! `count_local` and `fetch_local`: what a peer is told, and who may ask.

use dpg_tests::network::{NETWORK, PROFILE, STUDENT, student_state};
use dpg_tests::{Answer, Contract, Instance, Node, TestDatabase, port};
use serde_json::{Value, json};

use super::{COUNT, FETCH, ids, is_whole, page, patient};

/// RFC 8032's first test key, and another.
const KEYS: [(&str, &str); 2] = [
    ("nWGxne/9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A=", "11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo="),
    ("TM0Imyj/ltqdtsNG7BFOD1uKMZ81q6Yk2oz27U+4pvs=", "PUAXw+hDiVqStwqnTRt+vJyYLM8uxJaMwM1V8Sr0Zgw="),
];

async fn ask(node: &Node, path: &str, more: &Value) -> Answer {
    let mut body = json!({"item_network": NETWORK, "item_domain": STUDENT});
    for (key, value) in more.as_object().expect("fields") {
        body[key] = value.clone();
    }
    node.process.client().post(path).json(&body).send().await
}

async fn count(node: &Node, filters: &Value) -> Value {
    ask(node, COUNT, filters).await.expect(200).body["count"].clone()
}

fn at(state: &Value, latitude: f64, longitude: f64) -> Value {
    json!({"item_network": NETWORK, "item_domain": STUDENT, "item_type": PROFILE, "item_state": state,
           "item_latitude": latitude, "item_longitude": longitude})
}

#[tokio::test(flavor = "multi_thread")]
async fn peers_are_told_everybodys_public_rows() {
    let node = Node::both_with(Contract::new(), patient).await;
    let (asha, bina) = (node.sign_up("asha").await, node.sign_up("bina").await);
    let (first, second) = (asha.create_student("Asha").await, bina.create_student("Bina").await);
    assert_eq!(count(&node, &json!({})).await, json!(2));
    let rows = ask(
        &node,
        FETCH,
        &json!({"limit": 20, "offset": 0, "includePrivateState": true,
                                         "created_by": asha.id, "cache_ttl_seconds": "x"}),
    )
    .await
    .expect(200);
    assert_eq!(ids(&rows), [second["item_id"].as_str().expect("an id"), first["item_id"].as_str().expect("an id")]);
    assert_eq!(rows.body["meta"], json!({"total": 2, "limit": 20, "offset": 0, "next_cursor": null}));
    assert!(!rows.text.contains("hidden") && !rows.text.contains("private"), "{rows}");
    let page_one = ask(&node, FETCH, &json!({"limit": 1, "offset": 0})).await.expect(200);
    let cursor = page_one.body["meta"]["next_cursor"].clone();
    let page_two = ask(&node, FETCH, &json!({"limit": 1, "cursor": cursor})).await.expect(200);
    assert_eq!(ids(&page_two), ids(&rows)[1..], "{page_two}");
    assert_eq!(page_two.body["meta"]["next_cursor"], Value::Null);
    let single = ask(&node, FETCH, &json!({"item_id": first["item_id"], "limit": 1, "offset": 0})).await.expect(200);
    assert_eq!(single.header("etag"), Some("\"1\""), "{single}");

    for (filters, expected) in [
        (json!({"item_state": {"city": "Pune"}}), 2),
        (json!({"item_state": {"years": "5"}}), 2),
        (json!({"item_state": {"years": 5}}), 2),
        (json!({"item_state": {"name": "Asha"}, "item_schema_url": null, "item_instance_url": null}), 1),
        (json!({"item_instance_url": node.instance.url.replace("127.0.0.1", "localhost")}), 2),
        (json!({"item_instance_url": "https://elsewhere.example"}), 0),
        (json!({"item_type": "unknown"}), 0),
        // Private properties match nothing, whatever their shape.
        (json!({"item_state": {"phone": "1234567890"}}), 0),
        (json!({"item_state": {"diary": "hidden diary"}}), 0),
        (json!({"item_state": {"contacts": [{"number": "hidden number"}]}}), 0),
        (json!({"item_private_state": {"phone": "1"}, "radius_meters": 1}), 2),
    ] {
        assert_eq!(count(&node, &filters).await, json!(expected), "{filters}");
    }
    let deleted = format!("/api/v1/item/{}", first["item_id"].as_str().expect("an id"));
    let _gone = asha.delete(&deleted).send().await.expect(204);
    assert_eq!(count(&node, &json!({})).await, json!(1), "the kept total follows");
}

#[tokio::test(flavor = "multi_thread")]
async fn faulty_questions_are_told() {
    let node = Node::both().await;
    for more in [
        json!({}),
        json!({"limit": 20}),
        json!({"offset": 0}),
        json!({"limit": "20", "offset": 0}),
        json!({"limit": 20, "offset": "0"}),
        json!({"limit": 20, "offset": 0, "cursor": "x"}),
        json!({"limit": 20, "cursor": "x"}),
        json!({"limit": 101, "offset": 0}),
        json!({"limit": 0, "offset": 0}),
        json!({"limit": 1, "offset": -1}),
        json!({"limit": 1, "offset": 0, "item_id": null}),
        json!({"limit": 1, "offset": 0, "item_latitude": "x", "item_longitude": 0, "radius_meters": 1}),
        json!({"limit": 1, "offset": 0, "item_latitude": 1, "radius_meters": 1}),
        json!({"limit": 1, "offset": 0, "item_domain": ""}),
    ] {
        ask(&node, FETCH, &more).await.expect_error(400, "VALIDATION_ERROR");
    }
    ask(&node, COUNT, &json!({"item_domain": "unknown"})).await.expect_error(403, "UNSERVED_DOMAIN_BINDING");
    let client = node.process.client();
    client.post(COUNT).raw("text/plain", "{}").send().await.expect_error(415, "UNSUPPORTED_MEDIA_TYPE");
    let body = json!({"item_network": NETWORK, "item_domain": STUDENT});
    let behind = client.post(COUNT).json(&body).header("dpg-min-position", "99").send().await;
    behind.expect_error(503, "PROJECTION_BEHIND");
    let path = format!("/api/v1/network/item/fetch?item_network={NETWORK}&item_domain={STUDENT}");
    client.get(&path).header("dpg-min-position", "99").send().await.expect_error(503, "PROJECTION_BEHIND");
    let faulty = client.post(COUNT).json(&body).header("dpg-min-position", "x").send().await;
    faulty.expect_error(400, "VALIDATION_ERROR");
    assert_eq!(client.get(COUNT).send().await.status, 405);
}

/// CONTRACT 12: nothing is lost at a pole or across the 180° meridian.
#[tokio::test(flavor = "multi_thread")]
async fn circles_reach_over_poles_and_the_date_line() {
    let node = Node::both_with(Contract::new(), patient).await;
    let asha = node.sign_up("asha").await;
    let state = student_state("Asha", "hidden");
    for (latitude, longitude) in
        [(89.9, 0.0), (89.9, 180.0), (-90.0, 17.0), (10.0, 179.9), (10.0, -179.9), (10.0, 180.0)]
    {
        let body = at(&state, latitude, longitude);
        let _made = asha.post("/api/v1/item/create").json(&body).send().await.expect(201);
    }
    let _nowhere = asha.create_student("Nowhere").await;
    for (latitude, longitude, radius, expected) in [
        (json!(89.9), json!(90), json!(20_000), 2),
        (json!("90"), json!("-17.5"), json!("12000"), 2),
        (json!(-89.99), json!(-100), json!(2000), 1),
        (json!(10), json!(-180), json!(12_000), 3),
        (json!(10), json!(179.95), json!(6000), 2),
        (json!(10), json!(0), json!(12_000), 0),
        (json!(0), json!(0), json!(30_000_000), 6),
    ] {
        let circle = json!({"item_latitude": latitude, "item_longitude": longitude, "radius_meters": radius});
        assert_eq!(count(&node, &circle).await, json!(expected), "{circle}");
        let query =
            format!("item_latitude={latitude}&item_longitude={longitude}&radius_meters={radius}").replace('"', "");
        let found = page(&node.process.client(), STUDENT, &query).await;
        assert_eq!(found.body["meta"]["total"], json!(expected), "{found}");
    }
}

/// Two instances with a key each, which they demand of one another or not.
async fn keyed(mode: &str) -> [Node; 2] {
    let ports = [port::free(), port::free()];
    let contract = ports.iter().zip(KEYS).fold(Contract::new(), |contract, (port, (_, public))| {
        contract.instance(STUDENT, &port::url(*port)).edit(|document| {
            let instances = document["instances"].as_array_mut().expect("instances");
            instances.last_mut().expect("one")["public_key"] = json!(public);
        })
    });
    let mut nodes = Vec::new();
    for (at, (port, (private, _))) in ports.into_iter().zip(KEYS).enumerate() {
        let database = TestDatabase::create().await;
        let instance = Instance::new(&format!("keyed{at}"), &[STUDENT], &port::url(port), database, &contract);
        nodes.push(Node::of(patient(instance).set("PEER_AUTH", mode).set("PEER_PRIVATE_KEY", private), port).await);
    }
    nodes.try_into().unwrap_or_else(|_| panic!("two nodes"))
}

#[tokio::test(flavor = "multi_thread")]
async fn whom_reads_are_answered() {
    let spoiled = |node: &Node| {
        let body = json!({"item_network": NETWORK, "item_domain": STUDENT});
        node.process.client().post(COUNT).json(&body).header("signature", "dpg=:AAAA:").header("signature-input", "x")
    };
    for (mode, unsigned, invalid) in [("enforced", 401, 401), ("permissive", 200, 401), ("off", 200, 200)] {
        let nodes = keyed(mode).await;
        let answer = ask(&nodes[0], COUNT, &json!({})).await;
        assert_eq!(answer.status, unsigned, "{mode}: {answer}");
        if unsigned == 401 {
            answer.expect_error(401, "PEER_SIGNATURE_REQUIRED");
        }
        let answer = spoiled(&nodes[0]).send().await;
        assert_eq!(answer.status, invalid, "{mode}: {answer}");
        if invalid == 401 {
            answer.expect_error(401, "PEER_SIGNATURE_INVALID");
        }
        // They sign what they ask of each other, so they understand each other in every mode.
        let bina = nodes[1].sign_up("bina").await;
        let item = bina.create_student("Bina").await;
        let whole = page(&nodes[0].process.client(), STUDENT, "").await;
        assert!(is_whole(&whole), "{mode}: {whole}");
        assert_eq!(ids(&whole), [item["item_id"].as_str().expect("an id")], "{mode}: {whole}");
    }
}
