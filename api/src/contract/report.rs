//! What was found while a contract was loaded. Nothing stops at the first fault: an operator sees all of them at once,
//! each with its place in the document.

use std::collections::{BTreeMap, HashSet};
use std::fmt;

use url::Url;

/// A reason to refuse the contract.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// JSON Pointer into the document (into the array, if several were loaded from one), behind the URL of a document
    /// that was fetched; empty for the whole.
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

/// Problems as the end of a message: one a line.
pub(crate) fn listed(problems: &[impl fmt::Display]) -> String {
    problems.iter().map(|problem| format!("\n  - {problem}")).collect()
}

fn write_finding(f: &mut fmt::Formatter<'_>, path: &str, message: &str) -> fmt::Result {
    if path.is_empty() { f.write_str(message) } else { write!(f, "{path}: {message}") }
}

/// How much a fault weighs, which depends on whether this instance needs the place it stands at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Weight {
    Warning,
    Problem,
}

/// Collects findings. `prefix` stands before every path: it tells documents apart.
#[derive(Debug, Default)]
pub(super) struct Report {
    prefix: String,
    /// A finding that is met twice, say in a part that two schemas share, is told once.
    seen: HashSet<(Weight, String, String)>,
    /// Why documents can't be had, by URL.
    reasons: BTreeMap<String, String>,
    pub(super) strict: bool,
    /// Documents that are named by URL and not there, with the most that one of their uses weighs.
    pub(super) missing: BTreeMap<String, Weight>,
    pub(super) problems: Vec<Problem>,
    pub(super) warnings: Vec<Warning>,
}

impl Report {
    /// A report that can say why documents are missing. `strict` refuses a contract that lacks one of our own custom
    /// schemas; else only their types have to wait.
    pub(super) fn of_loading(reasons: BTreeMap<String, String>, strict: bool) -> Self {
        Self { reasons, strict, ..Self::default() }
    }

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
        self.add_at(weight, format!("{}{path}", self.prefix), message);
    }

    /// A document is not there.
    pub(super) fn missing(&mut self, weight: Weight, url: &Url, path: String) {
        self.want(weight, url);
        let message = self.why_missing(url);
        self.add_at(weight, path, message);
    }

    /// A document should be fetched, if it is at an http or https URL.
    pub(super) fn want(&mut self, weight: Weight, url: &Url) {
        if matches!(url.scheme(), "http" | "https") {
            let most = self.missing.entry(url.to_string()).or_insert(weight);
            *most = weight.max(*most);
        }
    }

    fn why_missing(&self, url: &Url) -> String {
        match self.reasons.get(url.as_str()) {
            Some(reason) => format!("{url} can't be had: {reason}"),
            None if matches!(url.scheme(), "http" | "https") => format!("{url} has not been fetched"),
            None => format!("{url} is no http or https URL"),
        }
    }

    /// Reports at a path that names its document itself.
    pub(super) fn add_at(&mut self, weight: Weight, path: String, message: impl Into<String>) {
        let message = message.into();
        if !self.seen.insert((weight, path.clone(), message.clone())) {
            return;
        }
        match weight {
            Weight::Problem => self.problems.push(Problem { path, message }),
            Weight::Warning => self.warnings.push(Warning { path, message }),
        }
    }
}
