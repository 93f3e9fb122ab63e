//! `PATCH /api/v1/item/:itemId` (CONTRACT 4.6).

use actix_web::http::StatusCode;
use actix_web::web::Payload;
use actix_web::{HttpRequest, HttpResponse};
use dpg_eventstore::{Appended, Command, Metadata};
use serde_json::json;
use uuid::Uuid;

use super::{as_owner_sees, conflict, load, precondition_failed};
use crate::app::App;
use crate::auth::{Caller, Role};
use crate::commands::item::{ItemChange, update};
use crate::commands::payload::timestamp;
use crate::http::ApiError;
use crate::http::body::read_json;
use crate::http::coordinates::Coordinates;
use crate::http::fields::{Fields, collect};
use crate::http::headers::{IfMatch, if_match};
use crate::http::scalars::{text, uuid, value};
use crate::network::held::private_half;
use crate::writes::{Answer, OF_ITEMS, TRIES, answer, before_retry};

pub(super) async fn handle(app: App, request: HttpRequest, payload: Payload) -> Result<HttpResponse, ApiError> {
    let caller = app.authenticator.user(request.headers()).await?;
    let body = read_json(&request, payload).await?;
    let (item, condition, change) = collect(|faults| {
        let item = faults.path(&request, "itemId", uuid);
        let condition = faults.header(if_match(request.headers()));
        (item, condition, faults.body(&body, read_change))
    })?;
    let metadata = app.metadata(&request, Some(&caller.user_id));
    let written = write(&app, &caller, item, condition.as_ref(), &change, metadata).await?;
    Ok(answer(&app, &request, written, OF_ITEMS).await)
}

fn read_change(f: &mut Fields<'_>) -> ItemChange {
    if f.is_empty() {
        f.fault_here("must have at least one key");
    }
    let state = f.optional("item_state", value);
    let coordinates = match f.coordinates() {
        Coordinates::Absent => None,
        Coordinates::Null => Some(None),
        Coordinates::At { latitude, longitude } => Some(Some((latitude, longitude))),
    };
    // Accepted for existing clients, and never written.
    f.optional("item_instance_url", text(0..=usize::MAX));
    f.optional("item_schema_url", text(0..=usize::MAX));
    f.refuse_unknown();
    ItemChange { state, coordinates }
}

async fn write(
    app: &App,
    caller: &Caller,
    item: Uuid,
    condition: Option<&IfMatch>,
    change: &ItemChange,
    metadata: Metadata,
) -> Result<Answer, ApiError> {
    for attempt in 0..TRIES {
        let turn = app.streams.lock(item).await;
        let loaded = load(app, item, |item| item.created_by == caller.user_id || caller.role == Role::Admin).await?;
        if condition.is_some_and(|condition| !condition.allows(loaded.version.into())) {
            return Err(precondition_failed());
        }
        let private = private_half(app, item, loaded.version).await?;
        let network = loaded.payload.item_network.clone();
        if change.is_empty() {
            let updated_at = timestamp(loaded.updated_at);
            let body = json!({"item": as_owner_sees(&loaded.payload, &private, &loaded.created_at, &updated_at)});
            return Ok(Answer::of(StatusCode::OK, &body)?.version(loaded.version).at(&network, loaded.position, item));
        }
        let (event, written) = update(&app.contracts, &loaded, private, change.clone(), metadata.clone())?;
        match app.log.append(&network, Command::of(event)).await? {
            Appended::Won { position, recorded_at } => {
                let body = json!({"item": written.as_owner_sees(&timestamp(recorded_at))});
                let answer = Answer::of(StatusCode::OK, &body)?.version(written.version);
                return Ok(answer.at(&network, position.unwrap_or_default(), item));
            }
            Appended::Conflict | Appended::Replayed => drop(turn),
        }
        before_retry(attempt).await;
    }
    Err(conflict())
}
