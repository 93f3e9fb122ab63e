//! `api-key/*`: a signed-in user's own keys.

use actix_web::http::StatusCode;
use actix_web::http::header::HeaderMap;
use actix_web::{HttpRequest, HttpResponse, web};
use serde_json::{Value, json};

use crate::auth::authenticator::{Authenticator, Caller};
use crate::auth::credential::Credential;
use crate::auth::error::{StoreError, unauthorized};
use crate::auth::keys::{self, NewKey};
use crate::auth::sessions;
use crate::auth::token::Token;
use crate::http::ApiError;
use crate::http::body::read_json;
use crate::http::fields::{Place, read_body};
use crate::http::scalars::{integer, non_empty, object, text};

/// `POST /api/auth/api-key/create`.
pub(super) async fn create(
    request: HttpRequest,
    payload: web::Payload,
    auth: web::Data<Authenticator>,
) -> Result<HttpResponse, ApiError> {
    auth.check_origin(request.headers())?;
    let (caller, token) = session_caller(&auth, request.headers()).await?;
    let body = read_json(&request, payload).await?;
    refuse_server_only(&body)?;
    refuse_nameless(&body)?;
    let new = read_body(&body, |f| NewKey {
        name: f.required("name", text(1..=255)),
        prefix: f.nullable("prefix", prefix).unwrap_or_else(|| keys::default_prefix(&auth.options.instance_name)),
        expires_in: f
            .nullable("expiresIn", integer(1..=i64::from(i32::MAX)))
            .and_then(|seconds| i32::try_from(seconds).ok()),
        metadata: f.nullable("metadata", object),
    })?;
    let mut client = auth.client().await?;
    let transaction = client.transaction().await.map_err(StoreError::from)?;
    // A key outlives its session: one that is revoked at this moment must not leave a key behind.
    if !sessions::hold(&transaction, &token, &caller.user_id).await? {
        return Err(unauthorized());
    }
    let key = keys::insert(&transaction, &caller.user_id, new).await?;
    transaction.commit().await.map_err(StoreError::from)?;
    Ok(HttpResponse::Ok().json(key))
}

/// `GET /api/auth/api-key/list`.
pub(super) async fn list(request: HttpRequest, auth: web::Data<Authenticator>) -> Result<HttpResponse, ApiError> {
    let (caller, _) = session_caller(&auth, request.headers()).await?;
    let keys = keys::list(&auth.client().await?, &caller.user_id).await?;
    Ok(HttpResponse::Ok().json(json!({"apiKeys": keys, "total": keys.len()})))
}

/// `POST /api/auth/api-key/delete`.
pub(super) async fn delete(
    request: HttpRequest,
    payload: web::Payload,
    auth: web::Data<Authenticator>,
) -> Result<HttpResponse, ApiError> {
    auth.check_origin(request.headers())?;
    let (caller, _) = session_caller(&auth, request.headers()).await?;
    let body = read_json(&request, payload).await?;
    let key_id = read_body(&body, |f| f.required("keyId", non_empty))?;
    if !keys::delete(&auth.client().await?, &caller.user_id, &key_id).await? {
        return Err(ApiError::new(StatusCode::NOT_FOUND, "KEY_NOT_FOUND", "You have no such key."));
    }
    Ok(HttpResponse::Ok().json(json!({"success": true})))
}

/// A key must not be able to make or delete keys.
async fn session_caller(auth: &Authenticator, headers: &HeaderMap) -> Result<(Caller, Token), ApiError> {
    let caller = auth.identify(headers).await?;
    match (caller, auth.reader.read(headers)) {
        (Some(caller), Credential::Bearer(Some(token)) | Credential::Cookie(Some(token))) => Ok((caller, token)),
        _ => Err(unauthorized()),
    }
}

fn refuse_server_only(body: &Value) -> Result<(), ApiError> {
    let is_server_only = |key: &str| {
        matches!(key, "permissions" | "userId" | "remaining")
            || key.starts_with("refill")
            || key.starts_with("rateLimit")
    };
    match body.as_object().and_then(|body| body.keys().find(|key| is_server_only(key))) {
        Some(key) => {
            let message = format!("{key} can't be set by a client.");
            Err(ApiError::new(StatusCode::BAD_REQUEST, "SERVER_ONLY_PROPERTY", message))
        }
        None => Ok(()),
    }
}

fn refuse_nameless(body: &Value) -> Result<(), ApiError> {
    let name = body.get("name").and_then(Value::as_str).unwrap_or_default();
    if body.is_object() && name.trim().is_empty() {
        return Err(ApiError::new(StatusCode::BAD_REQUEST, "NAME_REQUIRED", "A key needs a name."));
    }
    Ok(())
}

fn prefix(place: &mut Place<'_>) -> Option<String> {
    let prefix = text(1..=32)(place)?;
    let fits = prefix.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-');
    if fits { Some(prefix) } else { place.refuse("may hold letters, digits, _ and - only") }
}
