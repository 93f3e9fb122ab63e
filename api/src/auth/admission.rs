//! Checks API keys and counts their calls, all that wait in one statement (CONTRACT 1.11 and 2.2).

use std::collections::HashMap;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use dpg_eventstore::Database;
use sha2::{Digest, Sha256};

use super::authenticator::Role;
use super::error::StoreError;
use super::queries;
use crate::probe::{Lookup, within_time};

/// base64url(SHA-256(key)), unpadded: what the store knows of a key.
pub(super) fn key_hash(key: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(Sha256::digest(key))
}

/// What a valid key may do now.
#[derive(Debug, Clone)]
pub(super) struct Admission {
    pub(super) user_id: String,
    pub(super) role: Role,
    /// How many of those who asked at once stay within the key's limit.
    pub(super) admitted: usize,
    /// Seconds until the others may try again.
    pub(super) retry_after: u64,
}

/// Asks `admit_api_key_calls`.
pub(super) struct KeyLookup {
    pub(super) database: Database,
    pub(super) time_out: Duration,
}

#[async_trait::async_trait]
impl Lookup for KeyLookup {
    type Key = String;
    type Found = Admission;
    type Error = StoreError;

    async fn look_up(&self, asked: &[(String, usize)]) -> Result<HashMap<String, Admission>, StoreError> {
        let hashes: Vec<&str> = asked.iter().map(|(hash, _)| hash.as_str()).collect();
        let calls: Vec<i32> = asked.iter().map(|(_, calls)| i32::try_from(*calls).unwrap_or(i32::MAX)).collect();
        let rows = within_time::<_, StoreError>(&self.database, self.time_out, async |client| {
            let statement = client.prepare_cached(queries::ADMIT_KEY_CALLS).await?;
            client.query(&statement, &[&hashes, &calls]).await
        })
        .await?;
        let mut found = HashMap::with_capacity(rows.len());
        for row in rows {
            let admitted: i32 = row.try_get("admitted")?;
            let retry_after: Option<i64> = row.try_get("retry_after")?;
            let admission = Admission {
                user_id: row.try_get("user_id")?,
                role: Role::read(row.try_get("role")?)?,
                admitted: usize::try_from(admitted).unwrap_or(0),
                retry_after: retry_after.and_then(|seconds| u64::try_from(seconds).ok()).unwrap_or(1),
            };
            found.insert(row.try_get("key_hash")?, admission);
        }
        Ok(found)
    }
}
