//! CONTRACT 1.9: one key, one effect, one answer.

use dpg_tests::network::{STUDENT, TUTOR, item_at, perform_from, student_state};
use dpg_tests::peer::Reply;
use dpg_tests::{Answer, Client};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::items::path;
use crate::suite::Suite;
use crate::world::{STUDY, World, courteous};

pub async fn cases(suite: &mut Suite, world: &World) {
    let mut route = suite.route("1.9 idempotency");
    let source = world.student().await;
    let local = world.student().await;
    let action = world.asha.perform_as(STUDY, &source, &local).send().await.expect(201).text_at("action_id");
    let target = world.tutor().await;
    let perform = |target: &Value, subject: &str| {
        json!({"action_type": if target["item_domain"] == json!(TUTOR) { "connect" } else { STUDY },
            "source_item": source, "target_item": target, "requirements_snapshot": {"subject": subject}})
    };
    let status = |remarks: &str| json!({"action_id": action, "action_status": "accepted", "remarks": remarks});
    let state = |name: &str| {
        json!({"item_network": "open_lessons", "item_domain": STUDENT, "item_type": "profile_1.0",
        "item_state": student_state(name, "hidden")})
    };
    for (name, path, one, other) in [
        ("item/create", "/api/v1/item/create", state("One"), state("Other")),
        ("action/perform here", "/api/v1/action/perform", perform(&local, "math"), perform(&local, "art")),
        ("action/perform elsewhere", "/api/v1/action/perform", perform(&target, "math"), perform(&target, "art")),
        ("action/update-status", "/api/v1/action/update-status", status("one"), status("other")),
    ] {
        route
            .case(format!("{name}: the first answer again; another body is 422"), async {
                let key = Uuid::new_v4().to_string();
                let send =
                    async |body: &Value| world.asha.post(path).json(body).header("idempotency-key", &key).send().await;
                let first = send(&one).await;
                assert!((200..300).contains(&first.status), "{first}");
                let again = send(&reordered(&one)).await;
                assert_eq!((again.status, &again.body), (first.status, &first.body), "{again}");
                send(&other).await.expect_error(422, "IDEMPOTENCY_KEY_REUSED");
            })
            .await;
    }
    create(suite, world).await;
    peers(suite, world).await;
    unknown(suite, world).await;
    world.foreign.answer(courteous);
}

/// The same JSON with its keys in another order.
fn reordered(body: &Value) -> Value {
    match body {
        Value::Object(map) => {
            Value::Object(map.iter().rev().map(|(key, value)| (key.clone(), reordered(value))).collect())
        }
        other => other.clone(),
    }
}

async fn create(suite: &mut Suite, world: &World) {
    let mut route = suite.route("1.9 idempotency");
    let send = async |client: &Client, key: &str, name: &str| -> Answer {
        client.create(STUDENT, &student_state(name, "hidden")).header("idempotency-key", key).send().await
    };
    route
        .case("a key belongs to its caller and its route", async {
            let key = Uuid::new_v4().to_string();
            let first = send(&world.asha, &key, "One").await.expect(201);
            let other = send(&world.maya, &key, "Other").await.expect(201);
            assert_ne!(first.body["item_id"], other.body["item_id"]);
        })
        .await;
    route
        .case("a refusal stores nothing", async {
            let key = Uuid::new_v4().to_string();
            let bad = world.asha.create(STUDENT, &json!({})).header("idempotency-key", &key).send().await;
            bad.expect_error(400, "INVALID_ITEM_STATE");
            let _made = send(&world.asha, &key, "One").await.expect(201);
        })
        .await;
    route
        .case("a create whose item was deleted since is answered without private values", async {
            let key = Uuid::new_v4().to_string();
            let first = send(&world.asha, &key, "One").await.expect(201);
            let _gone = world.asha.delete(&path(&first.body)).send().await.expect(204);
            let again = send(&world.asha, &key, "One").await.expect(201);
            assert_eq!(again.body["item_id"], first.body["item_id"]);
            assert!(!again.text.contains("hidden") && !again.text.contains("1234567890"), "{again}");
        })
        .await;
    route
        .case("the answer to a replayed key names a position that holds its effect", async {
            let key = Uuid::new_v4().to_string();
            let first = send(&world.asha, &key, "One").await.expect(201);
            let again = send(&world.asha, &key, "One").await.expect(201);
            assert!(again.position() >= first.position());
        })
        .await;
    for (name, key) in [
        ("empty", String::new()),
        ("256 characters", "x".repeat(256)),
        ("a blank", "a b".to_owned()),
        ("not ASCII", "caf\u{e9}".to_owned()),
    ] {
        route
            .case(format!("400: a key that is {name}"), async {
                send(&world.asha, &key, "One").await.expect_error(400, "VALIDATION_ERROR");
            })
            .await;
    }
    route
        .case("255 visible characters are a key", async {
            let key = format!("{}{}", Uuid::new_v4(), "!".repeat(219));
            let _made = send(&world.asha, &key, "One").await.expect(201);
        })
        .await;
    route
        .case("of calls that race with one key one wins and all get its answer", async {
            let key = Uuid::new_v4().to_string();
            let calls = (0..8).map(|_| send(&world.asha, &key, "One"));
            let answers = futures_util::future::join_all(calls).await;
            assert!(answers.iter().all(|answer| answer.status == 201 && answer.body == answers[0].body), "{answers:?}");
        })
        .await;
}

async fn peers(suite: &mut Suite, world: &World) {
    let mut route = suite.route("1.9 idempotency");
    let path = "/api/v1/network/action/perform";
    route
        .case("network/action/perform: scoped to the source instance", async {
            let target = world.tutor().await;
            let key = Uuid::new_v4().to_string();
            let b = world.b.process.client();
            let body = perform_from(&world.foreign.url(), &target);
            let first = b.post(path).json(&body).header("idempotency-key", &key).send().await.expect(201);
            let again = b.post(path).json(&body).header("idempotency-key", &key).send().await.expect(201);
            assert_eq!(again.body, first.body);
            let mut other = body.clone();
            other["source_item_owner"] = json!("another");
            let reused = b.post(path).json(&other).header("idempotency-key", &key).send().await;
            reused.expect_error(422, "IDEMPOTENCY_KEY_REUSED");
            let body = perform_from(&world.keyed.url(), &target);
            let mut how = world.keyed_key.signature();
            how.idempotency_key = Some(key);
            let elsewhere = world.keyed_key.post_with(world.b_url(), path, &body, how).await.expect(201);
            assert_ne!(elsewhere.body["action_id"], first.body["action_id"]);
        })
        .await;
    route
        .case("network/action/update-status: the first answer again; another body is 422", async {
            let target = world.tutor().await;
            let asked = perform_from(&world.keyed.url(), &target);
            let made = world.keyed_key.post(world.b_url(), path, &asked).await.expect(201);
            let mut body = json!({"action_id": made.body["action_id"], "action_status": "cancelled", "source_item": asked["source_item"],
                "source_item_owner": "somebody"});
            let key = Uuid::new_v4().to_string();
            let send = async |body: &Value| {
                let mut how = world.keyed_key.signature();
                how.idempotency_key = Some(key.clone());
                world.keyed_key.post_with(world.b_url(), "/api/v1/network/action/update-status", body, how).await
            };
            let first = send(&body).await.expect(200);
            let again = send(&body).await.expect(200);
            assert_eq!((again.body, again.status), (first.body, 200));
            body["remarks"] = json!("more");
            send(&body).await.expect_error(422, "IDEMPOTENCY_KEY_REUSED");
        })
        .await;
}

async fn unknown(suite: &mut Suite, world: &World) {
    let mut route = suite.route("1.9 idempotency");
    let person = world.strict.sign_up("patient").await;
    let source = person.create_student("Patient").await;
    let target = item_at(&world.foreign.url(), TUTOR);
    let key = Uuid::new_v4().to_string();
    let send = async || person.perform(&source, &target).header("idempotency-key", &key).send().await;
    route
        .case(
            "while a claim is being sent a second call waits; it is 409 with Retry-After: 1 or the first one's answer",
            async {
                world.foreign.answer(|_| Reply::never());
                let (first, second) = tokio::join!(send(), send());
                for answer in [first, second] {
                    match answer.status {
                        504 => answer.expect_error(504, "TARGET_INSTANCE_TIMEOUT"),
                        _ => {
                            answer.expect_error(409, "IDEMPOTENCY_KEY_IN_PROGRESS");
                            assert_eq!(answer.header("retry-after"), Some("1"));
                        }
                    }
                }
            },
        )
        .await;
    route
        .case("a retry of an unknown call is not sent again to a peer without the capability: 504 again", async {
            world.foreign.answer(courteous);
            let before = world.foreign.received("network/action/perform").len();
            send().await.expect_error(504, "TARGET_INSTANCE_TIMEOUT");
            assert_eq!(world.foreign.received("network/action/perform").len(), before, "it was sent again");
        })
        .await;
    route
        .case("it is 201 once the mirrored first event has arrived", async {
            let mut event = world.event_from(&world.foreign.url(), &source);
            event["target_item"] = target.clone();
            // That instance asks everyone to sign, the foreign peer can't: it is asked on A instead.
            let on_a = world.student().await;
            let key = Uuid::new_v4().to_string();
            let send = async || world.asha.perform(&on_a, &target).header("idempotency-key", &key).send().await;
            world.foreign.answer(|_| Reply::never());
            send().await.expect_error(504, "TARGET_INSTANCE_TIMEOUT");
            world.foreign.answer(courteous);
            event["source_item"] = dpg_tests::network::reference(&on_a);
            let _stored = world.nobody().post("/api/v1/event/store").json(&event).send().await.expect(201);
            let answer = send().await.expect(201);
            assert_eq!(answer.body["action_id"], event["action_id"]);
        })
        .await;
    route
        .case("a refusal by the target is a known outcome and may be sent again", async {
            let key = Uuid::new_v4().to_string();
            let (source, target) = (world.student().await, item_at(&world.foreign.url(), TUTOR));
            world.foreign.answer(|_| Reply::json(400, &json!({"error": "INVALID_ACTION_REQUEST", "message": "no"})));
            let send = async || world.asha.perform(&source, &target).header("idempotency-key", &key).send().await;
            assert_eq!(send().await.status, 400);
            world.foreign.answer(courteous);
            let _made = send().await.expect(201);
        })
        .await;
}
