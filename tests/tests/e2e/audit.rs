//! What an operator relies on at the edges of daily life: a peer that moves house, numbers that are none, a port that is
//! taken, and metrics that say how each peer's lane stands.

use dpg_tests::log::{SOON, arrives, assert_same_story};
use dpg_tests::network::{CONNECT, NETWORK, PROFILE, STUDENT, TUTOR, tutor_state};
use dpg_tests::pair::{PairOptions, Scene};
use dpg_tests::{
    Client, Contract, Fault, Instance, Node, Pair, PeerKey, Process, Role, TestDatabase, eventually, port,
};
use serde_json::json;

const REFUSAL: &str = "HTTP/1.1 422 Unprocessable\r\ncontent-type: application/json\r\ncontent-length: 42\r\nconnection: close\r\n\r\n{\"error\":\"NOT_TODAY\",\"message\":\"Not now.\"}";

async fn run(instance: &Instance, arguments: &[&str]) -> (bool, String) {
    let output = instance.run(arguments).await;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.success(), format!("{}{}", text(&output.stdout), text(&output.stderr)))
}

/// Waits until a metric of the only lane has a value that will do.
async fn shows(process: &Process, name: &str, label: &str, will_do: impl Fn(f64) -> bool) {
    let peers_network = format!("network=\"{NETWORK}\"");
    eventually(&format!("{name} {label}"), SOON, || async {
        let value = process.metric(name, &[label, &peers_network]).await;
        if value.is_some_and(&will_do) { Ok(()) } else { Err(format!("{value:?}")) }
    })
    .await;
}

#[tokio::test]
async fn metrics_say_how_a_peers_lane_stands() {
    let environment = vec![("PEER_TIMEOUT_MS", "1500".to_owned())];
    let options = PairOptions { proxied_student: true, environment, ..PairOptions::default() };
    let pair = Pair::with(options).await;
    let scene = Scene::of_pair(&pair).await;
    let (line, tutor) = (pair.student_line.as_ref().expect("a proxied student"), &pair.tutor.process);
    shows(tutor, "dpg_mirror_attempts_total", "outcome=\"delivered\"", |count| count == 1.0).await;
    shows(tutor, "dpg_mirror_delivery_seconds_count", "", |count| count == 1.0).await;
    shows(tutor, "dpg_mirror_lane_state", "state=\"ready\"", |set| set == 1.0).await;

    line.set(Fault::Answer(REFUSAL)).await;
    let _set = scene.ravi.update_status(&scene.action, "pending").send().await.expect(200);
    shows(tutor, "dpg_mirror_parked", "", |count| count == 1.0).await;
    shows(tutor, "dpg_mirror_attempts_total", "outcome=\"parked\"", |count| count == 1.0).await;
    shows(tutor, "dpg_mirror_waiting", "", |count| count == 0.0).await;

    line.set(Fault::Refuse).await;
    let _set = scene.ravi.update_status(&scene.action, "accepted").send().await.expect(200);
    shows(tutor, "dpg_mirror_lane_state", "state=\"backing_off\"", |set| set == 1.0).await;
    shows(tutor, "dpg_mirror_lane_state", "state=\"ready\"", |set| set == 0.0).await;
    shows(tutor, "dpg_mirror_waiting", "", |count| count == 1.0).await;
    shows(tutor, "dpg_mirror_oldest_waiting_seconds", "", |age| age >= 1.0).await;
    shows(tutor, "dpg_mirror_attempts_total", "outcome=\"backed_off\"", |count| count >= 1.0).await;
}

#[tokio::test]
async fn what_is_owed_follows_a_peer_to_its_new_address() {
    let Pair { student, tutor, .. } = Pair::with(PairOptions { signed: true, ..PairOptions::default() }).await;
    let scene = Scene::of(&student, &tutor).await;
    let unanswered = scene.asha.perform(&scene.source, &scene.target).send().await.expect(201).text_at("action_id");
    arrives(&scene.asha, &unanswered, 0).await;
    let (old, new_port) = (student.instance.url.clone(), port::free());
    let new = port::url(new_port);
    let Node { mut process, instance } = student;
    assert!(process.terminate().await.success());
    for status in ["pending", "accepted"] {
        let _set = scene.ravi.update_status(&scene.action, status).send().await.expect(200);
    }
    let (done, text) = run(&tutor.instance, &["peers", "move", &old, &new]).await;
    assert!(!done && text.contains(&format!("registers no instance at {new}")), "{text}");

    let contract = tutor.instance.contract().edit(|document| document["instances"][0]["instance_url"] = json!(new));
    instance.write_contract(&contract);
    tutor.instance.write_contract(&contract);
    let _again = scene.ravi.post("/api/v1/network/refetch_schemas").send().await.expect(200);
    let (done, text) = run(&tutor.instance, &["peers", "move", &old, &new]).await;
    assert!(done && text.contains("moved to"), "{text}");
    let moved = Node::of(instance.set("API_DOMAIN", &new), new_port).await;
    let asha = Client::sign_in(&new, &scene.asha.email, json!({})).await;
    assert_eq!(asha.id, scene.asha.id);
    arrives(&asha, &scene.action, 2).await;
    // What happens from now on is numbered in the new address's own lane.
    let _set = scene.ravi.update_status(&scene.action, "completed").send().await.expect(200);
    arrives(&asha, &scene.action, 3).await;
    let events = assert_same_story(&asha, &scene.ravi, &scene.action).await;
    assert_eq!(events.len(), 4);
    let (same, text) = run(&tutor.instance, &["peers", "reconcile", &new]).await;
    assert!(same && text.contains("5 events here, 5 there, 0 differ"), "{text}");
    // What was asked from the old address is taken back from the new one.
    let _taken_back = asha.update_status(&unanswered, "cancelled").send().await.expect(200);
    arrives(&asha, &unanswered, 1).await;
    moved.verify().await;
    tutor.verify().await;
}

/// Calls go to registered instances only, however well we knew the others.
#[tokio::test]
async fn a_target_that_has_left_the_contract_is_not_called_any_more() {
    let pair = Pair::with(PairOptions { signed: true, ..PairOptions::default() }).await;
    let scene = Scene::of_pair(&pair).await;
    pair.student.instance.write_contract(&Contract::new().instance(STUDENT, &pair.student.instance.url));
    let _left = scene.asha.post("/api/v1/network/refetch_schemas").send().await.expect(200);
    let refused = scene.asha.update_status(&scene.action, "cancelled").send().await;
    refused.expect_error(502, "TARGET_INSTANCE_UNAVAILABLE");
    assert_eq!(scene.ravi.action(&scene.action).await.expect("the action")["action_status"], "created");
}

/// The source's instance stands in its own network's contract alone, the target's in the other's; both load both.
#[tokio::test]
async fn an_action_into_another_network_is_mirrored_back() {
    const OTHER: &str = "evening_school";
    let (student_port, tutor_port) = (port::free(), port::free());
    let (student_url, tutor_url) = (port::url(student_port), port::url(tutor_port));
    let keys = [PeerKey::make(), PeerKey::make()];
    let here = Contract::new().instance(STUDENT, &student_url).edit(|document| {
        document["instances"][0]["public_key"] = json!(keys[0].public);
    });
    let there = Contract::new().instance(TUTOR, &tutor_url).edit(|document| {
        document["id"] = json!(OTHER);
        document["instances"][0]["public_key"] = json!(keys[1].public);
        document["actions"][CONNECT]["interactions"][0]["from_network"] = json!(NETWORK);
    });
    let both = Contract::from(json!([here.document(), there.document()]));
    let student = Instance::new("student", &[STUDENT], &student_url, TestDatabase::create().await, &both)
        .set("PEER_PRIVATE_KEY", &keys[0].private);
    let tutor = Instance::new("tutor", &[TUTOR], &tutor_url, TestDatabase::create().await, &both)
        .set("PEER_PRIVATE_KEY", &keys[1].private)
        .set("SERVED_DOMAINS", &format!("{OTHER}/{TUTOR}"));
    let (student, tutor) = (Node::of(student, student_port).await, Node::of(tutor, tutor_port).await);
    let (asha, ravi) = (student.sign_up("asha").await, tutor.sign_up("ravi").await);
    let source = asha.create_student("Asha").await;
    let body =
        json!({"item_network": OTHER, "item_domain": TUTOR, "item_type": PROFILE, "item_state": tutor_state("Ravi")});
    let target = ravi.post("/api/v1/item/create").json(&body).send().await.expect(201).body;
    let action = asha.perform(&source, &target).send().await.expect(201).text_at("action_id");
    arrives(&asha, &action, 0).await;
    let _set = ravi.update_status(&action, "pending").send().await.expect(200);
    arrives(&asha, &action, 1).await;
    let events = assert_same_story(&asha, &ravi, &action).await;
    assert_eq!((events.len(), &events[1]["partition_network"]), (2, &json!(OTHER)));
    let withdrawn = asha.perform(&source, &target).send().await.expect(201).text_at("action_id");
    arrives(&asha, &withdrawn, 0).await;
    let _set = asha.update_status(&withdrawn, "cancelled").send().await.expect(200);
    arrives(&asha, &withdrawn, 1).await;
    assert_same_story(&asha, &ravi, &withdrawn).await;
    let (_, text) = run(&tutor.instance, &["peers"]).await;
    assert!(text.contains(OTHER) && text.contains("ready"), "{text}");
    let (same, text) = run(&tutor.instance, &["peers", "reconcile", &student_url]).await;
    assert!(same && text.contains("4 events here, 4 there, 0 differ"), "{text}");
    student.verify().await;
    tutor.verify().await;
}

#[tokio::test]
async fn what_names_no_peer_and_no_number_is_told_before_anything_is_done() {
    let pair = Pair::start().await;
    let scene = Scene::of_pair(&pair).await;
    let (instance, peer) = (&pair.tutor.instance, pair.student.instance.url.as_str());
    shows(&pair.tutor.process, "dpg_mirror_attempts_total", "outcome=\"delivered\"", |count| count == 1.0).await;
    let refused: [(&[&str], &str); 5] = [
        (&["peers", "pause", "nonsense"], "is not an absolute URL"),
        (&["peers", "reconcile", peer], "set PEER_PRIVATE_KEY"),
        (&["outbox", "resend", "--peer", peer, "--since", "0"], "0 is not in 1.."),
        (&["outbox", "resend", "--peer", peer, "--since", "2"], "no event with that number"),
        (&["outbox", "parked", "drop", &scene.action], "--reason"),
    ];
    for (arguments, told) in refused {
        let (done, text) = run(instance, arguments).await;
        assert!(!done && text.contains(told), "{arguments:?}: {text}");
    }
    let (done, text) = run(instance, &["outbox", "parked", "list"]).await;
    assert!(done && text.contains("Nothing is parked."), "{text}");
    let _set = scene.ravi.update_status(&scene.action, "pending").send().await.expect(200);
    arrives(&scene.asha, &scene.action, 1).await;
}

#[tokio::test]
async fn a_port_that_is_taken_ends_the_process_cleanly() {
    let node = Node::both().await;
    let taken = port::free();
    let _listener = std::net::TcpListener::bind(("0.0.0.0", taken)).expect("a free port");
    let status = node.instance.spawn(Role::Serve, taken).ended().await;
    assert_eq!(status.code(), Some(2));
    let logs = node.instance.logs();
    assert!(logs.contains("the HTTP server failed") && !logs.contains("did not end in time"), "{logs}");
}
