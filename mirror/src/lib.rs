//! Delivery to peers. Every event that a peer is owed commits with an outbox row; this crate brings it there, in order,
//! at least once, and keeps every destination's trouble to itself. Nothing is ever discarded: an event is waiting or
//! parked until it is delivered or an operator drops it.
//!
//! The way of an event: [`worker`] finds lanes that have something due, leases one and runs a task for it; the task reads
//! the log ([`queries`]), writes the body ([`body`]), sends it ([`peer`]), alone or with others, judges the answer
//! ([`outcome`]) and lets the lane's state machine ([`lane`]) say what follows. What an operator can do about it is in
//! [`operator`].

pub mod body;
pub mod capability;
pub mod contact;
pub mod delay;
pub mod destination;
pub mod guard;
pub mod lane;
pub mod mark;
pub mod metrics;
pub mod operator;
pub mod outcome;
pub mod peer;
pub mod queries;
pub mod signature;
pub mod worker;

mod batch;
mod deliver;
mod hold;
mod lane_task;

pub use contact::Contacts;
pub use guard::Guard;
pub use metrics::MirrorMetrics;
pub use operator::{Operator, OperatorError, Verb};
pub use peer::{PeerAnswer, PeerClient, PeerClientError, PeerError, PeerOptions, Signer};
pub use queries::{LaneKey, LaneStatus, Operation, ParkedEvent, ParkedPage, ParkedQuery};
pub use worker::{Mirror, MirrorOptions, Progress, Registry};

/// What goes wrong on our own side. What goes wrong at a peer is an [`outcome::Verdict`].
#[derive(Debug, thiserror::Error)]
pub enum MirrorError {
    /// No connection.
    #[error(transparent)]
    Database(#[from] dpg_eventstore::DatabaseError),
    /// A statement failed.
    #[error("a mirror statement failed")]
    Sql(#[from] tokio_postgres::Error),
    /// The outbox is dense by construction; a gap means that something was lost.
    #[error("the outbox of {network} to {destination} has a gap: expected {expected}, found {found}")]
    Gap {
        /// The lane's network.
        network: String,
        /// The lane's destination.
        destination: String,
        /// The next number.
        expected: i64,
        /// What stood there instead.
        found: i64,
    },
    /// An outbox row points to nothing.
    #[error("the log of {network} has no event at position {position}")]
    MissingEvent {
        /// The network.
        network: String,
        /// The position.
        position: i64,
    },
    /// A lane's row holds a state that this binary doesn't know.
    #[error("unknown lane state {0:?}")]
    UnknownState(String),
}
