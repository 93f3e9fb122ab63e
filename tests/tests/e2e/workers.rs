//! Any number of workers, and workers that are stopped while they hold something: the others take over, and nothing is
//! applied or delivered twice in effect.

use std::time::{Duration, Instant};

use dpg_tests::log::{arrives, assert_same_story, projected};
use dpg_tests::network::{NETWORK, STUDENT, TUTOR, tutor_state};
use dpg_tests::pair::Scene;
use dpg_tests::wait::check;
use dpg_tests::{Contract, Fault, Instance, Node, Process, Proxy, Role, TestDatabase, eventually, port};
use futures_util::future::join_all;
use nix::sys::signal::Signal;
use serde_json::json;

/// Beyond every session time-out and lease of the design, with room for a loaded machine.
const TAKE_OVER: Duration = Duration::from_secs(20);

/// A student instance in one process, and a tutor instance in many.
struct Crowd {
    student: Node,
    line: Proxy,
    tutor: Node,
    projectors: Vec<Process>,
    mirrors: Vec<Process>,
}

impl Crowd {
    async fn start() -> Self {
        let (student_port, tutor_port) = (port::free(), port::free());
        let line = Proxy::start(student_port).await;
        let (student_url, tutor_url) = (line.url(), port::url(tutor_port));
        let contract = Contract::new().instance(STUDENT, &student_url).instance(TUTOR, &tutor_url);
        let student = Instance::new("student", &[STUDENT], &student_url, TestDatabase::create().await, &contract);
        let student = Node::of(student, student_port).await;
        let tutor = Instance::new("tutor", &[TUTOR], &tutor_url, TestDatabase::create().await, &contract);
        // All start at once, so that their migrations meet too.
        let mut api = tutor.spawn(Role::Api, tutor_port);
        let mut projectors: Vec<Process> = (0..2).map(|_| tutor.spawn(Role::Projector, port::free())).collect();
        let mut mirrors: Vec<Process> = (0..2).map(|_| tutor.spawn(Role::Mirror, port::free())).collect();
        for process in projectors.iter_mut().chain(&mut mirrors).chain([&mut api]) {
            process.wait_ready().await;
        }
        Self { student, line, tutor: Node { process: api, instance: tutor }, projectors, mirrors }
    }

    async fn scene(&self) -> Scene {
        Scene::of(&self.student, &self.tutor).await
    }
}

/// `changes` status changes of an action, one after the other.
async fn change(scene: &Scene, action: &str, changes: usize) {
    for number in 0..changes {
        let status = ["pending", "accepted"][number % 2];
        let answer = scene.ravi.update_status(action, status).header("prefer", "respond-async").send().await;
        assert_eq!(answer.status, 200, "{answer}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_projectors_and_two_mirrors_apply_and_deliver_once() {
    let crowd = Crowd::start().await;
    let scene = crowd.scene().await;
    let mut actions = vec![scene.action.clone()];
    for _ in 0..4 {
        actions.push(scene.asha.perform(&scene.source, &scene.target).send().await.expect(201).text_at("action_id"));
    }
    let creates = (0..60).map(|_| scene.ravi.create(TUTOR, &tutor_state("Ravi")).send());
    let (created, _) =
        tokio::join!(join_all(creates), join_all(actions.iter().map(|action| change(&scene, action, 20))));
    assert!(created.iter().all(|answer| answer.status == 201), "{created:?}");

    for action in &actions {
        arrives(&scene.asha, action, 20).await;
        let events = assert_same_story(&scene.asha, &scene.ravi, action).await;
        assert_eq!(events.len(), 21);
    }
    assert_mirrored_once(&crowd).await;
    crowd.tutor.verify().await;
    crowd.student.verify().await;
}

/// Each event is in the receiver's log once, and those of one action in their order.
async fn assert_mirrored_once(crowd: &Crowd) {
    let client = crowd.student.instance.database.client().await;
    let query = "select count(*), count(distinct event_id), coalesce(bool_and(ordered), true) from (
                   select event_id, (payload->'event'->>'update_count')::int
                            = row_number() over (partition by stream_id order by position) - 1 as ordered
                     from event_log where network = $1 and event_type = 'action.event_mirrored') as mirrored";
    let row = client.query_one(query, &[&NETWORK]).await.expect("the log");
    assert_eq!(row.get::<_, i64>(0), row.get::<_, i64>(1), "an event was stored twice");
    assert!(row.get::<_, bool>(2), "events of an action were stored out of order");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stopped_projector_is_replaced_and_does_no_harm_when_it_wakes() {
    let crowd = Crowd::start().await;
    let scene = crowd.scene().await;
    for round in 0..4 {
        let stopped = &crowd.projectors[round % 2];
        let (writes, ()) = tokio::join!(
            join_all(
                (0..40).map(|_| scene
                    .ravi
                    .create(TUTOR, &tutor_state("Ravi"))
                    .header("prefer", "respond-async")
                    .send())
            ),
            async { stopped.signal(Signal::SIGSTOP) },
        );
        let last = writes.iter().map(dpg_tests::Answer::position).max().expect("writes");
        let minimum = format!("{NETWORK}:{last}");
        eventually("the other projector has taken over", TAKE_OVER, || async {
            let page = scene.ravi.items(TUTOR, "limit=1").header("dpg-min-position", &minimum).send().await;
            check(page.status == 200, page)
        })
        .await;
        stopped.signal(Signal::SIGCONT);
    }
    let client = crowd.tutor.instance.database.client().await;
    projected(&client).await;
    let counted: i64 = client.query_one("select count(*) from items_live.items", &[]).await.expect("the items").get(0);
    assert_eq!(counted, 161);
    crowd.tutor.verify().await;
}

/// The worst moment: it has taken the checkpoint and folds.
#[tokio::test(flavor = "multi_thread")]
async fn a_projector_stopped_while_it_holds_the_checkpoint_is_replaced_and_does_no_harm_when_it_wakes() {
    let port = port::free();
    let url = port::url(port);
    let contract = Contract::new().instance(STUDENT, &url).instance(TUTOR, &url);
    let instance = Instance::new("both", &[STUDENT, TUTOR], &url, TestDatabase::create().await, &contract);
    let api = instance.start(Role::Api, port).await;
    let ravi = api.sign_up("ravi").await;
    let watcher = instance.database.client().await;
    let mut holder = instance.database.client().await;
    let mut working = instance.start(Role::Projector, port::free()).await;
    let item = ravi.create_tutor("Ravi").await;
    let path = format!("/api/v1/item/{}", item["item_id"].as_str().expect("an id"));
    projected(&watcher).await;
    for round in 0..3 {
        // The fold has to change this row, and waits for it with the checkpoint in its hands.
        let holding = holder.transaction().await.expect("a transaction");
        holding.execute("select * from items_live.items for update", &[]).await.expect("the item's row");
        let name = format!("Ravi {round}");
        let change = json!({"item_state": tutor_state(&name)});
        let changed = ravi.patch(&path).json(&change).header("prefer", "respond-async").send().await.expect(200);
        let minimum = format!("{NETWORK}:{}", changed.position());
        eventually("the projector waits for the row, the checkpoint in its hands", TAKE_OVER, || async {
            let query = "select (select count(*) from pg_stat_activity where datname = current_database()
                                    and application_name = 'dpg projector' and wait_event_type = 'Lock')";
            let waiting: i64 = watcher.query_one(query, &[]).await.expect("the activity").get(0);
            let free = "select from projection_checkpoints where projection = 'items' for update skip locked";
            let free = watcher.query(free, &[]).await.expect("the checkpoint").len();
            check(waiting == 1 && free == 0, format!("{waiting} wait, {free} checkpoints are free"))
        })
        .await;
        working.signal(Signal::SIGSTOP);
        let other = instance.start(Role::Projector, port::free()).await;
        holding.rollback().await.expect("the row is let go");

        eventually("the other projector has taken over", TAKE_OVER, || async {
            let page = ravi.items(TUTOR, "limit=1").header("dpg-min-position", &minimum).send().await;
            check(page.status == 200 && page.body["items"][0]["item_state"]["name"] == json!(name), page)
        })
        .await;
        for _ in 0..10 {
            let _created = ravi.create(STUDENT, &json!({"name": "Meanwhile"})).send().await.expect(201);
        }
        working.signal(Signal::SIGCONT);
        let _created = ravi.create(STUDENT, &json!({"name": "Afterwards"})).send().await.expect(201);
        projected(&watcher).await;
        // The woken one must be able to go on alone; it is the one to be stopped next.
        drop(other);
        let created = ravi.create(STUDENT, &json!({"name": "Alone"})).header("prefer", "respond-async").send().await;
        assert_eq!(created.status, 201, "{created}");
        projected(&watcher).await;
    }
    dpg_tests::log::verify(&instance).await;
    let page = ravi.items(STUDENT, "limit=1").send().await.expect(200);
    assert_eq!(page.body["meta"]["total"], json!(36), "{page}");
    assert!(working.terminate().await.success());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stopped_mirror_is_replaced_past_its_lease_and_does_no_harm_when_it_wakes() {
    let crowd = Crowd::start().await;
    let scene = crowd.scene().await;
    let mut count = 0;
    // Whoever holds the lane in the first round, the second one stops the holder.
    for stopped in &crowd.mirrors {
        crowd.line.set(Fault::Hang).await;
        let before = crowd.line.accepted();
        change(&scene, &scene.action, 5).await;
        count += 5;
        eventually("a delivery is under way", TAKE_OVER, || async {
            check(crowd.line.accepted() > before, "no connection")
        })
        .await;
        stopped.signal(Signal::SIGSTOP);
        crowd.line.set(Fault::Pass).await;
        arrives(&scene.asha, &scene.action, count).await;
        stopped.signal(Signal::SIGCONT);
        change(&scene, &scene.action, 5).await;
        count += 5;
        arrives(&scene.asha, &scene.action, count).await;
    }
    let events = assert_same_story(&scene.asha, &scene.ravi, &scene.action).await;
    assert_eq!(events.len(), 21);
    assert_mirrored_once(&crowd).await;
    crowd.tutor.verify().await;
    crowd.student.verify().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_api_process_stopped_in_the_middle_of_an_append_does_not_stop_the_others() {
    let node = Node::both().await;
    let other = node.instance.start(Role::Api, port::free()).await;
    let ravi = node.sign_up("ravi").await;
    let stopped_client = ravi.at(&other.url());
    let mut holder = node.instance.database.client().await;
    for round in 0..3 {
        // The head is held until the append of the process that is to be stopped waits for it inside the database.
        let holding = holder.transaction().await.expect("a transaction");
        holding.execute("select * from log_head for update", &[]).await.expect("the head");
        let request = stopped_client.create(TUTOR, &tutor_state("Stopped")).try_send();
        let pending = tokio::spawn(request);
        let watcher = node.instance.database.client().await;
        eventually("an append waits for the head", TAKE_OVER, || async {
            let query = "select count(*) from pg_stat_activity
                          where datname = current_database() and wait_event_type = 'Lock'";
            let waiting: i64 = watcher.query_one(query, &[]).await.expect("the activity").get(0);
            check(waiting > 0, "nobody waits")
        })
        .await;
        other.signal(Signal::SIGSTOP);
        holding.rollback().await.expect("the head is let go");

        let started = Instant::now();
        for _ in 0..10 {
            let created = ravi.create(TUTOR, &tutor_state("Going on")).send().await;
            assert_eq!(created.status, 201, "round {round}: {created}");
        }
        assert!(started.elapsed() < TAKE_OVER, "round {round}: ten writes took {:?}", started.elapsed());
        other.signal(Signal::SIGCONT);
        let answer =
            pending.await.expect("the request's task").unwrap_or_else(|error| panic!("round {round}: {error}"));
        let found = match answer.body["item_id"].as_str() {
            Some(id) => ravi.items(TUTOR, &format!("item_id={id}")).send().await.body["meta"]["total"].as_i64(),
            None => None,
        };
        assert!(
            (answer.status == 201 && found == Some(1)) || answer.status == 503,
            "round {round}: found {found:?} after {answer}"
        );
        eventually("the woken process writes again", TAKE_OVER, || async {
            let created = stopped_client.create(TUTOR, &tutor_state("Awake")).send().await;
            check(created.status == 201, created)
        })
        .await;
    }
    node.verify().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn five_processes_may_start_at_once_on_an_empty_database() {
    let port = port::free();
    let url = port::url(port);
    let contract = Contract::new().instance(STUDENT, &url).instance(TUTOR, &url);
    let instance = Instance::new("both", &[STUDENT, TUTOR], &url, TestDatabase::create().await, &contract);
    let mut processes: Vec<Process> = std::iter::once(port)
        .chain(std::iter::repeat_with(port::free))
        .take(5)
        .map(|port| instance.spawn(Role::Serve, port))
        .collect();
    for process in &mut processes {
        process.wait_ready().await;
    }
    let ravi = processes[0].sign_up("ravi").await;
    let creates = processes.iter().map(|process| ravi.at(&process.url()).create(TUTOR, &tutor_state("Ravi")).send());
    for answer in join_all(creates).await {
        assert_eq!(answer.status, 201, "{answer}");
        assert_eq!(answer.header("dpg-projected"), Some("true"), "{answer}");
    }
    for process in &mut processes {
        let status = process.terminate().await;
        assert!(status.success(), "{status}");
    }
    dpg_tests::log::assert_dense(&instance.database.client().await, NETWORK).await;
}
