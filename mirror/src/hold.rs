//! A lane that is leased to us. Whatever is written about it goes through here and is fenced: a worker that was stopped
//! beyond its lease finds that out before it sends or writes anything.

use std::time::Duration;

use chrono::{DateTime, Utc};
use dpg_eventstore::Database;
use serde_json::{Value, json};
use tokio::time::Instant;
use uuid::Uuid;

use crate::MirrorError;
use crate::lane::{Lane, State};
use crate::mark::Mark;
use crate::outcome::Verdict;
use crate::queries::{self, Claim, LaneKey, Parked, Parking, Refill, Settled, Settlement};
use crate::worker::MirrorOptions;

/// Whether we may go on after something was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Grip {
    /// The lane is ours.
    Held,
    /// It isn't: the lease was lost, an operator paused it, or we gave it back.
    Gone,
}

/// What an attempt came to.
pub(crate) struct Attempt<'a> {
    /// Every number up to it is settled.
    pub(crate) up_to: i64,
    /// The lane after it.
    pub(crate) lane: Lane,
    /// What the peer's application spoke against.
    pub(crate) parked: Vec<Parked<'a>>,
    /// What was parked before and has been delivered.
    pub(crate) delivered_again: Vec<i64>,
    /// For the operator.
    pub(crate) last_error: Option<Value>,
    /// When.
    pub(crate) now: DateTime<Utc>,
}

/// The lease and what it is worth.
pub(crate) struct Hold {
    db: Database,
    key: LaneKey,
    holder: Uuid,
    lease: Duration,
    renew_every: Duration,
    /// When the lease was last asked for. Ours counts from before the request, the database's from after: ours ends first.
    asked_at: Instant,
    nudges: i32,
    lane: Lane,
    mark: Mark,
    moved_to: Option<String>,
    epoch: Uuid,
    /// Every number up to it is settled, whether the row says so yet or not.
    settled_seq: i64,
    written_seq: i64,
    written_at: Instant,
}

impl Hold {
    /// Claims a lane. `holder` identifies this claim, `previous` one of ours that a failed task may have left behind.
    pub(crate) async fn claim(
        db: &Database,
        key: &LaneKey,
        holder: Uuid,
        previous: Option<Uuid>,
        options: &MirrorOptions,
    ) -> Result<Option<Self>, MirrorError> {
        let asked_at = Instant::now();
        let now = (options.now)();
        let claim = queries::claim(db, key, holder, previous, options.lease, now).await?;
        Ok(claim.map(|Claim { acknowledged_seq, lane, nudges, mark, moved_to, epoch }| Self {
            db: db.clone(),
            key: key.clone(),
            holder,
            lease: options.lease,
            renew_every: options.renew_every,
            asked_at,
            nudges,
            lane,
            mark,
            moved_to,
            epoch,
            settled_seq: acknowledged_seq,
            written_seq: acknowledged_seq,
            written_at: asked_at,
        }))
    }

    pub(crate) fn key(&self) -> &LaneKey {
        &self.key
    }

    pub(crate) fn lane(&self) -> &Lane {
        &self.lane
    }

    /// What the peer said of itself; written down with whatever is written next.
    pub(crate) fn mark(&mut self) -> &mut Mark {
        &mut self.mark
    }

    /// Where the destination is called: at its own address, or where an operator said that it is now.
    pub(crate) fn called_at(&self) -> &str {
        self.moved_to.as_deref().unwrap_or(&self.key.destination)
    }

    pub(crate) fn has_moved(&self) -> bool {
        self.moved_to.is_some()
    }

    pub(crate) fn epoch(&self) -> Uuid {
        self.epoch
    }

    pub(crate) fn settled_seq(&self) -> i64 {
        self.settled_seq
    }

    pub(crate) fn renew_at(&self) -> Instant {
        self.asked_at + self.renew_every
    }

    /// Before each send: asks again when it is time to, which fails if anybody else may have the lane by now.
    pub(crate) async fn ensure(&mut self) -> Result<Grip, MirrorError> {
        if Instant::now() < self.renew_at() { Ok(Grip::Held) } else { self.renew().await }
    }

    pub(crate) async fn renew(&mut self) -> Result<Grip, MirrorError> {
        let asked_at = Instant::now();
        let Some(epoch) = queries::renew(&self.db, &self.key, self.holder, self.lease).await? else {
            return Ok(self.lost());
        };
        self.asked_at = asked_at;
        self.epoch = epoch;
        Ok(Grip::Held)
    }

    /// Nothing up to `seq` is left to send. Written down later: a crash in between repeats it.
    pub(crate) fn passed(&mut self, seq: i64) {
        self.settled_seq = self.settled_seq.max(seq);
    }

    /// An attempt is over. If it only delivered, that is written down later, with others: a crash in between repeats it.
    /// A lane that is not ready afterwards is given back.
    pub(crate) async fn record(&mut self, attempt: Attempt<'_>, options: &MirrorOptions) -> Result<Grip, MirrorError> {
        let doubted = self.lane.state != State::Ready;
        self.passed(attempt.up_to);
        self.lane = attempt.lane;
        let keep = self.lane.state == State::Ready;
        let parks = !attempt.parked.is_empty() || !attempt.delivered_again.is_empty();
        let news = parks || attempt.last_error.is_some();
        if keep && !news && !doubted && !self.overdue(options) {
            return Ok(Grip::Held);
        }
        let lease = keep.then_some(self.lease);
        let asked_at = Instant::now();
        let parking =
            parks.then_some(Parking { parked: attempt.parked, delivered: attempt.delivered_again, now: attempt.now });
        let settlement = Settlement { parking, ..self.settlement(attempt.last_error, lease) };
        let settled = queries::settle(&self.db, &self.key, self.holder, &settlement).await?;
        self.wrote(settled, asked_at, lease).await
    }

    /// The peer lost what was settled: everything after its mark goes again.
    pub(crate) async fn refill(&mut self, now: DateTime<Utc>) -> Result<Grip, MirrorError> {
        let refill = Refill { mark: self.mark.high_water, now };
        if !queries::refill(&self.db, &self.key, self.holder, &refill).await? {
            return Ok(self.lost());
        }
        self.settled_seq = refill.mark;
        self.written_seq = refill.mark;
        Ok(Grip::Held)
    }

    /// Delivered events that the row doesn't show yet have waited so long, or are so many.
    pub(crate) fn overdue(&self, options: &MirrorOptions) -> bool {
        self.settled_seq - self.written_seq >= options.flush_every || self.written_at.elapsed() >= options.flush_after
    }

    /// Writes down what was delivered, and extends the lease with it.
    pub(crate) async fn flush(&mut self) -> Result<Grip, MirrorError> {
        if self.settled_seq == self.written_seq {
            return Ok(Grip::Held);
        }
        self.settle(None, Some(self.lease)).await
    }

    /// Writes everything down and gives the lane back.
    pub(crate) async fn release(&mut self) -> Result<(), MirrorError> {
        self.settle(None, None).await?;
        Ok(())
    }

    /// The destination left the contract, or came back.
    pub(crate) async fn registered(&mut self, registered: bool) -> Result<Grip, MirrorError> {
        let lane = self.lane.registered(registered);
        if lane == self.lane {
            return Ok(Grip::Held);
        }
        self.lane = lane;
        self.settle(None, registered.then_some(self.lease)).await
    }

    async fn settle(&mut self, last_error: Option<Value>, lease: Option<Duration>) -> Result<Grip, MirrorError> {
        let asked_at = Instant::now();
        let settlement = self.settlement(last_error, lease);
        let settled = queries::settle(&self.db, &self.key, self.holder, &settlement).await?;
        self.wrote(settled, asked_at, lease).await
    }

    fn settlement(&self, last_error: Option<Value>, lease: Option<Duration>) -> Settlement<'_> {
        Settlement {
            acknowledged_seq: self.settled_seq,
            lane: &self.lane,
            mark: &self.mark,
            last_error,
            nudges: self.nudges,
            lease,
            parking: None,
        }
    }

    async fn wrote(
        &mut self,
        settled: Option<Settled>,
        asked_at: Instant,
        lease: Option<Duration>,
    ) -> Result<Grip, MirrorError> {
        let Some(settled) = settled else { return Ok(self.lost()) };
        self.asked_at = asked_at;
        self.written_at = asked_at;
        self.written_seq = self.settled_seq;
        self.nudges = settled.nudges;
        if lease.is_none() {
            return Ok(Grip::Gone);
        }
        if settled.state == State::Paused {
            // An operator was faster: nothing more goes out, and the lane needs no holder.
            let settlement = self.settlement(None, None);
            queries::settle(&self.db, &self.key, self.holder, &settlement).await?;
            return Ok(Grip::Gone);
        }
        Ok(Grip::Held)
    }

    fn lost(&self) -> Grip {
        tracing::warn!(
            network = self.key.network,
            destination = self.key.destination,
            "lost the lease of a lane; whoever has it sends again what was not written down"
        );
        Grip::Gone
    }
}

/// `last_error` of CONTRACT 4.23.
pub(crate) fn last_error(verdict: &Verdict, now: DateTime<Utc>) -> Value {
    json!({
        "at": now.to_rfc3339_opts(chrono::SecondsFormat::Millis, true),
        "status": verdict.status,
        "error": verdict.error,
        "message": verdict.message,
    })
}
