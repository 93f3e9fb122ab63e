//! A peer's signature (CONTRACT 2.5), written a second time from the contract's text alone, so that a mistake in the
//! product's own is seen. Every part of it can be bent, as a forger would.

use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use ring::signature::Ed25519KeyPair;
use sha2::{Digest as _, Sha256};

use crate::PeerKey;

/// What is to be signed.
#[derive(Debug, Clone, Copy)]
pub struct Unsigned<'a> {
    /// `POST`, `GET`.
    pub method: &'a str,
    /// The path, with the query if there is one.
    pub path: &'a str,
    /// `idempotency-key`, when it is sent.
    pub key: Option<&'a str>,
    /// The body.
    pub body: &'a [u8],
}

/// What a signature says of itself.
#[derive(Debug, Clone)]
pub struct Terms {
    /// Host and port for which it is made.
    pub authority: String,
    /// Seconds since 1970.
    pub created: i64,
    /// Unique per request.
    pub nonce: String,
    /// Who signs.
    pub keyid: String,
    /// `ed25519`.
    pub algorithm: String,
    /// `dpg-peer`.
    pub tag: String,
    /// What is covered, in order.
    pub covered: Vec<&'static str>,
}

/// Who signs, and with which key.
pub struct Signer {
    pair: Ed25519KeyPair,
    /// The instance's URL.
    pub url: String,
}

impl Signer {
    /// A signer with a key of its own.
    ///
    /// # Panics
    /// When the key is none.
    #[must_use]
    pub fn new(url: &str, key: &PeerKey) -> Self {
        let seed = STANDARD.decode(&key.private).expect("base64");
        let pair = Ed25519KeyPair::from_seed_unchecked(&seed).expect("32 bytes");
        Self { pair, url: url.to_owned() }
    }

    /// What an honest peer says when it calls `authority` now.
    ///
    /// # Panics
    /// Before 1970.
    #[must_use]
    pub fn terms(&self, authority: &str, request: &Unsigned<'_>) -> Terms {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("a clock after 1970").as_secs();
        let mut covered = vec!["@method", "@authority", "@path", "content-digest"];
        if request.path.contains('?') {
            covered.push("@query");
        }
        if request.key.is_some() {
            covered.push("idempotency-key");
        }
        Terms {
            authority: authority.to_owned(),
            created: i64::try_from(now).expect("a time"),
            nonce: URL_SAFE_NO_PAD.encode(rand::random::<[u8; 16]>()),
            keyid: self.url.clone(),
            algorithm: "ed25519".to_owned(),
            tag: "dpg-peer".to_owned(),
            covered,
        }
    }

    /// The three headers.
    ///
    /// # Panics
    /// For a component that can't be covered here.
    #[must_use]
    pub fn sign(&self, request: &Unsigned<'_>, terms: &Terms) -> [(&'static str, String); 3] {
        let digest = format!("sha-256=:{}:", STANDARD.encode(Sha256::digest(request.body)));
        let names: Vec<String> = terms.covered.iter().map(|name| format!("\"{name}\"")).collect();
        let Terms { created, nonce, keyid, algorithm, tag, .. } = terms;
        let parameters = format!(
            r#"({});created={created};nonce="{nonce}";keyid="{keyid}";alg="{algorithm}";tag="{tag}""#,
            names.join(" ")
        );
        let (path, query) = request.path.split_once('?').unwrap_or((request.path, ""));
        let query = format!("?{query}");
        let mut base = String::new();
        for name in &terms.covered {
            let value = match *name {
                "@method" => request.method,
                "@authority" => &terms.authority,
                "@path" => path,
                "@query" => &query,
                "content-digest" => &digest,
                "idempotency-key" => request.key.expect("a key"),
                other => panic!("{other} can't be covered"),
            };
            base.push_str(&format!("\"{name}\": {value}\n"));
        }
        base.push_str(&format!("\"@signature-params\": {parameters}"));
        let signature = STANDARD.encode(self.pair.sign(base.as_bytes()));
        [
            ("content-digest", digest),
            ("signature-input", format!("dpg={parameters}")),
            ("signature", format!("dpg=:{signature}:")),
        ]
    }
}

/// The contract's test vector, so that product and tests can't be wrong in the same way unseen.
#[test]
fn the_contracts_vector_is_met() {
    let key = PeerKey { private: "nWGxne/9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A=".to_owned(), public: String::new() };
    let body = br#"{"item_network":"yellow_dot","item_domain":"tutor"}"#;
    let request = Unsigned { method: "POST", path: "/api/v1/network/item/count_local", key: None, body };
    let signer = Signer::new("https://a.example.org", &key);
    let mut terms = signer.terms("b.example.org", &request);
    terms.created = 1_795_225_984;
    terms.nonce = "q83vEjRWeJCrze8SNFZ4kA".to_owned();
    let [digest, input, signature] = signer.sign(&request, &terms);
    assert_eq!(digest.1, "sha-256=:VrX0ITKrjVRbf6Bmz3PiKU7my3lwLc2/z4xQN2BmRt0=:");
    assert_eq!(
        input.1,
        r#"dpg=("@method" "@authority" "@path" "content-digest");created=1795225984;nonce="q83vEjRWeJCrze8SNFZ4kA";keyid="https://a.example.org";alg="ed25519";tag="dpg-peer""#
    );
    assert_eq!(
        signature.1,
        "dpg=:t8LjdhaCzE+q37WKH+C645N/wAxKqW+j0fZXXrAOdyCE/qLx9Faw6Yhedk3C9Xqmj9SN1VZe1g8HU9Cit/ZrBQ==:"
    );
}
