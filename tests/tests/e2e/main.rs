//! End to end: the real binary, real Postgres and Redis, several instances, faults between them. A module per promise.

mod bad_input;
mod edges;
mod harness;
mod idempotency;
mod kills;
mod mirroring;
mod ownership;
mod poison;
mod races;
mod stalls;
mod trap_peers;
mod traps;
mod workers;
mod writes;
