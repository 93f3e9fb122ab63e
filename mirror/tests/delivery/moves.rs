//! Lanes that are moved from outside: to another address, or back to an earlier event.

use std::sync::Arc;
use std::time::Duration;

use chrono::TimeDelta;
use dpg_mirror::lane::State;
use dpg_mirror::{MirrorOptions, OperatorError, Progress, operator};
use tokio::sync::Notify;

use crate::batches::signing;
use crate::bed::{Bed, NETWORK, eventually};
use crate::operators::{NO, operator, parked};
use crate::own_make::{Mood, OwnMake};
use crate::peer::{Answer, Peer};

/// A peer that changed its address: what was owed to the old one goes to the new one, in its own order.
#[tokio::test]
async fn a_lane_follows_its_destination_to_a_new_address() {
    let bed = Bed::new().await;
    let (old, new) = ("http://old.example.org", OwnMake::start());
    bed.owe(old, 4).await;
    let mirror = signing(&bed);
    mirror.step().await.unwrap();
    assert_eq!(bed.lane(old).await.state, State::Unregistered);
    bed.contract.register(&new.destination, &new.url);
    bed.owe(&new.destination, 2).await;
    let lanes = operator(&bed).move_lanes(old, new.url.as_str()).await.unwrap();
    assert_eq!(lanes[0].moved_to.as_deref(), Some(new.destination.as_str()));
    mirror.refresh().await.unwrap();
    mirror.step().await.unwrap();
    let lane = bed.lane(old).await;
    assert_eq!((lane.state, lane.waiting, lane.acknowledged_seq), (State::Ready, 0, 4));
    let called = operator::lanes_called_at(&bed.db, &new.destination).await.unwrap();
    let destinations: Vec<&str> = called.iter().map(|lane| lane.key.destination.as_str()).collect();
    assert_eq!(destinations, [new.destination.as_str(), old], "its own lane, and the one that followed it");
    assert!(operator::lanes_called_at(&bed.db, old).await.unwrap().is_empty(), "nothing is called there any more");
    new.with(|state| {
        assert_eq!((state.stored.len(), state.singles, state.batches.as_slice()), (6, 4, [2].as_slice()));
        assert!(state.sources.iter().all(|url| url.starts_with("http://127.0.0.1:") || *url == new.destination));
    });
    bed.clock.advance(TimeDelta::hours(1));
    new.with(|state| state.mood = Some(Mood::Well));
    mirror.step().await.unwrap();
    assert_eq!(bed.lane(&new.destination).await.high_water, 2, "the numbers of two lanes never meet");
    assert!(matches!(operator(&bed).move_lanes("http://x.example", old).await, Err(OperatorError::LaneNotFound)));
}

/// A peer that moves house twice: what waits for its first address goes to where it is called now, and so on.
#[tokio::test]
async fn a_lane_follows_its_destination_from_address_to_address() {
    let bed = Bed::new().await;
    let (first, second, third) = ("http://first.example.org", Peer::start(Answer::Stored), Peer::start(Answer::Stored));
    bed.contract.register(&second.destination, &second.url);
    bed.owe(first, 1).await;
    operator(&bed).move_lanes(first, second.url.as_str()).await.unwrap();
    let mirror = bed.mirror();
    assert_eq!(mirror.step().await.unwrap().delivered, 1);

    bed.contract.remove(&second.destination);
    bed.contract.register(&third.destination, &third.url);
    for destination in [first, &second.destination] {
        bed.owe(destination, 2).await;
    }
    third.answers(Answer::Status(503, "{}"));
    let mut lanes = operator(&bed).move_lanes(second.url.as_str(), third.url.as_str()).await.unwrap();
    lanes.retain(|lane| lane.moved_to.as_deref() == Some(&third.destination));
    assert_eq!(lanes.len(), 2, "its own lane, and the one that was moved to it");
    assert_eq!(mirror.step().await.unwrap(), Progress { lanes: 2, delivered: 0, parked: 0 });
    third.answers(Answer::Stored);
    mirror.contact(&third.destination);
    eventually("contact ends the waits of both", || async {
        mirror.step().await.unwrap();
        bed.lane(first).await.waiting + bed.lane(&second.destination).await.waiting == 0
    })
    .await;
    assert_eq!((second.got().len(), third.got().len()), (1, 6), "each lane has probed once");

    third.answers(Answer::Status(422, NO));
    bed.owe(first, 1).await;
    assert_eq!(mirror.step().await.unwrap().parked, 1);
    let (_, body) = operator::parked_event(&bed.db, parked(&bed).await[0]).await.unwrap();
    let body: serde_json::Value = serde_json::from_str(body.get()).unwrap();
    assert_eq!(body["source_item"]["item_instance_url"], third.destination, "as it would be sent");

    // Back to its first address, a lane has none but that.
    operator(&bed).move_lanes(third.url.as_str(), first).await.unwrap();
    assert_eq!(bed.lane(first).await.moved_to, None);
    assert_eq!(bed.lane(&second.destination).await.moved_to.as_deref(), Some(first));
}

/// What is under way when a lane is moved from outside counts for nothing: neither what the old address says, nor what was
/// acknowledged before everything has to go again.
#[tokio::test]
async fn an_answer_to_what_was_under_way_does_not_count_after_a_resend_or_a_move() {
    for moves in [false, true] {
        let bed = Bed::new().await;
        let release = Arc::new(Notify::new());
        let (old, new) = (Peer::start(Answer::Stored), Peer::start(Answer::Stored));
        for peer in [&old, &new] {
            bed.contract.register(&peer.destination, &peer.url);
        }
        bed.owe(&old.destination, 2).await;
        let options =
            MirrorOptions { lease: Duration::from_secs(60), renew_every: Duration::from_secs(50), ..bed.options() };
        let mirror = bed.mirror_of(options, Duration::from_secs(20), None, &prometheus::Registry::new());
        assert_eq!(mirror.step().await.unwrap().delivered, 2);
        bed.owe(&old.destination, 1).await;
        old.answers(Answer::Hang(release.clone()));
        let worker = mirror.clone();
        let working = tokio::spawn(async move { worker.step().await });
        eventually("the peer has the third", || async { old.got().len() == 3 }).await;
        if moves {
            operator(&bed).move_lanes(&old.destination, &new.destination).await.unwrap();
        } else {
            operator(&bed).resend(&old.destination, NETWORK, 1).await.unwrap();
        }
        release.notify_one();
        working.await.unwrap().unwrap();
        let lane = bed.lane(&old.destination).await;
        assert_eq!((lane.state, lane.acknowledged_seq), (State::Ready, if moves { 2 } else { 0 }));
        old.answers(Answer::NullId);
        assert_eq!(mirror.step().await.unwrap().delivered, if moves { 1 } else { 3 });
        assert_eq!((old.got().len(), new.got().len()), if moves { (3, 1) } else { (6, 0) });
    }
}
