//! What the appender counts. Labels are networks and outcomes, never streams or users.

use std::time::Duration;

use prometheus::{HistogramOpts, HistogramVec, IntCounterVec, IntGaugeVec, Opts, Registry};

use crate::append::AppendError;
use crate::event::Appended;

/// Counters of the write side. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Metrics {
    commands: IntCounterVec,
    batches: IntCounterVec,
    lost_connections: IntCounterVec,
    queue: IntGaugeVec,
    latency: HistogramVec,
}

impl Metrics {
    /// Makes the counters and registers them.
    ///
    /// # Errors
    /// When a metric of the same name is registered already.
    pub fn register(registry: &Registry) -> prometheus::Result<Self> {
        let metrics = Self {
            commands: IntCounterVec::new(
                Opts::new("dpg_append_commands_total", "Commands answered by the appender."),
                &["network", "outcome"],
            )?,
            batches: IntCounterVec::new(
                Opts::new("dpg_append_batches_total", "Commits of the appender."),
                &["network"],
            )?,
            lost_connections: IntCounterVec::new(
                Opts::new("dpg_append_lost_connections_total", "Calls whose connection died before the answer."),
                &["network"],
            )?,
            queue: IntGaugeVec::new(
                Opts::new("dpg_append_queue", "Commands that wait for the next commit."),
                &["network"],
            )?,
            latency: HistogramVec::new(
                HistogramOpts::new("dpg_append_seconds", "From queued to durable.")
                    .buckets(vec![0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 1.0, 5.0]),
                &["network"],
            )?,
        };
        registry.register(Box::new(metrics.commands.clone()))?;
        registry.register(Box::new(metrics.batches.clone()))?;
        registry.register(Box::new(metrics.lost_connections.clone()))?;
        registry.register(Box::new(metrics.queue.clone()))?;
        registry.register(Box::new(metrics.latency.clone()))?;
        Ok(metrics)
    }

    pub(crate) fn batch(&self, network: &str, results: &[Result<Appended, AppendError>]) {
        self.batches.with_label_values(&[network]).inc();
        for result in results {
            let outcome = match result {
                Ok(Appended::Won { .. }) => "won",
                Ok(Appended::Conflict) => "conflict",
                Ok(Appended::Replayed) => "replayed",
                Err(AppendError::Rejected(_)) => "rejected",
                Err(_) => "failed",
            };
            self.commands.with_label_values(&[network, outcome]).inc();
        }
    }

    pub(crate) fn lost_connection(&self, network: &str) {
        self.lost_connections.with_label_values(&[network]).inc();
    }

    pub(crate) fn queue(&self, network: &str, waiting: usize) {
        self.queue.with_label_values(&[network]).set(i64::try_from(waiting).unwrap_or(i64::MAX));
    }

    pub(crate) fn latency(&self, network: &str, took: Duration) {
        self.latency.with_label_values(&[network]).observe(took.as_secs_f64());
    }
}
