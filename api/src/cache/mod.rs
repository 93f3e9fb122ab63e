//! Redis, if there is one. It is a page store and never required: nothing is lost or wrong without it.

use std::time::Duration;

use redis::aio::{ConnectionManager, ConnectionManagerConfig};

/// A Redis must answer within this, or it counts as away.
const PATIENCE: Duration = Duration::from_millis(250);

/// A lazily connected Redis. Cheap to clone.
#[derive(Clone)]
pub struct Redis {
    connection: ConnectionManager,
}

impl std::fmt::Debug for Redis {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // The address may hold a password.
        f.debug_struct("Redis").finish_non_exhaustive()
    }
}

impl Redis {
    /// Prepares a connection to `url`; it is made, and made again, in the background.
    ///
    /// # Errors
    /// When the URL can't be read.
    pub fn open(url: &str) -> redis::RedisResult<Self> {
        let config = ConnectionManagerConfig::new()
            .set_connection_timeout(Some(PATIENCE))
            .set_response_timeout(Some(PATIENCE))
            .set_number_of_retries(1);
        let client = redis::Client::open(url)?;
        Ok(Self { connection: ConnectionManager::new_lazy_with_config(client, config)? })
    }

    /// Whether it answers.
    pub async fn ping(&self) -> bool {
        let mut connection = self.connection.clone();
        redis::cmd("PING").query_async::<String>(&mut connection).await.is_ok()
    }
}
