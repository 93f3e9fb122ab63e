//! `GET /api/v1/item/fetch` (CONTRACT 4.5): the caller's own items, private values merged in.

use actix_web::http::header::ETAG;
use actix_web::{HttpRequest, HttpResponse};
use serde_json::json;
use serde_json::value::{RawValue, to_raw_value};

use super::object;
use crate::app::App;
use crate::contract::merge;
use crate::http::ApiError;
use crate::http::fields::collect;
use crate::http::filter::ItemFilter;
use crate::http::headers::{etag, min_position};
use crate::http::page::Page;
use crate::http::query::Query;
use crate::queries::items::{self, ItemRow};
use crate::reads::{page_request, wait_for};
use crate::writes::OF_ITEMS;

pub(super) async fn handle(app: App, request: HttpRequest) -> Result<HttpResponse, ApiError> {
    let caller = app.authenticator.user(request.headers()).await?;
    let query = Query::parse(request.query_string());
    let (position, (filter, page)) = collect(|faults| {
        let position = faults.header(min_position(request.headers()));
        (position, faults.query(&query, |f| (ItemFilter::read(f), Page::read_with_page(f))))
    })?;
    if !app.contracts.serves(&filter.network, &filter.domain) {
        return Err(app.contracts.unserved(&filter.network, &filter.domain));
    }
    let page = page_request(page, &(&caller.user_id, &filter), items::KEYS)?;
    wait_for(&app, position.as_ref(), Some(&filter.network), OF_ITEMS).await?;
    let mut page = items::of_owner(&app.database, &app.contracts, &caller.user_id, &filter, &page).await?;
    let mut answer = HttpResponse::Ok();
    if let (Some(_), [single]) = (filter.item_id, page.rows.as_slice()) {
        answer.insert_header((ETAG, etag(single.version.into())));
    }
    for item in &mut page.rows {
        item.item_state = merged(item)?;
    }
    Ok(answer.json(json!({"meta": page.meta, "items": page.rows})))
}

/// The whole state; a public state without a private half is passed on unread.
fn merged(item: &ItemRow) -> Result<Box<RawValue>, ApiError> {
    let private = object(&item.private)?;
    if private.is_empty() {
        return Ok(item.item_state.clone());
    }
    let state = merge(object(&item.item_state)?.into(), private.into());
    to_raw_value(&state).map_err(|error| ApiError::internal(&error))
}
