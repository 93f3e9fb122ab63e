//! How instances are named and compared (CONTRACT 5.3): two URLs name one instance when their normal forms are equal.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::net::{Ipv4Addr, Ipv6Addr};

use url::{Host, Url};

/// Longest URL in bytes (CONTRACT 1.4).
const MAX_BYTES: usize = 2048;

/// Why a text names no instance.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InstanceUrlError {
    /// Over 2048 bytes.
    #[error("is longer than {MAX_BYTES} bytes")]
    TooLong,
    /// Not an absolute URL.
    #[error("is not an absolute URL")]
    Malformed(#[source] url::ParseError),
    /// Another scheme than `http` or `https`.
    #[error("is not an http or https URL")]
    NotHttp,
    /// A host that no DNS name or address can have, such as a placeholder nobody filled in.
    #[error("has no valid host name")]
    Host,
}

/// The URL of an instance. Equality and hash are those of the normal form; [`as_str`](Self::as_str) keeps the spelling.
#[derive(Debug, Clone)]
pub struct InstanceUrl {
    spelling: String,
    origin: String,
    normalised: String,
    tail: String,
}

impl InstanceUrl {
    /// Parses `text`; blanks around it and slashes at its end don't count.
    ///
    /// # Errors
    /// See [`InstanceUrlError`].
    pub fn parse(text: &str) -> Result<Self, InstanceUrlError> {
        if text.len() > MAX_BYTES {
            return Err(InstanceUrlError::TooLong);
        }
        let url = Url::parse(text).map_err(InstanceUrlError::Malformed)?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err(InstanceUrlError::NotHttp);
        }
        let host = url.host().ok_or(InstanceUrlError::Host)?;
        let written = host.to_string();
        if matches!(host, Host::Domain(_)) && !written.bytes().all(is_host_byte) {
            return Err(InstanceUrlError::Host);
        }
        let compared = if is_loopback_alias(&host) { "localhost" } else { written.as_str() };
        // `Url` has already dropped the port when it is the scheme's own.
        let port = url.port().map(|port| format!(":{port}")).unwrap_or_default();
        Ok(Self {
            spelling: text.trim().trim_end_matches('/').to_owned(),
            origin: format!("{}://{written}{port}", url.scheme()),
            normalised: format!("{}://{compared}{port}", url.scheme()),
            tail: tail(&url),
        })
    }

    /// The text as it was written, without slashes at the end.
    pub fn as_str(&self) -> &str {
        &self.spelling
    }

    /// Normal form: `scheme://host[:port]`, with `localhost` for every spelling of the loopback host.
    pub fn normalised(&self) -> &str {
        &self.normalised
    }

    /// Where calls go: `scheme://host[:port]` with the host as it was written.
    pub fn origin(&self) -> &str {
        &self.origin
    }

    /// Whether two URLs of one instance differ in what normalising drops (path, query or fragment). A contract that
    /// holds both would have two instances that nobody can tell apart.
    pub fn differs_only_by_path(&self, other: &Self) -> bool {
        self == other && self.tail != other.tail
    }
}

/// Hosts are punycode by now, so anything else is a placeholder such as `{HOST}`.
fn is_host_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_')
}

fn is_loopback_alias(host: &Host<&str>) -> bool {
    match host {
        Host::Domain(name) => *name == "localhost",
        Host::Ipv4(address) => *address == Ipv4Addr::LOCALHOST,
        Host::Ipv6(address) => *address == Ipv6Addr::LOCALHOST,
    }
}

fn tail(url: &Url) -> String {
    let mut tail = url.path().trim_end_matches('/').to_owned();
    for (mark, part) in [('?', url.query()), ('#', url.fragment())] {
        if let Some(part) = part.filter(|part| !part.is_empty()) {
            tail.push(mark);
            tail.push_str(part);
        }
    }
    tail
}

impl PartialEq for InstanceUrl {
    fn eq(&self, other: &Self) -> bool {
        self.normalised == other.normalised
    }
}

impl Eq for InstanceUrl {}

impl Hash for InstanceUrl {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.normalised.hash(state);
    }
}

impl fmt::Display for InstanceUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.spelling)
    }
}

impl std::str::FromStr for InstanceUrl {
    type Err = InstanceUrlError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::parse(text)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn normal(text: &str) -> String {
        InstanceUrl::parse(text).unwrap().normalised().to_owned()
    }

    #[test]
    fn spellings_of_one_instance_are_equal() {
        for (text, expected) in [
            ("https://A.Example.org/", "https://a.example.org"),
            ("https://a.example.org:443/path?q=1#f", "https://a.example.org"),
            ("http://127.0.0.1:2742/", "http://localhost:2742"),
            ("http://[::1]:2742", "http://localhost:2742"),
            ("http://LOCALHOST:80", "http://localhost"),
            ("https://localhost:80", "https://localhost:80"),
            ("https://user:secret@a.example.org", "https://a.example.org"),
            ("http://[2001:DB8::1]:8080/x", "http://[2001:db8::1]:8080"),
            ("https://bücher.example", "https://xn--bcher-kva.example"),
        ] {
            assert_eq!(normal(text), expected, "{text}");
        }
    }

    #[test]
    fn scheme_and_port_tell_instances_apart() {
        assert_ne!(normal("http://a.example"), normal("https://a.example"));
        assert_ne!(normal("http://a.example:81"), normal("http://a.example"));
        assert_ne!(normal("http://127.0.0.2"), normal("http://localhost"));
    }

    #[test]
    fn the_spelling_is_kept_but_for_the_slash() {
        let url = InstanceUrl::parse("http://127.0.0.1:2742/").unwrap();
        assert_eq!(url.as_str(), "http://127.0.0.1:2742");
        assert_eq!(url.origin(), "http://127.0.0.1:2742");
    }

    #[test]
    fn placeholders_are_refused() {
        for text in
            ["__PUBLIC_API_URL__", "${API}", "https://{HOST}/", "https://", "/a", "ftp://a.example", "a.example"]
        {
            assert!(InstanceUrl::parse(text).is_err(), "{text}");
        }
        assert_eq!(
            InstanceUrl::parse(&format!("https://a.example/{}", "x".repeat(2048))).unwrap_err(),
            InstanceUrlError::TooLong
        );
    }

    #[test]
    fn a_trailing_slash_is_no_other_path() {
        let parse = |text| InstanceUrl::parse(text).unwrap();
        assert!(!parse("https://a.example/x").differs_only_by_path(&parse("https://a.example/x/")));
        assert!(parse("https://a.example/x").differs_only_by_path(&parse("https://a.example/y")));
        assert!(!parse("https://a.example/x").differs_only_by_path(&parse("https://b.example/y")));
    }

    proptest! {
        #[test]
        fn normalising_is_idempotent(
            https in any::<bool>(),
            host in prop_oneof!["[a-zA-Z][a-zA-Z0-9-]{0,20}[a-z]", "127\\.0\\.0\\.1", "\\[::1\\]", "[a-z]{1,9}\\.[a-z]{2,5}"],
            port in proptest::option::of(1u16..),
            path in "(/[a-zA-Z0-9_~%-]{0,8}){0,3}",
            query in proptest::option::of("[a-z=&]{0,8}"),
        ) {
            let scheme = if https { "https" } else { "http" };
            let authority = port.map_or(host.clone(), |port| format!("{host}:{port}"));
            let text = format!("{scheme}://{authority}{path}{}", query.map(|query| format!("?{query}")).unwrap_or_default());
            // Hosts that only look like names (`xn--…`, `9.ab`) may be refused; nothing may panic.
            if let Ok(url) = InstanceUrl::parse(&text) {
                let again = InstanceUrl::parse(url.normalised()).unwrap();
                prop_assert_eq!(again.normalised(), url.normalised());
                prop_assert_eq!(&again, &url);
                let from_origin = InstanceUrl::parse(url.origin()).unwrap();
                prop_assert_eq!(&from_origin, &url);
                let shouted = InstanceUrl::parse(&text.replace(&host, &host.to_uppercase())).unwrap();
                prop_assert_eq!(&shouted, &url);
            }
        }

        #[test]
        fn any_text_is_answered(text in ".*") {
            let _verdict = InstanceUrl::parse(&text);
        }
    }
}
