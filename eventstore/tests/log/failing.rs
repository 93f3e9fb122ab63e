use dpg_eventstore::append::AppendOptions;
use dpg_eventstore::{AppendError, Appended, Command, read};
use dpg_tests::eventually;
use dpg_tests::log::SOON;
use dpg_tests::wait::check;
use serde_json::value::RawValue;
use uuid::Uuid;

use crate::{NETWORK, TestLog, another_process, created};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_bad_payload_in_a_batch_of_64_costs_one_client() {
    let log = TestLog::new().await;
    log.won(created(Uuid::new_v4())).await;
    let blocker = hold_the_head(&log).await;
    let calls: Vec<_> = (0..64)
        .map(|call| {
            let appender = log.appender.clone();
            let mut command = created(Uuid::new_v4());
            if call == 31 {
                // Postgres has no NUL in its texts.
                command.events[0].payload = RawValue::from_string(r#"{"name":"a\u0000b"}"#.to_owned()).unwrap();
            }
            tokio::spawn(async move { appender.append(NETWORK, command).await })
        })
        .collect();
    drop(blocker);
    let mut refused = 0;
    for call in calls {
        match call.await.unwrap() {
            Ok(Appended::Won { .. }) => {}
            Err(AppendError::Rejected(_)) => refused += 1,
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(refused, 1);
    assert_eq!(log.count("select count(*) from event_log").await, 64);
    assert_eq!(log.count("select max(position) from event_log").await, 64);
}

/// Holds the head's lock from a connection of its own until it is dropped.
async fn hold_the_head(log: &TestLog) -> tokio_postgres::Client {
    let client = log.home.client().await;
    client.batch_execute("begin; select 1 from log_head for update").await.unwrap();
    client
}

async fn wait_until(log: &TestLog, sql: &str) {
    eventually(sql, SOON, || async { check(log.count(sql).await > 0, "none yet") }).await;
}

const APPEND_WAITS: &str = "select count(*) from pg_stat_activity
    where datname = current_database() and query like '%from append(%' and wait_event_type = 'Lock'";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_that_dies_during_the_call_is_settled_by_asking_the_log() {
    let log = TestLog::new().await;
    log.won(created(Uuid::new_v4())).await;
    let stream = Uuid::new_v4();
    let blocker = hold_the_head(&log).await;
    let call = tokio::spawn({
        let appender = log.appender.clone();
        async move { appender.append(NETWORK, created(stream)).await }
    });
    wait_until(&log, APPEND_WAITS).await;
    let ended = "select count(pg_terminate_backend(pid)) from pg_stat_activity
        where datname = current_database() and query like '%from append(%' and wait_event_type = 'Lock'";
    assert_eq!(log.count(ended).await, 1);
    drop(blocker);
    // Whatever the answer: it is what the log says.
    let answer = call.await.unwrap();
    let written = read::load(&log.database, stream).await.unwrap().is_some();
    match answer {
        Ok(Appended::Won { .. }) => assert!(written),
        Err(AppendError::Unavailable) => assert!(!written),
        other => panic!("{other:?}"),
    }
    log.won(created(Uuid::new_v4())).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_queue_refuses_at_once_and_loses_nothing() {
    let log = TestLog::new().await;
    log.won(created(Uuid::new_v4())).await;
    let small = another_process(&log.home, AppendOptions { queue: 4, batch_commands: 1, ..AppendOptions::default() });
    let blocker = hold_the_head(&log).await;
    let first = tokio::spawn({
        let small = small.clone();
        async move { small.append(NETWORK, created(Uuid::new_v4())).await }
    });
    wait_until(&log, APPEND_WAITS).await;
    let calls: Vec<_> = (0..10)
        .map(|_| {
            let small = small.clone();
            tokio::spawn(async move { small.append(NETWORK, created(Uuid::new_v4())).await })
        })
        .collect();
    // Six of the ten find the queue full and are refused while the head is still held.
    eventually("six are refused", SOON, || async {
        let finished = calls.iter().filter(|call| call.is_finished()).count();
        check(finished >= 6, finished)
    })
    .await;
    drop(blocker);
    let (mut written, mut refused) = (1, 0);
    first.await.unwrap().unwrap();
    for call in calls {
        match call.await.unwrap() {
            Ok(_) => written += 1,
            Err(AppendError::QueueFull) => refused += 1,
            other => panic!("{other:?}"),
        }
    }
    assert_eq!((written, refused), (5, 6));
    assert_eq!(log.count("select count(*) from event_log").await, 1 + written);
}

#[tokio::test]
async fn draining_answers_what_was_queued_and_takes_no_more() {
    let log = TestLog::new().await;
    let calls: Vec<_> = (0..50)
        .map(|_| {
            let appender = log.appender.clone();
            async move { appender.append(NETWORK, created(Uuid::new_v4())).await }
        })
        .collect();
    let calls = tokio::spawn(futures_util::future::join_all(calls));
    wait_until(&log, "select count(*) from log_head").await;
    log.appender.drain().await;
    let answers = calls.await.unwrap();
    assert!(answers.iter().all(|answer| matches!(answer, Ok(Appended::Won { .. }))));
    let late = log.appender.append(NETWORK, created(Uuid::new_v4())).await;
    assert!(matches!(late, Err(AppendError::Stopped)));
    assert_eq!(log.count("select count(*) from event_log").await, 50);
}

#[tokio::test]
async fn a_command_without_effect_is_no_event() {
    let log = TestLog::new().await;
    let nothing = log.appender.append(NETWORK, Command::default()).await.unwrap();
    assert!(matches!(nothing, Appended::Won { position: None, .. }));
    assert_eq!(log.count("select position from log_head").await, 0);
}
