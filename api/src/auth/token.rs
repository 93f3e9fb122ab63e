//! Session tokens and everything that is keyed with `AUTH_SECRET` (CONTRACT 2.3).

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, Mac};
use rand::Rng;
use rand::distr::Alphanumeric;
use sha2::{Digest, Sha256};

use super::error::SetupError;

/// SHA-256 of a token: what the store knows of it.
pub(super) type TokenHash = [u8; 32];

/// The clear text of a session token. Not printable by accident.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Token(String);

impl Token {
    /// 32 random alphanumerics.
    pub(super) fn random() -> Self {
        Self(rand::rng().sample_iter(Alphanumeric).take(32).map(char::from).collect())
    }

    pub(super) fn hash(&self) -> TokenHash {
        Sha256::digest(self.0.as_bytes()).into()
    }

    pub(super) fn as_str(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Debug for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Token(…)")
    }
}

/// HMAC-SHA256 with `AUTH_SECRET`.
#[derive(Clone)]
pub(super) struct Signer {
    keyed: Hmac<Sha256>,
}

impl Signer {
    pub(super) fn new(secret: &str) -> Result<Self, SetupError> {
        if secret.chars().count() < 8 {
            return Err(SetupError::Secret);
        }
        Hmac::new_from_slice(secret.as_bytes()).map(|keyed| Self { keyed }).map_err(|_length| SetupError::Secret)
    }

    /// `token.signature`, the signature in base64.
    pub(super) fn signed(&self, token: &Token) -> String {
        let signature = self.mac(&[token.as_str().as_bytes()]).finalize().into_bytes();
        format!("{}.{}", token.as_str(), STANDARD.encode(signature))
    }

    /// The token of `token.signature`, if the signature is right.
    pub(super) fn verified(&self, text: &str) -> Option<Token> {
        let (token, signature) = text.split_once('.')?;
        let Ok(signature) = STANDARD.decode(signature) else { return None };
        let matches = self.mac(&[token.as_bytes()]).verify_slice(&signature).is_ok();
        (matches && !token.is_empty()).then(|| Token(token.to_owned()))
    }

    /// A bearer token: bare, or signed and then the signature must be right.
    pub(super) fn bearer(&self, text: &str) -> Option<Token> {
        match text {
            "" => None,
            signed if signed.contains('.') => self.verified(signed),
            bare => Some(Token(bare.to_owned())),
        }
    }

    /// The hash of a one-time code. The identifier is part of it, so that a code proves nothing about another one.
    pub(super) fn code_hash(&self, identifier: &str, code: &str) -> [u8; 32] {
        let parts: [&[u8]; 5] = [b"one-time code", b"\0", identifier.as_bytes(), b"\0", code.as_bytes()];
        self.mac(&parts).finalize().into_bytes().into()
    }

    fn mac(&self, parts: &[&[u8]]) -> Hmac<Sha256> {
        let mut mac = self.keyed.clone();
        for part in parts {
            mac.update(part);
        }
        mac
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signed_token_is_known_again_and_a_changed_one_is_not() {
        let signer = Signer::new("a secret of some length").unwrap();
        let token = Token::random();
        assert_eq!(token.as_str().len(), 32);
        assert!(token.as_str().chars().all(|c| c.is_ascii_alphanumeric()));
        let signed = signer.signed(&token);
        assert_eq!(signer.verified(&signed), Some(token.clone()));
        assert_eq!(signer.bearer(&signed), Some(token.clone()));
        assert_eq!(signer.bearer(token.as_str()), Some(token.clone()));
        assert_eq!(signer.verified(token.as_str()), None, "a cookie is always signed");
        assert_eq!(signer.bearer(&format!("{}.", token.as_str())), None);
        assert_eq!(signer.bearer(""), None);
        assert_eq!(signer.bearer(&format!("x{signed}")), None);
        let other = Signer::new("another secret altogether").unwrap();
        assert_eq!(other.bearer(&signed), None);
    }

    #[test]
    fn a_code_hash_depends_on_identifier_and_code() {
        let signer = Signer::new("a secret of some length").unwrap();
        let hash = signer.code_hash("asha@example.com", "123456");
        assert_eq!(hash, signer.code_hash("asha@example.com", "123456"));
        assert_ne!(hash, signer.code_hash("ravi@example.com", "123456"));
        assert_ne!(hash, signer.code_hash("asha@example.com", "123457"));
    }

    #[test]
    fn short_secrets_are_refused() {
        assert!(Signer::new("seven77").is_err());
    }
}
