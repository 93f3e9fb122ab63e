//! The people of the chaos test. Each call has a key and is repeated with it until its outcome is known, as a client that
//! means it would do.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use dpg_tests::client::Request;
use dpg_tests::{Answer, Pair, User, eventually};
use serde_json::Value;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use uuid::Uuid;

const WRITERS: usize = 4;

/// What people have been told, and how often they have asked.
pub struct Told {
    performed: Mutex<Vec<Uuid>>,
    changes: Mutex<HashMap<String, Vec<(i64, String)>>>,
    calls: watch::Sender<usize>,
    unanswered: AtomicUsize,
}

impl Default for Told {
    fn default() -> Self {
        Self {
            performed: Mutex::default(),
            changes: Mutex::default(),
            calls: watch::Sender::new(0),
            unanswered: AtomicUsize::new(0),
        }
    }
}

impl Told {
    /// Waits until so many more calls have ended, or for so long.
    pub async fn until(&self, more: usize, longest: Duration) {
        let mut calls = self.calls.subscribe();
        let wanted = *calls.borrow() + more;
        // Under some faults nobody gets anywhere; then the time is what a round takes.
        drop(tokio::time::timeout(longest, calls.wait_for(|calls| *calls >= wanted)).await);
    }

    /// The actions that were answered, one per key.
    pub fn performed(&self) -> Vec<Uuid> {
        self.performed.lock().expect("no writer panicked").clone()
    }

    /// Asserts that every acknowledged change of an action is among its events.
    pub fn assert_present(&self, action: &str, events: &[Value]) {
        let changes = self.changes.lock().expect("no writer panicked");
        for (count, status) in changes.get(action).into_iter().flatten() {
            let found = events.iter().any(|e| e["update_count"] == *count && e["action_status"] == status.as_str());
            assert!(found, "{action}: {status} was acknowledged as {count} and is missing: {events:?}");
        }
    }

    pub fn summary(&self) -> String {
        let changes: usize = self.changes.lock().expect("no writer panicked").values().map(Vec::len).sum();
        format!(
            "{} calls, {} of them without a usable answer, {changes} changes acknowledged",
            *self.calls.borrow(),
            self.unanswered.load(Ordering::SeqCst)
        )
    }

    fn changed(&self, answer: &Answer, action: &str, status: &str) {
        let count = answer.body["update_count"].as_i64().unwrap_or_else(|| panic!("no count: {answer}"));
        let mut changes = self.changes.lock().expect("no writer panicked");
        changes.entry(action.to_owned()).or_default().push((count, status.to_owned()));
    }

    /// Repeats a call with one key until its outcome is known: a 2xx, or a refusal by the application.
    async fn ask(&self, call: impl Fn() -> Request) -> Answer {
        let key = Uuid::new_v4().to_string();
        eventually("a repeated call gets its answer", Duration::from_secs(600), || async {
            let answer = call().header("idempotency-key", &key).try_send().await;
            self.calls.send_modify(|calls| *calls += 1);
            match answer {
                // What a broken line makes of a call is no answer: it comes out as a 5xx, and a claim under way as 409.
                Ok(answer) if answer.status < 500 && answer.code() != "IDEMPOTENCY_KEY_IN_PROGRESS" => Ok(answer),
                other => {
                    self.unanswered.fetch_add(1, Ordering::SeqCst);
                    Err(other.map_or_else(|error| error, |answer| answer.to_string()))
                }
            }
        })
        .await
    }
}

/// An action between two people on two instances.
pub struct Action {
    pub id: String,
    pub source_owner: User,
    pub target_owner: User,
}

/// The people at work.
pub struct Writers {
    stop: Arc<AtomicBool>,
    tasks: Vec<JoinHandle<Vec<Action>>>,
}

impl Writers {
    pub async fn start(pair: &Pair, told: &Arc<Told>) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let mut tasks = Vec::new();
        for number in 0..WRITERS {
            let (asha, ravi) = (pair.student.sign_up("asha").await, pair.tutor.sign_up("ravi").await);
            let (source, target) = (asha.create_student("Asha").await, ravi.create_tutor("Ravi").await);
            let writer = Writer { asha, ravi, source, target, told: told.clone() };
            tasks.push(tokio::spawn(writer.write(number, stop.clone())));
        }
        Self { stop, tasks }
    }

    /// Lets everybody finish the call at hand; gives all actions.
    pub async fn finish(self) -> Vec<Action> {
        self.stop.store(true, Ordering::SeqCst);
        let mut actions = Vec::new();
        for task in self.tasks {
            actions.extend(task.await.expect("no writer panicked"));
        }
        actions
    }
}

struct Writer {
    asha: User,
    ravi: User,
    source: Value,
    target: Value,
    told: Arc<Told>,
}

impl Writer {
    /// Performs an action, then both sides change it; over and over.
    async fn write(self, number: usize, stop: Arc<AtomicBool>) -> Vec<Action> {
        let mut actions = Vec::new();
        while !stop.load(Ordering::SeqCst) {
            let performed = self.told.ask(|| self.asha.perform(&self.source, &self.target)).await.expect(201);
            let id = performed.text_at("action_id");
            self.told.performed.lock().expect("no writer panicked").push(id.parse().expect("a uuid"));
            actions.push(Action { id: id.clone(), source_owner: self.asha.clone(), target_owner: self.ravi.clone() });
            if number.is_multiple_of(2) {
                self.answer(&id, &stop).await;
            } else {
                self.cancel(&id, &stop).await;
            }
        }
        actions
    }

    /// The target's owner answers.
    async fn answer(&self, id: &str, stop: &AtomicBool) {
        for status in ["pending", "accepted", "completed"] {
            if stop.load(Ordering::SeqCst) {
                return;
            }
            let answer = self.told.ask(|| self.ravi.update_status(id, status)).await.expect(200);
            self.told.changed(&answer, id, status);
        }
    }

    /// The source's owner thinks better of it, as soon as the action is known here: the cancel is forwarded.
    async fn cancel(&self, id: &str, stop: &AtomicBool) {
        let known = || async {
            let found = self.asha.get(&format!("/api/v1/action/fetch?action_id={id}")).try_send().await;
            match found {
                Ok(answer) if answer.body["meta"]["total"] == 1 || stop.load(Ordering::SeqCst) => Ok(()),
                other => Err(format!("{other:?}")),
            }
        };
        eventually("the action is mirrored", Duration::from_secs(180), known).await;
        if stop.load(Ordering::SeqCst) {
            return;
        }
        let answer = self.told.ask(|| self.asha.update_status(id, "cancelled")).await;
        let answer = answer.expect(200);
        self.told.changed(&answer, id, "cancelled");
    }
}
