//! `unified-otp/*`: signing in with a one-time code.

use actix_web::http::StatusCode;
use actix_web::{HttpRequest, HttpResponse, web};
use chrono::NaiveDate;
use dpg_eventstore::{Chain, Transaction};
use serde_json::json;

use crate::auth::authenticator::{Authenticator, Role};
use crate::auth::delivery::Recipient;
use crate::auth::error::{StoreError, banned, rate_limited};
use crate::auth::identifier::Identifier;
use crate::auth::limits::{self, Limit};
use crate::auth::token::Token;
use crate::auth::users::{self, NewUser, User};
use crate::auth::{codes, sessions};
use crate::http::ApiError;
use crate::http::fields::{Fields, Place, read_body};
use crate::http::scalars::{boolean, text};

/// The code of `CREATE_TEST_OTP`.
const TEST_CODE: &str = "000000";

/// `POST /api/auth/unified-otp/check-user`.
pub(super) async fn check_user(
    request: HttpRequest,
    payload: web::Payload,
    auth: web::Data<Authenticator>,
) -> Result<HttpResponse, ApiError> {
    let body = auth.admitted_body(&request, payload).await?;
    let identifier = read_body(&body, |f| named(f).ok().flatten())?;
    let exists = match identifier {
        Some(identifier) => users::exists(&auth.client().await?, &identifier).await?,
        None => false,
    };
    Ok(HttpResponse::Ok().json(json!({"userExists": exists})))
}

/// `POST /api/auth/unified-otp/request`.
pub(super) async fn request(
    request: HttpRequest,
    payload: web::Payload,
    auth: web::Data<Authenticator>,
) -> Result<HttpResponse, ApiError> {
    let body = auth.admitted_body(&request, payload).await?;
    let identifier = needed(read_body(&body, required_identifier)?)?;
    send_code(&auth, &identifier).await?;
    let user = users::exists(&auth.client().await?, &identifier).await?;
    Ok(HttpResponse::Ok().json(json!({"ok": true, "user": user})))
}

async fn send_code(auth: &Authenticator, identifier: &Identifier) -> Result<(), ApiError> {
    let Some(delivery) = &auth.options.delivery else {
        let message = "This instance can't send codes.";
        return Err(ApiError::new(StatusCode::SERVICE_UNAVAILABLE, "OTP_DELIVERY_UNAVAILABLE", message));
    };
    let code = if auth.options.test_codes { TEST_CODE.to_owned() } else { codes::random() };
    {
        let client = auth.client().await?;
        if let Some(seconds) = limits::count(&client, Limit::CodesPerIdentifier, identifier.as_str()).await? {
            return Err(rate_limited(seconds));
        }
        codes::store(&client, &auth.reader.signer, identifier, &code).await?;
        // The connection goes back before the service is called: a slow service must not hold it.
    }
    let recipient = match identifier {
        Identifier::Email(address) => Recipient::Email(address),
        Identifier::Phone(number) => Recipient::Phone(number),
    };
    if let Err(error) = delivery.deliver(recipient, &code).await {
        tracing::warn!(error = %Chain(&error), "a one-time code was not delivered");
        codes::void(&auth.client().await?, &auth.reader.signer, identifier, &code).await?;
        let message = "The code could not be delivered.";
        return Err(ApiError::new(StatusCode::BAD_GATEWAY, "OTP_DELIVERY_FAILED", message));
    }
    Ok(())
}

/// The body of `verify`.
struct Proof {
    identifier: Option<Identifier>,
    code: String,
    name: Option<String>,
    remembered: bool,
    date_of_birth: Option<NaiveDate>,
    create_admin: bool,
}

/// `POST /api/auth/unified-otp/verify`.
pub(super) async fn verify(
    request: HttpRequest,
    payload: web::Payload,
    auth: web::Data<Authenticator>,
) -> Result<HttpResponse, ApiError> {
    let body = auth.admitted_body(&request, payload).await?;
    let proof = read_body(&body, |f| Proof {
        identifier: required_identifier(f),
        code: f.required("otp", text(6..=6)),
        name: f.nullable("name", text(0..=255)),
        remembered: f.nullable("rememberMe", boolean).unwrap_or(true),
        date_of_birth: f.nullable("dateOfBirth", date),
        create_admin: f.nullable("createAdmin", boolean).unwrap_or(false),
    })?;
    let mut client = auth.client().await?;
    let transaction = client.transaction().await.map_err(StoreError::from)?;
    let outcome = sign_in(&auth, &transaction, &proof).await?;
    // Wrong guesses are committed too, or they would not count.
    transaction.commit().await.map_err(StoreError::from)?;
    let SignedIn { token, user, is_new } = outcome?;
    let mut answer = json!({"redirect": false, "token": token.as_str(), "user": user});
    if let (true, Some(members)) = (is_new, answer.as_object_mut()) {
        members.insert("afterUserCreate".to_owned(), json!({"user": user}));
    }
    Ok(auth.session_started(&token, proof.remembered)?.json(answer))
}

struct SignedIn {
    token: Token,
    user: User,
    is_new: bool,
}

/// The outer error rolls back; the inner one is a refusal that is committed with the guess it cost.
async fn sign_in(
    auth: &Authenticator,
    transaction: &Transaction<'_>,
    proof: &Proof,
) -> Result<Result<SignedIn, ApiError>, ApiError> {
    let identifier = needed(proof.identifier.clone())?;
    if !codes::guess(transaction, &auth.reader.signer, &identifier, &proof.code).await? {
        let message = "This code is not valid.";
        return Ok(Err(ApiError::new(StatusCode::BAD_REQUEST, "INVALID_OTP", message)));
    }
    let (user, is_new) = find_or_create(auth, transaction, &identifier, proof).await?;
    if user.barred {
        return Ok(Err(banned()));
    }
    let user = users::mark_verified(transaction, &identifier, user).await?;
    let token = sessions::start(transaction, &user.id, proof.remembered).await?;
    Ok(Ok(SignedIn { token, user, is_new }))
}

async fn find_or_create(
    auth: &Authenticator,
    transaction: &Transaction<'_>,
    identifier: &Identifier,
    proof: &Proof,
) -> Result<(User, bool), ApiError> {
    if let Some(user) = users::find(transaction, identifier).await? {
        return Ok((user, false));
    }
    let of_admins = identifier
        .email_domain()
        .is_some_and(|domain| auth.options.admin_domains.iter().any(|admins| admins.eq_ignore_ascii_case(domain)));
    let new = NewUser {
        name: proof.name.clone(),
        role: if proof.create_admin && of_admins { Role::Admin } else { Role::User },
        date_of_birth: proof.date_of_birth,
        accepted: true,
    };
    if let Some(user) = users::create(transaction, identifier, &new).await? {
        return Ok((user, true));
    }
    // Somebody signed up with the same identifier a moment ago.
    let user = users::find(transaction, identifier).await?;
    user.map(|user| (user, false)).ok_or_else(ApiError::unavailable)
}

/// `Err` when a body names neither; `Ok(None)` when what it names is faulty, which has been noted. A phone number hides
/// the e-mail, which is then not looked at.
fn named(f: &mut Fields<'_>) -> Result<Option<Identifier>, Neither> {
    let mut given = false;
    let phone = f.nullable("phoneNumber", |place| {
        given = true;
        phone(place)
    });
    if given {
        return Ok(phone);
    }
    let email = f.nullable("email", |place| {
        given = true;
        email(place)
    });
    if given { Ok(email) } else { Err(Neither) }
}

struct Neither;

fn required_identifier(f: &mut Fields<'_>) -> Option<Identifier> {
    named(f).unwrap_or_else(|Neither| {
        f.miss("email");
        None
    })
}

/// What reading the body has made sure of.
pub(super) fn needed(identifier: Option<Identifier>) -> Result<Identifier, ApiError> {
    identifier.ok_or_else(|| ApiError::validation(Vec::new()))
}

pub(super) fn email(place: &mut Place<'_>) -> Option<Identifier> {
    let text = text(1..=320)(place)?;
    Identifier::email(&text).or_else(|| place.refuse("must be an e-mail address"))
}

fn phone(place: &mut Place<'_>) -> Option<Identifier> {
    let text = text(1..=64)(place)?;
    Identifier::phone(&text).or_else(|| place.refuse("must be a phone number"))
}

fn date(place: &mut Place<'_>) -> Option<NaiveDate> {
    let text = text(1..=64)(place)?;
    let date = NaiveDate::parse_from_str(&text, "%Y-%m-%d").ok().filter(|_| text.len() == 10);
    date.or_else(|| place.refuse("must be a date such as 1990-12-31"))
}
