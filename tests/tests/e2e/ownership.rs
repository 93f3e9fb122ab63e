//! Nobody acts with what is not theirs, and nobody reads what its owner keeps private.

use dpg_tests::log::arrives;
use dpg_tests::network::{CONNECT, NETWORK, STUDENT, TUTOR, reference, student_state, tutor_state};
use dpg_tests::pair::Scene;
use dpg_tests::{Client, Contract, Node, Pair};
use serde_json::{Value, json};
use uuid::Uuid;

#[tokio::test(flavor = "multi_thread")]
async fn nobody_performs_with_anothers_item() {
    let pair = Pair::start().await;
    let scene = Scene::of_pair(&pair).await;
    let maya = pair.student.sign_up("maya").await;
    let refused = maya.perform(&scene.source, &scene.target).send().await;
    refused.expect_error(403, "SOURCE_ITEM_NOT_OWNED");
    let admin = pair.student.sign_up_admin().await;
    let refused = admin.perform(&scene.source, &scene.target).send().await;
    refused.expect_error(403, "SOURCE_ITEM_NOT_OWNED");
    let absent = json!({"item_network": NETWORK, "item_domain": STUDENT, "item_type": "profile_1.0",
                        "item_id": Uuid::nil(), "item_instance_url": scene.source["item_instance_url"]});
    maya.perform(&absent, &scene.target).send().await.expect_error(404, "SOURCE_ITEM_NOT_FOUND");
    pair.student.process.client().perform(&scene.source, &scene.target).send().await.expect_error(401, "UNAUTHORIZED");

    let seen = scene.ravi.get("/api/v1/action/fetch").send().await.expect(200);
    assert_eq!(seen.body["meta"]["total"], json!(1), "only the scene's own action: {seen}");
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_sets_a_status_that_is_not_theirs_to_set() {
    let node = Node::both().await;
    let scene = Scene::of(&node, &node).await;
    let maya = node.sign_up("maya").await;
    let admin = node.sign_up_admin().await;
    for stranger in [&maya, &admin] {
        stranger.update_status(&scene.action, "accepted").send().await.expect_error(403, "TARGET_ITEM_NOT_OWNED");
        stranger.update_status(&scene.action, "cancelled").send().await.expect_error(403, "TARGET_ITEM_NOT_OWNED");
    }
    // The source's owner may cancel before an answer, and nothing else.
    scene.asha.update_status(&scene.action, "accepted").send().await.expect_error(403, "TARGET_ITEM_NOT_OWNED");
    let _accepted = scene.ravi.update_status(&scene.action, "accepted").send().await.expect(200);
    scene.asha.update_status(&scene.action, "cancelled").send().await.expect_error(409, "INVALID_TRANSITION");
    let row = scene.asha.action(&scene.action).await.expect("the action");
    assert_eq!((&row["action_status"], &row["update_count"]), (&json!("accepted"), &json!(1)));
    let unknown = Uuid::new_v4().to_string();
    scene.ravi.update_status(&unknown, "accepted").send().await.expect_error(404, "ACTION_NOT_FOUND");
}

#[tokio::test(flavor = "multi_thread")]
async fn one_person_with_both_items_has_both_roles() {
    let node = Node::both().await;
    let asha = node.sign_up("asha").await;
    let (source, target) = (asha.create_student("Asha").await, asha.create_tutor("Asha").await);
    let action = asha.perform(&source, &target).send().await.expect(201).text_at("action_id");
    let row = asha.action(&action).await.expect("the action");
    assert_eq!(row["ownership_roles"], json!(["initiated", "received"]));
    let _accepted = asha.update_status(&action, "accepted").send().await.expect(200);
}

#[tokio::test(flavor = "multi_thread")]
async fn another_users_item_is_as_if_it_were_not_there() {
    let node = Node::both().await;
    let (asha, maya) = (node.sign_up("asha").await, node.sign_up("maya").await);
    let item = asha.create_student("Asha").await;
    let path = format!("/api/v1/item/{}", item["item_id"].as_str().expect("an id"));
    let change = json!({"item_state": student_state("Mine now", "hidden")});
    for answer in [
        maya.patch(&path).json(&change).send().await,
        maya.delete(&path).send().await,
        maya.get(&format!("{path}/history")).send().await,
    ] {
        answer.expect_error(404, "ITEM_NOT_FOUND_OR_FORBIDDEN");
    }
    let page = maya.items(STUDENT, "").send().await.expect(200);
    assert_eq!(page.body["meta"]["total"], json!(0));
    let read = asha.items(STUDENT, "").send().await.expect(200);
    assert_eq!(read.body["items"], json!([item]), "the item is as it was");

    // An admin may change it, may not delete it, and reads only what is its own.
    let admin = node.sign_up_admin().await;
    admin.delete(&path).send().await.expect_error(404, "ITEM_NOT_FOUND_OR_FORBIDDEN");
    let patched = admin.patch(&path).json(&change).send().await.expect(200);
    assert_eq!(patched.body["item"]["created_by"], json!(asha.id), "the owner stays");
    assert_eq!(admin.items(STUDENT, "").send().await.expect(200).body["meta"]["total"], json!(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn private_values_are_seen_by_their_owner_alone() {
    assert_private_values_stay_private("info").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn private_values_are_not_logged_however_much_is() {
    for pair in [assert_private_values_stay_private("debug").await, assert_private_values_stay_private("trace").await] {
        for node in [&pair.student, &pair.tutor] {
            assert!(node.instance.logs().contains("DEBUG"), "nothing is logged at this level: the test shows nothing");
        }
    }
}

async fn assert_private_values_stay_private(log_level: &str) -> Pair {
    let contract = Contract::new().with_action("wave").edit(|document| {
        let interaction = &mut document["actions"]["wave"]["interactions"][0];
        interaction["requirement_schema"] = json!({"type": "object", "properties": {"subject": {"type": "string"}}});
    });
    let environment = vec![("RUST_LOG", log_level.to_owned())];
    let pair = Pair::with(dpg_tests::pair::PairOptions { contract, environment, ..Default::default() }).await;
    let (asha, ravi, maya) =
        (pair.student.sign_up("asha").await, pair.tutor.sign_up("ravi").await, pair.student.sign_up("maya").await);
    let mark = format!("secret{}", Uuid::new_v4().simple());
    let state = student_state("Asha", &mark);
    let source = asha.create(STUDENT, &state).send().await.expect(201).body;
    let target = ravi.create(TUTOR, &tutor_state("Ravi")).send().await.expect(201).body;
    assert_eq!(source["item_state"], state, "the owner sees everything");

    // `phone` is named in the requirements of `connect`: it travels, and the client can't put another in its place.
    let lie = json!({"action_type": CONNECT, "source_item": reference(&source), "target_item": reference(&target),
                     "requirements_snapshot": {"subject": "math", "phone": "5555555555"}});
    let action = asha.post("/api/v1/action/perform").json(&lie).send().await.expect(201).text_at("action_id");
    let wave = asha.perform_as("wave", &source, &target).send().await.expect(201).text_at("action_id");
    let mirrored = arrives(&asha, &action, 0).await;
    arrives(&asha, &wave, 0).await;
    let received = ravi.action(&action).await.expect("the action");
    for row in [&received, &mirrored] {
        assert_eq!(row["requirements_snapshot"], json!({"subject": "math", "phone": "1234567890"}));
    }
    let waved = ravi.action(&wave).await.expect("the action");
    assert_eq!(waved["requirements_snapshot"], json!({"subject": "math"}), "what is not asked for does not travel");

    let answers = [
        ravi.get("/api/v1/action/fetch").send().await,
        ravi.get("/api/v1/event/fetch").send().await,
        maya.get("/api/v1/action/fetch").send().await,
        maya.get("/api/v1/event/fetch").send().await,
        maya.items(STUDENT, "").send().await,
        maya.get("/api/v1/network/schemas").send().await,
        maya.get("/metrics").send().await,
        ravi.get("/metrics").send().await,
        asha.get("/api/v1/action/fetch").send().await,
        asha.get("/api/v1/event/fetch").send().await,
    ];
    for answer in answers {
        assert_eq!(answer.status, 200, "{answer}");
        assert!(!answer.text.contains(&mark) && !answer.text.contains("item_private_state"), "{answer}");
    }
    assert_eq!(maya.get("/api/v1/action/fetch").send().await.body["meta"]["total"], json!(0));
    assert_eq!(maya.get("/api/v1/event/fetch").send().await.body["meta"]["total"], json!(0));
    assert_not_stored(&pair, &mark).await;
    assert_no_probe(&asha, &mark).await;
    // What is refused is not repeated either, by an answer or by a log line.
    let mut refused = state;
    refused["phone"] = json!(format!("{mark} no number"));
    asha.create(STUDENT, &refused).send().await.expect_error(400, "INVALID_ITEM_STATE");
    assert_not_stored(&pair, &mark).await;
    pair
}

/// Outside `item_private` and the owner's own row, no table and no log line holds a private value.
async fn assert_not_stored(pair: &Pair, mark: &str) {
    for node in [&pair.student, &pair.tutor] {
        let client = node.instance.database.client().await;
        for table in ["event_log", "idempotency", "item_actions_live.item_actions", "action_events_live.action_events"]
        {
            let query = format!("select count(*) from {table} t where to_jsonb(t)::text like '%' || $1::text || '%'");
            let found: i64 = client.query_one(&query, &[&mark]).await.expect("the table").get(0);
            assert_eq!(found, 0, "{table} holds a private value");
        }
        let query = "select count(*) from items_live.items where item_state::text like '%' || $1::text || '%'";
        let found: i64 = client.query_one(query, &[&mark]).await.expect("the items").get(0);
        assert_eq!(found, 0, "the public half holds a private value");
        assert!(!node.instance.logs().contains(mark), "a log line holds a private value");
    }
}

/// A filter on a private property matches nothing, the owner's own read included.
async fn assert_no_probe(owner: &Client, mark: &str) {
    for (key, value) in [("diary", format!("{mark}%20diary")), ("phone", "1234567890".to_owned())] {
        let page = owner.items(STUDENT, &format!("item_state[{key}]={value}")).send().await.expect(200);
        assert_eq!(page.body["meta"]["total"], json!(0), "{page}");
    }
    let page = owner.items(STUDENT, "item_state[city]=Pune").send().await.expect(200);
    assert_eq!(page.body["meta"]["total"], json!(1), "{page}");
}

#[tokio::test(flavor = "multi_thread")]
async fn private_values_go_with_their_item() {
    let node = Node::both().await;
    let asha = node.sign_up("asha").await;
    let mark = format!("secret{}", Uuid::new_v4().simple());
    let item = asha.create(STUDENT, &student_state("Asha", &mark)).send().await.expect(201).body;
    let path = format!("/api/v1/item/{}", item["item_id"].as_str().expect("an id"));
    let change = json!({"item_state": student_state("Asha", &mark)});
    let _patched = asha.patch(&path).json(&change).send().await.expect(200);
    let history = asha.get(&format!("{path}/history")).send().await.expect(200);
    assert_eq!(history.body["versions"][0]["item"], item, "while it lives, its owner sees every version whole");
    let _deleted = asha.delete(&path).send().await.expect(204);

    let history = asha.get(&format!("{path}/history")).send().await.expect(200);
    let types: Vec<&Value> =
        history.body["versions"].as_array().expect("versions").iter().map(|version| &version["event_type"]).collect();
    assert_eq!(types, ["item.created", "item.updated", "item.deleted"]);
    assert_eq!(history.body["versions"][2]["item"], json!(null));
    assert!(!history.text.contains(&mark), "{history}");
    let client = node.instance.database.client().await;
    let kept: i64 = client.query_one("select count(*) from item_private", &[]).await.expect("the halves").get(0);
    assert_eq!(kept, 0, "private halves outlive their item");
    let kept: i64 = client.query_one("select count(*) from items_live.items", &[]).await.expect("the items").get(0);
    assert_eq!(kept, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn created_by_is_for_admin_keys_alone() {
    let node = Node::both().await;
    let asha = node.sign_up("asha").await;
    let body = |created_by: Value| {
        json!({"item_network": NETWORK, "item_domain": STUDENT, "item_type": "profile_1.0",
               "item_state": {"name": "Asha"}, "created_by": created_by})
    };
    let create = |client: &Client, created_by: &str| client.post("/api/v1/item/create").json(&body(json!(created_by)));
    create(&asha, &asha.id).send().await.expect_error(403, "FORBIDDEN_CREATED_BY");
    let admin = node.sign_up_admin().await;
    create(&admin, &asha.id).send().await.expect_error(403, "FORBIDDEN_CREATED_BY");
    let key = admin.key(&admin.create_key().await);
    key.create(STUDENT, &json!({"name": "Asha"})).send().await.expect_error(400, "CREATED_BY_REQUIRED");
    create(&key, "nobody").send().await.expect_error(400, "INVALID_REFERENCE");
    let made = create(&key, &asha.id).send().await.expect(201);
    assert_eq!(made.body["created_by"], json!(asha.id));
    let page = asha.items(STUDENT, "").send().await.expect(200);
    assert_eq!(page.body["items"][0]["item_id"], made.body["item_id"]);
}
