//! The projections against a real Postgres. `make test` sets `DPG_TEST_POSTGRES`.

#![allow(missing_docs, unreachable_pub)]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::as_conversions,
    clippy::indexing_slicing,
    clippy::disallowed_methods
)]

mod actions;
mod breaking;
mod failing;
mod items;
mod rate;
mod reading;
mod storage;
mod verifying;

use dpg_eventstore::append::AppendOptions;
use dpg_eventstore::{
    Appended, Appender, Command, Database, EventType, Metadata, NewEvent, SessionOptions, Wake, metrics, migrate,
};
use dpg_projector::{Metrics, Projection, Projector, Readers, Step, Tables, session_options};
use dpg_tests::TestDatabase;
use prometheus::Registry;
use serde_json::value::to_raw_value;
use serde_json::{Value, json};
use tokio_postgres::types::FromSqlOwned;
use uuid::Uuid;

pub const NETWORK: &str = "yellow_dot";

/// A migrated database of its own, with a log to write to and a projector.
pub struct TestProjector {
    pub home: TestDatabase,
    pub database: Database,
    pub appender: Appender,
    pub projector: Projector,
    pub readers: Readers,
    pub wake: Wake,
    pub registry: Registry,
}

impl TestProjector {
    pub async fn new() -> Self {
        let home = TestDatabase::create().await;
        let database = Database::open(&home.url(), &SessionOptions::new("dpg test", 8)).unwrap();
        migrate::migrate(&database).await.unwrap();
        Tables::new(database.clone()).ensure().await.unwrap();
        let wake = Wake::default();
        let counters = metrics::Metrics::register(&Registry::new()).unwrap();
        let appender = Appender::new(database.clone(), wake.clone(), AppendOptions::default(), counters);
        let (projector, readers, registry) = another_process(&home, &wake);
        Self { home, database, appender, projector, readers, wake, registry }
    }

    pub async fn won(&self, command: Command) -> i64 {
        match self.appender.append(NETWORK, command).await.unwrap() {
            Appended::Won { position, .. } => position.unwrap(),
            other => panic!("expected a win, got {other:?}"),
        }
    }

    /// Steps a projection until nothing is left.
    pub async fn catch_up(&self, projection: Projection) -> i64 {
        loop {
            if let Step::Idle { position } = self.projector.step(projection, NETWORK).await.unwrap() {
                return position;
            }
        }
    }

    pub async fn catch_up_all(&self) {
        for projection in Projection::ALL {
            self.catch_up(projection).await;
        }
    }

    pub async fn value<T: FromSqlOwned>(&self, sql: &str) -> T {
        self.database.client().await.unwrap().query_one(sql, &[]).await.unwrap().get(0)
    }

    pub async fn count(&self, sql: &str) -> i64 {
        self.value(sql).await
    }

    pub async fn run(&self, sql: &str) {
        self.database.client().await.unwrap().batch_execute(sql).await.unwrap();
    }

    pub async fn item(&self, id: Uuid) -> Option<Value> {
        let sql = "select to_jsonb(i) from items_live.items i where item_id = $1";
        let client = self.database.client().await.unwrap();
        client.query_opt(sql, &[&id]).await.unwrap().map(|row| row.get(0))
    }

    pub async fn action(&self, id: Uuid) -> Option<Value> {
        let sql = "select to_jsonb(a) from item_actions_live.item_actions a where action_id = $1";
        let client = self.database.client().await.unwrap();
        client.query_opt(sql, &[&id]).await.unwrap().map(|row| row.get(0))
    }

    pub async fn assert_clean(&self) {
        let report = dpg_projector::verify(&self.database).await.unwrap();
        assert!(report.is_clean(), "{report:#?}");
        assert!(report.comparisons.iter().all(|c| c.live_rows == c.fresh_rows && c.live_hash == c.fresh_hash));
    }

    pub fn metric(&self, name: &str) -> f64 {
        let families = self.registry.gather();
        let family = families.iter().find(|family| family.name() == name).expect(name);
        family.get_metric().iter().map(|m| m.get_counter().get_value() + m.get_gauge().get_value()).sum()
    }
}

/// A projector with connections and readers of its own, as another process has them.
pub fn another_process(home: &TestDatabase, wake: &Wake) -> (Projector, Readers, Registry) {
    let (registry, url) = (Registry::new(), home.url());
    let readers = Readers::new(Database::open(&url, &SessionOptions::new("dpg test readers", 2)).unwrap());
    let database = Database::open(&url, &session_options(6)).unwrap();
    let counters = Metrics::register(&registry).unwrap();
    (Projector::new(database, readers.clone(), counters, wake.subscribe()), readers, registry)
}

pub fn event(stream_id: Uuid, version: i32, event_type: EventType, payload: &Value) -> NewEvent {
    NewEvent {
        stream_id,
        version,
        event_id: Uuid::now_v7(),
        event_type,
        payload: to_raw_value(payload).unwrap(),
        metadata: Metadata { actor: Some("tester".to_owned()), ..Metadata::default() },
        private: None,
        destination: None,
    }
}

/// What the log holds of an item.
pub fn item_payload(id: Uuid, domain: &str, state: &Value) -> Value {
    json!({
        "item_network": NETWORK, "item_domain": domain, "item_type": "profile_1.0", "item_id": id,
        "item_instance_url": "https://a.example.org", "item_schema_url": "https://a.example.org/schema",
        "item_state": state, "item_latitude": 18.5204, "item_longitude": 73.8567, "created_by": "asha",
    })
}

pub fn item_created(id: Uuid, domain: &str, state: &Value) -> Command {
    Command::of(event(id, 1, EventType::ItemCreated, &item_payload(id, domain, state)))
}

/// `created_position` is that of the item's first event.
pub fn item_updated(id: Uuid, version: i32, created_position: i64, state: &Value) -> Command {
    let mut payload = item_payload(id, "student", state);
    payload["created_at"] = json!("2026-01-02T03:04:05.678Z");
    payload["created_position"] = json!(created_position);
    Command::of(event(id, version, EventType::ItemUpdated, &payload))
}

pub fn item_deleted(id: Uuid, version: i32) -> Command {
    let payload = json!({
        "item_network": NETWORK, "item_domain": "student", "item_type": "profile_1.0", "item_id": id,
        "item_instance_url": "https://a.example.org", "created_by": "asha",
    });
    Command::of(event(id, version, EventType::ItemDeleted, &payload))
}
