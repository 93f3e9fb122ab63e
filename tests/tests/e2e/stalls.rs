//! Other people's transactions don't stop this database's writers, and a deletion leaves no action on its item.

use std::time::{Duration, Instant};

use dpg_eventstore::{Database, SessionOptions, partitions};
use dpg_tests::network::{CONNECT, NETWORK, STUDENT, TUTOR, tutor_state};
use dpg_tests::{Contract, Node, Role, TestDatabase, User, port};
use serde_json::json;

/// Far above a write's own time on a loaded machine, far below any session time-out.
const STALL: Duration = Duration::from_secs(3);

/// Fifty writes, each visible at once and none slower than a stall.
async fn assert_writes_flow(user: &User, why: &str) {
    for number in 0..50 {
        let started = Instant::now();
        let created = user.create(TUTOR, &tutor_state("Ravi")).send().await.expect(201);
        assert!(started.elapsed() < STALL, "{why}: write {number} took {:?}", started.elapsed());
        assert_eq!(created.header("dpg-projected"), Some("true"), "{why}: write {number}: {created}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_open_transaction_in_another_database_stalls_nothing_and_hides_nothing() {
    let node = Node::both().await;
    let ravi = node.sign_up("ravi").await;
    let elsewhere = TestDatabase::create().await;
    let mut other = elsewhere.client().await;
    let open = other.transaction().await.expect("a transaction");
    // With a transaction id of its own, it holds back every horizon of the cluster.
    open.batch_execute("create table t (a int); insert into t values (1); select txid_current()")
        .await
        .expect("it writes");
    assert_writes_flow(&ravi, "a transaction is open elsewhere").await;
    let page = ravi.items(TUTOR, "limit=1").send().await.expect(200);
    assert_eq!(page.body["meta"]["total"], json!(50), "{page}");
    open.rollback().await.expect("it ends");
    node.verify().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_long_reader_and_new_partitions_stall_nothing_and_hide_nothing() {
    let contract = Contract::new().with_action("wave").with_action("act_one").with_action("act-one");
    let node = Node::both_with(contract.clone(), |instance| instance).await;
    let (asha, ravi) = (node.sign_up("asha").await, node.sign_up("ravi").await);
    let (source, target) = (asha.create_student("Asha").await, ravi.create_tutor("Ravi").await);
    let mut reading = node.instance.database.client().await;
    let reader = reading.build_transaction().isolation_level(tokio_postgres::IsolationLevel::RepeatableRead);
    let reader = reader.start().await.expect("a transaction");
    for table in ["event_log", "items_live.items", "item_actions_live.item_actions", "action_events_live.action_events"]
    {
        reader.query(&format!("select count(*) from {table}"), &[]).await.expect("the reader reads");
    }

    let opened = Database::open(&node.instance.database.url(), &SessionOptions::new("dpg tests", 4)).expect("a URL");
    let making = async {
        // A network that comes into being gets partitions of its own below the tables that are being read.
        for number in 0..5 {
            partitions::ensure_network(&opened, &format!("new_{number}")).await.expect("partitions of a new network");
        }
        for action_type in ["wave", "act_one", "act-one", CONNECT] {
            let performed = asha.perform_as(action_type, &source, &target).send().await.expect(201);
            assert_eq!(performed.header("dpg-projected"), Some("true"), "{action_type}: {performed}");
        }
        // A process that starts makes what its contract names, the reader notwithstanding.
        let url = &node.instance.url;
        let later = contract.with_action("later").instance(STUDENT, url).instance(TUTOR, url);
        node.instance.write_contract(&later);
        let second = node.instance.start(Role::Api, port::free()).await;
        let performed = asha.at(&second.url()).perform_as("later", &source, &target).send().await.expect(201);
        assert_eq!(performed.header("dpg-projected"), Some("true"), "{performed}");
    };
    tokio::join!(making, assert_writes_flow(&ravi, "a reader is open and partitions are made"));
    let seen = ravi.get("/api/v1/action/fetch?limit=100").send().await.expect(200);
    assert_eq!(seen.body["meta"]["total"], json!(5), "{seen}");
    reader.rollback().await.expect("the reader ends");
    node.verify().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_end_of_a_range_of_the_log_is_passed_without_a_stall() {
    // The library is used directly here, because ranges of four million are beyond a test.
    let database = TestDatabase::create().await;
    let opened = Database::open(&database.url(), &SessionOptions::new("dpg tests", 6)).expect("a database URL");
    dpg_eventstore::migrate::migrate(&opened).await.expect("the schema");
    let metrics = dpg_eventstore::metrics::Metrics::register(&prometheus::Registry::new()).expect("a registry");
    let options = dpg_eventstore::AppendOptions { range: 50, ..Default::default() };
    let appender = dpg_eventstore::Appender::new(opened.clone(), dpg_eventstore::Wake::default(), options, metrics);
    partitions::ensure_ranges(&opened, NETWORK, 50).await.expect("the first ranges");
    let mut reading = database.client().await;
    let reader = reading.build_transaction().isolation_level(tokio_postgres::IsolationLevel::RepeatableRead);
    let reader = reader.start().await.expect("a transaction");
    reader.query("select count(*) from event_log", &[]).await.expect("the reader reads");
    for number in 1..=500 {
        let event = dpg_eventstore::NewEvent {
            stream_id: uuid::Uuid::now_v7(),
            version: 1,
            event_id: uuid::Uuid::now_v7(),
            event_type: dpg_eventstore::EventType::ItemCreated,
            payload: serde_json::value::to_raw_value(&json!({"number": number})).expect("JSON"),
            metadata: dpg_eventstore::Metadata::default(),
            private: None,
            destination: None,
        };
        let started = Instant::now();
        let appended = appender.append(NETWORK, dpg_eventstore::Command::of(event)).await.expect("it is appended");
        assert!(
            matches!(appended, dpg_eventstore::Appended::Won { position: Some(position), .. } if position == number),
            "append {number}: {appended:?}"
        );
        assert!(started.elapsed() < STALL, "append {number} took {:?}", started.elapsed());
    }
    reader.rollback().await.expect("the reader ends");
    dpg_tests::log::assert_dense(&database.client().await, NETWORK).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_delete_that_races_a_perform_leaves_no_action_on_a_deleted_item() {
    let node = Node::both().await;
    // The two writes come through two processes, so that no lock inside a process can put them in order.
    let other = node.instance.start(Role::Api, port::free()).await;
    let (asha, ravi) = (node.sign_up("asha").await, node.sign_up("ravi").await);
    let ravi_elsewhere = ravi.at(&other.url());
    let source = asha.create_student("Asha").await;
    let mut outcomes = [0, 0];
    for _ in 0..60 {
        let target = ravi.create_tutor("Ravi").await;
        let path = format!("/api/v1/item/{}", target["item_id"].as_str().expect("an id"));
        let (performed, deleted) =
            tokio::join!(asha.perform(&source, &target).send(), ravi_elsewhere.delete(&path).send());
        assert_eq!(deleted.status, 204, "{deleted}");
        match performed.status {
            201 => {
                outcomes[0] += 1;
                let action = performed.text_at("action_id");
                ravi.update_status(&action, "accepted").send().await.expect_error(404, "ACTION_NOT_FOUND");
                assert_eq!(asha.action(&action).await, None, "an action on a deleted item is listed");
                assert_eq!(asha.events(&action).await.len(), 1, "events stay");
            }
            _ => {
                outcomes[1] += 1;
                performed.expect_error(404, "TARGET_ITEM_NOT_FOUND");
            }
        }
    }
    let client = node.instance.database.client().await;
    let late = "select count(*) from event_log acted
                  join event_log ended on ended.network = acted.network and ended.event_type = 'item.deleted'
                   and ended.stream_id::text = acted.payload->'action'->>'target_item_id'
                 where acted.event_type = 'action.performed' and acted.position > ended.position";
    let late: i64 = client.query_one(late, &[]).await.expect("the log").get(0);
    assert_eq!(late, 0, "an action was performed on a deleted item; outcomes {outcomes:?}");
    let seen = asha.get("/api/v1/action/fetch").send().await.expect(200);
    assert_eq!(seen.body["meta"]["total"], json!(0), "outcomes {outcomes:?}: {seen}");
    node.verify().await;
}
