//! The session cookie (CONTRACT 2.3). Its names are kept for existing clients.

use actix_web::http::header::{self, HeaderMap};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};

/// What `encodeURIComponent` leaves alone.
const COOKIE_VALUE: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'_')
    .remove(b'.')
    .remove(b'!')
    .remove(b'~')
    .remove(b'*')
    .remove(b'\'')
    .remove(b'(')
    .remove(b')');

/// Seven days, in seconds.
const MAX_AGE: u32 = 604_800;

/// Name and attributes as the environment wants them.
#[derive(Debug, Clone, Copy)]
pub(super) struct SessionCookie {
    production: bool,
}

impl SessionCookie {
    pub(super) fn new(production: bool) -> Self {
        Self { production }
    }

    fn name(self) -> &'static str {
        if self.production { "__Secure-better-auth.session_token" } else { "better-auth.session_token" }
    }

    /// The decoded value that the request carries.
    pub(super) fn read(self, headers: &HeaderMap) -> Option<String> {
        headers.get_all(header::COOKIE).filter_map(|value| value.to_str().ok()).find_map(|line| {
            line.split(';')
                .filter_map(|pair| pair.trim().split_once('='))
                .find(|(name, _)| *name == self.name())
                .map(|(_, value)| percent_decode_str(value.trim().trim_matches('"')).decode_utf8_lossy().into_owned())
        })
    }

    /// A `set-cookie` that starts a session; `remembered` cookies outlive the browser.
    pub(super) fn set(self, signed_token: &str, remembered: bool) -> String {
        let value = utf8_percent_encode(signed_token, COOKIE_VALUE);
        let age = if remembered { format!("; Max-Age={MAX_AGE}") } else { String::new() };
        format!("{}={value}; Path=/; HttpOnly{age}; {}", self.name(), self.attributes())
    }

    /// A `set-cookie` that removes it.
    pub(super) fn clear(self) -> String {
        format!("{}=; Path=/; HttpOnly; Max-Age=0; {}", self.name(), self.attributes())
    }

    fn attributes(self) -> &'static str {
        if self.production { "Secure; SameSite=None; Partitioned" } else { "SameSite=Lax" }
    }
}

#[cfg(test)]
mod tests {
    use actix_web::http::header::{HeaderName, HeaderValue};

    use super::*;

    fn request(cookie: &str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(HeaderName::from_static("cookie"), HeaderValue::from_str(cookie).unwrap());
        headers
    }

    #[test]
    fn set_and_read_agree() {
        let cookie = SessionCookie::new(false);
        let line = cookie.set("abc.d+/=", true);
        assert_eq!(line, "better-auth.session_token=abc.d%2B%2F%3D; Path=/; HttpOnly; Max-Age=604800; SameSite=Lax");
        let (pair, _) = line.split_once(';').unwrap();
        assert_eq!(cookie.read(&request(&format!("a=b; {pair}; c=d"))).as_deref(), Some("abc.d+/="));
        assert_eq!(cookie.read(&request("a=b")), None);
        assert!(!cookie.set("abc", false).contains("Max-Age"));
    }

    #[test]
    fn production_has_its_own_name_and_attributes() {
        let cookie = SessionCookie::new(true);
        assert_eq!(
            cookie.set("abc", true),
            "__Secure-better-auth.session_token=abc; Path=/; HttpOnly; Max-Age=604800; Secure; SameSite=None; Partitioned"
        );
        assert_eq!(cookie.read(&request("better-auth.session_token=abc")), None);
    }
}
