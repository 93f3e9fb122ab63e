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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::tests::run;

    /// A signature may be as much ahead of our clock as it may be behind it: so long it counts.
    #[tokio::test]
    async fn a_nonce_is_remembered_as_long_as_its_signature_counts() {
        run(async |bench| {
            let client = bench.database.client().await.unwrap();
            for (nonce, seconds) in [("counts", 605.0), ("counts no more", 665.0)] {
                assert!(remember(&bench.database, "https://b.example.org", nonce).await.unwrap());
                let sql = "update seen_nonces set seen_at = now() - $2 * interval '1 second' where nonce = $1";
                client.execute(sql, &[&nonce, &seconds]).await.unwrap();
            }
            assert_eq!(prune(&bench.database).await.unwrap(), 1);
            assert!(!remember(&bench.database, "https://b.example.org", "counts").await.unwrap());
            assert!(remember(&bench.database, "https://c.example.org", "counts").await.unwrap());
            assert!(remember(&bench.database, "https://b.example.org", "counts no more").await.unwrap());
        })
        .await;
    }
}
