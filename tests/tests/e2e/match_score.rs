//! Match scores (CONTRACT 4.22 and 13.1), with a scoring service of our own that checks what it is sent.

use dpg_tests::peer::{Peer, Received, Reply};
use dpg_tests::signature::hmac_hex;
use dpg_tests::{Client, Contract, Instance, Node, port};
use serde_json::{Value, json};

const ROUTE: &str = "/api/v1/match-score/calculate";
const SCORES: &str = "/api/v1/scores/match";
const SECRET: &str = "topsecret";

fn item(name: &str) -> Value {
    json!({"item_network": "yellow_dot", "item_domain": "student", "item_type": "profile_1.0",
        "item_id": "019aa3c1-7f20-7b11-8c3d-2f4e5a6b7c8d", "item_instance_url": "https://a.example.org",
        "item_schema_url": "https://a.example.org/s", "item_state": {"name": name}, "item_latitude": null,
        "item_longitude": null})
}

fn body() -> Value {
    json!({"itemA": item("Asha"), "itemB": item("Ravi")})
}

fn with_service(endpoint: String) -> impl FnOnce(Instance) -> Instance {
    move |instance| {
        instance
            .set("MATCH_SCORE_PROVIDER", "dpg_scoring")
            .set("DPG_SCORING_ENDPOINT", &endpoint)
            .set("DPG_SCORING_KEY_ID", "key-1")
            .set("DPG_SCORING_SECRET", SECRET)
            .set("DPG_SCORING_VERSION", "1")
            .set("DPG_SCORING_PROMPT_VERSION", "3")
            .set("PEER_TIMEOUT_MS", "1000")
    }
}

async fn node(endpoint: String) -> Node {
    Node::both_with(Contract::new(), with_service(endpoint)).await
}

/// As a scoring service that trusts nobody.
fn is_signed(request: &Received) -> bool {
    let (timestamp, nonce) = (request.header("x-dpg-timestamp"), request.header("x-dpg-nonce"));
    let expected = hmac_hex(SECRET, &format!("POST\n{SCORES}\n{timestamp}\n{nonce}"));
    let nonce_is_uuid = uuid::Uuid::try_parse(nonce).is_ok();
    request.header("x-dpg-signature") == format!("sha256={expected}")
        && request.header("x-dpg-key") == "key-1"
        && nonce_is_uuid
        && timestamp.parse::<u64>().is_ok()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_service_is_asked_as_the_contract_says_and_answered_under_our_names() {
    let given = json!({"score": 7.5, "band": "high", "confidence": 0.8, "version": "1", "promptVersion": "3",
        "provider": "x", "model": "y", "reasoning": "Same subject.",
        "signals": [{"name": "subject", "impact": "positive", "summary": "Both name math."},
                    {"name": "", "impact": "positive", "summary": "?"}]});
    let reply = Reply::json(200, &given);
    let service =
        Peer::start(move |request| if is_signed(request) { reply.clone() } else { Reply::json(401, &json!({})) }).await;
    let node = node(service.url()).await;
    let asha = node.sign_up("asha").await;

    let mut sent = body();
    for secret in ["created_by", "created_at", "more"] {
        sent["itemA"][secret] = json!("not for the service");
    }
    sent["itemB"]["item_latitude"] = json!(12.97);
    sent["itemB"]["item_longitude"] = json!(77.59);
    sent["itemB"]["item_state"] = json!(["any", "JSON"]);
    sent["itemB"]["item_instance_url"] = json!("not even a URL");
    let answer = asha.post(ROUTE).json(&sent).send().await.expect(200);
    assert_eq!(
        answer.body,
        json!({"provider": "dpg_scoring", "score": 7.5, "band": "high", "confidence": 0.8, "version": "1",
            "prompt_version": "3", "model_provider": "x", "model": "y", "reasoning": "Same subject.",
            "signals": [{"name": "subject", "impact": "positive", "summary": "Both name math."}],
            "raw_response": given})
    );
    let received = service.received(SCORES);
    let [request] = received.as_slice() else { panic!("one call: {received:?}") };
    assert!(request.line.starts_with(&format!("POST {SCORES} ")), "{}", request.line);
    for secret in ["created_by", "created_at", "more"] {
        sent["itemA"].as_object_mut().expect("an item").remove(secret);
    }
    assert_eq!(
        request.body,
        json!({"version": "1", "promptVersion": "3", "itemA": sent["itemA"], "itemB": sent["itemB"]})
    );

    let _again = asha.post(ROUTE).json(&body()).send().await.expect(200);
    let received = service.received(SCORES);
    assert_ne!(received[0].header("x-dpg-nonce"), received[1].header("x-dpg-nonce"));
    service.answer(|_| Reply::json(200, &json!({})));
    let bare = asha.post(ROUTE).json(&body()).send().await.expect(200);
    assert_eq!(bare.body, json!({"provider": "dpg_scoring", "raw_response": {}}));
    assert!(!node.instance.logs().contains("Asha"), "a snapshot is in the log");
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_fails_over_there_is_502_and_says_nothing_of_it() {
    let service = Peer::start(|_| Reply::json(500, &json!({"error": "secret of the service"}))).await;
    let node = node(service.url()).await;
    let asha = node.sign_up("asha").await;
    let refused = async |what: &str| {
        let answer = asha.post(ROUTE).json(&body()).send().await;
        answer.expect_error(502, "MATCH_SCORE_SERVICE_UNAVAILABLE");
        assert!(!answer.text.contains("secret"), "{what}: {answer}");
    };
    refused("500").await;
    for status in [400, 401, 403, 404, 429] {
        service.answer(move |_| Reply::json(status, &json!({"error": "secret of the service"})));
        refused("4xx").await;
    }
    let elsewhere = format!("{}/elsewhere", service.url());
    service.answer(move |request| {
        let mut reply = Reply::json(307, &json!({"score": 1}));
        reply.headers.push(("location", elsewhere.clone()));
        if request.line.contains("elsewhere") { Reply::json(200, &json!({"score": 1})) } else { reply }
    });
    refused("a redirect").await;
    assert!(service.received("/elsewhere").is_empty(), "the redirect was followed");
    service.answer(|_| Reply::html(200, "<p>secret"));
    refused("no JSON").await;
    let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    service.answer(move |_| Reply { status: 200, headers: vec![], body: deep.clone() });
    refused("too deep").await;
    service.answer(|_| Reply::json(200, &json!({"reasoning": "x".repeat(1 << 20)})));
    refused("too long").await;
    service.answer(|_| Reply::never());
    refused("silence").await;
    drop(service);
    refused("nobody there").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_service_or_a_user_there_is_no_score() {
    let node = Node::both().await;
    let nobody = node.process.client();
    nobody.post(ROUTE).raw("application/json", "{").send().await.expect_error(401, "UNAUTHORIZED");
    let asha = node.sign_up("asha").await;
    let answer = asha.post(ROUTE).json(&body()).send().await;
    answer.expect_error(503, "MATCH_SCORE_NOT_CONFIGURED");
    assert_eq!(answer.header("retry-after"), None, "waiting does not help");
    // An API key is as good as a session.
    let key = asha.create_key().await;
    let keyed = Client::anonymous(&node.process.url()).key(&key);
    keyed.post(ROUTE).json(&body()).send().await.expect_error(503, "MATCH_SCORE_NOT_CONFIGURED");

    asha.post(ROUTE).raw("text/plain", "{}").send().await.expect_error(415, "UNSUPPORTED_MEDIA_TYPE");
    let faults = async |change: &dyn Fn(&mut Value)| {
        let mut body = body();
        change(&mut body);
        let answer = asha.post(ROUTE).json(&body).send().await;
        answer.expect_error(400, "VALIDATION_ERROR");
        let details = answer.body["details"].as_array().expect("details").clone();
        details.iter().map(|fault| fault["path"].as_str().expect("a path").to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(faults(&|body| *body = json!({})).await, ["/itemA", "/itemB"]);
    assert_eq!(faults(&|body| body["itemA"] = json!("x")).await, ["/itemA"]);
    for key in item("x").as_object().expect("an item").keys() {
        let missing = faults(&|body| drop(body["itemB"].as_object_mut().expect("an item").remove(key))).await;
        assert_eq!(missing, [format!("/itemB/{key}")]);
    }
    let half = faults(&|body| body["itemA"]["item_latitude"] = json!(12)).await;
    assert_eq!(half.len(), 1, "{half:?}");
    for (key, value) in [
        ("item_latitude", json!("12")),
        ("item_id", json!("x")),
        ("item_type", json!(5)),
        ("item_schema_url", json!("x".repeat(2049))),
    ] {
        assert_eq!(faults(&|body| body["itemA"][key] = value.clone()).await, [format!("/itemA/{key}")]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_incomplete_setting_is_no_setting_and_development_may_do_without_a_user() {
    let settings = |instance: Instance| {
        with_service(port::url(port::free()))(instance)
            .set("DPG_SCORING_SECRET", "")
            .set("AUTH_MIDDLEWARE_ENABLED", "false")
    };
    let node = Node::both_with(Contract::new(), settings).await;
    let nobody = node.process.client();
    nobody.post(ROUTE).json(&body()).send().await.expect_error(503, "MATCH_SCORE_NOT_CONFIGURED");
    nobody
        .post(ROUTE)
        .header("authorization", "Bearer nobody")
        .json(&json!({}))
        .send()
        .await
        .expect_error(400, "VALIDATION_ERROR");
    nobody.post(ROUTE).header("x-api-key", "").json(&body()).send().await.expect_error(403, "INVALID_API_KEY");
    // Routes that need a user still say so.
    nobody.get("/api/v1/action/fetch").send().await.expect_error(401, "UNAUTHORIZED");
}
