//! The error envelope of CONTRACT 1.2: the one place where a refusal turns into HTTP.

use std::borrow::Cow;

use actix_web::body::BoxBody;
use actix_web::http::StatusCode;
use actix_web::http::header::{CONTENT_TYPE, HeaderValue, RETRY_AFTER};
use actix_web::{HttpResponse, ResponseError};
use bytes::Bytes;
use dpg_eventstore::Chain;
use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};
use serde_json::{Map, Value};

/// The media type of every JSON answer (CONTRACT 1.1).
pub const JSON: HeaderValue = HeaderValue::from_static("application/json; charset=utf-8");

/// Faults in one answer at most.
const MAX_DETAILS: usize = 100;

/// One fault in a request, reported together with all others.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Fault {
    /// JSON Pointer into the body, the query or the path parameters.
    pub path: String,
    /// For people; may change.
    pub message: String,
}

impl Fault {
    /// A fault at `path`.
    pub fn new(path: impl Into<String>, message: impl Into<String>) -> Self {
        Self { path: path.into(), message: message.into() }
    }
}

/// Which form the body has: see CONTRACT 1.2.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Form {
    /// `error` is the stable code.
    #[default]
    Plain,
    /// User tier: `code` is the stable code, `error` the short reason phrase.
    User,
    /// Peer tier and `/api/auth/*`: the code in both.
    Both,
}

/// A refusal as it goes out. Build with [`ApiError::new`] and the `with_*` methods.
#[derive(Debug, Clone)]
pub struct ApiError {
    /// HTTP status.
    pub status: StatusCode,
    /// Stable code.
    pub code: Cow<'static, str>,
    /// For people; a 5xx message never holds internals.
    pub message: String,
    /// Schema faults.
    pub details: Vec<Fault>,
    /// Form of the body.
    pub form: Form,
    /// Further members of the body (the unserved reply). Boxed, for most results carry an error that has none.
    pub extra: Box<Map<String, Value>>,
    /// Whole seconds, for `retry-after`.
    pub retry_after: Option<u64>,
}

impl ApiError {
    /// A refusal in the plain form.
    pub fn new(status: StatusCode, code: impl Into<Cow<'static, str>>, message: impl Into<String>) -> Self {
        Self {
            status,
            code: code.into(),
            message: message.into(),
            details: Vec::new(),
            form: Form::Plain,
            extra: Box::default(),
            retry_after: None,
        }
    }

    /// Adds schema faults.
    #[must_use]
    pub fn with_details(mut self, details: Vec<Fault>) -> Self {
        self.details = details;
        self
    }

    /// Changes the form of the body.
    #[must_use]
    pub fn with_form(mut self, form: Form) -> Self {
        self.form = form;
        self
    }

    /// Adds `retry-after`.
    #[must_use]
    pub fn with_retry_after(mut self, seconds: u64) -> Self {
        self.retry_after = Some(seconds);
        self
    }

    /// 400 `VALIDATION_ERROR` with all faults; of a body made of nothing else, with the first hundred.
    #[must_use]
    pub fn validation(mut details: Vec<Fault>) -> Self {
        let message = match details.len() {
            1 => "1 field is not valid.".to_owned(),
            n => format!("{n} fields are not valid."),
        };
        // Else a megabyte of faults would be answered with many.
        details.truncate(MAX_DETAILS);
        Self::new(StatusCode::BAD_REQUEST, "VALIDATION_ERROR", message).with_details(details)
    }

    /// 503 `SERVICE_UNAVAILABLE`: full queue, database away.
    #[must_use]
    pub fn unavailable() -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "SERVICE_UNAVAILABLE", "Try again shortly.").with_retry_after(1)
    }

    /// 500 `INTERNAL_SERVER_ERROR`. The cause goes to the log, never into the body.
    pub fn internal(cause: &(dyn std::error::Error + 'static)) -> Self {
        tracing::error!(error = %Chain(cause), "unforeseen error");
        Self::unforeseen()
    }

    /// 500 `INTERNAL_SERVER_ERROR` whose cause is in the log already.
    pub(crate) fn unforeseen() -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "INTERNAL_SERVER_ERROR", "Something went wrong on our side.")
    }
}

/// The body of a refusal, for one request.
struct Body<'a> {
    error: &'a ApiError,
    request_id: Option<&'a str>,
}

impl Serialize for Body<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let error = self.error;
        let mut body = serializer.serialize_map(None)?;
        if error.form != Form::Plain {
            body.serialize_entry("code", &error.code)?;
        }
        let reason = error.status.canonical_reason().unwrap_or("Error");
        body.serialize_entry("error", if error.form == Form::User { reason } else { &error.code })?;
        body.serialize_entry("message", &error.message)?;
        if let Some(request_id) = self.request_id {
            body.serialize_entry("request_id", request_id)?;
        }
        if !error.details.is_empty() {
            body.serialize_entry("details", &error.details)?;
        }
        for (key, value) in &*error.extra {
            body.serialize_entry(key, value)?;
        }
        body.end()
    }
}

impl ApiError {
    /// The body as it goes out for the request with this id.
    pub(super) fn body(&self, request_id: Option<&str>) -> Bytes {
        match serde_json::to_vec(&Body { error: self, request_id }) {
            Ok(body) => Bytes::from(body),
            Err(error) => {
                // Strings and JSON values always serialise; an empty body still carries the status.
                tracing::error!(%error, "the error body could not be written");
                Bytes::new()
            }
        }
    }
}

/// A handler just returns the error. The request's id is not known here: [`super::envelope`] finds the error in the
/// response's extensions and writes the body again with the id in it.
impl ResponseError for ApiError {
    fn status_code(&self) -> StatusCode {
        self.status
    }

    fn error_response(&self) -> HttpResponse<BoxBody> {
        let mut response = HttpResponse::with_body(self.status, BoxBody::new(self.body(None)));
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, JSON);
        if let Some(seconds) = self.retry_after {
            headers.insert(RETRY_AFTER, HeaderValue::from(seconds));
        }
        response.extensions_mut().insert(self.clone());
        response
    }
}

impl std::error::Error for ApiError {}

impl std::fmt::Display for ApiError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}", self.status.as_u16(), self.code)
    }
}
