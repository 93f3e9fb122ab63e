use std::time::{Duration, Instant};

use dpg_projector::{Projection, Waited};
use serde_json::json;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::{NETWORK, TestProjector, another_process, item_created};

const ITEMS: &[Projection] = &[Projection::Items];
const LONG: Duration = Duration::from_secs(10);

#[tokio::test]
async fn a_wait_ends_with_its_time_when_nobody_projects() {
    let test = TestProjector::new().await;
    let position = test.won(item_created(Uuid::now_v7(), "student", &json!({}))).await;
    assert!(!test.readers.wait(NETWORK, position, ITEMS, Duration::from_millis(60)).await);
    assert!(!test.readers.wait(NETWORK, position, ITEMS, Duration::ZERO).await);
    let lags = test.readers.behind(NETWORK).await.unwrap();
    assert_eq!(lags.len(), 3);
    assert!(lags.iter().all(|lag| lag.events == 1 && lag.milliseconds >= 60), "{lags:?}");
    test.catch_up_all().await;
    assert!(test.readers.wait(NETWORK, position, &Projection::ALL, Duration::ZERO).await);
    assert!(test.readers.behind(NETWORK).await.unwrap().iter().all(|lag| lag.events == 0 && lag.milliseconds == 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reader_hears_of_a_projector_in_another_process() {
    let test = TestProjector::new().await;
    let (elsewhere, _, _) = another_process(&test.home, &test.wake);
    let stop = CancellationToken::new();
    let running = tokio::spawn({
        let stop = stop.clone();
        async move { elsewhere.run(stop).await }
    });
    for _ in 0..5 {
        let id = Uuid::now_v7();
        let position = test.won(item_created(id, "student", &json!({}))).await;
        assert_eq!(test.readers.wait_for_stream(NETWORK, position, id, ITEMS, LONG).await, Waited::Projected);
        assert!(test.item(id).await.is_some());
    }
    stop.cancel();
    running.await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_write_is_read_at_once_by_its_writer() {
    let test = TestProjector::new().await;
    let stop = CancellationToken::new();
    let running = tokio::spawn({
        let (projector, stop) = (test.projector.clone(), stop.clone());
        async move { projector.run(stop).await }
    });
    let mut waits = Vec::new();
    for _ in 0..100 {
        let id = Uuid::now_v7();
        let position = test.won(item_created(id, "student", &json!({}))).await;
        let began = Instant::now();
        assert!(test.readers.wait(NETWORK, position, ITEMS, LONG).await);
        waits.push(began.elapsed());
        assert!(test.item(id).await.is_some());
    }
    waits.sort();
    println!("wait for the projection: median {:?}, 99th {:?}", waits[50], waits[98]);
    stop.cancel();
    running.await.unwrap();
}

#[tokio::test]
async fn nobody_waits_for_a_projector_that_is_far_behind() {
    let test = TestProjector::new().await;
    test.won(item_created(Uuid::now_v7(), "student", &json!({}))).await;
    test.catch_up(Projection::Items).await;
    let began = Instant::now();
    assert!(!test.readers.wait(NETWORK, 50_000, ITEMS, LONG).await);
    assert!(began.elapsed() < Duration::from_secs(5));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wait_for_what_is_not_written_yet_spoils_no_other() {
    let test = TestProjector::new().await;
    let stop = CancellationToken::new();
    let running = tokio::spawn({
        let (projector, stop) = (test.projector.clone(), stop.clone());
        async move { projector.run(stop).await }
    });
    let first = test.won(item_created(Uuid::now_v7(), "student", &json!({}))).await;
    assert!(test.readers.wait(NETWORK, first, ITEMS, LONG).await);
    let future = tokio::spawn({
        let readers = test.readers.clone();
        async move { readers.wait(NETWORK, first + 10, ITEMS, Duration::from_secs(3)).await }
    });
    let began = Instant::now();
    while began.elapsed() < Duration::from_millis(2500) {
        // Somebody polls; nothing is stuck.
        assert!(!test.readers.wait(NETWORK, first + 10, ITEMS, Duration::from_millis(100)).await);
    }
    let second = test.won(item_created(Uuid::now_v7(), "student", &json!({}))).await;
    assert!(test.readers.wait(NETWORK, second, ITEMS, LONG).await);
    assert!(!future.await.unwrap());
    stop.cancel();
    running.await.unwrap();
}

#[tokio::test]
async fn a_projector_that_stands_still_is_given_up_and_tried_again() {
    let test = TestProjector::new().await;
    let position = test.won(item_created(Uuid::now_v7(), "student", &json!({}))).await;
    test.run("insert into projection_checkpoints (projection, network) values ('items', 'yellow_dot')").await;
    assert!(!test.readers.wait(NETWORK, position, ITEMS, Duration::from_millis(2500)).await);
    let began = Instant::now();
    assert!(!test.readers.wait(NETWORK, position, ITEMS, LONG).await);
    assert!(began.elapsed() < Duration::from_secs(1), "known to stand still");
    test.catch_up(Projection::Items).await;
    assert!(test.readers.wait(NETWORK, position, ITEMS, LONG).await);
}
