//! Records of keys (CONTRACT 1.9): how long they are kept, and whose a claim is.

use dpg_eventstore::idempotency::{Claimed, Progress, Scope, claim, find, finish, give_up, prune, unknown};
use serde_json::json;

use crate::TestLog;

const BODY: &[u8] = b"digest of a body";
const MINUTE: i64 = 60_000;

fn scope(key: &str) -> Scope {
    Scope { caller: "asha".to_owned(), route: "action/perform".to_owned(), key: key.to_owned() }
}

impl TestLog {
    async fn claims(&self, key: &str, body: &[u8], resend: bool) -> Claimed {
        claim(&self.database, &scope(key), body, MINUTE, resend).await.unwrap()
    }

    async fn progress(&self, key: &str) -> Option<Progress> {
        find(&self.database, &scope(key)).await.unwrap().map(|record| record.progress)
    }

    async fn run(&self, sql: &str) {
        self.database.client().await.unwrap().batch_execute(sql).await.unwrap();
    }
}

#[tokio::test]
async fn keys_are_kept_for_a_day() {
    let log = TestLog::new().await;
    for (key, hours) in [("kept", 24), ("old", 26)] {
        assert_eq!(log.claims(key, BODY, false).await, Claimed::Ours);
        finish(&log.database, &scope(key), 201, &json!({"key": key})).await.unwrap();
        log.run(&format!("update idempotency set created_at = now() - interval '{hours} hours' where key = '{key}'"))
            .await;
    }
    assert_eq!(prune(&log.database).await.unwrap(), 1);
    assert_eq!(log.progress("kept").await, Some(Progress::Elsewhere { answer: json!({"key": "kept"}) }));
    assert_eq!(log.progress("old").await, None);
}

#[tokio::test]
async fn a_claim_is_taken_over_only_when_nothing_is_known_of_it_and_for_the_same_body() {
    let log = TestLog::new().await;
    assert_eq!(log.claims("key", BODY, false).await, Claimed::Ours);
    for resend in [false, true] {
        let taken = log.claims("key", BODY, resend).await;
        assert!(matches!(&taken, Claimed::Taken(record) if record.progress == Progress::Sending), "{taken:?}");
    }
    let run_out = "update idempotency set claimed_until = now() - interval '1 second'";
    for lose in [run_out, "update idempotency set state = 'unknown'"] {
        log.run(lose).await;
        assert_eq!(log.progress("key").await, Some(Progress::Unknown));
        for (body, resend) in [(BODY, false), (b"another".as_slice(), true)] {
            let taken = log.claims("key", body, resend).await;
            assert!(matches!(&taken, Claimed::Taken(record) if record.digest == BODY), "{taken:?}");
            assert_eq!(log.progress("key").await, Some(Progress::Unknown));
        }
        assert_eq!(log.claims("key", BODY, true).await, Claimed::Ours);
    }

    finish(&log.database, &scope("key"), 201, &json!("the answer")).await.unwrap();
    // Whoever comes late with another outcome changes nothing.
    give_up(&log.database, &scope("key")).await.unwrap();
    unknown(&log.database, &scope("key")).await.unwrap();
    finish(&log.database, &scope("key"), 201, &json!("another answer")).await.unwrap();
    assert_eq!(log.progress("key").await, Some(Progress::Elsewhere { answer: json!("the answer") }));
    assert!(matches!(log.claims("key", BODY, true).await, Claimed::Taken(record) if record.is_done()));

    assert_eq!(log.claims("refused", BODY, false).await, Claimed::Ours);
    give_up(&log.database, &scope("refused")).await.unwrap();
    assert_eq!(log.claims("refused", b"another", false).await, Claimed::Ours);
}
