use dpg_eventstore::{Command, EventType};
use dpg_projector::{Projection, Step};
use serde_json::json;
use serde_json::value::to_raw_value;
use uuid::Uuid;

use crate::{NETWORK, TestProjector, another_process, event, item_created, item_deleted, item_payload, item_updated};

#[tokio::test]
async fn an_item_is_created_updated_and_deleted() {
    let test = TestProjector::new().await;
    let (id, other) = (Uuid::now_v7(), Uuid::now_v7());
    test.won(item_created(id, "student", &json!({"name": "Asha"}))).await;
    test.won(item_created(other, "student", &json!({"name": "Ravi"}))).await;
    assert_eq!(
        test.projector.step(Projection::Items, NETWORK).await.unwrap(),
        Step::Folded { low: 0, high: 2, own: 2 }
    );
    let item = test.item(id).await.unwrap();
    assert_eq!(item["item_state"], json!({"name": "Asha"}));
    assert_eq!(item["item_private_state"], json!({}));
    assert_eq!((&item["version"], &item["position"], &item["created_position"]), (&json!(1), &json!(1), &json!(1)));
    assert_eq!(item["created_at"], item["updated_at"]);
    assert_eq!(test.count("select count from items_live.item_counts").await, 2);
    assert_eq!(test.count("select version from projection_versions").await, 2);

    test.won(item_updated(id, 2, 1, &json!({"name": "Asha", "city": "Pune"}))).await;
    test.catch_up(Projection::Items).await;
    let item = test.item(id).await.unwrap();
    assert_eq!(item["item_state"], json!({"name": "Asha", "city": "Pune"}));
    assert_eq!(item["created_at"], json!("2026-01-02T03:04:05.678+00:00"));
    assert_eq!((&item["version"], &item["position"], &item["created_position"]), (&json!(2), &json!(3), &json!(1)));
    assert_eq!(test.count("select count from items_live.item_counts").await, 2);

    test.won(item_deleted(id, 3)).await;
    test.catch_up_all().await;
    assert_eq!(test.item(id).await, None);
    assert_eq!(test.count("select count from items_live.item_counts").await, 1);
    assert_eq!(test.count("select version from projection_versions").await, 4);
    test.assert_clean().await;
}

#[tokio::test]
async fn what_happens_within_one_range_is_folded_at_once() {
    let test = TestProjector::new().await;
    let (short, long) = (Uuid::now_v7(), Uuid::now_v7());
    test.won(item_created(short, "student", &json!({}))).await;
    test.won(item_deleted(short, 2)).await;
    test.won(item_created(long, "student", &json!({"n": 1}))).await;
    test.won(item_updated(long, 2, 3, &json!({"n": 2}))).await;
    test.catch_up_all().await;
    assert_eq!(test.item(short).await, None);
    assert_eq!(test.item(long).await.unwrap()["item_state"], json!({"n": 2}));
    assert_eq!(test.count("select count from items_live.item_counts").await, 1);
    test.assert_clean().await;
}

#[tokio::test]
async fn private_halves_are_joined_from_beside_the_log() {
    let test = TestProjector::new().await;
    let id = Uuid::now_v7();
    let mut created = event(id, 1, EventType::ItemCreated, &item_payload(id, "student", &json!({"name": "Asha"})));
    created.private = Some(to_raw_value(&json!({"phone": "123"})).unwrap());
    test.won(Command::of(created)).await;
    test.catch_up(Projection::Items).await;
    assert_eq!(test.item(id).await.unwrap()["item_private_state"], json!({"phone": "123"}));
    test.assert_clean().await;

    // The next version has no private half any more.
    test.won(item_updated(id, 2, 1, &json!({"name": "Asha"}))).await;
    test.catch_up_all().await;
    assert_eq!(test.item(id).await.unwrap()["item_private_state"], json!({}));
    test.assert_clean().await;
}

#[tokio::test]
async fn an_older_version_does_not_replace_a_newer_row() {
    let test = TestProjector::new().await;
    let id = Uuid::now_v7();
    test.won(item_created(id, "student", &json!({"n": 1}))).await;
    test.won(item_updated(id, 2, 1, &json!({"n": 2}))).await;
    test.catch_up(Projection::Items).await;
    // As after a checkpoint that was restored from a backup.
    test.run("update projection_checkpoints set position = 0").await;
    test.run("create table before as table items_live.items").await;
    test.catch_up(Projection::Items).await;
    assert_eq!(test.item(id).await.unwrap()["item_state"], json!({"n": 2}));
    assert_eq!(test.count("select count(*) from (table before except table items_live.items) as changed").await, 0);
    assert_eq!(test.count("select count from items_live.item_counts").await, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_projectors_at_once_fold_everything_once() {
    let test = TestProjector::new().await;
    let (other, _, _) = another_process(&test.home, &test.wake);
    let stop = tokio_util::sync::CancellationToken::new();
    let running = [test.projector.clone(), other].map(|projector| {
        let stop = stop.clone();
        tokio::spawn(async move { projector.run(stop).await })
    });
    let mut last = 0;
    for n in 0..300 {
        last = test
            .won(item_created(Uuid::now_v7(), if n % 2 == 0 { "student" } else { "tutor" }, &json!({"n": n})))
            .await;
    }
    assert!(test.readers.wait(NETWORK, last, &Projection::ALL, std::time::Duration::from_secs(10)).await);
    stop.cancel();
    for task in running {
        task.await.unwrap();
    }
    assert_eq!(test.count("select count(*) from items_live.items").await, 300);
    assert_eq!(test.count("select sum(count)::bigint from items_live.item_counts").await, 300);
    test.assert_clean().await;
}
