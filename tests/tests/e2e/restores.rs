//! Either side comes back from a backup that was taken in the middle. What the receiver has lost is seen and sent again;
//! what the sender has forgotten and then decided otherwise is seen and named, and nothing is overwritten.

use dpg_tests::log::{SOON, arrives, assert_same_story};
use dpg_tests::pair::{PairOptions, Scene};
use dpg_tests::wait::check;
use dpg_tests::{Cluster, Pair, TestDatabase, eventually};

async fn pair(student: TestDatabase, tutor: TestDatabase) -> Pair {
    let environment = vec![("ADMIN_KEY", "the operator's key".to_owned())];
    Pair::with_databases(PairOptions { signed: true, environment, ..PairOptions::default() }, student, tutor).await
}

async fn lane(pair: &Pair) -> serde_json::Value {
    let peers = pair.tutor.process.client().get("/api/v1/admin/peers").header("x-admin-key", "the operator's key");
    peers.send().await.expect(200).body["lanes"][0].clone()
}

async fn settled(pair: &Pair) {
    eventually("the lane is settled", SOON, || async {
        let lane = lane(pair).await;
        check(lane["waiting"] == 0 && lane["last_seq"] == lane["acknowledged_seq"], lane)
    })
    .await;
}

/// Reconciles from the sender's side.
async fn reconcile(pair: &Pair) -> (bool, String) {
    let output = pair.tutor.instance.run(&["peers", "reconcile", &pair.student.instance.url]).await;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.success(), format!("{}{}", text(&output.stdout), text(&output.stderr)))
}

#[tokio::test]
async fn what_a_restored_receiver_has_lost_is_sent_again() {
    let cluster = Cluster::start().await;
    let mut pair = pair(cluster.database().await, TestDatabase::create().await).await;
    let scene = Scene::of_pair(&pair).await;
    let _set = scene.ravi.update_status(&scene.action, "pending").send().await.expect(200);
    arrives(&scene.asha, &scene.action, 1).await;
    settled(&pair).await;
    pair.student.process.kill();
    cluster.back_up().await;
    pair.student.process.restart().await;
    for status in ["accepted", "pending", "completed"] {
        let _set = scene.ravi.update_status(&scene.action, status).send().await.expect(200);
    }
    arrives(&scene.asha, &scene.action, 4).await;
    settled(&pair).await;

    pair.student.process.kill();
    cluster.restore().await;
    let renewed = pair.student.instance.run(&["log", "new-epoch"]).await;
    assert!(renewed.status.success(), "{}", String::from_utf8_lossy(&renewed.stderr));
    pair.student.process.restart().await;
    assert_eq!(scene.asha.action(&scene.action).await.expect("the action")["update_count"], 1);
    let (same, text) = reconcile(&pair).await;
    assert!(!same && text.contains("was delivered as 5 and is lost there"), "{text}");
    // The next event tells the sender; an idle lane asks by itself once an hour.
    let _set = scene.ravi.update_status(&scene.action, "accepted").send().await.expect(200);
    arrives(&scene.asha, &scene.action, 5).await;
    settled(&pair).await;
    eventually("the gap is filled", SOON, || async {
        let events = scene.asha.events(&scene.action).await;
        check(events.len() == 6, format!("{events:?}"))
    })
    .await;
    assert_same_story(&scene.asha, &scene.ravi, &scene.action).await;
    eventually("both sides are the same", SOON, || async {
        let (same, text) = reconcile(&pair).await;
        check(same && text.contains("6 events here, 6 there, 0 differ"), text)
    })
    .await;
}

#[tokio::test]
async fn a_restored_senders_divergence_is_seen_and_named_and_overwrites_nothing() {
    let cluster = Cluster::start().await;
    let mut pair = pair(TestDatabase::create().await, cluster.database().await).await;
    let scene = Scene::of_pair(&pair).await;
    settled(&pair).await;
    pair.tutor.process.kill();
    cluster.back_up().await;
    pair.tutor.process.restart().await;
    for status in ["pending", "accepted"] {
        let _set = scene.ravi.update_status(&scene.action, status).send().await.expect(200);
    }
    arrives(&scene.asha, &scene.action, 2).await;
    settled(&pair).await;

    pair.tutor.process.kill();
    cluster.restore().await;
    let renewed = pair.tutor.instance.run(&["log", "new-epoch"]).await;
    assert!(renewed.status.success(), "{}", String::from_utf8_lossy(&renewed.stderr));
    pair.tutor.process.restart().await;
    // The tutor has forgotten both changes, and now decides otherwise.
    let _set = scene.ravi.update_status(&scene.action, "rejected").send().await.expect(200);
    let diverged = eventually("the divergence is seen", SOON, || async {
        let lane = lane(&pair).await;
        if lane["diverged"] == true { Ok(lane) } else { Err(lane.to_string()) }
    })
    .await;
    assert_eq!(diverged["parked"], 1, "{diverged}");
    let mirrored = scene.asha.events(&scene.action).await;
    let statuses: Vec<_> = mirrored.iter().map(|event| event["action_status"].clone()).collect();
    assert_eq!(statuses, ["created", "pending", "accepted"], "nothing is overwritten");
    let (same, text) = reconcile(&pair).await;
    assert!(!same && text.contains("2 events here, 3 there, 2 differ"), "{text}");
    assert!(text.contains(&format!("different: action {} event 1", scene.action)), "{text}");
    assert!(text.contains(&format!("missing here: action {} event 2", scene.action)), "{text}");
}
