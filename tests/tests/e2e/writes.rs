//! A write is seen by the very next read of its client, and the log is dense and in order while many write at once.

use dpg_tests::log::{Tail, assert_dense, head};
use dpg_tests::network::{NETWORK, STUDENT, student_state};
use dpg_tests::{Node, Role, port};
use futures_util::future::join_all;
use serde_json::json;

const KEYS: [&str; 11] = [
    "item_network",
    "item_domain",
    "item_type",
    "item_id",
    "item_instance_url",
    "item_schema_url",
    "item_state",
    "item_latitude",
    "item_longitude",
    "created_by",
    "created_at",
];

#[tokio::test(flavor = "multi_thread")]
async fn a_created_item_is_in_the_very_next_fetch_a_thousand_times() {
    let node = Node::both().await;
    let asha = node.sign_up("asha").await;
    for number in 1..=1000 {
        let state = student_state(&format!("Asha {number}"), "hidden");
        let created = asha.create(STUDENT, &state).send().await.expect(201);
        for key in KEYS.iter().chain(&["updated_at"]) {
            assert!(created.body.get(*key).is_some(), "no {key}: {created}");
        }
        assert_eq!(created.body["item_state"], state, "{created}");
        assert_eq!(created.body["created_by"], json!(asha.id));
        assert_eq!(created.header("etag"), Some("\"1\""));
        assert_eq!(created.header("dpg-projected"), Some("true"), "write {number}: {created}");
        assert_eq!(created.position(), number);

        let page = asha.items(STUDENT, "limit=3").send().await.expect(200);
        assert_eq!(page.body["meta"]["total"], json!(number), "write {number} is missing in the next read: {page}");
        let rows = page.body["items"].as_array().expect("items");
        assert!(rows.contains(&created.body), "write {number} is missing in the next read: {page}");
    }
    node.verify().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_update_and_a_delete_are_in_the_very_next_fetch() {
    let node = Node::both().await;
    let asha = node.sign_up("asha").await;
    for round in 0..100 {
        let item = asha.create_student("Asha").await;
        let id = item["item_id"].as_str().expect("an id");
        let path = format!("/api/v1/item/{id}");
        let state = student_state(&format!("Asha {round}"), "other");
        let patched = asha.patch(&path).json(&json!({"item_state": state})).send().await.expect(200);
        let read = asha.items(STUDENT, &format!("item_id={id}")).send().await.expect(200);
        assert_eq!(read.body["items"][0]["item_state"], state);
        assert_eq!(read.body["items"][0], patched.body["item"]);
        assert_eq!(read.header("etag"), Some("\"2\""));
        let deleted = asha.delete(&path).send().await.expect(204);
        assert!(deleted.text.is_empty() && deleted.header("dpg-position").is_some(), "{deleted}");
        let read = asha.items(STUDENT, &format!("item_id={id}")).send().await.expect(200);
        assert_eq!(read.body["meta"]["total"], json!(0), "{read}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tailing_reader_sees_every_position_once_and_in_order_under_64_writers() {
    let node = Node::both().await;
    let second_port = port::free();
    let second = node.instance.start(Role::Api, second_port).await;
    let asha = node.sign_up("asha").await;
    let tail = Tail::follow(node.instance.database.client().await, NETWORK);

    let writers = (0..64).map(|writer| {
        // Half of them write through another process, so that group commit alone can't put them in order.
        let client = asha.at(&if writer % 2 == 0 { node.process.url() } else { second.url() });
        tokio::spawn(async move {
            for number in 0..25 {
                let state = student_state(&format!("Writer {writer} item {number}"), "hidden");
                let created = client.create(STUDENT, &state).header("prefer", "respond-async").send().await;
                assert!(created.expect(201).position() > 0);
            }
        })
    });
    for writer in join_all(writers).await {
        writer.expect("a writer's task");
    }

    let seen = tail.finish().await;
    let expected: Vec<i64> = (1..=64 * 25).collect();
    assert_eq!(seen, expected, "the tail missed, repeated or swapped positions");
    let client = node.instance.database.client().await;
    assert_eq!(head(&client, NETWORK).await, 64 * 25);
    assert_dense(&client, NETWORK).await;
    node.verify().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_writer_of_many_reads_its_own_write() {
    let node = Node::both().await;
    let writers = (0..16).map(|writer| {
        let process = node.process.url();
        tokio::spawn(async move {
            let user = dpg_tests::Client::sign_up(&process, &format!("user-{writer}")).await;
            for number in 1..=20 {
                let created = user.create(STUDENT, &student_state("Asha", "hidden")).send().await.expect(201);
                let id = created.text_at("item_id");
                let page = user.items(STUDENT, "limit=100").send().await.expect(200);
                assert_eq!(page.body["meta"]["total"], json!(number), "{page}");
                let rows = page.body["items"].as_array().expect("items");
                assert!(rows.iter().any(|row| row["item_id"] == json!(id)), "{page}");
            }
        })
    });
    for writer in join_all(writers).await {
        writer.expect("a writer's task");
    }
}
