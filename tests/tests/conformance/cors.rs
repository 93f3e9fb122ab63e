//! CONTRACT 9.2: which pages of which origins may read our answers. Never an error.

use dpg_tests::network::STUDENT;
use dpg_tests::{Answer, Client};
use reqwest::Method;
use serde_json::json;

use crate::suite::Suite;
use crate::world::World;

const EXPOSED: [&str; 7] =
    ["set-auth-token", "etag", "dpg-position", "dpg-projected", "x-network-partial", "x-request-id", "retry-after"];

fn names(answer: &Answer, header: &str) -> Vec<String> {
    answer.header(header).unwrap_or_default().split(',').map(|name| name.trim().to_lowercase()).collect()
}

#[track_caller]
fn allowed(answer: &Answer, origin: &str) {
    assert_eq!(answer.header("access-control-allow-origin"), Some(origin), "{answer}");
    assert_eq!(answer.header("access-control-allow-credentials"), Some("true"), "{answer}");
    let exposed = names(answer, "access-control-expose-headers");
    assert!(EXPOSED.iter().all(|name| exposed.contains(&(*name).to_owned())), "{exposed:?}");
}

#[track_caller]
fn without(answer: &Answer) {
    let cors = answer.headers.keys().find(|name| name.as_str().starts_with("access-control-"));
    assert!(cors.is_none(), "{cors:?}: {answer}");
}

async fn preflight(client: &Client, path: &str, origin: &str) -> Answer {
    let asked = client.request(Method::OPTIONS, path).header("origin", origin);
    let asked = asked.header("access-control-request-method", "POST");
    asked.header("access-control-request-headers", "authorization, content-type, x-other").send().await
}

pub async fn cases(suite: &mut Suite, world: &World) {
    answers(suite, world).await;
    preflights(suite, world).await;
}

async fn answers(suite: &mut Suite, world: &World) {
    let mut route = suite.route("9.2 CORS");
    let (a, b) = (world.nobody(), world.b.process.client());
    let foreign = world.foreign.url();
    for (name, client, origin, is_allowed) in [
        ("a localhost page of development", &a, "http://localhost:3000", true),
        ("another one", &a, "http://localhost:5173", true),
        ("a third", &a, "http://localhost:2742", true),
        ("an instance of the domain that we serve", &a, foreign.as_str(), true),
        ("our own", &a, world.a_url(), true),
        ("an instance of a domain from which actions come to us", &b, world.a_url(), true),
        ("an instance of a domain that only our actions go to", &a, world.b_url(), false),
        ("a localhost page on another port", &a, "http://localhost:3001", false),
        ("anyone else", &a, "https://evil.example", false),
        ("null", &a, "null", false),
        ("a malformed origin", &a, "not an origin", false),
    ] {
        route
            .case(
                format!("{name}: {}", if is_allowed { "allowed" } else { "no CORS header, served as usual" }),
                async {
                    for path in ["/api/v1/network/schemas", "/api/auth/ok", "/"] {
                        let answer = client.get(path).header("origin", origin).send().await.expect(200);
                        if is_allowed { allowed(&answer, origin) } else { without(&answer) }
                    }
                },
            )
            .await;
    }
    route.case("no origin: no CORS header", async { without(&a.get("/").send().await.expect(200)) }).await;
    route
        .case("errors carry the headers too: 400, 401, 404, 405", async {
            let origin = "http://localhost:3000";
            for (method, path, status) in [
                (Method::GET, "/api/v1/item/fetch", 401),
                (Method::GET, "/nothing", 404),
                (Method::PUT, "/api/v1/item/create", 405),
                (Method::GET, "/api/v1/network/schemas?network=a&network=b", 400),
            ] {
                let answer = a.request(method, path).header("origin", origin).send().await.expect(status);
                allowed(&answer, origin);
            }
        })
        .await;
    route
        .case("Bearer works from any origin of the list, the cookie's rule is another", async {
            let page = world.asha.items(STUDENT, "").header("origin", &foreign).send().await.expect(200);
            allowed(&page, &foreign);
            let page = world.asha.items(STUDENT, "").header("origin", "https://evil.example").send().await.expect(200);
            without(&page);
        })
        .await;
}

async fn preflights(suite: &mut Suite, world: &World) {
    let mut route = suite.route("9.2 CORS");
    let a = world.nobody();
    route
        .case("preflight of an allowed origin: 204, methods, the requested headers echoed, vary", async {
            for path in ["/api/v1/item/create", "/api/auth/sign-out", "/nothing"] {
                let answer = preflight(&a, path, "http://localhost:3000").await.expect(204);
                assert_eq!(answer.header("access-control-allow-origin"), Some("http://localhost:3000"));
                assert_eq!(answer.header("access-control-allow-credentials"), Some("true"));
                let methods = names(&answer, "access-control-allow-methods");
                for method in ["get", "post", "put", "delete", "options", "patch"] {
                    assert!(methods.contains(&method.to_owned()), "{methods:?}");
                }
                let headers = names(&answer, "access-control-allow-headers");
                for header in ["authorization", "content-type", "x-other"] {
                    assert!(headers.contains(&header.to_owned()), "{headers:?}");
                }
                let lines: Vec<&str> =
                    answer.headers.get_all("vary").iter().filter_map(|line| line.to_str().ok()).collect();
                let vary = lines.join(",").to_lowercase();
                assert!(vary.contains("origin") && vary.contains("access-control-request-headers"), "{vary}");
            }
        })
        .await;
    route
        .case("preflight of another origin: 204 without CORS headers", async {
            for origin in ["https://evil.example", "null"] {
                without(&preflight(&a, "/api/v1/item/create", origin).await.expect(204));
            }
        })
        .await;
    route
        .case("a session that starts is readable: set-auth-token is exposed", async {
            let address = crate::auth_codes::email();
            let _sent =
                crate::auth_codes::post(&a, crate::auth_codes::REQUEST, &json!({"email": address})).await.expect(200);
            let body = json!({"email": address, "otp": "000000"});
            let answer = a
                .post(crate::auth_codes::VERIFY)
                .json(&body)
                .header("origin", "http://localhost:3000")
                .send()
                .await
                .expect(200);
            allowed(&answer, "http://localhost:3000");
        })
        .await;
}
