//! Ten peers, three of which go bad: one refuses, one hangs, one takes a second for each event. What the other seven
//! notice of that, in rounds with and without, one after the other, so that a machine's moods hit both alike.

use std::collections::{HashMap, HashSet};
use std::time::{Duration, Instant};

use crate::figures::Figures;
use crate::holder::{Action, Holder, Key, Pace, change, contract};
use crate::receiver::{Manner, Receiver};

const FIRST_PORT: u16 = 27_460;
const PEERS: u16 = 10;
const HEALTHY: usize = 7;
/// Actions per peer; one client changes them in turn.
const ACTIONS: usize = 4;
const ROUNDS: usize = 3;
const ROUND: Duration = Duration::from_secs(8);
/// Time between two changes of one peer's actions: 500 changes a second in all.
const STEP: Duration = Duration::from_millis(20);

pub async fn run(admin: &str) {
    println!("ten peers of another make; of the seven that stay healthy: events taken per second, commit to arrival");
    let mut bench = Bench::start(admin).await;
    for (what, pace) in [("500 changes/s", Pace::Every(ROUND, STEP)), ("flat out", Pace::FlatOut(ROUND))] {
        let (mut well, mut ill) = (Seen::default(), Seen::default());
        for _ in 0..ROUNDS {
            bench.round(pace, &mut well).await;
            bench.break_three().await;
            bench.round(pace, &mut ill).await;
            bench.heal().await;
        }
        let (well, ill) = (Figures::over(well.latencies, well.took), Figures::over(ill.latencies, ill.took));
        well.row(&format!("{what}, all ten healthy"), "");
        ill.row(&format!("{what}, three are not"), "");
        let percent = |before: f64, after: f64| (after / before - 1.0) * 100.0;
        println!(
            "{:<34} {:>+9.1} %   p50 {:>+7.1} %    p99 {:>+7.1} %    (budget: 5 % less, 5 % more)",
            "change",
            percent(well.rate(), ill.rate()),
            percent(well.percentile(50), ill.percentile(50)),
            percent(well.percentile(99), ill.percentile(99)),
        );
    }
}

/// What the seven took in all rounds of a kind.
#[derive(Default)]
struct Seen {
    latencies: Vec<Duration>,
    took: Duration,
}

struct Bench {
    holder: Holder,
    peers: Vec<Receiver>,
    groups: Vec<Vec<Action>>,
}

impl Bench {
    async fn start(admin: &str) -> Self {
        let key = Key::make();
        let ports: Vec<(u16, Option<&Key>)> = (0..PEERS).map(|number| (FIRST_PORT + number, None)).collect();
        let holder = Holder::start(admin, &key, &contract(&key, &ports)).await;
        let peers: Vec<Receiver> = ports.iter().map(|(port, _)| Receiver::start(*port)).collect();
        let mut groups = Vec::new();
        for peer in &peers {
            let mut group = Vec::new();
            for _ in 0..ACTIONS {
                group.push(holder.perform_from(&peer.url()).await);
            }
            groups.push(group);
        }
        holder.settled().await;
        Self { holder, peers, groups }
    }

    /// Changes every peer's actions for a while, and waits until the seven have taken all of theirs.
    async fn round(&mut self, pace: Pace, all: &mut Seen) {
        let healthy = &self.peers[..HEALTHY];
        for peer in healthy {
            peer.take();
        }
        let started = Instant::now();
        let changes = change(&self.holder.instance, &mut self.groups, pace).await;
        let theirs: HashSet<&String> = self.groups[..HEALTHY].iter().flatten().map(|action| &action.id).collect();
        let changes = changes.into_iter().filter(|change| theirs.contains(&change.action));
        let mut owed: HashMap<(String, i64), Instant> =
            changes.map(|change| ((change.action, change.update_count), change.answered)).collect();
        let mut last = started;
        while !owed.is_empty() {
            assert!(started.elapsed() < ROUND * 10, "{} events did not reach their healthy peers", owed.len());
            for arrival in healthy.iter().flat_map(Receiver::take) {
                if let Some(answered) = owed.remove(&(arrival.action, arrival.update_count)) {
                    all.latencies.push(arrival.at.saturating_duration_since(answered));
                    last = last.max(arrival.at);
                }
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        all.took += last - started;
    }

    async fn break_three(&mut self) {
        self.peers[HEALTHY].refuse().await;
        self.peers[HEALTHY + 1].behave(Manner::Hangs);
        self.peers[HEALTHY + 2].behave(Manner::Slow(Duration::from_secs(1)));
    }

    /// All are well again, say so, and get what they missed.
    async fn heal(&mut self) {
        self.peers[HEALTHY].listen();
        for peer in &self.peers[HEALTHY..] {
            peer.behave(Manner::Takes);
            self.holder.perform_from(&peer.url()).await;
        }
        self.holder.settled().await;
    }
}
