//! `/api/v1/action/*`: actions of a user's items.

pub(super) mod fetch;
mod perform;
pub(super) mod status;

use actix_web::web::ServiceConfig;

use crate::http::endpoint::Endpoint;

pub(super) fn configure(config: &mut ServiceConfig) {
    config
        .service(Endpoint::at("/api/v1/action/perform").post(perform::handle))
        .service(Endpoint::at("/api/v1/action/update-status").post(status::handle))
        .service(Endpoint::at("/api/v1/action/fetch").get(fetch::handle));
}
