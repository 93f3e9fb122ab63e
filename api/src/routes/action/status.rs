//! `POST /api/v1/action/update-status` (CONTRACT 4.11).

use actix_web::http::StatusCode;
use actix_web::web::Payload;
use actix_web::{HttpRequest, HttpResponse};

use crate::app::App;
use crate::commands::action::{StatusChange, not_owned, role_of};
use crate::commands::payload::LoadedAction;
use crate::contract::Role;
use crate::http::ApiError;
use crate::http::body::read_json;
use crate::http::fields::{Fields, collect};
use crate::http::headers::idempotency_key;
use crate::http::scalars::{name, object, remarks, uuid};
use crate::network::forward::{self, Forward};
use crate::network::held::{StatusSet, resume};
use crate::network::status::{action_not_found, known_action, set_status};
use crate::writes::{Keyed, OF_ACTIONS, Tried, answer, keyed};

const ROUTE: &str = "action/update-status";

pub(super) async fn handle(app: App, request: HttpRequest, payload: Payload) -> Result<HttpResponse, ApiError> {
    let caller = app.authenticator.user(request.headers()).await?;
    let body = read_json(&request, payload).await?;
    let (key, (action_id, change)) = collect(|faults| {
        let key = faults.header(idempotency_key(request.headers()));
        (key, faults.body(&body, |f| (f.required("action_id", uuid), read_change(f))))
    })?;
    let key = Keyed::of(key, &caller.user_id, ROUTE, &body)?;
    let metadata = app.metadata(&request, Some(&caller.user_id));
    let write = async |resend: bool| {
        let action = known_action(&app, action_id).await?.ok_or_else(action_not_found)?;
        if action.state.target.here {
            let role = |action: &LoadedAction| Ok(role_of(&action.state, &caller.user_id));
            return set_status(&app, action_id, change.clone(), key.as_ref(), metadata.clone(), role).await;
        }
        if role_of(&action.state, &caller.user_id) != Some(Role::Source) {
            return Err(not_owned());
        }
        let forward = Forward { user: &caller.user_id, key: key.as_ref(), resend };
        forward::update_status(&app, forward, &action, &change).await.map(Tried::Done)
    };
    // A forwarded status is sent again in any case: a peer that has the route honours keys.
    let again = |record| resume::<StatusSet, _>(&app, record, StatusCode::OK, || write(true));
    let set = keyed(&app, key.as_ref(), || write(false), again).await?;
    Ok(answer(&app, &request, set, OF_ACTIONS).await)
}

/// The change itself, as a client or a source instance sends it.
pub(in crate::routes) fn read_change(f: &mut Fields<'_>) -> StatusChange {
    StatusChange {
        status: f.required("action_status", name),
        remarks: f.nullable("remarks", remarks),
        event_payload: f.nullable("event_payload", object),
    }
}
