//! The routes under `/api/auth` (CONTRACT 10).

mod api_keys;
mod codes;
mod passwords;
mod session;

use actix_web::body::MessageBody;
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::StatusCode;
use actix_web::http::header::{HeaderMap, InvalidHeaderValue};
use actix_web::middleware::{Next, from_fn};
use actix_web::{Error, HttpRequest, HttpResponse, HttpResponseBuilder, web};
use serde_json::Value;

use super::authenticator::Authenticator;
use super::error::rate_limited;
use super::limits::{self, Limit};
use super::origin::Origin;
use super::token::Token;
use crate::http::body::read_json;
use crate::http::client::client_address;
use crate::http::{ApiError, Endpoint, Form, no_such_route};

/// Registers the routes. Needs a `web::Data<Authenticator>`.
pub fn configure(config: &mut web::ServiceConfig) {
    config.service(
        web::scope("/api/auth")
            .wrap(from_fn(code_in_both))
            .service(Endpoint::at("/unified-otp/check-user").post(codes::check_user))
            .service(Endpoint::at("/unified-otp/request").post(codes::request))
            .service(Endpoint::at("/unified-otp/verify").post(codes::verify))
            .service(Endpoint::at("/sign-up/email").post(passwords::sign_up))
            .service(Endpoint::at("/sign-in/email").post(passwords::sign_in))
            .service(Endpoint::at("/get-session").get(session::get_session))
            .service(Endpoint::at("/sign-out").post(session::sign_out))
            .service(Endpoint::at("/api-key/create").post(api_keys::create))
            .service(Endpoint::at("/api-key/list").get(api_keys::list))
            .service(Endpoint::at("/api-key/delete").post(api_keys::delete))
            .service(Endpoint::at("/ok").get(ok))
            .default_service(web::to(no_such_route)),
    );
}

/// `GET /api/auth/ok`.
async fn ok() -> HttpResponse {
    HttpResponse::Ok().json(serde_json::json!({"ok": true}))
}

/// Every refusal under `/api/auth` has its code in `error` and in `code`, those of the framework included.
async fn code_in_both<B: MessageBody>(request: ServiceRequest, next: Next<B>) -> Result<ServiceResponse<B>, Error> {
    let mut response = next.call(request).await?;
    if let Some(error) = response.response_mut().extensions_mut().get_mut::<ApiError>() {
        error.form = Form::Both;
    }
    Ok(response)
}

impl Authenticator {
    /// The body of a call that tries to sign in, if it may be made at all (origin, address).
    async fn admitted_body(&self, request: &HttpRequest, payload: web::Payload) -> Result<Value, ApiError> {
        self.check_origin(request.headers())?;
        self.limit_address(request).await?;
        read_json(request, payload).await
    }

    /// CONTRACT 10.10: in production a POST that a browser signs with the cookie has to come from one of our own pages.
    fn check_origin(&self, headers: &HeaderMap) -> Result<(), ApiError> {
        let by_cookie = self.reader.cookie.read(headers).is_some() && !headers.contains_key("authorization");
        if !self.options.production || !by_cookie {
            return Ok(());
        }
        let (code, message) = match self.reader.origins.of(headers) {
            Origin::Allowed => return Ok(()),
            Origin::Missing | Origin::Null => ("MISSING_OR_NULL_ORIGIN", "A call with the cookie needs an origin."),
            Origin::Foreign => ("INVALID_ORIGIN", "This origin may not use the session cookie."),
        };
        Err(ApiError::new(StatusCode::FORBIDDEN, code, message))
    }

    /// CONTRACT 1.11, production only: how often one address may try to sign in.
    async fn limit_address(&self, request: &HttpRequest) -> Result<(), ApiError> {
        if !self.options.production {
            return Ok(());
        }
        let address = client_address(request, &self.options.trusted_proxies)
            .map_or_else(|| "unknown".to_owned(), |address| address.to_string());
        let client = self.client().await?;
        match limits::count(&client, Limit::SignInsPerAddress, &address).await? {
            Some(retry_after) => Err(rate_limited(retry_after)),
            None => Ok(()),
        }
    }

    async fn client(&self) -> Result<dpg_eventstore::Client, ApiError> {
        Ok(self.database.client().await.map_err(super::StoreError::from)?)
    }

    /// 200 with the cookie and the header of a session that has just started.
    fn session_started(&self, token: &Token, remembered: bool) -> Result<HttpResponseBuilder, ApiError> {
        let signed = self.reader.signer.signed(token);
        let mut response = HttpResponse::Ok();
        response.append_header(("set-cookie", header(&self.reader.cookie.set(&signed, remembered))?));
        response.append_header(("set-auth-token", header(&signed)?));
        Ok(response)
    }

    /// 200 that gives the cookie of a living session its full age again.
    fn cookie_renewed(&self, token: &Token) -> Result<HttpResponseBuilder, ApiError> {
        let signed = self.reader.signer.signed(token);
        let mut response = HttpResponse::Ok();
        response.append_header(("set-cookie", header(&self.reader.cookie.set(&signed, true))?));
        Ok(response)
    }

    /// 200 that removes the cookie.
    fn cookie_cleared(&self) -> Result<HttpResponseBuilder, ApiError> {
        let mut response = HttpResponse::Ok();
        response.append_header(("set-cookie", header(&self.reader.cookie.clear())?));
        Ok(response)
    }
}

fn header(text: &str) -> Result<actix_web::http::header::HeaderValue, ApiError> {
    text.parse().map_err(|error: InvalidHeaderValue| ApiError::internal(&error))
}
