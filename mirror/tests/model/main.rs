//! The lane's state machine and the peer's mark against a model of a peer, in thousands of seeded schedules on a paused
//! clock. The sender is a few lines around the real decisions ([`Lane`], [`Mark`]); Postgres and HTTP are in the schedules
//! of `tests/delivery`. Whatever happens, nothing goes out that may not, every wait ends, and in the end all is there.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, clippy::disallowed_methods)]

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use dpg_mirror::lane::{Lane, Outcome, PARKED_IN_ROW_LIMIT, Permit, State};
use dpg_mirror::mark::{Mark, Told};
use proptest::prelude::*;

const BATCH: usize = 50;

/// What happens next.
#[derive(Debug, Clone)]
enum Step {
    /// So many events commit.
    Owe(u8),
    /// Time passes.
    Wait(u16),
    /// A worker looks.
    Work,
    /// It dies after sending, before it writes down.
    WorkAndDie,
    /// The peer is in a mood from now on.
    Mood(Mood),
    /// The peer thinks so about an event, by its place from the end.
    Opinion(u8, Opinion),
    /// The peer restores a backup from so many events ago.
    Forget(u8),
    /// Contact, a new contract, an operator's probe.
    Nudge,
    Pause,
    Resume,
    Register(bool),
    /// Of parked events, by place.
    Retry(u8),
    Drop(u8),
    /// From so many events before the end.
    Resend(u8),
    /// The sender restores a backup without losing events: its log has a new epoch.
    NewEpoch,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mood {
    Well,
    Down,
    Busy(u16),
    Distrusts,
    /// Takes everything in, and its answers are lost.
    Mute,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Opinion {
    Rejects,
    Retries,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Parked,
    Again,
    Dropped,
}

/// The peer: what it has stored, how often each came, and which numbers moved its mark.
#[derive(Debug, Default)]
struct Peer {
    mood: Option<Mood>,
    opinions: BTreeMap<i64, Opinion>,
    stored: BTreeSet<i64>,
    order: Vec<i64>,
    marked: BTreeSet<i64>,
}

impl Peer {
    fn mark(&self) -> i64 {
        (1..).take_while(|seq| self.marked.contains(seq)).last().unwrap_or(0)
    }

    fn take(&mut self, seqs: &[i64], withdrawn: &[i64]) -> Vec<Outcome> {
        self.marked.extend(withdrawn);
        let mut outcomes = Vec::new();
        for seq in seqs {
            match self.opinions.get(seq) {
                Some(Opinion::Retries) => {
                    outcomes.push(Outcome::BackedOff { retry_after: None });
                    break;
                }
                Some(Opinion::Rejects) => outcomes.push(Outcome::Parked),
                None => {
                    if self.stored.insert(*seq) {
                        self.order.push(*seq);
                    }
                    outcomes.push(Outcome::Delivered);
                }
            }
            self.marked.insert(*seq);
        }
        outcomes
    }
}

/// The sender's side, as its rows have it.
struct Sender {
    now: DateTime<Utc>,
    lane: Lane,
    mark: Mark,
    last: i64,
    acknowledged: i64,
    parked: BTreeMap<i64, Fate>,
    registered: bool,
    peer: Peer,
}

impl Sender {
    fn new() -> Self {
        Self {
            now: DateTime::from_timestamp(1_795_225_984, 0).unwrap(),
            lane: Lane::default(),
            mark: Mark::default(),
            last: 0,
            acknowledged: 0,
            parked: BTreeMap::new(),
            registered: true,
            peer: Peer::default(),
        }
    }

    /// Numbers to send, in order, and how far the lane is when they are settled.
    fn due(&self, limit: usize) -> (Vec<i64>, i64) {
        let again = self.parked.iter().filter(|(seq, fate)| **seq <= self.acknowledged && **fate == Fate::Again);
        let mut due: Vec<i64> = again.map(|(seq, _)| *seq).take(limit).collect();
        let mut up_to = self.acknowledged;
        for seq in self.acknowledged + 1..=self.last {
            if matches!(self.parked.get(&seq), Some(Fate::Parked | Fate::Dropped)) {
                up_to = seq;
            } else if due.len() < limit {
                due.push(seq);
                up_to = seq;
            } else {
                break;
            }
        }
        (due, up_to)
    }

    fn work(&mut self, random: f64, dies: bool) {
        self.lane = self.lane.registered(self.registered);
        // More rounds than any schedule can have batches: a lane that never rests is a fault.
        for _ in 0..10_000 {
            let limit = match self.lane.permit(self.now) {
                Permit::Nothing => return,
                Permit::Probe => 1,
                Permit::Stream => BATCH,
            };
            let (due, up_to) = self.due(limit);
            if due.is_empty()
                && up_to == self.acknowledged
                && (self.lane.state == State::Refused || !self.mark.is_due(self.now))
            {
                return;
            }
            if due.is_empty() && up_to > self.acknowledged {
                self.acknowledged = up_to;
                continue;
            }
            if !self.send(&due, up_to, random, dies) {
                return;
            }
        }
        panic!("the lane never rests");
    }

    /// False: the worker stops here.
    fn send(&mut self, due: &[i64], up_to: i64, random: f64, dies: bool) -> bool {
        assert!(self.registered && !matches!(self.lane.state, State::Paused | State::Unregistered));
        let dropped = self.parked.iter().filter(|(seq, fate)| **fate == Fate::Dropped && **seq > self.mark.high_water);
        let withdrawn: Vec<i64> = dropped.map(|(seq, _)| *seq).collect();
        let outcomes = match self.peer.mood.unwrap_or(Mood::Well) {
            Mood::Well => self.peer.take(due, &withdrawn),
            Mood::Down => vec![Outcome::BackedOff { retry_after: None }],
            Mood::Busy(seconds) => vec![Outcome::BackedOff { retry_after: Some(Duration::from_secs(seconds.into())) }],
            Mood::Distrusts => vec![Outcome::Refused],
            Mood::Mute => {
                self.peer.take(due, &withdrawn);
                vec![Outcome::BackedOff { retry_after: None }]
            }
        };
        if dies {
            return false;
        }
        let told = self.peer.mood.unwrap_or(Mood::Well) == Mood::Well;
        if due.is_empty() {
            self.mark.asked(self.now);
            return told && self.told();
        }
        self.settle(due, up_to, &outcomes, random);
        if told && !self.told() {
            return false;
        }
        self.lane.permit(self.now) != Permit::Nothing
    }

    fn settle(&mut self, due: &[i64], up_to: i64, outcomes: &[Outcome], random: f64) {
        let before = self.lane.clone();
        self.lane = self.lane.after_all(outcomes, self.now, random);
        for (seq, outcome) in due.iter().zip(outcomes) {
            match outcome {
                Outcome::Delivered => drop(self.parked.remove(seq)),
                Outcome::Parked => drop(self.parked.insert(*seq, Fate::Parked)),
                Outcome::Refused | Outcome::BackedOff { .. } => break,
            }
            self.acknowledged = self.acknowledged.max(*seq);
        }
        if outcomes.len() == due.len() && outcomes.iter().all(|o| matches!(o, Outcome::Delivered | Outcome::Parked)) {
            self.acknowledged = self.acknowledged.max(up_to);
        }
        self.check_wait(&before, outcomes);
    }

    /// A failed attempt ends in a wait that ends, a good one in none.
    fn check_wait(&self, before: &Lane, outcomes: &[Outcome]) {
        assert!(self.lane.failures <= before.failures + 1, "an attempt fails once");
        match outcomes.last().unwrap() {
            Outcome::Delivered => assert_eq!(self.lane, Lane::default()),
            Outcome::Parked => {
                let backs_off = self.lane.parked_in_row >= PARKED_IN_ROW_LIMIT;
                assert_eq!(self.lane.state == State::BackingOff, backs_off);
            }
            Outcome::Refused => assert_eq!(self.lane.state, State::Refused),
            Outcome::BackedOff { .. } => assert_eq!(self.lane.state, State::BackingOff),
        }
        if let Some(at) = self.lane.next_attempt_at {
            assert!(at > self.now && at <= self.now + TimeDelta::hours(24));
            assert_eq!(self.lane.permit(at), Permit::Probe);
        }
    }

    /// The mark came with an answer. False: nothing to do because of it, and the worker rests if it has nothing else.
    fn told(&mut self) -> bool {
        let high_water = self.peer.mark();
        if self.mark.told(high_water, self.acknowledged, self.now) == Told::Behind {
            self.acknowledged = high_water;
            for fate in self.parked.iter_mut().filter(|(seq, _)| **seq > high_water).map(|(_, fate)| fate) {
                if *fate == Fate::Parked {
                    *fate = Fate::Again;
                }
            }
        }
        true
    }

    fn nth(&self, fate: Fate, n: u8) -> Option<i64> {
        let all: Vec<i64> = self.parked.iter().filter(|(_, f)| **f == fate).map(|(seq, _)| *seq).collect();
        all.get(usize::from(n).checked_rem(all.len())?).copied()
    }

    fn step(&mut self, step: &Step, random: f64) {
        match step {
            Step::Owe(events) => self.last += i64::from(*events),
            Step::Wait(seconds) => self.now += TimeDelta::seconds(i64::from(*seconds)),
            Step::Work => self.work(random, false),
            Step::WorkAndDie => self.work(random, true),
            Step::Mood(mood) => self.peer.mood = Some(*mood),
            Step::Opinion(back, opinion) => {
                let seq = self.last - i64::from(*back);
                if seq > 0 && !self.peer.stored.contains(&seq) {
                    self.peer.opinions.insert(seq, *opinion);
                }
            }
            Step::Forget(events) => self.forget(usize::from(*events)),
            Step::Nudge => self.lane = self.lane.nudged(),
            Step::Pause => self.lane = Lane { state: State::Paused, next_attempt_at: None, ..self.lane.clone() },
            Step::Resume => self.lane = Lane::default(),
            Step::Register(registered) => {
                self.registered = *registered;
                self.lane = self.lane.registered(*registered);
            }
            Step::Retry(n) => {
                if let Some(seq) = self.nth(Fate::Parked, *n) {
                    self.parked.insert(seq, Fate::Again);
                }
            }
            Step::Drop(n) => {
                if let Some(seq) = self.nth(Fate::Parked, *n) {
                    self.parked.insert(seq, Fate::Dropped);
                }
            }
            Step::Resend(back) => {
                let since = (self.last - i64::from(*back)).max(1);
                self.acknowledged = self.acknowledged.min(since - 1);
            }
            Step::NewEpoch => self.peer.marked.clear(),
        }
    }

    fn forget(&mut self, events: usize) {
        let kept = self.peer.order.len().saturating_sub(events);
        for seq in self.peer.order.split_off(kept) {
            self.peer.stored.remove(&seq);
        }
        // An older backup has an older mark; how old does not matter as long as it covers nothing that is gone.
        let lost = (1..=self.last).find(|seq| !self.peer.stored.contains(seq)).unwrap_or(self.last + 1);
        self.peer.marked.retain(|seq| *seq < lost);
    }

    /// All trouble ends, and time passes.
    fn settle_down(&mut self) {
        self.peer.mood = None;
        self.peer.opinions.clear();
        self.step(&Step::Register(true), 0.5);
        if self.lane.state == State::Paused {
            self.step(&Step::Resume, 0.5);
        }
        for _ in 0..4 {
            for fate in self.parked.values_mut().filter(|fate| **fate == Fate::Parked) {
                *fate = Fate::Again;
            }
            self.now += TimeDelta::hours(24);
            self.work(0.5, false);
        }
    }

    fn check(&self) {
        let dropped = |seq: &i64| self.parked.get(seq) == Some(&Fate::Dropped);
        let missing: Vec<i64> =
            (1..=self.last).filter(|seq| !self.peer.stored.contains(seq) && !dropped(seq)).collect();
        assert!(missing.is_empty(), "{missing:?} never arrived");
        assert_eq!(self.lane, Lane::default());
        assert!(self.parked.values().all(|fate| *fate == Fate::Dropped), "{:?}", self.parked);
        assert_eq!((self.acknowledged, self.mark.high_water), (self.last, self.last));
    }
}

fn step() -> impl Strategy<Value = Step> {
    let mood = prop_oneof![
        3 => Just(Mood::Well),
        1 => Just(Mood::Down),
        1 => any::<u16>().prop_map(Mood::Busy),
        1 => Just(Mood::Distrusts),
        1 => Just(Mood::Mute),
    ];
    let opinion = prop_oneof![2 => Just(Opinion::Rejects), 1 => Just(Opinion::Retries)];
    prop_oneof![
        6 => (0u8..120).prop_map(Step::Owe),
        6 => (0u16..5000).prop_map(Step::Wait),
        12 => Just(Step::Work),
        2 => Just(Step::WorkAndDie),
        4 => mood.prop_map(Step::Mood),
        4 => (any::<u8>(), opinion).prop_map(|(back, opinion)| Step::Opinion(back, opinion)),
        2 => any::<u8>().prop_map(Step::Forget),
        3 => Just(Step::Nudge),
        1 => Just(Step::Pause),
        2 => Just(Step::Resume),
        2 => any::<bool>().prop_map(Step::Register),
        2 => any::<u8>().prop_map(Step::Retry),
        1 => any::<u8>().prop_map(Step::Drop),
        1 => any::<u8>().prop_map(Step::Resend),
        1 => Just(Step::NewEpoch),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1500, max_shrink_iters: 20_000, ..ProptestConfig::default() })]

    #[test]
    fn in_the_end_everything_is_there(steps in proptest::collection::vec((step(), 0.0f64..1.0), 1..60)) {
        let mut sender = Sender::new();
        for (step, random) in &steps {
            sender.step(step, *random);
        }
        sender.settle_down();
        sender.check();
    }

    /// Without parked events, operators and restores, events arrive in the lane's order, whatever else happens.
    #[test]
    fn a_lane_is_first_in_first_out(steps in proptest::collection::vec((step(), 0.0f64..1.0), 1..60)) {
        let mut sender = Sender::new();
        for (step, random) in &steps {
            let disturbs = matches!(step, Step::Opinion(_, Opinion::Rejects) | Step::Forget(_) | Step::Resend(_));
            if !disturbs {
                sender.step(step, *random);
            }
        }
        sender.settle_down();
        sender.check();
        prop_assert!(sender.peer.order.is_sorted(), "{:?}", sender.peer.order);
    }
}
