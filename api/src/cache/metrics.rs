//! What `/metrics` says of the page cache.

use prometheus::{IntCounter, IntCounterVec, IntGauge, Opts, Registry};

/// Counters of the page cache. Cheap to clone.
#[derive(Clone, Debug)]
pub struct CacheMetrics {
    /// Pages by route and where they came from.
    pub(super) pages: IntCounterVec,
    /// 1 while Redis is in use, 0 while it is not: none, away, or left alone after it failed.
    pub(super) redis_in_use: IntGauge,
    /// Times that Redis was left alone because it failed or did not answer in time.
    pub(super) redis_failures: IntCounter,
}

impl CacheMetrics {
    /// Makes the counters and registers them.
    ///
    /// # Errors
    /// When a metric of the same name is registered already.
    pub fn register(registry: &Registry) -> prometheus::Result<Self> {
        let metrics = Self {
            pages: IntCounterVec::new(
                Opts::new("dpg_page_cache_total", "Pages by route and result: hit, miss or bypass."),
                &["route", "result"],
            )?,
            redis_in_use: IntGauge::new("dpg_redis_in_use", "1 while Redis is used as page store, else 0.")?,
            redis_failures: IntCounter::new(
                "dpg_redis_failures_total",
                "Times that Redis failed or did not answer in time, and was left alone for a while.",
            )?,
        };
        registry.register(Box::new(metrics.pages.clone()))?;
        registry.register(Box::new(metrics.redis_in_use.clone()))?;
        registry.register(Box::new(metrics.redis_failures.clone()))?;
        Ok(metrics)
    }
}
