//! Who may set which status, and from where (CONTRACT 5.2).

use serde_json::{Map, Value, json};

use super::document::check_name;
use super::pointer::{index, join};
use super::report::Report;

/// The status of an action whose contract names no other.
const INITIAL: &str = "created";
/// What a source owner may do without a lifecycle.
const WITHDRAW: &str = "cancelled";

/// What the caller is to an action.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Owns the target item.
    Target,
    /// Owns the source item.
    Source,
    /// Owns both items.
    Both,
}

impl Role {
    fn is_target(self) -> bool {
        self != Self::Source
    }

    fn is_source(self) -> bool {
        self != Self::Target
    }
}

/// Why a status may not be set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// 403 `TARGET_ITEM_NOT_OWNED`: the role may never set this status.
    #[error("this status is not yours to set")]
    NotAllowed,
    /// 400 `INVALID_ACTION_STATUS`: the contract's `enum` lacks the status.
    #[error("the contract does not know this status")]
    NotInEnum,
    /// 409 `INVALID_TRANSITION`: not from the present status.
    #[error("this status can't follow the present one")]
    NotFromHere,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum By {
    Target,
    Source,
    Any,
}

impl By {
    fn covers(self, role: Role) -> bool {
        match self {
            Self::Target => role.is_target(),
            Self::Source => role.is_source(),
            Self::Any => true,
        }
    }
}

#[derive(Debug)]
struct Transition {
    from: String,
    to: String,
    by: By,
}

/// The course of an action's status, as the contract lays it down.
#[derive(Debug)]
pub(super) struct Lifecycle {
    initial: String,
    terminal: Vec<String>,
    /// Without them the rules for no lifecycle hold outside terminal statuses.
    transitions: Option<Vec<Transition>>,
}

impl Lifecycle {
    /// Reads a lifecycle that [`check_lifecycle`] has seen; `None` stands for no lifecycle.
    pub(super) fn of(lifecycle: Option<&Value>) -> Self {
        let text = |value: &Value, key: &str| value.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
        let transition = |value: &Value| Transition {
            from: text(value, "from"),
            to: text(value, "to"),
            by: match value.get("by").and_then(Value::as_str) {
                Some("source") => By::Source,
                Some("any") => By::Any,
                _ => By::Target,
            },
        };
        let list = |key: &str| lifecycle.and_then(|lifecycle| lifecycle.get(key)).and_then(Value::as_array);
        let initial = lifecycle.and_then(|lifecycle| lifecycle.get("initial")).and_then(Value::as_str);
        Self {
            initial: initial.unwrap_or(INITIAL).to_owned(),
            terminal: list("terminal").into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect(),
            transitions: list("transitions").map(|transitions| transitions.iter().map(transition).collect()),
        }
    }

    pub(super) fn initial(&self) -> &str {
        &self.initial
    }

    /// Whether `role` may set `to`: the `enum` first, then the role, then the present status (4.11, steps 3 and 4).
    pub(super) fn may_set(
        &self,
        role: Role,
        (from, to): (&str, &str),
        update_count: u32,
        statuses: Option<&[String]>,
    ) -> Result<(), Refusal> {
        let withdraws = role.is_source() && to == WITHDRAW && update_count == 0;
        if !withdraws && statuses.is_some_and(|statuses| !statuses.iter().any(|status| status == to)) {
            return Err(Refusal::NotInEnum);
        }
        let (ever, here) = match &self.transitions {
            None => (role.is_target() || to == WITHDRAW, role.is_target() || update_count == 0),
            Some(transitions) => {
                let own = |transition: &&Transition| transition.to == to && transition.by.covers(role);
                let mut own = transitions.iter().filter(own).peekable();
                (own.peek().is_some(), own.any(|transition| transition.from == from))
            }
        };
        if !ever {
            Err(Refusal::NotAllowed)
        } else if !here || self.terminal.iter().any(|terminal| terminal == from) {
            Err(Refusal::NotFromHere)
        } else {
            Ok(())
        }
    }
}

/// Adds defaults to an action's `lifecycle` and checks its shape.
pub(super) fn check_lifecycle(lifecycle: &mut Value, at: &str, report: &mut Report) {
    let Value::Object(lifecycle) = lifecycle else {
        return report.problem(at, "must be an object");
    };
    lifecycle.entry("initial").or_insert_with(|| json!(INITIAL));
    lifecycle.entry("terminal").or_insert_with(|| json!([]));
    check_status(lifecycle, "initial", at, report);
    let terminal_at = join(at, "terminal");
    match lifecycle.get("terminal") {
        Some(Value::Array(statuses)) => {
            for (position, status) in statuses.iter().enumerate() {
                match status.as_str() {
                    Some(status) => check_name(status, &index(&terminal_at, position), report),
                    None => report.problem(&index(&terminal_at, position), "must be a string"),
                }
            }
        }
        _ => report.problem(&terminal_at, "must be an array of strings"),
    }
    let transitions_at = join(at, "transitions");
    match lifecycle.get_mut("transitions") {
        None => {}
        Some(Value::Array(transitions)) => {
            for (position, transition) in transitions.iter_mut().enumerate() {
                check_transition(transition, &index(&transitions_at, position), report);
            }
        }
        Some(_) => report.problem(&transitions_at, "must be an array"),
    }
}

fn check_transition(transition: &mut Value, at: &str, report: &mut Report) {
    let Value::Object(transition) = transition else {
        return report.problem(at, "must be an object");
    };
    transition.entry("by").or_insert_with(|| json!("target"));
    check_status(transition, "from", at, report);
    check_status(transition, "to", at, report);
    if !matches!(transition.get("by").and_then(Value::as_str), Some("target" | "source" | "any")) {
        report.problem(&join(at, "by"), "must be target, source or any");
    }
}

fn check_status(object: &Map<String, Value>, key: &str, at: &str, report: &mut Report) {
    match object.get(key).and_then(Value::as_str) {
        Some(status) => check_name(status, &join(at, key), report),
        None => report.problem(&join(at, key), "a string is required"),
    }
}

/// Every status that `lifecycle` (as written in the document) names, with its place.
pub(super) fn named_statuses(lifecycle: &Value, at: &str) -> Vec<(String, String)> {
    let mut named = Vec::new();
    let mut note = |value: Option<&Value>, at: String| {
        named.extend(value.and_then(Value::as_str).map(|status| (status.to_owned(), at)));
    };
    note(lifecycle.get("initial"), join(at, "initial"));
    for (key, members) in [("terminal", &[""][..]), ("transitions", &["from", "to"][..])] {
        let list = lifecycle.get(key).and_then(Value::as_array);
        for (position, entry) in list.into_iter().flatten().enumerate() {
            let at = index(&join(at, key), position);
            for member in members {
                match *member {
                    "" => note(Some(entry), at.clone()),
                    member => note(entry.get(member), join(&at, member)),
                }
            }
        }
    }
    named
}

#[cfg(test)]
mod tests {
    use super::*;

    fn statuses(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn without_a_lifecycle_the_target_decides_and_the_source_may_withdraw() {
        let lifecycle = Lifecycle::of(None);
        assert_eq!(lifecycle.initial(), "created");
        let known = statuses(&["created", "accepted"]);
        let may = |role, to, count| lifecycle.may_set(role, ("created", to), count, Some(&known));
        assert_eq!(may(Role::Target, "accepted", 7), Ok(()));
        assert_eq!(may(Role::Target, "bogus", 0), Err(Refusal::NotInEnum));
        assert_eq!(may(Role::Target, "cancelled", 0), Err(Refusal::NotInEnum));
        assert_eq!(may(Role::Source, "accepted", 0), Err(Refusal::NotAllowed));
        assert_eq!(may(Role::Source, "cancelled", 0), Ok(()));
        assert_eq!(may(Role::Both, "cancelled", 0), Ok(()));
        assert_eq!(may(Role::Both, "accepted", 3), Ok(()));
        let known = statuses(&["created", "cancelled"]);
        let late = lifecycle.may_set(Role::Source, ("created", "cancelled"), 1, Some(&known));
        assert_eq!(late, Err(Refusal::NotFromHere));
        assert_eq!(lifecycle.may_set(Role::Target, ("x", "anything"), 9, None), Ok(()));
    }

    #[test]
    fn a_lifecycle_lists_what_may_follow() {
        let document = json!({"initial": "created", "terminal": ["rejected", "cancelled", "completed"], "transitions": [
            {"from": "created", "to": "accepted", "by": "target"}, {"from": "created", "to": "rejected"},
            {"from": "created", "to": "cancelled", "by": "source"}, {"from": "accepted", "to": "completed", "by": "any"},
            {"from": "completed", "to": "accepted", "by": "target"}]});
        let lifecycle = Lifecycle::of(Some(&document));
        let known = statuses(&["created", "accepted", "rejected", "cancelled", "completed"]);
        let may = |role, from, to| lifecycle.may_set(role, (from, to), 1, Some(&known));
        assert_eq!(may(Role::Target, "created", "accepted"), Ok(()));
        assert_eq!(may(Role::Target, "created", "rejected"), Ok(()));
        assert_eq!(may(Role::Target, "accepted", "rejected"), Err(Refusal::NotFromHere));
        assert_eq!(may(Role::Target, "created", "cancelled"), Err(Refusal::NotAllowed));
        assert_eq!(may(Role::Source, "created", "cancelled"), Ok(()));
        assert_eq!(may(Role::Source, "accepted", "cancelled"), Err(Refusal::NotFromHere));
        assert_eq!(may(Role::Source, "accepted", "completed"), Ok(()));
        assert_eq!(may(Role::Source, "created", "accepted"), Err(Refusal::NotAllowed));
        assert_eq!(may(Role::Both, "created", "cancelled"), Ok(()));
        assert_eq!(may(Role::Target, "completed", "accepted"), Err(Refusal::NotFromHere));
        assert_eq!(may(Role::Target, "created", "bogus"), Err(Refusal::NotInEnum));
    }

    #[test]
    fn terminal_alone_ends_the_free_course() {
        let lifecycle = Lifecycle::of(Some(&json!({"terminal": ["done"], "initial": "open"})));
        assert_eq!(lifecycle.initial(), "open");
        let may = |role, from, to, count| lifecycle.may_set(role, (from, to), count, None);
        assert_eq!(may(Role::Target, "open", "done", 0), Ok(()));
        assert_eq!(may(Role::Target, "done", "open", 1), Err(Refusal::NotFromHere));
        assert_eq!(may(Role::Source, "open", "cancelled", 0), Ok(()));
        assert_eq!(may(Role::Source, "done", "cancelled", 0), Err(Refusal::NotFromHere));
    }

    #[test]
    fn shape_and_defaults() {
        let mut report = Report::default();
        let mut lifecycle = json!({"transitions": [{"from": "a", "to": "b"}, {"to": "", "by": "me"}, 4]});
        check_lifecycle(&mut lifecycle, "/l", &mut report);
        let paths: Vec<_> = report.problems.iter().map(|problem| problem.path.as_str()).collect();
        assert_eq!(paths, ["/l/transitions/1/from", "/l/transitions/1/to", "/l/transitions/1/by", "/l/transitions/2"]);
        assert_eq!((&lifecycle["initial"], &lifecycle["terminal"]), (&json!("created"), &json!([])));
        assert_eq!(lifecycle["transitions"][0]["by"], "target");
    }
}
