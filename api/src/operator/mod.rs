//! What an operator does beside running processes: keys, lanes, parked events, repair. Results go to stdout, one thing a
//! line, so that they can be piped; explanations go to stderr.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "these are commands for people")]

mod keys;
mod log;
mod outbox;
mod peers;
mod reconcile;

pub use keys::{KeysVerb, keys};
pub use log::{LogVerb, log};
pub use outbox::{OutboxVerb, outbox};
pub use peers::{PeersVerb, peers};

use chrono::Utc;
use dpg_eventstore::{Database, SessionOptions};
use dpg_mirror::Operator;

use crate::config::Config;
use crate::contract::Contracts;
use crate::contract_versions::last_good;
use crate::loading;
use crate::startup::StartError;
use crate::store::Store;

/// Why a command failed.
pub type Failure = Box<dyn std::error::Error + Send + Sync>;

/// The contract that the instance's processes decide by.
async fn contract_in_force(config: &Config, database: &Database) -> Result<Contracts, Failure> {
    let documents = last_good(database).await?.ok_or("no contract has been in force here yet")?;
    let source = loading::source_of(config)?;
    let (contracts, _) = Contracts::build(documents, source.options()).map_err(StartError::Contract)?;
    Ok(contracts)
}

/// Connections of a command that runs alone.
const CONNECTIONS: usize = 2;

/// Does `work` on the instance's database under a session name, and leaves a private server behind as it was found,
/// whatever comes of it.
async fn on_database<T>(
    config: &Config,
    name: &'static str,
    work: impl AsyncFnOnce(Database) -> Result<T, Failure>,
) -> Result<T, Failure> {
    let store = Store::open(config).await?;
    let done = match store.pool(&SessionOptions::new(name, CONNECTIONS)) {
        Ok(database) => work(database).await,
        Err(error) => Err(error.into()),
    };
    store.close().await;
    done
}

/// Whoever works at the command line, as the lanes' books name him.
fn at_command_line(database: Database) -> Operator {
    Operator { db: database, by: "command line".to_owned(), now: Utc::now() }
}
