//! Takes a state apart into its public and its private half and puts it together again (CONTRACT 8.6). For every state,
//! `merge(split(state))` is the state.

use serde_json::{Map, Value};

use super::private::{Place, Privacy};

impl Privacy {
    /// The public and the private half of `state`.
    pub(super) fn split(&self, state: &Map<String, Value>) -> (Map<String, Value>, Map<String, Value>) {
        let root = self.root();
        if root.is_empty() {
            return (state.clone(), Map::new());
        }
        if self.is_private(&root, &Value::Null) {
            return (Map::new(), state.clone());
        }
        self.split_object(&root, state)
    }

    fn split_object(&self, place: &Place, object: &Map<String, Value>) -> (Map<String, Value>, Map<String, Value>) {
        let (mut public, mut private) = (Map::new(), Map::new());
        for (key, value) in object {
            let halves = self.split_value(&self.property(place, key), value);
            public.extend(halves.0.map(|half| (key.clone(), half)));
            private.extend(halves.1.map(|half| (key.clone(), half)));
        }
        (public, private)
    }

    fn split_value(&self, place: &Place, value: &Value) -> (Option<Value>, Option<Value>) {
        if place.is_empty() {
            return (Some(value.clone()), None);
        }
        if self.is_private(place, value) {
            return (None, Some(value.clone()));
        }
        match value {
            // What was empty before the split has to stay, or it would vanish.
            Value::Object(object) if !object.is_empty() => {
                let (public, private) = self.split_object(place, object);
                (unless_empty(public), unless_empty(private))
            }
            Value::Array(elements) => self.split_array(place, elements),
            other => (Some(other.clone()), None),
        }
    }

    fn split_array(&self, place: &Place, elements: &[Value]) -> (Option<Value>, Option<Value>) {
        let halves: Vec<_> = elements
            .iter()
            .enumerate()
            .map(|(index, element)| (element, self.split_value(&self.element(place, index), element)))
            .collect();
        if halves.iter().all(|(_, (_, private))| private.is_none()) {
            return (Some(Value::Array(elements.to_vec())), None);
        }
        let (public, private) = halves
            .into_iter()
            .map(|(element, (public, private))| {
                let hole = || placeholder(element);
                (public.unwrap_or_else(hole), private.unwrap_or_else(hole))
            })
            .unzip();
        (Some(Value::Array(public)), Some(Value::Array(private)))
    }
}

fn unless_empty(half: Map<String, Value>) -> Option<Value> {
    (!half.is_empty()).then_some(Value::Object(half))
}

/// Keeps the index of an element whose half is elsewhere.
fn placeholder(element: &Value) -> Value {
    if element.is_object() { Value::Object(Map::new()) } else { Value::Null }
}

/// Puts the halves together: deep, the private one wins, arrays by index to the longer length.
pub fn merge(public: Value, private: Value) -> Value {
    match (public, private) {
        (Value::Object(public), Value::Object(private)) => Value::Object(merge_objects(public, private)),
        (Value::Array(public), Value::Array(private)) => Value::Array(merge_arrays(public, private)),
        (_, private) => private,
    }
}

pub(super) fn merge_objects(mut public: Map<String, Value>, private: Map<String, Value>) -> Map<String, Value> {
    for (key, value) in private {
        let merged = match public.get_mut(&key) {
            Some(other) => merge(other.take(), value),
            None => value,
        };
        public.insert(key, merged);
    }
    public
}

fn merge_arrays(public: Vec<Value>, private: Vec<Value>) -> Vec<Value> {
    let length = public.len().max(private.len());
    let (mut public, mut private) = (public.into_iter(), private.into_iter());
    let pairs = (0..length).map(|_| (public.next(), private.next()));
    pairs
        .filter_map(|pair| match pair {
            (Some(public), Some(Value::Null) | None) => Some(public),
            (Some(public), Some(private)) => Some(merge(public, private)),
            (None, private) => private,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn split(schema: &Value, state: &Value) -> (Value, Value) {
        let (public, private) = Privacy::of(schema).split(state.as_object().unwrap());
        let (public, private) = (Value::Object(public), Value::Object(private));
        assert_eq!(&merge(public.clone(), private.clone()), state);
        (public, private)
    }

    /// The contract's own example.
    #[test]
    fn halves_keep_empty_values_and_indexes() {
        let schema = json!({"properties": {"contacts": {"items": {"properties": {"number": {"private": true}}}}}});
        let state = json!({"name": "Asha", "tags": [], "extra": {}, "contacts": [{"label": "home", "number": "1"}, {"label": "work"}]});
        let (public, private) = split(&schema, &state);
        assert_eq!(
            public,
            json!({"name": "Asha", "tags": [], "extra": {}, "contacts": [{"label": "home"}, {"label": "work"}]})
        );
        assert_eq!(private, json!({"contacts": [{"number": "1"}, {}]}));
    }

    #[test]
    fn private_values_go_whole_even_when_empty() {
        let schema = json!({"properties": {"a": {"private": true}, "o": {"properties": {"p": {"private": true}}}}});
        let cases = [
            (json!({"a": {}}), json!({}), json!({"a": {}})),
            (json!({"a": [], "b": 1}), json!({"b": 1}), json!({"a": []})),
            (json!({"a": null}), json!({}), json!({"a": null})),
            (json!({"o": {}}), json!({"o": {}}), json!({})),
            (json!({"o": {"p": {}}}), json!({}), json!({"o": {"p": {}}})),
            (json!({"o": {"p": 1, "q": {}}}), json!({"o": {"q": {}}}), json!({"o": {"p": 1}})),
            (json!({"o": "text"}), json!({"o": "text"}), json!({})),
        ];
        for (state, public, private) in cases {
            assert_eq!(split(&schema, &state), (public, private), "{state}");
        }
    }

    #[test]
    fn arrays_split_by_index() {
        let schema = json!({"properties": {
            "pair": {"prefixItems": [{}, {"private": true}]}, "old": {"items": [{"private": true}, {}]},
            "deep": {"items": {"items": {"properties": {"p": {"private": true}}}}}
        }});
        let state = json!({"pair": ["x", "y", "z"], "old": [null, 2], "deep": [[], [{"p": 1, "q": 2}, 7], {"p": 3}]});
        let (public, private) = split(&schema, &state);
        assert_eq!(public, json!({"pair": ["x", null, "z"], "old": [null, 2], "deep": [[], [{"q": 2}, 7], {"p": 3}]}));
        assert_eq!(
            private,
            json!({"pair": [null, "y", null], "old": [null, null], "deep": [null, [{"p": 1}, null], {}]})
        );
        let objects = json!({"pair": [{"a": 1}, {"b": 2}]});
        assert_eq!(split(&schema, &objects), (json!({"pair": [{"a": 1}, {}]}), json!({"pair": [{}, {"b": 2}]})));
    }

    #[test]
    fn a_recursive_schema_follows_the_data() {
        let schema = json!({"properties": {"kid": {"$ref": "#"}, "p": {"private": true}, "loop": {"allOf": [{"$ref": "#/properties/loop"}]}}});
        let mut state = json!({"p": 0, "loop": {"x": 1}});
        for _ in 0..500 {
            state = json!({"kid": state, "n": 1});
        }
        let (public, private) = split(&schema, &state);
        let innermost = "/kid".repeat(500);
        assert_eq!(public.pointer(&innermost).unwrap(), &json!({"loop": {"x": 1}}));
        assert_eq!(private.pointer(&innermost).unwrap(), &json!({"p": 0}));
    }

    #[test]
    fn merging_fills_gaps_and_lets_private_win() {
        assert_eq!(
            merge(json!({"a": 1, "b": {"c": 1}}), json!({"a": 2, "b": {"d": 2}})),
            json!({"a": 2, "b": {"c": 1, "d": 2}})
        );
        assert_eq!(merge(json!([1, 2]), json!([null, 3, 4])), json!([1, 3, 4]));
        assert_eq!(merge(json!([{"a": 1}, 2, 3]), json!([{}])), json!([{"a": 1}, 2, 3]));
        assert_eq!(merge(json!([]), json!([])), json!([]));
    }

    const NAMES: [&str; 4] = ["a", "b", "c", "d"];

    fn any_schema() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(json!({})),
            Just(json!({"private": true})),
            Just(json!(true)),
            Just(json!({"$ref": "#"})),
            Just(json!({"$ref": "#/$defs/d"})),
            Just(json!({"type": "string", "private": false})),
        ];
        leaf.prop_recursive(4, 40, 4, |inner| {
            let named = prop::collection::hash_map(prop::sample::select(&NAMES[..]), inner.clone(), 1..4);
            let list = prop::collection::vec(inner.clone(), 1..3);
            prop_oneof![
                4 => named.clone().prop_map(|named| json!({"properties": named})),
                1 => (named, inner.clone()).prop_map(|(named, more)| json!({"properties": named, "unevaluatedProperties": more})),
                1 => (prop::sample::select(&["^a", "b|c", "."][..]), inner.clone())
                    .prop_map(|(pattern, schema)| json!({"patternProperties": {pattern: schema}, "additionalProperties": schema})),
                2 => inner.clone().prop_map(|schema| json!({"items": schema})),
                1 => inner.clone().prop_map(|schema| json!({"contains": schema})),
                1 => list.clone().prop_map(|list| json!({"prefixItems": list})),
                1 => (prop::sample::select(&["allOf", "anyOf", "oneOf"][..]), list).prop_map(|(keyword, list)| json!({keyword: list})),
                1 => (prop::sample::select(&["if", "then", "else"][..]), inner).prop_map(|(keyword, schema)| json!({keyword: schema})),
            ]
        })
    }

    fn any_value() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(json!(null)),
            Just(json!({})),
            Just(json!([])),
            any::<i32>().prop_map(|number| json!(number)),
            "[a-z]{0,3}".prop_map(|text| json!(text)),
            any::<bool>().prop_map(|flag| json!(flag)),
        ];
        leaf.prop_recursive(5, 60, 5, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..5).prop_map(Value::Array),
                prop::collection::hash_map(prop::sample::select(&NAMES[..]), inner, 0..4)
                    .prop_map(|named| json!(named)),
            ]
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(1000))]
        #[test]
        fn merging_the_halves_gives_the_state(
            schema in any_schema(), shared in any_schema(),
            state in prop::collection::hash_map(prop::sample::select(&NAMES[..]), any_value(), 0..5),
        ) {
            let mut schema = schema;
            if let Value::Object(schema) = &mut schema {
                schema.insert("$defs".to_owned(), json!({"d": shared}));
            }
            let state = json!(state);
            let privacy = Privacy::of(&schema);
            let (public, private) = privacy.split(state.as_object().unwrap());
            prop_assert_eq!(merge(Value::Object(public.clone()), Value::Object(private)), state);
            // The public half holds nothing private any more.
            let (again, rest) = privacy.split(&public);
            prop_assert_eq!(again, public);
            prop_assert!(rest.values().all(holds_only_placeholders), "{:?}", rest);
        }
    }

    fn any_state() -> impl Strategy<Value = Value> {
        prop::collection::hash_map(prop::sample::select(&NAMES[..]), any_value(), 0..5).prop_map(|state| json!(state))
    }

    /// All leaves of a state, each as the object that contains nothing else: what a filter may ask for.
    fn questions(value: &Value) -> Vec<Value> {
        match value {
            Value::Object(members) if !members.is_empty() => (members.iter())
                .flat_map(|(key, member)| questions(member).into_iter().map(move |inner| json!({key: inner})))
                .collect(),
            Value::Array(elements) if !elements.is_empty() => {
                elements.iter().flat_map(questions).map(|inner| json!([inner])).collect()
            }
            leaf => vec![leaf.clone()],
        }
    }

    /// JSON containment as Postgres has it (`@>`).
    fn contains(whole: &Value, part: &Value) -> bool {
        match (whole, part) {
            (Value::Object(whole), Value::Object(part)) => {
                part.iter().all(|(key, part)| whole.get(key).is_some_and(|whole| contains(whole, part)))
            }
            (Value::Array(whole), Value::Array(part)) => {
                part.iter().all(|part| whole.iter().any(|whole| contains(whole, part)))
            }
            (whole, part) => whole == part,
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(1000))]
        #[test]
        fn a_newer_contract_moves_what_is_private_and_loses_nothing(
            older in any_schema(), newer in any_schema(), state in any_state(), other in any_state(),
        ) {
            let (older, newer) = (Privacy::of(&older), Privacy::of(&newer));
            let (public, private) = older.split(state.as_object().unwrap());
            let (kept, all) = newer.resplit(&public, &private).unwrap_or((public.clone(), private));
            prop_assert_eq!(&merge(Value::Object(kept.clone()), Value::Object(all.clone())), &state);
            prop_assert!(newer.resplit(&kept, &all).is_none());
            let kept = Value::Object(kept);
            // A filter that may pass matches the old public half just when it matches the new one.
            for question in questions(&state).iter().chain(&questions(&other)) {
                if !newer.may_reveal(question) {
                    prop_assert_eq!(contains(&Value::Object(public.clone()), question), contains(&kept, question));
                }
            }
        }
    }

    /// Place holders stand at private places, so splitting the public half again moves them, and nothing else.
    fn holds_only_placeholders(value: &Value) -> bool {
        match value {
            Value::Array(values) => values.iter().all(holds_only_placeholders),
            Value::Object(named) => named.values().all(holds_only_placeholders),
            value => value.is_null(),
        }
    }
}
