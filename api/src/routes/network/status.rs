//! `POST /api/v1/network/action/update-status` (CONTRACT 4.12): a source instance passes on its owner's status change.

use actix_web::http::StatusCode;
use actix_web::web::Payload;
use actix_web::{HttpRequest, HttpResponse};
use dpg_eventstore::Metadata;
use dpg_mirror::LaneKey;
use dpg_mirror::operator::lanes_moved_to;
use uuid::Uuid;

use super::{PeerCall, read_call};
use crate::app::App;
use crate::commands::action::StatusChange;
use crate::commands::payload::LoadedAction;
use crate::contract::{InstanceUrl, Role};
use crate::http::ApiError;
use crate::http::fields::Fields;
use crate::http::references::{ItemRefPlus, item_ref_plus};
use crate::http::scalars::{owner, uuid};
use crate::network::held::{StatusSet, instance_url, resume};
use crate::network::status::{action_not_found, set_status};
use crate::network::trust::Claim;
use crate::routes::action::status::read_change;
use crate::writes::{Keyed, OF_ACTIONS, answer, keyed};

const ROUTE: &str = "network/action/update-status";

struct Body {
    action_id: Uuid,
    change: StatusChange,
    source: ItemRefPlus,
    source_owner: String,
}

fn read(f: &mut Fields<'_>) -> Body {
    Body {
        action_id: f.required("action_id", uuid),
        change: read_change(f),
        source: f.required("source_item", item_ref_plus),
        source_owner: f.required("source_item_owner", owner),
    }
}

pub(super) async fn handle(app: App, request: HttpRequest, payload: Payload) -> Result<HttpResponse, ApiError> {
    let PeerCall { credentials, key, json, body } = read_call(&app, &request, payload, read).await?;
    let source = &body.source.item;
    let claim = Claim {
        network: &source.network,
        registered_for: (&source.network, &source.domain),
        instance: &body.source.instance_url,
        only_signed: true,
    };
    credentials.judge_write(&app, &request, claim).await?;
    let claimed = instance_url(&body.source.instance_url)?;
    let key = Keyed::of(key, claimed.normalised(), ROUTE, &json)?;
    let metadata = Metadata { origin: Some(claimed.normalised().to_owned()), ..app.metadata(&request, None) };
    let write = async || {
        let moved = lanes_moved_to(&app.database, claimed.normalised()).await?;
        let role = |action: &LoadedAction| in_source_role(action, &body, &claimed, &moved);
        set_status(&app, body.action_id, body.change.clone(), key.as_ref(), metadata.clone(), role).await
    };
    // The effect of this route is always here: there is nothing to go on with.
    let gone = || async { Err(ApiError::unavailable()) };
    let again = |record| resume::<StatusSet, _>(&app, record, StatusCode::OK, gone);
    let set = keyed(&app, key.as_ref(), write, again).await?;
    Ok(answer(&app, &request, set, OF_ACTIONS).await)
}

/// The instance speaks for the action's source item and its owner, or for nobody. An action of before it moved is known
/// here by its old address, whose lane an operator has moved to the new one.
fn in_source_role(
    action: &LoadedAction,
    body: &Body,
    claimed: &InstanceUrl,
    moved: &[LaneKey],
) -> Result<Option<Role>, ApiError> {
    let (known, told) = (&action.state.source, &body.source.item);
    let item = &known.item;
    let has_moved = |url: &InstanceUrl| {
        let network = &action.state.partition_network;
        moved.iter().any(|lane| lane.network == *network && lane.destination == url.normalised())
    };
    let same_instance = InstanceUrl::parse(&item.item_instance_url).is_ok_and(|url| url == *claimed || has_moved(&url));
    let same_item = (&item.item_network, &item.item_domain, &item.item_type, item.item_id)
        == (&told.network, &told.domain, &told.item_type, told.id);
    if known.here || !same_instance || !same_item {
        return Err(action_not_found());
    }
    if known.owner.as_deref() != Some(body.source_owner.as_str()) {
        let message = "The source item is not this owner's.";
        return Err(ApiError::new(StatusCode::FORBIDDEN, "SOURCE_ITEM_NOT_OWNED", message));
    }
    Ok(Some(Role::Source))
}
