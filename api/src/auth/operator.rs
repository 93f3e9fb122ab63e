//! Who may work the operator's routes (CONTRACT 4.24): the admin key, or an API key whose owner is an admin. Sessions are
//! never looked at.

use actix_web::http::StatusCode;
use actix_web::http::header::HeaderMap;
use subtle::ConstantTimeEq;

use super::authenticator::{Authenticator, Role};
use super::error::unauthorized;
use crate::config::Secret;
use crate::http::{ApiError, Form};

const ADMIN_KEY: &str = "x-admin-key";
const API_KEY: &str = "x-api-key";

/// Who did something, as it is kept with the lane or the parked event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Operator(pub String);

impl Authenticator {
    /// The operator behind a request; `admin_key` is `ADMIN_KEY`. `AUTH_MIDDLEWARE_ENABLED` changes nothing here.
    ///
    /// # Errors
    /// 401 `UNAUTHORIZED`, 403 `INVALID_ADMIN_KEY`, `INVALID_API_KEY`, `ADMIN_REQUIRED`, 429 `RATE_LIMITED` in the user
    /// form; 503 when the database is away.
    pub async fn operator(
        &self,
        headers: &HeaderMap,
        admin_key: Option<&Secret<String>>,
    ) -> Result<Operator, ApiError> {
        let found = match (headers.get(ADMIN_KEY), headers.get(API_KEY)) {
            (Some(sent), _) => by_admin_key(sent.as_bytes(), admin_key),
            (None, Some(key)) => match self.key_owner(key.as_bytes()).await {
                Ok(caller) if caller.role == Role::Admin => Ok(Operator(caller.user_id)),
                Ok(_) => Err(refusal("ADMIN_REQUIRED", "The owner of this API key is no admin.")),
                Err(error) => Err(error),
            },
            (None, None) => Err(unauthorized()),
        };
        found.map_err(|error| if error.status.is_client_error() { error.with_form(Form::User) } else { error })
    }
}

/// Without a configured key none is right.
fn by_admin_key(sent: &[u8], configured: Option<&Secret<String>>) -> Result<Operator, ApiError> {
    match configured {
        Some(key) if bool::from(key.expose().as_bytes().ct_eq(sent)) => Ok(Operator("admin key".to_owned())),
        _ => Err(refusal("INVALID_ADMIN_KEY", "This admin key is not valid.")),
    }
}

fn refusal(code: &'static str, message: &str) -> ApiError {
    ApiError::new(StatusCode::FORBIDDEN, code, message)
}
