//! One call of the SQL function `append`: commands laid out as parallel arrays, and its answer read back.
//! (`sql/migrations/0002_append.sql` says what happens in between.)

use chrono::{DateTime, Utc};
use serde_json::value::RawValue;
use tokio_postgres::types::{Json, ToSql};
use tokio_postgres::{Client, Statement};
use uuid::Uuid;

use crate::event::{Appended, Command, Metadata};

/// The call. Inbox marks are moved by the same statement and so in the same commit, for the commands that won; not by the
/// function itself, which knows no network but that of its log. (`mark_inbox` is volatile, so that what it reads is what
/// is committed when it has its lock.)
pub(crate) const APPEND: &str = "with appended as materialized (
        select command, outcome, at_position, at_time from append(\
            $1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21, $22, $23, \
            '{}', '{}', '{}', '{}', '{}')
    ), marked as materialized (
        select mark_inbox(m.network, m.origin, m.destination, m.epoch, array_agg(m.seq))
          from unnest($24::int[], $25::text[], $26::text[], $27::text[], $28::uuid[], $29::bigint[])
               as m (command, network, origin, destination, epoch, seq)
          join appended a on a.command = m.command and a.outcome = 'won'
         group by m.network, m.origin, m.destination, m.epoch
    )
    select command, outcome, at_position, at_time from appended where (select count(*) from marked) >= 0
     order by command";

#[derive(Default)]
struct Events<'a> {
    command: Vec<i32>,
    stream: Vec<Uuid>,
    stream_type: Vec<&'static str>,
    version: Vec<i32>,
    event_id: Vec<Uuid>,
    event_type: Vec<&'static str>,
    payload: Vec<Json<&'a RawValue>>,
    metadata: Vec<Json<&'a Metadata>>,
    closes: Vec<bool>,
    private: Vec<Option<Json<&'a RawValue>>>,
    destination: Vec<Option<&'a str>>,
}

#[derive(Default)]
struct Keys<'a> {
    command: Vec<i32>,
    caller: Vec<&'a str>,
    route: Vec<&'a str>,
    key: Vec<&'a str>,
    digest: Vec<&'a [u8]>,
    status: Vec<i32>,
    stream: Vec<Uuid>,
    version: Vec<i32>,
}

#[derive(Default)]
struct Marks<'a> {
    command: Vec<i32>,
    network: Vec<&'a str>,
    origin: Vec<&'a str>,
    destination: Vec<&'a str>,
    epoch: Vec<Uuid>,
    seq: Vec<i64>,
}

#[derive(Default)]
struct Columns<'a> {
    events: Events<'a>,
    guard_command: Vec<i32>,
    guard_stream: Vec<Uuid>,
    keys: Keys<'a>,
    marks: Marks<'a>,
}

impl<'a> Columns<'a> {
    fn of(commands: &[&'a Command]) -> Self {
        let mut columns = Self::default();
        for (number, command) in (1..).zip(commands) {
            columns.push(number, command);
        }
        columns
    }

    fn push(&mut self, number: i32, command: &'a Command) {
        for event in &command.events {
            self.events.command.push(number);
            self.events.stream.push(event.stream_id);
            self.events.stream_type.push(event.event_type.stream_type().as_str());
            self.events.version.push(event.version);
            self.events.event_id.push(event.event_id);
            self.events.event_type.push(event.event_type.as_str());
            self.events.payload.push(Json(&event.payload));
            self.events.metadata.push(Json(&event.metadata));
            self.events.closes.push(event.event_type.closes());
            self.events.private.push(event.private.as_deref().map(Json));
            self.events.destination.push(event.destination.as_deref());
        }
        for guard in &command.guards {
            self.guard_command.push(number);
            self.guard_stream.push(*guard);
        }
        if let Some(record) = &command.idempotency {
            self.keys.command.push(number);
            self.keys.caller.push(&record.caller);
            self.keys.route.push(&record.route);
            self.keys.key.push(&record.key);
            self.keys.digest.push(&record.digest);
            self.keys.status.push(record.status);
            self.keys.stream.push(record.stream_id);
            self.keys.version.push(record.version);
        }
        for mark in &command.inbox {
            self.marks.command.push(number);
            self.marks.network.push(&mark.network);
            self.marks.origin.push(&mark.origin);
            self.marks.destination.push(&mark.destination);
            self.marks.epoch.push(mark.epoch);
            self.marks.seq.push(mark.seq);
        }
    }
}

/// Appends a batch in one autocommit statement; one answer per command, in order.
pub(crate) async fn call(
    client: &Client,
    append: &Statement,
    network: &str,
    commands: &[&Command],
) -> Result<Vec<Appended>, tokio_postgres::Error> {
    let count = i32::try_from(commands.len()).unwrap_or(i32::MAX);
    let Columns { events: e, guard_command, guard_stream, keys: i, marks: m } = Columns::of(commands);
    let parameters: [&(dyn ToSql + Sync); 29] = [
        &network,
        &count,
        &e.command,
        &e.stream,
        &e.stream_type,
        &e.version,
        &e.event_id,
        &e.event_type,
        &e.payload,
        &e.metadata,
        &e.closes,
        &e.private,
        &e.destination,
        &guard_command,
        &guard_stream,
        &i.command,
        &i.caller,
        &i.route,
        &i.key,
        &i.digest,
        &i.status,
        &i.stream,
        &i.version,
        &m.command,
        &m.network,
        &m.origin,
        &m.destination,
        &m.epoch,
        &m.seq,
    ];
    let rows = client.query(append, &parameters).await?;
    rows.iter().map(outcome).collect()
}

fn outcome(row: &tokio_postgres::Row) -> Result<Appended, tokio_postgres::Error> {
    let recorded_at: DateTime<Utc> = row.try_get("at_time")?;
    Ok(match row.try_get::<_, &str>("outcome")? {
        "won" => Appended::Won { position: row.try_get("at_position")?, recorded_at },
        "replayed" => Appended::Replayed,
        _ => Appended::Conflict,
    })
}
