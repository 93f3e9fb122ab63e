//! Every document that a contract is made from, indexed so that a reference finds its target wherever that stands
//! (CONTRACT 8.2): in the schema that holds the reference, at the root of its document, or in another document by URL.
//! Our own URL is answered from here too, for we never call ourselves (CONTRACT 8.1).

use std::collections::{BTreeMap, HashMap};

use percent_encoding::percent_decode_str;
use serde_json::Value;
use url::Url;

use super::instance_url::InstanceUrl;
use super::pointer::{self, index, join};
use super::references::References;

/// A network document as it comes into the library.
pub(super) struct Shelved<'d> {
    /// The normalised document.
    pub(super) root: &'d Value,
    /// Where it was found, without fragment.
    pub(super) url: Option<Url>,
    /// Pointers of its JSON Schemas.
    pub(super) schemas: Vec<String>,
    /// Stands before every pointer into it that an operator is shown.
    pub(super) prefix: String,
}

/// One document.
pub(super) struct Document<'d> {
    root: &'d Value,
    /// Where it was found: the base of its relative references.
    pub(super) url: Option<Url>,
    /// Stands before every pointer into it that an operator is shown.
    pub(super) prefix: String,
    is_network: bool,
    whole: References<'d>,
    schemas: Vec<(String, References<'d>)>,
}

/// Where a reference is looked up first: a schema of a document, or the document (`None`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Holder {
    /// Number of the document: networks first, in their order.
    pub(super) document: usize,
    schema: Option<usize>,
}

/// Why a URL leads to no schema.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Lost {
    /// The document is not among ours; it may be fetched.
    Missing,
    /// The document is there, but the fragment points to nothing in it.
    Dead,
    /// It would have to come from ourselves, and is not there.
    Own,
}

/// All documents of a contract.
pub(super) struct Library<'d> {
    documents: Vec<Document<'d>>,
    by_url: HashMap<String, usize>,
    own_url: &'d InstanceUrl,
}

impl<'d> Library<'d> {
    /// Indexes the network documents and those that are named by URL. Each of `entries`, a URL and its fragment, leads
    /// to a schema that has to stand on its own.
    pub(super) fn new(
        networks: Vec<Shelved<'d>>,
        named: &'d BTreeMap<String, Value>,
        entries: &[(Url, String)],
        own_url: &'d InstanceUrl,
    ) -> Self {
        let mut library = Self { documents: Vec::new(), by_url: HashMap::new(), own_url };
        for network in networks {
            library.add(Document::new(network, true));
        }
        for (url, root) in named {
            let shelved = Shelved { root, url: Url::parse(url).ok(), schemas: Vec::new(), prefix: format!("{url}#") };
            let mut document = Document::new(shelved, false);
            for (_, fragment) in entries.iter().filter(|(entry, _)| entry.as_str() == url) {
                document.add_schema(fragment);
            }
            library.add(document);
        }
        library
    }

    fn add(&mut self, document: Document<'d>) {
        if let Some(url) = &document.url {
            self.by_url.entry(url.as_str().to_owned()).or_insert(self.documents.len());
        }
        self.documents.push(document);
    }

    pub(super) fn document(&self, holder: Holder) -> Option<&Document<'d>> {
        self.documents.get(holder.document)
    }

    /// The references of a schema or document.
    pub(super) fn references(&self, holder: Holder) -> Option<&References<'d>> {
        self.documents.get(holder.document)?.references(holder.schema)
    }

    /// The schema at a pointer of a document.
    pub(super) fn schema(&self, document: usize, at: &str) -> Option<Holder> {
        let schema = self.documents.get(document)?.schemas.iter().position(|(own, _)| own == at)?;
        Some(Holder { document, schema: Some(schema) })
    }

    /// The schema that a URL leads to and that stands on its own.
    pub(super) fn entry(&self, url: &Url, fragment: &str) -> Result<Holder, Lost> {
        let (value, found) = self.find(url, fragment)?;
        let document = self.document(found).ok_or(Lost::Missing)?;
        let holders = (0..document.schemas.len()).map(Some).chain([None]);
        let is_root = |schema: &Option<usize>| {
            document.references(*schema).is_some_and(|references| std::ptr::eq(references.root(), value))
        };
        let schema = holders.into_iter().find(is_root).ok_or(Lost::Dead)?;
        Ok(Holder { document: found.document, schema })
    }

    /// What a fragment means at the root of a document.
    pub(super) fn at_root(&self, document: usize, fragment: &str) -> Option<(&'d Value, Holder)> {
        let (value, schema) = self.documents.get(document)?.find(fragment)?;
        Some((value, Holder { document, schema }))
    }

    /// What a URL leads to.
    pub(super) fn find(&self, url: &Url, fragment: &str) -> Result<(&'d Value, Holder), Lost> {
        if let Some(document) = self.by_url.get(url.as_str()) {
            return self.at_root(*document, fragment).ok_or(Lost::Dead);
        }
        if InstanceUrl::parse(url.as_str()).is_ok_and(|url| url == *self.own_url) {
            return self.own_schema(url, fragment).ok_or(Lost::Own);
        }
        Err(Lost::Missing)
    }

    /// What our own route (CONTRACT 4.20) answers for a schema of a domain.
    fn own_schema(&self, url: &Url, fragment: &str) -> Option<(&'d Value, Holder)> {
        let path = url.path().strip_prefix("/api/v1/network/schema/")?;
        let segments: Vec<_> = path.split('/').map(|text| percent_decode_str(text).decode_utf8().ok()).collect();
        let [Some(network), Some(domain), Some(item_type)] = segments.as_slice() else { return None };
        let is = |value: &Value, id: &str| value.get("id").and_then(Value::as_str) == Some(id);
        let number = self.documents.iter().position(|document| document.is_network && is(document.root, network))?;
        let document = self.documents.get(number)?;
        let domain = document.root.get("domains")?.as_array()?.iter().position(|value| is(value, domain))?;
        let at = join(&join(&index("/domains", domain), "item_schemas"), item_type);
        let fragment = pointer::decode_fragment(fragment)?;
        let (value, schema) = document.find_pointer(&format!("{at}{fragment}"))?;
        Some((value, Holder { document: number, schema }))
    }

    /// URL of a document that was named by it.
    pub(super) fn named(&self, document: usize) -> Option<&str> {
        let document = self.documents.get(document).filter(|document| !document.is_network)?;
        document.url.as_ref().map(Url::as_str)
    }
}

impl<'d> Document<'d> {
    fn new(shelved: Shelved<'d>, is_network: bool) -> Self {
        let Shelved { root, url, schemas, prefix } = shelved;
        let schemas = schemas
            .into_iter()
            .filter_map(|at| {
                let references = References::new(root.pointer(&at)?, &at);
                Some((at, references))
            })
            .collect();
        Self { root, url, prefix, is_network, whole: References::new(root, ""), schemas }
    }

    /// Makes what `fragment` means a schema of its own.
    fn add_schema(&mut self, fragment: &str) {
        let Some(fragment) = pointer::decode_fragment(fragment) else { return };
        let at = match fragment.as_ref() {
            "" => None,
            at if at.starts_with('/') => Some(at.to_owned()),
            anchor => self.whole.any_anchor(anchor).and_then(|schema| self.whole.pointer_of(schema)).map(str::to_owned),
        };
        if let Some(at) = at
            && let Some(schema) = self.root.pointer(&at)
        {
            let references = References::new(schema, &at);
            self.schemas.push((at, references));
        }
    }

    fn references(&self, schema: Option<usize>) -> Option<&References<'d>> {
        match schema {
            None => Some(&self.whole),
            Some(schema) => self.schemas.get(schema).map(|(_, references)| references),
        }
    }

    fn find(&self, fragment: &str) -> Option<(&'d Value, Option<usize>)> {
        let fragment = pointer::decode_fragment(fragment)?;
        if fragment.is_empty() || fragment.starts_with('/') {
            return self.find_pointer(&fragment);
        }
        let found = self.whole.any_anchor(&fragment)?;
        let holder = self.holder_at(self.whole.pointer_of(found)?);
        // In a network document, an anchor inside a schema is that schema's own.
        (!self.is_network || holder.is_none()).then_some((found, holder))
    }

    fn find_pointer(&self, at: &str) -> Option<(&'d Value, Option<usize>)> {
        Some((self.root.pointer(at)?, self.holder_at(at)))
    }

    fn holder_at(&self, at: &str) -> Option<usize> {
        self.schemas.iter().position(|(own, _)| pointer::is_within(at, own))
    }

    /// Where in this document `value` stands.
    pub(super) fn pointer_of(&self, value: &Value) -> Option<&str> {
        self.schemas.iter().map(|(_, references)| references).chain([&self.whole]).find_map(|it| it.pointer_of(value))
    }
}

/// A URL and its fragment.
pub(super) fn parse(url: &str) -> Option<(Url, String)> {
    let mut url = Url::parse(url).ok()?;
    let fragment = url.fragment().unwrap_or_default().to_owned();
    url.set_fragment(None);
    Some((url, fragment))
}
