//! The loops around the steps: one task per projection and network, so that none waits for another, and one that measures
//! how far everything is behind. [`Projector::run`] finds new networks, and starts again what broke.

use std::collections::HashMap;
use std::time::Duration;

use dpg_eventstore::{Chain, Outage, read};
use tokio::task::{Id, JoinError, JoinSet};
use tokio::time::{Instant, MissedTickBehavior, interval_at, sleep};
use tokio_util::sync::CancellationToken;

use crate::live::{BATCH, Projector, Step};
use crate::projection::Projection;
use crate::wait;

/// Steps that nobody waits for begin at most this often: one fold of many events costs less than many folds.
const PACE: Duration = Duration::from_millis(4);
/// How often a quiet projection looks, without being told to: from the first, doubling to the second.
const POLL: (Duration, Duration) = (Duration::from_millis(20), Duration::from_millis(250));
/// Waits between tries that fail, doubling.
const BACK_OFF: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(5));
const NETWORKS: Duration = Duration::from_millis(250);
const MEASURE: Duration = Duration::from_secs(1);

impl Projector {
    /// Projects all networks of the log until `stop`, then finishes the folds that are under way.
    pub async fn run(&self, stop: CancellationToken) {
        let (mut workers, mut outage) = (Workers::default(), Outage::default());
        let mut round = interval_at(Instant::now() + NETWORKS, NETWORKS);
        round.set_missed_tick_behavior(MissedTickBehavior::Delay);
        while !stop.is_cancelled() {
            workers.start(self, Duty::Measure, &stop);
            match read::networks(&self.inner.database).await {
                Ok(found) => {
                    if let Some(lasted) = outage.went_well() {
                        tracing::info!(seconds = lasted.as_secs(), "the networks can be listed again");
                    }
                    for network in found {
                        for projection in Projection::ALL {
                            workers.start(self, Duty::Project(projection, network.clone()), &stop);
                        }
                    }
                }
                Err(error) if outage.failed() => {
                    tracing::warn!(error = %Chain(&error), "the networks could not be listed");
                }
                Err(_) => {}
            }
            tokio::select! {
                () = stop.cancelled() => {}
                // Only here, so that what breaks at once is not started more often.
                _ = round.tick() => workers.clear_broken(self),
                () = self.inner.readers.unattended() => {
                    // Also asked for when the network does not exist.
                    sleep(PACE).await;
                }
            }
        }
        workers.finish(self).await;
    }

    async fn measure(self, stop: CancellationToken) {
        while !stop.is_cancelled() {
            match wait::lags(&self.inner.database).await {
                Ok(lags) => lags.iter().for_each(|lag| self.inner.metrics.lag(lag)),
                Err(error) => tracing::debug!(error = %Chain(&error), "the projections' lag could not be measured"),
            }
            tokio::select! {
                () = stop.cancelled() => {}
                () = sleep(MEASURE) => {}
            }
        }
    }

    async fn work(self, projection: Projection, network: String, stop: CancellationToken) {
        let asked = self.inner.readers.attend(projection, &network);
        self.inner.metrics.begin(projection, &network);
        let mut wake = self.inner.wake.clone();
        let (mut poll, mut back_off, mut outage) = (POLL.0, BACK_OFF.0, Outage::default());
        while !stop.is_cancelled() {
            // Before the step: a hint that comes during it counts for the next.
            wake.mark_unchanged();
            let began = Instant::now();
            let more = match self.step(projection, &network).await {
                Ok(step) => {
                    if let Some(lasted) = outage.went_well() {
                        tracing::info!(%projection, network, seconds = lasted.as_secs(), "the projection goes on");
                    }
                    back_off = BACK_OFF.0;
                    poll = if matches!(step, Step::Idle { .. }) { (poll * 2).min(POLL.1) } else { POLL.0 };
                    has_more(step)
                }
                Err(error) => {
                    self.inner.metrics.failed(projection, &network);
                    if outage.failed() {
                        tracing::error!(%projection, network, error = %Chain(&error), "the projection stands still");
                    }
                    tokio::select! {
                        () = stop.cancelled() => {}
                        () = sleep(back_off) => {}
                    }
                    back_off = (back_off * 2).min(BACK_OFF.1);
                    true
                }
            };
            if more {
                continue;
            }
            tokio::select! {
                () = stop.cancelled() => {}
                () = asked.notified() => {}
                () = sleep(poll) => {}
                () = self.paced(&mut wake, projection, &network, began) => {}
            }
        }
    }

    /// Returns after a hint: at once when somebody waits, else when the pace allows.
    async fn paced(
        &self,
        wake: &mut tokio::sync::watch::Receiver<u64>,
        projection: Projection,
        network: &str,
        began: Instant,
    ) {
        if wake.changed().await.is_err() {
            // Whoever gave hints is gone; polling goes on.
            std::future::pending::<()>().await;
        }
        if !self.inner.readers.somebody_waits(projection, network) {
            tokio::time::sleep_until(began + PACE).await;
        }
    }
}

/// What a worker is there for.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Duty {
    /// Measures how far everything is behind.
    Measure,
    /// Folds the log of a network into the tables of a projection.
    Project(Projection, String),
}

/// The tasks under way, one per duty. None of them ends before it is told to, unless it breaks.
#[derive(Default)]
struct Workers {
    tasks: JoinSet<()>,
    duties: HashMap<Id, Duty>,
}

impl Workers {
    /// Does nothing when the duty has its task.
    fn start(&mut self, projector: &Projector, duty: Duty, stop: &CancellationToken) {
        if self.duties.values().any(|taken| *taken == duty) {
            return;
        }
        let (projector, stop) = (projector.clone(), stop.clone());
        let task = match duty.clone() {
            Duty::Measure => self.tasks.spawn(projector.measure(stop)),
            Duty::Project(projection, network) => self.tasks.spawn(projector.work(projection, network, stop)),
        };
        self.duties.insert(task.id(), duty);
    }

    /// Tells of the tasks that broke; what they did can be started again.
    fn clear_broken(&mut self, projector: &Projector) {
        while let Some(ended) = self.tasks.try_join_next_with_id() {
            self.clear(projector, ended);
        }
    }

    /// Returns when the last task has ended.
    async fn finish(&mut self, projector: &Projector) {
        while let Some(ended) = self.tasks.join_next_with_id().await {
            self.clear(projector, ended);
        }
    }

    fn clear(&mut self, projector: &Projector, ended: Result<(Id, ()), JoinError>) {
        let error = match ended {
            Ok((id, ())) => {
                self.duties.remove(&id);
                return;
            }
            Err(error) => error,
        };
        match self.duties.remove(&error.id()) {
            Some(Duty::Project(projection, network)) => {
                projector.inner.metrics.failed(projection, &network);
                tracing::error!(%projection, network, error = %Chain(&error), "a projection's worker broke");
            }
            _ => tracing::error!(error = %Chain(&error), "the measuring of the projections' lag broke"),
        }
    }
}

fn has_more(step: Step) -> bool {
    match step {
        Step::Idle { .. } | Step::Busy => false,
        Step::Folded { low, high, .. } => high - low >= i64::from(BATCH),
        Step::Quarantined { .. } => true,
    }
}
