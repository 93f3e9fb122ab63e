use dpg_projector::{Projection, Step, Tables};
use serde_json::json;
use uuid::Uuid;

use crate::actions::Action;
use crate::{NETWORK, TestProjector, item_created};

#[tokio::test]
async fn a_partition_that_an_event_needs_is_made() {
    let test = TestProjector::new().await;
    test.won(item_created(Uuid::now_v7(), "student", &json!({}))).await;
    test.won(item_created(Uuid::now_v7(), "हिन्दी", &json!({}))).await;
    assert!(matches!(test.projector.step(Projection::Items, NETWORK).await.unwrap(), Step::Folded { own: 2, .. }));
    assert_eq!(test.count("select count(*) from items_live.i_p_yellowdot_student").await, 1);
    let name: String = test.value("select name from partition_names where key = 'हिन्दी'").await;
    assert_eq!(name.len(), "i_p_yellowdot_".len() + 8);
    test.catch_up_all().await;
    test.assert_clean().await;
}

#[tokio::test]
async fn keys_that_normalise_alike_have_tables_of_their_own() {
    let test = TestProjector::new().await;
    let mut ids = Vec::new();
    for action_type in ["act_one", "act-one", "Act One"] {
        let action = Action { action_type: action_type.to_owned(), ..Action::between(Uuid::now_v7(), Uuid::now_v7()) };
        test.won(action.performed()).await;
        ids.push(action.id);
    }
    test.catch_up_all().await;
    for id in ids {
        assert!(test.action(id).await.is_some());
    }
    let names: Vec<String> =
        test.value("select array_agg(name order by name) from partition_names where parent = 'a_p_yellowdot'").await;
    assert_eq!(names.len(), 3);
    assert!(names.contains(&"a_p_yellowdot_actone".to_owned()));
    assert_eq!(test.count("select count(*) from action_events_live.action_events").await, 3);
    test.assert_clean().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_processes_may_prepare_the_same_tables() {
    let test = TestProjector::new().await;
    let tasks: Vec<_> = (0..4)
        .map(|_| {
            let tables = Tables::new(test.database.clone());
            tokio::spawn(async move {
                tables.ensure().await.unwrap();
                for domain in ["student", "tutor", "pkey", "it's"] {
                    tables.ensure_item_partition(NETWORK, domain).await.unwrap();
                    tables.ensure_action_partition("blue-dot", domain).await.unwrap();
                    tables.ensure_action_partition("blue_dot", domain).await.unwrap();
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    assert_eq!(test.count("select count(*) from partition_names where parent = 'i_p_yellowdot'").await, 4);
    assert!(Tables::new(test.database.clone()).ensure_item_partition(NETWORK, " ").await.is_err());
}

#[tokio::test]
async fn attaching_a_partition_waits_for_no_reader_and_lets_none_wait() {
    let test = TestProjector::new().await;
    test.won(item_created(Uuid::now_v7(), "student", &json!({}))).await;
    test.catch_up(Projection::Items).await;
    let mut reader = test.database.client().await.unwrap();
    let reading = reader.transaction().await.unwrap();
    reading.query("select from items_live.items", &[]).await.unwrap();
    test.won(item_created(Uuid::now_v7(), "tutor", &json!({}))).await;
    test.catch_up(Projection::Items).await;
    assert_eq!(reading.query("select from items_live.items", &[]).await.unwrap().len(), 2);
}

#[tokio::test]
async fn a_box_around_a_point_is_searched_by_index() {
    let test = TestProjector::new().await;
    test.won(item_created(Uuid::now_v7(), "student", &json!({}))).await;
    test.catch_up(Projection::Items).await;
    let mut client = test.database.client().await.unwrap();
    let transaction = client.transaction().await.unwrap();
    transaction.batch_execute("set local enable_seqscan = off").await.unwrap();
    let plan = transaction
        .query(
            "explain select item_id from items_live.items
              where item_network = 'yellow_dot' and item_domain = 'student'
                and point(item_longitude, item_latitude) <@ box(point(73, 18), point(74, 19))",
            &[],
        )
        .await
        .unwrap();
    let plan: Vec<String> = plan.iter().map(|row| row.get(0)).collect();
    assert!(plan.iter().any(|line| line.contains("point_idx")), "{plan:#?}");
}
