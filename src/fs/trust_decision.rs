//! How a signer came to be trusted, as a status tells it.
//!
//! Guarantees: it says what verification proved of the signer, and who had named that signer as one
//! to trust. Doesn't: decide; by then, a
//! [`VerifiedManifest`](crate::manifest::VerifiedManifest) was made.

use std::path::Path;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::moment::second_of;
use crate::name::Escaped;
use crate::oms::trust::{CertificateTime, Signer};
use crate::oms::trust_store::SignerName;

/// Why a signer was trusted. What isn't there doesn't go with the method, or wasn't needed.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct TrustDecision {
    /// Who named the signer: `mount-options` or `trust-store`.
    pub trusted_by: String,
    /// The signer's name in the trust store.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trust_entry: Option<String>,
    /// The file of the trust store.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trust_file: Option<String>,
    /// The key, as [`PublicKey::hint`](crate::oms::key::PublicKey::hint) has it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// The subject of the signer's certificate.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub certificate: Option<String>,
    /// The SHA-256 of that certificate.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub certificate_sha256: Option<String>,
    /// The subject of the trusted certificate that leads to it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trust_anchor: Option<String>,
    /// When these were valid: `now`, when the signature was verified; `at` a moment that the trust
    /// store has; or `pinned`, where the trust store names the very payload.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub certificates_valid: Option<String>,
    /// The Sigstore identity.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub identity: Option<String>,
    /// Who vouched for that identity.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub identity_provider: Option<String>,
    /// The earliest proved time at which the signature was there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub signed_before: Option<Timestamp>,
    /// The number of its log entry.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub log_index: Option<u64>,
}

impl TrustDecision {
    /// `signer` was proved, and named by whoever opened the model, or by an `entry` of a trust
    /// store: its name, and the file that it stands in.
    pub fn new(signer: &Signer, entry: Option<(&SignerName, &Path)>) -> Self {
        let decision = Self {
            trusted_by: match entry {
                None => "mount-options",
                Some(_) => "trust-store",
            }
            .to_owned(),
            trust_entry: entry.map(|(name, _)| name.to_string()),
            trust_file: entry.map(|(_, file)| Escaped::path(file).to_string()),
            ..Self::default()
        };
        match signer {
            Signer::Key { hint } => Self {
                key: Some(hint.clone()),
                ..decision
            },
            Signer::Certificate {
                subject,
                fingerprint,
                anchor,
                time,
            } => Self {
                certificate: Some(subject.to_string()),
                certificate_sha256: Some(fingerprint.clone()),
                trust_anchor: Some(anchor.to_string()),
                certificates_valid: Some(match time {
                    CertificateTime::Now => "now".to_owned(),
                    CertificateTime::At(moment) => format!("at {moment}"),
                    CertificateTime::Pinned => "pinned".to_owned(),
                }),
                ..decision
            },
            Signer::Sigstore {
                identity,
                identity_provider,
                log_index,
                integrated_time: _,
                signed_before,
            } => Self {
                identity: Some(Escaped::bounded(identity).to_string()),
                identity_provider: Some(Escaped::bounded(identity_provider).to_string()),
                signed_before: second_of(*signed_before),
                log_index: *log_index,
                ..decision
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use serde_json::{Value, json};

    use super::*;

    fn told(signer: &Signer, entry: Option<(&SignerName, &Path)>) -> Value {
        serde_json::to_value(TrustDecision::new(signer, entry)).unwrap()
    }

    #[test]
    fn a_decision_says_who_named_the_signer_and_what_was_proved() {
        let key = Signer::Key {
            hint: "ab".to_owned(),
        };
        let given = json!({"trusted_by": "mount-options", "key": "ab"});
        assert_eq!(told(&key, None), given);
        let name = SignerName::new("acme").unwrap();
        let entry = Some((&name, Path::new("/etc/a\nb")));
        let certificate = |time| Signer::Certificate {
            subject: Escaped::bounded("CN=a"),
            fingerprint: "00".to_owned(),
            anchor: Escaped::bounded("CN=root"),
            time,
        };
        for (time, valid) in [
            (CertificateTime::Now, "now"),
            (
                CertificateTime::At("2025-05-01".to_owned()),
                "at 2025-05-01",
            ),
            (CertificateTime::Pinned, "pinned"),
        ] {
            let expected = json!({
                "trusted_by": "trust-store", "trust_entry": "acme", "trust_file": "/etc/a\\u{a}b",
                "certificate": "CN=a", "certificate_sha256": "00", "trust_anchor": "CN=root",
                "certificates_valid": valid,
            });
            assert_eq!(told(&certificate(time), entry), expected);
        }
        let identity = Signer::Sigstore {
            identity: "a\u{1b}@example.org".to_owned(),
            identity_provider: "https://example.org".to_owned(),
            log_index: Some(7),
            integrated_time: None,
            signed_before: UNIX_EPOCH + Duration::from_millis(1500),
        };
        let expected = json!({
            "trusted_by": "mount-options", "identity": "a\\u{1b}@example.org",
            "identity_provider": "https://example.org", "signed_before": "1970-01-01T00:00:01Z",
            "log_index": 7,
        });
        assert_eq!(told(&identity, None), expected);
    }
}
