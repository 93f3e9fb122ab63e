//! Requests that no HTTP client would make: a declared length without a body.

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// Sends the head of a request that declares a body of `length` bytes, and gives back what comes: status line, headers
/// and as much of the body as arrives before the server closes or says nothing more.
pub async fn declare(base: &str, method: &str, path: &str, length: usize) -> String {
    let authority = base.split_once("://").map_or(base, |(_, authority)| authority);
    let mut stream = TcpStream::connect(authority).await.expect("the instance listens");
    let head = format!(
        "{method} {path} HTTP/1.1\r\nhost: {authority}\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).await.expect("the head is sent");
    let mut answer = Vec::new();
    let mut part = [0; 4096];
    while !whole(&answer) {
        match stream.read(&mut part).await {
            Ok(read @ 1..) => answer.extend_from_slice(&part[..read]),
            _ => break,
        }
    }
    String::from_utf8_lossy(&answer).into_owned()
}

/// Whether the declared body has arrived.
fn whole(answer: &[u8]) -> bool {
    let text = String::from_utf8_lossy(answer).to_lowercase();
    let Some((head, body)) = text.split_once("\r\n\r\n") else { return false };
    let length = head.lines().find_map(|line| line.strip_prefix("content-length:")).and_then(|n| n.trim().parse().ok());
    length.is_some_and(|length: usize| body.len() >= length)
}
