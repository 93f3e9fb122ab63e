//! `/api/v1/admin/peers`: lanes, and what begins or ends their waits.

use actix_web::web::Payload;
use actix_web::{HttpRequest, HttpResponse};
use dpg_mirror::Verb;
use serde_json::json;

use super::{lane_objects, operator};
use crate::app::App;
use crate::http::ApiError;
use crate::http::body::read_json;
use crate::http::fields::{read_body, read_query};
use crate::http::scalars::{instance_url, name};

pub(super) async fn list(app: App, request: HttpRequest) -> Result<HttpResponse, ApiError> {
    operator(&app, &request).await?;
    let (url, network) =
        read_query(&request, |f| (f.optional("instance_url", instance_url), f.optional("network", name)))?;
    let mut lanes = dpg_mirror::operator::lanes(&app.database, url.as_deref()).await?;
    lanes.retain(|lane| network.as_ref().is_none_or(|network| lane.key.network == *network));
    Ok(HttpResponse::Ok().json(json!({"lanes": lane_objects(&app, &lanes)})))
}

pub(super) async fn pause(app: App, request: HttpRequest, payload: Payload) -> Result<HttpResponse, ApiError> {
    act(&app, &request, payload, Verb::Pause).await
}

pub(super) async fn resume(app: App, request: HttpRequest, payload: Payload) -> Result<HttpResponse, ApiError> {
    act(&app, &request, payload, Verb::Resume).await
}

pub(super) async fn probe(app: App, request: HttpRequest, payload: Payload) -> Result<HttpResponse, ApiError> {
    act(&app, &request, payload, Verb::Probe).await
}

async fn act(app: &App, request: &HttpRequest, payload: Payload, verb: Verb) -> Result<HttpResponse, ApiError> {
    let operator = operator(app, request).await?;
    let body = read_json(request, payload).await?;
    let (url, network) = read_body(&body, |f| (f.required("instance_url", instance_url), f.nullable("network", name)))?;
    let lanes = operator.act(verb, &url, network.as_deref()).await?;
    Ok(HttpResponse::Ok().json(json!({"lanes": lane_objects(app, &lanes)})))
}
