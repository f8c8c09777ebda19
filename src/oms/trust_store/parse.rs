//! What a `trust.toml` says.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::sync::Arc;

use glob::Pattern;
use serde::Deserialize;

use super::file::{self, ReadError};
use super::{
    Identity, Limits, MAX_FILE, MAX_LIMITS, MAX_SIGNERS, Problem, SignerName, SignerRule,
    SigstoreIdentity, TrustStoreError, TrustedSigner,
};
use crate::digest::{Algorithm, Digest};
use crate::name::Escaped;
use crate::oms::certificate::{self, Anchors};
use crate::oms::key::{self, PublicKey};
use crate::oms::sigstore::trusted_root::{MAX_TRUSTED_ROOT, TrustedRoot};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawFile {
    #[serde(default)]
    signers: BTreeMap<String, RawSigner>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct RawSigner {
    public_key: Option<String>,
    certificates: Option<Vec<String>>,
    identity: Option<String>,
    identity_provider: Option<String>,
    trusted_root: Option<String>,
    #[serde(default)]
    models: RawLimits,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct RawLimits {
    names: Option<Vec<String>>,
    paths: Option<Vec<String>>,
    root_digests: Option<Vec<String>>,
}

/// Reads the signers of a file; none if it isn't there.
pub(super) fn read(path: &Path) -> Result<Vec<TrustedSigner>, TrustStoreError> {
    read_text(path)
        .and_then(|text| parse(&text, path))
        .map_err(|problem| TrustStoreError::new(path, problem))
}

/// The text of a file; empty if it isn't there.
pub(super) fn read_text(path: &Path) -> Result<String, Problem> {
    let bytes = match file::read(path, MAX_FILE) {
        Err(ReadError::Io(error)) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
        other => other?,
    };
    String::from_utf8(bytes).map_err(|_| Problem::Toml(Escaped::new("it is not UTF-8")))
}

/// Validates the text of a file, and reads the files that it names.
pub(super) fn parse(text: &str, path: &Path) -> Result<Vec<TrustedSigner>, Problem> {
    let raw: RawFile = toml_edit::de::from_str(text)
        .map_err(|error| Problem::Toml(Escaped::bounded(error.to_string().trim_end())))?;
    if raw.signers.len() > MAX_SIGNERS {
        return Err(Problem::Signers {
            found: raw.signers.len(),
        });
    }
    let file: Arc<Path> = path.into();
    let folder = path.parent().unwrap_or(Path::new(""));
    raw.signers
        .into_iter()
        .map(|(name, signer)| {
            validate(&name, signer, folder, &file).map_err(|rule| Problem::Signer {
                name: Escaped::bounded(&name),
                rule,
            })
        })
        .collect()
}

fn validate(
    name: &str,
    raw: RawSigner,
    folder: &Path,
    file: &Arc<Path>,
) -> Result<TrustedSigner, SignerRule> {
    let name = SignerName::new(name)?;
    let models = raw.models;
    let identity = match (raw.public_key, raw.certificates, raw.identity) {
        (Some(key), None, None) => {
            let pem = pem(&key, folder, key::MAX_PEM)?;
            Identity::Key(PublicKey::from_pem(&pem)?)
        }
        (None, Some(entries), None) => {
            let files = entries
                .iter()
                .take(certificate::MAX_ANCHORS + 1)
                .map(|entry| pem(entry, folder, certificate::MAX_PEM))
                .collect::<Result<Vec<_>, _>>()?;
            Identity::Certificate(Anchors::from_pem(files)?)
        }
        (None, None, Some(identity)) => {
            let identity_provider = raw.identity_provider.ok_or(SignerRule::Sigstore)?;
            for (text, what) in [
                (&identity, "identity"),
                (&identity_provider, "identity-provider"),
            ] {
                if text.is_empty() {
                    return Err(SignerRule::Empty(what));
                }
            }
            let trusted_root_file = raw.trusted_root.map(|path| folder.join(path));
            let trusted_root = match &trusted_root_file {
                None => TrustedRoot::public_good(),
                Some(path) => TrustedRoot::from_json(&named_file(path, MAX_TRUSTED_ROOT)?)?,
            };
            let identity = Identity::Sigstore(SigstoreIdentity {
                identity,
                identity_provider,
                trusted_root_file,
                trusted_root,
            });
            return Ok(TrustedSigner::new(
                name,
                identity,
                limits(models)?,
                file.clone(),
            ));
        }
        _ => return Err(SignerRule::Kind),
    };
    if raw.identity_provider.is_some() || raw.trusted_root.is_some() {
        return Err(SignerRule::Sigstore);
    }
    Ok(TrustedSigner::new(
        name,
        identity,
        limits(models)?,
        file.clone(),
    ))
}

/// PEM, as it stands there or in the file that is named.
fn pem(entry: &str, folder: &Path, limit: usize) -> Result<Vec<u8>, SignerRule> {
    if entry.contains("-----BEGIN ") {
        Ok(entry.as_bytes().to_vec())
    } else if entry.is_empty() {
        Err(SignerRule::Empty("public-key or certificates"))
    } else {
        named_file(&folder.join(entry), limit)
    }
}

fn named_file(path: &Path, limit: usize) -> Result<Vec<u8>, SignerRule> {
    let shown = || Escaped::new(&path.to_string_lossy());
    file::read(path, limit).map_err(|error| match error {
        ReadError::Io(error) => SignerRule::Io {
            path: shown(),
            error,
        },
        ReadError::Rule(rule) => SignerRule::File {
            path: shown(),
            rule,
        },
    })
}

fn limits(raw: RawLimits) -> Result<Limits, SignerRule> {
    Ok(Limits {
        names: list(raw.names, "names", |name| {
            if name.is_empty() {
                Err(SignerRule::Empty("an entry of models.names"))
            } else {
                Ok(name)
            }
        })?,
        paths: list(raw.paths, "paths", |text| {
            let malformed = || SignerRule::Pattern(Escaped::bounded(&text));
            // An empty, `.` or `..` part would match nothing, and mislead.
            let plain = text
                .strip_prefix('/')
                .is_some_and(|rest| rest.split('/').all(|part| !matches!(part, "" | "." | "..")));
            if !plain {
                return Err(malformed());
            }
            Pattern::new(&text).map_err(|_| malformed())
        })?,
        root_digests: list(raw.root_digests, "root-digests", |text| {
            let hex = text.strip_prefix("sha256:").unwrap_or(&text);
            Digest::from_hex(Algorithm::Sha256, hex)
                .map_err(|_| SignerRule::RootDigest(Escaped::bounded(&text)))
        })?,
    })
}

fn list<T>(
    raw: Option<Vec<String>>,
    what: &'static str,
    entry: impl Fn(String) -> Result<T, SignerRule>,
) -> Result<Option<Vec<T>>, SignerRule> {
    match raw {
        None => Ok(None),
        // A list without entries would allow nothing, or so one may think; it is a mistake.
        Some(entries) if entries.is_empty() || entries.len() > MAX_LIMITS => {
            Err(SignerRule::Limits(what))
        }
        Some(entries) => entries
            .into_iter()
            .map(entry)
            .collect::<Result<_, _>>()
            .map(Some),
    }
}
