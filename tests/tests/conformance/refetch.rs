//! CONTRACT 4.21 and 8.4: the contract is loaded again, and a bad one changes nothing. Comes last, since it changes what
//! the instances run on.

use dpg_tests::network::{NETWORK, STUDENT};
use serde_json::json;

use crate::suite::Suite;
use crate::world::World;

const PATH: &str = "/api/v1/network/refetch_schemas";

pub async fn cases(suite: &mut Suite, world: &World) {
    let mut route = suite.route("POST /api/v1/network/refetch_schemas");
    let nobody = world.nobody();
    let version = async || {
        let ready = nobody.get("/health/ready").send().await.expect(200);
        ready.body["checks"]["contract"]["version"].as_u64().expect("a version")
    };
    route
        .case("200 {refreshed, schema_count}: what was loaded is the next version", async {
            let before = version().await;
            let answer = world.asha.post(PATH).send().await.expect(200);
            let entries = nobody.get("/api/v1/network/schemas").send().await.expect(200);
            assert_eq!(
                answer.body,
                json!({"refreshed": true, "schema_count": entries.body.as_array().expect("a list").len()})
            );
            assert_eq!(version().await, before + 1);
        })
        .await;
    route
        .case("a changed document is in force when the call answers, with the next version", async {
            let before = version().await;
            let page = "http://new.example";
            let changed = world.contract.clone().instance(STUDENT, page);
            let changed = changed.edit(|document| document["x-season"] = json!("winter"));
            let ask = async || nobody.get("/").header("origin", page).send().await.expect(200);
            assert_eq!(ask().await.header("access-control-allow-origin"), None);
            world.a.instance.write_contract(&changed);
            let _answer = world.asha.post(PATH).send().await.expect(200);
            let told = nobody.get(&format!("/api/v1/network/schemas?network={NETWORK}")).send().await.expect(200);
            assert!(told.text.contains("winter"), "{told}");
            assert_eq!(ask().await.header("access-control-allow-origin"), Some(page), "origins are frozen at boot");
            assert_eq!(version().await, before + 1);
        })
        .await;
    route
        .case("502 NETWORK_CONFIG_INVALID with details; the last good one serves on", async {
            let before = version().await;
            let bad = world.contract.clone().edit(|document| {
                document["domains"][0]["item_schemas"]["profile_1.0"]["properties"]["name"] =
                    json!({"type": "no such type"});
                document["actions"]["enrol"]["lifecycle"]["initial"] = json!("unheard-of");
            });
            world.a.instance.write_contract(&bad);
            let answer = world.asha.post(PATH).send().await;
            answer.expect_error(502, "NETWORK_CONFIG_INVALID");
            assert!(answer.body["details"].as_array().is_some_and(|faults| faults.len() >= 2), "all faults: {answer}");
            assert_eq!(version().await, before);
            let _made = world.asha.create(STUDENT, &json!({"name": "Asha"})).send().await.expect(201);
        })
        .await;
    route
        .case("502 when the document is no JSON or not there", async {
            world.a.instance.write_contract_text("{");
            let answer = world.asha.post(PATH).send().await;
            assert_eq!(answer.status, 502, "{answer}");
            assert!(["NETWORK_CONFIG_INVALID", "REMOTE_SCHEMA_FETCH_FAILED"].contains(&answer.code()), "{answer}");
            let _made = world.asha.create(STUDENT, &json!({"name": "Asha"})).send().await.expect(201);
        })
        .await;
}
