//! CONTRACT 4.16 to 4.18 and 6: pages over all instances, and what each instance tells the others. Failing, slow and
//! malformed peers have end-to-end tests of their own.

use dpg_tests::Node;
use dpg_tests::network::{NETWORK, PROFILE, STUDENT, TUTOR, student_state};
use dpg_tests::peer::{Peer, Reply};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::shapes::{Is, faults, item, keys, page, total, unserved};
use crate::signer::{Signature, Signer};
use crate::suite::Suite;
use crate::world::{LIBRARY, MENTOR, World, courteous, with};

const COUNT: &str = "/api/v1/network/item/count_local";
const FETCH: &str = "/api/v1/network/item/fetch_local";

pub async fn cases(suite: &mut Suite, world: &World) {
    network_fetch(suite, world).await;
    partial(suite, world).await;
    count_local(suite, world).await;
    fetch_local(suite, world).await;
    local_signatures(suite, world).await;
    world.foreign.answer(courteous);
}

fn network(domain: &str, query: &str) -> String {
    format!("/api/v1/network/item/fetch?item_network={NETWORK}&item_domain={domain}&{query}")
}

async fn network_fetch(suite: &mut Suite, world: &World) {
    let mut route = suite.route("GET /api/v1/network/item/fetch");
    let nobody = world.nobody();
    let city = Uuid::new_v4().simple().to_string();
    let near = format!("item_state[city]={city}");
    route
        .case("200 signed out: everybody's public state, newest first, partial false", async {
            let mut state = student_state("Asha", "hidden");
            state["city"] = json!(city);
            let first = world.asha.create(STUDENT, &state).send().await.expect(201).body;
            let second = world.maya.create(STUDENT, &state).send().await.expect(201).body;
            let answer = nobody.get(&network(STUDENT, &near)).send().await;
            let rows = page(&answer, "items");
            rows.iter().for_each(item);
            let ids: Vec<&Value> = rows.iter().map(|row| &row["item_id"]).collect();
            assert_eq!(ids, [&second["item_id"], &first["item_id"]]);
            assert_eq!(
                (&answer.body["meta"]["partial"], &answer.body["meta"]["unavailable_instances"]),
                (&json!(false), &json!([]))
            );
            assert!(!answer.text.contains("hidden") && !answer.text.contains("1234567890"), "{answer}");
        })
        .await;
    route
        .case("x-cache: a second identical read is a hit, a write here makes the next a miss", async {
            let hit = nobody.get(&network(STUDENT, &near)).send().await.expect(200);
            assert_eq!(hit.header("x-cache"), Some("hit"), "{hit}");
            let mut state = student_state("Late", "hidden");
            state["city"] = json!(city);
            let _made = world.asha.create(STUDENT, &state).send().await.expect(201);
            let miss = nobody.get(&network(STUDENT, &near)).send().await.expect(200);
            assert_eq!((miss.header("x-cache"), total(&miss)), (Some("miss"), 3));
        })
        .await;
    route
        .case("the pair need not be served here; peers are asked, signed, without absent filters", async {
            let made = world.tutor().await;
            let id = made["item_id"].as_str().expect("an id");
            let before = world.foreign.received("count_local").len();
            let answer = nobody.get(&network(TUTOR, &format!("item_id={id}&item_state[subject]=math"))).send().await;
            assert_eq!((page(&answer, "items").len(), total(&answer)), (1, 1), "{answer}");
            let got = world.foreign.received("count_local")[before].clone();
            assert_eq!(
                got.body,
                json!({"item_network": NETWORK, "item_domain": TUTOR, "item_id": id, "item_state": {"subject": "math"}})
            );
            assert!(got.headers.iter().any(|(name, _)| name == "signature"), "{got:?}");
        })
        .await;
    route
        .case("a domain without instances is an empty page", async {
            let answer = nobody.get(&network(LIBRARY, "")).send().await;
            assert!(page(&answer, "items").is_empty() && answer.body["meta"]["partial"] == json!(false), "{answer}");
        })
        .await;
    route
        .case("pages by offset and by cursor, total of all instances", async {
            let by = async |query: &str| nobody.get(&network(STUDENT, &format!("{near}&{query}"))).send().await;
            let all = by("").await;
            let (first, second) = (by("limit=2").await, by("limit=2&offset=2").await);
            assert_eq!([page(&first, "items"), page(&second, "items")].concat(), page(&all, "items"));
            let cursor = first.body["meta"]["next_cursor"].as_str().expect("a cursor");
            assert!(cursor.len() <= 1024);
            let walked = by(&format!("limit=2&cursor={cursor}")).await;
            assert_eq!(page(&walked, "items"), page(&second, "items"));
            assert_eq!(walked.body["meta"]["next_cursor"], json!(null));
            let paged = by("limit=2&page=2").await;
            assert_eq!(page(&paged, "items"), page(&second, "items"));
            let other = nobody.get(&network(STUDENT, &format!("cursor={cursor}"))).send().await;
            faults(&other, "VALIDATION_ERROR", &["/cursor"]);
        })
        .await;
    route
        .case("item_instance_url narrows the fan-out", async {
            let before = world.foreign.received("count_local").len();
            let url = format!("{near}&limit=9&item_instance_url={}", world.a_url());
            assert_eq!(total(&nobody.get(&network(STUDENT, &url)).send().await), 3);
            assert_eq!(world.foreign.received("count_local").len(), before, "another instance was asked");
        })
        .await;
    route
        .case("a filter on a private property matches nothing", async {
            let query = format!("{near}&item_state[phone]=1234567890");
            assert_eq!(total(&nobody.get(&network(STUDENT, &query)).send().await), 0);
        })
        .await;
    route
        .case("cache_ttl_seconds is capped without an error; 0 and words are 400", async {
            let _page = nobody.get(&network(STUDENT, "cache_ttl_seconds=999999999")).send().await.expect(200);
            for wrong in ["0", "-1", "soon"] {
                let answer = nobody.get(&network(STUDENT, &format!("cache_ttl_seconds={wrong}"))).send().await;
                faults(&answer, "VALIDATION_ERROR", &["/cache_ttl_seconds"]);
            }
        })
        .await;
    route
        .case("404 NETWORK_NOT_FOUND; 403 unserved for a domain that is not defined", async {
            let path = format!("/api/v1/network/item/fetch?item_network=elsewhere&item_domain={STUDENT}");
            nobody.get(&path).send().await.expect_error(404, "NETWORK_NOT_FOUND");
            unserved(&nobody.get(&network("nowhere", "")).send().await, NETWORK, "nowhere", &[STUDENT]);
        })
        .await;
    route
        .case("network and domain are accepted spellings", async {
            let path = format!("/api/v1/network/item/fetch?network={NETWORK}&domain={LIBRARY}");
            let _page = nobody.get(&path).send().await.expect(200);
        })
        .await;
}

async fn partial(suite: &mut Suite, world: &World) {
    let mut route = suite.route("GET /api/v1/network/item/fetch");
    let nobody = world.nobody();
    route
        .case("a dead instance: 200 partial, named unreachable, bypass", async {
            for _ in 0..2 {
                let answer = nobody.get(&network(MENTOR, "")).send().await.expect(200);
                let missing = &answer.body["meta"]["unavailable_instances"];
                keys(&missing[0], &[("instance_url", Is::Text), ("reason", Is::Text)]);
                assert_eq!(
                    (&missing[0]["reason"], answer.header("x-cache")),
                    (&json!("unreachable"), Some("bypass")),
                    "{answer}"
                );
                assert_eq!(answer.header("x-network-partial"), Some("true"));
            }
        })
        .await;
    reasons(suite, world).await;
}

/// One instance of ours among peers each of which fails in its own way; all of them are asked for one page.
async fn reasons(suite: &mut Suite, world: &World) {
    let mut route = suite.route("GET /api/v1/network/item/fetch");
    let redirect =
        Reply { status: 302, headers: vec![("location", "http://127.0.0.1:1/".to_owned())], body: String::new() };
    let failing = [
        ("401", "refused", Reply::json(401, &json!({"error": "NO", "message": "no"}))),
        ("403", "refused", Reply::json(403, &json!({"error": "NO", "message": "no"}))),
        ("403 unserved", "not_served", Reply::json(403, &json!({"error": "UNSERVED_DOMAIN_BINDING", "message": "no"}))),
        ("500", "http_error", Reply::json(500, &json!({"message": "no"}))),
        ("a redirect", "http_error", redirect),
        ("a page", "bad_response", Reply::html(200, "<html>")),
        ("a count that is none", "bad_response", Reply::json(200, &json!({"count": "many"}))),
        ("nothing, for ever", "timeout", Reply::never()),
    ];
    let mut peers = Vec::new();
    for (_, _, reply) in &failing {
        let reply = reply.clone();
        peers.push(Peer::start(move |_| reply.clone()).await);
    }
    let mut answer = None;
    route
        .case("a page over failing peers: 200 with the rest, within the time-out", async {
            let contract =
                peers.iter().fold(crate::world::contract(), |contract, peer| contract.instance(TUTOR, &peer.url()));
            let node = Node::both_with(contract, |instance| instance.set("PEER_TIMEOUT_MS", "2000")).await;
            let ravi = node.sign_up("ravi").await;
            let _made = ravi.create_tutor("Ravi").await;
            let told = node.process.client().get(&network(TUTOR, "")).send().await;
            assert_eq!((page(&told, "items").len(), total(&told)), (1, 1), "{told}");
            assert_eq!(told.header("x-cache"), Some("bypass"));
            answer = Some(told);
        })
        .await;
    let told = answer.map(|answer| answer.body["meta"]["unavailable_instances"].clone()).unwrap_or_default();
    for ((name, reason, _), peer) in failing.iter().zip(&peers) {
        route
            .case(format!("a peer that answers {name} is listed as {reason}"), async {
                let rows = told.as_array().map(Vec::as_slice).unwrap_or_default();
                let row = rows.iter().find(|row| row["instance_url"] == json!(peer.url()));
                assert_eq!(row.map(|row| &row["reason"]), Some(&json!(reason)), "{told}");
            })
            .await;
    }
    world.foreign.answer(courteous);
}

async fn count_local(suite: &mut Suite, world: &World) {
    let mut route = suite.route("POST /api/v1/network/item/count_local");
    let nobody = world.nobody();
    let owner = world.a.sign_up("counted").await;
    let city = Uuid::new_v4().simple().to_string();
    let good = json!({"item_network": NETWORK, "item_domain": STUDENT, "item_state": {"city": city}});
    let send = async |body: Value| nobody.post(COUNT).json(&body).send().await;
    let ask = async |change: Value| send(over(&good, &change)).await;
    route
        .case("200 {count}: all owners' items of the pair here", async {
            for person in [&owner, &world.asha] {
                let mut state = student_state("Asha", "hidden");
                state["city"] = json!(city);
                let body = json!({"item_network": NETWORK, "item_domain": STUDENT, "item_type": PROFILE, "item_state": state,
                    "item_latitude": 18.5, "item_longitude": 73.8});
                let _made = person.post("/api/v1/item/create").json(&body).send().await.expect(201);
            }
            assert_eq!(ask(json!({})).await.expect(200).body, json!({"count": 2}));
        })
        .await;
    for (name, change, count) in [
        ("null URL filters", json!({"item_instance_url": null, "item_schema_url": null}), 2),
        ("coordinates as numbers", json!({"item_latitude": 18.5, "item_longitude": 73.8, "radius_meters": 5}), 2),
        ("coordinates as text", json!({"item_latitude": "18.5", "item_longitude": "73.8", "radius_meters": "5"}), 2),
        ("coordinates elsewhere", json!({"item_latitude": 0, "item_longitude": 0, "radius_meters": 5}), 0),
        ("a JSON number", json!({"item_state": {"city": city, "years": 5}}), 2),
        ("a JSON string of digits", json!({"item_state": {"city": city, "years": "5"}}), 2),
        ("a private property", json!({"item_state": {"city": city, "phone": "1234567890"}}), 0),
        ("another type", json!({"item_type": "other"}), 0),
        ("keys that are ignored", json!({"includePrivateState": true, "created_by": world.asha.id, "unknown": 1}), 2),
    ] {
        route
            .case(format!("200: {name}"), async {
                assert_eq!(ask(change).await.expect(200).body["count"], json!(count));
            })
            .await;
    }
    let wrong = [
        ("/item_domain", json!("")),
        ("/item_id", json!("x")),
        ("/item_state", json!("x")),
        ("/item_latitude", json!(91)),
        ("/item_instance_url", json!("nowhere")),
    ];
    let near = over(&good, &json!({"item_latitude": 18.5, "item_longitude": 73.8, "radius_meters": 1}));
    route.wrong_values(&near, &wrong, send).await;
    route
        .case("403 unserved", async {
            unserved(&ask(json!({"item_domain": TUTOR})).await, NETWORK, TUTOR, &[STUDENT]);
        })
        .await;
    route
        .case("503 PROJECTION_BEHIND; 400 for another network in dpg-min-position", async {
            let ask = async |position: &str| {
                let body = json!({"item_network": NETWORK, "item_domain": STUDENT});
                nobody.post(COUNT).json(&body).header("dpg-min-position", position).send().await
            };
            ask("999999999").await.expect_error(503, "PROJECTION_BEHIND");
            ask("elsewhere:1").await.expect_error(400, "VALIDATION_ERROR");
        })
        .await;
}

async fn fetch_local(suite: &mut Suite, world: &World) {
    let mut route = suite.route("POST /api/v1/network/item/fetch_local");
    let nobody = world.nobody();
    let city = Uuid::new_v4().simple().to_string();
    let good = json!({"item_network": NETWORK, "item_domain": STUDENT, "item_state": {"city": city}, "limit": 20});
    let send = async |body: Value| nobody.post(FETCH).json(&body).send().await;
    let ask = async |change: Value| send(over(&good, &change)).await;
    route
        .case("200: 4.5's shape, public state only, created_at descending, every key", async {
            let mut ids = Vec::new();
            for person in [&world.asha, &world.maya, &world.asha] {
                let mut state = student_state("Asha", "hidden");
                state["city"] = json!(city);
                ids.insert(0, person.create(STUDENT, &state).send().await.expect(201).body["item_id"].clone());
            }
            let answer = ask(
                json!({"offset": 0, "includePrivateState": true, "created_by": world.asha.id, "cache_ttl_seconds": 5}),
            )
            .await;
            let rows = page(&answer, "items");
            rows.iter().for_each(item);
            assert_eq!(rows.iter().map(|row| row["item_id"].clone()).collect::<Vec<_>>(), ids);
            assert!(!answer.text.contains("hidden") && !answer.text.contains("1234567890"), "{answer}");
        })
        .await;
    route
        .case("offset, limit and cursor", async {
            let first = ask(json!({"limit": 2, "offset": 0})).await;
            assert_eq!((page(&first, "items").len(), total(&first)), (2, 3));
            let rest = ask(json!({"limit": 2, "offset": 2})).await;
            let cursor = first.body["meta"]["next_cursor"].clone();
            assert!(cursor.is_string(), "{first}");
            let walked = ask(json!({"limit": 2, "cursor": cursor})).await;
            assert_eq!(page(&walked, "items"), page(&rest, "items"));
            assert_eq!(walked.body["meta"]["next_cursor"], json!(null));
            faults(&ask(json!({"offset": 0, "cursor": cursor})).await, "VALIDATION_ERROR", &[]);
            faults(&ask(json!({"cursor": "x"})).await, "VALIDATION_ERROR", &["/cursor"]);
        })
        .await;
    let wrong = [
        ("/limit", json!("20")),
        ("/limit", json!(0)),
        ("/limit", json!(101)),
        ("/limit", json!(null)),
        ("/offset", json!("0")),
        ("/offset", json!(-1)),
        ("/offset", json!(null)),
    ];
    route.wrong_values(&with(&good, "/offset", json!(0)), &wrong, send).await;
    route
        .case("400 VALIDATION_ERROR: without limit, without offset or cursor", async {
            faults(
                &send(json!({"item_network": NETWORK, "item_domain": STUDENT, "offset": 0})).await,
                "VALIDATION_ERROR",
                &["/limit"],
            );
            faults(&send(good.clone()).await, "VALIDATION_ERROR", &["/offset"]);
        })
        .await;
    route
        .case("403 unserved", async {
            let answer = ask(json!({"item_domain": TUTOR, "offset": 0})).await;
            unserved(&answer, NETWORK, TUTOR, &[STUDENT]);
        })
        .await;
}

/// A body with these keys too.
fn over(body: &Value, more: &Value) -> Value {
    let mut body = body.clone();
    body.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
    body
}

/// What both routes make of a peer's signature.
async fn local_signatures(suite: &mut Suite, world: &World) {
    for path in [COUNT, FETCH] {
        let mut route = suite.route(&format!("POST {path}"));
        let mut body = json!({"item_network": NETWORK, "item_domain": STUDENT, "limit": 20, "offset": 0});
        let strict = &world.strict.instance.url;
        route
            .case("enforced: 401 PEER_SIGNATURE_REQUIRED unsigned, before the body; 200 signed", async {
                let unsigned = world.strict.process.client();
                unsigned.post(path).json(&json!({})).send().await.expect_error(401, "PEER_SIGNATURE_REQUIRED");
                let _answer = world.keyed_key.post(strict, path, &body).await.expect(200);
            })
            .await;
        route
            .case("permissive: a signature that is not valid is 401 PEER_SIGNATURE_INVALID", async {
                let broken = Signature { broken: true, ..world.keyed_key.signature() };
                let answer = world.keyed_key.post_with(world.a_url(), path, &body, broken).await;
                answer.expect_error(401, "PEER_SIGNATURE_INVALID");
                let stranger = Signer::new("http://nowhere.example");
                stranger.post(world.a_url(), path, &body).await.expect_error(401, "PEER_SIGNATURE_INVALID");
            })
            .await;
        route
            .case("permissive: a nonce that was seen before does not matter to a read", async {
                for _ in 0..2 {
                    let nonce = "AAAAAAAAAAAAAAAAAAAAAA".to_owned();
                    let again = Signature { nonce, ..world.keyed_key.signature() };
                    let _answer = world.keyed_key.post_with(world.a_url(), path, &body, again).await.expect(200);
                }
            })
            .await;
        body["item_network"] = json!("elsewhere");
        route
            .case("401 before 403: a signature of a network that is not loaded", async {
                world.keyed_key.post(world.a_url(), path, &body).await.expect_error(401, "PEER_SIGNATURE_INVALID");
            })
            .await;
    }
}
