//! The harness of the end-to-end tests: real processes of the `dpg` binary, a real Postgres and a real Redis, faults
//! between them. Tests speak HTTP as any client would; SQL is used to check what was stored and to break things, never
//! to do what a route does.

pub mod client;
pub mod cluster;
pub mod database;
pub mod instance;
pub mod log;
pub mod network;
pub mod openapi;
pub mod pair;
pub mod peer;
pub mod port;
pub mod proxy;
pub mod record;
pub mod redis;
pub mod signature;
pub mod signer;
pub mod wait;

pub use client::{Answer, Client, User};
pub use cluster::Cluster;
pub use database::TestDatabase;
pub use instance::{Instance, PeerKey, Process, Role};
pub use network::Contract;
pub use pair::{Node, Pair};
pub use proxy::{Fault, Proxy};
pub use redis::RedisServer;
pub use signer::Signer;
pub use wait::eventually;

/// The value of a variable that `make test` sets. A test without its servers fails; it is never skipped.
///
/// # Panics
/// When the variable is not set.
#[must_use]
pub fn required(variable: &str) -> String {
    std::env::var(variable).unwrap_or_else(|_| {
        panic!("{variable} is not set: run these tests with `make test`, which starts what they need")
    })
}
