//! Which pages may read our answers in a browser (CONTRACT 9.2).
//!
//! The well-known CORS crate refuses what it does not allow and answers preflights with 200; here nothing is ever refused:
//! a page that is not allowed just gets no header. The envelope asks for the headers, so that refusals have them too.

use std::collections::HashSet;
use std::sync::Arc;

use actix_web::body::{EitherBody, MessageBody};
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::Method;
use actix_web::http::header::{
    ACCESS_CONTROL_ALLOW_CREDENTIALS, ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS,
    ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_REQUEST_HEADERS,
    ACCESS_CONTROL_REQUEST_METHOD, HeaderMap, HeaderValue, ORIGIN, VARY,
};
use actix_web::middleware::Next;
use actix_web::web::Data;
use actix_web::{Error, HttpResponse};
use arc_swap::ArcSwap;

use crate::contract::{Contracts, InForce, MadeFrom};

/// The development servers of the existing user interfaces.
pub const LOCALHOST_ORIGINS: [&str; 3] = ["http://localhost:3000", "http://localhost:5173", "http://localhost:2742"];

const METHODS: HeaderValue = HeaderValue::from_static("GET, POST, PUT, DELETE, OPTIONS, PATCH");
const EXPOSED: HeaderValue = HeaderValue::from_static(
    "set-auth-token, etag, dpg-position, dpg-projected, x-network-partial, x-request-id, retry-after",
);

/// The allowed origins: those of the settings, and those of the contract in force.
pub struct Cors {
    configured: Vec<String>,
    in_force: Arc<InForce>,
    allowed: ArcSwap<Allowed>,
}

/// The origins of one contract.
struct Allowed {
    made_from: MadeFrom,
    origins: HashSet<String>,
}

impl Allowed {
    fn by(contracts: &Arc<Contracts>, configured: &[String]) -> Self {
        let origins = configured.iter().cloned().chain(contracts.peer_origins()).collect();
        Self { made_from: MadeFrom::of(contracts), origins }
    }
}

impl Cors {
    /// `allowed_origins` are compared exactly; `localhost` adds [`LOCALHOST_ORIGINS`].
    #[must_use]
    pub fn new(allowed_origins: &[String], localhost: bool, in_force: Arc<InForce>) -> Self {
        let mut configured = allowed_origins.to_vec();
        if localhost {
            configured.extend(LOCALHOST_ORIGINS.map(str::to_owned));
        }
        let allowed = ArcSwap::from_pointee(Allowed::by(&in_force.get(), &configured));
        Self { configured, in_force, allowed }
    }

    /// What the page that makes this request is granted; `None` without an origin, or with one that is not allowed.
    #[must_use]
    pub fn grant(&self, headers: &HeaderMap) -> Option<Grant> {
        let mut origins = headers.get_all(ORIGIN);
        let origin = origins.next()?;
        let allowed = origins.next().is_none() && self.allows(origin.to_str().ok()?);
        allowed.then(|| Grant { origin: origin.clone() })
    }

    /// The set is made once per contract, by whoever comes first after a change.
    fn allows(&self, origin: &str) -> bool {
        let contracts = self.in_force.get();
        let known = self.allowed.load();
        if known.made_from.is(&contracts) {
            return known.origins.contains(origin);
        }
        let renewed = Arc::new(Allowed::by(&contracts, &self.configured));
        self.allowed.store(renewed.clone());
        renewed.origins.contains(origin)
    }
}

/// An allowed origin, about to be told so.
#[derive(Debug, Clone)]
pub struct Grant {
    origin: HeaderValue,
}

impl Grant {
    /// Lets the page read the answer.
    pub fn write(&self, headers: &mut HeaderMap) {
        headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, self.origin.clone());
        headers.insert(ACCESS_CONTROL_ALLOW_CREDENTIALS, HeaderValue::from_static("true"));
        headers.insert(ACCESS_CONTROL_EXPOSE_HEADERS, EXPOSED);
    }
}

/// Answers preflights, on any path: what is there is for the request itself to find out. The middleware function, for
/// `actix_web::middleware::from_fn`; needs [`Cors`] as app data.
///
/// # Errors
/// Those of the inner service.
pub async fn preflight<B: MessageBody + 'static>(
    cors: Data<Cors>,
    request: ServiceRequest,
    next: Next<B>,
) -> Result<ServiceResponse<EitherBody<B>>, Error> {
    let headers = request.headers();
    let asked = headers.contains_key(ORIGIN) && headers.contains_key(ACCESS_CONTROL_REQUEST_METHOD);
    if request.method() != Method::OPTIONS || !asked {
        return Ok(next.call(request).await?.map_into_left_body());
    }
    let mut response = HttpResponse::NoContent();
    response.insert_header((VARY, "Origin, Access-Control-Request-Headers"));
    if cors.grant(headers).is_some() {
        response.insert_header((ACCESS_CONTROL_ALLOW_METHODS, METHODS));
        for wanted in headers.get_all(ACCESS_CONTROL_REQUEST_HEADERS) {
            response.append_header((ACCESS_CONTROL_ALLOW_HEADERS, wanted.clone()));
        }
    }
    Ok(request.into_response(response.finish()).map_into_right_body())
}
