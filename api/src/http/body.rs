//! Reading a request body, as an explicit call: a handler checks credentials first, so that a bad body without
//! credentials is 401 (CONTRACT 1.1).

use actix_web::HttpRequest;
use actix_web::error::PayloadError;
use actix_web::http::StatusCode;
use actix_web::http::header::CONTENT_TYPE;
use bytes::{Bytes, BytesMut};
use futures_util::{Stream, TryStreamExt};
use serde_json::Value;

use super::error::ApiError;
use super::json;

/// The longest body, in bytes: 1 MiB.
pub const MAX_BODY: usize = 1 << 20;

/// Reads a JSON body: 413, then 415, then 400.
///
/// # Errors
/// `PAYLOAD_TOO_LARGE`, `UNSUPPORTED_MEDIA_TYPE`, `INVALID_JSON`, or `VALIDATION_ERROR` for U+0000 in a string.
pub async fn read_json<S>(request: &HttpRequest, payload: S) -> Result<Value, ApiError>
where
    S: Stream<Item = Result<Bytes, PayloadError>> + Unpin,
{
    let bytes = read_bytes(payload).await?;
    json_of(request, &bytes)
}

/// Like [`read_json`] where the route can do without a body: an empty one is `None`, whatever its media type.
///
/// # Errors
/// As [`read_json`].
pub async fn read_optional_json<S>(request: &HttpRequest, payload: S) -> Result<Option<Value>, ApiError>
where
    S: Stream<Item = Result<Bytes, PayloadError>> + Unpin,
{
    let bytes = read_bytes(payload).await?;
    if bytes.is_empty() { Ok(None) } else { json_of(request, &bytes).map(Some) }
}

/// Reads the body as it came, for a route that needs the very bytes (a peer's digest).
///
/// # Errors
/// `PAYLOAD_TOO_LARGE` as soon as more than [`MAX_BODY`] has arrived; `INVALID_JSON` when the body breaks off.
pub async fn read_bytes<S>(mut payload: S) -> Result<Bytes, ApiError>
where
    S: Stream<Item = Result<Bytes, PayloadError>> + Unpin,
{
    // Most bodies come in one piece, which is then handed on without a copy.
    let Some(first) = next(&mut payload).await? else { return Ok(Bytes::new()) };
    let Some(second) = next(&mut payload).await? else { return within_limit(first) };
    let mut all = BytesMut::from(first.as_ref());
    let mut piece = Some(second);
    while let Some(bytes) = piece {
        if all.len() + bytes.len() > MAX_BODY {
            return Err(too_large());
        }
        all.extend_from_slice(&bytes);
        piece = next(&mut payload).await?;
    }
    Ok(all.freeze())
}

/// Checks the media type of bytes already read, then parses them.
///
/// # Errors
/// `UNSUPPORTED_MEDIA_TYPE`, `INVALID_JSON`, or `VALIDATION_ERROR` for U+0000 in a string.
pub fn json_of(request: &HttpRequest, bytes: &[u8]) -> Result<Value, ApiError> {
    if bytes.is_empty() {
        return Err(invalid_json("A JSON body is needed."));
    }
    if !declared_as_json(request) {
        return Err(not_declared_as_json());
    }
    let value = json::parse(bytes).map_err(|fault| invalid_json(fault.to_string()))?;
    let faults = json::null_characters(&value);
    if faults.is_empty() { Ok(value) } else { Err(ApiError::validation(faults)) }
}

async fn next<S>(payload: &mut S) -> Result<Option<Bytes>, ApiError>
where
    S: Stream<Item = Result<Bytes, PayloadError>> + Unpin,
{
    payload.try_next().await.map_err(|error| match error {
        PayloadError::Overflow => too_large(),
        _ => invalid_json("The body ended too early."),
    })
}

fn within_limit(bytes: Bytes) -> Result<Bytes, ApiError> {
    if bytes.len() > MAX_BODY { Err(too_large()) } else { Ok(bytes) }
}

/// `application/json` with any parameters.
fn declared_as_json(request: &HttpRequest) -> bool {
    let media = request.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let essence = media.and_then(|media| media.split(';').next());
    essence.is_some_and(|essence| essence.trim().eq_ignore_ascii_case("application/json"))
}

fn invalid_json(message: impl Into<String>) -> ApiError {
    ApiError::new(StatusCode::BAD_REQUEST, "INVALID_JSON", message)
}

/// 413 `PAYLOAD_TOO_LARGE`.
pub(super) fn too_large() -> ApiError {
    ApiError::new(StatusCode::PAYLOAD_TOO_LARGE, "PAYLOAD_TOO_LARGE", "A body has at most 1 MiB.")
}

/// 415 `UNSUPPORTED_MEDIA_TYPE`.
pub(super) fn not_declared_as_json() -> ApiError {
    let message = "Send the body with content-type: application/json.";
    ApiError::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "UNSUPPORTED_MEDIA_TYPE", message)
}
