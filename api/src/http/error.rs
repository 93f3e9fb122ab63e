//! The error envelope of CONTRACT 1.2: the one place where a refusal turns into HTTP.

use std::borrow::Cow;

use actix_web::http::StatusCode;
use serde::Serialize;
use serde_json::{Map, Value};

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
    /// Further members of the body (the unserved reply).
    pub extra: Map<String, Value>,
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
            extra: Map::new(),
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

    /// 400 `VALIDATION_ERROR` with all faults.
    #[must_use]
    pub fn validation(details: Vec<Fault>) -> Self {
        let message = match details.len() {
            1 => "1 field is not valid.".to_owned(),
            n => format!("{n} fields are not valid."),
        };
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
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "INTERNAL_SERVER_ERROR", "Something went wrong on our side.")
    }
}

/// Prints an error with its sources, each said once.
struct Chain<'a>(&'a (dyn std::error::Error + 'static));

impl std::fmt::Display for Chain<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.0)?;
        let mut source = self.0.source();
        while let Some(error) = source {
            write!(f, ": {error}")?;
            source = error.source();
        }
        Ok(())
    }
}

impl std::fmt::Display for ApiError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}", self.status.as_u16(), self.code)
    }
}
