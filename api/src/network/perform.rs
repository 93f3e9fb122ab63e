//! Performing an action on an item that lives here: steps 2 to 8 of CONTRACT 4.10, for a source item of our own and for
//! one of a peer alike.

use actix_web::http::StatusCode;
use dpg_eventstore::{Appended, Command, Metadata};
use serde_json::{Map, Value};
use uuid::Uuid;

use super::held::{Performed, local_item};
use crate::app::App;
use crate::commands::action::{Perform, perform};
use crate::commands::payload::{Coordinates, ItemRef, LoadedItem, Party};
use crate::http::ApiError;
use crate::writes::{Answer, Keyed, TRIES, Tried, before_retry};

/// What is asked of a target item, checked as far as the source can.
#[derive(Debug, Clone)]
pub struct Asked {
    /// Type in the target network's contract.
    pub action_type: String,
    /// Who asks.
    pub source: Party,
    /// Who is asked, its URL in the registered spelling.
    pub target: ItemRef,
    /// What the source hands over, private values merged in.
    pub requirements: Map<String, Value>,
}

/// Makes the action. The target item, and the source item when it is ours, must still be there when it commits.
///
/// # Errors
/// Those of CONTRACT 4.10.
pub async fn perform_here(app: &App, asked: Asked, key: Option<&Keyed>, metadata: Metadata) -> Result<Tried, ApiError> {
    let (network, domain) = (&asked.target.item_network, &asked.target.item_domain);
    if !app.contracts.serves(network, domain) {
        return Err(app.contracts.unserved(network, domain));
    }
    let own_url = app.contracts.own_instance_url(network, domain);
    let action_id = Uuid::now_v7();
    for attempt in 0..TRIES {
        let (guards, wanted) = decide_on(app, &asked, action_id, &own_url).await?;
        let (event, payload) = perform(&app.contracts, wanted, metadata.clone())?;
        let idempotency = key.map(|key| key.record(StatusCode::CREATED, event.stream_id, event.version));
        let command = Command { guards, idempotency, ..Command::of(event) };
        match app.log.append(network, command).await? {
            Appended::Won { position, .. } => {
                let answer = Answer::of(StatusCode::CREATED, &Performed::from(&payload.action))?;
                return Ok(Tried::Done(answer.at(network, position.unwrap_or_default(), action_id)));
            }
            Appended::Replayed => return Ok(Tried::Replayed),
            // An item went away meanwhile, which the next look will tell.
            Appended::Conflict => before_retry(attempt).await,
        }
    }
    Err(ApiError::unavailable())
}

async fn decide_on(app: &App, asked: &Asked, action_id: Uuid, own_url: &str) -> Result<(Vec<Uuid>, Perform), ApiError> {
    let target = here(app, &asked.target).await?.ok_or_else(target_not_found)?;
    let mut guards = vec![target.payload.item_id];
    let mut source_coordinates = None;
    if asked.source.here {
        let source = here(app, &asked.source.item).await?.ok_or_else(source_not_found)?;
        source_coordinates = coordinates(&source);
        guards.push(source.payload.item_id);
    }
    let wanted = Perform {
        action_type: asked.action_type.clone(),
        action_id,
        source: asked.source.clone(),
        source_coordinates,
        target_coordinates: coordinates(&target),
        target: Party {
            item: ItemRef { item_instance_url: own_url.to_owned(), ..asked.target.clone() },
            owner: Some(target.payload.created_by),
            here: true,
        },
        requirements: asked.requirements.clone(),
    };
    Ok((guards, wanted))
}

/// An item that a reference names, if it is here and alive.
pub async fn here(app: &App, item: &ItemRef) -> Result<Option<LoadedItem>, ApiError> {
    let key = crate::http::references::ItemRef {
        network: item.item_network.clone(),
        domain: item.item_domain.clone(),
        item_type: item.item_type.clone(),
        id: item.item_id,
    };
    local_item(app, &key).await
}

/// Where an item is.
#[must_use]
pub fn coordinates(item: &LoadedItem) -> Coordinates {
    item.payload.item_latitude.zip(item.payload.item_longitude)
}

/// 404 `SOURCE_ITEM_NOT_FOUND`.
#[must_use]
pub fn source_not_found() -> ApiError {
    ApiError::new(StatusCode::NOT_FOUND, "SOURCE_ITEM_NOT_FOUND", "There is no such source item here.")
}

fn target_not_found() -> ApiError {
    ApiError::new(StatusCode::NOT_FOUND, "TARGET_ITEM_NOT_FOUND", "There is no such target item here.")
}
