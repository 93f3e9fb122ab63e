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

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde_json::json;

    use super::super::instance_url::InstanceUrl;
    use super::super::library::{Shelved, parse};
    use super::*;

    fn resolve_with(document: &Value, named: &BTreeMap<String, Value>) -> (Option<SelfContained>, Report) {
        let (mut report, own_url) = (Report::default(), InstanceUrl::parse("https://own.example").unwrap());
        let schemas = vec!["/main".to_owned(), "/other".to_owned()];
        let url = document.get("source_url").and_then(Value::as_str).and_then(parse).map(|(url, _)| url);
        let network = Shelved { root: document, url, schemas, prefix: String::new() };
        let library = Library::new(vec![network], named, &[], &own_url);
        let wanted = Wanted {
            holder: library.schema(0, "/main").unwrap(),
            network: 0,
            at: ("/main", "/main"),
            weight: Weight::Warning,
            dead: Weight::Problem,
        };
        (self_contained(&library, &wanted, &mut report), report)
    }

    fn resolve(document: &Value) -> (Option<SelfContained>, Report) {
        resolve_with(document, &BTreeMap::new())
    }

    #[test]
    fn a_schema_that_needs_nothing_stays_as_it_is() {
        let main =
            json!({"$defs": {"a": {"type": "string"}}, "properties": {"x": {"$ref": "#/$defs/a"}}, "type": "object"});
        let document = json!({"main": main, "$defs": {"a": {"type": "number"}}});
        let (found, report) = resolve(&document);
        let found = found.unwrap();
        assert_eq!(serde_json::to_string(&found.emitted).unwrap(), serde_json::to_string(&main).unwrap());
        assert_eq!(found.compiled, main);
        assert!(report.problems.is_empty());
    }

    #[test]
    fn the_network_document_answers_what_the_schema_lacks() {
        let document = json!({
            "$defs": {"phone": {"type": "string", "private": true, "title": "Phone", "allOf": [{"$ref": "#/$defs/digits"}]},
                      "digits": {"pattern": "^[0-9]+$"}},
            "main": {"$defs": {"digits": {"minLength": 3}},
                     "properties": {"p": {"$ref": "#/$defs/phone", "title": "Mine"}, "d": {"$ref": "#/$defs/digits"}}}
        });
        let (found, _) = resolve(&document);
        let found = found.unwrap();
        assert_eq!(
            found.emitted["properties"]["p"],
            json!({
                "type": "string", "private": true, "title": "Mine", "allOf": [{"pattern": "^[0-9]+$"}]
            })
        );
        assert_eq!(found.emitted["properties"]["d"], json!({"$ref": "#/$defs/digits"}));
        // The schema's own `digits` is not mistaken for the document's.
        assert_eq!(found.compiled["$defs"]["phone"]["allOf"][0]["$ref"], "#/$defs/digits_2");
        assert_eq!(found.compiled["$defs"]["digits_2"], json!({"pattern": "^[0-9]+$"}));
        assert_eq!(found.compiled["$defs"]["digits"], json!({"minLength": 3}));
    }

    #[test]
    fn recursive_parts_stay_references() {
        let document = json!({
            "$defs": {"tree": {"properties": {"kids": {"items": {"$ref": "#/$defs/tree"}}, "leaf": {"$ref": "#/$defs/leaf"}}},
                      "leaf": {"type": "string"}, "wrap": {"properties": {"t": {"$ref": "#/$defs/tree"}}}},
            "main": {"properties": {"w": {"$ref": "#/$defs/wrap"}}}
        });
        let (found, report) = resolve(&document);
        let emitted = found.unwrap().emitted;
        assert_eq!(emitted["properties"]["w"], json!({"properties": {"t": {"$ref": "#/$defs/tree"}}}));
        assert_eq!(
            emitted["$defs"],
            json!({
                "tree": {"properties": {"kids": {"items": {"$ref": "#/$defs/tree"}}, "leaf": {"type": "string"}}}
            })
        );
        assert!(report.problems.is_empty());
    }

    #[test]
    fn a_part_of_another_schema_brings_that_schemas_own_definitions() {
        let document = json!({
            "$defs": {"n": {"type": "number"}},
            "other": {"$id": "https://x.example/other", "$defs": {"n": {"type": "string"}}, "properties": {"q": {"$ref": "#/$defs/n"}}},
            "main": {"properties": {"x": {"$ref": "#/other/properties/q"}, "y": {"$ref": "#/$defs/n"}}}
        });
        let (found, _) = resolve(&document);
        let emitted = found.unwrap().emitted;
        assert_eq!(emitted["properties"], json!({"x": {"type": "string"}, "y": {"type": "number"}}));
    }

    #[test]
    fn dead_and_foreign_references_are_told_with_their_place() {
        let document = json!({"main": {
            "properties": {"a/b": {"$ref": "#/nowhere"}, "c": {"$ref": "https://x.example/s.json"}, "d": {"$ref": "#gone"}},
            "default": {"$ref": "#/data"}, "x-hint": {"$ref": "#/hint"},
            "allOf": [{"$ref": "https://json-schema.org/draft/2020-12/schema"}]
        }});
        let (_, report) = resolve(&document);
        let paths: Vec<_> = report.problems.iter().map(|problem| problem.path.as_str()).collect();
        assert_eq!(paths, ["/main/properties/a~1b/$ref", "/main/properties/d/$ref"]);
        assert_eq!(report.warnings.len(), 1);
        assert_eq!(report.warnings[0].path, "/main/properties/c/$ref");
    }

    #[test]
    fn other_documents_are_inlined_and_their_cycles_kept() {
        let document = json!({"source_url": "https://r.example/net/network.json#x", "main": {"properties": {
            "relative": {"$ref": "../parts/a.json#/$defs/tree", "title": "Mine"},
            "anchor": {"$ref": "https://s.example/b.json#leaf"}, "whole": {"$ref": "https://s.example/b.json"},
            "itself": {"$ref": "https://r.example/net/network.json#/shared"}, "back": {"$ref": "../parts/a.json#/back"}
        }}, "shared": {"type": "integer"}});
        let named = BTreeMap::from([
            (
                "https://r.example/parts/a.json".to_owned(),
                json!({"back": {"$ref": "#/shared"}, "$defs": {"tree": {"title": "Tree", "properties": {
                    "kids": {"items": {"$ref": "#/$defs/tree"}}, "leaf": {"$ref": "//s.example/b.json#leaf"}}}}}),
            ),
            (
                "https://s.example/b.json".to_owned(),
                json!({"$id": "https://other.example/x/b.json", "type": "object", "properties": {
                    "c": {"$ref": "c.json"}, "me": {"$ref": "#"}}, "definitions": {"l": {"$anchor": "leaf", "type": "string"}}}),
            ),
            ("https://other.example/x/c.json".to_owned(), json!({"type": "null", "x": {"$ref": "a%20b.json#/no"}})),
        ]);
        let (found, report) = resolve_with(&document, &named);
        let found = found.unwrap();
        assert!(report.problems.is_empty() && report.warnings.is_empty(), "{report:?}");
        let tree = json!({"title": "Tree", "properties": {
            "kids": {"items": {"$ref": "#/$defs/tree"}}, "leaf": {"type": "string"}}});
        let properties = &found.emitted["properties"];
        assert_eq!(properties["relative"], json!({"$ref": "#/$defs/tree", "title": "Mine"}));
        assert_eq!(found.emitted["$defs"]["tree"], tree);
        assert_eq!(properties["anchor"], json!({"type": "string"}));
        assert_eq!(
            (&properties["itself"], &properties["back"]),
            (&json!({"type": "integer"}), &json!({"type": "integer"}))
        );
        let whole = properties["whole"]["$ref"].as_str().unwrap().strip_prefix("#/$defs/").unwrap();
        assert_eq!(found.emitted["$defs"][whole]["properties"]["c"]["type"], "null");
        assert_eq!(found.taken_from.len(), 4);
        assert!(
            jsonschema::validator_for(&found.compiled).is_ok() && jsonschema::validator_for(&found.emitted).is_ok()
        );
    }

    #[test]
    fn what_other_documents_lack_is_told_with_its_place() {
        let document = json!({"source_url": "https://r.example/network.json", "main": {"allOf": [
            {"$ref": "a.json#/dead"}, {"$ref": "a.json"}, {"$ref": "https://own.example/x"}, {"$ref": "urn:x"}]}});
        let named = BTreeMap::from([(
            "https://r.example/a.json".to_owned(),
            json!({"properties": {"p": {"$ref": "sub/b.json#/x"}, "q": {"$ref": "#gone"}}}),
        )]);
        let (_, report) = resolve_with(&document, &named);
        let paths: Vec<_> = report.problems.iter().map(|problem| problem.path.as_str()).collect();
        assert_eq!(paths, ["/main/allOf/0/$ref", "https://r.example/a.json#/properties/q/$ref"]);
        let paths: Vec<_> = report.warnings.iter().map(|warning| warning.path.as_str()).collect();
        let expected = ["/main/allOf/2/$ref", "/main/allOf/3/$ref", "https://r.example/a.json#/properties/p/$ref"];
        assert_eq!(paths, expected);
        assert_eq!(report.missing.keys().collect::<Vec<_>>(), ["https://r.example/sub/b.json"]);
    }
}
