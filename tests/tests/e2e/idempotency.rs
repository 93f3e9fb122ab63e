//! A key stands for one effect, however often and however many at once ask for it.

use dpg_tests::log::head;
use dpg_tests::network::{NETWORK, STUDENT, student_state, tutor_state};
use dpg_tests::pair::Scene;
use dpg_tests::{Answer, Contract, Node, Pair, Role, port};
use futures_util::future::join_all;
use serde_json::json;

/// Asserts that all are the first answer, and gives one back.
fn assert_one_answer(answers: Vec<Answer>, status: u16) -> Answer {
    let first = answers.into_iter().reduce(|first, other| {
        assert_eq!(other.status, status, "{other}");
        assert_eq!(other.body, first.body, "two answers to one key");
        first
    });
    first.expect("answers").expect(status)
}

#[tokio::test(flavor = "multi_thread")]
async fn twenty_creates_with_one_key_make_one_item() {
    let node = Node::both().await;
    let other = node.instance.start(Role::Api, port::free()).await;
    let asha = node.sign_up("asha").await;
    let before = head(&node.instance.database.client().await, NETWORK).await;
    let state = student_state("Asha", "hidden");
    let urls = [node.process.url(), other.url()];
    let calls = (0..20_usize)
        .map(|number| asha.at(&urls[number % 2]).create(STUDENT, &state).header("idempotency-key", "one").send());
    let answer = assert_one_answer(join_all(calls).await, 201);
    assert_eq!(answer.body["item_state"], state, "a replayed create shows its owner everything");

    let client = node.instance.database.client().await;
    assert_eq!(head(&client, NETWORK).await, before + 1);
    let page = asha.items(STUDENT, "").send().await.expect(200);
    assert_eq!(page.body["meta"]["total"], json!(1), "{page}");

    let reused = asha.create(STUDENT, &student_state("Other", "hidden")).header("idempotency-key", "one").send().await;
    reused.expect_error(422, "IDEMPOTENCY_KEY_REUSED");
    // The same JSON in another spelling is the same body.
    let spelled = format!(
        r#"{{ "item_type":"profile_1.0", "item_state":{state},"item_domain":"student",   "item_network":"{NETWORK}"}}"#
    );
    let again = asha.post("/api/v1/item/create").raw("application/json", spelled).header("idempotency-key", "one");
    assert_eq!(again.send().await.expect(201).body, answer.body);

    // A key belongs to its caller.
    let maya = node.sign_up("maya").await;
    let hers = maya.create(STUDENT, &state).header("idempotency-key", "one").send().await.expect(201);
    assert_ne!(hers.body["item_id"], answer.body["item_id"]);
    let kept = client.query("select to_jsonb(i)::text from idempotency i", &[]).await.expect("the records");
    assert!(kept.iter().all(|row| !row.get::<_, String>(0).contains("hidden")), "a record holds private values");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_stores_nothing_and_a_key_outlives_a_restart() {
    let mut node = Node::both().await;
    let asha = node.sign_up("asha").await;
    let refused = asha.create(STUDENT, &json!({"name": ""})).header("idempotency-key", "two").send().await;
    refused.expect_error(400, "INVALID_ITEM_STATE");
    let state = student_state("Asha", "hidden");
    let create = || asha.create(STUDENT, &state).header("idempotency-key", "two");
    let first = create().send().await.expect(201);
    node.process.kill();
    node.process.restart().await;
    assert_eq!(create().send().await.expect(201).body, first.body);

    let id = first.text_at("item_id");
    let _deleted = asha.delete(&format!("/api/v1/item/{id}")).send().await.expect(204);
    let replayed = create().send().await.expect(201);
    assert_eq!(replayed.body["item_id"], json!(id));
    assert!(!replayed.text.contains("hidden"), "private values of a deleted item: {replayed}");
}

#[tokio::test(flavor = "multi_thread")]
async fn twenty_local_performs_and_changes_with_one_key_happen_once() {
    let node = Node::both_with(Contract::new(), |instance| instance).await;
    let (asha, ravi) = (node.sign_up("asha").await, node.sign_up("ravi").await);
    let (source, target) = (asha.create_student("Asha").await, ravi.create_tutor("Ravi").await);
    let performs = (0..20).map(|_| asha.perform(&source, &target).header("idempotency-key", "act").send());
    let performed = assert_one_answer(join_all(performs).await, 201);
    let action = performed.text_at("action_id");
    let seen = ravi.get("/api/v1/action/fetch").send().await.expect(200);
    assert_eq!(seen.body["meta"]["total"], json!(1), "{seen}");

    let changes = (0..20).map(|_| ravi.update_status(&action, "accepted").header("idempotency-key", "act").send());
    let changed = assert_one_answer(join_all(changes).await, 200);
    assert_eq!(changed.body["update_count"], json!(1));
    assert_eq!(ravi.events(&action).await.len(), 2);
    let other = ravi.update_status(&action, "rejected").header("idempotency-key", "act").send().await;
    other.expect_error(422, "IDEMPOTENCY_KEY_REUSED");

    let other_target = ravi.create(dpg_tests::network::TUTOR, &tutor_state("Other")).send().await.expect(201).body;
    let other = asha.perform(&source, &other_target).header("idempotency-key", "act").send().await;
    other.expect_error(422, "IDEMPOTENCY_KEY_REUSED");
    node.verify().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn twenty_remote_performs_with_one_key_make_one_action() {
    let pair = Pair::start().await;
    let scene = Scene::of_pair(&pair).await;
    let performs =
        (0..20).map(|_| scene.asha.perform(&scene.source, &scene.target).header("idempotency-key", "far").send());
    let performed = assert_one_answer(join_all(performs).await, 201);
    let seen = scene.ravi.get("/api/v1/action/fetch").send().await.expect(200);
    assert_eq!(seen.body["meta"]["total"], json!(2), "the scene's action and this one: {seen}");
    dpg_tests::log::arrives(&scene.asha, &performed.text_at("action_id"), 0).await;
    pair.tutor.verify().await;
    pair.student.verify().await;
}
