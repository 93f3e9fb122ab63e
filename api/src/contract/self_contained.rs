//! Makes each schema of a network document stand on its own (CONTRACT 8.2). A `#…` that the schema itself can't answer is
//! looked up at the root of the network document; what it finds is copied into the schema's `$defs`. From there on
//! nobody needs the network document to understand the schema.

use std::collections::{HashMap, HashSet};

use serde_json::{Map, Value};

use super::inline::inline;
use super::keywords::{Holds, holds};
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
}

/// A part that was copied into `$defs`.
pub(super) struct Graft {
    pub(super) name: String,
    pub(super) content: Value,
}

/// A network document and the schemas in it.
pub(super) struct Document<'d> {
    root: &'d Value,
    whole: References<'d>,
    schemas: Vec<(String, References<'d>)>,
}

/// Where a reference is looked up first: a schema of the document, or the document (`None`).
type Holder = Option<usize>;

impl<'d> Document<'d> {
    /// Indexes `root`; `schemas` are the pointers of its JSON Schemas.
    pub(super) fn new(root: &'d Value, schemas: &[String]) -> Self {
        let schemas = schemas
            .iter()
            .filter_map(|at| Some((at.clone(), References::new(root.pointer(at)?, at))))
            .collect::<Vec<_>>();
        Self { root, whole: References::new(root, ""), schemas }
    }

    /// The schema at `at`, made self-contained. `shown_at` is where an operator finds it. A dead pointer is always a
    /// problem; a reference to another document weighs what `weight` says.
    pub(super) fn self_contained(
        &self,
        at: &str,
        shown_at: &str,
        weight: Weight,
        report: &mut Report,
    ) -> Option<SelfContained> {
        let (main, references) = self
            .schemas
            .iter()
            .enumerate()
            .find_map(|(main, (own, references))| (own == at).then_some((main, references)))?;
        let mut copier = Copier {
            document: self,
            main,
            shown: (at, shown_at),
            weight,
            grafts: Vec::new(),
            known: HashMap::new(),
            taken: names_in_defs(references.root()),
            report,
        };
        let schema = copier.copy(references.root(), Some(main), Part::Main, true);
        let grafts = copier.copy_grafts();
        if grafts.is_empty() {
            return Some(SelfContained { emitted: schema.clone(), compiled: schema });
        }
        let emitted = inline(&schema, &grafts);
        let mut compiled = schema;
        put_into_defs(&mut compiled, grafts.into_iter().map(|graft| (graft.name, graft.content)));
        Some(SelfContained { compiled, emitted })
    }

    fn references(&self, holder: Holder) -> &References<'d> {
        holder.and_then(|holder| self.schemas.get(holder)).map_or(&self.whole, |(_, references)| references)
    }

    fn pointer_of(&self, value: &Value) -> Option<&str> {
        self.schemas.iter().map(|(_, references)| references).chain([&self.whole]).find_map(|it| it.pointer_of(value))
    }

    /// A `#…` at the root of the document.
    fn resolve_at_root(&self, reference: &str) -> Option<(&'d Value, Holder)> {
        let fragment = pointer::decode_fragment(reference.strip_prefix('#')?)?;
        if fragment.starts_with('/') {
            let holder = self.schemas.iter().position(|(own, _)| pointer::is_within(&fragment, own));
            return Some((self.root.pointer(&fragment)?, holder));
        }
        let found = self.whole.any_anchor(&fragment)?;
        let at = self.whole.pointer_of(found)?;
        let shared = !self.schemas.iter().any(|(own, _)| pointer::is_within(at, own));
        shared.then_some((found, None))
    }
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
    document: &'r Document<'d>,
    main: usize,
    /// Pointer of the schema, and the pointer that an operator knows it by.
    shown: (&'r str, &'r str),
    weight: Weight,
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
        let references = self.document.references(holder);
        let found = match references.resolve(from, text) {
            Some(_) if part == Part::Main => return kept,
            Some(found) => Some((found, holder)),
            None => self.document.resolve_at_root(text),
        };
        let Some((target, target_holder)) = found else {
            if strict {
                self.report_unresolved(from, keyword, text);
            }
            return kept;
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

    fn report_unresolved(&mut self, from: &Value, keyword: &str, text: &str) {
        let at = pointer::join(&self.shown_pointer(from), keyword);
        if text.starts_with('#') {
            self.report.problem(&at, format!("{text:?} points to nothing in the schema and in the network document"));
        } else if !is_metaschema(text) {
            let message =
                format!("{text:?} is another document; only references inside the network document are supported");
            self.report.add(self.weight, &at, message);
        }
    }

    /// Where an operator finds `value`: schemas taken over from `default_item_schemas` stand there.
    fn shown_pointer(&self, value: &Value) -> String {
        let (at, shown_at) = self.shown;
        let main = self.document.references(Some(self.main)).pointer_of(value);
        let own = main.and_then(|pointer| pointer.strip_prefix(at)).map(|rest| format!("{shown_at}{rest}"));
        own.unwrap_or_else(|| self.document.pointer_of(value).unwrap_or(shown_at).to_owned())
    }
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
    use serde_json::json;

    use super::*;

    fn resolve(document: &Value, at: &str) -> (Option<SelfContained>, Report) {
        let mut report = Report::default();
        let schemas = vec!["/main".to_owned(), "/other".to_owned()];
        let found = Document::new(document, &schemas).self_contained(at, at, Weight::Warning, &mut report);
        (found, report)
    }

    #[test]
    fn a_schema_that_needs_nothing_stays_as_it_is() {
        let main =
            json!({"$defs": {"a": {"type": "string"}}, "properties": {"x": {"$ref": "#/$defs/a"}}, "type": "object"});
        let document = json!({"main": main, "$defs": {"a": {"type": "number"}}});
        let (found, report) = resolve(&document, "/main");
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
        let (found, _) = resolve(&document, "/main");
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
        let (found, report) = resolve(&document, "/main");
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
        let (found, _) = resolve(&document, "/main");
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
        let (_, report) = resolve(&document, "/main");
        let paths: Vec<_> = report.problems.iter().map(|problem| problem.path.as_str()).collect();
        assert_eq!(paths, ["/main/properties/a~1b/$ref", "/main/properties/d/$ref"]);
        assert_eq!(report.warnings.len(), 1);
        assert_eq!(report.warnings[0].path, "/main/properties/c/$ref");
    }
}
