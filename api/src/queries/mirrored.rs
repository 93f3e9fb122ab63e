//! What a call whose answer was lost has come to: its first event, once that has been mirrored.

use chrono::{DateTime, Utc};
use dpg_eventstore::Database;
use dpg_eventstore::idempotency::{Scope, finish_in};
use serde_json::{Value, json};
use tokio_postgres::Row;
use tokio_postgres::types::ToSql;
use uuid::Uuid;

use super::QueryError;
use crate::commands::mirrored::same_instance;
use crate::commands::payload::ItemRef;

/// Which first event is looked for.
#[derive(Debug, Clone, Copy)]
pub struct FirstEvent<'a> {
    /// What was asked.
    pub action_type: &'a str,
    /// Whose item asked.
    pub source: &'a ItemRef,
    /// And whom.
    pub target: &'a ItemRef,
    /// When it was asked first: what was stored before is something else.
    pub attempted_at: DateTime<Utc>,
}

/// Finds an event that no other key has taken, makes it this key's answer, and gives back the answer's six fields.
///
/// # Errors
/// [`QueryError`].
pub async fn take_first_event(
    database: &Database,
    wanted: FirstEvent<'_>,
    scope: &Scope,
    status: i32,
) -> Result<Option<Value>, QueryError> {
    let FirstEvent { action_type, source, target, attempted_at } = wanted;
    let mut client = database.client().await?;
    let transaction = client.transaction().await?;
    // Of two keys that look for the same event at once, the second sees what the first has taken.
    let lock = format!("first event of {}", source.item_id);
    transaction.execute("select pg_advisory_xact_lock(hashtextextended($1, 0))", &[&lock]).await?;
    let sql = "select e.action_id, e.action_status, e.update_count, e.target_item_instance_url
                 from action_events_live.action_events e
                 join event_log l on l.network = e.partition_network and l.position = e.position
                where e.partition_network = $1 and e.action_type = $2 and e.source_item_id = $3 and e.target_item_id = $4
                  and e.target_item_network = $9 and e.target_item_domain = $10 and e.target_item_type = $11
                  and e.update_count = 0 and e.source_here and not e.target_here and l.recorded_at >= $5
                  and not exists (select from idempotency i
                                   where i.answer ->> 'action_id' = e.action_id::text
                                     and (i.caller, i.route, i.key) <> ($6, $7, $8))
                order by e.position";
    let (caller, route, key) = (&scope.caller, &scope.route, &scope.key);
    let (network, domain, item_type) = (&target.item_network, &target.item_domain, &target.item_type);
    let parameters: [&(dyn ToSql + Sync); 11] = [
        &source.item_network,
        &action_type,
        &source.item_id,
        &target.item_id,
        &attempted_at,
        caller,
        route,
        key,
        network,
        domain,
        item_type,
    ];
    let rows = transaction.query(sql, &parameters).await?;
    let Some(row) = first_of(&rows, target)? else { return Ok(None) };
    let answer = json!({
        "action_id": row.try_get::<_, Uuid>(0)?,
        "action_type": action_type,
        "action_status": row.try_get::<_, String>(1)?,
        "update_count": row.try_get::<_, i32>(2)?,
        "source_item_id": source.item_id,
        "target_item_id": target.item_id,
    });
    finish_in(transaction.client(), scope, status, &answer).await?;
    transaction.commit().await?;
    Ok(Some(answer))
}

/// Whoever holds an item of that id elsewhere was not asked.
fn first_of<'a>(rows: &'a [Row], target: &ItemRef) -> Result<Option<&'a Row>, tokio_postgres::Error> {
    for row in rows {
        if same_instance(row.try_get(3)?, &target.item_instance_url) {
            return Ok(Some(row));
        }
    }
    Ok(None)
}
