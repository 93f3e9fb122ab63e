//! Calls to the services beside an instance, which deliver codes and compute scores (CONTRACT 13): signed, bounded in time
//! and size, never redirected, because the signature is meant for one service alone. Calls to peers are another matter:
//! those go through `dpg_mirror::PeerClient`.

use std::time::Duration;

use bytes::BytesMut;
use chrono::Utc;
use dpg_mirror::peer::install_tls_provider;
use hmac::{Hmac, Mac};
use serde_json::Value;
use sha2::Sha256;
use url::Url;

use crate::config::Secret;

/// An answer over this is a failure, in bytes.
pub const MAX_ANSWER_BYTES: usize = 1 << 20;

/// Why a service can't be called with its settings.
#[derive(Debug, thiserror::Error)]
pub enum ServiceError {
    /// The endpoint has no origin.
    #[error("the endpoint is not an http or https URL")]
    Endpoint,
    /// TLS could not be set up.
    #[error("the HTTP client could not be made")]
    Client(#[from] reqwest::Error),
}

/// Why a call came to nothing. Holds neither the request nor the answer.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// No answer, or half of one.
    #[error("the service did not answer")]
    NoAnswer(#[source] reqwest::Error),
    /// An answer that is not 2xx.
    #[error("the service answered {0}")]
    Refused(u16),
    /// An answer over [`MAX_ANSWER_BYTES`].
    #[error("the service's answer is too large")]
    TooLarge,
    /// An answer that is not JSON.
    #[error("the service's answer is not JSON")]
    NotJson(#[source] serde_json::Error),
    /// The secret can't be used for a signature.
    #[error("the call could not be signed")]
    Unsigned,
}

/// One service and what its calls are signed with.
pub struct Service {
    http: reqwest::Client,
    url: Url,
    /// Names the secret to the service.
    pub key_id: String,
    secret: Secret<String>,
}

/// When a call is made, and the proof of who makes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signature {
    /// Unix time in seconds.
    pub timestamp: String,
    /// HMAC-SHA256 in hexadecimal.
    pub hex: String,
}

impl Service {
    /// A service whose calls all go to `url` and take `time_out` at most, from the name look-up to the last byte.
    ///
    /// # Errors
    /// [`ServiceError`].
    pub fn new(url: Url, key_id: &str, secret: &Secret<String>, time_out: Duration) -> Result<Self, ServiceError> {
        if !url.origin().is_tuple() {
            return Err(ServiceError::Endpoint);
        }
        install_tls_provider();
        let http = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).timeout(time_out).build()?;
        Ok(Self { http, url, key_id: key_id.to_owned(), secret: secret.clone() })
    }

    /// Signs a call that is made now.
    ///
    /// # Errors
    /// [`CallError::Unsigned`].
    pub fn sign(&self, nonce: &str) -> Result<Signature, CallError> {
        let timestamp = Utc::now().timestamp().to_string();
        let hex = signature(self.secret.expose(), self.url.path(), &timestamp, nonce)?;
        Ok(Signature { timestamp, hex })
    }

    /// POSTs a JSON body; the answer is 2xx, its body not read yet.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn post(&self, headers: &[(&str, &str)], body: &Value) -> Result<reqwest::Response, CallError> {
        let request = self.http.post(self.url.clone()).json(body);
        let request = headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
        let answer = request.send().await.map_err(no_answer)?;
        let status = answer.status();
        if status.is_success() { Ok(answer) } else { Err(CallError::Refused(status.as_u16())) }
    }
}

/// Reads an answer as JSON.
///
/// # Errors
/// [`CallError`].
pub async fn json_of(mut answer: reqwest::Response) -> Result<Value, CallError> {
    let mut body = BytesMut::new();
    while let Some(piece) = answer.chunk().await.map_err(no_answer)? {
        if body.len() + piece.len() > MAX_ANSWER_BYTES {
            return Err(CallError::TooLarge);
        }
        body.extend_from_slice(&piece);
    }
    serde_json::from_slice(&body).map_err(CallError::NotJson)
}

/// The URL stays out of the log: a query or a password in it is nobody's business.
fn no_answer(error: reqwest::Error) -> CallError {
    CallError::NoAnswer(error.without_url())
}

/// HMAC-SHA256 over method, path, timestamp and nonce, in hexadecimal.
pub(crate) fn signature(secret: &str, path: &str, timestamp: &str, nonce: &str) -> Result<String, CallError> {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).map_err(|_length| CallError::Unsigned)?;
    mac.update(format!("POST\n{path}\n{timestamp}\n{nonce}").as_bytes());
    Ok(format!("{:x}", mac.finalize().into_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Both vectors of CONTRACT 13.
    #[test]
    fn signatures_are_those_of_the_contract() {
        let notification = ("/notify", "00112233445566778899aabbccddeeff");
        let score = ("/api/v1/scores/match", "019aa3d0-5b40-7a55-b2c3-d4e5f6071829");
        for ((path, nonce), expected) in [
            (notification, "1cb9763978995cff54bcbd3b00ecfab0fd734103abb8c37dd288a31c209aeb7b"),
            (score, "2e3348b304d09364182e7577e2859b11f9f845a68e90761ff40be81adfcd871a"),
        ] {
            assert_eq!(signature("topsecret", path, "1795225984", nonce).unwrap(), expected, "{path}");
        }
    }
}
