use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use dpg_eventstore::append::AppendOptions;
use dpg_eventstore::inbox::{self, InboxLane};
use dpg_eventstore::{Appended, Command, EventType, IdempotencyRecord, InboxMark, read};
use serde_json::value::to_raw_value;
use uuid::Uuid;

use crate::{NETWORK, TestLog, another_process, created, event};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tailing_reader_sees_every_position_once_and_in_order_while_64_write() {
    let log = TestLog::new().await;
    // Two processes, so that the order comes from the database and not from one queue.
    let other = another_process(&log.home, AppendOptions::default());
    let done = Arc::new(AtomicBool::new(false));
    let reader = tokio::spawn({
        let (database, done) = (log.database.clone(), done.clone());
        async move {
            let mut seen = Vec::new();
            loop {
                let finished = done.load(Ordering::SeqCst);
                let events = read::range(&database, NETWORK, seen.len() as i64, 500).await.unwrap();
                if events.is_empty() && finished {
                    return seen;
                }
                for event in &events {
                    assert_eq!(event.position, seen.len() as i64 + 1, "a gap or a repetition");
                    seen.push(event.event_id);
                }
            }
        }
    });
    let writers: Vec<_> = (0..64)
        .map(|writer| {
            let appender = if writer % 2 == 0 { log.appender.clone() } else { other.clone() };
            tokio::spawn(async move {
                let mut last = 0;
                for _ in 0..20 {
                    match appender.append(NETWORK, created(Uuid::new_v4())).await.unwrap() {
                        Appended::Won { position, .. } => {
                            assert!(position.unwrap() > last, "a writer's own events are out of order");
                            last = position.unwrap();
                        }
                        other => panic!("{other:?}"),
                    }
                }
            })
        })
        .collect();
    for writer in writers {
        writer.await.unwrap();
    }
    done.store(true, Ordering::SeqCst);
    let seen = reader.await.unwrap();
    assert_eq!(seen.len(), 64 * 20);
    assert_eq!(seen.iter().collect::<HashSet<_>>().len(), seen.len());
    let times = log
        .count(
            "select count(*) from (select recorded_at < lag(recorded_at) over (order by position) as back
               from event_log) t where back",
        )
        .await;
    assert_eq!(times, 0, "recorded_at decreased");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_writer_wins_each_version_across_processes() {
    let log = TestLog::new().await;
    let stream = Uuid::new_v4();
    log.won(created(stream)).await;
    let mut wins = 0;
    let mut attempts = Vec::new();
    for _ in 0..4 {
        let appender = another_process(&log.home, AppendOptions::default());
        for _ in 0..5 {
            let appender = appender.clone();
            attempts.push(tokio::spawn(async move {
                appender.append(NETWORK, Command::of(event(stream, 2, EventType::ItemUpdated))).await.unwrap()
            }));
        }
    }
    for attempt in attempts {
        match attempt.await.unwrap() {
            Appended::Won { .. } => wins += 1,
            outcome => assert_eq!(outcome, Appended::Conflict),
        }
    }
    assert_eq!(wins, 1);
    let stream = read::load(&log.database, stream).await.unwrap().unwrap();
    assert_eq!((stream.version, stream.position, stream.first_position), (2, 2, 1));
}

#[tokio::test]
async fn a_command_of_several_streams_is_all_or_nothing() {
    let log = TestLog::new().await;
    let (known, fresh) = (Uuid::new_v4(), Uuid::new_v4());
    log.won(created(known)).await;
    let command = Command {
        events: vec![event(fresh, 1, EventType::ItemCreated), event(known, 1, EventType::ItemCreated)],
        ..Command::default()
    };
    assert_eq!(log.appender.append(NETWORK, command).await.unwrap(), Appended::Conflict);
    assert!(read::load(&log.database, fresh).await.unwrap().is_none());

    let command = Command {
        events: vec![
            event(fresh, 1, EventType::ItemCreated),
            event(known, 2, EventType::ItemUpdated),
            event(known, 3, EventType::ItemUpdated),
        ],
        ..Command::default()
    };
    assert_eq!(log.won(command).await, 4);
    assert_eq!(read::load(&log.database, known).await.unwrap().unwrap().version, 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_guard_refuses_a_stream_that_was_closed_even_in_the_same_batch() {
    let log = TestLog::new().await;
    for _ in 0..30 {
        let target = Uuid::new_v4();
        log.won(created(target)).await;
        let perform = Command {
            events: vec![event(Uuid::new_v4(), 1, EventType::ActionPerformed)],
            guards: vec![target],
            ..Command::default()
        };
        let delete = Command::of(event(target, 2, EventType::ItemDeleted));
        let (performed, deleted) =
            tokio::join!(log.appender.append(NETWORK, perform), log.appender.append(NETWORK, delete));
        let Appended::Won { position: deleted_at, .. } = deleted.unwrap() else { panic!("a delete has no rival") };
        if let Appended::Won { position, .. } = performed.unwrap() {
            assert!(position < deleted_at, "an action was performed on a deleted item");
        }
        let late = Command {
            events: vec![event(Uuid::new_v4(), 1, EventType::ActionPerformed)],
            guards: vec![target],
            ..Command::default()
        };
        assert_eq!(log.appender.append(NETWORK, late).await.unwrap(), Appended::Conflict);
    }
    let closed = Uuid::new_v4();
    log.won(created(closed)).await;
    log.won(Command::of(event(closed, 2, EventType::ItemDeleted))).await;
    let beyond = Command::of(event(closed, 3, EventType::ItemUpdated));
    assert_eq!(log.appender.append(NETWORK, beyond).await.unwrap(), Appended::Conflict);
}

fn keyed(key: &str, digest: u8) -> Command {
    let stream_id = Uuid::new_v4();
    Command {
        idempotency: Some(IdempotencyRecord {
            caller: "asha".to_owned(),
            route: "item/create".to_owned(),
            key: key.to_owned(),
            digest: vec![digest],
            status: 201,
            stream_id,
            version: 1,
        }),
        ..created(stream_id)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_twenty_calls_with_one_key_one_writes() {
    let log = TestLog::new().await;
    let other = another_process(&log.home, AppendOptions::default());
    let calls: Vec<_> = (0..20)
        .map(|call| {
            let appender = if call % 2 == 0 { log.appender.clone() } else { other.clone() };
            tokio::spawn(async move { appender.append(NETWORK, keyed("k", 1)).await.unwrap() })
        })
        .collect();
    let mut wins = 0;
    for call in calls {
        match call.await.unwrap() {
            Appended::Won { .. } => wins += 1,
            outcome => assert_eq!(outcome, Appended::Replayed),
        }
    }
    assert_eq!((wins, log.count("select count(*) from event_log").await), (1, 1));
}

#[tokio::test]
async fn the_outbox_counts_densely_per_destination() {
    let log = TestLog::new().await;
    let owed = |destination: &str| {
        let mut owed = event(Uuid::new_v4(), 1, EventType::ActionPerformed);
        owed.destination = Some(destination.to_owned());
        owed
    };
    let batch = Command { events: vec![owed("https://a"), owed("https://b"), owed("https://a")], ..Command::default() };
    log.won(batch).await;
    log.won(created(Uuid::new_v4())).await;
    log.won(Command::of(owed("https://a"))).await;
    let client = log.database.client().await.unwrap();
    let rows = client.query("select destination, seq, position from outbox order by 1, 2", &[]).await.unwrap();
    let rows: Vec<(String, i64, i64)> = rows.iter().map(|r| (r.get(0), r.get(1), r.get(2))).collect();
    let expected = [("https://a", 1, 1), ("https://a", 2, 3), ("https://a", 3, 5), ("https://b", 1, 2)];
    assert_eq!(rows, expected.map(|(d, s, p)| (d.to_owned(), s, p)));
    assert_eq!(log.count("select sum(seq)::bigint from outbox_heads").await, 4);
}

#[tokio::test]
async fn a_deleted_item_leaves_no_private_values() {
    let log = TestLog::new().await;
    let item = Uuid::new_v4();
    for (version, event_type) in [(1, EventType::ItemCreated), (2, EventType::ItemUpdated)] {
        let mut write = event(item, version, event_type);
        write.private = Some(to_raw_value(&serde_json::json!({"phone": "1"})).unwrap());
        log.won(Command::of(write)).await;
    }
    assert!(read::private_half(&log.database, item, 2).await.unwrap().is_some());
    log.won(Command::of(event(item, 3, EventType::ItemDeleted))).await;
    assert_eq!(log.count("select count(*) from item_private").await, 0);
    assert_eq!(read::history(&log.database, NETWORK, item, 0, 10).await.unwrap().len(), 3);
}

#[tokio::test]
async fn an_inbox_mark_stops_before_a_gap_and_moves_over_what_came_early() {
    let log = TestLog::new().await;
    let epoch = Uuid::new_v4();
    let arrive = |seqs: &[i64]| Command {
        inbox: seqs
            .iter()
            .map(|seq| InboxMark {
                origin: "https://b".to_owned(),
                // The lane of another network than that whose log takes the events in.
                network: "elsewhere".to_owned(),
                destination: "https://a".to_owned(),
                epoch,
                seq: *seq,
            })
            .collect(),
        ..Command::default()
    };
    for (seqs, mark) in [(vec![1, 2], 2), (vec![4, 6], 2), (vec![3], 4), (vec![4], 4), (vec![5], 6)] {
        log.appender.append(NETWORK, arrive(&seqs)).await.unwrap();
        assert_eq!(log.count("select high_water from inbox where network = 'elsewhere'").await, mark, "after {seqs:?}");
    }
    assert_eq!(log.count("select count(*) from inbox_ahead").await, 0);
}

#[tokio::test]
async fn a_mark_moves_with_its_command_or_not_at_all() {
    let log = TestLog::new().await;
    let (epoch, item) = (Uuid::new_v4(), Uuid::new_v4());
    let arrive = |version, seq| Command {
        inbox: vec![InboxMark {
            origin: "https://b".to_owned(),
            network: NETWORK.to_owned(),
            destination: "https://a".to_owned(),
            epoch,
            seq,
        }],
        ..Command::of(event(item, version, EventType::ItemCreated))
    };
    assert!(matches!(log.appender.append(NETWORK, arrive(1, 1)).await.unwrap(), Appended::Won { .. }));
    assert!(matches!(log.appender.append(NETWORK, arrive(1, 2)).await.unwrap(), Appended::Conflict));
    let lane = InboxLane {
        origin: "https://b".to_owned(),
        network: NETWORK.to_owned(),
        destination: "https://a".to_owned(),
        epoch,
    };
    assert_eq!(inbox::mark(&log.database, &lane, &[]).await.unwrap(), 1, "the loser moved nothing");
    assert_eq!(inbox::mark(&log.database, &lane, &[3, 2]).await.unwrap(), 3);
    let other = InboxLane { epoch: Uuid::new_v4(), ..lane };
    assert_eq!(inbox::mark(&log.database, &other, &[2]).await.unwrap(), 0, "each epoch has its own");
}

/// A peer that leaves a number out and sends on must not make each of its batches dearer than the one before.
#[tokio::test]
async fn what_waits_beyond_a_gap_is_not_read_again_and_again() {
    let log = TestLog::new().await;
    let mut client = log.database.client().await.unwrap();
    let transaction = client.transaction().await.unwrap();
    let epoch = Uuid::new_v4();
    let mark = async |seqs: Vec<i64>| -> i64 {
        let call = "select mark_inbox('yellow_dot', 'https://b', 'https://a', $1, $2)";
        transaction.query_one(call, &[&epoch, &seqs]).await.unwrap().get(0)
    };
    let rows_read = async || -> i64 {
        let counted = "select seq_tup_read + coalesce(idx_tup_fetch, 0) from pg_stat_xact_user_tables
                        where relname = 'inbox_ahead'";
        transaction.query_one(counted, &[]).await.unwrap().get(0)
    };
    assert_eq!(mark((2..=5000).collect()).await, 0);
    let before = rows_read().await;
    assert_eq!(mark(vec![6000]).await, 0);
    let read = rows_read().await - before;
    assert!(read < 500, "{read} rows were read for one number");
    assert_eq!(mark(vec![1]).await, 5000, "the gap is closed");
    let left = transaction.query_one("select count(*) from inbox_ahead", &[]).await.unwrap();
    assert_eq!(left.get::<_, i64>(0), 1);
}
