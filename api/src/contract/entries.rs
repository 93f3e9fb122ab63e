//! The list of schemas that `GET /api/v1/network/schemas` answers (CONTRACT 4.19, keys 8.3).

use std::collections::BTreeMap;

use chrono::SecondsFormat;
use serde::Serialize;
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::Contracts;
use super::compile::domain_schema_url;
use super::network::Network;
use super::places::schema_at;

/// What a document in the list is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum EntryKind {
    /// A whole network document.
    NetworkConfig,
    /// The schema of one item type.
    DomainItemSchema,
    /// The schema that one instance uses for a type instead of the domain's.
    InstanceCustomItemSchema,
    /// A document that schemas refer to by its URL.
    ItemSchemaUrl,
}

impl EntryKind {
    fn as_str(self) -> &'static str {
        match self {
            Self::NetworkConfig => "network_config",
            Self::DomainItemSchema => "domain_item_schema",
            Self::InstanceCustomItemSchema => "instance_custom_item_schema",
            Self::ItemSchemaUrl => "item_schema_url",
        }
    }
}

/// One document of the list, in the order of its members on the wire.
#[derive(Debug, Clone, Serialize)]
pub struct Entry<'c> {
    /// Identity: hex SHA-256.
    pub cache_key: String,
    /// What it is.
    pub kind: EntryKind,
    /// Network id.
    pub network: &'c str,
    /// Domain of an item schema.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub domain: Option<&'c str>,
    /// Type of an item schema.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub item_type: Option<&'c str>,
    /// The instance whose schema it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub instance_url: Option<&'c str>,
    /// Where the document is found, if it has a URL.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub schema_url: Option<String>,
    /// `remote` if the document was fetched, else `inline`.
    pub source: &'static str,
    /// When it was loaded, ISO 8601 with milliseconds.
    pub cached_at: String,
    /// Its name in a cache directory.
    pub file_name: String,
    /// The document as clients see it.
    pub schema: &'c Value,
    /// The document as it was read, where it is one by itself.
    #[serde(skip)]
    pub(super) original: &'c Value,
}

/// Exact matches; `None` and the empty text let everything pass.
#[derive(Debug, Clone, Copy, Default)]
pub struct EntryFilter<'f> {
    /// Network id.
    pub network: Option<&'f str>,
    /// Domain id.
    pub domain: Option<&'f str>,
    /// Item type.
    pub item_type: Option<&'f str>,
    /// URL of the document.
    pub schema_url: Option<&'f str>,
}

impl EntryFilter<'_> {
    fn passes(&self, entry: &Entry<'_>) -> bool {
        let equal = |wanted: Option<&str>, found: Option<&str>| {
            wanted.filter(|wanted| !wanted.is_empty()).is_none_or(|wanted| found == Some(wanted))
        };
        equal(self.network, Some(entry.network))
            && equal(self.domain, entry.domain)
            && equal(self.item_type, entry.item_type)
            && equal(self.schema_url, entry.schema_url.as_deref())
    }
}

/// The entries that pass, sorted by `cache_key`. Nothing is fetched.
pub(super) fn entries<'c>(contracts: &'c Contracts, filter: &EntryFilter<'_>) -> Vec<Entry<'c>> {
    let cached_at = contracts.loaded_at.to_rfc3339_opts(SecondsFormat::Millis, true);
    let mut entries = Vec::new();
    for (network, read) in contracts.networks.iter().zip(&contracts.documents.networks) {
        let of_network = OfNetwork { network, cached_at: &cached_at };
        of_network.document(&read.document, &mut entries);
        of_network.domains(&mut entries);
        of_network.named(&contracts.documents.named, &mut entries);
    }
    entries.retain(|entry| filter.passes(entry));
    entries.sort_unstable_by(|a, b| a.cache_key.cmp(&b.cache_key));
    entries
}

struct OfNetwork<'c, 'e> {
    network: &'c Network,
    cached_at: &'e str,
}

impl<'c> OfNetwork<'c, '_> {
    fn document(&self, original: &'c Value, entries: &mut Vec<Entry<'c>>) {
        let url = self.network.source_url().map(str::to_owned);
        let entry = self.entry(EntryKind::NetworkConfig, [None; 3], url, self.network.document());
        entries.push(Entry { original, ..entry });
    }

    fn domains(&self, entries: &mut Vec<Entry<'c>>) {
        let network = self.network;
        for (position, domain) in network.domains().iter().enumerate() {
            for name in domain.type_names() {
                let schema = network.document().pointer(&schema_at(position, "item_schemas", name));
                let url = network.source_url().map(|url| domain_schema_url(url, network.id(), &domain.id, name));
                let parts = [Some(domain.id.as_str()), Some(name.as_str()), None];
                entries.extend(schema.map(|schema| self.entry(EntryKind::DomainItemSchema, parts, url, schema)));
            }
        }
    }

    fn named(&self, named: &'c BTreeMap<String, Value>, entries: &mut Vec<Entry<'c>>) {
        for custom in &self.network.customs {
            let parts = [&custom.domain, &custom.item_type, &custom.instance_url].map(|part| Some(part.as_str()));
            let kind = EntryKind::InstanceCustomItemSchema;
            let entry = self.entry(kind, parts, Some(custom.url.clone()), &custom.emitted);
            let document = custom.document.as_ref().and_then(|url| named.get(url));
            // A fragment's document has an entry of its own.
            let original = document.filter(|_| !custom.url.contains('#')).unwrap_or(&custom.emitted);
            entries.push(Entry { original, source: source(document.is_some() || self.network.fetched), ..entry });
        }
        for url in &self.network.referred {
            let entry = |schema| self.entry(EntryKind::ItemSchemaUrl, [None; 3], Some(url.clone()), schema);
            entries.extend(named.get(url).map(|schema| Entry { source: source(true), ..entry(schema) }));
        }
    }

    /// `parts`: domain, item type and instance.
    fn entry(
        &self,
        kind: EntryKind,
        parts: [Option<&'c str>; 3],
        schema_url: Option<String>,
        schema: &'c Value,
    ) -> Entry<'c> {
        let [domain, item_type, instance_url] = parts;
        let cache_key = cache_key(kind, self.network.id(), parts, schema_url.as_deref());
        Entry {
            file_name: file_name(&cache_key),
            cache_key,
            kind,
            network: self.network.id(),
            domain,
            item_type,
            instance_url,
            schema_url,
            source: source(self.network.fetched),
            cached_at: self.cached_at.to_owned(),
            schema,
            original: schema,
        }
    }
}

fn source(fetched: bool) -> &'static str {
    if fetched { "remote" } else { "inline" }
}

/// Name of a document's file in a cache directory (CONTRACT 8.3).
pub(super) fn file_name(cache_key: &str) -> String {
    format!("{cache_key}.json")
}

/// Hex SHA-256 of the parts that identify a document (CONTRACT 8.3), joined by `::`: kind and network, then domain, item
/// type and instance if it has them, then its URL where only that tells it from others.
pub(super) fn cache_key(kind: EntryKind, network: &str, parts: [Option<&str>; 3], url: Option<&str>) -> String {
    let [domain, item_type, instance_url] = parts;
    let by_url = matches!(kind, EntryKind::InstanceCustomItemSchema | EntryKind::ItemSchemaUrl);
    let url = url.filter(|_| by_url);
    let parts = [Some(kind.as_str()), Some(network), domain, instance_url, item_type, url];
    let parts: Vec<_> = parts.into_iter().flatten().filter(|part| !part.is_empty()).collect();
    format!("{:x}", Sha256::digest(parts.join("::")))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The keys of the contract's own example.
    #[test]
    fn keys_are_those_of_the_wire_contract() {
        assert_eq!(
            cache_key(EntryKind::NetworkConfig, "yellow_dot", [None; 3], Some("https://r.example")),
            "e5faa76415c0dc5f7231ced4665a105d92b0243099ea359ab47db53e8e1f6749"
        );
        assert_eq!(
            cache_key(EntryKind::DomainItemSchema, "yellow_dot", [Some("student"), Some("profile_1.0"), None], None),
            "24d5f609b240d653b42191ff59948e30d60f48534539896ae33c21f3da366aeb"
        );
    }
}
