//! API keys (CONTRACT 10.8). The clear key is shown once; the store has its hash.

use chrono::{DateTime, Utc};
use dpg_eventstore::{Client, Database, Transaction};
use rand::Rng;
use serde::Serialize;
use serde_json::{Map, Value};
use tokio_postgres::Row;
use uuid::Uuid;

use super::admission::key_hash;
use super::authenticator::Role;
use super::error::StoreError;
use super::identifier::Identifier;
use super::queries;
use super::users::{self, NewUser, User};

/// Random letters in a key.
const LETTERS: usize = 64;

/// A key as `/api/auth/api-key` shows it.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ApiKey {
    id: String,
    config_id: &'static str,
    name: String,
    start: String,
    prefix: String,
    /// The clear key: only where it was just made.
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<String>,
    reference_id: String,
    user_id: String,
    enabled: bool,
    rate_limit_enabled: bool,
    rate_limit_time_window: i64,
    rate_limit_max: i32,
    request_count: i64,
    refill_interval: Option<i64>,
    refill_amount: Option<i64>,
    #[serde(serialize_with = "users::optional_time")]
    last_refill_at: Option<DateTime<Utc>>,
    remaining: Option<i64>,
    #[serde(serialize_with = "users::optional_time")]
    last_request: Option<DateTime<Utc>>,
    #[serde(serialize_with = "users::optional_time")]
    expires_at: Option<DateTime<Utc>>,
    #[serde(serialize_with = "users::time")]
    created_at: DateTime<Utc>,
    #[serde(serialize_with = "users::time")]
    updated_at: DateTime<Utc>,
    permissions: Option<Value>,
    metadata: Option<Value>,
}

impl ApiKey {
    fn read(row: &Row, key: Option<String>) -> Result<Self, StoreError> {
        let user_id: String = row.try_get("user_id")?;
        Ok(Self {
            id: row.try_get("id")?,
            config_id: "default",
            name: row.try_get("name")?,
            start: row.try_get("start")?,
            prefix: row.try_get("prefix")?,
            key,
            reference_id: user_id.clone(),
            user_id,
            enabled: row.try_get("enabled")?,
            rate_limit_enabled: true,
            rate_limit_time_window: row.try_get("rate_limit_time_window")?,
            rate_limit_max: row.try_get("rate_limit_max")?,
            request_count: row.try_get("request_count")?,
            refill_interval: None,
            refill_amount: None,
            last_refill_at: None,
            remaining: None,
            last_request: row.try_get("last_request")?,
            expires_at: row.try_get("expires_at")?,
            created_at: row.try_get("created_at")?,
            updated_at: row.try_get("updated_at")?,
            permissions: None,
            metadata: row.try_get("metadata")?,
        })
    }
}

/// What a new key is made of.
#[derive(Debug, Clone)]
pub(super) struct NewKey {
    pub(super) name: String,
    pub(super) prefix: String,
    /// Seconds.
    pub(super) expires_in: Option<i32>,
    pub(super) metadata: Option<Map<String, Value>>,
}

/// `INSTANCE_NAME` in lower case, letters and digits only, plus `_`.
#[must_use]
pub fn default_prefix(instance_name: &str) -> String {
    let mut prefix: String =
        instance_name.to_lowercase().chars().filter(|c| c.is_ascii_lowercase() || c.is_ascii_digit()).collect();
    prefix.push('_');
    prefix
}

pub(super) async fn insert(transaction: &Transaction<'_>, user_id: &str, new: NewKey) -> Result<ApiKey, StoreError> {
    let key = random_key(&new.prefix);
    let start: String = key.chars().take(6).collect();
    let expires_in = new.expires_in.map(f64::from);
    let metadata = new.metadata.map(Value::Object);
    let row = transaction
        .query_one(
            queries::CREATE_KEY,
            &[
                &Uuid::now_v7().to_string(),
                &new.name,
                &start,
                &new.prefix,
                &key_hash(key.as_bytes()),
                &user_id,
                &expires_in,
                &metadata,
            ],
        )
        .await?;
    ApiKey::read(&row, Some(key))
}

fn random_key(prefix: &str) -> String {
    let mut random = rand::rng();
    let letter = |_| {
        let letter = char::from(b'a' + random.random_range(0..26_u8));
        if random.random() { letter.to_ascii_uppercase() } else { letter }
    };
    prefix.chars().chain((0..LETTERS).map(letter)).collect()
}

pub(super) async fn list(client: &Client, user_id: &str) -> Result<Vec<ApiKey>, StoreError> {
    client.query(queries::KEYS_OF_USER, &[&user_id]).await?.iter().map(|row| ApiKey::read(row, None)).collect()
}

/// Deletes a key of this user; false when the user has no such key.
pub(super) async fn delete(client: &Client, user_id: &str, key_id: &str) -> Result<bool, StoreError> {
    Ok(client.query_opt(queries::DELETE_KEY, &[&key_id, &user_id]).await?.is_some())
}

/// A key that was just made for the operator.
#[derive(Clone)]
pub struct ClearKey {
    /// The key's id.
    pub id: String,
    /// The clear key, shown here and nowhere else.
    pub key: String,
    /// Its owner.
    pub user_id: String,
    /// Whether the owner was made for it.
    pub user_created: bool,
}

/// Why the operator gets no key.
#[derive(Debug, thiserror::Error)]
pub enum CreateKeyError {
    /// Nobody has this id or e-mail.
    #[error("there is no user {0}")]
    NoSuchUser(String),
    /// A user can be made from an e-mail address only.
    #[error("{0} is not an e-mail address")]
    NotAnEmail(String),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// For `dpg keys create`: a key for the user with this id or e-mail; with `create_user` the user is made from the e-mail
/// if there is none. That proves nothing about the e-mail, so it stays unverified.
///
/// # Errors
/// [`CreateKeyError`].
pub async fn create(
    database: &Database,
    user: &str,
    name: &str,
    prefix: String,
    create_user: bool,
) -> Result<ClearKey, CreateKeyError> {
    let mut client = database.client().await.map_err(StoreError::from)?;
    let (user_id, user_created) = owner(&mut client, user, create_user).await?;
    let new = NewKey { name: name.to_owned(), prefix, expires_in: None, metadata: None };
    let transaction = client.transaction().await.map_err(StoreError::from)?;
    let made = insert(&transaction, &user_id, new).await?;
    transaction.commit().await.map_err(StoreError::from)?;
    Ok(ClearKey { id: made.id, key: made.key.unwrap_or_default(), user_id, user_created })
}

async fn owner(client: &mut Client, user: &str, create_user: bool) -> Result<(String, bool), CreateKeyError> {
    if let Some(found) = users::by_id(client, user).await? {
        return Ok((found.id, false));
    }
    let Some(identifier) = Identifier::email(user) else {
        let text = user.to_owned();
        return Err(if create_user { CreateKeyError::NotAnEmail(text) } else { CreateKeyError::NoSuchUser(text) });
    };
    let transaction = client.transaction().await.map_err(StoreError::from)?;
    let found = users::find(&transaction, &identifier).await?;
    let (owner, created): (Option<User>, bool) = match found {
        None if create_user => {
            let new = NewUser { name: None, role: Role::User, date_of_birth: None, accepted: false };
            let made = users::create(&transaction, &identifier, &new).await?;
            let is_new = made.is_some();
            (if is_new { made } else { users::find(&transaction, &identifier).await? }, is_new)
        }
        found => (found, false),
    };
    transaction.commit().await.map_err(StoreError::from)?;
    let owner = owner.ok_or_else(|| CreateKeyError::NoSuchUser(user.to_owned()))?;
    Ok((owner.id, created))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_prefix_comes_from_the_instance_name() {
        assert_eq!(default_prefix("A"), "a_");
        assert_eq!(default_prefix("Instance-B 2"), "instanceb2_");
    }

    #[test]
    fn a_key_is_its_prefix_and_64_letters() {
        let key = random_key("a_");
        assert_eq!(key.len(), 66);
        assert!(key.strip_prefix("a_").unwrap().chars().all(|c| c.is_ascii_alphabetic()));
        assert_ne!(key, random_key("a_"));
    }
}
