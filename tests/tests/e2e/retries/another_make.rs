//! A target of another make keeps no keys, so what may have arrived is never sent again: the first event that it mirrors
//! says what became of it (CONTRACT 1.9 rule 6).

use std::collections::BTreeSet;

use dpg_tests::network::CONNECT;
use dpg_tests::peer::Reply;
use dpg_tests::wait::check;
use dpg_tests::{Answer, eventually};
use futures_util::future::join_all;
use serde_json::json;
use uuid::Uuid;

use super::SOON;
use crate::trap_peers::Abroad;

const PERFORM: &str = "/api/v1/network/action/perform";

async fn silent(timeout: &str) -> Abroad {
    let abroad = Abroad::start(|instance| instance.set("PEER_TIMEOUT_MS", timeout)).await;
    abroad.peer.answer(|request| match request.line.contains(PERFORM) {
        true => Reply::never(),
        false => Reply::json(404, &json!({"error": "NOT_FOUND", "message": "no such route"})),
    });
    abroad
}

async fn perform(abroad: &Abroad, key: &str) -> Answer {
    abroad.asha.perform(&abroad.source, &abroad.target).header("idempotency-key", key).send().await
}

fn sent(abroad: &Abroad) -> usize {
    abroad.peer.received(PERFORM).len()
}

/// The peer has done it, and mirrors it.
async fn mirror(abroad: &Abroad) -> Uuid {
    let action = Uuid::new_v4();
    let _stored = abroad.store(&abroad.event(&action, 0, "created")).await.expect(201);
    dpg_tests::log::arrives(&abroad.asha, &action.to_string(), 0).await;
    action
}

#[tokio::test(flavor = "multi_thread")]
async fn what_may_have_arrived_is_not_sent_again_and_the_mirrored_event_answers() {
    let abroad = silent("1000").await;
    let earlier = mirror(&abroad).await;
    perform(&abroad, "once").await.expect_error(504, "TARGET_INSTANCE_TIMEOUT");
    for _ in 0..3 {
        perform(&abroad, "once").await.expect_error(504, "TARGET_INSTANCE_TIMEOUT");
    }
    assert_eq!(sent(&abroad), 1, "it was sent again to a peer that keeps no keys");

    // Another action, one between other items, and what another instance says of an item of that id, are not it.
    let mut other = abroad.event(&Uuid::new_v4(), 0, "created");
    other["target_item"]["item_id"] = json!(Uuid::new_v4());
    let mut elsewhere = abroad.event(&Uuid::new_v4(), 0, "created");
    elsewhere["origin_instance_domain"] = json!(abroad.other);
    elsewhere["target_item"]["item_instance_url"] = json!(abroad.other);
    for event in [other, elsewhere] {
        let _stored = abroad.store(&event).await.expect(201);
        dpg_tests::log::arrives(&abroad.asha, event["action_id"].as_str().expect("an id"), 0).await;
    }
    perform(&abroad, "once").await.expect_error(504, "TARGET_INSTANCE_TIMEOUT");
    let action = mirror(&abroad).await;
    let answer = perform(&abroad, "once").await.expect(201);
    assert_ne!(answer.body["action_id"], json!(earlier), "an action from before the attempt");
    assert_eq!(
        answer.body,
        json!({"action_id": action, "action_type": CONNECT, "action_status": "created", "update_count": 0,
               "source_item_id": abroad.source["item_id"], "target_item_id": abroad.target["item_id"]})
    );
    assert_eq!(perform(&abroad, "once").await.expect(201).body, answer.body);
    assert_eq!(sent(&abroad), 1);

    // What one key has taken is not another's.
    perform(&abroad, "twice").await.expect_error(504, "TARGET_INSTANCE_TIMEOUT");
    assert_eq!(sent(&abroad), 2);
    let second = mirror(&abroad).await;
    assert_eq!(perform(&abroad, "twice").await.expect(201).body["action_id"], json!(second));
    assert_eq!(perform(&abroad, "once").await.expect(201).body, answer.body);
    abroad.node.verify().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_keys_never_take_the_same_event() {
    let abroad = silent("1000").await;
    let keys: Vec<String> = (0..6).map(|number| format!("key-{number}")).collect();
    for answer in join_all(keys.iter().map(|key| perform(&abroad, key))).await {
        answer.expect_error(504, "TARGET_INSTANCE_TIMEOUT");
    }
    let made: BTreeSet<Uuid> = BTreeSet::from([mirror(&abroad).await, mirror(&abroad).await]);
    let calls = keys.iter().cycle().take(24).map(|key| perform(&abroad, key));
    let answers: Vec<(&String, Answer)> = keys.iter().cycle().zip(join_all(calls).await).collect();
    let taken: BTreeSet<(&String, String)> = answers
        .iter()
        .filter(|(_, answer)| answer.status == 201)
        .map(|(key, answer)| (*key, answer.text_at("action_id")))
        .collect();
    let actions: BTreeSet<Uuid> = taken.iter().map(|(_, action)| action.parse().expect("a uuid")).collect();
    assert_eq!((taken.len(), &actions), (2, &made), "two events are two keys' answers: {taken:?}");
    assert_eq!(sent(&abroad), keys.len());
}

/// The first call comes to nothing certain between a retry's look at its claim and the retry's own claim.
#[tokio::test(flavor = "multi_thread")]
async fn a_claim_that_ends_meanwhile_is_not_taken_over() {
    let abroad = silent("3000").await;
    let mut client = abroad.node.instance.database.client().await;
    let watching = abroad.node.instance.database.client().await;
    let waiting = async || {
        let query = "select count(*) from pg_locks where not granted and database =
                     (select oid from pg_database where datname = current_database())";
        eventually("the retry waits for the lock", SOON, || async {
            let waiting: i64 = watching.query_one(query, &[]).await.expect("the locks").get(0);
            check(waiting > 0, waiting)
        })
        .await;
    };
    let first = perform(&abroad, "once");
    let rest = async {
        eventually("the first call is on its way", SOON, || async { check(sent(&abroad) == 1, sent(&abroad)) }).await;
        // Records can be read, and nothing can be written down.
        let lock = client.transaction().await.expect("a transaction");
        lock.batch_execute("lock table idempotency in exclusive mode").await.expect("the lock");
        let second = perform(&abroad, "once");
        let release = async {
            waiting().await;
            // What the first call is about to write down itself.
            lock.batch_execute("update idempotency set state = 'unknown'").await.expect("the record");
            lock.commit().await.expect("the lock is released");
        };
        tokio::join!(second, release).0
    };
    let (first, second) = tokio::join!(first, rest);
    first.expect_error(504, "TARGET_INSTANCE_TIMEOUT");
    second.expect_error(504, "TARGET_INSTANCE_TIMEOUT");
    assert_eq!(sent(&abroad), 1, "it was sent again to a peer that keeps no keys");
}
