//! `sign-up/email` and `sign-in/email`: e-mail and password. Neither proves the e-mail; see `users::mark_verified`.

use actix_web::http::StatusCode;
use actix_web::{HttpRequest, HttpResponse, web};
use serde_json::json;

use super::codes::{email, needed};
use crate::auth::authenticator::{Authenticator, Role};
use crate::auth::error::{StoreError, banned};
use crate::auth::identifier::Identifier;
use crate::auth::passwords::{LONGEST, SHORTEST};
use crate::auth::users::{self, NewUser};
use crate::auth::{credentials, sessions};
use crate::http::ApiError;
use crate::http::fields::{Fields, read_body};
use crate::http::scalars::{boolean, text};

/// What both bodies have.
struct Credentials {
    identifier: Option<Identifier>,
    password: String,
    remembered: bool,
}

fn credentials_of(f: &mut Fields<'_>) -> Credentials {
    Credentials {
        identifier: f.required("email", |place| email(place).map(Some)),
        password: f.required("password", text(0..=usize::MAX)),
        remembered: f.nullable("rememberMe", boolean).unwrap_or(true),
    }
}

/// `POST /api/auth/sign-up/email`.
pub(super) async fn sign_up(
    request: HttpRequest,
    payload: web::Payload,
    auth: web::Data<Authenticator>,
) -> Result<HttpResponse, ApiError> {
    let body = auth.admitted_body(&request, payload).await?;
    let (given, name) = read_body(&body, |f| (credentials_of(f), f.required("name", text(0..=255))))?;
    let identifier = needed(given.identifier)?;
    fits(&given.password)?;
    // Before anybody knows whether the e-mail is taken, so that the time tells nothing the answer does not.
    let hash = auth.passwords.hash(given.password).await?;
    let mut client = auth.client().await?;
    let transaction = client.transaction().await.map_err(StoreError::from)?;
    let new = NewUser { name: Some(name), role: Role::User, date_of_birth: None, accepted: false };
    let Some(user) = users::create(&transaction, &identifier, &new).await? else {
        let code = "USER_ALREADY_EXISTS_USE_ANOTHER_EMAIL";
        return Err(ApiError::new(StatusCode::UNPROCESSABLE_ENTITY, code, "Somebody has this e-mail already."));
    };
    credentials::store(&transaction, &user.id, &hash).await?;
    let token = sessions::start(&transaction, &user.id, given.remembered).await?;
    transaction.commit().await.map_err(StoreError::from)?;
    let answer = json!({"token": token.as_str(), "user": user});
    Ok(auth.session_started(&token, given.remembered)?.json(answer))
}

/// `POST /api/auth/sign-in/email`.
pub(super) async fn sign_in(
    request: HttpRequest,
    payload: web::Payload,
    auth: web::Data<Authenticator>,
) -> Result<HttpResponse, ApiError> {
    let body = auth.admitted_body(&request, payload).await?;
    let given = read_body(&body, credentials_of)?;
    let identifier = needed(given.identifier)?;
    let (user, hash) = credentials::find(&auth.client().await?, &identifier).await?.unzip();
    let hash = hash.flatten();
    // Nobody has a password that long; it must not lie about in the queue either.
    let too_long = given.password.chars().count() > LONGEST;
    let (password, compared) = if too_long { (String::new(), None) } else { (given.password, hash.clone()) };
    let right = auth.passwords.is_of(password, compared).await?;
    let (Some(user), Some(hash), true) = (user, hash, right) else { return Err(wrong()) };
    if user.barred {
        return Err(banned());
    }
    let mut client = auth.client().await?;
    let transaction = client.transaction().await.map_err(StoreError::from)?;
    // Somebody may have proven the e-mail while we compared: then the password is gone, and so would the session be.
    if !credentials::hold(&transaction, &user.id, &hash).await? {
        return Err(wrong());
    }
    let token = sessions::start(&transaction, &user.id, given.remembered).await?;
    transaction.commit().await.map_err(StoreError::from)?;
    let answer = json!({"redirect": false, "token": token.as_str(), "user": user});
    Ok(auth.session_started(&token, given.remembered)?.json(answer))
}

fn fits(password: &str) -> Result<(), ApiError> {
    let (code, message) = match password.chars().count() {
        ..SHORTEST => ("PASSWORD_TOO_SHORT", format!("A password has at least {SHORTEST} characters.")),
        SHORTEST..=LONGEST => return Ok(()),
        _ => ("PASSWORD_TOO_LONG", format!("A password has at most {LONGEST} characters.")),
    };
    Err(ApiError::new(StatusCode::BAD_REQUEST, code, message))
}

/// One answer for an e-mail that nobody has, an account without a password, and a wrong password.
fn wrong() -> ApiError {
    ApiError::new(StatusCode::UNAUTHORIZED, "INVALID_EMAIL_OR_PASSWORD", "E-mail or password is wrong.")
}
