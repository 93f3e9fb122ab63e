//! CONTRACT 4.4, 4.6 and 4.7: an item is made, changed and deleted.

use dpg_tests::Answer;
use dpg_tests::network::{NETWORK, PROFILE, STUDENT, student_state};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::shapes::{faults, item, keys, unserved};
use crate::suite::Suite;
use crate::world::World;

const CREATE: &str = "/api/v1/item/create";

pub fn path(item: &Value) -> String {
    format!("/api/v1/item/{}", item["item_id"].as_str().expect("an id"))
}

fn body(change: &Value) -> Value {
    let mut body = json!({"item_network": NETWORK, "item_domain": STUDENT, "item_type": PROFILE,
                          "item_state": {"name": "Asha"}});
    for (key, value) in change.as_object().expect("an object") {
        body[key] = value.clone();
    }
    body
}

pub async fn cases(suite: &mut Suite, world: &World) {
    create(suite, world).await;
    create_refusals(suite, world).await;
    created_by(suite, world).await;
    patch(suite, world).await;
    patch_refusals(suite, world).await;
    if_match(suite, world).await;
    delete(suite, world).await;
}

async fn create(suite: &mut Suite, world: &World) {
    let asha = &world.asha;
    let mut route = suite.route("POST /api/v1/item/create");
    route
        .case("201, ETag \"1\", position, the whole item as its owner sees it", async {
            let state = student_state("Asha", "hidden");
            let change = json!({"item_state": state, "item_latitude": 18.5204, "item_longitude": 73.8567});
            let made = asha.post(CREATE).json(&body(&change)).send().await.expect(201);
            item(&made.body);
            assert_eq!(made.header("etag"), Some("\"1\""));
            assert!(made.position() >= 1);
            assert_eq!(made.header("dpg-projected"), Some("true"));
            for (key, value) in [
                ("item_state", state),
                ("item_latitude", json!(18.5204)),
                ("item_longitude", json!(73.8567)),
                ("created_by", json!(asha.id)),
                ("item_instance_url", json!(world.a_url())),
                ("item_network", json!(NETWORK)),
                (
                    "item_schema_url",
                    json!(format!("{}/api/v1/network/schema/{NETWORK}/{STUDENT}/{PROFILE}", world.a_url())),
                ),
            ] {
                assert_eq!(made.body[key], value, "{key}: {made}");
            }
            assert_eq!(made.body["created_at"], made.body["updated_at"]);
        })
        .await;
    route
        .case("what the server decides may be sent and is ignored", async {
            let id = Uuid::new_v4();
            let change = json!({"item_id": id, "item_instance_url": "http://evil.example", "item_schema_url": "x",
                "created_by_me": true, "created_at": "yesterday", "updated_at": 5});
            let made = asha.post(CREATE).json(&body(&change)).send().await.expect(201);
            assert_ne!(made.body["item_id"], json!(id));
            assert_eq!(made.body["item_instance_url"], json!(world.a_url()));
        })
        .await;
    route
        .case("network and domain are accepted spellings; contradicting ones are 400", async {
            let spelled =
                json!({"network": NETWORK, "domain": STUDENT, "item_type": PROFILE, "item_state": {"name": "A"}});
            let _made = asha.post(CREATE).json(&spelled).send().await.expect(201);
            let _same =
                asha.post(CREATE).json(&body(&json!({"network": NETWORK, "domain": STUDENT}))).send().await.expect(201);
            for change in [json!({"network": "other"}), json!({"domain": "other"})] {
                asha.post(CREATE).json(&body(&change)).send().await.expect_error(400, "VALIDATION_ERROR");
            }
        })
        .await;
    route
        .case("an empty object and an empty array survive", async {
            let state = json!({"name": "Asha", "tags": [], "extra": {}, "contacts": [{}, {"label": "x"}]});
            let made = asha.create(STUDENT, &state).send().await.expect(201);
            assert_eq!(made.body["item_state"], state);
            let found = asha.items(STUDENT, &format!("item_id={}", made.text_at("item_id"))).send().await.expect(200);
            assert_eq!(found.body["items"][0]["item_state"], state);
        })
        .await;
    route
        .case("Prefer: respond-async waits for nothing", async {
            let made =
                asha.post(CREATE).json(&body(&json!({}))).header("prefer", "respond-async").send().await.expect(201);
            assert_eq!(made.header("dpg-projected"), Some("false"));
            // The log is what decides: it can be changed at once.
            let change = json!({"item_state": {"name": "B"}});
            let _changed = asha.patch(&path(&made.body)).json(&change).send().await.expect(200);
        })
        .await;
}

async fn create_refusals(suite: &mut Suite, world: &World) {
    let asha = &world.asha;
    let mut route = suite.route("POST /api/v1/item/create");
    for (network, domain) in [(NETWORK, "tutor"), (NETWORK, "nowhere"), ("elsewhere", STUDENT)] {
        route
            .case(format!("403 unserved: {network}/{domain}"), async {
                let change = json!({"item_network": network, "item_domain": domain});
                let answer = asha.post(CREATE).json(&body(&change)).send().await;
                unserved(&answer, network, domain, &[STUDENT]);
            })
            .await;
    }
    for (name, change, places) in [
        ("a type that is unknown", json!({"item_type": "unknown"}), vec![]),
        ("no state where one is required", json!({"item_state": null}), vec!["/item_state"]),
        ("a state that is no object", json!({"item_state": [1]}), vec!["/item_state"]),
        ("a state that is text", json!({"item_state": "x"}), vec!["/item_state"]),
        (
            "a pattern that does not match",
            json!({"item_state": {"name": "A", "phone": "12"}}),
            vec!["/item_state/phone"],
        ),
        (
            "two faults, deep and at the root",
            json!({"item_state": {"contacts": [{"number": 5}]}}),
            vec!["/item_state", "/item_state/contacts/0/number"],
        ),
        ("a key that the schema does not allow", json!({"item_state": {"name": "A", "more": 1}}), vec![]),
        (
            "a key with / and ~ is escaped",
            json!({"item_state": {"name": "A", "tags": {"a/b": 1}}}),
            vec!["/item_state/tags"],
        ),
    ] {
        route
            .case(format!("400 INVALID_ITEM_STATE: {name}"), async {
                let answer = asha.post(CREATE).json(&body(&change)).send().await;
                faults(&answer, "INVALID_ITEM_STATE", &places);
            })
            .await;
    }
}

async fn created_by(suite: &mut Suite, world: &World) {
    let mut route = suite.route("POST /api/v1/item/create");
    let send = |client: &dpg_tests::Client, created_by: Value| {
        client.post(CREATE).json(&body(&json!({"created_by": created_by})))
    };
    route
        .case("403 FORBIDDEN_CREATED_BY from anyone but an admin's key", async {
            let key = world.asha.key(&world.asha.create_key().await);
            let clients: [&dpg_tests::Client; 3] = [&world.asha, &world.admin, &key];
            for client in clients {
                send(client, json!(world.asha.id)).send().await.expect_error(403, "FORBIDDEN_CREATED_BY");
            }
        })
        .await;
    route
        .case("created_by comes before the pair: 403 FORBIDDEN_CREATED_BY on an unserved pair", async {
            let change = json!({"created_by": world.asha.id, "item_domain": "tutor"});
            let answer = world.asha.post(CREATE).json(&body(&change)).send().await;
            answer.expect_error(403, "FORBIDDEN_CREATED_BY");
        })
        .await;
    route
        .case("400 CREATED_BY_REQUIRED from an admin's key without it", async {
            let answer = world.admin_key.post(CREATE).json(&body(&json!({}))).send().await;
            answer.expect_error(400, "CREATED_BY_REQUIRED");
        })
        .await;
    route
        .case("400 INVALID_REFERENCE for nobody here", async {
            send(&world.admin_key, json!(Uuid::new_v4())).send().await.expect_error(400, "INVALID_REFERENCE");
        })
        .await;
    route
        .case("201 for the named user, who owns it; the admin sees the whole answer", async {
            let made = send(&world.admin_key, json!(world.maya.id)).send().await.expect(201);
            assert_eq!(made.body["created_by"], json!(world.maya.id));
            let found = world.maya.items(STUDENT, &format!("item_id={}", made.text_at("item_id"))).send().await;
            assert_eq!(found.body["meta"]["total"], json!(1), "{found}");
        })
        .await;
    route
        .case("an admin's session needs no created_by", async {
            let made = world.admin.post(CREATE).json(&body(&json!({}))).send().await.expect(201);
            assert_eq!(made.body["created_by"], json!(world.admin.id));
        })
        .await;
}

async fn patch(suite: &mut Suite, world: &World) {
    let asha = &world.asha;
    let mut route = suite.route("PATCH /api/v1/item/:itemId");
    route
        .case("200 {item}, ETag \"2\": the state is replaced, public and private", async {
            let made = asha.create(STUDENT, &student_state("Asha", "hidden")).send().await.expect(201).body;
            let state = json!({"name": "Asha", "phone": "9999999999"});
            let answer = asha.patch(&path(&made)).json(&json!({"item_state": state})).send().await.expect(200);
            assert_eq!(answer.header("etag"), Some("\"2\""));
            item(&answer.body["item"]);
            assert_eq!(answer.body["item"]["item_state"], state);
            assert_eq!(answer.body["item"]["created_at"], made["created_at"]);
            assert!(answer.body["item"]["updated_at"].as_str() >= made["updated_at"].as_str());
        })
        .await;
    route
        .case("coordinates alone: the state stays, private too; both null removes them", async {
            let made = asha.create(STUDENT, &student_state("Asha", "hidden")).send().await.expect(201).body;
            let place = json!({"item_latitude": 1.5, "item_longitude": -2});
            let answer = asha.patch(&path(&made)).json(&place).send().await.expect(200);
            assert_eq!(answer.body["item"]["item_state"], made["item_state"]);
            assert_eq!(answer.body["item"]["item_latitude"], json!(1.5));
            let none = json!({"item_latitude": null, "item_longitude": null});
            let answer = asha.patch(&path(&made)).json(&none).send().await.expect(200);
            assert_eq!(answer.body["item"]["item_latitude"], json!(null));
            assert_eq!(answer.header("etag"), Some("\"3\""));
        })
        .await;
    route
        .case("the URLs are accepted and never written; alone they change nothing", async {
            let made = world.student().await;
            let urls = json!({"item_instance_url": "http://evil.example", "item_schema_url": "anything"});
            let answer = asha.patch(&path(&made)).json(&urls).send().await.expect(200);
            assert_eq!(answer.body["item"], made);
            assert_eq!(answer.header("etag"), Some("\"1\""));
        })
        .await;
    route
        .case("an admin may, by session and by key, and sees the answer whole", async {
            let made = asha.create(STUDENT, &student_state("Asha", "hidden")).send().await.expect(201).body;
            let clients: [&dpg_tests::Client; 2] = [&world.admin, &world.admin_key];
            for client in clients {
                let change = json!({"item_latitude": 1, "item_longitude": 1});
                let answer = client.patch(&path(&made)).json(&change).send().await.expect(200);
                assert_eq!(answer.body["item"]["item_state"], made["item_state"]);
                assert_eq!(answer.body["item"]["created_by"], json!(asha.id));
            }
        })
        .await;
}

async fn patch_refusals(suite: &mut Suite, world: &World) {
    let asha = &world.asha;
    let mut route = suite.route("PATCH /api/v1/item/:itemId");
    let change = json!({"item_state": {"name": "B"}});
    route
        .case("404, one answer for what is not there, deleted or another's", async {
            let (made, gone) = (world.student().await, world.student().await);
            let _deleted = asha.delete(&path(&gone)).send().await.expect(204);
            let nowhere = format!("/api/v1/item/{}", Uuid::new_v4());
            let answers: [Answer; 3] = [
                world.maya.patch(&path(&made)).json(&change).send().await,
                asha.patch(&path(&gone)).json(&change).send().await,
                asha.patch(&nowhere).json(&change).send().await,
            ];
            for answer in &answers {
                answer.expect_error(404, "ITEM_NOT_FOUND_OR_FORBIDDEN");
                assert_eq!(answer.body["message"], answers[0].body["message"]);
            }
        })
        .await;
    for (name, body, places) in [
        ("no key at all", json!({}), vec![]),
        ("an unknown key", json!({"item_state": {"name": "B"}, "more": 1}), vec!["/more"]),
        ("a key that only create knows", json!({"item_type": "x"}), vec!["/item_type"]),
        ("half a place", json!({"item_latitude": 1}), vec![]),
        ("a URL that is no text", json!({"item_schema_url": 5}), vec!["/item_schema_url"]),
    ] {
        route
            .case(format!("400 VALIDATION_ERROR: {name}"), async {
                let made = world.student().await;
                faults(&asha.patch(&path(&made)).json(&body).send().await, "VALIDATION_ERROR", &places);
            })
            .await;
    }
    for state in [json!(null), json!({}), json!({"name": 5}), json!([1])] {
        route
            .case(format!("400 INVALID_ITEM_STATE, nothing changes: {state}"), async {
                let made = world.student().await;
                let answer = asha.patch(&path(&made)).json(&json!({"item_state": state})).send().await;
                faults(&answer, "INVALID_ITEM_STATE", &[]);
                let found =
                    asha.items(STUDENT, &format!("item_id={}", made["item_id"].as_str().expect("an id"))).send().await;
                assert_eq!(found.body["items"][0], made);
            })
            .await;
    }
    for id in ["nonsense", "1"] {
        route
            .case(format!("400 VALIDATION_ERROR: the path's id is {id}"), async {
                let answer = asha.patch(&format!("/api/v1/item/{id}")).json(&change).send().await;
                faults(&answer, "VALIDATION_ERROR", &["/itemId"]);
            })
            .await;
    }
}

async fn if_match(suite: &mut Suite, world: &World) {
    let asha = &world.asha;
    let change = json!({"item_latitude": 1, "item_longitude": 1});
    for (title, deletes) in [("PATCH /api/v1/item/:itemId", false), ("DELETE /api/v1/item/:itemId", true)] {
        let mut route = suite.route(title);
        let send = async |item: &Value, tag: &str| {
            let asked = if deletes { asha.delete(&path(item)) } else { asha.patch(&path(item)).json(&change) };
            asked.header("if-match", tag).send().await
        };
        for tag in ["\"2\"", "W/\"1\"", "\"one\"", "\"0\", \"5\""] {
            route
                .case(format!("412 PRECONDITION_FAILED: If-Match {tag}"), async {
                    let made = world.student().await;
                    send(&made, tag).await.expect_error(412, "PRECONDITION_FAILED");
                    let found = asha
                        .items(STUDENT, &format!("item_id={}", made["item_id"].as_str().expect("an id")))
                        .send()
                        .await;
                    assert_eq!(found.body["items"][0], made, "something changed");
                })
                .await;
        }
        for tag in ["\"1\"", "*", "\"7\", \"1\"", "W/\"1\", \"1\""] {
            route
                .case(format!("If-Match {tag} matches version 1"), async {
                    let made = world.student().await;
                    let answer = send(&made, tag).await;
                    assert_eq!(answer.status, if deletes { 204 } else { 200 }, "{answer}");
                })
                .await;
        }
        for tag in ["1", "\"1", "nonsense", "\"1\",,x"] {
            route
                .case(format!("400: If-Match {tag} is unparsable"), async {
                    let made = world.student().await;
                    send(&made, tag).await.expect_error(400, "VALIDATION_ERROR");
                })
                .await;
        }
        route
            .case("404 comes before 412", async {
                let absent = json!({"item_id": Uuid::new_v4()});
                send(&absent, "\"9\"").await.expect_error(404, "ITEM_NOT_FOUND_OR_FORBIDDEN");
            })
            .await;
    }
}

async fn delete(suite: &mut Suite, world: &World) {
    let asha = &world.asha;
    let mut route = suite.route("DELETE /api/v1/item/:itemId");
    route
        .case("204 empty with its position; gone from the very next read", async {
            let made = world.student().await;
            let answer = asha.delete(&path(&made)).send().await.expect(204);
            assert_eq!((answer.text.as_str(), answer.header("dpg-projected")), ("", Some("true")));
            assert!(answer.position() > 0);
            let found =
                asha.items(STUDENT, &format!("item_id={}", made["item_id"].as_str().expect("an id"))).send().await;
            assert_eq!(found.body["meta"]["total"], json!(0), "{found}");
            keys(&found.body["meta"], &[("next_cursor", crate::shapes::Is::Null)]);
        })
        .await;
    route
        .case("404 for what is not there, deleted or another's, an admin's call included", async {
            let made = world.student().await;
            let gone = world.student().await;
            let _deleted = asha.delete(&path(&gone)).send().await.expect(204);
            let nowhere = format!("/api/v1/item/{}", Uuid::new_v4());
            for answer in [
                asha.delete(&path(&gone)).send().await,
                asha.delete(&nowhere).send().await,
                world.maya.delete(&path(&made)).send().await,
                world.admin.delete(&path(&made)).send().await,
                world.admin_key.delete(&path(&made)).send().await,
            ] {
                answer.expect_error(404, "ITEM_NOT_FOUND_OR_FORBIDDEN");
            }
        })
        .await;
    route
        .case("400 VALIDATION_ERROR: no id", async {
            faults(&asha.delete("/api/v1/item/nonsense").send().await, "VALIDATION_ERROR", &["/itemId"]);
        })
        .await;
}
