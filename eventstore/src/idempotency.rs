//! What became of a key (CONTRACT 1.9): records of effects here, and claims for effects on another instance.

use chrono::{DateTime, Utc};
use serde_json::Value;
use tokio_postgres::Row;
use tokio_postgres::types::Json;
use uuid::Uuid;

use crate::database::Database;
use crate::read::ReadError;

/// Caller, route and key: the scope of CONTRACT 1.9.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scope {
    /// The user, or the source instance.
    pub caller: String,
    /// The route that was called.
    pub route: String,
    /// The key as sent.
    pub key: String,
}

/// How far the call behind a key has come.
#[derive(Debug, Clone, PartialEq)]
pub enum Progress {
    /// The effect is here: answer from the log.
    Here {
        /// Network of the stream.
        network: String,
        /// The stream that the answer is made from.
        stream_id: Uuid,
        /// And its version.
        version: i32,
    },
    /// The effect is elsewhere, and this was the answer.
    Elsewhere {
        /// Its fields.
        answer: Value,
    },
    /// A request is on its way.
    Sending,
    /// A request went out, and its answer is not known.
    Unknown,
}

/// A key that was used before.
#[derive(Debug, Clone, PartialEq)]
pub struct Record {
    /// SHA-256 of the first body as canonical JSON.
    pub digest: Vec<u8>,
    /// Status of the first answer, once there is one.
    pub status: Option<i32>,
    /// How far it has come.
    pub progress: Progress,
    /// When the first attempt was made.
    pub created_at: DateTime<Utc>,
}

impl Record {
    /// Whether the call has had its effect.
    #[must_use]
    pub fn is_done(&self) -> bool {
        matches!(self.progress, Progress::Here { .. } | Progress::Elsewhere { .. })
    }
}

const COLUMNS: &str = "digest, status, network, stream_id, version, answer, created_at,
    case when state = 'sending' and claimed_until < now() then 'unknown' else state end as state";

fn record_of(row: &Row) -> Result<Record, ReadError> {
    let progress = match row.try_get::<_, &str>("state")? {
        "sending" => Progress::Sending,
        "unknown" => Progress::Unknown,
        _ => done(row)?,
    };
    let (digest, status, created_at) = (row.try_get("digest")?, row.try_get("status")?, row.try_get("created_at")?);
    Ok(Record { digest, status, progress, created_at })
}

/// An effect here names its event; one elsewhere has its answer.
fn done(row: &Row) -> Result<Progress, ReadError> {
    let answer: Option<Json<Value>> = row.try_get("answer")?;
    Ok(match (answer, row.try_get("network")?, row.try_get("stream_id")?) {
        (None, Some(network), Some(stream_id)) => {
            let version: Option<i32> = row.try_get("version")?;
            Progress::Here { network, stream_id, version: version.unwrap_or(1) }
        }
        (answer, _, _) => Progress::Elsewhere { answer: answer.map_or(Value::Null, |json| json.0) },
    })
}

/// What a key stands for, if it was used before.
///
/// # Errors
/// As the database says.
pub async fn find(database: &Database, scope: &Scope) -> Result<Option<Record>, ReadError> {
    let client = database.client().await?;
    let sql = format!("select {COLUMNS} from idempotency where caller = $1 and route = $2 and key = $3");
    let statement = client.prepare_cached(&sql).await?;
    let row = client.query_opt(&statement, &[&scope.caller, &scope.route, &scope.key]).await?;
    row.as_ref().map(record_of).transpose()
}

/// What came of claiming a key.
#[derive(Debug, Clone, PartialEq)]
pub enum Claimed {
    /// It is ours: the request may go out.
    Ours,
    /// It stands for something already.
    Taken(Record),
    /// It was taken, and has been given up since.
    Free,
}

/// Claims a key for `claim_ms` milliseconds before a request goes out. An `unknown` claim of the same body is taken over
/// only with `resend`.
///
/// # Errors
/// As the database says.
pub async fn claim(
    database: &Database,
    scope: &Scope,
    digest: &[u8],
    claim_ms: i64,
    resend: bool,
) -> Result<Claimed, ReadError> {
    let client = database.client().await?;
    let statement = client
        .prepare_cached(
            "insert into idempotency as i (caller, route, key, digest, state, claimed_until)
             values ($1, $2, $3, $4, 'sending', now() + $5 * interval '1 millisecond')
             on conflict (caller, route, key) do update
                set state = 'sending', claimed_until = excluded.claimed_until
              where $6 and i.digest = excluded.digest
                and (i.state = 'unknown' or (i.state = 'sending' and i.claimed_until < now()))
             returning true",
        )
        .await?;
    let milliseconds = f64::from(i32::try_from(claim_ms).unwrap_or(i32::MAX));
    let row = client
        .query_opt(&statement, &[&scope.caller, &scope.route, &scope.key, &digest, &milliseconds, &resend])
        .await?;
    if row.is_some() {
        return Ok(Claimed::Ours);
    }
    drop(client);
    Ok(find(database, scope).await?.map_or(Claimed::Free, Claimed::Taken))
}

/// The request was answered: later calls get the same fields.
///
/// # Errors
/// As the database says.
pub async fn finish(database: &Database, scope: &Scope, status: i32, answer: &Value) -> Result<(), ReadError> {
    let client = database.client().await?;
    Ok(finish_in(&client, scope, status, answer).await?)
}

/// As [`finish`], on a connection of the caller's, who may be in a transaction.
///
/// # Errors
/// As the database says.
pub async fn finish_in(
    client: &tokio_postgres::Client,
    scope: &Scope,
    status: i32,
    answer: &Value,
) -> Result<(), tokio_postgres::Error> {
    client
        .execute(
            "update idempotency set state = 'done', status = $4, answer = $5
              where caller = $1 and route = $2 and key = $3 and state <> 'done'",
            &[&scope.caller, &scope.route, &scope.key, &status, &Json(answer)],
        )
        .await?;
    Ok(())
}

/// The request certainly had no effect (refused, or never sent): the key is free again.
///
/// # Errors
/// As the database says.
pub async fn give_up(database: &Database, scope: &Scope) -> Result<(), ReadError> {
    let client = database.client().await?;
    client
        .execute(
            "delete from idempotency where caller = $1 and route = $2 and key = $3 and state = 'sending'",
            &[&scope.caller, &scope.route, &scope.key],
        )
        .await?;
    Ok(())
}

/// What became of the request can't be told.
///
/// # Errors
/// As the database says.
pub async fn unknown(database: &Database, scope: &Scope) -> Result<(), ReadError> {
    let client = database.client().await?;
    client
        .execute(
            "update idempotency set state = 'unknown'
              where caller = $1 and route = $2 and key = $3 and state = 'sending'",
            &[&scope.caller, &scope.route, &scope.key],
        )
        .await?;
    Ok(())
}

/// Forgets keys older than a day; returns how many.
///
/// # Errors
/// As the database says.
pub async fn prune(database: &Database) -> Result<u64, ReadError> {
    let old = "select ctid from idempotency where created_at < now() - interval '25 hours' limit 10000";
    database.delete_in_batches(&format!("delete from idempotency where ctid = any (array({old}))")).await
}
