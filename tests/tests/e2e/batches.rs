//! Batches between two instances of our own make, and what the inlet makes of each event (CONTRACT 4.14a, 4.14b).

use std::time::Duration;

use dpg_tests::log::{SOON, arrives, assert_same_story, projected};
use dpg_tests::network::{CONNECT, NETWORK, PROFILE, STUDENT, TUTOR, reference};
use dpg_tests::pair::{PairOptions, Scene};
use dpg_tests::wait::check;
use dpg_tests::{Answer, Contract, Fault, Instance, Node, Pair, TestDatabase, User, eventually, port};
use serde_json::{Value, json};
use uuid::Uuid;

const BATCH: &str = "/api/v1/event/store/batch";

async fn signed_pair() -> Pair {
    let environment = vec![("PEER_TIMEOUT_MS", "1000".to_owned())];
    Pair::with(PairOptions { proxied_student: true, signed: true, environment, ..PairOptions::default() }).await
}

async fn changes(scene: &Scene, counts: std::ops::RangeInclusive<i64>) {
    for count in counts {
        let status = if count % 2 == 0 { "pending" } else { "accepted" };
        let body = json!({"action_id": scene.action, "action_status": status, "remarks": format!("change {count}")});
        let answer = scene.ravi.post("/api/v1/action/update-status").json(&body).send().await.expect(200);
        assert_eq!(answer.body["update_count"], json!(count));
    }
}

/// The sender's lane, as its database has it, with the number of events that were ever owed.
async fn lane(pair: &Pair) -> (i64, i64, i64) {
    let client = pair.tutor.instance.database.client().await;
    let query =
        "select h.seq, l.acknowledged_seq, l.high_water from outbox_heads h join lanes l using (network, destination)";
    client.query_opt(query, &[]).await.expect("the lane").map_or((0, 0, 0), |row| (row.get(0), row.get(1), row.get(2)))
}

/// Everything is acknowledged and the receiver's mark says so; both sides tell the same story, once.
async fn assert_settled(pair: &Pair, scene: &Scene, last: i64) {
    arrives(&scene.asha, &scene.action, last).await;
    eventually("the mark is at the lane's end", SOON, || async {
        let (seq, acknowledged, high_water) = lane(pair).await;
        check(
            seq == last + 1 && acknowledged == seq && high_water == seq,
            format!("{:?}", (seq, acknowledged, high_water)),
        )
    })
    .await;
    let events = assert_same_story(&scene.asha, &scene.ravi, &scene.action).await;
    assert_eq!(i64::try_from(events.len()).expect("a few"), last + 1);
    let client = pair.student.instance.database.client().await;
    let query = "select (payload->'event'->>'update_count')::bigint from event_log
                  where network = $1 and event_type = 'action.event_mirrored' and stream_id::text = $2 order by position";
    let rows = client.query(query, &[&NETWORK, &scene.action]).await.expect("the log");
    let counts: Vec<i64> = rows.iter().map(|row| row.get(0)).collect();
    assert_eq!(counts, (0..=last).collect::<Vec<i64>>(), "order of arrival");
    pair.student.verify().await;
    pair.tutor.verify().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_owed_while_the_peer_was_away_arrives_in_batches() {
    let pair = signed_pair().await;
    let scene = Scene::of_pair(&pair).await;
    let line = pair.student_line.as_ref().expect("a proxy");
    line.set(Fault::Refuse).await;
    changes(&scene, 1..=60).await;
    line.set(Fault::Pass).await;
    assert_settled(&pair, &scene, 60).await;
    let batches = pair.tutor.process.metric("dpg_mirror_batch_events_count", &[]).await.expect("batches");
    let events = pair.tutor.process.metric("dpg_mirror_batch_events_sum", &[]).await.expect("batches");
    assert!(events >= 61.0 && batches <= events / 2.0, "{events} events in {batches} batches");
}

/// Must-hold 7: the batch is taken in, its answer is lost, and the sender dies before it knows.
#[tokio::test(flavor = "multi_thread")]
async fn a_crash_between_send_and_acknowledge_has_no_second_effect() {
    let mut pair = signed_pair().await;
    let scene = Scene::of_pair(&pair).await;
    let line = pair.student_line.as_ref().expect("a proxy");
    line.set(Fault::CutAnswer(0)).await;
    changes(&scene, 1..=10).await;
    // The receiver has them; nobody has told the sender.
    arrives(&scene.asha, &scene.action, 1).await;
    let acknowledged = lane(&pair).await.1;
    assert!(acknowledged < 11, "an answer came through: {acknowledged}");
    pair.tutor.process.kill();
    line.set(Fault::Pass).await;
    pair.tutor.process.restart().await;
    assert_settled(&pair, &scene, 10).await;
}

/// A receiver that restores a backup is behind what it acknowledged; the next event makes that good.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_receiver_lost_is_sent_again() {
    let pair = signed_pair().await;
    let scene = Scene::of_pair(&pair).await;
    changes(&scene, 1..=5).await;
    assert_settled(&pair, &scene, 5).await;
    // As far as the mirror is concerned, this is what a backup from before the third event looks like.
    let client = pair.student.instance.database.client().await;
    client.batch_execute("update inbox set high_water = 2").await.expect("an older mark");
    changes(&scene, 6..=6).await;
    assert_settled(&pair, &scene, 6).await;
    let refills = pair.tutor.process.metric("dpg_mirror_refills_total", &[]).await;
    assert_eq!(refills, Some(1.0));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_capability_is_told_to_everybody() {
    let node = Node::both().await;
    let told = node.process.client().get("/.well-known/dpg-peer").send().await.expect(200);
    assert_eq!(
        told.body["capabilities"],
        json!(["event-batch", "status-forward", "idempotency-key", "cursor", "histories"])
    );
    assert_eq!(told.body["limits"], json!({"batch_events": 50, "batch_bytes": 262_144}));
    assert_eq!(told.body["instance_url"], json!(node.instance.url));
}

/// A student instance of ours, and a registered peer whose batches the test writes itself.
struct Inlet {
    node: Node,
    peer: String,
    epoch: Uuid,
    asha: User,
    source: Value,
    target: Value,
}

impl Inlet {
    async fn start(mode: &str) -> Self {
        let (port, peer) = (port::free(), port::url(port::free()));
        let url = port::url(port);
        let contract = Contract::new().instance(STUDENT, &url).instance(TUTOR, &peer);
        let instance = Instance::new("student", &[STUDENT], &url, TestDatabase::create().await, &contract);
        let node = Node::of(instance.set("PEER_AUTH", mode), port).await;
        let asha = node.sign_up("asha").await;
        let source = asha.create_student("Asha").await;
        let target = json!({"item_network": NETWORK, "item_domain": TUTOR, "item_type": PROFILE,
                            "item_id": Uuid::new_v4(), "item_instance_url": peer});
        Self { node, peer, epoch: Uuid::new_v4(), asha, source, target }
    }

    fn event(&self, action: Uuid, update_count: i64, status: &str) -> Value {
        json!({"origin_instance_domain": self.peer, "action_type": CONNECT, "action_id": action,
            "action_status": status, "update_count": update_count,
            "source_item": reference(&self.source), "target_item": self.target,
            "event_payload": {"subject": "math", "status": status, "remark": "said"}, "remarks": "said"})
    }

    fn batch(&self, events: &[(i64, Value)], withdrawn: &[i64]) -> Value {
        let events: Vec<Value> = events.iter().map(|(seq, event)| json!({"seq": seq, "event": event})).collect();
        json!({"origin_instance_domain": self.peer, "network": NETWORK, "destination": self.node.instance.url,
               "epoch": self.epoch, "events": events, "withdrawn": withdrawn})
    }

    async fn send(&self, batch: &Value) -> Answer {
        self.node.process.client().post(BATCH).json(batch).send().await
    }

    /// The outcomes and the mark after a batch.
    async fn told(&self, events: &[(i64, Value)], withdrawn: &[i64]) -> (Vec<String>, i64) {
        let answer = self.send(&self.batch(events, withdrawn)).await.expect(200);
        let results = answer.body["results"].as_array().expect("results");
        let seqs: Vec<i64> = results.iter().filter_map(|result| result["seq"].as_i64()).collect();
        assert_eq!(seqs, events.iter().map(|(seq, _)| *seq).collect::<Vec<i64>>(), "{answer}");
        let outcome = |result: &Value| match result["error"].as_str() {
            Some(code) => format!("{} {} {code}", result["outcome"].as_str().unwrap_or_default(), result["status"]),
            None => result["outcome"].as_str().unwrap_or_default().to_owned(),
        };
        (results.iter().map(outcome).collect(), answer.body["high_water"].as_i64().expect("a mark"))
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_event_of_a_batch_has_its_outcome_and_the_mark_passes_what_is_settled() {
    let inlet = Inlet::start("off").await;
    let (one, two) = (Uuid::new_v4(), Uuid::new_v4());
    let changed = |change: fn(&mut Value)| {
        let mut event = inlet.event(Uuid::new_v4(), 0, "created");
        change(&mut event);
        event
    };
    assert_eq!(inlet.told(&[], &[]).await, (vec![], 0), "an empty batch asks");
    // Several events of one action in one batch, among others.
    let first = [
        (1, inlet.event(one, 0, "created")),
        (2, inlet.event(two, 0, "created")),
        (3, inlet.event(one, 1, "pending")),
        (4, inlet.event(one, 2, "accepted")),
        (5, inlet.event(one, 1, "pending")),
        (6, inlet.event(one, 2, "rejected")),
    ];
    let told = ["stored", "stored", "stored", "stored", "duplicate", "conflict"].map(str::to_owned).to_vec();
    assert_eq!(inlet.told(&first, &[]).await, (told, 6));
    let again =
        ["duplicate", "duplicate", "duplicate", "duplicate", "duplicate", "conflict"].map(str::to_owned).to_vec();
    assert_eq!(inlet.told(&first, &[]).await, (again, 6));

    let mut foreign = changed(|event| event["target_item"]["item_instance_url"] = json!("http://x.example"));
    foreign["origin_instance_domain"] = json!("http://x.example");
    let second = [
        (8, changed(|event| event["update_count"] = json!("many"))),
        (9, foreign),
        (10, changed(|event| event["target_item"]["item_network"] = json!("elsewhere"))),
        (11, changed(|event| event["target_item"]["item_instance_url"] = json!("http://x.example"))),
        (12, changed(|event| event["source_item"]["item_id"] = json!(Uuid::new_v4()))),
        (13, changed(|event| event["source_item"]["item_domain"] = json!(TUTOR))),
        (14, changed(|event| event["source_item"]["item_instance_url"] = json!("http://x.example"))),
        (15, changed(|event| event["target_item"]["item_domain"] = json!(STUDENT))),
        (16, {
            let mut event = inlet.event(one, 3, "completed");
            event["target_item"]["item_id"] = json!(Uuid::new_v4());
            event
        }),
        (17, json!("no event")),
        (18, inlet.event(one, 3, "completed")),
    ];
    let told = [
        "rejected 400 VALIDATION_ERROR",
        "rejected 400 INVALID_EVENT_REQUEST",
        "rejected 400 INVALID_EVENT_REQUEST",
        "rejected 403 EVENT_ORIGIN_MISMATCH",
        "rejected 404 SOURCE_ITEM_NOT_FOUND",
        "rejected 403 UNSERVED_DOMAIN_BINDING",
        "rejected 400 INVALID_SOURCE_INSTANCE",
        "rejected 403 PEER_NOT_REGISTERED",
        "rejected 409 EVENT_IDENTITY_CONFLICT",
        "rejected 400 VALIDATION_ERROR",
        "stored",
    ];
    assert_eq!(inlet.told(&second, &[]).await, (told.map(str::to_owned).to_vec(), 6), "7 is missing");
    assert_eq!(inlet.told(&[], &[7, 20]).await, (vec![], 18), "7 never comes");
    assert_eq!(inlet.told(&[(19, inlet.event(two, 1, "pending"))], &[]).await, (vec!["stored".to_owned()], 20));

    let client = inlet.node.instance.database.client().await;
    projected(&client).await;
    let row = arrives(&inlet.asha, &one.to_string(), 3).await;
    assert_eq!((&row["action_status"], &row["source_item_owner"]), (&json!("completed"), &json!(inlet.asha.id)));
    let events = inlet.asha.events(&one.to_string()).await;
    let counts: Vec<i64> = events.iter().filter_map(|event| event["update_count"].as_i64()).collect();
    assert_eq!(counts, [0, 1, 2, 3]);
    assert_eq!(events[2]["action_status"], json!("accepted"), "the first content stays");
    inlet.node.verify().await;
    // Another epoch is another lane.
    let other = Inlet { epoch: Uuid::new_v4(), ..inlet };
    assert_eq!(other.told(&[(1, other.event(two, 1, "pending"))], &[]).await, (vec!["duplicate".to_owned()], 1));
}

/// Many actions of one batch: taken in as one, and the same batch from two connections at once is taken in once.
#[tokio::test(flavor = "multi_thread")]
async fn the_same_batch_twice_at_once_is_stored_once() {
    let inlet = Inlet::start("off").await;
    let events: Vec<(i64, Value)> = (1..=50).map(|seq| (seq, inlet.event(Uuid::new_v4(), 0, "created"))).collect();
    let (one, two) = tokio::join!(inlet.told(&events, &[]), inlet.told(&events, &[]));
    let all: Vec<String> = one.0.into_iter().chain(two.0).collect();
    let count = |outcome: &str| all.iter().filter(|told| *told == outcome).count();
    assert_eq!((count("stored"), count("duplicate")), (50, 50), "{all:?}");
    assert_eq!(one.1.max(two.1), 50);
    inlet.node.verify().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_is_refused_as_a_whole_for_trust_destination_and_size() {
    let inlet = Inlet::start("off").await;
    let event = inlet.event(Uuid::new_v4(), 0, "created");
    let good = inlet.batch(&[(1, event.clone())], &[]);
    let changed = |key: &str, value: Value| {
        let mut batch = good.clone();
        batch[key] = value;
        batch
    };
    let elsewhere = changed("destination", json!("http://elsewhere.example"));
    inlet.send(&elsewhere).await.expect_error(400, "INVALID_DESTINATION");
    let stranger = changed("origin_instance_domain", json!("http://stranger.example"));
    inlet.send(&stranger).await.expect_error(403, "PEER_NOT_REGISTERED");
    inlet.send(&changed("network", json!("elsewhere"))).await.expect_error(403, "PEER_NOT_REGISTERED");
    let ours = changed("origin_instance_domain", json!(inlet.node.instance.url));
    inlet.send(&ours).await.expect_error(403, "PEER_IDENTITY_MISMATCH");
    let many: Vec<(i64, Value)> = (1..=51).map(|seq| (seq, event.clone())).collect();
    inlet.send(&inlet.batch(&many, &[])).await.expect_error(400, "VALIDATION_ERROR");
    for faulty in [
        inlet.batch(&[(2, event.clone()), (1, event.clone())], &[]),
        inlet.batch(&[(0, event.clone())], &[]),
        changed("epoch", json!("now")),
        changed("withdrawn", json!([0])),
        changed("events", json!({})),
        json!([]),
    ] {
        inlet.send(&faulty).await.expect_error(400, "VALIDATION_ERROR");
    }
    let mut large = inlet.event(Uuid::new_v4(), 0, "created");
    large["requirements_snapshot"] = json!({"x": "x".repeat(262_144)});
    inlet.send(&inlet.batch(&[(1, large.clone())], &[])).await.expect_error(413, "PAYLOAD_TOO_LARGE");
    let _alone = inlet.node.process.client().post("/api/v1/event/store").json(&large).send().await.expect(201);
    assert_eq!(inlet.told(&[], &[]).await, (vec![], 0), "nothing of all that moved the mark");

    let trusting = Inlet::start("permissive").await;
    let batch = trusting.batch(&[(1, trusting.event(Uuid::new_v4(), 0, "created"))], &[]);
    trusting.send(&batch).await.expect_error(401, "PEER_SIGNATURE_REQUIRED");
}

/// The line's ways to break, each while batches are under way.
#[tokio::test(flavor = "multi_thread")]
async fn a_broken_line_costs_time_and_nothing_else() {
    let pair = signed_pair().await;
    let scene = Scene::of_pair(&pair).await;
    let line = pair.student_line.as_ref().expect("a proxy");
    let mut last = 0;
    for fault in [Fault::Hang, Fault::CutAnswer(40), Fault::Refuse, Fault::Delay(Duration::from_millis(200))] {
        line.set(fault).await;
        changes(&scene, last + 1..=last + 5).await;
        last += 5;
    }
    line.set(Fault::Pass).await;
    assert_settled(&pair, &scene, last).await;
}

/// What can't be stored now is told as such, and costs the others nothing: the mark waits for it, and for it alone.
#[tokio::test(flavor = "multi_thread")]
async fn the_mark_waits_for_an_event_that_is_to_be_tried_again() {
    let inlet = Inlet::start("off").await;
    let [one, two, three] = [(); 3].map(|()| Uuid::new_v4());
    let client = inlet.node.instance.database.client().await;
    let trouble = format!(
        "create function trouble() returns trigger language plpgsql as $$ begin raise 'not now'; end $$;
         create trigger trouble before insert on event_log for each row
            when (new.stream_id = '{two}' and new.version = 2) execute function trouble()"
    );
    client.batch_execute(&trouble).await.expect("a trigger");
    // The second and the third are of one action, so asked for together: the one that can be stored is stored alone.
    let events = [
        (1, inlet.event(one, 0, "created")),
        (2, inlet.event(two, 0, "created")),
        (3, inlet.event(two, 1, "pending")),
        (4, inlet.event(three, 0, "created")),
    ];
    let told = ["stored", "stored", "retry", "stored"].map(str::to_owned).to_vec();
    assert_eq!(inlet.told(&events, &[]).await, (told, 2));
    client.batch_execute("drop trigger trouble on event_log").await.expect("no trigger");
    let told = ["duplicate", "duplicate", "stored", "duplicate"].map(str::to_owned).to_vec();
    assert_eq!(inlet.told(&events, &[]).await, (told, 4));
    inlet.node.verify().await;
}
