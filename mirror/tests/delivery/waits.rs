//! Contact that is easily missed, how long an unanswered question lasts, and what is shown of a lane meanwhile.

use chrono::TimeDelta;
use dpg_mirror::Operator;
use dpg_mirror::lane::State;

use crate::batches::signing;
use crate::bed::{Bed, eventually};
use crate::own_make::OwnMake;
use crate::peer::{Answer, Peer};

/// A peer that has changed its address makes contact from there.
#[tokio::test]
async fn contact_from_the_new_address_ends_the_wait_of_a_lane_that_was_moved() {
    let bed = Bed::new().await;
    let (old, new) = ("http://old.example.org", Peer::start(Answer::Status(503, "{}")));
    bed.contract.register(&new.destination, &new.url);
    bed.owe(old, 1).await;
    let operator = Operator { db: bed.db.clone(), by: "asha".to_owned(), now: bed.clock.now() };
    operator.move_lanes(old, &new.destination).await.unwrap();
    let mirror = bed.mirror();
    mirror.step().await.unwrap();
    assert_eq!(bed.lane(old).await.state, State::BackingOff);
    new.answers(Answer::Stored);
    mirror.contact(new.url.as_str());
    eventually("the wait is over", || async { mirror.step().await.unwrap().delivered == 1 }).await;
}

/// A peer may still be on its way up when its first contact has us try; the next is not lost for coming soon after it.
#[tokio::test]
async fn contact_that_comes_too_soon_is_heard_later() {
    let bed = Bed::new().await;
    let peer = Peer::start(Answer::Stored);
    bed.contract.register(&peer.destination, &peer.url);
    bed.owe(&peer.destination, 1).await;
    let mirror = bed.mirror();
    mirror.step().await.unwrap();
    for nudges in 1..=3 {
        mirror.contact(&peer.destination);
        let heard = || async { bed.count("select nudges::bigint from lanes").await == nudges };
        eventually("the contact is heard", heard).await;
    }
}

/// A peer that can't say what it can do gets its events one by one, and is asked again in a minute.
#[tokio::test]
async fn a_question_without_an_answer_costs_a_minute_of_batches() {
    let bed = Bed::new().await;
    let peer = OwnMake::start();
    bed.contract.register(&peer.destination, &peer.url);
    peer.with(|state| state.speechless = true);
    let mirror = signing(&bed);
    for (seconds, singles, asked) in [(0, 1, 1), (59, 2, 1), (1, 2, 2)] {
        bed.clock.advance(TimeDelta::seconds(seconds));
        bed.owe(&peer.destination, 1).await;
        mirror.step().await.unwrap();
        peer.with(|state| assert_eq!((state.singles, state.asked), (singles, asked), "after {seconds} s more"));
        peer.with(|state| state.speechless = false);
    }
}

/// Whoever works on a lane looks at the contract too; what it sees is not written over under its hands.
#[tokio::test]
async fn a_lane_that_is_worked_on_is_shown_as_its_holder_sees_it() {
    let bed = Bed::new().await;
    let peer = Peer::start(Answer::Stored);
    bed.contract.register(&peer.destination, &peer.url);
    bed.owe(&peer.destination, 1).await;
    let mirror = bed.mirror();
    mirror.step().await.unwrap();
    bed.contract.remove(&peer.destination);
    bed.sql("update lanes set lease_holder = gen_random_uuid(), lease_until = clock_timestamp() + interval '1 hour'")
        .await;
    mirror.refresh().await.unwrap();
    assert_eq!(bed.lane(&peer.destination).await.state, State::Ready);
    bed.sql("update lanes set lease_holder = null, lease_until = null").await;
    mirror.refresh().await.unwrap();
    assert_eq!(bed.lane(&peer.destination).await.state, State::Unregistered);
}

#[tokio::test]
async fn what_waited_for_the_old_address_goes_to_the_new_one_at_once() {
    let bed = Bed::new().await;
    let (old, new) = (Peer::start(Answer::Status(503, "{}")), Peer::start(Answer::Stored));
    for peer in [&old, &new] {
        bed.contract.register(&peer.destination, &peer.url);
    }
    bed.owe(&old.destination, 2).await;
    let mirror = bed.mirror();
    mirror.step().await.unwrap();
    assert_eq!(bed.lane(&old.destination).await.state, State::BackingOff);
    let operator = Operator { db: bed.db.clone(), by: "asha".to_owned(), now: bed.clock.now() };
    operator.move_lanes(&old.destination, &new.destination).await.unwrap();
    assert_eq!(mirror.step().await.unwrap().delivered, 2);
    assert_eq!((old.got().len(), new.got()), (1, bed.actions().await));
}
