//! The outermost middleware: what every answer has in common.
//!
//! It gives the request its id and a tracing span, writes the id into error bodies as they pass, and turns whatever
//! else went wrong (a refusal of the framework, a panic) into the envelope of CONTRACT 1.2.
//!
//! Register it last (`App::wrap` runs the last one first): `.wrap(from_fn(envelope))`.

use std::panic::AssertUnwindSafe;
use std::time::Instant;

use actix_web::body::{BoxBody, EitherBody, MessageBody};
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::StatusCode;
use actix_web::http::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, VARY};
use actix_web::middleware::Next;
use actix_web::web::Data;
use actix_web::{Error, HttpMessage, HttpRequest, HttpResponse, ResponseError};
use futures_util::FutureExt;
use tracing::Instrument;

use super::cors::{Cors, Grant};
use super::error::{ApiError, JSON};

/// `x-request-id`, on every answer.
pub const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// The id of one request: the client's own when it sent a good one, else minted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestId {
    text: String,
    header: HeaderValue,
}

impl RequestId {
    /// Keeps 1 to 200 visible ASCII characters; anything else is replaced.
    fn of(headers: &HeaderMap) -> Self {
        let sent = headers.get(&X_REQUEST_ID).filter(|value| visible_ascii(value.as_bytes(), 200));
        if let Some((header, Ok(text))) = sent.map(|value| (value, value.to_str())) {
            return Self { text: text.to_owned(), header: header.clone() };
        }
        let text = uuid::Uuid::now_v7().simple().to_string();
        // Hexadecimal digits always fit a header.
        let header = HeaderValue::from_str(&text).unwrap_or_else(|_| HeaderValue::from_static("0"));
        Self { text, header }
    }

    /// The id as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

/// What the headers of every answer to one request are made of.
#[derive(Debug)]
struct Common {
    id: RequestId,
    grant: Option<Grant>,
}

impl Common {
    fn of(request: &ServiceRequest) -> Self {
        let headers = request.headers();
        let cors = request.app_data::<Data<Cors>>();
        Self { id: RequestId::of(headers), grant: cors.and_then(|cors| cors.grant(headers)) }
    }
}

/// The id of this request; `None` only where the middleware is not in place.
#[must_use]
pub fn request_id(request: &HttpRequest) -> Option<String> {
    request.extensions().get::<RequestId>().map(|id| id.text.clone())
}

/// 1 to `longest` characters, each visible ASCII.
pub(super) fn visible_ascii(text: &[u8], longest: usize) -> bool {
    (1..=longest).contains(&text.len()) && text.iter().all(u8::is_ascii_graphic)
}

/// The middleware function, for `actix_web::middleware::from_fn`.
///
/// # Errors
/// Only with an error that renders the whole envelope by itself: without the request there is nothing else to answer
/// with.
pub async fn envelope<B: MessageBody + 'static>(
    request: ServiceRequest,
    next: Next<B>,
) -> Result<ServiceResponse<EitherBody<B, BoxBody>>, Error> {
    let common = Common::of(&request);
    let id = &common.id;
    let started = Instant::now();
    let span =
        tracing::info_span!("request", request_id = id.as_str(), method = %request.method(), path = request.path());
    request.extensions_mut().insert(id.clone());
    let answer = AssertUnwindSafe(next.call(request)).catch_unwind().instrument(span.clone()).await;
    let _entered = span.enter();
    let response = match answer {
        Ok(Ok(response)) => response,
        Ok(Err(error)) => return Err(Unanswered { error: as_api_error(&error), common }.into()),
        Err(_panic) => {
            tracing::error!("a handler panicked");
            return Err(Unanswered { error: ApiError::unforeseen(), common }.into());
        }
    };
    let mut response = with_envelope(response, id);
    complete_headers(response.headers_mut(), &common);
    log_answer(response.status(), started);
    Ok(response)
}

/// Writes the request's id into the body of a refusal; other answers pass untouched.
fn with_envelope<B: MessageBody + 'static>(
    response: ServiceResponse<B>,
    id: &RequestId,
) -> ServiceResponse<EitherBody<B, BoxBody>> {
    let ours = response.response().extensions().get::<ApiError>().cloned();
    if let Some(error) = ours {
        return response.map_body(|_, _| EitherBody::Right { body: BoxBody::new(error.body(Some(id.as_str()))) });
    }
    let Some(error) = response.response().error().map(as_api_error) else {
        return response.map_into_left_body();
    };
    let mut response = response.map_body(|head, _| {
        head.status = error.status;
        EitherBody::Right { body: BoxBody::new(error.body(Some(id.as_str()))) }
    });
    response.headers_mut().insert(CONTENT_TYPE, JSON);
    response
}

/// An error of the framework, or of a layer that is not ours, by its status.
fn as_api_error(error: &Error) -> ApiError {
    if let Some(ours) = error.as_error::<ApiError>() {
        return ours.clone();
    }
    let response = error.as_response_error();
    let status = response.status_code();
    match status {
        StatusCode::NOT_FOUND => super::endpoint::not_found(),
        StatusCode::METHOD_NOT_ALLOWED => ApiError::new(status, "METHOD_NOT_ALLOWED", "This method is not allowed."),
        StatusCode::PAYLOAD_TOO_LARGE => super::body::too_large(),
        StatusCode::UNSUPPORTED_MEDIA_TYPE => super::body::not_declared_as_json(),
        _ if status.is_client_error() => {
            ApiError::new(StatusCode::BAD_REQUEST, "VALIDATION_ERROR", "The request could not be read.")
        }
        _ => {
            tracing::error!(%error, "unforeseen error");
            ApiError::unforeseen()
        }
    }
}

/// `x-request-id` and `vary: Origin` always, what lets an allowed page read the answer; the charset where JSON goes out
/// without it.
fn complete_headers(headers: &mut HeaderMap, common: &Common) {
    headers.insert(X_REQUEST_ID, common.id.header.clone());
    if let Some(grant) = &common.grant {
        grant.write(headers);
    }
    let varies = headers.get_all(VARY).any(|value| {
        value.to_str().is_ok_and(|names| names.split(',').any(|name| name.trim().eq_ignore_ascii_case("origin")))
    });
    if !varies {
        headers.append(VARY, HeaderValue::from_static("Origin"));
    }
    if headers.get(CONTENT_TYPE).is_some_and(|media| media == "application/json") {
        headers.insert(CONTENT_TYPE, JSON);
    }
}

fn log_answer(status: StatusCode, started: Instant) {
    let milliseconds = started.elapsed().as_millis();
    if status.is_server_error() {
        tracing::warn!(status = status.as_u16(), milliseconds, "answered");
    } else {
        tracing::debug!(status = status.as_u16(), milliseconds, "answered");
    }
}

/// The inner service ended without a response: the error itself has to carry everything.
#[derive(Debug)]
struct Unanswered {
    error: ApiError,
    common: Common,
}

impl std::fmt::Display for Unanswered {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.error.fmt(f)
    }
}

impl ResponseError for Unanswered {
    fn status_code(&self) -> StatusCode {
        self.error.status
    }

    fn error_response(&self) -> HttpResponse<BoxBody> {
        let mut response = self.error.error_response();
        complete_headers(response.headers_mut(), &self.common);
        response.set_body(BoxBody::new(self.error.body(Some(self.common.id.as_str()))))
    }
}
