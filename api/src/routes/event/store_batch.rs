//! `POST /api/v1/event/store/batch` (CONTRACT 4.14a): the mirror inlet for instances of our own make.

use actix_web::http::StatusCode;
use actix_web::web::Payload;
use actix_web::{HttpRequest, HttpResponse};
use dpg_mirror::capability::BATCH_BYTES;

use crate::app::App;
use crate::contract::InstanceUrl;
use crate::http::ApiError;
use crate::http::body::{json_of, read_bytes};
use crate::http::fields::read_body;
use crate::network::mirrored_batch::{Batch, read_batch, store_batch};
use crate::network::trust::{Claim, credentials};
use crate::writes::{Answer, OF_ACTIONS, mirrored_answer};

pub(super) async fn handle(app: App, request: HttpRequest, payload: Payload) -> Result<HttpResponse, ApiError> {
    let bytes = read_bytes(payload).await?;
    if bytes.len() > BATCH_BYTES {
        let message = "A batch has at most 256 KiB.";
        return Err(ApiError::new(StatusCode::PAYLOAD_TOO_LARGE, "PAYLOAD_TOO_LARGE", message));
    }
    let credentials = credentials(&app, &request, &bytes)?;
    let body = json_of(&request, &bytes)?;
    let batch = read_body(&body, read_batch)?;
    credentials.judge_write(&app, &request, claim(&app, &batch)).await?;
    if !InstanceUrl::parse(&batch.destination).is_ok_and(|url| app.contracts.is_own(&url)) {
        let message = "The destination is not this instance.";
        return Err(ApiError::new(StatusCode::BAD_REQUEST, "INVALID_DESTINATION", message));
    }
    let taken = store_batch(&app, batch, &app.metadata(&request, None)).await?;
    let mut answer = Answer::of(StatusCode::OK, &taken.body)?;
    answer.at = taken.effect;
    Ok(mirrored_answer(&app, answer, OF_ACTIONS).await)
}

/// The origin, for any domain of the lane's network.
fn claim<'a>(app: &'a App, batch: &'a Batch) -> Claim<'a> {
    let origin = InstanceUrl::parse(&batch.origin).ok();
    let registered = origin.and_then(|origin| app.contracts.registered_anywhere(&batch.network, &origin));
    let domain = registered.map_or("", |instance| instance.domain_id.as_str());
    Claim {
        network: &batch.network,
        registered_for: (&batch.network, domain),
        instance: &batch.origin,
        only_signed: true,
    }
}
