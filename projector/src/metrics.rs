//! What the projector counts. Labels are projections and networks, never streams or users.

use prometheus::{HistogramOpts, HistogramVec, IntCounterVec, IntGaugeVec, Opts, Registry};

use crate::projection::Projection;
use crate::wait::Lag;

const LABELS: [&str; 2] = ["projection", "network"];

/// Counters of the projector. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Metrics {
    lag_events: IntGaugeVec,
    lag_milliseconds: IntGaugeVec,
    lag: HistogramVec,
    folded: IntCounterVec,
    failures: IntCounterVec,
    quarantined: IntGaugeVec,
    gaps: IntCounterVec,
}

impl Metrics {
    /// Makes the counters and registers them.
    ///
    /// # Errors
    /// When a metric of the same name is registered already.
    pub fn register(registry: &Registry) -> prometheus::Result<Self> {
        let gauge = |name, help| IntGaugeVec::new(Opts::new(name, help), &LABELS);
        let counter = |name, help| IntCounterVec::new(Opts::new(name, help), &LABELS);
        let metrics = Self {
            lag_events: gauge("dpg_projection_lag_events", "Events in the log that are not in the tables yet.")?,
            lag_milliseconds: gauge("dpg_projection_lag_milliseconds", "Age of the oldest event not in the tables.")?,
            lag: HistogramVec::new(
                HistogramOpts::new(
                    "dpg_projection_lag_seconds",
                    "From the log's time to the tables, for the oldest event of each fold.",
                )
                .buckets(vec![0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 1.0, 5.0, 60.0]),
                &LABELS,
            )?,
            folded: counter("dpg_projection_events_total", "Positions that a projection has passed.")?,
            failures: counter("dpg_projection_failures_total", "Steps that failed and are tried again.")?,
            quarantined: gauge("dpg_projection_quarantined_streams", "Streams that are held back.")?,
            gaps: counter("dpg_projection_gaps_total", "Alarm: positions are missing from the log.")?,
        };
        registry.register(Box::new(metrics.lag_events.clone()))?;
        registry.register(Box::new(metrics.lag_milliseconds.clone()))?;
        registry.register(Box::new(metrics.lag.clone()))?;
        registry.register(Box::new(metrics.folded.clone()))?;
        registry.register(Box::new(metrics.failures.clone()))?;
        registry.register(Box::new(metrics.quarantined.clone()))?;
        registry.register(Box::new(metrics.gaps.clone()))?;
        Ok(metrics)
    }

    /// Makes the alarms visible as zero before anything has gone wrong.
    pub(crate) fn begin(&self, projection: Projection, network: &str) {
        let labels = [projection.as_str(), network];
        self.gaps.with_label_values(&labels).inc_by(0);
        self.failures.with_label_values(&labels).inc_by(0);
        self.quarantined.with_label_values(&labels).add(0);
    }

    pub(crate) fn folded(&self, projection: Projection, network: &str, events: i64, lag: f64) {
        let labels = [projection.as_str(), network];
        self.folded.with_label_values(&labels).inc_by(u64::try_from(events).unwrap_or(0));
        self.lag.with_label_values(&labels).observe(lag);
    }

    pub(crate) fn failed(&self, projection: Projection, network: &str) {
        self.failures.with_label_values(&[projection.as_str(), network]).inc();
    }

    pub(crate) fn gap(&self, projection: Projection, network: &str) {
        self.gaps.with_label_values(&[projection.as_str(), network]).inc();
    }

    pub(crate) fn lag(&self, lag: &Lag) {
        let labels = [lag.projection.as_str(), lag.network.as_str()];
        self.lag_events.with_label_values(&labels).set(lag.events);
        self.lag_milliseconds.with_label_values(&labels).set(lag.milliseconds);
        self.quarantined.with_label_values(&labels).set(lag.quarantined);
    }
}
