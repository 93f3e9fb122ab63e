use std::fmt::Debug;
use std::sync::{Arc, Mutex};

use dpg_projector::Projection;
use dpg_tests::eventually;
use dpg_tests::log::SOON;
use dpg_tests::wait::check;
use serde_json::json;
use tokio_util::sync::CancellationToken;
use tracing::field::Field;
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Metadata, Subscriber};
use uuid::Uuid;

use crate::{TestProjector, item_created, item_updated};

/// Keeps what is told as an error; whoever tells the first panics over it.
#[derive(Clone, Default)]
struct Sink(Arc<Mutex<Vec<String>>>);

impl Sink {
    fn told(&self) -> Vec<String> {
        self.0.lock().unwrap().clone()
    }
}

impl Subscriber for Sink {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        *metadata.level() == Level::ERROR
    }

    fn event(&self, event: &Event<'_>) {
        let mut line = String::new();
        event.record(&mut |field: &Field, value: &dyn Debug| line.push_str(&format!("{field}={value:?} ")));
        let first = {
            let mut told = self.0.lock().unwrap();
            told.push(line);
            told.len() == 1
        };
        assert!(!first, "nothing more can be told");
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}
    fn record_follows_from(&self, _: &Id, _: &Id) {}
    fn enter(&self, _: &Id) {}
    fn exit(&self, _: &Id) {}
}

/// On one thread, which is the one that the sink is for.
#[tokio::test]
async fn a_worker_that_panics_is_told_of_and_started_again() {
    let test = TestProjector::new().await;
    let id = Uuid::now_v7();
    test.won(item_created(id, "student", &json!({}))).await;
    test.catch_up(Projection::Items).await;
    test.won(item_updated(id, 2, 1, &json!({"n": 2}))).await;
    test.run("alter table items_live.item_counts rename to away").await;
    let sink = Sink::default();
    let _guard = tracing::subscriber::set_default(sink.clone());
    let stop = CancellationToken::new();
    let running = tokio::spawn({
        let (projector, stop) = (test.projector.clone(), stop.clone());
        async move { projector.run(stop).await }
    });
    eventually("the worker has been told of", SOON, || async {
        check(sink.told().len() >= 3, format!("{:?}", sink.told()))
    })
    .await;
    let told = sink.told();
    assert!(told[0].contains("message=the projection stands still"), "{told:?}");
    assert!(
        told[1].contains("message=a projection's worker broke projection=items network=\"yellow_dot\""),
        "{told:?}"
    );
    assert!(told[1].contains("nothing more can be told"), "{told:?}");
    assert!(told[2].contains("message=the projection stands still"), "it was started again: {told:?}");
    test.run("alter table items_live.away rename to item_counts").await;
    eventually("the projection goes on", SOON, || async {
        let state = test.item(id).await.unwrap()["item_state"].clone();
        check(state == json!({"n": 2}), state)
    })
    .await;
    assert!(test.metric("dpg_projection_failures_total") > 1.5);
    stop.cancel();
    running.await.unwrap();
}
