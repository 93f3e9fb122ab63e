//! A peer of our own make: takes batches, keeps its mark as CONTRACT 4.14a says, and can be made to forget.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::TcpListener;
use std::sync::{Arc, Mutex};

use actix_web::{App, HttpResponse, HttpServer, dev::ServerHandle, web};
use serde_json::{Value, json};
use url::Url;
use uuid::Uuid;

/// What it answers to a whole request instead of looking at it.
#[derive(Clone)]
pub(crate) enum Mood {
    Well,
    /// Any status and body, for every request.
    Answers(u16, &'static str),
    /// Takes the batch in, and the answer is lost.
    LosesAnswers,
    /// 429, with this `Retry-After`.
    Busy(String),
}

/// What it says about one event.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Opinion {
    Rejects,
    Conflicts,
    Retries,
}

pub(crate) struct OwnMake {
    pub(crate) destination: String,
    pub(crate) url: Url,
    handle: ServerHandle,
    shared: web::Data<Mutex<State>>,
}

#[derive(Default)]
pub(crate) struct State {
    pub(crate) mood: Option<Mood>,
    /// By action.
    pub(crate) opinions: HashMap<String, Opinion>,
    /// Actions whose events are here, in order of arrival.
    pub(crate) stored: Vec<String>,
    /// Events that came again.
    pub(crate) duplicates: usize,
    /// Sizes of batches, as they came.
    pub(crate) batches: Vec<usize>,
    /// Events that came alone.
    pub(crate) singles: usize,
    /// How often it was asked what it can do.
    pub(crate) asked: usize,
    /// Everything that was ever told as withdrawn.
    pub(crate) withdrawn: BTreeSet<i64>,
    /// Whether it says that it takes batches.
    pub(crate) batchless: bool,
    /// Another make has taken its place: it knows nothing but single events.
    pub(crate) downgraded: bool,
    /// Refuses every batch with more than one event as a whole.
    pub(crate) chokes: bool,
    /// Where its events say that their source items live.
    pub(crate) sources: Vec<String>,
    /// Can't say what it can do.
    pub(crate) speechless: bool,
    marks: BTreeMap<Uuid, BTreeSet<i64>>,
}

impl State {
    pub(crate) fn mark(&self, epoch: Uuid) -> i64 {
        let seen = self.marks.get(&epoch);
        (1..).take_while(|seq| seen.is_some_and(|seen| seen.contains(seq))).last().unwrap_or(0)
    }

    /// Restores a backup that holds the first `events` of what is here.
    pub(crate) fn forgets_all_but(&mut self, events: usize, mark: i64) {
        self.stored.truncate(events);
        for seen in self.marks.values_mut() {
            seen.retain(|seq| *seq <= mark);
        }
    }

    /// Holds more of a lane than its sender remembers.
    pub(crate) fn has_all_up_to(&mut self, epoch: Uuid, mark: i64) {
        self.marks.entry(epoch).or_default().extend(1..=mark);
    }

    fn take(&mut self, event: &Value) -> Value {
        let action = event["action_id"].as_str().unwrap().to_owned();
        if let Some(opinion) = self.opinions.get(&action) {
            return match opinion {
                Opinion::Rejects => json!({"outcome": "rejected", "status": 422, "error": "INVALID", "message": "no"}),
                Opinion::Conflicts => json!({"outcome": "conflict"}),
                Opinion::Retries => json!({"outcome": "retry"}),
            };
        }
        if self.stored.contains(&action) {
            self.duplicates += 1;
            return json!({"outcome": "duplicate"});
        }
        self.stored.push(action);
        self.sources.push(event["source_item"]["item_instance_url"].as_str().unwrap().to_owned());
        json!({"outcome": "stored"})
    }

    /// What it answers without a look at the request.
    fn moody(&self) -> Option<HttpResponse> {
        match self.mood.as_ref()? {
            Mood::Answers(status, body) => Some(HttpResponse::build((*status).try_into().unwrap()).body(*body)),
            Mood::Busy(wait) => {
                Some(HttpResponse::TooManyRequests().insert_header(("retry-after", wait.as_str())).finish())
            }
            Mood::Well | Mood::LosesAnswers => None,
        }
    }

    fn batch(&mut self, body: &Value) -> Value {
        let epoch: Uuid = serde_json::from_value(body["epoch"].clone()).unwrap();
        let events = body["events"].as_array().unwrap();
        self.batches.push(events.len());
        let mut results = Vec::new();
        for entry in events {
            let mut result = self.take(&entry["event"]);
            result["seq"] = entry["seq"].clone();
            if result["outcome"] != "retry" {
                self.marks.entry(epoch).or_default().insert(entry["seq"].as_i64().unwrap());
            }
            results.push(result);
        }
        for seq in body["withdrawn"].as_array().unwrap() {
            self.withdrawn.insert(seq.as_i64().unwrap());
            self.marks.entry(epoch).or_default().insert(seq.as_i64().unwrap());
        }
        json!({"results": results, "high_water": self.mark(epoch)})
    }
}

impl OwnMake {
    pub(crate) fn start() -> Self {
        Self::on(TcpListener::bind("127.0.0.1:0").unwrap())
    }

    pub(crate) fn on(listener: TcpListener) -> Self {
        let port = listener.local_addr().unwrap().port();
        let shared = web::Data::from(Arc::<Mutex<State>>::default());
        let data = shared.clone();
        let server = HttpServer::new(move || {
            App::new()
                .app_data(data.clone())
                .app_data(web::PayloadConfig::new(1 << 20))
                .route("/.well-known/dpg-peer", web::get().to(what_it_can))
                .route("/api/v1/event/store", web::post().to(store))
                .route("/api/v1/event/store/batch", web::post().to(store_batch))
        });
        let server = server.workers(1).disable_signals().shutdown_timeout(0).listen(listener).unwrap().run();
        let handle = server.handle();
        tokio::spawn(server);
        Self {
            destination: format!("http://localhost:{port}"),
            url: Url::parse(&format!("http://127.0.0.1:{port}")).unwrap(),
            handle,
            shared,
        }
    }

    pub(crate) fn with<T>(&self, look: impl FnOnce(&mut State) -> T) -> T {
        look(&mut self.shared.lock().unwrap())
    }
}

impl Drop for OwnMake {
    fn drop(&mut self) {
        let handle = self.handle.clone();
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(async move { handle.stop(false).await });
        }
    }
}

type Shared = web::Data<Mutex<State>>;

async fn what_it_can(shared: Shared) -> HttpResponse {
    let mut state = shared.lock().unwrap();
    if state.speechless {
        state.asked += 1;
        return HttpResponse::ServiceUnavailable().finish();
    }
    state.asked += 1;
    if state.downgraded {
        return no_such_route();
    }
    let capabilities: &[&str] = if state.batchless { &["status-forward"] } else { &["event-batch"] };
    HttpResponse::Ok().json(json!({"software": "dpg", "capabilities": capabilities,
                                   "limits": {"batch_events": 50, "batch_bytes": 262_144}}))
}

fn no_such_route() -> HttpResponse {
    HttpResponse::NotFound().json(json!({"error": "Not Found", "message": "Route not found"}))
}

async fn store(shared: Shared, body: web::Bytes) -> HttpResponse {
    let mut state = shared.lock().unwrap();
    if let Some(answer) = state.moody() {
        return answer;
    }
    state.singles += 1;
    let event: Value = serde_json::from_slice(&body).unwrap();
    let said = state.take(&event);
    match said["outcome"].as_str() {
        Some("rejected") => HttpResponse::UnprocessableEntity().json(&said),
        Some("conflict") => HttpResponse::Ok().json(json!({"conflict": true})),
        Some("retry") => HttpResponse::ServiceUnavailable().json(json!({"error": "SERVICE_UNAVAILABLE"})),
        _ => HttpResponse::Created()
            .json(json!({"action_id": event["action_id"], "update_count": event["update_count"]})),
    }
}

async fn store_batch(shared: Shared, body: web::Bytes) -> HttpResponse {
    assert!(body.len() <= 262_144, "{} bytes", body.len());
    let mut state = shared.lock().unwrap();
    if let Some(answer) = state.moody() {
        return answer;
    }
    if state.downgraded {
        return no_such_route();
    }
    let batch: Value = serde_json::from_slice(&body).unwrap();
    if state.chokes && batch["events"].as_array().unwrap().len() > 1 {
        return HttpResponse::BadRequest().json(json!({"error": "INVALID_JSON", "message": "too deep"}));
    }
    let answer = state.batch(&batch);
    match state.mood {
        Some(Mood::LosesAnswers) => HttpResponse::Ok().body(answer.to_string()[..10].to_owned()),
        _ => HttpResponse::Ok().json(answer),
    }
}
