//! Query strings in the bracket notation of CONTRACT 1.5, as a tree of objects, arrays and texts.
//!
//! A contradiction (a scalar given twice, a key that is both scalar and object) counts only against the parameter it
//! concerns, and only when a route reads that parameter: unknown ones are ignored.

use std::collections::BTreeMap;

use percent_encoding::percent_decode;
use serde_json::{Map, Value};

use super::error::Fault;
use super::json::push_segment;

/// Parameters at most.
const MAX_PARAMETERS: usize = 1000;
/// Levels below a parameter's name at most.
const MAX_DEPTH: usize = 5;

/// A parsed query string.
#[derive(Debug, Default)]
pub struct Query {
    root: Map<String, Value>,
    faults: Vec<Fault>,
    conflicts: Vec<(String, Fault)>,
}

impl Query {
    /// Parses what stands after the `?`. What is wrong with it is reported by the reader.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        let pairs: Vec<_> = text.split('&').filter(|pair| !pair.is_empty()).collect();
        if pairs.len() > MAX_PARAMETERS {
            let fault = Fault::new("", format!("must have at most {MAX_PARAMETERS} parameters"));
            return Self { faults: vec![fault], ..Self::default() };
        }
        let mut query = Self::default();
        let mut tree = BTreeMap::new();
        for pair in pairs {
            query.add(pair, &mut tree);
        }
        for (name, node) in tree {
            let mut path = String::new();
            push_segment(&mut path, &name);
            if let Some(value) = node.into_value(&name, &mut path, &mut query.conflicts) {
                query.root.insert(name, value);
            }
        }
        query
    }

    /// The parameters.
    #[must_use]
    pub fn root(&self) -> &Map<String, Value> {
        &self.root
    }

    /// What is wrong with the query as a whole.
    pub(super) fn faults(&self) -> &[Fault] {
        &self.faults
    }

    /// What is wrong with single parameters, by name.
    pub(super) fn conflicts(&self) -> &[(String, Fault)] {
        &self.conflicts
    }

    fn add(&mut self, pair: &str, tree: &mut BTreeMap<String, Node>) {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        let (Some(key), Some(value)) = (decode(key), decode(value)) else {
            self.faults.push(Fault::new("", "must be percent-encoded UTF-8"));
            return;
        };
        if key.contains('\0') {
            self.faults.push(Fault::new("", "must not have a key that contains U+0000"));
            return;
        }
        let (name, segments) = split_key(&key);
        let mut path = String::new();
        push_segment(&mut path, name);
        if value.contains('\0') {
            self.faults.push(Fault::new(path, "must not contain U+0000"));
            return;
        }
        let refused = match &segments {
            None => "has brackets that do not match",
            Some(segments) if segments.len() > MAX_DEPTH => "is nested more than 5 levels deep",
            Some(_) => "",
        };
        match segments {
            Some(segments) if refused.is_empty() => tree.entry(name.to_owned()).or_default().place(&segments, value),
            _ => self.conflicts.push((name.to_owned(), Fault::new(path, refused))),
        }
    }
}

/// Form encoding: `+` is a blank. `None` when the bytes are not UTF-8.
fn decode(text: &str) -> Option<String> {
    let blanks: Vec<u8> = text.bytes().map(|byte| if byte == b'+' { b' ' } else { byte }).collect();
    percent_decode(&blanks).decode_utf8().ok().map(std::borrow::Cow::into_owned)
}

/// `a[b][c]` is `a` and `b`, `c`. No segments when the brackets do not match.
fn split_key(key: &str) -> (&str, Option<Vec<&str>>) {
    let Some(open) = key.find('[') else { return (key, Some(Vec::new())) };
    let (name, mut rest) = key.split_at(open);
    let mut segments = Vec::new();
    while !rest.is_empty() {
        let Some((segment, after)) = rest.strip_prefix('[').and_then(|inner| inner.split_once(']')) else {
            return (name, None);
        };
        if segment.contains('[') {
            return (name, None);
        }
        segments.push(segment);
        rest = after;
    }
    (name, Some(segments))
}

/// A parameter while its pairs are being gathered.
#[derive(Debug, Default)]
struct Node {
    texts: Vec<String>,
    children: BTreeMap<String, Node>,
    appended: Vec<Node>,
}

impl Node {
    fn place(&mut self, segments: &[&str], value: String) {
        match segments.split_first() {
            None => self.texts.push(value),
            Some((&"", rest)) => {
                let mut node = Self::default();
                node.place(rest, value);
                self.appended.push(node);
            }
            Some((key, rest)) => self.children.entry((*key).to_owned()).or_default().place(rest, value),
        }
    }

    fn into_value(mut self, name: &str, path: &mut String, conflicts: &mut Vec<(String, Fault)>) -> Option<Value> {
        let mut refuse = |message: &str| {
            conflicts.push((name.to_owned(), Fault::new(path.as_str(), message)));
            None
        };
        let nested = !self.children.is_empty() || !self.appended.is_empty();
        match self.texts.pop() {
            Some(_) if nested => return refuse("is given both as a text and with brackets"),
            Some(_) if !self.texts.is_empty() => return refuse("is given more than once"),
            Some(text) => return Some(Value::String(text)),
            None => {}
        }
        let indexed = self.children.keys().all(|key| index(key).is_some());
        if !indexed && !self.appended.is_empty() {
            return refuse("is given both as a list and as an object");
        }
        let list = indexed.then(|| self.take_list());
        let here = path.len();
        let mut child_value = |key: &str, node: Self| {
            push_segment(path, key);
            let value = node.into_value(name, path, conflicts);
            path.truncate(here);
            value
        };
        match list {
            Some(nodes) => {
                let values = nodes.into_iter().enumerate();
                Some(values.filter_map(|(at, node)| child_value(&at.to_string(), node)).collect())
            }
            None => {
                let members = self.children.into_iter();
                let members = members.filter_map(|(key, node)| child_value(&key, node).map(|value| (key, value)));
                Some(Value::Object(members.collect()))
            }
        }
    }

    /// Elements with an index in its order, then the appended ones.
    fn take_list(&mut self) -> Vec<Self> {
        let mut indexed: Vec<_> = std::mem::take(&mut self.children).into_iter().collect();
        indexed.sort_by_key(|(key, _)| index(key));
        indexed.into_iter().map(|(_, node)| node).chain(std::mem::take(&mut self.appended)).collect()
    }
}

/// A place in a list. There are never more than a thousand, so a larger number (a year, say) is an object's key.
fn index(key: &str) -> Option<usize> {
    let digits = key.bytes().all(|byte| byte.is_ascii_digit());
    if digits { key.parse().ok().filter(|at| *at < MAX_PARAMETERS) } else { None }
}
