//! API keys: traps 36 and the rolling limit.

use futures_util::future::join_all;
use serde_json::json;

use super::{refused, run, verdict};

const ASHA: &str = "asha@example.com";

#[actix_web::test]
async fn a_key_is_shown_once_and_stored_as_its_hash() {
    run(async |t| {
        let bearer = t.bearer(ASHA).await;
        let session = [("authorization", bearer.as_str())];
        let body = json!({"name": "bot", "expiresIn": 86400, "metadata": {"for": "tests"}});
        let made = t.post("api-key/create", &session, body).await.body;
        let key = made["key"].as_str().unwrap().to_owned();
        assert!(key.starts_with("instancea_") && key.len() == 74, "{key}");
        let members: Vec<_> = made.as_object().unwrap().keys().map(String::as_str).collect();
        let expected = "id configId name start prefix key referenceId userId enabled rateLimitEnabled rateLimitTimeWindow \
                        rateLimitMax requestCount refillInterval refillAmount lastRefillAt remaining lastRequest expiresAt \
                        createdAt updatedAt permissions metadata";
        assert_eq!(members, expected.split(' ').collect::<Vec<_>>());
        let steady = json!({"configId": "default", "start": "instan", "prefix": "instancea_", "enabled": true,
            "rateLimitTimeWindow": 3_600_000, "rateLimitMax": 10_000, "requestCount": 0, "lastRequest": null,
            "metadata": {"for": "tests"}, "permissions": null});
        for (member, value) in steady.as_object().unwrap() {
            assert_eq!(made[member], *value, "{member}");
        }
        assert_eq!(made["userId"], made["referenceId"]);
        assert_eq!(t.count("select extract(epoch from expires_at - created_at)::bigint from api_keys").await, 86400);
        assert_eq!(t.count(&format!("select count(*) from api_keys k where k::text like '%{key}%'")).await, 0);

        let own = t.post("api-key/create", &session, json!({"name": "own", "prefix": "My-"})).await.body;
        assert!(own["key"].as_str().unwrap().starts_with("My-") && own["expiresAt"].is_null());
        t.user(&[("x-api-key", &key)]).await.unwrap();
        let listed = t.get("api-key/list", &session).await.body;
        assert_eq!(listed["total"], 2);
        assert!(listed["apiKeys"].as_array().unwrap().iter().all(|listed| listed.get("key").is_none()));
        assert_eq!((&listed["apiKeys"][0]["id"], &listed["apiKeys"][0]["requestCount"]), (&made["id"], &json!(1)));
        assert!(listed["apiKeys"][0]["lastRequest"].is_string());
        let ravi = t.bearer("ravi@example.com").await;
        let none = t.get("api-key/list", &[("authorization", &ravi)]).await.body;
        assert_eq!(none, json!({"apiKeys": [], "total": 0}));
    })
    .await;
}

#[actix_web::test]
async fn what_only_the_server_sets_is_refused() {
    run(async |t| {
        let bearer = t.bearer(ASHA).await;
        let create = async |body| t.post("api-key/create", &[("authorization", &*bearer)], body).await;
        for name in [json!(null), json!(""), json!("  "), json!(5)] {
            assert_eq!(create(json!({"name": name})).await.code(), (400, "NAME_REQUIRED"));
        }
        assert_eq!(create(json!({})).await.code(), (400, "NAME_REQUIRED"));
        let server_only = "permissions userId remaining refillAmount refillInterval rateLimitMax rateLimitEnabled";
        for member in server_only.split(' ') {
            let answer = create(json!({"name": "bot", member: 1})).await;
            assert_eq!(answer.code(), (400, "SERVER_ONLY_PROPERTY"), "{member}");
        }
        for (member, value) in [("expiresIn", json!(0)), ("prefix", json!("a b")), ("metadata", json!([]))] {
            let answer = create(json!({"name": "bot", member: value})).await;
            assert_eq!(super::fault_paths(&answer), [format!("/{member}")]);
        }
        assert_eq!(super::fault_paths(&create(json!([])).await)[0], "");
        assert_eq!(t.count("select count(*) from api_keys").await, 0);
    })
    .await;
}

#[actix_web::test]
async fn a_key_makes_lists_and_deletes_no_keys() {
    run(async |t| {
        let bearer = t.bearer(ASHA).await;
        let key = t.key(&bearer).await;
        let with_key = [("x-api-key", key["key"].as_str().unwrap()), ("authorization", bearer.as_str())];
        for headers in [&with_key[..1], &with_key[..], &[]] {
            assert_eq!(t.post("api-key/create", headers, json!({"name": "x"})).await.code(), (401, "UNAUTHORIZED"));
            assert_eq!(t.get("api-key/list", headers).await.code(), (401, "UNAUTHORIZED"));
            let answer = t.post("api-key/delete", headers, json!({"keyId": key["id"]})).await;
            assert_eq!(answer.code(), (401, "UNAUTHORIZED"));
        }
        let bad = [("x-api-key", "no key"), ("authorization", bearer.as_str())];
        assert_eq!(t.get("api-key/list", &bad).await.code(), (403, "INVALID_API_KEY"));
    })
    .await;
}

#[actix_web::test]
async fn a_deleted_key_is_dead_at_once_in_every_process() {
    run(async |t| {
        let other = t.another_process(|_| {});
        let bearer = t.bearer(ASHA).await;
        let key = t.key(&bearer).await;
        let header = [("x-api-key", key["key"].as_str().unwrap())];
        assert!(t.user(&header).await.is_ok() && verdict(&other, &header).await.is_ok());
        let ravi = t.bearer("ravi@example.com").await;
        let delete = async |bearer: &str, body| t.post("api-key/delete", &[("authorization", bearer)], body).await;
        assert_eq!(delete(&ravi, json!({"keyId": key["id"]})).await.code(), (404, "KEY_NOT_FOUND"));
        assert_eq!(delete(&bearer, json!({"keyId": "nothing"})).await.code(), (404, "KEY_NOT_FOUND"));
        assert_eq!(super::fault_paths(&delete(&bearer, json!({})).await), ["/keyId"]);
        assert!(t.user(&header).await.is_ok());
        assert_eq!(delete(&bearer, json!({"keyId": key["id"]})).await.body, json!({"success": true}));
        assert_eq!(t.user(&header).await, refused(403, "INVALID_API_KEY"));
        assert_eq!(verdict(&other, &header).await, refused(403, "INVALID_API_KEY"));
        assert_eq!(delete(&bearer, json!({"keyId": key["id"]})).await.code(), (404, "KEY_NOT_FOUND"));
        assert_eq!(t.count("select count(*) from api_key_usage").await, 0);
    })
    .await;
}

/// Trap 36.
#[actix_web::test]
async fn a_key_decides_alone_and_belongs_to_its_owner() {
    run(async |t| {
        let (asha, ravi) = (t.bearer(ASHA).await, t.sign_in("ravi@example.com").await);
        let key = t.key(&asha).await;
        let cookie = ravi.cookie();
        let beside = |key| [("x-api-key", key), ("authorization", asha.as_str()), ("cookie", cookie.as_str())];
        let owner = key["userId"].as_str().unwrap().to_owned();
        assert_eq!(t.user(&[("x-api-key", key["key"].as_str().unwrap()), ("cookie", &cookie)]).await, Ok(owner));
        for bad in ["", "no key", key["start"].as_str().unwrap()] {
            assert_eq!(t.user(&beside(bad)).await, refused(403, "INVALID_API_KEY"), "{bad}");
        }
        for change in ["enabled = false", "enabled = true, expires_at = now() - interval '1 s'"] {
            t.sql(&format!("update api_keys set {change}")).await;
            assert_eq!(
                t.user(&beside(key["key"].as_str().unwrap())).await,
                refused(403, "INVALID_API_KEY"),
                "{change}"
            );
        }
    })
    .await;
}

#[actix_web::test]
async fn the_limit_is_exact_under_parallel_calls_from_two_processes() {
    run(async |t| {
        let other = t.another_process(|_| {});
        let bearer = t.bearer(ASHA).await;
        let key = t.key(&bearer).await;
        let header = [("x-api-key", key["key"].as_str().unwrap())];
        t.sql("update api_keys set rate_limit_max = 150").await;
        let here = join_all((0..120).map(|_| t.user(&header)));
        let there = join_all((0..120).map(|_| verdict(&other, &header)));
        let (here, there) = tokio::join!(here, there);
        let answers: Vec<_> = here.into_iter().chain(there).collect();
        assert_eq!(answers.iter().filter(|answer| answer.is_ok()).count(), 150);
        let limited = refused(429, "RATE_LIMITED");
        assert_eq!(answers.iter().filter(|answer| **answer == limited).count(), 90);
        assert_eq!(t.count("select window_calls from api_key_usage").await, 150, "refused calls don't count");
    })
    .await;
}

#[actix_web::test]
async fn the_window_rolls_by_the_second() {
    run(async |t| {
        let bearer = t.bearer(ASHA).await;
        let key = t.key(&bearer).await;
        let header = [("x-api-key", key["key"].as_str().unwrap())];
        t.sql("update api_keys set rate_limit_max = 3").await;
        for _ in 0..3 {
            assert!(t.user(&header).await.is_ok());
        }
        assert_eq!(t.user(&header).await, refused(429, "RATE_LIMITED"));
        let answer = t.get("get-session", &header).await;
        assert_eq!(answer.code(), (429, "RATE_LIMITED"));
        let seconds: u64 = answer.header("retry-after").parse().unwrap();
        assert!((3590..=3600).contains(&seconds), "{seconds}");
        // As if the calls had been made over the last hour: one leaves the window now, one in half an hour.
        t.sql(
            "delete from api_key_calls;
             insert into api_key_calls
             select key_id, floor(extract(epoch from now()))::bigint - ago, 1
               from api_key_usage, unnest(array[3600, 1800, 10]) as ago;
             update api_key_usage set calls = 0, second = floor(extract(epoch from now()))::bigint - 5",
        )
        .await;
        assert!(t.user(&header).await.is_ok(), "one call has left the window");
        let answer = t.get("get-session", &header).await;
        assert_eq!(answer.code(), (429, "RATE_LIMITED"));
        let seconds: u64 = answer.header("retry-after").parse().unwrap();
        assert!((1790..=1800).contains(&seconds), "{seconds}");
        assert_eq!(
            t.count("select count(*) from api_key_calls where second < extract(epoch from now()) - 3600").await,
            0
        );
        // The operator raises the limit; after a long silence everything has left.
        t.sql("update api_keys set rate_limit_max = 4").await;
        assert!(t.user(&header).await.is_ok());
        t.sql("update api_key_calls set second = second - 100000; update api_key_usage set second = second - 100000")
            .await;
        assert!(t.user(&header).await.is_ok());
        assert_eq!(t.count("select window_calls from api_key_usage").await, 1);
        assert_eq!(t.count("select count(*) from api_key_calls").await, 0);
    })
    .await;
}
