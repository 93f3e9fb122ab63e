//! What a browser may read (CONTRACT 9.2): pages of the settings and of the contract, and no others.

use dpg_tests::network::{STUDENT, student_state};
use dpg_tests::pair::PairOptions;
use dpg_tests::{Answer, Client, Pair};
use reqwest::Method;

const UI: &str = "https://ui.example.org";
const EVIL: &str = "https://evil.example.org";
const EXPOSED: &str = "set-auth-token, etag, dpg-position, dpg-projected, x-network-partial, x-request-id, retry-after";

#[track_caller]
fn is_readable(answer: &Answer, origin: &str) {
    assert_eq!(answer.header("access-control-allow-origin"), Some(origin), "{answer}");
    assert_eq!(answer.header("access-control-allow-credentials"), Some("true"), "{answer}");
    assert_eq!(answer.header("access-control-expose-headers"), Some(EXPOSED), "{answer}");
    varies(answer);
}

#[track_caller]
fn is_not_readable(answer: &Answer) {
    let granted = answer.headers.keys().find(|name| name.as_str().starts_with("access-control"));
    assert_eq!(granted, None, "{answer}");
    varies(answer);
}

#[track_caller]
fn varies(answer: &Answer) {
    assert!(answer.header("vary").is_some_and(|vary| vary.starts_with("Origin")), "{:?}", answer.headers);
    assert!(answer.header("x-request-id").is_some(), "{:?}", answer.headers);
}

async fn pair() -> Pair {
    let environment = vec![("ALLOWED_ORIGINS", UI.to_owned())];
    Pair::with(PairOptions { environment, ..PairOptions::default() }).await
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_of_the_contract_follow_who_may_act_upon_whom() {
    let pair = pair().await;
    let origins = [&pair.student.instance.url, &pair.tutor.instance.url];
    let asked = async |client: &Client, origin: &str| {
        client.get("/api/v1/network/schemas").header("origin", origin).send().await.expect(200)
    };
    // Students act upon tutors, so the tutors' instance answers pages of both; nobody acts upon students.
    let tutor = pair.tutor.process.client();
    for origin in origins {
        is_readable(&asked(&tutor, origin).await, origin);
    }
    let student = pair.student.process.client();
    is_readable(&asked(&student, origins[0]).await, origins[0]);
    is_not_readable(&asked(&student, origins[1]).await);
    for client in [&student, &tutor] {
        for origin in [UI, "http://localhost:3000", "http://localhost:5173", "http://localhost:2742"] {
            is_readable(&asked(client, origin).await, origin);
        }
        for origin in [EVIL, "null", "http://localhost:3001", &format!("{UI}/"), &UI.to_uppercase()] {
            is_not_readable(&asked(client, origin).await);
        }
        is_not_readable(&client.get("/api/v1/network/schemas").send().await.expect(200));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn refusals_are_readable_too_and_a_foreign_page_is_served_as_usual() {
    let pair = pair().await;
    let client = pair.student.process.client();
    let long = "x".repeat(1_100_000);
    let user = pair.student.sign_up("asha").await;
    for origin in [UI, EVIL] {
        let send = async |request: dpg_tests::client::Request| {
            let answer = request.header("origin", origin).send().await;
            if origin == UI {
                is_readable(&answer, UI)
            } else {
                is_not_readable(&answer)
            }
            answer
        };
        send(client.get("/nothing")).await.expect_error(404, "NOT_FOUND");
        send(client.get("/api/auth/nothing")).await.expect_error(404, "NOT_FOUND");
        let refused = send(client.delete("/api/v1/item/create")).await;
        refused.expect_error(405, "METHOD_NOT_ALLOWED");
        assert_eq!(refused.header("allow"), Some("POST, OPTIONS"));
        send(client.get("/api/v1/action/fetch")).await.expect_error(401, "UNAUTHORIZED");
        let post = || client.post("/api/auth/unified-otp/request");
        send(post().raw("application/json", long.clone())).await.expect_error(413, "PAYLOAD_TOO_LARGE");
        send(post().raw("text/plain", "{}")).await.expect_error(415, "UNSUPPORTED_MEDIA_TYPE");
        send(post().raw("application/json", "{")).await.expect_error(400, "INVALID_JSON");
        assert!(send(client.get("/metrics")).await.expect(200).text.contains("dpg_http_requests_total"));
        // A bearer token works from any page; what a page may read is the browser's business.
        let made = send(user.create(STUDENT, &student_state("Asha", "hidden"))).await.expect(201);
        assert!(made.header("dpg-position").is_some() && made.header("etag").is_some(), "{made}");
        let path = format!("/api/v1/item/{}", made.text_at("item_id"));
        let gone = send(user.delete(&path)).await.expect(204);
        assert!(gone.text.is_empty());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_preflight_is_never_an_error() {
    let pair = pair().await;
    let client = pair.tutor.process.client();
    for path in ["/api/v1/item/create", "/api/auth/sign-out", "/metrics", "/", "/nothing"] {
        for origin in [UI, EVIL] {
            let answer = client
                .request(Method::OPTIONS, path)
                .header("origin", origin)
                .header("access-control-request-method", "POST")
                .header("access-control-request-headers", "authorization,content-type,dpg-min-position")
                .send()
                .await
                .expect(204);
            assert_eq!(answer.header("vary"), Some("Origin, Access-Control-Request-Headers"));
            if origin == EVIL {
                is_not_readable(&answer);
                continue;
            }
            is_readable(&answer, UI);
            assert_eq!(answer.header("access-control-allow-methods"), Some("GET, POST, PUT, DELETE, OPTIONS, PATCH"));
            let echoed = answer.header("access-control-allow-headers");
            assert_eq!(echoed, Some("authorization,content-type,dpg-min-position"));
        }
    }
    for (path, allow) in [
        ("/", "GET, HEAD, OPTIONS"),
        ("/health/live", "GET, HEAD, OPTIONS"),
        ("/api/auth/sign-in/email", "POST, OPTIONS"),
        ("/api/v1/item/x", "PATCH, DELETE, OPTIONS"),
        ("/api/v1/match-score/calculate", "POST, OPTIONS"),
    ] {
        let answer = client.request(Method::OPTIONS, path).header("origin", UI).send().await.expect(204);
        assert_eq!(answer.header("allow"), Some(allow), "{path}");
        is_readable(&answer, UI);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn localhost_pages_go_with_development() {
    let environment = vec![("NODE_ENV", "production".to_owned())];
    let pair = Pair::with(PairOptions { environment, ..PairOptions::default() }).await;
    let client = pair.student.process.client();
    let own = &pair.student.instance.url;
    is_readable(&client.get("/").header("origin", own).send().await.expect(200), own);
    is_not_readable(&client.get("/").header("origin", "http://localhost:3000").send().await.expect(200));
}
