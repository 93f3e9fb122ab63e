//! How an instance's URL is written where instances are compared: lanes, trust, event identities (CONTRACT 5.3).

use url::{Host, Url};

/// `scheme://host[:port]`: the host in lower case, the loopback's three names as one, without default port, path, query
/// and fragment. None unless it is an `http` or `https` URL with a host.
#[must_use]
pub fn normalise(url: &str) -> Option<String> {
    Url::parse(url).ok().and_then(|url| of(&url))
}

/// [`normalise`] for a URL that is parsed already.
#[must_use]
pub fn of(url: &Url) -> Option<String> {
    if !matches!(url.scheme(), "http" | "https") {
        return None;
    }
    let host = match url.host()? {
        Host::Ipv4(address) if address == std::net::Ipv4Addr::LOCALHOST => "localhost".to_owned(),
        Host::Ipv6(address) if address == std::net::Ipv6Addr::LOCALHOST => "localhost".to_owned(),
        // Lower-cased by the parser.
        host => host.to_string(),
    };
    Some(match url.port() {
        Some(port) => format!("{}://{host}:{port}", url.scheme()),
        None => format!("{}://{host}", url.scheme()),
    })
}

#[cfg(test)]
mod tests {
    use super::normalise;

    #[test]
    fn spellings_of_one_instance_are_equal() {
        for (spelling, written) in [
            ("https://A.Example.org/", "https://a.example.org"),
            ("https://a.example.org:443/api?x=1#y", "https://a.example.org"),
            ("http://a.example.org:443", "http://a.example.org:443"),
            ("http://127.0.0.1:2742/x", "http://localhost:2742"),
            ("http://[::1]:2742", "http://localhost:2742"),
            ("http://LOCALHOST:80", "http://localhost"),
        ] {
            assert_eq!(normalise(spelling).as_deref(), Some(written));
        }
        for no_instance in ["ftp://a.example.org", "a.example.org", "data:text/plain,x", ""] {
            assert_eq!(normalise(no_instance), None);
        }
    }
}
