//! CONTRACT 10.1 to 10.3: one-time codes.

use dpg_tests::{Answer, Client};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::shapes::{faults, user};
use crate::suite::Suite;
use crate::world::World;

pub const CHECK: &str = "/api/auth/unified-otp/check-user";
pub const REQUEST: &str = "/api/auth/unified-otp/request";
pub const VERIFY: &str = "/api/auth/unified-otp/verify";

/// An e-mail address that nobody has used.
pub fn email() -> String {
    format!("{}@example.com", Uuid::new_v4().simple())
}

/// A phone number that nobody has used.
pub fn phone() -> String {
    format!("+91{}", rand::random_range(6_000_000_000_u64..9_999_999_999))
}

pub async fn post(client: &Client, path: &str, body: &Value) -> Answer {
    client.post(path).json(body).send().await
}

pub async fn cases(suite: &mut Suite, world: &World) {
    check_user(suite, world).await;
    request(suite, world).await;
    verify(suite, world).await;
    refusals(suite, world).await;
}

async fn check_user(suite: &mut Suite, world: &World) {
    let nobody = world.nobody();
    let mut route = suite.route("POST /api/auth/unified-otp/check-user");
    route
        .case("200: whether there is such a user", async {
            let known = post(&nobody, CHECK, &json!({"email": world.asha.email})).await.expect(200);
            assert_eq!(known.body["userExists"], json!(true));
            let padded = format!("  {} ", world.asha.email.to_uppercase());
            let known = post(&nobody, CHECK, &json!({"email": padded})).await.expect(200);
            assert_eq!(known.body["userExists"], json!(true), "e-mails are trimmed and lower-cased");
            for body in [json!({"email": email()}), json!({"phoneNumber": phone()}), json!({})] {
                assert_eq!(post(&nobody, CHECK, &body).await.expect(200).body["userExists"], json!(false));
            }
        })
        .await;
    route
        .case("400 on a malformed e-mail", async {
            for wrong in [json!("nobody"), json!("a@"), json!("a b@example.com"), json!(5)] {
                faults(&post(&nobody, CHECK, &json!({"email": wrong})).await, "VALIDATION_ERROR", &["/email"]);
            }
        })
        .await;
}

async fn request(suite: &mut Suite, world: &World) {
    let nobody = world.nobody();
    let mut route = suite.route("POST /api/auth/unified-otp/request");
    route
        .case("200 {ok, user}: whether an account has this identifier", async {
            let new = post(&nobody, REQUEST, &json!({"email": email()})).await.expect(200);
            assert_eq!((&new.body["ok"], &new.body["user"]), (&json!(true), &json!(false)));
            let known = post(&nobody, REQUEST, &json!({"email": world.asha.email})).await.expect(200);
            assert_eq!((&known.body["ok"], &known.body["user"]), (&json!(true), &json!(true)));
        })
        .await;
    route
        .case("400 without an identifier", async {
            post(&nobody, REQUEST, &json!({})).await.expect_error(400, "VALIDATION_ERROR");
        })
        .await;
    route
        .case("both given: the phone number counts, the e-mail is not looked at", async {
            let body = json!({"email": world.asha.email, "phoneNumber": phone()});
            let answer = post(&nobody, REQUEST, &body).await.expect(200);
            assert_eq!(answer.body["user"], json!(false), "the e-mail was looked at");
        })
        .await;
    route
        .case("429 with Retry-After after five in 15 minutes, for this identifier alone", async {
            let body = json!({"email": email()});
            for _ in 0..5 {
                let _sent = post(&nobody, REQUEST, &body).await.expect(200);
            }
            post(&nobody, REQUEST, &body).await.expect_error(429, "RATE_LIMITED");
            let _other = post(&nobody, REQUEST, &json!({"email": email()})).await.expect(200);
        })
        .await;
}

async fn verify(suite: &mut Suite, world: &World) {
    let nobody = world.nobody();
    let mut route = suite.route("POST /api/auth/unified-otp/verify");
    let ask = async |body: &Value| {
        let _sent = post(&nobody, REQUEST, body).await.expect(200);
    };
    route
        .case("200 for a new user: token, cookie, header, user and afterUserCreate", async {
            let address = email();
            ask(&json!({"email": address})).await;
            let body = json!({"email": address.to_uppercase(), "otp": "000000", "name": "Asha", "joinOrg": "x"});
            let answer = post(&nobody, VERIFY, &body).await.expect(200);
            assert_eq!(answer.body["redirect"], json!(false));
            user(&answer.body["user"]);
            assert_eq!(answer.body["afterUserCreate"]["user"], answer.body["user"]);
            for (key, value) in [
                ("email", json!(address)),
                ("name", json!("Asha")),
                ("role", json!("user")),
                ("emailVerified", json!(true)),
                ("termsAccepted", json!(true)),
                ("privacyAccepted", json!(true)),
                ("phoneNumber", json!(null)),
                ("banned", json!(false)),
            ] {
                assert_eq!(answer.body["user"][key], value, "{key}: {answer}");
            }
            let cookie = answer.header("set-cookie").unwrap_or_default();
            for part in ["better-auth.session_token=", "Path=/", "HttpOnly", "Max-Age=604800", "SameSite=Lax"] {
                assert!(cookie.contains(part), "{part}: {cookie}");
            }
            assert!(!cookie.contains("Secure"), "{cookie}");
        })
        .await;
    route
        .case("200 for a known user: no afterUserCreate, and the name stays", async {
            let address = world.asha.email.clone();
            ask(&json!({"email": address})).await;
            let answer =
                post(&nobody, VERIFY, &json!({"email": address, "otp": "000000", "name": "user"})).await.expect(200);
            assert_eq!(answer.body["user"]["id"], json!(world.asha.id));
            assert_eq!(answer.body["user"]["name"], json!("asha"));
            assert!(answer.body.get("afterUserCreate").is_none(), "{answer}");
        })
        .await;
    route
        .case("a phone number: digits and +, verified; name defaults to user", async {
            let number = phone();
            ask(&json!({"phoneNumber": number})).await;
            let spaced = format!("{} {}-{}", &number[..3], &number[3..8], &number[8..]);
            let answer = post(&nobody, VERIFY, &json!({"phoneNumber": spaced, "otp": "000000"})).await.expect(200);
            for (key, value) in [
                ("phoneNumber", json!(number)),
                ("phoneNumberVerified", json!(true)),
                ("name", json!("user")),
                ("email", json!(null)),
                ("emailVerified", json!(false)),
            ] {
                assert_eq!(answer.body["user"][key], value, "{key}: {answer}");
            }
        })
        .await;
    route
        .case("rememberMe false: a cookie without Max-Age", async {
            let address = email();
            ask(&json!({"email": address})).await;
            let body = json!({"email": address, "otp": "000000", "rememberMe": false});
            let answer = post(&nobody, VERIFY, &body).await.expect(200);
            assert!(!answer.header("set-cookie").unwrap_or_default().contains("Max-Age"), "{answer}");
        })
        .await;
    route
        .case("role admin only with createAdmin and an e-mail of an admin's domain", async {
            for (address, create_admin, role) in [
                (format!("{}@admin.example", Uuid::new_v4().simple()), true, "admin"),
                (format!("{}@admin.example", Uuid::new_v4().simple()), false, "user"),
                (email(), true, "user"),
            ] {
                ask(&json!({"email": address})).await;
                let body = json!({"email": address, "otp": "000000", "createAdmin": create_admin});
                let answer = post(&nobody, VERIFY, &body).await.expect(200);
                assert_eq!(answer.body["user"]["role"], json!(role), "{answer}");
            }
        })
        .await;
    route
        .case("dateOfBirth of a new user is kept", async {
            let address = email();
            ask(&json!({"email": address})).await;
            let body = json!({"email": address, "otp": "000000", "dateOfBirth": "2001-02-03"});
            let answer = post(&nobody, VERIFY, &body).await.expect(200);
            assert!(answer.body["user"]["dateOfBirth"].as_str().is_some_and(|date| date.starts_with("2001-02-03")));
        })
        .await;
}

async fn refusals(suite: &mut Suite, world: &World) {
    let nobody = world.nobody();
    let mut route = suite.route("POST /api/auth/unified-otp/verify");
    for (name, body, place) in [
        ("without a code", json!({"email": "a@example.com"}), "/otp"),
        ("a code of five characters", json!({"email": "a@example.com", "otp": "00000"}), "/otp"),
        ("a malformed e-mail", json!({"email": "a", "otp": "000000"}), "/email"),
        (
            "a date of birth that is none",
            json!({"email": "a@example.com", "otp": "000000", "dateOfBirth": "soon"}),
            "/dateOfBirth",
        ),
        (
            "rememberMe that is no flag",
            json!({"email": "a@example.com", "otp": "000000", "rememberMe": "yes"}),
            "/rememberMe",
        ),
    ] {
        route
            .case(format!("400 VALIDATION_ERROR: {name}"), async {
                faults(&post(&nobody, VERIFY, &body).await, "VALIDATION_ERROR", &[place]);
            })
            .await;
    }
    route
        .case("400 VALIDATION_ERROR without an identifier", async {
            post(&nobody, VERIFY, &json!({"otp": "000000"})).await.expect_error(400, "VALIDATION_ERROR");
        })
        .await;
    route
        .case("400 INVALID_OTP: never asked for, wrong, used and void are not told apart", async {
            let address = email();
            let good = json!({"email": address, "otp": "000000"});
            let wrong = json!({"email": address, "otp": "111111"});
            let mut told = vec![post(&nobody, VERIFY, &good).await];
            let _sent = post(&nobody, REQUEST, &json!({"email": address})).await.expect(200);
            told.push(post(&nobody, VERIFY, &wrong).await);
            let _in = post(&nobody, VERIFY, &good).await.expect(200);
            told.push(post(&nobody, VERIFY, &good).await);
            let _sent = post(&nobody, REQUEST, &json!({"email": address})).await.expect(200);
            for _ in 0..5 {
                told.push(post(&nobody, VERIFY, &wrong).await);
            }
            told.push(post(&nobody, VERIFY, &good).await);
            for answer in told {
                answer.expect_error(400, "INVALID_OTP");
                assert_eq!(answer.body["message"], post(&nobody, VERIFY, &good).await.body["message"]);
            }
        })
        .await;
    route
        .case("a code for one identifier proves no other", async {
            let (asked, other) = (email(), email());
            let _sent = post(&nobody, REQUEST, &json!({"email": asked})).await.expect(200);
            post(&nobody, VERIFY, &json!({"email": other, "otp": "000000"})).await.expect_error(400, "INVALID_OTP");
        })
        .await;
    route
        .case("403 BANNED_USER", async {
            let banned = world.a.sign_up("banned").await;
            let database = world.a.instance.database.client().await;
            let rows = database.execute("update users set banned = true where id::text = $1", &[&banned.id]).await;
            assert_eq!(rows.expect("the users"), 1);
            let _sent = post(&nobody, REQUEST, &json!({"email": banned.email})).await;
            let answer = post(&nobody, VERIFY, &json!({"email": banned.email, "otp": "000000"})).await;
            answer.expect_error(403, "BANNED_USER");
        })
        .await;
}
