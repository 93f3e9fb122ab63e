//! Match scores (CONTRACT 4.22 and 13.1): how well two items go together, as a scoring service sees it. We pass two
//! snapshots on and the service's opinion back; nothing is stored and nothing is logged.

mod answer;

use std::time::Duration;

use serde_json::{Map, Value};
use url::Url;
use uuid::Uuid;

use crate::config::Scoring;
use crate::outbound::{self, CallError, Service, ServiceError};

/// The scoring service.
pub struct MatchScore {
    service: Service,
    version: Option<String>,
    prompt_version: Option<String>,
}

impl MatchScore {
    /// A client of the configured service.
    ///
    /// # Errors
    /// [`ServiceError`] when endpoint and path make no URL, or TLS could not be set up.
    pub fn new(settings: &Scoring, time_out: Duration) -> Result<Self, ServiceError> {
        let url = joined(&settings.endpoint, &settings.path).ok_or(ServiceError::Endpoint)?;
        Ok(Self {
            service: Service::new(url, &settings.key_id, &settings.secret, time_out)?,
            version: settings.version.clone(),
            prompt_version: settings.prompt_version.clone(),
        })
    }

    /// Asks for the score of two snapshots and gives it as our clients see it.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn calculate(
        &self,
        item_a: Map<String, Value>,
        item_b: Map<String, Value>,
    ) -> Result<Map<String, Value>, CallError> {
        let nonce = Uuid::now_v7().to_string();
        let signature = self.service.sign(&nonce)?;
        let headers = [
            ("x-dpg-key", self.service.key_id.as_str()),
            ("x-dpg-timestamp", &signature.timestamp),
            ("x-dpg-nonce", &nonce),
            ("x-dpg-signature", &format!("sha256={}", signature.hex)),
        ];
        let given = outbound::json_of(self.service.post(&headers, &self.body(item_a, item_b)).await?).await?;
        Ok(answer::for_clients(given))
    }

    fn body(&self, item_a: Map<String, Value>, item_b: Map<String, Value>) -> Value {
        let versions = [("version", &self.version), ("promptVersion", &self.prompt_version)];
        let versions = versions.into_iter().filter_map(|(key, value)| Some((key, Value::from(value.clone()?))));
        let items = [("itemA", Value::Object(item_a)), ("itemB", Value::Object(item_b))];
        Value::Object(versions.chain(items).map(|(key, value)| (key.to_owned(), value)).collect())
    }
}

/// The path below the endpoint, whichever of the two has the slash.
fn joined(endpoint: &str, path: &str) -> Option<Url> {
    let mut base = Url::parse(endpoint).ok()?;
    if !base.path().ends_with('/') {
        base.set_path(&format!("{}/", base.path()));
    }
    // A leading `./` keeps a path with a colon from passing for a URL of its own.
    base.join(&format!("./{}", path.trim_start_matches('/'))).ok()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::config::Secret;

    fn settings() -> Scoring {
        Scoring {
            endpoint: "https://score.example.org".to_owned(),
            path: "api/v1/scores/match".to_owned(),
            key_id: "key-1".to_owned(),
            secret: Secret::new("topsecret".to_owned()),
            version: Some("1".to_owned()),
            prompt_version: None,
        }
    }

    #[test]
    fn the_path_goes_below_the_endpoint() {
        for (endpoint, path, expected) in [
            ("https://s.example", "api/v1/scores/match", "https://s.example/api/v1/scores/match"),
            ("https://s.example/", "/api/v1/scores/match", "https://s.example/api/v1/scores/match"),
            ("http://s.example:81/base", "match", "http://s.example:81/base/match"),
            ("http://s.example/base/", "//evil.example/match", "http://s.example/base/evil.example/match"),
            ("http://s.example", "http://evil.example/", "http://s.example/http://evil.example/"),
        ] {
            assert_eq!(joined(endpoint, path).unwrap().as_str(), expected);
        }
    }

    #[test]
    fn versions_are_sent_when_they_are_set() {
        let score = MatchScore::new(&settings(), Duration::from_secs(1)).unwrap();
        let item = |name: &str| Map::from_iter([("item_type".to_owned(), json!(name))]);
        let body = score.body(item("a"), item("b"));
        assert_eq!(body, json!({"version": "1", "itemA": {"item_type": "a"}, "itemB": {"item_type": "b"}}));
    }
}
