//! What a call to a target that keeps no keys has come to: its first event, once that has been mirrored.

use chrono::{DateTime, Utc};
use dpg_eventstore::Database;
use dpg_eventstore::idempotency::Scope;
use serde_json::{Value, json};
use uuid::Uuid;

use super::QueryError;
use crate::commands::payload::ItemRef;

/// The answer's six fields, from the first event between two items that was stored after an attempt and that no other key
/// has taken.
///
/// # Errors
/// [`QueryError`].
pub async fn first_event(
    database: &Database,
    action_type: &str,
    source: &ItemRef,
    target: &ItemRef,
    attempted_at: DateTime<Utc>,
    scope: &Scope,
) -> Result<Option<Value>, QueryError> {
    let client = database.client().await?;
    let statement = client
        .prepare_cached(
            "select e.action_id, e.action_status, e.update_count
               from action_events_live.action_events e
               join event_log l on l.network = e.partition_network and l.position = e.position
              where e.partition_network = $1 and e.action_type = $2 and e.source_item_id = $3 and e.target_item_id = $4
                and e.update_count = 0 and e.source_here and not e.target_here and l.recorded_at >= $5
                and not exists (select from idempotency i
                                 where i.answer ->> 'action_id' = e.action_id::text
                                   and (i.caller, i.route, i.key) <> ($6, $7, $8))
              order by e.position limit 1",
        )
        .await?;
    let row = client
        .query_opt(
            &statement,
            &[
                &source.item_network,
                &action_type,
                &source.item_id,
                &target.item_id,
                &attempted_at,
                &scope.caller,
                &scope.route,
                &scope.key,
            ],
        )
        .await?;
    Ok(row.map(|row| {
        json!({
            "action_id": row.get::<_, Uuid>(0),
            "action_type": action_type,
            "action_status": row.get::<_, String>(1),
            "update_count": row.get::<_, i32>(2),
            "source_item_id": source.item_id,
            "target_item_id": target.item_id,
        })
    }))
}
