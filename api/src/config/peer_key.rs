//! Our private key for signing peer requests: its two spellings, and where it may stand.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;

use super::reader::Reader;
use super::{Secret, settings};

/// What a PKCS#8 Ed25519 key holds in front of its 32 bytes (RFC 8410): the algorithm 1.3.101.112, then the key as an
/// octet string within an octet string.
const PKCS8_MARK: [u8; 9] = [0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20];

impl Reader<'_> {
    pub(super) fn peer_private_key(&mut self) -> Option<Secret<String>> {
        let direct = self.given(&settings::PEER_PRIVATE_KEY);
        let file = self.given(&settings::PEER_PRIVATE_KEY_FILE);
        if direct.is_some() && file.is_some() {
            self.problem(&settings::PEER_PRIVATE_KEY_FILE, "cannot be used together with PEER_PRIVATE_KEY");
        }
        let (setting, text) = match (direct, file) {
            (Some(text), _) => (&settings::PEER_PRIVATE_KEY, text),
            (None, Some(path)) => match std::fs::read_to_string(&path) {
                Ok(text) => (&settings::PEER_PRIVATE_KEY_FILE, text),
                Err(error) => {
                    self.problem(&settings::PEER_PRIVATE_KEY_FILE, format!("could not be read: {error}"));
                    return None;
                }
            },
            (None, None) => return None,
        };
        // A PEM text in one line of an environment file has its line ends spelled out.
        let text = text.replace("\\n", "\n").trim().to_owned();
        if ed25519_seed(&text).is_none() {
            self.problem(setting, "must be base64 of 32 bytes, or an Ed25519 private key as PKCS#8 PEM");
            return None;
        }
        Some(Secret::new(text))
    }
}

/// The 32 private bytes in base64 of themselves, or in a PKCS#8 PEM text.
#[must_use]
pub fn ed25519_seed(text: &str) -> Option<[u8; 32]> {
    let Some(inside) = text.trim().strip_prefix("-----BEGIN PRIVATE KEY-----") else {
        return BASE64_STANDARD.decode(text.trim()).ok()?.try_into().ok();
    };
    let base64: String = inside.split_once("-----END PRIVATE KEY-----")?.0.split_whitespace().collect();
    let der = BASE64_STANDARD.decode(base64).ok()?;
    let mark = der.windows(PKCS8_MARK.len()).position(|window| window == PKCS8_MARK)?;
    let start = mark + PKCS8_MARK.len();
    der.get(start..start + 32)?.try_into().ok()
}
