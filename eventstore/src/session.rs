//! The appender's own connection. It knows its backend, so that after a lost connection the old backend can be ended for
//! certain before anybody asks what became of its last statement.

use std::time::Duration;

use chrono::{DateTime, Utc};
use tokio_postgres::Statement;

use crate::batch::{self, APPEND};
use crate::database::{Client, Database, DatabaseError};
use crate::event::{Appended, Command, NewEvent};

/// Which server process ran our statements. A process id alone may be used again.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Backend {
    pid: i32,
    started_at: DateTime<Utc>,
}

/// A connection with the append prepared.
pub(crate) struct Session {
    client: Client,
    append: Statement,
    backend: Backend,
}

/// Why a session could not be opened or used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SessionError {
    #[error(transparent)]
    Database(#[from] DatabaseError),
    #[error("the append's session failed")]
    Sql(#[from] tokio_postgres::Error),
}

impl Session {
    pub(crate) async fn open(database: &Database) -> Result<Self, SessionError> {
        let client = database.client().await?;
        let backend = client
            .query_one("select pid, backend_start from pg_stat_activity where pid = pg_backend_pid()", &[])
            .await?;
        let append = client.prepare_cached(APPEND).await?;
        Ok(Self { client, append, backend: Backend { pid: backend.try_get(0)?, started_at: backend.try_get(1)? } })
    }

    /// Gives the connection up, without a way back into the pool: its last statement may still be under way.
    pub(crate) fn discard(self) -> Backend {
        drop(Client::take(self.client));
        self.backend
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.client.is_closed()
    }

    pub(crate) async fn append(
        &self,
        network: &str,
        commands: &[&Command],
    ) -> Result<Vec<Appended>, tokio_postgres::Error> {
        batch::call(&self.client, &self.append, network, commands).await
    }

    /// Ends `lost` and waits until it is gone: from then on nothing of it can commit any more.
    pub(crate) async fn end(&self, lost: Backend) -> Result<(), SessionError> {
        loop {
            let alive = self
                .client
                .query(
                    "select pg_terminate_backend(pid) from pg_stat_activity where pid = $1 and backend_start = $2",
                    &[&lost.pid, &lost.started_at],
                )
                .await?;
            if alive.is_empty() {
                return Ok(());
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Position and time of an event, if it is in the log as it was sent.
    pub(crate) async fn find(
        &self,
        network: &str,
        event: &NewEvent,
    ) -> Result<Option<(i64, DateTime<Utc>)>, SessionError> {
        let row = self
            .client
            .query_opt(
                "select position, recorded_at::timestamptz from event_log
                  where network = $1 and stream_id = $2 and version = $3 and event_id = $4",
                &[&network, &event.stream_id, &event.version, &event.event_id],
            )
            .await?;
        row.map(|row| Ok((row.try_get(0)?, row.try_get(1)?))).transpose()
    }
}
