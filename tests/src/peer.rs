//! A peer of another make: a small HTTP server that records what it is sent and answers what the test says.

use std::sync::{Arc, Mutex};

use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;

use crate::port;

/// A request as it arrived.
#[derive(Debug, Clone)]
pub struct Received {
    /// Method and path.
    pub line: String,
    /// Header lines, lower-cased names.
    pub headers: Vec<(String, String)>,
    /// The body; null when it is not JSON.
    pub body: Value,
}

impl Received {
    /// A header's text; the name in lower case.
    ///
    /// # Panics
    /// When it was not sent.
    #[track_caller]
    #[must_use]
    pub fn header(&self, name: &str) -> &str {
        let found = self.headers.iter().find(|(known, _)| known == name);
        found.map(|(_, value)| value.as_str()).unwrap_or_else(|| panic!("no {name}: {self:?}"))
    }
}

/// What to answer.
#[derive(Debug, Clone)]
pub struct Reply {
    /// HTTP status; 0 never answers.
    pub status: u16,
    /// Further header lines.
    pub headers: Vec<(&'static str, String)>,
    /// The body.
    pub body: String,
}

impl Reply {
    /// A JSON body.
    #[must_use]
    pub fn json(status: u16, body: &Value) -> Self {
        Self { status, headers: vec![("content-type", "application/json".to_owned())], body: body.to_string() }
    }

    /// A web page.
    #[must_use]
    pub fn html(status: u16, body: &str) -> Self {
        Self { status, headers: vec![("content-type", "text/html".to_owned())], body: body.to_owned() }
    }

    /// Nothing, for ever.
    #[must_use]
    pub fn never() -> Self {
        Self { status: 0, headers: vec![], body: String::new() }
    }
}

type Script = Arc<dyn Fn(&Received) -> Reply + Send + Sync>;

/// A running peer; it ends when it is dropped.
pub struct Peer {
    port: u16,
    received: Arc<Mutex<Vec<Received>>>,
    script: Arc<Mutex<Script>>,
    stop: CancellationToken,
}

impl Peer {
    /// Starts a peer.
    ///
    /// # Panics
    /// When its port can't be had.
    pub async fn start(script: impl Fn(&Received) -> Reply + Send + Sync + 'static) -> Self {
        let port = port::free();
        let listener = TcpListener::bind(("127.0.0.1", port)).await.expect("a free port");
        let script: Arc<Mutex<Script>> = Arc::new(Mutex::new(Arc::new(script)));
        let peer = Self { port, received: Arc::default(), script, stop: CancellationToken::new() };
        let (received, script, stop) = (peer.received.clone(), peer.script.clone(), peer.stop.clone());
        tokio::spawn(async move {
            loop {
                let stream = tokio::select! {
                    () = stop.cancelled() => return,
                    accepted = listener.accept() => accepted,
                };
                let Ok((stream, _)) = stream else { continue };
                let (received, script, stop) = (received.clone(), script.clone(), stop.clone());
                tokio::spawn(async move {
                    tokio::select! { () = stop.cancelled() => {}, () = serve(stream, &received, &script) => {} }
                });
            }
        });
        peer
    }

    /// Where it listens.
    #[must_use]
    pub fn url(&self) -> String {
        port::url(self.port)
    }

    /// Answers otherwise from now on.
    ///
    /// # Panics
    /// When a script has panicked.
    pub fn answer(&self, script: impl Fn(&Received) -> Reply + Send + Sync + 'static) {
        *self.script.lock().expect("no script panicked") = Arc::new(script);
    }

    /// Everything that arrived at a path, in order.
    ///
    /// # Panics
    /// When a script has panicked.
    #[must_use]
    pub fn received(&self, path: &str) -> Vec<Received> {
        let all = self.received.lock().expect("no script panicked");
        all.iter().filter(|request| request.line.contains(path)).cloned().collect()
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

async fn serve(mut stream: TcpStream, received: &Mutex<Vec<Received>>, script: &Mutex<Script>) {
    let mut buffer = Vec::new();
    while let Some(request) = read(&mut stream, &mut buffer).await {
        received.lock().expect("no script panicked").push(request.clone());
        let script = script.lock().expect("no script panicked").clone();
        let reply = script(&request);
        if reply.status == 0 {
            std::future::pending::<()>().await;
        }
        let mut text = format!("HTTP/1.1 {} Scripted\r\ncontent-length: {}\r\n", reply.status, reply.body.len());
        for (name, value) in &reply.headers {
            text.push_str(&format!("{name}: {value}\r\n"));
        }
        text.push_str("\r\n");
        text.push_str(&reply.body);
        if stream.write_all(text.as_bytes()).await.is_err() {
            return;
        }
    }
}

/// The next request of a connection; `None` when it has ended.
async fn read(stream: &mut TcpStream, buffer: &mut Vec<u8>) -> Option<Received> {
    loop {
        if let Some(end) = buffer.windows(4).position(|window| window == b"\r\n\r\n") {
            let head = String::from_utf8_lossy(&buffer[..end]).into_owned();
            let mut lines = head.lines();
            let line = lines.next()?.to_owned();
            let headers: Vec<(String, String)> = lines
                .filter_map(|line| line.split_once(':'))
                .map(|(name, value)| (name.to_lowercase(), value.trim().to_owned()))
                .collect();
            let length = headers.iter().find(|(name, _)| name == "content-length");
            let length = length.and_then(|(_, value)| value.parse().ok()).unwrap_or(0);
            if buffer.len() >= end + 4 + length {
                let body = serde_json::from_slice(&buffer[end + 4..end + 4 + length]).unwrap_or(Value::Null);
                buffer.drain(..end + 4 + length);
                return Some(Received { line, headers, body });
            }
        }
        let mut part = [0; 8192];
        match stream.read(&mut part).await {
            Ok(read @ 1..) => buffer.extend_from_slice(&part[..read]),
            _ => return None,
        }
    }
}
