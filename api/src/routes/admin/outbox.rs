//! `/api/v1/admin/outbox`: parked events, and sending again.

use actix_web::web::Payload;
use actix_web::{HttpRequest, HttpResponse};
use chrono::{DateTime, Utc};
use dpg_mirror::operator::{parked, parked_event};
use dpg_mirror::{ParkedEvent, ParkedQuery};
use serde_json::{Value, json};
use uuid::Uuid;

use super::{lane_objects, operator, spelling};
use crate::app::App;
use crate::commands::payload::timestamp;
use crate::http::ApiError;
use crate::http::body::{read_bytes, read_json};
use crate::http::fields::{collect, read_body, read_query};
use crate::http::page::Page as PageQuery;
use crate::http::scalars::{instance_url, integer, name, text, uuid};
use crate::queries::cursor::{Cursor, KeyType};
use crate::queries::{Meta, PageRequest, Start};
use crate::reads::page_request;

const KEYS: &[KeyType] = &[KeyType::Time, KeyType::Uuid];

pub(super) async fn list(app: App, request: HttpRequest) -> Result<HttpResponse, ApiError> {
    operator(&app, &request).await?;
    let (instance_url, network, page) = read_query(&request, |f| {
        (f.optional("instance_url", instance_url), f.optional("network", name), PageQuery::read(f))
    })?;
    let filters = ("parked", instance_url.clone(), network.clone());
    let PageRequest { limit, start } = page_request(page, &filters, KEYS)?;
    let (offset, after) = match &start {
        Start::Offset(offset) => (*offset, None),
        Start::Cursor(cursor) => (0, last_seen(cursor)),
    };
    let found = parked(&app.database, &ParkedQuery { instance_url, network, limit, offset, after }).await?;
    let last = found.events.last().filter(|_| found.more);
    let next_cursor = last.map(|last| {
        let key = vec![timestamp(last.parked_at), last.id.to_string()];
        Cursor::after(&filters, Default::default(), key).encode().map_err(|error| ApiError::internal(&error))
    });
    let meta = Meta { total: found.total, limit, offset, next_cursor: next_cursor.transpose()? };
    let events: Vec<Value> = found.events.iter().map(|event| parked_object(&app, event)).collect();
    Ok(HttpResponse::Ok().json(json!({"meta": meta, "parked": events})))
}

/// Parked events never move but by being settled, so the walk needs no bounds.
fn last_seen(cursor: &Cursor) -> Option<(DateTime<Utc>, Uuid)> {
    let [at, id] = cursor.key.as_slice() else { return None };
    Some((DateTime::parse_from_rfc3339(at).ok()?.with_timezone(&Utc), Uuid::try_parse(id).ok()?))
}

pub(super) async fn show(app: App, request: HttpRequest) -> Result<HttpResponse, ApiError> {
    operator(&app, &request).await?;
    let id = collect(|faults| faults.path(&request, "id", uuid))?;
    let (parked, event) = parked_event(&app.database, id).await?;
    let mut object = parked_object(&app, &parked);
    if let Some(object) = object.as_object_mut() {
        let event = serde_json::to_value(event).map_err(|error| ApiError::internal(&error))?;
        object.insert("event".to_owned(), event);
    }
    Ok(HttpResponse::Ok().json(object))
}

pub(super) async fn retry(app: App, request: HttpRequest, payload: Payload) -> Result<HttpResponse, ApiError> {
    let operator = operator(&app, &request).await?;
    read_bytes(payload).await?;
    let id = collect(|faults| faults.path(&request, "id", uuid))?;
    operator.retry(id).await?;
    Ok(HttpResponse::Ok().json(json!({"id": id, "outcome": "queued"})))
}

pub(super) async fn drop_parked(app: App, request: HttpRequest, payload: Payload) -> Result<HttpResponse, ApiError> {
    let operator = operator(&app, &request).await?;
    let body = read_json(&request, payload).await?;
    let (id, reason) = collect(|faults| {
        (faults.path(&request, "id", uuid), faults.body(&body, |f| f.required("reason", text(1..=1000))))
    })?;
    operator.drop_parked(id, &reason).await?;
    Ok(HttpResponse::Ok().json(json!({"id": id, "outcome": "dropped"})))
}

pub(super) async fn resend(app: App, request: HttpRequest, payload: Payload) -> Result<HttpResponse, ApiError> {
    let operator = operator(&app, &request).await?;
    let body = read_json(&request, payload).await?;
    let (url, network, since) = read_body(&body, |f| {
        (
            f.required("instance_url", instance_url),
            f.required("network", name),
            f.required("since_seq", integer(1..=i64::MAX)),
        )
    })?;
    let (lane, resent) = operator.resend(&url, &network, since).await?;
    let lane = lane_objects(&app, std::slice::from_ref(&lane)).pop();
    Ok(HttpResponse::Ok().json(json!({"lane": lane, "resent": resent})))
}

fn parked_object(app: &App, parked: &ParkedEvent) -> Value {
    json!({
        "id": parked.id,
        "network": parked.key.network,
        "instance_url": spelling(app, &parked.key.network, &parked.key.destination),
        "seq": parked.seq,
        "action_id": parked.action_id,
        "update_count": parked.update_count,
        "parked_at": timestamp(parked.parked_at),
        "attempts": parked.attempts,
        "conflict": parked.conflict,
        "status": parked.status,
        "error": parked.error,
        "message": parked.message,
    })
}
