//! CONTRACT 4.22 and 13.1: a provider scores two items; what it is sent is signed.

use dpg_tests::network::{NETWORK, PROFILE, STUDENT};
use dpg_tests::peer::Reply;
use dpg_tests::signature::hmac_hex;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::shapes::{Is, exactly, faults};
use crate::suite::Suite;
use crate::world::{SCORING_SECRET, World};

const PATH: &str = "/api/v1/match-score/calculate";

fn snapshot(state: Value) -> Value {
    json!({"item_network": NETWORK, "item_domain": STUDENT, "item_type": PROFILE, "item_id": Uuid::new_v4(),
           "item_instance_url": "https://a.example.org", "item_schema_url": "https://a.example.org/s", "item_state": state,
           "item_latitude": 18.5, "item_longitude": 73.8})
}

pub async fn cases(suite: &mut Suite, world: &World) {
    let mut route = suite.route("POST /api/v1/match-score/calculate");
    let body = json!({"itemA": snapshot(json!({"name": "Asha"})), "itemB": snapshot(json!(["any", "JSON"]))});
    route
        .case("200: every field of the provider's answer in its place", async {
            let answer = world.asha.post(PATH).json(&body).send().await.expect(200);
            exactly(
                &answer.body,
                &[
                    ("provider", Is::Text),
                    ("score", Is::Number),
                    ("band", Is::Text),
                    ("confidence", Is::Number),
                    ("version", Is::Text),
                    ("prompt_version", Is::Text),
                    ("model_provider", Is::Text),
                    ("model", Is::Text),
                    ("reasoning", Is::Text),
                    ("signals", Is::List),
                    ("raw_response", Is::Object),
                ],
            );
            for (key, value) in [
                ("provider", json!("dpg_scoring")),
                ("score", json!(7.5)),
                ("prompt_version", json!("3")),
                ("model_provider", json!("x")),
                ("signals", json!([{"name": "subject", "impact": "positive", "summary": "Both name math."}])),
            ] {
                assert_eq!(answer.body[key], value, "{key}: {answer}");
            }
            assert_eq!(answer.body["raw_response"]["extra"], json!(true));
        })
        .await;
    route
        .case("the provider gets both snapshots, signed over method, path, timestamp and nonce", async {
            let _answer = world.asha.post(PATH).json(&body).send().await.expect(200);
            let got = world.scorer.received("/api/v1/scores/match").pop().expect("a request");
            assert_eq!(got.body, body, "version and promptVersion only when set");
            let header = |name: &str| got.headers.iter().find(|(known, _)| known == name).expect(name).1.clone();
            assert_eq!(header("x-dpg-key"), "key-1");
            let text = format!("POST\n/api/v1/scores/match\n{}\n{}", header("x-dpg-timestamp"), header("x-dpg-nonce"));
            let tag = hmac_hex(SCORING_SECRET, &text);
            assert_eq!(header("x-dpg-signature"), format!("sha256={tag}"));
            assert!(
                Uuid::parse_str(&header("x-dpg-nonce")).is_ok() && header("x-dpg-timestamp").parse::<u64>().is_ok()
            );
        })
        .await;
    route
        .case("503 MATCH_SCORE_NOT_CONFIGURED without Retry-After", async {
            let answer = world.ravi.post(PATH).json(&body).send().await;
            answer.expect_error(503, "MATCH_SCORE_NOT_CONFIGURED");
            assert_eq!(answer.header("retry-after"), None);
        })
        .await;
    let wrong = [
        ("/itemA", json!(null)),
        ("/itemA/item_id", json!("x")),
        ("/itemB/item_latitude", json!("1")),
        ("/itemB/item_network", json!(5)),
        ("/itemB/item_instance_url", json!(5)),
    ];
    route.wrong_values(&body, &wrong, async |wrong| world.asha.post(PATH).json(&wrong).send().await).await;
    for key in ["item_latitude", "item_longitude", "item_state", "item_schema_url"] {
        route
            .case(format!("400 VALIDATION_ERROR: {key} is required"), async {
                let mut wrong = body.clone();
                wrong["itemB"].as_object_mut().expect("an object").remove(key);
                let place = format!("/itemB/{key}");
                faults(&world.asha.post(PATH).json(&wrong).send().await, "VALIDATION_ERROR", &[&place]);
            })
            .await;
    }
    for (name, reply) in [
        ("a 500", Reply::json(500, &json!({"message": "secrets"}))),
        ("a 404", Reply::json(404, &json!({}))),
        ("a page", Reply::html(200, "<html>secrets")),
        (
            "a redirect",
            Reply { status: 302, headers: vec![("location", "http://127.0.0.1:1/".to_owned())], body: String::new() },
        ),
    ] {
        route
            .case(format!("502 MATCH_SCORE_SERVICE_UNAVAILABLE: {name}"), async {
                world.scorer.answer(move |_| reply.clone());
                let answer = world.asha.post(PATH).json(&body).send().await;
                answer.expect_error(502, "MATCH_SCORE_SERVICE_UNAVAILABLE");
                assert!(!answer.text.contains("secrets"), "{answer}");
            })
            .await;
    }
    route
        .case("200 with what there is: provider always", async {
            world.scorer.answer(|_| Reply::json(200, &json!({"score": 3})));
            let answer = world.asha.post(PATH).json(&body).send().await.expect(200);
            assert_eq!(answer.body, json!({"provider": "dpg_scoring", "score": 3, "raw_response": {"score": 3}}));
        })
        .await;
}
