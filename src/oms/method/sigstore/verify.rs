//! Verifies an envelope by the certificate and the log entries that come along.

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

use super::error::{SigstoreError, escape};
use super::identity::ClaimedIdentity;
use super::log::{self, EntryRule};
use super::trusted_root::{self, Log, TrustedRoot};
use crate::digest::Digest;
use crate::name::Escaped;
use crate::oms::bundle::{Evidence, LogEntry};
use crate::oms::dsse::{Envelope, PAYLOAD_TYPE};
use crate::oms::signer::Signer;
use crate::oms::statement::{Statement, StatementError};

/// Stands in for a payload while nothing is known about the signer.
const STAND_IN: &str = concat!(
    r#"{"_type":"https://in-toto.io/Statement/v1","subject":[{"digest":{"sha256":""#,
    "0000000000000000000000000000000000000000000000000000000000000000",
    r#""}}],"predicateType":"","predicate":{}}"#,
);

/// Verifies an envelope that claims to be signed with a Sigstore certificate.
///
/// # Errors
/// [`SigstoreError`] for anything that isn't proved; see the [module](super).
pub(in crate::oms) fn verify(
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
    // and an unknown signer could make that tree as large as they like. It checks the signature of
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
