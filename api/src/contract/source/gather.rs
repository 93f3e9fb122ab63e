//! One load: the network documents, those of other networks one hop away, and whatever the schemas turn out to miss, until
//! nothing is missing that can be had. Which documents are missed, the build itself says, so the two can't disagree.

use std::collections::BTreeMap;

use dpg_eventstore::Chain;
use futures_util::{StreamExt, stream};
use serde_json::Value;
use url::Url;

use super::fetch::{FetchError, NamedBy};
use super::{At, LoadError, Loaded, Networks, Source};
use crate::contract::entries::{EntryKind, cache_key};
use crate::contract::load::{prefixed, read};
use crate::contract::network::Network;
use crate::contract::places::list;
use crate::contract::pointer::{index, join};
use crate::contract::report::{Problem, Report, Warning, Weight};
use crate::contract::{Contracts, Documents, InstanceUrl, NetworkDocument};

/// Documents that a contract may name (CONTRACT 8.2).
const MAX_DOCUMENTS: usize = 64;
/// Documents that are fetched at once.
const AT_ONCE: usize = 32;

pub(super) struct Gathering<'s> {
    source: &'s Source,
    last_good: Option<&'s Documents>,
    at: At,
    documents: Documents,
    /// Why documents can't be had, by URL.
    reasons: BTreeMap<String, String>,
    /// How many documents were asked for because another names them.
    named: usize,
    problems: Vec<Problem>,
    warnings: Vec<Warning>,
    copies: Vec<String>,
    /// Whether a document that is needed can't be had.
    lacking: bool,
}

/// A network that another one names.
struct Origin {
    /// Path of the entry that names it.
    path: String,
    id: String,
    url: String,
}

impl<'s> Gathering<'s> {
    pub(super) fn new(source: &'s Source, last_good: Option<&'s Documents>, at: At) -> Self {
        Self {
            source,
            last_good,
            at,
            documents: Documents::default(),
            reasons: BTreeMap::new(),
            named: 0,
            problems: Vec::new(),
            warnings: Vec::new(),
            copies: Vec::new(),
            lacking: false,
        }
    }

    pub(super) async fn load(mut self) -> Result<Loaded, LoadError> {
        match &self.source.networks {
            Networks::File(path) => match Documents::read_file(path) {
                Ok(documents) => self.documents = documents,
                Err(problems) => {
                    self.problems.extend(problems);
                    self.lacking = true;
                }
            },
            Networks::Urls(urls) => self.fetch_networks(urls, NamedBy::Settings).await,
        }
        let origins = self.origins();
        self.fetch_networks(&origins, NamedBy::Document).await;
        if self.documents.networks.is_empty() && !self.problems.is_empty() {
            return Err(self.refuse());
        }
        let (networks, report) = self.fetch_named().await;
        self.problems.extend(report.problems);
        self.warnings.extend(report.warnings);
        if !self.problems.is_empty() {
            return Err(self.refuse());
        }
        let contracts = Contracts::of(self.documents, networks, &self.source.options);
        Ok(Loaded { contracts, warnings: self.warnings, copies: self.copies })
    }

    fn refuse(self) -> LoadError {
        if self.lacking { LoadError::Fetch(self.problems) } else { LoadError::Invalid(self.problems) }
    }

    /// Fetches network documents by id.
    async fn fetch_networks(&mut self, urls: &[(String, Url)], named_by: NamedBy) {
        let all = urls.iter().map(|(_, url)| url.clone()).collect();
        for ((id, url), found) in urls.iter().zip(self.fetch(all, named_by).await) {
            let document = match found {
                Ok(document) => document,
                Err(error) => {
                    let reason = Chain(&error).to_string();
                    let Some(copy) = self.network_copy(id, url) else {
                        self.lacking = true;
                        self.problem("", format!("{url} can't be had: {reason}"));
                        continue;
                    };
                    self.copied(url.as_str(), &reason);
                    copy
                }
            };
            if let Some(found) = id_of(&document).filter(|found| found != id) {
                self.problem(&format!("{url}#/id"), format!("is {found:?}, but the network {id:?} was expected there"));
            }
            self.documents.networks.push(NetworkDocument { fetched_from: Some(url.to_string()), document });
        }
    }

    /// The networks that those of the settings name and that are not loaded yet (CONTRACT 7.9).
    fn origins(&mut self) -> Vec<(String, Url)> {
        let mut wanted: Vec<(String, Url)> = Vec::new();
        let mut refused = Vec::new();
        for origin in origins_of(&self.documents) {
            let loaded = |network: &&NetworkDocument| network.fetched_from.as_ref() == Some(&origin.url);
            let known = self.documents.networks.iter().find(loaded).map(|network| id_of(&network.document));
            let known = known.or_else(|| {
                let known = wanted.iter().find(|(_, url)| url.as_str() == origin.url);
                known.map(|(id, _)| Some(id.clone()))
            });
            let by_id =
                self.documents.networks.iter().any(|network| id_of(&network.document).as_ref() == Some(&origin.id));
            let by_id = by_id || wanted.iter().any(|(id, _)| *id == origin.id);
            match (known, self.fetchable(&origin.url)) {
                (Some(Some(known)), _) if known != origin.id => {
                    refused.push((origin.path, format!("{} is the network {known:?}", origin.url)));
                }
                (Some(_), _) => {}
                (None, _) if by_id => {}
                (None, Ok(url)) => wanted.push((origin.id, url)),
                (None, Err(message)) => refused.push((origin.path, message)),
            }
        }
        refused.into_iter().for_each(|(path, message)| self.problem(&path, message));
        wanted
    }

    fn fetchable(&self, text: &str) -> Result<Url, String> {
        let url = Url::parse(text).ok().filter(|url| matches!(url.scheme(), "http" | "https"));
        let url = url.ok_or_else(|| format!("{text:?} is no http or https URL"))?;
        let own = InstanceUrl::parse(text).is_ok_and(|url| url == self.source.options.own_url);
        if own { Err(format!("{text} is our own URL, which is never called")) } else { Ok(url) }
    }

    /// Fetches what the schemas miss, what this instance needs first.
    async fn fetch_named(&mut self) -> (Vec<Network>, Report) {
        loop {
            let mut report = Report::of_loading(self.reasons.clone(), self.at == At::Refetch);
            let networks = read(&self.documents, &self.source.options, &mut report);
            let tried = |url: &str| self.reasons.contains_key(url) || self.documents.named.contains_key(url);
            let open: Vec<_> = report.missing.iter().filter(|(url, _)| !tried(url)).collect();
            let most = open.iter().map(|(_, weight)| **weight).max();
            let Some(weight) = most else {
                self.lacking |= report.missing.values().any(|weight| *weight == Weight::Problem);
                return (networks, report);
            };
            let next = open.iter().filter(|(_, other)| **other == weight);
            let urls = next.filter_map(|(url, _)| Url::parse(url).ok()).collect();
            self.fetch_schemas(urls, weight, &networks).await;
        }
    }

    async fn fetch_schemas(&mut self, urls: Vec<Url>, weight: Weight, networks: &[Network]) {
        let found = self.fetch(urls.clone(), NamedBy::Document).await;
        for (url, found) in urls.iter().zip(found) {
            let found = found.or_else(|error| {
                let reason = Chain(&error).to_string();
                let copy = self.schema_copy(url, weight, networks).ok_or_else(|| reason.clone())?;
                self.copied(url.as_str(), &reason);
                Ok::<Value, String>(copy)
            });
            match found {
                Ok(document) => drop(self.documents.named.insert(url.to_string(), document)),
                Err(reason) => drop(self.reasons.insert(url.to_string(), reason)),
            }
        }
    }

    /// Fetches documents side by side; what comes back is in their order.
    async fn fetch(&mut self, urls: Vec<Url>, named_by: NamedBy) -> Vec<Result<Value, FetchError>> {
        let fetcher = &self.source.fetcher;
        let left = match named_by {
            NamedBy::Settings => urls.len(),
            NamedBy::Document => MAX_DOCUMENTS.saturating_sub(self.named),
        };
        if named_by == NamedBy::Document {
            self.named += urls.len();
        }
        let fetches = urls.into_iter().enumerate().map(|(number, url)| async move {
            if number < left { fetcher.get(&url, named_by).await } else { Err(FetchError::TooMany(MAX_DOCUMENTS)) }
        });
        stream::iter(fetches).buffered(AT_ONCE).collect().await
    }

    fn network_copy(&self, id: &str, url: &Url) -> Option<Value> {
        if self.at == At::Refetch {
            return None;
        }
        let mut known = self.last_good.into_iter().flat_map(|documents| &documents.networks);
        let known = known.find(|network| network.fetched_from.as_deref() == Some(url.as_str()));
        let in_force = known.map(|network| network.document.clone());
        in_force.or_else(|| self.source.cache.read(&cache_key(EntryKind::NetworkConfig, id, [None; 3], None)))
    }

    fn schema_copy(&self, url: &Url, weight: Weight, networks: &[Network]) -> Option<Value> {
        if self.at == At::Refetch && weight == Weight::Problem {
            return None;
        }
        let in_force = self.last_good.and_then(|documents| documents.named.get(url.as_str())).cloned();
        in_force.or_else(|| cache_keys(url, networks).iter().find_map(|key| self.source.cache.read(key)))
    }

    fn copied(&mut self, url: &str, reason: &str) {
        let message = format!("{url} can't be had: {reason}; the last good copy is used");
        self.warnings.push(Warning { path: String::new(), message });
        self.copies.push(url.to_owned());
    }

    fn problem(&mut self, path: &str, message: String) {
        self.problems.push(Problem { path: path.to_owned(), message });
    }
}

/// Under which keys a document that is named by a URL may have been kept.
fn cache_keys(url: &Url, networks: &[Network]) -> Vec<String> {
    let mut keys = Vec::new();
    for network in networks {
        for instance in network.all_instances() {
            for (item_type, custom) in &instance.custom_item_schema_urls {
                if Url::parse(custom).is_ok_and(|custom| custom == *url) {
                    let parts = [&*instance.domain_id, item_type, instance.url.as_str()].map(Some);
                    keys.push(cache_key(EntryKind::InstanceCustomItemSchema, network.id(), parts, Some(custom)));
                }
            }
        }
        keys.push(cache_key(EntryKind::ItemSchemaUrl, network.id(), [None; 3], Some(url.as_str())));
    }
    keys
}

/// Entries that can't be read are reported when their document is checked.
fn origins_of(documents: &Documents) -> Vec<Origin> {
    let mut origins = Vec::new();
    for (prefix, network) in prefixed(documents) {
        for (position, origin) in list(&network.document, "cross_network_origins").iter().enumerate() {
            let path = join(&index(&format!("{prefix}/cross_network_origins"), position), "schema_url");
            let url = origin.get("schema_url").and_then(Value::as_str).and_then(|url| Url::parse(url).ok());
            if let (Some(id), Some(url)) = (id_of(origin), url) {
                origins.push(Origin { path, id, url: url.to_string() });
            }
        }
    }
    origins
}

/// The id of a network as it is written, in either spelling (CONTRACT 7.6).
fn id_of(document: &Value) -> Option<String> {
    let id = document.get("id").filter(|id| !id.is_null()).or_else(|| document.get("name"));
    id.and_then(Value::as_str).map(str::to_owned)
}
