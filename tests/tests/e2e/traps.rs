//! Behaviours that earlier implementations of this contract show (its section 16), as far as one client and two instances
//! of ours can meet them. Those that need a peer of another make are in `trap_peers`; the rest follow from other modules.
//!
//! | trap | proven by |
//! |---|---|
//! | 1 | `races` |
//! | 2 | `races`, [`a_local_action_needs_no_way_to_our_own_url`] |
//! | 3 | `mirroring` |
//! | 4 | `kills::kill_9_of_the_instance_loses_nothing_that_was_acknowledged` |
//! | 5, 6, 7 | `trap_peers::mirrored_events_are_stored_once_in_whatever_order_they_come` |
//! | 8 | `ownership::nobody_performs_with_anothers_item` |
//! | 9 | `ownership::nobody_sets_a_status_that_is_not_theirs_to_set` |
//! | 10 | [`the_initiator_may_cancel_before_an_answer`], `mirroring::the_first_event_reaches_the_initiator_who_can_list_the_action` |
//! | 11, 30, 33 | `trap_peers::a_peer_speaks_for_itself_alone`, `trap_peers::an_unregistered_instance_plants_no_action` |
//! | 12, 16 | `trap_peers::a_targets_trouble_is_told_and_bounded` |
//! | 13 | `trap_peers::a_retry_of_a_perform_whose_answer_was_lost_makes_no_second_action` |
//! | 14 | [`a_local_action_needs_no_way_to_our_own_url`] |
//! | 15 | [`only_statuses_of_the_contract_are_set`] |
//! | 17, 18, 23 | [`a_patch_keeps_what_it_must_not_touch`] |
//! | 19 | `refetch::writes_are_decided_by_the_new_contract_at_once` |
//! | 20 | `bad_input`; the conformance suite's scalars, for every route its U+0000 |
//! | 21, 22 | `private_sweep`, `resplit` |
//! | 24 | `writes`, `pages`, `network_fetch::pages::pages_are_kept_and_a_write_here_shows_on_the_next` |
//! | 25 | `network_fetch::partial` |
//! | 26 | `network_fetch::garbage`, `network_fetch::partial` |
//! | 27 | the conformance suite's `cache_ttl_seconds is capped`, unit tests of `network::fetch` |
//! | 28 | `network_fetch::pages::an_instance_under_two_spellings_is_asked_and_counted_once` |
//! | 29 | the conformance suite's filters and query strings |
//! | 31 | `refetch::a_refetch_reaches_every_process_and_a_bad_contract_none` |
//! | 32 | [`the_contract_is_told_whole_and_alike_names_live_side_by_side`], `contracts`, unit tests of `contract` |
//! | 34 | `cors`; the conformance suite's refetch, for origins that come with a new contract |
//! | 35 | `trap_peers::only_the_peers_application_ends_a_delivery` |
//! | 36 | [`api_keys_decide_alone`] |
//! | 37, 38 | [`signing_in_proves_one_identifier_and_signing_out_ends_it`], `auth` |
//! | 39 | the same, [`redis_is_optional`], `redis` |
//! | 40 | [`the_contract_is_told_whole_and_alike_names_live_side_by_side`] |

use dpg_tests::log::{SOON, arrives, assert_same_story};
use dpg_tests::network::{CONNECT, NETWORK, PROFILE, STUDENT, TUTOR, student_state};
use dpg_tests::pair::Scene;
use dpg_tests::wait::check;
use dpg_tests::{Client, Contract, Instance, Node, Pair, TestDatabase, eventually, port};
use futures_util::future::join_all;
use serde_json::json;
use uuid::Uuid;

/// Trap 14: an action between two local items needs no way to the server's own public URL. Traps 2 and 4 with it.
#[tokio::test(flavor = "multi_thread")]
async fn a_local_action_needs_no_way_to_our_own_url() {
    let (listen, public) = (port::free(), port::url(port::free()));
    let contract = Contract::new().instance(STUDENT, &public).instance(TUTOR, &public);
    let instance = Instance::new("both", &[STUDENT, TUTOR], &public, TestDatabase::create().await, &contract);
    let node = Node::of(instance, listen).await;
    let scene = Scene::of(&node, &node).await;
    assert_eq!(scene.source["item_instance_url"], json!(public));
    let _changed = scene.ravi.update_status(&scene.action, "accepted").send().await.expect(200);
    assert_eq!(assert_same_story(&scene.asha, &scene.ravi, &scene.action).await.len(), 2);
    node.verify().await;
}

/// Trap 15: a status outside the contract's `enum` is accepted.
#[tokio::test(flavor = "multi_thread")]
async fn only_statuses_of_the_contract_are_set() {
    let node = Node::both().await;
    let scene = Scene::of(&node, &node).await;
    scene.ravi.update_status(&scene.action, "postponed").send().await.expect_error(400, "INVALID_ACTION_STATUS");
    let body = json!({"action_id": scene.action, "action_status": "accepted", "event_payload": {"room": 5}});
    let answer = scene.ravi.post("/api/v1/action/update-status").json(&body).send().await;
    answer.expect_error(400, "INVALID_ACTION_EVENT");
    assert_eq!(answer.body["details"][0]["path"], json!("/event_payload/room"), "{answer}");
    assert_eq!(scene.ravi.events(&scene.action).await.len(), 1);
}

/// CONTRACT 5.1: what an event's payload is made of.
#[tokio::test(flavor = "multi_thread")]
async fn an_event_payload_holds_what_the_contract_names() {
    let node = Node::both().await;
    let scene = Scene::of(&node, &node).await;
    let body = json!({"action_id": scene.action, "action_status": "accepted", "remarks": "Saturday at ten",
                      "event_payload": {"room": "12", "status": "forged", "remark": "forged"}});
    let _changed = scene.ravi.post("/api/v1/action/update-status").json(&body).send().await.expect(200);
    let _changed = scene.ravi.update_status(&scene.action, "completed").send().await.expect(200);
    let events = scene.ravi.events(&scene.action).await;
    let payloads: Vec<_> = events.iter().map(|event| event["event_payload"].clone()).collect();
    assert_eq!(
        payloads,
        [
            json!({"subject": "math", "status": "created", "remark": "Action status set to created"}),
            json!({"subject": "math", "room": "12", "status": "accepted", "remark": "Saturday at ten"}),
            json!({"subject": "math", "status": "completed", "remark": "Action status set to completed"}),
        ]
    );
    let remarks: Vec<_> = events.iter().map(|event| event["remarks"].clone()).collect();
    assert_eq!(remarks, [json!(null), json!("Saturday at ten"), json!(null)]);
    let row = scene.ravi.action(&scene.action).await.expect("the action");
    assert_eq!(row["remarks"], json!("Saturday at ten"), "an absent remark keeps the earlier one");
    let namespace: Uuid = "a7fcc2b7-fa96-558b-85ab-b2c52581557a".parse().expect("a uuid");
    for event in events {
        let origin = event["origin_instance_domain"].as_str().expect("an origin").replace("127.0.0.1", "localhost");
        let text = format!("{origin}\n{}\n{}", scene.action, event["update_count"]);
        let expected = Uuid::new_v5(&namespace, text.as_bytes());
        assert_eq!(event["event_id"], json!(expected.to_string()), "identity (CONTRACT 3.4)");
    }
}

/// Trap 10: the initiator can neither list nor cancel.
#[tokio::test(flavor = "multi_thread")]
async fn the_initiator_may_cancel_before_an_answer() {
    let node = Node::both().await;
    let scene = Scene::of(&node, &node).await;
    let cancelled = scene.asha.update_status(&scene.action, "cancelled").send().await.expect(200);
    assert_eq!(cancelled.body["update_count"], json!(1));
    let listed = scene.asha.get("/api/v1/action/fetch?action_status=cancelled").send().await.expect(200);
    assert_eq!(listed.body["meta"]["total"], json!(1));
}

/// Traps 17, 18, 23: what PATCH keeps and what it does not.
#[tokio::test(flavor = "multi_thread")]
async fn a_patch_keeps_what_it_must_not_touch() {
    let node = Node::both().await;
    let asha = node.sign_up("asha").await;
    let item = asha.create_student("Asha").await;
    let path = format!("/api/v1/item/{}", item["item_id"].as_str().expect("an id"));
    let elsewhere = json!({"item_instance_url": "http://evil.example", "item_schema_url": "http://evil.example/s"});
    let same = asha.patch(&path).json(&elsewhere).send().await.expect(200);
    assert_eq!(same.body["item"], item, "nothing changes");
    assert_eq!(same.header("etag"), Some("\"1\""));

    let state = json!({"name": "Asha", "tags": [], "extra": {}, "contacts": [{"label": "a", "number": "1"}, {}]});
    let body = json!({"item_state": state, "item_latitude": 12.97, "item_longitude": 77.59,
                      "item_instance_url": "http://evil.example"});
    let patched = asha.patch(&path).json(&body).header("if-match", "\"1\"").send().await.expect(200);
    assert_eq!(patched.body["item"]["item_state"], state, "empty values survive, what is not sent is gone");
    assert_eq!(patched.body["item"]["item_instance_url"], item["item_instance_url"]);
    let read = asha.items(STUDENT, "").send().await.expect(200);
    assert_eq!(read.body["items"][0], patched.body["item"]);
    asha.patch(&path).json(&body).header("if-match", "\"1\"").send().await.expect_error(412, "PRECONDITION_FAILED");

    let cleared =
        asha.patch(&path).json(&json!({"item_latitude": null, "item_longitude": null})).send().await.expect(200);
    assert_eq!(cleared.body["item"]["item_state"], state, "without a state the state stays");
    assert_eq!(cleared.body["item"]["item_latitude"], json!(null));
    node.verify().await;
}

/// CONTRACT 1.10: without `If-Match` every write is a version of its own.
#[tokio::test(flavor = "multi_thread")]
async fn concurrent_patches_are_versions_of_their_own() {
    let node = Node::both().await;
    let asha = node.sign_up("asha").await;
    let item = asha.create_student("Asha").await;
    let path = format!("/api/v1/item/{}", item["item_id"].as_str().expect("an id"));
    let patches = (0..20).map(|number| {
        let body = json!({"item_state": {"name": format!("Asha {number}")}});
        asha.patch(&path).json(&body).send()
    });
    let mut tags: Vec<i64> = Vec::new();
    for answer in join_all(patches).await {
        match answer.status {
            200 => tags.push(answer.header("etag").and_then(|tag| tag.trim_matches('"').parse().ok()).expect("a tag")),
            _ => answer.expect_error(409, "ITEM_CONFLICT"),
        }
    }
    tags.sort_unstable();
    assert_eq!(tags, (2..).take(tags.len()).collect::<Vec<i64>>());
    let history = asha.get(&format!("{path}/history?limit=100")).send().await.expect(200);
    assert_eq!(history.body["meta"]["total"], json!(tags.len() + 1), "{history}");
    node.verify().await;
}

/// Traps 32 and 40: unknown keys reach clients; names that normalise alike don't collide.
#[tokio::test(flavor = "multi_thread")]
async fn the_contract_is_told_whole_and_alike_names_live_side_by_side() {
    let contract = Contract::new().with_action("act_one").with_action("act-one").with_action("हिन्दी");
    let node = Node::both_with(contract, |instance| instance).await;
    let told = node.process.client().get("/api/v1/network/schemas").send().await.expect(200);
    let entries = told.body.as_array().expect("entries");
    let config = entries.iter().find(|entry| entry["kind"] == json!("network_config")).expect("the contract");
    assert_eq!(config["schema"]["x-theme"], json!({"colour": "teal"}));
    assert_eq!(config["schema"]["id"], json!(NETWORK));
    let path = format!("/api/v1/network/schema/{NETWORK}/{STUDENT}/{PROFILE}");
    let schema = node.process.client().get(&path).send().await.expect(200);
    assert_eq!(schema.body["properties"]["phone"]["private"], json!(true));

    let (asha, ravi) = (node.sign_up("asha").await, node.sign_up("ravi").await);
    let (source, target) = (asha.create_student("Asha").await, ravi.create_tutor("Ravi").await);
    for action_type in ["act_one", "act-one", "हिन्दी", CONNECT] {
        let performed = asha.perform_as(action_type, &source, &target).send().await.expect(201);
        let row = ravi.action(&performed.text_at("action_id")).await.expect("the action");
        assert_eq!(row["action_type"], json!(action_type));
    }
    node.verify().await;
}

/// Trap 36: a key belongs to somebody, a bad key never falls back, and what is deleted is gone at once.
#[tokio::test(flavor = "multi_thread")]
async fn api_keys_decide_alone() {
    let node = Node::both().await;
    let asha = node.sign_up("asha").await;
    let key = asha.create_key().await;
    let by_key = asha.key(&key);
    let made = by_key.create(STUDENT, &student_state("Asha", "hidden")).send().await.expect(201);
    assert_eq!(made.body["created_by"], json!(asha.id));
    assert!(made.headers.values().all(|value| !value.to_str().is_ok_and(|text| text.contains(&key))), "{made}");
    for wrong in ["", "nonsense", &format!("{key}x")] {
        let answer = asha.items(STUDENT, "").header("x-api-key", wrong).send().await;
        answer.expect_error(403, "INVALID_API_KEY");
    }
    let listed = asha.get("/api/auth/api-key/list").send().await.expect(200);
    assert!(!listed.text.contains(&key), "the clear key is shown once only");
    let id = listed.body["apiKeys"][0]["id"].clone();
    let _deleted = asha.post("/api/auth/api-key/delete").json(&json!({"keyId": id})).send().await.expect(200);
    by_key.items(STUDENT, "").send().await.expect_error(403, "INVALID_API_KEY");

    let output = node.instance.run(&["keys", "create", "--user", "operator@example.com", "--create-user"]).await;
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let printed = String::from_utf8_lossy(&output.stdout).into_owned();
    let operator = node.process.client().key(printed.lines().last().expect("a key").trim());
    let _made = operator.create(STUDENT, &student_state("By key", "hidden")).send().await.expect(201);
}

/// Traps 37 to 39: codes are guessed five times at most, a proven number opens its own account only, and a session that
/// was signed out is over.
#[tokio::test(flavor = "multi_thread")]
async fn signing_in_proves_one_identifier_and_signing_out_ends_it() {
    let node = Node::both().await;
    let url = node.process.url();
    let nobody = node.process.client();
    let verify = |body: serde_json::Value| nobody.post("/api/auth/unified-otp/verify").json(&body).send();
    let email = format!("guess-{}@example.com", Uuid::new_v4().simple());
    let _sent = nobody.post("/api/auth/unified-otp/request").json(&json!({"email": email})).send().await.expect(200);
    let guesses = (0..20).map(|number| verify(json!({"email": email, "otp": format!("1111{number:02}")})));
    for answer in join_all(guesses).await {
        assert!(answer.status == 400 || answer.status == 429, "{answer}");
    }
    verify(json!({"email": email, "otp": "000000"})).await.expect_error(400, "INVALID_OTP");

    let asha = node.sign_up("asha").await;
    let phone = format!("+91{}", rand::random_range(6_000_000_000_u64..9_999_999_999));
    let both = json!({"phoneNumber": phone, "email": asha.email});
    let _sent = nobody.post("/api/auth/unified-otp/request").json(&both).send().await.expect(200);
    let other = verify(json!({"phoneNumber": phone, "email": asha.email, "otp": "000000"})).await.expect(200);
    assert_ne!(other.body["user"]["id"], json!(asha.id), "a proven number opened another person's account");
    assert_eq!(other.body["user"]["email"], json!(null));

    let session = Client::sign_in(&url, &asha.email, json!({"name": "Renamed"})).await;
    assert_eq!(session.id, asha.id);
    let told = session.get("/api/auth/get-session").send().await.expect(200);
    assert_eq!(told.body["user"]["name"], json!("asha"), "a name never changes an existing user");
    let _out = session.post("/api/auth/sign-out").json(&json!({})).send().await.expect(200);
    session.items(STUDENT, "").send().await.expect_error(401, "UNAUTHORIZED");
    let _still = asha.items(STUDENT, "").send().await.expect(200);
}

/// Trap 39: with Redis down, nothing fails and nothing hangs.
#[tokio::test(flavor = "multi_thread")]
async fn redis_is_optional() {
    let nowhere = format!("redis://127.0.0.1:{}", port::free());
    let node = Node::both_with(Contract::new(), |instance| instance.set("REDIS_URL", &nowhere)).await;
    let ready = node.process.client().get("/health/ready").send().await.expect(200);
    assert_eq!(ready.body["checks"]["redis"]["required"], json!(false), "{ready}");
    let asha = node.sign_up("asha").await;
    for number in 1..=20 {
        let item = asha.create_student("Asha").await;
        let page = asha.items(STUDENT, "limit=1").send().await.expect(200);
        assert_eq!((&page.body["meta"]["total"], &page.body["items"][0]), (&json!(number), &item), "{page}");
    }
    // Whoever has mistyped the address is told, once.
    eventually("the log tells", SOON, || async {
        let told = node.instance.logs().matches("WARN dpg_api::cache::redis").count();
        check(told == 1, told)
    })
    .await;
}

/// Trap 3, from the outside: a sign of life while the database of the target is fine and the source's is not.
#[tokio::test(flavor = "multi_thread")]
async fn sessions_and_owners_of_one_instance_mean_nothing_on_another() {
    let pair = Pair::start().await;
    let scene = Scene::of_pair(&pair).await;
    let stranger = scene.asha.at(&pair.tutor.process.url());
    stranger.get("/api/v1/action/fetch").send().await.expect_error(401, "UNAUTHORIZED");
    let row = arrives(&scene.asha, &scene.action, 0).await;
    assert_eq!(row["ownership_roles"], json!(["initiated"]));
    let seen = scene.ravi.action(&scene.action).await.expect("the action");
    assert_eq!(seen["ownership_roles"], json!(["received"]));
    assert_eq!(seen["source_item_owner"], json!(scene.asha.id));
}
