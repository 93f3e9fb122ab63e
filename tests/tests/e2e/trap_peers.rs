//! What peers of another make, or with bad intentions, send us and answer us (CONTRACT 15.2, 15.3, 16).

use std::time::{Duration, Instant};

use dpg_tests::log::SOON;
use dpg_tests::network::{CONNECT, STUDENT, TUTOR, item_at, reference};
use dpg_tests::pair::PairOptions;
use dpg_tests::peer::{Peer, Reply};
use dpg_tests::wait::check;
use dpg_tests::{Answer, Contract, Fault, Instance, Node, Pair, TestDatabase, User, eventually, port};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::peer_faults::{STORE, Served, taken};

/// A student instance of ours whose tutors live at a scripted peer.
pub(crate) struct Abroad {
    pub(crate) node: Node,
    pub(crate) peer: Peer,
    pub(crate) asha: User,
    pub(crate) source: Value,
    /// An item at the peer, as the peer names it.
    pub(crate) target: Value,
    /// Another instance that is registered for tutors, where nobody listens.
    pub(crate) other: String,
}

impl Abroad {
    pub(crate) async fn start(settings: impl FnOnce(Instance) -> Instance) -> Self {
        let peer = Peer::start(|_| Reply::json(404, &json!({"error": "NOT_FOUND", "message": "no"}))).await;
        let port = port::free();
        let url = port::url(port);
        let other = port::url(port::free());
        let contract = Contract::new().instance(STUDENT, &url).instance(TUTOR, &peer.url()).instance(TUTOR, &other);
        let instance = Instance::new("student", &[STUDENT], &url, TestDatabase::create().await, &contract);
        let node = Node::of(settings(instance), port).await;
        let asha = node.sign_up("asha").await;
        let source = asha.create_student("Asha").await;
        let target = item_at(&peer.url(), TUTOR);
        Self { node, peer, asha, source, target, other }
    }

    /// A mirrored event as the peer would send it.
    pub(crate) fn event(&self, action: &Uuid, update_count: i64, status: &str) -> Value {
        json!({
            "origin_instance_domain": self.peer.url(), "action_type": CONNECT, "action_id": action,
            "action_status": status, "update_count": update_count,
            "source_item": reference(&self.source), "target_item": self.target,
            "source_item_owner": "somebody-else", "target_item_owner": "ravi-there",
            "source_item_latitude": null, "source_item_longitude": null,
            "target_item_latitude": 12.97, "target_item_longitude": 77.59,
            "event_payload": {"subject": "math", "status": status, "remark": "said"}, "remarks": "said"
        })
    }

    /// Sends it without any credentials, as existing peers do.
    pub(crate) async fn store(&self, event: &Value) -> Answer {
        self.node.process.client().post("/api/v1/event/store").json(event).send().await
    }

    async fn perform(&self) -> Answer {
        self.asha.perform(&self.source, &self.target).send().await
    }
}

/// Traps 5, 6 and 7: no credentials are asked for, a duplicate is told as such, late events don't set a status back.
#[tokio::test(flavor = "multi_thread")]
async fn mirrored_events_are_stored_once_in_whatever_order_they_come() {
    let abroad = Abroad::start(|instance| instance).await;
    let action = Uuid::new_v4();
    for (count, status) in [(0, "created"), (3, "completed"), (1, "pending"), (2, "accepted")] {
        let stored = abroad.store(&abroad.event(&action, count, status)).await.expect(201);
        assert!(stored.body["event_id"].is_string(), "{stored}");
        assert_eq!(stored.body["update_count"], json!(count));
        let again = abroad.store(&abroad.event(&action, count, status)).await.expect(200);
        assert_eq!(again.body, stored.body, "a duplicate names the event that is there");
    }
    let mut other = abroad.event(&action, 3, "completed");
    other["remarks"] = json!("another");
    let conflict = abroad.store(&other).await.expect(200);
    assert_eq!(conflict.body["conflict"], json!(true), "{conflict}");
    let row = dpg_tests::log::arrives(&abroad.asha, &action.to_string(), 3).await;
    assert_eq!(row["action_status"], json!("completed"), "a late event set the status back");
    assert_eq!(row["source_item_owner"], json!(abroad.asha.id), "an owner in a body was believed for a local item");
    dpg_tests::log::projected(&abroad.node.instance.database.client().await).await;
    let events = abroad.asha.events(&action.to_string()).await;
    assert_eq!(events.len(), 4);
    assert!(events.iter().all(|event| event["source_item_owner"] == json!(abroad.asha.id)));
    abroad.node.verify().await;
}

/// Traps 11, 30 and 33: who may speak about what.
#[tokio::test(flavor = "multi_thread")]
async fn a_peer_speaks_for_itself_alone() {
    let abroad = Abroad::start(|instance| instance).await;
    let action = Uuid::new_v4();
    let _stored = abroad.store(&abroad.event(&action, 0, "created")).await.expect(201);
    let changed = |change: fn(&mut Value, &Abroad)| {
        let mut event = abroad.event(&action, 1, "accepted");
        change(&mut event, &abroad);
        event
    };
    let mut stranger = changed(|event, _| event["origin_instance_domain"] = json!("http://stranger.example"));
    abroad.store(&stranger).await.expect_error(403, "PEER_NOT_REGISTERED");
    stranger["target_item"]["item_instance_url"] = json!("http://stranger.example");
    abroad.store(&stranger).await.expect_error(403, "PEER_NOT_REGISTERED");
    let mismatch = changed(|event, _| event["target_item"]["item_instance_url"] = json!("http://stranger.example"));
    abroad.store(&mismatch).await.expect_error(403, "EVENT_ORIGIN_MISMATCH");
    let ours = changed(|event, abroad| {
        event["origin_instance_domain"] = json!(abroad.node.instance.url);
        event["target_item"]["item_instance_url"] = json!(abroad.node.instance.url);
    });
    abroad.store(&ours).await.expect_error(403, "PEER_IDENTITY_MISMATCH");
    let elsewhere = changed(|event, _| event["source_item"]["item_instance_url"] = json!("http://stranger.example"));
    abroad.store(&elsewhere).await.expect_error(400, "INVALID_SOURCE_INSTANCE");
    let absent = changed(|event, _| event["source_item"]["item_id"] = json!(Uuid::new_v4()));
    abroad.store(&absent).await.expect_error(404, "SOURCE_ITEM_NOT_FOUND");
    let taken = changed(|event, _| event["target_item"]["item_id"] = json!(Uuid::new_v4()));
    abroad.store(&taken).await.expect_error(409, "EVENT_IDENTITY_CONFLICT");
    let unserved = changed(|event, _| event["source_item"]["item_domain"] = json!(TUTOR));
    abroad.store(&unserved).await.expect_error(403, "UNSERVED_DOMAIN_BINDING");
    let renamed = changed(|event, _| event["action_type"] = json!("unknown"));
    abroad.store(&renamed).await.expect_error(409, "EVENT_IDENTITY_CONFLICT");
    let unknown = changed(|event, _| {
        event["action_id"] = json!(Uuid::new_v4());
        event["action_type"] = json!("unknown");
    });
    abroad.store(&unknown).await.expect_error(400, "INVALID_EVENT_REQUEST");
    dpg_tests::log::projected(&abroad.node.instance.database.client().await).await;
    let row = abroad.asha.action(&action.to_string()).await.expect("the action");
    assert_eq!((&row["update_count"], &row["action_status"]), (&json!(0), &json!("created")));
    assert_eq!(abroad.asha.events(&action.to_string()).await.len(), 1);
}

/// Traps 12 and 16: only registered URLs are called, redirects are not followed, and a peer's trouble is told as ours to
/// tell.
#[tokio::test(flavor = "multi_thread")]
async fn a_targets_trouble_is_told_and_bounded() {
    let abroad = Abroad::start(|instance| instance.set("PEER_TIMEOUT_MS", "1000")).await;
    let trap = Peer::start(|_| Reply::json(200, &json!({}))).await;
    let mut target = abroad.target.clone();
    target["item_instance_url"] = json!(trap.url());
    let refused = abroad.asha.perform(&abroad.source, &target).send().await;
    refused.expect_error(400, "INVALID_TARGET_INSTANCE");
    target["item_domain"] = json!("astronaut");
    abroad.asha.perform(&abroad.source, &target).send().await.expect_error(400, "INVALID_TARGET_ITEM");

    let elsewhere = trap.url();
    abroad.peer.answer(move |_| Reply {
        status: 307,
        headers: vec![("location", elsewhere.clone())],
        body: String::new(),
    });
    abroad.perform().await.expect_error(502, "TARGET_INSTANCE_UNAVAILABLE");
    assert!(trap.received("/").is_empty(), "a URL from a body or a redirect was called");

    let stack = "at /srv/app/secret.ts:12 select * from users";
    abroad.peer.answer(move |_| Reply::json(500, &json!({"message": stack})));
    let failed = abroad.perform().await;
    failed.expect_error(502, "TARGET_INSTANCE_UNAVAILABLE");
    assert!(!failed.text.contains("secret.ts"), "{failed}");
    abroad.peer.answer(|_| Reply::html(200, "<html>welcome</html>"));
    abroad.perform().await.expect_error(502, "TARGET_INSTANCE_UNAVAILABLE");
    abroad.peer.answer(|_| Reply::json(401, &json!({"code": "UNAUTHORIZED", "error": "Unauthorized", "message": "?"})));
    abroad.perform().await.expect_error(502, "TARGET_INSTANCE_REFUSED");
    let own = json!({"error": "INVALID_ACTION_REQUEST", "message": "not here"});
    let passed = own.clone();
    abroad.peer.answer(move |_| Reply::json(400, &passed));
    let refused = abroad.perform().await;
    assert_eq!((refused.status, refused.code()), (400, "INVALID_ACTION_REQUEST"), "passed on: {refused}");

    abroad.peer.answer(|_| Reply::never());
    let started = Instant::now();
    abroad.perform().await.expect_error(504, "TARGET_INSTANCE_TIMEOUT");
    assert!(started.elapsed() < Duration::from_secs(5), "{:?}", started.elapsed());

    let answer = json!({"action_id": Uuid::new_v4(), "action_name": CONNECT, "action_status": "created", "update_count": 0,
                        "source_item_id": abroad.source["item_id"], "target_item_id": abroad.target["item_id"]});
    let mut unusable = answer.clone();
    unusable["action_status"] = json!("crea\0ted");
    abroad.peer.answer(move |_| Reply::json(201, &unusable));
    let kept = abroad.asha.perform(&abroad.source, &abroad.target).header("idempotency-key", "unusable");
    kept.send().await.expect_error(502, "TARGET_INSTANCE_UNAVAILABLE");
    let told = answer.clone();
    abroad.peer.answer(move |_| Reply::json(201, &told));
    let performed = abroad.perform().await.expect(201);
    assert_eq!(performed.body["action_type"], json!(CONNECT), "an existing peer's spelling is read: {performed}");
    assert_eq!(performed.header("dpg-projected"), Some("false"));
    let sent = abroad.peer.received("/api/v1/network/action/perform").pop().expect("the call");
    assert_eq!(sent.body["source_item"]["item_instance_url"], json!(abroad.node.instance.url));
    assert_eq!(sent.body["source_item_owner"], json!(abroad.asha.id));
    assert_eq!(sent.body["requirements_snapshot"], json!({"subject": "math", "phone": "1234567890"}));
    assert!(!sent.body.to_string().contains("hidden"), "a private value left: {}", sent.body);
}

/// Trap 13: a retry after a lost answer makes a second action.
#[tokio::test(flavor = "multi_thread")]
async fn a_retry_of_a_perform_whose_answer_was_lost_makes_no_second_action() {
    let environment = vec![("PEER_TIMEOUT_MS", "1000".to_owned())];
    let pair = Pair::with(PairOptions { proxied_tutor: true, environment, ..PairOptions::default() }).await;
    let (asha, ravi) = (pair.student.sign_up("asha").await, pair.tutor.sign_up("ravi").await);
    let (source, target) = (asha.create_student("Asha").await, ravi.create_tutor("Ravi").await);
    let line = pair.tutor_line.as_ref().expect("a proxy");
    line.set(Fault::CutAnswer(0)).await;
    let perform = || asha.perform(&source, &target).header("idempotency-key", "once");
    let lost = perform().send().await;
    assert!(lost.status == 502 || lost.status == 504, "{lost}");
    line.set(Fault::Pass).await;
    let answer = eventually("the retry is answered", SOON, || async {
        let answer = perform().send().await;
        if answer.status == 201 { Ok(answer) } else { Err(answer) }
    })
    .await;
    let seen = ravi.get("/api/v1/action/fetch").send().await.expect(200);
    assert_eq!(seen.body["meta"]["total"], json!(1), "{seen}");
    assert_eq!(seen.body["actions"][0]["action_id"], answer.body["action_id"]);
    pair.tutor.verify().await;
    pair.student.verify().await;
}

/// Trap 11 on the target's side, and trap 30.
#[tokio::test(flavor = "multi_thread")]
async fn an_unregistered_instance_plants_no_action() {
    let pair = Pair::start().await;
    let (asha, ravi) = (pair.student.sign_up("asha").await, pair.tutor.sign_up("ravi").await);
    let (source, target) = (asha.create_student("Asha").await, ravi.create_tutor("Ravi").await);
    let nobody = pair.tutor.process.client();
    let send = |source: Value, target: Value| {
        let body = json!({"action_type": CONNECT, "source_item": source, "target_item": target,
                          "source_item_owner": asha.id, "requirements_snapshot": {"subject": "math"}});
        nobody.post("/api/v1/network/action/perform").json(&body).send()
    };
    let with = |item: &Value, key: &str, value: Value| {
        let mut reference = reference(item);
        reference[key] = value;
        reference
    };
    let at = |url: &str| with(&source, "item_instance_url", json!(url));
    send(at("http://stranger.example"), reference(&target)).await.expect_error(403, "PEER_NOT_REGISTERED");
    send(at(&pair.tutor.instance.url), reference(&target)).await.expect_error(403, "PEER_IDENTITY_MISMATCH");
    let wrong = with(&target, "item_instance_url", json!(pair.student.instance.url));
    send(reference(&source), wrong).await.expect_error(400, "INVALID_TARGET_INSTANCE");
    let absent = with(&target, "item_id", json!(Uuid::new_v4()));
    send(reference(&source), absent).await.expect_error(404, "TARGET_ITEM_NOT_FOUND");
    let seen = ravi.get("/api/v1/action/fetch").send().await.expect(200);
    assert_eq!(seen.body["meta"]["total"], json!(0), "{seen}");
    let stored = send(reference(&source), reference(&target)).await.expect(201);
    let keys = ["action_id", "action_type", "action_status", "update_count", "source_item_id", "target_item_id"];
    assert!(keys.iter().all(|key| stored.body.get(*key).is_some()), "{stored}");
    // An owner id of a peer's item never matches a user here, whatever it says.
    assert_eq!(ravi.action(&stored.text_at("action_id")).await.expect("it")["ownership_roles"], json!(["received"]));
}

/// Trap 35: what is no answer of the application delivers nothing and parks nothing, and the event is tried again by
/// itself.
#[tokio::test(flavor = "multi_thread")]
async fn only_the_peers_application_ends_a_delivery() {
    let served = Served::start().await;
    let tries = || served.peer.received(STORE).len();
    served.peer.answer(|_| Reply::html(200, "<html>welcome</html>"));
    let action = served.performed().await;
    let moved = Reply { headers: vec![("location", format!("{}/x", served.peer.url()))], ..Reply::html(302, "") };
    for reply in [Reply::html(200, "<html>welcome</html>"), moved, Reply::html(404, "<html>gateway</html>")] {
        let before = tries();
        served.peer.answer(move |_| reply.clone());
        eventually("the next try", SOON, || async { check(tries() > before, tries()) }).await;
    }
    let (_, waiting, parked) = served.lane().await;
    assert_eq!((waiting, parked), (1, 0), "a page was taken for the application's word");

    served.peer.answer(taken);
    served.lane_is("ready", 0, 0).await;
    let sent = served.peer.received(STORE).pop().expect("a delivery");
    assert_eq!(sent.body["action_id"], json!(action));
    assert_eq!(sent.body["origin_instance_domain"], json!(served.node.instance.url));
    assert_eq!(sent.body["update_count"], json!(0));
    assert!(sent.body.get("remarks").is_none(), "remarks are left out when null: {}", sent.body);
    assert_eq!(sent.body["event_payload"]["subject"], json!("math"));
    served.node.verify().await;
}

/// A peer of another make has no route for what a source's owner wants to change (CONTRACT 4.11, 4.12).
#[tokio::test(flavor = "multi_thread")]
async fn a_cancellation_that_the_target_has_no_route_for_is_told_as_such() {
    let abroad = Abroad::start(|instance| instance).await;
    let action = Uuid::new_v4();
    let _stored = abroad.store(&abroad.event(&action, 0, "created")).await.expect(201);
    let action = action.to_string();
    dpg_tests::log::arrives(&abroad.asha, &action, 0).await;
    let forwarded = || abroad.peer.received("/api/v1/network/action/update-status");

    abroad.peer.answer(|_| Reply::html(404, "<html>Cannot POST</html>"));
    for key in [None, Some("once"), Some("once")] {
        let request = abroad.asha.update_status(&action, "cancelled");
        let request = if let Some(key) = key { request.header("idempotency-key", key) } else { request };
        let before = forwarded().len();
        let refused = request.send().await;
        refused.expect_error(501, "CANCEL_UNSUPPORTED_BY_TARGET");
        assert!(!refused.text.contains("html"), "{refused}");
        assert_eq!(forwarded().len(), before + 1, "a refusal leaves the key free");
    }
    let sent = forwarded().pop().expect("a call");
    assert_eq!((&sent.body["action_id"], &sent.body["action_status"]), (&json!(action), &json!("cancelled")));
    assert_eq!(sent.body["source_item"], reference(&abroad.source));
    assert_eq!(sent.body["source_item_owner"], json!(abroad.asha.id));

    let own = json!({"error": "ACTION_NOT_FOUND", "message": "no such action"});
    abroad.peer.answer(move |_| Reply::json(404, &own));
    let refused = abroad.asha.update_status(&action, "cancelled").send().await;
    assert_eq!((refused.status, refused.code()), (404, "ACTION_NOT_FOUND"), "the target's own word: {refused}");
    let maya = abroad.node.sign_up("maya").await;
    let before = forwarded().len();
    maya.update_status(&action, "cancelled").send().await.expect_error(403, "TARGET_ITEM_NOT_OWNED");
    assert_eq!(forwarded().len(), before, "a stranger's change was passed on");
    let row = abroad.asha.action(&action).await.expect("the action");
    assert_eq!((&row["action_status"], &row["update_count"]), (&json!("created"), &json!(0)), "nothing happened");
    abroad.node.verify().await;
}
