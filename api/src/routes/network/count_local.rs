//! `POST /api/v1/network/item/count_local` (CONTRACT 4.17): how many items of a pair are here, whoever owns them.

use actix_web::web::Payload;
use actix_web::{HttpRequest, HttpResponse};
use serde_json::json;

use super::read_question;
use crate::app::App;
use crate::http::ApiError;
use crate::network::fetch::own;

pub(super) async fn handle(app: App, request: HttpRequest, payload: Payload) -> Result<HttpResponse, ApiError> {
    let (filter, ()) = read_question(&app, &request, payload, |_| ()).await?;
    let count = own::count(&app, &filter).await?;
    Ok(HttpResponse::Ok().json(json!({ "count": count })))
}
