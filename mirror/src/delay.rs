//! How long a lane waits after a failure. The `backoff` crate doubles and caps the interval; nothing of it lives on
//! between two failures, because the schedule stands in the lane's row and any process may go on with it.

use std::time::Duration;

use backoff::SystemClock;
use backoff::backoff::Backoff;
use backoff::exponential::ExponentialBackoff;

/// No wait is shorter, and no first wait longer than twice this.
pub const SHORTEST: Duration = Duration::from_secs(1);
/// No wait that we choose ourselves is longer.
pub const LONGEST: Duration = Duration::from_secs(3600);
/// A `Retry-After` beyond this is taken for a mistake of the peer's.
pub const LONGEST_ASKED: Duration = Duration::from_secs(24 * 3600);

/// After so many failures the interval has reached [`LONGEST`] (2^12 s > 1 h).
const DOUBLINGS: u32 = 12;

/// The wait after the `failures`-th failure in a row: anywhere between one second and `min(2^failures s, 1 h)`. Full
/// jitter spreads the peers that all lost the same instance at the same moment. `random` is in `[0, 1)`.
#[must_use]
pub fn after_failures(failures: u32, random: f64) -> Duration {
    let ceiling = ceiling(failures);
    let span = ceiling.saturating_sub(SHORTEST);
    SHORTEST + span.mul_f64(random.clamp(0.0, 1.0))
}

/// The wait that a peer asked for by `Retry-After`, within sane bounds.
#[must_use]
pub fn asked(retry_after: Duration) -> Duration {
    retry_after.clamp(SHORTEST, LONGEST_ASKED)
}

fn ceiling(failures: u32) -> Duration {
    let mut schedule = ExponentialBackoff::<SystemClock> {
        current_interval: 2 * SHORTEST,
        initial_interval: 2 * SHORTEST,
        // Our own jitter is injected and goes down to the shortest wait.
        randomization_factor: 0.0,
        multiplier: 2.0,
        max_interval: LONGEST,
        max_elapsed_time: None,
        ..ExponentialBackoff::default()
    };
    for _ in 1..failures.clamp(1, DOUBLINGS) {
        schedule.next_backoff();
    }
    schedule.current_interval.min(LONGEST)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn doubles_and_stops_at_an_hour() {
        let ceilings: Vec<u64> = (1..=14).map(|n| ceiling(n).as_secs()).collect();
        assert_eq!(ceilings, [2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 3600, 3600, 3600]);
        assert_eq!(ceiling(0).as_secs(), 2);
        assert_eq!(ceiling(u32::MAX), LONGEST);
    }

    #[test]
    fn jitter_covers_the_whole_range() {
        assert_eq!(after_failures(5, 0.0), SHORTEST);
        assert_eq!(after_failures(5, 1.0), Duration::from_secs(32));
        assert_eq!(after_failures(100, 1.0), LONGEST);
    }

    #[test]
    fn a_peer_can_neither_hurry_nor_pin_us() {
        assert_eq!(asked(Duration::ZERO), SHORTEST);
        assert_eq!(asked(Duration::from_secs(7200)), Duration::from_secs(7200));
        assert_eq!(asked(Duration::from_secs(u64::MAX)), LONGEST_ASKED);
    }
}
