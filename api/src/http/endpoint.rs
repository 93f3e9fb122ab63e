//! One path of the API and its methods, with the first three checks of CONTRACT 1.1 in their order: an unknown path is
//! 404, a method that the path lacks is 405 with `allow`, a declared length over the limit is 413. Whatever the
//! handler checks (credentials first, then the body) comes after.

use actix_web::body::{EitherBody, MessageBody};
use actix_web::dev::{AppService, HttpServiceFactory, ServiceRequest, ServiceResponse};
use actix_web::http::header::{ALLOW, CONTENT_LENGTH, HeaderValue};
use actix_web::http::{Method, StatusCode};
use actix_web::middleware::{Next, from_fn};
use actix_web::{
    Error, FromRequest, Handler, HttpRequest, HttpResponse, Resource, Responder, ResponseError, Route, guard, web,
};

use super::body::{MAX_BODY, too_large};
use super::error::ApiError;

/// A path with its handlers. Register with `App::service` or `ServiceConfig::service`:
///
/// ```ignore
/// cfg.service(Endpoint::at("/api/v1/item/{itemId}").patch(update).delete(delete));
/// ```
pub struct Endpoint {
    resource: Resource,
    #[cfg(test)]
    path: String,
    allowed: Vec<Method>,
}

impl Endpoint {
    /// A path in actix's pattern language, with no methods yet.
    #[must_use]
    pub fn at(path: &str) -> Self {
        Self {
            resource: web::resource(path),
            #[cfg(test)]
            path: path.to_owned(),
            allowed: Vec::new(),
        }
    }

    /// Answers `GET`, and `HEAD` with the same headers and no body.
    #[must_use]
    pub fn get<F, Args>(mut self, handler: F) -> Self
    where
        F: Handler<Args>,
        Args: FromRequest + 'static,
        F::Output: Responder + 'static,
    {
        let route = Route::new().guard(guard::Any(guard::Get()).or(guard::Head()));
        self.allowed.push(Method::GET);
        self.allowed.push(Method::HEAD);
        self.resource = self.resource.route(answering(route, handler));
        self
    }

    /// Answers `POST`.
    #[must_use]
    pub fn post<F, Args>(self, handler: F) -> Self
    where
        F: Handler<Args>,
        Args: FromRequest + 'static,
        F::Output: Responder + 'static,
    {
        self.method(Method::POST, handler)
    }

    /// Answers `PATCH`.
    #[must_use]
    pub fn patch<F, Args>(self, handler: F) -> Self
    where
        F: Handler<Args>,
        Args: FromRequest + 'static,
        F::Output: Responder + 'static,
    {
        self.method(Method::PATCH, handler)
    }

    /// Answers `DELETE`.
    #[must_use]
    pub fn delete<F, Args>(self, handler: F) -> Self
    where
        F: Handler<Args>,
        Args: FromRequest + 'static,
        F::Output: Responder + 'static,
    {
        self.method(Method::DELETE, handler)
    }

    fn method<F, Args>(mut self, method: Method, handler: F) -> Self
    where
        F: Handler<Args>,
        Args: FromRequest + 'static,
        F::Output: Responder + 'static,
    {
        self.allowed.push(method.clone());
        self.resource = self.resource.route(answering(Route::new().method(method), handler));
        self
    }

    fn allow(&self) -> HeaderValue {
        let names: Vec<_> = self.allowed.iter().chain([&Method::OPTIONS]).map(Method::as_str).collect();
        // Method names are plain tokens.
        HeaderValue::from_str(&names.join(", ")).unwrap_or_else(|_| HeaderValue::from_static(""))
    }
}

fn answering<F, Args>(route: Route, handler: F) -> Route
where
    F: Handler<Args>,
    Args: FromRequest + 'static,
    F::Output: Responder + 'static,
{
    route.to(handler).wrap(from_fn(declared_length))
}

impl HttpServiceFactory for Endpoint {
    fn register(self, config: &mut AppService) {
        let allow = self.allow();
        #[cfg(test)]
        registered::note(config.is_root(), &self.path, &self.allowed);
        let other = move |request: HttpRequest| {
            let answer = other_method(request.method(), allow.clone());
            async move { answer }
        };
        HttpServiceFactory::register(self.resource.default_service(web::to(other)), config);
    }
}

/// `OPTIONS` that is no preflight tells the methods; any other method is refused with them.
fn other_method(method: &Method, allow: HeaderValue) -> HttpResponse {
    let mut response = if method == Method::OPTIONS {
        HttpResponse::NoContent().finish()
    } else {
        let message = format!("{method} is not allowed here.");
        ApiError::new(StatusCode::METHOD_NOT_ALLOWED, "METHOD_NOT_ALLOWED", message).error_response()
    };
    response.headers_mut().insert(ALLOW, allow);
    response
}

/// Refuses a body that says it is too long, before anybody looks at credentials.
async fn declared_length<B: MessageBody + 'static>(
    request: ServiceRequest,
    next: Next<B>,
) -> Result<ServiceResponse<EitherBody<B>>, Error> {
    let declared = request.headers().get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
    if declared.is_some_and(|length| length > u64::try_from(MAX_BODY).unwrap_or(u64::MAX)) {
        return Ok(request.error_response(too_large()).map_into_right_body());
    }
    Ok(next.call(request).await?.map_into_left_body())
}

/// 404 `NOT_FOUND`.
pub(super) fn not_found() -> ApiError {
    ApiError::new(StatusCode::NOT_FOUND, "NOT_FOUND", "There is no such route.")
}

/// For `App::default_service(web::to(no_such_route))`.
///
/// # Errors
/// Always 404 `NOT_FOUND`.
pub async fn no_such_route() -> Result<HttpResponse, ApiError> {
    Err(not_found())
}

/// What this thread has registered, for tests that compare it with what is documented.
#[cfg(test)]
pub(crate) mod registered {
    use std::cell::RefCell;

    use actix_web::http::Method;

    thread_local! {
        static NOTED: RefCell<Vec<(bool, String, Method)>> = const { RefCell::new(Vec::new()) };
    }

    pub(super) fn note(at_root: bool, path: &str, methods: &[Method]) {
        let methods = methods.iter().map(|method| (at_root, path.to_owned(), method.clone()));
        NOTED.with_borrow_mut(|noted| noted.extend(methods));
    }

    /// Takes what was noted: whether outside of any scope, the path (inside a scope, what follows its prefix), the method.
    pub(crate) fn take() -> Vec<(bool, String, Method)> {
        NOTED.take()
    }
}
