//! Nonces of signed writes, remembered for as long as their signatures count: 600 seconds, and a minute more, because the
//! signature's time and ours are compared by whole seconds, and this database has a clock of its own.

use dpg_eventstore::Database;
use dpg_eventstore::read::ReadError;

use super::QueryError;

/// Remembers a nonce; `false` when it was seen before.
///
/// # Errors
/// [`QueryError`].
pub async fn remember(database: &Database, keyid: &str, nonce: &str) -> Result<bool, QueryError> {
    let client = database.client().await?;
    let statement =
        client.prepare_cached("insert into seen_nonces (keyid, nonce) values ($1, $2) on conflict do nothing").await?;
    Ok(client.execute(&statement, &[&keyid, &nonce]).await? == 1)
}

/// Forgets those whose signature is too old by now; returns how many.
///
/// # Errors
/// As the database says.
pub async fn prune(database: &Database) -> Result<u64, ReadError> {
    let old = "select ctid from seen_nonces where seen_at < now() - interval '660 seconds' limit 10000";
    database.delete_in_batches(&format!("delete from seen_nonces where ctid = any (array({old}))")).await
}
