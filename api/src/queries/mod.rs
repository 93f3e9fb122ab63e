//! What clients read: the SQL of all reads of projected tables. Total and rows of a page come from one statement, so from
//! one snapshot.

pub mod actions;
mod circle;
mod conditions;
pub mod cursor;
pub mod events;
pub mod histories;
pub mod items;
pub mod mirrored;
pub mod nonces;
pub mod versions;

use std::sync::Arc;

use dpg_eventstore::{Client, DatabaseError};
use serde::Serialize;
use serde_json::{Map, Value};
use tokio_postgres::Row;
use tokio_postgres::types::Json;

use crate::http::page::MAX_LIMIT;
use crate::probe::TimedOut;
use conditions::Conditions;
use cursor::{Bounds, Cursor, KeyType};

/// Why rows could not be read.
#[derive(Debug, thiserror::Error)]
pub enum QueryError {
    /// No connection.
    #[error(transparent)]
    Database(#[from] DatabaseError),
    /// The statement failed.
    #[error("the rows could not be read")]
    Sql(#[from] tokio_postgres::Error),
    /// A state in the table can't be read.
    #[error("a stored state could not be read")]
    State(#[from] serde_json::Error),
    /// The cursor is not of this query, or of a log that was restored meanwhile.
    #[error("the cursor does not belong to this query")]
    Cursor,
    /// The database did not answer in time.
    #[error("the database did not answer in time")]
    TimedOut,
    /// More requests wait for a shared query than its queue holds, or the server is going down.
    #[error("the queue of a shared query takes no more requests")]
    Queue,
    /// A shared query failed, for all who waited for it.
    #[error(transparent)]
    Shared(Arc<QueryError>),
}

impl From<TimedOut> for QueryError {
    fn from(_: TimedOut) -> Self {
        Self::TimedOut
    }
}

/// Where a page starts.
#[derive(Debug, Clone, PartialEq)]
pub enum Start {
    /// So many rows from the first.
    Offset(i64),
    /// After the last row of an earlier page.
    Cursor(Cursor),
}

/// A page that is asked for.
#[derive(Debug, Clone, PartialEq)]
pub struct PageRequest {
    /// Rows at most, 1 to 100.
    pub limit: i64,
    /// Where it starts.
    pub start: Start,
}

impl PageRequest {
    fn offset(&self) -> i64 {
        match &self.start {
            Start::Offset(offset) => *offset,
            Start::Cursor(_) => 0,
        }
    }
}

/// Counts and places of a page (CONTRACT 1.7).
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Meta {
    /// Rows that the filters match.
    pub total: i64,
    /// As asked for.
    pub limit: i64,
    /// As asked for; 0 with a cursor.
    pub offset: i64,
    /// Where to go on; null on the last page.
    pub next_cursor: Option<String>,
}

/// A page of rows.
#[derive(Debug, Clone, PartialEq)]
pub struct Page<T> {
    /// Its place.
    pub meta: Meta,
    /// Its rows.
    pub rows: Vec<T>,
}

/// A table that is read in pages, newest first.
struct Listing {
    /// With its schema.
    table: &'static str,
    /// Whose checkpoint tells how far it is.
    projection: &'static str,
    /// What is selected.
    columns: &'static str,
    /// Sort keys, all descending, the row's id last; each with its type.
    keys: &'static [(&'static str, KeyType)],
    /// Column with the network whose log a row comes from.
    network: &'static str,
    /// The parameter with the one network that a query is about, if it is about one.
    only_network: Option<&'static str>,
    /// Position after which a row is not in a walk that began earlier.
    position: &'static str,
}

impl Listing {
    /// Reads a page. `filters` tells the query from others, for its cursors; `key_of` gives a row's sort key.
    async fn page<T>(
        &self,
        client: &Client,
        mut conditions: Conditions,
        page: &PageRequest,
        filters: &impl std::fmt::Debug,
        read: impl Fn(&Row) -> Result<(T, Vec<String>), tokio_postgres::Error>,
    ) -> Result<Page<T>, QueryError> {
        let sql = self.sql(&mut conditions, page);
        let statement = client.prepare_cached(&sql).await?;
        let rows = client.query(&statement, &conditions.parameters()).await?;
        let Some(first) = rows.first() else { return Err(QueryError::Cursor) };
        let total = first.try_get("total")?;
        let bounds: Option<Json<Bounds>> = first.try_get("bounds")?;
        let bounds = bounds.map(|json| json.0).unwrap_or_default();
        let bounds = match &page.start {
            Start::Offset(_) => bounds,
            Start::Cursor(cursor) => {
                cursor.check_epochs(&bounds)?;
                cursor.bounds.clone()
            }
        };
        let mut present = Vec::with_capacity(rows.len());
        for row in &rows {
            // An empty page still has the row that carries the total.
            if row.try_get::<_, Option<bool>>("present")?.is_some() {
                present.push(read(row)?);
            }
        }
        let limit = usize::try_from(page.limit).unwrap_or(0);
        let more = present.len() > limit;
        present.truncate(limit);
        let next_cursor = match present.last() {
            Some((_, key)) if more => {
                Some(Cursor::after(filters, bounds, key.clone()).encode().map_err(|_| QueryError::Cursor)?)
            }
            _ => None,
        };
        let meta = Meta { total, limit: page.limit, offset: page.offset(), next_cursor };
        Ok(Page { meta, rows: present.into_iter().map(|(row, _)| row).collect() })
    }

    fn sql(&self, conditions: &mut Conditions, page: &PageRequest) -> String {
        let Self { table, projection, columns, .. } = self;
        let total = conditions.total(table);
        let concerned = match self.only_network {
            Some(parameter) => format!("h.network = {parameter}"),
            None => "true".to_owned(),
        };
        if let Start::Cursor(cursor) = &page.start {
            self.go_on(conditions, cursor);
        }
        let walk = conditions.sql();
        let order = |prefix: &str| {
            self.keys.iter().map(|(key, _)| format!("{prefix}{key} desc")).collect::<Vec<_>>().join(", ")
        };
        let (inner, outer) = (order(""), order("page."));
        let limit = conditions.parameter(page.limit + 1);
        // A plan made for any page expects a tenth of all rows, and Postgres then plans each page anew, which takes longer
        // than reading it. The bound tells it that a page from the start of the walk is short, so that one plan serves.
        let rows = match page.offset() {
            0 => format!("limit {}) as bounded order by {inner} limit {limit}", MAX_LIMIT + 1),
            offset => format!(") as rows order by {inner} limit {limit} offset {}", conditions.parameter(offset)),
        };
        format!(
            "select {total} as total,
                    (select jsonb_object_agg(h.network, jsonb_build_array(left(h.epoch::text, 8), coalesce(c.position, 0)))
                       from log_head h
                       left join projection_checkpoints c on c.projection = '{projection}' and c.network = h.network
                      where {concerned}
                    ) as bounds,
                    page.*
               from (values (true)) as one
               left join lateral (
                    select * from (select true as present, {columns} from {table} where {walk} order by {inner} {rows}
                    ) as page on true
              order by {outer}"
        )
    }

    fn go_on(&self, conditions: &mut Conditions, cursor: &Cursor) {
        let places: Vec<String> = (self.keys.iter().zip(&cursor.key))
            .map(|((_, kind), value)| format!("{}::text::{}", conditions.parameter(value.clone()), kind.sql()))
            .collect();
        let names = self.keys.iter().map(|(key, _)| *key).collect::<Vec<_>>().join(", ");
        conditions.clause(format!("({names}) < ({})", places.join(", ")));
        let positions: Map<String, Value> =
            cursor.bounds.iter().map(|(network, (_, position))| (network.clone(), Value::from(*position))).collect();
        let positions = conditions.parameter(Json(Value::Object(positions)));
        conditions.clause(format!("{} <= ({positions}::jsonb ->> {})::bigint", self.position, self.network));
    }
}
