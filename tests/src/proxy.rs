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
        Fault::Pass | Fault::CutAnswer(_) => {}
    }
    let Ok(mut server) = TcpStream::connect(("127.0.0.1", upstream)).await else { return };
    if let Fault::CutAnswer(bytes) = fault {
        cut_answer(client, server, bytes).await;
    } else if copy_bidirectional(&mut client, &mut server).await.is_err() {
        // A reset by one side; dropping both passes it on.
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
