//! The filters of item reads (CONTRACT 1.6), from a query or from a JSON body.

use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::fields::{Fields, Key, Source};
use super::scalars::{instance_url, name, number, number_or_text, object, url, uuid};

/// Leaves of a state filter at most.
const MAX_LEAVES: usize = 20;

/// Which items are wanted. All given filters must hold.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct ItemFilter {
    /// `item_network`.
    pub network: String,
    /// `item_domain`.
    pub domain: String,
    /// `item_id`.
    pub item_id: Option<Uuid>,
    /// `item_type`.
    pub item_type: Option<String>,
    /// `item_schema_url`, compared as text.
    pub schema_url: Option<String>,
    /// `item_instance_url` as sent: an http(s) URL, to be compared after normalisation (CONTRACT 5.3).
    pub instance_url: Option<String>,
    /// `item_state` as sent (in a query all leaves are texts): what goes on to peers. Empty when absent.
    pub state: Map<String, Value>,
    /// `item_latitude`, `item_longitude`, `radius_meters`.
    pub within: Option<Within>,
}

/// A circle on Earth.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Within {
    /// Degrees.
    pub latitude: f64,
    /// Degrees.
    pub longitude: f64,
    /// Metres, more than 0.
    pub radius_meters: f64,
}

/// One leaf of a state filter: it holds when the public state contains **any** of these objects.
#[derive(Debug, Clone, PartialEq)]
pub struct StateLeaf {
    /// For JSON containment (`@>`): one object, or two for a text that is also a number or a boolean.
    pub any_of: Vec<Value>,
}

impl ItemFilter {
    /// Reads the filters: of a query, where `network` and `domain` are accepted too, or of a body.
    pub fn read(f: &mut Fields<'_>) -> Self {
        let (network, domain): (Key, Key) = match f.source() {
            Source::Query => (("item_network", "network").into(), ("item_domain", "domain").into()),
            Source::Body => ("item_network".into(), "item_domain".into()),
        };
        Self {
            network: f.required(network, name),
            domain: f.required(domain, name),
            item_id: f.optional("item_id", uuid),
            item_type: f.optional("item_type", name),
            schema_url: f.nullable("item_schema_url", url),
            instance_url: f.nullable("item_instance_url", instance_url),
            state: read_state(f),
            within: read_within(f),
        }
    }

    /// The leaves of the state filter; each has to hold by itself.
    #[must_use]
    pub fn leaves(&self) -> Vec<StateLeaf> {
        let mut leaves = Vec::new();
        gather(&self.state, &mut leaves);
        leaves.iter().map(|leaf| StateLeaf { any_of: alternatives(leaf) }).collect()
    }

    /// The filters as a body for a peer: absent ones left out.
    #[must_use]
    pub fn to_body(&self) -> Map<String, Value> {
        let within = self.within.as_ref();
        let fields = [
            ("item_network", Some(json!(self.network))),
            ("item_domain", Some(json!(self.domain))),
            ("item_id", self.item_id.map(|id| json!(id))),
            ("item_type", self.item_type.as_ref().map(|text| json!(text))),
            ("item_schema_url", self.schema_url.as_ref().map(|text| json!(text))),
            ("item_instance_url", self.instance_url.as_ref().map(|text| json!(text))),
            ("item_state", (!self.state.is_empty()).then(|| Value::Object(self.state.clone()))),
            ("item_latitude", within.map(|within| json!(within.latitude))),
            ("item_longitude", within.map(|within| json!(within.longitude))),
            ("radius_meters", within.map(|within| json!(within.radius_meters))),
        ];
        fields.into_iter().filter_map(|(key, value)| Some((key.to_owned(), value?))).collect()
    }
}

fn read_state(f: &mut Fields<'_>) -> Map<String, Value> {
    let state = f.optional("item_state", object).unwrap_or_default();
    let mut leaves = Vec::new();
    gather(&state, &mut leaves);
    if leaves.len() > MAX_LEAVES {
        f.fault("item_state", format!("must have at most {MAX_LEAVES} values"));
    }
    if f.source() == Source::Query && leaves.iter().any(|leaf| leaf.value == "") {
        f.fault("item_state", "must not have an empty value");
    }
    state
}

/// A coordinate needs all three; a radius alone has no effect.
fn read_within(f: &mut Fields<'_>) -> Option<Within> {
    let sent = |f: &mut Fields<'_>, key, range: std::ops::RangeInclusive<f64>| {
        let given = f.is_given(key);
        let value = match f.source() {
            Source::Query => f.optional_number(key, number(range)),
            Source::Body => f.nullable(key, number_or_text(range)),
        };
        (key, given, value)
    };
    let latitude = sent(f, "item_latitude", -90.0..=90.0);
    let longitude = sent(f, "item_longitude", -180.0..=180.0);
    let radius = sent(f, "radius_meters", 0.0..=f64::MAX);
    if radius.2 == Some(0.0) {
        f.fault("radius_meters", "must be more than 0");
    }
    if latitude.1 || longitude.1 {
        for (key, _, _) in [latitude, longitude, radius].iter().filter(|(_, given, _)| !given) {
            f.fault(key, "is required: a place needs item_latitude, item_longitude and radius_meters");
        }
    }
    Some(Within { latitude: latitude.2?, longitude: longitude.2?, radius_meters: radius.2? })
}

/// A leaf and the way to it, outermost first.
#[derive(Clone)]
struct Leaf<'a> {
    path: Vec<Step<'a>>,
    value: &'a Value,
}

#[derive(Clone, Copy)]
enum Step<'a> {
    Key(&'a str),
    Element,
}

fn gather<'a>(state: &'a Map<String, Value>, leaves: &mut Vec<Leaf<'a>>) {
    let mut path = Vec::new();
    for (key, value) in state {
        path.push(Step::Key(key));
        descend(value, &mut path, leaves);
        path.pop();
    }
}

fn descend<'a>(value: &'a Value, path: &mut Vec<Step<'a>>, leaves: &mut Vec<Leaf<'a>>) {
    match value {
        Value::Object(members) if !members.is_empty() => {
            for (key, member) in members {
                path.push(Step::Key(key));
                descend(member, path, leaves);
                path.pop();
            }
        }
        Value::Array(elements) if !elements.is_empty() => {
            path.push(Step::Element);
            for element in elements {
                descend(element, path, leaves);
            }
            path.pop();
        }
        leaf => leaves.push(Leaf { path: path.clone(), value: leaf }),
    }
}

/// The objects that contain nothing but this leaf.
fn alternatives(leaf: &Leaf<'_>) -> Vec<Value> {
    let wrap = |value: Value| {
        leaf.path.iter().rev().fold(value, |inner, step| match step {
            Step::Key(key) => Value::Object(Map::from_iter([((*key).to_owned(), inner)])),
            Step::Element => Value::Array(vec![inner]),
        })
    };
    let spelled = leaf.value.as_str().and_then(spelled_out);
    std::iter::once(leaf.value.clone()).chain(spelled).map(wrap).collect()
}

/// The number or boolean that a text spells exactly, in JSON's grammar.
fn spelled_out(text: &str) -> Option<Value> {
    if text.starts_with(char::is_whitespace) || text.ends_with(char::is_whitespace) {
        return None;
    }
    let value: Value = serde_json::from_str(text).ok()?;
    (value.is_number() || value.is_boolean()).then_some(value)
}
