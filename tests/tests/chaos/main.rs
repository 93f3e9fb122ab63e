//! Two hundred rounds of random faults on the lines between two instances, with `kill -9` of either side and of either
//! side's database, while people write on both. Afterwards both sides hold the same events for every action, once each;
//! nothing that was acknowledged is missing; a call that was repeated with its key has had one effect; and the counters
//! of sender and receiver agree.
//!
//! `DPG_CHAOS_SEED` repeats a run's faults, `DPG_CHAOS_ROUNDS` changes their number.

mod writers;

use std::sync::Arc;
use std::time::Duration;

use dpg_tests::log::{self, SOON, assert_same_story};
use dpg_tests::pair::PairOptions;
use dpg_tests::wait::check;
use dpg_tests::{Cluster, Fault, Pair, Proxy, eventually};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use uuid::Uuid;

use writers::{Told, Writers};

const ROUNDS: usize = 200;
/// Calls that people make under one fault.
const CALLS: usize = 8;
/// They wait no longer under a fault: most of them are made to cost time.
const LONGEST: Duration = Duration::from_millis(800);

/// What a line may do for a round. Not among them: JSON refusals, which park events until an operator has looked.
const FAULTS: [Fault; 17] = [
    Fault::Pass,
    Fault::Pass,
    Fault::Refuse,
    Fault::Hang,
    Fault::Delay(Duration::from_millis(120)),
    Fault::CutAnswer(0),
    Fault::CutAnswer(70),
    Fault::CutRequest(200),
    Fault::CutRequest(900),
    Fault::HalfClose,
    Fault::CorruptRequest,
    Fault::CorruptAnswer,
    Fault::Repeat,
    Fault::Answer(
        "HTTP/1.1 200 OK\r\ncontent-type: text/html\r\ncontent-length: 13\r\nconnection: close\r\n\r\n<h1>Hello</h1",
    ),
    Fault::Answer(
        "HTTP/1.1 302 Found\r\nlocation: http://127.0.0.1:9/login\r\ncontent-length: 0\r\nconnection: close\r\n\r\n",
    ),
    Fault::Answer("HTTP/1.1 503 Away\r\nretry-after: 1\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"),
    Fault::Answer("\u{16}\u{3}\u{1} this is no HTTP at all\r\n\r\n"),
];

/// What ends by force in a round.
#[derive(Debug, Clone, Copy)]
enum Victim {
    Nobody,
    Student,
    Tutor,
    StudentDatabase,
    TutorDatabase,
}

const VICTIMS: [Victim; 10] = [
    Victim::Nobody,
    Victim::Nobody,
    Victim::Nobody,
    Victim::Nobody,
    Victim::Nobody,
    Victim::Nobody,
    Victim::Student,
    Victim::Tutor,
    Victim::StudentDatabase,
    Victim::TutorDatabase,
];

struct World {
    pair: Pair,
    student_cluster: Cluster,
    tutor_cluster: Cluster,
}

impl World {
    async fn start() -> Self {
        let (student_cluster, tutor_cluster) = (Cluster::start().await, Cluster::start().await);
        let environment = vec![("PEER_TIMEOUT_MS", "700".to_owned()), ("RUST_LOG", "warn".to_owned())];
        let options =
            PairOptions { proxied_student: true, proxied_tutor: true, signed: true, environment, ..Default::default() };
        let databases = (student_cluster.database().await, tutor_cluster.database().await);
        let pair = Pair::with_databases(options, databases.0, databases.1).await;
        Self { pair, student_cluster, tutor_cluster }
    }

    fn lines(&self) -> [&Proxy; 2] {
        [&self.pair.student_line, &self.pair.tutor_line].map(|line| line.as_ref().expect("a proxied pair"))
    }

    async fn strike(&mut self, victim: Victim) {
        match victim {
            Victim::Nobody => {}
            Victim::Student => self.pair.student.process.kill(),
            Victim::Tutor => self.pair.tutor.process.kill(),
            Victim::StudentDatabase => self.student_cluster.kill(),
            Victim::TutorDatabase => self.tutor_cluster.kill(),
        }
    }

    async fn heal(&mut self, victim: Victim) {
        match victim {
            Victim::Nobody => {}
            Victim::Student => self.pair.student.process.restart().await,
            Victim::Tutor => self.pair.tutor.process.restart().await,
            Victim::StudentDatabase => self.student_cluster.resume().await,
            Victim::TutorDatabase => self.tutor_cluster.resume().await,
        }
    }
}

fn setting(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().unwrap_or_else(|_| panic!("{name} is a number")))
}

#[tokio::test(flavor = "multi_thread")]
async fn faults_and_kills_lose_nothing_and_repeat_nothing() {
    let seed = setting("DPG_CHAOS_SEED").unwrap_or_else(rand::random);
    let rounds = setting("DPG_CHAOS_ROUNDS").map_or(ROUNDS, |rounds| usize::try_from(rounds).expect("a small number"));
    println!("DPG_CHAOS_SEED={seed} DPG_CHAOS_ROUNDS={rounds}");
    let mut dice = StdRng::seed_from_u64(seed);
    let mut world = World::start().await;
    let told = Arc::new(Told::default());
    let writers = Writers::start(&world.pair, &told).await;
    for round in 0..rounds {
        let faults = [0, 1].map(|_| FAULTS[dice.random_range(0..FAULTS.len())]);
        let victim = VICTIMS[dice.random_range(0..VICTIMS.len())];
        println!("round {round}: to student {:?}, to tutor {:?}, killed: {victim:?}", faults[0], faults[1]);
        for (line, fault) in world.lines().into_iter().zip(faults) {
            line.set(fault).await;
        }
        told.until(CALLS, LONGEST).await;
        world.strike(victim).await;
        told.until(CALLS / 4, LONGEST).await;
        world.heal(victim).await;
    }
    for line in world.lines() {
        line.set(Fault::Pass).await;
    }
    // Calls that get through are contact, which ends the waits of lanes that were refused.
    told.until(4 * CALLS, SOON).await;
    let actions = writers.finish().await;
    println!("{} actions; {}", actions.len(), told.summary());
    settled(&world.pair).await;
    assert_each_key_once(&world.pair, &told).await;
    for action in &actions {
        let events = assert_same_story(&action.source_owner, &action.target_owner, &action.id).await;
        told.assert_present(&action.id, &events);
    }
    for node in [&world.pair.student, &world.pair.tutor] {
        node.verify().await;
    }
}

/// Waits until the lane is empty, and asserts that sender and receiver count the same.
async fn settled(pair: &Pair) {
    let (sender, receiver) =
        (pair.tutor.instance.database.client().await, pair.student.instance.database.client().await);
    eventually("everything is delivered", SOON * 3, || async {
        let row = sender
            .query_one(
                "select coalesce(max(h.seq), 0), coalesce(max(l.acknowledged_seq), 0), coalesce(max(l.state), ''),
                        (select count(*) from parked_events where resolution is null)
                   from outbox_heads h left join lanes l using (network, destination)",
                &[],
            )
            .await
            .map_err(|error| error.to_string())?;
        let (last, acknowledged, state, parked): (i64, i64, String, i64) =
            (row.get(0), row.get(1), row.get(2), row.get(3));
        check(last == acknowledged && parked == 0, format!("{acknowledged} of {last}, {parked} parked, {state}"))
    })
    .await;
    log::projected(&sender).await;
    log::projected(&receiver).await;
    let count = |query: &'static str| {
        let (sender, receiver) = (&sender, &receiver);
        async move {
            let of = async |client: &tokio_postgres::Client| -> i64 {
                client.query_one(query, &[]).await.expect("a count").get(0)
            };
            (of(sender).await, of(receiver).await)
        }
    };
    let (owed, _) = count("select count(*) from outbox").await;
    let (_, stored) = count("select count(*) from event_log where event_type = 'action.event_mirrored'").await;
    assert_eq!(owed, stored, "events owed and events stored");
    let (last, _) = count("select coalesce(max(seq), 0) from outbox_heads").await;
    let (_, mark) = count("select coalesce(max(high_water), 0) from inbox").await;
    assert_eq!(last, mark, "the sender's last number and the receiver's mark");
}

/// Every perform was repeated with its key until it was answered: as many actions as keys, and each key its own.
async fn assert_each_key_once(pair: &Pair, told: &Told) {
    let client = pair.tutor.instance.database.client().await;
    let rows = client.query("select action_id from item_actions_live.item_actions", &[]).await.expect("the actions");
    let mut stored: Vec<Uuid> = rows.iter().map(|row| row.get(0)).collect();
    let mut answered = told.performed();
    stored.sort_unstable();
    answered.sort_unstable();
    assert_eq!(stored, answered, "actions at the target and actions that were answered");
}
