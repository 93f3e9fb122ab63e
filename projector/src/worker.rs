//! The loops around the steps: one task per projection and network, so that none waits for another, and one that finds new
//! networks and measures how far everything is behind.

use std::collections::HashSet;
use std::time::Duration;

use dpg_eventstore::{Chain, Outage};
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

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
        let workers = TaskTracker::new();
        workers.spawn(self.clone().measure(stop.clone()));
        let (mut networks, mut outage) = (HashSet::new(), Outage::default());
        while !stop.is_cancelled() {
            match self.networks().await {
                Ok(found) => {
                    if let Some(lasted) = outage.went_well() {
                        tracing::info!(seconds = lasted.as_secs(), "the networks can be listed again");
                    }
                    for network in found {
                        if networks.insert(network.clone()) {
                            for projection in Projection::ALL {
                                workers.spawn(self.clone().work(projection, network.clone(), stop.clone()));
                            }
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
                () = sleep(NETWORKS) => {}
                () = self.inner.readers.unattended() => {
                    // Also asked for when the network does not exist.
                    sleep(PACE).await;
                }
            }
        }
        workers.close();
        workers.wait().await;
    }

    async fn networks(&self) -> Result<Vec<String>, wait::ReadersError> {
        let client = self.inner.database.client().await?;
        let statement = client.prepare_cached("select network from log_head").await?;
        let rows = client.query(&statement, &[]).await?;
        Ok(rows.iter().map(|row| row.try_get(0)).collect::<Result<_, _>>()?)
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

fn has_more(step: Step) -> bool {
    match step {
        Step::Idle { .. } | Step::Busy => false,
        Step::Folded { low, high, .. } => high - low >= i64::from(BATCH),
        Step::Quarantined { .. } => true,
    }
}
