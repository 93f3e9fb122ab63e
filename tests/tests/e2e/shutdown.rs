//! A process that is told to stop finishes what it has begun, and a client that goes away takes nothing with it.

use std::time::{Duration, Instant};

use dpg_tests::log::SOON;
use dpg_tests::network::{NETWORK, PROFILE, TUTOR, tutor_state};
use dpg_tests::wait::check;
use dpg_tests::{Answer, Node, User, eventually};
use futures_util::future::join_all;
use nix::sys::signal::Signal;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Waits until a session of this database waits for a lock, which is an append that waits for the head.
async fn an_append_waits(client: &tokio_postgres::Client) {
    eventually("an append waits for the head", SOON, || async {
        let query = "select count(*) from pg_stat_activity
                      where datname = current_database() and wait_event_type = 'Lock' and query like '%append(%'";
        let waiting: i64 = client.query_one(query, &[]).await.expect("the activity").get(0);
        check(waiting > 0, "nobody waits")
    })
    .await;
}

fn address(url: &str) -> &str {
    url.strip_prefix("http://").expect("a plain URL")
}

async fn connect(url: &str) -> TcpStream {
    TcpStream::connect(address(url)).await.expect("a connection")
}

/// A create as bytes, for connections that the test cuts.
fn create_request(user: &User, name: &str) -> String {
    let body = json!({"item_network": NETWORK, "item_domain": TUTOR, "item_type": PROFILE,
                      "item_state": tutor_state(name)})
    .to_string();
    format!(
        "POST /api/v1/item/create HTTP/1.1\r\nhost: test\r\nauthorization: Bearer {}\r\n\
         content-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        user.token,
        body.len()
    )
}

async fn logged(client: &tokio_postgres::Client, name: &str) -> i64 {
    let query = "select count(*) from event_log
                  where event_type = 'item.created' and payload->'item_state'->>'name' = $1";
    client.query_one(query, &[&name]).await.expect("the log").get(0)
}

/// One round: creates over connections of their own, the first of which is certainly under way, then SIGTERM.
async fn stop_under_creates(node: &mut Node, ravi: &User, round: usize, connections: usize) {
    let watcher = node.instance.database.client().await;
    let mut holder = node.instance.database.client().await;
    // Connections go to the server's threads in turn, and whichever thread takes the first write must not matter: rounds
    // differ in how many connections were opened between that write and the creates.
    let mut fillers = Vec::new();
    let _first = ravi.create(TUTOR, &tutor_state("First")).send().await.expect(201);
    for _ in 0..round {
        fillers.push(connect(&node.process.url()).await);
    }
    let holding = holder.transaction().await.expect("a transaction");
    holding.execute("select * from log_head for update", &[]).await.expect("the head");

    let names: Vec<String> = (0..connections).map(|number| format!("Round {round} create {number}")).collect();
    let creating: Vec<_> = names
        .iter()
        .map(|name| {
            let client = node.process.client().bearer(&ravi.token);
            tokio::spawn(client.create(TUTOR, &tutor_state(name)).try_send())
        })
        .collect();
    an_append_waits(&watcher).await;
    node.process.signal(Signal::SIGTERM);
    eventually("the process takes no connections any more", SOON, || async {
        check(TcpStream::connect(address(&node.process.url())).await.is_err(), "connected")
    })
    .await;
    holding.rollback().await.expect("the head is let go");

    let mut written = 0;
    for (name, answer) in names.iter().zip(join_all(creating).await) {
        let answer: Result<Answer, String> = answer.expect("the request's task");
        let stored = logged(&watcher, name).await;
        match &answer {
            Ok(answer) if answer.status == 201 => {
                assert_eq!(stored, 1, "round {round}: acknowledged and not there: {answer}");
                written += 1;
            }
            // A request that the process had not read when it stopped may be left without an answer, or refused.
            Ok(_) | Err(_) => assert_eq!(stored, 0, "round {round}: written and not acknowledged: {answer:?}"),
        }
    }
    assert!(written > 0, "round {round}: the create that waited for the head was not finished");
    drop(fillers);
    let status = node.process.ended().await;
    assert!(status.success(), "round {round}: SIGTERM is a clean end: {status}");
    assert_eq!(logged(&watcher, "First").await, i64::try_from(round + 1).expect("a small number"));
}

#[tokio::test(flavor = "multi_thread")]
async fn creates_that_are_under_way_at_sigterm_are_answered_with_what_happened() {
    let mut node = Node::both().await;
    let ravi = node.sign_up("ravi").await;
    // A single create in the first rounds, so that every other thread of the server has nothing left to do.
    for (round, connections) in [1, 1, 1, 1, 12].into_iter().enumerate() {
        stop_under_creates(&mut node, &ravi, round, connections).await;
        node.process.restart().await;
    }
    node.verify().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn idle_and_half_sent_connections_do_not_keep_a_process_from_ending() {
    let mut node = Node::both().await;
    let ravi = node.sign_up("ravi").await;
    let url = node.process.url();
    let mut idle = Vec::new();
    for _ in 0..4 {
        let mut stream = connect(&url).await;
        stream.write_all(b"GET /health/live HTTP/1.1\r\nhost: test\r\n\r\n").await.expect("it is sent");
        let mut buffer = [0; 4096];
        let read = stream.read(&mut buffer).await.expect("an answer");
        assert!(buffer[..read].starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(&buffer[..read]));
        idle.push(stream);
    }
    let whole = create_request(&ravi, "Never said");
    for part in [&whole[..20], &whole[..whole.len() - 10]] {
        let mut stream = connect(&url).await;
        stream.write_all(part.as_bytes()).await.expect("it is sent");
        idle.push(stream);
    }
    // Connections are taken in the order in which they came: an answer to a later one says that all are there.
    for _ in 0..4 {
        let _live = node.process.client().get("/health/live").send().await.expect(200);
    }
    let started = Instant::now();
    let status = node.process.terminate().await;
    assert!(status.success(), "SIGTERM is a clean end: {status}");
    assert!(started.elapsed() < Duration::from_secs(25), "it took {:?}", started.elapsed());
    assert_eq!(logged(&node.instance.database.client().await, "Never said").await, 0);
    drop(idle);
    node.process.restart().await;
    let _created = ravi.create(TUTOR, &tutor_state("Afterwards")).send().await.expect(201);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_goes_away_does_not_take_its_write_with_it() {
    let node = Node::both().await;
    let ravi = node.sign_up("ravi").await;
    let _first = ravi.create(TUTOR, &tutor_state("First")).send().await.expect(201);
    let watcher = node.instance.database.client().await;
    let mut holder = node.instance.database.client().await;
    for round in 0..3 {
        let name = format!("Gone {round}");
        let holding = holder.transaction().await.expect("a transaction");
        holding.execute("select * from log_head for update", &[]).await.expect("the head");
        let mut stream = connect(&node.process.url()).await;
        stream.write_all(create_request(&ravi, &name).as_bytes()).await.expect("it is sent");
        an_append_waits(&watcher).await;
        drop(stream);
        // Answers on every thread of the server: by then it has heard that the connection is gone.
        for _ in 0..8 {
            let _live = node.process.client().get("/health/live").send().await.expect(200);
        }
        holding.rollback().await.expect("the head is let go");
        eventually("the item of the client that went away", SOON, || async {
            let page = ravi.items(TUTOR, "limit=100").send().await.expect(200);
            let items = page.body["items"].as_array().expect("items");
            check(items.iter().any(|item| item["item_state"]["name"] == json!(name)), &page)
        })
        .await;
        assert_eq!(logged(&watcher, &name).await, 1);
    }
    let page = ravi.items(TUTOR, "limit=1").send().await.expect(200);
    assert_eq!(page.body["meta"]["total"], json!(4), "{page}");
    node.verify().await;
}
