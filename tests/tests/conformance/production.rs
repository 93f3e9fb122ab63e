//! What production does otherwise: cookies, origins, delivery of codes, limits per address (CONTRACT 2.3, 9.2, 10.2, 10.10,
//! 1.11 and 13.2).

use dpg_tests::network::STUDENT;
use dpg_tests::peer::{Peer, Reply};
use dpg_tests::signature::hmac_hex;
use dpg_tests::{Answer, Client, Contract, Instance, Node};
use serde_json::json;

use crate::auth_codes::{CHECK, REQUEST, VERIFY, email, phone, post};
use crate::suite::Suite;
use crate::world::World;

const PAGE: &str = "https://ui.example.org";

async fn start(more: impl FnOnce(Instance) -> Instance) -> Node {
    Node::both_with(Contract::new(), |instance| {
        let instance = instance.set("INSTANCE_ENV", "production").set("CREATE_TEST_OTP", "false");
        more(instance.set("ALLOWED_ORIGINS", PAGE).set("NODE_ENV", "production"))
    })
    .await
}

pub async fn cases(suite: &mut Suite, _world: &World) {
    let notifier = Peer::start(|_| Reply::json(200, &json!({"ok": true}))).await;
    let mut nodes = None;
    let mut route = suite.route("(instances)");
    route
        .case("two production instances start", async {
            let alone = start(|instance| instance).await;
            let notifying = start(|instance| {
                (instance.set("NOTIFICATION_SERVICE_ENDPOINT", &format!("{}/some/path", notifier.url())))
                    .set("NOTIFICATION_SERVICE_KEY_ID", "key-1")
                    .set("NOTIFICATION_SERVICE_SECRET", "topsecret")
            })
            .await;
            nodes = Some((alone, notifying));
        })
        .await;
    let Some((alone, notifying)) = nodes else { return };
    delivery(suite, &alone, &notifying, &notifier).await;
    cookies(suite, &notifying, &notifier).await;
    origins(suite, &notifying, &notifier).await;
    limits(suite, &alone).await;
}

/// The code that the notifier was last given for an identifier.
fn code(notifier: &Peer, to: &str) -> String {
    let got = notifier.received("/notify").into_iter().rev().find(|got| got.body["to"] == json!(to)).expect("a code");
    let text = got.body["variables"].to_string();
    let digits: Vec<&str> =
        text.split(|letter: char| !letter.is_ascii_digit()).filter(|part| part.len() == 6).collect();
    assert_eq!(digits.len(), 1, "one code of six digits: {text}");
    digits[0].to_owned()
}

async fn delivery(suite: &mut Suite, alone: &Node, notifying: &Node, notifier: &Peer) {
    let mut route = suite.route("POST /api/auth/unified-otp/request");
    let client = notifying.process.client();
    route
        .case("production without a notification service: 503 OTP_DELIVERY_UNAVAILABLE", async {
            let answer = post(&alone.process.client(), REQUEST, &json!({"email": email()})).await;
            answer.expect_error(503, "OTP_DELIVERY_UNAVAILABLE");
        })
        .await;
    route
        .case("delivered by e-mail and by SMS, signed; the code is in no answer", async {
            let (address, number) = (email(), phone());
            for body in [json!({"email": address}), json!({"phoneNumber": number})] {
                let sent = post(&client, REQUEST, &body).await.expect(200);
                let to = body["email"].as_str().or(body["phoneNumber"].as_str()).expect("an identifier");
                assert!(!sent.text.contains(&code(notifier, to)), "{sent}");
            }
            for got in notifier.received("/notify") {
                let header = |name: &str| got.headers.iter().find(|(known, _)| known == name).expect(name).1.clone();
                assert_eq!(header("x-ns-key"), "key-1");
                let text = format!("POST\n/notify\n{}\n{}", header("x-ns-timestamp"), header("x-ns-nonce"));
                let tag = hmac_hex("topsecret", &text);
                assert_eq!(header("x-ns-signature"), format!("v1={tag}"));
                assert_eq!(header("x-ns-nonce").len(), 32);
                let (channel, template) = (got.body["channel"].as_str(), got.body["template_id"].as_str());
                assert!(
                    [(Some("sms"), Some("login_otp")), (Some("email"), Some("basic_email"))]
                        .contains(&(channel, template))
                );
                assert_eq!(got.body["priority"], json!("realtime"));
            }
        })
        .await;
    route
        .case("502 OTP_DELIVERY_FAILED: the code is void", async {
            let address = email();
            notifier.answer(|_| Reply::json(500, &json!({})));
            let answer = post(&client, REQUEST, &json!({"email": address})).await;
            answer.expect_error(502, "OTP_DELIVERY_FAILED");
            notifier.answer(|_| Reply::json(200, &json!({})));
            let body = json!({"email": address, "otp": code(notifier, &address)});
            post(&client, VERIFY, &body).await.expect_error(400, "INVALID_OTP");
        })
        .await;
}

async fn sign_in(node: &Node, notifier: &Peer) -> (Answer, String) {
    let (client, address) = (node.process.client(), email());
    let _sent = post(&client, REQUEST, &json!({"email": address})).await.expect(200);
    let body = json!({"email": address, "otp": code(notifier, &address)});
    let answer = post(&client, VERIFY, &body).await.expect(200);
    let cookie = answer.header("set-cookie").expect("a cookie").split(';').next().unwrap_or_default().to_owned();
    (answer, cookie)
}

async fn cookies(suite: &mut Suite, node: &Node, notifier: &Peer) {
    let mut route = suite.route("2.3 sessions");
    route
        .case("the production cookie: __Secure-, Secure, SameSite=None, Partitioned", async {
            let (answer, _) = sign_in(node, notifier).await;
            let cookie = answer.header("set-cookie").unwrap_or_default();
            for part in [
                "__Secure-better-auth.session_token=",
                "Path=/",
                "HttpOnly",
                "Max-Age=604800",
                "Secure",
                "SameSite=None",
                "Partitioned",
            ] {
                assert!(cookie.contains(part), "{part}: {cookie}");
            }
        })
        .await;
    route
        .case("a code that was used, or 000000, proves nothing", async {
            let (client, address) = (node.process.client(), email());
            let _sent = post(&client, REQUEST, &json!({"email": address})).await.expect(200);
            if code(notifier, &address) != "000000" {
                post(&client, VERIFY, &json!({"email": address, "otp": "000000"}))
                    .await
                    .expect_error(400, "INVALID_OTP");
            }
        })
        .await;
}

async fn origins(suite: &mut Suite, node: &Node, notifier: &Peer) {
    let mut route = suite.route("10.10 origin check");
    let client: Client = node.process.client();
    let own = node.instance.url.clone();
    for (name, origin, status, code) in [
        ("missing", None, 403, "MISSING_OR_NULL_ORIGIN"),
        ("null", Some("null"), 403, "MISSING_OR_NULL_ORIGIN"),
        ("another", Some("https://evil.example"), 403, "INVALID_ORIGIN"),
        ("localhost", Some("http://localhost:3000"), 403, "INVALID_ORIGIN"),
        ("ALLOWED_ORIGINS", Some(PAGE), 200, ""),
        ("our own", Some(own.as_str()), 200, ""),
    ] {
        route
            .case(format!("a POST with the cookie, origin {name}: {status} {code}"), async {
                let (_, cookie) = sign_in(node, notifier).await;
                let asked = client.post("/api/auth/sign-out").header("cookie", &cookie);
                let asked = match origin {
                    Some(origin) => asked.header("origin", origin),
                    None => asked,
                };
                let answer = asked.send().await;
                if status == 200 {
                    assert_eq!(answer.body, json!({"success": true}), "{answer}");
                } else {
                    answer.expect_error(status, code);
                }
            })
            .await;
    }
    route
        .case("a GET with the cookie from another origin is answered as signed out", async {
            let (_, cookie) = sign_in(node, notifier).await;
            let ask = async |path: &str, origin: &str| {
                client.get(path).header("cookie", &cookie).header("origin", origin).send().await
            };
            assert_eq!(ask("/api/auth/get-session", "https://evil.example").await.expect(200).text, "null");
            assert!(ask("/api/auth/get-session", PAGE).await.expect(200).body["user"].is_object());
            let path = format!("/api/v1/item/fetch?item_network=open_lessons&item_domain={STUDENT}");
            ask(&path, "https://evil.example").await.expect_error(401, "UNAUTHORIZED");
            let _page = ask(&path, PAGE).await.expect(200);
        })
        .await;
    let mut route = suite.route("9.2 CORS");
    route
        .case("production has no localhost origins", async {
            let answer = client.get("/").header("origin", "http://localhost:3000").send().await.expect(200);
            assert_eq!(answer.header("access-control-allow-origin"), None);
            let answer = client.get("/").header("origin", PAGE).send().await.expect(200);
            assert_eq!(answer.header("access-control-allow-origin"), Some(PAGE));
        })
        .await;
}

async fn limits(suite: &mut Suite, node: &Node) {
    let mut route = suite.route("1.11 rate limits");
    route
        .case("100 sign-in calls per address in 15 minutes, then 429 with Retry-After on all of them", async {
            let client = node.process.client();
            let mut statuses = Vec::new();
            for _ in 0..101 {
                statuses.push(post(&client, CHECK, &json!({"email": email()})).await.status);
            }
            let passed = statuses.iter().filter(|status| **status == 200).count();
            // One code was asked for above, from this address.
            assert!(passed == 99 && statuses[100] == 429, "{passed} of {statuses:?}");
            let password = json!({"email": email(), "password": "correct horse", "name": "x"});
            for (path, body) in [
                (REQUEST, json!({"email": email()})),
                (VERIFY, json!({"email": email(), "otp": "123456"})),
                ("/api/auth/sign-in/email", password.clone()),
                ("/api/auth/sign-up/email", password),
            ] {
                post(&client, path, &body).await.expect_error(429, "RATE_LIMITED");
            }
            // X-Forwarded-For of a connection that is no trusted proxy counts for nothing.
            let asked = client.post(CHECK).json(&json!({"email": email()})).header("x-forwarded-for", "203.0.113.9");
            asked.send().await.expect_error(429, "RATE_LIMITED");
            let _other = client.get("/api/auth/ok").send().await.expect(200);
        })
        .await;
}
