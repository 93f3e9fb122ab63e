//! Where a production server calls, and how long and how much it listens (CONTRACT 2.6).

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use dpg_tests::log::SOON;
use dpg_tests::network::{NETWORK, STUDENT, TUTOR, item_at, perform_from, student_state, tutor_state};
use dpg_tests::wait::check;
use dpg_tests::{Answer, Client, Contract, Instance, Node, TestDatabase, eventually, port};
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

/// Counts who calls it, and then never stops answering, in single bytes or in large pieces.
struct Listener {
    port: u16,
    calls: Arc<AtomicUsize>,
}

impl Listener {
    /// `piece` is sent every `pause` until the caller has gone.
    async fn start(piece: &'static [u8], pause: Duration) -> Self {
        let port = port::free();
        let listener = TcpListener::bind(("0.0.0.0", port)).await.expect("a free port");
        let calls = Arc::new(AtomicUsize::new(0));
        let counted = calls.clone();
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                counted.fetch_add(1, Ordering::SeqCst);
                tokio::spawn(async move {
                    // Ends when the caller has had enough.
                    let _read = stream.read(&mut [0; 8192]).await;
                    let head = "HTTP/1.1 201 Created\r\ncontent-type: application/json\r\nconnection: close\r\n\r\n[";
                    let mut open = stream.write_all(head.as_bytes()).await.is_ok();
                    while open {
                        open = stream.write_all(piece).await.is_ok();
                        tokio::time::sleep(pause).await;
                    }
                });
            }
        });
        Self { port, calls }
    }

    fn calls(&self) -> usize {
        self.calls.load(Ordering::SeqCst)
    }
}

/// A production instance of both domains among others, and somebody with an API key.
struct Production {
    node: Node,
    user: Client,
    source: Value,
    target: Value,
}

impl Production {
    async fn start(others: &[String], settings: impl FnOnce(Instance) -> Instance) -> Self {
        let port = port::free();
        let url = port::url(port);
        let all = std::iter::once(&url).chain(others);
        let contract = all.fold(Contract::new(), |contract, url| contract.instance(STUDENT, url).instance(TUTOR, url));
        let instance = Instance::new("both", &[STUDENT, TUTOR], &url, TestDatabase::create().await, &contract)
            .set("INSTANCE_ENV", "production")
            .set("CREATE_TEST_OTP", "false")
            .set("PEER_TIMEOUT_MS", "2000");
        let node = Node::of(settings(instance), port).await;
        let made = node.instance.run(&["keys", "create", "--user", "asha@example.com", "--create-user"]).await;
        let printed = String::from_utf8_lossy(&made.stdout).into_owned();
        let user = node.process.client().key(printed.lines().last().expect("a key").trim());
        let source = user.create(STUDENT, &student_state("Asha", "hidden")).send().await.expect(201).body;
        let target = user.create(TUTOR, &tutor_state("Ravi")).send().await.expect(201).body;
        Self { node, user, source, target }
    }

    /// Performs on an item at another instance.
    async fn perform_at(&self, url: &str) -> Answer {
        self.user.perform(&self.source, &item_at(url, TUTOR)).send().await
    }

    /// An item there performs on one of ours, so that events are owed to that instance.
    async fn owe(&self, url: &str) {
        let body = perform_from(url, &self.target);
        let client = self.node.process.client();
        let _performed = client.post("/api/v1/network/action/perform").json(&body).send().await.expect(201);
    }
}

/// Ways to write this machine and its surroundings. The first ones lead to the listener if they are let out.
fn private_urls(port: u16) -> Vec<String> {
    let here = ["127.0.0.2", "localhost", "[::ffff:127.0.0.1]", "0.0.0.0", "2130706435", "0x7f.4"];
    let around = ["10.1.2.3", "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1", "[fd00::1]", "[fe80::1]"];
    here.iter().chain(&around).map(|host| format!("http://{host}:{port}")).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_production_server_calls_no_private_address() {
    let listener = Listener::start(b"x", Duration::from_millis(50)).await;
    let urls = private_urls(listener.port);
    let production = Production::start(&urls, |instance| instance).await;
    for url in &urls {
        production.perform_at(url).await.expect_error(502, "TARGET_INSTANCE_UNAVAILABLE");
        production.owe(url).await;
    }
    let page = format!("/api/v1/network/item/fetch?item_network={NETWORK}&item_domain={TUTOR}");
    let page = production.user.get(&page).send().await.expect(200);
    let missing = page.body["meta"]["unavailable_instances"].as_array().expect("a list");
    assert_eq!(missing.len(), urls.len(), "{page}");

    let database = production.node.instance.database.client().await;
    eventually("every lane has tried", SOON, || async {
        let query = "select count(*) from lanes where failures > 0";
        let tried: i64 = database.query_one(query, &[]).await.expect("the lanes").get(0);
        check(usize::try_from(tried) == Ok(urls.len()), tried)
    })
    .await;
    assert_eq!(listener.calls(), 0, "an address of our own was called");
}

#[tokio::test(flavor = "multi_thread")]
async fn private_addresses_are_called_when_they_are_allowed_by_block_or_by_name() {
    let listener = Listener::start(b"x", Duration::from_millis(50)).await;
    for (allowed, host, refused) in
        [("127.0.0.2/32", "127.0.0.2", "127.0.0.3"), ("localhost", "localhost", "127.0.0.3")]
    {
        let urls: Vec<String> = [host, refused].iter().map(|host| format!("http://{host}:{}", listener.port)).collect();
        let production = Production::start(&urls, |instance| instance.set("PEER_ALLOW_PRIVATE", allowed)).await;
        let before = listener.calls();
        production.perform_at(&urls[1]).await.expect_error(502, "TARGET_INSTANCE_UNAVAILABLE");
        assert_eq!(listener.calls(), before, "{allowed} opened {refused}");
        production.perform_at(&urls[0]).await.expect_error(504, "TARGET_INSTANCE_TIMEOUT");
        assert_eq!(listener.calls(), before + 1, "{allowed} does not open {host}");
    }
}

/// A proxy would look names up for us, where nothing guards what they lead to.
#[tokio::test(flavor = "multi_thread")]
async fn no_proxy_of_the_environment_is_asked_for_a_peer() {
    let proxy = Listener::start(b"x", Duration::from_millis(50)).await;
    let nobody = port::url(port::free()).replace("127.0.0.1", "peer.invalid");
    let through = format!("http://127.0.0.1:{}", proxy.port);
    let production = Production::start(std::slice::from_ref(&nobody), |instance| {
        let names = ["HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "ALL_PROXY"];
        names.iter().fold(instance, |instance, name| instance.set(name, &through))
    });
    let production = production.await;
    production.perform_at(&nobody).await.expect_error(502, "TARGET_INSTANCE_UNAVAILABLE");
    assert_eq!(proxy.calls(), 0, "a peer was called through a proxy");
}

/// The time is for the whole call, and an answer that doesn't end is not kept.
#[tokio::test(flavor = "multi_thread")]
async fn an_answer_without_an_end_is_bounded_in_time_and_size() {
    static PIECE: [u8; 1 << 20] = [b' '; 1 << 20];
    let (slow, large) =
        (Listener::start(b" ", Duration::from_millis(100)).await, Listener::start(&PIECE, Duration::ZERO).await);
    let url = |listener: &Listener| format!("http://127.0.0.2:{}", listener.port);
    let urls = [url(&slow), url(&large)];
    // A size is reached in time, or the time in size: what is bounded first is not what this is about.
    let allow = |instance: Instance| instance.set("PEER_ALLOW_PRIVATE", "127.0.0.2").set("PEER_TIMEOUT_MS", "3000");
    let production = Production::start(&urls, allow).await;
    let started = Instant::now();
    production.perform_at(&urls[0]).await.expect_error(504, "TARGET_INSTANCE_TIMEOUT");
    assert!(started.elapsed() < Duration::from_secs(25), "{:?}", started.elapsed());
    let unbounded = production.perform_at(&urls[1]).await;
    assert!(["TARGET_INSTANCE_UNAVAILABLE", "TARGET_INSTANCE_TIMEOUT"].contains(&unbounded.code()), "{unbounded}");
    assert_eq!((slow.calls(), large.calls()), (1, 1));
}
