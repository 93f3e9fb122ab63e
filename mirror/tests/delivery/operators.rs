//! What operators do to lanes and parked events, and what the lanes make of it.

use chrono::TimeDelta;
use dpg_mirror::lane::State;
use dpg_mirror::{Operator, OperatorError, ParkedQuery, Progress, Verb, operator};
use uuid::Uuid;

use crate::batches::signing;
use crate::bed::{Bed, NETWORK};
use crate::own_make::{Opinion, OwnMake};
use crate::peer::{Answer, Peer};

pub(crate) const NO: &str = r#"{"error":"INVALID","message":"no such thing"}"#;

pub(crate) fn operator(bed: &Bed) -> Operator {
    Operator { db: bed.db.clone(), by: "asha".to_owned(), now: bed.clock.now() }
}

fn listed() -> ParkedQuery {
    ParkedQuery { limit: 10, ..ParkedQuery::default() }
}

/// The ids of what is parked, by number.
pub(crate) async fn parked(bed: &Bed) -> Vec<Uuid> {
    let mut events = operator::parked(&bed.db, &listed()).await.unwrap().events;
    events.sort_by_key(|event| event.seq);
    events.into_iter().map(|event| event.id).collect()
}

#[tokio::test]
async fn a_lane_is_paused_and_only_resumed_by_an_operator() {
    let bed = Bed::new().await;
    let peer = Peer::start(Answer::Stored);
    bed.contract.register(&peer.destination, &peer.url);
    bed.owe(&peer.destination, 2).await;
    let (asha, mirror) = (operator(&bed), bed.mirror());
    // No worker has seen it yet; its URL may be written in any way.
    let lanes = asha.act(Verb::Pause, peer.url.as_str(), None).await.unwrap();
    assert_eq!((lanes.len(), lanes[0].state, lanes[0].waiting), (1, State::Paused, 2));
    let operation = lanes[0].operation.clone().unwrap();
    assert_eq!((operation.what.as_str(), operation.by.as_str()), ("pause", "asha"));
    mirror.contacts().contract_changed(NETWORK).await.unwrap();
    assert_eq!(mirror.step().await.unwrap(), Progress::default());
    assert!(matches!(
        asha.act(Verb::Probe, &peer.destination, Some(NETWORK)).await,
        Err(OperatorError::StateConflict { state: State::Paused, .. })
    ));
    let lanes = asha.act(Verb::Resume, &peer.destination, Some(NETWORK)).await.unwrap();
    assert_eq!(lanes[0].state, State::Ready);
    assert_eq!(mirror.step().await.unwrap().delivered, 2);
    for (url, network) in
        [("http://nobody.example", None), (peer.destination.as_str(), Some("elsewhere")), ("nonsense", None)]
    {
        assert!(matches!(asha.act(Verb::Pause, url, network).await, Err(OperatorError::LaneNotFound)), "{url}");
    }
}

#[tokio::test]
async fn a_probe_ends_the_wait_for_one_event_and_a_resume_forgets_it() {
    let bed = Bed::new().await;
    let peer = Peer::start(Answer::Status(401, "{}"));
    bed.contract.register(&peer.destination, &peer.url);
    bed.owe(&peer.destination, 3).await;
    let mirror = bed.mirror();
    mirror.step().await.unwrap();
    operator(&bed).act(Verb::Probe, &peer.destination, None).await.unwrap();
    mirror.step().await.unwrap();
    let lane = bed.lane(&peer.destination).await;
    assert_eq!((peer.got().len(), lane.state, lane.failures), (2, State::Refused, 2));
    assert_eq!(mirror.step().await.unwrap(), Progress::default(), "the wait is back");
    peer.answers(Answer::Stored);
    let lanes = operator(&bed).act(Verb::Resume, &peer.destination, None).await.unwrap();
    assert_eq!((lanes[0].state, lanes[0].failures, lanes[0].next_attempt_at), (State::Ready, 0, None));
    assert_eq!(mirror.step().await.unwrap().delivered, 3);
}

#[tokio::test]
async fn a_probe_of_an_idle_lane_asks_for_the_mark() {
    let bed = Bed::new().await;
    let peer = OwnMake::start();
    bed.contract.register(&peer.destination, &peer.url);
    bed.owe(&peer.destination, 5).await;
    let mirror = signing(&bed);
    mirror.step().await.unwrap();
    peer.with(|state| state.forgets_all_but(2, 2));
    assert_eq!(mirror.step().await.unwrap(), Progress::default());
    operator(&bed).act(Verb::Probe, &peer.destination, None).await.unwrap();
    assert_eq!(mirror.step().await.unwrap().delivered, 3);
    peer.with(|state| assert_eq!(state.stored.len(), 5));
}

#[tokio::test]
async fn a_parked_event_is_shown_retried_before_the_lanes_next_and_delivered() {
    let bed = Bed::new().await;
    let peer = OwnMake::start();
    bed.contract.register(&peer.destination, &peer.url);
    bed.owe(&peer.destination, 4).await;
    let actions = bed.actions().await;
    peer.with(|state| {
        state.opinions.insert(actions[1].clone(), Opinion::Rejects);
        state.opinions.insert(actions[2].clone(), Opinion::Conflicts);
    });
    let mirror = signing(&bed);
    assert_eq!(mirror.step().await.unwrap(), Progress { lanes: 1, delivered: 2, parked: 2 });
    let page = operator::parked(&bed.db, &ParkedQuery { limit: 1, ..listed() }).await.unwrap();
    assert_eq!((page.total, page.events.len(), page.more), (2, 1, true));
    let first = page.events[0].clone();
    let next = ParkedQuery { after: Some((first.parked_at, first.id)), ..listed() };
    let rest = operator::parked(&bed.db, &next).await.unwrap();
    assert_eq!((rest.total, rest.events.len(), rest.more), (2, 1, false));
    assert_ne!(rest.events[0].id, first.id);

    for (instance_url, network, total) in [
        (Some(peer.url.as_str()), Some(NETWORK), 2),
        (None, Some("elsewhere"), 0),
        (Some("http://nobody.example"), None, 0),
        (Some("nonsense"), None, 0),
    ] {
        let (instance_url, network) = (instance_url.map(str::to_owned), network.map(str::to_owned));
        let page = operator::parked(&bed.db, &ParkedQuery { instance_url, network, ..listed() }).await.unwrap();
        assert_eq!((page.total, page.events.len()), (total, usize::try_from(total).unwrap()));
    }
    let beyond = operator::parked(&bed.db, &ParkedQuery { offset: 5, ..listed() }).await.unwrap();
    assert_eq!(
        (beyond.total, beyond.events.len(), beyond.more),
        (2, 0, false),
        "the total stands on an empty page too"
    );

    let [rejected, conflict] = parked(&bed).await[..] else { panic!("two") };
    let (event, body) = operator::parked_event(&bed.db, rejected).await.unwrap();
    assert_eq!((event.seq, event.status, event.error.as_deref()), (2, Some(422), Some("INVALID")));
    assert_eq!((event.action_id.to_string(), event.attempts, event.conflict), (actions[1].clone(), 1, false));
    assert!(body.get().contains(&format!(r#""action_id":"{}""#, actions[1])), "{body}");
    assert!(bed.lane(&peer.destination).await.diverged);

    // Retried in vain it is parked again, under its own id.
    operator(&bed).retry(rejected).await.unwrap();
    assert!(matches!(operator(&bed).retry(rejected).await, Err(OperatorError::ParkedNotFound)), "sent again");
    let lane = bed.lane(&peer.destination).await;
    assert_eq!((lane.waiting, lane.acknowledged_seq, lane.parked), (1, 1, 1), "what is queued waits");
    assert_eq!(mirror.step().await.unwrap().parked, 1);
    assert_eq!(operator::parked_event(&bed.db, rejected).await.unwrap().0.attempts, 2);
    let retried = "select count(*) from parked_events where resolution is null and resolved_by = 'asha'";
    assert_eq!(bed.count(retried).await, 1, "who tried it is kept");

    peer.with(|state| state.opinions.clear());
    bed.owe(&peer.destination, 1).await;
    operator(&bed).retry(rejected).await.unwrap();
    assert_eq!(mirror.step().await.unwrap().delivered, 2);
    let logged = bed.actions().await;
    peer.with(|state| assert_eq!(state.stored[2..], [logged[1].clone(), logged[4].clone()], "before the lane's next"));
    let resolution = "select count(*) from parked_events where resolution = 'delivered' and seq = 2";
    assert_eq!(bed.count(resolution).await, 1);

    operator(&bed).drop_parked(conflict, "theirs is right").await.unwrap();
    let lane = bed.lane(&peer.destination).await;
    assert_eq!((lane.diverged, lane.parked, lane.waiting, lane.acknowledged_seq), (false, 0, 0, 5));
    for id in [conflict, Uuid::new_v4()] {
        assert!(matches!(operator(&bed).retry(id).await, Err(OperatorError::ParkedNotFound)));
        assert!(matches!(operator(&bed).drop_parked(id, "x").await, Err(OperatorError::ParkedNotFound)));
        assert!(matches!(operator::parked_event(&bed.db, id).await, Err(OperatorError::ParkedNotFound)));
    }
    let kept = "select count(*) from parked_events where resolved_by = 'asha' and reason = 'theirs is right'";
    assert_eq!(bed.count(kept).await, 1);
}

/// A retry that finds its peer away is an event that waits like any other, and the probe when the wait is over.
#[tokio::test]
async fn a_retried_event_waits_for_a_peer_that_is_away() {
    let bed = Bed::new().await;
    let peer = Peer::start(Answer::Status(422, NO));
    bed.contract.register(&peer.destination, &peer.url);
    bed.owe(&peer.destination, 1).await;
    let mirror = bed.mirror();
    assert_eq!(mirror.step().await.unwrap().parked, 1);
    let [id] = parked(&bed).await[..] else { panic!("one") };
    peer.answers(Answer::Status(503, "{}"));
    bed.owe(&peer.destination, 2).await;
    assert_eq!(mirror.step().await.unwrap(), Progress { lanes: 1, delivered: 0, parked: 0 });
    operator(&bed).retry(id).await.unwrap();
    assert_eq!(mirror.step().await.unwrap().lanes, 1, "a retry ends the wait");
    let lane = bed.lane(&peer.destination).await;
    let seen = (lane.state, lane.waiting, lane.parked, lane.acknowledged_seq, lane.failures);
    assert_eq!(seen, (State::BackingOff, 3, 0, 0, 2));
    assert_eq!(mirror.step().await.unwrap(), Progress::default(), "the wait is back");
    peer.answers(Answer::Stored);
    bed.clock.advance(TimeDelta::hours(1));
    assert_eq!(mirror.step().await.unwrap().delivered, 3);
    let actions = bed.actions().await;
    assert_eq!(peer.got()[2..], [actions[0].clone(), actions[0].clone(), actions[1].clone(), actions[2].clone()]);
    assert_eq!(bed.lane(&peer.destination).await.acknowledged_seq, 3);
}

/// Events go to a peer that parks them before it takes batches: the mark knows nothing of them.
#[tokio::test]
async fn a_dropped_event_is_told_as_withdrawn_and_the_mark_passes_it() {
    let bed = Bed::new().await;
    let peer = OwnMake::start();
    bed.contract.register(&peer.destination, &peer.url);
    bed.owe(&peer.destination, 3).await;
    let actions = bed.actions().await;
    peer.with(|state| state.opinions.insert(actions[1].clone(), Opinion::Rejects));
    assert_eq!(bed.mirror().step().await.unwrap(), Progress { lanes: 1, delivered: 2, parked: 1 });
    let [id] = parked(&bed).await[..] else { panic!("one") };
    operator(&bed).drop_parked(id, "never").await.unwrap();
    let mirror = signing(&bed);
    assert_eq!(mirror.step().await.unwrap().delivered, 2, "its mark says that it has nothing");
    peer.with(|state| {
        assert_eq!(state.withdrawn.iter().copied().collect::<Vec<_>>(), [2]);
        assert!(!state.stored.contains(&actions[1]));
    });
    assert_eq!(bed.lane(&peer.destination).await.high_water, 3);
}

#[tokio::test]
async fn resend_goes_back_but_not_to_what_is_parked_or_dropped() {
    let bed = Bed::new().await;
    let peer = OwnMake::start();
    bed.contract.register(&peer.destination, &peer.url);
    bed.owe(&peer.destination, 6).await;
    let actions = bed.actions().await;
    peer.with(|state| {
        state.opinions.insert(actions[3].clone(), Opinion::Rejects);
        state.opinions.insert(actions[5].clone(), Opinion::Rejects);
    });
    let mirror = signing(&bed);
    mirror.step().await.unwrap();
    let last = parked(&bed).await[1];
    operator(&bed).drop_parked(last, "never").await.unwrap();
    let asha = operator(&bed);
    for seq in [i64::MIN, -1, 0, 7] {
        assert!(matches!(asha.resend(&peer.destination, NETWORK, seq).await, Err(OperatorError::BeyondLastSeq)));
    }
    assert!(matches!(asha.resend(&peer.destination, "elsewhere", 1).await, Err(OperatorError::LaneNotFound)));
    let (lane, resent) = asha.resend(&peer.destination, NETWORK, 3).await.unwrap();
    assert_eq!((resent, lane.acknowledged_seq, lane.waiting, lane.parked), (2, 2, 2, 1));
    assert_eq!(lane.operation.unwrap().what, "resend");
    assert_eq!(mirror.step().await.unwrap(), Progress { lanes: 1, delivered: 2, parked: 0 });
    peer.with(|state| assert_eq!((state.duplicates, state.stored.len()), (2, 4)));
    let lane = bed.lane(&peer.destination).await;
    assert_eq!((lane.acknowledged_seq, lane.waiting), (6, 0), "over the dropped one at the end");
    assert_eq!(mirror.step().await.unwrap(), Progress::default());

    asha.act(Verb::Pause, &peer.destination, None).await.unwrap();
    let (lane, resent) = asha.resend(&peer.destination, NETWORK, 1).await.unwrap();
    assert_eq!((resent, lane.state, lane.waiting, lane.parked), (4, State::Paused, 4, 1));
    assert_eq!(mirror.step().await.unwrap(), Progress::default(), "a paused lane stays paused");
    asha.act(Verb::Resume, &peer.destination, None).await.unwrap();
    assert_eq!(mirror.step().await.unwrap(), Progress { lanes: 1, delivered: 4, parked: 0 });
}

#[tokio::test]
async fn verbs_that_would_send_are_refused_while_a_destination_is_not_in_the_contract() {
    let bed = Bed::new().await;
    let peer = Peer::start(Answer::Status(422, NO));
    bed.contract.register(&peer.destination, &peer.url);
    bed.owe(&peer.destination, 1).await;
    let mirror = bed.mirror();
    mirror.step().await.unwrap();
    bed.contract.remove(&peer.destination);
    mirror.refresh().await.unwrap();
    let asha = operator(&bed);
    let [id] = parked(&bed).await[..] else { panic!("one") };
    let refused = |result: Result<(), OperatorError>| {
        assert!(matches!(result, Err(OperatorError::StateConflict { state: State::Unregistered, .. })), "{result:?}");
    };
    refused(asha.act(Verb::Resume, &peer.destination, None).await.map(drop));
    refused(asha.act(Verb::Probe, &peer.destination, None).await.map(drop));
    refused(asha.resend(&peer.destination, NETWORK, 1).await.map(drop));
    refused(asha.retry(id).await);
    assert_eq!(parked(&bed).await, [id], "nothing was changed");
    asha.drop_parked(id, "gone for good").await.unwrap();
    asha.act(Verb::Pause, &peer.destination, None).await.unwrap();
}
