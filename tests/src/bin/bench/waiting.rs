//! Memory with a million events waiting for one peer: while the peer is dead, and while they are delivered to it.

use std::time::{Duration, Instant};

use dpg_eventstore::append::AppendOptions;
use dpg_eventstore::metrics::Metrics;
use dpg_eventstore::{Appender, Command, Database, EventType, Metadata, NewEvent, SessionOptions, Wake};
use serde_json::value::RawValue;
use uuid::Uuid;

use crate::figures::{connect, rate_row};
use crate::holder::{Action, Holder, Key, contract};
use crate::instance::NETWORK;
use crate::receiver::Receiver;

const EVENTS: usize = 1_000_000;
/// Events that are appended by one command, and commands at a time.
const TOGETHER: usize = 50;
const WRITERS: usize = 16;
/// How long a process is watched.
const WATCH: Duration = Duration::from_secs(60);
const PEER_PORT: u16 = 27_480;

pub async fn run(admin: &str) {
    println!("a million events waiting for one peer");
    let (mut peer, key) = (Receiver::start(PEER_PORT), Key::make());
    let mut holder = Holder::start(admin, &key, &contract(&key, &[(PEER_PORT, None)])).await;
    let action = holder.perform_from(&peer.url()).await;
    holder.settled().await;
    println!("resident memory, idle: {} MiB", holder.instance.resident_mib());
    holder.instance.stop().await;
    peer.refuse().await;
    seed(&holder.instance.database, &action).await;

    holder.instance.serve().await;
    let resident = watch(&holder).await;
    assert!(failures(&holder.instance.database).await > 0, "nothing was tried");
    println!("resident memory, peer dead: {resident} MiB after a minute, {} MiB at most", holder.instance.peak_mib());
    // What follows is to be about delivery alone.
    projected(&holder.instance.database).await;
    println!("resident memory, tables folded: {} MiB at most", holder.instance.peak_mib());

    // A process of its own, so that its peak is that of delivery.
    holder.instance.stop().await;
    peer.listen();
    let (before, began) = (peer.count(), Instant::now());
    holder.instance.serve().await;
    holder.perform_from(&peer.url()).await;
    let resident = watch(&holder).await;
    assert!(peer.count() > before, "nothing was delivered");
    let rate = (peer.count() - before) as f64 / began.elapsed().as_secs_f64();
    rate_row("one by one out of a million", rate, "");
    println!("resident memory, delivering: {resident} MiB after a minute, {} MiB at most", holder.instance.peak_mib());
}

/// Lets a minute pass. What the process holds at its end.
async fn watch(holder: &Holder) -> u64 {
    tokio::time::sleep(WATCH).await;
    holder.instance.resident_mib()
}

/// Appends copies of an action under new identities, straight to the log.
async fn seed(url: &str, action: &Action) {
    let client = connect(url).await;
    let query =
        "select l.payload::text, l.event_id, o.destination from event_log l join outbox o using (network, position)
                  where l.network = $1 and l.stream_id::text = $2";
    let row = client.query_one(query, &[&NETWORK, &action.id]).await.unwrap();
    let template =
        Template { payload: row.get(0), event: row.get(1), destination: row.get(2), action: action.id.clone() };
    let database = Database::open(url, &SessionOptions::new("bench", 4)).unwrap();
    let metrics = Metrics::register(&prometheus::Registry::new()).unwrap();
    let appender = Appender::new(database, Wake::default(), AppendOptions::default(), metrics);
    let began = Instant::now();
    let tasks: Vec<_> = (0..WRITERS).map(|_| tokio::spawn(append(appender.clone(), template.clone()))).collect();
    for task in tasks {
        task.await.unwrap();
    }
    appender.drain().await;
    rate_row("append, 50 events a command", EVENTS as f64 / began.elapsed().as_secs_f64(), "");
}

async fn append(appender: Appender, template: Template) {
    for _ in 0..EVENTS / TOGETHER / WRITERS {
        let command = Command { events: (0..TOGETHER).map(|_| template.copy()).collect(), ..Command::default() };
        appender.append(NETWORK, command).await.unwrap();
    }
}

/// An event as the instance itself wrote it.
#[derive(Clone)]
struct Template {
    payload: String,
    event: Uuid,
    action: String,
    destination: String,
}

impl Template {
    fn copy(&self) -> NewEvent {
        let (action, event) = (Uuid::now_v7(), Uuid::now_v7());
        let payload = self.payload.replace(&self.action, &action.to_string());
        let payload = payload.replace(&self.event.to_string(), &event.to_string());
        NewEvent {
            stream_id: action,
            version: 1,
            event_id: event,
            event_type: EventType::ActionPerformed,
            payload: RawValue::from_string(payload).unwrap(),
            metadata: Metadata { actor: Some("bench".to_owned()), ..Metadata::default() },
            private: None,
            destination: Some(self.destination.clone()),
        }
    }
}

/// Attempts in a row that have failed.
async fn failures(url: &str) -> i32 {
    connect(url).await.query_one("select failures from lanes", &[]).await.unwrap().get(0)
}

/// Waits until the tables hold all of the log.
async fn projected(url: &str) {
    let client = connect(url).await;
    let query =
        "select min(c.position) >= max(h.position) from projection_checkpoints c join log_head h using (network)";
    let deadline = Instant::now() + Duration::from_secs(600);
    while client.query_one(query, &[]).await.unwrap().get::<_, Option<bool>>(0) != Some(true) {
        assert!(Instant::now() < deadline, "the projector did not catch up");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}
