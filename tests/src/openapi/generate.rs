//! Values for a schema: those that fit it, at its bounds as often as between them, and those that do not fit anything.
//! Names, ids and URLs come from a pool of real ones now and then, so that requests get past the first check.

use std::collections::HashMap;

use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};
use serde_json::{Map, Value, json};

use super::Document;

/// Makes values; the same seed makes the same ones.
pub struct Generator<'d> {
    document: &'d Document,
    rng: StdRng,
    pool: HashMap<String, Vec<Value>>,
}

impl<'d> Generator<'d> {
    /// A generator over a document.
    #[must_use]
    pub fn new(document: &'d Document, seed: u64) -> Self {
        Self { document, rng: StdRng::seed_from_u64(seed), pool: HashMap::new() }
    }

    /// Adds real values of the members of this name.
    pub fn know(&mut self, name: &str, values: &[Value]) {
        self.pool.entry(name.to_owned()).or_default().extend_from_slice(values);
    }

    /// A real value of this name, in one of two cases.
    pub fn known(&mut self, name: &str) -> Option<Value> {
        let known = self.pool.get(name).cloned().filter(|_| self.one_in(2))?;
        Some(self.choose(&known))
    }

    /// A number below `end`.
    pub fn below(&mut self, end: usize) -> usize {
        self.rng.random_range(0..end)
    }

    /// True in one of so many cases.
    pub fn one_in(&mut self, cases: usize) -> bool {
        self.below(cases) == 0
    }

    /// One of these.
    ///
    /// # Panics
    /// When there are none.
    pub fn choose<T: Clone>(&mut self, among: &[T]) -> T {
        among.choose(&mut self.rng).expect("something to choose from").clone()
    }

    /// A value that fits, or `None` where none was found in some tries.
    pub fn valid(&mut self, schema: &Value) -> Option<Value> {
        let validator = self.document.validator(schema);
        (0..20).map(|_| self.make("", schema, 0)).find(|value| validator.is_valid(value))
    }

    /// A value that most likely fits. `name` is the member it is for.
    pub fn make(&mut self, name: &str, schema: &Value, depth: usize) -> Value {
        let schema = self.document.resolve(schema).clone();
        if let Some(known) = self.pool.get(name).cloned()
            && !self.one_in(4)
        {
            return self.choose(&known);
        }
        if let Some(only) = schema.get("const") {
            return only.clone();
        }
        if let Some(words) = schema["enum"].as_array() {
            return self.choose(words);
        }
        if let Some(examples) = schema["examples"].as_array()
            && (schema.get("pattern").is_some() || self.one_in(2))
        {
            return self.choose(examples);
        }
        if depth > 8 {
            return Value::Null;
        }
        let mut made = self.typed(name, &schema, depth);
        for part in schema["allOf"].as_array().into_iter().flatten() {
            let part = self.make(name, part, depth + 1);
            over(&mut made, part);
        }
        for kind in ["anyOf", "oneOf"] {
            if let Some(branches) = schema[kind].as_array().filter(|branches| !branches.is_empty()) {
                let branch = self.choose(branches);
                let part = self.make(name, &branch, depth + 1);
                over(&mut made, part);
            }
        }
        made
    }

    fn typed(&mut self, name: &str, schema: &Value, depth: usize) -> Value {
        let kind = match &schema["type"] {
            Value::Array(kinds) => self.choose(kinds),
            kind => kind.clone(),
        };
        match kind.as_str() {
            Some("object") => self.object(schema, depth),
            Some("array") => {
                let least = usize_of(&schema["minItems"]).unwrap_or(0);
                let length = least + self.below(usize_of(&schema["maxItems"]).unwrap_or(3).min(3) + 1);
                (0..length).map(|_| self.make(name, &schema["items"], depth + 1)).collect()
            }
            Some("string") => json!(self.text(schema)),
            Some("integer") => self.whole(schema),
            Some("number") => self.number(schema),
            Some("boolean") => json!(self.one_in(2)),
            Some("null") => Value::Null,
            _ if schema.get("properties").is_some() => self.object(schema, depth),
            _ if schema.get("allOf").is_some() || schema.get("anyOf").is_some() || schema.get("oneOf").is_some() => {
                Value::Null
            }
            _ => self.anything(2),
        }
    }

    fn object(&mut self, schema: &Value, depth: usize) -> Value {
        let required = |name: &String| schema["required"].as_array().is_some_and(|all| all.contains(&json!(name)));
        let mut object = Map::new();
        for (name, member) in schema["properties"].as_object().into_iter().flatten() {
            let avoided = member.get("not").is_some() || member["deprecated"] == true;
            if required(name) || (!avoided && self.one_in(2)) {
                object.insert(name.clone(), self.make(name, member, depth + 1));
            }
        }
        if schema.get("properties").is_none() && self.one_in(2) {
            object.insert("a".to_owned(), self.anything(2));
        }
        Value::Object(object)
    }

    fn text(&mut self, schema: &Value) -> String {
        match schema["format"].as_str() {
            Some("date") => return "1990-12-31".to_owned(),
            Some("date-time") => return "2026-11-21T01:53:13.435Z".to_owned(),
            _ => {}
        }
        let least = usize_of(&schema["minLength"]).unwrap_or(0);
        let most = usize_of(&schema["maxLength"]).unwrap_or(least + 30);
        let length = match self.below(4) {
            0 => least,
            1 => most,
            _ => least + self.below((most - least).min(20) + 1),
        };
        let alphabet = ["a", "Z", "0", "-", "_", "é", "अ", "🙂"];
        // Some long ones are counted in bytes, which JSON Schema can't say.
        let plain = most > 1000 || schema.get("pattern").is_some_and(|pattern| pattern != "^[^\\u0000]*$");
        (0..length).map(|_| if plain { "a" } else { self.choose(&alphabet) }).collect()
    }

    fn whole(&mut self, schema: &Value) -> Value {
        let least = schema["minimum"].as_i64().unwrap_or(-1000);
        let most = schema["maximum"].as_i64().unwrap_or(1000).max(least);
        match self.below(4) {
            0 => json!(least),
            1 => json!(most),
            _ => json!(self.rng.random_range(least..=most)),
        }
    }

    fn number(&mut self, schema: &Value) -> Value {
        let above = schema["exclusiveMinimum"].as_f64().map(|bound| bound + 0.5);
        let least = schema["minimum"].as_f64().or(above).unwrap_or(-1e6);
        let most = schema["maximum"].as_f64().unwrap_or(1e6);
        match self.below(4) {
            0 => json!(least),
            1 => json!(most),
            _ => json!(self.rng.random_range(least..=most)),
        }
    }

    /// Any JSON, of a few levels.
    pub fn anything(&mut self, levels: usize) -> Value {
        match self.below(if levels == 0 { 6 } else { 8 }) {
            0 => Value::Null,
            1 => json!(self.one_in(2)),
            2 => json!(self.rng.random_range(-5_i64..5)),
            3 => json!(self.rng.random_range(-1e9..1e9)),
            4 => json!(""),
            5 => json!("text"),
            6 => (0..self.below(3)).map(|_| self.anything(levels - 1)).collect(),
            _ => json!({"a": self.anything(levels - 1), "": self.anything(levels - 1)}),
        }
    }

    /// What fits nowhere, or hardly.
    pub fn odd(&mut self) -> Value {
        let mut deep = json!("x");
        for _ in 0..100 {
            deep = json!([deep]);
        }
        let odd = [
            Value::Null,
            json!(true),
            json!(0),
            json!(-1),
            json!(1.5),
            json!(1e300),
            json!(i64::MIN),
            json!(u64::MAX),
            json!(""),
            json!(" "),
            json!("\u{0}"),
            json!("a\u{0}b"),
            json!("🙂".repeat(200)),
            json!("x".repeat(5000)),
            json!("' or 1=1; --"),
            json!("http://127.0.0.1:1/%00?#"),
            json!("11111111-1111-1111-1111-11111111111g"),
            json!("2026-13-45T99:99:99Z"),
            json!([]),
            json!({}),
            json!({"\u{0}": 1}),
            json!({"__proto__": {"constructor": 1}}),
            deep,
        ];
        self.choose(&odd)
    }

    /// Spoils a value somewhere: a member is exchanged for something odd, left out, or a new one comes in.
    pub fn spoil(&mut self, value: &mut Value) {
        match value {
            Value::Object(members) if !members.is_empty() && !self.one_in(8) => {
                let names: Vec<String> = members.keys().cloned().collect();
                let name = self.choose(&names);
                match self.below(6) {
                    0 => drop(members.remove(&name)),
                    1 => drop(members.insert("unknown".to_owned(), self.odd())),
                    2 => drop(members.insert(name, self.odd())),
                    _ => self.spoil(&mut members[&name]),
                }
            }
            Value::Array(elements) if !elements.is_empty() && !self.one_in(4) => {
                let at = self.below(elements.len());
                self.spoil(&mut elements[at]);
            }
            value => *value = self.odd(),
        }
    }
}

fn usize_of(value: &Value) -> Option<usize> {
    value.as_u64().and_then(|number| usize::try_from(number).ok())
}

/// Members of `more` go over those of `base`; what is no object replaces what is nothing.
fn over(base: &mut Value, more: Value) {
    match (base, more) {
        (Value::Object(base), Value::Object(more)) => {
            for (name, value) in more {
                match base.get_mut(&name) {
                    Some(known) if known.is_object() && value.is_object() => over(known, value),
                    _ => drop(base.insert(name, value)),
                }
            }
        }
        (base @ Value::Null, more) => *base = more,
        _ => {}
    }
}
