//! One-time codes: trap 38, limits, delivery.

use std::sync::Arc;
use std::time::Duration;

use dpg_eventstore::{Database, SessionOptions};
use futures_util::future::join_all;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::{Mailbox, options, run, with};
use crate::auth::delivery::choose;
use crate::auth::{Authenticator, SetupError};
use crate::config::{Notification, Secret};

const ASHA: &str = "asha@example.com";

/// A code that is not `code`.
fn wrong(code: &str) -> &'static str {
    if code == "111111" { "222222" } else { "111111" }
}

#[actix_web::test]
async fn a_code_works_once_in_its_time_and_only_the_last_one() {
    run(async |t| {
        assert_eq!(t.verify(ASHA, "000000").await.code(), (400, "INVALID_OTP"), "none was asked for");
        let first = t.code(ASHA).await;
        assert!(first.len() == 6 && first.chars().all(|c| c.is_ascii_digit()), "{first}");
        t.sql("update one_time_codes set code_hash = 'replaced below'").await;
        let second = t.code(ASHA).await;
        if first != second {
            assert_eq!(t.verify(ASHA, &first).await.code(), (400, "INVALID_OTP"), "replaced");
        }
        assert_eq!(t.verify(ASHA, &second).await.status, 200);
        assert_eq!(t.verify(ASHA, &second).await.code(), (400, "INVALID_OTP"), "used");
        let expired = t.code(ASHA).await;
        assert_eq!(
            t.count("select extract(epoch from expires_at - created_at)::bigint from one_time_codes").await,
            300
        );
        t.sql("update one_time_codes set expires_at = now()").await;
        assert_eq!(t.verify(ASHA, &expired).await.code(), (400, "INVALID_OTP"), "expired");
        assert_eq!(t.count("select count(*) from one_time_codes where position('0' in identifier) > 0").await, 0);
    })
    .await;
}

#[actix_web::test]
async fn five_wrong_guesses_void_a_code() {
    run(async |t| {
        let code = t.code(ASHA).await;
        for _ in 0..5 {
            assert_eq!(t.verify(ASHA, wrong(&code)).await.code(), (400, "INVALID_OTP"));
        }
        assert_eq!(t.verify(ASHA, &code).await.code(), (400, "INVALID_OTP"), "the sixth guess is right and too late");
        let code = t.code(ASHA).await;
        for _ in 0..4 {
            assert_eq!(t.verify(ASHA, wrong(&code)).await.code(), (400, "INVALID_OTP"));
        }
        assert_eq!(t.verify(ASHA, &code).await.status, 200, "the fifth guess still counts");
    })
    .await;
}

#[actix_web::test]
async fn parallel_guesses_count_one_by_one() {
    run(async |t| {
        let code = t.code(ASHA).await;
        let wrong = wrong(&code);
        let answers = join_all((0..50).map(|_| t.verify(ASHA, wrong))).await;
        assert!(answers.iter().all(|answer| answer.code() == (400, "INVALID_OTP")));
        assert_eq!(t.count("select attempts::bigint from one_time_codes").await, 5);
        assert_eq!(t.verify(ASHA, &code).await.code(), (400, "INVALID_OTP"));
        // Of parallel right guesses one gets in.
        let code = t.code(ASHA).await;
        let answers = join_all((0..10).map(|_| t.verify(ASHA, &code))).await;
        assert_eq!(answers.iter().filter(|answer| answer.status == 200).count(), 1);
        assert_eq!(t.count("select count(*) from sessions").await, 1);
    })
    .await;
}

#[actix_web::test]
async fn a_code_of_one_identifier_never_proves_another() {
    run(async |t| {
        let (mut asha, ravi) = (t.code(ASHA).await, t.code("ravi@example.com").await);
        while asha == ravi {
            asha = t.code(ASHA).await;
        }
        assert_eq!(t.verify("ravi@example.com", &asha).await.code(), (400, "INVALID_OTP"));
        let body = json!({"phoneNumber": "+919812345678", "email": ASHA, "otp": asha});
        assert_eq!(t.post("unified-otp/verify", &[], body).await.code(), (400, "INVALID_OTP"));
        // Not even when the hash is carried over in the store.
        t.sql(
            "update one_time_codes r set code_hash = a.code_hash from one_time_codes a
              where a.identifier = 'asha@example.com' and r.identifier = 'ravi@example.com'",
        )
        .await;
        assert_eq!(t.verify("ravi@example.com", &asha).await.code(), (400, "INVALID_OTP"));
        assert_eq!(t.verify(ASHA, &asha).await.status, 200);
    })
    .await;
}

#[actix_web::test]
async fn five_codes_per_identifier_in_a_quarter_of_an_hour() {
    run(async |t| {
        let ask = async |email: &str| t.post("unified-otp/request", &[], json!({"email": email})).await;
        let answers = join_all((0..9).map(|_| ask(ASHA))).await;
        assert_eq!(answers.iter().filter(|answer| answer.status == 200).count(), 5);
        let limited = answers.iter().find(|answer| answer.status != 200).unwrap();
        assert_eq!(limited.code(), (429, "RATE_LIMITED"));
        let seconds: u64 = limited.header("retry-after").parse().unwrap();
        assert!((890..=900).contains(&seconds), "{seconds}");
        assert_eq!(ask("ravi@example.com").await.status, 200);
        // The window rolls: one call leaves it, one has room.
        t.sql("update rate_windows set calls[1] = now() - interval '901 seconds'").await;
        assert_eq!(ask(ASHA).await.status, 200);
        assert_eq!(ask(ASHA).await.code(), (429, "RATE_LIMITED"));
    })
    .await;
}

#[actix_web::test]
async fn production_limits_what_one_address_may_try() {
    with(
        |options| options.production = true,
        async |t| {
            t.sql(
                "insert into rate_windows
                 select 'address', '198.51.100.7', array_agg(now() - interval '10 minutes') from generate_series(1, 99)",
            )
            .await;
            assert_eq!(t.post("unified-otp/check-user", &[], json!({"email": ASHA})).await.status, 200);
            let codes = ["unified-otp/check-user", "unified-otp/request", "unified-otp/verify"];
            for path in codes.into_iter().chain(["sign-in/email", "sign-up/email"]) {
                let answer = t.post(path, &[], json!({})).await;
                assert_eq!(answer.code(), (429, "RATE_LIMITED"), "{path}: before the body is looked at");
                let seconds: u64 = answer.header("retry-after").parse().unwrap();
                assert!((290..=300).contains(&seconds), "{seconds}");
            }
            // An untrusted client can't change its address.
            let header = ("x-forwarded-for", "203.0.113.1");
            assert_eq!(t.post("unified-otp/check-user", &[header], json!({})).await.code(), (429, "RATE_LIMITED"));
        },
    )
    .await;
}

#[actix_web::test]
async fn a_failed_delivery_voids_the_code() {
    run(async |t| {
        *t.mailbox.broken.lock().unwrap() = true;
        let answer = t.post("unified-otp/request", &[], json!({"email": ASHA})).await;
        assert_eq!(answer.code(), (502, "OTP_DELIVERY_FAILED"));
        let code = t.mailbox.last_code(ASHA);
        assert_eq!(t.verify(ASHA, &code).await.code(), (400, "INVALID_OTP"));
    })
    .await;
}

#[actix_web::test]
async fn without_a_service_production_says_so() {
    with(
        |options| (options.production, options.delivery) = (true, None),
        async |t| {
            let answer = t.post("unified-otp/request", &[], json!({"email": ASHA})).await;
            assert_eq!(answer.code(), (503, "OTP_DELIVERY_UNAVAILABLE"));
            assert_eq!(t.count("select count(*) from one_time_codes").await, 0);
        },
    )
    .await;
}

#[actix_web::test]
async fn the_test_code_is_for_development_alone() {
    with(
        |options| options.test_codes = true,
        async |t| {
            assert_eq!(t.code(ASHA).await, "000000");
            assert_eq!(t.verify(ASHA, "000000").await.status, 200);
        },
    )
    .await;
    let mut options = options(&Arc::<Mailbox>::default());
    (options.production, options.test_codes) = (true, true);
    let database = Database::open("postgres://nobody@127.0.0.1:1/none", &SessionOptions::new("t", 1)).unwrap();
    assert!(matches!(Authenticator::start(database, options), Err(SetupError::TestCodesInProduction)));
}

/// Reads one request and answers it.
async fn answer_once(mut stream: TcpStream, status: u16) -> (String, Value) {
    let mut received = Vec::new();
    loop {
        let mut piece = [0; 4096];
        let length = stream.read(&mut piece).await.unwrap();
        received.extend_from_slice(&piece[..length]);
        let text = String::from_utf8(received.clone()).unwrap();
        let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
        if let Ok(body) = serde_json::from_str(body) {
            let answer =
                format!("HTTP/1.1 {status} X\r\ncontent-length: 0\r\nconnection: close\r\nlocation: /x\r\n\r\n");
            stream.write_all(answer.as_bytes()).await.unwrap();
            return (head.to_lowercase(), body);
        }
    }
}

#[actix_web::test]
async fn the_notification_service_is_called_as_the_contract_says() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let settings = Notification {
        endpoint: format!("http://{}/some/path", listener.local_addr().unwrap()),
        key_id: "key-1".to_owned(),
        secret: Secret::new("topsecret".to_owned()),
        sms_template_id: "login_otp".to_owned(),
    };
    let service = choose(true, Some(&settings), "instance-a", Duration::from_secs(5)).unwrap();
    with(
        |options| options.delivery = service,
        async |t| {
            let phone = json!({"phoneNumber": "+919812345678"});
            let receive = async |status| answer_once(listener.accept().await.unwrap().0, status).await;
            let (answer, (head, body)) = tokio::join!(t.post("unified-otp/request", &[], phone), receive(204));
            assert_eq!(answer.status, 200, "{}", answer.body);
            assert!(head.starts_with("post /notify http/1.1"), "{head}");
            for part in ["x-ns-key: key-1", "x-ns-timestamp: ", "x-ns-nonce: ", "x-ns-signature: v1="] {
                assert!(head.contains(part), "{head}");
            }
            let code = body["variables"]["message"].as_str().unwrap().to_owned();
            assert_eq!(
                body,
                json!({"channel": "sms", "template_id": "login_otp", "to": "+919812345678", "priority": "realtime",
                    "variables": {"message": code}})
            );
            let proof = json!({"phoneNumber": "+919812345678", "otp": code});
            assert_eq!(t.post("unified-otp/verify", &[], proof).await.status, 200);

            let email = json!({"email": ASHA});
            // A redirect is not followed: it is no success.
            let (answer, (_, body)) = tokio::join!(t.post("unified-otp/request", &[], email), receive(302));
            assert_eq!(answer.code(), (502, "OTP_DELIVERY_FAILED"));
            assert_eq!((&body["channel"], &body["to"]), (&json!("email"), &json!(ASHA)));
            assert_eq!(body["variables"]["fromName"], "instance-a");
            let html = body["variables"]["html"].as_str().unwrap();
            assert!(html.starts_with("<p>") && html.ends_with("</p>") && html.len() == 13, "{html}");
        },
    )
    .await;
}
