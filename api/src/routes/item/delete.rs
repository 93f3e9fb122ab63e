//! `DELETE /api/v1/item/:itemId` (CONTRACT 4.7).

use actix_web::web::Payload;
use actix_web::{HttpRequest, HttpResponse};
use dpg_eventstore::{Appended, Command, Metadata};
use uuid::Uuid;

use super::{conflict, load, precondition_failed};
use crate::app::App;
use crate::commands::item::delete;
use crate::http::ApiError;
use crate::http::body::read_bytes;
use crate::http::fields::collect;
use crate::http::headers::{IfMatch, if_match};
use crate::http::scalars::uuid;
use crate::writes::{Answer, OF_ALL, TRIES, answer, before_retry};

pub(super) async fn handle(app: App, request: HttpRequest, payload: Payload) -> Result<HttpResponse, ApiError> {
    let caller = app.authenticator.user(request.headers()).await?;
    read_bytes(payload).await?;
    let (item, condition) =
        collect(|faults| (faults.path(&request, "itemId", uuid), faults.header(if_match(request.headers()))))?;
    let metadata = app.metadata(&request, Some(&caller.user_id));
    let written = write(&app, &caller.user_id, item, condition.as_ref(), metadata).await?;
    Ok(answer(&app, &request, written, OF_ALL).await)
}

async fn write(
    app: &App,
    user: &str,
    item: Uuid,
    condition: Option<&IfMatch>,
    metadata: Metadata,
) -> Result<Answer, ApiError> {
    for attempt in 0..TRIES {
        let turn = app.streams.lock(item).await;
        let loaded = load(app, item, |item| item.created_by == user).await?;
        if condition.is_some_and(|condition| !condition.allows(loaded.version.into())) {
            return Err(precondition_failed());
        }
        let event = delete(&loaded, metadata.clone())?;
        match app.log.append(&loaded.payload.item_network, Command::of(event)).await? {
            Appended::Won { position, .. } => {
                return Ok(Answer::empty().at(&loaded.payload.item_network, position.unwrap_or_default(), item));
            }
            Appended::Conflict | Appended::Replayed => drop(turn),
        }
        before_retry(attempt).await;
    }
    Err(conflict())
}
