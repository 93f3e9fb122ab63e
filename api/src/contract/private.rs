//! Which places of a state are private (CONTRACT 8.6). The schema becomes a graph once, at load: nodes are subschemas,
//! edges say where they apply. A state is then walked together with the set of nodes that apply to each place, whichever
//! branch its data takes, so a recursive schema costs no more than the data is deep.

use std::collections::{BTreeSet, HashMap};

use jsonschema::error::ValidationErrorKind;
use serde_json::{Map, Value, json};

use super::references::{Address, References, address};

/// Number of a subschema.
type Node = usize;

/// The subschemas that apply to one place of the data, those behind references and combinators included, as far as
/// something private can be met through them.
pub(super) type Place = Vec<Node>;

/// A `patternProperties` key, matched by the engine that validates.
struct Pattern(jsonschema::Validator);

impl Pattern {
    fn compile(pattern: &str) -> Option<Self> {
        jsonschema::options().build(&json!({ "pattern": pattern })).ok().map(Self)
    }

    /// A key that the engine gives up on counts as a match: better private than public.
    fn matches(&self, key: &str) -> bool {
        let key = Value::String(key.to_owned());
        match self.0.validate(&key) {
            Ok(()) => true,
            Err(error) => !matches!(error.kind(), ValidationErrorKind::Pattern { .. }),
        }
    }
}

#[derive(Default)]
struct Subschema {
    private: bool,
    properties: HashMap<String, Node>,
    patterns: Vec<(Pattern, Node)>,
    additional: Option<Node>,
    unevaluated: Option<Node>,
    prefix: Vec<Node>,
    /// Elements after the prefix.
    rest: Option<Node>,
    /// Any element.
    elements: Vec<Node>,
    /// The same place, always.
    certain: Vec<Node>,
    /// The same place, in some branch.
    possible: Vec<Node>,
}

/// The private places of one schema.
pub(super) struct Privacy {
    nodes: Vec<Subschema>,
    /// Per node: whether something private can be met at its place or below.
    matters: Vec<bool>,
}

impl std::fmt::Debug for Privacy {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Privacy").field("nodes", &self.nodes.len()).finish_non_exhaustive()
    }
}

impl Privacy {
    /// Reads a self-contained schema.
    pub(super) fn of(schema: &Value) -> Self {
        let references = References::new(schema, "");
        let mut reader =
            Reader { references: &references, numbers: HashMap::new(), open: Vec::new(), nodes: Vec::new() };
        reader.number(schema);
        while let Some((node, value)) = reader.open.pop() {
            let subschema = reader.read(value);
            if let Some(slot) = reader.nodes.get_mut(node) {
                *slot = subschema;
            }
        }
        let nodes = reader.nodes;
        let matters = matters(&nodes);
        Self { nodes, matters }
    }

    /// The place of the whole state.
    pub(super) fn root(&self) -> Place {
        self.close(vec![0])
    }

    /// Whether `value` at this place is private as a whole.
    pub(super) fn is_private(&self, place: &Place, value: &Value) -> bool {
        self.says_private(place)
            || value.is_array()
                && self.of_place(place).any(|subschema| {
                    let elements = subschema.rest.iter().chain(&subschema.elements);
                    elements.copied().any(|node| self.says_private(&self.close(vec![node])))
                })
    }

    fn says_private(&self, place: &Place) -> bool {
        self.of_place(place).any(|subschema| subschema.private)
    }

    /// The place of the property `key` of an object at `place`.
    pub(super) fn property(&self, place: &Place, key: &str) -> Place {
        let mut found = Vec::new();
        for node in place {
            let Some(subschema) = self.node(*node) else { continue };
            let before = found.len();
            found.extend(subschema.properties.get(key));
            found.extend(subschema.patterns.iter().filter(|(pattern, _)| pattern.matches(key)).map(|(_, node)| node));
            if found.len() == before {
                found.extend(subschema.additional);
            }
            if let Some(unevaluated) = subschema.unevaluated
                && !self.is_evaluated(*node, key)
            {
                found.push(unevaluated);
            }
        }
        self.close(found)
    }

    /// The place of element `index` of an array at `place`.
    pub(super) fn element(&self, place: &Place, index: usize) -> Place {
        let mut found = Vec::new();
        for subschema in self.of_place(place) {
            found.extend(subschema.prefix.get(index).or(subschema.rest.as_ref()));
            found.extend(&subschema.elements);
        }
        self.close(found)
    }

    /// The places of all elements of an array at `place`, whatever their index.
    pub(super) fn any_element(&self, place: &Place) -> Place {
        let elements = |subschema: &Subschema| {
            subschema.prefix.iter().chain(&subschema.rest).chain(&subschema.elements).copied().collect::<Vec<_>>()
        };
        self.close(self.of_place(place).flat_map(elements).collect())
    }

    /// Whether anything at all can be private.
    pub(super) fn has_private(&self) -> bool {
        !self.root().is_empty()
    }

    fn node(&self, node: Node) -> Option<&Subschema> {
        self.nodes.get(node)
    }

    fn of_place<'p>(&'p self, place: &'p Place) -> impl Iterator<Item = &'p Subschema> {
        place.iter().filter_map(|node| self.node(*node))
    }

    /// The nodes and everything that applies, or may apply, to the same place.
    fn close(&self, mut open: Vec<Node>) -> Place {
        let mut seen = BTreeSet::new();
        while let Some(node) = open.pop() {
            let matters = self.matters.get(node).copied().unwrap_or_default();
            if let Some(subschema) = self.node(node).filter(|_| matters && seen.insert(node)) {
                open.extend(subschema.certain.iter().chain(&subschema.possible));
            }
        }
        seen.into_iter().collect()
    }

    /// Whether `key` is surely evaluated at the node, so that its `unevaluatedProperties` does not apply. What only a
    /// branch evaluates may be left over.
    fn is_evaluated(&self, node: Node, key: &str) -> bool {
        let mut seen = BTreeSet::from([node]);
        let mut open = vec![node];
        while let Some(subschema) = open.pop().and_then(|node| self.node(node)) {
            if subschema.evaluates(key) {
                return true;
            }
            open.extend(subschema.certain.iter().filter(|node| seen.insert(**node)));
        }
        false
    }
}

/// Spreads `private` against the direction of all edges.
fn matters(nodes: &[Subschema]) -> Vec<bool> {
    let mut users: Vec<Vec<Node>> = vec![Vec::new(); nodes.len()];
    for (node, subschema) in nodes.iter().enumerate() {
        for target in subschema.targets() {
            if let Some(users) = users.get_mut(target) {
                users.push(node);
            }
        }
    }
    let mut matters = vec![false; nodes.len()];
    let mut open: Vec<Node> = (0..nodes.len()).filter(|node| nodes.get(*node).is_some_and(|it| it.private)).collect();
    while let Some(node) = open.pop() {
        if let Some(slot) = matters.get_mut(node)
            && !std::mem::replace(slot, true)
        {
            open.extend(users.get(node).into_iter().flatten());
        }
    }
    matters
}

impl Subschema {
    fn evaluates(&self, key: &str) -> bool {
        self.additional.is_some()
            || self.properties.contains_key(key)
            || self.patterns.iter().any(|(pattern, _)| pattern.matches(key))
    }

    fn targets(&self) -> impl Iterator<Item = Node> {
        self.properties
            .values()
            .chain(self.patterns.iter().map(|(_, node)| node))
            .chain(&self.additional)
            .chain(&self.unevaluated)
            .chain(&self.prefix)
            .chain(&self.rest)
            .chain(&self.elements)
            .chain(&self.certain)
            .chain(&self.possible)
            .copied()
    }
}

/// Numbers subschemas as they are met; reading each once makes recursion harmless.
struct Reader<'s, 'r> {
    references: &'r References<'s>,
    numbers: HashMap<Address, Node>,
    open: Vec<(Node, &'s Value)>,
    nodes: Vec<Subschema>,
}

impl<'s> Reader<'s, '_> {
    fn number(&mut self, value: &'s Value) -> Node {
        let next = self.nodes.len();
        let node = *self.numbers.entry(address(value)).or_insert(next);
        if node == next {
            self.nodes.push(Subschema::default());
            self.open.push((node, value));
        }
        node
    }

    fn numbers(&mut self, values: impl IntoIterator<Item = &'s Value>) -> Vec<Node> {
        values.into_iter().map(|value| self.number(value)).collect()
    }

    fn read(&mut self, schema: &'s Value) -> Subschema {
        let Value::Object(object) = schema else { return Subschema::default() };
        let mut subschema =
            Subschema { private: object.get("private") == Some(&Value::Bool(true)), ..Subschema::default() };
        for (keyword, value) in object {
            self.read_keyword(&mut subschema, keyword, value);
            if let Value::String(text) = value {
                let targets = self.targets(schema, keyword, text);
                subschema.certain.extend(targets);
            }
        }
        subschema
    }

    fn read_keyword(&mut self, subschema: &mut Subschema, keyword: &str, value: &'s Value) {
        match (keyword, value) {
            ("properties", Value::Object(named)) => {
                subschema.properties = named.iter().map(|(name, value)| (name.clone(), self.number(value))).collect();
            }
            ("patternProperties", Value::Object(named)) => self.read_patterns(subschema, named),
            ("additionalProperties", value) => subschema.additional = Some(self.number(value)),
            ("unevaluatedProperties", value) => subschema.unevaluated = Some(self.number(value)),
            ("items" | "prefixItems", Value::Array(values)) => subschema.prefix = self.numbers(values),
            ("items", value) => subschema.rest = Some(self.number(value)),
            ("additionalItems" | "unevaluatedItems" | "contains", value) => subschema.elements.push(self.number(value)),
            ("allOf", Value::Array(values)) => subschema.certain.extend(self.numbers(values)),
            ("anyOf" | "oneOf", Value::Array(values)) => subschema.possible.extend(self.numbers(values)),
            ("if" | "then" | "else", value) => subschema.possible.push(self.number(value)),
            ("dependentSchemas" | "dependencies", Value::Object(named)) => {
                subschema.possible.extend(self.numbers(named.values()));
            }
            _ => {}
        }
    }

    fn read_patterns(&mut self, subschema: &mut Subschema, named: &'s Map<String, Value>) {
        for (pattern, value) in named {
            // What does not compile here does not compile as a schema either, and is refused there.
            if let Some(pattern) = Pattern::compile(pattern) {
                subschema.patterns.push((pattern, self.number(value)));
            }
        }
    }

    /// What a reference may lead to. Dynamic ones count for every schema that may answer them.
    fn targets(&mut self, from: &'s Value, keyword: &str, text: &str) -> Vec<Node> {
        let references = self.references;
        if !matches!(keyword, "$ref" | "$dynamicRef" | "$recursiveRef") {
            return Vec::new();
        }
        let mut found: Vec<_> = references.resolve(from, text).into_iter().collect();
        match keyword {
            "$dynamicRef" => found.extend(references.dynamic(text.rsplit('#').next().unwrap_or_default())),
            "$recursiveRef" => found.extend(references.recursive()),
            _ => {}
        }
        self.numbers(found)
    }
}
