//! The SQL of contract versions: which one is in force, how another comes into force, and which domains are still to be
//! split again.

use std::time::Duration;

use chrono::{DateTime, Utc};
use dpg_eventstore::{Client, Database};
use serde_json::value::RawValue;
use tokio_postgres::types::Json;
use uuid::Uuid;

use super::VersionError;
use crate::contract::Binding;

/// Serialises whoever puts a contract in force.
const ACTIVATION_LOCK: i64 = 0x0044_5047_434f_4e54; // "DPGCONT"
/// First half of the keys under which processes hold the versions that they may still decide by.
const IN_USE_LOCK: i32 = 0x4450_4743; // "DPGC"

/// A version of the contract as it is stored.
#[derive(Debug, Clone)]
pub(super) struct Stored {
    /// Dense from 1.
    pub version: i64,
    /// When it came into force.
    pub created_at: DateTime<Utc>,
    /// SHA-256 of `documents`.
    pub digest: Vec<u8>,
    /// JSON of [`Documents`](crate::contract::Documents).
    pub documents: String,
}

/// What a process compares itself with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Seen {
    /// The version in force; 0 without one.
    pub version: i64,
    /// Domains that are still to be split again.
    pub unsplit: Vec<Binding>,
}

/// A contract that is to come into force.
#[derive(Debug)]
pub(super) struct Proposal<'p> {
    /// JSON of its documents.
    pub documents: &'p str,
    /// SHA-256 of it.
    pub digest: &'p [u8],
    /// The version that it was compared with; another one meanwhile, and nothing happens.
    pub after: i64,
    /// When reading the documents began, for a refetch.
    pub read_at: Option<DateTime<Utc>>,
    /// Domains that are to be split again.
    pub unsplit: &'p [Binding],
}

/// A contract that has come into force.
#[derive(Debug)]
pub(super) struct Activated {
    /// Its version.
    pub version: i64,
    /// When.
    pub created_at: DateTime<Utc>,
    /// All domains that are to be split again.
    pub unsplit: Vec<Binding>,
}

fn bindings(networks: Vec<String>, domains: Vec<String>) -> Vec<Binding> {
    networks.into_iter().zip(domains).map(|(network, domain)| Binding { network, domain }).collect()
}

/// The version in force, and what is unsplit, of one moment.
pub(super) async fn seen(client: &Client) -> Result<Seen, VersionError> {
    let sql = "select (select coalesce(max(version), 0) from contract_versions) as version,
                      coalesce(array_agg(network), '{}') as networks, coalesce(array_agg(domain), '{}') as domains
                 from contract_resplits";
    let row = client.query_one(&client.prepare_cached(sql).await?, &[]).await?;
    Ok(Seen { version: row.try_get("version")?, unsplit: bindings(row.try_get("networks")?, row.try_get("domains")?) })
}

/// The version in force, whole.
pub(super) async fn newest(client: &Client) -> Result<Option<Stored>, VersionError> {
    let sql = "select v.version, v.created_at::timestamptz, v.digest, d.documents::text
                 from contract_versions v join contract_documents d using (digest) order by v.version desc limit 1";
    let Some(row) = client.query_opt(sql, &[]).await? else { return Ok(None) };
    Ok(Some(Stored {
        version: row.try_get("version")?,
        created_at: row.try_get("created_at")?,
        digest: row.try_get("digest")?,
        documents: row.try_get("documents")?,
    }))
}

/// Puts a contract in force in one commit; `None` when another one came into force since it was proposed.
pub(super) async fn activate(database: &Database, proposal: &Proposal<'_>) -> Result<Option<Activated>, VersionError> {
    let mut client = database.client().await?;
    let transaction = client.transaction().await?;
    transaction.execute("select pg_advisory_xact_lock($1)", &[&ACTIVATION_LOCK]).await?;
    let newest: i64 =
        transaction.query_one("select coalesce(max(version), 0) from contract_versions", &[]).await?.try_get(0)?;
    if newest != proposal.after {
        return Ok(None);
    }
    let sql = "insert into contract_documents (digest, documents) values ($1, $2::text::json) on conflict do nothing";
    transaction.execute(sql, &[&proposal.digest, &proposal.documents]).await?;
    let sql = "insert into contract_versions (version, digest, read_at) values ($1, $2, $3)
               returning version, created_at::timestamptz";
    let made = transaction.query_one(sql, &[&(newest + 1), &proposal.digest, &proposal.read_at]).await?;
    let networks: Vec<&str> = proposal.unsplit.iter().map(|binding| binding.network.as_str()).collect();
    let domains: Vec<&str> = proposal.unsplit.iter().map(|binding| binding.domain.as_str()).collect();
    let sql = "insert into contract_resplits (network, domain, version)
               select u.network, u.domain, $1::bigint from unnest($2::text[], $3::text[]) as u (network, domain)
                -- The first contract of an empty log finds nothing that another has split.
                where $1::bigint > 1 or exists (select from log_head h where h.network = u.network and h.position > 0)
               on conflict (network, domain) do update
                  set version = excluded.version, since = excluded.since, swept = 0, leased_until = '-infinity'";
    transaction.execute(sql, &[&(newest + 1), &networks, &domains]).await?;
    let sql = "select coalesce(array_agg(network), '{}'), coalesce(array_agg(domain), '{}') from contract_resplits";
    let unsplit = transaction.query_one(sql, &[]).await?;
    let unsplit = bindings(unsplit.try_get(0)?, unsplit.try_get(1)?);
    let activated = Activated { version: made.try_get(0)?, created_at: made.try_get(1)?, unsplit };
    transaction.commit().await?;
    Ok(Some(activated))
}

/// The database's time, by which calls of different processes are compared.
pub(super) async fn now(database: &Database) -> Result<DateTime<Utc>, VersionError> {
    Ok(database.client().await?.query_one("select clock_timestamp()", &[]).await?.try_get(0)?)
}

/// Whose turn it is to refetch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Turn {
    /// The caller's, since this moment.
    Ours(DateTime<Utc>),
    /// A refetch that began after the call came has made this version.
    Served(i64),
    /// Nobody's for so long.
    Wait(Duration),
}

/// Takes the turn to refetch, if the last one began long enough ago, for a call that came at `came`.
pub(super) async fn take_turn(
    database: &Database,
    came: DateTime<Utc>,
    spacing: Duration,
) -> Result<Turn, VersionError> {
    let client = database.client().await?;
    let sql = "select max(version) from contract_versions where read_at >= $1";
    if let Some(version) = client.query_one(sql, &[&came]).await?.try_get(0)? {
        return Ok(Turn::Served(version));
    }
    let spacing = spacing.as_secs_f64();
    let sql = "update contract_refetch set began_at = clock_timestamp()
                where began_at + make_interval(secs => $1) <= clock_timestamp() returning began_at";
    if let Some(row) = client.query_opt(sql, &[&spacing]).await? {
        return Ok(Turn::Ours(row.try_get(0)?));
    }
    let sql = "select extract(epoch from began_at - clock_timestamp())::float8 + $1 from contract_refetch";
    let left: f64 = client.query_one(sql, &[&spacing]).await?.try_get(0)?;
    Ok(Turn::Wait(Duration::try_from_secs_f64(left).unwrap_or_default()))
}

/// Marks `version` as one that this process may decide by, for as long as the connection lives.
pub(super) async fn hold(client: &Client, version: i32) -> Result<(), VersionError> {
    client.execute("select pg_advisory_lock_shared($1, $2)", &[&IN_USE_LOCK, &version]).await?;
    Ok(())
}

/// Takes the mark away.
pub(super) async fn release(client: &Client, version: i32) -> Result<(), VersionError> {
    client.execute("select pg_advisory_unlock_shared($1, $2)", &[&IN_USE_LOCK, &version]).await?;
    Ok(())
}

/// Whether a process may still decide by a version before `version`. One that was stopped counts until it is gone.
pub(super) async fn older_in_use(database: &Database, version: i64) -> Result<bool, VersionError> {
    let sql = "select exists (select from pg_locks
                               where locktype = 'advisory' and objsubid = 2 and classid::bigint = $1 and objid::bigint < $2
                                 and database = (select oid from pg_database where datname = current_database()))";
    let client = database.client().await?;
    Ok(client.query_one(sql, &[&i64::from(IN_USE_LOCK), &version]).await?.try_get(0)?)
}

/// A domain that is to be split again, taken by a worker for a while.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Resplit {
    /// The domain.
    pub binding: Binding,
    /// The contract that asks for it.
    pub version: i64,
    /// Position up to which the log has been looked through.
    pub swept: i64,
    /// Whether the contract has been in force long enough for appends that were under way to have ended.
    pub settled: bool,
}

/// Takes a domain that nobody works on, for `lease`. Only one whose contract is known to the caller, who has `version`.
pub(super) async fn claim(
    database: &Database,
    version: i64,
    lease: Duration,
    settled: Duration,
) -> Result<Option<Resplit>, VersionError> {
    let sql = "update contract_resplits r set leased_until = clock_timestamp() + make_interval(secs => $2)
                where (r.network, r.domain) = (select c.network, c.domain from contract_resplits c
                                                where c.leased_until < clock_timestamp() and c.version <= $1
                                                order by c.leased_until limit 1 for update skip locked)
               returning r.network, r.domain, r.version, r.swept,
                         r.since + make_interval(secs => $3) < clock_timestamp() as settled";
    let client = database.client().await?;
    let row = client.query_opt(sql, &[&version, &lease.as_secs_f64(), &settled.as_secs_f64()]).await?;
    let Some(row) = row else { return Ok(None) };
    Ok(Some(Resplit {
        binding: Binding { network: row.try_get("network")?, domain: row.try_get("domain")? },
        version: row.try_get("version")?,
        swept: row.try_get("swept")?,
        settled: row.try_get("settled")?,
    }))
}

/// Remembers how far the log has been looked through and renews the lease; `false` when a newer contract asks for it all
/// again.
pub(super) async fn advance(
    database: &Database,
    work: &Resplit,
    swept: i64,
    lease: Duration,
) -> Result<bool, VersionError> {
    let sql = "update contract_resplits set swept = greatest(swept, $4),
                      leased_until = clock_timestamp() + make_interval(secs => $5)
                where network = $1 and domain = $2 and version = $3";
    let client = database.client().await?;
    let Binding { network, domain } = &work.binding;
    Ok(client.execute(sql, &[network, domain, &work.version, &swept, &lease.as_secs_f64()]).await? == 1)
}

/// Gives the lease back.
pub(super) async fn let_go(database: &Database, work: &Resplit) -> Result<(), VersionError> {
    let sql = "update contract_resplits set leased_until = '-infinity'
                where network = $1 and domain = $2 and version = $3";
    let Binding { network, domain } = &work.binding;
    database.client().await?.execute(sql, &[network, domain, &work.version]).await?;
    Ok(())
}

/// Ends the work: readers hide nothing of the domain any more. Not as long as the tables hold back an item of the network:
/// its row is as an older contract has split it.
pub(super) async fn finish(database: &Database, work: &Resplit) -> Result<bool, VersionError> {
    let sql = "delete from contract_resplits r
                where r.network = $1 and r.domain = $2 and r.version = $3
                  and not exists (select from quarantine q where q.projection = 'items' and q.network = r.network)";
    let Binding { network, domain } = &work.binding;
    Ok(database.client().await?.execute(sql, &[network, domain, &work.version]).await? == 1)
}

/// The living items of a domain whose last event is in `(after, to]`: their ids and payloads.
pub(super) async fn items_of(
    database: &Database,
    Binding { network, domain }: &Binding,
    after: i64,
    to: i64,
) -> Result<Vec<(Uuid, Box<RawValue>)>, VersionError> {
    let sql = "select e.stream_id, e.payload
                 from event_log e join stream_heads h on h.stream_id = e.stream_id
                where e.network = $1 and e.position > $2 and e.position <= $3
                  and e.event_type in ('item.created', 'item.updated') and e.payload ->> 'item_domain' = $4
                  and h.version = e.version";
    let client = database.client().await?;
    let rows = client.query(&client.prepare_cached(sql).await?, &[network, &after, &to, domain]).await?;
    let mut items = Vec::with_capacity(rows.len());
    for row in rows {
        let Json(payload) = row.try_get("payload")?;
        items.push((row.try_get("stream_id")?, payload));
    }
    Ok(items)
}
