use dpg_eventstore::{Command, EventType, NewEvent};
use dpg_projector::Projection;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::{TestProjector, event, item_created, item_deleted};

pub struct Action {
    pub id: Uuid,
    pub source: Uuid,
    pub target: Uuid,
    pub action_type: String,
    pub source_here: bool,
    pub target_here: bool,
}

impl Action {
    pub fn between(source: Uuid, target: Uuid) -> Self {
        let action_type = "connect".to_owned();
        Self { id: Uuid::now_v7(), source, target, action_type, source_here: true, target_here: true }
    }

    /// `status` is what this event says, `state` what the action has become.
    pub fn payload(&self, (status, count): (&str, i32), (state, state_count): (&str, i32)) -> Value {
        let mut action = json!({
            "action_type": self.action_type, "partition_network": "yellow_dot", "action_id": self.id,
            "action_status": state, "update_count": state_count, "requirements_snapshot": {"subject": "math"},
            "remarks": null, "source_here": self.source_here, "target_here": self.target_here,
        });
        for (side, id) in [("source", self.source), ("target", self.target)] {
            action[format!("{side}_item_network")] = json!("yellow_dot");
            action[format!("{side}_item_domain")] = json!("student");
            action[format!("{side}_item_type")] = json!("profile_1.0");
            action[format!("{side}_item_id")] = json!(id);
            action[format!("{side}_item_instance_url")] = json!("https://a.example.org");
            action[format!("{side}_item_owner")] = json!(side);
        }
        json!({"action": action, "event": {
            "event_id": Uuid::new_v4(), "origin_instance_domain": "https://a.example.org", "action_status": status,
            "update_count": count, "source_item_latitude": null, "source_item_longitude": null,
            "target_item_latitude": 12.97, "target_item_longitude": 77.59, "event_payload": {"status": status},
            "remarks": null,
        }})
    }

    pub fn event(&self, version: i32, kind: EventType, status: (&str, i32), state: (&str, i32)) -> NewEvent {
        event(self.id, version, kind, &self.payload(status, state))
    }

    pub fn performed(&self) -> Command {
        Command::of(self.event(1, EventType::ActionPerformed, ("initiated", 0), ("initiated", 0)))
    }
}

async fn two_items(test: &TestProjector) -> (Uuid, Uuid) {
    let (source, target) = (Uuid::now_v7(), Uuid::now_v7());
    test.won(item_created(source, "student", &json!({}))).await;
    test.won(item_created(target, "student", &json!({}))).await;
    (source, target)
}

#[tokio::test]
async fn an_action_has_its_last_status_and_all_its_history() {
    let test = TestProjector::new().await;
    let (source, target) = two_items(&test).await;
    let action = Action::between(source, target);
    test.won(action.performed()).await;
    test.catch_up_all().await;
    assert_eq!(test.action(action.id).await.unwrap()["action_status"], "initiated");
    let accepted = ("accepted", 1);
    test.won(Command::of(action.event(2, EventType::ActionStatusUpdated, accepted, accepted))).await;
    test.catch_up_all().await;
    let row = test.action(action.id).await.unwrap();
    assert_eq!(
        (&row["action_status"], &row["update_count"], &row["version"]),
        (&json!("accepted"), &json!(1), &json!(2))
    );
    assert_eq!(row["target_item_owner"], "target");
    assert_eq!(row["requirements_snapshot"], json!({"subject": "math"}));
    assert_eq!(test.count("select count(*) from action_events_live.action_events").await, 2);
    test.assert_clean().await;
}

#[tokio::test]
async fn a_late_mirrored_event_lands_in_the_history_and_leaves_the_status() {
    let test = TestProjector::new().await;
    let action = Action { target_here: false, ..Action::between(Uuid::now_v7(), Uuid::now_v7()) };
    let mirrored = EventType::ActionEventMirrored;
    test.won(Command::of(action.event(1, mirrored, ("initiated", 0), ("initiated", 0)))).await;
    test.won(Command::of(action.event(2, mirrored, ("done", 2), ("done", 2)))).await;
    let mut late = action.payload(("accepted", 1), ("done", 2));
    late["event"]["occurred_at"] = json!("2026-01-02T03:04:05.678Z");
    test.won(Command::of(event(action.id, 3, mirrored, &late))).await;
    test.catch_up_all().await;
    let row = test.action(action.id).await.unwrap();
    assert_eq!((&row["action_status"], &row["update_count"]), (&json!("done"), &json!(2)));
    let statuses: Vec<String> =
        test.value("select array_agg(action_status order by update_count) from action_events_live.action_events").await;
    assert_eq!(statuses, ["initiated", "accepted", "done"]);
    let late = "select count(*) from action_events_live.action_events
                 where update_count = 1 and created_at = '2026-01-02T03:04:05.678Z'";
    assert_eq!(test.count(late).await, 1);
    test.assert_clean().await;
}

#[tokio::test]
async fn actions_go_with_their_target_and_stay_without_their_source() {
    let test = TestProjector::new().await;
    let (source, target) = two_items(&test).await;
    let (early, late) = (Action::between(source, target), Action::between(source, target));
    // Another instance's item that happens to have the same id is another item.
    let elsewhere = Action { target_here: false, ..Action::between(source, target) };
    test.won(early.performed()).await;
    test.catch_up_all().await;
    test.won(Command::of(elsewhere.event(1, EventType::ActionEventMirrored, ("initiated", 0), ("initiated", 0)))).await;
    test.won(late.performed()).await;
    test.won(item_deleted(target, 2)).await;
    test.catch_up_all().await;
    assert_eq!(test.action(early.id).await, None, "folded before the deletion");
    assert_eq!(test.action(late.id).await, None, "folded with the deletion");
    assert!(test.action(elsewhere.id).await.is_some());
    assert_eq!(test.count("select count(*) from action_events_live.action_events").await, 3);
    test.won(item_deleted(source, 2)).await;
    test.catch_up_all().await;
    assert!(test.action(elsewhere.id).await.is_some());
    test.assert_clean().await;

    // A fold that starts over comes to the same, though it meets the actions before the deletion.
    test.run(
        "update projection_checkpoints set position = 0 where projection = 'item_actions';
         delete from item_actions_live.item_actions",
    )
    .await;
    test.catch_up(Projection::ItemActions).await;
    assert_eq!(test.action(early.id).await, None);
    test.assert_clean().await;
}
