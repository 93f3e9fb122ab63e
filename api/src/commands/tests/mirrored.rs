//! Events of actions that other instances hold (CONTRACT 4.14), in every order.

use dpg_eventstore::EventType;
use proptest::prelude::*;
use serde_json::{Value, json};
use uuid::Uuid;

use super::action::wanted;
use super::*;
use crate::commands::action::{event_id, perform};
use crate::commands::mirrored::{Mirrored, MirroredEvent, check_identity, same_content, store};
use crate::commands::payload::{ActionPayload, ActionState, HistoryRow, parse};

/// The instance of the menu: another, here where the plot lives.
const ORIGIN: &str = "https://k.example.org";

fn event(count: i32, status: &str) -> MirroredEvent {
    let mut menu = target();
    menu.item.item_instance_url = ORIGIN.to_owned();
    menu.here = false;
    let state = ActionState {
        action_type: "chat".to_owned(),
        partition_network: "harvest".to_owned(),
        action_id: Uuid::from_u128(0xc),
        action_status: status.to_owned(),
        update_count: count,
        source: source(true),
        target: menu,
        requirements_snapshot: Map::new(),
        remarks: None,
        created_at: None,
        updated_at: None,
    };
    MirroredEvent {
        origin: ORIGIN.to_owned(),
        state,
        coordinates: [None, None, Some(12.97), Some(77.59)],
        event_payload: object(json!({"status": status})),
        remarks: None,
        tells_requirements: false,
        occurred_at: None,
    }
}

fn saying(event: MirroredEvent, remarks: &str) -> MirroredEvent {
    let state = ActionState { remarks: Some(remarks.to_owned()), ..event.state };
    MirroredEvent { remarks: Some(remarks.to_owned()), state, ..event }
}

fn requiring(event: MirroredEvent, requirements: Value) -> MirroredEvent {
    let state = ActionState { requirements_snapshot: object(requirements), ..event.state };
    MirroredEvent { tells_requirements: true, state, ..event }
}

fn new(known: Option<&LoadedAction>, event: MirroredEvent) -> NewEvent {
    check_identity(known, &event).unwrap();
    match store(known, event, metadata()).unwrap() {
        Mirrored::New(new) => *new,
        Mirrored::Known => panic!("the event is known"),
    }
}

/// The action after these events, in this order.
fn after(events: impl IntoIterator<Item = MirroredEvent>) -> LoadedAction {
    let mut known: Option<LoadedAction> = None;
    for (step, event) in (0..).zip(events) {
        let new = new(known.as_ref(), event);
        assert_eq!(new.version, known.map_or(1, |known| known.version + 1));
        known = Some(loaded_action(&new, at(step)));
    }
    known.unwrap()
}

fn conflict_of(known: &LoadedAction, event: &MirroredEvent) -> (u16, String) {
    let error = check_identity(Some(known), event).unwrap_err();
    (error.status.as_u16(), error.code.into_owned())
}

#[test]
fn the_first_event_makes_the_action() {
    let told = MirroredEvent { occurred_at: Some("2026-11-20T00:00:00.100Z".to_owned()), ..event(0, "created") };
    let new = new(None, requiring(told, json!({"crop": "rice"})));
    assert_eq!((new.stream_id, new.version, new.event_type), (Uuid::from_u128(0xc), 1, EventType::ActionEventMirrored));
    assert_eq!(new.event_id, event_id(&InstanceUrl::parse(ORIGIN).unwrap(), Uuid::from_u128(0xc), 0));
    assert!(new.destination.is_none() && new.private.is_none(), "a mirror mirrors nothing on");
    let payload: ActionPayload = parse(&new.payload).unwrap();
    assert_eq!(payload.seen, Some(vec![(0, 0)]));
    assert_eq!(Value::Object(payload.action.requirements_snapshot), json!({"crop": "rice"}));
    assert!(payload.action.source.here && !payload.action.target.here);
    assert_eq!(payload.event.origin_instance_domain, ORIGIN);
    assert_eq!(payload.event.occurred_at.as_deref(), Some("2026-11-20T00:00:00.100Z"));
    assert_eq!((payload.event.target_item_latitude, payload.event.target_item_longitude), (Some(12.97), Some(77.59)));
}

#[test]
fn the_next_event_is_the_present_state() {
    let action = after([event(0, "created"), event(1, "accepted")]);
    assert_eq!((action.state.action_status.as_str(), action.state.update_count), ("accepted", 1));
    assert_eq!((action.version, action.seen), (2, Some(vec![(0, 1)])));
    assert_eq!(action.state.created_at.as_deref(), Some("2026-11-21T01:53:04.000Z"));
    assert_eq!(action.state.updated_at.as_deref(), Some("2026-11-21T01:53:05.000Z"));
}

#[test]
fn a_late_event_joins_the_history_only() {
    let known = after([event(3, "completed")]);
    let new = new(Some(&known), event(1, "accepted"));
    let payload: ActionPayload = parse(&new.payload).unwrap();
    assert_eq!((payload.event.action_status.as_str(), payload.event.update_count), ("accepted", 1));
    assert_eq!(payload.action, known.state, "times included");
    assert_eq!(payload.seen, Some(vec![(1, 1), (3, 3)]));
}

#[test]
fn a_known_event_is_not_written_again() {
    let known = after([event(0, "created"), event(2, "accepted")]);
    for count in [0, 2] {
        // Another content too: what was stored first stays.
        assert!(matches!(store(Some(&known), event(count, "other"), metadata()), Ok(Mirrored::Known)));
    }
    assert!(matches!(store(Some(&known), event(1, "x"), metadata()), Ok(Mirrored::New(_))));
}

#[test]
fn an_action_has_one_origin_one_type_and_one_pair_of_items() {
    let known = after([event(0, "created")]);
    let changes: [fn(&mut MirroredEvent); 8] = [
        |event| event.origin = "https://evil.example.org".to_owned(),
        |event| event.origin = "http://k.example.org".to_owned(),
        |event| event.state.action_type = "offer".to_owned(),
        |event| event.state.source.item.item_id = Uuid::from_u128(1),
        |event| event.state.source.item.item_type = "plot_2".to_owned(),
        |event| event.state.target.item.item_id = Uuid::from_u128(1),
        |event| event.state.target.item.item_domain = "farm".to_owned(),
        |event| event.state.target.item.item_instance_url = "https://evil.example.org".to_owned(),
    ];
    for (number, change) in changes.into_iter().enumerate() {
        // Known by its count or not: it is another action's event.
        for count in [0, 1] {
            let mut event = event(count, "accepted");
            change(&mut event);
            assert_eq!(conflict_of(&known, &event), (409, "EVENT_IDENTITY_CONFLICT".to_owned()), "{number}");
        }
    }
}

#[test]
fn another_spelling_is_the_same_instance() {
    let known = after([event(0, "created")]);
    let mut again = event(1, "accepted");
    again.origin = "HTTPS://K.example.org:443".to_owned();
    again.state.target.item.item_instance_url = "https://k.example.org/".to_owned();
    again.state.source.item.item_instance_url = "https://B.EXAMPLE.org".to_owned();
    let new = new(Some(&known), again);
    assert_eq!(new.event_id, event_id(&InstanceUrl::parse(ORIGIN).unwrap(), Uuid::from_u128(0xc), 1));
}

#[test]
fn owners_may_change_for_they_are_not_what_an_action_is() {
    let mut told = event(1, "accepted");
    told.state.target.owner = Some("next-cook".to_owned());
    let action = after([event(0, "created"), told]);
    assert_eq!(action.state.target.owner.as_deref(), Some("next-cook"));
}

#[test]
fn an_action_that_is_held_here_is_never_mirrored() {
    let (held, _) = perform(&contracts(), wanted("chat", true, json!({})), metadata()).unwrap();
    let held = loaded_action(&held, at(0));
    let mut told = event(1, "accepted");
    told.origin = KITCHEN.to_owned();
    told.state.target.item = held.state.target.item.clone();
    assert_eq!(conflict_of(&held, &told), (409, "EVENT_IDENTITY_CONFLICT".to_owned()));
}

#[test]
fn requirements_are_kept_until_told_again() {
    let told = requiring(event(0, "created"), json!({"crop": "rice"}));
    let action = after([told.clone(), event(1, "accepted")]);
    assert_eq!(Value::Object(action.state.requirements_snapshot), json!({"crop": "rice"}));
    let corrected = requiring(event(1, "accepted"), json!({}));
    assert!(after([told.clone(), corrected]).state.requirements_snapshot.is_empty());
    // A late event fills them in, and goes over nothing.
    let action = after([event(2, "completed"), told, requiring(event(1, "accepted"), json!({"crop": "oats"}))]);
    assert_eq!(Value::Object(action.state.requirements_snapshot), json!({"crop": "rice"}));
}

#[test]
fn the_latest_remark_stays_whenever_it_arrives() {
    let (first, second, third) =
        (saying(event(0, "created"), "one"), saying(event(1, "accepted"), "two"), event(2, "completed"));
    for order in [[&first, &second, &third], [&third, &second, &first], [&third, &first, &second]] {
        let action = after(order.into_iter().cloned());
        assert_eq!((action.state.remarks.as_deref(), action.state.action_status.as_str()), (Some("two"), "completed"));
    }
}

#[test]
fn the_same_content_may_be_written_in_another_way() {
    let read = |text: &str| -> HistoryRow {
        let new =
            new(None, MirroredEvent { event_payload: serde_json::from_str(text).unwrap(), ..event(0, "created") });
        parse::<ActionPayload>(&new.payload).unwrap().event
    };
    let same = |a: &str, b: &str| same_content(&read(a), "created", &serde_json::from_str(b).unwrap(), None);
    assert!(same(r#"{"n":1e2,"m":{"a":1,"b":[2.0]}}"#, r#"{"m":{"b":[2],"a":1.0},"n":100}"#));
    assert!(same(r#"{"n":1e17}"#, r#"{"n":100000000000000000}"#));
    assert!(same(r#"{"n":-0.0}"#, r#"{"n":0}"#));
    for (a, b) in [
        (r#"{"n":1}"#, r#"{"n":2}"#),
        (r#"{"n":1}"#, r#"{"n":"1"}"#),
        (r#"{"n":1}"#, r#"{"n":1,"m":null}"#),
        (r#"{"n":[1,2]}"#, r#"{"n":[2,1]}"#),
        (r#"{"n":[1]}"#, r#"{"n":[1,1]}"#),
        // One and the same as floats.
        (r#"{"n":9007199254740992}"#, r#"{"n":9007199254740993}"#),
        (r#"{"n":18446744073709551614}"#, r#"{"n":18446744073709551615}"#),
    ] {
        assert!(!same(a, b) && !same(b, a), "{a} {b}");
    }
}

#[test]
fn status_and_remarks_are_content_too() {
    let new = new(None, saying(event(0, "created"), "Saturday"));
    let row = parse::<ActionPayload>(&new.payload).unwrap().event;
    let payload = row.event_payload.clone();
    assert!(same_content(&row, "created", &payload, Some("Saturday")));
    assert!(!same_content(&row, "accepted", &payload, Some("Saturday")));
    assert!(!same_content(&row, "created", &payload, Some("Sunday")));
    assert!(!same_content(&row, "created", &payload, None));
}

/// What an action tells must not depend on when its events came; when we heard of them does.
fn timeless(action: LoadedAction) -> (ActionState, Option<i32>) {
    (ActionState { created_at: None, updated_at: None, ..action.state }, action.remarks_count)
}

/// A history of an action: each event tells a remark, the requirements, both or neither.
fn history() -> impl Strategy<Value = Vec<MirroredEvent>> {
    prop::collection::vec((any::<bool>(), any::<bool>()), 1..12).prop_map(|told| {
        let events = (0..).zip(told).map(|(count, (remark, requirements))| {
            let mut event = event(count, &format!("status {count}"));
            if remark {
                event = saying(event, &format!("remark {count}"));
            }
            if requirements {
                event = requiring(event, json!({"crop": "rice"}));
            }
            event
        });
        events.collect()
    })
}

proptest! {
    #[test]
    fn any_order_leads_to_the_same_state(
        (history, shuffled) in history().prop_flat_map(|history| (Just(history.clone()), Just(history).prop_shuffle()))
    ) {
        let last = i32::try_from(history.len()).unwrap() - 1;
        let action = after(shuffled);
        prop_assert_eq!(action.seen.as_deref(), Some(&[(0, last)][..]));
        prop_assert_eq!(action.version, last + 1);
        prop_assert_eq!(timeless(action), timeless(after(history)));
    }

    #[test]
    fn counts_are_stored_once_whatever_comes_again(counts in prop::collection::vec(0..12_i32, 1..40)) {
        let mut known: Option<LoadedAction> = None;
        let mut stored = std::collections::BTreeSet::new();
        for (step, count) in (0..).zip(counts) {
            match store(known.as_ref(), event(count, "x"), metadata()).unwrap() {
                Mirrored::New(new) => {
                    prop_assert!(stored.insert(count));
                    known = Some(loaded_action(&new, at(step)));
                }
                Mirrored::Known => prop_assert!(stored.contains(&count)),
            }
        }
        let known = known.unwrap();
        let seen = known.seen.unwrap();
        prop_assert!(seen.windows(2).all(|pair| pair[0].1 + 1 < pair[1].0), "{seen:?}");
        let counts: Vec<i32> = seen.into_iter().flat_map(|(from, to)| from..=to).collect();
        prop_assert_eq!(counts, stored.iter().copied().collect::<Vec<_>>());
        prop_assert_eq!(Some(known.state.update_count), stored.last().copied());
    }
}
