//! E-mail and password (CONTRACT 10.6 and 10.7): who gets in, and what nobody can tell from a refusal.

use std::time::Duration;

use actix_web::http::Method;
use dpg_eventstore::Client;
use serde_json::{Value, json};

use super::{Answer, Bench, fault_paths, refused, request, run};

const ASHA: &str = "asha@example.com";
const PASSWORD: &str = "correct horse";

async fn sign_up(t: &Bench, email: &str, password: &str) -> Answer {
    t.post("sign-up/email", &[], json!({"email": email, "password": password, "name": "Asha"})).await
}

async fn sign_in(t: &Bench, email: &str, password: &str) -> Answer {
    t.post("sign-in/email", &[], json!({"email": email, "password": password})).await
}

fn bearer(answer: &Answer) -> String {
    assert_eq!(answer.status, 200, "{}", answer.body);
    format!("Bearer {}", answer.body["token"].as_str().unwrap())
}

#[actix_web::test]
async fn whoever_signs_up_is_signed_in_and_unproven() {
    run(async |t| {
        let made = sign_up(t, " Asha@Example.com ", PASSWORD).await;
        assert_eq!(made.status, 200, "{}", made.body);
        let members: Vec<_> = made.body.as_object().unwrap().keys().map(String::as_str).collect();
        assert_eq!(members, ["token", "user"]);
        let steady = json!({"name": "Asha", "email": ASHA, "emailVerified": false, "role": "user", "termsAccepted": false,
            "privacyAccepted": false, "banned": false, "phoneNumber": null, "dateOfBirth": null});
        for (key, value) in steady.as_object().unwrap() {
            assert_eq!(made.body["user"][key], *value, "{key}");
        }
        assert!(made.header("set-cookie").ends_with("; Path=/; HttpOnly; Max-Age=604800; SameSite=Lax"));
        assert!(made.header("set-auth-token").starts_with(made.body["token"].as_str().unwrap()));
        let id = made.body["user"]["id"].as_str().unwrap().to_owned();
        assert_eq!(t.user(&[("authorization", &bearer(&made))]).await, Ok(id.clone()));
        assert_eq!(t.user(&[("cookie", &made.cookie())]).await, Ok(id.clone()));

        let again = sign_in(t, "ASHA@example.com", PASSWORD).await;
        let members: Vec<_> = again.body.as_object().unwrap().keys().map(String::as_str).collect();
        assert_eq!(members, ["redirect", "token", "user"]);
        assert_eq!((&again.body["redirect"], &again.body["user"]), (&json!(false), &made.body["user"]));
        assert_eq!(t.user(&[("authorization", &bearer(&again))]).await, Ok(id));
        assert_eq!(t.count("select count(*) from password_credentials where hash like '$argon2id$%'").await, 1);
        assert_eq!(t.count("select count(*) from password_credentials where hash like '%horse%'").await, 0);
    })
    .await;
}

#[actix_web::test]
async fn a_session_that_is_not_remembered_is_short() {
    run(async |t| {
        let body = json!({"email": ASHA, "password": PASSWORD, "name": "Asha", "rememberMe": false});
        let made = t.post("sign-up/email", &[], body).await;
        assert!(
            made.header("set-cookie").ends_with("; Path=/; HttpOnly; SameSite=Lax"),
            "{}",
            made.header("set-cookie")
        );
        let body = json!({"email": ASHA, "password": PASSWORD, "rememberMe": false});
        let again = t.post("sign-in/email", &[], body).await;
        assert!(!again.header("set-cookie").contains("Max-Age"));
        let short = "select count(*) from sessions where not extends and expires_at < now() + interval '25 hours'";
        assert_eq!(t.count(short).await, 2);
    })
    .await;
}

#[actix_web::test]
async fn an_email_is_taken_once_however_it_came() {
    run(async |t| {
        t.sign_in("ravi@example.com").await;
        assert_eq!(sign_up(t, ASHA, PASSWORD).await.status, 200);
        for email in [ASHA, "Asha@example.com", "ravi@example.com"] {
            let refused = sign_up(t, email, "another password").await;
            assert_eq!(refused.code(), (422, "USER_ALREADY_EXISTS_USE_ANOTHER_EMAIL"), "{email}");
            assert_eq!(refused.header("set-cookie"), "");
        }
        assert_eq!(sign_in(t, ASHA, "another password").await.code(), (401, "INVALID_EMAIL_OR_PASSWORD"));
        assert_eq!(t.count("select count(*) from password_credentials").await, 1);
        let twins = tokio::join!(sign_up(t, "twin@example.com", PASSWORD), sign_up(t, "twin@example.com", PASSWORD));
        let mut answers = [twins.0.status.as_u16(), twins.1.status.as_u16()];
        answers.sort_unstable();
        assert_eq!(answers, [200, 422]);
    })
    .await;
}

#[actix_web::test]
async fn a_password_has_8_to_128_characters() {
    run(async |t| {
        assert_eq!(sign_up(t, ASHA, "1234567").await.code(), (400, "PASSWORD_TOO_SHORT"));
        assert_eq!(sign_up(t, ASHA, &"x".repeat(129)).await.code(), (400, "PASSWORD_TOO_LONG"));
        assert_eq!(t.auth.passwords.runs().get(), 0);
        for (email, password) in [("a@example.com", "éééééééé".to_owned()), ("b@example.com", "é".repeat(128))]
        {
            assert_eq!(sign_up(t, email, &password).await.status, 200);
            assert_eq!(sign_in(t, email, &password).await.status, 200);
        }
        assert_eq!(fault_paths(&t.post("sign-up/email", &[], json!({})).await), ["/email", "/password", "/name"]);
        let body = json!({"email": "asha", "password": 1, "name": [], "rememberMe": "yes"});
        let faults = t.post("sign-up/email", &[], body).await;
        assert_eq!(fault_paths(&faults), ["/email", "/password", "/rememberMe", "/name"]);
        assert_eq!(fault_paths(&t.post("sign-in/email", &[], json!({"email": ""})).await), ["/email", "/password"]);
    })
    .await;
}

/// What a caller sees, without what differs between any two answers.
fn seen(answer: &Answer) -> (u16, Value, Vec<String>) {
    let mut body = answer.body.clone();
    body["request_id"] = json!(null);
    let mut headers: Vec<String> = answer.headers.keys().map(ToString::to_string).collect();
    headers.sort_unstable();
    (answer.status.as_u16(), body, headers)
}

#[actix_web::test]
async fn a_refused_sign_in_tells_nothing_and_costs_the_same() {
    run(async |t| {
        assert_eq!(sign_up(t, ASHA, PASSWORD).await.status, 200);
        assert_eq!(sign_up(t, "banned@example.com", PASSWORD).await.status, 200);
        t.sql("update users set banned = true where email = 'banned@example.com'").await;
        t.sign_in("code@example.com").await;
        let wrong = sign_in(t, ASHA, "wrong horse").await;
        assert_eq!(wrong.code(), (401, "INVALID_EMAIL_OR_PASSWORD"));
        let long = "x".repeat(10_000);
        for (email, password) in [
            ("nobody@example.com", "wrong horse"),
            ("code@example.com", "wrong horse"),
            ("banned@example.com", "wrong horse"),
            (ASHA, ""),
            ("nobody@example.com", ""),
            (ASHA, long.as_str()),
            ("nobody@example.com", long.as_str()),
        ] {
            let before = t.auth.passwords.runs().get();
            assert_eq!(seen(&sign_in(t, email, password).await), seen(&wrong), "{email}");
            assert_eq!(t.auth.passwords.runs().get() - before, 1, "{email}: one run whoever it is");
        }
        let banned = sign_in(t, "banned@example.com", PASSWORD).await;
        assert_eq!(banned.code(), (403, "BANNED_USER"), "who knows the password may know");
        assert_eq!(banned.header("set-cookie"), "");
        // Signing up with an e-mail that is taken costs what a new one costs.
        for email in [ASHA, "new@example.com"] {
            let before = t.auth.passwords.runs().get();
            sign_up(t, email, PASSWORD).await;
            assert_eq!(t.auth.passwords.runs().get() - before, 1, "{email}");
        }
    })
    .await;
}

/// CONTRACT 10.3 step 4, from one end to the other.
#[actix_web::test]
async fn who_proves_the_email_gets_the_account_to_themselves() {
    run(async |t| {
        let mallory = bearer(&sign_up(t, ASHA, PASSWORD).await);
        let key = t.key(&mallory).await;
        let asha = t.sign_in(ASHA).await;
        assert_eq!(asha.body["user"]["emailVerified"], true);
        assert!(asha.body.get("afterUserCreate").is_none());
        assert_eq!(t.user(&[("authorization", &mallory)]).await, refused(401, "UNAUTHORIZED"));
        let by_key = t.user(&[("x-api-key", key["key"].as_str().unwrap())]).await;
        assert_eq!(by_key, refused(403, "INVALID_API_KEY"));
        assert_eq!(sign_in(t, ASHA, PASSWORD).await.code(), (401, "INVALID_EMAIL_OR_PASSWORD"));
        assert_eq!(sign_up(t, ASHA, PASSWORD).await.code(), (422, "USER_ALREADY_EXISTS_USE_ANOTHER_EMAIL"));
        assert!(t.user(&[("authorization", &bearer(&asha))]).await.is_ok());
    })
    .await;
}

/// Waits until a statement waits for a lock.
async fn somebody_waits(watcher: &Client) {
    let query = "select count(*) from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'";
    let waiting = async {
        while watcher.query_one(query, &[]).await.unwrap().get::<_, i64>(0) == 0 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), waiting).await.expect("somebody waits for the lock");
}

#[actix_web::test]
async fn a_sign_in_under_way_does_not_outlive_the_password() {
    run(async |t| {
        sign_up(t, ASHA, PASSWORD).await;
        let (watcher, mut client) = (t.client().await, t.client().await);
        let proof = client.transaction().await.unwrap();
        proof.batch_execute("delete from password_credentials; delete from sessions").await.unwrap();
        let revoke = async {
            somebody_waits(&watcher).await;
            proof.commit().await.unwrap();
        };
        let (answer, ()) = tokio::join!(sign_in(t, ASHA, PASSWORD), revoke);
        assert_eq!(answer.code(), (401, "INVALID_EMAIL_OR_PASSWORD"));
        assert_eq!(t.count("select count(*) from sessions").await, 0);
    })
    .await;
}

#[actix_web::test]
async fn a_key_under_way_does_not_outlive_the_session() {
    run(async |t| {
        let session = bearer(&sign_up(t, ASHA, PASSWORD).await);
        let (watcher, mut client) = (t.client().await, t.client().await);
        let proof = client.transaction().await.unwrap();
        proof.batch_execute("delete from sessions; delete from api_keys").await.unwrap();
        let revoke = async {
            somebody_waits(&watcher).await;
            proof.commit().await.unwrap();
        };
        let header = [("authorization", session.as_str())];
        let (answer, ()) = tokio::join!(t.post("api-key/create", &header, json!({"name": "bot"})), revoke);
        assert_eq!(answer.code(), (401, "UNAUTHORIZED"));
        assert_eq!(t.count("select count(*) from api_keys").await, 0);
    })
    .await;
}

#[actix_web::test]
async fn a_hash_that_nobody_can_read_is_our_fault_and_says_no_more() {
    run(async |t| {
        sign_up(t, ASHA, PASSWORD).await;
        t.sql("update password_credentials set hash = 'secret of an older time'").await;
        let answer = sign_in(t, ASHA, PASSWORD).await;
        assert_eq!(answer.code(), (500, "INTERNAL_SERVER_ERROR"));
        assert!(!answer.body.to_string().contains("older"), "{}", answer.body);
        assert_eq!(t.send(request(Method::GET, "sign-in/email", &[])).await.code(), (405, "METHOD_NOT_ALLOWED"));
    })
    .await;
}
