//! `POST /api/v1/network/action/perform` (CONTRACT 4.10), on the target instance.

use actix_web::http::StatusCode;
use actix_web::web::Payload;
use actix_web::{HttpRequest, HttpResponse};
use dpg_eventstore::Metadata;
use serde_json::{Map, Value};

use super::{PeerCall, read_call};
use crate::app::App;
use crate::commands::payload::Party;
use crate::contract::InstanceUrl;
use crate::http::ApiError;
use crate::http::fields::Fields;
use crate::http::references::{ItemRefPlus, item_ref_plus};
use crate::http::scalars::{name, object, owner};
use crate::network::held::{Performed, instance_url, resume, stored_ref};
use crate::network::perform::{Asked, perform_here};
use crate::network::trust::Claim;
use crate::writes::{Keyed, OF_ACTIONS, answer, keyed};

const ROUTE: &str = "network/action/perform";

#[derive(Default)]
struct Body {
    action_type: String,
    source: ItemRefPlus,
    target: ItemRefPlus,
    source_owner: String,
    requirements: Map<String, Value>,
}

fn read(f: &mut Fields<'_>) -> Body {
    Body {
        action_type: f.required(("action_type", "action_name"), name),
        source: f.required("source_item", item_ref_plus),
        target: f.required("target_item", item_ref_plus),
        source_owner: f.required("source_item_owner", owner),
        requirements: f.required("requirements_snapshot", object),
    }
}

pub(super) async fn handle(app: App, request: HttpRequest, payload: Payload) -> Result<HttpResponse, ApiError> {
    let PeerCall { credentials, key, json, body } = read_call(&app, &request, payload, read).await?;
    let source = &body.source.item;
    let claim = Claim {
        network: &source.network,
        registered_for: (&source.network, &source.domain),
        instance: &body.source.instance_url,
        only_signed: false,
    };
    credentials.judge_write(&app, &request, claim).await?;
    let claimed = registered(&app, &body)?;
    let key = Keyed::of(key, instance_url(&claimed)?.normalised(), ROUTE, &json)?;
    let metadata = Metadata { origin: Some(claimed.clone()), ..app.metadata(&request, None) };
    let write = || async { perform_here(&app, asked(&app, &body, &claimed)?, key.as_ref(), metadata).await };
    // The effect of this route is always here: there is nothing to go on with.
    let gone = || async { Err(ApiError::unavailable()) };
    let again = |record| resume::<Performed, _>(&app, record, StatusCode::CREATED, gone);
    let performed = keyed(&app, key.as_ref(), write, again).await?;
    Ok(answer(&app, &request, performed, OF_ACTIONS).await)
}

/// The source instance in its registered spelling: URLs are stored as the contract writes them, not as sent.
fn registered(app: &App, body: &Body) -> Result<String, ApiError> {
    let sent = &body.source.instance_url;
    let source = &body.source.item;
    let url = instance_url(sent)?;
    let instance = app.contracts.registered(&source.network, &source.domain, &url);
    Ok(instance.map_or_else(|| sent.clone(), |instance| instance.url.as_str().to_owned()))
}

fn asked(app: &App, body: &Body, claimed: &str) -> Result<Asked, ApiError> {
    let target = &body.target.item;
    if !app.contracts.serves(&target.network, &target.domain) {
        return Err(app.contracts.unserved(&target.network, &target.domain));
    }
    if !InstanceUrl::parse(&body.target.instance_url).is_ok_and(|url| app.contracts.is_own(&url)) {
        let message = "The target item's instance is not this one.";
        return Err(ApiError::new(StatusCode::BAD_REQUEST, "INVALID_TARGET_INSTANCE", message));
    }
    let source =
        Party { item: stored_ref(&body.source.item, claimed), owner: Some(body.source_owner.clone()), here: false };
    Ok(Asked {
        action_type: body.action_type.clone(),
        source,
        target: stored_ref(target, &body.target.instance_url),
        requirements: body.requirements.clone(),
    })
}
