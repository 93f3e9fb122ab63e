//! What a new contract makes of states that an older one has split (CONTRACT 8.6). Values only ever move from the public
//! half to the private one: what an owner gave as private stays private until the owner writes again.

use serde_json::{Map, Value};

use super::Contracts;
use super::bindings::Binding;
use super::private::{Place, Privacy};
use super::split::merge_objects;

impl Privacy {
    /// Moves what is private out of a public half; `None` when it holds nothing private.
    pub(super) fn resplit(&self, public: &Map<String, Value>, private: &Map<String, Value>) -> Option<Halves> {
        let (kept, moved) = self.split(public);
        (kept != *public).then(|| (kept, merge_objects(moved, private.clone())))
    }

    /// Whether a filter could tell something about a private value of some state. Containment does not look at the index
    /// of an element, so all of them count; and an empty object or array is contained in one that holds only private values.
    pub(super) fn may_reveal(&self, filter: &Value) -> bool {
        self.may_reveal_at(&self.root(), filter)
    }

    fn may_reveal_at(&self, place: &Place, filter: &Value) -> bool {
        if place.is_empty() {
            return false;
        }
        if self.is_private(place, filter) {
            return true;
        }
        match filter {
            Value::Object(members) if !members.is_empty() => {
                members.iter().any(|(key, member)| self.may_reveal_at(&self.property(place, key), member))
            }
            Value::Array(elements) if !elements.is_empty() => {
                let place = self.any_element(place);
                elements.iter().any(|element| self.may_reveal_at(&place, element))
            }
            Value::Object(_) | Value::Array(_) => true,
            _ => false,
        }
    }
}

/// A public and a private half.
pub type Halves = (Map<String, Value>, Map<String, Value>);

impl Contracts {
    /// Splits the halves of a state once more, by this contract; `None` when nothing moves, or the type is not known.
    #[must_use]
    pub fn resplit(
        &self,
        (network, domain, item_type): (&str, &str, &str),
        public: &Map<String, Value>,
        private: &Map<String, Value>,
    ) -> Option<Halves> {
        self.item_type(network, domain, item_type).ok()?.privacy().resplit(public, private)
    }

    /// The domains with items that an older contract may have split otherwise, and that have not all been split again.
    pub fn set_unsplit(&self, domains: Vec<Binding>) {
        self.unsplit.store(domains.into());
    }

    /// Whether rows of the domain need [`Contracts::resplit`] before anybody sees them, and filters
    /// [`Contracts::types_hidden_from`].
    #[must_use]
    pub fn is_unsplit(&self, network: &str, domain: &str) -> bool {
        self.unsplit.load().iter().any(|unsplit| unsplit.network == network && unsplit.domain == domain)
    }

    /// The item types whose rows a filter must not match as long as the domain is unsplit, because it could tell something
    /// about a private value.
    #[must_use]
    pub fn types_hidden_from(&self, network: &str, domain: &str, filter: &Value) -> Vec<&str> {
        let types = self.network(network).and_then(|network| network.domain(domain)).map(|domain| domain.type_names());
        let types = types.into_iter().flatten().filter_map(|name| self.item_type(network, domain, name).ok());
        types.filter(|kind| kind.privacy().may_reveal(filter)).map(|kind| kind.name()).collect()
    }

    /// The domains in which this contract may hold private what `older` did not.
    #[must_use]
    pub fn splits_otherwise(&self, older: Option<&Self>) -> Vec<Binding> {
        let domains =
            self.networks().iter().flat_map(|network| network.domains().iter().map(move |domain| (network, domain)));
        let differing = domains.filter(|(network, domain)| {
            domain.type_names().iter().any(|name| {
                let Ok(kind) = self.item_type(network.id(), &domain.id, name) else { return false };
                let before = older.and_then(|older| older.item_type(network.id(), &domain.id, name).ok());
                kind.privacy().has_private() && before.is_none_or(|before| !kind.splits_like(before))
            })
        });
        differing
            .map(|(network, domain)| Binding { network: network.id().to_owned(), domain: domain.id.clone() })
            .collect()
    }
}
