//! `GET /api/v1/openapi.json` and `GET /api/reference` (CONTRACT 4.3): the document, and an explorer of it whose scripts
//! and styles are part of the binary, so that a reader's browser asks nobody but us.

use std::borrow::Cow;
use std::sync::{Arc, Mutex, PoisonError};

use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use actix_web::http::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, X_CONTENT_TYPE_OPTIONS};
use actix_web::web::{Data, Path, ServiceConfig};
use bytes::Bytes;
use utoipa_swagger_ui::Config;

use crate::app::App;
use crate::contract::{Contracts, MadeFrom};
use crate::http::error::JSON;
use crate::http::{ApiError, Endpoint};
use crate::openapi;

/// What the explorer consists of: two files of Swagger UI, and how we start it.
pub(crate) const FILES: &[&str] = &["swagger-ui.css", "swagger-ui-bundle.js", "start.js"];

const PAGE: &str = "\
<!doctype html>
<html lang=\"en\">
<meta charset=\"utf-8\">
<meta name=\"viewport\" content=\"width=device-width\">
<title>DPG instance</title>
<link rel=\"stylesheet\" href=\"/api/reference/swagger-ui.css\">
<div id=\"explorer\"></div>
<noscript>The explorer needs JavaScript. Without it, read <a href=\"/api/v1/openapi.json\">the document</a> itself.</noscript>
<script src=\"/api/reference/swagger-ui-bundle.js\"></script>
<script src=\"/api/reference/start.js\"></script>
";

// Without `validatorUrl: null` the page would send the document's address to a public service.
const START: &str = "\
SwaggerUIBundle({
  url: \"/api/v1/openapi.json\", dom_id: \"#explorer\", deepLinking: true, docExpansion: \"none\",
  validatorUrl: null, withCredentials: true, defaultModelsExpandDepth: 0,
});
";

pub(super) fn configure(config: &mut ServiceConfig) {
    config
        .app_data(Data::new(Rendered::default()))
        .service(Endpoint::at("/api/v1/openapi.json").get(document))
        .service(Endpoint::at("/api/reference").get(page))
        .service(Endpoint::at("/api/reference/{file}").get(file));
}

/// The document of the contract it was last asked for.
#[derive(Default)]
struct Rendered {
    last: Mutex<Option<(MadeFrom, Bytes)>>,
}

impl Rendered {
    fn of(&self, contracts: &Arc<Contracts>, production: bool) -> Result<Bytes, ApiError> {
        // Whoever panicked here has left a whole document or none.
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((made_from, text)) = &*last
            && made_from.is(contracts)
        {
            return Ok(text.clone());
        }
        let document = openapi::document(contracts, production);
        let text = Bytes::from(serde_json::to_vec(&document).map_err(|error| ApiError::internal(&error))?);
        *last = Some((MadeFrom::of(contracts), text.clone()));
        Ok(text)
    }
}

async fn document(app: App, rendered: Data<Rendered>) -> Result<HttpResponse, ApiError> {
    let text = rendered.of(&app.contracts, app.config.production())?;
    Ok(HttpResponse::Ok().insert_header((CONTENT_TYPE, JSON)).body(text))
}

async fn page(app: App) -> HttpResponse {
    // The explorer calls us under our public URL, which may be another origin than the one the page came from.
    let policy = format!(
        "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; \
         connect-src 'self' {}; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
        app.contracts.own_url().origin()
    );
    HttpResponse::Ok()
        .content_type("text/html; charset=utf-8")
        .insert_header((CONTENT_SECURITY_POLICY, policy))
        .insert_header((X_CONTENT_TYPE_OPTIONS, "nosniff"))
        .body(PAGE)
}

async fn file(name: Path<String>) -> Result<HttpResponse, ApiError> {
    let name = name.as_str();
    if !FILES.contains(&name) {
        return Err(not_found());
    }
    let bytes = if name == "start.js" { Bytes::from_static(START.as_bytes()) } else { vendored(name)? };
    let media_type = if name.ends_with(".css") { "text/css; charset=utf-8" } else { "text/javascript; charset=utf-8" };
    Ok(HttpResponse::Ok()
        .content_type(media_type)
        .insert_header((CACHE_CONTROL, "public, max-age=3600"))
        .insert_header((X_CONTENT_TYPE_OPTIONS, "nosniff"))
        .body(bytes))
}

fn vendored(name: &str) -> Result<Bytes, ApiError> {
    let config: Arc<Config<'static>> = Arc::new(Config::from("/api/v1/openapi.json"));
    let found = utoipa_swagger_ui::serve(name, config).map_err(|error| {
        tracing::error!(%error, name, "a file of the explorer can't be had");
        ApiError::unforeseen()
    })?;
    match found.ok_or_else(not_found)?.bytes {
        Cow::Borrowed(bytes) => Ok(Bytes::from_static(bytes)),
        Cow::Owned(bytes) => Ok(Bytes::from(bytes)),
    }
}

fn not_found() -> ApiError {
    ApiError::new(StatusCode::NOT_FOUND, "NOT_FOUND", "There is no such file.")
}
