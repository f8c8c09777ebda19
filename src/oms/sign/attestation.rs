//! Other statements about a model than its signature, signed.
//!
//! An attestation is a DSSE envelope by itself (DSSE v1, "Envelope"), not a bundle. Its payload is
//! an in-toto Statement v1 whose one subject is the model, named as the model's own signature names
//! it: by its root digest.
//!
//! Guarantees: no attestation is a signature of a model, whoever trusts its key: that has another
//! predicate type. Doesn't: know what a predicate says, or verify an attestation.

use serde::{Deserialize, Serialize};

use crate::digest::{Algorithm, Digest};
use crate::oms::dsse::{Envelope, PAYLOAD_TYPE, Pae};
use crate::oms::method::key::{SigningFailed, SigningKey};
use crate::oms::statement::OtherDraft;
use crate::oms::wire::base64;

/// What is stated, and of which model.
#[derive(Debug)]
pub struct Attestation<'a, P> {
    /// The name of the model.
    pub model_name: &'a str,
    /// Its root digest, SHA-256.
    pub root_digest: Digest,
    /// What kind of predicate it is: a URI, and none of OMS.
    pub predicate_type: &'static str,
    /// The predicate.
    pub predicate: &'a P,
}

impl<P: Serialize> Attestation<'_, P> {
    /// Signs it with a bare key, which the envelope names by its hint
    /// ([`PublicKey::hint`](crate::oms::key::PublicKey::hint)). Gives the envelope as JSON, in one
    /// line.
    ///
    /// # Errors
    /// [`AttestError`].
    pub fn sign(&self, key: &dyn SigningKey) -> Result<Vec<u8>, AttestError> {
        if self.root_digest.algorithm() != Algorithm::Sha256 {
            return Err(AttestError::RootDigest(self.root_digest.algorithm()));
        }
        let draft = OtherDraft {
            subject_name: self.model_name,
            root_sha256: self.root_digest.to_hex(),
            predicate_type: self.predicate_type,
            predicate: self.predicate,
        };
        let payload = draft.to_json()?;
        let signature = key.sign(&Pae::new(&payload).parts())?;
        let envelope = Envelope::new(payload, signature);
        let mut json = serde_json::to_vec(&envelope.to_wire(key.public_key().hint()))?;
        json.push(b'\n');
        Ok(json)
    }
}

/// The key that an envelope says it is signed with, if it holds a statement of this predicate type.
/// Its own word: nothing is verified.
pub fn claimed_key(envelope: &[u8], predicate_type: &str) -> Option<String> {
    let claimed: ClaimedEnvelope = serde_json::from_slice(envelope).ok()?;
    let payload = base64::decode(&claimed.payload)?;
    let statement: ClaimedStatement = serde_json::from_slice(&payload).ok()?;
    let [signature] = <[_; 1]>::try_from(claimed.signatures).ok()?;
    let is_it = claimed.payload_type == PAYLOAD_TYPE && statement.predicate_type == predicate_type;
    is_it.then_some(signature.keyid)
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ClaimedEnvelope {
    payload: String,
    payload_type: String,
    signatures: Vec<ClaimedSignature>,
}

#[derive(Deserialize)]
struct ClaimedSignature {
    keyid: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ClaimedStatement {
    predicate_type: String,
}

/// An attestation that couldn't be made.
#[derive(Debug, thiserror::Error)]
pub enum AttestError {
    /// The key failed.
    #[error(transparent)]
    Key(#[from] SigningFailed),
    /// The predicate isn't JSON.
    #[error("the predicate can't be written as JSON: {0}")]
    Json(#[from] serde_json::Error),
    /// A root digest is SHA-256 (OMS v1.0, 6.5.1).
    #[error("a root digest is SHA-256, not {0}")]
    RootDigest(Algorithm),
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair};

    use super::*;
    use crate::oms::key::PrivateKey;
    use crate::oms::statement::Statement;

    const TYPE: &str = "https://example.org/told/v1";

    fn key() -> PrivateKey {
        let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_ASN1_SIGNING).unwrap();
        let der = pair.to_pkcs8v1().unwrap();
        let pem = pem::encode(&pem::Pem::new("PRIVATE KEY", der.as_ref()));
        PrivateKey::from_pem(pem.as_bytes(), None).unwrap()
    }

    fn attest(key: &PrivateKey, algorithm: Algorithm) -> Result<Vec<u8>, AttestError> {
        Attestation {
            model_name: "m\u{202e}\"",
            root_digest: algorithm.hash(b"root"),
            predicate_type: TYPE,
            predicate: &BTreeMap::from([("told", 7)]),
        }
        .sign(key)
    }

    #[test]
    fn an_attestation_is_signed_by_its_key_and_no_signature_of_a_model() {
        let key = key();
        let json = attest(&key, Algorithm::Sha256).unwrap();
        assert_eq!(
            claimed_key(&json, TYPE).as_deref(),
            Some(key.public_key().hint())
        );
        let envelope: serde_json::Value = serde_json::from_slice(&json).unwrap();
        let decoded = |text: &serde_json::Value| base64::decode(text.as_str().unwrap()).unwrap();
        let payload = decoded(&envelope["payload"]);
        let signature = decoded(&envelope["signatures"][0]["sig"]);
        let is_signed = |payload: &[u8]| {
            let message = Pae::new(payload);
            key.public_key()
                .verify(&message.parts(), &signature)
                .is_ok()
        };
        assert!(is_signed(&payload) && !is_signed(&payload[1..]));
        let told: serde_json::Value = serde_json::from_slice(&payload).unwrap();
        let root = Algorithm::Sha256.hash(b"root").to_hex();
        let expected = serde_json::json!({
            "_type": "https://in-toto.io/Statement/v1", "predicateType": TYPE,
            "subject": [{"name": "m\u{202e}\"", "digest": {"sha256": root}}],
            "predicate": {"told": 7},
        });
        assert_eq!(told, expected);
        assert!(Statement::parse_any(&payload).is_err());
        assert!(attest(&key, Algorithm::Blake3).is_err());
    }

    #[test]
    fn what_is_no_attestation_names_no_key() {
        let json = attest(&key(), Algorithm::Sha256).unwrap();
        assert_eq!(claimed_key(&json, "https://example.org/told/v2"), None);
        for (from, to) in [
            ("application/vnd.in-toto+json", "application/json"),
            ("\"signatures\":[", "\"signatures\":[{\"keyid\":\"\"},"),
            ("\"payload\":\"", "\"payload\":\"!"),
        ] {
            let text = String::from_utf8(json.clone()).unwrap();
            let changed = text.replace(from, to);
            assert_ne!(changed, text);
            assert_eq!(claimed_key(changed.as_bytes(), TYPE), None, "{changed}");
        }
        assert_eq!(claimed_key(b"{}", TYPE), None);
    }
}
