//! Keeps pages: in this process, and in Redis for the other processes of the instance.
//!
//! Both levels are asked, the near one first: a key holds the version of what it shows, so a near copy is as good as a far
//! one and spares the hop. Of those who miss one page at the same time, one makes it and the others wait for it.

use std::time::{Duration, Instant};

use actix_web::http::header::{HeaderName, HeaderValue};
use bytes::Bytes;
use moka::Expiry;
use moka::future::Cache;
use moka::policy::EvictionPolicy;

use super::key::PageKey;
use super::metrics::CacheMetrics;
use super::redis::Redis;
use super::sealed::{HEADER, Seal};

/// Bytes of pages in the process.
const CAPACITY: u64 = 32 * 1024 * 1024;
/// A longer answer is not kept: it would drive many others out.
const LONGEST: usize = 1024 * 1024;
/// What a page costs beside its body, roughly.
const OVERHEAD: usize = 256;
/// No page is kept longer, whoever asks for it (CONTRACT 6 step 2).
const LONGEST_LIFE: Duration = Duration::from_secs(3600);

/// `x-cache` (CONTRACT 1.1).
pub const X_CACHE: HeaderName = HeaderName::from_static("x-cache");

/// A body, and what its headers need to know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// JSON.
    pub body: Bytes,
    /// Version of the only item in it, for the `etag`.
    pub version: Option<i32>,
    /// Rows of some instance are missing. Such an answer must not be kept.
    pub partial: bool,
}

impl Answer {
    /// A plain body.
    #[must_use]
    pub fn new(body: impl Into<Bytes>) -> Self {
        Self { body: body.into(), version: None, partial: false }
    }
}

/// For how long an answer is kept, and where.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keep {
    /// In this process and in Redis. Never for private values.
    Everywhere(Duration),
    /// In this process alone.
    InProcess(Duration),
    /// Nowhere; those who wait for it now share it.
    Not,
}

/// An answer that was just made.
#[derive(Debug, Clone)]
pub struct Made {
    /// What goes out.
    pub answer: Answer,
    /// What becomes of it.
    pub keep: Keep,
}

/// Where an answer came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// It was there, or somebody else was just making it.
    Hit,
    /// It was made.
    Miss,
    /// It was made, and can't be kept.
    Bypass,
}

impl Source {
    /// As `x-cache` and metrics say it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Hit => "hit",
            Self::Miss => "miss",
            Self::Bypass => "bypass",
        }
    }

    /// The value of [`X_CACHE`].
    #[must_use]
    pub const fn header(self) -> HeaderValue {
        HeaderValue::from_static(self.as_str())
    }
}

/// An answer and where it came from.
#[derive(Debug, Clone)]
pub struct Served {
    /// What goes out.
    pub answer: Answer,
    /// For `x-cache`.
    pub source: Source,
}

/// What lies in the process.
#[derive(Clone)]
struct Kept {
    answer: Answer,
    lives: Duration,
    /// For who brought it here; whoever finds it has a hit, unless it could not be kept.
    source: Source,
}

/// Every page has a life of its own.
struct Lives;

impl Expiry<PageKey, Kept> for Lives {
    fn expire_after_create(&self, _: &PageKey, kept: &Kept, _: Instant) -> Option<Duration> {
        Some(kept.lives)
    }

    fn expire_after_update(&self, _: &PageKey, kept: &Kept, _: Instant, _: Option<Duration>) -> Option<Duration> {
        Some(kept.lives)
    }
}

/// The pages of this process, with the way to those of the instance. Cheap to clone.
#[derive(Clone)]
pub struct Pages {
    near: Cache<PageKey, Kept>,
    redis: Option<Redis>,
    seal: Seal,
    metrics: CacheMetrics,
}

impl Pages {
    /// No pages yet.
    #[must_use]
    pub fn new(redis: Option<Redis>, seal: Seal, metrics: CacheMetrics) -> Self {
        let near = Cache::builder()
            .max_capacity(CAPACITY)
            .weigher(|_, kept: &Kept| u32::try_from(kept.answer.body.len() + OVERHEAD).unwrap_or(u32::MAX))
            // Pages of old versions were often asked for and never will be again: only the last use counts.
            .eviction_policy(EvictionPolicy::lru())
            .expire_after(Lives)
            .build();
        Self { near, redis, seal, metrics }
    }

    /// The page of a key, which `make` makes if it is nowhere to be had. Of those who miss one key at the same time, one
    /// makes the page; if that fails, all of them get the error and nothing is kept. If the maker's client goes away,
    /// another one makes it.
    ///
    /// # Errors
    /// Those of `make`.
    pub async fn get_or_make<E>(&self, key: PageKey, make: impl Future<Output = Result<Made, E>>) -> Result<Served, E>
    where
        E: Clone + Send + Sync + 'static,
    {
        let bring = async {
            match self.fetch(&key).await {
                Some(kept) => Ok(kept),
                None => Ok::<_, E>(self.keep(&key, make.await?).await),
            }
        };
        let entry = self.near.entry(key).or_try_insert_with(bring).await.map_err(|error| E::clone(&error))?;
        let fresh = entry.is_fresh();
        let Kept { answer, source, .. } = entry.into_value();
        let source = if fresh || source == Source::Bypass { source } else { Source::Hit };
        self.metrics.pages.with_label_values(&[key.route, source.as_str()]).inc();
        Ok(Served { answer, source })
    }

    /// From Redis.
    async fn fetch(&self, key: &PageKey) -> Option<Kept> {
        let redis = self.redis.as_ref()?;
        let place = self.seal.place(&key.digest);
        let value = redis.get(&place, HEADER + LONGEST).await?;
        let Some((answer, left)) = self.seal.open(&place, value) else {
            tracing::debug!(route = key.route, "what lies in Redis is no page of ours");
            return None;
        };
        Some(Kept { answer, lives: left.min(LONGEST_LIFE), source: Source::Hit })
    }

    async fn keep(&self, key: &PageKey, made: Made) -> Kept {
        let Made { answer, keep } = made;
        let lives = match keep {
            Keep::Everywhere(lives) | Keep::InProcess(lives) => lives.min(LONGEST_LIFE),
            Keep::Not => Duration::ZERO,
        };
        if lives.is_zero() || answer.partial || answer.body.len() > LONGEST {
            // It ends as it begins: those who wait for it get it, and nobody later.
            return Kept { answer, lives: Duration::ZERO, source: Source::Bypass };
        }
        if let (Keep::Everywhere(_), Some(redis)) = (keep, &self.redis) {
            let place = self.seal.place(&key.digest);
            redis.put(&place, &self.seal.seal(&place, &answer, lives), lives).await;
        }
        Kept { answer, lives, source: Source::Miss }
    }
}
