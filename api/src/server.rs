//! The HTTP server of a process: listens, answers, and drains when the process is told to stop.

use std::time::Duration;

use actix_web::middleware::from_fn;
use actix_web::web::{self, Data};
use actix_web::{App as WebApp, HttpServer};
use tokio_util::sync::CancellationToken;

use crate::app::Shared;
use crate::auth;
use crate::http::cors::{Cors, preflight};
use crate::http::endpoint::no_such_route;
use crate::http::envelope::envelope;
use crate::http::metrics::{HttpMetrics, measured};
use crate::routes;

/// How long answers under way may take once the process stops, in seconds.
const DRAIN_SECONDS: u64 = 20;

/// Serves until `stop`, then takes no new connections and finishes what is under way. A process without the API answers
/// its health and metrics only.
///
/// # Errors
/// When the port can't be had.
pub async fn run(app: Shared, metrics: HttpMetrics, api: bool, stop: CancellationToken) -> std::io::Result<()> {
    let port = app.config.api_port;
    let address = ("0.0.0.0", port);
    let authenticator = Data::from(app.authenticator.clone());
    let config = &app.config;
    let cors = Data::new(Cors::new(&config.allowed_origins, config.localhost_origins, app.in_force.clone()));
    let shared = Data::new(app);
    let metrics = Data::new(metrics);
    let server = HttpServer::new(move || {
        WebApp::new()
            .app_data(shared.clone())
            .app_data(authenticator.clone())
            .app_data(metrics.clone())
            .app_data(cors.clone())
            .configure(routes::configure_health)
            .configure(|config| {
                if api {
                    routes::configure(config);
                    auth::configure(config);
                }
            })
            .default_service(web::to(no_such_route))
            .wrap(from_fn(preflight))
            .wrap(from_fn(measured))
            .wrap(from_fn(envelope))
    })
    .disable_signals()
    .shutdown_timeout(DRAIN_SECONDS)
    .keep_alive(Duration::from_secs(75))
    .client_request_timeout(Duration::from_secs(20))
    .backlog(1024)
    .bind(address)?
    .run();
    tracing::info!(port, "listening");
    let handle = server.handle();
    let draining = tokio::spawn(async move {
        stop.cancelled().await;
        handle.stop(true).await;
    });
    let served = server.await;
    draining.abort();
    served
}
