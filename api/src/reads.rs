//! What all reads of tables have in common: waiting for a position (CONTRACT 1.8), paging, and the keys of
//! kept pages.

use std::time::Duration;

use actix_web::http::StatusCode;
use dpg_eventstore::read;
use dpg_projector::Projection;
use futures_util::StreamExt;
use futures_util::future::join_all;
use futures_util::stream::FuturesUnordered;
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::app::App;
use crate::cache::{PageKey, Version};
use crate::http::filter::ItemFilter;
use crate::http::headers::MinPosition;
use crate::http::page::{Page as PageQuery, Start as QueryStart};
use crate::http::{ApiError, Fault};
use crate::queries::cursor::{Cursor, KeyType};
use crate::queries::{PageRequest, Start};

/// Waits until the tables hold `wanted`; `network` is the one that the route names, if it names one.
///
/// # Errors
/// 400 for a network that is not served here; 503 `PROJECTION_BEHIND`.
pub async fn wait_for(
    app: &App,
    wanted: Option<&MinPosition>,
    network: Option<&str>,
    projections: &[Projection],
) -> Result<(), ApiError> {
    let Some(wanted) = wanted else { return Ok(()) };
    let reached = match wanted.network.as_deref().or(network) {
        Some(network) => {
            if !app.contracts.serves_network(network) {
                let message = "names a network that is not served here";
                return Err(ApiError::validation(vec![Fault::new("/dpg-min-position", message)]));
            }
            wait_out(app, network, wanted.position, projections).await
        }
        None => wait_for_some(app, wanted.position, projections).await?,
    };
    if reached {
        return Ok(());
    }
    let message = "The tables have not reached this position yet.";
    Err(ApiError::new(StatusCode::SERVICE_UNAVAILABLE, "PROJECTION_BEHIND", message).with_retry_after(1))
}

/// Waits the whole time: a position that looks out of reach may be another process's next.
async fn wait_out(app: &App, network: &str, position: i64, projections: &[Projection]) -> bool {
    const AGAIN: Duration = Duration::from_millis(20);
    let deadline = Instant::now() + app.patience();
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        if app.readers.wait(network, position, projections, left).await {
            return true;
        }
        if left <= AGAIN {
            return false;
        }
        tokio::time::sleep(AGAIN).await;
    }
}

/// On a route that names no network: some served network must have reached the position, and every other must have
/// projected everything that it held when the request came.
async fn wait_for_some(app: &App, position: i64, projections: &[Projection]) -> Result<bool, ApiError> {
    let networks = app.contracts.served_networks();
    let mut held = Vec::with_capacity(networks.len());
    for network in &networks {
        held.push(read::head(&app.database, network).await?.map_or(0, |(position, _)| position));
    }
    let wait = |network, position| wait_out(app, network, position, projections);
    let some = async {
        let waits: FuturesUnordered<_> = networks.iter().map(|network| wait(network, position)).collect();
        waits.any(|reached| async move { reached }).await
    };
    let every = join_all(networks.iter().zip(held).map(|(network, held)| wait(network, held)));
    let (some, every) = tokio::join!(some, every);
    Ok(some && every.into_iter().all(|reached| reached))
}

/// A page as asked for, its cursor read against the filters that it must belong to.
///
/// # Errors
/// 400 `VALIDATION_ERROR` at `/cursor`.
pub fn page_request(
    page: PageQuery,
    filters: &impl std::fmt::Debug,
    keys: &[KeyType],
) -> Result<PageRequest, ApiError> {
    let start = match page.start {
        QueryStart::Offset(offset) => Start::Offset(offset),
        QueryStart::Cursor(text) => Start::Cursor(Cursor::decode(&text, filters, keys)?),
    };
    Ok(PageRequest { limit: page.limit, start })
}

/// The key of a page of items: everything that it depends on. `version` is that of our own rows, asked for after the wait
/// for a position and before the rows; `more` is what else the route lets an answer depend on.
#[must_use]
pub fn page_key(
    route: &'static str,
    app: &App,
    version: Version,
    filter: &ItemFilter,
    page: &PageQuery,
    more: Value,
) -> PageKey {
    let start = match &page.start {
        QueryStart::Offset(offset) => json!(offset),
        QueryStart::Cursor(text) => json!(text),
    };
    PageKey::of(
        route,
        json!({
            "epoch": version.epoch,
            "rows": version.rows,
            "contract": app.contracts.version(),
            "filter": filter.to_body(),
            "limit": page.limit,
            "start": start,
            "more": more,
        }),
    )
}
