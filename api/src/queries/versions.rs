//! How new the rows of a domain are: the second half of a page's key.

use std::collections::HashMap;
use std::time::Duration;

use dpg_eventstore::Database;
use uuid::Uuid;

use super::QueryError;
use crate::cache::Version;
use crate::probe::within_time;

/// Primary keys only, and one snapshot for both tables.
const VERSIONS: &str = "
    select a.network, a.domain, h.epoch, coalesce(v.version, 0) as version
      from unnest($1::text[], $2::text[]) as a (network, domain)
      join log_head h on h.network = a.network
      left join projection_versions v on v.network = a.network and v.domain = a.domain";

/// The versions of (network, domain) pairs; those of a log that was never written to are left out.
///
/// # Errors
/// [`QueryError`].
pub async fn of<'k>(
    database: &Database,
    time_out: Duration,
    pairs: impl Iterator<Item = &'k (String, String)>,
) -> Result<HashMap<(String, String), Version>, QueryError> {
    let (networks, domains): (Vec<&str>, Vec<&str>) =
        pairs.map(|(network, domain)| (network.as_str(), domain.as_str())).unzip();
    let rows = within_time::<_, QueryError>(database, time_out, async |client| {
        let statement = client.prepare_cached(VERSIONS).await?;
        client.query(&statement, &[&networks, &domains]).await
    })
    .await?;
    let mut found = HashMap::with_capacity(rows.len());
    for row in rows {
        let version = Version { epoch: row.try_get::<_, Uuid>("epoch")?, rows: row.try_get("version")? };
        found.insert((row.try_get("network")?, row.try_get("domain")?), version);
    }
    Ok(found)
}
