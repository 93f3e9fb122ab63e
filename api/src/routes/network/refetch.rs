//! `POST /api/v1/network/refetch_schemas` (CONTRACT 4.21): loads the contract and its schemas again.

use actix_web::{HttpRequest, HttpResponse};
use serde_json::json;

use crate::app::App;
use crate::http::ApiError;

pub(super) async fn handle(app: App, request: HttpRequest) -> Result<HttpResponse, ApiError> {
    app.authenticator.optional(request.headers()).await?;
    let schemas = app.contract_versions.refetch().await?;
    Ok(HttpResponse::Ok().json(json!({"refreshed": true, "schema_count": schemas})))
}
