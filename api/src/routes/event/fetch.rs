//! `GET /api/v1/event/fetch` (CONTRACT 4.15).

use actix_web::{HttpRequest, HttpResponse};
use serde_json::json;

use crate::app::App;
use crate::http::ApiError;
use crate::http::fields::collect;
use crate::http::headers::min_position;
use crate::http::page::Page;
use crate::http::query::Query;
use crate::http::scalars::integer;
use crate::queries::events;
use crate::reads::{page_request, wait_for};
use crate::routes::action::fetch::read_filter;
use crate::writes::OF_ACTIONS;

pub(super) async fn handle(app: App, request: HttpRequest) -> Result<HttpResponse, ApiError> {
    let caller = app.authenticator.user(request.headers()).await?;
    let query = Query::parse(request.query_string());
    let (position, (filter, page)) = collect(|faults| {
        let position = faults.header(min_position(request.headers()));
        let read = faults.query(&query, |f| {
            let mut filter = read_filter(f);
            let count = f.optional_number("update_count", integer(0..=i32::MAX.into()));
            filter.update_count = count.and_then(|count| i32::try_from(count).ok());
            (filter, Page::read(f))
        });
        (position, read)
    })?;
    let page = page_request(page, &(&caller.user_id, &filter), events::KEYS)?;
    wait_for(&app, position.as_ref(), None, OF_ACTIONS).await?;
    let page = events::of_user(&app.database, &caller.user_id, &filter, &page).await?;
    Ok(HttpResponse::Ok().json(json!({"meta": page.meta, "events": page.rows})))
}
