//! Every setting in one table (CONTRACT 14): parsing takes its defaults from here, and `dpg config` prints it.

/// What happens when a setting is not given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fallback {
    /// The server does not start.
    Required,
    /// The setting is off.
    Off,
    /// This value.
    Value(&'static str),
    /// This value in development, off in production.
    Development(&'static str),
}

/// How a value is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Print {
    /// As it is.
    Plain,
    /// Only whether it is there.
    Secret,
    /// A URL without its password.
    UrlWithPassword,
}

/// One environment variable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Setting {
    /// Its name.
    pub name: &'static str,
    /// What happens without it.
    pub fallback: Fallback,
    /// What it does.
    pub meaning: &'static str,
    /// How it is printed.
    pub print: Print,
}

macro_rules! settings {
    ($($name:ident, $fallback:expr, $print:ident, $meaning:literal;)*) => {
        $(
            #[doc = $meaning]
            pub const $name: Setting = Setting {
                name: stringify!($name),
                fallback: $fallback,
                meaning: $meaning,
                print: Print::$print,
            };
        )*
        /// All settings, in the order of the documentation.
        pub const ALL: &[Setting] = &[$($name),*];
    };
}

use Fallback::{Development, Off, Required, Value};

settings! {
    INSTANCE_NAME, Required, Plain, "service name; prefix of API keys; part of the cache directory's name";
    INSTANCE_ENV, Required, Plain, "development or production";
    API_DOMAIN, Required, Plain, "public base URL with scheme; in development API_PORT is added when it names no port";
    API_PORT, Value("2742"), Plain, "port to listen on, all interfaces";
    TRUSTED_PROXIES, Development("127.0.0.0/8,::1/128"), Plain, "CIDR blocks, comma list: proxies whose X-Forwarded-* headers count";
    AUTH_SECRET, Required, Secret, "at least 8 characters: signs tokens, hashes one-time codes";
    AUTH_MIDDLEWARE_ENABLED, Value("true"), Plain, "false lets requests through without a user; development only";
    CREATE_TEST_OTP, Value("false"), Plain, "true makes every one-time code 000000; refused in production";
    ADMIN_DOMAINS, Off, Plain, "e-mail domains whose users become admins, comma list";
    ADMIN_KEY, Off, Secret, "at least 8 characters: x-admin-key of the operator's routes";
    ALLOWED_ORIGINS, Off, Plain, "browser origins that may call with credentials, comma list, exact";
    NODE_ENV, Off, Plain, "production also drops the localhost origins of development";
    SERVED_DOMAINS, Required, Plain, "network/domain pairs this instance serves, comma list";
    NETWORK_CONFIG_SOURCE, Value("local"), Plain, "local or remote: where contracts come from";
    NETWORK_CONFIG_LOCAL_FILE, Value("network.json"), Plain, "contract file, relative to the working directory";
    NETWORK_CONFIG_URLS, Off, Plain, "network=url pairs of remote contracts, comma list";
    SCHEMA_REGISTRY_URL, Off, Plain, "like NETWORK_CONFIG_URLS, or one base URL for all served networks";
    SCHEMA_CACHE_DIR, Value("./schema-cache"), Plain, "directory for fetched contracts and schemas";
    ALLOW_EXTRA_SCHEMA_DATA, Value("false"), Plain, "true ignores additionalProperties: false in schemas";
    POSTGRES_URL, Off, UrlWithPassword, "database; its sslmode is obeyed; preferred over the parts below";
    POSTGRES_USER, Off, Plain, "required without POSTGRES_URL; with no Postgres setting at all, development runs a Postgres of its own";
    POSTGRES_PASSWORD, Off, Secret, "at least 8 characters; required without POSTGRES_URL";
    POSTGRES_DB, Off, Plain, "database name; required without POSTGRES_URL";
    POSTGRES_HOST, Value("127.0.0.1"), Plain, "database host";
    POSTGRES_PORT, Off, Plain, "database port; wins over DATABASE_PORT";
    DATABASE_PORT, Value("5432"), Plain, "database port";
    PG_BIN, Off, Plain, "folder of the server programs (initdb, postgres) for the Postgres that development runs; without it the usual folders are searched";
    REDIS_URL, Off, UrlWithPassword, "page cache; no Redis setting means no Redis";
    REDIS_HOST, Value("127.0.0.1"), Plain, "used when REDIS_HOST or REDIS_PASSWORD is set";
    REDIS_PORT, Value("6370"), Plain, "used when REDIS_HOST or REDIS_PASSWORD is set";
    REDIS_PASSWORD, Off, Secret, "used when REDIS_HOST or REDIS_PASSWORD is set";
    PEER_AUTH, Value("permissive"), Plain, "off, permissive or enforced: signatures on peer requests";
    PEER_PRIVATE_KEY, Off, Secret, "Ed25519 key that signs our peer requests: base64 of 32 bytes, or PKCS#8 PEM";
    PEER_PRIVATE_KEY_FILE, Off, Plain, "file that holds the key; not together with PEER_PRIVATE_KEY";
    PEER_ALLOW_PRIVATE, Off, Plain, "CIDR blocks and host names, comma list: private addresses that outgoing calls may reach in production";
    PEER_TIMEOUT_MS, Value("5000"), Plain, "time-out of every outgoing call, in milliseconds";
    READ_YOUR_WRITES_TIMEOUT_MS, Value("1000"), Plain, "how long a write waits until readers see it, in milliseconds; 0 never waits";
    NOTIFICATION_SERVICE_ENDPOINT, Off, Plain, "service that delivers one-time codes; needs its key id and secret too";
    NOTIFICATION_SERVICE_KEY_ID, Off, Plain, "key id for the notification service";
    NOTIFICATION_SERVICE_SECRET, Off, Secret, "signs calls to the notification service";
    SMS_TEMPLATE_ID, Value("login_otp"), Plain, "template of text messages";
    MATCH_SCORE_PROVIDER, Off, Plain, "dpg_scoring turns match scores on; needs endpoint, key id and secret too";
    DPG_SCORING_ENDPOINT, Off, Plain, "base URL of the scoring service";
    DPG_SCORING_PATH, Value("api/v1/scores/match"), Plain, "path of the scoring service";
    DPG_SCORING_KEY_ID, Off, Plain, "key id for the scoring service";
    DPG_SCORING_SECRET, Off, Secret, "signs calls to the scoring service";
    DPG_SCORING_VERSION, Off, Plain, "version asked of the scoring service";
    DPG_SCORING_PROMPT_VERSION, Off, Plain, "prompt version asked of the scoring service";
    RUST_LOG, Value(crate::telemetry::DEFAULT_FILTER), Plain, "which log lines are shown: level, or target=level pairs, comma list";
}

/// A line of `dpg config`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// Name of the variable.
    pub name: &'static str,
    /// Its default in words.
    pub default: String,
    /// What it does.
    pub meaning: &'static str,
    /// The value in force, secrets masked; empty when there is none.
    pub value: String,
    /// Whether the value was given, rather than the default.
    pub given: bool,
}

/// The whole table with the values in force. It works on a configuration with faults, too.
#[must_use]
pub fn describe(lookup: &dyn Fn(&str) -> Option<String>) -> Vec<Row> {
    let development = given(lookup, &INSTANCE_ENV).as_deref() == Some("development");
    ALL.iter().map(|setting| setting.row(lookup, development)).collect()
}

/// The text of a variable; an empty one counts as not given. Blanks around a secret belong to it.
pub(super) fn given(lookup: &dyn Fn(&str) -> Option<String>, setting: &Setting) -> Option<String> {
    let text = lookup(setting.name)?;
    let text = if setting.print == Print::Secret { text } else { text.trim().to_owned() };
    (!text.is_empty()).then_some(text)
}

impl Setting {
    /// The value when none is given.
    pub(super) fn default_in(&self, development: bool) -> Option<&'static str> {
        match self.fallback {
            Value(text) => Some(text),
            Development(text) if development => Some(text),
            Development(_) | Off | Required => None,
        }
    }

    fn row(&self, lookup: &dyn Fn(&str) -> Option<String>, development: bool) -> Row {
        let text = given(lookup, self);
        let default = match self.fallback {
            Required => "required".to_owned(),
            Off => "none".to_owned(),
            Value(text) => text.to_owned(),
            Development(text) => format!("{text} in development, none in production"),
        };
        let is_given = text.is_some();
        let value = text.or_else(|| self.default_in(development).map(str::to_owned));
        let value = value.map(|value| self.print.masked(value)).unwrap_or_default();
        Row { name: self.name, default, meaning: self.meaning, value, given: is_given }
    }
}

const MASK: &str = "********";

impl Print {
    fn masked(self, value: String) -> String {
        match self {
            Self::Plain => value,
            Self::Secret => MASK.to_owned(),
            Self::UrlWithPassword => without_password(&value),
        }
    }
}

/// Masks the password of a URL; all of it where the password could stand anywhere (a key-value string, a parameter).
fn without_password(text: &str) -> String {
    let Ok(mut url) = url::Url::parse(text) else { return MASK.to_owned() };
    if url.query_pairs().any(|(key, _)| key.contains("pass")) {
        return MASK.to_owned();
    }
    if url.password().is_some() && url.set_password(Some(MASK)).is_err() {
        return MASK.to_owned();
    }
    url.to_string()
}
