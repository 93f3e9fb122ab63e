//! The page cache (DESIGN 6): answers of reads, kept under keys that hold everything they depend on.
//!
//! A key holds the projection version of the rows (see [`Versions`]), so what is kept is never stale and nothing has to be
//! invalidated: a write makes another version, and the old pages are simply not asked for any more. [`Pages`] keeps them
//! in the process and, if there is one, in Redis, where the instance's other processes find them. Redis is a page store
//! and no more: without it, or while it hangs, the pages of the process itself have to do.
//!
//! **Private values never leave the process.** A page that holds some is made with [`Keep::InProcess`].

mod key;
mod metrics;
mod pages;
mod redis;
mod sealed;
#[cfg(test)]
mod tests;
mod versions;

pub use key::PageKey;
pub use metrics::CacheMetrics;
pub use pages::{Answer, Keep, Made, Pages, Served, Source, X_CACHE};
pub use redis::Redis;
pub use sealed::Seal;
pub use versions::{Version, Versions};
