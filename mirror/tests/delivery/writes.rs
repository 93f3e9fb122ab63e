//! What a worker writes about a lane counts only while its lease runs and nobody else has the lane, and outlives a crash
//! where somebody may have read it already.

use std::sync::{Arc, mpsc};
use std::time::Duration;

use chrono::TimeDelta;
use dpg_mirror::{Mirror, MirrorOptions, Operator, Progress};
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use uuid::Uuid;

use crate::batches::{signing, signing_with};
use crate::bed::{Bed, NETWORK, eventually};
use crate::own_make::OwnMake;
use crate::peer::{Answer, Peer};

/// Ways in which a lease ends while its holder waits for an answer: somebody else has the lane, or nobody has.
const ENDS: [&str; 2] = [
    "update lanes set lease_holder = gen_random_uuid(), lease_until = clock_timestamp() + interval '1 hour'",
    "update lanes set lease_until = clock_timestamp()",
];

/// Writes down each delivery at once, and looks after its lease every `renew_every`.
fn worker(bed: &Bed, renew_every: Duration) -> Mirror {
    let lease = Duration::from_secs(600);
    let options = MirrorOptions { lease, renew_every, flush_every: 1, ..bed.options() };
    bed.mirror_of(options, Duration::from_secs(600), None, &prometheus::Registry::new())
}

/// Works until the peer has `got` so many events and thinks about the last.
async fn until_it_hangs(mirror: Mirror, peer: &Peer, got: usize) -> JoinHandle<Progress> {
    let working = tokio::spawn(async move { mirror.step().await.unwrap() });
    eventually("the peer has the event", || async { peer.got().len() == got }).await;
    working
}

/// The peer thinks about whatever it is sent, until it is told to answer.
fn ponders(peer: &Arc<OwnMake>) -> mpsc::Sender<()> {
    let (entered, thinking) = mpsc::channel();
    let (answer, told) = mpsc::channel();
    let peer = peer.clone();
    std::thread::spawn(move || {
        peer.with(|_| {
            entered.send(()).unwrap();
            told.recv().unwrap();
        });
    });
    thinking.recv().unwrap();
    answer
}

async fn until_somebody_has_the_lane(bed: &Bed) {
    let held = "select count(*) from lanes where lease_holder is not null";
    eventually("somebody has the lane", || async { bed.count(held).await == 1 }).await;
}

#[tokio::test]
async fn an_acknowledgement_after_the_lease_does_not_count() {
    for end in ENDS {
        let bed = Bed::new().await;
        let release = Arc::new(Notify::new());
        let peer = Peer::start(Answer::Hang(release.clone()));
        bed.contract.register(&peer.destination, &peer.url);
        bed.owe(&peer.destination, 3).await;
        let working = until_it_hangs(worker(&bed, Duration::from_secs(300)), &peer, 1).await;
        bed.sql(end).await;
        peer.answers(Answer::NullId);
        release.notify_waiters();
        working.await.unwrap();
        assert_eq!(peer.got().len(), 1, "it went on without a lease: {end}");
        let lane = bed.lane(&peer.destination).await;
        assert_eq!((lane.acknowledged_seq, lane.waiting), (0, 3), "{end}");
    }
}

#[tokio::test]
async fn a_worker_that_has_lost_its_lane_lets_go_of_the_call() {
    for end in ENDS {
        let bed = Bed::new().await;
        let peer = Peer::start(Answer::Hang(Arc::new(Notify::new())));
        bed.contract.register(&peer.destination, &peer.url);
        bed.owe(&peer.destination, 1).await;
        let working = until_it_hangs(worker(&bed, Duration::from_millis(50)), &peer, 1).await;
        bed.sql(end).await;
        eventually("it has let go", || async { working.is_finished() }).await;
        assert_eq!(working.await.unwrap().delivered, 0);
    }
}

/// The whole process is stopped, and wakes up with an answer: before the next event it has to ask whose the lane is.
#[tokio::test]
async fn a_process_that_was_stopped_sends_nothing_before_it_has_asked() {
    let bed = Bed::new().await;
    let release = Arc::new(Notify::new());
    // Renewal and answer are both due when it wakes up, and either may be seen first; of many lanes some see the answer.
    let peers: Vec<Peer> = (0..10).map(|_| Peer::start(Answer::Hang(release.clone()))).collect();
    for peer in &peers {
        bed.contract.register(&peer.destination, &peer.url);
        bed.owe(&peer.destination, 2).await;
    }
    let renew_every = Duration::from_secs(2);
    let lease = Duration::from_secs(600);
    let options = MirrorOptions { lease, renew_every, flush_after: lease, ..bed.options() };
    let mirror = bed.mirror_of(options, lease, None, &prometheus::Registry::new());
    let working = tokio::spawn(async move { mirror.step().await.unwrap() });
    for peer in &peers {
        eventually("the peer has the event", || async { peer.got().len() == 1 }).await;
        peer.answers(Answer::NullId);
    }
    bed.sql(ENDS[0]).await;
    release.notify_waiters();
    // Worker and test share this thread; the peers have theirs.
    std::thread::sleep(renew_every);
    working.await.unwrap();
    let sent: Vec<usize> = peers.iter().map(|peer| peer.got().len()).collect();
    assert_eq!(sent, [1; 10], "sent without a lease");
    assert_eq!(bed.count("select max(acknowledged_seq) from lanes").await, 0);
}

#[tokio::test]
async fn a_lane_that_somebody_else_has_is_not_moved_back() {
    for end in ENDS {
        let bed = Bed::new().await;
        let peer = Arc::new(OwnMake::start());
        bed.contract.register(&peer.destination, &peer.url);
        bed.owe(&peer.destination, 5).await;
        let mirror = signing(&bed);
        mirror.step().await.unwrap();
        peer.with(|state| state.forgets_all_but(2, 2));
        bed.clock.advance(TimeDelta::hours(1));
        let answer = ponders(&peer);
        let asking = tokio::spawn(async move { mirror.step().await.unwrap() });
        until_somebody_has_the_lane(&bed).await;
        bed.sql(end).await;
        answer.send(()).unwrap();
        assert_eq!(asking.await.unwrap().delivered, 0);
        assert_eq!(bed.lane(&peer.destination).await.acknowledged_seq, 5, "{end}");
    }
}

/// An operator sends a lane back, or elsewhere, while an event is under way: what is acknowledged then must not count.
#[tokio::test]
async fn what_is_under_way_undoes_no_resend_and_no_move() {
    for moves in [false, true] {
        let bed = Bed::new().await;
        let release = Arc::new(Notify::new());
        let (peer, new) = (Peer::start(Answer::NullId), Peer::start(Answer::NullId));
        for peer in [&peer, &new] {
            bed.contract.register(&peer.destination, &peer.url);
        }
        bed.owe(&peer.destination, 3).await;
        assert_eq!(worker(&bed, Duration::from_secs(300)).step().await.unwrap().delivered, 3);
        peer.answers(Answer::Hang(release.clone()));
        bed.owe(&peer.destination, 2).await;
        let working = until_it_hangs(worker(&bed, Duration::from_secs(300)), &peer, 4).await;
        let asha = Operator { db: bed.db.clone(), by: "asha".to_owned(), now: bed.clock.now() };
        if moves {
            asha.move_lanes(&peer.destination, &new.destination).await.unwrap();
        } else {
            asha.resend(&peer.destination, NETWORK, 1).await.unwrap();
        }
        peer.answers(Answer::NullId);
        release.notify_waiters();
        working.await.unwrap();
        assert_eq!(peer.got().len(), 4, "it went on");
        assert_eq!(bed.lane(&peer.destination).await.acknowledged_seq, if moves { 3 } else { 0 });
        let left = worker(&bed, Duration::from_secs(300)).step().await.unwrap().delivered;
        let owed = bed.actions().await;
        match moves {
            true => assert_eq!((left, new.got()), (2, owed[3..].to_vec()), "from the old address"),
            false => assert_eq!((left, peer.got()[4..].to_vec()), (5, owed)),
        }
    }
}

/// An operator may have read its id by the time the database crashes.
#[tokio::test]
async fn a_parked_event_is_durable() {
    let bed = Bed::new().await;
    let peer = Peer::start(Answer::Status(422, r#"{"error":"INVALID","message":"no"}"#));
    bed.contract.register(&peer.destination, &peer.url);
    bed.owe(&peer.destination, 1).await;
    bed.sql(
        "create function durably() returns trigger language plpgsql as $$ begin
             assert current_setting('synchronous_commit') = 'on', 'it may be lost';
             return new;
         end $$;
         create trigger durably before insert on parked_events for each row execute function durably()",
    )
    .await;
    assert_eq!(bed.mirror().step().await.unwrap().parked, 1);
}

/// An operator may renew the log's epoch under a running worker: what goes out after that belongs to the new one.
#[tokio::test]
async fn a_worker_hears_of_a_new_epoch_with_its_next_renewal() {
    let bed = Bed::new().await;
    let peer = Arc::new(OwnMake::start());
    bed.contract.register(&peer.destination, &peer.url);
    bed.owe(&peer.destination, 60).await;
    let answer = ponders(&peer);
    let options = MirrorOptions { renew_every: Duration::from_millis(50), ..bed.options() };
    let mirror = signing_with(&bed, options, &prometheus::Registry::new());
    let working = tokio::spawn(async move { mirror.step().await.unwrap() });
    until_somebody_has_the_lane(&bed).await;
    let epoch = Uuid::new_v4();
    bed.sql(&format!(
        "update log_head set epoch = '{epoch}'; update lanes set lease_until = lease_until - interval '1 s'"
    ))
    .await;
    let renewed = "select count(*) from lanes where lease_until > clock_timestamp() + interval '2500 ms'";
    eventually("the lease is renewed", || async { bed.count(renewed).await == 1 }).await;
    answer.send(()).unwrap();
    working.await.unwrap();
    peer.with(|state| assert_eq!((state.mark(epoch), state.stored.len()), (60, 60)));
}
