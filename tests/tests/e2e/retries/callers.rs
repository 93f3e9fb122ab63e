//! Whom calls to another instance go to, whose their keys are, and what counts as sent (CONTRACT 1.9, 2.6).

use dpg_tests::log::arrives;
use dpg_tests::network::{STUDENT, TUTOR};
use dpg_tests::peer::Reply;
use dpg_tests::wait::check;
use dpg_tests::{Contract, eventually};
use serde_json::json;
use tokio::io::AsyncReadExt as _;
use tokio::net::{TcpListener, TcpStream};
use uuid::Uuid;

use super::{Bed, SOON};
use crate::trap_peers::Abroad;

const ELSEWHERE: &str = "https://elsewhere.example.org";
const PERFORM: &str = "/api/v1/network/action/perform";

/// Takes requests in, and what it answers is no HTTP, but for what it tells of itself.
fn breaks_off(abroad: &Abroad, told: Reply) {
    abroad.peer.answer(move |request| match request.line.contains(PERFORM) {
        true => Reply { status: 1, headers: vec![], body: String::new() },
        false => told.clone(),
    });
}

/// What goes out is derived from the caller too: two people may choose the same key.
#[tokio::test(flavor = "multi_thread")]
async fn two_peoples_equal_keys_are_two_keys_at_the_target() {
    let bed = Bed::start().await;
    let maya = bed.pair.student.sign_up("maya").await;
    let hers = maya.create_student("Maya").await;
    let first = bed.perform("the-same-key").await.expect(201);
    let second = maya.perform(&hers, &bed.target).header("idempotency-key", "the-same-key").send().await.expect(201);
    assert_ne!(first.body["action_id"], second.body["action_id"]);
    assert_eq!(second.body["source_item_id"], hers["item_id"]);
    let seen = bed.ravi.get("/api/v1/action/fetch").send().await.expect(200);
    assert_eq!(seen.body["meta"]["total"], json!(2), "{seen}");
}

/// The line broke, or what came back is no HTTP: the request was out by then, and the target may have done it. Only a
/// target that says that it keeps keys is asked again.
#[tokio::test(flavor = "multi_thread")]
async fn a_broken_answer_is_not_asked_for_again() {
    let abroad = Abroad::start(|instance| instance).await;
    let of_itself = [
        Reply::json(404, &json!({"error": "NOT_FOUND", "message": "no such route"})),
        Reply::html(200, "<title>It works!</title>"),
        Reply::json(200, &json!({})),
        Reply::json(200, &json!({"capabilities": ["event-batch"]})),
        Reply::json(503, &json!({"capabilities": ["idempotency-key"]})),
    ];
    for (sent, told) in (1..).zip(of_itself) {
        let what = format!("{told:?}");
        breaks_off(&abroad, told);
        let key = format!("key-{sent}");
        let perform = || abroad.asha.perform(&abroad.source, &abroad.target).header("idempotency-key", &key).send();
        perform().await.expect_error(502, "TARGET_INSTANCE_UNAVAILABLE");
        perform().await.expect_error(504, "TARGET_INSTANCE_TIMEOUT");
        assert_eq!(abroad.peer.received(PERFORM).len(), sent, "it was sent again to a peer that keeps no keys: {what}");
    }
}

/// Nothing was sent to a closed port: that is known, so the next try goes out although the target keeps no keys.
#[tokio::test(flavor = "multi_thread")]
async fn a_refused_connection_leaves_the_key_free() {
    let Abroad { node: _node, peer, asha, source, target, .. } = Abroad::start(|instance| instance).await;
    let address = peer.url().strip_prefix("http://").expect("plain HTTP").to_owned();
    drop(peer);
    eventually("the port is closed", SOON, || async {
        let connected = TcpStream::connect(&address).await;
        check(connected.is_err(), "it is open")
    })
    .await;
    let perform = || asha.perform(&source, &target).header("idempotency-key", "once").send();
    perform().await.expect_error(502, "TARGET_INSTANCE_UNAVAILABLE");
    let listener = TcpListener::bind(&address).await.expect("the port");
    let mut line = [0; PERFORM.len() + 5];
    let sent = async {
        let (mut stream, _) = listener.accept().await.expect("a connection");
        stream.read_exact(&mut line).await.expect("a request");
    };
    tokio::select! {
        () = sent => {}
        answer = perform() => panic!("it was not sent again: {answer}"),
    }
    assert_eq!(String::from_utf8_lossy(&line), format!("POST {PERFORM}"));
}

/// Another contract is in force for everything that comes after this.
async fn refetch(abroad: &Abroad, contract: &Contract) {
    let instance = &abroad.node.instance;
    instance.write_contract(contract);
    let client = instance.database.client().await;
    client.execute("update contract_refetch set began_at = '-infinity'", &[]).await.expect("the last refetch");
    let _answer = abroad.asha.post("/api/v1/network/refetch_schemas").send().await.expect(200);
}

/// An action of another type between the same items is not what was asked for.
#[tokio::test(flavor = "multi_thread")]
async fn a_mirrored_action_of_another_type_answers_nothing() {
    let abroad = Abroad::start(|instance| instance).await;
    let contract = Contract::new().instance(STUDENT, &abroad.node.instance.url).instance(TUTOR, &abroad.peer.url());
    refetch(&abroad, &contract.with_action("offer")).await;
    breaks_off(&abroad, Reply::json(404, &json!({"error": "NOT_FOUND", "message": "no such route"})));
    let perform = || abroad.asha.perform(&abroad.source, &abroad.target).header("idempotency-key", "once").send();
    perform().await.expect_error(502, "TARGET_INSTANCE_UNAVAILABLE");
    let mut offered = abroad.event(&Uuid::new_v4(), 0, "created");
    offered["action_type"] = json!("offer");
    let _stored = abroad.store(&offered).await.expect(201);
    arrives(&abroad.asha, offered["action_id"].as_str().expect("an id"), 0).await;
    perform().await.expect_error(504, "TARGET_INSTANCE_TIMEOUT");
}

/// The contract says whom we call. An action may be older than the contract in force.
#[tokio::test(flavor = "multi_thread")]
async fn a_change_is_not_passed_on_to_an_instance_that_has_left_the_contract() {
    let abroad = Abroad::start(|instance| instance).await;
    let action = Uuid::new_v4();
    let _stored = abroad.store(&abroad.event(&action, 0, "created")).await.expect(201);
    arrives(&abroad.asha, &action.to_string(), 0).await;
    // A tutors' instance there must be.
    refetch(&abroad, &Contract::new().instance(STUDENT, &abroad.node.instance.url).instance(TUTOR, ELSEWHERE)).await;
    let refused = abroad.asha.update_status(&action.to_string(), "cancelled").send().await;
    refused.expect_error(502, "TARGET_INSTANCE_UNAVAILABLE");
    assert!(abroad.peer.received("update-status").is_empty(), "somebody who is not registered was called");
}
