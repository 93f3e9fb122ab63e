//! `kill -9` of the instance, or of its database, in the middle of writes: what was acknowledged is there afterwards, and
//! projections and outbox say what the log says.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use dpg_tests::log::{SOON, arrives, assert_same_story, verify};
use dpg_tests::network::{TUTOR, tutor_state};
use dpg_tests::pair::{Node, PairOptions, Scene};
use dpg_tests::wait::check;
use dpg_tests::{Cluster, Pair, User, eventually};
use futures_util::future::join_all;
use nix::sys::signal::Signal;
use uuid::Uuid;

const ROUNDS: usize = 20;
const ITEM_WRITERS: usize = 6;

/// What clients have been told.
#[derive(Default)]
struct Acknowledged {
    items: Mutex<Vec<Uuid>>,
    changes: Mutex<Vec<(Uuid, i32, String)>>,
    count: AtomicUsize,
}

impl Acknowledged {
    /// Asserts by the log and by the tables that nothing of it is missing.
    async fn assert_present(&self, node: &Node, round: usize) {
        let client = node.instance.database.client().await;
        dpg_tests::log::projected(&client).await;
        let items = self.items.lock().expect("no writer panicked").clone();
        for query in [
            "select count(*) from unnest($1::uuid[]) as i where i not in (select stream_id from stream_heads)",
            "select count(*) from unnest($1::uuid[]) as i where i not in (select item_id from items_live.items)",
        ] {
            let missing: i64 = client.query_one(query, &[&items]).await.expect("the tables").get(0);
            assert_eq!(missing, 0, "round {round}: acknowledged items are missing: {query}");
        }
        let changes = self.changes.lock().expect("no writer panicked").clone();
        let (actions, rest): (Vec<Uuid>, Vec<(i32, String)>) =
            changes.into_iter().map(|(id, c, s)| (id, (c, s))).unzip();
        let (counts, statuses): (Vec<i32>, Vec<String>) = rest.into_iter().unzip();
        let query = "select count(*) from unnest($1::uuid[], $2::int[], $3::text[]) as a (action, count, status)
                      where not exists (select from action_events_live.action_events e
                                         where e.action_id = a.action and e.update_count = a.count
                                           and e.action_status = a.status)";
        let missing: i64 = client.query_one(query, &[&actions, &counts, &statuses]).await.expect("the tables").get(0);
        assert_eq!(missing, 0, "round {round}: acknowledged status changes are missing");
    }
}

/// Writes until told to stop. An answer that didn't come, or a 5xx, acknowledges nothing.
async fn write(user: User, action: Option<String>, told: &Acknowledged, stop: &AtomicBool) {
    for number in 0.. {
        if stop.load(Ordering::SeqCst) {
            return;
        }
        let status = ["pending", "accepted"][number % 2];
        let request = match &action {
            Some(action) => user.update_status(action, status),
            None => user.create(TUTOR, &tutor_state("Ravi")).header("prefer", "respond-async"),
        };
        let Ok(answer) = request.try_send().await else {
            tokio::task::yield_now().await;
            continue;
        };
        match (answer.status, &action) {
            (201, None) => {
                let id = answer.text_at("item_id").parse().expect("a uuid");
                told.items.lock().expect("no writer panicked").push(id);
            }
            (200, Some(action)) => {
                let count = answer.body["update_count"].as_i64().and_then(|count| i32::try_from(count).ok());
                let change = (action.parse().expect("a uuid"), count.expect("a count"), status.to_owned());
                told.changes.lock().expect("no writer panicked").push(change);
            }
            (500.., _) => {
                tokio::task::yield_now().await;
                continue;
            }
            _ => panic!("{answer}"),
        }
        told.count.fetch_add(1, Ordering::SeqCst);
    }
}

/// Lets writers write, calls `kill` after a random number of acknowledgements, and returns when they have stopped.
async fn round(ravi: &User, actions: &[String], told: &Acknowledged, kill: impl FnOnce()) {
    let stop = AtomicBool::new(false);
    let until = told.count.load(Ordering::SeqCst) + rand::random_range(20..120);
    let writers = (0..ITEM_WRITERS).map(|_| None).chain(actions.iter().cloned().map(Some));
    let writers = join_all(writers.map(|action| write(ravi.clone(), action, told, &stop)));
    let killer = async {
        eventually("enough writes before the kill", SOON, || async {
            let count = told.count.load(Ordering::SeqCst);
            check(count >= until, format!("{count} of {until}"))
        })
        .await;
        kill();
        stop.store(true, Ordering::SeqCst);
    };
    tokio::join!(writers, killer);
}

/// Several actions of one tutor, so that status changes of different streams share batches.
async fn actions(scene: &Scene) -> Vec<String> {
    let mut actions = vec![scene.action.clone()];
    for _ in 0..3 {
        let answer = scene.asha.perform(&scene.source, &scene.target).send().await.expect(201);
        actions.push(answer.text_at("action_id"));
    }
    actions
}

async fn assert_mirrored(scene: &Scene, actions: &[String], told: &Acknowledged) {
    for action in actions {
        let last = scene.ravi.action(action).await.expect("the action")["update_count"].as_i64().expect("a count");
        arrives(&scene.asha, action, last).await;
        assert_same_story(&scene.asha, &scene.ravi, action).await;
    }
    assert!(!told.changes.lock().expect("no writer panicked").is_empty(), "no status change was acknowledged");
}

#[tokio::test(flavor = "multi_thread")]
async fn kill_9_of_the_instance_loses_nothing_that_was_acknowledged() {
    let mut pair = Pair::start().await;
    let scene = Scene::of_pair(&pair).await;
    let (actions, told) = (actions(&scene).await, Acknowledged::default());
    for number in 1..=ROUNDS {
        let process = &mut pair.tutor.process;
        round(&scene.ravi, &actions, &told, || process.kill()).await;
        pair.tutor.process.restart().await;
        told.assert_present(&pair.tutor, number).await;
        verify(&pair.tutor.instance).await;
    }
    assert_mirrored(&scene, &actions, &told).await;
    pair.student.verify().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_immediate_stop_of_the_database_loses_nothing_that_was_acknowledged() {
    let cluster = Cluster::start().await;
    let mut pair = Pair::with_tutor_database(PairOptions::default(), cluster.database().await).await;
    let scene = Scene::of_pair(&pair).await;
    let (actions, told) = (actions(&scene).await, Acknowledged::default());
    for number in 1..=ROUNDS {
        round(&scene.ravi, &actions, &told, || {
            if number % 4 == 0 {
                cluster.kill();
            } else {
                cluster.stop_immediately();
            }
        })
        .await;
        cluster.resume().await;
        // The process itself has lived through it.
        pair.tutor.process.wait_ready().await;
        told.assert_present(&pair.tutor, number).await;
        verify(&pair.tutor.instance).await;
    }
    assert_mirrored(&scene, &actions, &told).await;
    pair.student.verify().await;
    let status = pair.tutor.process.terminate().await;
    assert!(status.success(), "{status}");
}

#[tokio::test(flavor = "multi_thread")]
async fn sigterm_during_writes_drains_and_ends_cleanly() {
    let mut pair = Pair::start().await;
    let scene = Scene::of_pair(&pair).await;
    let (actions, told) = (actions(&scene).await, Acknowledged::default());
    for number in 1..=3 {
        let process = &pair.tutor.process;
        round(&scene.ravi, &actions, &told, || process.signal(Signal::SIGTERM)).await;
        let status = pair.tutor.process.ended().await;
        assert!(status.success(), "round {number}: {status}");
        pair.tutor.process.restart().await;
        told.assert_present(&pair.tutor, number).await;
        verify(&pair.tutor.instance).await;
    }
    assert_mirrored(&scene, &actions, &told).await;
}
