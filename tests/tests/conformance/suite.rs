//! Runs cases, counts them by route, and tells what failed with the whole exchange. A case is a future that panics when
//! the contract is not kept.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use dpg_tests::Answer;
use dpg_tests::record::{Exchange, Tape};
use futures_util::FutureExt as _;
use serde_json::Value;

use crate::rules;
use crate::shapes::faults;
use crate::world::with;

/// No case takes this long; one that does hangs.
const PATIENCE: Duration = Duration::from_secs(180);

thread_local! {
    static PANIC: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// Keeps the text and place of a panic for the report instead of printing it at once.
pub fn remember_panics() {
    std::panic::set_hook(Box::new(|info| {
        let place = info.location().map(ToString::to_string).unwrap_or_default();
        let payload = info.payload();
        let text = payload.downcast_ref::<String>().cloned();
        let text = text.or_else(|| payload.downcast_ref::<&str>().map(|text| (*text).to_owned())).unwrap_or_default();
        PANIC.with(|panic| *panic.borrow_mut() = Some(format!("{text}\n  at {place}")));
    }));
}

/// What the command line asked for.
pub struct Options {
    filters: Vec<String>,
}

impl Options {
    /// Reads the arguments that `cargo test` passes on. `None` when there is nothing to run.
    pub fn from_arguments(arguments: impl Iterator<Item = String>) -> Option<Self> {
        let arguments: Vec<String> = arguments.collect();
        if arguments.iter().any(|argument| argument == "--list") {
            println!("conformance: test\n\n1 test, 0 benchmarks");
            return None;
        }
        // Options of the usual test program (`--nocapture`, …) mean nothing here.
        Some(Self { filters: arguments.into_iter().filter(|argument| !argument.starts_with('-')).collect() })
    }

    fn wants(&self, route: &str, name: &str) -> bool {
        let text = format!("{route}: {name}");
        self.filters.is_empty() || self.filters.iter().any(|filter| text.contains(filter.as_str()))
    }
}

struct Row {
    route: String,
    cases: usize,
    passed: usize,
}

struct Failure {
    case: String,
    reason: String,
    exchanges: Vec<Exchange>,
}

/// All cases of a run.
pub struct Suite {
    options: Options,
    started: Instant,
    rows: Vec<Row>,
    names: BTreeSet<String>,
    failures: Vec<Failure>,
}

impl Suite {
    /// Nothing has run yet.
    pub fn new(options: Options) -> Self {
        Self { options, started: Instant::now(), rows: Vec::new(), names: BTreeSet::new(), failures: Vec::new() }
    }

    /// The cases of a route; they may come from several places.
    pub fn route(&mut self, route: &str) -> Route<'_> {
        let known = self.rows.iter().position(|row| row.route == route);
        let row = known.unwrap_or_else(|| {
            self.rows.push(Row { route: route.to_owned(), cases: 0, passed: 0 });
            self.rows.len() - 1
        });
        Route { suite: self, row }
    }

    /// Counts a group that ended before its last case: what it prepares between cases failed.
    pub fn broken_group(&mut self, group: &str) {
        let reason = PANIC.with(|panic| panic.borrow_mut().take()).unwrap_or_default();
        self.rows.push(Row { route: format!("({group} was not run to its end)"), cases: 1, passed: 0 });
        self.failures.push(Failure { case: format!("preparing {group}"), reason, exchanges: Vec::new() });
    }

    /// Prints the failures, the table and the sum, the last in the form in which every test program gives it.
    pub fn report(&self, not_provoked: &[&str]) -> ExitCode {
        for failure in &self.failures {
            println!("\n--- {}\n{}", failure.case, failure.reason);
            for exchange in failure.exchanges.iter().rev().take(3).rev() {
                println!("{exchange}");
            }
        }
        println!("\nConformance\n{:<58} {:>6} {:>6}", "route", "cases", "passed");
        for row in self.rows.iter().filter(|row| row.cases > 0) {
            println!("{:<58} {:>6} {:>6}", row.route, row.cases, row.passed);
        }
        let cases: usize = self.rows.iter().map(|row| row.cases).sum();
        let passed: usize = self.rows.iter().map(|row| row.passed).sum();
        println!("{:<58} {cases:>6} {passed:>6}", "all");
        println!("not provoked:");
        not_provoked.iter().for_each(|line| println!("  {line}"));
        let (failed, seconds) = (cases - passed, self.started.elapsed().as_secs_f32());
        let verdict = if failed == 0 { "ok" } else { "FAILED" };
        println!(
            "\ntest result: {verdict}. {passed} passed; {failed} failed; 0 ignored; 0 measured; 0 filtered out; finished in {seconds:.2}s\n"
        );
        if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
    }
}

/// The cases of one route.
pub struct Route<'suite> {
    suite: &'suite mut Suite,
    row: usize,
}

impl Route<'_> {
    /// Runs a case and the rules that hold for all answers.
    pub async fn case(&mut self, name: impl Into<String>, run: impl Future<Output = ()>) {
        let name = name.into();
        let route = self.suite.rows[self.row].route.clone();
        if !self.suite.options.wants(&route, &name) && route != "(instances)" {
            return;
        }
        let case = format!("{route}: {name}");
        assert!(self.suite.names.insert(case.clone()), "two cases have one name: {case}");
        let tape = Tape::default();
        let run = AssertUnwindSafe(tape.record(Box::pin(run))).catch_unwind();
        let outcome = match tokio::time::timeout(PATIENCE, run).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) => Err(PANIC.with(|panic| panic.borrow_mut().take()).unwrap_or_default()),
            Err(_) => Err(format!("not done after {PATIENCE:?}")),
        };
        let exchanges = tape.exchanges();
        let outcome = outcome.map_err(|reason| (reason, exchanges.clone())).and_then(|()| {
            let broken = exchanges.iter().find_map(|one| rules::broken(one).map(|rule| (rule, vec![one.clone()])));
            broken.map_or(Ok(()), Err)
        });
        let row = &mut self.suite.rows[self.row];
        row.cases += 1;
        match outcome {
            Ok(()) => row.passed += 1,
            Err((reason, exchanges)) => self.suite.failures.push(Failure { case, reason, exchanges }),
        }
    }

    /// A case for each value that does not fit at its place in a body that is good otherwise: 400 names the place.
    pub async fn wrong_values(&mut self, good: &Value, wrong: &[(&str, Value)], send: impl AsyncFn(Value) -> Answer) {
        for (place, value) in wrong {
            let shown: String = value.to_string().chars().take(20).collect();
            let case = async {
                faults(&send(with(good, place, value.clone())).await, "VALIDATION_ERROR", &[place]);
            };
            self.case(format!("400 VALIDATION_ERROR: {place} is {shown}"), case).await;
        }
    }

    /// A case for each query that does not fit: 400 names the parameter.
    pub async fn wrong_queries(&mut self, wrong: &[(&str, &str)], send: impl AsyncFn(&str) -> Answer) {
        for (query, place) in wrong {
            let case = async { faults(&send(query).await, "VALIDATION_ERROR", &[place]) };
            self.case(format!("400 VALIDATION_ERROR: {query}"), case).await;
        }
    }
}
