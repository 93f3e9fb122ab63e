//! Seeded schedules against a real Postgres and a peer of our own make: faults, restores, parked events and operators in
//! any order, on a clock that the test moves. Whatever happened, once it is over everything is there, once.

use chrono::TimeDelta;
use dpg_mirror::lane::State;
use dpg_mirror::{Mirror, Operator, ParkedQuery, Verb, operator};
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};

use crate::batches::signing;
use crate::bed::{Bed, NETWORK};
use crate::own_make::{Mood, Opinion, OwnMake};
use crate::peer::HTML;

const SCHEDULES: u64 = 8;
const STEPS: usize = 40;

struct Scene {
    bed: Bed,
    peer: OwnMake,
    /// Two workers, as of two processes.
    mirrors: [Mirror; 2],
    random: StdRng,
}

impl Scene {
    async fn new(seed: u64) -> Self {
        let (bed, peer) = (Bed::new().await, OwnMake::start());
        bed.contract.register(&peer.destination, &peer.url);
        let mirrors = [signing(&bed), signing(&bed)];
        Self { bed, peer, mirrors, random: StdRng::seed_from_u64(seed) }
    }

    fn below(&mut self, limit: usize) -> usize {
        self.random.random_range(0..limit)
    }

    fn operator(&self) -> Operator {
        Operator { db: self.bed.db.clone(), by: "a schedule".to_owned(), now: self.bed.clock.now() }
    }

    async fn parked(&self) -> Vec<uuid::Uuid> {
        let all = ParkedQuery { limit: 1000, ..ParkedQuery::default() };
        operator::parked(&self.bed.db, &all).await.unwrap().events.iter().map(|event| event.id).collect()
    }

    async fn work(&mut self) {
        let worker = self.below(2);
        self.mirrors[worker].step().await.unwrap();
    }

    async fn act(&mut self) {
        match self.below(14) {
            0 | 1 => {
                let events = i32::try_from(self.below(70)).unwrap();
                self.bed.owe(&self.peer.destination, events).await;
            }
            2 => {
                let minutes = i64::try_from(self.below(90)).unwrap();
                self.bed.clock.advance(TimeDelta::minutes(minutes));
            }
            3 => self.change_mood(),
            4 => self.form_opinion().await,
            5 => self.peer.with(|state| state.opinions.clear()),
            6 => self.restore_a_backup(),
            7 => self.operate().await,
            8 => {
                self.mirrors[0].contacts().contract_changed(NETWORK).await.unwrap();
            }
            9 => self.kill_a_worker().await,
            _ => self.work().await,
        }
    }

    fn change_mood(&mut self) {
        let moods = [
            Mood::Well,
            Mood::Well,
            Mood::LosesAnswers,
            Mood::Answers(200, HTML),
            Mood::Answers(401, "{}"),
            Mood::Answers(404, HTML),
            Mood::Answers(503, "{}"),
            Mood::Answers(400, r#"{"error":"INVALID_JSON","message":"no"}"#),
        ];
        let mood = moods[self.below(moods.len())].clone();
        self.peer.with(|state| state.mood = Some(mood));
    }

    async fn form_opinion(&mut self) {
        let actions = self.bed.actions().await;
        if actions.is_empty() {
            return;
        }
        for _ in 0..self.below(4) {
            let action = actions[self.below(actions.len())].clone();
            let opinion = [Opinion::Rejects, Opinion::Conflicts, Opinion::Retries][self.below(3)];
            self.peer.with(|state| {
                if !state.stored.contains(&action) {
                    state.opinions.insert(action, opinion);
                }
            });
        }
    }

    /// The peer forgets the last events that it stored, and every mark that it may have moved since.
    fn restore_a_backup(&mut self) {
        let stored = self.peer.with(|state| state.stored.len());
        let kept = stored - self.below(stored.min(30) + 1);
        self.peer.with(|state| state.forgets_all_but(kept, 0));
    }

    async fn operate(&mut self) {
        let (operator, peer) = (self.operator(), self.peer.destination.clone());
        let parked = self.parked().await;
        match self.below(5) {
            0 if !parked.is_empty() => operator.retry(parked[self.below(parked.len())]).await.unwrap(),
            1 if !parked.is_empty() => {
                operator.drop_parked(parked[self.below(parked.len())], "the schedule says so").await.unwrap();
            }
            2 if self.bed.count("select count(*) from outbox").await > 0 => {
                let last = usize::try_from(self.bed.lane(&peer).await.last_seq).unwrap();
                let since = i64::try_from(1 + self.below(last)).unwrap();
                operator.resend(&peer, NETWORK, since).await.unwrap();
            }
            3 if self.bed.count("select count(*) from outbox").await > 0 => {
                operator.act(Verb::Pause, &peer, None).await.unwrap();
                self.work().await;
                operator.act(Verb::Resume, &peer, None).await.unwrap();
            }
            _ => {}
        }
    }

    /// A worker dies in the middle of its work; its lease is over by the time anybody looks.
    async fn kill_a_worker(&mut self) {
        let mirror = self.mirrors[0].clone();
        let task = tokio::spawn(async move { mirror.step().await });
        for _ in 0..self.below(200) {
            tokio::task::yield_now().await;
        }
        task.abort();
        // It may have been done already.
        if let Ok(ended) = task.await {
            ended.unwrap();
        }
        self.leases_are_over().await;
    }

    async fn leases_are_over(&self) {
        self.bed.sql("update lanes set lease_until = clock_timestamp() where lease_holder is not null").await;
    }

    /// Everybody is well again, and what is parked is tried once more.
    async fn settle(&mut self) {
        self.peer.with(|state| {
            state.mood = None;
            state.opinions.clear();
        });
        for _ in 0..6 {
            for id in self.parked().await {
                self.operator().retry(id).await.unwrap();
            }
            self.bed.clock.advance(TimeDelta::hours(1));
            // A claim of one that was killed may have reached the database after it.
            self.leases_are_over().await;
            self.work().await;
        }
    }

    async fn check(&self, seed: u64) {
        let client = self.bed.db.client().await.unwrap();
        let dropped = "select action_id::text from parked_events where resolution = 'dropped'";
        let dropped = client.query(dropped, &[]).await.unwrap();
        let dropped: Vec<String> = dropped.iter().map(|row| row.get(0)).collect();
        let mut owed = self.bed.actions().await;
        // What was dropped may have arrived all the same, when an answer was lost.
        let mut here: Vec<String> = self.peer.with(|state| state.stored.clone());
        owed.retain(|action| !dropped.contains(action));
        here.retain(|action| !dropped.contains(action));
        let mut once = here.clone();
        once.sort();
        once.dedup();
        assert_eq!(once.len(), here.len(), "schedule {seed}: something is there twice");
        let missing: Vec<&String> = owed.iter().filter(|action| !here.contains(action)).collect();
        let lane = self.bed.lane(&self.peer.destination).await;
        assert!(missing.is_empty() && here.len() == owed.len(), "schedule {seed}: {missing:?} never arrived: {lane:?}");
        let seen = (lane.state, lane.waiting, lane.parked, lane.acknowledged_seq, lane.high_water);
        assert_eq!(seen, (State::Ready, 0, 0, lane.last_seq, lane.last_seq), "schedule {seed}");
        assert_eq!(self.bed.count("select count(*) from lanes where lease_holder is not null").await, 0);
    }
}

#[tokio::test]
async fn whatever_happens_everything_arrives_once() {
    for seed in 0..SCHEDULES {
        let mut scene = Scene::new(seed).await;
        for _ in 0..STEPS {
            scene.act().await;
        }
        scene.bed.owe(&scene.peer.destination, 1).await;
        scene.settle().await;
        scene.check(seed).await;
    }
}
