//! What can go wrong with the store, and the refusals that several places share.

use std::error::Error;
use std::sync::Arc;

use actix_web::http::StatusCode;
use dpg_eventstore::{Chain, DatabaseError};
use tokio_postgres::error::SqlState;

use crate::http::ApiError;
use crate::probe::{ProbeError, TimedOut};

/// Why authentication can't start with these settings.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    /// `CREATE_TEST_OTP` in production would let anybody sign in as anybody.
    #[error("CREATE_TEST_OTP is refused in production")]
    TestCodesInProduction,
    /// A metric has the name of another.
    #[error("the metrics of authentication could not be made")]
    Metrics(#[from] prometheus::Error),
    /// An empty secret signs nothing.
    #[error("AUTH_SECRET must have at least 8 characters")]
    Secret,
}

/// Why the store gave no answer.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// No connection.
    #[error(transparent)]
    Database(#[from] DatabaseError),
    /// A statement failed.
    #[error("an identity statement failed")]
    Sql(#[from] tokio_postgres::Error),
    /// The database did not answer in time.
    #[error("the database did not answer in time")]
    TimedOut,
    /// More requests wait than the queue holds, or the server is going down.
    #[error("the authentication queue takes no more requests")]
    Queue,
    /// A shared query failed, for all who waited for it.
    #[error(transparent)]
    Shared(Arc<StoreError>),
    /// A row holds what this binary doesn't know.
    #[error("the {0} column holds an unknown value")]
    Unreadable(&'static str),
}

impl StoreError {
    /// Whether trying again shortly may help.
    fn is_unavailable(&self) -> bool {
        match self {
            Self::Database(_) | Self::TimedOut | Self::Queue => true,
            Self::Shared(error) => error.is_unavailable(),
            Self::Unreadable(_) => false,
            Self::Sql(error) => is_passing(error),
        }
    }
}

/// A lost connection, a server that starts, stops or is full, a time-out.
fn is_passing(error: &tokio_postgres::Error) -> bool {
    let Some(state) = error.code() else {
        return error.is_closed() || error.source().is_some_and(|source| source.is::<std::io::Error>());
    };
    let class = state.code().get(..2).unwrap_or_default();
    matches!(class, "08" | "40" | "53" | "57" | "58") || *state == SqlState::LOCK_NOT_AVAILABLE
}

impl From<TimedOut> for StoreError {
    fn from(_: TimedOut) -> Self {
        Self::TimedOut
    }
}

impl From<ProbeError<Self>> for StoreError {
    fn from(error: ProbeError<Self>) -> Self {
        match error {
            ProbeError::Queue => Self::Queue,
            ProbeError::Failed(error) => Self::Shared(error),
        }
    }
}

impl From<StoreError> for ApiError {
    fn from(error: StoreError) -> Self {
        if error.is_unavailable() {
            tracing::warn!(error = %Chain(&error), "no answer from the identity tables");
            return Self::unavailable();
        }
        Self::internal(&error)
    }
}

/// 401 of the user tier.
pub(super) fn unauthorized() -> ApiError {
    ApiError::new(StatusCode::UNAUTHORIZED, "UNAUTHORIZED", "Sign in or send an API key.")
}

/// 403 for a key that is unknown, expired, disabled or of a banned user: not told apart.
pub(super) fn invalid_api_key() -> ApiError {
    ApiError::new(StatusCode::FORBIDDEN, "INVALID_API_KEY", "This API key is not valid.")
}

/// 403 for whoever has proven to be a banned user.
pub(super) fn banned() -> ApiError {
    ApiError::new(StatusCode::FORBIDDEN, "BANNED_USER", "This account is banned.")
}

/// 429 with the seconds after which a call is admitted again.
pub(super) fn rate_limited(retry_after: u64) -> ApiError {
    ApiError::new(StatusCode::TOO_MANY_REQUESTS, "RATE_LIMITED", "Too many requests.").with_retry_after(retry_after)
}
