//! What an operator does beside running processes: keys, lanes, parked events, repair. Results go to stdout, one thing a
//! line, so that they can be piped; explanations go to stderr.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "these are commands for people")]

mod keys;
mod log;

pub use keys::{KeysVerb, keys};
pub use log::{LogVerb, log};

/// Why a command failed.
pub type Failure = Box<dyn std::error::Error + Send + Sync>;
