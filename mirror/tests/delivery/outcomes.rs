//! What each answer does to a lane, over real HTTP.

use std::sync::Arc;
use std::time::Duration;

use chrono::TimeDelta;
use dpg_mirror::lane::State;
use dpg_mirror::signature::PeerKey;
use dpg_mirror::{Progress, Signer};
use tokio::sync::Notify;

use crate::bed::Bed;
use crate::peer::{Answer, HTML, Peer, babbler};

#[tokio::test]
async fn events_arrive_in_order_signed_and_once() {
    let bed = Bed::new().await;
    let generated = PeerKey::generate().unwrap();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let peer = Peer::on(listener, Answer::Stored, Some(generated.key.public_key()));
    bed.contract.register(&peer.destination, &peer.url);
    // Crosses a range of the log, and more than one chunk.
    bed.owe(&peer.destination, 150).await;
    let signer = Signer { key: Arc::new(generated.key), keyid: "https://b.example.org".to_owned() };
    let registry = prometheus::Registry::new();
    let mirror = bed.mirror_of(bed.options(), Duration::from_secs(5), Some(signer), &registry);
    assert_eq!(mirror.step().await.unwrap(), Progress { lanes: 1, delivered: 150, parked: 0 });

    let logged = bed.actions().await;
    assert_eq!(peer.got(), logged);
    assert_eq!(peer.verified(), vec![true; 150]);
    assert_eq!(mirror.step().await.unwrap(), Progress::default(), "nothing is due any more");
    let lane = bed.lane(&peer.destination).await;
    assert_eq!((lane.state, lane.waiting, lane.acknowledged_seq), (State::Ready, 0, 150));
    mirror.refresh().await.unwrap();
    let text = prometheus::TextEncoder::new().encode_to_string(&registry.gather()).unwrap();
    for line in [
        "dpg_mirror_attempts_total",
        "outcome=\"delivered\"} 150",
        "dpg_mirror_delivery_seconds_count",
        "state=\"ready\"} 1",
    ] {
        assert!(text.contains(line), "{line} is not in {text}");
    }
}

/// Whatever a peer does that is no answer to the event: everything waits, nothing is lost or parked, and once the peer is
/// well again all of it arrives.
#[tokio::test]
async fn what_is_no_answer_makes_the_lane_wait() {
    let bed = Bed::new().await;
    let peer = Peer::start(Answer::Stored);
    bed.contract.register(&peer.destination, &peer.url);
    let mirror = bed.mirror();
    let hang = Arc::new(Notify::new());
    let cases = [
        (Answer::Status(200, HTML), State::BackingOff, Some(200)),
        (Answer::Redirect, State::BackingOff, Some(302)),
        (Answer::Status(404, HTML), State::BackingOff, Some(404)),
        (Answer::Status(500, r#"{"error":"X","message":"y"}"#), State::BackingOff, Some(500)),
        (Answer::RetryAfter("7"), State::BackingOff, Some(503)),
        (Answer::Status(401, r#"{"error":"Unauthorized","message":"Sign in."}"#), State::Refused, Some(401)),
        (Answer::Status(403, HTML), State::Refused, Some(403)),
        (Answer::Status(403, r#"{"error":"PEER_SIGNATURE_REQUIRED"}"#), State::Refused, Some(403)),
        (Answer::Hang(hang.clone()), State::BackingOff, None),
    ];
    for (answer, state, status) in cases {
        bed.owe(&peer.destination, 3).await;
        let before = peer.got().len();
        peer.answers(answer.clone());
        assert_eq!(mirror.step().await.unwrap(), Progress { lanes: 1, delivered: 0, parked: 0 });
        let lane = bed.lane(&peer.destination).await;
        assert_eq!((lane.state, lane.waiting, lane.parked, lane.failures), (state, 3, 0, 1));
        let error = lane.last_error.unwrap();
        assert_eq!(error["status"], serde_json::json!(status), "{error}");
        assert_eq!(peer.got().len(), before + 1, "one event is enough to find out");
        assert_eq!(mirror.step().await.unwrap(), Progress::default(), "the wait holds");

        let wait = lane.next_attempt_at.unwrap() - bed.clock.now();
        match (state, &answer) {
            (State::Refused, _) => assert_eq!(wait, TimeDelta::minutes(15)),
            (_, Answer::RetryAfter(_)) => assert!((wait - TimeDelta::seconds(7)).num_milliseconds().abs() <= 1),
            _ => assert!(wait >= TimeDelta::milliseconds(999) && wait <= TimeDelta::seconds(2), "{wait}"),
        }
        bed.clock.advance(wait);
        assert_eq!(mirror.step().await.unwrap().lanes, 1, "one probe, which fails again");
        assert_eq!(bed.lane(&peer.destination).await.failures, 2);

        peer.answers(Answer::NullId);
        bed.clock.advance(TimeDelta::hours(1));
        hang.notify_waiters();
        assert_eq!(mirror.step().await.unwrap().delivered, 3);
        assert_eq!(bed.lane(&peer.destination).await.state, State::Ready);
    }
    assert_eq!(peer.elsewhere(), 0, "no redirect is followed");
}

#[tokio::test]
async fn garbage_and_closed_ports_are_unreachable() {
    let bed = Bed::new().await;
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    for (destination, url) in [
        ("http://babbler.example.org", babbler().await),
        ("http://closed.example.org", format!("http://{closed}").parse().unwrap()),
        ("http://unresolvable.example.org", "http://no-such-host.invalid".parse().unwrap()),
    ] {
        bed.contract.register(destination, &url);
        bed.owe(destination, 1).await;
        bed.mirror().step().await.unwrap();
        let lane = bed.lane(destination).await;
        assert_eq!((lane.state, lane.waiting), (State::BackingOff, 1), "{destination}");
        assert_eq!(lane.last_error.unwrap()["error"], "unreachable", "{destination}");
    }
}

#[tokio::test]
async fn an_answer_without_end_is_a_failure() {
    let bed = Bed::new().await;
    let endless = format!(r#"{{"event_id":"{}"}}"#, "x".repeat(dpg_mirror::peer::MAX_ANSWER_BYTES));
    let peer = Peer::start(Answer::Status(201, endless.leak()));
    bed.contract.register(&peer.destination, &peer.url);
    bed.owe(&peer.destination, 1).await;
    bed.mirror_of(bed.options(), Duration::from_secs(20), None, &prometheus::Registry::new()).step().await.unwrap();
    let lane = bed.lane(&peer.destination).await;
    assert_eq!((lane.state, lane.waiting), (State::BackingOff, 1));
    assert_eq!(lane.last_error.unwrap()["error"], "answer_too_large");
}

#[tokio::test]
async fn an_event_that_the_application_refuses_is_parked_and_the_others_go_on() {
    let bed = Bed::new().await;
    let peer = Peer::start(Answer::Status(422, r#"{"error":"INVALID","message":"no such thing"}"#));
    bed.contract.register(&peer.destination, &peer.url);
    bed.owe(&peer.destination, 2).await;
    let mirror = bed.mirror();
    assert_eq!(mirror.step().await.unwrap(), Progress { lanes: 1, delivered: 0, parked: 2 });
    peer.answers(Answer::Status(200, r#"{"conflict":true}"#));
    bed.owe(&peer.destination, 1).await;
    assert_eq!(mirror.step().await.unwrap().parked, 1);
    peer.answers(Answer::Stored);
    bed.owe(&peer.destination, 1).await;
    assert_eq!(mirror.step().await.unwrap().delivered, 1);
    let lane = bed.lane(&peer.destination).await;
    assert_eq!((lane.state, lane.waiting, lane.parked, lane.diverged), (State::Ready, 0, 3, true));
    let rows = bed.db.client().await.unwrap();
    let rows = rows
        .query("select seq, status, error, message, conflict, attempts from parked_events order by seq", &[])
        .await
        .unwrap();
    type Row = (i64, i32, Option<String>, Option<String>, bool, i32);
    let rows: Vec<Row> = rows.iter().map(|r| (r.get(0), r.get(1), r.get(2), r.get(3), r.get(4), r.get(5))).collect();
    let refused = |seq| (seq, 422, Some("INVALID".to_owned()), Some("no such thing".to_owned()), false, 1);
    assert_eq!(rows, [refused(1), refused(2), (3, 200, None, None, true, 1)]);
}

#[tokio::test]
async fn twenty_parked_in_a_row_back_the_lane_off() {
    let bed = Bed::new().await;
    let peer = Peer::start(Answer::Status(404, r#"{"error":"NOT_FOUND","message":"no"}"#));
    bed.contract.register(&peer.destination, &peer.url);
    bed.owe(&peer.destination, 30).await;
    let mirror = bed.mirror();
    assert_eq!(mirror.step().await.unwrap().parked, 20);
    let lane = bed.lane(&peer.destination).await;
    assert_eq!((lane.state, lane.waiting), (State::BackingOff, 10));
    bed.clock.advance(TimeDelta::seconds(3));
    assert_eq!(mirror.step().await.unwrap().parked, 1, "a probe is one event");
    peer.answers(Answer::Stored);
    bed.clock.advance(TimeDelta::seconds(10));
    assert_eq!(mirror.step().await.unwrap().delivered, 9);
    assert_eq!(bed.lane(&peer.destination).await.state, State::Ready);
}

#[tokio::test]
async fn a_hole_in_the_outbox_is_an_alarm_for_its_lane_only() {
    let bed = Bed::new().await;
    let (torn, sound) = (Peer::start(Answer::Stored), Peer::start(Answer::Stored));
    for peer in [&torn, &sound] {
        bed.contract.register(&peer.destination, &peer.url);
        bed.owe(&peer.destination, 3).await;
    }
    bed.sql(&format!("delete from outbox where destination = '{}' and seq = 1", torn.destination)).await;
    let registry = prometheus::Registry::new();
    let mirror = bed.mirror_of(bed.options(), Duration::from_secs(2), None, &registry);
    let faults = || prometheus::TextEncoder::new().encode_to_string(&registry.gather()).unwrap();
    assert!(faults().contains("kind=\"missing_event\"} 0"), "an alarm sees a counter rise, not appear");
    assert_eq!(mirror.step().await.unwrap().delivered, 3);
    assert!(faults().contains("kind=\"missing_event\"} 1"), "{}", faults());
    let lane = bed.lane(&torn.destination).await;
    assert_eq!((lane.state, lane.waiting), (State::BackingOff, 3));
    assert_eq!(lane.last_error.unwrap()["error"], "missing_event");
    assert_eq!((torn.got().len(), sound.got().len()), (0, 3));
}
