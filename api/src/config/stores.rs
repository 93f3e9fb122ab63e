//! Where Postgres and Redis are.

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

use super::reader::Reader;
use super::settings::{self, Setting};
use super::{InstanceEnv, Secret};

/// Which database to use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DatabaseSource {
    /// This one.
    Url(Secret<String>),
    /// One that the server runs itself; development only.
    Embedded,
}

impl Reader<'_> {
    /// `POSTGRES_URL`, else all of the parts, else (in development, with none of them) a database of our own.
    pub(super) fn database(&mut self) -> Option<DatabaseSource> {
        if let Some(url) = self.given(&settings::POSTGRES_URL) {
            if !dpg_eventstore::database::is_url(&url) {
                let message = "must be a Postgres URL (sslmode: disable, prefer, require, verify-ca or verify-full)";
                self.problem(&settings::POSTGRES_URL, message);
                return None;
            }
            return Some(DatabaseSource::Url(Secret::new(url)));
        }
        let parts = [
            settings::POSTGRES_USER,
            settings::POSTGRES_PASSWORD,
            settings::POSTGRES_DB,
            settings::POSTGRES_HOST,
            settings::POSTGRES_PORT,
            settings::DATABASE_PORT,
        ];
        if parts.iter().all(|part| self.given(part).is_none()) {
            match self.env {
                Some(InstanceEnv::Development) => return Some(DatabaseSource::Embedded),
                // Which of the two rules holds is not known; INSTANCE_ENV is reported already.
                None => return None,
                Some(InstanceEnv::Production) => {}
            }
        }
        self.database_of_parts()
    }

    fn database_of_parts(&mut self) -> Option<DatabaseSource> {
        let user = self.needed_part(&settings::POSTGRES_USER);
        let password = self.needed_part(&settings::POSTGRES_PASSWORD);
        if password.is_some() {
            self.secret_of(&settings::POSTGRES_PASSWORD, 8);
        }
        let name = self.needed_part(&settings::POSTGRES_DB);
        let host = self.text(&settings::POSTGRES_HOST)?;
        let wins = self.given(&settings::POSTGRES_PORT).is_some();
        let port = if wins { &settings::POSTGRES_PORT } else { &settings::DATABASE_PORT };
        let port = self.integer(port, 1..=u16::MAX);
        let (user, password, name) = (encoded(&user?), encoded(&password?), encoded(&name?));
        let url = format!("postgres://{user}:{password}@{}:{}/{name}", encoded_host(&host), port?);
        Some(DatabaseSource::Url(Secret::new(url)))
    }

    fn needed_part(&mut self, setting: &Setting) -> Option<String> {
        let text = self.given(setting);
        if text.is_none() {
            self.problem(setting, "is required without POSTGRES_URL");
        }
        text
    }

    /// `REDIS_URL`, else host, port and password when the host or the password is given, else none.
    pub(super) fn redis(&mut self) -> Option<Secret<String>> {
        if let Some(url) = self.given(&settings::REDIS_URL) {
            if redis::Client::open(url.as_str()).is_err() {
                self.problem(&settings::REDIS_URL, "must be a redis:// or unix:// URL");
                return None;
            }
            return Some(Secret::new(url));
        }
        let password = self.given(&settings::REDIS_PASSWORD);
        if password.is_none() && self.given(&settings::REDIS_HOST).is_none() {
            return None;
        }
        let host = self.text(&settings::REDIS_HOST)?;
        let port = self.integer(&settings::REDIS_PORT, 1..=u16::MAX)?;
        let user = password.map(|password| format!(":{}@", encoded(&password))).unwrap_or_default();
        Some(Secret::new(format!("redis://{user}{}:{port}", encoded_host(&host))))
    }
}

fn encoded(text: &str) -> String {
    utf8_percent_encode(text, NON_ALPHANUMERIC).to_string()
}

/// A name or address as it stands in a URL; a socket's directory is encoded.
fn encoded_host(host: &str) -> String {
    match host {
        socket if socket.starts_with('/') => encoded(socket),
        address if address.parse::<std::net::Ipv6Addr>().is_ok() => format!("[{address}]"),
        name => name.to_owned(),
    }
}
