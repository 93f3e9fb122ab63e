//! Performing on another instance's item, and taking back what was performed there, can be tried again with the same key,
//! whatever was lost on the way (CONTRACT 1.9): one action, one event, one answer.

mod another_make;
mod callers;
mod crashes;

use std::time::Duration;

use dpg_tests::log::{SOON, arrives, assert_same_story};
use dpg_tests::network::{STUDENT, TUTOR};
use dpg_tests::pair::PairOptions;
use dpg_tests::{Answer, Contract, Fault, Pair, User, eventually, port};
use serde_json::{Value, json};

/// A body's worth of text that no application of ours says.
const GATEWAY: &str = "HTTP/1.1 502 Bad Gateway\r\ncontent-type: text/html\r\ncontent-length: 6\r\n\r\n<html>";

/// What can become of a request and its answer.
const FAULTS: [Fault; 11] = [
    Fault::Refuse,
    Fault::Hang,
    Fault::Delay(Duration::from_secs(3)),
    Fault::CutRequest(20),
    Fault::CutRequest(900),
    Fault::CorruptRequest,
    Fault::CutAnswer(0),
    Fault::CutAnswer(60),
    Fault::HalfClose,
    Fault::Answer(GATEWAY),
    Fault::Repeat,
];

/// Two instances that sign, a person and an item on each, and a line that can break.
struct Bed {
    pair: Pair,
    asha: User,
    ravi: User,
    source: Value,
    target: Value,
}

impl Bed {
    async fn start() -> Self {
        let environment = vec![("PEER_TIMEOUT_MS", "1000".to_owned())];
        Self::of(Pair::with(PairOptions { proxied_tutor: true, signed: true, environment, ..Default::default() }).await)
            .await
    }

    async fn of(pair: Pair) -> Self {
        let (asha, ravi) = (pair.student.sign_up("asha").await, pair.tutor.sign_up("ravi").await);
        let (source, target) = (asha.create_student("Asha").await, ravi.create_tutor("Ravi").await);
        Self { pair, asha, ravi, source, target }
    }

    async fn line(&self, fault: Fault) {
        self.pair.tutor_line.as_ref().expect("a line").set(fault).await;
    }

    async fn perform(&self, key: &str) -> Answer {
        self.asha.perform(&self.source, &self.target).header("idempotency-key", key).send().await
    }

    async fn cancel(&self, action: &str, key: &str) -> Answer {
        self.asha.update_status(action, "cancelled").header("idempotency-key", key).send().await
    }

    /// An action that both sides know.
    async fn performed(&self) -> String {
        let action = self.asha.perform(&self.source, &self.target).send().await.expect(201).text_at("action_id");
        arrives(&self.asha, &action, 0).await;
        action
    }

    /// Tries with the same key until there is an answer, and once more.
    async fn perform_at_last(&self, key: &str) -> Answer {
        let answer = succeeds(201, || self.perform(key)).await;
        assert_eq!(self.perform(key).await.expect(201).body, answer.body, "another answer to the same key");
        answer
    }

    /// As [`Bed::perform_at_last`], for a cancellation.
    async fn cancel_at_last(&self, action: &str, key: &str) -> Answer {
        let answer = succeeds(200, || self.cancel(action, key)).await;
        assert_eq!(self.cancel(action, key).await.expect(200).body, answer.body, "another answer to the same key");
        answer
    }

    /// There are so many actions at the target, and both sides tell the same story about each.
    async fn assert_actions(&self, count: usize) {
        let seen = self.ravi.get("/api/v1/action/fetch?limit=100").send().await.expect(200);
        assert_eq!(seen.body["meta"]["total"], json!(count), "{seen}");
        for row in seen.body["actions"].as_array().expect("actions") {
            let action = row["action_id"].as_str().expect("an id");
            arrives(&self.asha, action, row["update_count"].as_i64().expect("a count")).await;
            assert_same_story(&self.asha, &self.ravi, action).await;
        }
        self.pair.tutor.verify().await;
        self.pair.student.verify().await;
    }
}

/// Repeats a call that comes to nothing certain until it has its answer. Whatever is said meanwhile is said properly.
async fn succeeds<F: Future<Output = Answer>>(status: u16, call: impl Fn() -> F) -> Answer {
    eventually("the retry is answered", SOON, || async {
        let answer = call().await;
        if answer.status == status { Ok(answer) } else { Err(uncertain(answer)) }
    })
    .await
}

/// What a caller is told who can't be told what became of the call.
fn uncertain(answer: Answer) -> Answer {
    let codes = [
        "TARGET_INSTANCE_TIMEOUT",
        "TARGET_INSTANCE_UNAVAILABLE",
        "TARGET_INSTANCE_REFUSED",
        "IDEMPOTENCY_KEY_IN_PROGRESS",
        "SERVICE_UNAVAILABLE",
    ];
    assert!(codes.contains(&answer.code()), "not an answer to a call that was lost: {answer}");
    answer
}

#[tokio::test(flavor = "multi_thread")]
async fn a_perform_that_was_lost_on_the_way_happens_once() {
    let bed = Bed::start().await;
    for (number, fault) in (1..).zip(FAULTS) {
        bed.line(fault).await;
        let key = format!("perform {number}").replace(' ', "-");
        let lost = bed.perform(&key).await;
        assert!(lost.status == 201 || uncertain(lost.clone()).status >= 500, "{fault:?}: {lost}");
        bed.line(Fault::Pass).await;
        let answer = bed.perform_at_last(&key).await;
        if lost.status == 201 {
            assert_eq!(lost.body, answer.body, "{fault:?}");
        }
    }
    bed.assert_actions(FAULTS.len()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancellation_that_was_lost_on_the_way_happens_once() {
    let bed = Bed::start().await;
    for fault in FAULTS {
        let action = bed.performed().await;
        bed.line(fault).await;
        let lost = bed.cancel(&action, &action).await;
        assert!(lost.status == 200 || uncertain(lost.clone()).status >= 500, "{fault:?}: {lost}");
        bed.line(Fault::Pass).await;
        let answer = bed.cancel_at_last(&action, &action).await;
        assert_eq!((&answer.body["action_status"], &answer.body["update_count"]), (&json!("cancelled"), &json!(1)));
        assert_eq!(bed.ravi.events(&action).await.len(), 2, "{fault:?}: one cancellation");
    }
    bed.assert_actions(FAULTS.len()).await;
}

/// Many retries at once, in two processes, while the first call still hangs.
#[tokio::test(flavor = "multi_thread")]
async fn retries_that_race_with_a_lost_call_make_one_action() {
    let bed = Bed::start().await;
    let other = bed.pair.student.instance.start(dpg_tests::Role::Api, port::free()).await;
    for fault in [Fault::Hang, Fault::HalfClose, Fault::CutAnswer(0)] {
        bed.line(fault).await;
        let before = bed.ravi.get("/api/v1/action/fetch").send().await.expect(200).body["meta"]["total"].clone();
        let key = format!("{fault:?}");
        let at_both = |number: usize| {
            let caller = if number.is_multiple_of(2) { bed.asha.at(&other.url()) } else { (*bed.asha).clone() };
            let request = caller.perform(&bed.source, &bed.target).header("idempotency-key", &key);
            async { request.send().await }
        };
        let mended = async { bed.line(Fault::Pass).await };
        let (first, ()) = tokio::join!(futures_util::future::join_all((0..10).map(at_both)), mended);
        for answer in first.into_iter().filter(|answer| answer.status != 201) {
            uncertain(answer);
        }
        let answer = bed.perform_at_last(&key).await;
        for again in futures_util::future::join_all((0..10).map(at_both)).await {
            assert_eq!(again.expect(201).body, answer.body);
        }
        let after = bed.ravi.get("/api/v1/action/fetch").send().await.expect(200).body["meta"]["total"].clone();
        assert_eq!(after.as_i64(), before.as_i64().map(|count| count + 1), "{fault:?}");
    }
    bed.assert_actions(3).await;
}

/// What is handed over may change between two tries, because private values go over the caller's own.
#[tokio::test(flavor = "multi_thread")]
async fn a_retry_after_the_item_has_changed_finds_the_first_action() {
    let bed = Bed::start().await;
    bed.line(Fault::CutAnswer(0)).await;
    uncertain(bed.perform("once").await);
    let path = format!("/api/v1/item/{}", bed.source["item_id"].as_str().expect("an id"));
    let mut state = bed.source["item_state"].clone();
    state["phone"] = json!("9999999999");
    let _changed = bed.asha.patch(&path).json(&json!({"item_state": state})).send().await.expect(200);
    bed.line(Fault::Pass).await;
    let answer = bed.perform_at_last("once").await;
    let row = bed.ravi.action(&answer.text_at("action_id")).await.expect("the action");
    assert_eq!(row["requirements_snapshot"]["phone"], json!("1234567890"), "as it was when it was asked first");
    bed.assert_actions(1).await;
}

/// A contract may come to write our own address in another way; the target still knows the key.
#[tokio::test(flavor = "multi_thread")]
async fn a_retry_after_the_contract_spells_us_otherwise_finds_the_first_action() {
    let environment = vec![("PEER_TIMEOUT_MS", "1000".to_owned())];
    let bed = Bed::of(Pair::with(PairOptions { proxied_tutor: true, environment, ..Default::default() }).await).await;
    bed.line(Fault::CutAnswer(0)).await;
    uncertain(bed.perform("once").await);
    let (student, tutor) = (&bed.pair.student.instance, &bed.pair.tutor.instance);
    let other_spelling = student.url.replace("127.0.0.1", "localhost");
    student.write_contract(&Contract::new().instance(STUDENT, &other_spelling).instance(TUTOR, &tutor.url));
    let _again = bed.asha.post("/api/v1/network/refetch_schemas").send().await.expect(200);
    bed.line(Fault::Pass).await;
    let answer = bed.perform_at_last("once").await;
    let seen = bed.ravi.get("/api/v1/action/fetch").send().await.expect(200);
    assert_eq!(seen.body["meta"]["total"], json!(1), "{seen}");
    assert_eq!(seen.body["actions"][0]["action_id"], answer.body["action_id"]);
}
