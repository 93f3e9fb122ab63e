//! `GET /api/v1/item/fetch` (CONTRACT 4.5): the caller's own items, private values merged in.
//!
//! Pages are kept per owner. One with private values stays in this process: they are not to lie in another store in
//! clear, and go with the item when it is deleted.

use std::time::Duration;

use actix_web::http::header::ETAG;
use actix_web::{HttpRequest, HttpResponse};
use serde::Serialize;
use serde_json::json;
use serde_json::value::to_raw_value;

use super::object;
use crate::app::App;
use crate::cache::{Answer, Keep, Made, Version, X_CACHE};
use crate::contract::merge;
use crate::http::ApiError;
use crate::http::fields::collect;
use crate::http::filter::ItemFilter;
use crate::http::headers::{etag, min_position};
use crate::http::page::Page;
use crate::http::query::Query;
use crate::queries::items::{self, ItemRow, OwnItem};
use crate::queries::{Meta, PageRequest};
use crate::reads::{page_key, page_request, wait_for};
use crate::writes::OF_ITEMS;

/// How long pages are kept; they are never stale, so this only bounds what nobody asks for any more.
const LIVES: Duration = Duration::from_secs(300);
/// Private values stay in memory no longer than this after their item was deleted.
const PRIVATE_LIVES: Duration = Duration::from_secs(60);

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
    let asked = page_request(page.clone(), &(&caller.user_id, &filter), items::KEYS)?;
    wait_for(&app, position.as_ref(), Some(&filter.network), OF_ITEMS).await?;
    // The version first, the rows after it.
    let version = app.versions.of(&filter.network, &filter.domain).await?;
    let key = page_key("item/fetch", &app, version, &filter, &page, json!({"owner": caller.user_id}));
    let served = app.pages.get_or_make(key, make(&app, &caller.user_id, &filter, &asked, version)).await?;
    let mut answer = HttpResponse::Ok();
    answer.content_type("application/json").insert_header((X_CACHE, served.source.header()));
    if let Some(version) = served.answer.version {
        answer.insert_header((ETAG, etag(version.into())));
    }
    Ok(answer.body(served.answer.body))
}

#[derive(Serialize)]
struct Body {
    meta: Meta,
    items: Vec<ItemRow>,
}

async fn make(
    app: &App,
    owner: &str,
    filter: &ItemFilter,
    page: &PageRequest,
    version: Version,
) -> Result<Made, ApiError> {
    let page = items::of_owner(&app.database, &app.contracts, owner, filter, page).await?;
    let single = match page.rows.as_slice() {
        [single] if filter.item_id.is_some() => Some(single.item.version),
        _ => None,
    };
    let keep = match page.rows.iter().any(OwnItem::is_private) {
        true => Keep::InProcess(PRIVATE_LIVES),
        false => version.keep(LIVES),
    };
    let items = page.rows.into_iter().map(whole).collect::<Result<_, _>>()?;
    let body = serde_json::to_vec(&Body { meta: page.meta, items }).map_err(|error| ApiError::internal(&error))?;
    Ok(Made { answer: Answer { version: single, ..Answer::new(body) }, keep })
}

/// The item with its whole state; a public state without a private half is passed on unread.
fn whole(mut own: OwnItem) -> Result<ItemRow, ApiError> {
    if !own.is_private() {
        return Ok(own.item);
    }
    let state = merge(object(&own.item.item_state)?.into(), object(&own.private)?.into());
    own.item.item_state = to_raw_value(&state).map_err(|error| ApiError::internal(&error))?;
    Ok(own.item)
}
