//! CONTRACT 4.14 and 4.15: mirrored events come in, and events are read.

use dpg_tests::log::{arrives, projected};
use dpg_tests::network::{NETWORK, STUDENT, TUTOR};
use dpg_tests::{Answer, Client};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::items::path;
use crate::shapes::{Is, event, event_id, exactly, faults, keys, page, total, unserved};
use crate::suite::Suite;
use crate::world::{STUDY, World, with};

pub const STORE: &str = "/api/v1/event/store";

pub async fn cases(suite: &mut Suite, world: &World) {
    store(suite, world).await;
    order(suite, world).await;
    refusals(suite, world).await;
    identity(suite, world).await;
    validation(suite, world).await;
    fetch(suite, world).await;
}

async fn send(client: &Client, body: &Value) -> Answer {
    client.post(STORE).json(body).send().await
}

const FIVE: &[(&str, Is)] = &[
    ("event_id", Is::Id),
    ("action_id", Is::Id),
    ("action_type", Is::Text),
    ("action_status", Is::Text),
    ("update_count", Is::Count),
];

async fn store(suite: &mut Suite, world: &World) {
    let a = world.nobody();
    let mut route = suite.route("POST /api/v1/event/store");
    route
        .case("201 when newly stored, with the event's own id; 200 and the same when it was there", async {
            let body = world.event_from(&world.foreign.url(), &world.student().await);
            let first = send(&a, &body).await.expect(201);
            exactly(&first.body, FIVE);
            assert_eq!(first.body["event_id"], json!(event_id(&body)));
            let again = send(&a, &body).await.expect(200);
            assert_eq!(again.body, first.body);
        })
        .await;
    route
        .case("200 with conflict true for another content; the first stays", async {
            let body = world.event_from(&world.foreign.url(), &world.student().await);
            let first = send(&a, &body).await.expect(201);
            for (key, value) in [
                ("remarks", json!("another")),
                ("action_status", json!("accepted")),
                ("event_payload", json!({"subject": "x"})),
            ] {
                let mut other = body.clone();
                other[key] = value;
                let answer = send(&a, &other).await.expect(200);
                let mut wanted = first.body.clone();
                wanted["conflict"] = json!(true);
                assert_eq!(answer.body, wanted, "{key}");
            }
            let action = body["action_id"].as_str().expect("an id");
            arrives(&world.asha, action, 0).await;
            assert_eq!(world.asha.events(action).await[0]["event_payload"], body["event_payload"]);
        })
        .await;
    route
        .case("what an existing peer sends is enough: no extensions, unsigned, any user credentials", async {
            let mut body = world.event_from(&world.foreign.url(), &world.student().await);
            for key in ["source_item_latitude", "source_item_longitude", "target_item_owner", "remarks"] {
                body[key] = json!(null);
            }
            body["unknown"] = json!("key");
            let _stored = send(&a.bearer("nonsense").key("nonsense"), &body).await.expect(201);
        })
        .await;
    route
        .case("action_name is accepted; event_payload defaults to {}", async {
            let mut body = world.event_from(&world.foreign.url(), &world.student().await);
            let map = body.as_object_mut().expect("an object");
            let name = map.remove("action_type").expect("it");
            map.insert("action_name".to_owned(), name);
            let stored = send(&a, &body).await.expect(201);
            assert_eq!(stored.body["action_type"], json!("connect"));
        })
        .await;
    route
        .case("the local item's owner counts, whatever the body says; the extensions are kept", async {
            let mut body = world.event_from(&world.foreign.url(), &world.student().await);
            body["source_item_owner"] = json!("somebody else");
            body["target_item_owner"] = json!("ravi there");
            (body["target_item_latitude"], body["target_item_longitude"]) = (json!(12.97), json!(77.59));
            body["requirements_snapshot"] = json!({"subject": "math"});
            body["occurred_at"] = json!("2026-01-02T03:04:05.678Z");
            body["event_id"] = json!(Uuid::new_v4());
            let stored = send(&a, &body).await.expect(201);
            assert_eq!(stored.body["event_id"], json!(event_id(&body)), "event_id is accepted and ignored");
            let action = body["action_id"].as_str().expect("an id");
            let row = arrives(&world.asha, action, 0).await;
            assert_eq!(
                (&row["source_item_owner"], &row["target_item_owner"]),
                (&json!(world.asha.id), &json!("ravi there"))
            );
            assert_eq!(
                (&row["requirements_snapshot"], &row["partition_network"]),
                (&json!({"subject": "math"}), &json!(NETWORK))
            );
            let told = world.asha.events(action).await.remove(0);
            event(&told);
            assert_eq!(
                (&told["created_at"], &told["target_item_latitude"]),
                (&json!("2026-01-02T03:04:05.678Z"), &json!(12.97))
            );
        })
        .await;
}

async fn order(suite: &mut Suite, world: &World) {
    let a = world.nobody();
    let mut route = suite.route("POST /api/v1/event/store");
    route
        .case("late events join the history and do not set the row back", async {
            let base = world.event_from(&world.foreign.url(), &world.student().await);
            for (count, status) in [(0, "created"), (3, "completed"), (1, "pending"), (2, "accepted")] {
                let mut body = base.clone();
                (body["update_count"], body["action_status"]) = (json!(count), json!(status));
                let _stored = send(&a, &body).await.expect(201);
            }
            let action = base["action_id"].as_str().expect("an id");
            projected(&world.a.instance.database.client().await).await;
            let row = world.asha.action(action).await.expect("the row");
            assert_eq!((&row["action_status"], &row["update_count"]), (&json!("completed"), &json!(3)));
            assert_eq!(world.asha.events(action).await.len(), 4);
        })
        .await;
    route
        .case("a status outside the enum is stored: a mirror records what happened", async {
            let mut body = world.event_from(&world.foreign.url(), &world.student().await);
            body["action_status"] = json!("unheard-of");
            let _stored = send(&a, &body).await.expect(201);
        })
        .await;
    route
        .case("a deleted source item counts: its stream exists", async {
            let item = world.student().await;
            let _gone = world.asha.delete(&path(&item)).send().await.expect(204);
            let mut body = world.event_from(&world.foreign.url(), &item);
            body["source_item_owner"] = json!("somebody else");
            let _stored = send(&a, &body).await.expect(201);
            let row = arrives(&world.asha, body["action_id"].as_str().expect("an id"), 0).await;
            assert_eq!(row["source_item_owner"], json!(world.asha.id));
        })
        .await;
}

async fn refusals(suite: &mut Suite, world: &World) {
    let a = world.nobody();
    let mut route = suite.route("POST /api/v1/event/store");
    let good = world.event_from(&world.foreign.url(), &world.student().await);
    let (origin, target_url) = ("/origin_instance_domain", "/target_item/item_instance_url");
    // A sender who is what it says: origin and target's instance agree.
    let from = |url: &str| with(&with(&good, origin, json!(url)), target_url, json!(url));
    let changed = |place: &str, value: Value| with(&good, place, value);
    for (name, status, code, body) in [
        ("an origin that is not registered", 403, "PEER_NOT_REGISTERED", from("http://evil.example")),
        (
            "not for the target's domain",
            403,
            "PEER_NOT_REGISTERED",
            changed("/target_item/item_domain", json!("library")),
        ),
        ("the origin claims to be this instance", 403, "PEER_IDENTITY_MISMATCH", from(world.a_url())),
        (
            "origin and target's instance differ",
            403,
            "EVENT_ORIGIN_MISMATCH",
            changed(target_url, json!(world.b_url())),
        ),
        (
            "the source is another instance",
            400,
            "INVALID_SOURCE_INSTANCE",
            changed("/source_item/item_instance_url", json!(world.b_url())),
        ),
        ("no such item", 404, "SOURCE_ITEM_NOT_FOUND", changed("/source_item/item_id", json!(Uuid::new_v4()))),
        (
            "target network not loaded",
            400,
            "INVALID_EVENT_REQUEST",
            changed("/target_item/item_network", json!("elsewhere")),
        ),
        ("no such interaction", 400, "INVALID_EVENT_REQUEST", changed("/action_type", json!("unknown"))),
    ] {
        route
            .case(format!("{status} {code}: {name}"), async { send(&a, &body).await.expect_error(status, code) })
            .await;
    }
    route
        .case("400 INVALID_EVENT_REQUEST with details: the payload does not fit", async {
            let body = changed("/event_payload", json!({"subject": 5}));
            faults(&send(&a, &body).await, "INVALID_EVENT_REQUEST", &["/event_payload/subject"]);
        })
        .await;
    route
        .case("403 unserved: the source pair, before trust", async {
            let body = with(&from("http://evil.example"), "/source_item/item_domain", json!(TUTOR));
            unserved(&send(&a, &body).await, NETWORK, TUTOR, &[STUDENT]);
        })
        .await;
}

async fn identity(suite: &mut Suite, world: &World) {
    let a = world.nobody();
    let mut route = suite.route("POST /api/v1/event/store");
    route
        .case("409 EVENT_IDENTITY_CONFLICT: known as another action", async {
            let good = world.event_from(&world.foreign.url(), &world.student().await);
            let _stored = send(&a, &good).await.expect(201);
            let other = world.student().await;
            for (place, value) in [
                ("/action_type", json!("enrol")),
                ("/target_item/item_id", json!(Uuid::new_v4())),
                ("/source_item/item_id", other["item_id"].clone()),
            ] {
                let body = with(&with(&good, "/update_count", json!(1)), place, value);
                send(&a, &body).await.expect_error(409, "EVENT_IDENTITY_CONFLICT");
            }
        })
        .await;
    route
        .case("409 EVENT_IDENTITY_CONFLICT: another origin takes it over", async {
            let good = world.event_from(&world.foreign.url(), &world.student().await);
            let _stored = send(&a, &good).await.expect(201);
            let mut body = good.clone();
            body["update_count"] = json!(9);
            body["origin_instance_domain"] = json!(world.keyed.url());
            body["target_item"]["item_instance_url"] = json!(world.keyed.url());
            let answer = world.keyed_key.post(world.a_url(), STORE, &body).await;
            answer.expect_error(409, "EVENT_IDENTITY_CONFLICT");
        })
        .await;
    route
        .case("409 EVENT_IDENTITY_CONFLICT: it is held here", async {
            let (source, target) = (world.student().await, world.student().await);
            let held = world.asha.perform_as(STUDY, &source, &target).send().await.expect(201);
            let mut body = world.event_from(&world.foreign.url(), &source);
            body["action_id"] = held.body["action_id"].clone();
            body["update_count"] = json!(5);
            send(&a, &body).await.expect_error(409, "EVENT_IDENTITY_CONFLICT");
        })
        .await;
}

async fn validation(suite: &mut Suite, world: &World) {
    let a = world.nobody();
    let mut route = suite.route("POST /api/v1/event/store");
    let good = world.event_from(&world.foreign.url(), &world.student().await);
    let wrong = [
        ("/origin_instance_domain", json!("nowhere")),
        ("/action_id", json!("x")),
        ("/action_status", json!("")),
        ("/update_count", json!(-1)),
        ("/update_count", json!(1_000_001)),
        ("/update_count", json!(1.5)),
        ("/update_count", json!("1")),
        ("/source_item", json!(null)),
        ("/target_item/item_instance_url", json!("nowhere")),
        ("/event_payload", json!([])),
        ("/remarks", json!("")),
        ("/occurred_at", json!("yesterday")),
        ("/requirements_snapshot", json!("x")),
        ("/source_item_owner", json!("")),
        ("/source_item_latitude", json!("12")),
    ];
    route.wrong_values(&good, &wrong, async |body| send(&a, &body).await).await;
}

async fn fetch(suite: &mut Suite, world: &World) {
    let mut route = suite.route("GET /api/v1/event/fetch");
    let (from, to) = (world.a.sign_up("from").await, world.a.sign_up("to").await);
    let (source, target) = (from.create_student("From").await, to.create_student("To").await);
    let mut action = String::new();
    route
        .case("200: events whole, latest first, of both owners and nobody else", async {
            action = from.perform_as(STUDY, &source, &target).send().await.expect(201).text_at("action_id");
            for status in ["accepted", "completed"] {
                let _set = to.update_status(&action, status).send().await.expect(200);
            }
            for (user, role) in [(&from, "initiated"), (&to, "received")] {
                let answer = user.get("/api/v1/event/fetch").send().await;
                let rows = page(&answer, "events");
                rows.iter().for_each(event);
                let counts: Vec<&Value> = rows.iter().map(|row| &row["update_count"]).collect();
                assert_eq!(counts, [&json!(2), &json!(1), &json!(0)], "{answer}");
                assert!(rows.iter().all(|row| row["ownership_roles"] == json!([role])), "{answer}");
                assert_eq!(rows[0]["origin_instance_domain"], json!(world.a_url()));
                keys(&answer.body["meta"], &[("next_cursor", Is::Null)]);
            }
            assert_eq!(total(&world.maya.get(&format!("/api/v1/event/fetch?action_id={action}")).send().await), 0);
        })
        .await;
    for (query, found) in [
        ("update_count=1".to_owned(), 1),
        ("update_count=7".to_owned(), 0),
        ("action_status=completed".to_owned(), 1),
        (format!("action_type={STUDY}"), 3),
        (format!("action_name={STUDY}&action_type={STUDY}"), 3),
        ("ownership_role=received".to_owned(), 0),
        ("ownership_role=initiated&limit=1&offset=1".to_owned(), 3),
    ] {
        route
            .case(format!("query {query}: {found}"), async {
                assert_eq!(total(&from.get(&format!("/api/v1/event/fetch?{query}")).send().await), found);
            })
            .await;
    }
    let wrong = [
        ("update_count=-1", "/update_count"),
        ("update_count=x", "/update_count"),
        ("action_id=x", "/action_id"),
        ("ownership_role=", "/ownership_role"),
        ("item_id=x", "/item_id"),
    ];
    route.wrong_queries(&wrong, async |query| from.get(&format!("/api/v1/event/fetch?{query}")).send().await).await;
}
