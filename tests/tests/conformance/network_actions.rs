//! CONTRACT 4.10 and 4.12: what peers may do to items that live here. Signatures have a file of their own, `peers`.

use dpg_tests::network::{CONNECT, NETWORK, STUDENT, TUTOR, perform_from};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::items::path;
use crate::shapes::{action, faults, four_fields, six_fields, unserved};
use crate::suite::Suite;
use crate::world::{BOOK, World, with};

const PERFORM: &str = "/api/v1/network/action/perform";
const UPDATE: &str = "/api/v1/network/action/update-status";

pub async fn cases(suite: &mut Suite, world: &World) {
    perform(suite, world).await;
    perform_refusals(suite, world).await;
    update(suite, world).await;
    update_refusals(suite, world).await;
}

async fn perform(suite: &mut Suite, world: &World) {
    let mut route = suite.route("POST /api/v1/network/action/perform");
    let b = world.b.process.client();
    route
        .case("201 from a peer without a key, unsigned: the six fields and a position", async {
            let target = world.tutor().await;
            let body = perform_from(&world.foreign.url(), &target);
            let made = b.post(PERFORM).json(&body).send().await.expect(201);
            six_fields(&made.body);
            assert_eq!((&made.body["action_status"], &made.body["update_count"]), (&json!("created"), &json!(0)));
            assert!(made.position() > 0);
            let row = world.ravi.action(&made.text_at("action_id")).await.expect("the row");
            action(&row);
            for (key, value) in [
                ("source_item_owner", json!("somebody")),
                ("target_item_owner", json!(world.ravi.id)),
                ("source_item_instance_url", json!(world.foreign.url())),
                ("partition_network", json!(NETWORK)),
                ("requirements_snapshot", json!({"subject": "math"})),
                ("remarks", json!(null)),
            ] {
                assert_eq!(row[key], value, "{key}: {row}");
            }
        })
        .await;
    route
        .case("action_name is accepted; user credentials are not looked at", async {
            let target = world.tutor().await;
            let mut body = perform_from(&world.foreign.url(), &target);
            let name = body.as_object_mut().expect("an object").remove("action_type").expect("it");
            body["action_name"] = name;
            let made = b.bearer("nonsense").post(PERFORM).json(&body).send().await.expect(201);
            assert_eq!(made.body["action_type"], json!(CONNECT));
            let made = b.key("nonsense").post(PERFORM).json(&body).send().await.expect(201);
            six_fields(&made.body);
        })
        .await;
    route
        .case("the action is mirrored to the source's registered URL: exactly 4.14's keys and our extensions", async {
            let target = world.tutor().await;
            let body = perform_from(&world.foreign.url(), &target);
            let made = b.post(PERFORM).json(&body).send().await.expect(201);
            let got = dpg_tests::eventually("the mirrored event", dpg_tests::log::SOON, || async {
                let all = world.foreign.received("event/store");
                all.into_iter().find(|got| got.body["action_id"] == made.body["action_id"]).ok_or("not there")
            })
            .await;
            let keys: Vec<&str> = got.body.as_object().expect("an object").keys().map(String::as_str).collect();
            let mut wanted = vec![
                "origin_instance_domain",
                "action_type",
                "action_id",
                "action_status",
                "update_count",
                "source_item",
                "target_item",
                "source_item_owner",
                "target_item_owner",
                "source_item_latitude",
                "source_item_longitude",
                "target_item_latitude",
                "target_item_longitude",
                "event_payload",
                "requirements_snapshot",
                "occurred_at",
                "event_id",
            ];
            let mut told = keys.clone();
            told.sort_unstable();
            wanted.sort_unstable();
            assert_eq!(told, wanted, "remarks is left out when null: {}", got.body);
            assert_eq!(got.body["origin_instance_domain"], json!(world.b_url()));
            assert!(got.headers.iter().any(|(name, _)| name == "signature"), "signed when we have a key");
        })
        .await;
}

async fn perform_refusals(suite: &mut Suite, world: &World) {
    let mut route = suite.route("POST /api/v1/network/action/perform");
    let b = world.b.process.client();
    let target = world.tutor().await;
    let good = perform_from(&world.foreign.url(), &target);
    let (source_url, target_url) = ("/source_item/item_instance_url", "/target_item/item_instance_url");
    let requirements = "/requirements_snapshot";
    let (stranger, invalid) = ("PEER_NOT_REGISTERED", "INVALID_ACTION_REQUEST");
    for (name, status, code, place, value) in [
        ("the claimed instance is not registered", 403, stranger, source_url, json!("http://evil.example")),
        ("not for the source domain", 403, stranger, "/source_item/item_domain", json!("library")),
        ("a source network that is not loaded", 403, stranger, "/source_item/item_network", json!("elsewhere")),
        ("it claims to be this instance", 403, "PEER_IDENTITY_MISMATCH", source_url, json!(world.b_url())),
        ("the target is another instance", 400, "INVALID_TARGET_INSTANCE", target_url, json!(world.a_url())),
        ("the target is no instance", 400, "INVALID_TARGET_INSTANCE", target_url, json!("http://evil.example")),
        ("an unknown action", 400, invalid, "/action_type", json!("unknown")),
        ("a type that the action does not allow", 400, invalid, "/source_item/item_type", json!("other")),
        ("requirements that do not fit", 400, invalid, requirements, json!({})),
        ("too large to be mirrored", 400, invalid, requirements, json!({"subject": "x".repeat(1_040_000)})),
        ("no such item", 404, "TARGET_ITEM_NOT_FOUND", "/target_item/item_id", json!(Uuid::new_v4())),
    ] {
        route
            .case(format!("{status} {code}: {name}"), async {
                b.post(PERFORM).json(&with(&good, place, value)).send().await.expect_error(status, code);
            })
            .await;
    }
    route
        .case("403 unserved: the target pair, before the target's URL", async {
            let elsewhere = with(&good, target_url, json!("http://evil.example"));
            let body = with(&elsewhere, "/target_item/item_domain", json!(STUDENT));
            unserved(&b.post(PERFORM).json(&body).send().await, NETWORK, STUDENT, &[TUTOR]);
        })
        .await;
    route
        .case("400 INVALID_ACTION_EVENT: the first event does not fit", async {
            let body = with(&with(&good, "/action_type", json!(BOOK)), requirements, json!({}));
            b.post(PERFORM).json(&body).send().await.expect_error(400, "INVALID_ACTION_EVENT");
        })
        .await;
    route
        .case("404 TARGET_ITEM_NOT_FOUND: deleted", async {
            let gone = world.tutor().await;
            let _deleted = world.ravi.delete(&path(&gone)).send().await.expect(204);
            let body = perform_from(&world.foreign.url(), &gone);
            b.post(PERFORM).json(&body).send().await.expect_error(404, "TARGET_ITEM_NOT_FOUND");
        })
        .await;
    let wrong = [
        ("/source_item_owner", json!("")),
        ("/source_item_owner", json!("x".repeat(256))),
        ("/source_item/item_instance_url", json!("nowhere")),
        ("/target_item/item_id", json!("x")),
        ("/requirements_snapshot", json!(5)),
    ];
    route.wrong_values(&good, &wrong, async |body| b.post(PERFORM).json(&body).send().await).await;
    route
        .case("400 VALIDATION_ERROR: every missing field is named", async {
            let answer = b.post(PERFORM).json(&json!({"source_item": {}, "target_item": {}})).send().await;
            let wanted = [
                "/action_type",
                "/source_item_owner",
                "/requirements_snapshot",
                "/source_item/item_id",
                "/target_item/item_instance_url",
            ];
            faults(&answer, "VALIDATION_ERROR", &wanted);
        })
        .await;
}

/// An action of the keyed peer on B, and the body with which it would cancel it.
async fn planted(world: &World) -> Value {
    let target = world.tutor().await;
    let body = perform_from(&world.keyed.url(), &target);
    let made = world.keyed_key.post(world.b_url(), PERFORM, &body).await.expect(201);
    json!({"action_id": made.body["action_id"], "action_status": "cancelled", "remarks": "Found someone",
           "source_item": body["source_item"], "source_item_owner": "somebody"})
}

async fn update(suite: &mut Suite, world: &World) {
    let mut route = suite.route("POST /api/v1/network/action/update-status");
    route
        .case("200 signed: four fields and a position", async {
            let body = planted(world).await;
            let answer = world.keyed_key.post(world.b_url(), UPDATE, &body).await.expect(200);
            four_fields(&answer.body);
            assert_eq!((&answer.body["action_status"], &answer.body["update_count"]), (&json!("cancelled"), &json!(1)));
            let row = world.ravi.action(body["action_id"].as_str().expect("an id")).await.expect("the row");
            assert_eq!((&row["action_status"], &row["remarks"]), (&json!("cancelled"), &json!("Found someone")));
        })
        .await;
}

async fn update_refusals(suite: &mut Suite, world: &World) {
    let mut route = suite.route("POST /api/v1/network/action/update-status");
    let good = planted(world).await;
    let source_url = "/source_item/item_instance_url";
    for (name, status, code, place, value) in [
        ("unknown", 404, "ACTION_NOT_FOUND", "/action_id", json!(Uuid::new_v4())),
        ("another source item", 404, "ACTION_NOT_FOUND", "/source_item/item_id", json!(Uuid::new_v4())),
        ("another owner", 403, "SOURCE_ITEM_NOT_OWNED", "/source_item_owner", json!("another")),
        ("not the source's to set", 403, "TARGET_ITEM_NOT_OWNED", "/action_status", json!("accepted")),
        ("it claims to be this instance", 403, "PEER_IDENTITY_MISMATCH", source_url, json!(world.b_url())),
        ("it claims another's", 403, "PEER_IDENTITY_MISMATCH", source_url, json!(world.a_url())),
        ("not for the source domain", 403, "PEER_NOT_REGISTERED", "/source_item/item_domain", json!("library")),
    ] {
        route
            .case(format!("{status} {code}: {name}"), async {
                let answer = world.keyed_key.post(world.b_url(), UPDATE, &with(&good, place, value)).await;
                answer.expect_error(status, code);
            })
            .await;
    }
    route
        .case("400 INVALID_ACTION_EVENT: the payload does not fit", async {
            let body = with(&good, "/event_payload", json!({"subject": 5}));
            let answer = world.keyed_key.post(world.b_url(), UPDATE, &body).await;
            faults(&answer, "INVALID_ACTION_EVENT", &["/event_payload/subject"]);
        })
        .await;
    route
        .case("409 INVALID_TRANSITION: after an answer", async {
            let body = planted(world).await;
            let action = body["action_id"].as_str().expect("an id");
            let _answered = world.ravi.update_status(action, "accepted").send().await.expect(200);
            world.keyed_key.post(world.b_url(), UPDATE, &body).await.expect_error(409, "INVALID_TRANSITION");
        })
        .await;
    route
        .case("404 ACTION_NOT_FOUND: its target is deleted", async {
            let target = world.tutor().await;
            let asked = perform_from(&world.keyed.url(), &target);
            let made = world.keyed_key.post(world.b_url(), PERFORM, &asked).await.expect(201);
            let _gone = world.ravi.delete(&path(&target)).send().await.expect(204);
            let body = json!({"action_id": made.body["action_id"], "action_status": "cancelled", "source_item": asked["source_item"],
                "source_item_owner": "somebody"});
            world.keyed_key.post(world.b_url(), UPDATE, &body).await.expect_error(404, "ACTION_NOT_FOUND");
        })
        .await;
    route
        .case("401 PEER_SIGNATURE_REQUIRED unsigned, from a peer without a key too", async {
            let b = world.b.process.client();
            b.post(UPDATE).json(&good).send().await.expect_error(401, "PEER_SIGNATURE_REQUIRED");
            let body = with(&good, source_url, json!(world.foreign.url()));
            b.post(UPDATE).json(&body).send().await.expect_error(401, "PEER_SIGNATURE_REQUIRED");
        })
        .await;
    let wrong = [
        ("/action_id", json!("x")),
        ("/action_status", json!("")),
        ("/remarks", json!("")),
        ("/source_item/item_type", json!(5)),
    ];
    let send = async |body: Value| world.keyed_key.post(world.b_url(), UPDATE, &body).await;
    route.wrong_values(&good, &wrong, send).await;
}
