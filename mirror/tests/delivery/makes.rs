//! Peers of our own make and of others: who gets batches, and what each has to answer.

use chrono::TimeDelta;
use dpg_mirror::Progress;
use dpg_mirror::lane::State;

use crate::batches::{delivered, own_make, signing};
use crate::bed::Bed;
use crate::own_make::Mood;
use crate::peer::{Answer, Peer};

#[tokio::test]
async fn peers_without_the_capability_and_mirrors_without_a_key_speak_one_by_one() {
    let bed = Bed::new().await;
    let (batchless, other) = (own_make(&bed, 3).await, Peer::start(Answer::Stored));
    batchless.with(|state| state.batchless = true);
    bed.contract.register(&other.destination, &other.url);
    bed.owe(&other.destination, 3).await;
    assert_eq!(signing(&bed).step().await.unwrap(), Progress { lanes: 2, delivered: 6, parked: 0 });
    batchless.with(|state| assert_eq!((state.singles, state.batches.len(), state.asked), (3, 0, 1)));

    let peer = own_make(&bed, 3).await;
    assert_eq!(bed.mirror().step().await.unwrap(), delivered(3));
    peer.with(|state| assert_eq!((state.singles, state.batches.len(), state.asked), (3, 0, 0)));
}

/// A peer may change its make while we believe that we know it: its 404 is about the route, not about our events.
#[tokio::test]
async fn a_peer_that_changes_its_make_and_back_gets_what_it_understands() {
    let bed = Bed::new().await;
    let peer = own_make(&bed, 3).await;
    let mirror = signing(&bed);
    assert_eq!(mirror.step().await.unwrap(), delivered(3));
    peer.with(|state| state.downgraded = true);
    bed.owe(&peer.destination, 5).await;
    assert_eq!(mirror.step().await.unwrap(), delivered(0));
    let lane = bed.lane(&peer.destination).await;
    assert_eq!((lane.state, lane.waiting, lane.parked), (State::BackingOff, 5, 0));
    bed.clock.advance(TimeDelta::minutes(1));
    assert_eq!(mirror.step().await.unwrap(), delivered(5));
    peer.with(|state| assert_eq!((state.singles, state.asked, state.batches.as_slice()), (5, 2, [3].as_slice())));

    peer.with(|state| state.downgraded = false);
    bed.clock.advance(TimeDelta::hours(1));
    assert_eq!(mirror.step().await.unwrap(), delivered(5), "its mark knows nothing of what came alone");
    peer.with(|state| assert_eq!((state.stored.len(), state.duplicates, state.asked), (8, 5, 3)));
    assert_eq!(bed.lane(&peer.destination).await.high_water, 8);
}

/// Alone it is delivered only when the peer repeats which event it took: a page of JSON from in between takes none.
#[tokio::test]
async fn an_answer_to_no_event_delivers_none_to_a_peer_of_our_own_make() {
    let bed = Bed::new().await;
    let peer = own_make(&bed, 0).await;
    bed.owe_large(&peer.destination, 300_000).await;
    let mirror = signing(&bed);
    peer.with(|state| state.mood = Some(Mood::Answers(200, r#"{"status":"under maintenance"}"#)));
    assert_eq!(mirror.step().await.unwrap(), delivered(0));
    let lane = bed.lane(&peer.destination).await;
    assert_eq!((lane.state, lane.waiting, lane.parked), (State::BackingOff, 1, 0));
    peer.with(|state| state.mood = None);
    bed.clock.advance(TimeDelta::minutes(1));
    assert_eq!(mirror.step().await.unwrap(), delivered(1));
}
