//! `/api/auth/*` (CONTRACT 10).

use serde_json::{Value, json};

use super::super::operation::{Operation, Tier};
use super::super::schemas::{list, nullable, object, one, partly, put, schema};

pub(super) fn operations() -> Vec<Operation> {
    vec![
        check_user(),
        request_code(),
        verify(),
        get_session(),
        sign_out(),
        sign_up(),
        sign_in(),
        create_key(),
        list_keys(),
        delete_key(),
        ok(),
    ]
}

fn post(path: &'static str, id: &'static str, tier: Tier) -> Operation {
    Operation::post(path, id, "auth", tier).stored()
}

fn yes() -> Value {
    json!({"type": "boolean", "const": true})
}

fn check_user() -> Operation {
    post("/api/auth/unified-otp/check-user", "checkUser", Tier::Auth)
        .summary("Whether an account has this e-mail or phone number")
        .says("Both given: the phone number counts. Neither: `false`.")
        .body(schema("Identifier"))
        .sends(json!({"email": "asha@example.com"}))
        .answers(200, "The answer.", object(&[("userExists", one("boolean"))]))
        .like(json!({"userExists": true}))
        .refuses(&[(429, "RATE_LIMITED")])
}

fn request_code() -> Operation {
    let needed = json!({"allOf": [schema("Identifier"), {"anyOf": [
        {"required": ["email"], "properties": {"email": one("string")}},
        {"required": ["phoneNumber"], "properties": {"phoneNumber": one("string")}},
    ]}]});
    let answer = object(&[("ok", yes()), ("user", one("boolean"))]);
    post("/api/auth/unified-otp/request", "requestCode", Tier::Auth)
        .summary("Send a one-time code")
        .says("Six digits, good for 300 seconds and five guesses; a new code replaces the last. Five codes in 15 minutes per e-mail or phone number.")
        .body(needed)
        .sends(json!({"email": "asha@example.com"}))
        .answers(200, "Sent. `user`: an account has this identifier.", answer)
        .like(json!({"ok": true, "user": false}))
        .refuses(&[(429, "RATE_LIMITED"), (502, "OTP_DELIVERY_FAILED"), (503, "OTP_DELIVERY_UNAVAILABLE")])
}

fn verify() -> Operation {
    let needed = json!({"allOf": [schema("OtpProof"), {"anyOf": [
        {"required": ["email"], "properties": {"email": one("string")}},
        {"required": ["phoneNumber"], "properties": {"phoneNumber": one("string")}},
    ]}]});
    post("/api/auth/unified-otp/verify", "verifyCode", Tier::Auth)
        .summary("Sign in, or up, with a one-time code")
        .says("A new identifier makes an account. The name of an account that exists is not changed.")
        .body(needed)
        .sends(json!({"email": "asha@example.com", "otp": "000000", "name": "Asha"}))
        .answers(200, "A session has started.", schema("SignedIn"))
        .like(signed_in(true))
        .header("set-auth-token")
        .header("set-cookie")
        .refuses(&[(400, "INVALID_OTP"), (403, "BANNED_USER"), (429, "RATE_LIMITED")])
}

fn get_session() -> Operation {
    let found = object(&[("session", nullable(schema("Session"))), ("user", schema("User"))]);
    Operation::get("/api/auth/get-session", "getSession", "auth", Tier::Auth)
        .stored()
        .summary("Who is signed in")
        .says("`null` when nobody is. With an API key: its owner, and no session.")
        .answers(200, "The session and its user, or null.", nullable(found))
        .like(json!({
            "session": {
                "id": "019aa3c0-0000-7000-8000-000000000001", "token": "c3r8LQaCgskFBmJi8HaKX6d09Je9opEL",
                "userId": "5e0c1f7a-3b2d-4c6e-8f90-a1b2c3d4e5f6", "expiresAt": "2026-11-28T01:53:05.400Z",
                "createdAt": "2026-11-21T01:53:05.400Z", "updatedAt": "2026-11-21T01:53:05.400Z",
                "ipAddress": "", "userAgent": "",
            },
            "user": user(),
        }))
        .header("set-cookie")
        .refuses(&[(403, "INVALID_API_KEY"), (429, "RATE_LIMITED")])
}

fn sign_out() -> Operation {
    post("/api/auth/sign-out", "signOut", Tier::Auth)
        .summary("End the session")
        .says("At once, for cookie and token alike. Without a session it does nothing.")
        .optional_body(json!({}))
        .sends(json!({}))
        .answers(200, "Signed out.", object(&[("success", yes())]))
        .like(json!({"success": true}))
        .header("set-cookie")
}

fn sign_up() -> Operation {
    let answer = object(&[("token", one("string")), ("user", schema("User"))]);
    post("/api/auth/sign-up/email", "signUp", Tier::Auth)
        .summary("Make an account with e-mail and password")
        .body(schema("SignUp"))
        .sends(json!({"email": "asha@example.com", "password": "correct horse", "name": "Asha"}))
        .answers(200, "The account, signed in.", answer)
        .like(json!({"token": "c3r8LQaCgskFBmJi8HaKX6d09Je9opEL", "user": user()}))
        .header("set-auth-token")
        .header("set-cookie")
        .refuses(&[
            (400, "PASSWORD_TOO_LONG"),
            (400, "PASSWORD_TOO_SHORT"),
            (422, "USER_ALREADY_EXISTS_USE_ANOTHER_EMAIL"),
            (429, "RATE_LIMITED"),
        ])
}

fn sign_in() -> Operation {
    post("/api/auth/sign-in/email", "signIn", Tier::Auth)
        .summary("Sign in with e-mail and password")
        .body(schema("SignIn"))
        .sends(json!({"email": "asha@example.com", "password": "correct horse"}))
        .answers(200, "A session has started.", schema("SignedIn"))
        .like(signed_in(false))
        .header("set-auth-token")
        .header("set-cookie")
        .refuses(&[(401, "INVALID_EMAIL_OR_PASSWORD"), (403, "BANNED_USER"), (429, "RATE_LIMITED")])
}

fn create_key() -> Operation {
    post("/api/auth/api-key/create", "createApiKey", Tier::Session)
        .summary("Make an API key of your own")
        .says("It speaks for you, 10 000 times per hour unless the operator says otherwise.")
        .body(schema("ApiKeyRequest"))
        .sends(json!({"name": "bot", "expiresIn": 86400}))
        .answers(200, "The key; its clear text is shown here alone.", schema("NewApiKey"))
        .like({
            let mut key = api_key();
            put(&mut key, "key", json!("a_NOHqPLwXOIjYrFMOsjVCmwhXryxwwZEoWJhiUTIgKlGTpVohKvUePbYtvAuqOskG"));
            key
        })
        .refuses(&[(400, "NAME_REQUIRED"), (400, "SERVER_ONLY_PROPERTY")])
}

fn list_keys() -> Operation {
    let answer = object(&[("apiKeys", list(schema("ApiKey"))), ("total", json!({"type": "integer", "minimum": 0}))]);
    Operation::get("/api/auth/api-key/list", "listApiKeys", "auth", Tier::Session)
        .stored()
        .summary("Your API keys")
        .answers(200, "The keys, without their clear texts.", answer)
        .like(json!({"apiKeys": [api_key()], "total": 1}))
}

fn delete_key() -> Operation {
    let which =
        partly(&[("keyId", json!({"type": "string", "minLength": 1, "description": "The key's `id`."}))], &["keyId"]);
    post("/api/auth/api-key/delete", "deleteApiKey", Tier::Session)
        .summary("Delete an API key of yours")
        .body(which)
        .sends(json!({"keyId": "019aa3e0-0000-7000-8000-000000000002"}))
        .answers(200, "Deleted, at once.", object(&[("success", yes())]))
        .like(json!({"success": true}))
        .refuses(&[(404, "KEY_NOT_FOUND")])
}

fn ok() -> Operation {
    Operation::get("/api/auth/ok", "authOk", "auth", Tier::Auth)
        .summary("Whether these routes are there")
        .answers(200, "They are.", object(&[("ok", yes())]))
        .like(json!({"ok": true}))
}

fn user() -> Value {
    json!({
        "id": "5e0c1f7a-3b2d-4c6e-8f90-a1b2c3d4e5f6", "name": "Asha", "email": "asha@example.com", "emailVerified": true,
        "image": null, "createdAt": "2026-11-21T01:53:05.395Z", "updatedAt": "2026-11-21T01:53:05.397Z", "role": "user",
        "banned": false, "banReason": null, "banExpires": null, "phoneNumber": null, "phoneNumberVerified": false,
        "dateOfBirth": null, "termsAccepted": true, "privacyAccepted": true,
    })
}

fn signed_in(new: bool) -> Value {
    let mut answer = json!({"redirect": false, "token": "c3r8LQaCgskFBmJi8HaKX6d09Je9opEL", "user": user()});
    if new {
        put(&mut answer, "afterUserCreate", json!({"user": user()}));
    }
    answer
}

fn api_key() -> Value {
    json!({
        "id": "019aa3e0-0000-7000-8000-000000000002", "configId": "default", "name": "bot", "start": "a_NOHq",
        "prefix": "a_", "referenceId": "5e0c1f7a-3b2d-4c6e-8f90-a1b2c3d4e5f6",
        "userId": "5e0c1f7a-3b2d-4c6e-8f90-a1b2c3d4e5f6", "enabled": true, "rateLimitEnabled": true,
        "rateLimitTimeWindow": 3_600_000, "rateLimitMax": 10000, "requestCount": 0, "refillInterval": null,
        "refillAmount": null, "lastRefillAt": null, "remaining": null, "lastRequest": null,
        "expiresAt": "2026-11-22T01:53:27.176Z", "createdAt": "2026-11-21T01:53:27.176Z",
        "updatedAt": "2026-11-21T01:53:27.176Z", "permissions": null, "metadata": null,
    })
}
