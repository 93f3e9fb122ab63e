//! The sender's side: which components we cover and what headers that makes.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use chrono::{DateTime, Utc};
use ring::rand::{SecureRandom as _, SystemRandom};

use super::structured::{self, Item, Parameters};
use super::{ALGORITHM, KeyError, LABEL, PeerKey, RequestHead, TAG, content_digest, signature_base};

/// The headers that make a request signed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignedHeaders {
    /// `content-digest`.
    pub content_digest: String,
    /// `signature-input`.
    pub signature_input: String,
    /// `signature`.
    pub signature: String,
}

impl SignedHeaders {
    /// Names and values.
    #[must_use]
    pub fn headers(&self) -> [(&'static str, &str); 3] {
        [
            ("content-digest", &self.content_digest),
            ("signature-input", &self.signature_input),
            ("signature", &self.signature),
        ]
    }
}

/// Signs a request with a fresh nonce. `keyid` is our registered instance URL.
///
/// # Errors
/// [`KeyError::Randomness`] when there is none for the nonce; [`KeyError::Request`] when the request lacks a part.
pub fn sign(
    key: &PeerKey,
    keyid: &str,
    head: &RequestHead<'_>,
    body: &[u8],
    now: DateTime<Utc>,
) -> Result<SignedHeaders, KeyError> {
    let mut nonce = [0u8; 16];
    SystemRandom::new().fill(&mut nonce).map_err(|_| KeyError::Randomness)?;
    sign_with_nonce(key, keyid, head, body, now, &URL_SAFE_NO_PAD.encode(nonce))
}

pub(super) fn sign_with_nonce(
    key: &PeerKey,
    keyid: &str,
    head: &RequestHead<'_>,
    body: &[u8],
    now: DateTime<Utc>,
    nonce: &str,
) -> Result<SignedHeaders, KeyError> {
    let content_digest = content_digest(body);
    let mut headers: Vec<(&str, &str)> =
        head.headers.iter().copied().filter(|(name, _)| !name.eq_ignore_ascii_case("content-digest")).collect();
    headers.push(("content-digest", &content_digest));
    let head = RequestHead { headers: &headers, ..*head };

    let mut components = vec!["@method", "@authority", "@path", "content-digest"];
    if head.query.is_some() {
        components.push("@query");
    }
    if head.header("idempotency-key").is_some() {
        components.push("idempotency-key");
    }
    let components: Vec<String> = components.into_iter().map(str::to_owned).collect();
    let parameters: Parameters = vec![
        ("created".to_owned(), Item::Integer(now.timestamp())),
        ("nonce".to_owned(), Item::String(nonce.to_owned())),
        ("keyid".to_owned(), Item::String(keyid.to_owned())),
        ("alg".to_owned(), Item::String(ALGORITHM.to_owned())),
        ("tag".to_owned(), Item::String(TAG.to_owned())),
    ];
    let base = signature_base(&head, &components, &parameters).map_err(|_| KeyError::Request)?;
    Ok(SignedHeaders {
        signature_input: format!("{LABEL}={}", structured::inner_list(&components, &parameters)),
        signature: format!("{LABEL}=:{}:", STANDARD.encode(key.sign(base.as_bytes()))),
        content_digest,
    })
}
