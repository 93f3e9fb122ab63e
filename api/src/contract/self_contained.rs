//! Makes a schema stand on its own (CONTRACT 8.2). What a reference finds outside the schema, in the network document or
//! in another one, is copied into the schema's `$defs`. From there on nobody needs those documents to understand it.

use std::collections::{BTreeSet, HashMap, HashSet};

use serde_json::{Map, Value};
use url::Url;

use super::inline::inline;
use super::keywords::{Holds, holds};
use super::library::{Holder, Library, Lost};
use super::pointer;
use super::references::{Address, References, address};
use super::report::{Report, Weight};

/// One schema, independent of the document it came from.
#[derive(Debug)]
pub(super) struct SelfContained {
    /// What validates: every `$ref` answered inside.
    pub(super) compiled: Value,
    /// What clients get: parts from outside the schema are inlined, recursive ones stand under `$defs`.
    pub(super) emitted: Value,
    /// Numbers of the documents that parts were taken from.
    pub(super) taken_from: BTreeSet<usize>,
}

/// A part that was copied into `$defs`.
pub(super) struct Graft {
    pub(super) name: String,
    pub(super) content: Value,
}

/// A schema that is to stand on its own.
pub(super) struct Wanted<'w> {
    /// The schema.
    pub(super) holder: Holder,
    /// Number of the network document in whose name it is wanted.
    pub(super) network: usize,
    /// Its pointer in its document, and the pointer that an operator knows it by.
    pub(super) at: (&'w str, &'w str),
    /// How much it weighs if a document that it needs is not there.
    pub(super) weight: Weight,
    /// How much a pointer to nothing weighs.
    pub(super) dead: Weight,
}

/// Copies the schema and all that it refers to. What can't be resolved goes to `report`.
pub(super) fn self_contained<'d>(
    library: &Library<'d>,
    wanted: &Wanted<'_>,
    report: &mut Report,
) -> Option<SelfContained> {
    let references = library.references(wanted.holder)?;
    let mut copier = Copier {
        library,
        wanted,
        grafts: Vec::new(),
        known: HashMap::new(),
        taken: names_in_defs(references.root()),
        report,
    };
    let schema = copier.copy(references.root(), wanted.holder, Part::Main, true);
    let grafts = copier.copy_grafts();
    let taken_from = copier.grafts.iter().map(|(_, _, holder)| holder.document).collect();
    if grafts.is_empty() {
        return Some(SelfContained { emitted: schema.clone(), compiled: schema, taken_from });
    }
    let emitted = inline(&schema, &grafts);
    let mut compiled = schema;
    put_into_defs(&mut compiled, grafts.into_iter().map(|graft| (graft.name, graft.content)));
    Some(SelfContained { compiled, emitted, taken_from })
}

/// Adds entries to the `$defs` of a schema object.
pub(super) fn put_into_defs(schema: &mut Value, entries: impl IntoIterator<Item = (String, Value)>) {
    let Value::Object(schema) = schema else { return };
    if let Value::Object(defs) = schema.entry("$defs").or_insert_with(|| Value::Object(Map::new())) {
        defs.extend(entries);
    }
}

fn names_in_defs(schema: &Value) -> HashSet<String> {
    schema.get("$defs").and_then(Value::as_object).into_iter().flat_map(Map::keys).cloned().collect()
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Part {
    /// The schema itself: its own references stay as they are.
    Main,
    /// A copy of something outside: every reference leads to a further copy.
    Graft,
}

struct Copier<'d, 'r> {
    library: &'r Library<'d>,
    wanted: &'r Wanted<'r>,
    grafts: Vec<(String, &'d Value, Holder)>,
    known: HashMap<Address, String>,
    taken: HashSet<String>,
    report: &'r mut Report,
}

impl<'d> Copier<'d, '_> {
    fn copy_grafts(&mut self) -> Vec<Graft> {
        let mut done = Vec::new();
        while let Some((name, target, holder)) = self.grafts.get(done.len()).cloned() {
            let content = self.copy(target, holder, Part::Graft, true);
            done.push(Graft { name, content });
        }
        done
    }

    /// `strict`: in a place that is surely a schema, where a dead reference counts.
    fn copy(&mut self, value: &'d Value, holder: Holder, part: Part, strict: bool) -> Value {
        match value {
            Value::Array(values) => {
                Value::Array(values.iter().map(|value| self.copy(value, holder, part, strict)).collect())
            }
            Value::Object(object) => {
                let mut copy = Map::new();
                for (keyword, inner) in object {
                    if part == Part::Graft && names_a_schema(keyword) {
                        continue;
                    }
                    let (keyword, inner) = match inner {
                        Value::String(text) if is_reference(keyword) => {
                            self.copy_reference(value, keyword, text, holder, part, strict)
                        }
                        inner => (keyword.as_str(), self.copy_keyword(keyword, inner, holder, part, strict)),
                    };
                    copy.insert(keyword.to_owned(), inner);
                }
                Value::Object(copy)
            }
            other => other.clone(),
        }
    }

    fn copy_keyword(&mut self, keyword: &str, value: &'d Value, holder: Holder, part: Part, strict: bool) -> Value {
        match (holds(keyword), value) {
            (Holds::Data, _) => value.clone(),
            (Holds::Named, Value::Object(named)) => Value::Object(
                named.iter().map(|(name, value)| (name.clone(), self.copy(value, holder, part, strict))).collect(),
            ),
            (kind, _) => self.copy(value, holder, part, strict && kind != Holds::Unknown),
        }
    }

    fn copy_reference<'k>(
        &mut self,
        from: &'d Value,
        keyword: &'k str,
        text: &str,
        holder: Holder,
        part: Part,
        strict: bool,
    ) -> (&'k str, Value) {
        let kept = (keyword, Value::String(text.to_owned()));
        let Some(references) = self.library.references(holder) else { return kept };
        let found = match references.resolve(from, text) {
            Some(_) if part == Part::Main => return kept,
            Some(found) => Ok((found, holder)),
            None => self.resolve_outside(references, from, text, holder),
        };
        let (target, target_holder) = match found {
            Ok(found) => found,
            Err(unresolved) => {
                if strict {
                    self.report_unresolved(from, holder, keyword, &unresolved);
                }
                return kept;
            }
        };
        // A recursive reference is always `#`; the copy has a name.
        let keyword = if keyword == "$recursiveRef" { "$ref" } else { keyword };
        let base = if part == Part::Graft || references.has_root_base(from) { "" } else { references.root_base() };
        let name = self.graft(target, target_holder, text);
        (keyword, Value::String(format!("{base}#/$defs/{name}")))
    }

    fn graft(&mut self, target: &'d Value, holder: Holder, text: &str) -> String {
        if let Some(name) = self.known.get(&address(target)) {
            return name.clone();
        }
        let last = text.rsplit(['/', '#']).next().unwrap_or_default();
        let stem =
            last.chars().filter(|char| char.is_ascii_alphanumeric() || "_-.".contains(*char)).collect::<String>();
        let stem = if stem.is_empty() { "shared".to_owned() } else { stem };
        let mut name = stem.clone();
        let mut number = 1;
        while !self.taken.insert(name.clone()) {
            number += 1;
            name = format!("{stem}_{number}");
        }
        self.known.insert(address(target), name.clone());
        self.grafts.push((name.clone(), target, holder));
        name
    }

    /// What a reference means that its schema can't answer.
    fn resolve_outside(
        &self,
        references: &References<'d>,
        from: &Value,
        text: &str,
        holder: Holder,
    ) -> Result<(&'d Value, Holder), Unresolved> {
        if let Some(fragment) = text.strip_prefix('#') {
            let found = self.library.at_root(holder.document, fragment);
            let found = found.or_else(|| self.library.at_root(self.wanted.network, fragment));
            return found.ok_or_else(|| Unresolved::Dead(text.to_owned()));
        }
        let document = self.library.document(holder).and_then(|document| document.url.as_ref());
        let absolute = references.absolute(from, text, document);
        let (url, fragment) = absolute.ok_or_else(|| Unresolved::Nowhere(text.to_owned()))?;
        self.library.find(&url, &fragment).map_err(|lost| match lost {
            Lost::Dead => Unresolved::Dead(text.to_owned()),
            Lost::Missing => Unresolved::Missing(url),
            Lost::Own => Unresolved::Own(url),
        })
    }

    fn report_unresolved(&mut self, from: &Value, holder: Holder, keyword: &str, unresolved: &Unresolved) {
        let path = pointer::join(&self.shown_path(from, holder), keyword);
        let weight = self.wanted.weight;
        match unresolved {
            Unresolved::Dead(text) => {
                let message = format!("{text:?} points to nothing: not in its document, nor in the network document");
                self.report.add_at(self.wanted.dead, path, message);
            }
            Unresolved::Nowhere(text) => {
                let message = format!("{text:?} is relative, and nothing says to what: the document has no source_url");
                self.report.add_at(weight, path, message);
            }
            Unresolved::Own(url) => {
                self.report.add_at(weight, path, format!("{url} is our own URL, where no such schema is served"));
            }
            Unresolved::Missing(url) if is_metaschema(url.as_str()) => {}
            Unresolved::Missing(url) => self.report.missing(weight, url, path),
        }
    }

    /// Where an operator finds `value`: schemas taken over from `default_item_schemas` stand there.
    fn shown_path(&self, value: &Value, holder: Holder) -> String {
        let Some(document) = self.library.document(holder) else { return String::new() };
        let (at, shown_at) = self.wanted.at;
        let main = self.library.references(self.wanted.holder).and_then(|main| main.pointer_of(value));
        let own = main.and_then(|pointer| pointer.strip_prefix(at)).map(|rest| format!("{shown_at}{rest}"));
        let pointer = own.unwrap_or_else(|| document.pointer_of(value).unwrap_or(shown_at).to_owned());
        format!("{}{pointer}", document.prefix)
    }
}

/// Why a reference leads nowhere.
enum Unresolved {
    /// Its fragment points to nothing.
    Dead(String),
    /// It is relative, and there is nothing that it could be relative to.
    Nowhere(String),
    /// It leads to ourselves, where nothing is.
    Own(Url),
    /// Its document is not there.
    Missing(Url),
}

fn is_reference(keyword: &str) -> bool {
    matches!(keyword, "$ref" | "$dynamicRef" | "$recursiveRef")
}

/// Names would clash or change the base of the copy's references, which are all rewritten.
fn names_a_schema(keyword: &str) -> bool {
    matches!(keyword, "$id" | "$schema" | "$anchor" | "$dynamicAnchor" | "$recursiveAnchor")
}

fn is_metaschema(uri: &str) -> bool {
    uri.starts_with("https://json-schema.org/draft") || uri.starts_with("http://json-schema.org/draft")
}
