//! Why a projection did not move. All of it is tried again; what can't be folded at all never gets here but into the
//! quarantine.

use dpg_eventstore::DatabaseError;

use crate::projection::Projection;
use crate::tables::TablesError;

/// Why a step failed. The checkpoint stands where it stood.
#[derive(Debug, thiserror::Error)]
pub enum ProjectError {
    /// No connection.
    #[error(transparent)]
    Database(#[from] DatabaseError),
    /// A statement failed for a reason that is not the event's.
    #[error("a statement of the projection failed")]
    Sql(#[from] tokio_postgres::Error),
    /// A table could not be made.
    #[error(transparent)]
    Tables(#[from] TablesError),
    /// Events are missing from the log: an alarm. Going on would lose them for ever.
    #[error("{projection} of {network}: the log has {found} events in ({low}, {high}]")]
    Gap {
        /// Which projection met it.
        projection: Projection,
        /// Whose log.
        network: String,
        /// Last position before the range.
        low: i64,
        /// Last position of the range.
        high: i64,
        /// Events in the range.
        found: i64,
    },
    /// An event can't be folded although its stream is held back already: a fault of the fold.
    #[error("{projection} of {network}: position {position} can't be folded and can't be held back")]
    Stuck {
        /// Which projection.
        projection: Projection,
        /// Whose log.
        network: String,
        /// The event.
        position: i64,
        /// What the database said.
        #[source]
        source: tokio_postgres::Error,
    },
}
