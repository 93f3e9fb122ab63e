//! What was found while a contract was loaded. Nothing stops at the first fault: an operator sees all of them at once,
//! each with its place in the document.

use std::collections::HashSet;
use std::fmt;

/// A reason to refuse the contract.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// JSON Pointer into the document (into the array, if several were loaded from one); empty for the whole.
    pub path: String,
    /// For people; may change.
    pub message: String,
}

/// Something an operator should know although the contract is accepted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Warning {
    /// As in [`Problem::path`].
    pub path: String,
    /// For people; may change.
    pub message: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_finding(f, &self.path, &self.message)
    }
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_finding(f, &self.path, &self.message)
    }
}

fn write_finding(f: &mut fmt::Formatter<'_>, path: &str, message: &str) -> fmt::Result {
    if path.is_empty() { f.write_str(message) } else { write!(f, "{path}: {message}") }
}

/// How much a fault weighs, which depends on whether this instance needs the place it stands at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Weight {
    Problem,
    Warning,
}

/// Collects findings. `prefix` stands before every path: it tells documents apart.
#[derive(Debug, Default)]
pub(super) struct Report {
    prefix: String,
    /// A finding that is met twice, say in a part that two schemas share, is told once.
    seen: HashSet<(Weight, String, String)>,
    pub(super) problems: Vec<Problem>,
    pub(super) warnings: Vec<Warning>,
}

impl Report {
    /// From here on, paths are those of the document at `prefix`.
    pub(super) fn enter(&mut self, prefix: &str) {
        prefix.clone_into(&mut self.prefix);
    }

    pub(super) fn problem(&mut self, path: &str, message: impl Into<String>) {
        self.add(Weight::Problem, path, message);
    }

    pub(super) fn warning(&mut self, path: &str, message: impl Into<String>) {
        self.add(Weight::Warning, path, message);
    }

    pub(super) fn add(&mut self, weight: Weight, path: &str, message: impl Into<String>) {
        let (path, message) = (format!("{}{path}", self.prefix), message.into());
        if !self.seen.insert((weight, path.clone(), message.clone())) {
            return;
        }
        match weight {
            Weight::Problem => self.problems.push(Problem { path, message }),
            Weight::Warning => self.warnings.push(Warning { path, message }),
        }
    }
}
