//! Health tells the truth about the database, and a process lives through its absence.

use dpg_tests::log::SOON;
use dpg_tests::network::{STUDENT, TUTOR, tutor_state};
use dpg_tests::wait::check;
use dpg_tests::{Cluster, Contract, Instance, Node, eventually, port};
use serde_json::json;

/// An instance whose database a test can take away.
async fn on_a_cluster() -> (Cluster, Node) {
    let cluster = Cluster::start().await;
    let port = port::free();
    let url = port::url(port);
    let contract = Contract::new().instance(STUDENT, &url).instance(TUTOR, &url);
    let instance = Instance::new("both", &[STUDENT, TUTOR], &url, cluster.database().await, &contract);
    let node = Node::of(instance, port).await;
    (cluster, node)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_without_its_database_is_alive_and_not_ready() {
    let (cluster, node) = on_a_cluster().await;
    let ravi = node.sign_up("ravi").await;
    let client = node.process.client();
    let ready = client.get("/health/ready").send().await.expect(200);
    assert_eq!((&ready.body["status"], &ready.body["checks"]["postgres"]["ok"]), (&json!("ready"), &json!(true)));

    for round in 0..2 {
        cluster.stop_immediately();
        let away = eventually("the process is not ready", SOON, || async {
            let ready = client.get("/health/ready").send().await;
            if ready.status == 503 { Ok(ready) } else { Err(ready) }
        })
        .await;
        assert_eq!(away.body["status"], json!("not_ready"), "{away}");
        let postgres = &away.body["checks"]["postgres"];
        assert_eq!((&postgres["ok"], &postgres["required"]), (&json!(false), &json!(true)), "{away}");
        assert_eq!(away.body["checks"]["contract"]["ok"], json!(true), "{away}");
        let live = client.get("/health/live").send().await.expect(200);
        assert_eq!(live.body, json!({"status": "live"}));
        let _metrics = client.get("/metrics").send().await.expect(200);
        let refused = ravi.create(TUTOR, &tutor_state("Away")).send().await;
        refused.expect_error(503, "SERVICE_UNAVAILABLE");
        assert!(refused.header("retry-after").is_some(), "{refused}");

        cluster.resume().await;
        let back = eventually("the process is ready again", SOON, || async {
            let ready = client.get("/health/ready").send().await;
            if ready.status == 200 { Ok(ready) } else { Err(ready) }
        })
        .await;
        assert_eq!(back.body["checks"]["postgres"]["ok"], json!(true), "{back}");
        eventually("writes are taken again", SOON, || async {
            let created = ravi.create(TUTOR, &tutor_state(&format!("Back {round}"))).send().await;
            check(created.status == 201, created)
        })
        .await;
    }
    node.verify().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_outage_is_told_when_it_begins_and_when_it_is_over_and_rarely_in_between() {
    let (cluster, node) = on_a_cluster().await;
    let told = |line: &str| node.instance.logs().matches(line).count();
    cluster.stop_immediately();
    eventually("the mirror has tried many times", SOON, || async {
        let faults = node.process.metric("dpg_mirror_faults_total", &["database"]).await;
        check(faults >= Some(24.0), format!("{faults:?}"))
    })
    .await;
    for line in ["the mirror could not reach its own database", "the networks could not be listed"] {
        let told = told(line);
        assert!((1..=6).contains(&told), "{line}: {told} times");
    }
    cluster.resume().await;
    for line in ["the mirror reaches its own database again", "the networks can be listed again"] {
        eventually(line, SOON, || async { check(told(line) == 1, told(line)) }).await;
    }
}
