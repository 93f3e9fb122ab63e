//! The list of schemas that `GET /api/v1/network/schemas` answers (CONTRACT 4.19, keys 8.3).

use chrono::{DateTime, SecondsFormat, Utc};
use serde::Serialize;
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::compile::domain_schema_url;
use super::network::Network;

/// What a document in the list is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum EntryKind {
    /// A whole network document.
    NetworkConfig,
    /// The schema of one item type.
    DomainItemSchema,
}

impl EntryKind {
    fn as_str(self) -> &'static str {
        match self {
            Self::NetworkConfig => "network_config",
            Self::DomainItemSchema => "domain_item_schema",
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
    /// Where the document is found, if it has a URL.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub schema_url: Option<String>,
    /// `inline`: from a local document.
    pub source: &'static str,
    /// When it was loaded, ISO 8601 with milliseconds.
    pub cached_at: String,
    /// Its name in a cache directory.
    pub file_name: String,
    /// The document.
    pub schema: &'c Value,
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

/// The entries of all `networks` that pass, sorted by `cache_key`. Nothing is fetched.
pub(super) fn entries<'c>(
    networks: &'c [Network],
    filter: &EntryFilter<'_>,
    cached_at: DateTime<Utc>,
) -> Vec<Entry<'c>> {
    let cached_at = cached_at.to_rfc3339_opts(SecondsFormat::Millis, true);
    let mut entries: Vec<Entry<'c>> =
        networks.iter().flat_map(|network| network_entries(network, &cached_at)).collect();
    entries.retain(|entry| filter.passes(entry));
    entries.sort_unstable_by(|a, b| a.cache_key.cmp(&b.cache_key));
    entries
}

fn network_entries<'c>(network: &'c Network, cached_at: &str) -> Vec<Entry<'c>> {
    let entry = |kind: EntryKind, item: Option<(&'c str, &'c str)>, schema_url: Option<String>, schema: &'c Value| {
        let (domain, item_type) = item.unzip();
        let cache_key =
            cache_key(&[kind.as_str(), network.id(), domain.unwrap_or_default(), item_type.unwrap_or_default()]);
        Entry {
            file_name: format!("{cache_key}.json"),
            cache_key,
            kind,
            network: network.id(),
            domain,
            item_type,
            schema_url,
            source: "inline",
            cached_at: cached_at.to_owned(),
            schema,
        }
    };
    let source = network.source_url();
    let mut entries = vec![entry(EntryKind::NetworkConfig, None, source.map(str::to_owned), network.document())];
    for domain in network.domains() {
        for item_type in domain.item_types() {
            let url = source.map(|source| domain_schema_url(source, network.id(), &domain.id, item_type.name()));
            let item = Some((domain.id.as_str(), item_type.name()));
            entries.push(entry(EntryKind::DomainItemSchema, item, url, item_type.schema()));
        }
    }
    entries
}

/// Hex SHA-256 of the non-empty parts, joined by `::`.
fn cache_key(parts: &[&str]) -> String {
    let joined = parts.iter().filter(|part| !part.is_empty()).copied().collect::<Vec<_>>().join("::");
    Sha256::digest(joined.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The keys of the contract's own example.
    #[test]
    fn keys_are_those_of_the_wire_contract() {
        assert_eq!(
            cache_key(&["network_config", "yellow_dot", "", ""]),
            "e5faa76415c0dc5f7231ced4665a105d92b0243099ea359ab47db53e8e1f6749"
        );
        assert_eq!(
            cache_key(&["domain_item_schema", "yellow_dot", "student", "profile_1.0"]),
            "24d5f609b240d653b42191ff59948e30d60f48534539896ae33c21f3da366aeb"
        );
    }
}
