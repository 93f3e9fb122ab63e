//! CONTRACT 10.6 and 10.7: e-mail and password.

use serde_json::{Value, json};

use crate::auth_codes::{REQUEST, VERIFY, email, post};
use crate::shapes::{faults, user};
use crate::suite::Suite;
use crate::world::World;

const UP: &str = "/api/auth/sign-up/email";
const IN: &str = "/api/auth/sign-in/email";

fn person(address: &str) -> Value {
    json!({"email": address, "password": "correct horse", "name": "Asha"})
}

pub async fn cases(suite: &mut Suite, world: &World) {
    sign_up(suite, world).await;
    sign_in(suite, world).await;
}

async fn sign_up(suite: &mut Suite, world: &World) {
    let nobody = world.nobody();
    let mut route = suite.route("POST /api/auth/sign-up/email");
    route
        .case("200 token and user, nothing proven, nothing accepted", async {
            let address = email();
            let answer = post(&nobody, UP, &person(&format!(" {} ", address.to_uppercase()))).await.expect(200);
            user(&answer.body["user"]);
            for (key, value) in [
                ("email", json!(address)),
                ("emailVerified", json!(false)),
                ("role", json!("user")),
                ("termsAccepted", json!(false)),
                ("privacyAccepted", json!(false)),
                ("name", json!("Asha")),
            ] {
                assert_eq!(answer.body["user"][key], value, "{key}: {answer}");
            }
            assert!(answer.header("set-cookie").unwrap_or_default().contains("Max-Age=604800"), "{answer}");
            let session = nobody.bearer(&answer.text_at("token")).get("/api/auth/get-session").send().await.expect(200);
            assert_eq!(session.body["user"], answer.body["user"]);
        })
        .await;
    route
        .case("422 for an e-mail that is taken, in any case", async {
            let address = email();
            let _made = post(&nobody, UP, &person(&address)).await.expect(200);
            let answer = post(&nobody, UP, &person(&address.to_uppercase())).await;
            answer.expect_error(422, "USER_ALREADY_EXISTS_USE_ANOTHER_EMAIL");
            post(&nobody, UP, &person(&world.asha.email))
                .await
                .expect_error(422, "USER_ALREADY_EXISTS_USE_ANOTHER_EMAIL");
        })
        .await;
    for (length, code) in [(7, "PASSWORD_TOO_SHORT"), (129, "PASSWORD_TOO_LONG")] {
        route
            .case(format!("400 {code}: {length} characters"), async {
                let mut body = person(&email());
                body["password"] = json!("\u{e4}".repeat(length));
                post(&nobody, UP, &body).await.expect_error(400, code);
            })
            .await;
    }
    for length in [8, 128] {
        route
            .case(format!("{length} characters are a password"), async {
                let mut body = person(&email());
                body["password"] = json!("\u{e4}".repeat(length));
                let _made = post(&nobody, UP, &body).await.expect(200);
                let _in = post(&nobody, IN, &body).await.expect(200);
            })
            .await;
    }
    for (change, place) in [("email", "/email"), ("password", "/password"), ("name", "/name")] {
        route
            .case(format!("400 VALIDATION_ERROR: {change} is no text"), async {
                let mut body = person(&email());
                body[change] = json!(5);
                faults(&post(&nobody, UP, &body).await, "VALIDATION_ERROR", &[place]);
            })
            .await;
    }
    route
        .case("rememberMe false: a cookie without Max-Age", async {
            let mut body = person(&email());
            body["rememberMe"] = json!(false);
            let answer = post(&nobody, UP, &body).await.expect(200);
            assert!(!answer.header("set-cookie").unwrap_or_default().contains("Max-Age"), "{answer}");
        })
        .await;
    route
        .case("the first proof by code revokes password and sessions of an account made without", async {
            let address = email();
            let made = post(&nobody, UP, &person(&address)).await.expect(200);
            let _sent = post(&nobody, REQUEST, &json!({"email": address})).await.expect(200);
            let proven = post(&nobody, VERIFY, &json!({"email": address, "otp": "000000"})).await.expect(200);
            assert_eq!(proven.body["user"]["id"], made.body["user"]["id"]);
            assert_eq!(proven.body["user"]["emailVerified"], json!(true));
            let old = nobody.bearer(&made.text_at("token")).get("/api/v1/action/fetch").send().await;
            old.expect_error(401, "UNAUTHORIZED");
            post(&nobody, IN, &person(&address)).await.expect_error(401, "INVALID_EMAIL_OR_PASSWORD");
        })
        .await;
}

async fn sign_in(suite: &mut Suite, world: &World) {
    let nobody = world.nobody();
    let mut route = suite.route("POST /api/auth/sign-in/email");
    route
        .case("200 redirect false, token and user", async {
            let address = email();
            let made = post(&nobody, UP, &person(&address)).await.expect(200);
            let body = json!({"email": format!(" {} ", address.to_uppercase()), "password": "correct horse"});
            let answer = post(&nobody, IN, &body).await.expect(200);
            assert_eq!(answer.body["redirect"], json!(false));
            assert_eq!(answer.body["user"]["id"], made.body["user"]["id"]);
        })
        .await;
    route
        .case("401, the same for an unknown e-mail, a wrong password and an account without one", async {
            let address = email();
            let _made = post(&nobody, UP, &person(&address)).await.expect(200);
            let mut told = Vec::new();
            for (address, password) in
                [(address, "wrong horse"), (email(), "correct horse"), (world.asha.email.clone(), "correct horse")]
            {
                let answer = post(&nobody, IN, &json!({"email": address, "password": password})).await;
                answer.expect_error(401, "INVALID_EMAIL_OR_PASSWORD");
                told.push(answer.body["message"].clone());
            }
            assert!(told.iter().all(|message| *message == told[0]), "{told:?}");
        })
        .await;
    route
        .case("403 BANNED_USER", async {
            let address = email();
            let made = post(&nobody, UP, &person(&address)).await.expect(200);
            let id = made.body["user"]["id"].as_str().expect("an id").to_owned();
            let database = world.a.instance.database.client().await;
            database.execute("update users set banned = true where id::text = $1", &[&id]).await.expect("the users");
            post(&nobody, IN, &person(&address)).await.expect_error(403, "BANNED_USER");
            let old = nobody.bearer(&made.text_at("token")).get("/api/v1/action/fetch").send().await;
            old.expect_error(401, "UNAUTHORIZED");
        })
        .await;
    route
        .case("400 VALIDATION_ERROR", async {
            faults(
                &post(&nobody, IN, &json!({"email": 5, "password": 6})).await,
                "VALIDATION_ERROR",
                &["/email", "/password"],
            );
        })
        .await;
}
