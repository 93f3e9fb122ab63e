//! The passwords that users have, as hashes. A user who signs in by code only has none.

use dpg_eventstore::{Client, Transaction};

use super::error::StoreError;
use super::identifier::Identifier;
use super::queries;
use super::users::User;

/// Gives a new user a password.
pub(super) async fn store(transaction: &Transaction<'_>, user_id: &str, hash: &str) -> Result<(), StoreError> {
    transaction.execute(queries::STORE_PASSWORD, &[&user_id, &hash]).await?;
    Ok(())
}

/// Whoever has this e-mail, and the hash of the password if there is one: one query whatever there is.
pub(super) async fn find(
    client: &Client,
    identifier: &Identifier,
) -> Result<Option<(User, Option<String>)>, StoreError> {
    let row = client.query_opt(queries::PASSWORD_BY_EMAIL, &[&identifier.as_str()]).await?;
    row.map(|row| Ok((User::read(&row)?, row.try_get("password_hash")?))).transpose()
}

/// Whether the user still has the password with this hash, which then stays until the transaction ends.
pub(super) async fn hold(transaction: &Transaction<'_>, user_id: &str, hash: &str) -> Result<bool, StoreError> {
    Ok(transaction.query_opt(queries::HOLD_PASSWORD, &[&user_id, &hash]).await?.is_some())
}
