//! The harness itself: a fault that breaks nothing, or a cluster that loses nothing, would let every other test pass.

use std::time::{Duration, Instant};

use dpg_tests::peer::{Peer, Reply};
use dpg_tests::wait::check;
use dpg_tests::{Client, Cluster, Fault, Proxy, eventually};
use serde_json::json;

#[tokio::test(flavor = "multi_thread")]
async fn the_proxy_breaks_the_line_as_told() {
    let peer =
        Peer::start(|request| Reply::json(200, &json!({"echo": request.body, "padding": "x".repeat(5000)}))).await;
    let port = peer.url().rsplit_once(':').and_then(|(_, port)| port.parse().ok()).expect("a port");
    let proxy = Proxy::start(port).await;
    let send = || Client::anonymous(&proxy.url()).post("/echo").json(&json!({"a": 1})).try_send();

    let answer = send().await.expect("an answer").expect(200);
    assert_eq!(answer.body["echo"], json!({"a": 1}));
    for fault in [Fault::Refuse, Fault::CutAnswer(0), Fault::CutAnswer(60)] {
        let before = peer.received("/echo").len();
        proxy.set(fault).await;
        let failed = send().await;
        assert!(failed.is_err(), "{fault:?}: {failed:?}");
        let arrived = peer.received("/echo").len() - before;
        assert_eq!(arrived, usize::from(fault != Fault::Refuse), "{fault:?}: what the peer saw");
    }
    proxy.set(Fault::Hang).await;
    let hanging = tokio::time::timeout(Duration::from_millis(200), send()).await;
    assert!(hanging.is_err(), "{hanging:?}");
    proxy.set(Fault::Delay(Duration::from_millis(200))).await;
    let started = Instant::now();
    let _late = send().await.expect("an answer").expect(200);
    assert!(started.elapsed() >= Duration::from_millis(200));
    proxy.set(Fault::Pass).await;
    let _answer = send().await.expect("an answer").expect(200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_private_cluster_keeps_what_was_committed_through_any_stop() {
    let cluster = Cluster::start().await;
    let database = cluster.database().await;
    let client = database.client().await;
    client.batch_execute("create table t (a int)").await.expect("a table");
    for (round, stop) in [Cluster::stop_immediately as fn(&Cluster), Cluster::kill].into_iter().enumerate() {
        let client = database.client().await;
        client.batch_execute("insert into t values (1)").await.expect("a row");
        stop(&cluster);
        eventually("the connection is cut", Duration::from_secs(10), || async {
            check(client.simple_query("select 1").await.is_err(), "it answers")
        })
        .await;
        cluster.resume().await;
        let client = database.client().await;
        let rows: i64 = client.query_one("select count(*) from t", &[]).await.expect("the table").get(0);
        assert_eq!(rows, i64::try_from(round + 1).expect("a count"));
    }
}
