//! The routes: HTTP in and out, no more. The tree mirrors the URLs.

pub(crate) mod action;
mod admin;
mod event;
mod health;
mod item;
mod match_score;
mod network;
mod peers;
pub(crate) mod reference;
mod root;

use actix_web::web::ServiceConfig;

/// Registers what every process answers: health and metrics.
pub fn configure_health(config: &mut ServiceConfig) {
    health::configure(config);
}

/// Registers every route of `/` and `/api/v1`.
pub fn configure(config: &mut ServiceConfig) {
    root::configure(config);
    reference::configure(config);
    item::configure(config);
    action::configure(config);
    event::configure(config);
    match_score::configure(config);
    network::configure(config);
    peers::configure(config);
    admin::configure(config);
}
