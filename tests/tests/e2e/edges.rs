//! Edges of the contract that a first implementation got wrong: each of these answered 500, the wrong code, or stopped
//! something for good.

use std::time::Instant;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use dpg_tests::log::arrives;
use dpg_tests::network::{CONNECT, NETWORK, PROFILE, STUDENT, reference};
use dpg_tests::pair::Scene;
use dpg_tests::{Node, Pair};
use serde_json::{Value, json};
use uuid::Uuid;

/// CONTRACT 12: the great-circle distance, with whole and broken numbers alike.
#[tokio::test(flavor = "multi_thread")]
async fn a_radius_finds_what_lies_within_it() {
    let node = Node::both().await;
    let asha = node.sign_up("asha").await;
    let item = json!({"item_network": NETWORK, "item_domain": STUDENT, "item_type": PROFILE,
                      "item_state": {"name": "Asha", "phone": "1234567890"}, "item_latitude": 18.5204, "item_longitude": 73.8567});
    let _created = asha.post("/api/v1/item/create").json(&item).send().await.expect(201);
    for (latitude, longitude, radius, total) in [
        ("18.5204", "73.8567", "1", 1),
        ("18.53", "73.85", "500", 0),
        ("18.53", "73.85", "5000", 1),
        ("19", "73", "10", 0),
        ("-18.5204", "-106.1433", "20100000", 1),
    ] {
        let query = format!("item_latitude={latitude}&item_longitude={longitude}&radius_meters={radius}");
        let page = asha.items(STUDENT, &query).send().await.expect(200);
        assert_eq!(page.body["meta"]["total"], json!(total), "{query}: {page}");
    }
}

/// A number that Postgres writes out digit by digit still reaches the peer.
#[tokio::test(flavor = "multi_thread")]
async fn a_large_number_crosses_to_the_other_instance() {
    let contract = dpg_tests::Contract::new().edit(|network| {
        let interaction = &mut network["actions"][CONNECT]["interactions"][0];
        interaction["requirement_schema"]["properties"]["budget"] = json!({"type": "number"});
    });
    let pair = Pair::with(dpg_tests::pair::PairOptions { contract, ..Default::default() }).await;
    let (asha, ravi) = (pair.student.sign_up("asha").await, pair.tutor.sign_up("ravi").await);
    let (source, target) = (asha.create_student("Asha").await, ravi.create_tutor("Ravi").await);
    let body = json!({"action_type": CONNECT, "source_item": reference(&source), "target_item": reference(&target),
                      "requirements_snapshot": {"subject": "math", "budget": 1e20}});
    let performed = asha.post("/api/v1/action/perform").json(&body).send().await.expect(201);
    let action = performed.text_at("action_id");
    arrives(&asha, &action, 0).await;
    let row = asha.action(&action).await.expect("the action");
    assert_eq!(row["requirements_snapshot"]["budget"].as_f64(), Some(1e20), "{row}");
}

/// A time that Postgres can't hold is refused at the door, and stops nothing.
#[tokio::test(flavor = "multi_thread")]
async fn a_mirrored_event_from_the_year_zero_is_refused() {
    let pair = Pair::start().await;
    let scene = Scene::of_pair(&pair).await;
    let event = |occurred_at: &str, count: i32| {
        json!({"origin_instance_domain": scene.target["item_instance_url"], "action_type": CONNECT,
               "action_id": scene.action, "action_status": "accepted", "update_count": count,
               "source_item": reference(&scene.source), "target_item": reference(&scene.target),
               "event_payload": {"subject": "math", "status": "accepted"}, "occurred_at": occurred_at})
    };
    let client = pair.student.process.client();
    for time in ["0000-01-01T00:00:00Z", "0001-01-01T00:00:00+14:00", "yesterday"] {
        let answer = client.post("/api/v1/event/store").json(&event(time, 7)).send().await;
        answer.expect_error(400, "VALIDATION_ERROR");
        assert_eq!(answer.body["details"][0]["path"], json!("/occurred_at"), "{answer}");
    }
    let _stored = client.post("/api/v1/event/store").json(&event("9999-12-31T23:59:59Z", 7)).send().await.expect(201);
    arrives(&scene.asha, &scene.action, 7).await;
    pair.student.verify().await;
}

/// CONTRACT 1.7: a cursor that is not readable is 400 at `/cursor`, whatever was changed in it.
#[tokio::test(flavor = "multi_thread")]
async fn a_cursor_that_was_tampered_with_is_refused() {
    let node = Node::both().await;
    let asha = node.sign_up("asha").await;
    for name in ["One", "Two", "Three"] {
        let _item = asha.create_student(name).await;
    }
    let first = asha.items(STUDENT, "limit=1").send().await.expect(200);
    let cursor = first.body["meta"]["next_cursor"].as_str().expect("a cursor").to_owned();
    let second = asha.items(STUDENT, &format!("limit=1&cursor={cursor}")).send().await.expect(200);
    assert_ne!(first.body["items"][0]["item_id"], second.body["items"][0]["item_id"]);
    let inside: Value = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(&cursor).expect("base64")).expect("JSON");
    let mut forged = vec!["x".to_owned(), String::new(), cursor.chars().rev().collect()];
    for key in [json!("x"), json!("99999999999"), json!("\u{0}"), json!("2026-13-01T00:00:00Z")] {
        for place in [0, 1] {
            let mut other = inside.clone();
            other["k"][place] = key.clone();
            forged.push(URL_SAFE_NO_PAD.encode(other.to_string()));
        }
    }
    let mut unbound = inside.clone();
    unbound["b"] = json!({});
    forged.push(URL_SAFE_NO_PAD.encode(unbound.to_string()));
    for cursor in forged {
        let answer = asha.items(STUDENT, &format!("cursor={cursor}")).send().await;
        answer.expect_error(400, "VALIDATION_ERROR");
        assert_eq!(answer.body["details"][0]["path"], json!("/cursor"), "{answer}");
    }
    let other_filter = asha.items(STUDENT, &format!("item_type=other&cursor={cursor}")).send().await;
    other_filter.expect_error(400, "VALIDATION_ERROR");
}

/// URLs that a URL parser takes and that name no instance.
#[tokio::test(flavor = "multi_thread")]
async fn a_url_that_names_no_instance_is_a_fault_of_the_request() {
    let node = Node::both().await;
    let (asha, ravi) = (node.sign_up("asha").await, node.sign_up("ravi").await);
    let (source, target) = (asha.create_student("Asha").await, ravi.create_tutor("Ravi").await);
    for url in ["http://a{b}.example", "http://a!b.example", "ftp://a.example", "a.example"] {
        let mut elsewhere = target.clone();
        elsewhere["item_instance_url"] = json!(url);
        let answer = asha.perform(&source, &elsewhere).send().await;
        answer.expect_error(400, "VALIDATION_ERROR");
        assert_eq!(answer.body["details"][0]["path"], json!("/target_item/item_instance_url"), "{answer}");
    }
    let mut unregistered = target.clone();
    unregistered["item_instance_url"] = json!("https://nobody.example");
    asha.perform(&source, &unregistered).send().await.expect_error(400, "INVALID_TARGET_INSTANCE");
}

/// CONTRACT 4.4 and 4.6: what is no object is an invalid state, and URLs that are never written may be anything.
#[tokio::test(flavor = "multi_thread")]
async fn states_and_ignored_urls() {
    let node = Node::both().await;
    let asha = node.sign_up("asha").await;
    for state in [json!([]), json!("x"), json!(5)] {
        let answer = asha.create(STUDENT, &state).send().await;
        answer.expect_error(400, "INVALID_ITEM_STATE");
        assert_eq!(answer.body["details"][0]["path"], json!("/item_state"), "{answer}");
    }
    let item = asha.create_student("Asha").await;
    let path = format!("/api/v1/item/{}", item["item_id"].as_str().expect("an id"));
    for body in [json!({"item_schema_url": ""}), json!({"item_instance_url": "", "item_schema_url": "x"})] {
        let answer = asha.patch(&path).json(&body).send().await.expect(200);
        assert_eq!(answer.body["item"], item, "nothing is written");
        assert_eq!(answer.header("etag"), Some("\"1\""));
    }
    asha.patch(&path).json(&json!({"item_state": null})).send().await.expect_error(400, "INVALID_ITEM_STATE");
}

/// CONTRACT 1.8: a position that nobody has written yet is waited for, and then 503.
#[tokio::test(flavor = "multi_thread")]
async fn a_position_beyond_the_log_is_waited_for() {
    let node = Node::both().await;
    let asha = node.sign_up("asha").await;
    let created = asha.create(STUDENT, &json!({"name": "Asha", "phone": "1234567890"})).send().await.expect(201);
    let next = created.position() + 1;
    for position in [next.to_string(), "999999".to_owned()] {
        let began = Instant::now();
        let answer = asha.items(STUDENT, "").header("dpg-min-position", &position).send().await;
        answer.expect_error(503, "PROJECTION_BEHIND");
        assert_eq!(answer.header("retry-after"), Some("1"));
        assert!(began.elapsed().as_millis() >= 900, "it did not wait for {position}");
    }
    let (waited, written) = tokio::join!(
        asha.items(STUDENT, "").header("dpg-min-position", &format!("{NETWORK}:{next}")).send(),
        asha.create(STUDENT, &json!({"name": "Asha", "phone": "1234567890"})).send(),
    );
    let _written = written.expect(201);
    assert_eq!(waited.expect(200).body["meta"]["total"], json!(2));
}

/// CONTRACT 2.6: nobody else speaks for this instance, and an unknown action is no known one.
#[tokio::test(flavor = "multi_thread")]
async fn identity_comes_before_content() {
    let pair = Pair::start().await;
    let scene = Scene::of_pair(&pair).await;
    // Held at the tutor's: its id told to the tutor's instance as somebody else's action.
    let client = pair.student.process.client();
    let body = json!({"origin_instance_domain": scene.target["item_instance_url"], "action_type": CONNECT,
                      "action_id": scene.action, "action_status": "accepted", "update_count": 9,
                      "source_item": reference(&scene.source), "target_item": reference(&scene.target)});
    let mut other_target = body.clone();
    other_target["target_item"]["item_id"] = json!(Uuid::new_v4());
    other_target["event_payload"] = json!({"room": 5});
    client.post("/api/v1/event/store").json(&other_target).send().await.expect_error(409, "EVENT_IDENTITY_CONFLICT");
    let mut bad_payload = body;
    bad_payload["event_payload"] = json!({"room": 5});
    client.post("/api/v1/event/store").json(&bad_payload).send().await.expect_error(400, "INVALID_EVENT_REQUEST");
    assert_eq!(scene.asha.events(&scene.action).await.len(), 1);
}
