//! What is done with a leased lane: send in order until nothing is left, the peer fails, or the lease is gone.

use dpg_eventstore::Database;
use tokio_util::sync::CancellationToken;

use crate::body::{EventBody, event_body};
use crate::deliver::deliver;
use crate::hold::{Grip, Hold};
use crate::lane::{Outcome, Permit};
use crate::metrics::MirrorMetrics;
use crate::outcome::Verdict;
use crate::peer::PeerClient;
use crate::queries::{self, DueEvent};
use crate::worker::{MirrorOptions, Progress, Registry};
use crate::{LaneKey, MirrorError, cause};

/// Stored size of the events that are read at once, so that a lane's memory is bounded.
const CHUNK_BYTES: i64 = 2 * 1024 * 1024;

/// What a lane's task needs beside the lane.
pub(crate) struct Means {
    pub(crate) db: Database,
    pub(crate) client: PeerClient,
    pub(crate) registry: std::sync::Arc<dyn Registry>,
    pub(crate) metrics: MirrorMetrics,
    pub(crate) options: MirrorOptions,
}

/// Works on a leased lane until it has to rest.
pub(crate) async fn work(means: &Means, mut hold: Hold, stop: &CancellationToken) -> Result<Progress, MirrorError> {
    let mut task = Task { means, progress: Progress { lanes: 1, ..Progress::default() } };
    task.run(&mut hold, stop).await?;
    Ok(task.progress)
}

struct Task<'a> {
    means: &'a Means,
    progress: Progress,
}

impl Task<'_> {
    async fn run(&mut self, hold: &mut Hold, stop: &CancellationToken) -> Result<(), MirrorError> {
        loop {
            if self.url(hold.key()).is_some() && hold.registered(true).await? == Grip::Gone {
                return Ok(());
            }
            let limit = match hold.lane().permit((self.means.options.now)()) {
                Permit::Stream => self.means.options.chunk,
                Permit::Probe => 1,
                Permit::Nothing => return hold.release().await,
            };
            let Some(events) = self.next_events(hold, limit).await? else { return Ok(()) };
            if events.is_empty() {
                return hold.release().await;
            }
            for event in &events {
                if stop.is_cancelled() {
                    return hold.release().await;
                }
                if self.send_one(hold, event).await? == Grip::Gone {
                    return Ok(());
                }
            }
            if hold.flush().await? == Grip::Gone {
                return Ok(());
            }
        }
    }

    /// None: the log doesn't have what the outbox names, which is an alarm and stops this lane only.
    async fn next_events(&self, hold: &mut Hold, limit: i64) -> Result<Option<Vec<DueEvent>>, MirrorError> {
        let read = queries::due_events(&self.means.db, hold.key(), hold.settled_seq(), limit, CHUNK_BYTES).await;
        match read {
            Ok(events) => Ok(Some(events)),
            Err(fault @ (MirrorError::Gap { .. } | MirrorError::MissingEvent { .. })) => {
                tracing::error!(error = cause(&fault), "an event that is owed to a peer is missing");
                self.means.metrics.fault("missing_event");
                self.fail(hold, &Verdict::local_fault("missing_event", &fault.to_string())).await?;
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    async fn send_one(&mut self, hold: &mut Hold, event: &DueEvent) -> Result<Grip, MirrorError> {
        // Asked for each event: a contract may change in between, and the URL comes from the contract only.
        let Some(url) = self.url(hold.key()) else {
            return hold.registered(false).await;
        };
        if hold.ensure().await? == Grip::Gone {
            return Ok(Grip::Gone);
        }
        let body = match event_body(&event.payload, event.recorded_at) {
            Ok(body) => body,
            Err(error) => {
                tracing::error!(seq = event.seq, error = cause(&error), "an owed event is unreadable");
                self.means.metrics.fault("unreadable_event");
                self.fail(hold, &Verdict::local_fault("unreadable_event", &error.to_string())).await?;
                return Ok(Grip::Gone);
            }
        };
        match self.exchange(hold, &url, &body).await? {
            Some(verdict) => self.settle(hold, event, &body, &verdict).await,
            None => Ok(Grip::Gone),
        }
    }

    /// Sends and keeps the lease alive meanwhile. None: the lease was lost while the peer was thinking.
    async fn exchange(
        &self,
        hold: &mut Hold,
        url: &url::Url,
        body: &EventBody,
    ) -> Result<Option<Verdict>, MirrorError> {
        let call = deliver(&self.means.client, url, body, || (self.means.options.now)());
        tokio::pin!(call);
        loop {
            tokio::select! {
                verdict = &mut call => return Ok(Some(verdict)),
                () = tokio::time::sleep_until(hold.renew_at()) => {
                    if hold.renew().await? == Grip::Gone {
                        return Ok(None);
                    }
                }
            }
        }
    }

    async fn settle(
        &mut self,
        hold: &mut Hold,
        event: &DueEvent,
        body: &EventBody,
        verdict: &Verdict,
    ) -> Result<Grip, MirrorError> {
        let options = &self.means.options;
        let now = (options.now)();
        self.means.metrics.attempted(hold.key(), verdict.outcome);
        let doubted = hold.lane().permit(now) != Permit::Stream;
        let lane = hold.lane().after(verdict.outcome, now, (options.random)());
        match verdict.outcome {
            Outcome::Delivered => {
                self.progress.delivered += 1;
                let seconds = (now - event.recorded_at).as_seconds_f64();
                self.means.metrics.delivered(hold.key(), seconds);
                hold.delivered(event.seq, lane);
                if doubted || hold.overdue(options) { hold.flush().await } else { Ok(Grip::Held) }
            }
            Outcome::Parked => {
                self.progress.parked += 1;
                tell_parked(hold.key(), event.seq, verdict, lane.parks_too_much());
                hold.park(event.seq, body.identity, lane, verdict, now).await
            }
            Outcome::Refused | Outcome::BackedOff { .. } => {
                self.fail(hold, verdict).await?;
                Ok(Grip::Gone)
            }
        }
    }

    async fn fail(&self, hold: &mut Hold, verdict: &Verdict) -> Result<(), MirrorError> {
        let options = &self.means.options;
        let now = (options.now)();
        let lane = hold.lane().after(verdict.outcome, now, (options.random)());
        tracing::warn!(
            network = hold.key().network,
            destination = hold.key().destination,
            status = verdict.status,
            error = verdict.error,
            failures = lane.failures,
            next_attempt_at = ?lane.next_attempt_at,
            "a peer did not take an event; it waits",
        );
        hold.fail(lane, verdict, now).await
    }

    fn url(&self, key: &LaneKey) -> Option<url::Url> {
        self.means.registry.url(&key.network, &key.destination)
    }
}

fn tell_parked(key: &LaneKey, seq: i64, verdict: &Verdict, too_many: bool) {
    let (network, destination) = (&key.network, &key.destination);
    let (status, error) = (verdict.status, &verdict.error);
    tracing::warn!(network, destination, seq, status, error, "an event was parked");
    if too_many {
        tracing::error!(network, destination, "a peer speaks against every event; its lane backs off");
    }
}
