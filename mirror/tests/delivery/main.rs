//! The mirror against a real Postgres and peers that behave in every way that peers do.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, clippy::disallowed_methods)]

mod batches;
mod bed;
mod leases;
mod makes;
mod moves;
mod operators;
mod outages;
mod outcomes;
mod own_make;
mod peer;
mod schedules;
mod waits;
mod writes;
