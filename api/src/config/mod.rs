//! The configuration of one instance, from the environment (CONTRACT 14).
//!
//! [`Config::parse`] reads every setting before it gives up, so that boot reports all problems at once. What a setting
//! is called, its default and its meaning stand in [`settings`].

mod contract_urls;
mod environment;
mod origins;
mod peer_key;
mod reader;
mod secret;
pub mod settings;
mod stores;

use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;
use url::Url;

pub use environment::Environment;
pub use peer_key::ed25519_seed;
pub use secret::Secret;
pub use stores::DatabaseSource;

use reader::Reader;

/// A setting that is missing or does not fit.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{variable} {message}")]
pub struct Problem {
    /// The variable's name.
    pub variable: String,
    /// What is wrong; never repeats a secret.
    pub message: String,
}

/// `INSTANCE_ENV`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InstanceEnv {
    /// On a developer's machine.
    Development,
    /// For others to use.
    Production,
}

/// `PEER_AUTH` (CONTRACT 2.6).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PeerAuth {
    /// Signatures are not looked at.
    Off,
    /// Signatures are checked, and needed from whoever has a key.
    Permissive,
    /// Signatures are needed from everybody.
    Enforced,
}

/// `NETWORK_CONFIG_SOURCE` (CONTRACT 7.9).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ContractSource {
    /// A file.
    Local,
    /// Other servers.
    Remote,
}

/// Private addresses that outgoing calls may reach in production (CONTRACT 2.6).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PrivateAllowance {
    /// Address blocks.
    pub networks: Vec<IpNet>,
    /// Host names, in lower case.
    pub hosts: Vec<String>,
}

/// The notification service (CONTRACT 13.2).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notification {
    /// Its URL.
    pub endpoint: String,
    /// `X-NS-Key`.
    pub key_id: String,
    /// Signs the calls.
    pub secret: Secret<String>,
    /// Template of text messages.
    pub sms_template_id: String,
}

/// The scoring service (CONTRACT 13.1).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scoring {
    /// Its base URL.
    pub endpoint: String,
    /// Path, joined to the base URL.
    pub path: String,
    /// `x-dpg-key`.
    pub key_id: String,
    /// Signs the calls.
    pub secret: Secret<String>,
    /// Sent when set.
    pub version: Option<String>,
    /// Sent when set.
    pub prompt_version: Option<String>,
}

/// Everything an instance is told by its environment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// `INSTANCE_NAME`.
    pub instance_name: String,
    /// `INSTANCE_ENV`.
    pub instance_env: InstanceEnv,
    /// Own base URL (CONTRACT 5.3), without a trailing slash.
    pub base_url: String,
    /// `API_PORT`.
    pub api_port: u16,
    /// `TRUSTED_PROXIES`.
    pub trusted_proxies: Vec<IpNet>,
    /// `AUTH_SECRET`.
    pub auth_secret: Secret<String>,
    /// `AUTH_MIDDLEWARE_ENABLED`; always true in production.
    pub auth_middleware_enabled: bool,
    /// `CREATE_TEST_OTP`; always false in production.
    pub create_test_otp: bool,
    /// `ADMIN_DOMAINS`, in lower case.
    pub admin_domains: Vec<String>,
    /// `ADMIN_KEY`.
    pub admin_key: Option<Secret<String>>,
    /// `ALLOWED_ORIGINS`.
    pub allowed_origins: Vec<String>,
    /// Whether the localhost origins of CONTRACT 9.2 are allowed, too.
    pub localhost_origins: bool,
    /// `SERVED_DOMAINS`: (network, domain), in the configured order.
    pub served_domains: Vec<(String, String)>,
    /// `NETWORK_CONFIG_SOURCE`.
    pub contract_source: ContractSource,
    /// `NETWORK_CONFIG_LOCAL_FILE`.
    pub contract_file: PathBuf,
    /// The network documents of a remote source, by network id: `NETWORK_CONFIG_URLS`, else `SCHEMA_REGISTRY_URL`.
    pub contract_urls: Vec<(String, Url)>,
    /// `SCHEMA_CACHE_DIR`.
    pub schema_cache_dir: PathBuf,
    /// `ALLOW_EXTRA_SCHEMA_DATA`.
    pub allow_extra_schema_data: bool,
    /// The database.
    pub database: DatabaseSource,
    /// `PG_BIN`: the server programs for [`DatabaseSource::Embedded`].
    pub pg_bin: Option<PathBuf>,
    /// Redis' URL, if there is one.
    pub redis: Option<Secret<String>>,
    /// `PEER_AUTH`.
    pub peer_auth: PeerAuth,
    /// `PEER_PRIVATE_KEY`, or the text of `PEER_PRIVATE_KEY_FILE`: known to be a key ([`ed25519_seed`]).
    pub peer_private_key: Option<Secret<String>>,
    /// `PEER_ALLOW_PRIVATE`.
    pub peer_allow_private: PrivateAllowance,
    /// `PEER_TIMEOUT_MS`.
    pub peer_timeout: Duration,
    /// `READ_YOUR_WRITES_TIMEOUT_MS`; zero never waits.
    pub read_your_writes_timeout: Duration,
    /// The notification service, when all its settings are there.
    pub notification: Option<Notification>,
    /// The scoring service, when it is chosen and all its settings are there.
    pub scoring: Option<Scoring>,
    /// What the operator should know, and what does not keep the server from starting.
    pub warnings: Vec<Problem>,
}

impl Config {
    /// Whether `INSTANCE_ENV` is `production`.
    #[must_use]
    pub fn production(&self) -> bool {
        self.instance_env == InstanceEnv::Production
    }

    /// Reads every setting. An empty variable counts as not given.
    ///
    /// # Errors
    /// Every problem there is.
    pub fn parse(lookup: &dyn Fn(&str) -> Option<String>) -> Result<Self, Vec<Problem>> {
        let mut r = Reader::new(lookup);
        let config = Self::read(&mut r);
        match config {
            Some(config) if r.problems.is_empty() => Ok(Self { warnings: r.warnings, ..config }),
            _ => Err(r.problems),
        }
    }

    /// Each part reads all of its settings before any `?` looks at what came out.
    fn read(r: &mut Reader<'_>) -> Option<Self> {
        let instance_name = r.instance_name();
        let api_port = r.integer(&settings::API_PORT, 1..=u16::MAX);
        let base_url = r.base_url(api_port);
        let trusted_proxies = r.list(&settings::TRUSTED_PROXIES, "holds what is no CIDR block", reader::network);
        let auth_secret = r.secret_of(&settings::AUTH_SECRET, 8);
        let create_test_otp = r.create_test_otp();
        let admin_domains = r.list(&settings::ADMIN_DOMAINS, "holds what is no domain", reader::mail_domain);
        let admin_key = r.secret_of(&settings::ADMIN_KEY, 8);
        let allowed_origins = r.list(&settings::ALLOWED_ORIGINS, origins::EXPECTED, origins::origin);
        let served_domains = r.served_domains();
        let contract_source = r.choice(
            &settings::NETWORK_CONFIG_SOURCE,
            &[("local", ContractSource::Local), ("remote", ContractSource::Remote)],
        );
        let contract_urls = contract_urls::read(r, contract_source, &served_domains);
        let database = r.database();
        let redis = r.redis();
        let peer_private_key = r.peer_private_key();
        let peer_auth = r.peer_auth(peer_private_key.is_some());
        let peer_allow_private = r.private_allowance();
        let peer_timeout = r.integer(&settings::PEER_TIMEOUT_MS, 1..=u32::MAX);
        let read_your_writes = r.integer(&settings::READ_YOUR_WRITES_TIMEOUT_MS, 0..=u32::MAX);
        let (notification, scoring) = (r.notification(), r.scoring());
        let production = r.env == Some(InstanceEnv::Production);
        Some(Self {
            instance_name: instance_name?,
            instance_env: r.env?,
            base_url: base_url?,
            api_port: api_port?,
            trusted_proxies,
            auth_secret: auth_secret?,
            auth_middleware_enabled: r.boolean(&settings::AUTH_MIDDLEWARE_ENABLED) || production,
            create_test_otp,
            admin_domains,
            admin_key,
            allowed_origins,
            localhost_origins: !production && r.text(&settings::NODE_ENV).as_deref() != Some("production"),
            served_domains,
            contract_source: contract_source?,
            contract_file: r.text(&settings::NETWORK_CONFIG_LOCAL_FILE)?.into(),
            contract_urls,
            schema_cache_dir: r.text(&settings::SCHEMA_CACHE_DIR)?.into(),
            allow_extra_schema_data: r.boolean(&settings::ALLOW_EXTRA_SCHEMA_DATA),
            database: database?,
            pg_bin: r.given(&settings::PG_BIN).map(PathBuf::from),
            redis,
            peer_auth: peer_auth?,
            peer_private_key,
            peer_allow_private,
            peer_timeout: Duration::from_millis(peer_timeout?.into()),
            read_your_writes_timeout: Duration::from_millis(read_your_writes?.into()),
            notification,
            scoring,
            warnings: Vec::new(),
        })
    }
}

#[cfg(test)]
mod tests;
