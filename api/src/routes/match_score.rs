//! `POST /api/v1/match-score/calculate` (CONTRACT 4.22).

use actix_web::http::StatusCode;
use actix_web::web::{Payload, ServiceConfig};
use actix_web::{HttpRequest, HttpResponse};
use dpg_eventstore::Chain;
use serde_json::{Map, Value};

use crate::app::App;
use crate::http::ApiError;
use crate::http::body::read_json;
use crate::http::coordinates::Coordinates;
use crate::http::endpoint::Endpoint;
use crate::http::fields::{Fields, Place, read_body};
use crate::http::scalars::{MAX_URL, name, text, uuid, value};

pub(super) fn configure(config: &mut ServiceConfig) {
    config.service(Endpoint::at("/api/v1/match-score/calculate").post(handle));
}

async fn handle(app: App, request: HttpRequest, payload: Payload) -> Result<HttpResponse, ApiError> {
    // Nobody's data is touched, so it does without a user where the operator allows that (CONTRACT 2.2).
    let _caller = app.authenticator.optional(request.headers()).await?;
    let body = read_json(&request, payload).await?;
    let (item_a, item_b) = read_body(&body, |f| (f.required("itemA", snapshot), f.required("itemB", snapshot)))?;
    let Some(match_score) = &app.match_score else {
        let message = "This instance calculates no match scores.";
        return Err(ApiError::new(StatusCode::SERVICE_UNAVAILABLE, "MATCH_SCORE_NOT_CONFIGURED", message));
    };
    match match_score.calculate(item_a, item_b).await {
        Ok(answer) => Ok(HttpResponse::Ok().json(answer)),
        Err(error) => {
            tracing::warn!(error = %Chain(&error), "no match score");
            let message = "The scoring service gave no answer.";
            Err(ApiError::new(StatusCode::BAD_GATEWAY, "MATCH_SCORE_SERVICE_UNAVAILABLE", message))
        }
    }
}

/// An item as the service gets it: these keys and no others, whatever else a client sends.
fn snapshot(place: &mut Place<'_>) -> Option<Map<String, Value>> {
    place.fields(|f| {
        let mut snapshot = Map::new();
        for key in ["item_network", "item_domain", "item_type"] {
            snapshot.insert(key.to_owned(), f.required(key, name).into());
        }
        snapshot.insert("item_id".to_owned(), f.required("item_id", uuid).to_string().into());
        for key in ["item_instance_url", "item_schema_url"] {
            snapshot.insert(key.to_owned(), f.required(key, url_text).into());
        }
        snapshot.insert("item_state".to_owned(), f.required("item_state", value));
        let (latitude, longitude) = match required_coordinates(f) {
            Coordinates::At { latitude, longitude } => (latitude.into(), longitude.into()),
            Coordinates::Absent | Coordinates::Null => (Value::Null, Value::Null),
        };
        snapshot.insert("item_latitude".to_owned(), latitude);
        snapshot.insert("item_longitude".to_owned(), longitude);
        snapshot
    })
}

/// Here the pair may be null and must be there; half of one is a fault in any case.
fn required_coordinates(f: &mut Fields<'_>) -> Coordinates {
    const PAIR: [&str; 2] = ["item_latitude", "item_longitude"];
    if !PAIR.iter().any(|key| f.has(key)) {
        PAIR.iter().for_each(|key| f.miss(key));
    }
    f.coordinates()
}

/// A URL that is only shown to the service, so any text that is no longer than a URL may be (CONTRACT 1.4).
fn url_text(place: &mut Place<'_>) -> Option<String> {
    let text = text(0..=MAX_URL)(place)?;
    if text.len() <= MAX_URL { Some(text) } else { place.refuse("must have at most 2048 bytes") }
}
