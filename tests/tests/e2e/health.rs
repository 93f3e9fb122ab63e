//! Health tells the truth about the database, and a process lives through its absence.

use std::time::Duration;

use dpg_tests::network::{STUDENT, TUTOR, tutor_state};
use dpg_tests::wait::check;
use dpg_tests::{Cluster, Contract, Instance, Node, eventually, port};
use serde_json::json;

const SOON: Duration = Duration::from_secs(60);

#[tokio::test(flavor = "multi_thread")]
async fn a_process_without_its_database_is_alive_and_not_ready() {
    let cluster = Cluster::start().await;
    let port = port::free();
    let url = port::url(port);
    let contract = Contract::new().instance(STUDENT, &url).instance(TUTOR, &url);
    let instance = Instance::new("both", &[STUDENT, TUTOR], &url, cluster.database().await, &contract);
    let node = Node::of(instance, port).await;
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
