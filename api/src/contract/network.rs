//! One network as its contract describes it: domains, instances and actions. `compile` makes it.

use serde_json::Value;

use super::ItemTypeError;
use super::customs::Custom;
use super::instance_url::InstanceUrl;
use super::instances::Instance;
use super::interaction::{Interaction, ItemKind};
use super::item_type::ItemType;

/// A domain of a network.
#[derive(Debug)]
pub struct Domain {
    /// Domain id.
    pub id: String,
    /// How long pages of this domain are kept at least, in seconds.
    pub minimum_cache_ttl_seconds: u64,
    pub(super) type_names: Vec<String>,
    /// What *create* uses.
    pub(super) item_types: Vec<ItemType>,
    /// Custom types of this instance that the domain does not list: shown, but not created.
    pub(super) unlisted: Vec<ItemType>,
    /// Types of which this instance has a custom schema that could never be had.
    pub(super) unreachable: Vec<String>,
}

impl Domain {
    /// Names of all item types, in the contract's order.
    pub fn type_names(&self) -> &[String] {
        &self.type_names
    }

    /// The item types that can be created here, in the contract's order; those of custom schemas last.
    pub fn item_types(&self) -> &[ItemType] {
        &self.item_types
    }
}

impl Domain {
    /// Why there is no usable type of this name.
    pub(super) fn why_not(&self, item_type: &str) -> ItemTypeError {
        if self.unreachable.iter().any(|name| name == item_type) {
            ItemTypeError::Unreachable
        } else if self.type_names.iter().any(|name| name == item_type) {
            ItemTypeError::Unusable
        } else {
            ItemTypeError::UnknownType
        }
    }
}

/// All interactions of one action type.
#[derive(Debug)]
pub struct Action {
    /// Action type.
    pub action_type: String,
    /// In the contract's order: the first that fits counts.
    pub interactions: Vec<Interaction>,
}

/// A loaded network.
#[derive(Debug)]
pub struct Network {
    pub(super) id: String,
    pub(super) source_url: Option<String>,
    /// Whether the document was fetched.
    pub(super) fetched: bool,
    pub(super) document: Value,
    pub(super) domains: Vec<Domain>,
    pub(super) instances: Vec<Instance>,
    pub(super) actions: Vec<Action>,
    pub(super) customs: Vec<Custom>,
    /// URLs of other documents that schemas were completed from.
    pub(super) referred: Vec<String>,
}

impl Network {
    /// Network id.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Where the document was fetched, or says that it comes from.
    pub fn source_url(&self) -> Option<&str> {
        self.source_url.as_deref()
    }

    /// The document as clients see it (CONTRACT 4.19): defaults filled in, canonical spellings, references resolved.
    pub fn document(&self) -> &Value {
        &self.document
    }

    /// All domains, in the contract's order.
    pub fn domains(&self) -> &[Domain] {
        &self.domains
    }

    /// A domain by id.
    pub fn domain(&self, id: &str) -> Option<&Domain> {
        self.domains.iter().find(|domain| domain.id == id)
    }

    /// An item type that can be created here.
    pub fn item_schema(&self, domain: &str, item_type: &str) -> Option<&ItemType> {
        self.domain(domain)?.item_types.iter().find(|known| known.name() == item_type)
    }

    /// The instances of a domain in document order, aliases folded.
    pub fn instances<'n>(&'n self, domain: &'n str) -> impl Iterator<Item = &'n Instance> {
        self.instances.iter().filter(move |instance| instance.domain_id == domain)
    }

    /// Every registered instance, once per domain.
    pub fn all_instances(&self) -> &[Instance] {
        &self.instances
    }

    /// The entry that registers `url` for `domain`.
    pub fn registered(&self, domain: &str, url: &InstanceUrl) -> Option<&Instance> {
        self.instances.iter().find(|instance| instance.domain_id == domain && instance.url == *url)
    }

    /// All actions, in the contract's order.
    pub fn actions(&self) -> &[Action] {
        &self.actions
    }

    /// The first interaction of this, the target's, network that speaks about such items (CONTRACT 7.5).
    pub fn interaction(&self, action_type: &str, source: ItemKind<'_>, target: ItemKind<'_>) -> Option<&Interaction> {
        let action = self.actions.iter().find(|action| action.action_type == action_type)?;
        action.interactions.iter().find(|interaction| interaction.is_between(source, target))
    }
}
