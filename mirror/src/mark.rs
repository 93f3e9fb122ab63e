//! What a lane knows of its peer's mark: the number up to which the peer says that it has everything (CONTRACT 4.14a).
//! A mark below what we hold acknowledged means that the peer lost something, for instance by restoring a backup; what it
//! lost is then sent again.

use chrono::{DateTime, TimeDelta, Utc};

/// How often an idle lane asks, and how often a mark that does not move makes events go again.
pub const EVERY: TimeDelta = TimeDelta::hours(1);

/// The peer's contiguous mark. The default is that of a peer that has not told any.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Mark {
    /// As it was last told.
    pub high_water: i64,
    /// When the peer was last asked.
    pub asked_at: Option<DateTime<Utc>>,
    /// When events last went again because of it, and from which mark on.
    pub refilled: Option<(DateTime<Utc>, i64)>,
}

/// What a told mark asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Told {
    /// Nothing: the peer has what we hold acknowledged, or was sent it again a short while ago.
    Fine,
    /// Everything after the mark has to go again.
    Behind,
}

impl Mark {
    /// Whether an idle lane has to ask.
    #[must_use]
    pub fn is_due(&self, now: DateTime<Utc>) -> bool {
        self.asked_at.is_none_or(|at| now - at >= EVERY)
    }

    /// The peer was asked and did not tell.
    pub fn asked(&mut self, now: DateTime<Utc>) {
        self.asked_at = Some(now);
    }

    /// The peer told its mark; everything up to `acknowledged` is settled on our side. A mark that is behind counts at most
    /// once an hour unless it has moved since: a peer that never moves it must not be sent everything for ever.
    pub fn told(&mut self, high_water: i64, acknowledged: i64, now: DateTime<Utc>) -> Told {
        self.high_water = high_water;
        self.asked(now);
        let rested = self.refilled.is_none_or(|(at, from)| now - at >= EVERY || high_water > from);
        if high_water >= acknowledged || !rested {
            return Told::Fine;
        }
        self.refilled = Some((now, high_water));
        Told::Behind
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(minutes: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(1_795_225_984, 0).unwrap() + TimeDelta::minutes(minutes)
    }

    #[test]
    fn an_idle_lane_asks_once_an_hour() {
        let mut mark = Mark::default();
        assert!(mark.is_due(at(0)));
        mark.asked(at(0));
        assert!(!mark.is_due(at(59)));
        assert!(mark.is_due(at(60)));
    }

    #[test]
    fn a_mark_that_stands_still_counts_once_an_hour_and_one_that_moves_each_time() {
        let mut mark = Mark::default();
        assert_eq!(mark.told(5, 5, at(0)), Told::Fine);
        assert_eq!(mark.told(7, 5, at(0)), Told::Fine);
        assert_eq!(mark.told(3, 9, at(1)), Told::Behind);
        assert_eq!(mark.told(3, 9, at(2)), Told::Fine);
        assert_eq!(mark.told(2, 9, at(3)), Told::Fine, "it went back: no sign of progress");
        assert_eq!(mark.told(4, 9, at(4)), Told::Behind);
        assert_eq!(mark.told(4, 9, at(63)), Told::Fine);
        assert_eq!(mark.told(4, 9, at(64)), Told::Behind);
    }
}
