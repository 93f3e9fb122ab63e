//! Schema migrations: numbered SQL files, applied in order under one advisory lock.
//!
//! `IF NOT EXISTS` alone is not safe when five processes start at once (two of them fail on the catalogue's unique
//! index), so everything that makes tables at start goes through [`locked`].

use deadpool_postgres::Transaction;

use crate::database::{Client, Database, DatabaseError};

/// The advisory lock that serialises everything that changes the schema at start.
const MIGRATION_LOCK: i64 = 0x0044_5047_4d49_4752; // "DPGMIGR"

/// The migrations that this binary knows, oldest first. A file is never changed once it was released.
const MIGRATIONS: &[(&str, &str)] = &[
    ("0001_event_log", include_str!("../../sql/migrations/0001_event_log.sql")),
    ("0002_append", include_str!("../../sql/migrations/0002_append.sql")),
    ("0003_projections", include_str!("../../sql/migrations/0003_projections.sql")),
    ("0004_identity", include_str!("../../sql/migrations/0004_identity.sql")),
    ("0005_mirror", include_str!("../../sql/migrations/0005_mirror.sql")),
    ("0006_contracts", include_str!("../../sql/migrations/0006_contracts.sql")),
    ("0007_batches", include_str!("../../sql/migrations/0007_batches.sql")),
    ("0008_marks", include_str!("../../sql/migrations/0008_marks.sql")),
];

/// Why the schema could not be brought up to date.
#[derive(Debug, thiserror::Error)]
pub enum MigrateError {
    /// No connection.
    #[error(transparent)]
    Database(#[from] DatabaseError),
    /// A statement failed.
    #[error("a migration statement failed")]
    Sql(#[from] tokio_postgres::Error),
    /// A newer binary has migrated this database; this one must not write to it.
    #[error("the database is at schema version {found}, this binary knows {known}: start a newer binary")]
    Newer {
        /// The version found in the database.
        found: i32,
        /// The newest version that this binary knows.
        known: i32,
    },
}

/// Brings the schema up to date and returns how many migrations were applied. Safe to call from any number of processes
/// at once.
///
/// # Errors
/// [`MigrateError::Newer`] when the database is ahead of this binary; otherwise as the database says.
pub async fn migrate(database: &Database) -> Result<usize, MigrateError> {
    let mut client = database.client().await?;
    let transaction = locked(&mut client).await?;
    let applied = apply(&transaction).await?;
    transaction.commit().await?;
    Ok(applied)
}

/// Starts a transaction that holds the migration lock until it ends. For the tables of other rooms.
///
/// # Errors
/// As the database says.
pub async fn locked(client: &mut Client) -> Result<Transaction<'_>, tokio_postgres::Error> {
    let transaction = client.transaction().await?;
    transaction.batch_execute("set local statement_timeout = '60s'; set local lock_timeout = '60s'").await?;
    transaction.execute("select pg_advisory_xact_lock($1)", &[&MIGRATION_LOCK]).await?;
    Ok(transaction)
}

async fn apply(transaction: &Transaction<'_>) -> Result<usize, MigrateError> {
    transaction
        .batch_execute(
            "create table if not exists schema_migrations (
                 version int primary key, name text not null, applied_at timestamptz not null default now())",
        )
        .await?;
    let row = transaction.query_one("select coalesce(max(version), 0) from schema_migrations", &[]).await?;
    let found: i32 = row.try_get(0)?;
    let known = i32::try_from(MIGRATIONS.len()).unwrap_or(i32::MAX);
    if found > known {
        return Err(MigrateError::Newer { found, known });
    }
    let mut applied = 0;
    for (version, (name, sql)) in (1..).zip(MIGRATIONS) {
        if version > found {
            transaction.batch_execute(sql).await?;
            transaction
                .execute("insert into schema_migrations (version, name) values ($1, $2)", &[&version, name])
                .await?;
            applied += 1;
        }
    }
    Ok(applied)
}
