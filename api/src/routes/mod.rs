//! The routes: HTTP in and out, no more. The tree mirrors the URLs.

pub(crate) mod action;
mod event;
mod health;
mod item;
mod network;
mod root;

use actix_web::web::ServiceConfig;

/// Registers every route of `/`, `/health` and `/api/v1`.
pub fn configure(config: &mut ServiceConfig) {
    root::configure(config);
    health::configure(config);
    item::configure(config);
    action::configure(config);
    event::configure(config);
    network::configure(config);
}
