//! The database of a process: found or started, waited for, and brought up to date before anything else happens.

use std::path::Path;
use std::time::Duration;

use dpg_eventstore::migrate::{MigrateError, migrate};
use dpg_eventstore::{Chain, Database, SessionOptions};
use dpg_projector::Tables;

use crate::config::{Config, DatabaseSource, Secret};
use crate::embedded::{Embedded, EmbeddedError};
use crate::startup::StartError;

/// How long a database that is not there yet is waited for.
const PATIENCE: Duration = Duration::from_secs(30);
/// Where the private Postgres of a development server lives.
const EMBEDDED_ROOT: &str = ".dpg";

/// A database that is there and migrated, with the private server that runs it, if there is one.
pub struct Store {
    url: Secret<String>,
    embedded: Option<Embedded>,
}

impl Store {
    /// Starts or finds the database and brings its schema up to date. One that is not there yet is waited for.
    ///
    /// # Errors
    /// [`StartError`].
    pub async fn open(config: &Config) -> Result<Self, StartError> {
        let (url, embedded) = match &config.database {
            DatabaseSource::Url(url) => (url.clone(), None),
            DatabaseSource::Embedded => {
                let embedded = Embedded::start_from(Path::new(EMBEDDED_ROOT), config.pg_bin.as_deref()).await?;
                embedded.ensure_database("dpg").await?;
                (Secret::new(embedded.url("dpg")), Some(embedded))
            }
        };
        let store = Self { url, embedded };
        store.migrate().await?;
        Ok(store)
    }

    async fn migrate(&self) -> Result<(), StartError> {
        let database = self.pool(&SessionOptions::new("dpg migrate", 2))?;
        let deadline = tokio::time::Instant::now() + PATIENCE;
        loop {
            match migrate(&database).await {
                Err(MigrateError::Database(error)) if tokio::time::Instant::now() < deadline => {
                    tracing::warn!(error = %Chain(&error), "waiting for the database");
                    tokio::time::sleep(Duration::from_secs(1)).await;
                }
                result => {
                    result?;
                    break;
                }
            }
        }
        Tables::new(database).ensure().await?;
        Ok(())
    }

    /// A pool of connections.
    ///
    /// # Errors
    /// When the connection string can't be read.
    pub fn pool(&self, options: &SessionOptions) -> Result<Database, StartError> {
        Ok(Database::open(self.url.expose(), options)?)
    }

    /// Waits until the private server has died, which nothing but a fault explains. Without one it waits for ever.
    pub fn died(&self) -> impl Future<Output = EmbeddedError> + Send + use<> {
        let died = self.embedded.as_ref().map(Embedded::died);
        async move {
            match died {
                Some(died) => died.await,
                None => std::future::pending().await,
            }
        }
    }

    /// Leaves the private server, if there is one. Its last user stops it.
    pub async fn close(self) {
        if let Some(embedded) = self.embedded
            && let Err(error) = embedded.stop().await
        {
            tracing::warn!(error = %Chain(&error), "the private Postgres did not stop as it should");
        }
    }
}
