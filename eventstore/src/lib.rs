//! The event log: the one truth of an instance. Events are appended here and nowhere else; everything that clients read
//! is folded from it, and everything that peers are owed is committed with it.

pub mod database;
pub mod migrate;

pub use database::{Client, Database, DatabaseError, SessionOptions};
pub use deadpool_postgres::Transaction;
