//! The conformance suite: walks the wire contract route by route against real instances, and prints how many cases each
//! route has and how many passed. A case is one sentence of the contract; beside what it asks for itself, every
//! exchange in it has to keep the rules that hold for all answers (`rules`).
//!
//! It has a `main` of its own, because the table is its result: `cargo test --test conformance -- item/create` runs the
//! cases whose route or name holds the text.

mod actions;
mod auth_codes;
mod auth_keys;
mod auth_passwords;
mod auth_sessions;
mod catalogue;
mod conventions;
mod cors;
mod events;
mod forwarding;
mod idempotency;
mod item_reads;
mod items;
mod lanes;
mod match_score;
mod network_actions;
mod network_reads;
mod outage;
mod peers;
mod production;
mod raw;
mod refetch;
mod root;
mod rules;
mod schemas;
mod shapes;
mod signer;
mod statuses;
mod suite;
mod world;

use std::panic::AssertUnwindSafe;
use std::process::ExitCode;

use futures_util::FutureExt as _;
use suite::{Options, Suite};
use world::World;

/// What no case provokes, and why; printed under the table, so that nobody takes its silence for a proof.
const NOT_PROVOKED: &[&str] = &[
    "409 ITEM_ALREADY_EXISTS: needs two equal random ids",
    "409 ITEM_CONFLICT and ACTION_CONFLICT: need a race lost several times running",
    "500 INTERNAL_SERVER_ERROR and PARTITION_SETUP_FAILED: need a defect, or a database that refuses one statement",
];

fn main() -> ExitCode {
    let Some(options) = Options::from_arguments(std::env::args().skip(1)) else {
        return ExitCode::SUCCESS;
    };
    suite::remember_panics();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
    let mut suite = Suite::new(options);
    runtime.block_on(run(&mut suite));
    suite.report(NOT_PROVOKED)
}

async fn run(suite: &mut Suite) {
    let mut world = None;
    suite.route("(instances)").case("the instances start", async { world = Some(World::start().await) }).await;
    let Some(world) = world else { return };
    let world = &world;
    // A macro, because each group is a future of a type of its own.
    macro_rules! groups {
        ($($group:ident),*) => { $(
            let result = AssertUnwindSafe(Box::pin($group::cases(suite, world))).catch_unwind().await;
            if result.is_err() {
                suite.broken_group(stringify!($group));
            }
        )* };
    }
    groups!(
        conventions,
        root,
        auth_codes,
        auth_sessions,
        auth_passwords,
        auth_keys,
        items,
        item_reads,
        actions,
        statuses,
        forwarding,
        network_actions,
        events,
        network_reads,
        schemas,
        idempotency,
        peers,
        cors,
        lanes,
        match_score,
        production,
        outage,
        refetch
    );
}
