//! How requests are answered, by route and status. Labels are patterns (`/api/v1/item/{itemId}`), never paths.

use std::time::Instant;

use actix_web::Error;
use actix_web::body::MessageBody;
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::Method;
use actix_web::middleware::Next;
use actix_web::web::Data;
use prometheus::{HistogramOpts, HistogramVec, IntCounterVec, Opts, Registry};

/// Counters of the HTTP server. Cheap to clone.
#[derive(Clone, Debug)]
pub struct HttpMetrics {
    requests: IntCounterVec,
    seconds: HistogramVec,
}

impl HttpMetrics {
    /// Makes the counters and registers them.
    ///
    /// # Errors
    /// When a metric of the same name is registered already.
    pub fn register(registry: &Registry) -> prometheus::Result<Self> {
        let metrics = Self {
            requests: IntCounterVec::new(
                Opts::new("dpg_http_requests_total", "Requests answered."),
                &["method", "route", "status"],
            )?,
            seconds: HistogramVec::new(
                HistogramOpts::new("dpg_http_request_seconds", "From the request's head to the answer's head.")
                    .buckets(vec![0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0]),
                &["method", "route"],
            )?,
        };
        registry.register(Box::new(metrics.requests.clone()))?;
        registry.register(Box::new(metrics.seconds.clone()))?;
        Ok(metrics)
    }
}

/// A method as a label: whoever makes methods up must not make series with them.
fn label(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::HEAD => "HEAD",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::PATCH => "PATCH",
        Method::DELETE => "DELETE",
        Method::OPTIONS => "OPTIONS",
        _ => "other",
    }
}

/// The middleware function, for `actix_web::middleware::from_fn`; needs [`HttpMetrics`] as app data.
///
/// # Errors
/// Those of the inner service, which are not counted.
pub async fn measured<B: MessageBody>(
    metrics: Data<HttpMetrics>,
    request: ServiceRequest,
    next: Next<B>,
) -> Result<ServiceResponse<B>, Error> {
    let started = Instant::now();
    let response = next.call(request).await?;
    let request = response.request();
    let route = request.match_pattern().unwrap_or_else(|| "none".to_owned());
    let method = label(request.method());
    metrics.requests.with_label_values(&[method, &route, response.status().as_str()]).inc();
    metrics.seconds.with_label_values(&[method, &route]).observe(started.elapsed().as_secs_f64());
    Ok(response)
}
