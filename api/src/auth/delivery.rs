//! How a one-time code reaches its owner (CONTRACT 13.2).

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use url::Url;

use crate::config::Notification;
use crate::outbound::{CallError, Service, ServiceError};

/// Where a code goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Recipient<'a> {
    /// An e-mail address.
    Email(&'a str),
    /// A phone number, `+` and digits.
    Phone(&'a str),
}

/// Delivers one-time codes.
#[async_trait::async_trait]
pub trait CodeDelivery: Send + Sync {
    /// Returns when the code is on its way for certain.
    async fn deliver(&self, recipient: Recipient<'_>, code: &str) -> Result<(), CallError>;
}

/// The delivery that these settings ask for: the service when it is configured, else the log in development, else none.
///
/// # Errors
/// [`ServiceError`] when the service can't be called with its settings.
pub fn choose(
    production: bool,
    service: Option<&Notification>,
    from_name: &str,
    time_out: Duration,
) -> Result<Option<Arc<dyn CodeDelivery>>, ServiceError> {
    if let Some(settings) = service {
        return Ok(Some(Arc::new(NotificationService::new(settings, from_name, time_out)?)));
    }
    Ok(if production { None } else { Some(Arc::new(Log)) })
}

/// Development without a service: the code stands in the log, the recipient only as far as a developer needs it.
#[derive(Debug, Clone, Copy)]
pub struct Log;

#[async_trait::async_trait]
impl CodeDelivery for Log {
    async fn deliver(&self, recipient: Recipient<'_>, code: &str) -> Result<(), CallError> {
        tracing::info!(recipient = masked(recipient), code, "one-time code");
        Ok(())
    }
}

/// `a…@example.com`, `…78`: people's addresses have no place in a log.
fn masked(recipient: Recipient<'_>) -> String {
    match recipient {
        Recipient::Email(address) => {
            let (name, domain) = address.split_once('@').unwrap_or((address, ""));
            format!("{}…@{domain}", name.chars().take(1).collect::<String>())
        }
        Recipient::Phone(number) => {
            let shown = number.char_indices().nth_back(1).map_or(0, |(at, _)| at);
            format!("…{}", number.get(shown..).unwrap_or_default())
        }
    }
}

/// The notification service.
pub struct NotificationService {
    service: Service,
    sms_template: String,
    from_name: String,
}

impl NotificationService {
    /// A client of the service at the endpoint's origin.
    ///
    /// # Errors
    /// [`ServiceError`].
    pub fn new(settings: &Notification, from_name: &str, time_out: Duration) -> Result<Self, ServiceError> {
        let endpoint = Url::parse(&settings.endpoint).map_err(|_syntax| ServiceError::Endpoint)?;
        let url = endpoint.join("/notify").map_err(|_syntax| ServiceError::Endpoint)?;
        Ok(Self {
            service: Service::new(url, &settings.key_id, &settings.secret, time_out)?,
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
    async fn deliver(&self, recipient: Recipient<'_>, code: &str) -> Result<(), CallError> {
        let nonce = format!("{:032x}", rand::random::<u128>());
        let signature = self.service.sign(&nonce)?;
        let headers = [
            ("X-NS-Key", self.service.key_id.as_str()),
            ("X-NS-Timestamp", &signature.timestamp),
            ("X-NS-Nonce", &nonce),
            ("X-NS-Signature", &format!("v1={}", signature.hex)),
        ];
        self.service.post(&headers, &self.message(recipient, code)).await?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn production_without_a_service_delivers_nothing() {
        assert!(choose(true, None, "a", Duration::from_secs(1)).unwrap().is_none());
        assert!(choose(false, None, "a", Duration::from_secs(1)).unwrap().is_some());
    }

    #[test]
    fn recipients_are_masked_in_the_log() {
        assert_eq!(masked(Recipient::Email("asha@example.com")), "a…@example.com");
        assert_eq!(masked(Recipient::Phone("+919812345678")), "…78");
        assert_eq!(masked(Recipient::Phone("7")), "…7");
    }
}
