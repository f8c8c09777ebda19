//! The Sigstore method: a short-lived certificate, and logs that saw it in use (OMS v1.0, 4.1;
//! Sigstore client specification, "Verification").
//!
//! Guarantees: [`super::verify::verify`] accepts an envelope only if its one signature is by the
//! key of the bundle's certificate; that certificate is of a trusted authority, for code signing,
//! logged in a trusted certificate log, and names exactly the trusted identity and identity
//! provider; and every log entry is proved to be in a trusted log and to be about this envelope,
//! this signature and this certificate. The certificate was valid at every time that anything in
//! the bundle proves, at least one. No network is used, and the clock only to refuse times in the
//! future. No byte of the payload is parsed before its signature, by the trusted identity, has
//! held.
//!
//! Doesn't: say that the certificate has not been revoked, which Sigstore doesn't do; that the log
//! still holds the entry or shows it to everybody, which takes monitors and witnesses; or anything
//! about the statement.
//!
//! The work is done by `sigstore-verify`. What version 0.15 checks, and what is checked here
//! because it does not:
//!
//! | | `sigstore-verify` | here |
//! |---|---|---|
//! | chain to an authority, at each proved time, code signing | yes | the authority's own certificates must have been valid too, and be those of an authority for that purpose ([`trusted_root`]) |
//! | key usage of the certificate | no | digital signature |
//! | SCT | exactly one, by a trusted log, key valid at its time | |
//! | identity | the first email or URI is compared, exactly | there must be exactly one name |
//! | identity provider | the newer extension, else the older, exactly | they may not differ or be repeated |
//! | inclusion proof | of each entry that has one, *one* entry must | every entry must |
//! | checkpoint | signed by any trusted log, ever valid | by the log that the entry names, valid at each proved time |
//! | size of the tree in proof and checkpoint (Rekor v1) | not compared | equal |
//! | signed entry timestamp | where present | |
//! | a proved time | one: signed entry timestamp or RFC 3161; whatever is present must verify | |
//! | RFC 3161 time stamp | over the signature, by the authority's own leaf certificate; neither its content type attribute nor a second signer is looked at | |
//! | body of the entry | payload digest, signature; certificate, but for `intoto` its key only | the whole certificate; the kind in the body is the bundle's |
//! | envelope digest in a `dsse` body | no: it covers a spelling of JSON that the bundle doesn't keep | no: payload and signature are covered |
//! | signature of the envelope | yes, having parsed the payload | also before anything parses it |
//!
//! The tests hold each "no" of the middle column against the crate. Re-check the table when its
//! version moves.
//!
//! A bundle without any log entry, with time stamps only, is refused. So is a key or certificate
//! bundle: [`super::verify`] compares methods first. Log entries of other kinds than `dsse` 0.0.1,
//! `intoto` 0.0.2 and `hashedrekord` 0.0.2 are named in the error.
//!
//! Memory: once a trusted signer is known, the crate copies the payload and parses it into a tree
//! of several times its size; for a model of a million files that is gigabytes.

pub mod evidence;
#[cfg(feature = "sigstore-sign")]
pub mod signing;
pub mod trusted_root;

mod certificate;
mod log;

use std::sync::Once;
use std::time::SystemTime;

use jiff::Timestamp;
use sigstore_verify::crypto::{parse_certificate_info, verify_signature};
use sigstore_verify::types::bundle::CertificateContent;
use sigstore_verify::types::{
    Bundle, CanonicalizedBody, CheckpointData, DerCertificate, DsseEnvelope, DsseSignature,
    InclusionPromise, InclusionProof, KeyId, KindVersion, LogId, LogIndex, LogKeyId, MediaType,
    PayloadBytes, Rfc3161Timestamp, Sha256Hash, SignatureBytes, SignatureContent, SignedTimestamp,
    TimestampToken, TimestampVerificationData, TransparencyLogEntry, VerificationMaterial,
    VerificationMaterialContent,
};
use sigstore_verify::{Error, VerificationPolicy};

pub use self::certificate::{CertificateRule, ClaimedIdentity};
use self::evidence::{Evidence, LogEntry};
pub use self::log::EntryRule;
use self::trusted_root::{Log, TrustedRoot};
use super::dsse::{Envelope, PAYLOAD_TYPE};
use super::statement::{Statement, StatementError};
use super::trust::Signer;
use crate::digest::Digest;
use crate::name::Escaped;

/// Stands in for a payload while nothing is known about the signer.
const STAND_IN: &str = concat!(
    r#"{"_type":"https://in-toto.io/Statement/v1","subject":[{"digest":{"sha256":""#,
    "0000000000000000000000000000000000000000000000000000000000000000",
    r#""}}],"predicateType":"","predicate":{}}"#,
);

/// Verifies an envelope that claims to be signed with a Sigstore certificate.
///
/// # Errors
/// [`SigstoreError`] for anything that isn't proved; see the [module](self).
pub(super) fn verify(
    identity: &str,
    identity_provider: &str,
    root: &TrustedRoot,
    certificate: &[u8],
    evidence: &Evidence,
    envelope: &Envelope,
) -> Result<Signer, SigstoreError> {
    let claims = ClaimedIdentity::of(certificate).map_err(SigstoreError::Certificate)?;
    if claims.identity != identity || claims.identity_provider != identity_provider {
        return Err(SigstoreError::OtherSigner {
            stated_identity: Escaped::bounded(&claims.identity),
            stated_provider: Escaped::bounded(&claims.identity_provider),
            identity: Escaped::bounded(identity),
            identity_provider: Escaped::bounded(identity_provider),
        });
    }
    if root.is_built_in() {
        warn_if_old();
    }
    let entries = entries(evidence, certificate, root)?;
    let material = material(certificate, evidence, &entries)?;
    let policy = VerificationPolicy::new(identity, identity_provider);

    // First without the payload: the crate parses a payload into a tree before it checks anything,
    // and somebody unknown could make that tree as large as they like. It checks the signature of
    // the envelope after the certificate and the logs, so all but the signature must hold here.
    let stand_in = bundle(material.clone(), STAND_IN.into(), envelope.signature());
    match root
        .verifier()
        .verify(Sha256Hash::new([0; 32]), &stand_in, &policy)
    {
        Ok(_) | Err(Error::SignatureInvalid(_)) => {}
        Err(error) => return Err(error.into()),
    }
    check_signature(certificate, envelope)?;

    // Now the payload is the signer's.
    let payload = envelope.unverified_payload();
    let artifact = Sha256Hash::try_from(artifact(payload)?.as_bytes())
        .map_err(|_| SigstoreError::Incomplete("the digest of the model"))?;
    let bundle = bundle(material, payload.to_vec(), envelope.signature());
    let verified = root.verifier().verify(artifact, &bundle, &policy)?;
    for (checked, what) in [
        (verified.certificate_verified(), "the certificate's chain"),
        (verified.sct_verified(), "the certificate's log"),
        (verified.tlog_verified(), "the signature's log"),
        (verified.identity_policy_checked(), "the identity"),
    ] {
        if !checked {
            return Err(SigstoreError::Incomplete(what));
        }
    }
    let times = verified.verified_timestamps();
    let Some(&earliest) = times.iter().min() else {
        return Err(SigstoreError::Incomplete("the signing time"));
    };
    for (_, _, log) in &entries {
        let in_use = |&time| log.valid_for.is_none_or(|window| window.contains(time));
        if !times.iter().all(in_use) {
            return Err(SigstoreError::Entry(EntryRule::KeyTime));
        }
    }

    Ok(Signer::Sigstore {
        identity: claims.identity,
        identity_provider: claims.identity_provider,
        log_index: entries
            .iter()
            .find(|(entry, kind, _)| log::proves_index(entry, *kind))
            .map(|(entry, ..)| entry.log_index),
        integrated_time: verified.integrated_time().map(SystemTime::from),
        signed_before: earliest.into(),
    })
}

/// Says once that the built-in root is old, if it is.
fn warn_if_old() {
    static SAID: Once = Once::new();
    SAID.call_once(|| {
        if let Some(text) = trusted_root::staleness(SystemTime::now()) {
            tracing::warn!("{text}");
        }
    });
}

type CheckedEntry<'a> = (&'a LogEntry, KindVersion, &'a Log);

/// The log entries, each with its kind and its log, as far as [`log`] checks them.
fn entries<'a>(
    evidence: &'a Evidence,
    certificate: &[u8],
    root: &'a TrustedRoot,
) -> Result<Vec<CheckedEntry<'a>>, SigstoreError> {
    evidence
        .entries
        .iter()
        .map(|entry| {
            let kind = log::kind(entry).ok_or_else(|| SigstoreError::Kind {
                kind: Escaped::bounded(&entry.kind),
                version: Escaped::bounded(&entry.version),
            })?;
            let log = log::check(entry, kind, certificate, root).map_err(SigstoreError::Entry)?;
            Ok((entry, kind, log))
        })
        .collect()
}

/// The digest of a subject of the statement. In OMS that is of the list of digests, over which
/// [`Statement`] has recomputed it; in statements of release 0.2 each file is a subject.
fn artifact(payload: &[u8]) -> Result<Digest, StatementError> {
    match Statement::parse(payload) {
        Err(StatementError::Legacy) => {
            let statement = Statement::parse_legacy(payload)?;
            let first = statement.resources().first();
            first
                .map(|resource| resource.digest)
                .ok_or(StatementError::NoResources)
        }
        statement => Ok(statement?.root_digest()),
    }
}

/// Checks that the envelope's signature is by the certificate's key.
fn check_signature(certificate: &[u8], envelope: &Envelope) -> Result<(), SigstoreError> {
    let certificate = parse_certificate_info(&DerCertificate::from_bytes(certificate))
        .map_err(|error| SigstoreError::Chain(escape(&error)))?;
    verify_signature(
        &certificate.public_key,
        &envelope.pae().parts().concat(),
        &SignatureBytes::from_bytes(envelope.signature()),
        certificate.key_algorithm.default_signing_scheme(),
    )
    .map_err(|_| SigstoreError::Signature)
}

/// What the crate verifies: our own parts, so that nothing is parsed twice and differently.
fn bundle(material: VerificationMaterial, payload: Vec<u8>, signature: &[u8]) -> Bundle {
    // Whatever `keyid` the bundle has, `null` included, is of no use.
    let signature = DsseSignature::new(SignatureBytes::from_bytes(signature), KeyId::default());
    Bundle::new(
        MediaType::Bundle0_3,
        material,
        SignatureContent::DsseEnvelope(DsseEnvelope::new(
            PAYLOAD_TYPE,
            PayloadBytes::new(payload),
            signature,
        )),
    )
}

fn material(
    certificate: &[u8],
    evidence: &Evidence,
    entries: &[CheckedEntry<'_>],
) -> Result<VerificationMaterial, SigstoreError> {
    let entries = entries
        .iter()
        .map(|(entry, kind, _)| log_entry(entry, *kind))
        .collect::<Result<_, _>>()?;
    let mut timestamps = TimestampVerificationData::default();
    timestamps.rfc3161_timestamps = evidence
        .timestamps
        .iter()
        .map(|der| Rfc3161Timestamp::new(TimestampToken::from_bytes(der)))
        .collect();
    Ok(
        VerificationMaterial::new(VerificationMaterialContent::Certificate(
            CertificateContent::new(DerCertificate::from_bytes(certificate)),
        ))
        .with_tlog_entries(entries)
        .with_timestamp_verification_data(timestamps),
    )
}

fn log_entry(entry: &LogEntry, kind: KindVersion) -> Result<TransparencyLogEntry, SigstoreError> {
    let malformed = |error: sigstore_verify::types::Error| SigstoreError::Log(escape(&error));
    let index = |index| LogIndex::new(index).map_err(malformed);
    let proof = &entry.proof;
    let mut converted = TransparencyLogEntry::new(
        index(entry.log_index)?,
        LogId::new(LogKeyId::from_bytes(&entry.log_id)),
        kind,
        CanonicalizedBody::from_bytes(&entry.body),
    )
    .with_inclusion_proof(InclusionProof::new(
        index(proof.log_index)?,
        Sha256Hash::new(proof.root_hash),
        proof.tree_size,
        proof.hashes.iter().copied().map(Sha256Hash::new).collect(),
        CheckpointData::new(&*proof.checkpoint).map_err(malformed)?,
    ));
    if let Some(seconds) = entry.integrated_time {
        let time =
            Timestamp::from_second(seconds).map_err(|error| SigstoreError::Time(escape(&error)))?;
        converted = converted.with_integrated_time(time);
    }
    if let Some(promise) = &entry.promise {
        let promise = SignedTimestamp::from_bytes(promise);
        converted = converted.with_inclusion_promise(InclusionPromise::new(promise));
    }
    Ok(converted)
}

/// What the crate says, which quotes the bundle.
fn escape(error: &dyn std::error::Error) -> Escaped {
    Escaped::bounded(&error.to_string())
}

/// A Sigstore bundle that doesn't verify. Texts of the bundle are escaped and bounded.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SigstoreError {
    /// Signed by somebody else.
    #[error(
        "the model was signed by another identity: the bundle names \"{stated_identity}\" of \
         \"{stated_provider}\", trusted is \"{identity}\" of \"{identity_provider}\""
    )]
    OtherSigner {
        /// The bundle's identity, escaped.
        stated_identity: Escaped,
        /// The bundle's identity provider, escaped.
        stated_provider: Escaped,
        /// The trusted identity.
        identity: Escaped,
        /// The trusted identity provider.
        identity_provider: Escaped,
    },
    /// The certificate doesn't say clearly who holds its key.
    #[error("the bundle's certificate is not one of Sigstore: {0}")]
    Certificate(CertificateRule),
    /// The certificate isn't of a trusted authority, or wasn't valid when it was used.
    #[error("the bundle's certificate is not trusted: {0}")]
    Chain(Escaped),
    /// A log entry of a kind that is not known.
    #[error(
        "the log entry is of the kind \"{kind} {version}\", which can not be verified yet; \
         supported are {}",
        log::KINDS
    )]
    Kind {
        /// The kind, escaped.
        kind: Escaped,
        /// The version, escaped.
        version: Escaped,
    },
    /// A log entry breaks a rule of ours.
    #[error("a log entry of the bundle is not valid: {0}")]
    Entry(EntryRule),
    /// The log doesn't vouch for the signature.
    #[error("a log entry of the bundle is not valid: {0}")]
    Log(Escaped),
    /// No trusted time, or a bad time stamp.
    #[error("the signing time is not proved: {0}")]
    Time(Escaped),
    /// The signature isn't by the certificate's key over that payload.
    #[error("the signature does not match the bundle's payload and certificate")]
    Signature,
    /// What was signed is not an OMS statement.
    #[error(transparent)]
    Statement(#[from] StatementError),
    /// Anything else that `sigstore-verify` refuses.
    #[error("the Sigstore bundle is not valid: {0}")]
    Other(Escaped),
    /// `sigstore-verify` was content and had not checked everything. Never seen.
    #[error("the Sigstore bundle is not valid: {0} was not checked")]
    Incomplete(&'static str),
}

impl From<Error> for SigstoreError {
    fn from(error: Error) -> Self {
        let text = escape(&error);
        match error {
            Error::SignatureInvalid(_) => Self::Signature,
            Error::Certificate(_) => Self::Chain(text),
            Error::TransparencyLog(_) => Self::Log(text),
            Error::Timestamp(_) => Self::Time(text),
            _ => Self::Other(text),
        }
    }
}
