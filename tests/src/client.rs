//! A client of one instance. Requests are made as a user interface makes them; answers keep status, headers and body
//! together, so that a failed expectation shows the whole exchange.

use std::fmt;
use std::sync::OnceLock;
use std::time::Duration;

use reqwest::Method;
use reqwest::header::HeaderMap;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::network::{CONNECT, NETWORK, PROFILE, STUDENT, TUTOR, student_state, tutor_state};
use crate::record::{self, Exchange};

/// What an instance answered.
#[derive(Debug, Clone)]
pub struct Answer {
    /// What was asked, for messages.
    pub request: String,
    /// HTTP status.
    pub status: u16,
    /// HTTP headers.
    pub headers: HeaderMap,
    /// The body as text.
    pub text: String,
    /// The body as JSON; null when it is none.
    pub body: Value,
}

impl fmt::Display for Answer {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{} -> {} {}", self.request, self.status, self.text)
    }
}

impl Answer {
    /// Asserts the status.
    #[track_caller]
    #[must_use]
    pub fn expect(self, status: u16) -> Self {
        assert!(self.status == status, "expected {status}: {self}");
        self
    }

    /// Asserts status and error code of the envelope (CONTRACT 1.2), and that it names the request.
    #[track_caller]
    pub fn expect_error(&self, status: u16, code: &str) {
        assert!(self.status == status && self.code() == code, "expected {status} {code}: {self}");
        assert!(self.body["message"].is_string(), "no message: {self}");
        assert_eq!(self.body["request_id"].as_str(), self.header("x-request-id"), "request ids differ: {self}");
    }

    /// The stable code of an error: `code` where the tier has it, else `error`.
    #[must_use]
    pub fn code(&self) -> &str {
        self.body["code"].as_str().or_else(|| self.body["error"].as_str()).unwrap_or_default()
    }

    /// A header's text.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// `dpg-position` (CONTRACT 1.8).
    #[track_caller]
    #[must_use]
    pub fn position(&self) -> i64 {
        self.header("dpg-position").and_then(|text| text.parse().ok()).unwrap_or_else(|| panic!("no position: {self}"))
    }

    /// A text field of the body.
    #[track_caller]
    #[must_use]
    pub fn text_at(&self, key: &str) -> String {
        self.body[key].as_str().unwrap_or_else(|| panic!("no {key}: {self}")).to_owned()
    }
}

#[derive(Debug, Clone)]
enum Credential {
    None,
    Bearer(String),
    Key(String),
}

/// A client of one instance with its credential. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Client {
    http: reqwest::Client,
    base: String,
    credential: Credential,
}

/// A person who has signed in.
#[derive(Debug, Clone)]
pub struct User {
    /// The user id on this instance.
    pub id: String,
    /// What the person signed in with.
    pub email: String,
    /// The session's token.
    pub token: String,
    client: Client,
}

impl std::ops::Deref for User {
    type Target = Client;
    fn deref(&self) -> &Client {
        &self.client
    }
}

impl Client {
    /// A client without credentials.
    ///
    /// # Panics
    /// When the HTTP client can't be made.
    #[must_use]
    pub fn anonymous(base: &str) -> Self {
        static PROVIDER: OnceLock<()> = OnceLock::new();
        // Only plain HTTP is spoken here, but the client wants a provider all the same; another may have set it.
        PROVIDER.get_or_init(|| if rustls::crypto::ring::default_provider().install_default().is_err() {});
        let http = reqwest::Client::builder()
            .no_proxy()
            .tls_certs_only([])
            .redirect(reqwest::redirect::Policy::none())
            .timeout(Duration::from_secs(30))
            .build()
            .expect("an HTTP client");
        Self { http, base: base.to_owned(), credential: Credential::None }
    }

    /// Signs a new person in by one-time code.
    pub async fn sign_up(base: &str, name: &str) -> User {
        Self::sign_in(base, &format!("{name}-{}@example.com", Uuid::new_v4().simple()), json!({"name": name})).await
    }

    /// Signs a new admin in: the address is in the domain that [`crate::Instance`] makes one of admins.
    pub async fn sign_up_admin(base: &str) -> User {
        let email = format!("{}@admin.example", Uuid::new_v4().simple());
        Self::sign_in(base, &email, json!({"createAdmin": true})).await
    }

    /// Signs somebody in by one-time code, with more fields for `verify`.
    ///
    /// # Panics
    /// When the instance refuses.
    pub async fn sign_in(base: &str, email: &str, more: Value) -> User {
        let client = Self::anonymous(base);
        let body = json!({"email": email});
        let _sent = client.post("/api/auth/unified-otp/request").json(&body).send().await.expect(200);
        let mut body = more;
        body["email"] = json!(email);
        body["otp"] = json!("000000");
        let answer = client.post("/api/auth/unified-otp/verify").json(&body).send().await.expect(200);
        let token = answer.text_at("token");
        let id = answer.body["user"]["id"].as_str().expect("a user id").to_owned();
        User { id, email: email.to_owned(), client: client.bearer(&token), token }
    }

    /// The same client with a session token.
    #[must_use]
    pub fn bearer(&self, token: &str) -> Self {
        Self { credential: Credential::Bearer(token.to_owned()), ..self.clone() }
    }

    /// The same client with an API key.
    #[must_use]
    pub fn key(&self, key: &str) -> Self {
        Self { credential: Credential::Key(key.to_owned()), ..self.clone() }
    }

    /// The same credential, sent to another process of the instance.
    #[must_use]
    pub fn at(&self, base: &str) -> Self {
        Self { base: base.to_owned(), ..self.clone() }
    }

    /// Makes an API key of this session's user.
    pub async fn create_key(&self) -> String {
        self.post("/api/auth/api-key/create").json(&json!({"name": "bot"})).send().await.expect(200).text_at("key")
    }

    /// Starts a request.
    #[must_use]
    pub fn request(&self, method: Method, path: &str) -> Request {
        let url = format!("{}{path}", self.base);
        let builder = self.http.request(method.clone(), &url);
        let builder = match &self.credential {
            Credential::None => builder,
            Credential::Bearer(token) => builder.bearer_auth(token),
            Credential::Key(key) => builder.header("x-api-key", key),
        };
        Request { label: format!("{method} {url}"), builder }
    }

    /// Starts a GET.
    #[must_use]
    pub fn get(&self, path: &str) -> Request {
        self.request(Method::GET, path)
    }

    /// Starts a POST.
    #[must_use]
    pub fn post(&self, path: &str) -> Request {
        self.request(Method::POST, path)
    }

    /// Starts a PATCH.
    #[must_use]
    pub fn patch(&self, path: &str) -> Request {
        self.request(Method::PATCH, path)
    }

    /// Starts a DELETE.
    #[must_use]
    pub fn delete(&self, path: &str) -> Request {
        self.request(Method::DELETE, path)
    }

    /// `item/create`.
    #[must_use]
    pub fn create(&self, domain: &str, state: &Value) -> Request {
        self.post("/api/v1/item/create")
            .json(&json!({"item_network": NETWORK, "item_domain": domain, "item_type": PROFILE, "item_state": state}))
    }

    /// Makes a student item and gives it back.
    pub async fn create_student(&self, name: &str) -> Value {
        self.create(STUDENT, &student_state(name, "hidden")).send().await.expect(201).body
    }

    /// Makes a tutor item and gives it back.
    pub async fn create_tutor(&self, name: &str) -> Value {
        self.create(TUTOR, &tutor_state(name)).send().await.expect(201).body
    }

    /// `item/fetch` of the network, with more of the query.
    #[must_use]
    pub fn items(&self, domain: &str, query: &str) -> Request {
        self.get(&format!("/api/v1/item/fetch?item_network={NETWORK}&item_domain={domain}&{query}"))
    }

    /// `action/perform` of `connect` from a source item to a target item, both as routes answered them.
    #[must_use]
    pub fn perform(&self, source: &Value, target: &Value) -> Request {
        self.perform_as(CONNECT, source, target)
    }

    /// `action/perform` of a named action.
    #[must_use]
    pub fn perform_as(&self, action_type: &str, source: &Value, target: &Value) -> Request {
        self.post("/api/v1/action/perform").json(&json!({
            "action_type": action_type,
            "source_item": crate::network::reference(source),
            "target_item": crate::network::reference(target),
            "requirements_snapshot": {"subject": "math"}
        }))
    }

    /// `action/update-status`.
    #[must_use]
    pub fn update_status(&self, action_id: &str, status: &str) -> Request {
        self.post("/api/v1/action/update-status").json(&json!({"action_id": action_id, "action_status": status}))
    }

    /// The one action of this id that the caller sees.
    pub async fn action(&self, action_id: &str) -> Option<Value> {
        let answer = self.get(&format!("/api/v1/action/fetch?action_id={action_id}")).send().await.expect(200);
        answer.body["actions"].get(0).cloned()
    }

    /// All events of an action that the caller sees, oldest first.
    pub async fn events(&self, action_id: &str) -> Vec<Value> {
        let mut events: Vec<Value> = Vec::new();
        loop {
            let path = format!("/api/v1/event/fetch?action_id={action_id}&limit=100&offset={}", events.len());
            let answer = self.get(&path).send().await.expect(200);
            let page = answer.body["events"].as_array().expect("events");
            events.extend(page.iter().cloned());
            if page.is_empty() || answer.body["meta"]["total"] == json!(events.len()) {
                events.reverse();
                return events;
            }
        }
    }
}

/// A request under construction.
#[derive(Debug)]
pub struct Request {
    label: String,
    builder: reqwest::RequestBuilder,
}

impl Request {
    /// A JSON body.
    #[must_use]
    pub fn json(mut self, body: &Value) -> Self {
        self.builder = self.builder.header("content-type", "application/json").body(body.to_string());
        self
    }

    /// Any body under any media type.
    #[must_use]
    pub fn raw(mut self, media_type: &str, body: impl Into<Vec<u8>>) -> Self {
        self.builder = self.builder.header("content-type", media_type).body(body.into());
        self
    }

    /// A header.
    #[must_use]
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.builder = self.builder.header(name, value);
        self
    }

    /// Sends it; a connection that fails is an error of the test.
    ///
    /// # Panics
    /// When no answer came.
    pub async fn send(self) -> Answer {
        self.try_send().await.unwrap_or_else(|error| panic!("{error}"))
    }

    /// Sends it.
    ///
    /// # Errors
    /// What happened when no whole answer came.
    pub async fn try_send(self) -> Result<Answer, String> {
        let request = self.label;
        let failed = |error: reqwest::Error| format!("{request}: {error:?}");
        let (client, built) = self.builder.build_split();
        let sent = built.map_err(failed)?;
        let (method, url, asked) = (sent.method().to_string(), sent.url().clone(), sent.headers().clone());
        let written = sent.body().and_then(reqwest::Body::as_bytes).map(<[u8]>::to_vec).unwrap_or_default();
        let response = client.execute(sent).await.map_err(failed)?;
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        let text = response.text().await.map_err(failed)?;
        let body = serde_json::from_str(&text).unwrap_or(Value::Null);
        let answer = Answer { request, status, headers, text, body };
        record::note(|| Exchange {
            method,
            path: url[url::Position::BeforePath..].to_owned(),
            headers: asked,
            body: String::from_utf8_lossy(&written).into_owned(),
            answer: answer.clone(),
        });
        Ok(answer)
    }
}
