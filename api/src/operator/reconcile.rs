//! `dpg peers reconcile`: asks a peer for digests of what it holds of ours, and names every difference with what our own
//! books say of it.

use bytes::Bytes;
use dpg_eventstore::Database;
use dpg_mirror::{PeerClient, operator};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use url::Url;

use super::{Failure, contract_in_force};
use crate::config::Config;
use crate::contract::InstanceUrl;
use crate::network::history::{self, Buckets, Difference, Entry};
use crate::queries::histories::{Side, Standing, standings};
use crate::startup;

/// Compares what `peer` should hold of ours with what it holds. False: they differ.
///
/// # Errors
/// As the database or the peer says; a peer that is not registered, or is of another make.
pub(super) async fn reconcile(
    config: &Config,
    database: &Database,
    peer: &InstanceUrl,
    network: Option<&str>,
) -> Result<bool, Failure> {
    if config.peer_private_key.is_none() {
        return Err(
            "a peer tells its history to signed calls only: set PEER_PRIVATE_KEY (dpg keys peer makes one)".into()
        );
    }
    let contracts = contract_in_force(config, database).await?;
    let client = startup::peer_client_of(config, &contracts)?;
    let lanes = operator::lanes_called_at(database, peer.as_str()).await?;
    let mut networks = contracts.served_networks();
    // A peer that stands in another network's contract alone is known by its lane.
    networks
        .retain(|known| contracts.is_registered(known, peer) || lanes.iter().any(|lane| lane.key.network == *known));
    networks.retain(|known| network.is_none_or(|wanted| known == wanted));
    if networks.is_empty() {
        return Err(
            "no contract of a network that is served here registers this peer, and nothing is owed to it".into()
        );
    }
    // What it was owed at an address from which its lane was moved is still stored under that address.
    let addresses = std::iter::once(Ok(peer.clone()))
        .chain(lanes.iter().map(|lane| InstanceUrl::parse(&lane.key.destination)))
        .collect::<Result<Vec<_>, _>>()?;
    let mut same = true;
    for network in networks {
        let called = contracts.called(&network, peer).ok_or("no contract registers this peer any more")?;
        let there = There { client: &client, url: Url::parse(called.url.as_str())?, network: &network };
        same &= compare(database, &there, &addresses).await?;
    }
    Ok(same)
}

/// The other side.
struct There<'a> {
    client: &'a PeerClient,
    url: Url,
    network: &'a str,
}

impl There<'_> {
    async fn buckets(&self) -> Result<Buckets, Failure> {
        #[derive(Deserialize)]
        struct Answer {
            buckets: Buckets,
        }
        Ok(self.ask::<Answer>("").await?.buckets)
    }

    async fn entries(&self, bucket: &str) -> Result<Vec<Entry>, Failure> {
        #[derive(Deserialize)]
        struct Answer {
            entries: Vec<Entry>,
        }
        Ok(self.ask::<Answer>(&format!("&bucket={bucket}")).await?.entries)
    }

    async fn ask<T: DeserializeOwned>(&self, more: &str) -> Result<T, Failure> {
        let network = percent_encoding::utf8_percent_encode(self.network, percent_encoding::NON_ALPHANUMERIC);
        let path = format!("/api/v1/peers/self/histories?network={network}{more}");
        let answer = self.client.get(&self.url, &path, &[]).await?;
        match answer.status {
            200 => Ok(serde_json::from_slice(&answer.body)?),
            404 => Err("the peer can't tell its history: it is of another make, or older".into()),
            status => Err(format!("the peer answered {status}: {}", start_of(&answer.body)).into()),
        }
    }
}

fn start_of(body: &Bytes) -> String {
    String::from_utf8_lossy(body).chars().take(300).collect()
}

async fn compare(database: &Database, there: &There<'_>, addresses: &[InstanceUrl]) -> Result<bool, Failure> {
    let network = there.network;
    let ours = history::buckets(database, network, Side::Origin, addresses).await.map_err(|error| error.message)?;
    let theirs = there.buckets().await?;
    let mut differences = Vec::new();
    for bucket in history::differing(&ours, &theirs) {
        let here = history::entries(database, network, Side::Origin, addresses, &bucket).await;
        let here = here.map_err(|error| error.message)?;
        differences.extend(history::compare(here, there.entries(&bucket).await?));
    }
    let count = |buckets: &Buckets| buckets.values().map(|bucket| bucket.events).sum::<u64>();
    println!(
        "{network} with {}: {} events here, {} there, {} differ",
        there.url.origin().ascii_serialization(),
        count(&ours),
        count(&theirs),
        differences.len()
    );
    let destinations: Vec<&str> = addresses.iter().map(InstanceUrl::normalised).collect();
    let positions: Vec<i64> = differences.iter().filter_map(missing_there).map(|entry| entry.position).collect();
    let standings = standings(database, network, &destinations, &positions).await?;
    for difference in &differences {
        println!("{}", told(difference, network, |entry| standings.get(&entry.position)));
    }
    Ok(differences.is_empty())
}

fn missing_there(difference: &Difference) -> Option<&Entry> {
    match difference {
        Difference::MissingThere(entry) => Some(entry),
        Difference::MissingHere(_) | Difference::Different(_) => None,
    }
}

/// A difference for people, with what to do about it.
fn told<'s>(difference: &Difference, network: &str, standing: impl Fn(&Entry) -> Option<&'s Standing>) -> String {
    let event = |entry: &Entry| format!("action {} event {}", entry.action_id, entry.update_count);
    match difference {
        Difference::MissingThere(entry) => {
            let standing = match standing(entry) {
                Some(Standing { seq, settled: None, .. }) => format!("is waiting as {seq}"),
                Some(Standing { destination, seq, settled: Some(how) }) if how == "delivered" => format!(
                    "was delivered as {seq} and is lost there: \
                     dpg outbox resend --peer {destination} --network {network} --since {seq}"
                ),
                Some(Standing { seq, settled: Some(how), .. }) => format!("is {how} as {seq}"),
                None => "is owed to another address: dpg peers move".to_owned(),
            };
            format!("missing there: {} {standing}", event(entry))
        }
        Difference::MissingHere(entry) => {
            format!("missing here: {}: this log was restored from before it", event(entry))
        }
        Difference::Different(entry) => format!("different: {}: each side keeps its own", event(entry)),
    }
}
