//! `GET /` and `GET /.well-known/dpg-peer` (CONTRACT 4.1, 4.14b): who this instance is. They touch neither database nor
//! Redis.

use actix_web::HttpResponse;
use actix_web::web::ServiceConfig;
use dpg_mirror::capability::{BATCH_BYTES, BATCH_EVENTS};
use serde_json::{Value, json};

use crate::app::App;
use crate::config::ContractSource;
use crate::http::endpoint::Endpoint;

pub(super) fn configure(config: &mut ServiceConfig) {
    config.service(Endpoint::at("/").get(root)).service(Endpoint::at("/.well-known/dpg-peer").get(peer));
}

async fn root(app: App) -> HttpResponse {
    let served: Vec<Value> = (app.config.served_domains.iter())
        .map(|(network, domain)| json!({"network": network, "domain": domain, "key": format!("{network}/{domain}")}))
        .collect();
    HttpResponse::Ok().json(json!({
        "service": app.config.instance_name,
        "status": "ok",
        "network_config_source": match app.config.contract_source {
            ContractSource::Local => "local",
            ContractSource::Remote => "remote",
        },
        "served_domains": served,
    }))
}

async fn peer(app: App) -> HttpResponse {
    HttpResponse::Ok().json(json!({
        "instance_url": app.contracts.own_url().as_str(),
        "software": "dpg",
        "version": env!("CARGO_PKG_VERSION"),
        "public_keys": app.own_public_keys,
        "capabilities": ["event-batch", "status-forward", "idempotency-key", "cursor", "histories"],
        "limits": {"batch_events": BATCH_EVENTS, "batch_bytes": BATCH_BYTES},
    }))
}
