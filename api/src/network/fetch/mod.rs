//! Network pages (CONTRACT 6): the items of a domain on all of its instances. Pages are kept under a key that holds the
//! version of our own rows, so a write here shows on the next page; what peers hold shows after the time to live at most.
//! A peer that fails costs its own rows and is named, never the page, and such a page is never kept.
//!
//! [`assemble`] puts a page together from what each [`member`] gives; [`plan`], [`cursor`] and [`rows`] are its arithmetic,
//! its memory and its suspicion; [`peers`] are the lines to other instances, with a [`breaker`] each; [`own`] is our part.

mod assemble;
mod breaker;
mod cursor;
mod member;
pub mod own;
mod page;
pub mod peers;
mod plan;
mod reason;
mod rows;

use std::time::Duration;

use actix_web::http::StatusCode;
use serde_json::json;

use crate::app::App;
use crate::cache::{Keep, Made, Served, Version};
use crate::http::ApiError;
use crate::http::filter::ItemFilter;
use crate::http::page::{Page, Start};
use crate::reads::page_key;

/// Label of metrics, and part of the pages' keys.
const ROUTE: &str = "network/item/fetch";

/// No caller keeps a page longer.
const LONGEST: u64 = 3600;

/// A network page that is asked for.
#[derive(Debug)]
pub struct Asked {
    /// Which items.
    pub filter: ItemFilter,
    /// Which of them.
    pub page: Page,
    /// How long what peers say is kept.
    ttl: Duration,
}

impl Asked {
    /// Looks the domain up. `ttl` is the caller's `cache_ttl_seconds`.
    ///
    /// # Errors
    /// 404 `NETWORK_NOT_FOUND`; 403 unserved for a domain that the network does not define.
    pub fn new(app: &App, filter: ItemFilter, page: Page, ttl: Option<u64>) -> Result<Self, ApiError> {
        let Some(network) = app.contracts.network(&filter.network) else {
            let message = format!("The network {} is not loaded here.", filter.network);
            return Err(ApiError::new(StatusCode::NOT_FOUND, "NETWORK_NOT_FOUND", message));
        };
        let Some(domain) = network.domain(&filter.domain) else {
            return Err(app.contracts.unserved(&filter.network, &filter.domain));
        };
        let ttl = time_to_live(domain.minimum_cache_ttl_seconds, ttl);
        Ok(Self { filter, page, ttl })
    }

    fn offset(&self) -> i64 {
        match self.page.start {
            Start::Offset(offset) => offset,
            Start::Cursor(_) => 0,
        }
    }
}

/// A caller may raise the domain's value up to an hour, and never lower it.
fn time_to_live(minimum: u64, asked: Option<u64>) -> Duration {
    Duration::from_secs(minimum.max(asked.unwrap_or(minimum).min(LONGEST)))
}

/// The page, kept or made.
///
/// # Errors
/// 400 for a cursor that is not of this query; 503 for too many fan-outs, and when our own database is away.
pub async fn serve(app: &App, asked: &Asked) -> Result<Served, ApiError> {
    let Asked { filter, page, ttl } = asked;
    let version = match app.contracts.serves_network(&filter.network) {
        true => app.versions.of(&filter.network, &filter.domain).await?,
        false => Version::default(),
    };
    let key = page_key(ROUTE, app, version, filter, page, json!({"ttl": ttl.as_secs()}));
    let make = async {
        let answer = page::make(app, asked, version).await?;
        let keep = if answer.partial { Keep::Not } else { version.keep(*ttl) };
        Ok::<_, ApiError>(Made { answer, keep })
    };
    app.pages.get_or_make(key, make).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_caller_may_raise_the_time_to_live_up_to_an_hour() {
        for (minimum, asked, seconds) in [
            (300, None, 300),
            (300, Some(1), 300),
            (300, Some(600), 600),
            (300, Some(999_999_999), 3600),
            (300, Some(u64::MAX), 3600),
            // A domain may want more than a caller can.
            (7200, None, 7200),
            (7200, Some(1), 7200),
        ] {
            assert_eq!(time_to_live(minimum, asked), Duration::from_secs(seconds), "{minimum} {asked:?}");
        }
    }
}
