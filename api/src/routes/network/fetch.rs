//! `GET /api/v1/network/item/fetch` (CONTRACT 4.16): the items of a domain on all of its instances, for everybody.

use actix_web::http::header::{ETAG, HeaderName, HeaderValue};
use actix_web::{HttpRequest, HttpResponse};

use crate::app::App;
use crate::cache::X_CACHE;
use crate::http::ApiError;
use crate::http::fields::{Fields, collect};
use crate::http::filter::ItemFilter;
use crate::http::headers::{etag, min_position};
use crate::http::page::Page;
use crate::http::query::Query;
use crate::http::scalars::integer;
use crate::network::fetch::{Asked, serve};
use crate::reads::wait_for;
use crate::writes::OF_ITEMS;

const X_NETWORK_PARTIAL: HeaderName = HeaderName::from_static("x-network-partial");

pub(super) async fn handle(app: App, request: HttpRequest) -> Result<HttpResponse, ApiError> {
    let query = Query::parse(request.query_string());
    let (position, (filter, page, ttl)) = collect(|faults| {
        let position = faults.header(min_position(request.headers()));
        (position, faults.query(&query, |f| (ItemFilter::read(f), Page::read_with_page(f), time_to_live(f))))
    })?;
    let asked = Asked::new(&app, filter, page, ttl)?;
    wait_for(&app, position.as_ref(), Some(&asked.filter.network), OF_ITEMS).await?;
    let served = serve(&app, &asked).await?;
    let mut answer = HttpResponse::Ok();
    answer.content_type("application/json").insert_header((X_CACHE, served.source.header()));
    if served.answer.partial {
        answer.insert_header((X_NETWORK_PARTIAL, HeaderValue::from_static("true")));
    }
    if let Some(version) = served.answer.version {
        answer.insert_header((ETAG, etag(version.into())));
    }
    Ok(answer.body(served.answer.body))
}

fn time_to_live(f: &mut Fields<'_>) -> Option<u64> {
    f.optional_number("cache_ttl_seconds", integer(1..=i64::MAX)).and_then(|seconds| u64::try_from(seconds).ok())
}
