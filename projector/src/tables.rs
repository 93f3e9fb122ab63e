//! The projected tables and their partitions. A partition is built detached and then attached, in a transaction of its
//! own under an advisory lock, with a short `lock_timeout` and another try: so it never queues in front of a reader or a
//! fold. (`PARTITION OF` behind one long reader stalls everybody; attaching takes a lock that they don't mind.)

use std::time::Duration;

use dpg_eventstore::{Database, DatabaseError, migrate};
use tokio_postgres::error::SqlState;

use crate::naming;
use crate::projection::Projection;

const PARTITION_LOCK: i64 = 0x0044_5047_5052_4f4a; // "DPGPROJ"
const TRIES: u32 = 100;
const PAUSE: Duration = Duration::from_millis(60);

/// Why a table could not be made.
#[derive(Debug, thiserror::Error)]
pub enum TablesError {
    /// No connection.
    #[error(transparent)]
    Database(#[from] DatabaseError),
    /// A statement failed, or a lock was not to be had after many tries.
    #[error("a projected table could not be made")]
    Sql(#[from] tokio_postgres::Error),
    /// A key that no partition can have.
    #[error("a partition key is blank or longer than 120 characters")]
    Key,
    /// All names of a key are taken.
    #[error("no name is left for a partition")]
    Names,
}

/// Makes tables and partitions. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Tables {
    database: Database,
}

impl Tables {
    /// For the tables of this database.
    #[must_use]
    pub fn new(database: Database) -> Self {
        Self { database }
    }

    /// Makes the live schemas and their tables, without partitions. Safe to call from many processes at once; the schema
    /// must have been migrated.
    ///
    /// # Errors
    /// As the database says.
    pub async fn ensure(&self) -> Result<(), TablesError> {
        let mut client = self.database.client().await?;
        let transaction = migrate::locked(&mut client).await?;
        for projection in Projection::ALL {
            let schema = projection.live_schema();
            let table = format!("{schema}.{projection}");
            let row = transaction.query_one("select to_regclass($1) is not null", &[&table]).await?;
            if !row.try_get::<_, bool>(0)? {
                let (tables, indexes) = (projection.table_sql(schema), projection.index_sql(schema));
                transaction.batch_execute(&format!("create schema if not exists {schema}; {tables} {indexes}")).await?;
            }
        }
        transaction.commit().await?;
        Ok(())
    }

    /// Makes the partition for a domain's items. Cheap when it is there.
    ///
    /// # Errors
    /// [`TablesError::Key`] for a key that can't have one; otherwise as the database says.
    pub async fn ensure_item_partition(&self, network: &str, domain: &str) -> Result<(), TablesError> {
        self.ensure_partition(Projection::Items, network, domain).await
    }

    /// Makes the partitions for an action type, of the actions and of their events. Cheap when they are there.
    ///
    /// # Errors
    /// As [`Tables::ensure_item_partition`].
    pub async fn ensure_action_partition(&self, network: &str, action_type: &str) -> Result<(), TablesError> {
        self.ensure_partition(Projection::ItemActions, network, action_type).await?;
        self.ensure_partition(Projection::ActionEvents, network, action_type).await
    }

    pub(crate) async fn ensure_partition(
        &self,
        projection: Projection,
        network: &str,
        key: &str,
    ) -> Result<(), TablesError> {
        if !naming::is_key(network) || !naming::is_key(key) {
            return Err(TablesError::Key);
        }
        let mut attempt = 1;
        loop {
            match self.try_partition(projection, network, key).await {
                Err(TablesError::Sql(error)) if attempt < TRIES && is_busy(&error) => {
                    tracing::debug!(%projection, network, key, attempt, "the table is busy, trying again to attach");
                    tokio::time::sleep(PAUSE).await;
                    attempt += 1;
                }
                result => return result,
            }
        }
    }

    /// Makes what a failed fold of `(low, high]` was missing; `false` when nothing was.
    pub(crate) async fn ensure_for_range(
        &self,
        projection: Projection,
        network: &str,
        low: i64,
        high: i64,
    ) -> Result<bool, TablesError> {
        let sql = format!(
            "select distinct key from (
                 select {} as key from event_log l
                  where l.network = $1 and l.position > $2 and l.position <= $3 and l.event_type = any ($4)
             ) as keys
              where key is not null and not exists (
                 select from partition_names n join partition_names p on n.parent = p.name
                  where p.parent = $5 and p.key = $1 and n.key = keys.key)",
            projection.partition_key_of_event()
        );
        let client = self.database.client().await?;
        let rows =
            client.query(&sql, &[&network, &low, &high, &projection.event_types(), &projection.as_str()]).await?;
        drop(client);
        let mut made = false;
        for row in rows {
            let key: String = row.try_get(0)?;
            if naming::is_key(&key) {
                self.ensure_partition(projection, network, &key).await?;
                made = true;
            }
        }
        Ok(made)
    }

    async fn try_partition(&self, projection: Projection, network: &str, key: &str) -> Result<(), TablesError> {
        let mut client = self.database.client().await?;
        let table = projection.as_str();
        if let Some(parent) = registered(&client, table, network).await?
            && registered(&client, &parent, key).await?.is_some()
        {
            return Ok(());
        }
        let transaction = client.transaction().await?;
        transaction.batch_execute("set local lock_timeout = '200ms'").await?;
        transaction.execute("select pg_advisory_xact_lock($1)", &[&PARTITION_LOCK]).await?;
        make(&transaction, projection, network, key).await?;
        transaction.commit().await?;
        Ok(())
    }
}

fn is_busy(error: &tokio_postgres::Error) -> bool {
    matches!(error.code(), Some(&SqlState::LOCK_NOT_AVAILABLE | &SqlState::T_R_DEADLOCK_DETECTED))
}

/// The leaf first, then what leads to it, so that each attach adds something complete.
async fn make(
    transaction: &tokio_postgres::Transaction<'_>,
    projection: Projection,
    network: &str,
    key: &str,
) -> Result<(), TablesError> {
    let (schema, table) = (projection.live_schema(), projection.as_str());
    let prefix = projection.partition_prefix();
    let known = registered_in(transaction, table, network).await?;
    let parent = match &known {
        Some(name) => name.clone(),
        None => {
            let name = choose(transaction, prefix, &[network]).await?;
            let (_, second) = projection.partition_columns();
            transaction
                .batch_execute(&format!(
                    "create table {schema}.{name} (like {schema}.{table} including defaults including constraints)
                     partition by list ({second})"
                ))
                .await?;
            register(transaction, table, network, &name).await?;
            name
        }
    };
    if registered_in(transaction, &parent, key).await?.is_none() {
        let leaf = choose(transaction, prefix, &[network, key]).await?;
        transaction
            .batch_execute(&format!(
                "create table {schema}.{leaf} (like {schema}.{table} including defaults including constraints);
                 alter table {schema}.{parent} attach partition {schema}.{leaf} for values in ({});",
                literal(key)
            ))
            .await?;
        register(transaction, &parent, key, &leaf).await?;
    }
    if known.is_none() {
        transaction
            .batch_execute(&format!(
                "alter table {schema}.{table} attach partition {schema}.{parent} for values in ({})",
                literal(network)
            ))
            .await?;
    }
    Ok(())
}

const REGISTERED: &str = "select name from partition_names where parent = $1 and key = $2";

async fn registered(
    client: &tokio_postgres::Client,
    parent: &str,
    key: &str,
) -> Result<Option<String>, tokio_postgres::Error> {
    client.query_opt(REGISTERED, &[&parent, &key]).await?.map(|row| row.try_get(0)).transpose()
}

async fn registered_in(
    transaction: &tokio_postgres::Transaction<'_>,
    parent: &str,
    key: &str,
) -> Result<Option<String>, tokio_postgres::Error> {
    transaction.query_opt(REGISTERED, &[&parent, &key]).await?.map(|row| row.try_get(0)).transpose()
}

/// The first name that no other key has.
async fn choose(
    transaction: &tokio_postgres::Transaction<'_>,
    prefix: &str,
    keys: &[&str],
) -> Result<String, TablesError> {
    for name in naming::candidates(prefix, keys) {
        let taken = transaction.query_opt("select from partition_names where name = $1", &[&name]).await?;
        if taken.is_none() {
            return Ok(name);
        }
    }
    Err(TablesError::Names)
}

async fn register(
    transaction: &tokio_postgres::Transaction<'_>,
    parent: &str,
    key: &str,
    name: &str,
) -> Result<(), tokio_postgres::Error> {
    transaction
        .execute("insert into partition_names (parent, key, name) values ($1, $2, $3)", &[&parent, &key, &name])
        .await?;
    Ok(())
}

/// A string as an SQL literal: partition bounds can't be parameters.
fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}
