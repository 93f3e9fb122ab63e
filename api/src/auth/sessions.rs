//! Sessions live in Postgres only (CONTRACT 2.3): what is deleted there is over, for cookie and bearer alike.

use std::collections::HashMap;
use std::time::Duration;

use chrono::{DateTime, Utc};
use dpg_eventstore::{Client, Database, Transaction};
use serde::Serialize;
use uuid::Uuid;

use super::authenticator::Role;
use super::error::StoreError;
use super::queries;
use super::token::{Token, TokenHash};
use super::users::{self, User};
use crate::probe::{Lookup, within_time};

/// Seven days, in seconds.
const LIFETIME: f64 = 604_800.0;
/// One day, in seconds: `rememberMe: false`.
const SHORT_LIFETIME: f64 = 86_400.0;

/// Starts a session and gives its token.
pub(super) async fn start(transaction: &Transaction<'_>, user_id: &str, remembered: bool) -> Result<Token, StoreError> {
    let token = Token::random();
    let lifetime = if remembered { LIFETIME } else { SHORT_LIFETIME };
    transaction
        .execute(
            queries::CREATE_SESSION,
            &[&Uuid::now_v7(), &token.hash().as_slice(), &user_id, &lifetime, &remembered],
        )
        .await?;
    Ok(token)
}

/// Ends a session; false when there was none.
pub(super) async fn end(client: &Client, token: &Token) -> Result<bool, StoreError> {
    Ok(client.execute(queries::DELETE_SESSION, &[&token.hash().as_slice()]).await? > 0)
}

/// Extends a session that was last extended more than a day ago.
pub(super) async fn extend(client: &Client, hash: &TokenHash) -> Result<(), StoreError> {
    client.execute(queries::EXTEND_SESSION, &[&hash.as_slice(), &LIFETIME]).await?;
    Ok(())
}

/// A session as `get-session` shows it.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Session {
    id: String,
    token: String,
    user_id: String,
    #[serde(serialize_with = "users::time")]
    expires_at: DateTime<Utc>,
    #[serde(serialize_with = "users::time")]
    created_at: DateTime<Utc>,
    #[serde(serialize_with = "users::time")]
    updated_at: DateTime<Utc>,
    // Existing clients expect the keys; where somebody signed in from is not kept.
    ip_address: &'static str,
    user_agent: &'static str,
    #[serde(skip)]
    pub(super) extends: bool,
}

/// The live session of a token, extended if due.
pub(super) async fn open(client: &Client, token: &Token) -> Result<Option<(Session, User)>, StoreError> {
    extend(client, &token.hash()).await?;
    let Some(row) = client.query_opt(queries::SESSION_WITH_USER, &[&token.hash().as_slice()]).await? else {
        return Ok(None);
    };
    let user = User::read(&row)?;
    let session = Session {
        id: row.try_get::<_, Uuid>("session_id")?.to_string(),
        token: token.as_str().to_owned(),
        user_id: user.id.clone(),
        expires_at: row.try_get("session_expires_at")?,
        created_at: row.try_get("session_created_at")?,
        updated_at: row.try_get("session_updated_at")?,
        ip_address: "",
        user_agent: "",
        extends: row.try_get("session_extends")?,
    };
    Ok(Some((session, user)))
}

/// The user of a live session.
#[derive(Debug, Clone)]
pub(super) struct LiveSession {
    pub(super) user_id: String,
    pub(super) role: Role,
    pub(super) extension_due: bool,
}

/// Looks up live sessions, all that wait in one query.
pub(super) struct SessionLookup {
    pub(super) database: Database,
    pub(super) time_out: Duration,
}

#[async_trait::async_trait]
impl Lookup for SessionLookup {
    type Key = TokenHash;
    type Found = LiveSession;
    type Error = StoreError;

    async fn look_up(&self, asked: &[(TokenHash, usize)]) -> Result<HashMap<TokenHash, LiveSession>, StoreError> {
        let hashes: Vec<&[u8]> = asked.iter().map(|(hash, _)| hash.as_slice()).collect();
        let rows = within_time::<_, StoreError>(&self.database, self.time_out, async |client| {
            let statement = client.prepare_cached(queries::LIVE_SESSIONS).await?;
            client.query(&statement, &[&hashes]).await
        })
        .await?;
        let mut found = HashMap::with_capacity(rows.len());
        for row in rows {
            let hash: &[u8] = row.try_get("token_hash")?;
            let hash = TokenHash::try_from(hash).map_err(|_length| StoreError::Unreadable("token_hash"))?;
            let session = LiveSession {
                user_id: row.try_get("user_id")?,
                role: Role::read(row.try_get("role")?)?,
                extension_due: row.try_get("extension_due")?,
            };
            found.insert(hash, session);
        }
        Ok(found)
    }
}
