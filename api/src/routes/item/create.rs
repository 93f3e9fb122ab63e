//! `POST /api/v1/item/create` (CONTRACT 4.4).

use actix_web::http::StatusCode;
use actix_web::web::Payload;
use actix_web::{HttpRequest, HttpResponse};
use dpg_eventstore::idempotency::{Progress, Record};
use dpg_eventstore::{Appended, Command, read};
use serde_json::{Map, Value};
use uuid::Uuid;

use super::as_owner_sees;
use crate::app::App;
use crate::auth::{self, Caller, Role, Via};
use crate::commands::item::{NewItem, create};
use crate::commands::payload::{ItemPayload, parse, timestamp};
use crate::http::ApiError;
use crate::http::body::read_json;
use crate::http::coordinates::Coordinates;
use crate::http::fields::collect;
use crate::http::headers::idempotency_key;
use crate::http::scalars::{name, owner, value};
use crate::network::held::private_half;
use crate::writes::{Answer, Keyed, OF_ITEMS, Tried, answer, keyed};

const ROUTE: &str = "item/create";

pub(super) async fn handle(app: App, request: HttpRequest, payload: Payload) -> Result<HttpResponse, ApiError> {
    let caller = app.authenticator.user(request.headers()).await?;
    let body = read_json(&request, payload).await?;
    let (key, created_by, new) = collect(|faults| {
        let key = faults.header(idempotency_key(request.headers()));
        let (created_by, new) = faults.body(&body, |f| {
            let new = NewItem {
                network: f.required(("item_network", "network"), name),
                domain: f.required(("item_domain", "domain"), name),
                item_type: f.required("item_type", name),
                state: f.nullable("item_state", value).unwrap_or_else(|| Value::Object(Map::new())),
                coordinates: match f.coordinates() {
                    Coordinates::At { latitude, longitude } => Some((latitude, longitude)),
                    Coordinates::Null | Coordinates::Absent => None,
                },
                owner: String::new(),
            };
            (f.nullable("created_by", owner), new)
        });
        (key, created_by, new)
    })?;
    let owner = owner_of(&app, &caller, created_by).await?;
    let key = Keyed::of(key, &caller.user_id, ROUTE, &body)?;
    let metadata = app.metadata(&request, Some(&caller.user_id));
    let write = || async {
        let (event, written) = create(&app.contracts, NewItem { owner, ..new }, Uuid::now_v7(), metadata)?;
        let network = written.payload.item_network.clone();
        let idempotency = key.as_ref().map(|key| key.record(StatusCode::CREATED, event.stream_id, event.version));
        match app.log.append(&network, Command { idempotency, ..Command::of(event) }).await? {
            Appended::Won { position, recorded_at } => {
                let body = written.as_owner_sees(&timestamp(recorded_at));
                let answer = Answer::of(StatusCode::CREATED, &body)?.version(written.version);
                Ok(Tried::Done(answer.at(&network, position.unwrap_or_default(), written.payload.item_id)))
            }
            Appended::Replayed => Ok(Tried::Replayed),
            Appended::Conflict => Err(already_exists()),
        }
    };
    let written = keyed(&app, key.as_ref(), write, |record| replay(&app, record)).await?;
    Ok(answer(&app, &request, written, OF_ITEMS).await)
}

/// Rules of `created_by`: an admin's API key names the owner, nobody else may.
async fn owner_of(app: &App, caller: &Caller, created_by: Option<String>) -> Result<String, ApiError> {
    let names_owners = caller.role == Role::Admin && caller.via == Via::ApiKey;
    match created_by {
        None if names_owners => {
            let message = "An admin's API key has to say whose item this is.";
            Err(ApiError::new(StatusCode::BAD_REQUEST, "CREATED_BY_REQUIRED", message))
        }
        None => Ok(caller.user_id.clone()),
        Some(_) if !names_owners => {
            let message = "Only an admin's API key may say whose item this is.";
            Err(ApiError::new(StatusCode::FORBIDDEN, "FORBIDDEN_CREATED_BY", message))
        }
        Some(owner) if auth::user_exists(&app.database, &owner).await? => Ok(owner),
        Some(_) => Err(ApiError::new(StatusCode::BAD_REQUEST, "INVALID_REFERENCE", "created_by names no user here.")),
    }
}

/// The first answer again, made from the log. An item that was deleted since comes without its private values.
async fn replay(app: &App, record: Record) -> Result<Answer, ApiError> {
    let Progress::Here { network, stream_id, version } = record.progress else {
        return Err(ApiError::unavailable());
    };
    let event = read::version(&app.database, &network, stream_id, version).await?;
    let Some(event) = event else { return Err(ApiError::unavailable()) };
    let payload: ItemPayload = parse(&event.payload).map_err(|error| ApiError::internal(&error))?;
    let private = private_half(app, stream_id, version).await?;
    let recorded_at = timestamp(event.recorded_at);
    let body = as_owner_sees(&payload, &private, &recorded_at, &recorded_at);
    Ok(Answer::of(StatusCode::CREATED, &body)?.version(version).at(&network, event.position, stream_id))
}

fn already_exists() -> ApiError {
    ApiError::new(StatusCode::CONFLICT, "ITEM_ALREADY_EXISTS", "An item with this id exists already.")
}
