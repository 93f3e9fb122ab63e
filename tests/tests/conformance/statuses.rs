//! CONTRACT 4.11 where the action is held, and 5.1, 5.2: who may set which status, and what the event then says.

use dpg_tests::network::STUDENT;
use dpg_tests::{Answer, Client, User};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::items::path;
use crate::shapes::{event, faults, four_fields};
use crate::suite::Suite;
use crate::world::{ENROL, STUDY, World};

const UPDATE: &str = "/api/v1/action/update-status";

pub async fn cases(suite: &mut Suite, world: &World) {
    update(suite, world).await;
    roles(suite, world).await;
    lifecycle(suite, world).await;
    refusals(suite, world).await;
}

/// Two people on A and an action between their items.
struct Local {
    from: User,
    to: User,
    source: Value,
    target: Value,
    action: String,
}

impl Local {
    async fn new(world: &World) -> Self {
        let (from, to) = (world.a.sign_up("from").await, world.a.sign_up("to").await);
        let (source, target) = (from.create_student("From").await, to.create_student("To").await);
        let action = from.perform_as(STUDY, &source, &target).send().await.expect(201).text_at("action_id");
        Self { from, to, source, target, action }
    }

    async fn set(&self, by: &Client, status: &str) -> Answer {
        by.update_status(&self.action, status).send().await
    }
}

async fn update(suite: &mut Suite, world: &World) {
    let mut route = suite.route("POST /api/v1/action/update-status");
    route
        .case("200: four fields, position; row and event agree in the very next read", async {
            let local = Local::new(world).await;
            let body = json!({"action_id": local.action, "action_status": "accepted", "remarks": "Saturday at ten"});
            let answer = local.to.post(UPDATE).json(&body).send().await.expect(200);
            four_fields(&answer.body);
            assert_eq!((&answer.body["action_status"], &answer.body["update_count"]), (&json!("accepted"), &json!(1)));
            assert!(answer.position() > 0);
            let row = local.from.action(&local.action).await.expect("the row");
            assert_eq!(
                (&row["action_status"], &row["update_count"], &row["remarks"]),
                (&json!("accepted"), &json!(1), &json!("Saturday at ten"))
            );
            let events = local.from.events(&local.action).await;
            events.iter().for_each(event);
            assert_eq!(
                events[1]["event_payload"],
                json!({"subject": "math", "status": "accepted", "remark": "Saturday at ten"})
            );
            assert_eq!(events[1]["remarks"], json!("Saturday at ten"));
        })
        .await;
    route
        .case(
            "without remarks the row keeps the earlier one; the event's is null, its payload says the default",
            async {
                let local = Local::new(world).await;
                let body = json!({"action_id": local.action, "action_status": "accepted", "remarks": "kept"});
                let _first = local.to.post(UPDATE).json(&body).send().await.expect(200);
                let _second = local.set(&local.to, "completed").await.expect(200);
                assert_eq!(local.to.action(&local.action).await.expect("the row")["remarks"], json!("kept"));
                let last = local.to.events(&local.action).await.pop().expect("an event");
                assert_eq!(
                    (&last["remarks"], &last["event_payload"]["remark"]),
                    (&json!(null), &json!("Action status set to completed"))
                );
            },
        )
        .await;
    route
        .case("event_payload goes over the requirements; status and remark in it are dropped", async {
            let local = Local::new(world).await;
            let payload = json!({"subject": "physics", "room": "12", "status": "completed", "remark": "lie"});
            let body = json!({"action_id": local.action, "action_status": "accepted", "event_payload": payload});
            let _answer = local.to.post(UPDATE).json(&body).send().await.expect(200);
            let last = local.to.events(&local.action).await.pop().expect("an event");
            let wanted = json!({"subject": "physics", "room": "12", "status": "accepted", "remark": "Action status set to accepted"});
            assert_eq!(last["event_payload"], wanted);
        })
        .await;
}

async fn roles(suite: &mut Suite, world: &World) {
    let mut route = suite.route("5.2 who may set which status");
    route
        .case("the target's owner sets any status of the enum, any time", async {
            let local = Local::new(world).await;
            for (count, status) in (1..).zip(["accepted", "rejected", "pending", "cancelled", "completed", "created"]) {
                assert_eq!(local.set(&local.to, status).await.expect(200).body["update_count"], json!(count));
            }
        })
        .await;
    route
        .case("the source's owner sets cancelled while unanswered, and nothing else", async {
            let local = Local::new(world).await;
            for status in ["accepted", "rejected", "completed", "pending", "created"] {
                local.set(&local.from, status).await.expect_error(403, "TARGET_ITEM_NOT_OWNED");
            }
            let _withdrawn = local.set(&local.from, "cancelled").await.expect(200);
        })
        .await;
    route
        .case("409 INVALID_TRANSITION: the source's cancelled after an answer", async {
            let local = Local::new(world).await;
            let _answered = local.set(&local.to, "accepted").await.expect(200);
            local.set(&local.from, "cancelled").await.expect_error(409, "INVALID_TRANSITION");
        })
        .await;
    route
        .case("nobody else, admins included: 403 TARGET_ITEM_NOT_OWNED", async {
            let local = Local::new(world).await;
            let clients: [&Client; 3] = [&world.maya, &world.admin, &world.admin_key];
            for client in clients {
                local.set(client, "accepted").await.expect_error(403, "TARGET_ITEM_NOT_OWNED");
            }
        })
        .await;
    route
        .case("one person with both items has both roles", async {
            let (source, target) = (world.student().await, world.student().await);
            let action = world.asha.perform_as(STUDY, &source, &target).send().await.expect(201).text_at("action_id");
            let _set = world.asha.update_status(&action, "accepted").send().await.expect(200);
            let _set = world.asha.update_status(&action, "cancelled").send().await.expect(200);
        })
        .await;
    route
        .case("a deleted source item keeps its owner's role", async {
            let local = Local::new(world).await;
            let _gone = local.from.delete(&path(&local.source)).send().await.expect(204);
            let answer = local.set(&local.from, "cancelled").await;
            assert_eq!(answer.status, 200, "the source item lived here when the action was stored: {answer}");
        })
        .await;
}

async fn lifecycle(suite: &mut Suite, world: &World) {
    let mut route = suite.route("5.2 who may set which status");
    route
        .case("with a lifecycle: listed transitions only, by whom they name", async {
            let action = world.connected(ENROL).await;
            let set = async |status: &str| world.ravi.update_status(&action, status).send().await;
            set("cancelled").await.expect_error(403, "TARGET_ITEM_NOT_OWNED");
            set("completed").await.expect_error(409, "INVALID_TRANSITION");
            let _accepted = set("accepted").await.expect(200);
            set("rejected").await.expect_error(409, "INVALID_TRANSITION");
            let _completed = set("completed").await.expect(200);
            for status in ["accepted", "completed", "rejected"] {
                set(status).await.expect_error(409, "INVALID_TRANSITION");
            }
        })
        .await;
}

async fn refusals(suite: &mut Suite, world: &World) {
    let mut route = suite.route("POST /api/v1/action/update-status");
    let local = Local::new(world).await;
    route
        .case("404 ACTION_NOT_FOUND: unknown, or its target is deleted", async {
            let gone = Local::new(world).await;
            let _deleted = gone.to.delete(&path(&gone.target)).send().await.expect(204);
            for by in [&gone.to, &gone.from] {
                gone.set(by, "cancelled").await.expect_error(404, "ACTION_NOT_FOUND");
            }
            let unknown = world.asha.update_status(&Uuid::new_v4().to_string(), "accepted").send().await;
            unknown.expect_error(404, "ACTION_NOT_FOUND");
        })
        .await;
    route
        .case("400 INVALID_ACTION_STATUS: not in the enum", async {
            local.set(&local.to, "unheard-of").await.expect_error(400, "INVALID_ACTION_STATUS");
        })
        .await;
    route
        .case("role comes before status: 403 for nobody's unheard-of status", async {
            local.set(&world.maya, "unheard-of").await.expect_error(403, "TARGET_ITEM_NOT_OWNED");
        })
        .await;
    route
        .case("400 INVALID_ACTION_EVENT with details under /event_payload", async {
            let body = json!({"action_id": local.action, "action_status": "accepted", "event_payload": {"subject": 5}});
            let answer = local.to.post(UPDATE).json(&body).send().await;
            faults(&answer, "INVALID_ACTION_EVENT", &["/event_payload/subject"]);
        })
        .await;
    route
        .case("400 INVALID_ACTION_EVENT: too large to be mirrored", async {
            let action = world.connected("connect").await;
            let body = json!({"action_id": action, "action_status": "accepted", "event_payload": {"room": "x".repeat(1_047_000)}});
            let answer = world.ravi.post(UPDATE).json(&body).send().await;
            answer.expect_error(400, "INVALID_ACTION_EVENT");
        })
        .await;
    let good = json!({"action_id": local.action, "action_status": "accepted"});
    let wrong = [
        ("/action_id", json!("x")),
        ("/action_status", json!("")),
        ("/action_status", json!("x".repeat(121))),
        ("/remarks", json!("")),
        ("/remarks", json!(5)),
        ("/event_payload", json!([])),
    ];
    route.wrong_values(&good, &wrong, async |body| local.to.post(UPDATE).json(&body).send().await).await;
    route
        .case("a refusal changes nothing", async {
            let row = local.to.action(&local.action).await.expect("the row");
            assert_eq!((&row["action_status"], &row["update_count"]), (&json!("created"), &json!(0)));
            assert_eq!(local.to.events(&local.action).await.len(), 1);
            assert_eq!(row["source_item_domain"], json!(STUDENT));
        })
        .await;
}
