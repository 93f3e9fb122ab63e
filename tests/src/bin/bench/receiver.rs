//! Peers of another make: servers in this process that take one event at a time, note when it came, and can be told to
//! behave badly.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use actix_web::dev::ServerHandle;
use actix_web::{App, HttpResponse, HttpServer, web};
use serde_json::Value;

use crate::instance::url;

/// Where events are sent to (CONTRACT 4.14).
pub const STORE: &str = "/api/v1/event/store";

/// What a peer does with an event.
#[derive(Debug, Clone, Copy)]
pub enum Manner {
    /// Takes it.
    Takes,
    /// Takes it, late.
    Slow(Duration),
    /// Never answers.
    Hangs,
}

/// An event that was taken.
#[derive(Debug, Clone)]
pub struct Arrival {
    pub action: String,
    pub update_count: i64,
    pub at: Instant,
}

/// A peer. What it took stays while it refuses connections.
pub struct Receiver {
    pub port: u16,
    state: Arc<State>,
    server: Option<ServerHandle>,
}

struct State {
    manner: Mutex<Manner>,
    taken: Mutex<Vec<Arrival>>,
    body: Mutex<web::Bytes>,
}

impl Receiver {
    /// A peer that listens and takes everything.
    pub fn start(port: u16) -> Self {
        let state = State { manner: Mutex::new(Manner::Takes), taken: Mutex::default(), body: Mutex::default() };
        let mut receiver = Self { port, state: Arc::new(state), server: None };
        receiver.listen();
        receiver
    }

    pub fn url(&self) -> String {
        url(self.port)
    }

    /// Accepts connections.
    pub fn listen(&mut self) {
        let state = self.state.clone();
        let app = move || {
            let state = state.clone();
            App::new().route(STORE, web::post().to(move |body| store(state.clone(), body)))
        };
        let server = HttpServer::new(app).workers(1).disable_signals().bind(("127.0.0.1", self.port)).unwrap().run();
        self.server = Some(server.handle());
        tokio::spawn(server);
    }

    /// Refuses connections, and cuts those that are open.
    pub async fn refuse(&mut self) {
        if let Some(server) = self.server.take() {
            server.stop(false).await;
        }
    }

    /// Behaves otherwise from the next event on.
    pub fn behave(&self, manner: Manner) {
        *self.state.manner.lock().unwrap() = manner;
    }

    /// How many events were taken so far.
    pub fn count(&self) -> usize {
        self.state.taken.lock().unwrap().len()
    }

    /// Gives away what was taken since it was last asked.
    pub fn take(&self) -> Vec<Arrival> {
        std::mem::take(&mut self.state.taken.lock().unwrap())
    }

    /// The last event as it was sent.
    pub fn last_body(&self) -> String {
        String::from_utf8(self.state.body.lock().unwrap().to_vec()).unwrap()
    }
}

async fn store(state: Arc<State>, body: web::Bytes) -> HttpResponse {
    let at = Instant::now();
    let manner = *state.manner.lock().unwrap();
    match manner {
        Manner::Takes => {}
        Manner::Slow(time) => tokio::time::sleep(time).await,
        Manner::Hangs => std::future::pending().await,
    }
    let event: Value = serde_json::from_slice(&body).unwrap();
    let action = event["action_id"].as_str().unwrap().to_owned();
    let update_count = event["update_count"].as_i64().unwrap();
    *state.body.lock().unwrap() = body;
    state.taken.lock().unwrap().push(Arrival { action, update_count, at });
    // Existing peers name the event that they stored, or nothing for one that they knew.
    HttpResponse::Created().json(serde_json::json!({"event_id": null}))
}
