//! The one way out to other instances: no redirects, bounded time and size, guarded addresses, signed when we have a key.
//! Everything that calls a peer goes through it, the mirror and the API alike.

use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use chrono::Utc;
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use reqwest::{Method, redirect};
use url::Url;

use crate::guard::{Guard, RefusedAddress};
use crate::signature::{self, PeerKey};

/// An answer over this is a failure.
pub const MAX_ANSWER_BYTES: usize = 16 * 1024 * 1024;

/// What outgoing calls sign with.
#[derive(Debug, Clone)]
pub struct Signer {
    /// Our private key.
    pub key: Arc<PeerKey>,
    /// Our registered instance URL.
    pub keyid: String,
}

/// How a [`PeerClient`] behaves.
#[derive(Debug, Clone)]
pub struct PeerOptions {
    /// Bounds a whole call, from the name look-up to the last byte of the answer.
    pub timeout: Duration,
    /// Which addresses may be reached.
    pub guard: Guard,
    /// None: calls go out unsigned.
    pub signer: Option<Signer>,
}

/// What a peer answered.
#[derive(Debug, Clone)]
pub struct PeerAnswer {
    /// The HTTP status.
    pub status: u16,
    /// The headers.
    pub headers: HeaderMap,
    /// The whole body.
    pub body: Bytes,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum PeerError {
    /// The time for the whole call was over.
    #[error("the peer did not answer in time")]
    Timeout,
    /// No connection: refused, not resolvable, TLS failure. Nothing was sent.
    #[error("the peer could not be reached")]
    Unreachable(#[source] reqwest::Error),
    /// The URL leads to an address that outgoing calls may not reach. Nothing was sent.
    #[error("the peer's address is refused")]
    RefusedAddress(#[source] RefusedAddress),
    /// The connection broke after the request may have left.
    #[error("the connection to the peer was lost")]
    Lost(#[source] reqwest::Error),
    /// The answer is longer than [`MAX_ANSWER_BYTES`], or than the client's own limit.
    #[error("the peer's answer with status {status} is too large")]
    TooLarge {
        /// The status of that answer.
        status: u16,
    },
    /// The request could not be made: a header that can't be sent. Nothing was sent.
    #[error("the request to the peer could not be made")]
    Request(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The request could not be signed. Nothing was sent.
    #[error("the request to the peer could not be signed")]
    Sign(#[source] signature::KeyError),
}

impl PeerError {
    /// True when the request certainly never left, so that sending it again can't do anything twice.
    #[must_use]
    pub fn known_unsent(&self) -> bool {
        match self {
            Self::Unreachable(_) | Self::RefusedAddress(_) | Self::Request(_) | Self::Sign(_) => true,
            Self::Timeout | Self::Lost(_) | Self::TooLarge { .. } => false,
        }
    }
}

/// The client can't be made.
#[derive(Debug, thiserror::Error)]
#[error("the client for peers could not be made (are CA certificates installed?)")]
pub struct PeerClientError(#[source] reqwest::Error);

/// Calls peers. Cheap to clone; clones share connections.
#[derive(Debug, Clone)]
pub struct PeerClient {
    http: reqwest::Client,
    options: Arc<PeerOptions>,
    max_answer_bytes: usize,
}

impl PeerClient {
    /// Makes a client. Certificates are checked against the system's roots (`SSL_CERT_FILE` is obeyed).
    ///
    /// # Errors
    /// [`PeerClientError`] when the system has no roots.
    pub fn new(options: PeerOptions) -> Result<Self, PeerClientError> {
        install_tls_provider();
        let http = reqwest::Client::builder()
            .user_agent(concat!("dpg/", env!("CARGO_PKG_VERSION")))
            .redirect(redirect::Policy::none())
            // A proxy from the environment would resolve names for us, past the guard.
            .no_proxy()
            .dns_resolver(options.guard.clone())
            .connect_timeout(options.timeout)
            .timeout(options.timeout)
            .pool_max_idle_per_host(16)
            .pool_idle_timeout(Duration::from_secs(20))
            .tcp_nodelay(true)
            .build()
            .map_err(PeerClientError)?;
        Ok(Self { http, options: Arc::new(options), max_answer_bytes: MAX_ANSWER_BYTES })
    }

    /// The same client with a limit of its own, in bytes, on the body of an answer.
    #[must_use]
    pub fn with_max_answer(self, max_answer_bytes: usize) -> Self {
        Self { max_answer_bytes, ..self }
    }

    /// What our signatures call us; none without a key.
    #[must_use]
    pub fn keyid(&self) -> Option<&str> {
        self.options.signer.as_ref().map(|signer| signer.keyid.as_str())
    }

    /// POSTs a JSON body to `path` (with its query, if any) at the origin of a registered instance URL.
    ///
    /// # Errors
    /// [`PeerError`]; its [`known_unsent`](PeerError::known_unsent) tells whether sending again is safe.
    pub async fn post(
        &self,
        registered_url: &Url,
        path: &str,
        body: Bytes,
        headers: &[(&str, &str)],
    ) -> Result<PeerAnswer, PeerError> {
        self.call(Method::POST, registered_url, path, body, headers).await
    }

    /// GETs `path` (with its query, if any) at the origin of a registered instance URL.
    ///
    /// # Errors
    /// [`PeerError`].
    pub async fn get(
        &self,
        registered_url: &Url,
        path: &str,
        headers: &[(&str, &str)],
    ) -> Result<PeerAnswer, PeerError> {
        self.call(Method::GET, registered_url, path, Bytes::new(), headers).await
    }

    async fn call(
        &self,
        method: Method,
        registered_url: &Url,
        path: &str,
        body: Bytes,
        headers: &[(&str, &str)],
    ) -> Result<PeerAnswer, PeerError> {
        let url = at_origin(registered_url, path);
        self.options.guard.check_literal(&url).map_err(PeerError::RefusedAddress)?;
        let headers = self.headers(&method, &url, &body, headers)?;
        let mut request = self.http.request(method, url).headers(headers);
        if !body.is_empty() {
            request = request.body(body);
        }
        tokio::time::timeout(self.options.timeout, exchange(request, self.max_answer_bytes))
            .await
            .map_err(|_| PeerError::Timeout)?
    }

    fn headers(
        &self,
        method: &Method,
        url: &Url,
        body: &Bytes,
        given: &[(&str, &str)],
    ) -> Result<HeaderMap, PeerError> {
        let mut headers = HeaderMap::new();
        if !body.is_empty() {
            headers.insert(reqwest::header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        }
        for (name, value) in given {
            insert(&mut headers, name, value)?;
        }
        if let Some(signer) = &self.options.signer {
            let authority = authority(url);
            let head = signature::RequestHead {
                method: method.as_str(),
                authority: &authority,
                path: url.path(),
                query: url.query(),
                headers: given,
            };
            let signed =
                signature::sign(&signer.key, &signer.keyid, &head, body, Utc::now()).map_err(PeerError::Sign)?;
            for (name, value) in signed.headers() {
                insert(&mut headers, name, value)?;
            }
        }
        Ok(headers)
    }
}

/// The host as the `host` header will show it: no default port.
#[must_use]
pub fn authority(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))
}

/// `path` at scheme, host and port of a registered URL; its own path, query and credentials are dropped.
fn at_origin(registered_url: &Url, path: &str) -> Url {
    let mut url = registered_url.clone();
    let (path, query) = path.split_once('?').map_or((path, None), |(path, query)| (path, Some(query)));
    url.set_path(path);
    url.set_query(query);
    url.set_fragment(None);
    if url.set_username("").and_then(|()| url.set_password(None)).is_err() {
        // Only URLs without a host can't have credentials; there are none to drop.
        tracing::debug!("a registered URL has no host");
    }
    url
}

fn insert(headers: &mut HeaderMap, name: &str, value: &str) -> Result<(), PeerError> {
    let name = HeaderName::try_from(name).map_err(|error| PeerError::Request(error.into()))?;
    let value = HeaderValue::try_from(value).map_err(|error| PeerError::Request(error.into()))?;
    headers.insert(name, value);
    Ok(())
}

async fn exchange(request: reqwest::RequestBuilder, max_answer_bytes: usize) -> Result<PeerAnswer, PeerError> {
    let mut response = request.send().await.map_err(no_answer)?;
    let status = response.status().as_u16();
    let headers = std::mem::take(response.headers_mut());
    let mut body = BytesMut::new();
    while let Some(chunk) = response.chunk().await.map_err(no_answer)? {
        if body.len() + chunk.len() > max_answer_bytes {
            return Err(PeerError::TooLarge { status });
        }
        body.extend_from_slice(&chunk);
    }
    Ok(PeerAnswer { status, headers, body: body.freeze() })
}

fn no_answer(error: reqwest::Error) -> PeerError {
    if error.is_connect() {
        // Also when connecting took too long: nothing was sent then either.
        PeerError::Unreachable(error)
    } else if error.is_builder() {
        PeerError::Request(error.into())
    } else if error.is_timeout() {
        PeerError::Timeout
    } else {
        PeerError::Lost(error)
    }
}

/// TLS by ring, for every HTTP client of the process: to be called before one is made. Once is enough; more do no harm.
pub fn install_tls_provider() {
    if rustls::crypto::CryptoProvider::get_default().is_none()
        && rustls::crypto::ring::default_provider().install_default().is_err()
    {
        tracing::debug!("another thread has installed the TLS provider");
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    #[test]
    fn only_the_origin_of_a_registered_url_is_used() {
        let registered = Url::parse("https://user:secret@A.example.org:8443/some/path?x=1#f").unwrap();
        let url = at_origin(&registered, "/api/v1/event/store");
        assert_eq!(url.as_str(), "https://a.example.org:8443/api/v1/event/store");
        assert_eq!(authority(&url), "a.example.org:8443");
        let url = at_origin(&Url::parse("https://a.example.org:443").unwrap(), "/x?y=%20z");
        assert_eq!((url.as_str(), authority(&url).as_str()), ("https://a.example.org/x?y=%20z", "a.example.org"));
    }

    #[tokio::test]
    async fn a_refused_connection_and_a_refused_address_are_known_unsent() {
        let closed = {
            let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
            Url::parse(&format!("http://{}", listener.local_addr().unwrap())).unwrap()
        };
        for guard in [Guard::open(), Guard::public_only([]).unwrap()] {
            let options = PeerOptions { timeout: Duration::from_secs(5), guard, signer: None };
            let client = PeerClient::new(options).unwrap();
            let error = client.post(&closed, "/x", Bytes::from_static(b"{}"), &[]).await.unwrap_err();
            assert!(error.known_unsent(), "{error:?}");
            let by_name = Url::parse(&format!("http://localhost:{}", closed.port().unwrap())).unwrap();
            let error = client.post(&by_name, "/x", Bytes::from_static(b"{}"), &[]).await.unwrap_err();
            assert!(matches!(error, PeerError::Unreachable(_)), "{error:?}");
        }
    }

    /// A server that answers each connection with `head`, and then with `piece` again and again until the caller has gone.
    async fn endless(head: &'static str, piece: &'static str) -> Url {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = Url::parse(&format!("http://{}", listener.local_addr().unwrap())).unwrap();
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let _request = stream.read(&mut [0; 4096]).await;
                let mut more = stream.write_all(head.as_bytes()).await;
                while more.is_ok() {
                    tokio::time::sleep(Duration::from_millis(5)).await;
                    more = stream.write_all(piece.as_bytes()).await;
                }
            }
        });
        url
    }

    fn client(timeout: Duration) -> PeerClient {
        PeerClient::new(PeerOptions { timeout, guard: Guard::open(), signer: None }).unwrap()
    }

    #[tokio::test]
    async fn an_answer_that_is_too_long_is_given_up_before_its_end() {
        assert_eq!(client(Duration::from_secs(60)).max_answer_bytes, 16 * 1024 * 1024);
        let client = client(Duration::from_secs(60)).with_max_answer(100);
        for (head, piece) in [
            ("HTTP/1.1 200 OK\r\n\r\n", "x"),
            ("HTTP/1.1 200 OK\r\ncontent-length: 1000000\r\n\r\n", "x"),
            ("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n", "a\r\n0123456789\r\n"),
        ] {
            let error = client.get(&endless(head, piece).await, "/", &[]).await.unwrap_err();
            assert!(matches!(error, PeerError::TooLarge { status: 200 }), "{head:?}: {error:?}");
            assert!(!error.known_unsent());
        }
    }

    /// Each byte comes in time, and the whole never does: in the head, in the body, and in a line that goes on.
    #[tokio::test]
    async fn an_answer_that_trickles_is_given_up_in_time() {
        let client = client(Duration::from_millis(300));
        for (head, piece) in [
            ("HTTP/1.1 200 OK\r\n", "x: y\r\n"),
            ("HTTP/1.1 200 OK\r\nx: ", "y"),
            ("HTTP/1.1 200 OK\r\ncontent-length: 1000000\r\n\r\n", "x"),
            ("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n", "1\r\nx\r\n"),
        ] {
            let error = client.get(&endless(head, piece).await, "/", &[]).await.unwrap_err();
            assert!(matches!(error, PeerError::Timeout), "{head:?}: {error:?}");
        }
    }

    /// What a body is packed in stays: a small answer can't become a large one here.
    #[tokio::test]
    async fn an_answer_is_not_unpacked() {
        let head = "HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: 4\r\n\r\n\x1f\x08\x08\x08";
        let answer = client(Duration::from_secs(60)).get(&endless(head, "").await, "/", &[]).await.unwrap();
        assert_eq!(answer.body.as_ref(), b"\x1f\x08\x08\x08");
    }
}
