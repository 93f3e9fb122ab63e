//! Signs what a case sends as the harness's signer does, and makes any part of it wrong that the case wants wrong.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use dpg_tests::client::Request;
use dpg_tests::signer::Unsigned;
use dpg_tests::{Answer, Client, PeerKey};
use reqwest::Method;
use serde_json::Value;

/// A peer's key pair under the URL that it is registered with.
pub struct Signer {
    key: PeerKey,
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
    /// Whether it is made with a key that nobody knows.
    pub broken: bool,
}

impl Signer {
    /// A new key.
    pub fn new(url: &str) -> Self {
        Self { key: PeerKey::make(), url: url.to_owned() }
    }

    /// For `PEER_PRIVATE_KEY`.
    pub fn private(&self) -> &str {
        &self.key.private
    }

    /// For network.json.
    pub fn public(&self) -> &str {
        &self.key.public
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
        let unsigned = Unsigned {
            method: method.as_str(),
            path,
            key: how.idempotency_key.as_deref(),
            body: how.digested.as_deref().unwrap_or(body).as_bytes(),
        };
        let key = if how.broken { &PeerKey::make() } else { &self.key };
        let signer = dpg_tests::Signer::new(&how.keyid, key);
        let own = to.split_once("://").map_or(to, |(_, authority)| authority);
        let mut terms = signer.terms(how.authority.as_deref().unwrap_or(own), &unsigned);
        terms.created += how.age;
        terms.nonce = how.nonce;
        terms.algorithm = how.algorithm.to_owned();
        terms.tag = how.tag.to_owned();
        terms.covered = how.covered;
        let [digest, input, signature] = signer.sign(&unsigned, &terms);
        let request = Client::anonymous(to).request(method.clone(), path);
        let request = if method == Method::GET { request } else { request.raw("application/json", body) };
        let request = match &how.idempotency_key {
            Some(key) => request.header("idempotency-key", key),
            None => request,
        };
        let labelled = |(name, value): (&'static str, String)| (name, value.replacen("dpg", how.label, 1));
        [digest, labelled(input), labelled(signature)]
            .iter()
            .fold(request, |request, (name, value)| request.header(name, value))
    }
}
