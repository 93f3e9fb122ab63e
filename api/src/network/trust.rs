//! Whom to believe (CONTRACT 2.5, 2.6): a peer's signature, and the instance that a write claims to speak for.

use actix_web::HttpRequest;
use actix_web::http::StatusCode;
use actix_web::http::header::HeaderValue;
use chrono::Utc;
use dpg_mirror::signature::{Presented, PublicKey, RequestHead, Verified};

use crate::app::App;
use crate::config::PeerAuth;
use crate::contract::InstanceUrl;
use crate::http::{ApiError, Form};

/// Stands for a header that is no text: no header that can be read has it in it.
const UNREADABLE: &str = "\u{fffd}";

/// Whom a write says that it speaks for, and in which network.
#[derive(Debug, Clone, Copy)]
pub struct Claim<'a> {
    /// The network that is spoken about: its contract gives the keys.
    pub network: &'a str,
    /// Network and domain of the item for which the instance must be registered.
    pub registered_for: (&'a str, &'a str),
    /// The claimed instance's URL as sent.
    pub instance: &'a str,
    /// Whether this kind of write is never accepted unsigned, but in `off` mode.
    pub only_signed: bool,
}

/// What can be told of a peer's credentials before its body is understood.
#[derive(Debug)]
pub struct Credentials {
    presented: Option<Presented>,
}

/// Reads the signature headers and compares the digest with the body.
///
/// # Errors
/// 401 `PEER_SIGNATURE_INVALID`; in `enforced` mode also 401 `PEER_SIGNATURE_REQUIRED`.
pub fn credentials(app: &App, request: &HttpRequest, body: &[u8]) -> Result<Credentials, ApiError> {
    let mode = app.config.peer_auth;
    if mode == PeerAuth::Off {
        return Ok(Credentials { presented: None });
    }
    let presented = read_signature(app, request, body)?;
    if presented.is_none() && mode == PeerAuth::Enforced {
        return Err(required());
    }
    Ok(Credentials { presented })
}

/// Reads the signature headers, whatever the mode; none when there are none.
pub(super) fn read_signature(app: &App, request: &HttpRequest, body: &[u8]) -> Result<Option<Presented>, ApiError> {
    with_head(app, request, |head| Presented::read(head, body)).map_err(|error| {
        tracing::info!(error = %error, "a peer's signature can't be read");
        invalid()
    })
}

impl Credentials {
    /// Judges a write: the signature, and then the claim.
    ///
    /// # Errors
    /// 401 `PEER_SIGNATURE_INVALID`, `PEER_SIGNATURE_REQUIRED`; 403 `PEER_NOT_REGISTERED`, `PEER_IDENTITY_MISMATCH`.
    pub async fn judge_write(&self, app: &App, request: &HttpRequest, claim: Claim<'_>) -> Result<(), ApiError> {
        let claimed = InstanceUrl::parse(claim.instance).map_err(|_| not_registered())?;
        let own = app.contracts.is_own(&claimed);
        let has_key = app.contracts.has_public_key(claim.network, &claimed);
        let verified = match &self.presented {
            Some(presented) => Some(verify(app, request, presented, claim.network)?),
            None if app.config.peer_auth == PeerAuth::Off => None,
            None if own => None,
            None if claim.only_signed || has_key => return Err(required()),
            None => None,
        };
        if own {
            return Err(mismatch());
        }
        let (network, domain) = claim.registered_for;
        if app.contracts.registered(network, domain, &claimed).is_none() {
            return Err(not_registered());
        }
        if let Some(verified) = verified {
            let same = InstanceUrl::parse(&verified.keyid).is_ok_and(|keyid| keyid == claimed);
            if !same {
                return Err(mismatch());
            }
            unseen(app, &claimed, &verified.nonce).await?;
        }
        (app.contact)(claimed.normalised());
        Ok(())
    }
}

impl Credentials {
    /// Judges a read, which claims nothing: a signature that is there has to be valid by the contract of `network`.
    ///
    /// # Errors
    /// 401 `PEER_SIGNATURE_INVALID`.
    pub fn judge_read(&self, app: &App, request: &HttpRequest, network: &str) -> Result<(), ApiError> {
        let Some(presented) = &self.presented else { return Ok(()) };
        let verified = verify(app, request, presented, network)?;
        if let Ok(caller) = InstanceUrl::parse(&verified.keyid) {
            (app.contact)(caller.normalised());
        }
        Ok(())
    }
}

/// Verifies a signature with the keys that the contract of `network` gives its signer.
pub(super) fn verify(
    app: &App,
    request: &HttpRequest,
    presented: &Presented,
    network: &str,
) -> Result<Verified, ApiError> {
    let keys = |keyid: &str| -> Vec<PublicKey> {
        InstanceUrl::parse(keyid).map(|keyid| app.contracts.public_keys(network, &keyid)).unwrap_or_default()
    };
    let own = |authority: &str| app.contracts.is_own_authority(authority);
    with_head(app, request, |head| presented.verify(head, keys, own, Utc::now())).map_err(|error| {
        tracing::info!(keyid = presented.keyid(), error = %error, "a peer's signature is not valid");
        invalid()
    })
}

/// A signed write counts once: its nonce is remembered, in Postgres, for all processes of the instance.
async fn unseen(app: &App, signer: &InstanceUrl, nonce: &str) -> Result<(), ApiError> {
    if crate::queries::nonces::remember(&app.database, signer.normalised(), nonce).await? {
        return Ok(());
    }
    tracing::info!(%signer, "a signed request came twice");
    Err(invalid())
}

/// The host that was called: behind a trusted proxy the one that the proxy was called by.
fn authority<'r>(app: &App, request: &'r HttpRequest) -> &'r str {
    let header = |name| request.headers().get(name).and_then(|value: &HeaderValue| value.to_str().ok());
    let proxy = request.peer_addr().map(|address| address.ip().to_canonical());
    let trusted = proxy.is_some_and(|proxy| app.config.trusted_proxies.iter().any(|block| block.contains(&proxy)));
    let forwarded = header("x-forwarded-host").filter(|_| trusted);
    let sent = || header("host").or_else(|| request.uri().authority().map(|authority| authority.as_str()));
    app.contracts.without_default_port(forwarded.or_else(sent).unwrap_or_default().trim())
}

/// The part of a request that a signature covers.
fn with_head<T>(app: &App, request: &HttpRequest, with: impl FnOnce(&RequestHead<'_>) -> T) -> T {
    // What is no text is there all the same: a signature that can't be read is not a missing one.
    let headers: Vec<(&str, &str)> =
        request.headers().iter().map(|(name, value)| (name.as_str(), value.to_str().unwrap_or(UNREADABLE))).collect();
    let uri = request.uri();
    with(&RequestHead {
        method: request.method().as_str(),
        authority: authority(app, request),
        path: uri.path(),
        query: uri.query(),
        headers: &headers,
    })
}

fn refusal(status: StatusCode, code: &'static str, message: &str) -> ApiError {
    ApiError::new(status, code, message).with_form(Form::Both)
}

pub(super) fn required() -> ApiError {
    refusal(StatusCode::UNAUTHORIZED, "PEER_SIGNATURE_REQUIRED", "This request has to be signed.")
}

pub(super) fn invalid() -> ApiError {
    refusal(StatusCode::UNAUTHORIZED, "PEER_SIGNATURE_INVALID", "The signature is not valid.")
}

pub(super) fn not_registered() -> ApiError {
    refusal(StatusCode::FORBIDDEN, "PEER_NOT_REGISTERED", "The claimed instance is not registered for this domain.")
}

fn mismatch() -> ApiError {
    refusal(StatusCode::FORBIDDEN, "PEER_IDENTITY_MISMATCH", "You can't speak for this instance.")
}
