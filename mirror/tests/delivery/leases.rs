//! Several workers, stopped workers, killed workers.

use std::sync::Arc;
use std::time::Duration;

use dpg_mirror::lane::State;
use dpg_mirror::{MirrorOptions, Progress};
use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;

use crate::bed::{Bed, eventually};
use crate::peer::{Answer, Peer};

#[tokio::test]
async fn two_workers_share_the_lanes_and_no_event_goes_twice() {
    let bed = Bed::new().await;
    let peers = [Peer::start(Answer::Stored), Peer::start(Answer::Stored)];
    let shutdown = CancellationToken::new();
    let (wake, _) = watch::channel(0u64);
    let mut workers = Vec::new();
    for _ in 0..2 {
        let (mirror, wake, shutdown) = (bed.mirror(), wake.subscribe(), shutdown.clone());
        workers.push(tokio::spawn(async move { mirror.run(wake, shutdown).await }));
    }
    for peer in &peers {
        bed.contract.register(&peer.destination, &peer.url);
    }
    for round in 0..10 {
        for peer in &peers {
            bed.owe(&peer.destination, 10).await;
        }
        wake.send_replace(round);
    }
    for peer in &peers {
        eventually("all events arrived", || async { peer.got().len() >= 100 }).await;
    }
    shutdown.cancel();
    for worker in workers {
        worker.await.unwrap();
    }
    for peer in &peers {
        let got = peer.got();
        let mut once = got.clone();
        once.sort();
        once.dedup();
        assert_eq!((got.len(), once.len(), peer.most_at_once()), (100, 100, 1));
        let sorted = {
            let mut sorted = got.clone();
            sorted.sort();
            sorted
        };
        assert_eq!(got, sorted, "action ids rise with time, so this is the order of the log");
        let lane = bed.lane(&peer.destination).await;
        assert_eq!((lane.acknowledged_seq, lane.waiting), (100, 0));
    }
    assert_eq!(bed.count("select count(*) from lanes where lease_holder is not null").await, 0);
}

#[tokio::test]
async fn a_restart_goes_on_where_the_last_one_stopped() {
    let bed = Bed::new().await;
    let peer = Peer::start(Answer::Stored);
    bed.contract.register(&peer.destination, &peer.url);
    bed.owe(&peer.destination, 200).await;
    for part in 1..=4 {
        let (_, wake) = watch::channel(0u64);
        let shutdown = CancellationToken::new();
        let (mirror, stop) = (bed.mirror(), shutdown.clone());
        let running = tokio::spawn(async move { mirror.run(wake, stop).await });
        eventually("another part arrived", || async { peer.got().len() >= part * 50 }).await;
        shutdown.cancel();
        running.await.unwrap();
        let lane = bed.lane(&peer.destination).await;
        assert_eq!(
            usize::try_from(lane.acknowledged_seq).unwrap(),
            peer.got().len(),
            "everything sent is written down"
        );
    }
    assert_eq!(peer.got().len(), 200);
}

#[tokio::test]
async fn killed_between_send_and_acknowledgement_repeats_and_loses_nothing() {
    let bed = Bed::new().await;
    let release = Arc::new(Notify::new());
    let peer = Peer::start(Answer::Hang(release.clone()));
    bed.contract.register(&peer.destination, &peer.url);
    bed.owe(&peer.destination, 3).await;
    let victim = bed.mirror();
    let doomed = tokio::spawn(async move { victim.step().await });
    eventually("the peer has the event", || async { peer.got().len() == 1 }).await;
    doomed.abort();
    assert!(doomed.await.unwrap_err().is_cancelled());
    release.notify_waiters();
    peer.answers(Answer::NullId);

    let heir = bed.mirror();
    assert_eq!(heir.step().await.unwrap(), Progress::default(), "the lease of the dead holds for a while");
    eventually("the lease is over and the heir delivered", || async {
        heir.step().await.unwrap();
        bed.lane(&peer.destination).await.waiting == 0
    })
    .await;
    let got = peer.got();
    assert_eq!(got.len(), 4);
    assert_eq!(got[0], got[1], "the event that nobody had acknowledged goes again");
}

/// A task that fails for want of a database leaves its lease behind; the same worker doesn't have to wait it out.
#[tokio::test]
async fn a_lost_database_connection_costs_no_event_and_no_lease() {
    let bed = Bed::new().await;
    let peer = Peer::start(Answer::Stored);
    bed.contract.register(&peer.destination, &peer.url);
    bed.owe(&peer.destination, 300).await;
    let mirror = bed.mirror_with(MirrorOptions { lease: Duration::from_secs(600), flush_every: 1, ..bed.options() });
    let (_sender, wake) = watch::channel(0u64);
    let shutdown = CancellationToken::new();
    let stop = shutdown.clone();
    let running = tokio::spawn(async move { mirror.run(wake, stop).await });
    let admin = bed.db.client().await.unwrap();
    for part in 1..=4 {
        eventually("another part arrived", || async { peer.got().len() >= part * 50 }).await;
        admin
            .execute(
                "select pg_terminate_backend(pid) from pg_stat_activity
                  where datname = current_database() and pid <> pg_backend_pid()",
                &[],
            )
            .await
            .unwrap();
    }
    eventually("everything is settled", || async {
        let settled = "select coalesce(max(acknowledged_seq), 0) from lanes";
        admin.query_one(settled, &[]).await.unwrap().get::<_, i64>(0) == 300
    })
    .await;
    shutdown.cancel();
    running.await.unwrap();
    let mut got = peer.got();
    got.dedup();
    assert_eq!(got.len(), 300, "an event may go twice, but in its place");
}

/// Stopped beyond its lease in the middle of a request; when it wakes up another one has gone on.
#[tokio::test]
async fn a_worker_that_slept_through_its_lease_does_no_harm() {
    let bed = Bed::new().await;
    let release = Arc::new(Notify::new());
    let peer = Peer::start(Answer::Hang(release.clone()));
    bed.contract.register(&peer.destination, &peer.url);
    bed.owe(&peer.destination, 3).await;
    let lease = Duration::from_millis(100);
    let sleepy = MirrorOptions { lease, renew_every: Duration::from_secs(60), ..bed.options() };
    let sleeper = bed.mirror_of(sleepy, Duration::from_secs(10), None, &prometheus::Registry::new());
    let sleeping = tokio::spawn(async move { sleeper.step().await });
    eventually("the peer has the event", || async { peer.got().len() == 1 }).await;
    peer.answers(Answer::NullId);
    let heir = bed.mirror();
    eventually("the heir delivered", || async {
        heir.step().await.unwrap();
        bed.lane(&peer.destination).await.waiting == 0
    })
    .await;
    bed.owe(&peer.destination, 1).await;
    release.notify_waiters();
    sleeping.await.unwrap().unwrap();
    assert_eq!(bed.lane(&peer.destination).await.acknowledged_seq, 3, "the sleeper's word doesn't count");
    heir.step().await.unwrap();
    assert_eq!(bed.lane(&peer.destination).await.acknowledged_seq, 4);
}

#[tokio::test]
async fn a_slow_answer_keeps_its_lease() {
    let bed = Bed::new().await;
    let release = Arc::new(Notify::new());
    let peer = Peer::start(Answer::Hang(release.clone()));
    bed.contract.register(&peer.destination, &peer.url);
    bed.owe(&peer.destination, 1).await;
    let lease = Duration::from_secs(1);
    let options = MirrorOptions { lease, renew_every: Duration::from_millis(100), ..bed.options() };
    let patient = bed.mirror_of(options, Duration::from_secs(10), None, &prometheus::Registry::new());
    let working = tokio::spawn(async move { patient.step().await });
    eventually("the peer has the event", || async { peer.got().len() == 1 }).await;
    let other = bed.mirror();
    let until = tokio::time::Instant::now() + 3 * lease;
    while tokio::time::Instant::now() < until {
        assert_eq!(other.step().await.unwrap(), Progress::default(), "nobody else gets the lane");
    }
    release.notify_waiters();
    assert_eq!(working.await.unwrap().unwrap().delivered, 1);
    assert_eq!(peer.got().len(), 1);
}

#[tokio::test]
async fn a_lane_that_is_paused_while_it_sends_stays_paused() {
    let bed = Bed::new().await;
    let release = Arc::new(Notify::new());
    let peer = Peer::start(Answer::Hang(release.clone()));
    bed.contract.register(&peer.destination, &peer.url);
    bed.owe(&peer.destination, 5).await;
    let options = MirrorOptions { flush_every: 1, ..bed.options() };
    let mirror = bed.mirror_of(options, Duration::from_secs(10), None, &prometheus::Registry::new());
    let working = tokio::spawn(async move { mirror.step().await });
    eventually("the peer has the event", || async { peer.got().len() == 1 }).await;
    bed.sql("update lanes set state = 'paused'").await;
    peer.answers(Answer::NullId);
    release.notify_waiters();
    assert_eq!(working.await.unwrap().unwrap().delivered, 1);
    let lane = bed.lane(&peer.destination).await;
    assert_eq!((lane.state, lane.acknowledged_seq), (State::Paused, 1));
    assert_eq!(bed.mirror().step().await.unwrap(), Progress::default());
    bed.sql("update lanes set state = 'ready', next_attempt_at = null").await;
    assert_eq!(bed.mirror().step().await.unwrap().delivered, 4);
}
