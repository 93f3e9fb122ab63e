//! Reads single settings and notes what is wrong with them.

use std::ops::RangeInclusive;
use std::str::FromStr;

use ipnet::IpNet;

use super::settings::{self, Fallback, Setting, given};
use super::{InstanceEnv, Notification, PeerAuth, PrivateAllowance, Problem, Scoring, Secret};

/// The settings being read.
pub(super) struct Reader<'a> {
    lookup: &'a dyn Fn(&str) -> Option<String>,
    pub(super) problems: Vec<Problem>,
    pub(super) warnings: Vec<Problem>,
    /// `None` when it is missing or unknown, which has been noted: rules that depend on it are then left out.
    pub(super) env: Option<InstanceEnv>,
}

impl<'a> Reader<'a> {
    pub(super) fn new(lookup: &'a dyn Fn(&str) -> Option<String>) -> Self {
        let mut reader = Self { lookup, problems: Vec::new(), warnings: Vec::new(), env: None };
        let choices = [("development", InstanceEnv::Development), ("production", InstanceEnv::Production)];
        reader.env = reader.choice(&settings::INSTANCE_ENV, &choices);
        reader
    }

    pub(super) fn problem(&mut self, setting: &Setting, message: impl Into<String>) {
        self.problems.push(Problem { variable: setting.name.to_owned(), message: message.into() });
    }

    pub(super) fn warning(&mut self, setting: &Setting, message: impl Into<String>) {
        self.warnings.push(Problem { variable: setting.name.to_owned(), message: message.into() });
    }

    /// What was given, without the default.
    pub(super) fn given(&self, setting: &Setting) -> Option<String> {
        given(self.lookup, setting)
    }

    /// What was given, or the default.
    pub(super) fn text(&mut self, setting: &Setting) -> Option<String> {
        let development = self.env == Some(InstanceEnv::Development);
        let text = self.given(setting).or_else(|| setting.default_in(development).map(str::to_owned));
        if text.is_none() && setting.fallback == Fallback::Required {
            self.problem(setting, "is required");
        }
        text
    }

    /// Only the exact text `true` is true.
    pub(super) fn boolean(&mut self, setting: &Setting) -> bool {
        self.text(setting).as_deref() == Some("true")
    }

    pub(super) fn choice<T: Copy>(&mut self, setting: &Setting, choices: &[(&str, T)]) -> Option<T> {
        let text = self.text(setting)?;
        let chosen = choices.iter().find(|(word, _)| *word == text).map(|(_, choice)| *choice);
        if chosen.is_none() {
            let words: Vec<_> = choices.iter().map(|(word, _)| *word).collect();
            self.problem(setting, format!("must be one of {}", words.join(", ")));
        }
        chosen
    }

    pub(super) fn integer<T>(&mut self, setting: &Setting, range: RangeInclusive<T>) -> Option<T>
    where
        T: FromStr + PartialOrd + std::fmt::Display,
    {
        let read = self.text(setting)?.parse().ok().filter(|number| range.contains(number));
        if read.is_none() {
            let message = format!("must be a whole number from {} to {}", range.start(), range.end());
            self.problem(setting, message);
        }
        read
    }

    /// A secret of at least so many characters.
    pub(super) fn secret_of(&mut self, setting: &Setting, shortest: usize) -> Option<Secret<String>> {
        let text = self.text(setting)?;
        if text.chars().count() < shortest {
            self.problem(setting, format!("must have at least {shortest} characters"));
            return None;
        }
        Some(Secret::new(text))
    }

    /// A comma list, blanks trimmed, duplicates dropped, order kept.
    pub(super) fn list<T: PartialEq>(
        &mut self,
        setting: &Setting,
        message: &str,
        read: impl Fn(&str) -> Option<T>,
    ) -> Vec<T> {
        let mut list = Vec::new();
        for entry in self.text(setting).unwrap_or_default().split(',').map(str::trim).filter(|entry| !entry.is_empty())
        {
            match read(entry) {
                Some(value) if list.contains(&value) => {}
                Some(value) => list.push(value),
                None => self.problem(setting, format!("{message}: {entry}")),
            }
        }
        list
    }

    pub(super) fn instance_name(&mut self) -> Option<String> {
        let setting = &settings::INSTANCE_NAME;
        let name = self.text(setting)?;
        // It becomes part of a directory's name.
        if name.contains(['/', '\\']) || name.chars().any(char::is_control) {
            self.problem(setting, "must not contain slashes or control characters");
            return None;
        }
        Some(name)
    }

    pub(super) fn create_test_otp(&mut self) -> bool {
        let setting = &settings::CREATE_TEST_OTP;
        let wanted = self.boolean(setting);
        if wanted && self.env == Some(InstanceEnv::Production) {
            self.problem(setting, "is refused in production");
        }
        wanted
    }

    pub(super) fn served_domains(&mut self) -> Vec<(String, String)> {
        let setting = &settings::SERVED_DOMAINS;
        let pairs = self.list(setting, "holds what is no network/domain of lower-case names", served_pair);
        if pairs.is_empty() && !self.problems.iter().any(|problem| problem.variable == setting.name) {
            self.problem(setting, "must name at least one network/domain");
        }
        pairs
    }

    pub(super) fn peer_auth(&mut self, has_key: bool) -> Option<PeerAuth> {
        let setting = &settings::PEER_AUTH;
        let choices = [("off", PeerAuth::Off), ("permissive", PeerAuth::Permissive), ("enforced", PeerAuth::Enforced)];
        let mode = self.choice(setting, &choices)?;
        let tried = self.problems.iter().any(|problem| problem.variable.starts_with("PEER_PRIVATE_KEY"));
        match mode {
            PeerAuth::Enforced if !has_key && !tried => {
                self.problem(setting, "is enforced, which needs PEER_PRIVATE_KEY or PEER_PRIVATE_KEY_FILE");
            }
            PeerAuth::Off if self.env == Some(InstanceEnv::Production) => {
                self.warning(setting, "is off: anybody can speak for any peer");
            }
            _ => {}
        }
        Some(mode)
    }

    pub(super) fn private_allowance(&mut self) -> PrivateAllowance {
        let mut allowance = PrivateAllowance::default();
        let setting = &settings::PEER_ALLOW_PRIVATE;
        for entry in self.list(setting, "holds what is neither a CIDR block nor a host name", network_or_host) {
            match entry {
                NetworkOrHost::Network(network) => allowance.networks.push(network),
                NetworkOrHost::Host(host) => allowance.hosts.push(host),
            }
        }
        allowance
    }

    pub(super) fn notification(&mut self) -> Option<Notification> {
        let endpoint = self.service_url(&settings::NOTIFICATION_SERVICE_ENDPOINT);
        let key_id = self.given(&settings::NOTIFICATION_SERVICE_KEY_ID);
        let secret = self.given(&settings::NOTIFICATION_SERVICE_SECRET);
        let sms_template_id = self.text(&settings::SMS_TEMPLATE_ID)?;
        let given = [endpoint.is_some(), key_id.is_some(), secret.is_some()];
        if given.contains(&true) && given.contains(&false) {
            let message = "is not used: it takes the endpoint, the key id and the secret";
            self.warning(&settings::NOTIFICATION_SERVICE_ENDPOINT, message);
        }
        Some(Notification { endpoint: endpoint?, key_id: key_id?, secret: Secret::new(secret?), sms_template_id })
    }

    pub(super) fn scoring(&mut self) -> Option<Scoring> {
        let endpoint = self.service_url(&settings::DPG_SCORING_ENDPOINT);
        let path = self.text(&settings::DPG_SCORING_PATH)?;
        let key_id = self.given(&settings::DPG_SCORING_KEY_ID);
        let secret = self.given(&settings::DPG_SCORING_SECRET);
        let setting = &settings::MATCH_SCORE_PROVIDER;
        let provider = self.given(setting)?;
        if provider != "dpg_scoring" {
            self.warning(setting, "is not known: match scores are off");
            return None;
        }
        if endpoint.is_none() || key_id.is_none() || secret.is_none() {
            self.warning(setting, "needs DPG_SCORING_ENDPOINT, _KEY_ID and _SECRET: match scores are off");
        }
        let version = self.given(&settings::DPG_SCORING_VERSION);
        let prompt_version = self.given(&settings::DPG_SCORING_PROMPT_VERSION);
        Some(Scoring {
            endpoint: endpoint?,
            path,
            key_id: key_id?,
            secret: Secret::new(secret?),
            version,
            prompt_version,
        })
    }

    fn service_url(&mut self, setting: &Setting) -> Option<String> {
        let text = self.given(setting)?;
        let http = url::Url::parse(&text).is_ok_and(|url| matches!(url.scheme(), "http" | "https"));
        if !http {
            self.problem(setting, "must be an http or https URL");
        }
        http.then_some(text)
    }
}

/// A CIDR block; a bare address stands for itself.
pub(super) fn network(text: &str) -> Option<IpNet> {
    text.parse().ok().or_else(|| text.parse().ok().map(|address: std::net::IpAddr| IpNet::from(address)))
}

/// `example.org`, in lower case.
pub(super) fn mail_domain(text: &str) -> Option<String> {
    let domain = text.strip_prefix('@').unwrap_or(text).to_lowercase();
    (!domain.is_empty() && !domain.contains(['@', '/', ' '])).then_some(domain)
}

#[derive(PartialEq)]
enum NetworkOrHost {
    Network(IpNet),
    Host(String),
}

fn network_or_host(text: &str) -> Option<NetworkOrHost> {
    if let Some(network) = network(text) {
        return Some(NetworkOrHost::Network(network));
    }
    let name = text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_'));
    // Digits and dots that are no address are a slip of the pen, not a host.
    let slip = text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    (name && !slip).then(|| NetworkOrHost::Host(text.to_ascii_lowercase()))
}

/// `network/domain`, each `[a-z][a-z0-9_]*` (CONTRACT 9.1).
fn served_pair(text: &str) -> Option<(String, String)> {
    let (network, domain) = text.split_once('/')?;
    (is_served_name(network) && is_served_name(domain)).then(|| (network.to_owned(), domain.to_owned()))
}

fn is_served_name(name: &str) -> bool {
    let body = name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_');
    body && name.starts_with(|first: char| first.is_ascii_lowercase())
}
