//! Connections to Postgres: one small pool per kind of work, every session with time-outs of its own.
//!
//! A process that is stopped or cut off while it holds a lock must give it back: the server ends its transaction
//! (`idle_in_transaction_session_timeout`), its statement or its connection (TCP keepalives), and the next one goes on.

use std::pin::Pin;
use std::str::FromStr;
use std::time::Duration;

use deadpool_postgres::{Connect, Manager, ManagerConfig, Pool, PoolError, RecyclingMethod, Runtime};
use futures_util::{Stream, stream};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::runtime::Handle;
use tokio::task::JoinHandle;
use tokio_postgres::config::SslMode;
use tokio_postgres::{AsyncMessage, Connection, NoTls, Socket};
use tokio_postgres_rustls::MakeRustlsConnect;

use crate::chain::Chain;
use crate::read::ReadError;
use crate::tls;

/// What a connection outside the pool reads; it must be polled for the client to make progress.
pub(crate) type Messages = Pin<Box<dyn Stream<Item = Result<AsyncMessage, tokio_postgres::Error>> + Send>>;

/// A pooled connection.
pub type Client = deadpool_postgres::Object;

/// Why the database can't be used now.
#[derive(Debug, thiserror::Error)]
pub enum DatabaseError {
    /// The connection string could not be read.
    #[error("the Postgres connection string is not valid")]
    Url(#[source] tokio_postgres::Error),
    /// No connection within the pool's wait, or the server refused it.
    #[error("no database connection")]
    Connection(#[source] PoolError),
    /// TLS could not be set up.
    #[error("TLS to Postgres could not be set up")]
    Tls(#[source] rustls::Error),
    /// The process is shutting down.
    #[error("the database connections are closed")]
    Closed,
    /// The pool could not be made.
    #[error("the connection pool could not be made")]
    Pool(#[source] deadpool_postgres::BuildError),
}

/// How the sessions of one pool behave.
#[derive(Debug, Clone)]
pub struct SessionOptions {
    /// Shown in `pg_stat_activity`.
    pub application_name: String,
    /// Connections at most.
    pub max_connections: usize,
    /// How long a caller waits for a free or a new connection.
    pub wait: Duration,
    /// `statement_timeout`.
    pub statement_timeout: Duration,
    /// `lock_timeout`; zero means none.
    pub lock_timeout: Duration,
    /// False only where losing the last commits in a crash merely repeats work (folds, lane claims, acks, nonces).
    pub durable: bool,
}

impl SessionOptions {
    /// The time-outs of a request path: wait 2 s for a connection, 5 s for a statement.
    #[must_use]
    pub fn new(application_name: &str, max_connections: usize) -> Self {
        Self {
            application_name: application_name.to_owned(),
            max_connections,
            wait: Duration::from_secs(2),
            statement_timeout: Duration::from_secs(5),
            lock_timeout: Duration::ZERO,
            durable: true,
        }
    }
}

/// A pool of connections to one database. Cheap to clone.
#[derive(Clone)]
pub struct Database {
    pool: Pool,
    config: tokio_postgres::Config,
    tls: MakeRustlsConnect,
}

impl std::fmt::Debug for Database {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // The configuration holds a password.
        f.debug_struct("Database").field("status", &self.pool.status()).finish_non_exhaustive()
    }
}

impl Database {
    /// Makes a pool for a `postgres://` URL or a key-value connection string; connects lazily. `sslmode` is obeyed.
    ///
    /// Its connections live on the current runtime, whoever asks for them.
    ///
    /// # Errors
    /// [`DatabaseError::Url`] when the string can't be read.
    ///
    /// # Panics
    /// Outside a Tokio runtime.
    pub fn open(url: &str, options: &SessionOptions) -> Result<Self, DatabaseError> {
        let (url, verifies) = tls::split_mode(url);
        let mut config = tokio_postgres::Config::from_str(&url).map_err(DatabaseError::Url)?;
        let tls = tls::connector(verifies).map_err(DatabaseError::Tls)?;
        config
            .application_name(&options.application_name)
            .connect_timeout(options.wait)
            .keepalives(true)
            .keepalives_idle(Duration::from_secs(10))
            .keepalives_interval(Duration::from_secs(3))
            .keepalives_retries(3)
            // Keepalives say nothing while sent data waits for its acknowledgement; this does.
            .tcp_user_timeout(Duration::from_secs(20))
            .options(session_settings(options));
        let manager_config = ManagerConfig { recycling_method: RecyclingMethod::Fast };
        let connector = Connector { tls: tls.clone(), runtime: Handle::current() };
        let manager = Manager::from_connect(config.clone(), connector, manager_config);
        let pool = Pool::builder(manager)
            .max_size(options.max_connections)
            .wait_timeout(Some(options.wait))
            .create_timeout(Some(options.wait))
            .runtime(Runtime::Tokio1)
            .build()
            .map_err(DatabaseError::Pool)?;
        Ok(Self { pool, config, tls })
    }

    /// A connection from the pool.
    ///
    /// # Errors
    /// [`DatabaseError::Connection`] when none is to be had in time.
    pub async fn client(&self) -> Result<Client, DatabaseError> {
        self.pool.get().await.map_err(DatabaseError::Connection)
    }

    /// Runs a `delete` that takes at most 10,000 rows until it finds fewer, so that none of them meets the statement
    /// time-out; returns how many rows went.
    ///
    /// # Errors
    /// As the database says; what was deleted until then is gone.
    pub async fn delete_in_batches(&self, delete: &str) -> Result<u64, ReadError> {
        let client = self.client().await?;
        let mut total = 0;
        loop {
            let deleted = client.execute(delete, &[]).await?;
            total += deleted;
            if deleted < 10_000 {
                return Ok(total);
            }
        }
    }

    /// A connection outside the pool, with the messages that the server sends on its own (`LISTEN`).
    pub(crate) async fn connect_alone(&self) -> Result<(tokio_postgres::Client, Messages), tokio_postgres::Error> {
        match self.config.get_ssl_mode() {
            SslMode::Disable => {
                let (client, mut connection) = self.config.connect(NoTls).await?;
                Ok((client, Box::pin(stream::poll_fn(move |context| connection.poll_message(context)))))
            }
            _ => {
                let (client, mut connection) = self.config.connect(self.tls.clone()).await?;
                Ok((client, Box::pin(stream::poll_fn(move |context| connection.poll_message(context)))))
            }
        }
    }

    /// Closes the pool: waiting and later callers get an error.
    pub fn close(&self) {
        self.pool.close();
    }
}

/// Makes the pool's connections, all on one runtime: a connection that an HTTP worker asked for must not end with that
/// worker's runtime while another one uses it.
struct Connector {
    tls: MakeRustlsConnect,
    runtime: Handle,
}

type Connected = Result<(tokio_postgres::Client, JoinHandle<()>), tokio_postgres::Error>;

impl Connect for Connector {
    fn connect(&self, config: &tokio_postgres::Config) -> Pin<Box<dyn Future<Output = Connected> + Send + '_>> {
        let (config, tls) = (config.clone(), self.tls.clone());
        let connecting = self.runtime.spawn(async move {
            match config.get_ssl_mode() {
                SslMode::Disable => config.connect(NoTls).await.map(|(client, connection)| (client, drive(connection))),
                _ => config.connect(tls).await.map(|(client, connection)| (client, drive(connection))),
            }
        });
        Box::pin(async move {
            match connecting.await {
                Ok(connected) => connected,
                // The runtime is ending, and with it whoever waits; until then the pool's own time-out answers.
                Err(_) => std::future::pending().await,
            }
        })
    }
}

/// Polls a connection for as long as its client is used.
fn drive<T>(connection: Connection<Socket, T>) -> JoinHandle<()>
where
    T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    tokio::spawn(async move {
        if let Err(error) = connection.await {
            tracing::debug!(error = %Chain(&error), "a database connection was lost");
        }
    })
}

/// Whether a connection string can be read, so that boot can say so before anything is opened.
#[must_use]
pub fn is_url(url: &str) -> bool {
    tls::split_mode(url).0.parse::<tokio_postgres::Config>().is_ok()
}

fn session_settings(options: &SessionOptions) -> String {
    format!(
        "-c statement_timeout={} -c lock_timeout={} -c idle_in_transaction_session_timeout=5000 \
         -c synchronous_commit={} -c timezone=UTC -c jit=off",
        options.statement_timeout.as_millis(),
        options.lock_timeout.as_millis(),
        if options.durable { "on" } else { "off" },
    )
}
