//! CONTRACT 4.19 and 4.20: the contract as clients read it.

use dpg_tests::network::{NETWORK, PROFILE, STUDENT, TUTOR};
use dpg_tests::wait::check;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::shapes::{Is, faults, keys, unserved};
use crate::suite::Suite;
use crate::world::World;

const SCHEMAS: &str = "/api/v1/network/schemas";

pub async fn cases(suite: &mut Suite, world: &World) {
    schemas(suite, world).await;
    filters(suite, world).await;
    schema(suite, world).await;
}

fn cache_key(parts: &[&str]) -> String {
    Sha256::digest(parts.join("::").as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect()
}

async fn entries(world: &World, query: &str) -> Vec<Value> {
    let answer = world.nobody().get(&format!("{SCHEMAS}{query}")).send().await.expect(200);
    answer.body.as_array().unwrap_or_else(|| panic!("no array: {answer}")).clone()
}

async fn schemas(suite: &mut Suite, world: &World) {
    let mut route = suite.route("GET /api/v1/network/schemas");
    route
        .case("200: sorted by cache_key, each entry whole, keys as 8.3 makes them", async {
            let all = entries(world, "").await;
            let told: Vec<&str> = all.iter().filter_map(|entry| entry["cache_key"].as_str()).collect();
            assert!(told.is_sorted() && told.len() == all.len());
            for entry in &all {
                keys(
                    entry,
                    &[
                        ("kind", Is::Text),
                        ("network", Is::Text),
                        ("source", Is::Text),
                        ("cached_at", Is::Time),
                        ("file_name", Is::Text),
                        ("schema", Is::Object),
                    ],
                );
                assert_eq!(entry["file_name"], json!(format!("{}.json", entry["cache_key"].as_str().expect("a key"))));
                assert_eq!(entry["source"], json!("inline"));
            }
            assert!(told.contains(&cache_key(&["network_config", NETWORK]).as_str()), "{told:?}");
            for domain in [STUDENT, TUTOR] {
                assert!(
                    told.contains(&cache_key(&["domain_item_schema", NETWORK, domain, PROFILE]).as_str()),
                    "{domain}"
                );
            }
        })
        .await;
    route
        .case("the network_config is the loaded document: defaults filled, unknown keys kept", async {
            let key = cache_key(&["network_config", NETWORK]);
            let all = entries(world, &format!("?network={NETWORK}")).await;
            let entry = all.iter().find(|entry| entry["cache_key"] == json!(key)).expect("the network");
            assert!(entry.get("domain").is_none() && entry.get("item_type").is_none(), "{entry}");
            let (told, sent) = (&entry["schema"], world.contract.document());
            for key in ["id", "display_name", "schema_standard", "x-theme", "actions"] {
                let kept = check(covers(&told[key], &sent[key]), format!("{key}: {}", told[key]));
                assert_eq!(kept, Ok(()));
            }
            assert_eq!(told["domains"][1]["minimum_cache_ttl_seconds"], json!(300));
            assert_eq!(told["cross_network_origins"], json!([]));
            assert_eq!(told["domains"][0]["default_item_schemas"], json!({}));
            assert_eq!(told["instances"][1]["custom_item_schema_urls"], json!({}));
            assert!(covers(&told["instances"], &sent["instances"]), "{}", told["instances"]);
        })
        .await;
}

/// Whether everything in `sent` is in `told`, which may hold more.
fn covers(told: &Value, sent: &Value) -> bool {
    match (told, sent) {
        (Value::Object(told), Value::Object(sent)) => {
            sent.iter().all(|(key, value)| key == "$ref" || told.get(key).is_some_and(|told| covers(told, value)))
        }
        (Value::Array(told), Value::Array(sent)) => {
            told.len() == sent.len() && told.iter().zip(sent).all(|(told, sent)| covers(told, sent))
        }
        (told, sent) => told == sent,
    }
}

async fn filters(suite: &mut Suite, world: &World) {
    let mut route = suite.route("GET /api/v1/network/schemas");
    for (query, found) in [
        (format!("?network={NETWORK}&domain={STUDENT}"), 1),
        (format!("?domain={STUDENT}&item_type={PROFILE}"), 1),
        ("?network=elsewhere".to_owned(), 0),
        ("?item_type=other".to_owned(), 0),
        ("?schema_url=http%3A%2F%2Fnowhere.example".to_owned(), 0),
    ] {
        route
            .case(format!("200: {query} gives {found}"), async {
                assert_eq!(entries(world, &query).await.len(), found);
            })
            .await;
    }
    route
        .case("an empty filter is none, a repeated one is 400", async {
            assert_eq!(entries(world, "?network=&domain=&item_type=&schema_url=").await, entries(world, "").await);
            for name in ["network", "domain", "item_type", "schema_url"] {
                let answer = world.nobody().get(&format!("{SCHEMAS}?{name}=a&{name}=a")).send().await;
                faults(&answer, "VALIDATION_ERROR", &[&format!("/{name}")]);
            }
        })
        .await;
}

async fn schema(suite: &mut Suite, world: &World) {
    let mut route = suite.route("GET /api/v1/network/schema/:network/:domain/:itemType");
    let ask = async |network: &str, domain: &str, item_type: &str| {
        world.nobody().get(&format!("/api/v1/network/schema/{network}/{domain}/{item_type}")).send().await
    };
    route
        .case("200: the bare schema that create uses, hints and all", async {
            let answer = ask(NETWORK, STUDENT, PROFILE).await.expect(200);
            assert_eq!(
                answer.body["properties"]["phone"],
                json!({"type": "string", "pattern": "^[0-9]{10}$", "private": true})
            );
            assert_eq!((&answer.body["type"], &answer.body["required"]), (&json!("object"), &json!(["name"])));
        })
        .await;
    route
        .case("404 NETWORK_NOT_FOUND, 403 unserved, 404 ITEM_TYPE_NOT_FOUND, in this order", async {
            ask("elsewhere", TUTOR, "other").await.expect_error(404, "NETWORK_NOT_FOUND");
            unserved(&ask(NETWORK, TUTOR, "other").await, NETWORK, TUTOR, &[STUDENT]);
            ask(NETWORK, STUDENT, "other").await.expect_error(404, "ITEM_TYPE_NOT_FOUND");
        })
        .await;
    route
        .case("percent-encoded segments are decoded", async {
            let encoded = PROFILE.replace('_', "%5F");
            let _schema = ask(NETWORK, STUDENT, &encoded).await.expect(200);
        })
        .await;
}
