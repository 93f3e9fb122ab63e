//! A TCP proxy in front of an instance that can break the line in the ways that networks do. The contract registers the
//! proxy's URL, so peers go through it without knowing.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::port;
use crate::wait::{check, eventually};

/// What the line does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// Passes everything.
    Pass,
    /// Refuses connections.
    Refuse,
    /// Accepts, and never says anything.
    Hang,
    /// Passes everything, late.
    Delay(Duration),
    /// Delivers the request and passes only this many bytes of the answer, then cuts the line. With 0 the answer is lost.
    CutAnswer(usize),
    /// Passes only this many bytes of a request, then cuts the line.
    CutRequest(usize),
    /// Delivers the request and closes the way back without an answer.
    HalfClose,
    /// Changes one byte of each request's body.
    CorruptRequest,
    /// Changes one byte of each answer's body.
    CorruptAnswer,
    /// Answers every request itself, with these bytes.
    Answer(&'static str),
    /// Delivers every request twice; the client gets the first answer.
    Repeat,
}

/// A running proxy; it ends when it is dropped.
pub struct Proxy {
    port: u16,
    fault: watch::Sender<Fault>,
    applied: watch::Receiver<Option<Fault>>,
    accepted: Arc<AtomicUsize>,
    stop: CancellationToken,
}

impl Proxy {
    /// Starts a proxy in front of a local port; its own port is chosen here.
    pub async fn start(upstream: u16) -> Self {
        let port = port::free();
        let (fault, faults) = watch::channel(Fault::Pass);
        let (applying, applied) = watch::channel(None);
        let (accepted, stop) = (Arc::new(AtomicUsize::new(0)), CancellationToken::new());
        let line = Line { port, upstream, accepted: accepted.clone(), stop: stop.clone() };
        tokio::spawn(line.run(faults, applying));
        let proxy = Self { port, fault, applied, accepted, stop };
        proxy.set(Fault::Pass).await;
        proxy
    }

    /// Where it listens.
    #[must_use]
    pub fn url(&self) -> String {
        port::url(self.port)
    }

    /// How many connections it has accepted so far.
    #[must_use]
    pub fn accepted(&self) -> usize {
        self.accepted.load(Ordering::SeqCst)
    }

    /// Changes what the line does and returns when it does; open connections are cut.
    pub async fn set(&self, fault: Fault) {
        self.fault.send_replace(fault);
        eventually("the proxy changes", Duration::from_secs(10), || async {
            let applied = *self.applied.borrow();
            check(applied == Some(fault), format!("{applied:?}"))
        })
        .await;
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

struct Line {
    port: u16,
    upstream: u16,
    accepted: Arc<AtomicUsize>,
    stop: CancellationToken,
}

impl Line {
    /// Listens on the port, which may still be in the hands of whoever called it while it was refused.
    async fn listen(&self) -> TcpListener {
        let what = format!("the proxy listens on {} again", self.port);
        eventually(&what, Duration::from_secs(5), || TcpListener::bind(("127.0.0.1", self.port))).await
    }

    async fn run(self, mut faults: watch::Receiver<Fault>, applying: watch::Sender<Option<Fault>>) {
        while !self.stop.is_cancelled() {
            let fault = *faults.borrow_and_update();
            let connections = self.stop.child_token();
            let listener = match fault {
                Fault::Refuse => None,
                _ => Some(self.listen().await),
            };
            applying.send_replace(Some(fault));
            loop {
                tokio::select! {
                    () = self.stop.cancelled() => break,
                    changed = faults.changed() => {
                        if changed.is_err() { self.stop.cancel(); }
                        break;
                    }
                    Some(stream) = accept(listener.as_ref()), if listener.is_some() => {
                        self.accepted.fetch_add(1, Ordering::SeqCst);
                        let (connections, upstream) = (connections.clone(), self.upstream);
                        tokio::spawn(async move {
                            tokio::select! { () = connections.cancelled() => {}, () = pass(stream, upstream, fault) => {} }
                        });
                    }
                }
            }
            connections.cancel();
        }
    }
}

async fn accept(listener: Option<&TcpListener>) -> Option<TcpStream> {
    listener?.accept().await.ok().map(|(stream, _)| stream)
}

/// One connection. Whatever ends it ends both sides; that the line broke is what the proxy is for, so no error is told.
async fn pass(mut client: TcpStream, upstream: u16, fault: Fault) {
    match fault {
        Fault::Hang | Fault::Refuse => return std::future::pending().await,
        Fault::Delay(time) => tokio::time::sleep(time).await,
        Fault::Answer(_)
        | Fault::CutRequest(_)
        | Fault::HalfClose
        | Fault::CorruptRequest
        | Fault::CorruptAnswer
        | Fault::Repeat => {
            // Ends when the line breaks or a side has gone, which is what it is for.
            let _ended: Option<()> = request_by_request(client, upstream, fault).await;
            return;
        }
        Fault::Pass | Fault::CutAnswer(_) => {}
    }
    let Ok(mut server) = TcpStream::connect(("127.0.0.1", upstream)).await else { return };
    if let Fault::CutAnswer(bytes) = fault {
        cut_answer(client, server, bytes).await;
    } else if copy_bidirectional(&mut client, &mut server).await.is_err() {
        // A reset by one side; dropping both passes it on.
    }
}

/// Faults that know where a request begins and ends. Ends with the connection.
async fn request_by_request(mut client: TcpStream, upstream: u16, fault: Fault) -> Option<()> {
    loop {
        let mut request = read_message(&mut client).await?;
        if let Fault::Answer(text) = fault {
            client.write_all(text.as_bytes()).await.ok()?;
            return client.shutdown().await.ok();
        }
        let mut server = TcpStream::connect(("127.0.0.1", upstream)).await.ok()?;
        if let Fault::CutRequest(bytes) = fault {
            return server.write_all(request.get(..bytes).unwrap_or(&request)).await.ok();
        }
        if fault == Fault::CorruptRequest {
            corrupt(&mut request);
        }
        server.write_all(&request).await.ok()?;
        let mut answer = read_message(&mut server).await?;
        match fault {
            Fault::HalfClose => {
                client.shutdown().await.ok()?;
                return read_message(&mut client).await.map(drop);
            }
            Fault::CorruptAnswer => corrupt(&mut answer),
            Fault::Repeat => {
                let mut again = TcpStream::connect(("127.0.0.1", upstream)).await.ok()?;
                again.write_all(&request).await.ok()?;
                read_message(&mut again).await?;
            }
            _ => {}
        }
        client.write_all(&answer).await.ok()?;
    }
}

/// A whole HTTP message whose length is declared. None when the connection ends before.
async fn read_message(stream: &mut TcpStream) -> Option<Vec<u8>> {
    let mut message = Vec::new();
    let mut whole = usize::MAX;
    while message.len() < whole {
        let mut part = vec![0; 16 * 1024];
        let read = stream.read(&mut part).await.ok().filter(|read| *read > 0)?;
        message.extend_from_slice(part.get(..read)?);
        if let (usize::MAX, Some(body)) = (whole, body_of(&message)) {
            let head = String::from_utf8_lossy(message.get(..body)?).to_ascii_lowercase();
            let length = head.lines().find_map(|line| line.strip_prefix("content-length:")?.trim().parse().ok());
            whole = body + length.unwrap_or(0);
        }
    }
    Some(message)
}

/// Where the body begins.
fn body_of(message: &[u8]) -> Option<usize> {
    message.windows(4).position(|window| window == b"\r\n\r\n").map(|at| at + 4)
}

fn corrupt(message: &mut [u8]) {
    let body = body_of(message).unwrap_or(0);
    let middle = body + (message.len() - body) / 2;
    if let Some(byte) = message.get_mut(middle) {
        *byte ^= 0b100;
    }
}

async fn cut_answer(mut client: TcpStream, server: TcpStream, mut left: usize) {
    let (mut requests, mut to_client) = client.split();
    let (mut answers, mut to_server) = server.into_split();
    let answer = async {
        let mut buffer = vec![0; 4096];
        loop {
            // The first byte says that the request has been handled.
            let Ok(read @ 1..) = answers.read(&mut buffer).await else { return };
            let part = &buffer[..read.min(left)];
            if to_client.write_all(part).await.is_err() || part.len() < read {
                return;
            }
            left -= part.len();
        }
    };
    tokio::select! {
        () = answer => {}
        copied = tokio::io::copy(&mut requests, &mut to_server) => if copied.is_err() {},
    }
}
