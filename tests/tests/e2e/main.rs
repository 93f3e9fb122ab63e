//! End to end: the real binary, real Postgres and Redis, several instances, faults between them. A module per promise.

mod bad_input;
mod commands;
mod edges;
mod harness;
mod health;
mod idempotency;
mod kills;
mod limits;
mod mirroring;
mod network_fetch;
mod ownership;
mod pages;
mod poison;
mod races;
mod redis;
mod refetch;
mod resplit;
mod shutdown;
mod stalls;
mod trap_peers;
mod traps;
mod workers;
mod writes;
