//! Redis is a page store and no more: absent, killed, hung or back, nobody meets an error or a wait that lasts.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use dpg_tests::log::SOON;
use dpg_tests::network::TUTOR;
use dpg_tests::pair::Node;
use dpg_tests::wait::check;
use dpg_tests::{Client, Contract, Process, RedisServer, Role, eventually, port};
use nix::sys::signal::Signal;
use serde_json::Value;

use crate::pages::{create_plain, uses_redis};

/// Readers and writers who go on until they are told to stop.
struct Load {
    stop: AtomicBool,
    reads: AtomicUsize,
    hits: AtomicUsize,
    writes: AtomicUsize,
}

impl Load {
    fn new() -> Self {
        let zero = || AtomicUsize::new(0);
        Self { stop: AtomicBool::new(false), reads: zero(), hits: zero(), writes: zero() }
    }

    /// Reads until it is over; every answer is a page, and comes while the client still waits.
    async fn read(&self, client: &Client) {
        while !self.stop.load(Ordering::SeqCst) {
            let answer = client.items(TUTOR, "limit=20").send().await.expect(200);
            let source = answer.header("x-cache").expect("x-cache");
            assert!(["hit", "miss"].contains(&source), "{answer}");
            self.hits.fetch_add(usize::from(source == "hit"), Ordering::SeqCst);
            self.reads.fetch_add(1, Ordering::SeqCst);
        }
    }

    /// Writes and deletes, so that pages have to be made again and again.
    async fn write(&self, client: &Client) {
        while !self.stop.load(Ordering::SeqCst) {
            let item: Value = create_plain(client, "passing").await;
            let id = item["item_id"].as_str().unwrap();
            let _deleted = client.delete(&format!("/api/v1/item/{id}")).send().await.expect(204);
            self.writes.fetch_add(2, Ordering::SeqCst);
        }
    }

    /// Waits until many more have been served.
    async fn goes_on(&self, what: &str) {
        let (reads, writes) = (self.reads.load(Ordering::SeqCst), self.writes.load(Ordering::SeqCst));
        eventually(what, SOON, || async {
            let (read, written) =
                (self.reads.load(Ordering::SeqCst) - reads, self.writes.load(Ordering::SeqCst) - writes);
            check(read >= 60 && written >= 10, format!("{read} reads, {written} writes"))
        })
        .await;
    }
}

async fn in_use(process: &Process, expected: f64) {
    eventually("the breaker's state", SOON, || async {
        let found = process.metric("dpg_redis_in_use", &[]).await;
        check(found == Some(expected), format!("{found:?}"))
    })
    .await;
}

async fn redis_is_ok(process: &Process) -> Value {
    let health = process.client().get("/health/ready").send().await.expect(200);
    health.body["checks"]["redis"].clone()
}

/// What one process has made, the other finds.
async fn pages_are_shared(maker: &Client, finder: &Client) {
    eventually("a page of one process is a hit in the other", SOON, || async {
        create_plain(maker, "shared").await;
        let made = maker.items(TUTOR, "limit=5").send().await.expect(200);
        let found = finder.items(TUTOR, "limit=5").send().await.expect(200);
        assert_eq!(made.body, found.body);
        check(
            (made.header("x-cache"), found.header("x-cache")) == (Some("miss"), Some("hit")),
            format!("{:?}, {:?}", made.header("x-cache"), found.header("x-cache")),
        )
    })
    .await;
}

#[tokio::test]
async fn redis_may_be_absent_die_hang_and_come_back() {
    let mut redis = RedisServer::absent();
    let node = Node::both_with(Contract::new(), |instance| instance.set("REDIS_URL", &redis.url())).await;
    let other = node.instance.start(Role::Api, port::free()).await;
    let user = node.sign_up("ravi").await;
    let (here, there) = (user.at(&node.process.url()), user.at(&other.url()));
    create_plain(&here, "steady").await;
    let load = Load::new();
    let faults = async {
        load.goes_on("reads and writes without any Redis").await;
        assert_eq!(redis_is_ok(&node.process).await["ok"], false);

        redis.run().await;
        for process in [&node.process, &other] {
            uses_redis(process).await;
        }
        load.goes_on("reads and writes with Redis").await;

        redis.kill();
        in_use(&node.process, 0.0).await;
        load.goes_on("reads and writes after Redis was killed").await;

        redis.run().await;
        in_use(&node.process, 1.0).await;
        redis.signal(Signal::SIGSTOP);
        in_use(&node.process, 0.0).await;
        in_use(&other, 0.0).await;
        load.goes_on("reads and writes while Redis hangs").await;
        assert_eq!(redis_is_ok(&node.process).await["ok"], false);
        let failures = node.process.metric("dpg_redis_failures_total", &[]).await.unwrap_or_default();
        assert!((2.0..20.0).contains(&failures), "each fault is met once, not by every request: {failures}");

        redis.signal(Signal::SIGCONT);
        in_use(&node.process, 1.0).await;
        in_use(&other, 1.0).await;
        load.goes_on("reads and writes with Redis back").await;
        assert_eq!(redis_is_ok(&node.process).await["ok"], true);
        load.stop.store(true, Ordering::SeqCst);
    };
    tokio::join!(
        faults,
        load.read(&here),
        load.read(&here),
        load.read(&there),
        load.read(&there),
        load.write(&here),
        load.write(&there)
    );
    assert!(load.hits.load(Ordering::SeqCst) > 0, "pages were kept");
    pages_are_shared(&here, &there).await;
    pages_are_shared(&there, &here).await;
}

#[tokio::test]
async fn a_hung_redis_costs_nobody_a_hit() {
    let redis = RedisServer::start().await;
    let node = Node::both_with(Contract::new(), |instance| instance.set("REDIS_URL", &redis.url())).await;
    uses_redis(&node.process).await;
    let user = node.sign_up("ravi").await;
    create_plain(&user, "one").await;
    redis.signal(Signal::SIGSTOP);
    let first = user.items(TUTOR, "").send().await.expect(200);
    assert_eq!(first.header("x-cache"), Some("miss"));
    for _ in 0..3 {
        let again = user.items(TUTOR, "").send().await.expect(200);
        assert_eq!((again.header("x-cache"), &again.body), (Some("hit"), &first.body), "{again}");
    }
    redis.signal(Signal::SIGCONT);
}
