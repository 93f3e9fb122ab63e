//! How a page lies in Redis: a version of the format, when it ends, a MAC, the page.
//!
//! Redis may be shared, restored or written to by others. The MAC (HMAC-SHA256 with a key derived from `AUTH_SECRET`)
//! covers the place as well as the page, so that a value counts only where this instance has put it; anything else is as
//! good as nothing.

use std::time::Duration;

use bytes::Bytes;
use chrono::Utc;
use hmac::{Hmac, Mac};
use sha2::Sha256;
use sha2::digest::Output;

use super::pages::Answer;

/// Changes whenever the format or the meaning of what is kept does.
const FORMAT: u8 = 1;
/// Format, end, item version, MAC.
pub(super) const HEADER: usize = 1 + 8 + 4 + 32;

/// Seals pages, and opens what it has sealed. Cheap to clone.
#[derive(Clone)]
pub struct Seal {
    mac: Hmac<Sha256>,
    prefix: String,
}

impl std::fmt::Debug for Seal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Seal").field("prefix", &self.prefix).finish_non_exhaustive()
    }
}

impl Seal {
    /// The seal of an instance.
    ///
    /// # Errors
    /// Only for a secret that can't be a key, which HMAC does not know.
    pub fn new(instance_name: &str, secret: &str) -> Result<Self, hmac::digest::InvalidLength> {
        let derived = Hmac::<Sha256>::new_from_slice(secret.as_bytes())?.chain_update("dpg page cache").finalize();
        let mac = Hmac::new_from_slice(&derived.into_bytes())?;
        Ok(Self { mac, prefix: format!("dpg:{instance_name}:page:") })
    }

    /// Where in Redis the page of a digest lies.
    pub(super) fn place(&self, digest: &[u8; 32]) -> String {
        format!("{}{:x}", self.prefix, Output::<Sha256>::from(*digest))
    }

    /// A page that is good for `lives` from now.
    pub(super) fn seal(&self, place: &str, answer: &Answer, lives: Duration) -> Vec<u8> {
        let ends = (milliseconds() + u64::try_from(lives.as_millis()).unwrap_or(u64::MAX / 2)).to_be_bytes();
        let version = answer.version.unwrap_or(0).to_be_bytes();
        let mac = self.mac_of(place, &[&[FORMAT], &ends, &version, &answer.body]).finalize().into_bytes();
        [&[FORMAT][..], &ends, &version, &mac, &answer.body].concat()
    }

    /// The page in `value` and for how long it is still good, if it was sealed for this place and has not ended.
    pub(super) fn open(&self, place: &str, value: Vec<u8>) -> Option<(Answer, Duration)> {
        let (&[format], rest) = value.split_first_chunk::<1>()?;
        let (ends, rest) = rest.split_first_chunk::<8>()?;
        let (version, rest) = rest.split_first_chunk::<4>()?;
        let (mac, body) = rest.split_first_chunk::<32>()?;
        if format != FORMAT {
            return None;
        }
        self.mac_of(place, &[&[format], ends, version, body]).verify_slice(mac).ok()?;
        let left = u64::from_be_bytes(*ends).checked_sub(milliseconds()).filter(|left| *left > 0)?;
        let version = Some(i32::from_be_bytes(*version)).filter(|version| *version > 0);
        let body = Bytes::from(value).slice(HEADER..);
        Some((Answer { body, version, partial: false }, Duration::from_millis(left)))
    }

    fn mac_of(&self, place: &str, parts: &[&[u8]]) -> Hmac<Sha256> {
        // All parts but the last have a fixed length, and a place ends where the format's byte (no digit) begins.
        parts.iter().fold(self.mac.clone().chain_update(place), |mac, part| mac.chain_update(part))
    }
}

/// Since 1970.
fn milliseconds() -> u64 {
    u64::try_from(Utc::now().timestamp_millis()).unwrap_or_default()
}
