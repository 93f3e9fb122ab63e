//! From where the cookie counts (CONTRACT 2.2 and 10.10).

use actix_web::http::Method;
use serde_json::json;

use super::{Bench, refused, request, run, with};

const ASHA: &str = "asha@example.com";

#[actix_web::test]
async fn the_cookie_counts_from_our_own_and_allowed_origins() {
    run(async |t| {
        let cookie = t.sign_in(ASHA).await.cookie();
        for origin in ["https://ui.example.org", "https://a.example.org", "http://localhost:5173"] {
            assert!(t.user(&[("cookie", &cookie), ("origin", origin)]).await.is_ok(), "{origin}");
        }
        for origin in ["https://b.example.org", "null", "", "https://ui.example.org.evil.net", "http://localhost:9999"]
        {
            let headers = [("cookie", cookie.as_str()), ("origin", origin)];
            assert_eq!(t.user(&headers).await, refused(401, "UNAUTHORIZED"), "{origin}");
            let shown = t.get("get-session", &headers).await;
            assert_eq!((shown.status.as_u16(), shown.body.is_null()), (200, true), "{origin}");
            assert_eq!(shown.header("set-cookie"), "", "a foreign page can't sign anybody out");
            t.post("sign-out", &headers, json!({})).await;
            assert_eq!(t.count("select count(*) from sessions").await, 1, "{origin}");
        }
        let twice =
            [("cookie", cookie.as_str()), ("origin", "https://ui.example.org"), ("origin", "https://b.example.org")];
        assert_eq!(t.user(&twice).await, refused(401, "UNAUTHORIZED"));
    })
    .await;
}

#[actix_web::test]
async fn other_origins_use_bearer() {
    run(async |t| {
        let bearer = t.bearer(ASHA).await;
        assert!(t.user(&[("authorization", &bearer), ("origin", "https://b.example.org")]).await.is_ok());
    })
    .await;
}

const POSTS: [&str; 7] = [
    "unified-otp/check-user",
    "unified-otp/request",
    "unified-otp/verify",
    "sign-up/email",
    "sign-in/email",
    "api-key/create",
    "api-key/delete",
];

async fn sign_out(t: &Bench, headers: &[(&str, &str)]) -> (u16, String) {
    let answer = t.send(request(Method::POST, "sign-out", headers)).await;
    (answer.status.as_u16(), answer.body["code"].as_str().unwrap_or_default().to_owned())
}

#[actix_web::test]
async fn a_production_post_by_cookie_needs_an_origin_of_ours() {
    with(
        |options| options.production = true,
        async |t| {
            let cookie = t.sign_in(ASHA).await.cookie();
            assert!(cookie.starts_with("__Secure-better-auth.session_token="));
            let missing = (403, "MISSING_OR_NULL_ORIGIN".to_owned());
            assert_eq!(sign_out(t, &[("cookie", &cookie)]).await, missing);
            assert_eq!(sign_out(t, &[("cookie", &cookie), ("origin", "null")]).await, missing);
            for origin in ["https://b.example.org", "http://localhost:3000"] {
                let refused = (403, "INVALID_ORIGIN".to_owned());
                assert_eq!(sign_out(t, &[("cookie", &cookie), ("origin", origin)]).await, refused);
            }
            for path in POSTS {
                let answer = t.post(path, &[("cookie", &cookie)], json!({})).await;
                assert_eq!(answer.code(), (403, "MISSING_OR_NULL_ORIGIN"), "{path}");
            }
            assert_eq!(t.count("select count(*) from sessions").await, 1);
            let none = sign_out(t, &[]).await;
            assert_eq!(none, (200, String::new()), "without the cookie there is nothing to protect");
            let key = [("cookie", cookie.as_str()), ("origin", "https://ui.example.org")];
            assert_eq!(t.post("api-key/create", &key, json!({"name": "bot"})).await.status, 200);
            let bearer = [("cookie", cookie.as_str()), ("authorization", "Bearer nobody")];
            assert_eq!(sign_out(t, &bearer).await.0, 200);
            assert_eq!(sign_out(t, &[("cookie", &cookie), ("origin", "https://a.example.org")]).await.0, 200);
            assert_eq!(t.count("select count(*) from sessions").await, 0);
        },
    )
    .await;
}
