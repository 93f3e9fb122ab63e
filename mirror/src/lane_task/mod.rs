//! What is done with a leased lane: send in order until nothing is left, the peer fails, or the lease is gone. Peers of our
//! own make get batches, others one event after the other.

mod at_rest;

use std::collections::BTreeSet;

use dpg_eventstore::{Chain, Database};
use tokio_util::sync::CancellationToken;
use url::Url;

use crate::batch::{self, Outgoing};
use crate::body::event_body_at;
use crate::capability::{Capabilities, Limits};
use crate::deliver::deliver;
use crate::hold::{Attempt, Grip, Hold, last_error};
use crate::lane::{Outcome, Permit};
use crate::mark::Told;
use crate::metrics::{Fault, MirrorMetrics};
use crate::outcome::Verdict;
use crate::peer::PeerClient;
use crate::queries::{self, Due, Parked};
use crate::worker::{MirrorOptions, Progress, Registry};
use crate::{LaneKey, MirrorError};

/// Stored size of the events that are read at once, so that a lane's memory is bounded.
const CHUNK_BYTES: i64 = 2 * 1024 * 1024;

/// What a lane's task needs beside the lane.
pub(crate) struct Means {
    pub(crate) db: Database,
    pub(crate) client: PeerClient,
    pub(crate) registry: std::sync::Arc<dyn Registry>,
    pub(crate) capabilities: Capabilities,
    pub(crate) metrics: MirrorMetrics,
    pub(crate) options: MirrorOptions,
}

/// Works on a leased lane until it has to rest.
pub(crate) async fn work(means: &Means, mut hold: Hold, stop: &CancellationToken) -> Result<Progress, MirrorError> {
    let progress = Progress { lanes: 1, ..Progress::default() };
    let mut task = Task { means, progress, alone: BTreeSet::new(), dropped: Vec::new() };
    task.run(&mut hold, stop).await?;
    Ok(task.progress)
}

struct Task<'a> {
    means: &'a Means,
    progress: Progress,
    /// Numbers of events that a peer of our own make got outside a batch. It can't count those itself, so they are told as
    /// numbers that come in no batch.
    alone: BTreeSet<i64>,
    /// Numbers that an operator dropped and that the peer's mark has not passed.
    dropped: Vec<i64>,
}

impl Task<'_> {
    async fn run(&mut self, hold: &mut Hold, stop: &CancellationToken) -> Result<(), MirrorError> {
        loop {
            let registered = self.url(hold).is_some();
            if hold.registered(registered).await? == Grip::Gone {
                return Ok(());
            }
            let limit = match hold.lane().permit(self.now()) {
                Permit::Stream => self.means.options.chunk,
                Permit::Probe => 1,
                Permit::Nothing => return hold.release().await,
            };
            let Some(due) = self.next_due(hold, limit).await? else { return Ok(()) };
            let grip = if due.up_to == hold.settled_seq() && due.events.is_empty() {
                self.rest(hold).await?
            } else {
                self.send(hold, due, stop).await?
            };
            if grip == Grip::Gone || hold.flush().await? == Grip::Gone {
                return Ok(());
            }
        }
    }

    /// None: the log doesn't have what the outbox names, which is an alarm and stops this lane only.
    async fn next_due(&mut self, hold: &mut Hold, limit: usize) -> Result<Option<Due>, MirrorError> {
        let db = &self.means.db;
        if self.means.client.keyid().is_some() {
            let high_water = hold.mark().high_water;
            self.dropped = queries::withdrawn(db, hold.key(), high_water, batch::WITHDRAWN).await?;
        }
        match queries::due_events(db, hold.key(), hold.settled_seq(), limit, CHUNK_BYTES).await {
            Ok(due) => Ok(Some(due)),
            Err(fault @ (MirrorError::Gap { .. } | MirrorError::MissingEvent { .. })) => {
                tracing::error!(error = %Chain(&fault), "an event that is owed to a peer is missing");
                self.fault(hold, Fault::MissingEvent, &fault.to_string()).await?;
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    /// Sends what is due. The lane is held afterwards, unless something stopped it.
    async fn send(&mut self, hold: &mut Hold, due: Due, stop: &CancellationToken) -> Result<Grip, MirrorError> {
        let (events, unreadable) = self.written(hold, &due);
        let mut left = events.as_slice();
        while !left.is_empty() {
            if stop.is_cancelled() {
                hold.release().await?;
                return Ok(Grip::Gone);
            }
            // Asked each time: a contract may change in between, and the URL comes from the contract only.
            let Some(url) = self.url(hold) else { return hold.registered(false).await };
            if hold.ensure().await? == Grip::Gone {
                return Ok(Grip::Gone);
            }
            let Some(limits) = self.batches(hold, &url).await? else { return Ok(Grip::Gone) };
            let withdrawn = batch::WITHDRAWN.min(self.alone.len() + self.dropped.len());
            let count = limits.and_then(|limits| batch::fitting(left, withdrawn, limits));
            let (now, rest) = left.split_at(count.unwrap_or(1).min(left.len()));
            let sent = match count {
                Some(_) => self.send_batch(hold, &url, now).await?,
                None => self.send_singly(hold, &url, now, limits.is_some()).await?,
            };
            match sent {
                Sent::On => left = rest,
                Sent::Back => return Ok(Grip::Held),
                Sent::Gone => return Ok(Grip::Gone),
            }
        }
        if let Some(message) = unreadable {
            self.fault(hold, Fault::UnreadableEvent, &message).await?;
            return Ok(Grip::Gone);
        }
        hold.passed(due.up_to);
        Ok(Grip::Held)
    }

    /// The bodies of what is due, up to the first that can't be written, and what is wrong with that.
    fn written(&self, hold: &Hold, due: &Due) -> (Vec<Outgoing>, Option<String>) {
        let moved_to = if hold.has_moved() { self.url(hold) } else { None };
        let mut events = Vec::with_capacity(due.events.len());
        for event in &due.events {
            match event_body_at(&event.payload, event.recorded_at, moved_to.as_ref().map(Url::as_str)) {
                Ok(body) => {
                    let (seq, again, recorded_at) = (event.seq, event.again, event.recorded_at);
                    events.push(Outgoing { seq, again, recorded_at, body });
                }
                Err(error) => {
                    tracing::error!(seq = event.seq, error = %Chain(&error), "an owed event is unreadable");
                    return (events, Some(error.to_string()));
                }
            }
        }
        (events, None)
    }

    /// How the peer takes batches, if it does. The outer option: the lease was lost meanwhile.
    async fn batches(&self, hold: &mut Hold, url: &Url) -> Result<Option<Option<Limits>>, MirrorError> {
        if hold.has_moved() {
            // Its numbers could meet those of the lane that the new address has itself.
            return Ok(Some(None));
        }
        let destination = hold.key().destination.clone();
        let asked = self.means.capabilities.batches(&self.means.client, &destination, url, self.now());
        leased(hold, asked).await
    }

    async fn send_singly(
        &mut self,
        hold: &mut Hold,
        url: &Url,
        events: &[Outgoing],
        own_make: bool,
    ) -> Result<Sent, MirrorError> {
        for event in events {
            let call = deliver(&self.means.client, url, &event.body, own_make, || self.now());
            let Some(verdict) = leased(hold, call).await? else { return Ok(Sent::Gone) };
            if own_make && matches!(verdict.outcome, Outcome::Delivered | Outcome::Parked) {
                self.alone.insert(event.seq);
            }
            let sent = self.settle(hold, std::slice::from_ref(event), &[verdict], None).await?;
            if sent != Sent::On {
                return Ok(sent);
            }
        }
        Ok(Sent::On)
    }

    async fn send_batch(&mut self, hold: &mut Hold, url: &Url, events: &[Outgoing]) -> Result<Sent, MirrorError> {
        self.means.metrics.batch(hold.key(), events.len());
        let Some(answer) = self.exchange_batch(hold, url, events).await? else { return Ok(Sent::Gone) };
        match answer {
            batch::Answer::Judged { verdicts, high_water } => {
                self.settle(hold, events, &verdicts, Some(high_water)).await
            }
            batch::Answer::Refused(verdict) => {
                let (status, error) = (verdict.status, &verdict.error);
                let destination = &hold.key().destination;
                tracing::warn!(destination, status, error, "a peer can't read a batch; its events go one by one");
                self.send_singly(hold, url, events, true).await
            }
            batch::Answer::Failed(verdict) => self.settle(hold, events, &[verdict], None).await,
        }
    }

    /// None: the lease was lost while the peer was thinking.
    async fn exchange_batch(
        &self,
        hold: &mut Hold,
        url: &Url,
        events: &[Outgoing],
    ) -> Result<Option<batch::Answer>, MirrorError> {
        let withdrawn: BTreeSet<i64> = self.alone.iter().chain(&self.dropped).copied().collect();
        let withdrawn: Vec<i64> = withdrawn.into_iter().take(batch::WITHDRAWN).collect();
        let (epoch, key) = (hold.epoch(), hold.key());
        let head = batch::Head {
            origin: self.means.client.keyid().unwrap_or_default(),
            network: &key.network,
            destination: &key.destination,
            epoch,
        };
        let body = match batch::write(head, events, &withdrawn) {
            Ok(body) => body,
            Err(error) => {
                self.means.metrics.fault(Fault::BatchNotMade);
                let verdict = Verdict::local_fault(Fault::BatchNotMade.as_str(), &error.to_string());
                return Ok(Some(batch::Answer::Failed(verdict)));
            }
        };
        let seqs: Vec<i64> = events.iter().map(|event| event.seq).collect();
        leased(hold, batch::deliver(&self.means.client, url, body, &seqs, || self.now())).await
    }

    /// Writes down what an attempt came to. There are fewer verdicts than events when the last of them stops the lane.
    async fn settle(
        &mut self,
        hold: &mut Hold,
        events: &[Outgoing],
        verdicts: &[Verdict],
        high_water: Option<i64>,
    ) -> Result<Sent, MirrorError> {
        let now = self.now();
        let outcomes: Vec<Outcome> = verdicts.iter().map(|verdict| verdict.outcome).collect();
        let lane = hold.lane().after_all(&outcomes, now, (self.means.options.random)());
        let mut attempt = Attempt {
            up_to: hold.settled_seq(),
            parked: Vec::new(),
            delivered_again: Vec::new(),
            last_error: verdicts.iter().rev().find(|v| v.outcome != Outcome::Delivered).map(|v| last_error(v, now)),
            lane,
            now,
        };
        for (event, verdict) in events.iter().zip(verdicts) {
            self.means.metrics.attempted(hold.key(), verdict.outcome);
            match verdict.outcome {
                Outcome::Delivered => {
                    self.progress.delivered += 1;
                    self.means.metrics.delivered(hold.key(), (now - event.recorded_at).as_seconds_f64());
                    attempt.delivered_again.extend(event.again.then_some(event.seq));
                }
                Outcome::Parked => {
                    self.progress.parked += 1;
                    tell_parked(hold.key(), event.seq, verdict);
                    attempt.parked.push(parked(event, verdict));
                }
                Outcome::Refused | Outcome::BackedOff { .. } => {
                    self.tell_failed(hold.key(), verdict, &attempt.lane);
                    break;
                }
            }
            attempt.up_to = attempt.up_to.max(event.seq);
        }
        if attempt.lane.parks_too_much() && outcomes.contains(&Outcome::Parked) {
            let LaneKey { network, destination } = hold.key();
            tracing::error!(network, destination, "a peer speaks against every event; its lane backs off");
        }
        let told = match high_water {
            Some(high_water) => Some(self.told(hold, high_water, attempt.up_to).await?),
            None => None,
        };
        if hold.record(attempt, &self.means.options).await? == Grip::Gone {
            return Ok(Sent::Gone);
        }
        if told == Some(Told::Behind) { self.refill(hold).await } else { Ok(Sent::On) }
    }

    /// A fault on our own side: the lane waits, and whoever looks at it is told.
    async fn fault(&mut self, hold: &mut Hold, fault: Fault, message: &str) -> Result<(), MirrorError> {
        self.means.metrics.fault(fault);
        let verdict = Verdict::local_fault(fault.as_str(), message);
        let now = self.now();
        let lane = hold.lane().after(verdict.outcome, now, (self.means.options.random)());
        let attempt = Attempt {
            up_to: hold.settled_seq(),
            lane,
            parked: Vec::new(),
            delivered_again: Vec::new(),
            last_error: Some(last_error(&verdict, now)),
            now,
        };
        hold.record(attempt, &self.means.options).await?;
        Ok(())
    }

    fn tell_failed(&self, key: &LaneKey, verdict: &Verdict, lane: &crate::lane::Lane) {
        self.means.capabilities.forget(&key.destination);
        tracing::warn!(
            network = key.network,
            destination = key.destination,
            status = verdict.status,
            error = verdict.error,
            failures = lane.failures,
            next_attempt_at = ?lane.next_attempt_at,
            "a peer did not take an event; it waits",
        );
    }

    fn url(&self, hold: &Hold) -> Option<Url> {
        self.means.registry.url(&hold.key().network, hold.called_at())
    }

    fn now(&self) -> chrono::DateTime<chrono::Utc> {
        (self.means.options.now)()
    }
}

/// How a lane goes on after something was sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sent {
    /// With what is left.
    On,
    /// From the peer's mark.
    Back,
    /// Not now, or not here.
    Gone,
}

/// Waits for a peer and keeps the lease alive meanwhile. None: the lease was lost.
async fn leased<T>(hold: &mut Hold, call: impl Future<Output = T>) -> Result<Option<T>, MirrorError> {
    tokio::pin!(call);
    loop {
        tokio::select! {
            answer = &mut call => return Ok(Some(answer)),
            () = tokio::time::sleep_until(hold.renew_at()) => {
                if hold.renew().await? == Grip::Gone {
                    return Ok(None);
                }
            }
        }
    }
}

fn parked<'a>(event: &Outgoing, verdict: &'a Verdict) -> Parked<'a> {
    Parked {
        seq: event.seq,
        action_id: event.body.identity.action_id,
        update_count: event.body.identity.update_count,
        conflict: verdict.conflict,
        status: verdict.status,
        error: verdict.error.as_deref(),
        message: verdict.message.as_deref(),
    }
}

fn tell_parked(key: &LaneKey, seq: i64, verdict: &Verdict) {
    let (network, destination) = (&key.network, &key.destination);
    let (status, error) = (verdict.status, &verdict.error);
    tracing::warn!(network, destination, seq, status, error, "an event was parked");
}
