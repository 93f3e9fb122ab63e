//! The network contract: what `network.json` says (CONTRACT 7 and 8), checked, resolved and compiled once at load. From
//! then on everything here is pure: no network, no database, no clock. Only [`Source`] fetches documents and keeps files.

mod bindings;
mod compile;
mod customs;
mod dangling;
mod document;
mod documents;
mod entries;
mod event_schema;
mod faults;
mod in_force;
mod inline;
mod instance_url;
mod instances;
mod interaction;
mod item_type;
mod keywords;
mod library;
mod lifecycle;
mod load;
mod network;
mod peers;
mod places;
mod pointer;
mod private;
mod references;
mod report;
mod resplit;
mod self_contained;
mod source;
mod split;
#[cfg(test)]
pub(crate) mod tests;
mod validator;

use actix_web::http::StatusCode;
use arc_swap::ArcSwap;
use chrono::{DateTime, Utc};
use serde_json::{Map, Value, json};

pub use bindings::{Binding, BindingsError, parse_bindings};
pub use documents::{Documents, NetworkDocument};
pub use entries::{Entry, EntryFilter, EntryKind};
pub use in_force::{InForce, MadeFrom};
pub use instance_url::{InstanceUrl, InstanceUrlError};
pub use instances::Instance;
pub use interaction::{EventContext, Interaction, ItemKind};
pub use item_type::ItemType;
pub use lifecycle::{Refusal, Role};
pub use load::LoadOptions;
pub use network::{Action, Domain, Network};
pub(crate) use report::listed;
pub use report::{Problem, Warning};
pub use resplit::Halves;
pub use source::{At, LoadError, Loaded, Source, SourceOptions, StoreError};
pub use split::merge;

use crate::http::ApiError;

/// Why there is no item type to validate with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ItemTypeError {
    /// No such network is loaded.
    #[error("the network is not loaded")]
    UnknownNetwork,
    /// The network defines no such domain.
    #[error("the network does not define the domain")]
    UnknownDomain,
    /// The domain lists no such type.
    #[error("the domain does not define the item type")]
    UnknownType,
    /// The schema does not compile, which only happens in a domain that is not served here.
    #[error("the schema of the item type can't be used")]
    Unusable,
    /// This instance has a custom schema for it that could never be had.
    #[error("the schema of the item type can't be had")]
    Unreachable,
}

/// All loaded networks, as seen from this instance.
#[derive(Debug)]
pub struct Contracts {
    documents: Documents,
    networks: Vec<Network>,
    own_url: InstanceUrl,
    served: Vec<Binding>,
    version: i64,
    loaded_at: DateTime<Utc>,
    /// Changes while the contract is in force: the only thing here that does.
    unsplit: ArcSwap<Vec<Binding>>,
}

impl Contracts {
    /// The same networks as the version that Postgres knows them by.
    #[must_use]
    pub fn of_version(self, version: i64, loaded_at: DateTime<Utc>) -> Self {
        Self { version, loaded_at, ..self }
    }

    /// The version of the contract (CONTRACT 8.4); 1 until Postgres gives it another.
    pub fn version(&self) -> i64 {
        self.version
    }

    /// What the contract was made from, for storage: from them [`Contracts::build`] makes the same contract again.
    pub fn documents(&self) -> &Documents {
        &self.documents
    }

    /// All loaded networks, in the order of their documents.
    pub fn networks(&self) -> &[Network] {
        &self.networks
    }

    /// A network by id.
    pub fn network(&self, id: &str) -> Option<&Network> {
        self.networks.iter().find(|network| network.id() == id)
    }

    /// The served pairs, in configured order.
    pub fn served(&self) -> &[Binding] {
        &self.served
    }

    /// Whether this instance serves the pair.
    pub fn serves(&self, network: &str, domain: &str) -> bool {
        self.served.iter().any(|binding| binding.network == network && binding.domain == domain)
    }

    /// The unserved reply (CONTRACT 1.3).
    pub fn unserved(&self, network: &str, domain: &str) -> ApiError {
        let key = format!("{network}/{domain}");
        let message = format!("This instance does not serve {key}.");
        let mut error = ApiError::new(StatusCode::FORBIDDEN, "UNSERVED_DOMAIN_BINDING", message);
        let keys: Vec<String> = self.served.iter().map(ToString::to_string).collect();
        let types = self.served.iter().map(|binding| {
            let domain = self.network(&binding.network).and_then(|network| network.domain(&binding.domain));
            (binding.to_string(), json!(domain.map_or(&[][..], Domain::type_names)))
        });
        *error.extra = Map::from_iter([
            ("requested".to_owned(), json!({"network": network, "domain": domain, "key": key})),
            ("allowed_bindings".to_owned(), json!(keys)),
            ("allowed_networks".to_owned(), distinct(self.served.iter().map(|binding| &binding.network))),
            ("allowed_domains".to_owned(), distinct(self.served.iter().map(|binding| &binding.domain))),
            ("allowed_item_types_by_binding".to_owned(), Value::Object(types.collect())),
        ]);
        error
    }

    /// The item type that *create* uses here (CONTRACT 8.1).
    ///
    /// # Errors
    /// The first thing of network, domain and type that is missing.
    pub fn item_type(&self, network: &str, domain: &str, item_type: &str) -> Result<&ItemType, ItemTypeError> {
        let known = self.domain(network, domain)?;
        if !known.type_names().iter().any(|name| name == item_type) {
            return Err(ItemTypeError::UnknownType);
        }
        let found = known.item_types().iter().find(|known| known.name() == item_type);
        found.ok_or_else(|| known.why_not(item_type))
    }

    /// The item type whose schema this instance shows (CONTRACT 4.20): as [`Contracts::item_type`], but a custom one need
    /// not be listed by the domain.
    ///
    /// # Errors
    /// The first thing of network, domain and type that is missing.
    pub fn shown_item_type(&self, network: &str, domain: &str, item_type: &str) -> Result<&ItemType, ItemTypeError> {
        let known = self.domain(network, domain)?;
        let mut types = known.item_types().iter().chain(&known.unlisted);
        types.find(|known| known.name() == item_type).ok_or_else(|| known.why_not(item_type))
    }

    fn domain(&self, network: &str, domain: &str) -> Result<&Domain, ItemTypeError> {
        let network = self.network(network).ok_or(ItemTypeError::UnknownNetwork)?;
        network.domain(domain).ok_or(ItemTypeError::UnknownDomain)
    }

    /// Our base URL as configured.
    pub fn own_url(&self) -> &InstanceUrl {
        &self.own_url
    }

    /// Our base URL in the spelling that the contract registers for the domain, else as configured (CONTRACT 3.1).
    pub fn own_instance_url(&self, network: &str, domain: &str) -> String {
        let registered = self.registered(network, domain, &self.own_url);
        registered.map_or(&self.own_url, |instance| &instance.url).as_str().to_owned()
    }

    /// Whether `url` names this instance.
    pub fn is_own(&self, url: &InstanceUrl) -> bool {
        *url == self.own_url
    }

    /// The entry that registers `url` for the domain, with its first spelling and all its keys.
    pub fn registered(&self, network: &str, domain: &str, url: &InstanceUrl) -> Option<&Instance> {
        self.network(network)?.registered(domain, url)
    }

    /// Whether the network registers `url` for any domain.
    pub fn is_registered(&self, network: &str, url: &InstanceUrl) -> bool {
        self.network(network).is_some_and(|network| network.all_instances().iter().any(|instance| instance.url == *url))
    }

    /// The interaction that governs an action between such items; always from the target's network (CONTRACT 7.5).
    pub fn interaction(&self, action_type: &str, source: ItemKind<'_>, target: ItemKind<'_>) -> Option<&Interaction> {
        self.network(target.network)?.interaction(action_type, source, target)
    }

    /// The origins whose pages may call us because of what the contracts say (CONTRACT 9.2): instances of the domains
    /// we serve, and of the domains that may act upon them. Sorted.
    pub fn peer_origins(&self) -> Vec<String> {
        let mut origins = Vec::new();
        let mut add = |network: &str, domain: &str| {
            let instances = self.network(network).into_iter().flat_map(|network| network.instances(domain));
            origins.extend(instances.flat_map(|instance| instance.origins.iter().cloned()));
        };
        for Binding { network, domain } in &self.served {
            add(network, domain);
            let actions = self.network(network).map_or(&[][..], Network::actions);
            for interaction in actions.iter().flat_map(|action| &action.interactions) {
                if interaction.target() == (network, domain) {
                    let (network, domain) = interaction.source();
                    add(network, domain);
                }
            }
        }
        origins.sort_unstable();
        origins.dedup();
        origins
    }

    /// The documents of CONTRACT 4.19 that pass `filter`.
    pub fn entries(&self, filter: &EntryFilter<'_>) -> Vec<Entry<'_>> {
        entries::entries(self, filter)
    }
}

fn distinct<'t>(texts: impl Iterator<Item = &'t String>) -> Value {
    let mut seen: Vec<&String> = Vec::new();
    for text in texts {
        if !seen.contains(&text) {
            seen.push(text);
        }
    }
    json!(seen)
}
