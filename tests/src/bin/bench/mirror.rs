//! Delivery to one peer: a backlog to a peer of another make beside bare requests with the same bytes, a backlog to an
//! instance of our own beside bare inserts, and how long one change takes from its commit to a client of the other side.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use dpg_tests::Client;
use serde::Deserialize;
use tokio::sync::watch;

use crate::append;
use crate::figures::{Figures, rate_row};
use crate::holder::{Action, Change, Holder, Key, Pace, change, contract, create_item, performance};
use crate::instance::{DOMAIN, Instance, Settings};
use crate::load::{Connection, get, post};
use crate::pages::is_answer;
use crate::receiver::{Receiver, STORE};

/// Events that wait when a lane is let go.
const BACKLOG: usize = 20_000;
/// Clients that make them, each with actions of its own.
const WRITERS: usize = 32;
/// Changes a second while latency is measured, by a few clients.
const STEADY: (usize, Duration) = (8, Duration::from_millis(40));
const LATENCY_FOR: Duration = Duration::from_secs(10);
const PEER_PORT: u16 = 27_450;

pub async fn run(admin: &str) {
    println!("delivery to one peer, signed, {BACKLOG} events waiting");
    one_by_one(admin).await;
    let pair = Pair::start(admin).await;
    pair.latency().await;
    pair.batches(admin).await;
}

async fn one_by_one(admin: &str) {
    let (receiver, key) = (Receiver::start(PEER_PORT), Key::make());
    let holder = Holder::start(admin, &key, &contract(&key, &[(PEER_PORT, None)])).await;
    let mut groups = Vec::new();
    for _ in 0..WRITERS {
        groups.push(vec![holder.perform_from(&receiver.url()).await]);
    }
    let rate = backlog(&holder, &receiver.url(), &mut groups).await;
    assert_eq!(receiver.count(), WRITERS + BACKLOG, "events that were taken");
    let floor = bare_requests(&receiver).await;
    println!("{} bytes each", receiver.last_body().len());
    rate_row("floor: bare requests, 1 connection", floor, "");
    let beside = format!("{:.2} of the floor, {:.2} of 2000/s", rate / floor, rate / 2000.0);
    rate_row("one by one, peer of another make", rate, &beside);
}

/// Lets changes wait, then lets them go. Events per second until the last one is acknowledged.
async fn backlog(holder: &Holder, peer: &str, groups: &mut [Vec<Action>]) -> f64 {
    holder.settled().await;
    holder.operate("pause", peer).await;
    let changes = change(&holder.instance, groups, Pace::Count(BACKLOG / WRITERS)).await;
    assert_eq!(changes.len(), BACKLOG);
    let started = Instant::now();
    holder.operate("resume", peer).await;
    holder.settled().await;
    BACKLOG as f64 / started.elapsed().as_secs_f64()
}

/// The same number of requests with the same bytes over one connection.
async fn bare_requests(receiver: &Receiver) -> f64 {
    let request = post(STORE, "", &receiver.last_body());
    let (mut connection, started) = (Connection::open(PEER_PORT).await, Instant::now());
    for _ in 0..BACKLOG {
        assert_eq!(connection.ask(&request).await.status, 201);
    }
    BACKLOG as f64 / started.elapsed().as_secs_f64()
}

/// Two instances of our own: one holds the actions, the other the source item.
struct Pair {
    holder: Holder,
    source: Instance,
    groups: Vec<Vec<Action>>,
}

impl Pair {
    async fn start(admin: &str) -> Self {
        let (keys, port) = ([Key::make(), Key::make()], PEER_PORT + 1);
        let contract = contract(&keys[0], &[(port, Some(&keys[1]))]);
        let holder = Holder::start(admin, &keys[0], &contract).await;
        let environment = vec![("PEER_PRIVATE_KEY", keys[1].private.clone())];
        let source = Instance::start(admin, Settings { port, contract, domain: DOMAIN, environment }).await;
        let body = performance(&create_item(&source, DOMAIN).await, &holder.item);
        let client = Client::anonymous(&source.url()).key(&source.key);
        let mut groups = Vec::new();
        for _ in 0..WRITERS {
            let performed = client.post("/api/v1/action/perform").json(&body).send().await.expect(201);
            groups.push(vec![Action { id: performed.text_at("action_id"), update_count: 0 }]);
        }
        Self { holder, source, groups }
    }

    async fn batches(mut self, admin: &str) {
        let floor = append::floor(admin).await;
        rate_row("floor: bare unnest insert", floor, "(rows, 100 per insert, one connection)");
        let rate = backlog(&self.holder, &self.source.url(), &mut self.groups).await;
        let beside = format!("{:.2} of the floor, {:.2} of 2000/s", rate / floor, rate / 2000.0);
        rate_row("batches, between two instances", rate, &beside);
    }

    /// From a change's answer, which comes when it is durable, until a client of the other instance has read its event.
    async fn latency(&self) {
        self.holder.settled().await;
        let (clients, step) = STEADY;
        let (written, made) = watch::channel(Vec::new());
        let reading = tokio::spawn(Reader::open(&self.source).await.follow(made));
        let mut groups = self.groups[..clients].to_vec();
        let changes = change(&self.holder.instance, &mut groups, Pace::Every(LATENCY_FOR, step)).await;
        written.send_replace(groups.concat());
        let seen = reading.await.unwrap();
        let latency =
            |change: Change| seen[&(change.action, change.update_count)].saturating_duration_since(change.answered);
        let latencies = changes.into_iter().map(latency).collect();
        Figures::over(latencies, LATENCY_FOR).row("commit here to event/fetch there", "");
    }
}

/// A client of the source's owner who looks for new events all the time.
struct Reader {
    connection: Connection,
    key: String,
    seen: HashMap<(String, i64), Instant>,
}

#[derive(Deserialize)]
struct Page {
    events: Vec<Event>,
}

#[derive(Deserialize)]
struct Event {
    action_id: String,
    update_count: i64,
}

impl Reader {
    async fn open(instance: &Instance) -> Self {
        let connection = Connection::open(instance.port).await;
        let mut reader = Self { connection, key: instance.key.clone(), seen: HashMap::new() };
        // What was there before is of no interest, but must be known.
        reader.look().await;
        reader
    }

    /// Looks until the last change of each action was seen, once it is known, and gives all events with the time at which
    /// they were first seen.
    async fn follow(mut self, last: watch::Receiver<Vec<Action>>) -> HashMap<(String, i64), Instant> {
        let deadline = Instant::now() + LATENCY_FOR * 30;
        let seen = |reader: &Self, action: &Action| reader.seen.contains_key(&(action.id.clone(), action.update_count));
        while last.borrow().is_empty() || !last.borrow().iter().all(|action| seen(&self, action)) {
            assert!(Instant::now() < deadline, "changes did not show at the other instance");
            self.look().await;
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        self.seen
    }

    /// Reads from the newest event back to the first page that holds nothing new.
    async fn look(&mut self) {
        const ROWS: usize = 20;
        for offset in (0..).step_by(ROWS) {
            let path = format!("/api/v1/event/fetch?limit={ROWS}&offset={offset}");
            let answer = self.connection.ask(&get(&path, Some(&self.key))).await;
            is_answer(&answer);
            let (now, known) = (Instant::now(), self.seen.len());
            let page: Page = serde_json::from_slice(&answer.body).unwrap();
            for event in page.events {
                self.seen.entry((event.action_id, event.update_count)).or_insert(now);
            }
            if self.seen.len() == known {
                return;
            }
        }
    }
}
