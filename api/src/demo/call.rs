//! A request that the demo makes and can also print as a curl line: what is printed is what was tried.

use std::fmt;
use std::time::Duration;

use dpg_mirror::peer::install_tls_provider;
use reqwest::{Client, Method};
use serde_json::Value;

use super::error::DemoError;

/// A client that talks to loopback only.
pub(super) fn client() -> Result<Client, DemoError> {
    install_tls_provider();
    Client::builder().no_proxy().timeout(Duration::from_secs(10)).build().map_err(DemoError::Client)
}

/// One request.
#[derive(Debug, Clone)]
pub(super) struct Call {
    method: Method,
    url: String,
    token: Option<String>,
    body: Option<Value>,
}

impl Call {
    pub(super) fn get(url: String) -> Self {
        Self { method: Method::GET, url, token: None, body: None }
    }

    pub(super) fn post(url: String, body: Value) -> Self {
        Self { method: Method::POST, url, token: None, body: Some(body) }
    }

    /// Made by whoever has this session.
    pub(super) fn by(mut self, token: &str) -> Self {
        self.token = Some(token.to_owned());
        self
    }

    /// Sends it; only a 2xx with JSON is an answer.
    pub(super) async fn send(&self, client: &Client) -> Result<Answer, DemoError> {
        let mut request = client.request(self.method.clone(), &self.url);
        if let Some(token) = &self.token {
            request = request.bearer_auth(token);
        }
        if let Some(body) = &self.body {
            request = request.json(body);
        }
        let no_answer = |source| DemoError::NoAnswer { call: self.to_string(), source };
        let response = request.send().await.map_err(no_answer)?;
        let status = response.status();
        let body = response.text().await.map_err(no_answer)?;
        match serde_json::from_str(&body) {
            Ok(value) if status.is_success() => Ok(Answer { call: self.to_string(), body: value }),
            _ => Err(DemoError::Refused { call: self.to_string(), status: status.as_u16(), body }),
        }
    }

    /// The same request as a line for the shell.
    pub(super) fn curl(&self) -> String {
        let mut line = "curl -s -w '\\n'".to_owned();
        if self.url.contains('[') {
            // Else curl takes brackets for a range.
            line.push_str(" -g");
        }
        if let Some(token) = &self.token {
            line.push_str(&format!(" -H {}", quoted(&format!("authorization: Bearer {token}"))));
        }
        if let Some(body) = &self.body {
            line.push_str(&format!(" -H 'content-type: application/json' -d {}", quoted(&body.to_string())));
        }
        format!("{line} {}", quoted(&self.url))
    }
}

/// Method and URL, for messages: no token, no body.
impl fmt::Display for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.method, self.url)
    }
}

fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

/// What came back.
#[derive(Debug)]
pub(super) struct Answer {
    call: String,
    body: Value,
}

impl Answer {
    /// The value at a JSON Pointer.
    pub(super) fn value(&self, field: &'static str) -> Result<&Value, DemoError> {
        self.body.pointer(field).ok_or_else(|| self.missing(field))
    }

    pub(super) fn text(&self, field: &'static str) -> Result<String, DemoError> {
        self.value(field)?.as_str().map(str::to_owned).ok_or_else(|| self.missing(field))
    }

    pub(super) fn list(&self, field: &'static str) -> Result<&[Value], DemoError> {
        self.value(field)?.as_array().map(Vec::as_slice).ok_or_else(|| self.missing(field))
    }

    fn missing(&self, field: &'static str) -> DemoError {
        DemoError::Missing { call: self.call.clone(), field, body: self.body.to_string() }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_curl_line_survives_the_shell() {
        let call = Call::post("http://127.0.0.1:1/x?item_state[city]=Pune".to_owned(), json!({"name": "D'Arcy"}));
        let line = call.by("abc").curl();
        // The shell itself tells how it reads the line.
        let script = format!("for word in {line}; do echo \"$word\"; done");
        let output = std::process::Command::new("sh").arg("-c").arg(script).output().unwrap();
        let words = String::from_utf8(output.stdout).unwrap();
        assert!(words.contains("\nauthorization: Bearer abc\n"), "{words}");
        assert!(words.contains("\n{\"name\":\"D'Arcy\"}\n"), "{words}");
        assert!(
            words.contains("\n-g\n") && words.contains("\nhttp://127.0.0.1:1/x?item_state[city]=Pune\n"),
            "{words}"
        );
    }

    #[test]
    fn messages_hold_no_token() {
        let call = Call::get("http://127.0.0.1:1/x".to_owned()).by("secret");
        assert_eq!(call.to_string(), "GET http://127.0.0.1:1/x");
    }
}
