//! CONTRACT 4.1 to 4.3 and 4.14b: who an instance is, how it is, and what it can do.

use serde_json::json;

use crate::shapes::{Is, keys};
use crate::suite::Suite;
use crate::world::World;

pub async fn cases(suite: &mut Suite, world: &World) {
    let nobody = world.nobody();
    let mut route = suite.route("GET /");
    route
        .case("200: service, status, source, served domains", async {
            let answer = nobody.get("/").send().await.expect(200);
            for (key, value) in [
                ("service", json!("instance-a")),
                ("status", json!("ok")),
                ("network_config_source", json!("local")),
                (
                    "served_domains",
                    json!([{"network": "open_lessons", "domain": "student", "key": "open_lessons/student"}]),
                ),
            ] {
                assert_eq!(answer.body[key], value, "{answer}");
            }
        })
        .await;
    let mut route = suite.route("GET /health/live");
    route
        .case("200 live", async {
            let answer = nobody.get("/health/live").send().await.expect(200);
            assert_eq!(answer.body["status"], json!("live"));
        })
        .await;
    let mut route = suite.route("GET /health/ready");
    route.case("200 with its four checks", ready(world)).await;
    let mut route = suite.route("GET /metrics");
    route
        .case("200 Prometheus text without item ids", async {
            let item = world.student().await;
            let answer = nobody.get("/metrics").send().await.expect(200);
            assert!(answer.text.contains("# TYPE"), "{answer}");
            assert!(!answer.text.contains(item["item_id"].as_str().expect("an id")), "an item's id is in a label");
            assert!(!answer.text.contains(&world.asha.id) && !answer.text.contains(&world.asha.email));
        })
        .await;
    let mut route = suite.route("GET /.well-known/dpg-peer");
    route
        .case("200: who, what, which keys, which capabilities, which limits", async {
            let answer = nobody.get("/.well-known/dpg-peer").send().await.expect(200);
            keys(&answer.body, &[("version", Is::Text), ("capabilities", Is::List), ("limits", Is::Object)]);
            assert_eq!(answer.body["instance_url"], json!(world.a_url()));
            assert_eq!(answer.body["software"], json!("dpg"));
            assert_eq!(answer.body["public_keys"], json!([world.a_key.public()]));
            assert_eq!(answer.body["limits"], json!({"batch_events": 50, "batch_bytes": 262_144}));
            let told = answer.body["capabilities"].as_array().expect("a list");
            for capability in ["status-forward", "idempotency-key"] {
                assert!(told.contains(&json!(capability)), "{capability}: {answer}");
            }
        })
        .await;
    openapi(suite, world).await;
}

async fn ready(world: &World) {
    let answer = world.nobody().get("/health/ready").send().await.expect(200);
    let checks = &answer.body["checks"];
    assert_eq!(answer.body["status"], json!("ready"));
    for (name, required) in [("postgres", true), ("contract", true), ("projector", false), ("redis", false)] {
        keys(&checks[name], &[("ok", Is::Flag), ("required", Is::Flag)]);
        assert_eq!(checks[name]["required"], json!(required), "{name}: {answer}");
    }
    keys(&checks["postgres"], &[("latency_ms", Is::Number)]);
    keys(&checks["contract"], &[("networks", Is::List), ("version", Is::Count)]);
    assert_eq!(checks["contract"]["networks"], json!(["open_lessons"]));
    keys(&checks["projector"], &[("lag_events", Is::Count), ("lag_ms", Is::Count)]);
    keys(&checks["redis"], &[("configured", Is::Flag)]);
}

async fn openapi(suite: &mut Suite, world: &World) {
    let mut route = suite.route("GET /api/v1/openapi.json");
    route
        .case("200: OpenAPI 3.1 with our base URL and every route of the contract", async {
            let answer = world.nobody().get("/api/v1/openapi.json").send().await.expect(200);
            let version = answer.body["openapi"].as_str().unwrap_or_default();
            assert!(version.starts_with("3.1"), "openapi: {version}");
            assert_eq!(answer.body["servers"][0]["url"], json!(world.a_url()));
            let missing: Vec<&str> = (crate::catalogue::all().iter())
                .map(|entry| entry.title)
                .filter(|title| {
                    let (method, path) = title.split_once(' ').expect("method and path");
                    let path = path.split('/').map(|part| match part.strip_prefix(':') {
                        Some(name) => format!("{{{name}}}"),
                        None => part.to_owned(),
                    });
                    let path = path.collect::<Vec<_>>().join("/");
                    answer.body["paths"][&path][method.to_lowercase()].is_null()
                })
                .collect();
            assert!(missing.is_empty(), "not documented: {missing:?}");
        })
        .await;
    let mut route = suite.route("GET /api/reference");
    route
        .case("200: HTML that loads nothing from other hosts", async {
            let answer = world.nobody().get("/api/reference").send().await.expect(200);
            let lower = answer.text.to_lowercase();
            for attribute in ["src=\"http", "src=\"//", "href=\"//", "src='http", "url(http", "@import"] {
                assert!(!lower.contains(attribute), "{attribute} in the page");
            }
        })
        .await;
}
