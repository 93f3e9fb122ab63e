//! A database of its own for each test, with a log that is written by hand, and mirrors over it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use chrono::{DateTime, SubsecRound as _, TimeDelta, Utc};
use dpg_eventstore::{Database, SessionOptions};
use dpg_mirror::{Guard, LaneStatus, Mirror, MirrorMetrics, MirrorOptions, PeerClient, PeerOptions, Registry, Signer};
use dpg_tests::TestDatabase;
use dpg_tests::log::SOON;
use dpg_tests::wait::check;
use serde_json::json;
use url::Url;
use uuid::Uuid;

pub(crate) const NETWORK: &str = "yellow_dot";

/// Waits for a condition; a test that waits for nothing says what it waited for.
pub(crate) async fn eventually<F: Future<Output = bool>>(what: &str, condition: impl Fn() -> F) {
    dpg_tests::eventually(what, SOON, || async { check(condition().await, "not yet") }).await;
}

/// A clock that a test moves.
#[derive(Clone)]
pub(crate) struct Clock(Arc<Mutex<DateTime<Utc>>>);

impl Clock {
    fn new() -> Self {
        // As fine as the columns are, so that an hour later is an hour later there too.
        Self(Arc::new(Mutex::new(Utc::now().trunc_subsecs(3))))
    }

    pub(crate) fn now(&self) -> DateTime<Utc> {
        *self.0.lock().unwrap()
    }

    pub(crate) fn advance(&self, by: TimeDelta) {
        *self.0.lock().unwrap() += by;
    }
}

/// The contract, as far as the mirror asks.
#[derive(Default)]
pub(crate) struct Contract(Mutex<HashMap<String, Url>>);

impl Contract {
    pub(crate) fn register(&self, destination: &str, url: &Url) {
        self.0.lock().unwrap().insert(destination.to_owned(), url.clone());
    }

    pub(crate) fn remove(&self, destination: &str) {
        self.0.lock().unwrap().remove(destination);
    }
}

impl Registry for Contract {
    fn url(&self, network: &str, destination: &str) -> Option<Url> {
        assert_eq!(network, NETWORK);
        self.0.lock().unwrap().get(destination).cloned()
    }
}

pub(crate) struct Bed {
    pub(crate) db: Database,
    pub(crate) clock: Clock,
    pub(crate) contract: Arc<Contract>,
    home: TestDatabase,
    /// Looks and never works.
    observer: Mirror,
}

impl Bed {
    pub(crate) async fn new() -> Self {
        let home = TestDatabase::create().await;
        let contract: Arc<Contract> = Arc::default();
        let observer = mirror(
            &home,
            &contract,
            MirrorOptions::default(),
            Duration::from_secs(1),
            None,
            &prometheus::Registry::new(),
        );
        let bed = Self { db: open(&home), clock: Clock::new(), contract, home, observer };
        dpg_eventstore::migrate::migrate(&bed.db).await.unwrap();
        bed.sql(
            "create table event_log_1 partition of event_log for values in ('yellow_dot') partition by range (position);
             create table event_log_1_1 partition of event_log_1 for values from (1) to (100);
             create table event_log_1_2 partition of event_log_1 for values from (100) to (100000);
             insert into log_head (network) values ('yellow_dot')",
        )
        .await;
        bed
    }

    /// Events of one action each, committed as the append would, with an event between them that nobody is owed.
    pub(crate) async fn owe(&self, destination: &str, events: i32) {
        for _ in 0..events {
            self.owe_large(destination, 0).await;
        }
    }

    /// One event whose body has so many bytes more than it needs.
    pub(crate) async fn owe_large(&self, destination: &str, bytes: usize) {
        let (action_id, item_id) = (Uuid::now_v7(), Uuid::now_v7());
        let side = |side: &str| {
            json!({format!("{side}_item_network"): NETWORK, format!("{side}_item_domain"): side,
                   format!("{side}_item_type"): "profile_1.0", format!("{side}_item_id"): item_id,
                   format!("{side}_item_instance_url"): destination, format!("{side}_item_owner"): null})
        };
        let mut action = json!({"action_type": "connect", "partition_network": NETWORK, "action_id": action_id,
            "action_status": "created", "update_count": 0, "requirements_snapshot": {"x": "x".repeat(bytes)}, "remarks": null,
            "source_here": false, "target_here": true});
        for part in [side("source"), side("target")] {
            action.as_object_mut().unwrap().extend(part.as_object().unwrap().clone());
        }
        let payload = json!({"action": action, "event": {"event_id": Uuid::new_v4(),
            "origin_instance_domain": "https://b.example.org", "action_status": "created", "update_count": 0,
            "source_item_latitude": null, "source_item_longitude": null, "target_item_latitude": null,
            "target_item_longitude": null, "event_payload": {"status": "created"}, "remarks": null}});
        let client = self.db.client().await.unwrap();
        client
            .execute(
                "with head as (
                     update log_head set position = position + 2 where network = $1 returning position
                 ), event as (
                     insert into event_log
                     select $1, p, $2, 1, gen_random_uuid(), 'action.performed', $5, $4, '{}'
                       from head, unnest(array[position - 1, position]) as p
                 ), counted as (
                     insert into outbox_heads as o values ($1, $3, 1)
                     on conflict (network, destination) do update set seq = o.seq + 1 returning seq
                 )
                 insert into outbox select $1, $3, seq, position from counted, head",
                &[&NETWORK, &action_id, &destination, &payload, &self.clock.now()],
            )
            .await
            .unwrap();
    }

    /// The actions of all events that are owed, in order.
    pub(crate) async fn actions(&self) -> Vec<String> {
        let sql = "select stream_id::text from event_log where position % 2 = 0 order by position";
        let rows = self.db.client().await.unwrap().query(sql, &[]).await.unwrap();
        rows.iter().map(|row| row.get(0)).collect()
    }

    pub(crate) async fn sql(&self, sql: &str) {
        self.db.client().await.unwrap().batch_execute(sql).await.unwrap();
    }

    pub(crate) async fn count(&self, sql: &str) -> i64 {
        self.db.client().await.unwrap().query_one(sql, &[]).await.unwrap().get(0)
    }

    pub(crate) async fn lane(&self, destination: &str) -> LaneStatus {
        let lanes = self.observer.lanes().await.unwrap();
        lanes.into_iter().find(|lane| lane.key.destination == destination).expect("a lane")
    }

    /// With leases and time-outs that a test can wait for, on a pool of its own like another process.
    pub(crate) fn mirror(&self) -> Mirror {
        self.mirror_with(self.options())
    }

    pub(crate) fn options(&self) -> MirrorOptions {
        let clock = self.clock.clone();
        MirrorOptions {
            lease: Duration::from_secs(3),
            renew_every: Duration::from_secs(1),
            poll: Duration::from_millis(20),
            refresh: Duration::from_millis(50),
            now: Arc::new(move || clock.now()),
            random: Arc::new(|| 0.5),
            ..MirrorOptions::default()
        }
    }

    pub(crate) fn mirror_with(&self, options: MirrorOptions) -> Mirror {
        self.mirror_of(options, Duration::from_secs(2), None, &prometheus::Registry::new())
    }

    pub(crate) fn mirror_of(
        &self,
        options: MirrorOptions,
        timeout: Duration,
        signer: Option<Signer>,
        metrics: &prometheus::Registry,
    ) -> Mirror {
        mirror(&self.home, &self.contract, options, timeout, signer, metrics)
    }
}

fn mirror(
    home: &TestDatabase,
    contract: &Arc<Contract>,
    options: MirrorOptions,
    timeout: Duration,
    signer: Option<Signer>,
    metrics: &prometheus::Registry,
) -> Mirror {
    let client = PeerClient::new(PeerOptions { timeout, guard: Guard::open(), signer }).unwrap();
    let metrics = MirrorMetrics::new(metrics).unwrap();
    Mirror::new(open(home), client, contract.clone(), metrics, options)
}

fn open(home: &TestDatabase) -> Database {
    Database::open(&home.url(), &SessionOptions { durable: false, ..SessionOptions::new("dpg mirror test", 4) })
        .unwrap()
}
