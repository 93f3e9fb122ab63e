//! What the contract says about other instances: keys, addresses, and which networks are ours.

use dpg_mirror::signature::PublicKey;

use super::{Contracts, Instance, InstanceUrl, Network};

impl Contracts {
    /// The networks in which this instance serves a domain, each once, in configured order.
    #[must_use]
    pub fn served_networks(&self) -> Vec<String> {
        let mut networks: Vec<String> = Vec::new();
        for binding in &self.served {
            if !networks.contains(&binding.network) {
                networks.push(binding.network.clone());
            }
        }
        networks
    }

    /// Whether this instance serves a domain of the network.
    #[must_use]
    pub fn serves_network(&self, network: &str) -> bool {
        self.served.iter().any(|binding| binding.network == network)
    }

    /// The keys that the contract of `network` gives an instance, whichever of its domains it is registered for. A key
    /// that can't be read is none.
    #[must_use]
    pub fn public_keys(&self, network: &str, instance: &InstanceUrl) -> Vec<PublicKey> {
        let instances = self.network(network).into_iter().flat_map(|network| network.all_instances());
        let texts = instances.filter(|known| known.url == *instance).flat_map(|known| &known.public_keys);
        texts.filter_map(|text| PublicKey::parse(text).ok()).collect()
    }

    /// A network that gives us keys, and this one not among them: peers would refuse what we sign with it.
    #[must_use]
    pub fn disowning(&self, ours: &PublicKey) -> Option<&str> {
        let disowns = |network: &&Network| {
            let registered = self.public_keys(network.id(), &self.own_url);
            !registered.is_empty() && !registered.contains(ours)
        };
        self.networks.iter().find(disowns).map(Network::id)
    }

    /// Whether the contract of `network` gives the instance a key at all, readable or not: whoever has one must sign.
    #[must_use]
    pub fn has_public_key(&self, network: &str, instance: &InstanceUrl) -> bool {
        let mut instances = self.network(network).into_iter().flat_map(|network| network.all_instances());
        instances.any(|known| known.url == *instance && !known.public_keys.is_empty())
    }

    /// An instance that is registered for any domain of `network`: the first entry, whose spelling is called.
    #[must_use]
    pub fn registered_anywhere(&self, network: &str, instance: &InstanceUrl) -> Option<&Instance> {
        self.network(network)?.all_instances().iter().find(|known| known.url == *instance)
    }

    /// Whom a lane of `network` calls: the source of an action across networks may be registered in its own network alone.
    #[must_use]
    pub fn called(&self, network: &str, instance: &InstanceUrl) -> Option<&Instance> {
        let elsewhere = || self.networks.iter().find_map(|other| self.registered_anywhere(other.id(), instance));
        self.registered_anywhere(network, instance).or_else(elsewhere)
    }

    /// Whether `host[:port]` is this instance's: that of its base URL, by any alias of the loopback.
    #[must_use]
    pub fn is_own_authority(&self, authority: &str) -> bool {
        InstanceUrl::parse(&format!("{}://{authority}", self.own_scheme())).is_ok_and(|url| self.is_own(&url))
    }

    /// An authority as signatures cover it: without the port that goes without saying (RFC 9421, 2.2.3). The scheme is
    /// ours, whatever a proxy before us makes of it.
    #[must_use]
    pub fn without_default_port<'a>(&self, authority: &'a str) -> &'a str {
        let port = if self.own_scheme() == "http" { ":80" } else { ":443" };
        authority.strip_suffix(port).unwrap_or(authority)
    }

    fn own_scheme(&self) -> &str {
        self.own_url.normalised().split_once("://").map_or("https", |(scheme, _)| scheme)
    }

    /// What our signatures call us: our URL in the first spelling that a contract registers, else as configured.
    #[must_use]
    pub fn keyid(&self) -> String {
        let registered = self.networks.iter().find_map(|network| self.registered_anywhere(network.id(), &self.own_url));
        registered.map_or(&self.own_url, |instance| &instance.url).as_str().to_owned()
    }
}
