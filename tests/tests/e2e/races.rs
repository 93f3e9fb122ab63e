//! Fifty people can't accept one action twice: exactly one change wins per version, each with an event of its own.

use dpg_tests::log::{arrives, assert_same_story};
use dpg_tests::network::{CONNECT, NETWORK};
use dpg_tests::pair::Scene;
use dpg_tests::{Pair, Role, port};
use futures_util::future::join_all;
use serde_json::{Value, json};

#[tokio::test(flavor = "multi_thread")]
async fn fifty_status_changes_at_once_are_numbered_without_a_hole() {
    fifty_status_changes(1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn fifty_status_changes_at_once_through_two_processes_are_numbered_without_a_hole() {
    fifty_status_changes(2).await;
}

async fn fifty_status_changes(processes: usize) {
    let pair = Pair::start().await;
    let scene = Scene::of_pair(&pair).await;
    let mut urls = vec![pair.tutor.process.url()];
    let mut more = Vec::new();
    for _ in 1..processes {
        let process = pair.tutor.instance.start(Role::Api, port::free()).await;
        urls.push(process.url());
        more.push(process);
    }

    let changes = (0..50_usize).map(|number| {
        let client = scene.ravi.at(&urls[number % urls.len()]);
        let status = ["pending", "accepted", "rejected", "completed"][number % 4];
        let body = json!({"action_id": scene.action, "action_status": status, "remarks": format!("change {number}")});
        async move { client.post("/api/v1/action/update-status").json(&body).send().await }
    });
    let answers = join_all(changes).await;

    let mut won: Vec<&Value> = Vec::new();
    for answer in &answers {
        match answer.status {
            200 => won.push(&answer.body),
            409 => answer.expect_error(409, "ACTION_CONFLICT"),
            _ => panic!("{answer}"),
        }
    }
    won.sort_by_key(|body| body["update_count"].as_i64());
    let counts: Vec<i64> = won.iter().filter_map(|body| body["update_count"].as_i64()).collect();
    let expected: Vec<i64> = (1..).take(counts.len()).collect();
    assert_eq!(counts, expected, "counts of the accepted changes");
    assert!(!won.is_empty(), "nobody won");
    assert!(won.iter().all(|body| body["action_type"] == json!(CONNECT)), "{won:?}");

    let last = i64::try_from(won.len()).expect("a count");
    let source_row = arrives(&scene.asha, &scene.action, last).await;
    let events = assert_same_story(&scene.asha, &scene.ravi, &scene.action).await;
    assert_eq!(events.len(), won.len() + 1, "k + 1 events");
    for (event, answer) in events[1..].iter().zip(&won) {
        assert_eq!(event["action_status"], answer["action_status"], "an answer and its event differ");
    }
    let target_row = scene.ravi.action(&scene.action).await.expect("the action");
    for key in ["action_status", "update_count", "remarks", "requirements_snapshot"] {
        assert_eq!(target_row[key], source_row[key], "{key} differs between the two sides");
    }

    let client = pair.tutor.instance.database.client().await;
    let query = "select count(*) from event_log where network = $1 and payload->'action'->>'action_id' = $2";
    let logged: i64 = client.query_one(query, &[&NETWORK, &scene.action]).await.expect("the log").get(0);
    assert_eq!(logged, last + 1);
    pair.tutor.verify().await;
    pair.student.verify().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_answers_at_once_under_a_lifecycle_one_wins() {
    let contract = dpg_tests::Contract::new().with_lifecycle();
    let node = dpg_tests::Node::both_with(contract, |instance| instance).await;
    let (asha, ravi) = (node.sign_up("asha").await, node.sign_up("ravi").await);
    let target = ravi.create_tutor("Ravi").await;
    for _ in 0..20 {
        let source = asha.create_student("Asha").await;
        let action = asha.perform(&source, &target).send().await.expect(201).text_at("action_id");
        let (accepted, rejected, cancelled) = tokio::join!(
            ravi.update_status(&action, "accepted").send(),
            ravi.update_status(&action, "rejected").send(),
            asha.update_status(&action, "cancelled").send(),
        );
        let answers = [&accepted, &rejected, &cancelled];
        let won: Vec<_> = answers.iter().filter(|answer| answer.status == 200).collect();
        assert_eq!(won.len(), 1, "{accepted}\n{rejected}\n{cancelled}");
        for lost in answers.iter().filter(|answer| answer.status != 200) {
            lost.expect_error(409, "INVALID_TRANSITION");
        }
        let row = asha.action(&action).await.expect("the action");
        assert_eq!(row["action_status"], won[0].body["action_status"]);
        assert_eq!(row["update_count"], json!(1));
        assert_eq!(asha.events(&action).await.len(), 2);
    }
    node.verify().await;
}
