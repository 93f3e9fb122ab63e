//! What an operator sees of delivery and does about it: over HTTP with the admin key, from the command line, and as a
//! peer that asks about itself.

use dpg_tests::log::{SOON, arrives, assert_same_story};
use dpg_tests::network::NETWORK;
use dpg_tests::pair::{PairOptions, Scene};
use dpg_tests::{Answer, Client, Fault, Pair, eventually};
use serde_json::{Value, json};

const KEY: &str = "the operator's key";
const REFUSAL: &str = "HTTP/1.1 422 Unprocessable\r\ncontent-type: application/json\r\ncontent-length: 42\r\nconnection: close\r\n\r\n{\"error\":\"NOT_TODAY\",\"message\":\"Not now.\"}";

async fn signed_pair() -> Pair {
    let environment = vec![("ADMIN_KEY", KEY.to_owned()), ("PEER_TIMEOUT_MS", "1500".to_owned())];
    Pair::with(PairOptions { proxied_student: true, signed: true, environment, ..PairOptions::default() }).await
}

/// The operator of the tutor instance, who holds what is owed.
struct Operator<'p> {
    client: Client,
    pair: &'p Pair,
}

impl<'p> Operator<'p> {
    fn of(pair: &'p Pair) -> Self {
        Self { client: pair.tutor.process.client(), pair }
    }

    async fn get(&self, path: &str) -> Answer {
        self.client.get(&format!("/api/v1/admin/{path}")).header("x-admin-key", KEY).send().await
    }

    async fn post(&self, path: &str, body: &Value) -> Answer {
        self.client.post(&format!("/api/v1/admin/{path}")).header("x-admin-key", KEY).json(body).send().await
    }

    async fn lane(&self) -> Value {
        let lanes = self.get("peers").await.expect(200).body;
        assert_eq!(lanes["lanes"].as_array().map(Vec::len), Some(1), "{lanes}");
        lanes["lanes"][0].clone()
    }

    async fn wait_for(&self, what: &str, holds: impl Fn(&Value) -> bool) -> Value {
        eventually(what, SOON, || async {
            let lane = self.lane().await;
            if holds(&lane) { Ok(lane) } else { Err(lane.to_string()) }
        })
        .await
    }

    async fn run(&self, arguments: &[&str]) -> (bool, String) {
        let output = self.pair.tutor.instance.run(arguments).await;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (output.status.success(), format!("{}{}", text(&output.stdout), text(&output.stderr)))
    }

    fn peer(&self) -> &str {
        &self.pair.student.instance.url
    }

    async fn line(&self, fault: Fault) {
        self.pair.student_line.as_ref().expect("a proxied student").set(fault).await;
    }
}

#[tokio::test]
async fn only_an_operator_gets_in() {
    let pair = signed_pair().await;
    let client = pair.tutor.process.client();
    let user = pair.tutor.sign_up("ravi").await;
    let key = user.create_key().await;
    let with = |name: &'static str, value: &str| client.get("/api/v1/admin/peers").header(name, value);
    let refusals = [
        (client.get("/api/v1/admin/peers"), 401, "UNAUTHORIZED"),
        (user.get("/api/v1/admin/peers"), 401, "UNAUTHORIZED"),
        (with("x-admin-key", "guessed"), 403, "INVALID_ADMIN_KEY"),
        (with("x-admin-key", ""), 403, "INVALID_ADMIN_KEY"),
        (with("x-admin-key", "guessed").header("x-api-key", &key), 403, "INVALID_ADMIN_KEY"),
        (with("x-api-key", "nobody's"), 403, "INVALID_API_KEY"),
        (with("x-api-key", &key), 403, "ADMIN_REQUIRED"),
    ];
    for (request, status, code) in refusals {
        request.send().await.expect_error(status, code);
    }
    let admin = Client::sign_in(&pair.tutor.process.url(), "boss@admin.example", json!({"createAdmin": true})).await;
    admin.get("/api/v1/admin/peers").send().await.expect_error(401, "UNAUTHORIZED");
    let key = admin.create_key().await;
    let lanes = with("x-api-key", &key).send().await.expect(200);
    assert_eq!(lanes.body, json!({"lanes": []}));
    // Who has neither is not told what is wrong with the body.
    client.post("/api/v1/admin/peers/pause").raw("text/plain", "x").send().await.expect_error(401, "UNAUTHORIZED");
}

#[tokio::test]
async fn a_lane_is_paused_probed_and_resumed_and_says_by_whom() {
    let pair = signed_pair().await;
    let scene = Scene::of_pair(&pair).await;
    let operator = Operator::of(&pair);
    let settled = operator.wait_for("the lane is settled", |lane| lane["acknowledged_seq"] == 1).await;
    for (field, value) in [
        ("network", json!(NETWORK)),
        ("instance_url", json!(operator.peer())),
        ("state", json!("ready")),
        ("diverged", json!(false)),
        ("last_seq", json!(1)),
        ("waiting", json!(0)),
        ("oldest_waiting_seconds", json!(0)),
        ("parked", json!(0)),
        ("failures", json!(0)),
        ("next_attempt_at", Value::Null),
        ("last_error", Value::Null),
    ] {
        assert_eq!(settled[field], value, "{field} of {settled}");
    }
    let which = json!({"instance_url": format!("{}/some/path", operator.peer())});
    let paused = operator.post("peers/pause", &which).await.expect(200).body;
    assert_eq!(paused["lanes"][0]["state"], "paused");
    let _done = scene.ravi.update_status(&scene.action, "pending").send().await.expect(200);
    let waiting = operator.wait_for("the change waits", |lane| lane["waiting"] == 1).await;
    assert_eq!(waiting["state"], "paused");
    operator.post("peers/probe", &which).await.expect_error(409, "LANE_STATE_CONFLICT");
    let (done, listed) = operator.run(&["peers"]).await;
    assert!(done && listed.contains("paused") && listed.contains("by admin key"), "{listed}");
    let resumed = operator.post("peers/resume", &which).await.expect(200).body;
    assert_eq!(resumed["lanes"][0]["state"], "ready");
    arrives(&scene.asha, &scene.action, 1).await;

    operator.line(Fault::Refuse).await;
    let _done = scene.ravi.update_status(&scene.action, "accepted").send().await.expect(200);
    let backing_off = operator.wait_for("the lane backs off", |lane| lane["state"] == "backing_off").await;
    assert!(backing_off["next_attempt_at"].is_string(), "{backing_off}");
    assert_eq!(backing_off["last_error"]["error"], "unreachable", "{backing_off}");
    operator.line(Fault::Pass).await;
    let (done, text) = operator.run(&["peers", "probe", operator.peer(), "--network", NETWORK]).await;
    assert!(done, "{text}");
    arrives(&scene.asha, &scene.action, 2).await;
    let unknown = json!({"instance_url": "https://nobody.example"});
    operator.post("peers/pause", &unknown).await.expect_error(404, "LANE_NOT_FOUND");
    let elsewhere = json!({"instance_url": operator.peer(), "network": "other"});
    operator.post("peers/pause", &elsewhere).await.expect_error(404, "LANE_NOT_FOUND");
    assert_eq!(operator.get("peers?network=other").await.expect(200).body, json!({"lanes": []}));
    operator.post("peers/pause", &json!({})).await.expect_error(400, "VALIDATION_ERROR");
}

#[tokio::test]
async fn a_parked_event_is_shown_retried_and_dropped() {
    let pair = signed_pair().await;
    let scene = Scene::of_pair(&pair).await;
    let operator = Operator::of(&pair);
    operator.wait_for("the lane is settled", |lane| lane["acknowledged_seq"] == 1).await;
    operator.line(Fault::Answer(REFUSAL)).await;
    for status in ["pending", "accepted"] {
        let _set = scene.ravi.update_status(&scene.action, status).send().await.expect(200);
    }
    operator.wait_for("both are parked", |lane| lane["parked"] == 2 && lane["waiting"] == 0).await;
    let listed = operator.get("outbox/parked?limit=1").await.expect(200).body;
    assert_eq!(listed["meta"]["total"], 2);
    let newest = listed["parked"][0].clone();
    for (field, value) in [
        ("network", json!(NETWORK)),
        ("instance_url", json!(operator.peer())),
        ("seq", json!(3)),
        ("action_id", json!(scene.action)),
        ("update_count", json!(2)),
        ("attempts", json!(1)),
        ("conflict", json!(false)),
        ("status", json!(422)),
        ("error", json!("NOT_TODAY")),
        ("message", json!("Not now.")),
    ] {
        assert_eq!(newest[field], value, "{field} of {newest}");
    }
    let cursor = listed["meta"]["next_cursor"].as_str().expect("a second page");
    let next = operator.get(&format!("outbox/parked?limit=1&cursor={cursor}")).await.expect(200).body;
    assert_eq!((&next["parked"][0]["seq"], &next["meta"]["next_cursor"]), (&json!(2), &Value::Null));
    operator.get(&format!("outbox/parked?network=other&cursor={cursor}")).await.expect_error(400, "VALIDATION_ERROR");

    let (second, third) = (next["parked"][0]["id"].as_str().unwrap(), newest["id"].as_str().unwrap());
    let shown = operator.get(&format!("outbox/parked/{second}")).await.expect(200).body;
    assert_eq!(shown["event"]["action_status"], "pending");
    assert_eq!(shown["event"]["origin_instance_domain"], json!(pair.tutor.instance.url));
    let (done, text) = operator.run(&["outbox", "parked", "drop", third, "--reason", ""]).await;
    assert!(!done, "{text}");
    let no_reason = operator.post(&format!("outbox/parked/{third}/drop"), &json!({"reason": ""})).await;
    no_reason.expect_error(400, "VALIDATION_ERROR");
    let (done, text) = operator.run(&["outbox", "parked", "drop", third, "--reason", "the tutor has left"]).await;
    assert!(done && text.contains("dropped"), "{text}");
    let (done, text) = operator.run(&["outbox", "parked", "retry", third]).await;
    assert!(!done && text.contains("no such parked event"), "{text}");
    operator.line(Fault::Pass).await;
    let queued = operator.post(&format!("outbox/parked/{second}/retry"), &json!({})).await.expect(200).body;
    assert_eq!(queued, json!({"id": second, "outcome": "queued"}));
    arrives(&scene.asha, &scene.action, 1).await;
    operator.get(&format!("outbox/parked/{second}")).await.expect_error(404, "PARKED_NOT_FOUND");
    // A later event goes on; the dropped one never comes.
    let _done = scene.ravi.update_status(&scene.action, "completed").send().await.expect(200);
    arrives(&scene.asha, &scene.action, 3).await;
    let counts: Vec<_> = scene.asha.events(&scene.action).await.iter().map(|e| e["update_count"].clone()).collect();
    assert_eq!(counts, [0, 1, 3]);
}

#[tokio::test]
async fn what_was_sent_can_be_sent_again() {
    let pair = signed_pair().await;
    let scene = Scene::of_pair(&pair).await;
    let operator = Operator::of(&pair);
    let _done = scene.ravi.update_status(&scene.action, "pending").send().await.expect(200);
    arrives(&scene.asha, &scene.action, 1).await;
    operator.wait_for("the lane is settled", |lane| lane["acknowledged_seq"] == 2).await;
    let body = |since: i64| json!({"instance_url": operator.peer(), "network": NETWORK, "since_seq": since});
    let again = operator.post("outbox/resend", &body(1)).await.expect(200).body;
    assert_eq!(again["resent"], 2, "{again}");
    operator.wait_for("it went again", |lane| lane["acknowledged_seq"] == 2).await;
    assert_same_story(&scene.asha, &scene.ravi, &scene.action).await;
    operator.post("outbox/resend", &body(3)).await.expect_error(400, "VALIDATION_ERROR");
    operator.post("outbox/resend", &body(0)).await.expect_error(400, "VALIDATION_ERROR");
    let (done, text) = operator.run(&["outbox", "resend", "--peer", operator.peer(), "--since", "2"]).await;
    assert!(done && text.contains("1 events go again"), "{text}");
}

#[tokio::test]
async fn both_sides_are_compared_and_a_peer_reads_its_own_lane() {
    let pair = signed_pair().await;
    let scene = Scene::of_pair(&pair).await;
    let operator = Operator::of(&pair);
    operator.wait_for("the lane is settled", |lane| lane["acknowledged_seq"] == 1).await;
    let reconcile = ["peers", "reconcile", operator.peer()];
    let (same, text) = operator.run(&reconcile).await;
    assert!(same && text.contains("1 events here, 1 there, 0 differ"), "{text}");
    let _done = operator.post("peers/pause", &json!({"instance_url": operator.peer()})).await.expect(200);
    let _done = scene.ravi.update_status(&scene.action, "pending").send().await.expect(200);
    dpg_tests::log::projected(&pair.tutor.instance.database.client().await).await;
    let (same, text) = operator.run(&reconcile).await;
    assert!(!same && text.contains("2 events here, 1 there, 1 differ"), "{text}");
    assert!(text.contains(&format!("missing there: action {} event 1 is waiting as 2", scene.action)), "{text}");
    // Unsigned, or signed by somebody else's key, nobody is told anything.
    for path in ["status", &format!("histories?network={NETWORK}")] {
        let asked = pair.tutor.process.client().get(&format!("/api/v1/peers/self/{path}")).send().await;
        asked.expect_error(401, "PEER_SIGNATURE_REQUIRED");
    }
}
