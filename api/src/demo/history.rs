//! What the two instances tell about one action, side by side.

use std::collections::BTreeSet;

use serde_json::Value;

/// Each side's own view of who the caller is to the action; everything else must be the same on both.
const OF_THE_READER: &str = "ownership_roles";

/// Every difference between two histories, in words. Empty: they are the same, field by field.
pub(super) fn differences(tutor: &[Value], student: &[Value]) -> Vec<String> {
    let (tutor, student) = (in_order(tutor), in_order(student));
    let mut found = Vec::new();
    if tutor.len() != student.len() {
        found.push(format!("{} events at the tutor, {} at the student", tutor.len(), student.len()));
    }
    for (expected, (left, right)) in (0..).zip(tutor.iter().zip(&student)) {
        if count_of(left) != Some(expected) {
            found.push(format!("event {expected} has the count {:?}", count_of(left)));
        }
        for field in fields_of(left).union(&fields_of(right)).copied().filter(|field| *field != OF_THE_READER) {
            let (left, right) = (left.get(field), right.get(field));
            if left != right {
                found.push(format!("event {expected}, {field}: {left:?} at the tutor, {right:?} at the student"));
            }
        }
    }
    found
}

/// A line per event: count, status, identity, remark.
pub(super) fn lines(events: &[Value]) -> Vec<String> {
    let text = |event: &Value, field: &str| event.get(field).and_then(Value::as_str).unwrap_or("-").to_owned();
    let line = |event: &&Value| {
        let count = count_of(event).map_or_else(|| "?".to_owned(), |count| count.to_string());
        let (status, id, remarks) = (text(event, "action_status"), text(event, "event_id"), text(event, "remarks"));
        format!("{count}  {status:<10} {id}  {remarks}")
    };
    in_order(events).iter().map(line).collect()
}

fn in_order(events: &[Value]) -> Vec<&Value> {
    let mut events: Vec<_> = events.iter().collect();
    events.sort_by_key(|event| count_of(event));
    events
}

fn count_of(event: &Value) -> Option<u64> {
    event.get("update_count").and_then(Value::as_u64)
}

fn fields_of(event: &Value) -> BTreeSet<&str> {
    event.as_object().into_iter().flat_map(|fields| fields.keys()).map(String::as_str).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn event(count: u64, status: &str, role: &str) -> Value {
        json!({"event_id": format!("e{count}"), "update_count": count, "action_status": status,
               "event_payload": {"status": status}, "ownership_roles": [role]})
    }

    #[test]
    fn the_same_in_any_order_and_from_both_sides() {
        let tutor = [event(1, "accepted", "received"), event(0, "created", "received")];
        let student = [event(0, "created", "initiated"), event(1, "accepted", "initiated")];
        assert_eq!(differences(&tutor, &student), Vec::<String>::new());
    }

    #[test]
    fn nothing_that_differs_goes_unnoticed() {
        let tutor = [event(0, "created", "received"), event(1, "accepted", "received")];
        assert_eq!(differences(&tutor, &tutor[..1]).len(), 1, "a lost event");
        assert_eq!(
            differences(&tutor, &[event(0, "created", ""), event(1, "rejected", "")]).len(),
            2,
            "status, payload"
        );
        let mut other = tutor.clone();
        other[1]["event_id"] = json!("another");
        other[1].as_object_mut().unwrap().remove("event_payload");
        assert_eq!(differences(&tutor, &other).len(), 2, "identity, missing field");
        let hole = [event(0, "created", ""), event(2, "accepted", "")];
        assert!(!differences(&hole, &hole).is_empty(), "a hole on both sides");
    }
}
