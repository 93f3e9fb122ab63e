//! A small HTTP server whose documents, faults and absence a test decides, and a source that reads from it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use serde_json::Value;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::super::*;
use crate::contract::tests::{options, yellow_dot};

#[derive(Clone)]
pub(super) enum Reply {
    Text(u16, String),
    Never,
}

/// Answers by path and notes what it was asked for.
#[derive(Clone)]
pub(super) struct Server {
    url: String,
    replies: Arc<Mutex<BTreeMap<String, Reply>>>,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Server {
    pub(super) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let server = Self { url, replies: Arc::default(), asked: Arc::default() };
        let serving = server.clone();
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let serving = serving.clone();
                tokio::spawn(async move {
                    let mut head = vec![0; 4096];
                    let length = stream.read(&mut head).await.unwrap();
                    let head = String::from_utf8_lossy(&head[..length]).into_owned();
                    let path = head.split(' ').nth(1).unwrap_or_default().to_owned();
                    serving.asked.lock().unwrap().push(path.clone());
                    let reply = serving.replies.lock().unwrap().get(&path).cloned();
                    let (status, body) = match reply.unwrap_or(Reply::Text(404, String::new())) {
                        Reply::Text(status, body) => (status, body),
                        Reply::Never => std::future::pending().await,
                    };
                    let head = format!(
                        "HTTP/1.1 {status} X\r\nlocation: /other.json\r\nconnection: close\r\ncontent-length: {}\r\n\r\n",
                        body.len()
                    );
                    // A client that has read enough hangs up.
                    if stream.write_all(head.as_bytes()).await.is_ok() {
                        drop(stream.write_all(body.as_bytes()).await);
                    }
                });
            }
        });
        server
    }

    pub(super) fn put(&self, path: &str, document: &Value) {
        self.reply(path, Reply::Text(200, document.to_string()));
    }

    pub(super) fn reply(&self, path: &str, reply: Reply) {
        self.replies.lock().unwrap().insert(path.to_owned(), reply);
    }

    pub(super) fn off(&self) {
        self.replies.lock().unwrap().clear();
    }

    pub(super) fn asked(&self) -> Vec<String> {
        std::mem::take(&mut self.asked.lock().unwrap())
    }

    pub(super) fn at(&self, path: &str) -> String {
        format!("{}{path}", self.url)
    }
}

pub(super) struct Bed {
    pub(super) server: Server,
    pub(super) directory: TempDir,
    pub(super) options: SourceOptions,
}

impl Bed {
    /// The contract's example at `/network.json`.
    pub(super) async fn new() -> Self {
        let (server, directory) = (Server::start().await, TempDir::new().unwrap());
        server.put("/network.json", &yellow_dot());
        let url = Url::parse(&server.at("/network.json")).unwrap();
        let options = SourceOptions {
            load: options("yellow_dot/student"),
            urls: Some(vec![("yellow_dot".to_owned(), url)]),
            file: directory.path().join("network.json"),
            cache_root: directory.path().join("cache"),
            instance_name: "a".to_owned(),
            timeout: Duration::from_secs(10),
            guard: Guard::open(),
        };
        Self { server, directory, options }
    }

    pub(super) fn source(&self) -> Source {
        Source::new(self.options.clone()).unwrap()
    }

    pub(super) async fn boot(&self) -> Result<Loaded, LoadError> {
        self.source().load(None, At::Boot).await
    }

    pub(super) async fn problems(&self) -> Vec<String> {
        let problems = self.boot().await.unwrap_err().into_problems();
        problems.iter().map(ToString::to_string).collect()
    }

    /// Loads and keeps the copies.
    pub(super) async fn boot_and_store(&self) -> Contracts {
        let loaded = self.boot().await.unwrap();
        self.source().store(&loaded.contracts).await.unwrap();
        loaded.contracts
    }

    pub(super) fn cached(&self) -> std::path::PathBuf {
        let mut entries = std::fs::read_dir(&self.options.cache_root).unwrap();
        let entry = entries.next().unwrap().unwrap().path();
        assert!(entries.next().is_none());
        entry
    }
}

pub(super) fn with(document: Value, edit: impl FnOnce(&mut Value)) -> Value {
    let mut document = document;
    edit(&mut document);
    document
}
