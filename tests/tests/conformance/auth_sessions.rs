//! CONTRACT 10.4, 10.5, 10.9 and 2.2 to 2.3: sessions, and what a token or a cookie is worth.

use dpg_tests::Answer;
use dpg_tests::network::STUDENT;
use serde_json::json;

use crate::auth_codes::{REQUEST, VERIFY, email, post};
use crate::shapes::{Is, keys, user};
use crate::suite::Suite;
use crate::world::World;

pub async fn cases(suite: &mut Suite, world: &World) {
    sessions(suite, world).await;
    credentials(suite, world).await;
}

async fn sessions(suite: &mut Suite, world: &World) {
    let mut route = suite.route("GET /api/auth/get-session");
    route
        .case("200 with session and user; headers are not echoed", async {
            let asked = world.asha.get("/api/auth/get-session").header("user-agent", "a marker of ours");
            let answer = asked.send().await.expect(200);
            keys(
                &answer.body["session"],
                &[
                    ("id", Is::Id),
                    ("token", Is::Text),
                    ("userId", Is::Text),
                    ("expiresAt", Is::Time),
                    ("createdAt", Is::Time),
                    ("updatedAt", Is::Time),
                    ("ipAddress", Is::AnyText),
                    ("userAgent", Is::AnyText),
                ],
            );
            user(&answer.body["user"]);
            assert_eq!(answer.body["session"]["token"], json!(world.asha.token));
            assert_eq!(answer.body["session"]["userId"], answer.body["user"]["id"]);
            assert!(!answer.text.contains("a marker of ours"), "{answer}");
        })
        .await;
    route
        .case("200 null without a session, and the cookie is cleared", async {
            let cookie = "better-auth.session_token=nonsense.signature";
            for asked in [
                world.nobody().get("/api/auth/get-session"),
                world.nobody().get("/api/auth/get-session").header("cookie", cookie),
            ] {
                let answer = asked.send().await.expect(200);
                assert_eq!(answer.text, "null");
                let cleared = answer.header("set-cookie").unwrap_or_default();
                assert!(cleared.contains("better-auth.session_token=;") && cleared.contains("Max-Age=0"), "{cleared}");
            }
        })
        .await;
    route
        .case("with an API key: session null; a bad key is 403", async {
            let answer = world.admin_key.get("/api/auth/get-session").send().await.expect(200);
            assert_eq!(answer.body["session"], json!(null));
            assert_eq!(answer.body["user"]["id"], json!(world.admin.id));
            let bad = world.nobody().key("nonsense").get("/api/auth/get-session").send().await;
            bad.expect_error(403, "INVALID_API_KEY");
        })
        .await;
    let mut route = suite.route("POST /api/auth/sign-out");
    route
        .case("200 with no body, an empty one or {}, with or without a session", async {
            let leaver = world.a.sign_up("leaver").await;
            let answer = leaver.post("/api/auth/sign-out").send().await.expect(200);
            assert_eq!(answer.body, json!({"success": true}));
            assert!(answer.header("set-cookie").unwrap_or_default().contains("Max-Age=0"), "{answer}");
            for asked in [
                world.nobody().post("/api/auth/sign-out").json(&json!({})),
                world.nobody().post("/api/auth/sign-out").raw("application/json", ""),
            ] {
                assert_eq!(asked.send().await.expect(200).body, json!({"success": true}));
            }
        })
        .await;
    route
        .case("takes effect at once for Bearer and cookie", async {
            let leaver = world.a.sign_up("leaver").await;
            let signed = signed_token(&leaver, world).await;
            let _out = leaver.post("/api/auth/sign-out").send().await.expect(200);
            leaver.items(STUDENT, "").send().await.expect_error(401, "UNAUTHORIZED");
            by_cookie(world, &signed).await.expect_error(401, "UNAUTHORIZED");
        })
        .await;
    let mut route = suite.route("GET /api/auth/ok");
    route
        .case("200 {ok: true}", async {
            assert_eq!(world.nobody().get("/api/auth/ok").send().await.expect(200).body, json!({"ok": true}));
        })
        .await;
}

/// `token.signature` of another session of the same person.
async fn signed_token(person: &dpg_tests::User, world: &World) -> String {
    let nobody = world.nobody();
    let _sent = post(&nobody, REQUEST, &json!({"email": person.email})).await.expect(200);
    let answer = post(&nobody, VERIFY, &json!({"email": person.email, "otp": "000000"})).await.expect(200);
    let signed = answer.header("set-auth-token").expect("a token").to_owned();
    let _out = nobody.bearer(answer.body["token"].as_str().expect("a token")).post("/api/auth/sign-out").send().await;
    signed
}

async fn by_cookie(world: &World, signed: &str) -> Answer {
    let encoded: String = url::form_urlencoded::byte_serialize(signed.as_bytes()).collect();
    let cookie = format!("other=1; better-auth.session_token={encoded}");
    world
        .nobody()
        .get(&format!("/api/v1/item/fetch?item_network=open_lessons&item_domain={STUDENT}"))
        .header("cookie", &cookie)
        .send()
        .await
}

async fn credentials(suite: &mut Suite, world: &World) {
    let mut route = suite.route("2.2 user tier");
    let path = format!("/api/v1/item/fetch?item_network=open_lessons&item_domain={STUDENT}");
    let signed = std::cell::RefCell::new((String::new(), String::new()));
    route
        .case("Bearer takes the bare token and token.signature, the scheme in any case", async {
            let address = email();
            let _sent = post(&world.nobody(), REQUEST, &json!({"email": address})).await.expect(200);
            let answer = post(&world.nobody(), VERIFY, &json!({"email": address, "otp": "000000"})).await.expect(200);
            let (token, whole) = (answer.text_at("token"), answer.header("set-auth-token").expect("it").to_owned());
            for value in [format!("Bearer {token}"), format!("bearer {token}"), format!("BEARER {whole}")] {
                let _page = world.nobody().get(&path).header("authorization", &value).send().await.expect(200);
            }
            *signed.borrow_mut() = (token, whole);
        })
        .await;
    let (token, whole) = signed.take();
    route
        .case("a wrong signature is 401", async {
            for value in [
                format!("Bearer {token}.AAAA"),
                format!("Bearer {token}."),
                "Bearer".to_owned(),
                "Bearer ".to_owned(),
                "Basic YTpi".to_owned(),
            ] {
                let answer = world.nobody().get(&path).header("authorization", &value).send().await;
                answer.expect_error(401, "UNAUTHORIZED");
            }
        })
        .await;
    route
        .case("the cookie counts without an Origin, and with our own", async {
            let _page = by_cookie(world, &whole).await.expect(200);
            let encoded: String = url::form_urlencoded::byte_serialize(whole.as_bytes()).collect();
            let cookie = format!("better-auth.session_token={encoded}");
            for (origin, status) in [
                (world.a_url(), 200),
                ("http://localhost:5173", 200),
                ("http://evil.example", 401),
                (world.b_url(), 401),
            ] {
                let asked = world.nobody().get(&path).header("cookie", &cookie).header("origin", origin);
                let answer = asked.send().await;
                assert_eq!(answer.status, status, "{origin}: {answer}");
            }
        })
        .await;
    route
        .case("the cookie's signature is always checked", async {
            for value in [token.clone(), format!("{token}.AAAA"), String::new()] {
                by_cookie(world, &value).await.expect_error(401, "UNAUTHORIZED");
            }
        })
        .await;
    route
        .case("Bearer alone decides when present", async {
            let encoded: String = url::form_urlencoded::byte_serialize(whole.as_bytes()).collect();
            let cookie = format!("better-auth.session_token={encoded}");
            let asked = world.nobody().get(&path).header("cookie", &cookie).header("authorization", "Bearer nonsense");
            asked.send().await.expect_error(401, "UNAUTHORIZED");
        })
        .await;
    route
        .case("a session of one instance means nothing on another", async {
            world.asha.at(world.b_url()).get("/api/v1/action/fetch").send().await.expect_error(401, "UNAUTHORIZED");
        })
        .await;
    route
        .case("the refusal has code and error", async {
            let answer = world.nobody().get(&path).send().await;
            assert_eq!((&answer.body["code"], &answer.body["error"]), (&json!("UNAUTHORIZED"), &json!("Unauthorized")));
            let answer = world.nobody().key("").get(&path).send().await;
            assert_eq!((&answer.body["code"], &answer.body["error"]), (&json!("INVALID_API_KEY"), &json!("Forbidden")));
        })
        .await;
}
