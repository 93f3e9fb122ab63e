//! From the service's words to ours. What it leaves out, or says in another type, is left out here too; whoever needs it
//! finds it in `raw_response`.

use serde_json::{Map, Value};

/// Our name of a field, and the service's.
const NUMBERS: [(&str, &str); 2] = [("score", "score"), ("confidence", "confidence")];
const TEXTS: [(&str, &str); 6] = [
    ("band", "band"),
    ("version", "version"),
    ("prompt_version", "promptVersion"),
    ("model_provider", "provider"),
    ("model", "model"),
    ("reasoning", "reasoning"),
];
const SIGNAL: [&str; 3] = ["name", "impact", "summary"];

/// The answer of CONTRACT 4.22.
pub(super) fn for_clients(given: Value) -> Map<String, Value> {
    let mut answer = Map::from_iter([("provider".to_owned(), Value::from("dpg_scoring"))]);
    let mut take = |(ours, theirs): (&str, &str), fits: fn(&Value) -> bool| {
        if let Some(value) = given.get(theirs).filter(|value| fits(value)) {
            answer.insert(ours.to_owned(), value.clone());
        }
    };
    NUMBERS.into_iter().for_each(|names| take(names, Value::is_number));
    TEXTS.into_iter().for_each(|names| take(names, Value::is_string));
    if let Some(signals) = given.get("signals").and_then(Value::as_array) {
        answer.insert("signals".to_owned(), signals.iter().filter_map(signal).collect());
    }
    answer.insert("raw_response".to_owned(), given);
    answer
}

/// A signal says something only with all of its parts.
fn signal(given: &Value) -> Option<Value> {
    let part = |name: &&str| {
        let text = given.get(*name)?.as_str().filter(|text| !text.is_empty())?;
        Some(((*name).to_owned(), Value::from(text)))
    };
    SIGNAL.iter().map(part).collect::<Option<Map<String, Value>>>().map(Value::Object)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn everything_that_is_given_is_passed_on_under_our_names() {
        let given = json!({"score": 7.5, "band": "high", "confidence": 0.8, "version": "1", "promptVersion": "3",
            "provider": "x", "model": "y", "reasoning": "Same subject.", "more": [1],
            "signals": [{"name": "subject", "impact": "positive", "summary": "Both name math.", "more": 1},
                        {"name": "", "impact": "positive", "summary": "?"}, {"name": "n", "impact": "i"}, 5]});
        assert_eq!(
            Value::Object(for_clients(given.clone())),
            json!({"provider": "dpg_scoring", "score": 7.5, "band": "high", "confidence": 0.8, "version": "1",
                "prompt_version": "3", "model_provider": "x", "model": "y", "reasoning": "Same subject.",
                "signals": [{"name": "subject", "impact": "positive", "summary": "Both name math."}],
                "raw_response": given})
        );
    }

    #[test]
    fn what_is_not_given_is_left_out() {
        for given in [json!({}), json!({"score": null, "band": 5, "signals": {}}), json!([]), json!(null)] {
            let answer = Value::Object(for_clients(given.clone()));
            assert_eq!(answer, json!({"provider": "dpg_scoring", "raw_response": given}));
        }
    }
}
