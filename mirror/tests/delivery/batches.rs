//! Batches to peers of our own make: outcomes event by event, the peer's mark, and what goes again because of it.

use std::net::TcpListener;
use std::sync::Arc;
use std::time::Duration;

use chrono::TimeDelta;
use dpg_mirror::lane::State;
use dpg_mirror::signature::PeerKey;
use dpg_mirror::{Mirror, MirrorOptions, Progress, Signer, Verb};

use crate::bed::{Bed, NETWORK};
use crate::operators::operator;
use crate::own_make::{Mood, Opinion, OwnMake};
use crate::peer::HTML;

/// A mirror that signs, as batches need.
pub(crate) fn signing(bed: &Bed) -> Mirror {
    signing_with(bed, bed.options(), &prometheus::Registry::new())
}

pub(crate) fn signing_with(bed: &Bed, options: MirrorOptions, metrics: &prometheus::Registry) -> Mirror {
    let key = Arc::new(PeerKey::generate().unwrap().key);
    let signer = Signer { key, keyid: "https://b.example.org".to_owned() };
    bed.mirror_of(options, Duration::from_secs(5), Some(signer), metrics)
}

pub(crate) async fn own_make(bed: &Bed, events: i32) -> OwnMake {
    let peer = OwnMake::start();
    bed.contract.register(&peer.destination, &peer.url);
    bed.owe(&peer.destination, events).await;
    peer
}

pub(crate) fn delivered(delivered: usize) -> Progress {
    Progress { lanes: 1, delivered, parked: 0 }
}

#[tokio::test]
async fn events_go_in_batches_in_order_and_the_mark_follows() {
    let bed = Bed::new().await;
    let peer = own_make(&bed, 130).await;
    let registry = prometheus::Registry::new();
    let mirror = signing_with(&bed, bed.options(), &registry);
    assert_eq!(mirror.step().await.unwrap(), delivered(130));
    let logged = bed.actions().await;
    peer.with(|state| {
        assert_eq!(state.stored, logged);
        assert_eq!(state.batches, [50, 50, 30]);
        assert_eq!((state.singles, state.asked), (0, 1));
    });
    let lane = bed.lane(&peer.destination).await;
    assert_eq!((lane.acknowledged_seq, lane.waiting, lane.high_water), (130, 0, 130));
    assert_eq!(mirror.step().await.unwrap(), Progress::default(), "an idle lane asks once an hour");
    let text = prometheus::TextEncoder::new().encode_to_string(&registry.gather()).unwrap();
    assert!(text.contains("dpg_mirror_batch_events_count") && text.contains("outcome=\"delivered\"} 130"), "{text}");

    bed.clock.advance(TimeDelta::hours(1));
    assert_eq!(mirror.step().await.unwrap(), delivered(0));
    peer.with(|state| assert_eq!((state.batches.last(), state.asked), (Some(&0), 2), "an empty batch, and asked anew"));
    assert_eq!(mirror.step().await.unwrap(), Progress::default());
}

#[tokio::test]
async fn parked_events_in_a_row_are_counted_from_batch_to_batch() {
    let bed = Bed::new().await;
    let peer = own_make(&bed, 0).await;
    for (events, state) in [(12, State::Ready), (7, State::Ready), (1, State::BackingOff)] {
        bed.owe(&peer.destination, events).await;
        for action in bed.actions().await {
            peer.with(|state| state.opinions.insert(action, Opinion::Rejects));
        }
        // Each batch from a process of its own.
        let parked = usize::try_from(events).unwrap();
        assert_eq!(signing(&bed).step().await.unwrap(), Progress { lanes: 1, delivered: 0, parked });
        assert_eq!(bed.lane(&peer.destination).await.state, state, "after {events} more");
    }
    peer.with(|state| state.opinions.clear());
    bed.owe(&peer.destination, 3).await;
    bed.clock.advance(TimeDelta::minutes(1));
    assert_eq!(signing(&bed).step().await.unwrap(), delivered(3));
    peer.with(|state| assert_eq!(state.batches, [12, 7, 1, 1, 2], "one event is the probe"));
    assert_eq!(bed.count("select parked_in_row::bigint from lanes").await, 0);
}

#[tokio::test]
async fn each_event_of_a_batch_is_judged_on_its_own() {
    let bed = Bed::new().await;
    let peer = own_make(&bed, 10).await;
    let actions = bed.actions().await;
    peer.with(|state| {
        state.opinions.insert(actions[2].clone(), Opinion::Rejects);
        state.opinions.insert(actions[4].clone(), Opinion::Conflicts);
        state.opinions.insert(actions[7].clone(), Opinion::Retries);
    });
    let mirror = signing(&bed);
    assert_eq!(mirror.step().await.unwrap(), Progress { lanes: 1, delivered: 5, parked: 2 });
    let lane = bed.lane(&peer.destination).await;
    assert_eq!((lane.state, lane.acknowledged_seq, lane.waiting), (State::BackingOff, 7, 3));
    assert_eq!((lane.parked, lane.diverged, lane.failures), (2, true, 1));
    assert_eq!(lane.last_error.unwrap()["error"], "retry");

    peer.with(|state| state.opinions.remove(&actions[7]));
    bed.clock.advance(TimeDelta::seconds(5));
    assert_eq!(mirror.step().await.unwrap(), delivered(3));
    peer.with(|state| {
        assert_eq!(state.batches, [10, 1, 2], "one event is the probe");
        assert_eq!(state.duplicates, 2, "what came after the retry counts as not sent");
    });
    let lane = bed.lane(&peer.destination).await;
    assert_eq!((lane.state, lane.waiting, lane.high_water), (State::Ready, 0, 10), "the mark passes what is parked");
}

/// The faults of a whole answer: nothing is lost, nothing is parked, and it goes on by itself afterwards.
#[tokio::test]
async fn a_whole_answer_that_settles_nothing_makes_the_lane_wait() {
    let bed = Bed::new().await;
    let peer = own_make(&bed, 0).await;
    let mirror = signing(&bed);
    let mut all = 0;
    for (mood, state) in [
        (Mood::Answers(200, HTML), State::BackingOff),
        (Mood::Answers(200, r#"{"results":[],"high_water":0}"#), State::BackingOff),
        (Mood::Answers(302, ""), State::BackingOff),
        (Mood::Answers(404, HTML), State::BackingOff),
        (Mood::Answers(404, r#"{"error":"NOT_FOUND","message":"no such route"}"#), State::BackingOff),
        (Mood::Answers(503, r#"{"error":"SERVICE_UNAVAILABLE","message":"later"}"#), State::BackingOff),
        (Mood::Answers(401, r#"{"error":"PEER_SIGNATURE_REQUIRED","message":"sign"}"#), State::Refused),
        (Mood::Answers(403, r#"{"error":"X","message":"y"}"#), State::Refused),
        (Mood::LosesAnswers, State::BackingOff),
    ] {
        bed.owe(&peer.destination, 7).await;
        all += 7;
        let before = peer.with(|peer| (peer.mood.replace(mood), peer.asked).1);
        assert_eq!(mirror.step().await.unwrap(), delivered(0));
        let lane = bed.lane(&peer.destination).await;
        assert_eq!((lane.state, lane.waiting, lane.parked, lane.failures), (state, 7, 0, 1));
        assert_eq!(mirror.step().await.unwrap(), Progress::default(), "the wait holds");
        peer.with(|peer| peer.mood = Some(Mood::Well));
        bed.clock.advance(TimeDelta::minutes(15));
        assert_eq!(mirror.step().await.unwrap(), delivered(7));
        peer.with(|peer| {
            assert!(peer.asked > before, "asked again after a failure");
            assert_eq!(peer.stored.len(), all);
        });
    }
    peer.with(|peer| assert_eq!(peer.duplicates, 7, "only what had arrived without our knowing came twice"));
    assert_eq!(bed.lane(&peer.destination).await.high_water, 63);
}

#[tokio::test]
async fn a_batch_that_comes_too_soon_goes_again_when_the_peer_says() {
    let bed = Bed::new().await;
    let peer = own_make(&bed, 3).await;
    let mirror = signing(&bed);
    for wait in [TimeDelta::seconds(7), TimeDelta::hours(2)] {
        let at = std::time::SystemTime::from(bed.clock.now() + wait);
        for asked in [wait.num_seconds().to_string(), httpdate::fmt_http_date(at)] {
            peer.with(|state| state.mood = Some(Mood::Busy(asked)));
            assert_eq!(mirror.step().await.unwrap(), delivered(0));
            let lane = bed.lane(&peer.destination).await;
            assert_eq!((lane.state, lane.waiting, lane.parked), (State::BackingOff, 3, 0));
            let waits = lane.next_attempt_at.unwrap() - bed.clock.now();
            // A date has whole seconds.
            assert!(waits <= wait && waits > wait - TimeDelta::seconds(1), "{waits} instead of {wait}");
            assert_eq!(mirror.step().await.unwrap(), Progress::default(), "the wait holds");
            operator(&bed).act(Verb::Probe, &peer.destination, None).await.unwrap();
        }
    }
    peer.with(|state| state.mood = None);
    assert_eq!(mirror.step().await.unwrap(), delivered(3));
}

/// A peer that holds more of a lane than was ever sent has seen a log that this one has forgotten.
#[tokio::test]
async fn a_mark_beyond_the_lane_is_an_alarm_also_while_it_sends() {
    let bed = Bed::new().await;
    let peer = own_make(&bed, 3).await;
    let registry = prometheus::Registry::new();
    let mirror = signing_with(&bed, bed.options(), &registry);
    let alarms = || prometheus::TextEncoder::new().encode_to_string(&registry.gather()).unwrap();
    mirror.step().await.unwrap();
    operator(&bed).resend(&peer.destination, NETWORK, 1).await.unwrap();
    assert_eq!(mirror.step().await.unwrap(), delivered(3));
    assert!(
        alarms().contains("kind=\"mark_beyond_lane\"} 0"),
        "what goes again is behind the mark of a peer that is well"
    );
    let epoch = bed.lane(&peer.destination).await.epoch.unwrap();
    peer.with(|state| state.has_all_up_to(epoch, 9));
    bed.owe(&peer.destination, 1).await;
    assert_eq!(mirror.step().await.unwrap(), delivered(1));
    assert!(alarms().contains("kind=\"mark_beyond_lane\"} 1"), "{}", alarms());
}

/// A batch that the peer can't read as a whole is no reason to stop: alone, each event gets its own answer.
#[tokio::test]
async fn a_batch_that_is_refused_as_such_goes_one_by_one() {
    let bed = Bed::new().await;
    let peer = own_make(&bed, 5).await;
    let actions = bed.actions().await;
    peer.with(|state| {
        state.chokes = true;
        state.opinions.insert(actions[1].clone(), Opinion::Rejects);
    });
    assert_eq!(signing(&bed).step().await.unwrap(), Progress { lanes: 1, delivered: 4, parked: 1 });
    peer.with(|state| {
        assert_eq!((state.singles, state.batches.as_slice()), (5, [0].as_slice()));
        assert_eq!(state.withdrawn.len(), 5, "they come in no batch");
    });
    assert_eq!(bed.lane(&peer.destination).await.high_water, 5);
}

#[tokio::test]
async fn an_event_that_fits_no_batch_goes_alone_and_holds_no_mark_up() {
    let bed = Bed::new().await;
    let peer = own_make(&bed, 3).await;
    bed.owe_large(&peer.destination, 300_000).await;
    bed.owe(&peer.destination, 3).await;
    bed.owe_large(&peer.destination, 300_000).await;
    assert_eq!(signing(&bed).step().await.unwrap(), delivered(8));
    peer.with(|state| {
        assert_eq!(state.singles, 2);
        assert_eq!(state.batches, [3, 3, 0]);
        assert_eq!(state.withdrawn.iter().copied().collect::<Vec<_>>(), [4, 8]);
    });
    let lane = bed.lane(&peer.destination).await;
    assert_eq!((lane.acknowledged_seq, lane.high_water, lane.waiting), (8, 8, 0));
}

#[tokio::test]
async fn many_large_events_are_spread_over_batches() {
    let bed = Bed::new().await;
    let peer = own_make(&bed, 0).await;
    for _ in 0..20 {
        bed.owe_large(&peer.destination, 30_000).await;
    }
    assert_eq!(signing(&bed).step().await.unwrap(), delivered(20));
    peer.with(|state| {
        assert!(state.batches.iter().all(|events| (1..=8).contains(events)), "{:?}", state.batches);
        assert_eq!((state.batches.iter().sum::<usize>(), state.singles), (20, 0));
    });
}

/// The receiver restores a backup: the gap is seen at the next question, an hour later at most, and refilled.
#[tokio::test]
async fn a_peer_that_lost_what_it_acknowledged_gets_it_again() {
    let bed = Bed::new().await;
    let peer = own_make(&bed, 120).await;
    let actions = bed.actions().await;
    peer.with(|state| state.opinions.insert(actions[90].clone(), Opinion::Rejects));
    let mirror = signing(&bed);
    assert_eq!(mirror.step().await.unwrap(), Progress { lanes: 1, delivered: 119, parked: 1 });
    let all = peer.with(|state| state.stored.clone());

    peer.with(|state| state.forgets_all_but(60, 60));
    bed.clock.advance(TimeDelta::hours(1));
    let progress = mirror.step().await.unwrap();
    assert_eq!(progress, Progress { lanes: 1, delivered: 59, parked: 1 }, "what it rejected is asked for once more");
    peer.with(|state| assert_eq!(state.stored, all));
    let lane = bed.lane(&peer.destination).await;
    assert_eq!((lane.state, lane.waiting, lane.high_water, lane.parked), (State::Ready, 0, 120, 1));
    assert_eq!(bed.count("select attempts::bigint from parked_events").await, 2);

    // The next event tells it too, without a question.
    peer.with(|state| state.forgets_all_but(100, 101));
    bed.owe(&peer.destination, 1).await;
    bed.clock.advance(TimeDelta::minutes(30));
    mirror.step().await.unwrap();
    peer.with(|state| {
        let mut stored = state.stored.clone();
        stored.sort();
        stored.dedup();
        assert_eq!((stored.len(), state.stored.len()), (120, 120));
    });
    assert_eq!(bed.lane(&peer.destination).await.high_water, 121);
}

/// A mark that never moves is a fault of the peer's; it must not cost it and us everything, over and over.
#[tokio::test]
async fn a_mark_that_stands_still_makes_everything_go_again_once_an_hour() {
    let bed = Bed::new().await;
    let peer = own_make(&bed, 10).await;
    let mirror = signing(&bed);
    mirror.step().await.unwrap();
    peer.with(|state| state.mood = Some(Mood::Answers(200, r#"{"results":[],"high_water":4}"#)));
    bed.clock.advance(TimeDelta::hours(1));
    // The question is answered; what follows it does not fit that answer.
    assert_eq!(mirror.step().await.unwrap(), delivered(0));
    let lane = bed.lane(&peer.destination).await;
    assert_eq!((lane.state, lane.acknowledged_seq, lane.waiting), (State::BackingOff, 4, 6));
    peer.with(|state| state.mood = None);
    bed.clock.advance(TimeDelta::minutes(1));
    assert_eq!(mirror.step().await.unwrap(), delivered(6));

    bed.sql("update lanes set refilled_mark = 4, high_water = 4").await;
    peer.with(|state| state.forgets_all_but(4, 4));
    bed.owe(&peer.destination, 1).await;
    assert_eq!(mirror.step().await.unwrap(), delivered(1), "no second time within the hour");
    bed.clock.advance(TimeDelta::hours(1));
    assert_eq!(mirror.step().await.unwrap(), delivered(7));
    peer.with(|state| assert_eq!(state.stored.len(), 11));
}

/// The sender restores a backup and gives its log a new epoch: the peer's new mark starts at nothing, so that everything
/// goes again, and what the peer holds with another content is parked. Nothing is overwritten.
#[tokio::test]
async fn a_new_epoch_shows_the_divergence() {
    let bed = Bed::new().await;
    let peer = own_make(&bed, 10).await;
    let mirror = signing(&bed);
    mirror.step().await.unwrap();
    let actions = bed.actions().await;
    bed.sql("update log_head set epoch = gen_random_uuid()").await;
    peer.with(|state| state.opinions.insert(actions[6].clone(), Opinion::Conflicts));
    bed.clock.advance(TimeDelta::hours(1));
    assert_eq!(mirror.step().await.unwrap(), Progress { lanes: 1, delivered: 9, parked: 1 });
    let lane = bed.lane(&peer.destination).await;
    assert_eq!((lane.diverged, lane.state, lane.high_water), (true, State::Ready, 10));
    peer.with(|state| assert_eq!((state.stored.len(), state.duplicates), (10, 9)));
}

#[tokio::test]
async fn an_idle_peer_that_does_not_answer_stays_ready() {
    let bed = Bed::new().await;
    let peer = own_make(&bed, 2).await;
    let mirror = signing(&bed);
    mirror.step().await.unwrap();
    peer.with(|state| state.mood = Some(Mood::Answers(502, HTML)));
    bed.clock.advance(TimeDelta::hours(1));
    assert_eq!(mirror.step().await.unwrap(), delivered(0));
    assert_eq!(mirror.step().await.unwrap(), Progress::default(), "asked again in an hour");
    let lane = bed.lane(&peer.destination).await;
    assert_eq!((lane.state, lane.failures, lane.next_attempt_at), (State::Ready, 0, None));
}

#[tokio::test]
async fn a_peer_of_our_own_make_that_was_away_for_a_week_catches_up_in_order() {
    let bed = Bed::new().await;
    let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let destination = format!("http://localhost:{}", address.port());
    bed.contract.register(&destination, &format!("http://{address}").parse().unwrap());
    let mirror = signing(&bed);
    let week_over = bed.clock.now() + TimeDelta::days(7);
    while bed.clock.now() < week_over {
        bed.owe(&destination, 1).await;
        assert_eq!(mirror.step().await.unwrap(), delivered(0));
        let next = bed.lane(&destination).await.next_attempt_at.unwrap();
        bed.clock.advance(next - bed.clock.now());
    }
    let waiting = usize::try_from(bed.lane(&destination).await.waiting).unwrap();
    assert!(waiting > 168, "{waiting}");
    let peer = OwnMake::on(TcpListener::bind(address).unwrap());
    assert_eq!(mirror.step().await.unwrap(), delivered(waiting));
    let logged = bed.actions().await;
    peer.with(|state| {
        assert_eq!(state.stored, logged);
        assert_eq!(state.batches.first(), Some(&1), "the first is a probe");
        assert_eq!(state.batches.get(1), Some(&50));
    });
}
