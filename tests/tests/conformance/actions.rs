//! CONTRACT 4.9 and 4.13: an action is performed, here and elsewhere, and listed by both owners. What goes wrong at a
//! target elsewhere is in `forwarding`.

use dpg_tests::log::arrives;
use dpg_tests::network::{CONNECT, NETWORK, STUDENT, TUTOR, item_at, reference, student_state};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::items::path;
use crate::shapes::{action, faults, page, six_fields, total, unserved};
use crate::suite::Suite;
use crate::world::{BOOK, ENROL, MENTOR, STUDY, World, with};

pub const PERFORM: &str = "/api/v1/action/perform";

pub async fn cases(suite: &mut Suite, world: &World) {
    perform(suite, world).await;
    refusals(suite, world).await;
    validation(suite, world).await;
    fetch(suite, world).await;
}

fn body(action_type: &str, source: &Value, target: &Value, snapshot: &Value) -> Value {
    json!({"action_type": action_type, "source_item": reference(source), "target_item": reference(target),
           "requirements_snapshot": snapshot})
}

async fn perform(suite: &mut Suite, world: &World) {
    let asha = &world.asha;
    let mut route = suite.route("POST /api/v1/action/perform");
    route
        .case("201 local: the six fields and a position", async {
            let (source, target) = (world.student().await, world.maya.create_student("Maya").await);
            let made = asha.perform_as(STUDY, &source, &target).send().await.expect(201);
            six_fields(&made.body);
            assert!(made.position() > 0 && made.header("dpg-projected") == Some("true"), "{:?}", made.headers);
            for (key, value) in [
                ("action_type", json!(STUDY)),
                ("action_status", json!("created")),
                ("update_count", json!(0)),
                ("source_item_id", source["item_id"].clone()),
                ("target_item_id", target["item_id"].clone()),
            ] {
                assert_eq!(made.body[key], value, "{key}: {made}");
            }
            let row = world.maya.action(&made.text_at("action_id")).await.expect("in the very next read");
            assert_eq!(row["ownership_roles"], json!(["received"]));
        })
        .await;
    route
        .case("201 remote: no dpg-position, dpg-projected false; the row appears when the mirror lands", async {
            let (source, target) = (world.student().await, world.tutor().await);
            let made = asha.perform(&source, &target).send().await.expect(201);
            six_fields(&made.body);
            assert_eq!((made.header("dpg-position"), made.header("dpg-projected")), (None, Some("false")));
            let row = arrives(asha, &made.text_at("action_id"), 0).await;
            action(&row);
            assert_eq!(row["ownership_roles"], json!(["initiated"]));
            assert_eq!(row["target_item_owner"], json!(world.ravi.id));
            let held = world.ravi.action(&made.text_at("action_id")).await.expect("held there");
            assert_eq!((&held["source_item_owner"], &held["ownership_roles"]), (&json!(asha.id), &json!(["received"])));
        })
        .await;
    route
        .case("action_name is an accepted spelling; contradicting ones are 400", async {
            let (source, target) = (world.student().await, world.maya.create_student("Maya").await);
            let mut spelled = body(STUDY, &source, &target, &json!({"subject": "math"}));
            let name = spelled.as_object_mut().expect("an object").remove("action_type").expect("it");
            spelled["action_name"] = name;
            let made = asha.post(PERFORM).json(&spelled).send().await.expect(201);
            assert_eq!(made.body["action_type"], json!(STUDY));
            spelled["action_type"] = json!(CONNECT);
            asha.post(PERFORM).json(&spelled).send().await.expect_error(400, "VALIDATION_ERROR");
        })
        .await;
    route
        .case("the source's private values that are asked for go over the client's snapshot, no others", async {
            let source = asha.create(STUDENT, &student_state("Asha", "hidden")).send().await.expect(201).body;
            let target = world.maya.create_student("Maya").await;
            let snapshot = json!({"subject": "math", "phone": "5555555555"});
            let made = asha.post(PERFORM).json(&body(STUDY, &source, &target, &snapshot)).send().await.expect(201);
            let row = world.maya.action(&made.text_at("action_id")).await.expect("the action");
            assert_eq!(row["requirements_snapshot"], json!({"subject": "math", "phone": "1234567890"}));
        })
        .await;
    route
        .case("an item_instance_url in the source is ignored; actions between one owner's items are allowed", async {
            let (source, target) = (world.student().await, world.student().await);
            let mut asked = body(STUDY, &source, &target, &json!({"subject": "math"}));
            asked["source_item"]["item_instance_url"] = json!("http://evil.example");
            let made = asha.post(PERFORM).json(&asked).send().await.expect(201);
            let row = asha.action(&made.text_at("action_id")).await.expect("the action");
            assert_eq!(row["ownership_roles"], json!(["initiated", "received"]));
            assert_eq!(row["source_item_instance_url"], json!(world.a_url()));
        })
        .await;
    route
        .case("URLs are stored in their registered spelling", async {
            let (source, mut target) = (world.student().await, world.student().await);
            target["item_instance_url"] =
                json!(format!("{}/some/path?x=1", world.a_url().replace("127.0.0.1", "LOCALHOST")));
            let made = asha.perform_as(STUDY, &source, &target).send().await.expect(201);
            let row = asha.action(&made.text_at("action_id")).await.expect("the action");
            assert_eq!(row["target_item_instance_url"], json!(world.a_url()));
        })
        .await;
}

async fn refusals(suite: &mut Suite, world: &World) {
    let asha = &world.asha;
    let subject = json!({"subject": "math"});
    let mut route = suite.route("POST /api/v1/action/perform");
    route
        .case("403 unserved: the source pair", async {
            let source = item_at(world.a_url(), TUTOR);
            let answer = asha.post(PERFORM).json(&body(CONNECT, &source, &source, &subject)).send().await;
            unserved(&answer, NETWORK, TUTOR, &[STUDENT]);
        })
        .await;
    route
        .case("404 SOURCE_ITEM_NOT_FOUND: never there, deleted, of another type", async {
            let (gone, there) = (world.student().await, world.student().await);
            let _deleted = asha.delete(&path(&gone)).send().await.expect(204);
            let mut retyped = there.clone();
            retyped["item_type"] = json!("other");
            for source in [&item_at(world.a_url(), STUDENT), &gone, &retyped] {
                let answer = asha.post(PERFORM).json(&body(STUDY, source, &there, &subject)).send().await;
                answer.expect_error(404, "SOURCE_ITEM_NOT_FOUND");
            }
        })
        .await;
    route
        .case("403 SOURCE_ITEM_NOT_OWNED, admins too", async {
            let source = world.student().await;
            let clients: [&dpg_tests::Client; 3] = [&world.maya, &world.admin, &world.admin_key];
            for client in clients {
                client.perform_as(STUDY, &source, &source).send().await.expect_error(403, "SOURCE_ITEM_NOT_OWNED");
            }
        })
        .await;
    let source = world.student().await;
    let tutor = world.tutor().await;
    let good = body(CONNECT, &source, &tutor, &subject);
    let (target_url, requirements) = ("/target_item/item_instance_url", "/requirements_snapshot");
    let unknown = "INVALID_TARGET_INSTANCE";
    let invalid = "INVALID_ACTION_REQUEST";
    for (name, code, place, value) in [
        ("a domain that its contract lacks", "INVALID_TARGET_ITEM", "/target_item/item_domain", json!("nowhere")),
        ("an instance that is not registered for the domain", unknown, target_url, json!(world.a_url())),
        ("an instance that is not registered at all", unknown, target_url, json!("http://evil.example")),
        ("a target network that is not loaded", invalid, "/target_item/item_network", json!("elsewhere")),
        ("an action that is unknown", invalid, "/action_type", json!("unknown")),
        ("a pair that the action does not allow", invalid, "/action_type", json!(STUDY)),
        ("a type that the action does not allow", invalid, "/target_item/item_type", json!("other")),
        ("requirements that do not fit", invalid, requirements, json!({"subject": 5})),
        ("requirements that are not allowed", invalid, requirements, json!({"subject": "x", "more": 1})),
        ("too large to be mirrored", invalid, requirements, json!({"subject": "x".repeat(1_040_000)})),
    ] {
        route
            .case(format!("400 {code}: {name}"), async {
                let answer = asha.post(PERFORM).json(&with(&good, place, value)).send().await;
                // Some of these are the target's to say, and its body is passed on with the id that it gave the request.
                assert_eq!((answer.status, answer.code()), (400, code), "{answer}");
                if name.contains("requirements that do not") {
                    faults(&answer, code, &["/requirements_snapshot/subject"]);
                }
            })
            .await;
    }
    route
        .case("404 TARGET_ITEM_NOT_FOUND here: never there, deleted", async {
            let gone = world.student().await;
            let _deleted = asha.delete(&path(&gone)).send().await.expect(204);
            for target in [&item_at(world.a_url(), STUDENT), &gone] {
                asha.perform_as(STUDY, &source, target).send().await.expect_error(404, "TARGET_ITEM_NOT_FOUND");
            }
        })
        .await;
    route
        .case("400 INVALID_ACTION_EVENT here: the first event does not fit", async {
            let answer = asha.post(PERFORM).json(&body(BOOK, &source, &source, &json!({}))).send().await;
            faults(&answer, "INVALID_ACTION_EVENT", &[]);
        })
        .await;
}

async fn validation(suite: &mut Suite, world: &World) {
    let mut route = suite.route("POST /api/v1/action/perform");
    let source = world.student().await;
    let good = body(STUDY, &source, &source, &json!({"subject": "math"}));
    let wrong = [
        ("/action_type", json!("")),
        ("/action_type", json!("x".repeat(121))),
        ("/source_item", json!("x")),
        ("/source_item/item_id", json!("x")),
        ("/source_item/item_network", json!("")),
        ("/source_item/item_type", json!(5)),
        ("/target_item/item_domain", json!(null)),
        ("/target_item/item_instance_url", json!("nowhere")),
        ("/requirements_snapshot", json!([])),
    ];
    route.wrong_values(&good, &wrong, async |asked| world.asha.post(PERFORM).json(&asked).send().await).await;
    route
        .case("400 VALIDATION_ERROR: the target's URL is missing", async {
            let mut asked = good.clone();
            asked["target_item"].as_object_mut().expect("an object").remove("item_instance_url");
            let answer = world.asha.post(PERFORM).json(&asked).send().await;
            faults(&answer, "VALIDATION_ERROR", &["/target_item/item_instance_url"]);
        })
        .await;
}

async fn fetch(suite: &mut Suite, world: &World) {
    let mut route = suite.route("GET /api/v1/action/fetch");
    let (from, to) = (world.a.sign_up("from").await, world.a.sign_up("to").await);
    let (source, target) = (from.create_student("From").await, to.create_student("To").await);
    let mut ids = Vec::new();
    route
        .case("200: rows whole, latest first, of both owners and nobody else", async {
            for action_type in [STUDY, CONNECT] {
                ids.push(from.perform_as(action_type, &source, &target).send().await.expect(201).text_at("action_id"));
            }
            let _changed = to.update_status(&ids[0], "accepted").send().await.expect(200);
            for (user, role) in [(&from, "initiated"), (&to, "received")] {
                let answer = user.get("/api/v1/action/fetch").send().await;
                let rows = page(&answer, "actions");
                rows.iter().for_each(action);
                assert_eq!(
                    rows.iter().map(|row| row["action_id"].clone()).collect::<Vec<_>>(),
                    [json!(ids[0]), json!(ids[1])]
                );
                assert!(rows.iter().all(|row| row["ownership_roles"] == json!([role])), "{answer}");
                assert_eq!((total(&answer), answer.body["meta"]["next_cursor"].clone()), (2, json!(null)));
            }
            assert_eq!(
                total(&world.admin.get("/api/v1/action/fetch").send().await),
                0,
                "an admin sees others' actions"
            );
        })
        .await;
    let item = |item: &Value| item["item_id"].as_str().expect("an id").to_owned();
    let (source_id, target_id) = (item(&source), item(&target));
    let first = ids.first().cloned().unwrap_or_default();
    for (name, query, initiator, receiver) in [
        ("action_id", format!("action_id={first}"), 1, 1),
        ("an action_id of nobody", format!("action_id={}", Uuid::new_v4()), 0, 0),
        ("action_type", format!("action_type={STUDY}"), 1, 1),
        ("its other spelling", format!("action_name={STUDY}"), 1, 1),
        ("action_status", "action_status=accepted".to_owned(), 1, 1),
        ("another action_status", "action_status=created".to_owned(), 1, 1),
        ("the role initiated", "ownership_role=initiated".to_owned(), 2, 0),
        ("the role received", "ownership_role=received".to_owned(), 0, 2),
        ("the role all", "ownership_role=all".to_owned(), 2, 2),
        ("item_id of either side", format!("item_id={source_id}"), 2, 2),
        ("item_id of the source, initiated", format!("item_id={source_id}&ownership_role=initiated"), 2, 0),
        ("item_id of the target, initiated", format!("item_id={target_id}&ownership_role=initiated"), 0, 0),
        ("item_id of the target, received", format!("item_id={target_id}&ownership_role=received"), 0, 2),
        ("item_id of the source, received", format!("item_id={source_id}&ownership_role=received"), 0, 0),
    ] {
        route
            .case(format!("query by {name}: {initiator} and {receiver}"), async {
                for (user, found) in [(&from, initiator), (&to, receiver)] {
                    let answer = user.get(&format!("/api/v1/action/fetch?{query}")).send().await;
                    assert_eq!(total(&answer), found, "{answer}");
                }
            })
            .await;
    }
    let wrong = [
        ("action_id=x", "/action_id"),
        ("ownership_role=mine", "/ownership_role"),
        ("action_type=", "/action_type"),
        ("action_status=", "/action_status"),
        ("item_id=1", "/item_id"),
        ("limit=101", "/limit"),
        ("cursor=x", "/cursor"),
    ];
    route.wrong_queries(&wrong, async |query| from.get(&format!("/api/v1/action/fetch?{query}")).send().await).await;
    route
        .case("a cursor walk sees each row once", async {
            let one = from.get("/api/v1/action/fetch?limit=1").send().await;
            let cursor = one.body["meta"]["next_cursor"].as_str().expect("a cursor");
            let two = from.get(&format!("/api/v1/action/fetch?limit=1&cursor={cursor}")).send().await;
            assert_ne!(page(&one, "actions")[0]["action_id"], page(&two, "actions")[0]["action_id"]);
            assert_eq!(two.body["meta"]["next_cursor"], json!(null));
        })
        .await;
    route
        .case("the domain that nobody has reached is in no list", async {
            let answer = from.perform(&source, &item_at("http://nowhere.example", MENTOR)).send().await;
            answer.expect_error(400, "INVALID_TARGET_INSTANCE");
            assert_eq!(total(&from.get("/api/v1/action/fetch").send().await), 2);
        })
        .await;
    route
        .case("after the target's deletion the action is listed no more, after the source's it stays", async {
            let scene = (from.create_student("From").await, to.create_student("To").await);
            let action = from.perform_as(ENROL, &scene.0, &scene.1).send().await;
            action.expect_error(400, "INVALID_ACTION_REQUEST");
            let action = from.perform_as(STUDY, &scene.0, &scene.1).send().await.expect(201).text_at("action_id");
            let _gone = from.delete(&path(&scene.0)).send().await.expect(204);
            assert!(to.action(&action).await.is_some() && from.action(&action).await.is_some());
            let _gone = to.delete(&path(&scene.1)).send().await.expect(204);
            assert!(to.action(&action).await.is_none() && from.action(&action).await.is_none());
            assert_eq!(to.events(&action).await.len(), 1, "events stay");
        })
        .await;
}
