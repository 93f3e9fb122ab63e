//! `GET /api/v1/item/:itemId/history` (CONTRACT 4.8): every version, oldest first, read from the log.

use actix_web::{HttpRequest, HttpResponse};
use dpg_eventstore::{EventType, StoredEvent, StreamType, read};
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::{as_owner_sees, not_found, object};
use crate::app::App;
use crate::commands::payload::{ItemPayload, parse, timestamp};
use crate::http::ApiError;
use crate::http::fields::collect;
use crate::http::page::Page as PageQuery;
use crate::http::query::Query;
use crate::http::scalars::uuid;
use crate::queries::cursor::{Cursor, KeyType};
use crate::queries::{Meta, Start};
use crate::reads::page_request;

pub(super) async fn handle(app: App, request: HttpRequest) -> Result<HttpResponse, ApiError> {
    let caller = app.authenticator.user(request.headers()).await?;
    let query = Query::parse(request.query_string());
    let (item, page) =
        collect(|faults| (faults.path(&request, "itemId", uuid), faults.query(&query, PageQuery::read)))?;
    let page = page_request(page, &("history", item), &[KeyType::Integer])?;
    let stream = read::load(&app.database, item).await?.filter(|stream| stream.stream_type == StreamType::Item);
    let Some(stream) = stream else { return Err(not_found()) };
    if owner_of(&stream.payload)? != caller.user_id {
        return Err(not_found());
    }
    let (after, offset) = match &page.start {
        Start::Offset(offset) => (i32::try_from(*offset).unwrap_or(i32::MAX), *offset),
        Start::Cursor(cursor) => (cursor.key.first().and_then(|key| key.parse().ok()).unwrap_or(i32::MAX), 0),
    };
    let mut rows = read::history(&app.database, &stream.network, item, after, page.limit).await?;
    // What was written since the stream was loaded is not in its total either.
    rows.retain(|(event, _)| event.version <= stream.version);
    let mut versions = Vec::with_capacity(rows.len());
    for (event, private) in &rows {
        versions.push(version(event, private.as_deref())?);
    }
    let last = rows.last().map(|(event, _)| event.version).filter(|version| *version < stream.version);
    let next_cursor = last.map(|version| cursor(item, version)).transpose()?;
    let meta = Meta { total: stream.version.into(), limit: page.limit, offset, next_cursor };
    Ok(HttpResponse::Ok().json(json!({"meta": meta, "versions": versions})))
}

/// Versions never move, so the walk needs no bounds.
fn cursor(item: Uuid, version: i32) -> Result<String, ApiError> {
    let cursor = Cursor::after(&("history", item), Default::default(), vec![version.to_string()]);
    cursor.encode().map_err(|error| ApiError::internal(&error))
}

fn owner_of(payload: &RawValue) -> Result<String, ApiError> {
    #[derive(Deserialize)]
    struct Owned {
        created_by: String,
    }
    parse::<Owned>(payload).map(|owned| owned.created_by).map_err(|e| ApiError::internal(&e))
}

fn version(event: &StoredEvent, private: Option<&RawValue>) -> Result<Value, ApiError> {
    #[derive(Deserialize)]
    struct Actor {
        actor: Option<String>,
    }
    let internal = |error: serde_json::Error| ApiError::internal(&error);
    let recorded_at = timestamp(event.recorded_at);
    let actor: Actor = parse(&event.metadata).map_err(internal)?;
    let item = if event.event_type == EventType::ItemDeleted {
        Value::Null
    } else {
        let payload: ItemPayload = parse(&event.payload).map_err(internal)?;
        let private = private.map_or_else(|| Ok(Map::new()), object)?;
        let created_at = payload.created_at.as_deref().unwrap_or(&recorded_at);
        Value::Object(as_owner_sees(&payload, &private, created_at, &recorded_at))
    };
    Ok(json!({
        "version": event.version,
        "event_type": event.event_type.as_str(),
        "recorded_at": recorded_at,
        "actor": actor.actor,
        "item": item,
    }))
}
