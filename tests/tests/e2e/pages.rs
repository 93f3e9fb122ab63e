//! Pages of `item/fetch`: what is kept is found again, is never stale in any process, and never shows one person's values
//! to another. And a walk by cursor misses and repeats nothing while items come and go.

use std::collections::HashSet;
use std::sync::atomic::{AtomicUsize, Ordering};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use dpg_tests::log::SOON;
use dpg_tests::network::{NETWORK, PROFILE, STUDENT, TUTOR, student_state};
use dpg_tests::pair::Node;
use dpg_tests::wait::check;
use dpg_tests::{Answer, Client, Contract, Instance, Process, RedisServer, Role, TestDatabase, User, eventually, port};
use futures_util::future::join_all;
use serde_json::{Value, json};

/// An instance as two API processes and a projector.
struct Spread {
    processes: [Process; 2],
    _projector: Process,
    _instance: Instance,
}

impl Spread {
    async fn with(redis: &RedisServer) -> Self {
        let ports = [port::free(), port::free()];
        let url = port::url(ports[0]);
        let contract = Contract::new().instance(STUDENT, &url).instance(TUTOR, &url);
        let instance = Instance::new("spread", &[STUDENT, TUTOR], &url, TestDatabase::create().await, &contract)
            .set("REDIS_URL", &redis.url());
        let projector = instance.start(Role::Projector, port::free()).await;
        let processes = [instance.start(Role::Api, ports[0]).await, instance.start(Role::Api, ports[1]).await];
        for process in &processes {
            uses_redis(process).await;
        }
        Self { processes, _projector: projector, _instance: instance }
    }

    /// Somebody, as seen by each process.
    async fn sign_up(&self, name: &str) -> (User, [Client; 2]) {
        let user = self.processes[0].sign_up(name).await;
        let clients = self.processes.each_ref().map(|process| user.at(&process.url()));
        (user, clients)
    }
}

/// Waits until a process has found its Redis.
pub(crate) async fn uses_redis(process: &Process) {
    eventually("Redis is in use", SOON, || async {
        let in_use = process.metric("dpg_redis_in_use", &[]).await;
        check(in_use == Some(1.0), format!("dpg_redis_in_use {in_use:?}"))
    })
    .await;
}

/// A tutor without a private value.
pub(crate) async fn create_plain(client: &Client, name: &str) -> Value {
    client.create(TUTOR, &json!({"name": name, "subject": "math"})).send().await.expect(201).body
}

#[track_caller]
fn expect_cache(answer: &Answer, source: &str, names: &[&str]) {
    let found: Vec<&str> = answer.body["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|item| item["item_state"]["name"].as_str().unwrap())
        .collect();
    assert_eq!((answer.status, answer.header("x-cache"), found.as_slice()), (200, Some(source), names), "{answer}");
    assert_eq!(answer.body["meta"]["total"], names.len());
}

#[tokio::test]
async fn a_second_read_is_a_hit_and_a_write_makes_the_next_read_a_miss_in_every_process() {
    let redis = RedisServer::start().await;
    let spread = Spread::with(&redis).await;
    let (_, [first, second]) = spread.sign_up("ravi").await;
    create_plain(&first, "one").await;
    let read = async |client: &Client| client.items(TUTOR, "").send().await;
    expect_cache(&read(&first).await, "miss", &["one"]);
    expect_cache(&read(&first).await, "hit", &["one"]);

    let mut names = vec!["one"];
    for (writer, name) in [(&first, "two"), (&second, "three"), (&first, "four")] {
        let made = create_plain(writer, name).await;
        names.insert(0, name);
        for (early, late) in [(&second, &first), (&first, &second)] {
            // Whoever reads first makes the page; the other process may find that one in Redis.
            expect_cache(&read(early).await, "miss", &names);
            let found = read(late).await;
            expect_cache(&found, found.header("x-cache").unwrap(), &names);
            for client in [early, late] {
                expect_cache(&read(client).await, "hit", &names);
            }
            if names[0] == name {
                let id = made["item_id"].as_str().unwrap();
                let _deleted = writer.delete(&format!("/api/v1/item/{id}")).send().await.expect(204);
                names.remove(0);
            }
        }
    }
    // Another domain's writes don't concern it.
    first.create_student("Asha").await;
    expect_cache(&read(&first).await, "hit", &names);
    let hits = spread.processes[0].metric("dpg_page_cache_total", &["item/fetch", "hit"]).await;
    assert!(hits.is_some_and(|hits| hits >= 5.0), "{hits:?}");
}

#[tokio::test]
async fn private_values_stay_with_their_owner_and_out_of_redis() {
    let redis = RedisServer::start().await;
    let spread = Spread::with(&redis).await;
    let (_, asha) = spread.sign_up("asha").await;
    let (_, ravi) = spread.sign_up("ravi").await;
    let mark = "marker-7f3a";
    let _made = asha[0].create(STUDENT, &student_state("Asha", mark)).send().await.expect(201);
    for client in &asha {
        for source in ["miss", "hit"] {
            let answer = client.items(STUDENT, "").send().await;
            expect_cache(&answer, source, &["Asha"]);
            assert_eq!(answer.body["items"][0]["item_state"], student_state("Asha", mark));
        }
    }
    for client in &ravi {
        for _ in 0..2 {
            let answer = client.items(STUDENT, "").send().await.expect(200);
            assert_eq!(answer.body["items"], json!([]), "{answer}");
        }
    }
    let mut stored = redis.client().await;
    let keys: Vec<String> = redis::cmd("KEYS").arg("*").query_async(&mut stored).await.unwrap();
    assert!(!keys.is_empty(), "Ravi's empty page is kept there");
    for key in keys {
        let value: Vec<u8> = redis::cmd("GET").arg(&key).query_async(&mut stored).await.unwrap();
        let text = String::from_utf8_lossy(&value);
        assert!(!text.contains(mark) && !text.contains("1234567890"), "{key}: {text}");
        let lives: i64 = redis::cmd("TTL").arg(&key).query_async(&mut stored).await.unwrap();
        assert!(lives > 0, "{key} lives {lives}");
    }
}

#[tokio::test]
async fn rubbish_in_redis_is_a_miss() {
    let redis = RedisServer::start().await;
    let spread = Spread::with(&redis).await;
    let (_, [first, second]) = spread.sign_up("ravi").await;
    let cases = ["text", "empty", "cut", "bit", "swapped", "list", "huge"];
    for case in cases {
        create_plain(&first, case).await;
    }
    let mut stored = redis.client().await;
    let set = async |key: &str, value: &[u8]| {
        let mut stored = redis.client().await;
        redis::cmd("SET").arg(key).arg(value).query_async::<()>(&mut stored).await.unwrap();
    };
    // A query whose page lies in Redis, alone, with its key and value. On a busy machine Redis may be left alone just then.
    let page = async |name: &str| {
        let limit = AtomicUsize::new(0);
        eventually("a page lies in Redis", SOON, || async {
            let query = format!("item_state[name]={name}&limit={}", 1 + limit.fetch_add(1, Ordering::SeqCst) % 100);
            let _page = first.items(TUTOR, &query).send().await.expect(200);
            let mut stored = redis.client().await;
            let keys: Vec<String> = redis::cmd("KEYS").arg("*").query_async(&mut stored).await.unwrap();
            let [key] = keys.as_slice() else { return Err(format!("{} pages", keys.len())) };
            let value: Vec<u8> = redis::cmd("GET").arg(key).query_async(&mut stored).await.unwrap();
            redis::cmd("FLUSHALL").query_async::<()>(&mut stored).await.unwrap();
            Ok((query, key.clone(), value))
        })
        .await
    };
    let (_, _, foreign) = page("nobody").await;
    for case in cases {
        let (query, key, sealed) = page(case).await;
        match case {
            "text" => set(&key, br#"{"meta":{"total":99},"items":[]}"#).await,
            "empty" => set(&key, b"").await,
            "cut" => set(&key, &sealed[..sealed.len() - 1]).await,
            "bit" => {
                let mut spoilt = sealed.clone();
                *spoilt.last_mut().unwrap() ^= 1;
                set(&key, &spoilt).await;
            }
            "swapped" => set(&key, &foreign).await,
            "list" => {
                redis::cmd("RPUSH").arg(&key).arg("x").query_async::<()>(&mut stored).await.unwrap();
            }
            _ => set(&key, &vec![b'x'; 8 * 1024 * 1024]).await,
        }
        expect_cache(&second.items(TUTOR, &query).send().await, "miss", &[case]);
        redis::cmd("FLUSHALL").query_async::<()>(&mut stored).await.unwrap();
    }
    uses_redis(&spread.processes[1]).await;
}

#[tokio::test]
async fn an_item_keeps_its_etag_on_a_hit_and_a_position_is_waited_for_first() {
    let node = Node::both().await;
    let asha = node.sign_up("asha").await;
    let item = asha.create_student("Asha").await;
    let id = item["item_id"].as_str().unwrap();
    let read = || asha.items(STUDENT, &format!("item_id={id}"));
    for (version, city) in [(1, "Pune"), (2, "Goa"), (3, "Agra")] {
        if version > 1 {
            let state = json!({"item_state": {"name": "Asha", "city": city}});
            let _patched = asha.patch(&format!("/api/v1/item/{id}")).json(&state).send().await.expect(200);
        }
        for source in ["miss", "hit"] {
            let answer = read().send().await.expect(200);
            assert_eq!(answer.header("x-cache"), Some(source), "{answer}");
            assert_eq!(answer.header("etag"), Some(format!("\"{version}\"").as_str()), "{answer}");
            assert_eq!(answer.body["items"][0]["item_state"]["city"], city);
        }
    }
    let state = json!({"item_state": {"name": "Asha", "city": "Delhi"}});
    let patch = asha.patch(&format!("/api/v1/item/{id}")).header("prefer", "respond-async").json(&state);
    let position = patch.send().await.expect(200).position();
    let answer = read().header("dpg-min-position", &position.to_string()).send().await.expect(200);
    assert_eq!(answer.body["items"][0]["item_state"]["city"], "Delhi", "{answer}");
    let answer = read().header("dpg-min-position", &(position + 100).to_string()).send().await;
    answer.expect_error(503, "PROJECTION_BEHIND");
    // Two rows are no single item, and have no tag.
    asha.create_student("Asha's sister").await;
    let answer = asha.items(STUDENT, "").send().await.expect(200);
    assert_eq!(answer.header("etag"), None, "{answer}");
}

#[tokio::test]
async fn a_walk_misses_and_repeats_nothing_while_items_come_and_go() {
    const STEADY: usize = 120;
    const CHURN: usize = 500;
    let node = Node::both().await;
    let asha = node.sign_up("asha").await;
    let id_of = |item: &Value| item["item_id"].as_str().unwrap().to_owned();
    // Every third item is there throughout; the others are deleted during the walks.
    let mut steady = HashSet::new();
    let mut doomed = Vec::new();
    for chunk in (0..STEADY * 3).collect::<Vec<_>>().chunks(20) {
        let made = join_all(chunk.iter().map(async |n| create_plain(&asha, &format!("tutor {n}")).await)).await;
        for (n, item) in chunk.iter().zip(&made) {
            if n % 3 == 0 {
                steady.insert(id_of(item));
            } else {
                doomed.push(id_of(item));
            }
        }
    }
    let churn = async {
        let mut created = 0;
        while created < CHURN {
            let made = join_all((0..4).map(|_| create_plain(&asha, "passing"))).await;
            created += made.len();
            let mut gone: Vec<String> = made.iter().take(3).map(id_of).collect();
            gone.extend(doomed.pop());
            join_all(gone.iter().map(async |id| {
                let _deleted = asha.delete(&format!("/api/v1/item/{id}")).send().await.expect(204);
            }))
            .await;
        }
    };
    let done = std::cell::Cell::new(false);
    let walks = async {
        let mut walks = 0;
        while walks < 2 || !done.get() {
            let seen = walk(&asha, 7).await;
            let distinct: HashSet<String> = seen.iter().cloned().collect();
            assert_eq!(distinct.len(), seen.len(), "something was repeated");
            let missed: Vec<&String> = steady.difference(&distinct).collect();
            assert!(missed.is_empty(), "walk {walks} missed {missed:?}");
            walks += 1;
        }
    };
    tokio::join!(
        async {
            churn.await;
            done.set(true);
        },
        walks
    );
    node.verify().await;
}

/// The ids of all tutors, in the order of a walk by cursor.
async fn walk(client: &Client, limit: usize) -> Vec<String> {
    let mut seen = Vec::new();
    let mut cursor: Option<String> = None;
    loop {
        let start = cursor.as_ref().map(|cursor| format!("&cursor={cursor}")).unwrap_or_default();
        let answer = client.items(TUTOR, &format!("limit={limit}{start}")).send().await.expect(200);
        let items = answer.body["items"].as_array().unwrap();
        seen.extend(items.iter().map(|item| item["item_id"].as_str().unwrap().to_owned()));
        match answer.body["meta"]["next_cursor"].as_str() {
            Some(next) => {
                assert!(next.len() <= 1024, "{answer}");
                cursor = Some(next.to_owned());
            }
            None => return seen,
        }
    }
}

#[tokio::test]
async fn a_cursor_of_other_filters_or_another_owner_is_refused() {
    let node = Node::both().await;
    let (asha, ravi) = (node.sign_up("asha").await, node.sign_up("ravi").await);
    for user in [&asha, &ravi] {
        for name in ["one", "two"] {
            create_plain(user, name).await;
        }
    }
    let cursor = asha.items(TUTOR, "limit=1").send().await.expect(200).body["meta"]["next_cursor"].clone();
    let cursor = cursor.as_str().unwrap();
    let query = format!("limit=1&cursor={cursor}");
    let page = asha.items(TUTOR, &query).send().await.expect(200);
    assert_eq!(page.body["meta"]["offset"], 0);
    assert_eq!(page.body["items"][0]["item_network"], NETWORK);
    let refused = [
        ravi.items(TUTOR, &query),
        asha.items(STUDENT, &query),
        asha.items(TUTOR, &format!("{query}&item_type={PROFILE}")),
        asha.items(TUTOR, &format!("limit=1&cursor={}", &cursor[1..])),
        asha.items(TUTOR, "limit=1&cursor=e30"),
    ];
    // What no cursor of ours holds, though its digest of the filters is right.
    let read: Value = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(cursor).unwrap()).unwrap();
    let tampered = [
        ("/k/0", json!("2026-11-21T01:53:13.435+20:00")),
        ("/k/0", json!("infinity")),
        ("/k/1", json!("urn:uuid:019aa3c1-7f20-7b11-8c3d-2f4e5a6b7c8d")),
        ("/b", json!({})),
        ("/b", json!({"\u{0}": ["00000000", 1]})),
        ("/b", json!({"elsewhere": ["00000000", 1]})),
        ("/b/open_lessons/0", json!("00000000")),
    ];
    let tampered = tampered.into_iter().map(|(place, value)| {
        let mut cursor = read.clone();
        *cursor.pointer_mut(place).unwrap() = value;
        asha.items(TUTOR, &format!("limit=1&cursor={}", URL_SAFE_NO_PAD.encode(cursor.to_string())))
    });
    for request in refused.into_iter().chain(tampered) {
        let answer = request.send().await;
        answer.expect_error(400, "VALIDATION_ERROR");
        assert_eq!(answer.body["details"][0]["path"], "/cursor", "{answer}");
    }
}

#[tokio::test]
async fn a_circle_finds_rows_across_the_180th_meridian_and_around_the_poles() {
    let node = Node::both().await;
    let asha = node.sign_up("asha").await;
    let places = [
        ("west of it", Some((-17.0, 179.99))),
        ("east of it", Some((-17.0, -179.99))),
        ("on it", Some((-17.0, 180.0))),
        ("pole", Some((90.0, 0.0))),
        ("beyond the pole", Some((89.995, -120.0))),
        ("south pole", Some((-90.0, 77.0))),
        ("Pune", Some((18.5204, 73.8567))),
        ("nowhere", None),
    ];
    for (name, place) in places {
        let mut body = json!({"item_network": NETWORK, "item_domain": TUTOR, "item_type": PROFILE,
                              "item_state": {"name": name, "subject": "math"}});
        if let Some((latitude, longitude)) = place {
            body["item_latitude"] = json!(latitude);
            body["item_longitude"] = json!(longitude);
        }
        let _made = asha.post("/api/v1/item/create").json(&body).send().await.expect(201);
    }
    let near = async |latitude: f64, longitude: f64, radius: f64| -> Vec<String> {
        let query = format!("item_latitude={latitude}&item_longitude={longitude}&radius_meters={radius}");
        let answer = asha.items(TUTOR, &query).send().await.expect(200);
        let items = answer.body["items"].as_array().unwrap();
        assert_eq!(answer.body["meta"]["total"], items.len());
        let mut names: Vec<String> =
            items.iter().map(|item| item["item_state"]["name"].as_str().unwrap().to_owned()).collect();
        names.sort_unstable();
        names
    };
    for longitude in [179.99, 180.0, -180.0, -179.99] {
        assert_eq!(near(-17.0, longitude, 5_000.0).await, ["east of it", "on it", "west of it"], "{longitude}");
    }
    for longitude in [0.0, 60.0, 180.0, -120.0] {
        assert_eq!(near(89.999, longitude, 1_000.0).await, ["beyond the pole", "pole"], "{longitude}");
    }
    assert_eq!(near(-90.0, 0.0, 1.0).await, ["south pole"]);
    assert_eq!(near(18.52, 73.85, 1_000.0).await, ["Pune"]);
    assert_eq!(near(18.52, 73.85, 500.0).await, Vec::<String>::new());
    assert_eq!(near(0.0, 0.0, 1e9).await.len(), 7, "the whole globe, but for what has no place");
}
