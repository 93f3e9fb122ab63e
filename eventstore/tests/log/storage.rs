use std::time::Duration;

use dpg_eventstore::append::AppendOptions;
use dpg_eventstore::{Database, SessionOptions, migrate, partitions};
use dpg_tests::TestDatabase;
use uuid::Uuid;

use crate::{NETWORK, TestLog, created};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn five_processes_migrate_at_once() {
    let home = TestDatabase::create().await;
    let starts: Vec<_> = (0..5)
        .map(|_| {
            let database = Database::open(&home.url(), &SessionOptions::new("dpg migrate", 2)).unwrap();
            tokio::spawn(async move {
                let applied = migrate::migrate(&database).await.unwrap();
                partitions::ensure_network(&database, NETWORK).await.unwrap();
                applied
            })
        })
        .collect();
    let mut applied = Vec::new();
    for start in starts {
        applied.push(start.await.unwrap());
    }
    applied.sort_unstable();
    assert_eq!(applied[..4], [0; 4]);
    assert!(applied[4] > 0);
}

#[tokio::test]
async fn a_database_from_the_future_is_refused() {
    let log = TestLog::new().await;
    let client = log.database.client().await.unwrap();
    client.execute("insert into schema_migrations (version, name) values (9999, 'future')", &[]).await.unwrap();
    let refusal = migrate::migrate(&log.database).await.unwrap_err();
    assert!(matches!(refusal, migrate::MigrateError::Newer { found: 9999, .. }), "{refusal}");
}

#[tokio::test]
async fn the_log_refuses_change() {
    let log = TestLog::new().await;
    log.won(created(Uuid::new_v4())).await;
    let client = log.database.client().await.unwrap();
    let range: String = client.query_one("select name from partition_names where key = '0'", &[]).await.unwrap().get(0);
    for sql in [
        "update event_log set version = 2".to_owned(),
        "delete from event_log".to_owned(),
        "truncate event_log".to_owned(),
        format!("update {range} set version = 2"),
        format!("delete from {range}"),
        format!("truncate {range}"),
    ] {
        let refusal = client.batch_execute(&sql).await.unwrap_err();
        assert_eq!(refusal.code().unwrap().code(), "DP002", "{sql}");
    }
}

#[tokio::test]
async fn appends_cross_ranges_that_were_made_ahead() {
    let log = TestLog::with(AppendOptions { range: 10, batch_commands: 7, ..AppendOptions::default() }).await;
    for _ in 0..55 {
        log.won(created(Uuid::new_v4())).await;
    }
    log.appender.drain().await;
    assert_eq!(log.count("select count(*) from event_log").await, 55);
    // Positions up to 55 lie in range 5; two more are ready.
    assert_eq!(log.count("select max(key::bigint) from partition_names where key ~ '^[0-9]+$'").await, 7);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_long_reader_and_a_partition_being_made_do_not_stall_appends() {
    let log = TestLog::new().await;
    log.won(created(Uuid::new_v4())).await;
    let reader = log.home.client().await;
    reader.batch_execute("begin isolation level repeatable read; select count(*) from event_log").await.unwrap();
    let elsewhere = TestDatabase::create().await;
    let foreign = elsewhere.client().await;
    foreign.batch_execute("begin; create temp table t (a int); insert into t values (1)").await.unwrap();

    let database = log.database.clone();
    let building = tokio::spawn(async move {
        for network in 0..5 {
            partitions::ensure_network(&database, &format!("network_{network}")).await.unwrap();
        }
    });
    // Both transactions stay open: were the appends to wait for either, they would never be done.
    let appends = async {
        for _ in 0..50 {
            log.won(created(Uuid::new_v4())).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), appends).await.expect("appends stalled");
    tokio::time::timeout(Duration::from_secs(30), building).await.expect("partitions stalled").unwrap();
    assert_eq!(log.count("select count(*) from event_log").await, 51);
}
