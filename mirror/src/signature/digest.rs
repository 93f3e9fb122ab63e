//! `Content-Digest` (RFC 9530): what ties a body to a signature over headers.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest as _, Sha256};

use super::structured;

/// The header's value for a body, the empty one included.
#[must_use]
pub fn content_digest(body: &[u8]) -> String {
    format!("sha-256=:{}:", STANDARD.encode(Sha256::digest(body)))
}

/// Whether a received header names this body by SHA-256, once. Digests by other algorithms beside it are passed over.
pub(super) fn matches(header: &str, body: &[u8]) -> bool {
    let digest = structured::only_member(header, "sha-256").and_then(structured::bytes);
    digest.is_some_and(|digest| digest == *Sha256::digest(body))
}
