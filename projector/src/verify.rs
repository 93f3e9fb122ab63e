//! Proof that the tables are what the log says: everything is folded once more into a scratch schema, and compared row by
//! row with what is live.
//!
//! The live fold goes on meanwhile. The bulk is folded first; then one snapshot of the database gives the checkpoint, the
//! live rows that belong to it, and the few events that came since, so that both sides speak of the same position.

use dpg_eventstore::{Client, Database, DatabaseError};
use serde::Serialize;
use tokio_postgres::{IsolationLevel, Row, Transaction};
use uuid::Uuid;

use crate::log_check;
use crate::projection::Projection;

/// Positions per slice of the scratch fold: bounds what one statement sorts.
const SLICE: i64 = 1_000_000;
/// Differences of one kind that are listed one by one; the report tells how many there are in all.
pub(crate) const LISTED: i64 = 10_000;
const UNHURRIED: &str = "set local statement_timeout = 0; set local idle_in_transaction_session_timeout = 0";

/// Why there is no report.
#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    /// No connection.
    #[error(transparent)]
    Database(#[from] DatabaseError),
    /// A statement failed.
    #[error("a statement of the verification failed")]
    Sql(#[from] tokio_postgres::Error),
}

/// Something that is not as the log says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Difference {
    /// The table.
    pub place: String,
    /// Whose log.
    pub network: String,
    /// Which row, stream or position.
    pub subject: String,
    /// What is wrong with it.
    pub what: String,
}

impl std::fmt::Display for Difference {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} of {}: {}: {}", self.place, self.network, self.subject, self.what)
    }
}

impl Difference {
    /// From a row with its subject and what is wrong.
    pub(crate) fn of(place: &str, network: &str, row: &Row) -> Result<Self, tokio_postgres::Error> {
        Ok(Self {
            place: place.to_owned(),
            network: network.to_owned(),
            subject: row.try_get(0)?,
            what: row.try_get(1)?,
        })
    }
}

/// One projection of one network, both ways. The hashes are sums of row hashes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Comparison {
    /// The table.
    pub projection: String,
    /// Whose log.
    pub network: String,
    /// The position of both.
    pub position: i64,
    /// Rows that clients read.
    pub live_rows: i64,
    /// Rows that the log gives.
    pub fresh_rows: i64,
    /// Content of the live rows.
    pub live_hash: String,
    /// Content of the folded rows.
    pub fresh_hash: String,
    /// Rows that differ, all of them counted.
    pub differing: i64,
}

/// A stream that is held back; its rows are not compared.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Held {
    /// The table.
    pub projection: String,
    /// Whose log.
    pub network: String,
    /// The stream.
    pub stream_id: Uuid,
    /// The event that could not be folded.
    pub position: i64,
    /// What the database said.
    pub error: String,
}

/// What a verification found.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Report {
    /// What was compared.
    pub comparisons: Vec<Comparison>,
    /// What is wrong.
    pub differences: Vec<Difference>,
    /// What was left out of the comparison.
    pub held: Vec<Held>,
}

impl Report {
    /// Whether the tables are exactly what the log says, and the log is whole.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.differences.is_empty() && self.held.is_empty()
    }
}

/// Checks all networks: the log itself, then every projection. Needs two connections of `database`.
///
/// # Errors
/// As the database says. Differences are no error but the report's content.
pub async fn verify(database: &Database) -> Result<Report, VerifyError> {
    let scratch = Scratch::open(database).await?;
    let result = scratch.verify(database).await;
    let dropped = scratch.close().await;
    let report = result?;
    dropped?;
    Ok(report)
}

/// A schema of our own. An advisory lock of its session says that it is in use; what a killed run has left behind is
/// dropped by the next.
struct Scratch {
    session: Client,
    schema: String,
}

const LOCK: &str = "select pg_try_advisory_lock(hashtextextended($1, 0))";
const UNLOCK: &str = "select pg_advisory_unlock(hashtextextended($1, 0))";

impl Scratch {
    async fn open(database: &Database) -> Result<Self, VerifyError> {
        let session = database.client().await?;
        for row in session.query("select nspname::text from pg_namespace where nspname like 'verify\\_%'", &[]).await? {
            let left: String = row.try_get(0)?;
            if session.query_one(LOCK, &[&left]).await?.try_get(0)? {
                session.batch_execute(&format!("drop schema if exists {left} cascade")).await?;
                session.execute(UNLOCK, &[&left]).await?;
            }
        }
        let schema = format!("verify_{}", Uuid::now_v7().simple());
        session.query_one(LOCK, &[&schema]).await?;
        Ok(Self { session, schema })
    }

    async fn close(self) -> Result<(), VerifyError> {
        self.drop_schema().await?;
        self.session.execute(UNLOCK, &[&self.schema]).await?;
        Ok(())
    }

    async fn drop_schema(&self) -> Result<(), VerifyError> {
        self.session.batch_execute(&format!("drop schema if exists {} cascade", self.schema)).await?;
        Ok(())
    }

    async fn verify(&self, database: &Database) -> Result<Report, VerifyError> {
        let mut report = Report::default();
        let mut client = database.client().await?;
        for row in client.query("select network from log_head order by network", &[]).await? {
            let network: String = row.try_get(0)?;
            let snapshot = snapshot(&mut client).await?;
            report.differences.extend(log_check::check(&snapshot, &network).await?);
            snapshot.rollback().await?;
            for projection in Projection::ALL {
                self.compare(&mut client, projection, &network, &mut report).await?;
            }
        }
        Ok(report)
    }

    async fn compare(
        &self,
        client: &mut Client,
        projection: Projection,
        network: &str,
        report: &mut Report,
    ) -> Result<(), VerifyError> {
        let build = Build { schema: &self.schema, projection, network };
        self.drop_schema().await?;
        client.batch_execute(&build.tables()).await?;
        let folded = checkpoint(client, projection, network).await?;
        for slice in 0..=folded / SLICE {
            let transaction = client.transaction().await?;
            transaction.batch_execute(UNHURRIED).await?;
            let streams = format!(
                "(hashtextextended(l.stream_id::text, 0) & 9007199254740991) % {} = {slice}",
                folded / SLICE + 1
            );
            let sql = projection.fresh_sql(&self.schema, &streams);
            transaction.execute(&sql, &[&network, &0_i64, &folded]).await?;
            transaction.commit().await?;
        }
        let snapshot = snapshot(client).await?;
        let position = checkpoint(snapshot.client(), projection, network).await?;
        build.catch_up(&snapshot, folded, position).await?;
        build.compare(&snapshot, position, report).await?;
        snapshot.rollback().await?;
        Ok(())
    }
}

async fn checkpoint(
    client: &tokio_postgres::Client,
    projection: Projection,
    network: &str,
) -> Result<i64, tokio_postgres::Error> {
    let row = client
        .query_opt(
            "select position from projection_checkpoints where projection = $1 and network = $2",
            &[&projection.as_str(), &network],
        )
        .await?;
    row.map_or(Ok(0), |row| row.try_get(0))
}

async fn snapshot(client: &mut Client) -> Result<Transaction<'_>, tokio_postgres::Error> {
    let client: &mut tokio_postgres::Client = client;
    let transaction = client.build_transaction().isolation_level(IsolationLevel::RepeatableRead).start().await?;
    transaction.batch_execute(UNHURRIED).await?;
    Ok(transaction)
}

/// One projection of one network in the scratch schema.
struct Build<'a> {
    schema: &'a str,
    projection: Projection,
    network: &'a str,
}

impl Build<'_> {
    fn tables(&self) -> String {
        let Self { schema, projection, .. } = self;
        format!(
            "create schema {schema}; {}
             create unlogged table {schema}.all_rows partition of {schema}.{projection} default;",
            projection.table_sql(schema)
        )
    }

    /// From the bulk's position to the snapshot's: streams with later events are folded anew.
    async fn catch_up(&self, snapshot: &Transaction<'_>, from: i64, to: i64) -> Result<(), tokio_postgres::Error> {
        let Self { schema, projection, network } = self;
        let touched = format!(
            "delete from {schema}.{projection} where {} in (
                 select stream_id from event_log
                  where network = $1 and position > $2 and position <= $3 and event_type = any ($4))",
            projection.stream_column()
        );
        if *projection != Projection::ActionEvents {
            snapshot.execute(&touched, &[network, &from, &to, &projection.event_types()]).await?;
        }
        if *projection == Projection::ItemActions {
            let ended = format!(
                "delete from {schema}.{projection} where target_here and target_item_id in (
                     select stream_id from event_log
                      where network = $1 and position > $2 and position <= $3 and event_type = 'item.deleted')"
            );
            snapshot.execute(&ended, &[network, &from, &to]).await?;
        }
        snapshot.execute(&projection.fresh_sql(schema, "true"), &[network, &from, &to]).await?;
        if *projection == Projection::Items {
            // The private half of an item that is deleted beyond the snapshot's position is gone already, and live may
            // still show it.
            let gone = format!(
                "update {schema}.items f set item_private_state = l.item_private_state
                   from items_live.items l, stream_heads h
                  where h.stream_id = f.item_id and not h.open and h.position > $2
                    and l.item_network = $1 and l.item_domain = f.item_domain and l.item_type = f.item_type
                    and l.item_id = f.item_id"
            );
            snapshot.execute(&gone, &[network, &to]).await?;
        }
        Ok(())
    }

    async fn compare(
        &self,
        snapshot: &Transaction<'_>,
        position: i64,
        report: &mut Report,
    ) -> Result<(), tokio_postgres::Error> {
        let both = self.both_sides();
        let sums = format!(
            "{both} select count(l.hash), count(f.hash), coalesce(sum(l.hash), 0)::text, coalesce(sum(f.hash), 0)::text,
                           count(*) filter (where l.hash is distinct from f.hash)
                      from live l full join fresh f on l.key = f.key"
        );
        let row = snapshot.query_one(&sums, &[&self.network]).await?;
        let comparison = Comparison {
            projection: self.projection.to_string(),
            network: self.network.to_owned(),
            position,
            live_rows: row.try_get(0)?,
            fresh_rows: row.try_get(1)?,
            live_hash: row.try_get(2)?,
            fresh_hash: row.try_get(3)?,
            differing: row.try_get(4)?,
        };
        if comparison.differing > 0 {
            let rows = format!(
                "{both} select coalesce(l.key, f.key)::text,
                               case when l.hash is null then 'missing' when f.hash is null then 'not in the log'
                                    else 'differs from the log' end
                          from live l full join fresh f on l.key = f.key
                         where l.hash is distinct from f.hash limit {LISTED}"
            );
            let rows = snapshot.query(&rows, &[&self.network]).await?;
            for row in &rows {
                report.differences.push(Difference::of(self.projection.as_str(), self.network, row)?);
            }
        }
        report.comparisons.push(comparison);
        self.list_held(snapshot, report).await?;
        if self.projection == Projection::Items {
            self.compare_counts(snapshot, report).await?;
        }
        Ok(())
    }

    /// `live` and `fresh`, each with a key and a hash per row, without the streams that are held back.
    fn both_sides(&self) -> String {
        let Self { schema, projection, .. } = self;
        let (network_column, _) = projection.partition_columns();
        let [one, two, three] = projection.key_columns();
        let stream = projection.stream_column();
        let side = |schema: &str| {
            format!(
                "select row(t.{one}, t.{two}, t.{three}) as key, hashtextextended(t::text, 0)::numeric as hash
                   from {schema}.{projection} t
                  where t.{network_column} = $1 and not exists (
                        select from quarantine q
                         where q.projection = '{projection}' and q.network = $1 and q.stream_id = t.{stream})"
            )
        };
        format!("with live as ({}), fresh as ({})", side(projection.live_schema()), side(schema))
    }

    async fn list_held(&self, snapshot: &Transaction<'_>, report: &mut Report) -> Result<(), tokio_postgres::Error> {
        let rows = snapshot
            .query(
                "select stream_id, position, error from quarantine
                  where projection = $1 and network = $2 order by position",
                &[&self.projection.as_str(), &self.network],
            )
            .await?;
        for row in &rows {
            report.held.push(Held {
                projection: self.projection.to_string(),
                network: self.network.to_owned(),
                stream_id: row.try_get(0)?,
                position: row.try_get(1)?,
                error: row.try_get(2)?,
            });
        }
        Ok(())
    }

    async fn compare_counts(
        &self,
        snapshot: &Transaction<'_>,
        report: &mut Report,
    ) -> Result<(), tokio_postgres::Error> {
        let rows = snapshot
            .query(
                "select coalesce(c.item_domain, r.item_domain),
                        format('says %s, there are %s', coalesce(c.count, 0), coalesce(r.count, 0))
                   from (select item_domain, count from items_live.item_counts where item_network = $1) as c
                   full join (select item_domain, count(*) as count from items_live.items
                               where item_network = $1 group by item_domain) as r on r.item_domain = c.item_domain
                  where coalesce(c.count, 0) <> coalesce(r.count, 0)",
                &[&self.network],
            )
            .await?;
        for row in &rows {
            report.differences.push(Difference::of("item_counts", self.network, row)?);
        }
        Ok(())
    }
}
