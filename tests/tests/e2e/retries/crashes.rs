//! Processes and databases that die while a call is between two instances.

use dpg_tests::pair::PairOptions;
use dpg_tests::wait::check;
use dpg_tests::{Answer, Cluster, Fault, Instance, Pair, TestDatabase, eventually};
use serde_json::json;

use super::{Bed, SOON, uncertain};

/// What is asked of the other instance.
#[derive(Debug, Clone)]
enum Asked {
    Perform,
    Cancel(String),
}

impl Asked {
    /// Both kinds; the second is about an action that exists for both.
    async fn both(bed: &Bed) -> [Self; 2] {
        [Self::Perform, Self::Cancel(bed.performed().await)]
    }

    /// Asks with a key, apart from the test's own course.
    fn start(&self, bed: &Bed) -> tokio::task::JoinHandle<Result<Answer, String>> {
        let request = match self {
            Self::Perform => bed.asha.perform(&bed.source, &bed.target),
            Self::Cancel(action) => bed.asha.update_status(action, "cancelled"),
        };
        tokio::spawn(request.header("idempotency-key", "the-key").try_send())
    }

    /// Asks until it is done, and sees that it was done once: then there are so many actions.
    async fn is_done_once(&self, bed: &Bed, actions: usize) {
        match self {
            Self::Perform => {
                let answer = bed.perform_at_last("the-key").await;
                assert_eq!(answer.body["update_count"], json!(0));
            }
            Self::Cancel(action) => {
                let answer = bed.cancel_at_last(action, "the-key").await;
                assert_eq!(answer.body["update_count"], json!(1));
                assert_eq!(bed.ravi.events(action).await.len(), 2, "one cancellation");
            }
        }
        bed.assert_actions(actions).await;
    }
}

/// Time enough for a test to do something while a call is open.
fn patient() -> PairOptions {
    let environment =
        [("PEER_TIMEOUT_MS", "20000".to_owned()), ("READ_YOUR_WRITES_TIMEOUT_MS", "20000".to_owned())].to_vec();
    PairOptions { proxied_tutor: true, signed: true, environment, ..Default::default() }
}

/// Waits until a statement of the instance waits for a lock of the test.
async fn held_up(database: &TestDatabase) {
    let client = database.client().await;
    let query = "select count(*) from pg_locks where not granted and database =
                 (select oid from pg_database where datname = current_database())";
    eventually("the instance is held up", SOON, || async {
        let waiting: i64 = client.query_one(query, &[]).await.expect("the locks").get(0);
        check(waiting > 0, waiting)
    })
    .await;
}

/// Waits until the source has written down that a call is on its way.
async fn claimed(instance: &Instance) {
    let client = instance.database.client().await;
    eventually("the call is claimed", SOON, || async {
        let query = "select count(*) from idempotency where state = 'sending'";
        let sending: i64 = client.query_one(query, &[]).await.expect("the claims").get(0);
        check(sending == 1, sending)
    })
    .await;
}

/// Claims last as long as a call may; a test need not wait that long.
async fn let_claims_run_out(instance: &Instance) {
    let client = instance.database.client().await;
    client.execute("update idempotency set claimed_until = '-infinity'", &[]).await.expect("the claims");
}

const HOLD_LOG: &str = "lock table event_log in exclusive mode";
const HOLD_TABLES: &str = "lock table item_actions_live.item_actions in exclusive mode";

/// The target has committed, and dies before it answers.
#[tokio::test(flavor = "multi_thread")]
async fn a_target_that_dies_between_commit_and_answer_did_it_once() {
    for kind in 0..2 {
        let mut bed = Bed::of(Pair::with(patient()).await).await;
        let asked = Asked::both(&bed).await[kind].clone();
        let mut client = bed.pair.tutor.instance.database.client().await;
        let watching = bed.pair.tutor.instance.database.client().await;
        let head = dpg_tests::log::head(&watching, dpg_tests::network::NETWORK).await;
        let lock = client.transaction().await.expect("a transaction");
        lock.batch_execute(HOLD_TABLES).await.expect("the tables are held");
        let call = asked.start(&bed);
        eventually("the target has committed", SOON, || async {
            let now = dpg_tests::log::head(&watching, dpg_tests::network::NETWORK).await;
            check(now == head + 1, format!("{now} after {head}"))
        })
        .await;
        bed.pair.tutor.process.kill();
        let answer = call.await.expect("the call's task").expect("an answer");
        uncertain(answer).expect_error(502, "TARGET_INSTANCE_UNAVAILABLE");
        lock.rollback().await.expect("the lock is released");
        bed.pair.tutor.process.restart().await;
        asked.is_done_once(&bed, 2 - kind).await;
    }
}

/// The source has claimed the key, and dies before it knows the answer.
#[tokio::test(flavor = "multi_thread")]
async fn a_source_that_dies_after_its_claim_asks_again() {
    for (kind, arrives) in [(0, false), (0, true), (1, false), (1, true)] {
        let mut bed = Bed::of(Pair::with(patient()).await).await;
        let asked = Asked::both(&bed).await[kind].clone();
        let tutor = &bed.pair.tutor.instance.database;
        let mut client = tutor.client().await;
        let lock = client.transaction().await.expect("a transaction");
        if arrives {
            lock.batch_execute(HOLD_LOG).await.expect("the log is held");
        } else {
            bed.line(Fault::Hang).await;
        }
        let call = asked.start(&bed);
        claimed(&bed.pair.student.instance).await;
        if arrives {
            held_up(tutor).await;
        }
        bed.pair.student.process.kill();
        assert!(call.await.expect("the call's task").is_err(), "a killed process answered");
        lock.rollback().await.expect("the lock is released");
        bed.line(Fault::Pass).await;
        bed.pair.student.process.restart().await;
        let_claims_run_out(&bed.pair.student.instance).await;
        asked.is_done_once(&bed, 2 - kind).await;
    }
}

/// The database of either side goes away while the target is at work.
#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_is_lost_while_a_call_is_open_costs_nothing() {
    let cluster = Cluster::start().await;
    for (kind, of_source) in [(0, true), (1, true), (0, false), (1, false)] {
        let (lost, kept) = (cluster.database().await, TestDatabase::create().await);
        let (student, tutor) = if of_source { (lost, kept) } else { (kept, lost) };
        let mut bed = Bed::of(Pair::with_databases(patient(), student, tutor).await).await;
        let asked = Asked::both(&bed).await[kind].clone();
        let tutor = &bed.pair.tutor.instance.database;
        let mut client = tutor.client().await;
        let lock = client.transaction().await.expect("a transaction");
        lock.batch_execute(HOLD_LOG).await.expect("the log is held");
        let call = asked.start(&bed);
        held_up(tutor).await;
        cluster.stop_immediately();
        if of_source {
            lock.rollback().await.expect("the lock is released");
        }
        let answer = uncertain(call.await.expect("the call's task").expect("an answer"));
        let (status, code) =
            if of_source { (503, "SERVICE_UNAVAILABLE") } else { (502, "TARGET_INSTANCE_UNAVAILABLE") };
        answer.expect_error(status, code);
        cluster.resume().await;
        for node in [&mut bed.pair.student, &mut bed.pair.tutor] {
            node.process.wait_ready().await;
        }
        let_claims_run_out(&bed.pair.student.instance).await;
        asked.is_done_once(&bed, 2 - kind).await;
    }
}

/// Whoever asks while a call is open gets that call's answer, or is told that it is open.
#[tokio::test(flavor = "multi_thread")]
async fn a_second_call_waits_for_the_first() {
    let bed = Bed::of(Pair::with(patient()).await).await;
    let [perform, cancel] = Asked::both(&bed).await;
    for asked in [perform, cancel] {
        let mut client = bed.pair.tutor.instance.database.client().await;
        let lock = client.transaction().await.expect("a transaction");
        lock.batch_execute(HOLD_LOG).await.expect("the log is held");
        let first = asked.start(&bed);
        claimed(&bed.pair.student.instance).await;
        let second = asked.start(&bed);
        let another_body = match &asked {
            Asked::Perform => bed.asha.post("/api/v1/action/perform").json(&json!({
                "action_type": "connect", "source_item": dpg_tests::network::reference(&bed.source),
                "target_item": dpg_tests::network::reference(&bed.target),
                "requirements_snapshot": {"subject": "physics"}
            })),
            Asked::Cancel(action) => bed.asha.update_status(action, "rejected"),
        };
        let reused = another_body.header("idempotency-key", "the-key").send().await;
        reused.expect_error(422, "IDEMPOTENCY_KEY_REUSED");
        held_up(&bed.pair.tutor.instance.database).await;
        lock.rollback().await.expect("the lock is released");
        let first = first.await.expect("the first call's task").expect("an answer");
        let second = second.await.expect("the second call's task").expect("an answer");
        assert!(first.status < 300, "{first}");
        assert_eq!((second.status, &second.body), (first.status, &first.body));
        asked.is_done_once(&bed, 2).await;
    }
}
