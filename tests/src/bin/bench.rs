//! The benchmark: every figure beside a floor that is taken in the same run, on the same machine and the same Postgres.
//!
//! `make bench`, or `cargo run --release -p dpg-tests --bin bench [GROUP]` beside a release build of `dpg`; the groups are
//! append, create, pages, network, mirror, isolation and waiting. It runs a Postgres of its own with default, durable
//! settings; `DPG_BENCH_POSTGRES` names another one. Load generator, server and Postgres share the machine.

#[path = "bench/append.rs"]
mod append;
#[path = "bench/create.rs"]
mod create;
#[path = "bench/figures.rs"]
mod figures;
#[path = "bench/holder.rs"]
mod holder;
#[path = "bench/instance.rs"]
mod instance;
#[path = "bench/isolation.rs"]
mod isolation;
#[path = "bench/load.rs"]
mod load;
#[path = "bench/mirror.rs"]
mod mirror;
#[path = "bench/network.rs"]
mod network;
#[path = "bench/pages.rs"]
mod pages;
#[path = "bench/receiver.rs"]
mod receiver;
#[path = "bench/waiting.rs"]
mod waiting;

use dpg_tests::Cluster;

#[tokio::main]
async fn main() {
    let mut arguments = std::env::args().skip(1);
    let only = arguments.next();
    if let (Some("serve-bytes"), Some(file)) = (only.as_deref(), arguments.next()) {
        return pages::serve_bytes(&file).await;
    }
    let given = std::env::var("DPG_BENCH_POSTGRES").ok();
    let own = match &given {
        None => Some(Cluster::start().await),
        Some(_) => None,
    };
    let admin = given.or_else(|| own.as_ref().map(Cluster::url)).expect("a Postgres, given or our own");
    let wanted = |name: &str| only.as_deref().is_none_or(|only| only == name);
    if wanted("append") {
        append::run(&admin).await;
    }
    if wanted("create") {
        create::run(&admin).await;
    }
    if wanted("pages") {
        pages::run(&admin).await;
    }
    if wanted("network") {
        network::run(&admin).await;
    }
    if wanted("mirror") {
        mirror::run(&admin).await;
    }
    if wanted("isolation") {
        isolation::run(&admin).await;
    }
    if wanted("waiting") {
        waiting::run(&admin).await;
    }
}
