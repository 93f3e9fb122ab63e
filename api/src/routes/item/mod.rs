//! `/api/v1/item/*`: a user's own items.

mod create;
mod delete;
mod fetch;
mod history;
mod patch;

use actix_web::http::StatusCode;
use actix_web::web::ServiceConfig;
use dpg_eventstore::read;
use serde_json::value::RawValue;
use serde_json::{Map, Value};
use uuid::Uuid;

use crate::app::App;
use crate::commands::item::Written;
use crate::commands::payload::{ItemPayload, LoadedItem, parse};
use crate::contract::merge;
use crate::http::ApiError;
use crate::http::endpoint::Endpoint;

pub(super) fn configure(config: &mut ServiceConfig) {
    config
        .service(Endpoint::at("/api/v1/item/create").post(create::handle))
        .service(Endpoint::at("/api/v1/item/fetch").get(fetch::handle))
        .service(Endpoint::at("/api/v1/item/{itemId}").patch(patch::handle).delete(delete::handle))
        .service(Endpoint::at("/api/v1/item/{itemId}/history").get(history::handle));
}

/// An item as its owner sees it: private values merged in, times filled in.
fn as_owner_sees(
    payload: &ItemPayload,
    private: &Map<String, Value>,
    created_at: &str,
    updated_at: &str,
) -> Map<String, Value> {
    let mut item = Map::new();
    let mut put = |key: &str, value: Value| item.insert(key.to_owned(), value);
    put("item_network", payload.item_network.clone().into());
    put("item_domain", payload.item_domain.clone().into());
    put("item_type", payload.item_type.clone().into());
    put("item_id", payload.item_id.to_string().into());
    put("item_instance_url", payload.item_instance_url.clone().into());
    put("item_schema_url", payload.item_schema_url.clone().into());
    put("item_state", merge(payload.item_state.clone().into(), private.clone().into()));
    put("item_latitude", payload.item_latitude.into());
    put("item_longitude", payload.item_longitude.into());
    put("created_by", payload.created_by.clone().into());
    put("created_at", created_at.into());
    put("updated_at", updated_at.into());
    item
}

impl Written {
    /// The answer's item, once the log has told its time.
    fn as_owner_sees(&self, recorded_at: &str) -> Map<String, Value> {
        let created_at = self.payload.created_at.as_deref().unwrap_or(recorded_at);
        as_owner_sees(&self.payload, &self.private, created_at, recorded_at)
    }
}

/// Loads a living item that `may` touch. No such item, deleted, or not the caller's: one answer for all.
async fn load(app: &App, item: Uuid, may: impl Fn(&ItemPayload) -> bool) -> Result<LoadedItem, ApiError> {
    let stream = read::load(&app.database, item).await?;
    let loaded = match &stream {
        Some(stream) => LoadedItem::of(stream).map_err(|error| ApiError::internal(&error))?,
        None => None,
    };
    loaded.filter(|item| may(&item.payload)).ok_or_else(not_found)
}

fn object(raw: &RawValue) -> Result<Map<String, Value>, ApiError> {
    parse(raw).map_err(|error| ApiError::internal(&error))
}

fn not_found() -> ApiError {
    let message = "There is no such item, or it is not yours.";
    ApiError::new(StatusCode::NOT_FOUND, "ITEM_NOT_FOUND_OR_FORBIDDEN", message)
}

fn precondition_failed() -> ApiError {
    let message = "The item has another version by now.";
    ApiError::new(StatusCode::PRECONDITION_FAILED, "PRECONDITION_FAILED", message)
}

fn conflict() -> ApiError {
    ApiError::new(StatusCode::CONFLICT, "ITEM_CONFLICT", "The item changed meanwhile; read it and try again.")
}
