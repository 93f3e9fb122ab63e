//! Our own base URL and the origins of browsers.

use url::Url;

use super::reader::Reader;
use super::{InstanceEnv, settings};

pub(super) const EXPECTED: &str = "holds what is no origin (scheme://host[:port], nothing after it)";

/// An origin as a browser sends it. Only the exact text counts later, so anything a browser never sends is refused.
pub(super) fn origin(text: &str) -> Option<String> {
    let url = Url::parse(text).ok().filter(Url::has_host)?;
    // For schemes that are not the web's (an app's own) the parser knows no origin.
    let exact = match url.origin().ascii_serialization() {
        opaque if opaque == "null" => !text.ends_with('/') && matches!(url.path(), "" | "/"),
        origin => origin == text,
    };
    exact.then(|| text.to_owned())
}

impl Reader<'_> {
    /// `API_DOMAIN`, plus `:API_PORT` in development when it names no port; no trailing slash (CONTRACT 5.3).
    pub(super) fn base_url(&mut self, api_port: Option<u16>) -> Option<String> {
        let setting = &settings::API_DOMAIN;
        let text = self.text(setting)?;
        let trimmed = text.trim_end_matches('/');
        let parsed = Url::parse(trimmed).ok().filter(|url| matches!(url.scheme(), "http" | "https"));
        let Some(url) = parsed else {
            self.problem(setting, "must be an http or https URL, such as https://a.example.org");
            return None;
        };
        let plain = url.username().is_empty() && url.password().is_none();
        if url.path() != "/" || url.query().is_some() || url.fragment().is_some() || !plain {
            self.problem(setting, "must be scheme://host[:port] and nothing else");
            return None;
        }
        if self.env == Some(InstanceEnv::Development) && !names_port(trimmed) {
            return Some(format!("{trimmed}:{}", api_port?));
        }
        Some(trimmed.to_owned())
    }
}

/// Whether the text names a port, be it the scheme's own, which the parser drops.
fn names_port(base_url: &str) -> bool {
    let host = base_url.split_once("://").map_or(base_url, |(_, host)| host);
    let after_address = host.rsplit_once(']').map_or(host, |(_, rest)| rest);
    after_address.contains(':')
}
