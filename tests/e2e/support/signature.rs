//! Verifies a request as a receiver does, by the text of Standard Webhooks and with nothing of ours.
//!
//! <https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md>

use aws_lc_rs::hmac;
use aws_lc_rs::signature::{ED25519, UnparsedPublicKey};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::receiver::Request;

/// What the signature covers: `<id>.<timestamp>.<body>`.
fn signed(request: &Request) -> Vec<u8> {
    let mut content =
        format!("{}.{}.", request.id(), request.header("webhook-timestamp")).into_bytes();
    content.extend_from_slice(&request.body);
    content
}

/// The signatures of one version that a request carries.
fn signatures(request: &Request, version: &str) -> Vec<Vec<u8>> {
    request
        .header("webhook-signature")
        .split(' ')
        .filter_map(|signature| signature.strip_prefix(version)?.strip_prefix(','))
        .map(|signature| STANDARD.decode(signature).expect("base64"))
        .collect()
}

/// How many signatures a request carries.
pub(crate) fn count(request: &Request) -> usize {
    request
        .header("webhook-signature")
        .split_whitespace()
        .count()
}

/// Whether one of the `v1` signatures was made with this `whsec_…` secret.
pub(crate) fn verifies(request: &Request, secret: &str) -> bool {
    let secret = STANDARD
        .decode(secret.trim_start_matches("whsec_"))
        .expect("base64");
    let key = hmac::Key::new(hmac::HMAC_SHA256, &secret);
    signatures(request, "v1")
        .iter()
        .any(|signature| hmac::verify(&key, &signed(request), signature).is_ok())
}

/// Whether one of the `v1a` signatures was made with the private key of this public one.
pub(crate) fn verifies_ed25519(request: &Request, public_key: &[u8]) -> bool {
    let key = UnparsedPublicKey::new(&ED25519, public_key);
    signatures(request, "v1a")
        .iter()
        .any(|signature| key.verify(&signed(request), signature).is_ok())
}
