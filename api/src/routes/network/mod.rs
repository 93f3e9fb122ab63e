//! `/api/v1/network/*`: what other instances and user interfaces ask of this one.

mod count_local;
mod fetch;
mod fetch_local;
mod perform;
mod refetch;
mod schema;
mod schemas;
mod status;

use actix_web::HttpRequest;
use actix_web::web::{Payload, ServiceConfig};
use serde_json::Value;

use crate::app::App;
use crate::http::ApiError;
use crate::http::body::{json_of, read_bytes};
use crate::http::endpoint::Endpoint;
use crate::http::fields::{Fields, collect};
use crate::http::filter::ItemFilter;
use crate::http::headers::{idempotency_key, min_position};
use crate::network::trust::{Credentials, credentials};
use crate::reads::wait_for;
use crate::writes::OF_ITEMS;

pub(super) fn configure(config: &mut ServiceConfig) {
    config
        .service(Endpoint::at("/api/v1/network/action/perform").post(perform::handle))
        .service(Endpoint::at("/api/v1/network/action/update-status").post(status::handle))
        .service(Endpoint::at("/api/v1/network/item/fetch").get(fetch::handle))
        .service(Endpoint::at("/api/v1/network/item/count_local").post(count_local::handle))
        .service(Endpoint::at("/api/v1/network/item/fetch_local").post(fetch_local::handle))
        .service(Endpoint::at("/api/v1/network/refetch_schemas").post(refetch::handle))
        .service(Endpoint::at("/api/v1/network/schemas").get(schemas::handle))
        .service(Endpoint::at("/api/v1/network/schema/{network}/{domain}/{itemType}").get(schema::handle));
}

/// A peer's write as it came, before anybody has judged whether to believe it.
struct PeerCall<T> {
    credentials: Credentials,
    key: Option<String>,
    json: Value,
    body: T,
}

/// Reads a peer's question about the items of a pair, in the same order, and judges it: trust, then whether the pair is
/// served, then the wait for a position.
async fn read_question<T>(
    app: &App,
    request: &HttpRequest,
    payload: Payload,
    read: impl FnOnce(&mut Fields<'_>) -> T,
) -> Result<(ItemFilter, T), ApiError> {
    let bytes = read_bytes(payload).await?;
    let credentials = credentials(app, request, &bytes)?;
    let json = json_of(request, &bytes)?;
    let (position, (filter, more)) = collect(|faults| {
        let position = faults.header(min_position(request.headers()));
        (position, faults.body(&json, |f| (ItemFilter::read(f), read(f))))
    })?;
    credentials.judge_read(app, request, &filter.network)?;
    if !app.contracts.serves(&filter.network, &filter.domain) {
        return Err(app.contracts.unserved(&filter.network, &filter.domain));
    }
    wait_for(app, position.as_ref(), Some(&filter.network), OF_ITEMS).await?;
    Ok((filter, more))
}

/// Reads a peer's write in the order of CONTRACT 2.6: credentials, then JSON, then key and body together.
async fn read_call<T>(
    app: &App,
    request: &HttpRequest,
    payload: Payload,
    read: impl FnOnce(&mut Fields<'_>) -> T,
) -> Result<PeerCall<T>, ApiError> {
    let bytes = read_bytes(payload).await?;
    let credentials = credentials(app, request, &bytes)?;
    let json = json_of(request, &bytes)?;
    let (key, body) = collect(|faults| (faults.header(idempotency_key(request.headers())), faults.body(&json, read)))?;
    Ok(PeerCall { credentials, key, json, body })
}
