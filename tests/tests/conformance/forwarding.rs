//! CONTRACT 4.9 steps 8 and 9, and 4.11 where the action is known from mirrored events: what a target elsewhere answers,
//! and what the client is told.

use dpg_tests::log::{arrives, assert_same_story};
use dpg_tests::network::{STUDENT, TUTOR, item_at, reference};
use dpg_tests::peer::Reply;
use dpg_tests::wait::eventually;
use serde_json::{Value, json};

use crate::shapes::six_fields;
use crate::suite::Suite;
use crate::world::{MENTOR, World, courteous, performed};

pub async fn cases(suite: &mut Suite, world: &World) {
    perform(suite, world).await;
    refused(suite, world).await;
    update(suite, world).await;
    world.foreign.answer(courteous);
}

async fn perform(suite: &mut Suite, world: &World) {
    let source = world.student().await;
    let target = item_at(&world.foreign.url(), TUTOR);
    let mut route = suite.route("POST /api/v1/action/perform");
    route
        .case("201 from another make: exactly the six fields, action_name read as action_type", async {
            world.foreign.answer(courteous);
            let made = world.asha.perform(&source, &target).send().await.expect(201);
            six_fields(&made.body);
            assert_eq!((made.header("dpg-position"), made.header("dpg-projected")), (None, Some("false")));
        })
        .await;
    route
        .case("the peer gets 4.10's body, signed, with an Idempotency-Key, from our registered URL", async {
            let before = world.foreign.received("network/action/perform").len();
            let _made = world.asha.perform(&source, &target).send().await.expect(201);
            let got = world.foreign.received("network/action/perform")[before].clone();
            assert_eq!(got.line.split(' ').take(2).collect::<Vec<_>>(), ["POST", "/api/v1/network/action/perform"]);
            for name in ["idempotency-key", "signature", "signature-input", "content-digest"] {
                assert!(got.headers.iter().any(|(header, _)| header == name), "{name}: {got:?}");
            }
            assert!(got.headers.contains(&("content-type".to_owned(), "application/json".to_owned())), "{got:?}");
            assert_eq!(got.body, json!({"action_type": "connect", "source_item": reference(&source), "target_item": reference(&target),
                "source_item_owner": world.asha.id, "requirements_snapshot": {"subject": "math", "phone": "1234567890"}}));
        })
        .await;
    route
        .case("any 2xx is 201", async {
            world.foreign.answer(|request| Reply::json(200, &performed(&request.body)));
            let made = world.asha.perform(&source, &target).send().await.expect(201);
            six_fields(&made.body);
        })
        .await;
}

async fn refused(suite: &mut Suite, world: &World) {
    let source = world.student().await;
    let target = item_at(&world.foreign.url(), TUTOR);
    let mut route = suite.route("POST /api/v1/action/perform");
    let page = "<html>select * from secrets</html>";
    for (name, reply, status, code) in [
        ("a 500", Reply::json(500, &json!({"message": "select * from secrets"})), 502, "TARGET_INSTANCE_UNAVAILABLE"),
        ("a 503 page", Reply::html(503, page), 502, "TARGET_INSTANCE_UNAVAILABLE"),
        ("a 200 page", Reply::html(200, page), 502, "TARGET_INSTANCE_UNAVAILABLE"),
        ("a 404 page", Reply::html(404, page), 502, "TARGET_INSTANCE_UNAVAILABLE"),
        (
            "a redirect",
            Reply { status: 302, headers: vec![("location", "http://127.0.0.1:1/".to_owned())], body: String::new() },
            502,
            "TARGET_INSTANCE_UNAVAILABLE",
        ),
        ("a 201 without the fields", Reply::json(201, &json!({"ok": true})), 502, "TARGET_INSTANCE_UNAVAILABLE"),
        ("401", Reply::json(401, &json!({"error": "UNAUTHORIZED", "message": "no"})), 502, "TARGET_INSTANCE_REFUSED"),
        (
            "403 PEER_NOT_REGISTERED",
            Reply::json(403, &json!({"error": "PEER_NOT_REGISTERED", "message": "no"})),
            502,
            "TARGET_INSTANCE_REFUSED",
        ),
    ] {
        route
            .case(format!("{status} {code}: {name}"), async {
                world.foreign.answer(move |_| reply.clone());
                let answer = world.asha.perform(&source, &target).send().await;
                answer.expect_error(status, code);
                assert!(!answer.text.contains("secrets"), "the peer's text reaches the client: {answer}");
                if code == "TARGET_INSTANCE_REFUSED" {
                    let told = if name == "401" { "UNAUTHORIZED" } else { "PEER_NOT_REGISTERED" };
                    assert!(answer.text_at("message").contains(told), "its code is in message: {answer}");
                }
            })
            .await;
    }
    for (status, body) in [
        (400, json!({"error": "INVALID_ACTION_REQUEST", "message": "no", "details": [{"path": "/x", "message": "y"}]})),
        (403, json!({"error": "UNSERVED_DOMAIN_BINDING", "message": "no"})),
        (404, json!({"statusCode": 404, "code": "TARGET_ITEM_NOT_FOUND", "error": "Not Found", "message": "no"})),
        (422, json!({"anything": ["that is", "JSON"]})),
        (429, json!({"error": "RATE_LIMITED", "message": "later"})),
    ] {
        route
            .case(format!("{status} with a JSON body is passed on as it is"), async {
                let answered = body.clone();
                world.foreign.answer(move |_| {
                    let mut reply = Reply::json(status, &answered);
                    reply.headers.push(("retry-after", "17".to_owned()));
                    reply
                });
                let answer = world.asha.perform(&source, &target).send().await;
                assert_eq!((answer.status, &answer.body), (status, &body), "{answer}");
                assert!(
                    status != 429 || answer.header("retry-after") == Some("17"),
                    "a 429 brings its Retry-After: {answer}"
                );
            })
            .await;
    }
    route
        .case("502 TARGET_INSTANCE_UNAVAILABLE: nobody listens", async {
            let dead = dead(world);
            let answer = world.asha.perform(&source, &item_at(&dead, MENTOR)).send().await;
            answer.expect_error(502, "TARGET_INSTANCE_UNAVAILABLE");
        })
        .await;
    route
        .case("504 TARGET_INSTANCE_TIMEOUT within PEER_TIMEOUT_MS", async {
            world.foreign.answer(|_| Reply::never());
            let person = world.strict.sign_up("patient").await;
            let source = person.create_student("Patient").await;
            let answer = person.perform(&source, &target).send().await;
            answer.expect_error(504, "TARGET_INSTANCE_TIMEOUT");
        })
        .await;
}

fn dead(world: &World) -> String {
    let instances = world.contract.document()["instances"].as_array().cloned().unwrap_or_default();
    let dead = instances.iter().find(|instance| instance["domain_id"] == json!(MENTOR)).expect("a dead instance");
    dead["instance_url"].as_str().expect("a URL").to_owned()
}

/// An action that A knows from an event of the foreign peer alone.
async fn mirrored(world: &World) -> String {
    let source = world.student().await;
    let event = world.event_from(&world.foreign.url(), &source);
    let _stored = world.nobody().post("/api/v1/event/store").json(&event).send().await.expect(201);
    let action = event["action_id"].as_str().expect("an id").to_owned();
    arrives(&world.asha, &action, 0).await;
    action
}

async fn update(suite: &mut Suite, world: &World) {
    let mut route = suite.route("POST /api/v1/action/update-status");
    route
        .case("forwarded to a peer of our make: 200, no position; both ends tell one story", async {
            let action = world.connected("connect").await;
            let body = json!({"action_id": action, "action_status": "cancelled", "remarks": "Found someone"});
            let answer = world.asha.post("/api/v1/action/update-status").json(&body).send().await.expect(200);
            assert_eq!((&answer.body["action_status"], &answer.body["update_count"]), (&json!("cancelled"), &json!(1)));
            assert_eq!((answer.header("dpg-position"), answer.header("dpg-projected")), (None, Some("false")));
            arrives(&world.asha, &action, 1).await;
            let events = assert_same_story(&world.asha, &world.ravi, &action).await;
            assert_eq!(events[1]["remarks"], json!("Found someone"));
        })
        .await;
    route
        .case("forwarded refusals are passed on: 409 INVALID_TRANSITION after an answer", async {
            let action = world.connected("connect").await;
            let _answered = world.ravi.update_status(&action, "accepted").send().await.expect(200);
            let answer = world.asha.update_status(&action, "cancelled").send().await;
            assert_eq!((answer.status, answer.code()), (409, "INVALID_TRANSITION"), "{answer}");
            let answer = world.asha.update_status(&action, "completed").send().await;
            assert_eq!((answer.status, answer.code()), (403, "TARGET_ITEM_NOT_OWNED"), "{answer}");
        })
        .await;
    route
        .case("403 TARGET_ITEM_NOT_OWNED: not the source's owner; the peer is not asked", async {
            world.foreign.answer(courteous);
            let action = mirrored(world).await;
            let before = world.foreign.received("network/action/update-status").len();
            world.maya.update_status(&action, "cancelled").send().await.expect_error(403, "TARGET_ITEM_NOT_OWNED");
            assert_eq!(world.foreign.received("network/action/update-status").len(), before);
        })
        .await;
    let action = mirrored(world).await;
    let gone = json!({"error": "ACTION_NOT_FOUND", "message": "no"});
    for (name, reply, status, code) in [
        (
            "a peer without the route, JSON",
            Reply::json(404, &json!({"error": "NOT_FOUND", "message": "no"})),
            501,
            "CANCEL_UNSUPPORTED_BY_TARGET",
        ),
        ("a peer without the route, a page", Reply::html(404, "<html>"), 501, "CANCEL_UNSUPPORTED_BY_TARGET"),
        ("ACTION_NOT_FOUND there", Reply::json(404, &gone), 404, "ACTION_NOT_FOUND"),
        ("a 500", Reply::json(500, &json!({"message": "secrets"})), 502, "TARGET_INSTANCE_UNAVAILABLE"),
        ("401", Reply::json(401, &json!({"error": "X", "message": "no"})), 502, "TARGET_INSTANCE_REFUSED"),
        (
            "a 409 with JSON",
            Reply::json(409, &json!({"error": "INVALID_TRANSITION", "message": "no"})),
            409,
            "INVALID_TRANSITION",
        ),
    ] {
        route
            .case(format!("{status} {code} forwarding: {name}"), async {
                world.foreign.answer(move |request| {
                    if request.line.contains("update-status") { reply.clone() } else { courteous(request) }
                });
                let answer = world.asha.update_status(&action, "cancelled").send().await;
                assert_eq!((answer.status, answer.code()), (status, code), "{answer}");
            })
            .await;
    }
    route
        .case("the peer gets 4.12's body with a derived Idempotency-Key, signed", async {
            world.foreign.answer(|request| {
                Reply::json(
                    200,
                    &json!({"action_id": request.body["action_id"], "action_type": "connect",
                "action_status": "cancelled", "update_count": 1}),
                )
            });
            let before = world.foreign.received("update-status").len();
            let _done = world.asha.update_status(&action, "cancelled").send().await.expect(200);
            let got = world.foreign.received("update-status")[before].clone();
            assert!(
                got.headers.iter().any(|(name, _)| name == "idempotency-key")
                    && got.headers.iter().any(|(name, _)| name == "signature")
            );
            let source: Value = got.body["source_item"].clone();
            assert_eq!(
                (&got.body["action_status"], &got.body["source_item_owner"]),
                (&json!("cancelled"), &json!(world.asha.id))
            );
            assert_eq!(
                (&source["item_domain"], &source["item_instance_url"]),
                (&json!(STUDENT), &json!(world.a_url()))
            );
            eventually("the row is unchanged until the mirror arrives", dpg_tests::log::SOON, || async {
                let row = world.asha.action(&action).await.ok_or("no row")?;
                if row["action_status"] == json!("created") { Ok(()) } else { Err("it changed") }
            })
            .await;
        })
        .await;
}
