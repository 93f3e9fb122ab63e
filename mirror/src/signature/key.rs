//! Ed25519 keys as operators and contracts write them.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::rand::{SecureRandom as _, SystemRandom};
use ring::signature::{ED25519, Ed25519KeyPair, KeyPair as _, UnparsedPublicKey};

const PEM_BEGIN: &str = "-----BEGIN PRIVATE KEY-----";
const PEM_END: &str = "-----END PRIVATE KEY-----";
const PUBLIC_PREFIX: &str = "ed25519:";
/// The y coordinates (low and high half) of the points of small order, in each way to write them: nobody's keys, but ring
/// takes them, and then every fourth or eighth signature out of nothing verifies. A placeholder of zeros is one of them.
const SMALL_ORDER: [(u128, u128); 7] = [
    (0, 0),
    (1, 0),
    (0xf098_eff2_89f4_c345_b027_b2c2_8f95_e826, 0x05fc_536d_8802_38b1_3933_c6d3_05ac_dfd5),
    (0x0f67_100d_760b_3cba_4fd8_4d3d_706a_17c7, 0x7a03_ac92_77fd_c74e_c6cc_392c_fa53_202a),
    (u128::MAX - 19, u128::MAX >> 1),
    (u128::MAX - 18, u128::MAX >> 1),
    (u128::MAX - 17, u128::MAX >> 1),
];

/// Why a key can't be used, or nothing signed with it. Never holds the key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// Not base64, or PEM without its markers.
    #[error("the key is neither base64 nor PKCS#8 PEM")]
    Encoding,
    /// Raw bytes of another length.
    #[error("the key is not 32 bytes long")]
    Length,
    /// A public key that proves nothing.
    #[error("the key is one for which anybody can sign")]
    Weak,
    /// PKCS#8 of something else.
    #[error("the PKCS#8 document is not a usable Ed25519 key")]
    Pkcs8,
    /// The system gave no randomness.
    #[error("no randomness from the system")]
    Randomness,
    /// A part of the request that has to be covered is missing.
    #[error("the request lacks a part that the signature covers")]
    Request,
}

/// An instance's private key. Its `Debug` shows the public half only.
pub struct PeerKey {
    pair: Ed25519KeyPair,
}

/// A fresh key with both halves as text, for the operator to put where they belong.
#[derive(Debug)]
pub struct GeneratedKey {
    /// Ready to sign with.
    pub key: PeerKey,
    /// For `PEER_PRIVATE_KEY`: base64 of the 32 bytes.
    pub private: PrivateText,
}

/// A private key as text. Its `Debug` shows nothing.
pub struct PrivateText(String);

impl PrivateText {
    /// The text itself.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Debug for PrivateText {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("PrivateText(…)")
    }
}

impl std::fmt::Debug for PeerKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PeerKey").field("public", &self.public_key().to_string()).finish_non_exhaustive()
    }
}

impl PeerKey {
    /// Reads base64 of the raw 32 bytes, or PKCS#8 PEM (with or without the public half in it).
    ///
    /// # Errors
    /// [`KeyError`].
    pub fn parse(text: &str) -> Result<Self, KeyError> {
        let text = text.trim();
        if text.starts_with("-----") {
            return Self::from_pem(text);
        }
        let seed = STANDARD.decode(text).map_err(|_| KeyError::Encoding)?;
        Self::from_seed(&seed)
    }

    /// Makes a new key.
    ///
    /// # Errors
    /// [`KeyError::Randomness`].
    pub fn generate() -> Result<GeneratedKey, KeyError> {
        let mut seed = [0u8; 32];
        SystemRandom::new().fill(&mut seed).map_err(|_| KeyError::Randomness)?;
        Ok(GeneratedKey { key: Self::from_seed(&seed)?, private: PrivateText(STANDARD.encode(seed)) })
    }

    /// The public half.
    #[must_use]
    pub fn public_key(&self) -> PublicKey {
        let mut bytes = [0u8; 32];
        for (to, from) in bytes.iter_mut().zip(self.pair.public_key().as_ref()) {
            *to = *from;
        }
        PublicKey(bytes)
    }

    /// The 64 bytes of a signature.
    pub(super) fn sign(&self, message: &[u8]) -> Vec<u8> {
        self.pair.sign(message).as_ref().to_vec()
    }

    fn from_seed(seed: &[u8]) -> Result<Self, KeyError> {
        let pair = Ed25519KeyPair::from_seed_unchecked(seed).map_err(|_| KeyError::Length)?;
        Ok(Self { pair })
    }

    fn from_pem(text: &str) -> Result<Self, KeyError> {
        let inner =
            text.strip_prefix(PEM_BEGIN).and_then(|text| text.strip_suffix(PEM_END)).ok_or(KeyError::Encoding)?;
        let base64: String = inner.split_ascii_whitespace().collect();
        let document = STANDARD.decode(base64).map_err(|_| KeyError::Encoding)?;
        let pair = Ed25519KeyPair::from_pkcs8_maybe_unchecked(&document).map_err(|_| KeyError::Pkcs8)?;
        Ok(Self { pair })
    }
}

/// A public key as a contract gives it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct PublicKey([u8; 32]);

impl PublicKey {
    /// Reads base64 of the raw 32 bytes, with or without the prefix `ed25519:`.
    ///
    /// # Errors
    /// [`KeyError`].
    pub fn parse(text: &str) -> Result<Self, KeyError> {
        let text = text.trim();
        let bytes =
            STANDARD.decode(text.strip_prefix(PUBLIC_PREFIX).unwrap_or(text)).map_err(|_| KeyError::Encoding)?;
        let bytes = bytes.try_into().map_err(|_| KeyError::Length)?;
        if has_small_order(&bytes) { Err(KeyError::Weak) } else { Ok(Self(bytes)) }
    }

    pub(super) fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        UnparsedPublicKey::new(&ED25519, &self.0).verify(message, signature).is_ok()
    }
}

/// The highest bit is the sign of x.
fn has_small_order(key: &[u8; 32]) -> bool {
    let halves = key.first_chunk().zip(key.last_chunk());
    let y = halves.map(|(low, high)| (u128::from_le_bytes(*low), u128::from_le_bytes(*high) & (u128::MAX >> 1)));
    y.is_some_and(|y| SMALL_ORDER.contains(&y))
}

/// With the prefix, as it stands in contracts.
impl std::fmt::Display for PublicKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{PUBLIC_PREFIX}{}", STANDARD.encode(self.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Why those keys are none: a signature that needs no private key, tried on some texts.
    #[test]
    fn a_key_for_which_anybody_can_sign_is_none() {
        for (low, high) in SMALL_ORDER {
            for sign in [0, 1 << 127] {
                let mut bytes = [0; 32];
                bytes[..16].copy_from_slice(&low.to_le_bytes());
                bytes[16..].copy_from_slice(&(high | sign).to_le_bytes());
                let mut from_nothing = [0; 64];
                from_nothing[0] = 1;
                let forged = (0..100).any(|text: u32| PublicKey(bytes).verifies(&text.to_le_bytes(), &from_nothing));
                // Where x is 0 the sign means nothing, and ring may take it or not.
                assert!(forged || sign != 0, "{bytes:x?} is no key of small order");
                assert_eq!(PublicKey::parse(&STANDARD.encode(bytes)), Err(KeyError::Weak));
            }
        }
    }
}
