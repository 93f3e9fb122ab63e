//! `GET /api/v1/network/schema/:network/:domain/:itemType` (CONTRACT 4.20): the bare schema that *create* uses here.

use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use actix_web::web::Path;

use crate::app::App;
use crate::contract::ItemTypeError;
use crate::http::ApiError;

pub(super) async fn handle(app: App, path: Path<(String, String, String)>) -> Result<HttpResponse, ApiError> {
    let (network, domain, item_type) = path.into_inner();
    let not_found = |code, message: String| ApiError::new(StatusCode::NOT_FOUND, code, message);
    if app.contracts.network(&network).is_none() {
        return Err(not_found("NETWORK_NOT_FOUND", format!("The network {network} is not loaded here.")));
    }
    if !app.contracts.serves(&network, &domain) {
        return Err(app.contracts.unserved(&network, &domain));
    }
    match app.contracts.shown_item_type(&network, &domain, &item_type) {
        Ok(found) => Ok(HttpResponse::Ok().json(found.schema())),
        Err(ItemTypeError::Unreachable) => {
            let message = "The schema that this instance uses could not be fetched yet.";
            Err(ApiError::new(StatusCode::BAD_GATEWAY, "REMOTE_SCHEMA_FETCH_FAILED", message))
        }
        Err(_) => Err(not_found("ITEM_TYPE_NOT_FOUND", format!("{network}/{domain} has no item type {item_type}."))),
    }
}
