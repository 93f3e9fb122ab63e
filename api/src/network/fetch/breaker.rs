//! The circuit breaker of one peer: after a few silences in a row nobody waits for it for some seconds, then one call
//! tries again on behalf of all. A peer that answers, be it with an error, is not silent.

use std::time::Duration;

use tokio::time::Instant;

use super::reason::Reason;

/// So many silences in a row open it.
const SILENCES: u32 = 3;

/// How long nobody calls then.
pub(super) const PAUSE: Duration = Duration::from_secs(5);

/// What is remembered of a peer.
#[derive(Debug, Default)]
pub(super) struct Breaker {
    silences: u32,
    last: Option<Reason>,
    open_until: Option<Instant>,
}

impl Breaker {
    /// Why the peer is not to be called now. When the pause is over, whoever asks first may call, and the others go on
    /// skipping until that call has told how the peer is.
    pub(super) fn skips(&mut self, now: Instant) -> Option<Reason> {
        let until = self.open_until?;
        if now < until {
            return self.last;
        }
        self.open_until = Some(now + PAUSE);
        None
    }

    /// What a call came to; `None` is an answer of any kind.
    pub(super) fn note(&mut self, silence: Option<Reason>, now: Instant) {
        match silence {
            None => *self = Self::default(),
            Some(reason) => {
                self.silences = self.silences.saturating_add(1);
                self.last = Some(reason);
                if self.silences >= SILENCES {
                    self.open_until = Some(now + PAUSE);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_silent_peer_is_skipped_then_tried_by_one() {
        let (mut breaker, start) = (Breaker::default(), Instant::now());
        for _ in 1..SILENCES {
            breaker.note(Some(Reason::Unreachable), start);
            assert_eq!(breaker.skips(start), None);
        }
        breaker.note(Some(Reason::Timeout), start);
        assert_eq!(breaker.skips(start), Some(Reason::Timeout));
        let later = start + PAUSE;
        assert_eq!(breaker.skips(later), None, "one tries");
        assert_eq!(breaker.skips(later), Some(Reason::Timeout), "the others wait for it");
        breaker.note(Some(Reason::Timeout), later);
        assert_eq!(breaker.skips(later), Some(Reason::Timeout));
        let again = later + PAUSE;
        assert_eq!(breaker.skips(again), None);
        breaker.note(None, again);
        assert_eq!(breaker.skips(again), None);
        assert_eq!(breaker.skips(again), None, "an answer closes the circuit for all");
    }

    #[test]
    fn silences_count_in_a_row_only() {
        let (mut breaker, now) = (Breaker::default(), Instant::now());
        for _ in 0..4 * SILENCES {
            breaker.note(Some(Reason::Timeout), now);
            breaker.note(None, now);
        }
        assert_eq!(breaker.skips(now), None);
    }
}
