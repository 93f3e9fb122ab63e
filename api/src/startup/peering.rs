//! Who we are to our peers and which of them the process may call: our key, the addresses that are open to us, and the
//! contract as the mirror asks it.

use std::sync::Arc;

use dpg_mirror::signature::PeerKey;
use dpg_mirror::{Guard, PeerClient, PeerOptions, Signer};
use url::Url;

use super::{StartError, setting};
use crate::config::Config;
use crate::contract::{Contracts, InForce, InstanceUrl};

/// Our key pair for peers: the private half, and the public one as it is shown.
pub(super) fn own_key(config: &Config) -> Result<Option<Arc<PeerKey>>, StartError> {
    match &config.peer_private_key {
        None => Ok(None),
        Some(text) => {
            let key = PeerKey::parse(text.expose()).map_err(setting("PEER_PRIVATE_KEY can't be used"))?;
            Ok(Some(Arc::new(key)))
        }
    }
}

/// A key that no contract knows as ours would make every peer refuse what we sign.
pub(super) fn check_own_key(contracts: &Contracts, key: Option<&PeerKey>) -> Result<(), StartError> {
    match key.and_then(|key| contracts.disowning(&key.public_key())) {
        Some(network) => Err(StartError::PeerKey { network: network.to_owned() }),
        None => Ok(()),
    }
}

/// Which addresses outgoing calls may reach (CONTRACT 2.6).
pub(crate) fn guard(config: &Config) -> Result<Guard, StartError> {
    if !config.production() {
        return Ok(Guard::open());
    }
    let allow = &config.peer_allow_private;
    let allowed: Vec<String> =
        allow.networks.iter().map(ToString::to_string).chain(allow.hosts.iter().cloned()).collect();
    Guard::public_only(allowed.iter().map(String::as_str)).map_err(setting("PEER_ALLOW_PRIVATE can't be used"))
}

/// The client for calling peers from the command line, signing as the instance does.
///
/// # Errors
/// A key or setting that can't be used.
pub fn peer_client_of(config: &Config, contracts: &Contracts) -> Result<PeerClient, StartError> {
    peer_client(config, own_key(config)?, contracts.keyid())
}

/// The client that signs with `key` as `keyid`.
pub(super) fn peer_client(config: &Config, key: Option<Arc<PeerKey>>, keyid: String) -> Result<PeerClient, StartError> {
    let signer = key.map(|key| Signer { key, keyid });
    let options = PeerOptions { timeout: config.peer_timeout, guard: guard(config)?, signer };
    PeerClient::new(options).map_err(setting("the client for peers could not be made"))
}

/// What the mirror asks of the contract.
pub(super) struct Registered(pub(super) Arc<InForce>);

impl dpg_mirror::Registry for Registered {
    fn url(&self, network: &str, destination: &str) -> Option<Url> {
        let destination = InstanceUrl::parse(destination).ok()?;
        let contracts = self.0.get();
        contracts.called(network, &destination).and_then(|instance| Url::parse(instance.url.as_str()).ok())
    }
}
