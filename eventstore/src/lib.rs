//! The event log: the one truth of an instance. Events are appended here and nowhere else; everything that clients read
//! is folded from it, and everything that peers are owed is committed with it.

pub mod append;
mod batch;
pub mod chain;
pub mod database;
pub mod epoch;
pub mod event;
pub mod idempotency;
pub mod inbox;
pub mod metrics;
pub mod migrate;
mod outage;
pub mod partitions;
pub mod read;
mod session;
pub mod streams;
mod tls;
pub mod wake;

pub use append::{AppendError, AppendOptions, Appender};
pub use chain::Chain;
pub use database::{Client, Database, DatabaseError, SessionOptions};
pub use deadpool_postgres::Transaction;
pub use event::{
    Appended, Command, EventType, IdempotencyRecord, InboxMark, Metadata, NewEvent, StoredEvent, Stream, StreamType,
};
pub use outage::Outage;
pub use streams::StreamLocks;
pub use wake::Wake;
