use dpg_eventstore::{Appended, Command, EventType};
use dpg_projector::{Projection, verify};
use serde_json::json;
use uuid::Uuid;

use crate::actions::Action;
use crate::{TestProjector, item_created, item_deleted, item_updated};

async fn filled() -> (TestProjector, Uuid, Action) {
    let test = TestProjector::new().await;
    let (source, target) = (Uuid::now_v7(), Uuid::now_v7());
    test.won(item_created(source, "student", &json!({"n": 1}))).await;
    test.won(item_created(target, "tutor", &json!({"n": 1}))).await;
    let action = Action { source_here: false, ..Action::between(source, target) };
    let mut performed = action.performed();
    performed.events[0].destination = Some("https://b.example.org".to_owned());
    test.won(performed).await;
    let mut accepted = action.event(2, EventType::ActionStatusUpdated, ("accepted", 1), ("accepted", 1));
    accepted.destination = Some("https://b.example.org".to_owned());
    test.won(Command::of(accepted)).await;
    test.catch_up_all().await;
    test.assert_clean().await;
    (test, source, action)
}

async fn places(test: &TestProjector) -> Vec<String> {
    let report = verify(&test.database).await.unwrap();
    assert_eq!(test.count("select count(*) from pg_namespace where nspname like 'verify%'").await, 0);
    report.differences.iter().map(|difference| format!("{}: {}", difference.place, difference.what)).collect()
}

#[tokio::test]
async fn tampered_missing_and_invented_rows_are_found() {
    let (test, item, action) = filled().await;
    test.run(&format!("update items_live.items set item_state = '{{\"n\": 9}}' where item_id = '{item}'")).await;
    assert_eq!(places(&test).await, ["items: differs from the log"]);
    test.run(&format!("delete from items_live.items where item_id = '{item}'")).await;
    assert_eq!(places(&test).await, ["items: missing", "item_counts: says 1, there are 0"]);
    test.run(&format!(
        "update item_actions_live.item_actions set action_id = '{item}' where action_id = '{}'",
        action.id
    ))
    .await;
    let mut found = places(&test).await;
    found.sort();
    assert_eq!(found[..2], ["item_actions: missing", "item_actions: not in the log"]);
    test.run("delete from action_events_live.action_events where update_count = 1").await;
    assert!(places(&test).await.contains(&"action_events: missing".to_owned()));
}

#[tokio::test]
async fn a_log_that_is_not_whole_is_found() {
    let (test, item, _) = filled().await;
    test.run(&format!("update stream_heads set version = 7 where stream_id = '{item}'")).await;
    assert_eq!(places(&test).await, ["stream_heads: is not at the last event"]);
    test.run(&format!("update stream_heads set version = 1 where stream_id = '{item}'")).await;

    test.run("update outbox set seq = 5 where seq = 2").await;
    assert_eq!(places(&test).await, ["outbox: is number 2", "outbox_heads: says 2, the last is 5"]);
    test.run("update outbox set seq = 2 where seq = 5; update outbox set position = 1 where seq = 1").await;
    assert_eq!(
        places(&test).await,
        [
            "outbox: points at position 1, which is not owed to anybody",
            "outbox: is owed to a peer and is there 0 times"
        ]
    );
    test.run("update outbox set position = 3 where seq = 1").await;
    test.assert_clean().await;

    let unlocked = |sql: &str| format!("set session_replication_role = replica; {sql}; reset session_replication_role");
    test.run(&unlocked("update event_log set version = 2 where position = 1")).await;
    assert!(places(&test).await.iter().any(|found| found == "event_log: position 1 is version 2, expected 1"));
    test.run(&unlocked("update event_log set version = 1 where position = 1")).await;
    test.run(&unlocked("delete from event_log where position = 2")).await;
    assert!(places(&test).await.iter().any(|found| found == "event_log: follows 1"));
}

#[tokio::test]
async fn what_the_projector_has_not_reached_is_no_difference() {
    let (test, item, _) = filled().await;
    let mut updated = item_updated(item, 2, 1, &json!({"n": 2}));
    updated.events[0].private = Some(serde_json::value::to_raw_value(&json!({"phone": "1"})).unwrap());
    test.won(updated).await;
    test.catch_up(Projection::Items).await;
    // The private half is gone from the database at once; the projection is about to follow.
    test.won(item_deleted(item, 3)).await;
    test.won(item_created(Uuid::now_v7(), "student", &json!({}))).await;
    test.assert_clean().await;
    test.catch_up_all().await;
    test.assert_clean().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_verification_among_writes_finds_nothing() {
    let test = TestProjector::new().await;
    let stop = tokio_util::sync::CancellationToken::new();
    let running = tokio::spawn({
        let (projector, stop) = (test.projector.clone(), stop.clone());
        async move { projector.run(stop).await }
    });
    let appender = test.appender.clone();
    let writing = tokio::spawn(async move {
        for n in 0..400 {
            let id = Uuid::now_v7();
            let mut created = item_created(id, "student", &json!({"n": n}));
            created.events[0].private = Some(serde_json::value::to_raw_value(&json!({"phone": n})).unwrap());
            let Appended::Won { position, .. } = appender.append(crate::NETWORK, created).await.unwrap() else {
                panic!("a new item conflicts");
            };
            let mut commands = vec![Action::between(id, id).performed()];
            commands.push(item_updated(id, 2, position.unwrap(), &json!({"n": n + 1})));
            if n % 2 == 0 {
                commands.push(item_deleted(id, 3));
            }
            for command in commands {
                appender.append(crate::NETWORK, command).await.unwrap();
            }
        }
    });
    while !writing.is_finished() {
        test.assert_clean().await;
    }
    writing.await.unwrap();
    stop.cancel();
    running.await.unwrap();
    test.catch_up_all().await;
    test.assert_clean().await;
}
