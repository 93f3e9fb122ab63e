//! Who is calling: users, sessions, API keys, one-time codes (CONTRACT 2.1 to 2.4 and 10).
//!
//! Secrets have no place in an immutable log, so all of this lives in ordinary tables. Nothing is cached: each request
//! asks Postgres, which is what makes a sign-out or a deleted key take effect at once. That stays cheap because all
//! requests that wait share one query (see `crate::probe`).

mod admission;
mod authenticator;
mod codes;
mod cookie;
mod credential;
mod credentials;
pub mod delivery;
mod error;
mod identifier;
pub mod keys;
mod limits;
mod operator;
mod options;
mod origin;
mod passwords;
mod prune;
mod queries;
mod routes;
mod sessions;
mod token;
mod users;

pub use authenticator::{Authenticator, Caller, Role, Via};
pub use error::{SetupError, StoreError};
pub use operator::Operator;
pub use options::AuthOptions;
pub use prune::prune;
pub use routes::configure;

/// Whether somebody here has this id.
///
/// # Errors
/// When the store can't be asked.
pub async fn user_exists(database: &dpg_eventstore::Database, id: &str) -> Result<bool, StoreError> {
    let client = database.client().await?;
    Ok(users::by_id(&client, id).await?.is_some())
}

#[cfg(test)]
pub(crate) mod tests;
