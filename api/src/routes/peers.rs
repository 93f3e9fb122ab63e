//! `/api/v1/peers/self/*`: what a peer may ask about itself. It says who it is by its signature, in every mode.

use actix_web::web::ServiceConfig;
use actix_web::{HttpRequest, HttpResponse};
use chrono::Utc;
use dpg_eventstore::read;
use dpg_mirror::lane::State;
use dpg_mirror::operator::lanes;
use serde_json::{Value, json};

use super::admin::spelling;
use crate::app::App;
use crate::http::endpoint::Endpoint;
use crate::http::fields::read_query;
use crate::http::scalars::name;
use crate::http::{ApiError, Fault};
use crate::network::asker::asker;
use crate::network::history;
use crate::queries::histories::Side;

pub(super) fn configure(config: &mut ServiceConfig) {
    config
        .service(Endpoint::at("/api/v1/peers/self/status").get(status))
        .service(Endpoint::at("/api/v1/peers/self/histories").get(histories));
}

/// `GET peers/self/status` (CONTRACT 4.23): our lanes to the asker.
async fn status(app: App, request: HttpRequest) -> Result<HttpResponse, ApiError> {
    let asker = asker(&app, &request)?;
    let now = Utc::now();
    let standing = lanes(&app.database, Some(asker.instance.normalised())).await?;
    let mut objects = Vec::with_capacity(asker.networks.len());
    let mut networks = asker.networks;
    networks.sort_unstable();
    for network in networks {
        let url = spelling(&app, &network, asker.instance.normalised());
        objects.push(match standing.iter().find(|lane| lane.key.network == network) {
            Some(lane) => lane.to_json(&url, now),
            None => untouched(&app, &network, &url).await?,
        });
    }
    let known_as = objects.first().and_then(|lane| lane.get("instance_url")).cloned();
    Ok(HttpResponse::Ok().json(json!({"instance_url": known_as, "lanes": objects})))
}

/// A lane that has never had an event.
async fn untouched(app: &App, network: &str, instance_url: &str) -> Result<Value, ApiError> {
    let epoch = read::head(&app.database, network).await?.map(|(_, epoch)| epoch);
    Ok(json!({
        "network": network,
        "instance_url": instance_url,
        "state": State::Ready.as_str(),
        "diverged": false,
        "epoch": epoch,
        "last_seq": 0,
        "acknowledged_seq": 0,
        "waiting": 0,
        "oldest_waiting_seconds": 0,
        "parked": 0,
        "failures": 0,
        "next_attempt_at": null,
        "last_error": null,
    }))
}

/// `GET peers/self/histories?network=N[&bucket=7f]`, beyond the contract and found by the capability `histories`: digests
/// of the asker's events that we hold, for its operator to compare with its own.
async fn histories(app: App, request: HttpRequest) -> Result<HttpResponse, ApiError> {
    let asker = asker(&app, &request)?;
    let (network, bucket) = read_query(&request, |f| (f.required("network", name), f.optional("bucket", name)))?;
    if !asker.networks.contains(&network) {
        return Err(ApiError::validation(vec![Fault::new(
            "/network",
            "is no network whose contract gives you this key",
        )]));
    }
    let body = match bucket {
        None => {
            let buckets = history::buckets(&app.database, &network, Side::Mirror, &asker.instance).await?;
            json!({"network": network, "buckets": buckets})
        }
        Some(bucket) => {
            if bucket.len() != 2 || !bucket.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')) {
                return Err(ApiError::validation(vec![Fault::new("/bucket", "must be two hexadecimal digits")]));
            }
            let entries = history::entries(&app.database, &network, Side::Mirror, &asker.instance, &bucket).await?;
            json!({"network": network, "bucket": bucket, "entries": entries})
        }
    };
    Ok(HttpResponse::Ok().json(body))
}
