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
use crate::outcome::{EventIdentity, Verdict};
use crate::queries::{self, Claim, LaneKey, Parked, Settled, Settlement};
use crate::worker::MirrorOptions;

/// Whether we may go on after something was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Grip {
    /// The lane is ours.
    Held,
    /// It isn't: the lease was lost, an operator paused it, or we gave it back.
    Gone,
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
        Ok(claim.map(|Claim { acknowledged_seq, lane, nudges }| Self {
            db: db.clone(),
            key: key.clone(),
            holder,
            lease: options.lease,
            renew_every: options.renew_every,
            asked_at,
            nudges,
            lane,
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
        if !queries::renew(&self.db, &self.key, self.holder, self.lease).await? {
            return Ok(self.lost());
        }
        self.asked_at = asked_at;
        Ok(Grip::Held)
    }

    /// An event arrived. Written down later, with others: a crash in between repeats them.
    pub(crate) fn delivered(&mut self, seq: i64, lane: Lane) {
        self.settled_seq = seq;
        self.lane = lane;
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

    /// The attempt failed: the lane waits, and is given back.
    pub(crate) async fn fail(&mut self, lane: Lane, verdict: &Verdict, now: DateTime<Utc>) -> Result<(), MirrorError> {
        self.lane = lane;
        self.settle(Some(last_error(verdict, now)), None).await?;
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

    /// Parks an event, durably. The lane goes on, unless too many were parked in a row.
    pub(crate) async fn park(
        &mut self,
        seq: i64,
        event: EventIdentity,
        lane: Lane,
        verdict: &Verdict,
        now: DateTime<Utc>,
    ) -> Result<Grip, MirrorError> {
        self.settled_seq = seq;
        self.lane = lane;
        let lease = (self.lane.state == State::Ready).then_some(self.lease);
        let parked = Parked {
            seq,
            action_id: event.action_id,
            update_count: event.update_count,
            conflict: verdict.conflict,
            status: verdict.status,
            error: verdict.error.as_deref(),
            message: verdict.message.as_deref(),
        };
        let asked_at = Instant::now();
        let settlement = self.settlement(Some(last_error(verdict, now)), lease);
        let settled = queries::park(&self.db, &self.key, self.holder, &settlement, &parked, now).await?;
        self.wrote(settled, asked_at, lease).await
    }

    async fn settle(&mut self, last_error: Option<Value>, lease: Option<Duration>) -> Result<Grip, MirrorError> {
        let asked_at = Instant::now();
        let settlement = self.settlement(last_error, lease);
        let settled = queries::settle(&self.db, &self.key, self.holder, &settlement).await?;
        self.wrote(settled, asked_at, lease).await
    }

    fn settlement(&self, last_error: Option<Value>, lease: Option<Duration>) -> Settlement<'_> {
        Settlement { acknowledged_seq: self.settled_seq, lane: &self.lane, last_error, nudges: self.nudges, lease }
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
fn last_error(verdict: &Verdict, now: DateTime<Utc>) -> Value {
    json!({
        "at": now.to_rfc3339_opts(chrono::SecondsFormat::Millis, true),
        "status": verdict.status,
        "error": verdict.error,
        "message": verdict.message,
    })
}
