//! Entries of the trust store as they are shown, to people and to scripts.

use std::fmt::{Display, Write as _};

use model_fs::digest::Digest;
use model_fs::name::Escaped;
use model_fs::oms::certificate::{Certificate, When};
use model_fs::oms::trust::Trust;
use model_fs::oms::trust_store::{Distrusted, Hidden, TrustStore, TrustedSigner};
use serde_json::{Value, json};

/// What a root digest leaves open.
pub(crate) const ROOT_DIGESTS_ALONE: &str = "a root digest covers contents alone: neither \
     names, nor which bytes make which file, nor ignored paths and links";

/// What a moment for certificates means.
pub(crate) const VALID_AT: &str = "certificates are judged as of then, whatever is signed with \
     their keys later";

/// What pinned payloads mean for certificates.
pub(crate) const PINNED: &str =
    "any time (for the payloads that are pinned, certificates may have expired)";

/// All of a store for people: who is trusted, who is distrusted, and what is hidden.
pub(crate) fn store_to_text(store: &TrustStore) -> String {
    let mut text: String = store.signers().map(to_text).collect();
    for Distrusted { name, file } in store.distrusted() {
        let _ = write!(
            text,
            "{name}\n  distrusted\n  file         {}\n",
            Escaped::path(file)
        );
    }
    for Hidden { signer, by } in store.hidden() {
        let entry = to_text(signer);
        let (name, rest) = entry.split_once('\n').unwrap_or((&entry, ""));
        let _ = write!(
            text,
            "{name} (hidden, without effect)\n  hidden by    {}\n{rest}",
            Escaped::path(by)
        );
    }
    text
}

/// The same for scripts.
pub(crate) fn store_to_json(store: &TrustStore) -> Value {
    let distrusted =
        |it: &Distrusted| json!({ "name": it.name.as_str(), "file": it.file.to_string_lossy() });
    let hidden = |it: &Hidden| {
        let mut entry = to_json(&it.signer);
        entry["hidden_by"] = json!(it.by.to_string_lossy());
        entry
    };
    json!({
        "signers": store.signers().map(to_json).collect::<Vec<_>>(),
        "distrusted": store.distrusted().iter().map(distrusted).collect::<Vec<_>>(),
        "hidden": store.hidden().iter().map(hidden).collect::<Vec<_>>(),
    })
}

/// One entry for people.
pub(crate) fn to_text(signer: &TrustedSigner) -> String {
    let mut text = format!("{}\n", signer.name());
    let mut line = |label: &str, value: &dyn Display| {
        let _ = writeln!(text, "  {label:<12} {value}");
    };
    line("method", &signer.trust().method());
    match signer.trust() {
        Trust::Key(key) => line("key", &key.hint()),
        Trust::Certificate { anchors, when } => {
            for certificate in anchors.certificates() {
                line("certificate", &describe(certificate));
            }
            match when {
                When::Now => {}
                When::At(moment) => {
                    line("valid at", &format_args!("{moment} ({VALID_AT})"));
                }
                When::NowUnlessPinned(_) => line("valid at", &PINNED),
            }
        }
        Trust::Sigstore {
            identity,
            identity_provider,
            ..
        } => {
            line("identity", &Escaped::new(identity));
            line("provider", &Escaped::new(identity_provider));
            if let Some(path) = signer.trusted_root_file() {
                line("trusted root", &Escaped::path(path));
            }
        }
        _ => {}
    }
    let limits = signer.limits();
    for name in limits.names().into_iter().flatten() {
        line("only model", &Escaped::new(name));
    }
    for pattern in limits.paths().into_iter().flatten() {
        line("only at", &Escaped::new(pattern));
    }
    for digest in limits.payload_digests().into_iter().flatten() {
        line("only payload", digest);
    }
    if let Some(digests) = limits.root_digests() {
        for digest in digests {
            line("only root", digest);
        }
        line("", &format_args!("({ROOT_DIGESTS_ALONE})"));
    }
    line("file", &Escaped::path(signer.file()));
    text
}

/// A certificate in a line.
pub(crate) fn describe(certificate: &Certificate) -> String {
    format!(
        "{} (SHA-256 {}, until {})",
        certificate.subject(),
        certificate.fingerprint(),
        certificate.not_after()
    )
}

fn to_json(signer: &TrustedSigner) -> Value {
    let mut entry = json!({
        "name": signer.name().as_str(),
        "method": signer.trust().method().name(),
        "file": signer.file().to_string_lossy(),
    });
    match signer.trust() {
        Trust::Key(key) => entry["key"] = json!(key.hint()),
        Trust::Certificate { anchors, when } => {
            entry["valid_at"] = match when {
                When::At(moment) => json!(moment.to_string()),
                When::Now | When::NowUnlessPinned(_) => Value::Null,
            };
            entry["certificates"] = anchors
                .certificates()
                .iter()
                .map(|certificate| {
                    json!({
                        "subject": certificate.subject().to_string(),
                        "sha256": certificate.fingerprint(),
                        "not_before": certificate.not_before(),
                        "not_after": certificate.not_after(),
                    })
                })
                .collect();
        }
        Trust::Sigstore {
            identity,
            identity_provider,
            ..
        } => {
            entry["identity"] = json!(identity);
            entry["identity_provider"] = json!(identity_provider);
            entry["trusted_root"] = json!(
                signer
                    .trusted_root_file()
                    .map(|path| path.to_string_lossy())
            );
        }
        _ => {}
    }
    let limits = signer.limits();
    let texts = |digests: Option<&[Digest]>| {
        digests.map(|digests| digests.iter().map(ToString::to_string).collect::<Vec<_>>())
    };
    entry["models"] = json!({
        "names": limits.names(),
        "paths": limits.paths().map(Iterator::collect::<Vec<_>>),
        "payload_digests": texts(limits.payload_digests()),
        "root_digests": texts(limits.root_digests()),
    });
    entry
}
