//! Redis, if there is one. It is a page store and never required: nothing is lost or wrong without it.
//!
//! A request uses the connection that is there, or none: connections are made, and tried with a PING, in the background.
//! The first request that meets an error or a silence takes the connection away from all (the circuit breaker), so a
//! hung Redis costs those who were just asking one short wait, and nobody else anything.

use std::sync::Arc;
use std::time::Duration;

use dpg_eventstore::Chain;
use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Client, Cmd, ErrorKind, FromRedisValue, RedisError, RedisResult};
use tokio::sync::watch;
use tokio::task::AbortHandle;

use super::metrics::CacheMetrics;

/// Redis must answer within this, or it is left alone.
const PATIENCE: Duration = Duration::from_millis(200);
/// How long it is left alone before it is tried again.
const PAUSE: Duration = Duration::from_secs(1);

/// A Redis that may come and go. Cheap to clone.
#[derive(Clone)]
pub struct Redis {
    link: Arc<watch::Sender<Option<Link>>>,
    metrics: CacheMetrics,
    _keeper: Arc<Keeper>,
}

/// A connection that has answered, and which one it is.
#[derive(Clone)]
struct Link {
    number: u64,
    connection: MultiplexedConnection,
}

/// Ends the task that makes connections.
struct Keeper(AbortHandle);

impl Drop for Keeper {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl std::fmt::Debug for Redis {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // The address may hold a password.
        f.debug_struct("Redis").finish_non_exhaustive()
    }
}

impl Redis {
    /// Begins to connect to `url`, in the background, on the current runtime.
    ///
    /// # Errors
    /// When the URL can't be read.
    ///
    /// # Panics
    /// Outside a Tokio runtime.
    pub fn open(url: &str, metrics: CacheMetrics) -> RedisResult<Self> {
        let client = Client::open(url)?;
        let link = Arc::new(watch::Sender::new(None));
        let keeper = tokio::spawn(keep_connected(client, Arc::clone(&link), metrics.clone()));
        Ok(Self { link, metrics, _keeper: Arc::new(Keeper(keeper.abort_handle())) })
    }

    /// Whether it answers.
    pub async fn ping(&self) -> bool {
        self.ask::<String>(&redis::cmd("PING")).await.is_some()
    }

    /// The value of a key, at most `longest` bytes of it: nobody but us should write there, and yet somebody might.
    pub(super) async fn get(&self, key: &str, longest: usize) -> Option<Vec<u8>> {
        let value: Vec<u8> = self.ask(redis::cmd("GETRANGE").arg(key).arg(0).arg(longest)).await?;
        (!value.is_empty()).then_some(value)
    }

    /// Sets a key that vanishes after `lives`. That it did not work is no matter.
    pub(super) async fn put(&self, key: &str, value: &[u8], lives: Duration) {
        let milliseconds = u64::try_from(lives.as_millis()).unwrap_or(u64::MAX).max(1);
        self.ask::<()>(redis::cmd("SET").arg(key).arg(value).arg("PX").arg(milliseconds)).await;
    }

    /// Sends a command, if Redis is in use. `None` without an answer of this type.
    async fn ask<T: FromRedisValue>(&self, command: &Cmd) -> Option<T> {
        let Link { number, mut connection } = self.link.borrow().clone()?;
        match tokio::time::timeout(PATIENCE, command.query_async(&mut connection)).await {
            Ok(Ok(answer)) => Some(answer),
            Ok(Err(error)) if has_answered(&error) => {
                tracing::debug!(error = %Chain(&error), "Redis refuses");
                None
            }
            Ok(Err(error)) => {
                self.leave_alone(number, &error.to_string());
                None
            }
            Err(_elapsed) => {
                self.leave_alone(number, "no answer in time");
                None
            }
        }
    }

    fn leave_alone(&self, number: u64, error: &str) {
        let was_in_use = self.link.send_if_modified(|link| {
            let same = link.as_ref().is_some_and(|link| link.number == number);
            if same {
                *link = None;
            }
            same
        });
        if was_in_use {
            self.metrics.redis_in_use.set(0);
            self.metrics.redis_failures.inc();
            tracing::warn!(error, "Redis has failed; pages are kept in this process until it answers again");
        }
    }
}

/// Whether the error is itself an answer (a key of another type, a full memory): the connection is all right.
fn has_answered(error: &RedisError) -> bool {
    matches!(error.kind(), ErrorKind::Server(_) | ErrorKind::Extension | ErrorKind::UnexpectedReturnType)
}

/// Makes a connection whenever there is none.
async fn keep_connected(client: Client, link: Arc<watch::Sender<Option<Link>>>, metrics: CacheMetrics) {
    let mut losses = link.subscribe();
    // Of a loss, those who asked have told.
    let mut told = false;
    for number in 0.. {
        let connection = loop {
            match connect(&client).await {
                Ok(connection) => break connection,
                Err(error) if std::mem::replace(&mut told, true) => {
                    tracing::debug!(error = %Chain(&error), "Redis still can't be reached");
                }
                Err(error) => {
                    let error = Chain(&error);
                    tracing::warn!(%error, "Redis can't be reached; pages are kept in this process until it can");
                }
            }
            tokio::time::sleep(PAUSE).await;
        };
        tracing::info!("Redis is in use as page store");
        told = true;
        metrics.redis_in_use.set(1);
        link.send_replace(Some(Link { number, connection }));
        if losses.wait_for(Option::is_none).await.is_err() {
            return;
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// A connection that has answered a PING.
async fn connect(client: &Client) -> RedisResult<MultiplexedConnection> {
    let config =
        AsyncConnectionConfig::new().set_connection_timeout(Some(PATIENCE)).set_response_timeout(Some(PATIENCE));
    let mut connection = client.get_multiplexed_async_connection_with_config(&config).await?;
    redis::cmd("PING").query_async::<String>(&mut connection).await?;
    Ok(connection)
}
