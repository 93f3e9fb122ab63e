//! Telling of an outage in a worker that tries again many times a second: once when it begins, at growing intervals while
//! it lasts, and once when it is over. A log that says the same thing eight times a second hides everything else.

use std::time::{Duration, Instant};

/// Between the first word of an outage and the second; each interval after that is twice as long as the one before.
const SHORTEST: Duration = Duration::from_secs(5);
/// No interval is longer.
const LONGEST: Duration = Duration::from_secs(300);
/// An outage is over when nothing has failed for so long. A worker does several things, of which some may still work: one
/// success between two failures ends nothing.
const QUIET: Duration = Duration::from_secs(1);

/// What one worker knows of the outage that it is in, if it is in one.
#[derive(Debug, Default)]
pub struct Outage {
    begun: Option<Begun>,
}

#[derive(Debug)]
struct Begun {
    at: Instant,
    last_failure: Instant,
    interval: Duration,
    told_at: Instant,
}

impl Outage {
    /// Something has failed. True when that is to be told now.
    #[must_use]
    pub fn failed(&mut self) -> bool {
        self.failed_at(Instant::now())
    }

    /// Something has gone well. How long the outage lasted, when that is to be told now.
    #[must_use]
    pub fn went_well(&mut self) -> Option<Duration> {
        self.went_well_at(Instant::now())
    }

    fn failed_at(&mut self, now: Instant) -> bool {
        let Some(begun) = &mut self.begun else {
            self.begun = Some(Begun { at: now, last_failure: now, interval: SHORTEST, told_at: now });
            return true;
        };
        begun.last_failure = now;
        if now - begun.told_at < begun.interval {
            return false;
        }
        begun.told_at = now;
        begun.interval = (begun.interval * 2).min(LONGEST);
        true
    }

    fn went_well_at(&mut self, now: Instant) -> Option<Duration> {
        let begun = self.begun.take_if(|begun| now - begun.last_failure >= QUIET)?;
        Some(begun.last_failure - begun.at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a worker tells that fails every 100 ms for `seconds`: after how many seconds.
    fn told(outage: &mut Outage, start: Instant, seconds: u64) -> Vec<u64> {
        let tries = (0..seconds * 10).map(|tenths| Duration::from_millis(100 * tenths));
        tries.filter(|after| outage.failed_at(start + *after)).map(|after| after.as_secs()).collect()
    }

    #[test]
    fn an_outage_is_told_when_it_begins_and_then_ever_more_rarely() {
        let (start, mut outage) = (Instant::now(), Outage::default());
        assert_eq!(told(&mut outage, start, 1300), [0, 5, 15, 35, 75, 155, 315, 615, 915, 1215]);
    }

    #[test]
    fn its_end_is_told_once_and_the_next_begins_anew() {
        let (start, mut outage) = (Instant::now(), Outage::default());
        assert_eq!(outage.went_well_at(start), None, "nothing has failed yet");
        assert_eq!(told(&mut outage, start, 10), [0, 5]);
        let over = start + Duration::from_secs(20);
        assert_eq!(outage.went_well_at(over), Some(Duration::from_millis(9900)));
        assert_eq!(outage.went_well_at(over), None);
        assert!(outage.failed_at(over), "another outage");
    }

    #[test]
    fn what_goes_well_between_two_failures_ends_nothing() {
        let (start, mut outage) = (Instant::now(), Outage::default());
        let mut told = 0;
        for tenths in 0..40 {
            let now = start + Duration::from_millis(100 * tenths);
            told += u32::from(outage.failed_at(now));
            assert_eq!(outage.went_well_at(now + Duration::from_millis(50)), None);
        }
        assert_eq!(told, 1);
    }
}
