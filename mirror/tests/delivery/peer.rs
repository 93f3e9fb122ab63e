//! A peer of another make: answers whatever a test tells it to, and remembers what it got.

use std::net::TcpListener;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use actix_web::{App, HttpRequest, HttpResponse, HttpServer, dev::ServerHandle, web};
use dpg_mirror::signature::{Presented, PublicKey, RequestHead};
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt as _;
use tokio::sync::Notify;
use url::Url;

pub(crate) const HTML: &str = "<!doctype html><title>It works!</title>";

#[derive(Clone)]
pub(crate) enum Answer {
    /// 201 in our own form.
    Stored,
    /// 201 as existing peers answer a duplicate.
    NullId,
    Status(u16, &'static str),
    RetryAfter(&'static str),
    /// 302 to another path of the same peer.
    Redirect,
    /// Takes the event in and never answers until it is released.
    Hang(Arc<Notify>),
}

pub(crate) struct Peer {
    pub(crate) destination: String,
    pub(crate) url: Url,
    shared: Arc<Shared>,
    handle: ServerHandle,
}

struct Shared {
    answer: Mutex<Answer>,
    got: Mutex<Vec<Value>>,
    verified: Mutex<Vec<bool>>,
    key: Option<PublicKey>,
    elsewhere: AtomicUsize,
    at_once: AtomicUsize,
    most_at_once: AtomicUsize,
}

impl Peer {
    pub(crate) fn start(answer: Answer) -> Self {
        Self::on(TcpListener::bind("127.0.0.1:0").unwrap(), answer, None)
    }

    pub(crate) fn on(listener: TcpListener, answer: Answer, key: Option<PublicKey>) -> Self {
        let port = listener.local_addr().unwrap().port();
        let shared = Arc::new(Shared {
            answer: Mutex::new(answer),
            got: Mutex::default(),
            verified: Mutex::default(),
            key,
            elsewhere: AtomicUsize::new(0),
            at_once: AtomicUsize::new(0),
            most_at_once: AtomicUsize::new(0),
        });
        let data = web::Data::from(shared.clone());
        let server = HttpServer::new(move || {
            App::new()
                .app_data(data.clone())
                .route("/api/v1/event/store", web::post().to(store))
                .default_service(web::to(elsewhere))
        })
        .workers(1)
        .disable_signals()
        .shutdown_timeout(0)
        .listen(listener)
        .unwrap()
        .run();
        let handle = server.handle();
        tokio::spawn(server);
        Self {
            destination: format!("http://localhost:{port}"),
            url: Url::parse(&format!("http://127.0.0.1:{port}/ignored/path")).unwrap(),
            shared,
            handle,
        }
    }

    pub(crate) fn answers(&self, answer: Answer) {
        *self.shared.answer.lock().unwrap() = answer;
    }

    /// The actions whose events arrived, in order, repeated ones included.
    pub(crate) fn got(&self) -> Vec<String> {
        let got = self.shared.got.lock().unwrap();
        got.iter().map(|body| body["action_id"].as_str().unwrap().to_owned()).collect()
    }

    pub(crate) fn verified(&self) -> Vec<bool> {
        self.shared.verified.lock().unwrap().clone()
    }

    /// Requests to any other path.
    pub(crate) fn elsewhere(&self) -> usize {
        self.shared.elsewhere.load(Ordering::SeqCst)
    }

    pub(crate) fn most_at_once(&self) -> usize {
        self.shared.most_at_once.load(Ordering::SeqCst)
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        let handle = self.handle.clone();
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(async move { handle.stop(false).await });
        }
    }
}

async fn store(shared: web::Data<Shared>, request: HttpRequest, body: web::Bytes) -> HttpResponse {
    let at_once = shared.at_once.fetch_add(1, Ordering::SeqCst) + 1;
    shared.most_at_once.fetch_max(at_once, Ordering::SeqCst);
    let event: Value = serde_json::from_slice(&body).unwrap();
    assert_eq!(request.headers().get("content-type").unwrap(), "application/json");
    if let Some(key) = shared.key {
        shared.verified.lock().unwrap().push(verifies(&request, &body, key));
    }
    shared.got.lock().unwrap().push(event.clone());
    let answer = shared.answer.lock().unwrap().clone();
    let response = respond(answer, &event).await;
    shared.at_once.fetch_sub(1, Ordering::SeqCst);
    response
}

async fn respond(answer: Answer, event: &Value) -> HttpResponse {
    let status = |code: u16| HttpResponse::build(code.try_into().unwrap());
    match answer {
        Answer::Stored => status(201).json(json!({"event_id": event["event_id"], "action_id": event["action_id"],
            "action_type": "connect", "action_status": event["action_status"], "update_count": event["update_count"]})),
        Answer::NullId => status(201).json(json!({"event_id": null})),
        Answer::Status(code, body) => status(code).body(body),
        Answer::RetryAfter(value) => status(503).insert_header(("retry-after", value)).body("{}"),
        Answer::Redirect => status(302).insert_header(("location", "/api/v1/elsewhere")).finish(),
        Answer::Hang(release) => {
            release.notified().await;
            status(201).json(json!({"event_id": null}))
        }
    }
}

async fn elsewhere(shared: web::Data<Shared>) -> HttpResponse {
    shared.elsewhere.fetch_add(1, Ordering::SeqCst);
    HttpResponse::Created().json(json!({"event_id": null}))
}

fn verifies(request: &HttpRequest, body: &[u8], key: PublicKey) -> bool {
    let headers: Vec<(&str, &str)> =
        request.headers().iter().map(|(name, value)| (name.as_str(), value.to_str().unwrap())).collect();
    let info = request.connection_info();
    let head = RequestHead {
        method: request.method().as_str(),
        authority: info.host(),
        path: request.uri().path(),
        query: request.uri().query(),
        headers: &headers,
    };
    let presented = Presented::read(&head, body).unwrap().expect("a signature");
    presented.verify(&head, |_| vec![key], |_| true, chrono::Utc::now()).is_ok()
}

/// Something that listens, and speaks no HTTP.
pub(crate) async fn babbler() -> Url {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = Url::parse(&format!("http://{}", listener.local_addr().unwrap())).unwrap();
    tokio::spawn(async move {
        while let Ok((mut socket, _)) = listener.accept().await {
            socket.write_all(b"\x16\x03\x01 SSH-2.0 ???\r\n\r\n").await.unwrap();
        }
    });
    url
}
