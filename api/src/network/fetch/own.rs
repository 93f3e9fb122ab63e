//! Our own part of a network page: what `count_local` and `fetch_local` tell peers, and what our own pages take without
//! any HTTP. Everybody's items of a pair, public state only.

use crate::app::App;
use crate::http::ApiError;
use crate::http::filter::ItemFilter;
use crate::http::page::Page as PageQuery;
use crate::queries::Page;
use crate::queries::items::{self, ItemRow};
use crate::reads::page_request;

/// How many of our items match.
///
/// # Errors
/// 503 when the database is away.
pub async fn count(app: &App, filter: &ItemFilter) -> Result<i64, ApiError> {
    Ok(items::count(&app.database, &app.contracts, filter).await?)
}

/// A page of our items. Its cursor is that of `fetch_local`.
///
/// # Errors
/// 400 for a cursor of another query; 503 when the database is away.
pub async fn page(app: &App, filter: &ItemFilter, page: PageQuery) -> Result<Page<ItemRow>, ApiError> {
    let asked = page_request(page, filter, items::KEYS)?;
    Ok(items::of_everybody(&app.database, &app.contracts, filter, &asked).await?)
}

/// Version of the only item of a page that was narrowed by its id, for the `etag` (CONTRACT 1.10).
#[must_use]
pub fn single_version(filter: &ItemFilter, rows: &[ItemRow]) -> Option<i32> {
    match rows {
        [single] if filter.item_id.is_some() => Some(single.version),
        _ => None,
    }
}
