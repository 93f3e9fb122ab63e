//! The projector folds the event log into the tables that clients read: live, exactly once in effect, by as many
//! processes as are started. The tables can be thrown away and made again; [`verify`] proves that they are what the log
//! says. Nothing here can write to the log or to a peer.
//!
//! What a table holds is defined once, by `sql/projections/<table>.fold.sql`: the last states in a range of positions.

pub mod error;
pub mod live;
mod log_check;
pub mod metrics;
pub mod naming;
mod poison;
pub mod projection;
pub mod tables;
pub mod verify;
pub mod wait;
mod worker;

pub use error::ProjectError;
pub use live::{Projector, Step, session_options};
pub use metrics::Metrics;
pub use projection::Projection;
pub use tables::{Tables, TablesError};
pub use verify::{Report, VerifyError, verify};
pub use wait::{Lag, Readers, Waited};
