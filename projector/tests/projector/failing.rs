use dpg_eventstore::{Command, EventType};
use dpg_projector::{ProjectError, Projection, Step, Waited};
use dpg_tests::eventually;
use dpg_tests::log::SOON;
use dpg_tests::wait::check;
use serde_json::json;
use std::time::Duration;
use uuid::Uuid;

use crate::actions::Action;
use crate::{NETWORK, TestProjector, event, item_created, item_deleted, item_payload, item_updated};

/// Version 2 of an item whose latitude is no number.
fn poisoned(id: Uuid) -> Command {
    let mut payload = item_payload(id, "student", &json!({"n": 2}));
    payload["item_latitude"] = json!("north");
    Command::of(event(id, 2, EventType::ItemUpdated, &payload))
}

#[tokio::test]
async fn a_poisoned_event_holds_back_its_stream_alone() {
    let test = TestProjector::new().await;
    let bad = Uuid::now_v7();
    let mut others = vec![];
    test.won(item_created(bad, "student", &json!({"n": 1}))).await;
    test.catch_up(Projection::Items).await;
    for n in 0..20 {
        if n == 13 {
            test.won(poisoned(bad)).await;
        }
        others.push(Uuid::now_v7());
        test.won(item_created(others[n], "student", &json!({"n": n}))).await;
    }
    test.catch_up(Projection::Items).await;
    let last = test.won(item_updated(bad, 3, 1, &json!({"n": 3}))).await;
    assert_eq!(test.catch_up(Projection::Items).await, last);
    for other in others {
        assert!(test.item(other).await.is_some());
    }
    assert_eq!(test.item(bad).await.unwrap()["item_state"], json!({"n": 1}), "the last state that could be folded");
    let held = "select count(*) from quarantine where projection = 'items' and position = 15 and sqlstate like '22%'";
    assert_eq!(test.count(held).await, 1);
    assert_eq!(
        test.count("select quarantined::bigint from projection_checkpoints where projection = 'items'").await,
        1
    );
    let waited = test.readers.wait_for_stream(NETWORK, last, bad, &[Projection::Items], Duration::from_secs(1)).await;
    assert_eq!(waited, Waited::Quarantined);
    let report = dpg_projector::verify(&test.database).await.unwrap();
    assert_eq!((report.held.len(), report.differences.len()), (1, 0), "{report:#?}");
    assert!(!report.is_clean());

    // Its end is folded all the same, and then nothing is held back any more.
    test.won(item_deleted(bad, 4)).await;
    test.catch_up_all().await;
    assert_eq!(test.item(bad).await, None);
    assert_eq!(test.count("select count(*) from quarantine").await, 0);
    assert_eq!(
        test.count("select quarantined::bigint from projection_checkpoints where projection = 'items'").await,
        0
    );
    assert_eq!(test.count("select count from items_live.item_counts").await, 20);
    test.assert_clean().await;
}

#[tokio::test]
async fn a_key_that_no_table_can_have_is_poison_too() {
    let test = TestProjector::new().await;
    let mut payload = item_payload(Uuid::now_v7(), "student", &json!({}));
    for domain in [json!(null), json!(" "), json!("x".repeat(121))] {
        payload["item_domain"] = domain;
        test.won(Command::of(event(Uuid::now_v7(), 1, EventType::ItemCreated, &payload))).await;
    }
    test.won(item_created(Uuid::now_v7(), "student", &json!({}))).await;
    assert_eq!(test.catch_up(Projection::Items).await, 4);
    assert_eq!(test.count("select count(*) from quarantine").await, 3);
    assert_eq!(test.count("select count(*) from items_live.items").await, 1);
}

#[tokio::test]
async fn the_quarantine_does_not_show_values() {
    let test = TestProjector::new().await;
    let mut payload = item_payload(Uuid::now_v7(), "student", &json!({}));
    payload["created_by"] = json!(null);
    let mut created = event(Uuid::now_v7(), 1, EventType::ItemCreated, &payload);
    created.private = Some(serde_json::value::to_raw_value(&json!({"phone": "9876543210"})).unwrap());
    test.won(Command::of(created)).await;
    test.catch_up(Projection::Items).await;
    let error: String = test.value("select error from quarantine").await;
    assert!(error.contains("created_by") && !error.contains("9876543210"), "{error}");
}

#[tokio::test]
async fn what_is_not_the_events_fault_is_tried_again() {
    let test = TestProjector::new().await;
    let id = Uuid::now_v7();
    test.won(item_created(id, "student", &json!({}))).await;
    test.catch_up(Projection::Items).await;
    test.won(item_updated(id, 2, 1, &json!({"n": 2}))).await;
    test.run("alter table items_live.item_counts rename to away").await;
    assert!(matches!(test.projector.step(Projection::Items, NETWORK).await, Err(ProjectError::Sql(_))));
    assert_eq!(test.count("select count(*) from quarantine").await, 0);
    assert_eq!(test.count("select position from projection_checkpoints where projection = 'items'").await, 1);
    test.run("alter table items_live.away rename to item_counts").await;
    test.catch_up(Projection::Items).await;
    assert_eq!(test.item(id).await.unwrap()["item_state"], json!({"n": 2}));
}

#[tokio::test]
async fn a_row_that_cannot_be_read_is_an_error_that_is_tried_again() {
    let test = TestProjector::new().await;
    test.catch_up(Projection::Items).await;
    let last = test.won(item_created(Uuid::now_v7(), "student", &json!({}))).await;
    let recorded = |at: &str| {
        format!(
            "set session_replication_role = replica; update event_log set recorded_at = {at};
             set session_replication_role = default"
        )
    };
    // A time that Postgres has and Rust has not.
    test.run(&recorded("'infinity'")).await;
    let error = test.projector.step(Projection::Items, NETWORK).await.unwrap_err();
    assert!(matches!(error, ProjectError::Sql(_)), "{error:?}");
    test.run(&recorded("clock_timestamp()")).await;
    assert_eq!(test.catch_up(Projection::Items).await, last);
}

#[tokio::test]
async fn a_gap_in_the_log_is_an_alarm_and_never_passed() {
    let test = TestProjector::new().await;
    for _ in 0..3 {
        test.won(item_created(Uuid::now_v7(), "student", &json!({}))).await;
    }
    test.run(
        "set session_replication_role = replica; delete from event_log where position = 2;
         set session_replication_role = default",
    )
    .await;
    for projection in Projection::ALL {
        let error = test.projector.step(projection, NETWORK).await.unwrap_err();
        assert!(matches!(error, ProjectError::Gap { low: 0, high: 3, found: 2, .. }), "{error}");
    }
    assert!((test.metric("dpg_projection_gaps_total") - 3.0).abs() < 0.1);
    assert_eq!(test.count("select count(*) from projection_checkpoints where position > 0").await, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_projector_that_dies_in_the_middle_leaves_no_trace() {
    let test = TestProjector::new().await;
    test.won(item_created(Uuid::now_v7(), "student", &json!({}))).await;
    test.catch_up(Projection::Items).await;
    for _ in 0..50 {
        test.won(item_created(Uuid::now_v7(), "student", &json!({}))).await;
    }
    // Keeps the fold waiting at the counts, its rows already written.
    let mut client = test.database.client().await.unwrap();
    let holder = client.transaction().await.unwrap();
    holder.execute("update items_live.item_counts set count = count", &[]).await.unwrap();
    let projector = test.projector.clone();
    let folding = tokio::spawn(async move { projector.step(Projection::Items, NETWORK).await });
    let waiting = "select count(*) from pg_stat_activity
                    where application_name = 'dpg projector' and wait_event_type = 'Lock'
                      and datname = current_database()";
    eventually("the fold waits", SOON, || async { check(test.count(waiting).await > 0, "not yet") }).await;
    // Meanwhile the checkpoint is taken, and nobody waits for it.
    assert_eq!(test.projector.step(Projection::Items, NETWORK).await.unwrap(), Step::Busy);
    test.run(
        "select pg_terminate_backend(pid) from pg_stat_activity
          where application_name = 'dpg projector' and wait_event_type = 'Lock' and datname = current_database()",
    )
    .await;
    assert!(folding.await.unwrap().is_err());
    holder.rollback().await.unwrap();
    assert_eq!(test.count("select count(*) from items_live.items").await, 1);
    // The pool may still hand out the connection that was ended; a step that meets it fails, as it should.
    eventually("everything is folded", SOON, || async {
        for projection in Projection::ALL {
            while !matches!(test.projector.step(projection, NETWORK).await?, Step::Idle { .. }) {}
        }
        Ok::<_, ProjectError>(())
    })
    .await;
    assert_eq!(test.count("select count from items_live.item_counts").await, 51);
    test.assert_clean().await;
}

/// What fails may be the reading of a value, not a constraint: once held back it must not be read again.
#[tokio::test]
async fn a_value_that_cannot_be_read_holds_back_its_stream_alone() {
    let test = TestProjector::new().await;
    let (bad, good) =
        (Action::between(Uuid::now_v7(), Uuid::now_v7()), Action::between(Uuid::now_v7(), Uuid::now_v7()));
    let mut payload = bad.payload(("created", 0), ("created", 0));
    payload["event"]["occurred_at"] = json!("0000-01-01T00:00:00Z");
    payload["action"]["created_at"] = json!("0000-01-01T00:00:00Z");
    test.won(Command::of(event(bad.id, 1, EventType::ActionPerformed, &payload))).await;
    let payload = good.payload(("created", 0), ("created", 0));
    let last = test.won(Command::of(event(good.id, 1, EventType::ActionPerformed, &payload))).await;
    for projection in [Projection::ItemActions, Projection::ActionEvents] {
        assert_eq!(test.catch_up(projection).await, last);
    }
    assert!(test.action(good.id).await.is_some());
    assert_eq!(test.count("select count(*) from action_events_live.action_events").await, 1);
    assert_eq!(test.count("select count(*) from quarantine").await, 2);
    let mut payload = item_payload(Uuid::now_v7(), "student", &json!({}));
    payload["created_at"] = json!("0000-01-01T00:00:00Z");
    let item = Uuid::now_v7();
    test.won(Command::of(event(item, 1, EventType::ItemCreated, &payload))).await;
    let last = test.won(item_created(Uuid::now_v7(), "student", &json!({}))).await;
    assert_eq!(test.catch_up(Projection::Items).await, last);
    assert_eq!(test.count("select count(*) from items_live.items").await, 1);
}
