//! Sessions: bearer, cookie, time, and their end (trap 39).

use actix_web::http::Method;
use actix_web::test::TestRequest;
use dpg_eventstore::{Database, SessionOptions};
use serde_json::json;

use super::{Mailbox, options, refused, request, run, verdict, with};
use crate::auth::Authenticator;
use crate::http::Form;

const ASHA: &str = "asha@example.com";

#[actix_web::test]
async fn a_bearer_token_is_bare_or_rightly_signed() {
    run(async |t| {
        let signed_in = t.sign_in(ASHA).await;
        let id = signed_in.body["user"]["id"].as_str().unwrap().to_owned();
        let token = signed_in.body["token"].as_str().unwrap();
        let signed = signed_in.header("set-auth-token");
        for good in [format!("Bearer {token}"), format!("bEARER {signed}")] {
            assert_eq!(t.user(&[("authorization", &good)]).await, Ok(id.clone()), "{good}");
        }
        let cookie = signed_in.cookie();
        for bad in [
            format!("Bearer {token}.AAAA"),
            "Bearer ".to_owned(),
            "Bearer".to_owned(),
            "Bearer x".to_owned(),
            "Bearer é".to_owned(),
        ] {
            // A bearer token that is there decides alone.
            let headers = [("authorization", bad.as_str()), ("cookie", cookie.as_str())];
            assert_eq!(t.user(&headers).await, refused(401, "UNAUTHORIZED"), "{bad}");
        }
        assert_eq!(t.user(&[("cookie", &cookie)]).await, Ok(id.clone()));
        let unsigned = format!("better-auth.session_token={token}");
        assert_eq!(t.user(&[("cookie", &unsigned)]).await, refused(401, "UNAUTHORIZED"));
        assert_eq!(t.user(&[]).await, refused(401, "UNAUTHORIZED"));
        assert_eq!(t.count("select count(*) from sessions where position('x' in user_id) = 0").await, 1);
    })
    .await;
}

#[actix_web::test]
async fn an_ended_session_is_over_at_once_in_every_process() {
    run(async |t| {
        let other = t.another_process(|_| {});
        let signed_in = t.sign_in(ASHA).await;
        let (cookie, bearer) = (signed_in.cookie(), format!("Bearer {}", signed_in.body["token"].as_str().unwrap()));
        for _ in 0..3 {
            assert!(verdict(&other, &[("authorization", &bearer)]).await.is_ok());
        }
        let out = t.send(request(Method::POST, "sign-out", &[("authorization", &bearer)])).await;
        assert_eq!((out.status.as_u16(), &out.body), (200, &json!({"success": true})));
        assert!(out.header("set-cookie").starts_with("better-auth.session_token=; Path=/; HttpOnly; Max-Age=0"));
        for headers in [[("authorization", bearer.as_str())], [("cookie", cookie.as_str())]] {
            assert_eq!(t.user(&headers).await, refused(401, "UNAUTHORIZED"));
            assert_eq!(verdict(&other, &headers).await, refused(401, "UNAUTHORIZED"));
            assert!(t.get("get-session", &headers).await.body.is_null());
        }
        // By cookie, with a body, and again without a session.
        let cookie = t.sign_in(ASHA).await.cookie();
        for _ in 0..2 {
            let out = t.post("sign-out", &[("cookie", &cookie)], json!({})).await;
            assert_eq!(out.body, json!({"success": true}));
            assert_eq!(t.count("select count(*) from sessions").await, 0);
        }
    })
    .await;
}

#[actix_web::test]
async fn a_session_is_extended_once_a_day_and_ends_in_time() {
    run(async |t| {
        let bearer = t.bearer(ASHA).await;
        let headers = [("authorization", bearer.as_str())];
        let left = "select round(extract(epoch from expires_at - now()) / 3600)::bigint from sessions";
        assert_eq!(t.count(left).await, 7 * 24);
        t.sql("update sessions set expires_at = expires_at - interval '23 hours', updated_at = updated_at - interval '23 hours'").await;
        t.user(&headers).await.unwrap();
        assert_eq!(t.count(left).await, 6 * 24 + 1, "not yet a day");
        t.sql("update sessions set expires_at = expires_at - interval '2 hours', updated_at = updated_at - interval '2 hours'").await;
        t.user(&headers).await.unwrap();
        assert_eq!(t.count(left).await, 7 * 24);
        t.sql("update sessions set expires_at = now() - interval '1 s', updated_at = now() - interval '2 days'").await;
        assert_eq!(t.user(&headers).await, refused(401, "UNAUTHORIZED"));
        assert!(t.get("get-session", &headers).await.body.is_null());
    })
    .await;
}

#[actix_web::test]
async fn without_remember_me_a_session_lasts_a_day() {
    run(async |t| {
        let otp = t.code(ASHA).await;
        let body = json!({"email": ASHA, "otp": otp, "rememberMe": false});
        let signed_in = t.post("unified-otp/verify", &[], body).await;
        assert!(!signed_in.header("set-cookie").contains("Max-Age"));
        let cookie = signed_in.cookie();
        let hours = "select round(extract(epoch from expires_at - updated_at) / 3600)::bigint from sessions";
        assert_eq!(t.count(hours).await, 24);
        t.sql("update sessions set updated_at = now() - interval '25 hours', expires_at = now() + interval '1 hour'")
            .await;
        assert!(t.user(&[("cookie", &cookie)]).await.is_ok());
        assert_eq!(t.get("get-session", &[("cookie", &cookie)]).await.header("set-cookie"), "");
        assert_eq!(t.count(hours).await, 26, "no extension");
    })
    .await;
}

#[actix_web::test]
async fn get_session_shows_the_session_and_nothing_of_the_request() {
    run(async |t| {
        let none = t.get("get-session", &[]).await;
        assert_eq!((none.status.as_u16(), none.body.is_null()), (200, true));
        assert!(none.header("set-cookie").contains("Max-Age=0"));
        let signed_in = t.sign_in(ASHA).await;
        let headers = [("cookie", &*signed_in.cookie()), ("user-agent", "Mozilla"), ("x-secret", "mine")];
        let shown = t.get("get-session", &headers).await;
        assert_eq!(shown.body["user"], signed_in.body["user"]);
        let session = &shown.body["session"];
        assert_eq!(session["token"], signed_in.body["token"]);
        assert_eq!(session["userId"], signed_in.body["user"]["id"]);
        for key in ["id", "expiresAt", "createdAt", "updatedAt"] {
            assert!(session[key].is_string(), "{key}");
        }
        assert_eq!((&session["ipAddress"], &session["userAgent"]), (&json!(""), &json!("")));
        assert!(!shown.body.to_string().contains("Mozilla") && !shown.body.to_string().contains("mine"));
        assert!(shown.header("set-cookie").starts_with(&signed_in.cookie()), "the cookie lives on with the session");

        let key = t.key(&format!("Bearer {}", signed_in.body["token"].as_str().unwrap())).await;
        let by_key = t.get("get-session", &[("x-api-key", key["key"].as_str().unwrap())]).await;
        assert_eq!(by_key.body, json!({"session": null, "user": signed_in.body["user"]}));
        let bad = [("x-api-key", "no key"), ("cookie", &*signed_in.cookie())];
        assert_eq!(t.get("get-session", &bad).await.code(), (403, "INVALID_API_KEY"));
        let wrong = [("authorization", "Bearer nobody"), ("cookie", &*signed_in.cookie())];
        assert!(t.get("get-session", &wrong).await.body.is_null());
    })
    .await;
}

#[actix_web::test]
async fn refusals_have_the_form_of_their_tier() {
    run(async |t| {
        let request = TestRequest::default().to_http_request();
        let refusal = t.auth.user(request.headers()).await.unwrap_err();
        assert_eq!((refusal.form, refusal.status.as_u16()), (Form::User, 401));
        let request = TestRequest::default().append_header(("x-api-key", "")).to_http_request();
        let refusal = t.auth.user(request.headers()).await.unwrap_err();
        assert_eq!((refusal.form, refusal.status.as_u16(), &*refusal.code), (Form::User, 403, "INVALID_API_KEY"));
        assert_eq!(t.get("nothing", &[]).await.code(), (404, "NOT_FOUND"));
        assert_eq!(t.get("sign-out", &[]).await.code(), (405, "METHOD_NOT_ALLOWED"));
        assert_eq!(t.get("ok", &[]).await.body, json!({"ok": true}));
        let text = request_with_body("unified-otp/request", "text/plain", "{}");
        assert_eq!(t.send(text).await.code(), (415, "UNSUPPORTED_MEDIA_TYPE"));
        let broken = request_with_body("unified-otp/request", "application/json", "{");
        assert_eq!(t.send(broken).await.code(), (400, "INVALID_JSON"));
        let long = request_with_body("unified-otp/request", "application/json", "{}");
        assert_eq!(t.send(long.insert_header(("content-length", "2000000"))).await.code(), (413, "PAYLOAD_TOO_LARGE"));
    })
    .await;
}

fn request_with_body(path: &str, media: &str, body: &str) -> TestRequest {
    request(Method::POST, path, &[("content-type", media)]).set_payload(body.to_owned())
}

#[actix_web::test]
async fn development_may_let_requests_through_without_a_user() {
    let anonymous = TestRequest::default().to_http_request();
    let bad_key = TestRequest::default().append_header(("x-api-key", "no key")).to_http_request();
    let bad_token = TestRequest::default().append_header(("authorization", "Bearer nobody")).to_http_request();
    with(
        |options| options.auth_middleware_enabled = false,
        async |t| {
            assert_eq!(t.auth.optional(anonymous.headers()).await.unwrap(), None);
            assert_eq!(t.auth.optional(bad_token.headers()).await.unwrap(), None);
            assert_eq!(t.auth.optional(bad_key.headers()).await.unwrap_err().status, 403);
            assert_eq!(t.auth.user(anonymous.headers()).await.unwrap_err().status, 401);
            let bearer = t.bearer(ASHA).await;
            let signed_in = TestRequest::default().append_header(("authorization", bearer)).to_http_request();
            assert!(t.auth.optional(signed_in.headers()).await.unwrap().is_some());
            let production = t.another_process(|options| {
                (options.production, options.auth_middleware_enabled) = (true, false);
            });
            assert_eq!(production.optional(anonymous.headers()).await.unwrap_err().status, 401);
        },
    )
    .await;
    run(async |t| assert_eq!(t.auth.optional(anonymous.headers()).await.unwrap_err().status, 401)).await;
}

#[actix_web::test]
async fn with_the_database_away_the_answer_is_503() {
    let database = Database::open("postgres://nobody@127.0.0.1:1/none", &SessionOptions::new("t", 1)).unwrap();
    let auth = Authenticator::start(database, options(&std::sync::Arc::<Mailbox>::default())).unwrap();
    for header in [("x-api-key", "any"), ("authorization", "Bearer any")] {
        let request = TestRequest::default().append_header(header).to_http_request();
        let refusal = auth.user(request.headers()).await.unwrap_err();
        assert_eq!((refusal.status.as_u16(), &*refusal.code, refusal.form), (503, "SERVICE_UNAVAILABLE", Form::Plain));
        assert_eq!(refusal.retry_after, Some(1));
    }
}
