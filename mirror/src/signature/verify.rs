//! The receiver's side.

use chrono::{DateTime, Utc};

use super::structured::{self, Item, Parameters};
use super::{ALGORITHM, LABEL, PublicKey, RequestHead, TAG, digest, signature_base};

/// How far a signature's time may be from ours, in seconds.
const CLOCK_TOLERANCE: i64 = 300;
/// A nonce or keyid longer than this is nothing that should be remembered.
const LONGEST_PARAMETER: usize = 2048;

/// Why a signature doesn't count. On the wire all of them are `PEER_SIGNATURE_INVALID`; this is for the log.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SignatureError {
    /// The headers can't be read, or one of the three is missing.
    #[error("the header {0} is missing or malformed")]
    Malformed(&'static str),
    /// A parameter is missing or has an unusable value.
    #[error("the signature parameter {0} is missing or not valid")]
    Parameter(&'static str),
    /// Something that must be covered isn't.
    #[error("{0} is not covered")]
    NotCovered(&'static str),
    /// A covered component that was not sent, or that we don't know.
    #[error("the covered component {0:?} can't be had")]
    Component(String),
    /// The body is not the one that was signed.
    #[error("the content digest is not that of the body")]
    Digest,
    /// It was made for another instance.
    #[error("the authority is not this instance's")]
    Authority,
    /// Its time is too far from ours.
    #[error("the signature is {0} seconds off our clock")]
    Clock(i64),
    /// The contract of the network spoken about gives no key for it.
    #[error("no key is registered for the signer")]
    UnknownKey,
    /// None of the signer's keys made it.
    #[error("no key of the signer verifies the signature")]
    NotVerified,
}

/// A signature that was read, whose digest fits the body, and that has yet to be verified.
#[derive(Debug, Clone)]
pub struct Presented {
    keyid: String,
    nonce: String,
    created: i64,
    components: Vec<String>,
    parameters: Parameters,
    signature: Vec<u8>,
}

/// Who signed. For writes the caller still has to see that `(keyid, nonce)` is new.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verified {
    /// The signer's instance URL, as sent.
    pub keyid: String,
    /// Unique per request.
    pub nonce: String,
    /// The key that verified.
    pub key: PublicKey,
}

impl Presented {
    /// Reads the signature of a request. `Ok(None)` when it has neither `signature` nor `signature-input`.
    ///
    /// # Errors
    /// [`SignatureError`]: malformed headers, a component that has to be covered and isn't, or a wrong digest.
    pub fn read(head: &RequestHead<'_>, body: &[u8]) -> Result<Option<Self>, SignatureError> {
        let (input, signature) = match (head.header("signature-input"), head.header("signature")) {
            (None, None) => return Ok(None),
            (None, Some(_)) => return Err(SignatureError::Malformed("signature-input")),
            (Some(_), None) => return Err(SignatureError::Malformed("signature")),
            (Some(input), Some(signature)) => (input, signature),
        };
        let (components, parameters) = structured::only_member(&input, LABEL)
            .and_then(structured::parse_inner_list)
            .ok_or(SignatureError::Malformed("signature-input"))?;
        let signature = structured::only_member(&signature, LABEL)
            .and_then(structured::bytes)
            .ok_or(SignatureError::Malformed("signature"))?;
        check_coverage(head, &components)?;
        let digest = head.header("content-digest").ok_or(SignatureError::Malformed("content-digest"))?;
        if !digest::matches(&digest, body) {
            return Err(SignatureError::Digest);
        }
        if text(&parameters, "alg")? != ALGORITHM {
            return Err(SignatureError::Parameter("alg"));
        }
        if text(&parameters, "tag")? != TAG {
            return Err(SignatureError::Parameter("tag"));
        }
        Ok(Some(Self {
            keyid: text(&parameters, "keyid")?.to_owned(),
            nonce: text(&parameters, "nonce")?.to_owned(),
            created: integer(&parameters, "created")?.ok_or(SignatureError::Parameter("created"))?,
            components,
            parameters,
            signature,
        }))
    }

    /// The signer's instance URL, as sent, not verified yet.
    #[must_use]
    pub fn keyid(&self) -> &str {
        &self.keyid
    }

    /// Verifies it against the keys that the contract of the network spoken about gives for `keyid` (compared after
    /// 5.3 by `keys`). `is_own` says whether an authority is this instance's.
    ///
    /// # Errors
    /// [`SignatureError`].
    pub fn verify(
        &self,
        head: &RequestHead<'_>,
        keys: impl FnOnce(&str) -> Vec<PublicKey>,
        is_own: impl FnOnce(&str) -> bool,
        now: DateTime<Utc>,
    ) -> Result<Verified, SignatureError> {
        if !is_own(head.authority) {
            return Err(SignatureError::Authority);
        }
        let off = now.timestamp().saturating_sub(self.created);
        if off.abs() > CLOCK_TOLERANCE {
            return Err(SignatureError::Clock(off));
        }
        if integer(&self.parameters, "expires")?.is_some_and(|expires| expires < now.timestamp()) {
            return Err(SignatureError::Parameter("expires"));
        }
        let base = signature_base(head, &self.components, &self.parameters).map_err(SignatureError::Component)?;
        let keys = keys(&self.keyid);
        if keys.is_empty() {
            return Err(SignatureError::UnknownKey);
        }
        let key = keys.into_iter().find(|key| key.verifies(base.as_bytes(), &self.signature));
        let key = key.ok_or(SignatureError::NotVerified)?;
        Ok(Verified { keyid: self.keyid.clone(), nonce: self.nonce.clone(), key })
    }
}

#[cfg(test)]
impl Presented {
    /// Flips one bit of the signature.
    pub(super) fn corrupt(&mut self, byte: usize) {
        self.signature[byte] ^= 1;
    }
}

fn check_coverage(head: &RequestHead<'_>, components: &[String]) -> Result<(), SignatureError> {
    let covered = |name: &str| components.iter().any(|component| component == name);
    for name in ["@method", "@authority", "@path", "content-digest"] {
        if !covered(name) {
            return Err(SignatureError::NotCovered(name));
        }
    }
    if head.query.is_some() && !covered("@query") {
        return Err(SignatureError::NotCovered("@query"));
    }
    if head.header("idempotency-key").is_some() && !covered("idempotency-key") {
        return Err(SignatureError::NotCovered("idempotency-key"));
    }
    for (at, name) in components.iter().enumerate() {
        let repeated = components.iter().take(at).any(|earlier| earlier == name);
        if repeated || name.bytes().any(|byte| byte.is_ascii_uppercase()) || head.component(name).is_none() {
            return Err(SignatureError::Component(name.clone()));
        }
    }
    Ok(())
}

fn parameter<'a>(parameters: &'a Parameters, name: &str) -> Option<&'a Item> {
    parameters.iter().find(|(known, _)| known == name).map(|(_, value)| value)
}

fn text<'a>(parameters: &'a Parameters, name: &'static str) -> Result<&'a str, SignatureError> {
    match parameter(parameters, name) {
        Some(Item::String(value)) if !value.is_empty() && value.len() <= LONGEST_PARAMETER => Ok(value),
        _ => Err(SignatureError::Parameter(name)),
    }
}

fn integer(parameters: &Parameters, name: &'static str) -> Result<Option<i64>, SignatureError> {
    match parameter(parameters, name) {
        None => Ok(None),
        Some(Item::Integer(value)) => Ok(Some(*value)),
        Some(_) => Err(SignatureError::Parameter(name)),
    }
}
