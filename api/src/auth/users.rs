//! Users: found by the identifier that was proven, and by nothing else (trap 37).

use chrono::{DateTime, NaiveDate, SecondsFormat, Utc};
use dpg_eventstore::Transaction;
use serde::{Serialize, Serializer};
use tokio_postgres::Row;
use uuid::Uuid;

use super::authenticator::Role;
use super::error::StoreError;
use super::identifier::Identifier;
use super::queries;

/// A user as `/api/auth` shows it (CONTRACT 10).
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct User {
    pub(super) id: String,
    name: String,
    email: Option<String>,
    email_verified: bool,
    image: Option<String>,
    #[serde(serialize_with = "time")]
    created_at: DateTime<Utc>,
    #[serde(serialize_with = "time")]
    updated_at: DateTime<Utc>,
    role: Role,
    banned: bool,
    ban_reason: Option<String>,
    #[serde(serialize_with = "optional_time")]
    ban_expires: Option<DateTime<Utc>>,
    phone_number: Option<String>,
    phone_number_verified: bool,
    date_of_birth: Option<NaiveDate>,
    terms_accepted: bool,
    privacy_accepted: bool,
    /// Banned now.
    #[serde(skip)]
    pub(super) barred: bool,
}

impl User {
    /// Reads the columns of `queries::user_columns`.
    pub(super) fn read(row: &Row) -> Result<Self, StoreError> {
        Ok(Self {
            id: row.try_get("id")?,
            name: row.try_get("name")?,
            email: row.try_get("email")?,
            email_verified: row.try_get("email_verified")?,
            image: row.try_get("image")?,
            created_at: row.try_get("created_at")?,
            updated_at: row.try_get("updated_at")?,
            role: Role::read(row.try_get("role")?)?,
            banned: row.try_get("banned")?,
            ban_reason: row.try_get("ban_reason")?,
            ban_expires: row.try_get("ban_expires")?,
            phone_number: row.try_get("phone_number")?,
            phone_number_verified: row.try_get("phone_number_verified")?,
            date_of_birth: row.try_get("date_of_birth")?,
            terms_accepted: row.try_get("terms_accepted")?,
            privacy_accepted: row.try_get("privacy_accepted")?,
            barred: row.try_get("barred")?,
        })
    }

    /// Made without proof of an identifier: nobody has shown yet that the account is theirs.
    fn is_unproven(&self) -> bool {
        !self.email_verified && !self.phone_number_verified
    }
}

/// Milliseconds and `Z`, as everywhere on the wire.
pub(super) fn time<S: Serializer>(time: &DateTime<Utc>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&time.to_rfc3339_opts(SecondsFormat::Millis, true))
}

pub(super) fn optional_time<S: Serializer>(at: &Option<DateTime<Utc>>, serializer: S) -> Result<S::Ok, S::Error> {
    match at {
        Some(at) => time(at, serializer),
        None => serializer.serialize_none(),
    }
}

/// What a new user starts with.
pub(super) struct NewUser {
    pub(super) name: Option<String>,
    pub(super) role: Role,
    pub(super) date_of_birth: Option<NaiveDate>,
    /// Terms and privacy notice.
    pub(super) accepted: bool,
}

pub(super) async fn by_id(client: &dpg_eventstore::Client, id: &str) -> Result<Option<User>, StoreError> {
    let statement = client.prepare_cached(queries::USER_BY_ID).await?;
    client.query_opt(&statement, &[&id]).await?.as_ref().map(User::read).transpose()
}

/// Finds the user of an identifier and locks it until the transaction ends.
pub(super) async fn find(transaction: &Transaction<'_>, identifier: &Identifier) -> Result<Option<User>, StoreError> {
    let query = match identifier {
        Identifier::Email(_) => queries::USER_BY_EMAIL,
        Identifier::Phone(_) => queries::USER_BY_PHONE,
    };
    transaction.query_opt(query, &[&identifier.as_str()]).await?.as_ref().map(User::read).transpose()
}

/// Makes a user; `None` when somebody was quicker.
pub(super) async fn create(
    transaction: &Transaction<'_>,
    identifier: &Identifier,
    new: &NewUser,
) -> Result<Option<User>, StoreError> {
    let (email, phone) = match identifier {
        Identifier::Email(email) => (Some(email), None),
        Identifier::Phone(phone) => (None, Some(phone)),
    };
    let id = Uuid::new_v4().to_string();
    let name = new.name.as_deref().map(str::trim).filter(|name| !name.is_empty()).unwrap_or("user");
    let row = transaction
        .query_opt(
            queries::CREATE_USER,
            &[&id, &name, &email, &phone, &new.role.as_str(), &new.date_of_birth, &new.accepted],
        )
        .await?;
    row.as_ref().map(User::read).transpose()
}

/// Marks an identifier as proven. If nobody had proven anything about this account yet, whoever made it with a password
/// may be somebody else: the password goes, and with it every session and key that came of it.
pub(super) async fn mark_verified(
    transaction: &Transaction<'_>,
    identifier: &Identifier,
    user: User,
) -> Result<User, StoreError> {
    let query = match identifier {
        Identifier::Email(_) => queries::VERIFY_EMAIL,
        Identifier::Phone(_) => queries::VERIFY_PHONE,
    };
    let Some(row) = transaction.query_opt(query, &[&user.id]).await? else { return Ok(user) };
    // An account that the operator made has no password: its keys are the operator's.
    if user.is_unproven() && transaction.execute(queries::DELETE_PASSWORD, &[&user.id]).await? > 0 {
        transaction.execute(queries::DELETE_SESSIONS_OF_USER, &[&user.id]).await?;
        transaction.execute(queries::DELETE_KEYS_OF_USER, &[&user.id]).await?;
    }
    User::read(&row)
}

/// Whether an account has this identifier.
pub(super) async fn exists(client: &dpg_eventstore::Client, identifier: &Identifier) -> Result<bool, StoreError> {
    let query = match identifier {
        Identifier::Email(_) => queries::EMAIL_IS_KNOWN,
        Identifier::Phone(_) => queries::PHONE_IS_KNOWN,
    };
    Ok(client.query_one(query, &[&identifier.as_str()]).await?.try_get(0)?)
}
