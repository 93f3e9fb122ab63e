//! `/api/v1/admin/*`: what an operator sees of delivery and does about it (CONTRACT 4.24). The verbs are the mirror's;
//! the command line has the same.

mod outbox;
mod peers;

use actix_web::HttpRequest;
use actix_web::web::ServiceConfig;
use chrono::Utc;
use dpg_mirror::{LaneStatus, Operator};
use serde_json::Value;

use crate::app::App;
use crate::contract::InstanceUrl;
use crate::http::ApiError;
use crate::http::endpoint::Endpoint;

pub(super) fn configure(config: &mut ServiceConfig) {
    config
        .service(Endpoint::at("/api/v1/admin/peers").get(peers::list))
        .service(Endpoint::at("/api/v1/admin/peers/pause").post(peers::pause))
        .service(Endpoint::at("/api/v1/admin/peers/resume").post(peers::resume))
        .service(Endpoint::at("/api/v1/admin/peers/probe").post(peers::probe))
        .service(Endpoint::at("/api/v1/admin/outbox/parked").get(outbox::list))
        .service(Endpoint::at("/api/v1/admin/outbox/parked/{id}").get(outbox::show))
        .service(Endpoint::at("/api/v1/admin/outbox/parked/{id}/retry").post(outbox::retry))
        .service(Endpoint::at("/api/v1/admin/outbox/parked/{id}/drop").post(outbox::drop_parked))
        .service(Endpoint::at("/api/v1/admin/outbox/resend").post(outbox::resend));
}

/// The operator who calls, ready to work.
async fn operator(app: &App, request: &HttpRequest) -> Result<Operator, ApiError> {
    let who = app.authenticator.operator(request.headers(), app.config.admin_key.as_ref()).await?;
    Ok(Operator { db: app.database.clone(), by: who.0, now: Utc::now() })
}

/// A lane's destination in the spelling that is called; itself when it is registered no more.
pub(super) fn spelling(app: &App, network: &str, destination: &str) -> String {
    let parsed = InstanceUrl::parse(destination).ok();
    let registered = parsed.and_then(|url| Some(app.contracts.called(network, &url)?.url.to_string()));
    registered.unwrap_or_else(|| destination.to_owned())
}

/// Lanes as answers show them.
pub(super) fn lane_objects(app: &App, lanes: &[LaneStatus]) -> Vec<Value> {
    let now = Utc::now();
    lanes.iter().map(|lane| lane.to_json(&spelling(app, &lane.key.network, &lane.key.destination), now)).collect()
}
