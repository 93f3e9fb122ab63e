//! A Redis of the test's own, which it may kill, stop and fill with rubbish.

use std::process::{Child, Command, Stdio};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use redis::aio::MultiplexedConnection;
use tempfile::TempDir;

use crate::port;
use crate::wait::eventually;

/// A server without persistence. It is killed when it is dropped.
pub struct RedisServer {
    port: u16,
    directory: TempDir,
    child: Option<Child>,
}

impl RedisServer {
    /// A server that does not run yet.
    ///
    /// # Panics
    /// When there is no place for it.
    #[must_use]
    pub fn absent() -> Self {
        let directory = TempDir::with_prefix("dpg-redis-").expect("a temporary directory");
        Self { port: port::free(), directory, child: None }
    }

    /// A server that runs.
    pub async fn start() -> Self {
        let mut server = Self::absent();
        server.run().await;
        server
    }

    /// How a process reaches it.
    #[must_use]
    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// Starts it, empty, on its port.
    ///
    /// # Panics
    /// When `redis-server` is missing.
    pub async fn run(&mut self) {
        let mut command = Command::new("redis-server");
        command.args(["--port", &self.port.to_string(), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]);
        command.current_dir(self.directory.path()).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        self.child = Some(command.spawn().expect("redis-server can be started"));
        eventually("redis-server answers", Duration::from_secs(30), || async {
            let mut connection = self.try_connect().await?;
            redis::cmd("PING").query_async::<String>(&mut connection).await
        })
        .await;
    }

    /// Sends it a signal.
    ///
    /// # Panics
    /// When it does not run.
    pub fn signal(&self, signal: Signal) {
        let child = self.child.as_ref().expect("a started server");
        kill(Pid::from_raw(i32::try_from(child.id()).expect("a process number")), signal).expect("a process of ours");
    }

    /// Ends it with SIGKILL.
    ///
    /// # Panics
    /// When it does not run.
    pub fn kill(&mut self) {
        let mut child = self.child.take().expect("a started server");
        child.kill().and_then(|()| child.wait()).expect("a process of ours");
    }

    /// A connection of the test's own.
    ///
    /// # Panics
    /// When it does not answer.
    pub async fn client(&self) -> MultiplexedConnection {
        self.try_connect().await.expect("a connection to the test's Redis")
    }

    async fn try_connect(&self) -> redis::RedisResult<MultiplexedConnection> {
        redis::Client::open(self.url())?.get_multiplexed_async_connection().await
    }
}

impl Drop for RedisServer {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take()
            && child.kill().and_then(|()| child.wait()).is_err()
        {
            eprintln!("the test's Redis had ended already");
        }
    }
}
