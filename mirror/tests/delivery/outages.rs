//! Peers that are away, for a moment or a week, and what ends the wait.

use std::net::TcpListener;
use std::sync::Arc;
use std::time::Duration;

use chrono::TimeDelta;
use dpg_mirror::lane::State;
use dpg_mirror::{Contacts, MirrorOptions, Progress, Verb};
use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;

use crate::bed::{Bed, NETWORK, eventually};
use crate::operators::operator;
use crate::peer::{Answer, Peer};

#[tokio::test]
async fn a_peer_that_was_away_for_a_week_catches_up_by_itself() {
    let bed = Bed::new().await;
    let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let destination = format!("http://localhost:{}", address.port());
    bed.contract.register(&destination, &format!("http://{address}").parse().unwrap());
    let mirror = bed.mirror_with(MirrorOptions { random: Arc::new(|| 0.999), ..bed.options() });
    let mut attempts = 0;
    let week_over = bed.clock.now() + TimeDelta::days(7);
    while bed.clock.now() < week_over {
        if attempts % 10 == 0 {
            bed.owe(&destination, 2).await;
        }
        let progress = mirror.step().await.unwrap();
        assert_eq!(progress, Progress { lanes: 1, ..Progress::default() });
        attempts += 1;
        let lane = bed.lane(&destination).await;
        assert_eq!(lane.state, State::BackingOff);
        let next = lane.next_attempt_at.unwrap();
        assert!(next > bed.clock.now() && next <= bed.clock.now() + TimeDelta::hours(1));
        bed.clock.advance(next - bed.clock.now());
    }
    assert!((168..200).contains(&attempts), "{attempts} attempts in a week");
    let waiting = bed.lane(&destination).await.waiting;
    let listener = TcpListener::bind(address).unwrap();
    let peer = Peer::on(listener, Answer::Stored, None);
    assert_eq!(i64::try_from(mirror.step().await.unwrap().delivered).unwrap(), waiting);
    assert_eq!(i64::try_from(peer.got().len()).unwrap(), waiting);
}

#[tokio::test]
async fn a_hung_peer_costs_the_others_nothing() {
    let bed = Bed::new().await;
    let hung = Peer::start(Answer::Hang(Arc::new(Notify::new())));
    let well = Peer::start(Answer::Stored);
    for peer in [&hung, &well] {
        bed.contract.register(&peer.destination, &peer.url);
        bed.owe(&peer.destination, 10).await;
    }
    // Longer than anybody waits here: the end of the call must not be what lets the others go on.
    let mirror = bed.mirror_of(bed.options(), Duration::from_secs(600), None, &prometheus::Registry::new());
    let (wake, hints) = watch::channel(0u64);
    let shutdown = CancellationToken::new();
    let (runner, stop) = (mirror.clone(), shutdown.clone());
    let running = tokio::spawn(async move { runner.run(hints, stop).await });
    for round in 1..=10 {
        let expected = round * 10;
        eventually("the healthy peer has everything", || async { well.got().len() == expected }).await;
        assert_eq!(hung.got().len(), 1, "the other one is still thinking about its first");
        bed.owe(&well.destination, 10).await;
        wake.send_modify(|count| *count += 1);
    }
    running.abort();
}

#[tokio::test]
async fn contact_and_a_new_contract_end_the_wait() {
    let bed = Bed::new().await;
    let peer = Peer::start(Answer::Status(401, "{}"));
    bed.contract.register(&peer.destination, &peer.url);
    bed.owe(&peer.destination, 2).await;
    let mirror = bed.mirror();
    mirror.step().await.unwrap();
    assert_eq!(mirror.step().await.unwrap(), Progress::default());

    mirror.contacts().contract_changed(NETWORK).await.unwrap();
    assert_eq!(mirror.step().await.unwrap().lanes, 1);
    assert_eq!(bed.lane(&peer.destination).await.state, State::Refused);

    peer.answers(Answer::Stored);
    // In any spelling, and a thousand times over.
    for _ in 0..1000 {
        mirror.contact(peer.url.as_str());
    }
    eventually("the wait is over", || async { mirror.step().await.unwrap().delivered == 2 }).await;
    assert_eq!(bed.count("select nudges::bigint from lanes").await, 2, "contact counts at most once a second");
    mirror.contact("no url");
}

/// Whoever hears of a contact or a new contract may be another process than the one that delivers, and an operator always is.
#[tokio::test]
async fn what_another_process_hears_ends_the_wait_too() {
    let bed = Bed::new().await;
    let peer = Peer::start(Answer::Stored);
    bed.contract.register(&peer.destination, &peer.url);
    let (mirror, elsewhere) = (bed.mirror(), Contacts::new(bed.db.clone()));
    let (_sender, wake) = watch::channel(0u64);
    let shutdown = CancellationToken::new();
    let stop = shutdown.clone();
    let running = tokio::spawn(async move { mirror.run(wake, stop).await });
    let mut all = 0;
    // The clock stands still: no wait ends by itself.
    for (answer, state) in [(Answer::Status(503, "{}"), State::BackingOff), (Answer::Status(401, "{}"), State::Refused)]
    {
        for way in 0..3 {
            peer.answers(answer.clone());
            bed.owe(&peer.destination, 2).await;
            eventually("it waits", || async {
                let lane = bed.lane(&peer.destination).await;
                lane.state == state && lane.next_attempt_at.is_some()
            })
            .await;
            let tried = peer.got().len();
            peer.answers(Answer::Stored);
            match way {
                0 => elsewhere.contact(&peer.destination),
                1 => elsewhere.contract_changed(NETWORK).await.unwrap(),
                _ => drop(operator(&bed).act(Verb::Probe, &peer.destination, None).await.unwrap()),
            }
            eventually("all is delivered", || async { bed.lane(&peer.destination).await.waiting == 0 }).await;
            all += 2;
            assert_eq!(peer.got().len(), tried + 2);
            assert_eq!(bed.lane(&peer.destination).await.acknowledged_seq, all);
        }
    }
    shutdown.cancel();
    running.await.unwrap();
}

/// The peer came back while a probe was still waiting for an answer: its contact must not be forgotten with the probe.
#[tokio::test]
async fn contact_during_a_failing_attempt_still_ends_the_wait() {
    let bed = Bed::new().await;
    let release = Arc::new(Notify::new());
    let peer = Peer::start(Answer::Hang(release));
    bed.contract.register(&peer.destination, &peer.url);
    bed.owe(&peer.destination, 1).await;
    let mirror = bed.mirror();
    let prober = mirror.clone();
    let probing = tokio::spawn(async move { prober.step().await });
    eventually("the peer has the event", || async { peer.got().len() == 1 }).await;
    mirror.contact(&peer.destination);
    peer.answers(Answer::NullId);
    assert_eq!(probing.await.unwrap().unwrap().delivered, 0);
    let lane = bed.lane(&peer.destination).await;
    assert_eq!((lane.state, lane.next_attempt_at), (State::BackingOff, None));
    assert_eq!(mirror.step().await.unwrap().delivered, 1);
}

#[tokio::test]
async fn a_lane_whose_destination_left_the_contract_waits_for_its_return() {
    let bed = Bed::new().await;
    let peer = Peer::start(Answer::Stored);
    bed.owe(&peer.destination, 3).await;
    let mirror = bed.mirror();
    mirror.step().await.unwrap();
    let lane = bed.lane(&peer.destination).await;
    assert_eq!((lane.state, lane.waiting, lane.failures), (State::Unregistered, 3, 0));
    assert_eq!(mirror.step().await.unwrap(), Progress::default());

    bed.contract.register(&peer.destination, &peer.url);
    assert_eq!(mirror.step().await.unwrap().delivered, 3);
    assert_eq!(bed.lane(&peer.destination).await.state, State::Ready);

    bed.contract.remove(&peer.destination);
    mirror.refresh().await.unwrap();
    assert_eq!(bed.lane(&peer.destination).await.state, State::Unregistered, "an idle lane shows it too");
    bed.contract.register(&peer.destination, &peer.url);
    mirror.refresh().await.unwrap();
    assert_eq!(bed.lane(&peer.destination).await.state, State::Ready);
}

#[tokio::test]
async fn lost_hints_are_made_good_by_polling() {
    let bed = Bed::new().await;
    let peer = Peer::start(Answer::Stored);
    bed.contract.register(&peer.destination, &peer.url);
    let (sender, hints) = watch::channel(0u64);
    drop(sender);
    let shutdown = CancellationToken::new();
    let (mirror, stop) = (bed.mirror(), shutdown.clone());
    let running = tokio::spawn(async move { mirror.run(hints, stop).await });
    for expected in 1..=3 {
        bed.owe(&peer.destination, 1).await;
        eventually("it arrived", || async { peer.got().len() == expected }).await;
    }
    shutdown.cancel();
    running.await.unwrap();
}
