//! `dpg outbox`: parked events, and sending again.

use chrono::Utc;
use clap::Subcommand;
use dpg_eventstore::Database;
use dpg_mirror::{ParkedEvent, ParkedQuery, operator};
use uuid::Uuid;

use super::peers::print_lanes;
use super::{Failure, at_command_line, on_database};
use crate::config::Config;
use crate::contract::InstanceUrl;

/// Events that are read at once.
const CHUNK: i64 = 100;

/// What can be done about what is owed.
#[derive(Debug, Subcommand)]
pub enum OutboxVerb {
    /// Events that a peer's application has spoken against.
    #[command(subcommand)]
    Parked(ParkedVerb),
    /// Send everything from a number on again, but for parked and dropped events.
    Resend {
        /// The peer's instance URL.
        #[arg(long, value_parser = InstanceUrl::parse)]
        peer: InstanceUrl,
        /// The first number that goes again; a lane's numbers begin at 1.
        #[arg(long, value_parser = clap::value_parser!(i64).range(1..))]
        since: i64,
        /// The lane's network; it may be left out when the peer has only one lane.
        #[arg(long)]
        network: Option<String>,
    },
}

/// What can be done about parked events.
#[derive(Debug, Subcommand)]
pub enum ParkedVerb {
    /// All of them, newest first.
    List {
        /// Only those of this peer.
        #[arg(long, value_parser = InstanceUrl::parse)]
        peer: Option<InstanceUrl>,
        /// Only those of this network.
        #[arg(long)]
        network: Option<String>,
    },
    /// One of them, with its body as it would be sent.
    Show {
        /// Its id.
        id: Uuid,
    },
    /// Send it again, before the lane's next.
    Retry {
        /// Its id.
        id: Uuid,
    },
    /// Give it up for ever.
    Drop {
        /// Its id.
        id: Uuid,
        /// Why; kept with it.
        #[arg(long)]
        reason: String,
    },
}

/// Runs a verb.
///
/// # Errors
/// As the database says; a lane or parked event that isn't there.
pub async fn outbox(verb: OutboxVerb, config: &Config) -> Result<(), Failure> {
    on_database(config, "dpg outbox", async |database| run(verb, &database).await).await
}

async fn run(verb: OutboxVerb, database: &Database) -> Result<(), Failure> {
    let acting = at_command_line(database.clone());
    match verb {
        OutboxVerb::Parked(ParkedVerb::List { peer, network }) => {
            list(database, peer.map(|peer| peer.as_str().to_owned()), network).await?;
        }
        OutboxVerb::Parked(ParkedVerb::Show { id }) => {
            let (parked, body) = operator::parked_event(database, id).await?;
            print_parked(&parked);
            println!("{body}");
        }
        OutboxVerb::Parked(ParkedVerb::Retry { id }) => {
            acting.retry(id).await?;
            println!("{id} queued");
        }
        OutboxVerb::Parked(ParkedVerb::Drop { id, reason }) => {
            if !(1..=1000).contains(&reason.chars().count()) {
                return Err("a reason has 1 to 1000 characters".into());
            }
            acting.drop_parked(id, &reason).await?;
            println!("{id} dropped");
        }
        OutboxVerb::Resend { peer, since, network } => {
            let network = match network {
                Some(network) => network,
                None => only_network(database, peer.as_str()).await?,
            };
            let (lane, resent) = acting.resend(peer.as_str(), &network, since).await?;
            print_lanes(&[lane], Utc::now());
            println!("{resent} events go again");
        }
    }
    Ok(())
}

async fn only_network(database: &Database, peer: &str) -> Result<String, Failure> {
    let mut lanes = operator::lanes(database, Some(peer)).await?;
    match (lanes.pop(), lanes.is_empty()) {
        (Some(lane), true) => Ok(lane.key.network),
        (None, _) => Err("there is no lane to this peer".into()),
        (Some(_), false) => Err("this peer has lanes in several networks: name one with --network".into()),
    }
}

async fn list(database: &Database, instance_url: Option<String>, network: Option<String>) -> Result<(), Failure> {
    let mut query = ParkedQuery { instance_url, network, limit: CHUNK, ..ParkedQuery::default() };
    loop {
        let page = operator::parked(database, &query).await?;
        if page.events.is_empty() {
            eprintln!("Nothing is parked.");
        }
        page.events.iter().for_each(print_parked);
        match page.events.last() {
            Some(last) if page.more => query.after = Some((last.parked_at, last.id)),
            _ => return Ok(()),
        }
    }
}

fn print_parked(parked: &ParkedEvent) {
    let conflict = if parked.conflict { " (the peer holds another content)" } else { "" };
    println!(
        "{} {} {} seq {} action {} event {} parked {} after {} attempts: {} {} {}{conflict}",
        parked.id,
        parked.key.network,
        parked.key.destination,
        parked.seq,
        parked.action_id,
        parked.update_count,
        parked.parked_at.to_rfc3339(),
        parked.attempts,
        parked.status.map_or_else(|| "-".to_owned(), |status| status.to_string()),
        parked.error.as_deref().unwrap_or("-"),
        parked.message.as_deref().unwrap_or_default(),
    );
}
