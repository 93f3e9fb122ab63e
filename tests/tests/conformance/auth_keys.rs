//! CONTRACT 10.8 and 2.2: API keys.

use dpg_tests::network::STUDENT;
use serde_json::{Value, json};

use crate::shapes::{Is, keys};
use crate::suite::Suite;
use crate::world::World;

const CREATE: &str = "/api/auth/api-key/create";
const LIST: &str = "/api/auth/api-key/list";
const DELETE: &str = "/api/auth/api-key/delete";

const KEY: &[(&str, Is)] = &[
    ("id", Is::Id),
    ("configId", Is::Text),
    ("name", Is::Text),
    ("start", Is::Text),
    ("prefix", Is::Text),
    ("referenceId", Is::Text),
    ("userId", Is::Text),
    ("enabled", Is::Flag),
    ("rateLimitEnabled", Is::Flag),
    ("rateLimitTimeWindow", Is::Count),
    ("rateLimitMax", Is::Count),
    ("requestCount", Is::Count),
    ("refillInterval", Is::Null),
    ("refillAmount", Is::Null),
    ("lastRefillAt", Is::Null),
    ("remaining", Is::Null),
    ("lastRequest", Is::MaybeTime),
    ("expiresAt", Is::MaybeTime),
    ("createdAt", Is::Time),
    ("updatedAt", Is::Time),
    ("permissions", Is::Null),
    ("metadata", Is::Any),
];

pub async fn cases(suite: &mut Suite, world: &World) {
    create(suite, world).await;
    list_and_delete(suite, world).await;
    use_of(suite, world).await;
}

async fn create(suite: &mut Suite, world: &World) {
    let asha = &world.asha;
    let mut route = suite.route("POST /api/auth/api-key/create");
    route
        .case("200: the whole key once, with every field", async {
            let body = json!({"name": "bot", "expiresIn": 86400, "metadata": {"for": "tests"}});
            let made = asha.post(CREATE).json(&body).send().await.expect(200);
            keys(&made.body, KEY);
            let key = made.text_at("key");
            let letters = key.strip_prefix("instancea_").expect("the instance's name is the default prefix");
            assert!(letters.len() == 64 && letters.bytes().all(|byte| byte.is_ascii_alphabetic()), "{key}");
            assert_eq!(made.body["start"], json!(key[..6]));
            for (field, value) in [
                ("configId", json!("default")),
                ("name", json!("bot")),
                ("userId", json!(asha.id)),
                ("referenceId", json!(asha.id)),
                ("enabled", json!(true)),
                ("rateLimitTimeWindow", json!(3_600_000)),
                ("rateLimitMax", json!(10_000)),
                ("requestCount", json!(0)),
                ("metadata", json!({"for": "tests"})),
            ] {
                assert_eq!(made.body[field], value, "{field}: {made}");
            }
            assert!(made.body["expiresAt"].is_string(), "{made}");
        })
        .await;
    route
        .case("200: a prefix of one's own, no expiry", async {
            let made = asha.post(CREATE).json(&json!({"name": "bot", "prefix": "a_"})).send().await.expect(200);
            assert!(made.text_at("key").starts_with("a_") && made.text_at("key").len() == 66, "{made}");
            assert_eq!((&made.body["expiresAt"], &made.body["metadata"]), (&json!(null), &json!(null)));
        })
        .await;
    for body in [json!({}), json!({"name": ""})] {
        route
            .case(format!("400 NAME_REQUIRED: {body}"), async {
                asha.post(CREATE).json(&body).send().await.expect_error(400, "NAME_REQUIRED");
            })
            .await;
    }
    for field in [
        "permissions",
        "userId",
        "remaining",
        "refillAmount",
        "refillInterval",
        "rateLimitMax",
        "rateLimitEnabled",
        "rateLimitTimeWindow",
    ] {
        route
            .case(format!("400 SERVER_ONLY_PROPERTY: {field}"), async {
                let mut body = json!({"name": "bot"});
                body[field] = json!(1);
                asha.post(CREATE).json(&body).send().await.expect_error(400, "SERVER_ONLY_PROPERTY");
            })
            .await;
    }
    route
        .case("an API key is not enough: 401", async {
            let key = asha.key(&asha.create_key().await);
            key.post(CREATE).json(&json!({"name": "bot"})).send().await.expect_error(401, "UNAUTHORIZED");
            key.get(LIST).send().await.expect_error(401, "UNAUTHORIZED");
            key.post(DELETE).json(&json!({"keyId": "x"})).send().await.expect_error(401, "UNAUTHORIZED");
        })
        .await;
}

async fn list_and_delete(suite: &mut Suite, world: &World) {
    let mut route = suite.route("GET /api/auth/api-key/list");
    route
        .case("200: the caller's own, never the key itself", async {
            let owner = world.a.sign_up("owner").await;
            let (first, second) = (owner.create_key().await, owner.create_key().await);
            let list = owner.get(LIST).send().await.expect(200);
            let rows = list.body["apiKeys"].as_array().expect("a list");
            assert_eq!((rows.len(), &list.body["total"]), (2, &json!(2)), "{list}");
            rows.iter().for_each(|row| keys(row, KEY));
            assert!(rows.iter().all(|row| row.get("key").is_none()), "{list}");
            assert!(!list.text.contains(&first) && !list.text.contains(&second), "{list}");
        })
        .await;
    let mut route = suite.route("POST /api/auth/api-key/delete");
    route
        .case("200 at once; 404 KEY_NOT_FOUND for what is gone, another's or none", async {
            let (owner, other) = (world.a.sign_up("owner").await, world.a.sign_up("other").await);
            let made = owner.post(CREATE).json(&json!({"name": "bot"})).send().await.expect(200);
            let (id, key) = (made.text_at("id"), owner.key(&made.text_at("key")));
            let delete = |client: &dpg_tests::Client, id: &str| client.post(DELETE).json(&json!({"keyId": id}));
            delete(&other, &id).send().await.expect_error(404, "KEY_NOT_FOUND");
            let _works = key.items(STUDENT, "").send().await.expect(200);
            assert_eq!(delete(&owner, &id).send().await.expect(200).body, json!({"success": true}));
            key.items(STUDENT, "").send().await.expect_error(403, "INVALID_API_KEY");
            delete(&owner, &id).send().await.expect_error(404, "KEY_NOT_FOUND");
            delete(&owner, "no such key").send().await.expect_error(404, "KEY_NOT_FOUND");
        })
        .await;
}

async fn use_of(suite: &mut Suite, world: &World) {
    let mut route = suite.route("2.2 user tier");
    route
        .case("a key alone decides: a session beside a bad one is not tried", async {
            for key in ["", "nonsense"] {
                let asked = world.asha.items(STUDENT, "").header("x-api-key", key);
                asked.send().await.expect_error(403, "INVALID_API_KEY");
            }
        })
        .await;
    route
        .case("a key's owner is the request's user", async {
            let item = world.student().await;
            let key = world.asha.key(&world.asha.create_key().await);
            let id = item["item_id"].as_str().expect("an id");
            let found = key.items(STUDENT, &format!("item_id={id}")).send().await.expect(200);
            assert_eq!(found.body["items"][0], item);
        })
        .await;
    for (name, change) in [
        ("expired", "update api_keys set expires_at = now() - interval '1 second' where id::text = $1"),
        ("disabled", "update api_keys set enabled = false where id::text = $1"),
    ] {
        route
            .case(format!("403 INVALID_API_KEY: {name}"), async {
                let (key, id) = fresh_key(world).await;
                let _works = key.items(STUDENT, "").send().await.expect(200);
                let database = world.a.instance.database.client().await;
                assert_eq!(database.execute(change, &[&id]).await.expect("the keys"), 1);
                key.items(STUDENT, "").send().await.expect_error(403, "INVALID_API_KEY");
            })
            .await;
    }
    route
        .case("403 INVALID_API_KEY: its owner is banned", async {
            let owner = world.a.sign_up("banned").await;
            let key = owner.key(&owner.create_key().await);
            let database = world.a.instance.database.client().await;
            database
                .execute("update users set banned = true where id::text = $1", &[&owner.id])
                .await
                .expect("the users");
            key.items(STUDENT, "").send().await.expect_error(403, "INVALID_API_KEY");
        })
        .await;
    route
        .case("429 RATE_LIMITED with Retry-After over the limit in its row", async {
            let (key, id) = fresh_key(world).await;
            let database = world.a.instance.database.client().await;
            let change = "update api_keys set rate_limit_max = 2 where id::text = $1";
            assert_eq!(database.execute(change, &[&id]).await.expect("the keys"), 1);
            let mut statuses = Vec::new();
            for _ in 0..4 {
                statuses.push(key.items(STUDENT, "").send().await);
            }
            assert_eq!(statuses[0].status, 200);
            statuses[3].expect_error(429, "RATE_LIMITED");
        })
        .await;
}

async fn fresh_key(world: &World) -> (dpg_tests::Client, String) {
    let owner = world.a.sign_up("owner").await;
    let made: Value = owner.post(CREATE).json(&json!({"name": "bot"})).send().await.expect(200).body;
    (owner.key(made["key"].as_str().expect("a key")), made["id"].as_str().expect("an id").to_owned())
}
