//! `GET /api/v1/network/schemas` (CONTRACT 4.19): the loaded contracts and schemas.

use actix_web::{HttpRequest, HttpResponse};

use crate::app::App;
use crate::contract::EntryFilter;
use crate::http::ApiError;
use crate::http::fields::{Fields, read_query};
use crate::http::scalars::text;

pub(super) async fn handle(app: App, request: HttpRequest) -> Result<HttpResponse, ApiError> {
    let wanted =
        read_query(&request, |f| ["network", "domain", "item_type", "schema_url"].map(|name| filter(f, name)))?;
    let [network, domain, item_type, schema_url] = wanted.each_ref().map(Option::as_deref);
    let wanted = EntryFilter { network, domain, item_type, schema_url };
    Ok(HttpResponse::Ok().json(app.contracts.entries(&wanted)))
}

/// An exact match; an empty one is no filter.
fn filter(f: &mut Fields<'_>, name: &'static str) -> Option<String> {
    f.optional(name, text(0..=2048)).filter(|value| !value.is_empty())
}
