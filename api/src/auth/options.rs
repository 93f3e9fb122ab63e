//! What authentication needs to know from the configuration.

use std::sync::Arc;

use ipnet::IpNet;
use url::Url;

use super::delivery::CodeDelivery;
use crate::config::Secret;

/// Settings of this folder, filled from the environment by the composition root.
#[derive(Clone)]
pub struct AuthOptions {
    /// `INSTANCE_NAME`: where the default prefix of API keys comes from.
    pub instance_name: String,
    /// `INSTANCE_ENV=production`.
    pub production: bool,
    /// Our own base URL; its origin is "our own origin".
    pub base_url: Url,
    /// `AUTH_SECRET`: signs tokens, keys the hashes of codes.
    pub secret: Secret<String>,
    /// `AUTH_MIDDLEWARE_ENABLED`; production ignores it.
    pub auth_middleware_enabled: bool,
    /// `CREATE_TEST_OTP`: every code is `000000`. Refused in production.
    pub test_codes: bool,
    /// `ADMIN_DOMAINS`: e-mail domains whose users may be made admin.
    pub admin_domains: Vec<String>,
    /// `ALLOWED_ORIGINS`, compared exactly.
    pub allowed_origins: Vec<String>,
    /// Whether the localhost origins of CONTRACT 9.2 count too (neither `INSTANCE_ENV` nor `NODE_ENV` is `production`).
    pub localhost_origins: bool,
    /// `TRUSTED_PROXIES`: whose `X-Forwarded-For` is believed.
    pub trusted_proxies: Vec<IpNet>,
    /// How one-time codes travel; `None` answers 503 `OTP_DELIVERY_UNAVAILABLE`. See [`super::delivery::choose`].
    pub delivery: Option<Arc<dyn CodeDelivery>>,
}

impl std::fmt::Debug for AuthOptions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Without the secret.
        f.debug_struct("AuthOptions")
            .field("instance_name", &self.instance_name)
            .field("production", &self.production)
            .field("base_url", &self.base_url.as_str())
            .field("auth_middleware_enabled", &self.auth_middleware_enabled)
            .field("test_codes", &self.test_codes)
            .field("admin_domains", &self.admin_domains)
            .field("allowed_origins", &self.allowed_origins)
            .field("localhost_origins", &self.localhost_origins)
            .field("trusted_proxies", &self.trusted_proxies)
            .field("delivery", &self.delivery.is_some())
            .finish_non_exhaustive()
    }
}
