//! `dpg log`: what may be done to the log as a whole. Its events are never among it.

use clap::Subcommand;
use dpg_eventstore::{Database, epoch};

use super::{Failure, on_database};
use crate::config::Config;

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
            let renew = async |database: Database| Ok(epoch::renew(&database).await?);
            for (network, epoch) in on_database(config, "dpg log", renew).await? {
                println!("{network} {epoch}");
            }
            Ok(())
        }
    }
}
