//! Somebody who takes part: signed up on one instance, with a session and an item there.

use reqwest::Client;
use serde_json::{Value, json};

use super::call::{Answer, Call};
use super::error::DemoError;
use super::network::{NETWORK, PROFILE};

/// With `CREATE_TEST_OTP`, every one-time code.
const CODE: &str = "000000";

/// A person of the story.
#[derive(Debug, Clone)]
pub(super) struct Person {
    url: String,
    domain: &'static str,
    pub(super) token: String,
}

impl Person {
    /// Signs up by e-mail and one-time code.
    pub(super) async fn sign_up(
        client: &Client,
        url: &str,
        domain: &'static str,
        name: &str,
        email: &str,
    ) -> Result<Self, DemoError> {
        let otp = format!("{url}/api/auth/unified-otp");
        Call::post(format!("{otp}/request"), json!({"email": email})).send(client).await?;
        let verify = Call::post(format!("{otp}/verify"), json!({"email": email, "otp": CODE, "name": name}));
        let token = verify.send(client).await?.text("/token")?;
        Ok(Self { url: url.to_owned(), domain, token })
    }

    pub(super) fn get(&self, path: &str) -> Call {
        Call::get(format!("{}/api/v1/{path}", self.url)).by(&self.token)
    }

    pub(super) fn post(&self, path: &str, body: Value) -> Call {
        Call::post(format!("{}/api/v1/{path}", self.url), body).by(&self.token)
    }

    pub(super) fn create_item(&self, state: &Value, latitude: f64, longitude: f64) -> Call {
        self.post(
            "item/create",
            json!({"item_network": NETWORK, "item_domain": self.domain, "item_type": PROFILE, "item_state": state,
                   "item_latitude": latitude, "item_longitude": longitude}),
        )
    }

    pub(super) fn own_items(&self) -> Call {
        self.get(&format!("item/fetch?item_network={NETWORK}&item_domain={}", self.domain))
    }

    pub(super) fn set_status(&self, action: &str, status: &str, remarks: &str) -> Call {
        self.post("action/update-status", json!({"action_id": action, "action_status": status, "remarks": remarks}))
    }

    pub(super) fn action(&self, action: &str) -> Call {
        self.get(&format!("action/fetch?action_id={action}"))
    }

    pub(super) fn events(&self, action: &str) -> Call {
        self.get(&format!("event/fetch?action_id={action}&limit=100"))
    }
}

/// The reference by which an action names an item.
pub(super) fn reference(item: &Answer) -> Result<Value, DemoError> {
    Ok(json!({
        "item_network": item.text("/item_network")?, "item_domain": item.text("/item_domain")?,
        "item_type": item.text("/item_type")?, "item_id": item.text("/item_id")?,
        "item_instance_url": item.text("/item_instance_url")?,
    }))
}
