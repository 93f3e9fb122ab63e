//! `POST /api/v1/event/store` (CONTRACT 4.14): the mirror inlet. User credentials are neither needed nor looked at.

use actix_web::web::Payload;
use actix_web::{HttpRequest, HttpResponse};

use crate::app::App;
use crate::http::ApiError;
use crate::http::body::{json_of, read_bytes};
use crate::http::fields::read_body;
use crate::network::mirrored::{read_event, store};
use crate::network::trust::{Claim, credentials};
use crate::writes::{OF_ACTIONS, mirrored_answer};

pub(super) async fn handle(app: App, request: HttpRequest, payload: Payload) -> Result<HttpResponse, ApiError> {
    let bytes = read_bytes(payload).await?;
    let credentials = credentials(&app, &request, &bytes)?;
    let body = json_of(&request, &bytes)?;
    let event = read_body(&body, read_event)?;
    let source = &event.source.item;
    if !app.contracts.serves(&source.network, &source.domain) {
        return Err(app.contracts.unserved(&source.network, &source.domain));
    }
    event.check_network(&app)?;
    let target = &event.target.item;
    let claim = Claim {
        network: &target.network,
        registered_for: (&target.network, &target.domain),
        instance: &event.origin,
        only_signed: false,
    };
    credentials.judge_write(&app, &request, claim).await?;
    let stored = store(&app, event, app.metadata(&request, None)).await?;
    Ok(mirrored_answer(&app, stored, OF_ACTIONS).await)
}
