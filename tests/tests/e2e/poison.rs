//! An event that can't be folded, or can't even be stored, costs its own stream or its own client, and nobody else.

use std::sync::atomic::{AtomicBool, Ordering};

use dpg_eventstore::{
    AppendError, AppendOptions, Appended, Appender, Command, Database, EventType, Metadata, NewEvent, SessionOptions,
    Wake, metrics::Metrics, migrate, partitions,
};
use dpg_tests::log::{SOON, head, projected};
use dpg_tests::network::{NETWORK, PROFILE, STUDENT, TUTOR, student_state, tutor_state};
use dpg_tests::wait::check;
use dpg_tests::{Node, TestDatabase, eventually};
use futures_util::future::join_all;
use serde_json::value::{RawValue, to_raw_value};
use serde_json::{Value, json};
use uuid::Uuid;

fn appender(database: &TestDatabase) -> (Database, Appender) {
    let opened = Database::open(&database.url(), &SessionOptions::new("dpg tests", 4)).expect("a database URL");
    let metrics = Metrics::register(&prometheus::Registry::new()).expect("a registry of its own");
    let appender = Appender::new(opened.clone(), Wake::default(), AppendOptions::default(), metrics);
    (opened, appender)
}

fn event(stream_id: Uuid, version: i32, event_type: EventType, payload: Box<RawValue>) -> Command {
    let (event_id, metadata) = (Uuid::now_v7(), Metadata::default());
    Command::of(NewEvent {
        stream_id,
        version,
        event_id,
        event_type,
        payload,
        metadata,
        private: None,
        destination: None,
    })
}

/// The payload of an item event whose latitude is no number.
fn poison(id: Uuid, owner: &str) -> Box<RawValue> {
    let payload = json!({
        "item_network": NETWORK, "item_domain": TUTOR, "item_type": PROFILE, "item_id": id,
        "item_instance_url": "http://127.0.0.1:1", "item_schema_url": "http://127.0.0.1:1/s",
        "item_state": {"name": "poison", "subject": "none"}, "item_latitude": "north", "item_longitude": "west",
        "created_by": owner
    });
    to_raw_value(&payload).expect("JSON")
}

async fn quarantined(node: &Node) -> Vec<(String, Uuid)> {
    let client = node.instance.database.client().await;
    let rows = client.query("select projection, stream_id from quarantine", &[]).await.expect("the quarantine");
    rows.iter().map(|row| (row.get(0), row.get(1))).collect()
}

/// The sum of all metrics whose name speaks of quarantine.
async fn quarantine_metric(node: &Node) -> f64 {
    let answer = node.process.client().get("/metrics").send().await.expect(200);
    let lines = answer.text.lines().filter(|line| !line.starts_with('#') && line.contains("quarantine"));
    lines.filter_map(|line| line.rsplit_once(' ')?.1.parse::<f64>().ok()).sum()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_that_cannot_be_folded_holds_back_its_stream_alone() {
    let node = Node::both().await;
    let ravi = node.sign_up("ravi").await;
    let good = ravi.create_tutor("Ravi").await;
    let spoiled: Uuid = good["item_id"].as_str().and_then(|id| id.parse().ok()).expect("a uuid");
    let fresh = Uuid::now_v7();
    assert!(quarantine_metric(&node).await.abs() < f64::EPSILON);

    let (_, appender) = appender(&node.instance.database);
    let (appended, fresh_appended, around) = tokio::join!(
        appender.append(NETWORK, event(spoiled, 2, EventType::ItemUpdated, poison(spoiled, &ravi.id))),
        appender.append(NETWORK, event(fresh, 1, EventType::ItemCreated, poison(fresh, &ravi.id))),
        join_all((0..50).map(|_| ravi.create(TUTOR, &tutor_state("Around")).send())),
    );
    assert!(matches!((appended, fresh_appended), (Ok(Appended::Won { .. }), Ok(Appended::Won { .. }))));
    assert!(around.iter().all(|answer| answer.status == 201), "{around:?}");

    let expected = |mut found: Vec<(String, Uuid)>| {
        found.sort();
        let mut streams: Vec<(String, Uuid)> = [spoiled, fresh].map(|id| ("items".to_owned(), id)).to_vec();
        streams.sort();
        check(found == streams, format!("{found:?}"))
    };
    eventually("both streams are quarantined, no other is", SOON, || async { expected(quarantined(&node).await) })
        .await;
    projected(&node.instance.database.client().await).await;
    expected(quarantined(&node).await).expect("nothing else is quarantined");
    eventually("the metric shows it", SOON, || async {
        let shown = quarantine_metric(&node).await;
        check(shown >= 2.0, shown)
    })
    .await;

    // All others go on, and the spoiled one shows its last good version.
    let created = ravi.create(TUTOR, &tutor_state("After")).send().await.expect(201);
    assert_eq!(created.header("dpg-projected"), Some("true"), "{created}");
    let page = ravi.items(TUTOR, "limit=1").send().await.expect(200);
    assert_eq!(page.body["meta"]["total"], json!(52), "{page}");
    let read = ravi.items(TUTOR, &format!("item_id={spoiled}")).send().await.expect(200);
    assert_eq!(read.body["items"][0]["item_state"], good["item_state"]);

    // A deletion is folded all the same.
    let payload = json!({"item_network": NETWORK, "item_domain": TUTOR, "item_type": PROFILE, "item_id": spoiled,
                         "item_instance_url": good["item_instance_url"], "created_by": ravi.id});
    let payload = to_raw_value(&payload).expect("JSON");
    let deleted = appender.append(NETWORK, event(spoiled, 3, EventType::ItemDeleted, payload)).await;
    assert!(matches!(deleted, Ok(Appended::Won { .. })), "{deleted:?}");
    eventually("the deleted item goes", SOON, || async {
        let read = ravi.items(TUTOR, &format!("item_id={spoiled}")).send().await;
        check(read.body["meta"]["total"] == json!(0), read)
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_quarantines_nothing() {
    let node = Node::both().await;
    let ravi = node.sign_up("ravi").await;
    let client = node.instance.database.client().await;
    // Sequences move outside transactions, so they count attempts that are rolled back.
    client
        .batch_execute(
            "create sequence fold_attempts;
             create function disk_full() returns trigger language plpgsql as $$ begin
                 perform nextval('fold_attempts');
                 raise exception 'could not extend file: No space left on device' using errcode = '53100';
             end $$;
             create trigger disk_full before insert or update on items_live.items
                 for each row execute function disk_full();",
        )
        .await
        .expect("a fault");
    let creates = (0..20).map(|_| ravi.create(TUTOR, &tutor_state("Ravi")).header("prefer", "respond-async").send());
    for answer in join_all(creates).await {
        assert_eq!(answer.status, 201, "{answer}");
        assert_eq!(answer.header("dpg-projected"), Some("false"), "{answer}");
    }
    eventually("several tries", SOON, || async {
        let tried: i64 = client.query_one("select last_value from fold_attempts", &[]).await.expect("it").get(0);
        check(tried >= 3, tried)
    })
    .await;
    assert_eq!(quarantined(&node).await, []);
    client.batch_execute("drop trigger disk_full on items_live.items").await.expect("the fault goes");
    projected(&client).await;
    assert_eq!(quarantined(&node).await, []);
    let page = ravi.items(TUTOR, "limit=1").send().await.expect(200);
    assert_eq!(page.body["meta"]["total"], json!(20), "{page}");
    node.verify().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn lost_connections_quarantine_nothing() {
    let node = Node::both().await;
    let ravi = node.sign_up("ravi").await;
    let client = node.instance.database.client().await;
    let mut acknowledged: Vec<Value> = Vec::new();
    for _ in 0..10 {
        // Before the first of them is sent: all may be written by the time that anybody looks.
        let before = head(&client, NETWORK).await;
        let answered = AtomicBool::new(false);
        let creates = async {
            let creates =
                (0..20).map(|_| ravi.create(TUTOR, &tutor_state("Ravi")).header("prefer", "respond-async").send());
            let answers = join_all(creates).await;
            answered.store(true, Ordering::SeqCst);
            answers
        };
        let cut = async {
            eventually("a write of this round, or its end", SOON, || async {
                let now = head(&client, NETWORK).await;
                check(now > before || answered.load(Ordering::SeqCst), now)
            })
            .await;
            let query = "select pg_terminate_backend(pid) from pg_stat_activity
                          where datname = current_database() and pid <> pg_backend_pid()";
            client.execute(query, &[]).await.expect("sessions end");
        };
        let (answers, ()) = tokio::join!(creates, cut);
        for answer in answers {
            match answer.status {
                201 => acknowledged.push(answer.body["item_id"].clone()),
                503 => answer.expect_error(503, "SERVICE_UNAVAILABLE"),
                _ => panic!("{answer}"),
            }
        }
        eventually("it writes again", SOON, || async {
            let created = ravi.create(TUTOR, &tutor_state("Back")).send().await;
            check(created.status == 201, created)
        })
        .await;
    }
    projected(&client).await;
    assert_eq!(quarantined(&node).await, []);
    for id in acknowledged {
        let id: Uuid = id.as_str().and_then(|id| id.parse().ok()).expect("a uuid");
        let query = "select count(*) from items_live.items where item_id = $1";
        let found: i64 = client.query_one(query, &[&id]).await.expect("the items").get(0);
        assert_eq!(found, 1, "an acknowledged item is missing");
    }
    node.verify().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_bad_payload_in_a_batch_of_64_costs_one_client_an_error() {
    let database = TestDatabase::create().await;
    let (opened, appender) = appender(&database);
    migrate::migrate(&opened).await.expect("the schema");
    partitions::ensure_network(&opened, NETWORK).await.expect("partitions");
    let mut holder = database.client().await;
    let holding = holder.transaction().await.expect("a transaction");
    holding.execute("select * from log_head for update", &[]).await.expect("the head");

    let payload = |number: usize| {
        // The bad one is JSON, but text that jsonb can't hold.
        let text = if number == 31 { r#"{"text":"\u0000"}"#.to_owned() } else { format!(r#"{{"text":"{number}"}}"#) };
        RawValue::from_string(text).expect("JSON")
    };
    let send = |number: usize| {
        let (appender, payload) = (appender.clone(), payload(number));
        tokio::spawn(async move {
            appender.append(NETWORK, event(Uuid::now_v7(), 1, EventType::ItemCreated, payload)).await
        })
    };
    // The first waits for the head in the database, so that the next 64 queue up and go in one call.
    let first = send(1000);
    let watcher = database.client().await;
    eventually("the first append waits", SOON, || async {
        let query =
            "select count(*) from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'";
        let waiting: i64 = watcher.query_one(query, &[]).await.expect("the activity").get(0);
        check(waiting > 0, "nobody waits")
    })
    .await;
    let batch: Vec<_> = (0..64).map(send).collect();
    assert!(!batch.iter().any(|task| task.is_finished()), "nothing can be appended while the head is held");
    holding.rollback().await.expect("the head is let go");

    assert!(matches!(first.await.expect("a task"), Ok(Appended::Won { .. })));
    for (number, task) in batch.into_iter().enumerate() {
        let result = task.await.expect("a task");
        match number {
            31 => assert!(matches!(result, Err(AppendError::Rejected(_))), "{result:?}"),
            _ => assert!(matches!(result, Ok(Appended::Won { .. })), "command {number}: {result:?}"),
        }
    }
    let client = database.client().await;
    assert_eq!(head(&client, NETWORK).await, 64);
    dpg_tests::log::assert_dense(&client, NETWORK).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_may_change_the_log() {
    let node = Node::both().await;
    let asha = node.sign_up("asha").await;
    let _created = asha.create(STUDENT, &student_state("Asha", "hidden")).send().await.expect(201);
    let client = node.instance.database.client().await;
    for statement in ["update event_log set version = 2", "delete from event_log", "truncate event_log"] {
        let error = client.batch_execute(statement).await.expect_err("the log is append-only");
        assert_eq!(error.code().map(|code| code.code()), Some("DP002"), "{statement}: {error}");
    }
}
