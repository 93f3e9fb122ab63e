//! Looks up `$ref` inside one document: JSON Pointers, `$id`, `$anchor`. Built once per schema; every object in it knows
//! its base URI, so that a reference is resolved from where it stands.

use std::collections::HashMap;
use std::sync::Arc;

use jsonschema::Draft;
use serde_json::{Map, Value};
use url::Url;

use super::keywords::{Holds, draft_of, holds};
use super::pointer;

/// Base of a schema without `$id`; the validator's own default, so that both resolve alike.
pub(super) const DEFAULT_BASE: &str = "json-schema:///";

/// Tells values of one document apart. Valid as long as the document is borrowed.
pub(super) type Address = usize;

pub(super) fn address(value: &Value) -> Address {
    std::ptr::from_ref(value).addr()
}

struct Place {
    base: Arc<str>,
    pointer: String,
}

/// The references of one document.
pub(super) struct References<'s> {
    root: &'s Value,
    root_base: Arc<str>,
    id_keyword: &'static str,
    resources: HashMap<Arc<str>, &'s Value>,
    anchors: HashMap<(Arc<str>, &'s str), &'s Value>,
    dynamic_anchors: Vec<(&'s str, &'s Value)>,
    recursive_anchors: Vec<&'s Value>,
    places: HashMap<Address, Place>,
}

impl<'s> References<'s> {
    /// Reads `root`, which stands at the pointer `at` of its document.
    pub(super) fn new(root: &'s Value, at: &str) -> Self {
        let root_base: Arc<str> = DEFAULT_BASE.into();
        let mut references = Self {
            root,
            root_base: Arc::clone(&root_base),
            id_keyword: if draft_of(root) == Some(Draft::Draft4) { "id" } else { "$id" },
            resources: HashMap::from([(Arc::clone(&root_base), root)]),
            anchors: HashMap::new(),
            dynamic_anchors: Vec::new(),
            recursive_anchors: Vec::new(),
            places: HashMap::new(),
        };
        references.read(root, &root_base, at);
        references.root_base = references.base_of(root);
        references
    }

    pub(super) fn root(&self) -> &'s Value {
        self.root
    }

    /// Base URI of the root.
    pub(super) fn root_base(&self) -> &str {
        &self.root_base
    }

    /// Pointer of an object in the document; `None` for a value that is no schema object.
    pub(super) fn pointer_of(&self, value: &Value) -> Option<&str> {
        self.places.get(&address(value)).map(|place| place.pointer.as_str())
    }

    /// Whether `value` resolves references as the root does, not inside a schema with an `$id` of its own.
    pub(super) fn has_root_base(&self, value: &Value) -> bool {
        self.base_of(value) == self.root_base
    }

    /// What `reference`, written in the object `from`, points to.
    pub(super) fn resolve(&self, from: &Value, reference: &str) -> Option<&'s Value> {
        let base = self.base_of(from);
        let (uri, fragment) = reference.split_once('#').unwrap_or((reference, ""));
        let base = if uri.is_empty() { base } else { join(&base, uri)? };
        let resource = self.resources.get(&base).copied()?;
        let fragment = pointer::decode_fragment(fragment)?;
        if fragment.is_empty() {
            Some(resource)
        } else if fragment.starts_with('/') {
            resource.pointer(&fragment)
        } else {
            self.anchors.get(&(base, fragment.as_ref())).copied()
        }
    }

    /// The URL without fragment, and the fragment, that `reference` in the object `from` leads to. `document` is where
    /// this document was found: without it, a relative reference leads nowhere unless an `$id` says from where.
    pub(super) fn absolute(&self, from: &Value, reference: &str, document: Option<&Url>) -> Option<(Url, String)> {
        let base = self.base_of(from);
        let base = match base.strip_prefix(DEFAULT_BASE) {
            Some(relative) => document.and_then(|url| url.join(relative).ok()),
            None => Url::parse(&base).ok(),
        };
        let mut url = match base {
            Some(base) => base.join(reference).ok()?,
            None => Url::parse(reference).ok()?,
        };
        let fragment = url.fragment().unwrap_or_default().to_owned();
        url.set_fragment(None);
        Some((url, fragment))
    }

    /// Every schema that a `$dynamicRef` to the anchor `name` may reach.
    pub(super) fn dynamic(&self, name: &str) -> impl Iterator<Item = &'s Value> {
        self.dynamic_anchors.iter().filter(move |(anchor, _)| *anchor == name).map(|(_, value)| *value)
    }

    /// Every schema that a `$recursiveRef` may reach besides its own root.
    pub(super) fn recursive(&self) -> impl Iterator<Item = &'s Value> {
        self.recursive_anchors.iter().copied()
    }

    /// A schema anywhere in the document that carries the anchor `name`, whatever its base.
    pub(super) fn any_anchor(&self, name: &str) -> Option<&'s Value> {
        self.anchors.iter().find(|((_, anchor), _)| *anchor == name).map(|(_, value)| *value)
    }

    fn base_of(&self, value: &Value) -> Arc<str> {
        self.places.get(&address(value)).map_or_else(|| Arc::clone(&self.root_base), |place| Arc::clone(&place.base))
    }

    fn read(&mut self, value: &'s Value, base: &Arc<str>, at: &str) {
        match value {
            Value::Array(values) => {
                for (position, value) in values.iter().enumerate() {
                    self.read(value, base, &pointer::index(at, position));
                }
            }
            Value::Object(object) => {
                let base = self.note(value, object, base);
                self.places.insert(address(value), Place { base: Arc::clone(&base), pointer: at.to_owned() });
                for (keyword, value) in object {
                    self.read_keyword(keyword, value, &base, &pointer::join(at, keyword));
                }
            }
            _ => {}
        }
    }

    fn read_keyword(&mut self, keyword: &str, value: &'s Value, base: &Arc<str>, at: &str) {
        match (holds(keyword), value) {
            (Holds::Data, _) => {}
            (Holds::Named, Value::Object(named)) => {
                for (name, value) in named {
                    self.read(value, base, &pointer::join(at, name));
                }
            }
            (_, value) => self.read(value, base, at),
        }
    }

    /// Notes what `object` is called and answers its base.
    fn note(&mut self, value: &'s Value, object: &'s Map<String, Value>, base: &Arc<str>) -> Arc<str> {
        let text = |key: &str| object.get(key).and_then(Value::as_str);
        let mut base = Arc::clone(base);
        if let Some(id) = text(self.id_keyword) {
            if let Some(anchor) = id.strip_prefix('#') {
                self.anchors.entry((Arc::clone(&base), anchor)).or_insert(value);
            } else if let Some(own) = join(&base, id.trim_end_matches('#')) {
                self.resources.entry(Arc::clone(&own)).or_insert(value);
                base = own;
            }
        }
        for key in ["$anchor", "$dynamicAnchor"] {
            if let Some(anchor) = text(key) {
                self.anchors.entry((Arc::clone(&base), anchor)).or_insert(value);
            }
        }
        if let Some(anchor) = text("$dynamicAnchor") {
            self.dynamic_anchors.push((anchor, value));
        }
        if object.get("$recursiveAnchor") == Some(&Value::Bool(true)) {
            self.recursive_anchors.push(value);
        }
        base
    }
}

fn join(base: &str, uri: &str) -> Option<Arc<str>> {
    let joined = Url::parse(base).and_then(|base| base.join(uri)).or_else(|_| Url::parse(uri)).ok()?;
    Some(joined.as_str().trim_end_matches('#').into())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn pointers_anchors_and_ids_are_found() {
        let schema = json!({
            "$defs": {
                "a b/c": {"title": "pointed"},
                "named": {"$anchor": "name", "title": "anchored"},
                "own": {"$id": "https://x.example/own", "$defs": {"in": {"title": "inner"}}, "allOf": [{"$ref": "#/$defs/in"}]}
            }
        });
        let references = References::new(&schema, "/at");
        let title = |from: &Value, reference: &str| {
            references.resolve(from, reference).and_then(|found| found["title"].as_str()).map(str::to_owned)
        };
        assert_eq!(title(&schema, "#/$defs/a%20b~1c").as_deref(), Some("pointed"));
        assert_eq!(title(&schema, "#name").as_deref(), Some("anchored"));
        assert_eq!(title(&schema, "https://x.example/own#/$defs/in").as_deref(), Some("inner"));
        assert_eq!(title(&schema, "#/$defs/in"), None);
        let inner = &schema["$defs"]["own"]["allOf"][0];
        assert_eq!(title(inner, "#/$defs/in").as_deref(), Some("inner"));
        assert!(!references.has_root_base(inner));
        assert_eq!(references.pointer_of(inner), Some("/at/$defs/own/allOf/0"));
    }

    #[test]
    fn an_older_draft_names_itself_otherwise() {
        let schema = json!({
            "$schema": "http://json-schema.org/draft-04/schema#", "id": "https://x.example/root",
            "definitions": {"part": {"id": "#part", "title": "part"}},
            "properties": {"id": {"type": "string"}}
        });
        let references = References::new(&schema, "");
        assert!(references.resolve(&schema, "#part").is_some());
        assert!(references.resolve(&schema, "https://x.example/root#/definitions/part").is_some());
        assert!(references.resolve(&schema, "root").is_some());
    }
}
