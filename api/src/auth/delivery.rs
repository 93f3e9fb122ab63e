//! How a one-time code reaches its owner (CONTRACT 13.2).

use std::fmt::Write;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use hmac::{Hmac, Mac};
use rand::RngCore;
use serde_json::{Value, json};
use sha2::Sha256;
use url::Url;

use crate::config::{Notification, Secret};

/// Where a code goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Recipient<'a> {
    /// An e-mail address.
    Email(&'a str),
    /// A phone number, `+` and digits.
    Phone(&'a str),
}

/// Why a code was not delivered. Never holds the code.
#[derive(Debug, thiserror::Error)]
pub enum DeliveryError {
    /// No answer.
    #[error("the notification service did not answer")]
    NoAnswer(#[source] reqwest::Error),
    /// An answer that is not 2xx.
    #[error("the notification service answered {0}")]
    Refused(u16),
    /// The secret or the clock can't be used for a signature.
    #[error("the request could not be signed")]
    Unsigned,
}

/// Why the client of the notification service could not be made.
#[derive(Debug, thiserror::Error)]
pub enum DeliverySetupError {
    /// The endpoint has no origin.
    #[error("NOTIFICATION_SERVICE_ENDPOINT is not an http or https URL")]
    Endpoint,
    /// TLS could not be set up.
    #[error("the HTTP client could not be made")]
    Client(#[from] reqwest::Error),
}

/// Delivers one-time codes.
#[async_trait::async_trait]
pub trait CodeDelivery: Send + Sync {
    /// Returns when the code is on its way for certain.
    async fn deliver(&self, recipient: Recipient<'_>, code: &str) -> Result<(), DeliveryError>;
}

/// The delivery that these settings ask for: the service when it is configured, else the log in development, else none.
///
/// # Errors
/// [`DeliverySetupError`] when the service can't be called with its settings.
pub fn choose(
    production: bool,
    service: Option<&Notification>,
    from_name: &str,
    time_out: Duration,
) -> Result<Option<Arc<dyn CodeDelivery>>, DeliverySetupError> {
    if let Some(settings) = service {
        return Ok(Some(Arc::new(NotificationService::new(settings, from_name, time_out)?)));
    }
    Ok(if production { None } else { Some(Arc::new(Log)) })
}

/// Development without a service: the code stands in the log.
#[derive(Debug, Clone, Copy)]
pub struct Log;

#[async_trait::async_trait]
impl CodeDelivery for Log {
    async fn deliver(&self, recipient: Recipient<'_>, code: &str) -> Result<(), DeliveryError> {
        tracing::info!(?recipient, code, "one-time code");
        Ok(())
    }
}

/// The notification service.
pub struct NotificationService {
    client: reqwest::Client,
    url: Url,
    key_id: String,
    secret: Secret<String>,
    sms_template: String,
    from_name: String,
}

/// The path that is called and signed.
const PATH: &str = "/notify";

impl NotificationService {
    /// A client that follows no redirect: the signature is for this service alone.
    ///
    /// # Errors
    /// [`DeliverySetupError`].
    pub fn new(settings: &Notification, from_name: &str, time_out: Duration) -> Result<Self, DeliverySetupError> {
        let endpoint = Url::parse(settings.endpoint.as_str()).map_err(|_syntax| DeliverySetupError::Endpoint)?;
        if !endpoint.origin().is_tuple() {
            return Err(DeliverySetupError::Endpoint);
        }
        let url = endpoint.join(PATH).map_err(|_syntax| DeliverySetupError::Endpoint)?;
        install_tls_provider();
        let client =
            reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).timeout(time_out).build()?;
        Ok(Self {
            client,
            url,
            key_id: settings.key_id.clone(),
            secret: settings.secret.clone(),
            sms_template: settings.sms_template_id.clone(),
            from_name: from_name.to_owned(),
        })
    }

    fn message(&self, recipient: Recipient<'_>, code: &str) -> Value {
        match recipient {
            Recipient::Phone(number) => json!({
                "channel": "sms", "template_id": self.sms_template, "to": number, "priority": "realtime",
                "variables": {"message": code},
            }),
            Recipient::Email(address) => json!({
                "channel": "email", "template_id": "basic_email", "to": address, "priority": "realtime",
                "variables": {
                    "fromName": self.from_name, "fromEmail": "", "replyTo": "", "subject": "Your code",
                    "html": format!("<p>{code}</p>"),
                },
            }),
        }
    }
}

#[async_trait::async_trait]
impl CodeDelivery for NotificationService {
    async fn deliver(&self, recipient: Recipient<'_>, code: &str) -> Result<(), DeliveryError> {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        let timestamp = now.map_err(|_before_1970| DeliveryError::Unsigned)?.as_secs().to_string();
        let mut nonce = [0_u8; 16];
        rand::rng().fill_bytes(&mut nonce);
        let nonce = hex(&nonce);
        let signature = signature(self.secret.expose(), &timestamp, &nonce)?;
        let answer = self
            .client
            .post(self.url.clone())
            .header("X-NS-Key", &self.key_id)
            .header("X-NS-Timestamp", timestamp)
            .header("X-NS-Nonce", nonce)
            .header("X-NS-Signature", format!("v1={signature}"))
            .json(&self.message(recipient, code))
            .send()
            .await
            .map_err(DeliveryError::NoAnswer)?;
        let status = answer.status();
        if status.is_success() { Ok(()) } else { Err(DeliveryError::Refused(status.as_u16())) }
    }
}

/// HMAC-SHA256 over method, path, timestamp and nonce, in hexadecimal.
fn signature(secret: &str, timestamp: &str, nonce: &str) -> Result<String, DeliveryError> {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).map_err(|_length| DeliveryError::Unsigned)?;
    mac.update(format!("POST\n{PATH}\n{timestamp}\n{nonce}").as_bytes());
    Ok(hex(&mac.finalize().into_bytes()))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        // Writing to a String can't fail.
        write!(text, "{byte:02x}").map_or_else(|_| String::new(), |()| text)
    })
}

/// The HTTP client takes the process's TLS provider; whoever comes first installs it.
fn install_tls_provider() {
    use rustls::crypto::{CryptoProvider, ring};
    if CryptoProvider::get_default().is_none() && ring::default_provider().install_default().is_err() {
        tracing::debug!("the TLS provider was installed meanwhile");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_signature_is_the_one_of_the_contract() {
        assert_eq!(
            signature("topsecret", "1795225984", "00112233445566778899aabbccddeeff").unwrap(),
            "1cb9763978995cff54bcbd3b00ecfab0fd734103abb8c37dd288a31c209aeb7b"
        );
    }

    #[test]
    fn production_without_a_service_delivers_nothing() {
        assert!(choose(true, None, "a", Duration::from_secs(1)).unwrap().is_none());
        assert!(choose(false, None, "a", Duration::from_secs(1)).unwrap().is_some());
    }
}
