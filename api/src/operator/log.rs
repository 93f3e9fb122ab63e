//! `dpg log`: what may be done to the log as a whole. Its events are never among it.

use clap::Subcommand;
use dpg_eventstore::{SessionOptions, epoch};

use super::Failure;
use crate::config::Config;
use crate::store::Store;

/// What can be done to the log.
#[derive(Debug, Subcommand)]
pub enum LogVerb {
    /// After a restore from a backup: positions are given out again, so cursors, cached pages and the marks of lanes that
    /// were made before stop counting. Peers then get every event once more, and keep what they have.
    NewEpoch,
}

/// Runs a verb.
///
/// # Errors
/// As the database says.
pub async fn log(verb: &LogVerb, config: &Config) -> Result<(), Failure> {
    match verb {
        LogVerb::NewEpoch => {
            let store = Store::open(config).await?;
            let database = store.pool(&SessionOptions::new("dpg log", 1))?;
            let renewed = epoch::renew(&database).await;
            store.close().await;
            for (network, epoch) in renewed? {
                println!("{network} {epoch}");
            }
            Ok(())
        }
    }
}
