//! Who one is after a code was proven.

use serde_json::json;

use super::{fault_paths, refused, run};
use crate::auth::{Role, keys, prune};

#[actix_web::test]
async fn a_new_user_signs_in_and_is_known_again() {
    run(async |t| {
        let known = t.post("unified-otp/check-user", &[], json!({"email": "asha@example.com"})).await;
        assert_eq!(known.body, json!({"userExists": false}));
        let asked = t.post("unified-otp/request", &[], json!({"email": " Asha@Example.com "})).await;
        assert_eq!(asked.body, json!({"ok": true, "user": false}));
        let otp = t.mailbox.last_code("asha@example.com");
        let body = json!({"email": "ASHA@example.com", "otp": otp, "name": "Asha", "dateOfBirth": "1990-12-31"});
        let first = t.post("unified-otp/verify", &[], body).await;
        assert_eq!(first.status, 200, "{}", first.body);
        assert_eq!(first.body["redirect"], false);
        assert_eq!(first.body["token"].as_str().unwrap().len(), 32);
        assert!(first.header("set-auth-token").starts_with(first.body["token"].as_str().unwrap()));
        assert!(first.header("set-cookie").ends_with("; Path=/; HttpOnly; Max-Age=604800; SameSite=Lax"));
        let user = &first.body["user"];
        assert_eq!(first.body["afterUserCreate"]["user"], *user);
        let keys: Vec<_> = user.as_object().unwrap().keys().map(String::as_str).collect();
        let expected = "id name email emailVerified image createdAt updatedAt role banned banReason banExpires phoneNumber \
                        phoneNumberVerified dateOfBirth termsAccepted privacyAccepted";
        assert_eq!(keys, expected.split(' ').collect::<Vec<_>>());
        let steady = json!({"name": "Asha", "email": "asha@example.com", "emailVerified": true, "role": "user",
            "banned": false, "dateOfBirth": "1990-12-31", "termsAccepted": true, "privacyAccepted": true});
        for (key, value) in steady.as_object().unwrap() {
            assert_eq!(user[key], *value, "{key}");
        }
        let created_at = user["createdAt"].as_str().unwrap();
        assert!(created_at.len() == 24 && created_at.ends_with('Z'), "{created_at}");

        let otp = t.code("asha@example.com").await;
        let body = json!({"email": "asha@example.com", "otp": otp, "name": "user", "phoneNumber": null});
        let again = t.post("unified-otp/verify", &[], body).await;
        assert_eq!(again.body["user"]["id"], user["id"]);
        assert_eq!(again.body["user"]["name"], "Asha", "a name never changes an existing user");
        assert!(again.body.get("afterUserCreate").is_none());
        let known = t.post("unified-otp/check-user", &[], json!({"email": "asha@example.com"})).await;
        assert_eq!(known.body, json!({"userExists": true}));
        let asked = t.post("unified-otp/request", &[], json!({"email": "asha@example.com"})).await;
        assert_eq!(asked.body, json!({"ok": true, "user": true}));
    })
    .await;
}

/// Trap 37.
#[actix_web::test]
async fn a_proven_phone_number_never_touches_the_account_of_an_email() {
    run(async |t| {
        let asha = t.sign_in("asha@example.com").await.body["user"].clone();
        let both = json!({"phoneNumber": "+91 98123-45678", "email": "asha@example.com"});
        let asked = t.post("unified-otp/request", &[], both).await;
        assert_eq!(asked.body, json!({"ok": true, "user": false}), "the e-mail is not looked at");
        let otp = t.mailbox.last_code("+919812345678");
        let body = json!({"phoneNumber": "+919812345678", "email": "asha@example.com", "otp": otp});
        let ravi = t.post("unified-otp/verify", &[], body).await.body["user"].clone();
        assert_ne!(ravi["id"], asha["id"]);
        assert_eq!((&ravi["email"], &ravi["name"]), (&json!(null), &json!("user")));
        assert_eq!((&ravi["phoneNumber"], &ravi["phoneNumberVerified"]), (&json!("+919812345678"), &json!(true)));
        let body = json!({"phoneNumber": "+919812345678", "email": "no address at all"});
        assert_eq!(t.post("unified-otp/check-user", &[], body).await.body, json!({"userExists": true}));
        assert_eq!(t.count("select count(*) from users where phone_number is not null").await, 1);
    })
    .await;
}

#[actix_web::test]
async fn only_a_proven_email_of_an_admin_domain_makes_an_admin() {
    run(async |t| {
        let admin = async |email: &str, create_admin: bool| {
            let otp = t.code(email).await;
            let body = json!({"email": email, "otp": otp, "createAdmin": create_admin});
            t.post("unified-otp/verify", &[], body).await.body["user"]["role"].as_str().unwrap().to_owned()
        };
        assert_eq!(admin("a@admin.example.org", true).await, "admin");
        assert_eq!(admin("b@admin.example.org", false).await, "user");
        assert_eq!(admin("b@admin.example.org", true).await, "user", "an existing user keeps the role");
        assert_eq!(admin("c@example.com", true).await, "user");
        assert_eq!(admin("c@notadmin.example.org", true).await, "user");
        assert_eq!(admin("c@x.admin.example.org", true).await, "user");
        t.post("unified-otp/request", &[], json!({"phoneNumber": "+919812345678"})).await;
        let otp = t.mailbox.last_code("+919812345678");
        let body =
            json!({"phoneNumber": "+919812345678", "email": "d@admin.example.org", "otp": otp, "createAdmin": true});
        assert_eq!(t.post("unified-otp/verify", &[], body).await.body["user"]["role"], "user");
    })
    .await;
}

#[actix_web::test]
async fn a_banned_user_gets_in_nowhere_until_the_ban_ends() {
    run(async |t| {
        let bearer = t.bearer("asha@example.com").await;
        let key = t.key(&bearer).await;
        let key = key["key"].as_str().unwrap();
        t.sql("update users set banned = true").await;
        assert_eq!(t.user(&[("x-api-key", key)]).await, refused(403, "INVALID_API_KEY"));
        assert_eq!(t.user(&[("authorization", &bearer)]).await, refused(401, "UNAUTHORIZED"));
        let otp = t.code("asha@example.com").await;
        assert_eq!(t.verify("asha@example.com", &otp).await.code(), (403, "BANNED_USER"));
        assert_eq!(t.verify("asha@example.com", &otp).await.code(), (400, "INVALID_OTP"), "the code was used up");
        t.sql("update users set ban_expires = now() - interval '1 second'").await;
        assert!(t.user(&[("x-api-key", key)]).await.is_ok());
        assert!(t.user(&[("authorization", &bearer)]).await.is_ok());
    })
    .await;
}

#[actix_web::test]
async fn the_first_proof_takes_an_unproven_account_from_whoever_made_it() {
    run(async |t| {
        // Somebody signed up with Asha's address and a password.
        t.sql(
            "insert into users (id, name, email) values ('u1', 'Mallory', 'asha@example.com'), ('u2', 'Bot', 'bot@example.com');
             insert into password_credentials (user_id, hash) values ('u1', 'argon2id');
             insert into sessions (id, token_hash, user_id, expires_at, extends)
                 values (gen_random_uuid(), sha256('stolen'), 'u1', now() + interval '1 day', true);
             insert into api_keys (id, name, start, prefix, key_hash, user_id) values
                 ('k1', 'n', 's', 'p', 'h1', 'u1'), ('k2', 'n', 's', 'p', 'h2', 'u2')",
        )
        .await;
        assert_eq!(t.user(&[("authorization", "Bearer stolen")]).await, Ok("u1".to_owned()));
        let signed_in = t.sign_in("asha@example.com").await;
        assert_eq!((&signed_in.body["user"]["id"], &signed_in.body["user"]["emailVerified"]), (&json!("u1"), &json!(true)));
        assert_eq!(t.user(&[("authorization", "Bearer stolen")]).await, refused(401, "UNAUTHORIZED"));
        assert_eq!(t.count("select count(*) from password_credentials").await, 0);
        // What the operator made without a password stays.
        t.sign_in("bot@example.com").await;
        assert_eq!(t.count("select count(*) from api_keys where id = 'k2'").await, 1);
        assert_eq!(t.count("select count(*) from api_keys").await, 1);
        // Later sign-ins revoke nothing.
        let token = format!("Bearer {}", signed_in.body["token"].as_str().unwrap());
        t.sql("insert into password_credentials (user_id, hash) values ('u1', 'argon2id')").await;
        t.sign_in("asha@example.com").await;
        assert_eq!(t.user(&[("authorization", &token)]).await, Ok("u1".to_owned()));
        assert_eq!(t.count("select count(*) from password_credentials").await, 1);
    })
    .await;
}

#[actix_web::test]
async fn all_faults_of_a_body_are_told_together() {
    run(async |t| {
        for body in [json!({}), json!({"email": null})] {
            assert_eq!(fault_paths(&t.post("unified-otp/request", &[], body).await), ["/email"]);
        }
        assert_eq!(t.post("unified-otp/check-user", &[], json!({})).await.body, json!({"userExists": false}));
        for path in ["unified-otp/request", "unified-otp/check-user"] {
            assert_eq!(fault_paths(&t.post(path, &[], json!({"email": "asha"})).await), ["/email"]);
            assert_eq!(
                fault_paths(&t.post(path, &[], json!({"phoneNumber": "x", "email": "a@b.cd"})).await),
                ["/phoneNumber"]
            );
            assert_eq!(fault_paths(&t.post(path, &[], json!([])).await)[0], "");
        }
        let body =
            json!({"otp": "12345", "name": 1, "rememberMe": "yes", "dateOfBirth": "31.12.1990", "createAdmin": 1});
        let answer = t.post("unified-otp/verify", &[], body).await;
        assert_eq!(fault_paths(&answer), ["/email", "/otp", "/name", "/rememberMe", "/dateOfBirth", "/createAdmin"]);
        assert_eq!(answer.body["request_id"], answer.header("x-request-id"));
        assert_eq!(t.count("select count(*) from users").await, 0);
    })
    .await;
}

#[actix_web::test]
async fn the_operator_makes_keys_for_users_that_exist_or_are_asked_for() {
    run(async |t| {
        let prefix = || keys::default_prefix("Instance-A");
        let missing = keys::create(&t.database, "bot@example.com", "bot", prefix(), false).await;
        assert!(matches!(missing, Err(keys::CreateKeyError::NoSuchUser(_))));
        let no_email = keys::create(&t.database, "bot", "bot", prefix(), true).await;
        assert!(matches!(no_email, Err(keys::CreateKeyError::NotAnEmail(_))));
        let made = keys::create(&t.database, "Bot@example.com", "bot", prefix(), true).await.unwrap();
        assert!(made.user_created && made.key.starts_with("instancea_"));
        assert_eq!(t.user(&[("x-api-key", &made.key)]).await, Ok(made.user_id.clone()));
        for user in ["bot@example.com", &made.user_id] {
            let second = keys::create(&t.database, user, "bot", prefix(), true).await.unwrap();
            assert_eq!((&second.user_id, second.user_created), (&made.user_id, false));
        }
    })
    .await;
}

#[actix_web::test]
async fn pruning_removes_what_has_run_out_and_nothing_else() {
    run(async |t| {
        let bearer = t.bearer("asha@example.com").await;
        let key = t.key(&bearer).await;
        let key = key["key"].as_str().unwrap();
        t.user(&[("x-api-key", key)]).await.unwrap();
        t.code("asha@example.com").await;
        assert_eq!(prune(&t.database).await.unwrap(), 0);
        t.sql(
            "insert into sessions (id, token_hash, user_id, expires_at, extends)
                 select gen_random_uuid(), 'x', id, now() - interval '1 second', true from users;
             insert into one_time_codes (identifier, code_hash, expires_at) values ('x', 'x', now() - interval '1 second');
             insert into rate_windows values ('codes', 'x', array[now() - interval '2 hours']);
             insert into api_key_usage (key_id) values ('gone'); insert into api_key_calls values ('gone', 1, 1)",
        )
        .await;
        assert_eq!(prune(&t.database).await.unwrap(), 5);
        assert!(t.user(&[("authorization", &bearer)]).await.is_ok());
        assert!(t.user(&[("x-api-key", key)]).await.is_ok());
    })
    .await;
}

#[test]
fn roles_read_as_they_are_written() {
    for role in [Role::User, Role::Admin] {
        assert_eq!(Role::read(role.as_str()).unwrap(), role);
    }
    assert!(Role::read("root").is_err());
}
