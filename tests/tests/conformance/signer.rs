//! Signs requests as CONTRACT 2.5 says, written from the contract alone and not with the code under test. Every part can
//! be made wrong.

use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use dpg_tests::client::Request;
use dpg_tests::{Answer, Client};
use reqwest::Method;
use ring::signature::{Ed25519KeyPair, KeyPair as _};
use serde_json::Value;
use sha2::{Digest as _, Sha256};

/// A peer's key pair under the URL that it is registered with.
pub struct Signer {
    seed: [u8; 32],
    /// `keyid`.
    pub url: String,
}

/// What is signed, and how; a case changes what it wants wrong.
pub struct Signature {
    /// Covered components, without quotes.
    pub covered: Vec<&'static str>,
    /// `created`, in seconds from now.
    pub age: i64,
    /// `nonce`.
    pub nonce: String,
    /// `keyid`.
    pub keyid: String,
    /// `alg`.
    pub algorithm: &'static str,
    /// `tag`.
    pub tag: &'static str,
    /// The label of the signature.
    pub label: &'static str,
    /// The text over which `content-digest` is taken, when it is not the body.
    pub digested: Option<String>,
    /// `@authority`, when it is not the receiver's.
    pub authority: Option<String>,
    /// Sent and covered when there is one.
    pub idempotency_key: Option<String>,
    /// Whether the last bytes of the signature are turned.
    pub broken: bool,
}

impl Signer {
    /// A new key.
    pub fn new(url: &str) -> Self {
        Self { seed: rand::random(), url: url.to_owned() }
    }

    /// For `PEER_PRIVATE_KEY`.
    pub fn private(&self) -> String {
        STANDARD.encode(self.seed)
    }

    /// For network.json.
    pub fn public(&self) -> String {
        format!("ed25519:{}", STANDARD.encode(self.pair().public_key().as_ref()))
    }

    fn pair(&self) -> Ed25519KeyPair {
        Ed25519KeyPair::from_seed_unchecked(&self.seed).expect("32 bytes")
    }

    /// As every request is to be signed.
    pub fn signature(&self) -> Signature {
        Signature {
            covered: vec!["@method", "@authority", "@path", "content-digest"],
            age: 0,
            nonce: URL_SAFE_NO_PAD.encode(rand::random::<[u8; 16]>()),
            keyid: self.url.clone(),
            algorithm: "ed25519",
            tag: "dpg-peer",
            label: "dpg",
            digested: None,
            authority: None,
            idempotency_key: None,
            broken: false,
        }
    }

    /// Posts a body, signed.
    pub async fn post(&self, to: &str, path: &str, body: &Value) -> Answer {
        self.post_with(to, path, body, self.signature()).await
    }

    /// Posts a body, signed somehow.
    pub async fn post_with(&self, to: &str, path: &str, body: &Value, how: Signature) -> Answer {
        self.request(to, Method::POST, path, &body.to_string(), how).send().await
    }

    /// Asks, signed.
    pub async fn get(&self, to: &str, path: &str) -> Answer {
        let mut how = self.signature();
        if path.contains('?') {
            how.covered.push("@query");
        }
        self.request(to, Method::GET, path, "", how).send().await
    }

    fn request(&self, to: &str, method: Method, path: &str, body: &str, mut how: Signature) -> Request {
        if how.idempotency_key.is_some() && !how.covered.contains(&"idempotency-key") {
            how.covered.push("idempotency-key");
        }
        let digest = digest(how.digested.as_deref().unwrap_or(body));
        let input = how.parameters();
        let (bare, query) = path.split_once('?').unwrap_or((path, ""));
        let own = to.split_once("://").map_or(to, |(_, authority)| authority);
        let lines: Vec<String> = (how.covered.iter())
            .map(|name| {
                let value = match *name {
                    "@method" => method.to_string(),
                    "@authority" => how.authority.clone().unwrap_or_else(|| own.to_owned()),
                    "@path" => bare.to_owned(),
                    "@query" => format!("?{query}"),
                    "content-digest" => digest.clone(),
                    "idempotency-key" => how.idempotency_key.clone().unwrap_or_default(),
                    other => panic!("no such component: {other}"),
                };
                format!("\"{name}\": {value}\n")
            })
            .collect();
        let base = format!("{}\"@signature-params\": {input}", lines.concat());
        let mut signature = self.pair().sign(base.as_bytes()).as_ref().to_vec();
        if how.broken {
            signature.iter_mut().for_each(|byte| *byte ^= 1);
        }
        let request = Client::anonymous(to).request(method.clone(), path);
        let request = if method == Method::GET { request } else { request.raw("application/json", body) };
        let request = match &how.idempotency_key {
            Some(key) => request.header("idempotency-key", key),
            None => request,
        };
        (request.header("content-digest", &digest))
            .header("signature-input", &format!("{}={input}", how.label))
            .header("signature", &format!("{}=:{}:", how.label, STANDARD.encode(signature)))
    }
}

impl Signature {
    fn parameters(&self) -> String {
        let covered: Vec<String> = self.covered.iter().map(|name| format!("\"{name}\"")).collect();
        let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs();
        let created = i64::try_from(now).expect("before the end of time") + self.age;
        format!(
            "({});created={created};nonce=\"{}\";keyid=\"{}\";alg=\"{}\";tag=\"{}\"",
            covered.join(" "),
            self.nonce,
            self.keyid,
            self.algorithm,
            self.tag
        )
    }
}

/// RFC 9530.
fn digest(text: &str) -> String {
    format!("sha-256=:{}:", STANDARD.encode(Sha256::digest(text.as_bytes())))
}
