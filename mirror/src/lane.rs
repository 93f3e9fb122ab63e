//! What a lane does after each attempt: a pure state machine, without clock, randomness or database of its own.
//!
//! A lane is one (network, destination). It sends in order, one event as a probe while it doubts the peer, without pause
//! while the peer takes what it gets (CONTRACT 5.5).

use std::time::Duration;

use chrono::{DateTime, Utc};

use crate::delay;

/// So many parked events in a row are no longer about the events.
pub const PARKED_IN_ROW_LIMIT: u32 = 20;
/// How often a peer that refuses us is tried.
pub const REFUSED_PROBE: Duration = Duration::from_secs(15 * 60);

/// Where a lane stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum State {
    /// It sends whatever is waiting.
    Ready,
    /// The peer is away or in trouble: one event is tried when the wait is over.
    BackingOff,
    /// The peer doesn't let us in: one event is tried every quarter of an hour.
    Refused,
    /// An operator stopped it, and only an operator lets it go on.
    Paused,
    /// The destination left the contract; it goes on when it is back.
    Unregistered,
}

impl State {
    /// Every state, in the order of CONTRACT 5.5.
    pub const ALL: [Self; 5] = [Self::Ready, Self::BackingOff, Self::Refused, Self::Paused, Self::Unregistered];

    /// Its name on the wire and in the table.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ready => "ready",
            Self::BackingOff => "backing_off",
            Self::Refused => "refused",
            Self::Paused => "paused",
            Self::Unregistered => "unregistered",
        }
    }

    /// The state of that name.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.as_str() == name)
    }
}

/// What one attempt came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// The peer's application has it.
    Delivered,
    /// The peer's application spoke against this event.
    Parked,
    /// The peer doesn't let us in.
    Refused,
    /// Anything else; with the wait that the peer asked for.
    BackedOff {
        /// From `Retry-After`.
        retry_after: Option<Duration>,
    },
}

impl Outcome {
    /// Its name in metrics and logs.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Delivered => "delivered",
            Self::Parked => "parked",
            Self::Refused => "refused",
            Self::BackedOff { .. } => "backed_off",
        }
    }
}

/// How much a lane may send now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Permit {
    /// Everything that waits.
    Stream,
    /// One event, to see.
    Probe,
    /// Nothing.
    Nothing,
}

/// The part of a lane's row that an attempt changes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lane {
    /// Where it stands.
    pub state: State,
    /// Failed attempts in a row.
    pub failures: u32,
    /// Parked events since the last delivery.
    pub parked_in_row: u32,
    /// No attempt before; none means now.
    pub next_attempt_at: Option<DateTime<Utc>>,
}

impl Default for Lane {
    fn default() -> Self {
        Self { state: State::Ready, failures: 0, parked_in_row: 0, next_attempt_at: None }
    }
}

impl Lane {
    /// How much it may send.
    #[must_use]
    pub fn permit(&self, now: DateTime<Utc>) -> Permit {
        match self.state {
            State::Ready => Permit::Stream,
            State::BackingOff | State::Refused if self.next_attempt_at.is_none_or(|at| at <= now) => Permit::Probe,
            State::BackingOff | State::Refused | State::Paused | State::Unregistered => Permit::Nothing,
        }
    }

    /// The lane after an attempt. A paused lane stays paused: an attempt that was under way when the operator paused it
    /// doesn't undo that. `random` is in `[0, 1)`.
    #[must_use]
    pub fn after(&self, outcome: Outcome, now: DateTime<Utc>, random: f64) -> Self {
        let next = match outcome {
            Outcome::Delivered => Self::default(),
            Outcome::Parked => self.after_parking(now, random),
            Outcome::Refused => Self {
                state: State::Refused,
                failures: self.failures_as(State::Refused),
                parked_in_row: self.parked_in_row,
                next_attempt_at: Some(now + REFUSED_PROBE),
            },
            Outcome::BackedOff { retry_after } => self.backed_off(self.parked_in_row, retry_after, now, random),
        };
        if self.state == State::Paused { Self { state: State::Paused, next_attempt_at: None, ..next } } else { next }
    }

    /// The lane after one attempt with several events. Failures count attempts, not events: of a run of parked ones only
    /// the last may back the lane off.
    #[must_use]
    pub fn after_all(&self, outcomes: &[Outcome], now: DateTime<Utc>, random: f64) -> Self {
        let last = outcomes.len().saturating_sub(1);
        let mut lane = self.clone();
        for (number, outcome) in outcomes.iter().enumerate() {
            lane = match outcome {
                Outcome::Parked if number < last => {
                    Self { parked_in_row: lane.parked_in_row.saturating_add(1), ..lane }
                }
                _ => lane.after(*outcome, now, random),
            };
        }
        lane
    }

    /// The destination is in the contract, or isn't. A paused lane doesn't mind.
    #[must_use]
    pub fn registered(&self, registered: bool) -> Self {
        match (self.state, registered) {
            (State::Unregistered, true) => Self::default(),
            (State::Ready | State::BackingOff | State::Refused, false) => {
                Self { state: State::Unregistered, ..Self::default() }
            }
            _ => self.clone(),
        }
    }

    /// The peer made contact, its contract changed, or an operator asks: the wait is over, the doubt is not.
    #[must_use]
    pub fn nudged(&self) -> Self {
        Self { next_attempt_at: None, ..self.clone() }
    }

    /// Whether the last attempt made it cross the limit of parked events.
    #[must_use]
    pub fn parks_too_much(&self) -> bool {
        self.parked_in_row >= PARKED_IN_ROW_LIMIT
    }

    /// A peer that speaks about events is well, unless it speaks against all of them.
    fn after_parking(&self, now: DateTime<Utc>, random: f64) -> Self {
        let parked_in_row = self.parked_in_row.saturating_add(1);
        if parked_in_row >= PARKED_IN_ROW_LIMIT {
            return self.backed_off(parked_in_row, None, now, random);
        }
        Self { parked_in_row, ..Self::default() }
    }

    fn backed_off(&self, parked_in_row: u32, retry_after: Option<Duration>, now: DateTime<Utc>, random: f64) -> Self {
        let failures = self.failures_as(State::BackingOff);
        let wait = retry_after.map_or_else(|| delay::after_failures(failures, random), delay::asked);
        Self { state: State::BackingOff, failures, parked_in_row, next_attempt_at: Some(now + wait) }
    }

    /// Failures in a row count per kind, so that a week of refusals doesn't make the first time-out cost an hour.
    fn failures_as(&self, kind: State) -> u32 {
        if self.state == kind || self.state == State::Paused { self.failures.saturating_add(1) } else { 1 }
    }
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;
    use proptest::prelude::*;

    use super::*;

    fn outcome() -> impl Strategy<Value = Outcome> {
        prop_oneof![
            Just(Outcome::Delivered),
            Just(Outcome::Parked),
            Just(Outcome::Refused),
            proptest::option::of(0u64..100_000)
                .prop_map(|s| Outcome::BackedOff { retry_after: s.map(Duration::from_secs) }),
        ]
    }

    fn lane() -> impl Strategy<Value = Lane> {
        (0usize..5, any::<u32>(), any::<u32>(), proptest::option::of(0i64..10_000)).prop_map(|(state, f, p, at)| Lane {
            state: State::ALL[state],
            failures: f,
            parked_in_row: p,
            next_attempt_at: at.map(|s| epoch() + TimeDelta::seconds(s)),
        })
    }

    fn epoch() -> DateTime<Utc> {
        DateTime::from_timestamp(1_795_225_984, 0).unwrap()
    }

    proptest! {
        #[test]
        fn every_wait_ends_and_ends_in_a_probe(lane in lane(), outcome in outcome(), random in 0.0f64..1.0) {
            let next = lane.after(outcome, epoch(), random);
            if lane.state == State::Paused {
                prop_assert_eq!(next.state, State::Paused);
                prop_assert_eq!(next.permit(epoch()), Permit::Nothing);
                return Ok(());
            }
            match next.next_attempt_at {
                None => prop_assert_eq!(next.permit(epoch()), Permit::Stream),
                Some(at) => {
                    let longest = TimeDelta::seconds(24 * 3600);
                    prop_assert!(at >= epoch() + TimeDelta::seconds(1) && at <= epoch() + longest);
                    prop_assert_eq!(next.permit(epoch()), Permit::Nothing);
                    prop_assert_eq!(next.permit(at), Permit::Probe);
                    prop_assert_eq!(next.nudged().permit(epoch()), Permit::Probe);
                }
            }
        }

        #[test]
        fn one_delivery_heals_whatever_was(lane in lane(), random in 0.0f64..1.0) {
            prop_assume!(lane.state != State::Paused);
            prop_assert_eq!(lane.after(Outcome::Delivered, epoch(), random), Lane::default());
        }

        #[test]
        fn waits_without_being_asked_stay_within_the_hour(
            outcomes in proptest::collection::vec(outcome(), 1..80), random in 0.0f64..1.0,
        ) {
            let mut lane = Lane::default();
            for outcome in outcomes {
                lane = lane.after(outcome, epoch(), random);
                if let (Some(at), false) = (lane.next_attempt_at, matches!(outcome, Outcome::BackedOff { retry_after: Some(_) })) {
                    prop_assert!(at - epoch() <= TimeDelta::hours(1));
                }
                prop_assert_eq!(lane.failures == 0, lane.state == State::Ready);
            }
        }

        #[test]
        fn leaving_and_rejoining_the_contract_makes_it_ready(lane in lane()) {
            let gone = lane.registered(false);
            prop_assert_eq!(gone.permit(epoch()), Permit::Nothing);
            let back = gone.registered(true);
            prop_assert_eq!(back.state, if lane.state == State::Paused { State::Paused } else { State::Ready });
        }
    }

    #[test]
    fn the_twentieth_parked_event_backs_it_off_and_so_does_each_after_it() {
        let mut lane = Lane::default();
        for _ in 1..PARKED_IN_ROW_LIMIT {
            lane = lane.after(Outcome::Parked, epoch(), 0.5);
            assert_eq!((lane.state, lane.failures), (State::Ready, 0));
        }
        lane = lane.after(Outcome::Parked, epoch(), 0.5);
        assert_eq!((lane.state, lane.failures), (State::BackingOff, 1));
        assert!(lane.parks_too_much());
        lane = lane.after(Outcome::Parked, epoch(), 0.5);
        assert_eq!((lane.state, lane.failures), (State::BackingOff, 2));
        assert_eq!(lane.after(Outcome::Delivered, epoch(), 0.5), Lane::default());
    }

    #[test]
    fn a_batch_fails_once_however_many_of_its_events_are_parked() {
        let after = |lane: &Lane, outcomes: &[Outcome]| lane.after_all(outcomes, epoch(), 0.5);
        let lane = after(&Lane::default(), &[Outcome::Parked; 50]);
        assert_eq!((lane.state, lane.failures, lane.parked_in_row), (State::BackingOff, 1, 50));
        assert_eq!(after(&lane, &[Outcome::Parked]).failures, 2);
        let healed = after(&lane, &[Outcome::Parked, Outcome::Delivered, Outcome::Parked]);
        assert_eq!(healed, Lane { parked_in_row: 1, ..Lane::default() });
        assert_eq!(after(&lane, &[]), lane);
        let retry = Outcome::BackedOff { retry_after: None };
        let lane = after(&Lane::default(), &[Outcome::Delivered, Outcome::Parked, retry]);
        assert_eq!((lane.state, lane.failures, lane.parked_in_row), (State::BackingOff, 1, 1));
    }

    #[test]
    fn retry_after_is_obeyed_to_the_second() {
        let outcome = Outcome::BackedOff { retry_after: Some(Duration::from_secs(7)) };
        let lane = Lane { failures: 9, state: State::BackingOff, ..Lane::default() }.after(outcome, epoch(), 0.9);
        assert_eq!(lane.next_attempt_at, Some(epoch() + TimeDelta::seconds(7)));
    }

    #[test]
    fn a_refused_lane_is_tried_every_quarter_of_an_hour() {
        let lane = Lane::default().after(Outcome::Refused, epoch(), 0.3).after(Outcome::Refused, epoch(), 0.3);
        assert_eq!((lane.state, lane.failures), (State::Refused, 2));
        assert_eq!(lane.next_attempt_at, Some(epoch() + TimeDelta::minutes(15)));
    }

    #[test]
    fn names_are_those_of_the_contract() {
        for state in State::ALL {
            assert_eq!(State::parse(state.as_str()), Some(state));
        }
        assert_eq!(State::parse("sleeping"), None);
    }
}
