//! Typed reading of a JSON object or a query string that collects **all** faults.
//!
//! ```ignore
//! let perform = read_body(&body, |f| Perform {
//!     action_type: f.required(("action_type", "action_name"), name),
//!     source_item: f.required("source_item", item_ref),
//!     remarks: f.nullable("remarks", remarks),
//! })?;
//! ```
//!
//! A key is a name, or a name and the other spelling that is accepted too (CONTRACT 1.12). A reader is a function from
//! a [`Place`] to a value; [`super::scalars`] and [`super::references`] have the ones of the contract. Where something
//! is wrong a reader notes it and the default stands in; what was built is then thrown away and 400 goes out with the
//! whole list.

use std::borrow::Cow;

use actix_web::HttpRequest;
use serde_json::{Map, Value};

use super::error::{ApiError, Fault};
use super::json::push_segment;
use super::query::Query;

/// Where values come from: a query has only texts, in which numbers are spelled out and an empty one is absent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// JSON.
    Body,
    /// Text.
    Query,
}

/// Every fault found so far in one request.
#[derive(Debug, Default)]
pub struct Faults {
    list: Vec<Fault>,
}

impl Faults {
    /// Notes a fault at a JSON Pointer.
    pub fn add(&mut self, path: impl Into<String>, message: impl Into<String>) {
        self.list.push(Fault::new(path, message));
    }

    /// Notes the fault of a header, or gives its value.
    pub fn header<T: Default>(&mut self, read: Result<T, Fault>) -> T {
        read.unwrap_or_else(|fault| {
            self.list.push(fault);
            T::default()
        })
    }

    /// Reads a path parameter, such as `itemId`.
    pub fn path<T: Default>(
        &mut self,
        request: &HttpRequest,
        name: &'static str,
        read: impl FnOnce(&mut Place<'_>) -> Option<T>,
    ) -> T {
        let text = request.match_info().query(name);
        let mut path = String::new();
        push_segment(&mut path, name);
        if text.contains('\0') {
            self.add(path, "must not contain U+0000");
            return T::default();
        }
        let text = Value::from(text);
        read(&mut Place { value: &text, path, source: Source::Query, faults: self }).unwrap_or_default()
    }

    /// Reads a JSON body.
    pub fn body<T>(&mut self, body: &Value, build: impl FnOnce(&mut Fields<'_>) -> T) -> T {
        let object = body.as_object();
        if object.is_none() {
            self.add("", "must be an object");
        }
        build(&mut Fields::new(object, String::new(), Source::Body, &[], self))
    }

    /// Reads a query string.
    pub fn query<T>(&mut self, query: &Query, build: impl FnOnce(&mut Fields<'_>) -> T) -> T {
        self.list.extend_from_slice(query.faults());
        build(&mut Fields::new(Some(query.root()), String::new(), Source::Query, query.conflicts(), self))
    }
}

/// Reads several parts of a request (path, query, body, headers) and reports their faults together.
///
/// # Errors
/// 400 `VALIDATION_ERROR` with every fault.
pub fn collect<T>(read: impl FnOnce(&mut Faults) -> T) -> Result<T, ApiError> {
    let mut faults = Faults::default();
    let read = read(&mut faults);
    if faults.list.is_empty() { Ok(read) } else { Err(ApiError::validation(faults.list)) }
}

/// Reads a JSON body that has to be an object.
///
/// # Errors
/// 400 `VALIDATION_ERROR` with every fault.
pub fn read_body<T>(body: &Value, build: impl FnOnce(&mut Fields<'_>) -> T) -> Result<T, ApiError> {
    collect(|faults| faults.body(body, build))
}

/// Reads the query string of a request.
///
/// # Errors
/// 400 `VALIDATION_ERROR` with every fault.
pub fn read_query<T>(request: &HttpRequest, build: impl FnOnce(&mut Fields<'_>) -> T) -> Result<T, ApiError> {
    let query = Query::parse(request.query_string());
    collect(|faults| faults.query(&query, build))
}

/// A name, and perhaps the other spelling that existing clients use.
#[derive(Debug, Clone, Copy)]
pub struct Key {
    name: &'static str,
    also: Option<&'static str>,
}

impl From<&'static str> for Key {
    fn from(name: &'static str) -> Self {
        Self { name, also: None }
    }
}

impl From<(&'static str, &'static str)> for Key {
    fn from((name, also): (&'static str, &'static str)) -> Self {
        Self { name, also: Some(also) }
    }
}

/// An object being read.
pub struct Fields<'a> {
    /// `None` stands for something that is no object, which has been noted: its fields are not missed as well.
    object: Option<&'a Map<String, Value>>,
    path: String,
    source: Source,
    conflicts: &'a [(String, Fault)],
    faults: &'a mut Faults,
    asked: Vec<&'static str>,
}

impl<'a> Fields<'a> {
    fn new(
        object: Option<&'a Map<String, Value>>,
        path: String,
        source: Source,
        conflicts: &'a [(String, Fault)],
        faults: &'a mut Faults,
    ) -> Self {
        Self { object, path, source, conflicts, faults, asked: Vec::new() }
    }

    /// A field that has to be there.
    pub fn required<T: Default>(&mut self, key: impl Into<Key>, read: impl FnOnce(&mut Place<'_>) -> Option<T>) -> T {
        let key = key.into();
        match self.find(key) {
            Found::Value(value) => self.read(key, value, read).unwrap_or_default(),
            Found::Absent => {
                self.miss(key.name);
                T::default()
            }
            Found::Faulty => T::default(),
        }
    }

    /// A field that may be absent. A null is not absent; see [`Fields::nullable`].
    pub fn optional<T>(&mut self, key: impl Into<Key>, read: impl FnOnce(&mut Place<'_>) -> Option<T>) -> Option<T> {
        let key = key.into();
        match self.find(key) {
            Found::Value(value) => self.read(key, value, read),
            Found::Absent | Found::Faulty => None,
        }
    }

    /// A field that may be absent or null.
    pub fn nullable<T>(&mut self, key: impl Into<Key>, read: impl FnOnce(&mut Place<'_>) -> Option<T>) -> Option<T> {
        let key = key.into();
        match self.find(key) {
            Found::Value(Value::Null) | Found::Absent | Found::Faulty => None,
            Found::Value(value) => self.read(key, value, read),
        }
    }

    /// A number: in a query an empty text is an absent one, never 0 (CONTRACT 1.4).
    pub fn optional_number<T>(
        &mut self,
        key: impl Into<Key>,
        read: impl FnOnce(&mut Place<'_>) -> Option<T>,
    ) -> Option<T> {
        let key = key.into();
        match self.find_number(key) {
            Found::Value(value) => self.read(key, value, read),
            Found::Absent | Found::Faulty => None,
        }
    }

    /// Whether the field is there at all, null included.
    pub fn has(&self, name: &str) -> bool {
        self.object.is_some_and(|object| object.contains_key(name))
    }

    /// Whether a number is there, be it valid or not: in a query not empty, in a body not null.
    pub(super) fn is_given(&self, name: &str) -> bool {
        let value = self.object.and_then(|object| object.get(name));
        let conflicting = self.conflicts.iter().any(|(conflicting, _)| conflicting == name);
        conflicting || value.is_some_and(|value| !value.is_null() && (self.source == Source::Body || value != ""))
    }

    /// Whether the object has no keys.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.object.is_some_and(Map::is_empty)
    }

    /// Where the values come from.
    #[must_use]
    pub fn source(&self) -> Source {
        self.source
    }

    /// Notes a fault of a field.
    pub fn fault(&mut self, name: &str, message: impl Into<String>) {
        let path = self.path_of(name);
        self.faults.add(path, message);
    }

    /// Notes that a field is missing.
    pub fn miss(&mut self, name: &str) {
        if self.object.is_some() {
            self.fault(name, "is required");
        }
    }

    /// Notes a fault of the object itself.
    pub fn fault_here(&mut self, message: impl Into<String>) {
        self.faults.add(self.path.clone(), message);
    }

    /// Refuses every key that has not been asked for: call it last.
    pub fn refuse_unknown(&mut self) {
        let Some(object) = self.object else { return };
        for key in object.keys().filter(|key| !self.asked.contains(&key.as_str())).cloned().collect::<Vec<_>>() {
            self.fault(&key, "is not known here");
        }
    }

    /// Like [`Fields::find`], an empty text in a query being an absent number.
    pub(super) fn find_number(&mut self, key: Key) -> Found<'a> {
        match self.find(key) {
            Found::Value(value) if self.source == Source::Query && value == "" => Found::Absent,
            found => found,
        }
    }

    /// Looks a field up under both of its names and notes what is wrong with that.
    fn find(&mut self, key: Key) -> Found<'a> {
        self.asked.push(key.name);
        self.asked.extend(key.also);
        let conflicts = self.conflicts.iter().filter(|(name, _)| name == key.name || Some(name.as_str()) == key.also);
        let before = self.faults.list.len();
        self.faults.list.extend(conflicts.map(|(_, fault)| fault.clone()));
        if self.faults.list.len() > before {
            return Found::Faulty;
        }
        let get = |name| self.object.and_then(|object| object.get(name));
        match (get(key.name), key.also.and_then(get)) {
            (Some(one), Some(other)) if one != other => {
                let message = format!("is not the same as {}", key.also.unwrap_or_default());
                self.fault(key.name, message);
                Found::Faulty
            }
            (Some(value), _) | (None, Some(value)) => Found::Value(value),
            (None, None) => Found::Absent,
        }
    }

    pub(super) fn read<T>(
        &mut self,
        key: Key,
        value: &Value,
        read: impl FnOnce(&mut Place<'_>) -> Option<T>,
    ) -> Option<T> {
        let path = self.path_of(key.name);
        read(&mut Place { value, path, source: self.source, faults: self.faults })
    }

    fn path_of(&self, name: &str) -> String {
        let mut path = self.path.clone();
        push_segment(&mut path, name);
        path
    }
}

/// What is there under a key.
pub(super) enum Found<'a> {
    /// A value, perhaps null.
    Value(&'a Value),
    /// Nothing.
    Absent,
    /// Something contradictory, noted already.
    Faulty,
}

/// One value and where it stands.
pub struct Place<'a> {
    pub(super) value: &'a Value,
    pub(super) path: String,
    pub(super) source: Source,
    faults: &'a mut Faults,
}

impl Place<'_> {
    /// Notes a fault here; for use as a reader's last expression.
    pub fn refuse<T>(&mut self, message: impl Into<Cow<'static, str>>) -> Option<T> {
        self.faults.add(self.path.clone(), message.into());
        None
    }

    /// Reads a list, each element by `read`.
    pub fn each<T>(&mut self, mut read: impl FnMut(&mut Place<'_>) -> Option<T>) -> Option<Vec<T>> {
        let Some(list) = self.value.as_array() else { return self.refuse("must be a list") };
        let mut elements = Vec::with_capacity(list.len());
        for (index, value) in list.iter().enumerate() {
            let mut path = self.path.clone();
            push_segment(&mut path, &index.to_string());
            elements.extend(read(&mut Place { value, path, source: self.source, faults: self.faults }));
        }
        Some(elements)
    }

    /// Reads an object with fields of its own.
    pub fn fields<T>(&mut self, build: impl FnOnce(&mut Fields<'_>) -> T) -> Option<T> {
        let Some(object) = self.value.as_object() else { return self.refuse("must be an object") };
        Some(build(&mut Fields::new(Some(object), self.path.clone(), self.source, &[], self.faults)))
    }
}
