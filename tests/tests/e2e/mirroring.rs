//! What happens to an action at the target's instance reaches the source's instance: all of it, in order, once each,
//! whatever the source's instance or the line did meanwhile.

use std::time::Duration;

use dpg_tests::log::{SOON, arrives, assert_same_story};
use dpg_tests::network::NETWORK;
use dpg_tests::pair::{PairOptions, Scene};
use dpg_tests::{Fault, Pair};
use serde_json::json;

const STATUSES: [&str; 10] = [
    "pending",
    "accepted",
    "pending",
    "accepted",
    "rejected",
    "pending",
    "accepted",
    "completed",
    "pending",
    "accepted",
];

async fn ten_changes(scene: &Scene) {
    for (number, status) in (1..).zip(STATUSES) {
        let body = json!({"action_id": scene.action, "action_status": status, "remarks": format!("change {number}")});
        let answer = scene.ravi.post("/api/v1/action/update-status").json(&body).send().await.expect(200);
        assert_eq!(answer.body["update_count"], json!(number));
    }
}

/// All ten arrived: the same story on both sides, and in the source's log in order and once each.
async fn assert_arrived(pair: &Pair, scene: &Scene) {
    let row = arrives(&scene.asha, &scene.action, 10).await;
    assert_eq!(row["action_status"], json!("accepted"));
    assert_eq!(row["remarks"], json!("change 10"));
    assert_eq!(row["ownership_roles"], json!(["initiated"]));
    let events = assert_same_story(&scene.asha, &scene.ravi, &scene.action).await;
    assert_eq!(events.len(), 11);
    let client = pair.student.instance.database.client().await;
    let query = "select (payload->'event'->>'update_count')::bigint from event_log
                  where network = $1 and event_type = 'action.event_mirrored' and stream_id::text = $2 order by position";
    let rows = client.query(query, &[&NETWORK, &scene.action]).await.expect("the log");
    let counts: Vec<i64> = rows.iter().map(|row| row.get(0)).collect();
    assert_eq!(counts, (0..=10).collect::<Vec<i64>>(), "order of arrival");
    pair.student.verify().await;
    pair.tutor.verify().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_changes_while_the_source_instance_is_down_arrive_when_it_returns() {
    let mut pair = Pair::start().await;
    let scene = Scene::of_pair(&pair).await;
    let status = pair.student.process.terminate().await;
    assert!(status.success(), "SIGTERM is a clean end: {status}");
    ten_changes(&scene).await;
    pair.student.process.restart().await;
    assert_arrived(&pair, &scene).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_owed_survives_a_restart_of_the_sender() {
    let mut pair = Pair::start().await;
    let scene = Scene::of_pair(&pair).await;
    pair.student.process.kill();
    ten_changes(&scene).await;
    pair.tutor.process.kill();
    pair.tutor.process.restart().await;
    pair.student.process.restart().await;
    assert_arrived(&pair, &scene).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn lost_answers_make_no_second_event() {
    let pair = proxied().await;
    let scene = Scene::of_pair(&pair).await;
    let line = pair.student_line.as_ref().expect("a proxy");
    line.set(Fault::CutAnswer(0)).await;
    let before = line.accepted();
    ten_changes(&scene).await;
    dpg_tests::eventually("deliveries whose answer is lost", SOON, || async {
        dpg_tests::wait::check(line.accepted() >= before + 3, line.accepted())
    })
    .await;
    line.set(Fault::CutAnswer(40)).await;
    let before = line.accepted();
    dpg_tests::eventually("a delivery whose answer is cut", SOON, || async {
        dpg_tests::wait::check(line.accepted() > before, line.accepted())
    })
    .await;
    line.set(Fault::Pass).await;
    assert_arrived(&pair, &scene).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_line_that_hangs_or_refuses_costs_time_and_nothing_else() {
    let pair = proxied().await;
    let scene = Scene::of_pair(&pair).await;
    let line = pair.student_line.as_ref().expect("a proxy");
    line.set(Fault::Hang).await;
    ten_changes(&scene).await;
    line.set(Fault::Refuse).await;
    line.set(Fault::Delay(Duration::from_millis(300))).await;
    assert_arrived(&pair, &scene).await;
}

async fn proxied() -> Pair {
    let environment = vec![("PEER_TIMEOUT_MS", "1000".to_owned())];
    Pair::with(PairOptions { proxied_student: true, environment, ..PairOptions::default() }).await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_event_reaches_the_initiator_who_can_list_the_action() {
    let pair = Pair::start().await;
    let scene = Scene::of_pair(&pair).await;
    let listed = scene.asha.get("/api/v1/action/fetch?ownership_role=initiated").send().await.expect(200);
    let row = &listed.body["actions"][0];
    assert_eq!(row["action_id"], json!(scene.action));
    assert_eq!(row["source_item_owner"], json!(scene.asha.id));
    assert_eq!(row["source_item_id"], scene.source["item_id"]);
    assert_eq!(row["target_item_id"], scene.target["item_id"]);
    assert_eq!(row["requirements_snapshot"]["subject"], json!("math"));
    assert_eq!(row["partition_network"], json!(NETWORK));
    let received = scene.asha.get("/api/v1/action/fetch?ownership_role=received").send().await.expect(200);
    assert_eq!(received.body["meta"]["total"], json!(0), "{received}");
    let badge = "/api/v1/action/fetch?ownership_role=received&action_status=created&limit=1";
    let badge = scene.ravi.get(badge).send().await.expect(200);
    assert_eq!(badge.body["meta"]["total"], json!(1), "{badge}");
}
