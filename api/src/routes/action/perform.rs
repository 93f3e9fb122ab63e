//! `POST /api/v1/action/perform` (CONTRACT 4.9), on the source instance.

use actix_web::http::StatusCode;
use actix_web::web::Payload;
use actix_web::{HttpRequest, HttpResponse};
use serde_json::{Map, Value};

use crate::app::App;
use crate::commands::action::{check_request, check_requirements};
use crate::commands::payload::Party;
use crate::http::ApiError;
use crate::http::body::read_json;
use crate::http::fields::collect;
use crate::http::headers::idempotency_key;
use crate::http::references::{ItemRef, ItemRefPlus, item_ref, item_ref_plus};
use crate::http::scalars::{name, object};
use crate::network::forward::{self, Forward};
use crate::network::held::{Performed, instance_url, local_item, private_half, resume, stored_ref};
use crate::network::perform::{Asked, perform_here, source_not_found};
use crate::writes::{Keyed, OF_ACTIONS, Tried, answer, keyed};

const ROUTE: &str = "action/perform";

struct Wanted {
    action_type: String,
    source: ItemRef,
    target: ItemRefPlus,
    requirements: Map<String, Value>,
}

pub(super) async fn handle(app: App, request: HttpRequest, payload: Payload) -> Result<HttpResponse, ApiError> {
    let caller = app.authenticator.user(request.headers()).await?;
    let body = read_json(&request, payload).await?;
    let (key, wanted) = collect(|faults| {
        let key = faults.header(idempotency_key(request.headers()));
        let wanted = faults.body(&body, |f| Wanted {
            action_type: f.required(("action_type", "action_name"), name),
            source: f.required("source_item", item_ref),
            target: f.required("target_item", item_ref_plus),
            requirements: f.required("requirements_snapshot", object),
        });
        (key, wanted)
    })?;
    let key = Keyed::of(key, &caller.user_id, ROUTE, &body)?;
    let metadata = app.metadata(&request, Some(&caller.user_id));
    let write = async |resend: bool| {
        let asked = prepare(&app, &caller.user_id, &wanted).await?;
        match instance_url(&wanted.target.instance_url)? {
            url if app.contracts.is_own(&url) => perform_here(&app, asked, key.as_ref(), metadata.clone()).await,
            _ => {
                let forward = Forward { user: &caller.user_id, key: key.as_ref(), resend };
                forward::perform(&app, forward, asked).await.map(Tried::Done)
            }
        }
    };
    let again = |record| resume::<Performed, _>(&app, record, StatusCode::CREATED, || write(true));
    let performed = keyed(&app, key.as_ref(), || write(false), again).await?;
    Ok(answer(&app, &request, performed, OF_ACTIONS).await)
}

/// Steps 2 to 6: everything that this instance can tell by itself.
async fn prepare(app: &App, user: &str, wanted: &Wanted) -> Result<Asked, ApiError> {
    let (source, target) = (&wanted.source, &wanted.target);
    let contracts = &app.contracts;
    if !contracts.serves(&source.network, &source.domain) {
        return Err(contracts.unserved(&source.network, &source.domain));
    }
    let item = local_item(app, source).await?.ok_or_else(source_not_found)?;
    if item.payload.created_by != user {
        let message = "This source item is not yours.";
        return Err(ApiError::new(StatusCode::FORBIDDEN, "SOURCE_ITEM_NOT_OWNED", message));
    }
    let registered = registered_target(app, target)?;
    let source_ref = stored_ref(source, &contracts.own_instance_url(&source.network, &source.domain));
    let target_ref = stored_ref(&target.item, &registered);
    let interaction = check_request(contracts, &wanted.action_type, &source_ref, &target_ref)?;
    let private = private_half(app, item.payload.item_id, item.version).await?;
    let kind = (source.network.as_str(), source.domain.as_str(), source.item_type.as_str());
    let private = contracts.resplit(kind, &item.payload.item_state, &private).map_or(private, |(_, private)| private);
    let requirements = interaction.overlay(wanted.requirements.clone(), &private);
    check_requirements(interaction, &requirements)?;
    Ok(Asked {
        action_type: wanted.action_type.clone(),
        source: Party { item: source_ref, owner: Some(user.to_owned()), here: true },
        target: target_ref,
        requirements,
    })
}

/// The target's URL in the spelling that the contract registers.
fn registered_target(app: &App, target: &ItemRefPlus) -> Result<String, ApiError> {
    let bad = |code, message: String| ApiError::new(StatusCode::BAD_REQUEST, code, message);
    let ItemRef { network, domain, .. } = &target.item;
    let Some(contract) = app.contracts.network(network) else {
        return Err(bad("INVALID_ACTION_REQUEST", format!("The network {network} is not loaded here.")));
    };
    if contract.domain(domain).is_none() {
        return Err(bad("INVALID_TARGET_ITEM", format!("{network} has no domain {domain}.")));
    }
    match app.contracts.registered(network, domain, &instance_url(&target.instance_url)?) {
        Some(instance) => Ok(instance.url.as_str().to_owned()),
        None => Err(bad(
            "INVALID_TARGET_INSTANCE",
            format!("The target instance is not registered for {network}/{domain}."),
        )),
    }
}
