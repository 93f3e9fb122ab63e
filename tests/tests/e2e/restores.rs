//! Either side comes back from a backup that was taken while people wrote. What the receiver has lost is seen and sent
//! again; what the sender has forgotten and then decided otherwise is seen and named, and nothing is overwritten.

use dpg_tests::log::{SOON, arrives, assert_same_story};
use dpg_tests::pair::{PairOptions, Scene};
use dpg_tests::wait::check;
use dpg_tests::{Cluster, Node, Pair, TestDatabase, User, eventually};
use serde_json::Value;
use tokio::sync::watch;
use tokio::task::JoinSet;

const ACTIONS: usize = 4;

async fn pair(student: TestDatabase, tutor: TestDatabase) -> Pair {
    let environment = vec![("ADMIN_KEY", "the operator's key".to_owned())];
    Pair::with_databases(PairOptions { signed: true, environment, ..PairOptions::default() }, student, tutor).await
}

/// Several actions between two people, as both instances know them.
async fn actions(scene: &Scene) -> Vec<String> {
    let mut actions = vec![scene.action.clone()];
    while actions.len() < ACTIONS {
        let performed = scene.asha.perform(&scene.source, &scene.target).send().await.expect(201);
        actions.push(performed.text_at("action_id"));
    }
    actions
}

/// One writer per action, who sets one status after another until told to stop.
struct Writers {
    written: Vec<watch::Receiver<usize>>,
    stop: watch::Sender<bool>,
    tasks: JoinSet<()>,
}

impl Writers {
    fn start(owner: &User, actions: &[String]) -> Self {
        let (stop, stopped) = watch::channel(false);
        let mut writers = Self { written: Vec::new(), stop, tasks: JoinSet::new() };
        for action in actions {
            let (owner, action, stopped) = (owner.clone(), action.clone(), stopped.clone());
            let (count, written) = watch::channel(0);
            writers.written.push(written);
            writers.tasks.spawn(async move {
                for status in ["pending", "accepted"].into_iter().cycle() {
                    if *stopped.borrow() {
                        return;
                    }
                    let _set = owner.update_status(&action, status).send().await.expect(200);
                    count.send_modify(|count| *count += 1);
                }
            });
        }
        writers
    }

    /// Waits until each has written so many more.
    async fn more(&mut self, more: usize) {
        for written in &mut self.written {
            let wanted = *written.borrow() + more;
            let _reached = written.wait_for(|count| *count >= wanted).await.expect("a writer failed");
        }
    }

    async fn finish(mut self) {
        self.stop.send_replace(true);
        while let Some(ended) = self.tasks.join_next().await {
            ended.expect("a writer failed");
        }
    }
}

async fn lane(pair: &Pair) -> Value {
    let peers = pair.tutor.process.client().get("/api/v1/admin/peers").header("x-admin-key", "the operator's key");
    peers.send().await.expect(200).body["lanes"][0].clone()
}

async fn settled(pair: &Pair) {
    eventually("the lane is settled", SOON, || async {
        let lane = lane(pair).await;
        check(lane["waiting"] == 0 && lane["last_seq"] == lane["acknowledged_seq"], lane)
    })
    .await;
}

/// Writes, takes a backup of `cluster` meanwhile, writes on, and stops once all is delivered. How many events were
/// delivered for certain before the backup began.
async fn back_up_under_writers(cluster: &Cluster, pair: &Pair, owner: &User, actions: &[String]) -> u64 {
    let mut writers = Writers::start(owner, actions);
    writers.more(5).await;
    let before = lane(pair).await["acknowledged_seq"].as_u64().expect("a number");
    tokio::task::block_in_place(|| cluster.back_up());
    writers.more(5).await;
    writers.finish().await;
    settled(pair).await;
    before
}

/// Kills a node's process and brings its database back to the backup, as an operator does by `docs/operator.md`.
async fn restore(cluster: &Cluster, node: &mut Node) {
    node.process.kill();
    cluster.restore().await;
    for verb in [["verify"].as_slice(), &["log", "new-epoch"]] {
        let output = node.instance.run(verb).await;
        assert!(output.status.success(), "{verb:?}: {}", String::from_utf8_lossy(&output.stderr));
    }
    node.process.restart().await;
}

/// What `dpg peers reconcile` says on the sender's side.
struct Reconciled {
    same: bool,
    here: u64,
    there: u64,
    differ: u64,
    text: String,
}

async fn reconcile(pair: &Pair) -> Reconciled {
    let output = pair.tutor.instance.run(&["peers", "reconcile", &pair.student.instance.url]).await;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let text = format!("{}{}", text(&output.stdout), text(&output.stderr));
    let before = |word: &str| {
        let (number, _) = text.split_once(word).unwrap_or_else(|| panic!("no{word}: {text}"));
        number.rsplit(' ').next().and_then(|number| number.parse().ok()).unwrap_or_else(|| panic!("{text}"))
    };
    let (here, there, differ) = (before(" events here"), before(" there,"), before(" differ"));
    Reconciled { same: output.status.success(), here, there, differ, text }
}

async fn count(user: &User, action: &str) -> i64 {
    user.action(action).await.expect("the action")["update_count"].as_i64().expect("a count")
}

/// Once the tables have caught up.
async fn assert_same_stories(scene: &Scene, actions: &[String]) {
    for action in actions {
        arrives(&scene.asha, action, count(&scene.ravi, action).await).await;
        assert_same_story(&scene.asha, &scene.ravi, action).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_restored_receiver_has_lost_is_sent_again() {
    let cluster = Cluster::start().await;
    let mut pair = pair(cluster.database().await, TestDatabase::create().await).await;
    let scene = Scene::of_pair(&pair).await;
    let actions = actions(&scene).await;
    let before = back_up_under_writers(&cluster, &pair, &scene.ravi, &actions).await;
    restore(&cluster, &mut pair.student).await;

    let lost = reconcile(&pair).await;
    assert!(!lost.same && before <= lost.there && lost.there < lost.here, "{before} before: {}", lost.text);
    assert_eq!(lost.differ, lost.here - lost.there, "{}", lost.text);
    let named = lost.text.lines().filter(|line| line.contains("was delivered as") && line.contains("is lost there"));
    assert_eq!(named.count(), usize::try_from(lost.differ).expect("a count"), "{}", lost.text);
    // The next event tells the sender; an idle lane asks by itself once an hour.
    let _set = scene.ravi.update_status(&scene.action, "completed").send().await.expect(200);
    eventually("the gap is filled", SOON, || async {
        let now = reconcile(&pair).await;
        check(now.same && now.here == lost.here + 1 && now.there == now.here, now.text)
    })
    .await;
    settled(&pair).await;
    assert_same_stories(&scene, &actions).await;
    pair.student.verify().await;
}

/// People go on writing while the receiver is away and comes back: what is new arrives beyond the gap, and the gap is
/// filled all the same.
#[tokio::test(flavor = "multi_thread")]
async fn a_receiver_that_is_restored_while_people_write_gets_everything() {
    let cluster = Cluster::start().await;
    let mut pair = pair(cluster.database().await, TestDatabase::create().await).await;
    let scene = Scene::of_pair(&pair).await;
    let actions = actions(&scene).await;
    let mut writers = Writers::start(&scene.ravi, &actions);
    writers.more(5).await;
    tokio::task::block_in_place(|| cluster.back_up());
    let backed_up = lane(&pair).await["last_seq"].clone();
    eventually("events are delivered after the backup", SOON, || async {
        let lane = lane(&pair).await;
        check(lane["acknowledged_seq"].as_i64() > backed_up.as_i64(), &lane)
    })
    .await;
    restore(&cluster, &mut pair.student).await;
    writers.more(5).await;
    writers.finish().await;
    eventually("both sides are the same", SOON, || async {
        let now = reconcile(&pair).await;
        check(now.same && now.there == now.here, now.text)
    })
    .await;
    settled(&pair).await;
    let refills = pair.tutor.process.metric("dpg_mirror_refills_total", &[]).await;
    assert!(refills >= Some(1.0), "the gap was seen: {refills:?}");
    assert_same_stories(&scene, &actions).await;
    pair.student.verify().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restored_senders_divergence_is_seen_and_named_and_overwrites_nothing() {
    let cluster = Cluster::start().await;
    let mut pair = pair(TestDatabase::create().await, cluster.database().await).await;
    let scene = Scene::of_pair(&pair).await;
    let actions = actions(&scene).await;
    back_up_under_writers(&cluster, &pair, &scene.ravi, &actions).await;
    let mut mirrored = Vec::new();
    for action in &actions {
        arrives(&scene.asha, action, count(&scene.ravi, action).await).await;
        mirrored.push(scene.asha.events(action).await);
    }
    restore(&cluster, &mut pair.tutor).await;

    // The tutor has forgotten the last changes of every action, and now decides otherwise.
    let mut forgotten = 0;
    let mut otherwise = Vec::new();
    for (action, mirrored) in actions.iter().zip(&mirrored) {
        let kept = count(&scene.ravi, action).await + 1;
        forgotten += mirrored.len() - usize::try_from(kept).expect("a count");
        let _set = scene.ravi.update_status(action, "rejected").send().await.expect(200);
        otherwise.push(kept);
    }
    let diverged = eventually("every divergence is seen", SOON, || async {
        let lane = lane(&pair).await;
        check(lane["diverged"] == true && lane["parked"] == ACTIONS && lane["waiting"] == 0, &lane)?;
        Ok::<_, String>(lane)
    })
    .await;
    for (action, mirrored) in actions.iter().zip(&mirrored) {
        assert_eq!(&scene.asha.events(action).await, mirrored, "nothing is overwritten");
    }
    let told = reconcile(&pair).await;
    assert!(!told.same && told.differ == u64::try_from(forgotten).expect("a count"), "{forgotten}: {}", told.text);
    for (action, count) in actions.iter().zip(&otherwise) {
        assert!(told.text.contains(&format!("different: action {action} event {count}:")), "{}", told.text);
        let next = format!("missing here: action {action} event {}:", count + 1);
        assert!(told.text.contains(&next), "{diverged}: {}", told.text);
    }
    pair.tutor.verify().await;
}
