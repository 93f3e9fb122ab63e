//! Appends through the group-committing appender, beside a bare insert of 100 rows by `unnest` into a table with the same
//! primary key.

use std::time::{Duration, Instant};

use dpg_eventstore::append::AppendOptions;
use dpg_eventstore::metrics::Metrics;
use dpg_eventstore::{
    Appender, Command, Database, EventType, Metadata, NewEvent, SessionOptions, Wake, migrate, partitions,
};
use serde_json::value::{RawValue, to_raw_value};
use uuid::Uuid;

use crate::figures::{Figures, MEASURE, connect, fresh_database, rate_row};

/// About one kilobyte.
fn payload() -> Box<RawValue> {
    to_raw_value(&serde_json::json!({
        "item_network": "bench", "item_domain": "seeker", "item_type": "profile_1.0",
        "item_state": {"name": "Asha", "text": "x".repeat(800)}, "item_latitude": 18.5, "item_longitude": 73.8,
    }))
    .unwrap()
}

pub async fn run(admin: &str) {
    println!("append, ~1 KB events, durable");
    let floor = floor(admin).await;
    rate_row("floor: bare unnest insert", floor, "(rows, 100 per insert, one connection)");
    for writers in [1, 16, 64, 256] {
        let figures = appends(admin, writers).await;
        figures.row(&format!("append, {writers} writers"), &format!("{:.2} of the floor", figures.rate() / floor));
    }
}

/// Rows a second of a bare insert into a table with the log's primary key.
pub async fn floor(admin: &str) -> f64 {
    let client = connect(&fresh_database(admin, "dpg_bench_floor").await).await;
    client
        .batch_execute(
            "create table bare (network text, position bigint, stream_id uuid, payload jsonb, primary key (network, position))",
        )
        .await
        .unwrap();
    let insert = client
        .prepare(
            "insert into bare select $1, p, s, j from unnest($2::bigint[], $3::uuid[], $4::jsonb[]) as t (p, s, j)",
        )
        .await
        .unwrap();
    let payload = payload();
    let started = Instant::now();
    let mut rows = 0_i64;
    while started.elapsed() < MEASURE {
        let positions: Vec<i64> = (rows..rows + 100).collect();
        let streams: Vec<Uuid> = (0..100).map(|_| Uuid::now_v7()).collect();
        let payloads: Vec<_> = (0..100).map(|_| tokio_postgres::types::Json(&*payload)).collect();
        client.execute(&insert, &[&"bench", &positions, &streams, &payloads]).await.unwrap();
        rows += 100;
    }
    rows as f64 / started.elapsed().as_secs_f64()
}

async fn appends(admin: &str, writers: usize) -> Figures {
    let url = fresh_database(admin, "dpg_bench_append").await;
    let database = Database::open(&url, &SessionOptions::new("bench", 4)).unwrap();
    migrate::migrate(&database).await.unwrap();
    partitions::ensure_network(&database, "bench").await.unwrap();
    let metrics = Metrics::register(&prometheus::Registry::new()).unwrap();
    let appender = Appender::new(database, Wake::default(), AppendOptions::default(), metrics);
    let started = Instant::now();
    let tasks: Vec<_> = (0..writers).map(|_| tokio::spawn(write(appender.clone(), started))).collect();
    let mut latencies = Vec::new();
    for task in tasks {
        latencies.extend(task.await.unwrap());
    }
    Figures::new(latencies, started)
}

async fn write(appender: Appender, started: Instant) -> Vec<Duration> {
    let payload = payload();
    let mut latencies = Vec::new();
    while started.elapsed() < MEASURE {
        let event = NewEvent {
            stream_id: Uuid::now_v7(),
            version: 1,
            event_id: Uuid::now_v7(),
            event_type: EventType::ItemCreated,
            payload: payload.clone(),
            metadata: Metadata { actor: Some("bench".to_owned()), ..Metadata::default() },
            private: None,
            destination: None,
        };
        let sent = Instant::now();
        appender.append("bench", Command::of(event)).await.unwrap();
        latencies.push(sent.elapsed());
    }
    latencies
}
