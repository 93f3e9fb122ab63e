//! `/api/v1/peers/self/*`: what a peer may ask about itself. It says who it is by its signature, in every mode.

use actix_web::web::ServiceConfig;
use actix_web::{HttpRequest, HttpResponse};
use dpg_eventstore::read;
use dpg_mirror::operator::lanes_called_at;
use dpg_mirror::{LaneKey, LaneStatus};
use serde_json::json;

use super::admin::{lane_objects, spelling};
use crate::app::App;
use crate::contract::InstanceUrl;
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
    let mut lanes = lanes_called_at(&app.database, asker.instance.as_str()).await?;
    lanes.retain(|lane| asker.networks.contains(&lane.key.network));
    for network in &asker.networks {
        if !lanes.iter().any(|lane| lane.key.network == *network) {
            lanes.push(untouched(&app, network, &asker.instance).await?);
        }
    }
    lanes.sort_by(|one, other| one.key.cmp(&other.key));
    let objects = lane_objects(&app, &lanes);
    let known_as = asker.networks.iter().min().map(|network| spelling(&app, network, asker.instance.normalised()));
    Ok(HttpResponse::Ok().json(json!({"instance_url": known_as, "lanes": objects})))
}

async fn untouched(app: &App, network: &str, peer: &InstanceUrl) -> Result<LaneStatus, ApiError> {
    let epoch = read::head(&app.database, network).await?.map(|(_, epoch)| epoch);
    let key = LaneKey { network: network.to_owned(), destination: peer.normalised().to_owned() };
    Ok(LaneStatus::untouched(key, epoch))
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
            let buckets = history::buckets(&app.database, &network, Side::Mirror, &[asker.instance]).await?;
            json!({"network": network, "buckets": buckets})
        }
        Some(bucket) => {
            if bucket.len() != 2 || !bucket.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')) {
                return Err(ApiError::validation(vec![Fault::new("/bucket", "must be two hexadecimal digits")]));
            }
            let entries = history::entries(&app.database, &network, Side::Mirror, &[asker.instance], &bucket).await?;
            json!({"network": network, "bucket": bucket, "entries": entries})
        }
    };
    Ok(HttpResponse::Ok().json(body))
}
