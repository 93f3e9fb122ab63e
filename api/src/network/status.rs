//! Changing the status of an action that is held here: steps 1 to 7 of CONTRACT 4.11, for its owners and for a source
//! instance that speaks for one alike.

use actix_web::http::StatusCode;
use dpg_eventstore::{Appended, Command, Metadata, read};
use uuid::Uuid;

use super::held::{StatusSet, loaded_action};
use super::perform::{coordinates, here};
use crate::app::App;
use crate::commands::action::{StatusChange, conflict, update_status};
use crate::commands::payload::LoadedAction;
use crate::contract::Role;
use crate::http::ApiError;
use crate::writes::{Answer, Keyed, TRIES, Tried, before_retry};

/// An action that is known here.
pub async fn known_action(app: &App, action: Uuid) -> Result<Option<LoadedAction>, ApiError> {
    loaded_action(read::load(&app.database, action).await?.as_ref())
}

/// Changes the status; `role_of` tells in which role the caller acts, or refuses.
///
/// # Errors
/// Those of CONTRACT 4.11 for an action that is held here.
pub async fn set_status(
    app: &App,
    action_id: Uuid,
    change: StatusChange,
    key: Option<&Keyed>,
    metadata: Metadata,
    role_of: impl Fn(&LoadedAction) -> Result<Option<Role>, ApiError>,
) -> Result<Tried, ApiError> {
    for attempt in 0..TRIES {
        let turn = app.streams.lock(action_id).await;
        let action = known_action(app, action_id).await?.filter(|action| action.state.target.here);
        let action = action.ok_or_else(action_not_found)?;
        let target = here(app, &action.state.target.item).await?.ok_or_else(action_not_found)?;
        let source = match action.state.source.here {
            true => here(app, &action.state.source.item).await?,
            false => None,
        };
        let role = role_of(&action)?;
        let coordinates = (source.as_ref().and_then(coordinates), coordinates(&target));
        let decided = update_status(&app.contracts, &action, role, change.clone(), coordinates, metadata.clone());
        let (event, payload) = decided?;
        let network = action.state.partition_network;
        let idempotency = key.map(|key| key.record(StatusCode::OK, event.stream_id, event.version));
        let guards = vec![target.payload.item_id];
        match app.log.append(&network, Command { guards, idempotency, ..Command::of(event) }).await? {
            Appended::Won { position, .. } => {
                let answer = Answer::of(StatusCode::OK, &StatusSet::from(&payload.action))?;
                return Ok(Tried::Done(answer.at(&network, position.unwrap_or_default(), action_id)));
            }
            Appended::Replayed => return Ok(Tried::Replayed),
            Appended::Conflict => drop(turn),
        }
        before_retry(attempt).await;
    }
    Err(conflict())
}

/// 404 `ACTION_NOT_FOUND`.
#[must_use]
pub fn action_not_found() -> ApiError {
    ApiError::new(StatusCode::NOT_FOUND, "ACTION_NOT_FOUND", "There is no such action here.")
}
