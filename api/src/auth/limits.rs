//! The rate limits of CONTRACT 1.11 that concern signing in. They are counted in Postgres, so they hold across processes.

use dpg_eventstore::Client;

use super::error::StoreError;
use super::queries;

/// A quarter of an hour, in seconds.
const WINDOW: f64 = 900.0;

/// What is limited.
#[derive(Debug, Clone, Copy)]
pub(super) enum Limit {
    /// One-time codes asked for, per identifier.
    CodesPerIdentifier,
    /// Calls of the sign-in routes, per client address.
    SignInsPerAddress,
}

impl Limit {
    fn scope(self) -> &'static str {
        match self {
            Self::CodesPerIdentifier => "codes",
            Self::SignInsPerAddress => "address",
        }
    }

    fn most(self) -> i64 {
        match self {
            Self::CodesPerIdentifier => 5,
            Self::SignInsPerAddress => 100,
        }
    }
}

/// Counts a call. `Some`: it is beyond the limit, which has room again after so many seconds.
pub(super) async fn count(client: &Client, limit: Limit, subject: &str) -> Result<Option<u64>, StoreError> {
    let counted = client.query_opt(queries::COUNT_CALL, &[&limit.scope(), &subject, &WINDOW, &limit.most()]).await?;
    if counted.is_some() {
        return Ok(None);
    }
    let row = client.query_one(queries::WINDOW_OPENS_IN, &[&limit.scope(), &subject, &WINDOW]).await?;
    let seconds: Option<i64> = row.try_get(0)?;
    Ok(Some(seconds.and_then(|seconds| u64::try_from(seconds).ok()).unwrap_or(1).max(1)))
}
