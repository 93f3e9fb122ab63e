//! HTTP Message Signatures (RFC 9421) with Ed25519 and `Content-Digest` (RFC 9530), as CONTRACT 2.5 narrows them. Pure:
//! no clock, no store of nonces, no contract; those are the caller's.
//!
//! A receiver works in two steps, because the claim and the network that decide which keys count stand in the body:
//! [`Presented::read`] judges headers and digest before the body is looked at, [`Presented::verify`] the signature after.

mod digest;
mod key;
mod sign;
mod structured;
mod verify;

pub use digest::content_digest;
pub use key::{GeneratedKey, KeyError, PeerKey, PublicKey};
pub use sign::{SignedHeaders, sign};
pub use verify::{Presented, SignatureError, Verified};

use structured::Parameters;

/// The label of our signature among the members of `signature` and `signature-input`.
const LABEL: &str = "dpg";
/// The `tag` parameter: a signature made for another protocol doesn't count here.
const TAG: &str = "dpg-peer";
/// The `alg` parameter.
const ALGORITHM: &str = "ed25519";

/// The part of a request that a signature covers, but for the body.
#[derive(Debug, Clone, Copy)]
pub struct RequestHead<'a> {
    /// `POST`, `GET`.
    pub method: &'a str,
    /// Host and port as in the `host` header.
    pub authority: &'a str,
    /// The path as sent, percent-encoding and all.
    pub path: &'a str,
    /// What follows the `?`; none when there is no `?`.
    pub query: Option<&'a str>,
    /// Names (in any case) and values, repeated names in order.
    pub headers: &'a [(&'a str, &'a str)],
}

impl RequestHead<'_> {
    /// The value of a header field as RFC 9421 2.1 canonicalises it; none when it was not sent.
    fn header(&self, name: &str) -> Option<String> {
        let values: Vec<&str> =
            self.headers.iter().filter(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, v)| v.trim()).collect();
        (!values.is_empty()).then(|| values.join(", "))
    }

    /// The value of a covered component; none when it can't be covered here.
    fn component(&self, name: &str) -> Option<String> {
        match name {
            "@method" => Some(self.method.to_owned()),
            "@authority" => Some(self.authority.to_ascii_lowercase()),
            "@path" => Some(if self.path.is_empty() { "/".to_owned() } else { self.path.to_owned() }),
            "@query" => Some(format!("?{}", self.query.unwrap_or_default())),
            derived if derived.starts_with('@') => None,
            field => self.header(field),
        }
    }
}

/// The lines that are signed (RFC 9421 2.5). Err names the component that can't be had.
fn signature_base(head: &RequestHead<'_>, components: &[String], parameters: &Parameters) -> Result<String, String> {
    let mut base = String::new();
    for name in components {
        let value = head.component(name).ok_or_else(|| name.clone())?;
        base.push_str(&format!("\"{name}\": {value}\n"));
    }
    base.push_str(&format!("\"@signature-params\": {}", structured::inner_list(components, parameters)));
    Ok(base)
}

#[cfg(test)]
mod tests;
