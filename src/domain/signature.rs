//! Signatures of Standard Webhooks: a key in, the value of `webhook-signature` out.
//! <https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md>
//!
//! Invariant: what is signed is `{id}.{timestamp}.{body}`, with the body's bytes as they are sent.

use std::fmt;

use aws_lc_rs::{hmac, signature::Ed25519KeyPair};
use base64::Engine;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

use super::secret::Secret;

/// Base64 of keys and signatures; keys may lack the padding.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// A secret that is no signing key. Says nothing of its content.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidKey {
    /// It starts with neither prefix.
    #[error(
        "a signing secret starts with `whsec_` (HMAC-SHA256) or `whsk_` (Ed25519), then base64"
    )]
    Prefix,
    /// What follows the prefix is not base64.
    #[error("the signing secret is not base64 after its prefix")]
    Base64,
    /// An HMAC key of another length.
    #[error("a `whsec_` secret holds 24 to 64 bytes, this one {0}")]
    HmacLength(usize),
    /// An Ed25519 key of another length.
    #[error("a `whsk_` secret holds 32 bytes (seed) or 64 (seed and public key), this one {0}")]
    Ed25519Length(usize),
    /// A public key that another seed belongs to.
    #[error("the public key in the `whsk_` secret does not belong to its seed")]
    Mismatch,
}

/// A key that is ready to sign: nothing is derived anew for each signature.
pub struct SigningKey(Key);

enum Key {
    /// `v1`.
    Hmac(Box<hmac::Key>),
    /// `v1a`.
    Ed25519(Ed25519KeyPair),
}

impl SigningKey {
    /// Reads `whsec_` + base64 of 24–64 bytes, or `whsk_` + base64 of a 32-byte seed, which its public key may follow.
    ///
    /// # Errors
    /// If the secret has neither form.
    pub fn parse(secret: &Secret) -> Result<Self, InvalidKey> {
        let text = secret.expose();
        if let Some(encoded) = text.strip_prefix("whsec_") {
            let bytes = decode(encoded)?;
            if !(24..=64).contains(&bytes.len()) {
                return Err(InvalidKey::HmacLength(bytes.len()));
            }
            let key = hmac::Key::new(hmac::HMAC_SHA256, &bytes);
            return Ok(Self(Key::Hmac(Box::new(key))));
        }
        let encoded = text.strip_prefix("whsk_").ok_or(InvalidKey::Prefix)?;
        let bytes = decode(encoded)?;
        let pair = match bytes.split_at_checked(32) {
            Some((seed, [])) => Ed25519KeyPair::from_seed_unchecked(seed),
            Some((seed, public)) if public.len() == 32 => {
                Ed25519KeyPair::from_seed_and_public_key(seed, public)
            }
            _ => return Err(InvalidKey::Ed25519Length(bytes.len())),
        };
        // Lengths are right, so only the pair can be wrong; the library's error says no more than that.
        pair.map(|pair| Self(Key::Ed25519(pair)))
            .map_err(|_rejected| InvalidKey::Mismatch)
    }

    /// Signs one message: `v1,…` or `v1a,…`. The timestamp is in seconds since 1970.
    #[must_use]
    pub fn sign(&self, id: &str, timestamp_s: i64, body: &[u8]) -> String {
        let mut out = String::with_capacity(Self::LENGTH);
        self.sign_onto(&mut out, id, timestamp_s, body);
        out
    }

    /// The longest signature, in bytes: `v1a,` and base64 of 64 bytes.
    const LENGTH: usize = 4 + 88;

    fn sign_onto(&self, out: &mut String, id: &str, timestamp_s: i64, body: &[u8]) {
        match &self.0 {
            Key::Hmac(key) => {
                let mut context = hmac::Context::with_key(key);
                context.update(id.as_bytes());
                context.update(format!(".{timestamp_s}.").as_bytes());
                context.update(body);
                out.push_str("v1,");
                BASE64.encode_string(context.sign(), out);
            }
            // Ed25519 goes over the message twice, so it needs it in one piece.
            Key::Ed25519(pair) => {
                let mut message = format!("{id}.{timestamp_s}.").into_bytes();
                message.extend_from_slice(body);
                out.push_str("v1a,");
                BASE64.encode_string(pair.sign(&message), out);
            }
        }
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            Key::Hmac(_) => "HMAC-SHA256 [redacted]",
            Key::Ed25519(_) => "Ed25519 [redacted]",
        })
    }
}

/// The value of `webhook-signature`: the signatures of all `keys`, in their order, separated by spaces.
#[must_use]
pub fn signatures<'a>(
    keys: impl IntoIterator<Item = &'a SigningKey>,
    id: &str,
    timestamp_s: i64,
    body: &[u8],
) -> String {
    let mut out = String::with_capacity(SigningKey::LENGTH);
    for key in keys {
        if !out.is_empty() {
            out.push(' ');
        }
        key.sign_onto(&mut out, id, timestamp_s, body);
    }
    out
}

fn decode(encoded: &str) -> Result<Vec<u8>, InvalidKey> {
    BASE64
        .decode(encoded)
        .map_err(|_position_and_byte_are_secret| InvalidKey::Base64)
}

#[cfg(test)]
mod tests {
    use aws_lc_rs::signature::{ED25519, KeyPair, UnparsedPublicKey};
    use serde_json::Value;

    use super::*;

    /// Vectors of the specification, of its reference libraries and of our own, see the file.
    const VECTORS: &str = include_str!("../../tests/data/signatures.json");

    fn key(secret: &str) -> Result<SigningKey, InvalidKey> {
        SigningKey::parse(&Secret::new(secret.to_owned()))
    }

    fn secret(prefix: &str, bytes: usize) -> String {
        format!("{prefix}{}", BASE64.encode(vec![7; bytes]))
    }

    #[test]
    fn signatures_are_those_of_the_vectors() {
        let vectors: Vec<Value> = serde_json::from_str(VECTORS).expect("JSON");
        assert!(!vectors.is_empty());
        for vector in &vectors {
            let text = |name: &str| vector[name].as_str().expect(name);
            let timestamp = vector["timestamp"].as_i64().expect("timestamp");
            let found = key(text("secret")).expect("key").sign(
                text("id"),
                timestamp,
                text("body").as_bytes(),
            );
            assert_eq!(found, text("signature"), "{vector}");
        }
    }

    #[test]
    fn an_ed25519_signature_verifies_with_the_public_key() {
        let signing = key(&secret("whsk_", 32)).expect("key");
        let Key::Ed25519(pair) = &signing.0 else {
            panic!("another kind of key")
        };
        let signature = signing.sign("msg_1", 1_614_265_330, b"\xff\x00body");
        let signature = BASE64
            .decode(signature.strip_prefix("v1a,").expect("v1a"))
            .expect("base64");
        let public = UnparsedPublicKey::new(&ED25519, pair.public_key().as_ref());
        public
            .verify(b"msg_1.1614265330.\xff\x00body", &signature)
            .expect("the signature is right");
        assert!(
            public
                .verify(b"msg_1.1614265331.\xff\x00body", &signature)
                .is_err()
        );

        let mut both = [7; 32].to_vec();
        both.extend_from_slice(pair.public_key().as_ref());
        let with_public = key(&format!("whsk_{}", BASE64.encode(&both))).expect("seed and public");
        assert_eq!(
            with_public.sign("m", 1, b""),
            signing.sign("m", 1, b""),
            "the same key in both forms"
        );
    }

    #[test]
    fn several_signatures_are_separated_by_a_space() {
        let (first, second) = (key(&secret("whsec_", 24)), key(&secret("whsk_", 32)));
        let keys = [first.expect("key"), second.expect("key")];
        let all = signatures(&keys, "m", 1, b"{}");
        let expected: Vec<String> = keys.iter().map(|key| key.sign("m", 1, b"{}")).collect();
        assert_eq!(all, expected.join(" "));
        assert_eq!(signatures(&[], "m", 1, b"{}"), "");
    }

    #[test]
    fn secrets_of_another_form_are_refused_without_repeating_them() {
        for (text, expected) in [
            (String::new(), InvalidKey::Prefix),
            (
                "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw".into(),
                InvalidKey::Prefix,
            ),
            (
                "WHSEC_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw".into(),
                InvalidKey::Prefix,
            ),
            (
                "whpk_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw".into(),
                InvalidKey::Prefix,
            ),
            ("whsec_?".into(), InvalidKey::Base64),
            (
                "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw ".into(),
                InvalidKey::Base64,
            ),
            ("whsec_".into(), InvalidKey::HmacLength(0)),
            (secret("whsec_", 23), InvalidKey::HmacLength(23)),
            (secret("whsec_", 65), InvalidKey::HmacLength(65)),
            (secret("whsk_", 31), InvalidKey::Ed25519Length(31)),
            (secret("whsk_", 33), InvalidKey::Ed25519Length(33)),
            (secret("whsk_", 65), InvalidKey::Ed25519Length(65)),
            (secret("whsk_", 64), InvalidKey::Mismatch),
        ] {
            assert_eq!(key(&text).err(), Some(expected), "{text}");
        }
        for length in [24, 25, 32, 64] {
            let padded = secret("whsec_", length);
            assert!(key(&padded).is_ok(), "{length}");
            assert!(
                key(padded.trim_end_matches('=')).is_ok(),
                "{length} unpadded"
            );
        }
        assert!(!format!("{:?}", key(&secret("whsec_", 24))).contains("Bwc"));
    }
}
