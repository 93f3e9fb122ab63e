//! Waiting for a condition. Tests have no other way to let time pass, so that none depends on how fast a machine is.

use std::fmt::Display;
use std::future::Future;
use std::time::{Duration, Instant};

const POLL: Duration = Duration::from_millis(20);

/// Asks `probe` until it answers `Ok`, and gives that back. After `within`, panics with `what` and the last answer.
///
/// # Panics
/// When the condition did not come about in time.
pub async fn eventually<T, E, F, P>(what: &str, within: Duration, mut probe: F) -> T
where
    F: FnMut() -> P,
    P: Future<Output = Result<T, E>>,
    E: Display,
{
    let started = Instant::now();
    loop {
        match probe().await {
            Ok(value) => return value,
            Err(last) if started.elapsed() > within => panic!("not within {within:?}: {what}; last seen: {last}"),
            Err(_) => tokio::time::sleep(POLL).await,
        }
    }
}

/// Turns a condition and a description of what was seen into an answer for [`eventually`].
///
/// # Errors
/// The description, when the condition does not hold.
pub fn check(condition: bool, seen: impl Display) -> Result<(), String> {
    if condition { Ok(()) } else { Err(seen.to_string()) }
}
