//! The load: closed loops of clients over kept-alive connections, as lean as can be, so that the server is what is
//! measured.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;

use crate::figures::{Figures, MEASURE};

/// An answer as far as a benchmark looks at it.
pub struct Answer {
    pub status: u16,
    /// Lower-cased `name: value` lines.
    pub headers: Vec<String>,
    pub body: Vec<u8>,
}

impl Answer {
    pub fn has(&self, header: &str) -> bool {
        self.headers.iter().any(|line| line == header)
    }
}

/// A request's bytes, given its number.
pub type Requests = Arc<dyn Fn(usize) -> Vec<u8> + Send + Sync>;
/// Panics when an answer is not what the figure is about.
pub type Check = fn(&Answer);

/// A connection to a local server.
pub struct Connection(BufReader<TcpStream>);

impl Connection {
    pub async fn open(port: u16) -> Self {
        let stream = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
        stream.set_nodelay(true).unwrap();
        Self(BufReader::new(stream))
    }

    pub async fn ask(&mut self, request: &[u8]) -> Answer {
        self.0.write_all(request).await.unwrap();
        let mut line = String::new();
        self.0.read_line(&mut line).await.unwrap();
        let status = line.split(' ').nth(1).and_then(|code| code.parse().ok()).unwrap_or_else(|| panic!("{line:?}"));
        let (mut headers, mut length) = (Vec::new(), 0);
        loop {
            line.clear();
            self.0.read_line(&mut line).await.unwrap();
            let header = line.trim_end().to_ascii_lowercase();
            if header.is_empty() {
                break;
            }
            if let Some(value) = header.strip_prefix("content-length: ") {
                length = value.parse().unwrap();
            }
            headers.push(header);
        }
        let mut body = vec![0; length];
        self.0.read_exact(&mut body).await.unwrap();
        Answer { status, headers, body }
    }
}

/// What `clients` see in a few seconds of asking one after the other.
pub async fn measure(port: u16, clients: usize, requests: &Requests, check: Check) -> Figures {
    let started = Instant::now();
    let run = |number: usize| client(port, (number, clients), requests.clone(), check, started);
    let tasks: Vec<_> = (0..clients).map(|number| tokio::spawn(run(number))).collect();
    let mut latencies = Vec::new();
    for task in tasks {
        latencies.extend(task.await.unwrap());
    }
    Figures::new(latencies, started)
}

async fn client(
    port: u16,
    (mut number, step): (usize, usize),
    requests: Requests,
    check: Check,
    started: Instant,
) -> Vec<Duration> {
    let (mut connection, mut latencies) = (Connection::open(port).await, Vec::new());
    while started.elapsed() < MEASURE {
        let request = requests(number);
        number += step;
        let sent = Instant::now();
        let answer = connection.ask(&request).await;
        latencies.push(sent.elapsed());
        check(&answer);
    }
    latencies
}

/// A GET.
pub fn get(path: &str, key: Option<&str>) -> Vec<u8> {
    let key = key.map(|key| format!("x-api-key: {key}\r\n")).unwrap_or_default();
    format!("GET {path} HTTP/1.1\r\nhost: 127.0.0.1\r\n{key}\r\n").into_bytes()
}

/// A POST of JSON.
pub fn post(path: &str, key: &str, body: &str) -> Vec<u8> {
    format!(
        "POST {path} HTTP/1.1\r\nhost: 127.0.0.1\r\nx-api-key: {key}\r\ncontent-type: application/json\r\n\
         content-length: {}\r\n\r\n{body}",
        body.len()
    )
    .into_bytes()
}
