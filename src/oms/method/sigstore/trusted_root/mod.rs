//! The authorities of a Sigstore instance (Sigstore `TrustedRoot` v0.1).
//!
//! Guarantees: a [`TrustedRoot`] names at least one certificate authority, one certificate log and
//! one signature log, so that it can vouch for a signer; each with a key that can be used. Each
//! certificate of an authority may do what it is there for, by the rules for any issuer
//! (`oms::certificate::chain`): an authority, with `keyCertSign` and the right purpose
//! where its extensions state any; the first certificate of a timestamp authority is for time
//! stamps. A certificate authority or timestamp authority is believed only for times at which each
//! of its certificates was valid, whatever window the file gives it; `sigstore-verify` itself looks
//! at the window alone. A file with a member that isn't known is refused, so that no window is lost
//! by its spelling.
//!
//! Doesn't: fetch or refresh anything. The public-good instance is the snapshot that came with
//! `sigstore-verify`, of [`BUILT_IN_SINCE`]; what Sigstore adds later needs a newer release, or a
//! file. `staleness` says when it is old.

mod members;

use std::fmt;
use std::sync::{Arc, LazyLock};
use std::time::SystemTime;

use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::value::RawValue;
use sigstore_verify::Verifier;
use sigstore_verify::crypto::VerificationKey;
use sigstore_verify::trust_root::trusted_root::CertChain;
use sigstore_verify::trust_root::{self, SIGSTORE_PRODUCTION_TRUSTED_ROOT};
use sigstore_verify::types::TimeRange;
use x509_cert::der::Decode;
use x509_cert::der::oid::ObjectIdentifier;

use crate::name::Escaped;
use crate::oms::method::certificate::{CODE_SIGNING, Certificate, CertificateRule, TIME_STAMPING};
use crate::oms::wire::strict;

/// Largest trusted root file, in bytes. That of the public-good instance has some 7000.
pub const MAX_TRUSTED_ROOT: usize = 1 << 20;

/// The day of the built-in root: the release of `sigstore-verify` that it came with. A test holds
/// it against the root itself, so that a newer one can't keep this date.
pub const BUILT_IN_SINCE: &str = "2026-10-23";

/// Days after which the built-in root is called old. Sigstore's keys are exchanged once a year or
/// so.
const OLD: i32 = 365;

/// The media types of a trusted root. Later versions of Sigstore name the same format `v0.2`.
const TRUSTED_ROOT_TYPES: [&str; 3] = [
    "application/vnd.dev.sigstore.trustedroot+json;version=0.1",
    "application/vnd.dev.sigstore.trustedroot+json;version=0.2",
    "application/vnd.dev.sigstore.trustedroot.v0.2+json",
];

/// What other tools call a trust configuration: a trusted root, and where to sign.
pub(in crate::oms) const CLIENT_CONFIG_TYPE: &str =
    "application/vnd.dev.sigstore.clienttrustconfig.v0.1+json";

/// The authorities of a Sigstore instance. Cheap to clone.
#[derive(Clone)]
pub struct TrustedRoot(Arc<Inner>);

struct Inner {
    verifier: Verifier,
    logs: Vec<Log>,
    is_built_in: bool,
}

/// A log of signatures.
pub(super) struct Log {
    pub(super) id: [u8; 32],
    pub(super) key: VerificationKey,
    /// When it took entries.
    pub(super) valid_for: Option<TimeRange>,
}

impl TrustedRoot {
    /// The public-good instance of Sigstore, as known when `sigstore-verify` was released.
    #[allow(clippy::missing_panics_doc)] // a constant, and a test reads it
    pub fn public_good() -> Self {
        static PUBLIC_GOOD: LazyLock<TrustedRoot> = LazyLock::new(|| {
            TrustedRoot::read(SIGSTORE_PRODUCTION_TRUSTED_ROOT.as_bytes(), true)
                .expect("the embedded trusted root is a constant")
        });
        PUBLIC_GOOD.clone()
    }

    /// Reads a `trusted_root.json`, or the trusted root in a client trust configuration.
    ///
    /// # Errors
    /// [`TrustedRootError`] if the file is malformed, larger than [`MAX_TRUSTED_ROOT`] or can't
    /// vouch for any signer.
    pub fn from_json(json: &[u8]) -> Result<Self, TrustedRootError> {
        Self::read(json, false)
    }

    fn read(json: &[u8], is_built_in: bool) -> Result<Self, TrustedRootError> {
        if json.len() > MAX_TRUSTED_ROOT {
            return Err(TrustedRootError::TooLarge { found: json.len() });
        }
        let whole: &RawValue = strict::json(json).map_err(TrustedRootError::Json)?;
        let header: RawHeader = strict::json(json).map_err(TrustedRootError::Json)?;
        let root = if header.media_type == CLIENT_CONFIG_TYPE {
            let config: RawConfig<'_> = strict::json(json).map_err(TrustedRootError::Json)?;
            config
                .trusted_root
                .ok_or_else(|| TrustedRootError::Json(Escaped::new("it has no trustedRoot")))?
        } else {
            whole
        };
        let _: members::TrustedRoot =
            strict::json_text(root.get()).map_err(TrustedRootError::Json)?;
        let root: trust_root::TrustedRoot =
            strict::json_text(root.get()).map_err(TrustedRootError::Json)?;
        if !TRUSTED_ROOT_TYPES.contains(&&*root.media_type) {
            let found = Escaped::bounded(&root.media_type);
            return Err(TrustedRootError::MediaType(found));
        }
        Self::new(root, is_built_in)
    }

    fn new(mut root: trust_root::TrustedRoot, is_built_in: bool) -> Result<Self, TrustedRootError> {
        for authority in &root.certificate_authorities {
            check_authority(&authority.cert_chain, CODE_SIGNING)?;
        }
        for authority in &root.timestamp_authorities {
            check_authority(&authority.cert_chain, TIME_STAMPING)?;
        }
        narrow(&mut root.certificate_authorities, |authority| {
            (&authority.cert_chain, &mut authority.valid_for)
        })?;
        narrow(&mut root.timestamp_authorities, |authority| {
            (&authority.cert_chain, &mut authority.valid_for)
        })?;
        for (found, wanted) in [
            (
                root.certificate_authorities.len(),
                "certificateAuthorities that were ever valid",
            ),
            (root.ctlogs.len(), "ctlogs"),
            (root.tlogs.len(), "tlogs"),
        ] {
            if found == 0 {
                return Err(TrustedRootError::Missing(wanted));
            }
        }
        let unusable = |text: &dyn fmt::Display| {
            TrustedRootError::Unusable(Escaped::bounded(&text.to_string()))
        };
        // Refuses keys that it can't use, and logs that share an identifier.
        let verifier = Verifier::new(&root).map_err(|error| unusable(&error))?;
        let logs = root
            .tlogs
            .iter()
            .map(|log| {
                Ok(Log {
                    id: log
                        .log_id
                        .key_id
                        .as_bytes()
                        .try_into()
                        .map_err(|error| unusable(&error))?,
                    key: VerificationKey::from_spki(&log.public_key.raw_bytes)
                        .map_err(|error| unusable(&error))?,
                    valid_for: log.public_key.valid_for,
                })
            })
            .collect::<Result<_, TrustedRootError>>()?;
        Ok(Self(Arc::new(Inner {
            verifier,
            logs,
            is_built_in,
        })))
    }

    pub(super) fn verifier(&self) -> &Verifier {
        &self.0.verifier
    }

    /// Whether this is the snapshot that the program was built with.
    pub(super) fn is_built_in(&self) -> bool {
        self.0.is_built_in
    }

    pub(super) fn log(&self, id: &[u8; 32]) -> Option<&Log> {
        self.0.logs.iter().find(|log| &log.id == id)
    }
}

impl fmt::Debug for TrustedRoot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let logs: Vec<_> = self.0.logs.iter().map(|log| hex::encode(log.id)).collect();
        f.debug_struct("TrustedRoot")
            .field("logs", &logs)
            .finish_non_exhaustive()
    }
}

/// What is to be said of the built-in root's age, if it is old at a moment.
pub(super) fn staleness(now: SystemTime) -> Option<String> {
    let since: Date = BUILT_IN_SINCE.parse().ok()?;
    let today = Timestamp::try_from(now)
        .ok()?
        .to_zoned(TimeZone::UTC)
        .date();
    let days = (today - since).get_days();
    (days > OLD).then(|| {
        format!(
            "the built-in keys of Sigstore are of {BUILT_IN_SINCE}, {days} days old: newer \
             signatures may be refused, and keys that were given up since are still believed; \
             use a newer release, or a trusted root of your own"
        )
    })
}

/// Checks the certificates of an authority, which are listed up to the one that is trusted: those
/// that issue as issuers, and the one that stamps as a stamper.
fn check_authority(chain: &CertChain, purpose: ObjectIdentifier) -> Result<(), TrustedRootError> {
    let stamps = purpose == TIME_STAMPING;
    // Authorities between a certificate and what the authority signs.
    let mut below = 0;
    for (index, entry) in chain.certificates.iter().enumerate() {
        let certificate = Certificate::from_der(entry.raw_bytes.as_bytes())
            .map_err(|_| TrustedRootError::Certificate)?;
        let is_stamper = stamps && index == 0;
        let checked = if is_stamper {
            certificate.check_time_stamper()
        } else {
            certificate
                .check_understood()
                .and_then(|()| certificate.check_issuer(below, purpose))
        };
        checked.map_err(|rule| TrustedRootError::Authority {
            subject: certificate.subject().clone(),
            rule,
        })?;
        if !is_stamper && !certificate.is_self_issued() {
            below += 1;
        }
    }
    Ok(())
}

/// Narrows the window of each authority to the times at which all of its certificates were valid,
/// and leaves out those for which there is no such time.
fn narrow<T>(
    authorities: &mut Vec<T>,
    parts: impl Fn(&mut T) -> (&CertChain, &mut Option<TimeRange>),
) -> Result<(), TrustedRootError> {
    let mut valid = Vec::with_capacity(authorities.len());
    for mut authority in authorities.drain(..) {
        let (chain, window) = parts(&mut authority);
        for certificate in &chain.certificates {
            let lifetime =
                lifetime(certificate.raw_bytes.as_bytes()).ok_or(TrustedRootError::Certificate)?;
            *window = Some(window.map_or(lifetime, |window| intersect(window, lifetime)));
        }
        if window.is_none_or(|window| window.end.is_none_or(|end| window.start <= end)) {
            valid.push(authority);
        }
    }
    *authorities = valid;
    Ok(())
}

fn lifetime(certificate: &[u8]) -> Option<TimeRange> {
    let validity = x509_cert::Certificate::from_der(certificate)
        .ok()?
        .tbs_certificate
        .validity;
    let at = |time: x509_cert::time::Time| {
        let seconds = i64::try_from(time.to_unix_duration().as_secs()).ok()?;
        Timestamp::from_second(seconds).ok()
    };
    Some(TimeRange::new(
        at(validity.not_before)?,
        Some(at(validity.not_after)?),
    ))
}

fn intersect(a: TimeRange, b: TimeRange) -> TimeRange {
    let end = match (a.end, b.end) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (a, b) => a.or(b),
    };
    TimeRange::new(a.start.max(b.start), end)
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawHeader {
    media_type: String,
}

/// A client trust configuration.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct RawConfig<'a> {
    #[serde(rename = "mediaType")]
    _media_type: IgnoredAny,
    #[serde(borrow)]
    trusted_root: Option<&'a RawValue>,
    #[serde(rename = "signingConfig")]
    _signing_config: Option<IgnoredAny>,
}

/// A trusted root that can't be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TrustedRootError {
    /// Larger than [`MAX_TRUSTED_ROOT`].
    #[error("the trusted root has {found} bytes, at most {MAX_TRUSTED_ROOT} are allowed")]
    TooLarge {
        /// Bytes found.
        found: usize,
    },
    /// Not JSON, or not of this form. Escaped.
    #[error("the file is not a Sigstore trusted root: {0}")]
    Json(Escaped),
    /// Another media type.
    #[error(
        "the mediaType \"{0}\" is not that of a Sigstore trusted root or client trust configuration"
    )]
    MediaType(Escaped),
    /// A certificate that isn't one.
    #[error("the trusted root has a malformed certificate")]
    Certificate,
    /// A certificate that may not do what its authority does.
    #[error("the trusted root has an authority that is none: certificate \"{subject}\": {rule}")]
    Authority {
        /// Its subject, escaped.
        subject: Escaped,
        /// The rule.
        rule: CertificateRule,
    },
    /// Nothing of a kind, without which every signature would be refused.
    #[error("the trusted root has no {0}, and without them no signature can be accepted")]
    Missing(&'static str),
    /// A key or certificate that can't be used, or one log twice. Escaped.
    #[error("the trusted root cannot be used: {0}")]
    Unusable(Escaped),
}

#[cfg(test)]
mod tests {
    use super::*;

    fn edited(edit: impl FnOnce(&mut serde_json::Value)) -> Result<TrustedRoot, TrustedRootError> {
        let mut root = serde_json::from_str(SIGSTORE_PRODUCTION_TRUSTED_ROOT).unwrap();
        edit(&mut root);
        TrustedRoot::from_json(root.to_string().as_bytes())
    }

    #[test]
    fn the_embedded_root_can_be_used() {
        let root = TrustedRoot::public_good();
        // Rekor v1 and the first log of Rekor v2.
        assert!(root.0.logs.len() >= 2);
        assert!(format!("{root:?}").contains("c0d23d6ad406973f"));
    }

    #[test]
    fn client_trust_configurations_hold_a_root() {
        let config = |root: &str| {
            TrustedRoot::from_json(
                format!(
                    r#"{{"mediaType":"{CLIENT_CONFIG_TYPE}","trustedRoot":{root},"signingConfig":{{}}}}"#
                )
                .as_bytes(),
            )
        };
        assert!(config(SIGSTORE_PRODUCTION_TRUSTED_ROOT).is_ok());
        assert!(matches!(config("{}"), Err(TrustedRootError::Json(_))));
        assert!(matches!(config("null"), Err(TrustedRootError::Json(_))));
        let error = TrustedRoot::from_json(
            format!(r#"{{"mediaType":"{CLIENT_CONFIG_TYPE}","trusted_root":{{}}}}"#).as_bytes(),
        );
        assert!(error.unwrap_err().to_string().contains("`trusted_root`"));
    }

    /// With a newer `sigstore-verify` both change.
    #[test]
    fn the_date_is_that_of_the_embedded_root() {
        let digest = crate::digest::Algorithm::Sha256
            .hash(SIGSTORE_PRODUCTION_TRUSTED_ROOT.as_bytes())
            .to_hex();
        assert_eq!(
            (BUILT_IN_SINCE, &*digest),
            (
                "2026-10-23",
                "6494e21ea73fa7ee769f85f57d5a3e6a08725eae1e38c755fc3517c9e6bc0b66"
            )
        );
    }

    #[test]
    fn the_built_in_root_is_old_after_a_year() {
        let at = |text: &str| SystemTime::from(text.parse::<Timestamp>().unwrap());
        for young in [
            "1970-01-01T00:00:00Z",
            "2026-10-23T00:00:00Z",
            "2027-10-23T23:59:59Z",
        ] {
            assert_eq!(staleness(at(young)), None, "{young}");
        }
        let said = staleness(at("2027-10-24T00:00:00Z")).unwrap();
        assert!(said.contains("2026-10-23, 366 days old"), "{said}");
        assert!(staleness(at("2036-01-01T00:00:00Z")).is_some());
        assert!(TrustedRoot::public_good().is_built_in());
        assert!(!edited(|_| {}).unwrap().is_built_in());
    }

    /// Each member of each object, spelt otherwise: none is lost silently.
    #[test]
    fn other_spellings_are_refused() {
        fn objects(value: &serde_json::Value, at: &str, found: &mut Vec<(String, String)>) {
            match value {
                serde_json::Value::Object(members) => {
                    for (name, value) in members {
                        found.push((at.to_owned(), name.clone()));
                        objects(value, &format!("{at}/{name}"), found);
                    }
                }
                serde_json::Value::Array(items) => {
                    for (index, value) in items.iter().enumerate() {
                        objects(value, &format!("{at}/{index}"), found);
                    }
                }
                _ => {}
            }
        }
        let root = serde_json::from_str(SIGSTORE_PRODUCTION_TRUSTED_ROOT).unwrap();
        let mut members = Vec::new();
        objects(&root, "", &mut members);
        assert!(members.len() > 50 && members.iter().any(|(_, name)| name == "validFor"));
        for (at, name) in members {
            let snake: String = name
                .chars()
                .flat_map(|c| {
                    let upper = c.is_ascii_uppercase().then_some('_');
                    upper.into_iter().chain([c.to_ascii_lowercase()])
                })
                .collect();
            for other in [snake, name.to_uppercase(), format!("{name}s")] {
                if other == name {
                    continue;
                }
                let error = edited(|root| {
                    let object = root.pointer_mut(&at).unwrap().as_object_mut().unwrap();
                    let value = object[&name].clone();
                    object.insert(other.clone(), value);
                })
                .unwrap_err()
                .to_string();
                assert!(
                    error.contains(&format!("unknown field `{other}`")),
                    "{error}"
                );
            }
        }
    }

    #[test]
    fn names_the_broken_rule() {
        assert!(edited(|_| {}).is_ok());
        for missing in ["certificateAuthorities", "ctlogs", "tlogs"] {
            for edit in [serde_json::json!([]), serde_json::Value::Null] {
                let error = edited(|root| match edit {
                    serde_json::Value::Null => {
                        root.as_object_mut().unwrap().remove(missing);
                    }
                    empty => root[missing] = empty,
                })
                .unwrap_err();
                let TrustedRootError::Missing(named) = error else {
                    panic!("{error}");
                };
                assert!(named.starts_with(missing));
            }
        }
        // Timestamps are optional: Rekor v1 has times of its own.
        assert!(edited(|root| root["timestampAuthorities"] = serde_json::json!([])).is_ok());
        assert!(matches!(
            edited(|root| root["mediaType"] = "application/json".into()),
            Err(TrustedRootError::MediaType(_))
        ));
        assert!(matches!(
            edited(|root| root["tlogs"][0]["publicKey"]["rawBytes"] = "AAAA".into()),
            Err(TrustedRootError::Unusable(_))
        ));
        assert!(matches!(
            edited(|root| root["tlogs"][0]["logId"]["keyId"] = "AAAA".into()),
            Err(TrustedRootError::Unusable(_))
        ));
        assert!(matches!(
            edited(|root| {
                let log = root["tlogs"][0].clone();
                root["tlogs"].as_array_mut().unwrap().push(log);
            }),
            Err(TrustedRootError::Unusable(_))
        ));
        assert_eq!(
            edited(|root| {
                root["certificateAuthorities"][0]["certChain"]["certificates"][0]["rawBytes"] =
                    "AAAA".into();
            })
            .unwrap_err(),
            TrustedRootError::Certificate
        );
        for text in ["", "{}", "[]", "{\"mediaType\":1}", "\u{0}"] {
            assert!(matches!(
                TrustedRoot::from_json(text.as_bytes()),
                Err(TrustedRootError::Json(_))
            ));
        }
        let found = MAX_TRUSTED_ROOT + 1;
        assert_eq!(
            TrustedRoot::from_json(&vec![b' '; found]).unwrap_err(),
            TrustedRootError::TooLarge { found }
        );
    }

    #[test]
    fn authorities_are_believed_while_their_certificates_are_valid() {
        // Valid for one second after its only certificate has expired.
        let mut root: trust_root::TrustedRoot =
            serde_json::from_str(SIGSTORE_PRODUCTION_TRUSTED_ROOT).unwrap();
        let authority = &mut root.certificate_authorities[0];
        let expiry = lifetime(authority.cert_chain.certificates[0].raw_bytes.as_bytes())
            .unwrap()
            .end
            .unwrap();
        let after = expiry + jiff::SignedDuration::from_secs(1);
        authority.valid_for = Some(TimeRange::new(expiry, Some(after)));
        let parts = |a: &mut trust_root::CertificateAuthority| -> (CertChain, Option<TimeRange>) {
            (a.cert_chain.clone(), a.valid_for)
        };
        let mut authorities = vec![authority.clone()];
        narrow(&mut authorities, |a| (&a.cert_chain, &mut a.valid_for)).unwrap();
        let (_, window) = parts(&mut authorities[0]);
        assert_eq!(window, Some(TimeRange::new(expiry, Some(expiry))));

        authority.valid_for = Some(TimeRange::new(after, None));
        let mut authorities = vec![authority.clone()];
        narrow(&mut authorities, |a| (&a.cert_chain, &mut a.valid_for)).unwrap();
        assert!(authorities.is_empty());
    }
}
