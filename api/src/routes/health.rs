//! `GET /health/live`, `GET /health/ready`, `GET /metrics` (CONTRACT 4.2).

use std::time::{Duration, Instant};

use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use actix_web::web::ServiceConfig;
use dpg_eventstore::{Chain, read};
use prometheus::{Encoder, TextEncoder};
use serde_json::{Value, json};

use crate::app::App;
use crate::http::ApiError;
use crate::http::endpoint::Endpoint;

/// Each check may take so long.
const CAP: Duration = Duration::from_secs(2);
/// The projector is not ok when its oldest event is older.
const BEHIND_MS: i64 = 30_000;
/// And makes a process that projects not ready when it is older still.
const FAR_BEHIND_MS: i64 = 300_000;

pub(super) fn configure(config: &mut ServiceConfig) {
    config
        .service(Endpoint::at("/health/live").get(live))
        .service(Endpoint::at("/health/ready").get(ready))
        .service(Endpoint::at("/metrics").get(metrics));
}

async fn live() -> HttpResponse {
    HttpResponse::Ok().json(json!({"status": "live"}))
}

async fn ready(app: App) -> HttpResponse {
    let (postgres, projector, redis) = tokio::join!(postgres(&app), projector(&app), redis(&app));
    let contract = json!({
        "ok": true,
        "required": true,
        "networks": app.contracts.networks().iter().map(|network| network.id()).collect::<Vec<_>>(),
        "version": app.contracts.version(),
    });
    let checks = json!({"postgres": postgres, "contract": contract, "projector": projector, "redis": redis});
    let failed = |check: &Value| check["required"] == true && check["ok"] == false;
    let ready = !checks.as_object().is_some_and(|checks| checks.values().any(failed)) && !app.stopping.is_cancelled();
    let (status, word) = match ready {
        true => (StatusCode::OK, "ready"),
        false => (StatusCode::SERVICE_UNAVAILABLE, "not_ready"),
    };
    HttpResponse::build(status).json(json!({"status": word, "checks": checks}))
}

async fn postgres(app: &App) -> Value {
    let started = Instant::now();
    let ok = match tokio::time::timeout(CAP, read::networks(&app.database)).await {
        Ok(Ok(_)) => true,
        Ok(Err(error)) => {
            tracing::warn!(error = %Chain(&error), "not ready: the database is away");
            false
        }
        Err(_) => {
            tracing::warn!("not ready: the database does not answer");
            false
        }
    };
    json!({"ok": ok, "required": true, "latency_ms": u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX)})
}

async fn projector(app: &App) -> Value {
    let (mut events, mut oldest, mut known) = (0, 0, true);
    for network in app.contracts.served_networks() {
        match tokio::time::timeout(CAP, app.readers.behind(&network)).await {
            Ok(Ok(lags)) => {
                for lag in lags {
                    events = events.max(lag.events);
                    oldest = oldest.max(lag.milliseconds);
                }
            }
            Ok(Err(_)) | Err(_) => known = false,
        }
    }
    let required = app.projects && oldest > FAR_BEHIND_MS;
    json!({"ok": known && oldest <= BEHIND_MS, "required": required, "lag_events": events, "lag_ms": oldest})
}

async fn redis(app: &App) -> Value {
    let Some(redis) = &app.redis else {
        return json!({"ok": false, "required": false, "configured": false});
    };
    let ok = tokio::time::timeout(CAP, redis.ping()).await.unwrap_or(false);
    json!({"ok": ok, "required": false, "configured": true})
}

async fn metrics(app: App) -> Result<HttpResponse, ApiError> {
    let mut text = Vec::new();
    TextEncoder::new().encode(&app.metrics.gather(), &mut text).map_err(|error| ApiError::internal(&error))?;
    Ok(HttpResponse::Ok().content_type("text/plain; version=0.0.4").body(text))
}
