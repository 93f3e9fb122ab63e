//! Which credential of a request decides (CONTRACT 2.2): an API key alone, else a bearer token alone, else the cookie.

use actix_web::http::header::{self, HeaderMap};
use percent_encoding::percent_decode_str;

use super::cookie::SessionCookie;
use super::origin::Origins;
use super::token::{Signer, Token};

/// The credential that decides.
#[derive(Debug)]
pub(super) enum Credential {
    /// `x-api-key`, even if empty.
    ApiKey(Vec<u8>),
    /// `Authorization: Bearer`; `None` when it is empty or its signature is wrong.
    Bearer(Option<Token>),
    /// The session cookie; `None` when its signature is wrong.
    Cookie(Option<Token>),
    /// Nothing that counts.
    None,
}

/// Reads credentials the way this instance is configured.
pub(super) struct CredentialReader {
    pub(super) signer: Signer,
    pub(super) cookie: SessionCookie,
    pub(super) origins: Origins,
}

impl CredentialReader {
    pub(super) fn read(&self, headers: &HeaderMap) -> Credential {
        if let Some(key) = headers.get("x-api-key") {
            return Credential::ApiKey(key.as_bytes().to_vec());
        }
        if let Some(token) = self.bearer(headers) {
            return Credential::Bearer(token);
        }
        self.cookie_token(headers).map_or(Credential::None, Credential::Cookie)
    }

    /// The outer `None`: no bearer credential at all.
    pub(super) fn bearer(&self, headers: &HeaderMap) -> Option<Option<Token>> {
        // Whatever it holds, a bearer credential decides alone; what is no text is no token of ours.
        let value = String::from_utf8_lossy(headers.get(header::AUTHORIZATION)?.as_bytes());
        let (scheme, rest) = value.trim().split_once(' ').unwrap_or((value.trim(), ""));
        if !scheme.eq_ignore_ascii_case("bearer") {
            return None;
        }
        // Some clients keep the token as they found it in the cookie, with the signature's characters encoded.
        let text = percent_decode_str(rest.trim()).decode_utf8_lossy();
        Some(self.signer.bearer(&text))
    }

    /// The outer `None`: no cookie, or one that does not count from this origin.
    pub(super) fn cookie_token(&self, headers: &HeaderMap) -> Option<Option<Token>> {
        let value = self.cookie.read(headers)?;
        self.origins.cookie_counts(headers).then(|| self.signer.verified(&value))
    }
}
