//! What bounds the write side: its queue refuses what it can't hold, and a commit takes all that waits.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use dpg_tests::log::SOON;
use dpg_tests::network::{TUTOR, tutor_state};
use dpg_tests::wait::check;
use dpg_tests::{Node, Process, eventually};
use futures_util::future::join_all;

/// The queue of a network's appender, and the batch that is under way.
const BOUND: usize = 4096 + 256;

async fn counted(process: &Process, metric: &str, labels: &[&str]) -> f64 {
    process.metric(metric, labels).await.unwrap_or(0.0)
}

async fn logged(client: &tokio_postgres::Client) -> usize {
    let query = "select count(*) from event_log where event_type = 'item.created'";
    let count: i64 = client.query_one(query, &[]).await.expect("the log").get(0);
    usize::try_from(count).expect("a count")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_queue_refuses_and_loses_nothing_that_it_took() {
    let node = Node::both().await;
    let ravi = node.sign_up("ravi").await;
    let _first = ravi.create(TUTOR, &tutor_state("First")).send().await.expect(201);
    let mut holder = node.instance.database.client().await;
    let holding = holder.transaction().await.expect("a transaction");
    holding.execute("select * from log_head for update", &[]).await.expect("the head");

    let refused = AtomicUsize::new(0);
    let creating = join_all((0..BOUND + 400).map(|_| async {
        let request = ravi.create(TUTOR, &tutor_state("Ravi")).header("prefer", "respond-async");
        let answer = request.send().await;
        if answer.status == 503 {
            refused.fetch_add(1, Ordering::SeqCst);
        }
        answer
    }));
    let releasing = async {
        // A batch that waits too long for the head is refused as well, and counted; a command that the queue did not take
        // is not.
        eventually("the queue refuses", Duration::from_secs(25), || async {
            let refused = refused.load(Ordering::SeqCst);
            let failed = counted(&node.process, "dpg_append_commands_total", &["outcome=\"failed\""]).await;
            check(refused as f64 > failed, format!("{refused} refused, {failed} of them by the database"))
        })
        .await;
        holding.rollback().await.expect("the head is let go");
    };
    let (answers, ()) = tokio::join!(creating, releasing);

    let acknowledged = answers.iter().filter(|answer| answer.status == 201).count();
    for answer in answers.iter().filter(|answer| answer.status != 201) {
        answer.expect_error(503, "SERVICE_UNAVAILABLE");
        assert!(answer.header("retry-after").is_some(), "no Retry-After: {answer}");
    }
    assert!(acknowledged > 0, "nothing was taken");
    let client = node.instance.database.client().await;
    assert_eq!(logged(&client).await, acknowledged + 1, "acknowledged and logged differ");
    let _after = ravi.create(TUTOR, &tutor_state("Afterwards")).send().await.expect(201);
    node.verify().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_waits_for_a_commit_shares_the_next_one() {
    const WRITERS: usize = 64;
    let node = Node::both().await;
    let ravi = node.sign_up("ravi").await;
    let _first = ravi.create(TUTOR, &tutor_state("First")).send().await.expect(201);
    let watcher = node.instance.database.client().await;
    let counts = || async {
        let commands = counted(&node.process, "dpg_append_commands_total", &[]).await;
        (commands, counted(&node.process, "dpg_append_batches_total", &[]).await)
    };
    // How many of them have come in when the head is let go is up to the machine, so there is more than one try.
    eventually("writes share commits", SOON, || async {
        let (commands_before, batches_before) = counts().await;
        let mut holder = node.instance.database.client().await;
        let holding = holder.transaction().await.expect("a transaction");
        holding.execute("select * from log_head for update", &[]).await.expect("the head");
        let creating = join_all((0..WRITERS).map(|_| ravi.create(TUTOR, &tutor_state("Ravi")).send()));
        let releasing = async {
            eventually("an append waits for the head", Duration::from_secs(20), || async {
                let query = "select count(*) from pg_stat_activity
                              where datname = current_database() and wait_event_type = 'Lock'";
                let waiting: i64 = watcher.query_one(query, &[]).await.expect("the activity").get(0);
                check(waiting > 0, "nobody waits")
            })
            .await;
            for _ in 0..16 {
                let _live = node.process.client().get("/health/live").send().await.expect(200);
            }
            holding.rollback().await.expect("the head is let go");
        };
        let (answers, ()) = tokio::join!(creating, releasing);
        assert!(answers.iter().all(|answer| answer.status == 201), "{answers:?}");
        let (commands, batches) = counts().await;
        let (commands, batches) = (commands - commands_before, batches - batches_before);
        assert!((commands - WRITERS as f64).abs() < 0.5, "{commands} commands for {WRITERS} writes");
        assert!(batches >= 1.0, "no batch was counted");
        check(batches * 8.0 <= commands, format!("{commands} commands in {batches} batches"))
    })
    .await;
    node.verify().await;
}
