//! CONTRACT 4.14a, 4.23 and 4.24: batches between instances of our make, what a peer may ask about its lanes, and what an
//! operator may do to them.

use dpg_tests::network::{NETWORK, STUDENT, TUTOR, perform_from};
use dpg_tests::peer::Reply;
use dpg_tests::wait::check;
use dpg_tests::{Answer, eventually};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::shapes::{Is, faults, keys, page};
use crate::suite::Suite;
use crate::world::{ADMIN_KEY, World, courteous, with};

const BATCH: &str = "/api/v1/event/store/batch";
const STATUS: &str = "/api/v1/peers/self/status";

pub async fn cases(suite: &mut Suite, world: &World) {
    batches(suite, world).await;
    batch_refusals(suite, world).await;
    status(suite, world).await;
    credentials(suite, world).await;
    verbs(suite, world).await;
    parked(suite, world).await;
    world.foreign.answer(courteous);
}

const LANE: &[(&str, Is)] = &[
    ("network", Is::Text),
    ("instance_url", Is::Text),
    ("state", Is::Text),
    ("diverged", Is::Flag),
    ("epoch", Is::Id),
    ("last_seq", Is::Count),
    ("acknowledged_seq", Is::Count),
    ("waiting", Is::Count),
    ("oldest_waiting_seconds", Is::Count),
    ("parked", Is::Count),
    ("failures", Is::Count),
    ("next_attempt_at", Is::MaybeTime),
    ("last_error", Is::Any),
];

/// A batch of the keyed peer to A: events about a student item, under these numbers.
fn batch(world: &World, epoch: &Uuid, events: &[(u64, Value)], withdrawn: &[u64]) -> Value {
    let events: Vec<Value> = events.iter().map(|(seq, event)| json!({"seq": seq, "event": event})).collect();
    json!({"origin_instance_domain": world.keyed.url(), "network": NETWORK, "destination": world.a_url(), "epoch": epoch,
           "events": events, "withdrawn": withdrawn})
}

async fn send(world: &World, body: &Value) -> Answer {
    world.keyed_key.post(world.a_url(), BATCH, body).await
}

async fn batches(suite: &mut Suite, world: &World) {
    let mut route = suite.route("POST /api/v1/event/store/batch");
    route
        .case("the capabilities event-batch and cursor are told", async {
            let told = world.nobody().get("/.well-known/dpg-peer").send().await.expect(200);
            let capabilities = told.body["capabilities"].as_array().expect("a list");
            for capability in ["event-batch", "cursor"] {
                assert!(capabilities.contains(&json!(capability)), "{capability}: {told}");
            }
        })
        .await;
    route
        .case("200: one result per event in order, and the contiguous mark over withdrawn numbers", async {
            let (epoch, item) = (Uuid::new_v4(), world.student().await);
            let good = world.event_from(&world.keyed.url(), &item);
            let mut other = good.clone();
            other["remarks"] = json!("another");
            let mut foreign = world.event_from(&world.keyed.url(), &item);
            foreign["origin_instance_domain"] = json!(world.foreign.url());
            let mut unknown = world.event_from(&world.keyed.url(), &item);
            unknown["action_type"] = json!("unknown");
            let events = [(1, good.clone()), (2, good), (3, other), (4, foreign), (6, unknown)];
            let answer = send(world, &batch(world, &epoch, &events, &[5])).await.expect(200);
            let outcomes: Vec<&Value> =
                answer.body["results"].as_array().expect("results").iter().map(|one| &one["outcome"]).collect();
            assert_eq!(outcomes, ["stored", "duplicate", "conflict", "rejected", "rejected"], "{answer}");
            for place in [3, 4] {
                keys(
                    &answer.body["results"][place],
                    &[("seq", Is::Count), ("status", Is::Count), ("error", Is::Text), ("message", Is::Text)],
                );
                assert_eq!(answer.body["results"][place]["error"], json!("INVALID_EVENT_REQUEST"), "{answer}");
            }
            assert_eq!(answer.body["high_water"], json!(6), "{answer}");
        })
        .await;
    route
        .case(
            "an event beyond a gap is stored and leaves the mark; an empty batch tells it; each epoch has its own",
            async {
                let (epoch, item) = (Uuid::new_v4(), world.student().await);
                let event = || world.event_from(&world.keyed.url(), &item);
                let answer = send(world, &batch(world, &epoch, &[(1, event()), (3, event())], &[])).await.expect(200);
                assert_eq!(
                    (&answer.body["results"][1]["outcome"], &answer.body["high_water"]),
                    (&json!("stored"), &json!(1))
                );
                assert_eq!(
                    send(world, &batch(world, &epoch, &[], &[])).await.expect(200).body,
                    json!({"results": [], "high_water": 1})
                );
                assert_eq!(
                    send(world, &batch(world, &epoch, &[], &[2])).await.expect(200).body["high_water"],
                    json!(3)
                );
                assert_eq!(
                    send(world, &batch(world, &Uuid::new_v4(), &[], &[])).await.expect(200).body["high_water"],
                    json!(0)
                );
            },
        )
        .await;
}

async fn batch_refusals(suite: &mut Suite, world: &World) {
    let mut route = suite.route("POST /api/v1/event/store/batch");
    let good = batch(world, &Uuid::new_v4(), &[], &[]);
    let origin = "/origin_instance_domain";
    for (name, status, code, place, value) in [
        ("another instance", 400, "INVALID_DESTINATION", "/destination", json!(world.b_url())),
        ("the origin is another peer", 403, "PEER_IDENTITY_MISMATCH", origin, json!(world.foreign.url())),
        ("the origin is this instance", 403, "PEER_IDENTITY_MISMATCH", origin, json!(world.a_url())),
        ("the origin is nobody", 403, "PEER_NOT_REGISTERED", origin, json!("http://evil.example")),
    ] {
        route
            .case(format!("{status} {code}: {name}"), async {
                send(world, &with(&good, place, value)).await.expect_error(status, code);
            })
            .await;
    }
    route
        .case("401 PEER_SIGNATURE_REQUIRED unsigned", async {
            world.nobody().post(BATCH).json(&good).send().await.expect_error(401, "PEER_SIGNATURE_REQUIRED");
        })
        .await;
    let many: Vec<Value> = (1..=51).map(|seq| json!({"seq": seq, "event": {}})).collect();
    let wrong = [
        ("/epoch", json!("x")),
        ("/network", json!("")),
        ("/destination", json!("nowhere")),
        ("/events", json!({})),
        ("/events", json!(many)),
        ("/withdrawn/0", json!("x")),
    ];
    let withdrawing = with(&good, "/withdrawn", json!([1]));
    route.wrong_values(&withdrawing, &wrong, async |body| send(world, &body).await).await;
    route
        .case("413 PAYLOAD_TOO_LARGE over 256 KiB", async {
            let body = with(&good, "/padding", json!("x".repeat(262_144)));
            send(world, &body).await.expect_error(413, "PAYLOAD_TOO_LARGE");
        })
        .await;
}

async fn status(suite: &mut Suite, world: &World) {
    let mut route = suite.route("GET /api/v1/peers/self/status");
    route
        .case("200: this instance's lanes to the caller, by network", async {
            let answer = world.keyed_key.get(world.b_url(), STATUS).await.expect(200);
            assert_eq!(answer.body["instance_url"], json!(world.keyed.url()), "whose lanes these are");
            let lanes = answer.body["lanes"].as_array().expect("lanes");
            assert_eq!(lanes.len(), 1, "{answer}");
            keys(&lanes[0], LANE);
            assert_eq!((&lanes[0]["network"], &lanes[0]["instance_url"]), (&json!(NETWORK), &json!(world.keyed.url())));
        })
        .await;
    route
        .case("a network without an event for the caller has a lane ready with zeroes", async {
            let answer = world.a_key.get(&world.strict.instance.url, STATUS).await.expect(200);
            keys(&answer.body["lanes"][0], LANE);
        })
        .await;
    route
        .case("401 PEER_SIGNATURE_REQUIRED unsigned, PEER_SIGNATURE_INVALID by a stranger", async {
            world.nobody().get(STATUS).send().await.expect_error(401, "PEER_SIGNATURE_REQUIRED");
            let stranger = crate::signer::Signer::new("http://nowhere.example");
            stranger.get(world.a_url(), STATUS).await.expect_error(401, "PEER_SIGNATURE_INVALID");
        })
        .await;
}

async fn credentials(suite: &mut Suite, world: &World) {
    let mut route = suite.route("GET /api/v1/admin/peers");
    let path = "/api/v1/admin/peers";
    route
        .case("x-admin-key decides alone; else an admin's API key; a session is nothing", async {
            let nobody = world.nobody();
            let _lanes = nobody.get(path).header("x-admin-key", ADMIN_KEY).send().await.expect(200);
            let _lanes = world.admin_key.get(path).send().await.expect(200);
            let wrong = world.admin_key.get(path).header("x-admin-key", "wrong").send().await;
            wrong.expect_error(403, "INVALID_ADMIN_KEY");
            nobody.get(path).send().await.expect_error(401, "UNAUTHORIZED");
            world.admin.get(path).send().await.expect_error(401, "UNAUTHORIZED");
            nobody.key("nonsense").get(path).send().await.expect_error(403, "INVALID_API_KEY");
            let users = world.asha.key(&world.asha.create_key().await);
            users.get(path).send().await.expect_error(403, "ADMIN_REQUIRED");
        })
        .await;
}

/// A request of B's operator.
async fn operate(world: &World, path: &str, body: Option<Value>) -> Answer {
    let client = world.b.process.client();
    let path = format!("/api/v1/admin/{path}");
    let asked = match body {
        Some(body) => client.post(&path).json(&body),
        None => client.get(&path),
    };
    asked.header("x-admin-key", ADMIN_KEY).send().await
}

async fn verbs(suite: &mut Suite, world: &World) {
    let lane = json!({"instance_url": world.a_url(), "network": NETWORK});
    let _action = world.connected("connect").await;
    for (verb, state) in [("pause", "paused"), ("resume", "ready"), ("probe", "")] {
        let title = format!("POST /api/v1/admin/peers/{verb}");
        let mut route = suite.route(&title);
        let path = format!("peers/{verb}");
        route
            .case("200: the lanes concerned, in any spelling of the URL", async {
                let mut spelled = lane.clone();
                spelled["instance_url"] = json!(format!("{}/", world.a_url().replace("127.0.0.1", "localhost")));
                let answer = operate(world, &path, Some(spelled)).await.expect(200);
                let lanes = answer.body["lanes"].as_array().expect("lanes");
                lanes.iter().for_each(|lane| keys(lane, LANE));
                assert!(lanes.len() == 1 && (state.is_empty() || lanes[0]["state"] == json!(state)), "{answer}");
            })
            .await;
        route
            .case("404 LANE_NOT_FOUND: no such instance, not in that network", async {
                for (key, value) in [("instance_url", "http://nowhere.example"), ("network", "elsewhere")] {
                    let mut other = lane.clone();
                    other[key] = json!(value);
                    operate(world, &path, Some(other)).await.expect_error(404, "LANE_NOT_FOUND");
                }
            })
            .await;
    }
    let mut route = suite.route("POST /api/v1/admin/peers/probe");
    route
        .case("409 LANE_STATE_CONFLICT on a paused lane", async {
            let _paused = operate(world, "peers/pause", Some(lane.clone())).await.expect(200);
            operate(world, "peers/probe", Some(lane.clone())).await.expect_error(409, "LANE_STATE_CONFLICT");
            let _resumed = operate(world, "peers/resume", Some(lane.clone())).await.expect(200);
        })
        .await;
    let mut route = suite.route("POST /api/v1/admin/outbox/resend");
    route
        .case("200 {lane, resent}; 400 beyond last_seq; 404 for no lane", async {
            let resend = |since: u64, url: &str| json!({"instance_url": url, "network": NETWORK, "since_seq": since});
            let answer = operate(world, "outbox/resend", Some(resend(1, world.a_url()))).await.expect(200);
            keys(&answer.body["lane"], LANE);
            keys(&answer.body, &[("resent", Is::Count)]);
            let beyond = operate(world, "outbox/resend", Some(resend(1_000_000, world.a_url()))).await;
            faults(&beyond, "VALIDATION_ERROR", &["/since_seq"]);
            operate(world, "outbox/resend", Some(resend(1, "http://nowhere.example")))
                .await
                .expect_error(404, "LANE_NOT_FOUND");
        })
        .await;
}

/// Events that the foreign peer refuses are parked on B. Gives the parked rows.
async fn park(world: &World, count: usize) -> Vec<Value> {
    world.foreign.answer(|_| Reply::json(400, &json!({"error": "INVALID_EVENT_REQUEST", "message": "no"})));
    let mut actions = Vec::new();
    for _ in 0..count {
        let body = perform_from(&world.foreign.url(), &world.tutor().await);
        let made = world.b.process.client().post("/api/v1/network/action/perform").json(&body).send().await.expect(201);
        actions.push(made.body["action_id"].clone());
    }
    eventually("they are parked", dpg_tests::log::SOON, || async {
        let answer = operate(world, "outbox/parked?limit=100", None).await;
        let rows: Vec<Value> =
            page(&answer, "parked").iter().filter(|row| actions.contains(&row["action_id"])).cloned().collect();
        check(rows.len() == count, &answer).map(|()| rows)
    })
    .await
}

async fn parked(suite: &mut Suite, world: &World) {
    let mut rows = Vec::new();
    let mut route = suite.route("GET /api/v1/admin/outbox/parked");
    route
        .case("200: what a peer refused, newest first, with its answer", async {
            rows = park(world, 2).await;
            for row in &rows {
                keys(
                    row,
                    &[
                        ("id", Is::Id),
                        ("network", Is::Text),
                        ("instance_url", Is::Text),
                        ("seq", Is::Count),
                        ("action_id", Is::Id),
                        ("update_count", Is::Count),
                        ("parked_at", Is::Time),
                        ("attempts", Is::Count),
                        ("conflict", Is::Flag),
                        ("status", Is::Count),
                        ("error", Is::Text),
                        ("message", Is::Text),
                    ],
                );
                assert_eq!((&row["status"], &row["error"]), (&json!(400), &json!("INVALID_EVENT_REQUEST")));
            }
            assert!(rows[0]["parked_at"].as_str() >= rows[1]["parked_at"].as_str());
        })
        .await;
    let ids: Vec<String> = rows.iter().filter_map(|row| row["id"].as_str().map(str::to_owned)).collect();
    let [retried, dropped] = ids.as_slice() else { return };
    let mut route = suite.route("GET /api/v1/admin/outbox/parked/:id");
    route
        .case("200 with the event as it would be sent; 404 PARKED_NOT_FOUND; 400 for no id", async {
            let answer = operate(world, &format!("outbox/parked/{retried}"), None).await.expect(200);
            let event = &answer.body["event"];
            assert_eq!(
                (&event["source_item"]["item_domain"], &event["target_item"]["item_domain"]),
                (&json!(STUDENT), &json!(TUTOR))
            );
            operate(world, &format!("outbox/parked/{}", Uuid::new_v4()), None)
                .await
                .expect_error(404, "PARKED_NOT_FOUND");
            faults(&operate(world, "outbox/parked/x", None).await, "VALIDATION_ERROR", &["/id"]);
        })
        .await;
    let mut route = suite.route("POST /api/v1/admin/outbox/parked/:id/retry");
    route
        .case("200 queued; it is sent again and then 404 PARKED_NOT_FOUND", async {
            world.foreign.answer(courteous);
            let path = format!("/api/v1/admin/outbox/parked/{retried}/retry");
            let retry = || world.b.process.client().post(&path).header("x-admin-key", ADMIN_KEY);
            assert_eq!(retry().send().await.expect(200).body, json!({"id": retried, "outcome": "queued"}));
            eventually("it is parked no more", dpg_tests::log::SOON, || async {
                let answer = operate(world, &format!("outbox/parked/{retried}"), None).await;
                check(answer.status == 404, &answer)
            })
            .await;
            retry().send().await.expect_error(404, "PARKED_NOT_FOUND");
        })
        .await;
    let mut route = suite.route("POST /api/v1/admin/outbox/parked/:id/drop");
    route
        .case("200 dropped with a reason of 1 to 1000 characters, then 404", async {
            let path = format!("outbox/parked/{dropped}/drop");
            for reason in [json!(""), json!("x".repeat(1001)), json!(5)] {
                faults(&operate(world, &path, Some(json!({"reason": reason}))).await, "VALIDATION_ERROR", &["/reason"]);
            }
            let reason = json!({"reason": "no longer wanted"});
            let answer = operate(world, &path, Some(reason.clone())).await.expect(200);
            assert_eq!(answer.body, json!({"id": dropped, "outcome": "dropped"}));
            operate(world, &path, Some(reason)).await.expect_error(404, "PARKED_NOT_FOUND");
        })
        .await;
}
