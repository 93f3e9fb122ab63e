//! Writes parts from outside a schema into the places that refer to them, for clients that read a schema without
//! following references. Recursive parts stay under `$defs`, and so does what would make the schema grow without bound.

use std::collections::{HashMap, HashSet};

use serde_json::{Map, Value};

use super::self_contained::{Graft, put_into_defs};

/// Values that inlining may add to one schema; a few doublings of `a: [b, b]` would otherwise fill the memory.
const BUDGET: usize = 100_000;
/// Deepest part that is inlined: emitted documents must stay readable for parsers with a limit.
const MAX_DEPTH: usize = 48;

/// `schema` with the grafts written out.
pub(super) fn inline(schema: &Value, grafts: &[Graft]) -> Value {
    let mut inliner = Inliner {
        numbers: grafts.iter().enumerate().map(|(number, graft)| (graft.name.as_str(), number)).collect(),
        parts: HashMap::new(),
        kept: Vec::new(),
        budget: BUDGET,
    };
    for number in order(grafts, &inliner.numbers) {
        if let Some(graft) = grafts.get(number) {
            let content = inliner.expand(&graft.content);
            let (size, depth) = measure(&content);
            if depth <= MAX_DEPTH {
                inliner.parts.insert(number, (content, size));
            }
        }
    }
    inliner.kept.clear();
    let mut emitted = inliner.expand(schema);
    let mut defs = Vec::new();
    while let Some(graft) = inliner.kept.get(defs.len()).and_then(|number| grafts.get(*number)) {
        defs.push((graft.name.clone(), inliner.expand(&graft.content)));
    }
    if !defs.is_empty() {
        put_into_defs(&mut emitted, defs);
    }
    emitted
}

/// The parts that are not recursive, each after those it refers to.
fn order(grafts: &[Graft], numbers: &HashMap<&str, usize>) -> Vec<usize> {
    let mut needs: Vec<HashSet<usize>> = grafts.iter().map(|graft| needs(&graft.content, numbers)).collect();
    let mut order = peel(&mut needs);
    // What is left lies on a cycle, or leads to one; turned round, the latter peel off too.
    let done: HashSet<usize> = order.iter().copied().collect();
    let mut turned = vec![HashSet::new(); grafts.len()];
    for (number, needed) in needs.iter().enumerate() {
        for target in needed {
            if let Some(users) = turned.get_mut(*target) {
                users.insert(number);
            }
        }
    }
    let mut leading = peel(&mut turned);
    leading.retain(|number| !done.contains(number));
    order.extend(leading.into_iter().rev());
    order
}

/// Takes away what needs nothing, again and again.
fn peel(needs: &mut [HashSet<usize>]) -> Vec<usize> {
    let mut users: Vec<Vec<usize>> = vec![Vec::new(); needs.len()];
    for (number, needed) in needs.iter().enumerate() {
        for target in needed {
            if let Some(users) = users.get_mut(*target) {
                users.push(number);
            }
        }
    }
    let mut order: Vec<usize> =
        (0..needs.len()).filter(|number| needs.get(*number).is_some_and(HashSet::is_empty)).collect();
    let mut next = 0;
    while let Some(done) = order.get(next).copied() {
        next += 1;
        for user in users.get(done).cloned().unwrap_or_default() {
            if let Some(needed) = needs.get_mut(user)
                && needed.remove(&done)
                && needed.is_empty()
            {
                order.push(user);
            }
        }
    }
    order
}

fn needs(content: &Value, numbers: &HashMap<&str, usize>) -> HashSet<usize> {
    let mut found = HashSet::new();
    let mut open = vec![content];
    while let Some(value) = open.pop() {
        match value {
            Value::Array(values) => open.extend(values),
            Value::Object(object) => {
                found.extend(reference_to(object, "$ref", numbers));
                found.extend(reference_to(object, "$dynamicRef", numbers));
                open.extend(object.values());
            }
            _ => {}
        }
    }
    found
}

fn reference_to(object: &Map<String, Value>, keyword: &str, numbers: &HashMap<&str, usize>) -> Option<usize> {
    let (_, name) = object.get(keyword)?.as_str()?.rsplit_once("#/$defs/")?;
    numbers.get(name).copied()
}

struct Inliner<'g> {
    numbers: HashMap<&'g str, usize>,
    /// What may be inlined, with its size.
    parts: HashMap<usize, (Value, usize)>,
    /// What is still referred to.
    kept: Vec<usize>,
    budget: usize,
}

impl Inliner<'_> {
    fn expand(&mut self, value: &Value) -> Value {
        match value {
            Value::Array(values) => Value::Array(values.iter().map(|value| self.expand(value)).collect()),
            Value::Object(object) => self.expand_object(object),
            other => other.clone(),
        }
    }

    fn expand_object(&mut self, object: &Map<String, Value>) -> Value {
        let target = reference_to(object, "$ref", &self.numbers);
        let part = target.and_then(|number| self.take(number));
        if part.is_none() {
            for number in [target, reference_to(object, "$dynamicRef", &self.numbers)].into_iter().flatten() {
                if !self.kept.contains(&number) {
                    self.kept.push(number);
                }
            }
        }
        let inlined = part.is_some();
        let mut siblings = object.iter().filter(|(keyword, _)| !inlined || *keyword != "$ref").peekable();
        let mut result = match part {
            Some(Value::Object(part)) => part,
            // A schema that is just `true` or `false`.
            Some(part) if siblings.peek().is_none() => return part,
            Some(Value::Bool(false)) => Map::from_iter([("not".to_owned(), Value::Object(Map::new()))]),
            _ => Map::new(),
        };
        for (keyword, value) in siblings {
            result.insert(keyword.clone(), self.expand(value));
        }
        Value::Object(result)
    }

    /// A copy of the part, if it may be inlined here.
    fn take(&mut self, number: usize) -> Option<Value> {
        let (part, size) = self.parts.get(&number)?;
        self.budget = self.budget.checked_sub(*size)?;
        Some(part.clone())
    }
}

/// Number of values in `value`, and how deep they nest.
fn measure(value: &Value) -> (usize, usize) {
    let over = |values: &mut dyn Iterator<Item = &Value>| {
        values.map(measure).fold((1, 0), |(size, depth), (more, below)| (size + more, depth.max(below)))
    };
    let (size, depth) = match value {
        Value::Array(values) => over(&mut values.iter()),
        Value::Object(object) => over(&mut object.values()),
        _ => (1, 0),
    };
    (size, depth + 1)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn graft(name: impl Into<String>, content: Value) -> Graft {
        Graft { name: name.into(), content }
    }

    #[test]
    fn doublings_stay_small() {
        let mut grafts: Vec<Graft> = (0..40)
            .map(|level| {
                let next = json!({"$ref": format!("#/$defs/d{}", level + 1)});
                graft(format!("d{level}"), json!({"allOf": [next, next]}))
            })
            .collect();
        grafts.push(graft("d40", json!({"type": "string"})));
        let emitted = inline(&json!({"$ref": "#/$defs/d0"}), &grafts);
        assert!(measure(&emitted).0 < 4 * BUDGET);
        // Only a value that fails at the first leaf: one that fits is tried 2⁴⁰ times.
        assert!(!jsonschema::validator_for(&emitted).unwrap().is_valid(&json!(1)));
    }

    #[test]
    fn long_chains_stay_shallow() {
        let mut grafts: Vec<Graft> = (0..3000)
            .map(|level| {
                graft(format!("d{level}"), json!({"properties": {"x": {"$ref": format!("#/$defs/d{}", level + 1)}}}))
            })
            .collect();
        grafts.push(graft("d3000", json!(false)));
        let emitted = inline(&json!({"properties": {"x": {"$ref": "#/$defs/d0"}}}), &grafts);
        assert!(measure(&emitted).1 < 2 * MAX_DEPTH);
    }

    #[test]
    fn boolean_parts_and_siblings() {
        let grafts = [graft("no", json!(false)), graft("yes", json!(true))];
        let schema = json!({"properties": {
            "a": {"$ref": "#/$defs/no"}, "b": {"$ref": "#/$defs/no", "title": "B"}, "c": {"$ref": "#/$defs/yes", "title": "C"}
        }});
        assert_eq!(
            inline(&schema, &grafts),
            json!({"properties": {
                "a": false, "b": {"not": {}, "title": "B"}, "c": {"title": "C"}
            }})
        );
    }
}
