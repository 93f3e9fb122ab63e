//! The signature of calls to the services beside an instance (CONTRACT 13), written a second time, so that a mistake in
//! the product's own is seen.

use hmac::{Hmac, Mac};
use sha2::Sha256;

/// HMAC-SHA256 in hexadecimal.
///
/// # Panics
/// Never: a key of any length will do.
#[must_use]
pub fn hmac_hex(secret: &str, text: &str) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).expect("a key of any length");
    mac.update(text.as_bytes());
    format!("{:x}", mac.finalize().into_bytes())
}
