//! `dpg peers`: how delivery stands, and what begins or ends a lane's wait.

use chrono::{DateTime, Utc};
use clap::Subcommand;
use dpg_eventstore::Database;
use dpg_mirror::{LaneStatus, Verb, operator};

use super::{Failure, at_command_line, contract_in_force, on_database, reconcile};
use crate::config::Config;
use crate::contract::InstanceUrl;

/// What can be done about peers.
#[derive(Debug, Subcommand)]
pub enum PeersVerb {
    /// Send nothing to a peer until `resume`.
    Pause(Which),
    /// Let a peer's lanes go on, waits forgotten.
    Resume(Which),
    /// Try one event at once, whatever the wait.
    Probe(Which),
    /// A peer has changed its address: what is owed to OLD goes to NEW.
    Move {
        /// The address that its lanes have.
        #[arg(value_parser = InstanceUrl::parse)]
        old: InstanceUrl,
        /// Where it is now, by the contract.
        #[arg(value_parser = InstanceUrl::parse)]
        new: InstanceUrl,
    },
    /// Compare both sides' histories by digest and name every difference; non-zero when there is one.
    Reconcile(Which),
}

/// Which lanes.
#[derive(Debug, clap::Args)]
pub struct Which {
    /// The peer's instance URL, in any spelling.
    #[arg(value_parser = InstanceUrl::parse)]
    peer: InstanceUrl,
    /// Only its lane of this network.
    #[arg(long)]
    network: Option<String>,
}

/// Runs a verb; without one, lists all lanes. False: a difference was found.
///
/// # Errors
/// As the database or the peer says; a lane that isn't there.
pub async fn peers(verb: Option<PeersVerb>, config: &Config) -> Result<bool, Failure> {
    on_database(config, "dpg peers", async |database| run(verb, config, database).await).await
}

async fn run(verb: Option<PeersVerb>, config: &Config, database: Database) -> Result<bool, Failure> {
    let acting = at_command_line(database.clone());
    let act = async |verb: Verb, which: &Which| acting.act(verb, which.peer.as_str(), which.network.as_deref()).await;
    let lanes = match verb {
        None => operator::lanes(&database, None).await?,
        Some(PeersVerb::Pause(which)) => act(Verb::Pause, &which).await?,
        Some(PeersVerb::Resume(which)) => act(Verb::Resume, &which).await?,
        Some(PeersVerb::Probe(which)) => act(Verb::Probe, &which).await?,
        Some(PeersVerb::Move { old, new }) => {
            check_address(config, &database, &old, &new).await?;
            acting.move_lanes(old.as_str(), new.as_str()).await?
        }
        Some(PeersVerb::Reconcile(which)) => {
            return reconcile::reconcile(config, &database, &which.peer, which.network.as_deref()).await;
        }
    };
    print_lanes(&lanes, Utc::now());
    Ok(true)
}

/// A lane that moves to where nobody is registered would stop without a word.
async fn check_address(
    config: &Config,
    database: &Database,
    old: &InstanceUrl,
    new: &InstanceUrl,
) -> Result<(), Failure> {
    if old == new {
        return Ok(());
    }
    let contracts = contract_in_force(config, database).await?;
    let mut lanes = operator::lanes(database, Some(old.as_str())).await?;
    lanes.extend(operator::lanes_called_at(database, old.as_str()).await?);
    match lanes.iter().find(|lane| contracts.called(&lane.key.network, new).is_none()) {
        None => Ok(()),
        Some(lane) => {
            let network = &lane.key.network;
            Err(format!("the contract of {network} registers no instance at {new}: have one loaded that does").into())
        }
    }
}

pub(super) fn print_lanes(lanes: &[LaneStatus], now: DateTime<Utc>) {
    if lanes.is_empty() {
        eprintln!("No peer is owed anything yet.");
        return;
    }
    println!(
        "{:<20} {:<40} {:<12} {:>8} {:>9} {:>7} {:>9}  NEXT ATTEMPT",
        "NETWORK", "PEER", "STATE", "WAITING", "OLDEST", "PARKED", "FAILURES"
    );
    for lane in lanes {
        let diverged = if lane.diverged { " DIVERGED" } else { "" };
        let next = lane.next_attempt_at.map_or_else(|| "-".to_owned(), |at| at.to_rfc3339());
        println!(
            "{:<20} {:<40} {:<12} {:>8} {:>8}s {:>7} {:>9}  {next}{diverged}",
            lane.key.network,
            lane.key.destination,
            lane.state.as_str(),
            lane.waiting,
            lane.oldest_waiting_seconds(now),
            lane.parked,
            lane.failures,
        );
        if let Some(address) = &lane.moved_to {
            println!("    moved to {address}");
        }
        if let Some(operation) = &lane.operation {
            println!("    {} by {} at {}", operation.what, operation.by, operation.at.to_rfc3339());
        }
        if let Some(error) = &lane.last_error {
            println!("    last error: {error}");
        }
    }
}
