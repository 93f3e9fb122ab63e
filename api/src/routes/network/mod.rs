//! `/api/v1/network/*`: what other instances and user interfaces ask of this one.

mod perform;
mod schema;
mod schemas;
mod status;

use actix_web::web::ServiceConfig;

use crate::http::endpoint::Endpoint;

pub(super) fn configure(config: &mut ServiceConfig) {
    config
        .service(Endpoint::at("/api/v1/network/action/perform").post(perform::handle))
        .service(Endpoint::at("/api/v1/network/action/update-status").post(status::handle))
        .service(Endpoint::at("/api/v1/network/schemas").get(schemas::handle))
        .service(Endpoint::at("/api/v1/network/schema/{network}/{domain}/{itemType}").get(schema::handle));
}
