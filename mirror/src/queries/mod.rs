//! All SQL of the mirror. Claims, renewals and acknowledgements may commit asynchronously, as the pool is set: losing one
//! repeats work. Parking and what an operator does is durable whatever the pool says.
//!
//! Leases run on the database's clock, the one that all workers share; waits run on the worker's, which tests can move.

use dpg_eventstore::Database;
use tokio_postgres::Row;
use tokio_postgres::types::ToSql;

use crate::MirrorError;
use crate::lane::State;

mod lease;
mod operations;
mod owed;
mod parked;
mod status;

pub(crate) use lease::{
    Claim, Parked, Parking, Refill, Settled, Settlement, claim, end_waits_in, end_waits_to, refill, renew, settle,
    show_registered,
};
pub(crate) use operations::{Concerned, act, concerned, move_lane, resend};
pub(crate) use owed::{Due, due_events, due_lanes, last_seq, withdrawn};
pub use owed::{DueEvent, DueLane};
pub use parked::{ParkedEvent, ParkedPage, ParkedQuery};
pub(crate) use parked::{drop_parked, event_at, find as find_parked, list as list_parked, retry};
pub use status::{LaneStatus, Operation};
pub(crate) use status::{Which, lanes, moved_to};

/// Which lane: a network and a normalised destination.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LaneKey {
    /// The target items' network, whose log the events are in.
    pub network: String,
    /// The peer, as CONTRACT 5.3 writes it.
    pub destination: String,
}

async fn query(db: &Database, sql: &str, parameters: &[&(dyn ToSql + Sync)]) -> Result<Vec<Row>, MirrorError> {
    let client = db.client().await?;
    let statement = client.prepare_cached(sql).await?;
    Ok(client.query(&statement, parameters).await?)
}

fn key(row: &Row) -> Result<LaneKey, MirrorError> {
    Ok(LaneKey { network: row.try_get(0)?, destination: row.try_get(1)? })
}

fn state(row: &Row, index: usize) -> Result<State, MirrorError> {
    let name: String = row.try_get(index)?;
    State::parse(&name).ok_or(MirrorError::UnknownState(name))
}
