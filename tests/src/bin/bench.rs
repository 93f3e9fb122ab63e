//! The benchmark: every figure beside a floor that is taken in the same run, on the same machine and the same Postgres.
//!
//! `make bench`, or `DPG_BENCH_POSTGRES=postgres://… cargo run --release -p dpg-tests --bin bench [append|create]`.
//! Commits are durable. Load generator, server and Postgres share the machine.

#[path = "bench/append.rs"]
mod append;
#[path = "bench/create.rs"]
mod create;
#[path = "bench/figures.rs"]
mod figures;

#[tokio::main]
async fn main() {
    let admin = std::env::var("DPG_BENCH_POSTGRES").expect("DPG_BENCH_POSTGRES is not set: run `make bench`");
    let only = std::env::args().nth(1);
    let wanted = |name: &str| only.as_deref().is_none_or(|only| only == name);
    if wanted("append") {
        append::run(&admin).await;
    }
    if wanted("create") {
        create::run(&admin).await;
    }
}
