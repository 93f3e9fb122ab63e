//! Against a real Postgres: each test has a database of its own.

mod api_keys;
mod codes;
mod origins;
mod passwords;
mod sessions;
mod sign_in;

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use actix_web::http::header::HeaderMap;
use actix_web::http::{Method, StatusCode};
use actix_web::middleware::from_fn;
use actix_web::test::{TestRequest, call_service, init_service, read_body};
use actix_web::{App, web};
use dpg_eventstore::{Client, Database, SessionOptions};
use dpg_tests::TestDatabase;
use serde_json::{Value, json};
use url::Url;

use super::delivery::{CodeDelivery, Recipient};
use super::{AuthOptions, Authenticator};
use crate::config::Secret;
use crate::http::envelope::envelope;
use crate::outbound::CallError;

/// Keeps what would have been sent.
#[derive(Default)]
pub(super) struct Mailbox {
    sent: Mutex<Vec<(String, String)>>,
    broken: Mutex<bool>,
}

#[async_trait::async_trait]
impl CodeDelivery for Mailbox {
    async fn deliver(&self, recipient: Recipient<'_>, code: &str) -> Result<(), CallError> {
        let (Recipient::Email(to) | Recipient::Phone(to)) = recipient;
        self.sent.lock().unwrap().push((to.to_owned(), code.to_owned()));
        if *self.broken.lock().unwrap() { Err(CallError::Refused(500)) } else { Ok(()) }
    }
}

impl Mailbox {
    fn last_code(&self, to: &str) -> String {
        let sent = self.sent.lock().unwrap();
        sent.iter().rev().find(|(recipient, _)| recipient == to).map(|(_, code)| code.clone()).expect("a code was sent")
    }
}

pub(super) struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    body: Value,
}

impl Answer {
    fn code(&self) -> (u16, &str) {
        assert_eq!(self.body["error"], self.body["code"], "{}", self.body);
        (self.status.as_u16(), self.body["code"].as_str().unwrap_or_default())
    }

    fn header(&self, name: &str) -> &str {
        self.headers.get(name).map(|value| value.to_str().unwrap()).unwrap_or_default()
    }

    /// What a browser would send back.
    fn cookie(&self) -> String {
        self.header("set-cookie").split(';').next().unwrap().to_owned()
    }
}

/// An instance's authentication with a database of its own.
pub(crate) struct Bench {
    home: TestDatabase,
    pub(crate) database: Database,
    auth: web::Data<Authenticator>,
    mailbox: Arc<Mailbox>,
}

/// Patient: the cluster may be making many databases at once.
fn open(url: &str, connections: usize) -> Database {
    let wait = Duration::from_secs(60);
    let options = SessionOptions { wait, statement_timeout: wait, ..SessionOptions::new("dpg test", connections) };
    Database::open(url, &options).unwrap()
}

pub(super) fn options(mailbox: &Arc<Mailbox>) -> AuthOptions {
    AuthOptions {
        instance_name: "Instance-A".to_owned(),
        production: false,
        base_url: Url::parse("https://a.example.org").unwrap(),
        secret: Secret::new("the secret of these tests".to_owned()),
        auth_middleware_enabled: true,
        test_codes: false,
        admin_domains: vec!["admin.example.org".to_owned()],
        allowed_origins: vec!["https://ui.example.org".to_owned()],
        localhost_origins: true,
        trusted_proxies: Vec::new(),
        delivery: Some(Arc::<Mailbox>::clone(mailbox)),
    }
}

/// Runs a test in a database that is dropped at the end, whatever became of the test.
pub(super) async fn with(change: impl FnOnce(&mut AuthOptions), test: impl AsyncFnOnce(&Bench)) {
    let home = TestDatabase::create().await;
    let database = open(&home.url(), 8);
    dpg_eventstore::migrate::migrate(&database).await.unwrap();
    let mailbox = Arc::<Mailbox>::default();
    let mut options = options(&mailbox);
    change(&mut options);
    let auth = web::Data::new(Authenticator::start(database.clone(), options).unwrap());
    test(&Bench { home, database, auth, mailbox }).await;
}

/// As [`with`], with the settings of a development instance.
pub(crate) async fn run(test: impl AsyncFnOnce(&Bench)) {
    with(|_| {}, test).await;
}

impl Bench {
    async fn client(&self) -> Client {
        self.database.client().await.unwrap()
    }

    async fn sql(&self, statements: &str) {
        self.client().await.batch_execute(statements).await.unwrap();
    }

    async fn count(&self, query: &str) -> i64 {
        self.client().await.query_one(query, &[]).await.unwrap().get(0)
    }

    /// Another process of the same instance.
    fn another_process(&self, change: impl FnOnce(&mut AuthOptions)) -> Authenticator {
        let database = open(&self.home.url(), 4);
        let mut options = options(&self.mailbox);
        change(&mut options);
        Authenticator::start(database, options).unwrap()
    }

    async fn send(&self, request: TestRequest) -> Answer {
        let app = App::new().app_data(web::Data::clone(&self.auth)).wrap(from_fn(envelope)).configure(super::configure);
        let app = init_service(app).await;
        let peer: SocketAddr = "198.51.100.7:4711".parse().unwrap();
        let response = call_service(&app, request.peer_addr(peer).to_request()).await;
        let (status, headers) = (response.status(), response.headers().clone());
        let bytes = read_body(response).await;
        let body = if bytes.is_empty() { Value::Null } else { serde_json::from_slice(&bytes).unwrap() };
        Answer { status, headers, body }
    }

    async fn post(&self, path: &str, headers: &[(&str, &str)], body: Value) -> Answer {
        self.send(request(Method::POST, path, headers).set_json(body)).await
    }

    async fn get(&self, path: &str, headers: &[(&str, &str)]) -> Answer {
        self.send(request(Method::GET, path, headers)).await
    }

    /// Asks for a code and gives it.
    async fn code(&self, email: &str) -> String {
        let answer = self.post("unified-otp/request", &[], json!({"email": email})).await;
        assert_eq!(answer.status, 200, "{}", answer.body);
        self.mailbox.last_code(email)
    }

    async fn verify(&self, email: &str, otp: &str) -> Answer {
        self.post("unified-otp/verify", &[], json!({"email": email, "otp": otp})).await
    }

    async fn sign_in(&self, email: &str) -> Answer {
        let code = self.code(email).await;
        let answer = self.verify(email, &code).await;
        assert_eq!(answer.status, 200, "{}", answer.body);
        answer
    }

    /// Signs in and gives the `authorization` header.
    async fn bearer(&self, email: &str) -> String {
        format!("Bearer {}", self.sign_in(email).await.body["token"].as_str().unwrap())
    }

    async fn key(&self, bearer: &str) -> Value {
        let answer = self.post("api-key/create", &[("authorization", bearer)], json!({"name": "bot"})).await;
        assert_eq!(answer.status, 200, "{}", answer.body);
        answer.body
    }

    /// The user tier's verdict: the caller's id, or status and code.
    async fn user(&self, headers: &[(&str, &str)]) -> Result<String, (u16, String)> {
        verdict(&self.auth, headers).await
    }
}

pub(super) async fn verdict(auth: &Authenticator, headers: &[(&str, &str)]) -> Result<String, (u16, String)> {
    let request = request(Method::GET, "any", headers).to_http_request();
    match auth.user(request.headers()).await {
        Ok(caller) => Ok(caller.user_id),
        Err(error) => Err((error.status.as_u16(), error.code.into_owned())),
    }
}

pub(super) fn refused(status: u16, code: &str) -> Result<String, (u16, String)> {
    Err((status, code.to_owned()))
}

fn request(method: Method, path: &str, headers: &[(&str, &str)]) -> TestRequest {
    let request = TestRequest::with_uri(&format!("/api/auth/{path}")).method(method);
    headers.iter().fold(request, |request, header| request.append_header(*header))
}

/// The paths of all faults.
fn fault_paths(answer: &Answer) -> Vec<&str> {
    assert_eq!(answer.code(), (400, "VALIDATION_ERROR"), "{}", answer.body);
    answer.body["details"].as_array().unwrap().iter().map(|fault| fault["path"].as_str().unwrap()).collect()
}
