//! From a request to its caller (CONTRACT 2.2).

use std::time::Duration;

use actix_web::http::header::HeaderMap;
use dpg_eventstore::Database;
use serde::Serialize;

use super::admission::{KeyLookup, key_hash};
use super::cookie::SessionCookie;
use super::credential::{Credential, CredentialReader};
use super::error::{SetupError, StoreError, invalid_api_key, rate_limited, unauthorized};
use super::options::AuthOptions;
use super::origin::Origins;
use super::sessions::{self, SessionLookup};
use super::token::{Signer, Token};
use crate::http::{ApiError, Form};
use crate::probe::Probe;

/// A little longer than the database's own `statement_timeout`, which is the better end.
const TIME_OUT: Duration = Duration::from_secs(6);

/// What a user may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Everybody.
    User,
    /// Made with `createAdmin` from one of `ADMIN_DOMAINS`.
    Admin,
}

impl Role {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::Admin => "admin",
        }
    }

    pub(super) fn read(text: &str) -> Result<Self, StoreError> {
        match text {
            "user" => Ok(Self::User),
            "admin" => Ok(Self::Admin),
            _ => Err(StoreError::Unreadable("role")),
        }
    }
}

/// Which kind of credential decided.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Via {
    /// `x-api-key`.
    ApiKey,
    /// Bearer token or cookie.
    Session,
}

/// The user of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    /// The user's id: the owner id of what the request makes.
    pub user_id: String,
    /// The user's role.
    pub role: Role,
    /// How the user was known.
    pub via: Via,
}

/// Authenticates requests. One per process, shared by all workers.
pub struct Authenticator {
    pub(super) database: Database,
    pub(super) options: AuthOptions,
    pub(super) reader: CredentialReader,
    sessions: Probe<SessionLookup>,
    keys: Probe<KeyLookup>,
}

impl std::fmt::Debug for Authenticator {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Authenticator").field("options", &self.options).finish_non_exhaustive()
    }
}

impl Authenticator {
    /// Starts the probes on the current tokio runtime, which has to outlive the server's workers.
    ///
    /// # Errors
    /// [`SetupError`] for settings that must not be served.
    pub fn start(database: Database, options: AuthOptions) -> Result<Self, SetupError> {
        if options.production && options.test_codes {
            return Err(SetupError::TestCodesInProduction);
        }
        let reader = CredentialReader {
            signer: Signer::new(options.secret.expose())?,
            cookie: SessionCookie::new(options.production),
            origins: Origins::new(&options),
        };
        let sessions = Probe::start(SessionLookup { database: database.clone(), time_out: TIME_OUT });
        let keys = Probe::start(KeyLookup { database: database.clone(), time_out: TIME_OUT });
        Ok(Self { database, options, reader, sessions, keys })
    }

    /// The user of a request that needs one.
    ///
    /// # Errors
    /// 401 `UNAUTHORIZED`, 403 `INVALID_API_KEY`, 429 `RATE_LIMITED` in the user form; 503 when the database is away.
    pub async fn user(&self, headers: &HeaderMap) -> Result<Caller, ApiError> {
        self.identify(headers).await.and_then(|caller| caller.ok_or_else(unauthorized)).map_err(in_user_form)
    }

    /// For the routes of the user tier that can do without a user when `AUTH_MIDDLEWARE_ENABLED=false` in development;
    /// otherwise the same as [`Authenticator::user`].
    ///
    /// # Errors
    /// As [`Authenticator::user`].
    pub async fn optional(&self, headers: &HeaderMap) -> Result<Option<Caller>, ApiError> {
        match self.identify(headers).await.map_err(in_user_form)? {
            None if self.options.production || self.options.auth_middleware_enabled => {
                Err(in_user_form(unauthorized()))
            }
            caller => Ok(caller),
        }
    }

    /// The caller, or `None` without a valid session. A key that is not valid is refused.
    pub(super) async fn identify(&self, headers: &HeaderMap) -> Result<Option<Caller>, ApiError> {
        match self.reader.read(headers) {
            Credential::ApiKey(key) => self.key_owner(&key).await.map(Some),
            Credential::Bearer(Some(token)) | Credential::Cookie(Some(token)) => Ok(self.session_user(&token).await?),
            Credential::Bearer(None) | Credential::Cookie(None) | Credential::None => Ok(None),
        }
    }

    /// The owner of a key, with one call counted.
    pub(super) async fn key_owner(&self, key: &[u8]) -> Result<Caller, ApiError> {
        let answer = self.keys.ask(key_hash(key)).await.map_err(StoreError::from)?;
        let admission = answer.found.ok_or_else(invalid_api_key)?;
        if answer.place >= admission.admitted {
            return Err(rate_limited(admission.retry_after));
        }
        Ok(Caller { user_id: admission.user_id, role: admission.role, via: Via::ApiKey })
    }

    async fn session_user(&self, token: &Token) -> Result<Option<Caller>, StoreError> {
        let hash = token.hash();
        let Some(session) = self.sessions.ask(hash).await?.found else { return Ok(None) };
        if session.extension_due {
            let client = self.database.client().await?;
            sessions::extend(&client, &hash).await?;
        }
        Ok(Some(Caller { user_id: session.user_id, role: session.role, via: Via::Session }))
    }
}

/// What is refused to the user has the user tier's form; that the database is away concerns everybody.
fn in_user_form(error: ApiError) -> ApiError {
    if error.status.is_client_error() { error.with_form(Form::User) } else { error }
}
