//! A peer that asks about itself (CONTRACT 4.23): its signature says who asks, so one is needed whatever `PEER_AUTH` is.

use actix_web::HttpRequest;

use super::trust::{invalid, read_signature, required, verify};
use crate::app::App;
use crate::contract::InstanceUrl;
use crate::http::ApiError;

/// A peer whose signature has verified.
#[derive(Debug)]
pub struct Asker {
    /// The instance, `keyid`.
    pub instance: InstanceUrl,
    /// The networks whose contract gives it the key that verified, in the order of loading.
    pub networks: Vec<String>,
}

/// Who asks. The call counts as contact.
///
/// # Errors
/// 401 `PEER_SIGNATURE_REQUIRED`, `PEER_SIGNATURE_INVALID`.
pub fn asker(app: &App, request: &HttpRequest) -> Result<Asker, ApiError> {
    let presented = read_signature(app, request, b"")?.ok_or_else(required)?;
    let loaded = app.contracts.networks().iter().map(|network| network.id());
    let networks: Vec<String> =
        loaded.filter(|network| verify(app, request, &presented, network).is_ok()).map(str::to_owned).collect();
    if networks.is_empty() {
        return Err(invalid());
    }
    let instance = InstanceUrl::parse(presented.keyid()).map_err(|_| invalid())?;
    (app.contact)(instance.normalised());
    Ok(Asker { instance, networks })
}
