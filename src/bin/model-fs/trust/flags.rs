//! Whom a command trusts: those whom its flags name, or those in the trust store.

use std::fmt::Write as _;

use anyhow::Context as _;
use model_fs::files::read_given;
use model_fs::manifest::VerifyWithStoreError;
use model_fs::name::Escaped;
use model_fs::oms::certificate::{Anchors, Certificate, When};
use model_fs::oms::key::PublicKey;
use model_fs::oms::sigstore::trusted_root::{MAX_TRUSTED_ROOT, TrustedRoot};
use model_fs::oms::trust::Trust;
use model_fs::oms::trust_store::TrustStore;

use super::files::Files;
use crate::args;
use crate::exit::Failure;
use crate::findings::LISTED;
use crate::hints;
use crate::key_files::read_pem;

/// Who decides whether a signature counts.
pub(crate) enum Trusted {
    /// Those whom the flags name.
    Flags(Trust),
    /// Those in the trust store.
    Store(TrustStore),
}

/// The trust that the command line asks for.
pub(crate) fn load_trust(chosen: args::Trust) -> Result<Trusted, Failure> {
    match chosen {
        args::Trust::Store => Ok(Trusted::Store(Files::of_the_user().load()?)),
        args::Trust::PublicKey(path) => {
            let pem = read_pem(&path, "public key")?;
            let key = PublicKey::from_pem(&pem)
                .with_context(|| format!("public key {}", Escaped::path(&path)))?;
            Ok(Trusted::Flags(Trust::Key(key)))
        }
        args::Trust::CertificateChain(paths) => {
            let mut certificates = Vec::new();
            for path in paths {
                let pem = read_pem(&path, "certificate")?;
                let read = Certificate::from_pem(&pem)
                    .with_context(|| format!("certificate {}", Escaped::path(&path)))?;
                certificates.extend(read);
            }
            let anchors = Anchors::new(certificates).map_err(anyhow::Error::new)?;
            // No flag waives time: that takes an entry of the trust store.
            let when = When::Now;
            Ok(Trusted::Flags(Trust::Certificate { anchors, when }))
        }
        args::Trust::Identity {
            identity,
            provider,
            trust_config,
        } => {
            let trusted_root = match trust_config {
                None => TrustedRoot::public_good(),
                Some(path) => {
                    let context = || format!("trust configuration {}", Escaped::path(&path));
                    let json = read_given(&path, MAX_TRUSTED_ROOT).with_context(context)?;
                    TrustedRoot::from_json(&json).with_context(context)?
                }
            };
            Ok(Trusted::Flags(Trust::Sigstore {
                identity,
                identity_provider: provider,
                trusted_root,
            }))
        }
    }
}

/// Who signed, as claimed, and why the trusted signers whom it might be by don't vouch for it.
pub(crate) fn not_trusted(error: VerifyWithStoreError) -> Failure {
    let VerifyWithStoreError::Nobody { refused, .. } = &error else {
        return error.into();
    };
    let mut message = error.to_string();
    for (name, error) in refused.iter().take(LISTED) {
        let _ = write!(message, "\nnot by \"{name}\": {}", hints::refusal(error));
    }
    let mut failure = Failure::from(error);
    failure.error = anyhow::Error::msg(message);
    failure
}
