//! What Prometheus sees of the lanes.

use prometheus::{HistogramOpts, HistogramVec, IntCounterVec, IntGaugeVec, Opts, Registry as PrometheusRegistry};

use crate::lane::{Outcome, State};
use crate::queries::{LaneKey, LaneStatus};

const LANE: &[&str] = &["network", "destination"];

/// Seconds from recording to delivery: a healthy peer takes milliseconds, one that was away may take days.
const LATENCY_BUCKETS: &[f64] =
    &[0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 15.0, 60.0, 300.0, 3600.0, 86_400.0];

const BATCH_BUCKETS: &[f64] = &[1.0, 2.0, 5.0, 10.0, 20.0, 50.0];

/// What is wrong on our own side.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Fault {
    /// A batch could not be written.
    BatchNotMade,
    /// Our own database did not do what it was asked.
    Database,
    /// A peer holds more of a lane than its log ever sent.
    MarkBeyondLane,
    /// The log doesn't have what the outbox names.
    MissingEvent,
    /// An owed event can't be written for a peer.
    UnreadableEvent,
}

impl Fault {
    const ALL: [Self; 5] =
        [Self::BatchNotMade, Self::Database, Self::MarkBeyondLane, Self::MissingEvent, Self::UnreadableEvent];

    /// Its name in metrics and in a lane's last error.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::BatchNotMade => "batch_not_made",
            Self::Database => "database",
            Self::MarkBeyondLane => "mark_beyond_lane",
            Self::MissingEvent => "missing_event",
            Self::UnreadableEvent => "unreadable_event",
        }
    }
}

/// The mirror's metrics. Cheap to clone.
#[derive(Debug, Clone)]
pub struct MirrorMetrics {
    waiting: IntGaugeVec,
    oldest_waiting_seconds: IntGaugeVec,
    parked: IntGaugeVec,
    diverged: IntGaugeVec,
    failures: IntGaugeVec,
    lane_state: IntGaugeVec,
    attempts: IntCounterVec,
    delivery_seconds: HistogramVec,
    batch_events: HistogramVec,
    refills: IntCounterVec,
    faults: IntCounterVec,
}

impl MirrorMetrics {
    /// Makes and registers them.
    ///
    /// # Errors
    /// When the registry has metrics of these names already.
    pub fn new(registry: &PrometheusRegistry) -> Result<Self, prometheus::Error> {
        let gauge = |name: &str, help: &str, labels: &[&str]| -> Result<IntGaugeVec, prometheus::Error> {
            let gauge = IntGaugeVec::new(Opts::new(name, help), labels)?;
            registry.register(Box::new(gauge.clone()))?;
            Ok(gauge)
        };
        let counter = |name: &str, help: &str, labels: &[&str]| -> Result<IntCounterVec, prometheus::Error> {
            let counter = IntCounterVec::new(Opts::new(name, help), labels)?;
            registry.register(Box::new(counter.clone()))?;
            Ok(counter)
        };
        let latency = HistogramOpts::new("dpg_mirror_delivery_seconds", "From recording an event to its delivery.")
            .buckets(LATENCY_BUCKETS.to_vec());
        let delivery_seconds = HistogramVec::new(latency, LANE)?;
        registry.register(Box::new(delivery_seconds.clone()))?;
        let sizes = HistogramOpts::new("dpg_mirror_batch_events", "Events in a batch that was sent.")
            .buckets(BATCH_BUCKETS.to_vec());
        let batch_events = HistogramVec::new(sizes, LANE)?;
        registry.register(Box::new(batch_events.clone()))?;
        let faults = counter("dpg_mirror_faults_total", "Faults on our own side, by kind.", &["kind"])?;
        // An alarm sees a counter rise, not appear.
        for fault in Fault::ALL {
            faults.with_label_values(&[fault.as_str()]).reset();
        }
        Ok(Self {
            waiting: gauge("dpg_mirror_waiting", "Events neither delivered, parked nor dropped.", LANE)?,
            oldest_waiting_seconds: gauge(
                "dpg_mirror_oldest_waiting_seconds",
                "Age of the oldest waiting event, 0 without one.",
                LANE,
            )?,
            parked: gauge("dpg_mirror_parked", "Events that a peer's application spoke against.", LANE)?,
            diverged: gauge(
                "dpg_mirror_diverged",
                "1 while an event is parked because the peer holds another content for it.",
                LANE,
            )?,
            failures: gauge("dpg_mirror_failures", "Failed attempts in a row.", LANE)?,
            lane_state: gauge(
                "dpg_mirror_lane_state",
                "1 for the state that the lane is in.",
                &["network", "destination", "state"],
            )?,
            attempts: counter(
                "dpg_mirror_attempts_total",
                "Attempts to deliver, by outcome.",
                &["network", "destination", "outcome"],
            )?,
            delivery_seconds,
            batch_events,
            refills: counter(
                "dpg_mirror_refills_total",
                "Times that a lane went back because its peer had lost what it acknowledged.",
                LANE,
            )?,
            faults,
        })
    }

    /// Shows how the lanes stand at `now`.
    pub fn show(&self, lanes: &[LaneStatus], now: chrono::DateTime<chrono::Utc>) {
        for lane in lanes {
            let labels = labels(&lane.key);
            self.waiting.with_label_values(&labels).set(lane.waiting);
            self.oldest_waiting_seconds.with_label_values(&labels).set(lane.oldest_waiting_seconds(now));
            self.parked.with_label_values(&labels).set(lane.parked);
            self.diverged.with_label_values(&labels).set(i64::from(lane.diverged));
            self.failures.with_label_values(&labels).set(i64::from(lane.failures));
            let [network, destination] = labels;
            for state in State::ALL {
                let gauge = self.lane_state.with_label_values(&[network, destination, state.as_str()]);
                gauge.set(i64::from(state == lane.state));
            }
        }
    }

    pub(crate) fn attempted(&self, key: &LaneKey, outcome: Outcome) {
        let [network, destination] = labels(key);
        self.attempts.with_label_values(&[network, destination, outcome.as_str()]).inc();
    }

    pub(crate) fn delivered(&self, key: &LaneKey, seconds: f64) {
        self.delivery_seconds.with_label_values(&labels(key)).observe(seconds.max(0.0));
    }

    pub(crate) fn batch(&self, key: &LaneKey, events: usize) {
        // At most fifty.
        let events = u32::try_from(events).unwrap_or(u32::MAX);
        self.batch_events.with_label_values(&labels(key)).observe(f64::from(events));
    }

    pub(crate) fn refilled(&self, key: &LaneKey) {
        self.refills.with_label_values(&labels(key)).inc();
    }

    pub(crate) fn fault(&self, fault: Fault) {
        self.faults.with_label_values(&[fault.as_str()]).inc();
    }
}

fn labels(key: &LaneKey) -> [&str; 2] {
    [&key.network, &key.destination]
}
