//! Signing in, from outside (CONTRACT 2.2, 2.3, 10 and 13.2): codes that can't be guessed or carried over, passwords that
//! tell nothing, cookies and origins of a production instance, and nothing of all that in a log.

use std::time::Duration;

use dpg_tests::network::TUTOR;
use dpg_tests::peer::{Peer, Received, Reply};
use dpg_tests::signature::hmac_hex;
use dpg_tests::{Answer, Client, Contract, Instance, Node, Role, port};
use futures_util::future::join_all;
use serde_json::{Value, json};
use uuid::Uuid;

const REQUEST: &str = "/api/auth/unified-otp/request";
const VERIFY: &str = "/api/auth/unified-otp/verify";
const CHECK: &str = "/api/auth/unified-otp/check-user";
const SIGN_UP: &str = "/api/auth/sign-up/email";
const SIGN_IN: &str = "/api/auth/sign-in/email";
const UI: &str = "https://ui.example.org";

/// The code of a development instance with `CREATE_TEST_OTP`, and one that is wrong there.
const RIGHT: &str = "000000";
const WRONG: &str = "111111";

fn address(name: &str) -> String {
    format!("{name}-{}@example.com", Uuid::new_v4().simple())
}

async fn verify(client: &Client, email: &str, code: &str) -> Answer {
    client.post(VERIFY).json(&json!({"email": email, "otp": code})).send().await
}

/// `set-cookie` as the next request sends it back.
fn cookie(answer: &Answer) -> String {
    answer.header("set-cookie").and_then(|line| line.split(';').next()).unwrap_or_else(|| panic!("{answer}")).to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn six_wrong_guesses_void_a_code_in_turn_and_all_at_once() {
    let node = Node::both().await;
    let other = node.instance.start(Role::Api, port::free()).await;
    let clients = [node.process.client(), other.client()];
    let email = address("asha");
    let ask = async || clients[0].post(REQUEST).json(&json!({"email": email})).send().await.expect(200);
    let asked = ask().await;
    assert_eq!(asked.body, json!({"ok": true, "user": false}), "no code in the answer");
    for guess in 0..6 {
        verify(&clients[guess % 2], &email, WRONG).await.expect_error(400, "INVALID_OTP");
    }
    verify(&clients[0], &email, RIGHT).await.expect_error(400, "INVALID_OTP");
    let _asked = ask().await;
    let guesses = join_all((0..50).map(|guess| verify(&clients[guess % 2], &email, WRONG))).await;
    guesses.iter().for_each(|answer| answer.expect_error(400, "INVALID_OTP"));
    verify(&clients[1], &email, RIGHT).await.expect_error(400, "INVALID_OTP");
    let database = node.instance.database.client().await;
    let attempts: i32 = database.query_one("select attempts from one_time_codes", &[]).await.expect("the code").get(0);
    assert_eq!(attempts, 5, "guesses are counted one by one, and no more than needed");
    // Of many right guesses at once one gets in.
    let _asked = ask().await;
    let guesses = join_all((0..20).map(|guess| verify(&clients[guess % 2], &email, RIGHT))).await;
    assert_eq!(guesses.iter().filter(|answer| answer.status == 200).count(), 1);
    // Five codes in a quarter of an hour, whoever is asked.
    let _asked = ask().await;
    let _asked = ask().await;
    let limited = clients[1].post(REQUEST).json(&json!({"email": email.to_uppercase()})).send().await;
    limited.expect_error(429, "RATE_LIMITED");
    let seconds: u64 = limited.header("retry-after").and_then(|text| text.parse().ok()).expect("seconds");
    assert!((1..=900).contains(&seconds), "{seconds}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_code_proves_the_identifier_it_was_sent_to_and_no_other() {
    let node = Node::both().await;
    let client = node.process.client();
    let (asha, number) = (address("asha"), format!("+91{}", &Uuid::new_v4().as_u128().to_string()[..10]));
    let victim = Client::sign_in(&node.process.url(), &asha, json!({"name": "Asha"})).await;
    // A code exists for the number; the account of the e-mail stays out of it (trap 37).
    let _sent = client.post(REQUEST).json(&json!({"phoneNumber": number, "email": asha})).send().await.expect(200);
    verify(&client, &asha, RIGHT).await.expect_error(400, "INVALID_OTP");
    let proof = json!({"phoneNumber": number, "email": asha, "otp": RIGHT, "name": "Mallory"});
    let proven = client.post(VERIFY).json(&proof).send().await.expect(200);
    assert_ne!(proven.body["user"]["id"], json!(victim.id));
    assert_eq!((&proven.body["user"]["email"], &proven.body["user"]["phoneNumber"]), (&json!(null), &json!(number)));
    let still = victim.get("/api/auth/get-session").send().await.expect(200);
    assert_eq!((&still.body["user"]["name"], &still.body["user"]["phoneNumber"]), (&json!("Asha"), &json!(null)));
    // And the other way about: a used code of the e-mail does nothing for the number.
    let again = json!({"phoneNumber": number, "otp": RIGHT});
    client.post(VERIFY).json(&again).send().await.expect_error(400, "INVALID_OTP");
}

async fn hashes(node: &Node) -> f64 {
    node.process.metric("dpg_password_hashes_total", &[]).await.expect("the metric")
}

#[tokio::test(flavor = "multi_thread")]
async fn passwords_tell_nobody_who_has_an_account() {
    let node = Node::both().await;
    let client = node.process.client();
    let (asha, nobody) = (address("asha"), address("nobody"));
    let new = json!({"email": asha, "password": "correct horse", "name": "Asha"});
    let made = client.post(SIGN_UP).json(&new).send().await.expect(200);
    assert_eq!(made.body["user"]["emailVerified"], json!(false));
    client.post(SIGN_UP).json(&new).send().await.expect_error(422, "USER_ALREADY_EXISTS_USE_ANOTHER_EMAIL");

    let mut refusals = Vec::new();
    for (email, password) in
        [(&asha, "wrong horse"), (&nobody, "wrong horse"), (&nobody, "correct horse"), (&asha, "x")]
    {
        let before = hashes(&node).await;
        let answer = client.post(SIGN_IN).json(&json!({"email": email, "password": password})).send().await;
        answer.expect_error(401, "INVALID_EMAIL_OR_PASSWORD");
        assert!((hashes(&node).await - before - 1.0).abs() < 0.5, "one run of argon2id for everybody");
        refusals.push((answer.body["message"].clone(), answer.headers.len(), answer.text.len()));
    }
    refusals.dedup();
    assert_eq!(refusals.len(), 1, "refusals can be told apart: {refusals:?}");

    let session =
        client.post(SIGN_IN).json(&json!({"email": asha, "password": "correct horse"})).send().await.expect(200);
    let asha_before = client.bearer(&session.text_at("token"));
    let _item = asha_before.create_tutor("Asha").await;
    // Whoever proves the e-mail takes the account over: its password and its sessions end (10.3 step 4).
    let proven = Client::sign_in(&node.process.url(), &asha, json!({})).await;
    assert_eq!(json!(proven.id), made.body["user"]["id"]);
    asha_before.items(TUTOR, "").send().await.expect_error(401, "UNAUTHORIZED");
    let gone = client.post(SIGN_IN).json(&json!({"email": asha, "password": "correct horse"})).send().await;
    gone.expect_error(401, "INVALID_EMAIL_OR_PASSWORD");
    let _items = proven.items(TUTOR, "created_by_me=true").send().await.expect(200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crowd_at_the_door_gets_in_or_is_told_to_wait() {
    let node = Node::both().await;
    let client = node.process.client();
    let body = json!({"email": address("nobody"), "password": "wrong horse"});
    let answers = join_all((0..150).map(|_| client.post(SIGN_IN).json(&body).send())).await;
    let refused = answers.iter().filter(|answer| answer.status == 401).count();
    for answer in answers.iter().filter(|answer| answer.status != 401) {
        answer.expect_error(503, "SERVICE_UNAVAILABLE");
        assert_eq!(answer.header("retry-after"), Some("1"), "{answer}");
    }
    assert!(refused > 0, "nobody was served");
    let user = node.sign_up("asha").await;
    let _items = user.items(TUTOR, "").send().await.expect(200);
}

/// Settings of a production instance whose codes go to `service`.
fn production(service: &str) -> impl FnOnce(Instance) -> Instance {
    let service = service.to_owned();
    move |instance| {
        instance
            .set("INSTANCE_ENV", "production")
            .set("CREATE_TEST_OTP", "false")
            .set("AUTH_MIDDLEWARE_ENABLED", "false")
            .set("ALLOWED_ORIGINS", UI)
            .set("TRUSTED_PROXIES", "127.0.0.1/32")
            .set("NOTIFICATION_SERVICE_ENDPOINT", &format!("{service}/ignored/path"))
            .set("NOTIFICATION_SERVICE_KEY_ID", "key-1")
            .set("NOTIFICATION_SERVICE_SECRET", "topsecret")
            .set("PEER_TIMEOUT_MS", "2000")
            .set("RUST_LOG", "debug")
    }
}

/// As a notification service that trusts nobody.
fn is_signed(request: &Received) -> bool {
    let (timestamp, nonce) = (request.header("x-ns-timestamp"), request.header("x-ns-nonce"));
    let expected = hmac_hex("topsecret", &format!("POST\n/notify\n{timestamp}\n{nonce}"));
    request.header("x-ns-signature") == format!("v1={expected}")
        && request.header("x-ns-key") == "key-1"
        && nonce.len() == 32
        && nonce.bytes().all(|byte| byte.is_ascii_hexdigit())
}

async fn notifications() -> Peer {
    Peer::start(|request| Reply::json(if is_signed(request) { 202 } else { 401 }, &json!({"queued": true}))).await
}

/// The code that the service was given last.
fn last_code(service: &Peer) -> String {
    let received = service.received("/notify");
    let variables = &received.last().expect("a notification").body["variables"];
    let text = variables["message"].as_str().or(variables["html"].as_str()).expect("a message");
    text.chars().filter(char::is_ascii_digit).collect()
}

/// Whether a text shows a code, and not just its digits inside a longer number or behind the point of a time.
fn shows(text: &str, code: &str) -> bool {
    text.match_indices(code).any(|(at, _)| {
        let before = text[..at].chars().next_back();
        let after = text[at + code.len()..].chars().next();
        !before.is_some_and(|c| c.is_ascii_alphanumeric() || c == '.')
            && !after.is_some_and(|c| c.is_ascii_alphanumeric() || c == '.')
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn production_sends_codes_signed_and_keeps_them_to_itself() {
    let service = notifications().await;
    let node = Node::both_with(Contract::new(), production(&service.url())).await;
    let client = node.process.client();
    let (email, number) = (address("asha"), "+919812345678");
    let mut answers: Vec<Answer> = Vec::new();
    let mut codes = Vec::new();
    for identifier in [json!({"email": email}), json!({"phoneNumber": "+91 (98123) 456-78"})] {
        answers.push(client.post(REQUEST).json(&identifier).send().await.expect(200));
        let code = last_code(&service);
        assert!(code.len() == 6 && code != RIGHT, "{code}");
        let mut proof = identifier.clone();
        proof["otp"] = json!(code);
        answers.push(client.post(VERIFY).json(&proof).send().await.expect(200));
        codes.push(code);
    }
    let received = service.received("/notify");
    assert_eq!(received.iter().map(|request| request.line.as_str()).collect::<Vec<_>>(), ["POST /notify HTTP/1.1"; 2]);
    assert_eq!(
        received[0].body,
        json!({"channel": "email", "template_id": "basic_email", "to": email, "priority": "realtime",
            "variables": {"fromName": "both", "fromEmail": "", "replyTo": "", "subject": "Your code",
                "html": format!("<p>{}</p>", codes[0])}})
    );
    assert_eq!(
        received[1].body,
        json!({"channel": "sms", "template_id": "login_otp", "to": number, "priority": "realtime",
            "variables": {"message": codes[1]}})
    );
    assert_ne!(received[0].header("x-ns-nonce"), received[1].header("x-ns-nonce"));

    let password = "correct horse battery";
    let signed_up = json!({"email": address("ravi"), "password": password, "name": "Ravi"});
    let signed_up = client.post(SIGN_UP).json(&signed_up).send().await.expect(200);
    // What the service refuses is void, and the caller learns no more than that.
    service.answer(|_| Reply::json(500, &json!({"error": "secret of the service"})));
    let failed = client.post(REQUEST).json(&json!({"email": email})).send().await;
    failed.expect_error(502, "OTP_DELIVERY_FAILED");
    assert!(!failed.text.contains("secret"));
    verify(&client, &email, &last_code(&service)).await.expect_error(400, "INVALID_OTP");
    service.answer(|_| Reply::never());
    client.post(REQUEST).json(&json!({"email": email})).send().await.expect_error(502, "OTP_DELIVERY_FAILED");

    codes.extend(service.received("/notify").iter().skip(2).map(|_| last_code(&service)));
    let logs = node.instance.logs();
    let token = signed_up.text_at("token");
    for private in [email.as_str(), number, password, "correct", &token, &answers[1].text_at("token")] {
        assert!(!logs.contains(private), "{private} is in the log");
    }
    for code in &codes {
        assert!(!shows(&logs, code), "{code} is in the log");
        answers.iter().for_each(|answer| assert!(!shows(&answer.text, code), "{code} in {answer}"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn production_cookies_count_from_its_own_pages_alone() {
    let service = notifications().await;
    let node = Node::both_with(Contract::new(), production(&service.url())).await;
    let client = node.process.client();
    let own = node.instance.url.clone();
    let email = address("asha");
    let _sent = client.post(REQUEST).json(&json!({"email": email})).send().await.expect(200);
    let started = verify(&client, &email, &last_code(&service)).await.expect(200);
    let (pair, attributes) = started.header("set-cookie").and_then(|line| line.split_once("; ")).expect("a cookie");
    let (name, value) = pair.split_once('=').expect("a pair");
    assert_eq!(name, "__Secure-better-auth.session_token");
    assert_eq!(attributes, "Path=/; HttpOnly; Max-Age=604800; Secure; SameSite=None; Partitioned");
    let signed = started.header("set-auth-token").expect("the header");
    assert!(signed.starts_with(&format!("{}.", started.text_at("token"))), "{signed}");
    assert_eq!(value.replace("%2B", "+").replace("%2F", "/").replace("%3D", "="), signed);

    let cookie = cookie(&started);
    let get = async |path: &str, origin: Option<&str>| {
        let request = client.get(path).header("cookie", &cookie);
        origin.into_iter().fold(request, |request, origin| request.header("origin", origin)).send().await
    };
    for origin in [None, Some(UI), Some(own.as_str())] {
        let _actions = get("/api/v1/action/fetch", origin).await.expect(200);
        let session = get("/api/auth/get-session", origin).await.expect(200);
        assert_eq!(session.body["user"]["email"], json!(email), "{origin:?}");
    }
    for origin in ["https://evil.example.org", "null", "http://localhost:3000"] {
        get("/api/v1/action/fetch", Some(origin)).await.expect_error(401, "UNAUTHORIZED");
        let session = get("/api/auth/get-session", Some(origin)).await.expect(200);
        assert_eq!((&session.body, session.header("set-cookie")), (&Value::Null, None), "signed out, and no more");
    }
    let posts = [REQUEST, VERIFY, CHECK, SIGN_UP, SIGN_IN, "/api/auth/sign-out", "/api/auth/api-key/create"];
    for path in posts {
        let post = || client.post(path).header("cookie", &cookie).json(&json!({}));
        post().send().await.expect_error(403, "MISSING_OR_NULL_ORIGIN");
        post().header("origin", "null").send().await.expect_error(403, "MISSING_OR_NULL_ORIGIN");
        post().header("origin", "https://evil.example.org").send().await.expect_error(403, "INVALID_ORIGIN");
    }
    // Without the middleware's switch: production ignores AUTH_MIDDLEWARE_ENABLED=false.
    client.post("/api/v1/match-score/calculate").json(&json!({})).send().await.expect_error(401, "UNAUTHORIZED");
    let out = client.post("/api/auth/sign-out").header("cookie", &cookie).header("origin", UI).send().await.expect(200);
    let cleared = out.header("set-cookie").expect("a cookie");
    assert!(cleared.starts_with("__Secure-better-auth.session_token=; ") && cleared.contains("Max-Age=0"), "{cleared}");
    get("/api/v1/action/fetch", None).await.expect_error(401, "UNAUTHORIZED");
    let by_token = client.bearer(signed).get("/api/v1/action/fetch").send().await;
    by_token.expect_error(401, "UNAUTHORIZED");
}

#[tokio::test(flavor = "multi_thread")]
async fn production_limits_what_one_address_tries() {
    let service = notifications().await;
    let node = Node::both_with(Contract::new(), production(&service.url())).await;
    let other = node.instance.start(Role::Api, port::free()).await;
    let clients = [node.process.client(), other.client()];
    let paths = [CHECK, SIGN_IN, SIGN_UP, VERIFY, REQUEST];
    // What stands left of the nearest untrusted address is the client's own claim.
    let call = async |number: usize, from: &str| {
        let request = clients[number % 2].post(paths[number % 5]).json(&json!({"email": "nobody"}));
        request.header("x-forwarded-for", &format!("192.0.2.{}, {from}", number % 200)).send().await
    };
    let answers = join_all((0..120).map(|number| call(number, "203.0.113.9"))).await;
    for answer in &answers {
        if answer.status == 400 {
            answer.expect_error(400, "VALIDATION_ERROR");
            continue;
        }
        answer.expect_error(429, "RATE_LIMITED");
        let seconds: u64 = answer.header("retry-after").and_then(|text| text.parse().ok()).expect("seconds");
        assert!((1..=900).contains(&seconds), "{answer}");
    }
    assert_eq!(answers.iter().filter(|answer| answer.status == 400).count(), 100, "both processes count together");
    call(0, "203.0.113.10").await.expect_error(400, "VALIDATION_ERROR");
    // Signed-in life goes on: the limit is for those who knock.
    let _open =
        clients[0].get("/api/auth/get-session").header("x-forwarded-for", "203.0.113.9").send().await.expect(200);
}

#[tokio::test(flavor = "multi_thread")]
async fn development_has_its_own_cookie_and_no_origin_check() {
    let node = Node::both().await;
    let client = node.process.client();
    let body = json!({"email": address("asha"), "password": "correct horse", "name": "Asha", "rememberMe": false});
    let made = client.post(SIGN_UP).json(&body).send().await.expect(200);
    let line = made.header("set-cookie").expect("a cookie");
    assert!(
        line.starts_with("better-auth.session_token=") && line.ends_with("; Path=/; HttpOnly; SameSite=Lax"),
        "{line}"
    );
    let cookie = cookie(&made);
    let _out = client.post("/api/auth/sign-out").header("cookie", &cookie).send().await.expect(200);
    client.get("/api/v1/action/fetch").header("cookie", &cookie).send().await.expect_error(401, "UNAUTHORIZED");
}

#[tokio::test(flavor = "multi_thread")]
async fn production_refuses_to_start_with_test_codes() {
    let node = Node::both_with(Contract::new(), |instance| instance).await;
    let instance = node.instance.set("INSTANCE_ENV", "production").set("CREATE_TEST_OTP", "true");
    let run = tokio::time::timeout(Duration::from_secs(60), instance.run(&["serve"])).await.expect("it ends");
    assert_eq!(run.status.code(), Some(2));
    let errors = String::from_utf8_lossy(&run.stderr);
    assert!(errors.contains("CREATE_TEST_OTP"), "{errors}");
}

#[tokio::test(flavor = "multi_thread")]
async fn production_without_a_service_sends_no_codes() {
    let settings =
        |instance: Instance| production("http://127.0.0.1:1")(instance).set("NOTIFICATION_SERVICE_SECRET", "");
    let node = Node::both_with(Contract::new(), settings).await;
    let client = node.process.client();
    let answer = client.post(REQUEST).json(&json!({"email": address("asha")})).send().await;
    answer.expect_error(503, "OTP_DELIVERY_UNAVAILABLE");
}

#[tokio::test(flavor = "multi_thread")]
async fn development_logs_the_code_and_not_whose_it_is() {
    let node = Node::both_with(Contract::new(), |instance| instance.set("CREATE_TEST_OTP", "false")).await;
    let client = node.process.client();
    let email = address("asha");
    let _sent = client.post(REQUEST).json(&json!({"email": email})).send().await.expect(200);
    let logs = node.instance.logs();
    assert!(!logs.contains(&email), "the address is in the log");
    let line = logs.lines().find(|line| line.contains("one-time code")).expect("the code is in the log");
    let code =
        line.split("code=").nth(1).map(|rest| rest.chars().filter(char::is_ascii_digit).take(6).collect::<String>());
    let _in = verify(&client, &email, &code.expect("a code")).await.expect(200);
}
