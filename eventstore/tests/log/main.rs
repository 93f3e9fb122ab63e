//! The log against a real Postgres. `make test` sets `DPG_TEST_POSTGRES`.

#![allow(missing_docs, unreachable_pub)]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::as_conversions,
    clippy::indexing_slicing,
    clippy::disallowed_methods
)]

mod appending;
mod failing;
mod keys;
mod storage;

use dpg_eventstore::append::AppendOptions;
use dpg_eventstore::metrics::Metrics;
use dpg_eventstore::{
    Appended, Appender, Command, Database, EventType, Metadata, NewEvent, SessionOptions, Wake, migrate,
};
use dpg_tests::TestDatabase;
use serde_json::value::to_raw_value;
use uuid::Uuid;

pub const NETWORK: &str = "blue_dot";

/// A migrated database of its own.
pub struct TestLog {
    pub home: TestDatabase,
    pub database: Database,
    pub appender: Appender,
}

impl TestLog {
    pub async fn new() -> Self {
        Self::with(AppendOptions::default()).await
    }

    pub async fn with(options: AppendOptions) -> Self {
        let home = TestDatabase::create().await;
        let database = Database::open(&home.url(), &SessionOptions::new("dpg test", 12)).unwrap();
        migrate::migrate(&database).await.unwrap();
        let appender = another_process(&home, options);
        Self { home, database, appender }
    }

    pub async fn won(&self, command: Command) -> i64 {
        match self.appender.append(NETWORK, command).await.unwrap() {
            Appended::Won { position, .. } => position.unwrap(),
            other => panic!("expected a win, got {other:?}"),
        }
    }

    pub async fn count(&self, sql: &str) -> i64 {
        self.database.client().await.unwrap().query_one(sql, &[]).await.unwrap().get(0)
    }
}

/// An appender with connections and queues of its own, as another process has them.
pub fn another_process(home: &TestDatabase, options: AppendOptions) -> Appender {
    let database = Database::open(&home.url(), &SessionOptions::new("dpg test append", 4)).unwrap();
    Appender::new(database, Wake::default(), options, Metrics::register(&prometheus::Registry::new()).unwrap())
}

/// An event of an item or an action, with a small payload.
pub fn event(stream_id: Uuid, version: i32, event_type: EventType) -> NewEvent {
    NewEvent {
        stream_id,
        version,
        event_id: Uuid::now_v7(),
        event_type,
        payload: to_raw_value(&serde_json::json!({"stream": stream_id, "version": version})).unwrap(),
        metadata: Metadata { actor: Some("tester".to_owned()), ..Metadata::default() },
        private: None,
        destination: None,
    }
}

pub fn created(stream_id: Uuid) -> Command {
    Command::of(event(stream_id, 1, EventType::ItemCreated))
}
