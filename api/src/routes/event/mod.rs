//! `/api/v1/event/*`: the history of actions, and the inlet for other instances' events.

mod fetch;
mod store;
mod store_batch;

use actix_web::web::ServiceConfig;

use crate::http::endpoint::Endpoint;

pub(super) fn configure(config: &mut ServiceConfig) {
    config
        .service(Endpoint::at("/api/v1/event/store").post(store::handle))
        .service(Endpoint::at("/api/v1/event/store/batch").post(store_batch::handle))
        .service(Endpoint::at("/api/v1/event/fetch").get(fetch::handle));
}
