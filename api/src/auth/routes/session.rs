//! `get-session` and `sign-out`.

use actix_web::{HttpRequest, HttpResponse, web};
use serde_json::{Value, json};

use crate::auth::authenticator::Authenticator;
use crate::auth::credential::Credential;
use crate::auth::error::invalid_api_key;
use crate::auth::{sessions, users};
use crate::http::ApiError;
use crate::http::body::read_optional_json;

/// `GET /api/auth/get-session`.
pub(super) async fn get_session(
    request: HttpRequest,
    auth: web::Data<Authenticator>,
) -> Result<HttpResponse, ApiError> {
    let (token, by_cookie) = match auth.reader.read(request.headers()) {
        Credential::ApiKey(key) => return key_owner(&auth, &key).await,
        Credential::Bearer(token) => (token, false),
        Credential::Cookie(token) => (token, true),
        Credential::None => (None, false),
    };
    let client = auth.client().await?;
    let open = match &token {
        Some(token) => sessions::open(&client, token).await?.map(|open| (open, token)),
        None => None,
    };
    let Some(((session, user), token)) = open else { return signed_out(&auth, &request) };
    let mut response = HttpResponse::Ok();
    if by_cookie && session.extends {
        // The session may have been extended since the browser got its cookie; so is the cookie.
        response = auth.cookie_renewed(token)?;
    }
    Ok(response.json(json!({"session": session, "user": user})))
}

async fn key_owner(auth: &Authenticator, key: &[u8]) -> Result<HttpResponse, ApiError> {
    let caller = auth.key_owner(key).await?;
    let user = users::by_id(&auth.client().await?, &caller.user_id).await?.ok_or_else(invalid_api_key)?;
    Ok(HttpResponse::Ok().json(json!({"session": null, "user": user})))
}

/// The cookie is cleared, unless the call comes from a page that has no say in it: that one could sign the user out.
fn signed_out(auth: &Authenticator, request: &HttpRequest) -> Result<HttpResponse, ApiError> {
    if auth.reader.origins.cookie_counts(request.headers()) {
        Ok(auth.cookie_cleared()?.json(Value::Null))
    } else {
        Ok(HttpResponse::Ok().json(Value::Null))
    }
}

/// `POST /api/auth/sign-out`.
pub(super) async fn sign_out(
    request: HttpRequest,
    payload: web::Payload,
    auth: web::Data<Authenticator>,
) -> Result<HttpResponse, ApiError> {
    auth.check_origin(request.headers())?;
    read_optional_json(&request, payload).await?;
    // The user interface sends both; neither may stay behind.
    let bearer = auth.reader.bearer(request.headers()).flatten();
    let cookie = auth.reader.cookie_token(request.headers()).flatten();
    for token in bearer.iter().chain(&cookie) {
        sessions::end(&auth.client().await?, token).await?;
    }
    Ok(auth.cookie_cleared()?.json(json!({"success": true})))
}
