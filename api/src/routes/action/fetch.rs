//! `GET /api/v1/action/fetch` (CONTRACT 4.13).

use actix_web::{HttpRequest, HttpResponse};
use serde_json::json;

use crate::app::App;
use crate::http::ApiError;
use crate::http::fields::{Fields, collect};
use crate::http::headers::min_position;
use crate::http::page::Page;
use crate::http::query::Query;
use crate::http::scalars::{name, one_of, uuid};
use crate::queries::actions::{self, ActionFilter, Ownership};
use crate::reads::{page_request, wait_for};
use crate::writes::OF_ACTIONS;

pub(super) async fn handle(app: App, request: HttpRequest) -> Result<HttpResponse, ApiError> {
    let caller = app.authenticator.user(request.headers()).await?;
    let query = Query::parse(request.query_string());
    let (position, (filter, page)) = collect(|faults| {
        let position = faults.header(min_position(request.headers()));
        (position, faults.query(&query, |f| (read_filter(f), Page::read(f))))
    })?;
    let page = page_request(page, &(&caller.user_id, &filter), actions::KEYS)?;
    wait_for(&app, position.as_ref(), None, OF_ACTIONS).await?;
    let page = actions::of_user(&app.database, &caller.user_id, &filter, &page).await?;
    Ok(HttpResponse::Ok().json(json!({"meta": page.meta, "actions": page.rows})))
}

/// The filters that actions and events have in common.
pub(in crate::routes) fn read_filter(f: &mut Fields<'_>) -> ActionFilter {
    const OWNERSHIP: &[(&str, Ownership)] =
        &[("all", Ownership::All), ("initiated", Ownership::Initiated), ("received", Ownership::Received)];
    ActionFilter {
        action_id: f.optional("action_id", uuid),
        action_type: f.optional(("action_type", "action_name"), name),
        action_status: f.optional("action_status", name),
        item_id: f.optional("item_id", uuid),
        ownership: f.optional("ownership_role", one_of(OWNERSHIP)).unwrap_or_default(),
        update_count: None,
    }
}
