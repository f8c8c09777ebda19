//! What a `trust.toml` says.

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use glob::Pattern;
use serde::Deserialize;
use serde::de::value::MapAccessDeserializer;
use serde::de::{self, Deserializer, MapAccess, Unexpected, Visitor};
use toml_edit::Datetime;

use super::error::{MAX_SIGNERS, Problem, TrustStoreError};
use super::limits::{Limits, MAX_LIMITS};
use super::resolve::{self, Owner, ReadError};
use super::signer::{SignerName, SignerRule, TrustedSigner};
use crate::digest::{Algorithm, Digest};
use crate::name::Escaped;
use crate::oms::method::certificate::{self, Anchors, Pins, When};
use crate::oms::method::key::{self, PublicKey};
use crate::oms::method::sigstore::trusted_root::{MAX_TRUSTED_ROOT, TrustedRoot};
use crate::oms::trust::Trust;
use crate::oms::wire::strict;

/// Largest `trust.toml`, in bytes.
pub const MAX_FILE: usize = 4 << 20;

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
    valid_at: Option<RawMoment>,
    identity: Option<String>,
    identity_provider: Option<String>,
    trusted_root: Option<String>,
    models: Option<RawLimits>,
    #[serde(default)]
    distrusted: bool,
}

/// The text of a moment, which is a text or one of TOML's own dates. Both are read in one way.
struct RawMoment(String);

impl<'de> Deserialize<'de> for RawMoment {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct TextOrDate;

        impl<'de> Visitor<'de> for TextOrDate {
            type Value = RawMoment;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a date, or a date and time")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<RawMoment, E> {
                Ok(RawMoment(text.to_owned()))
            }

            // A date is handed over as a map with a member that no table has: see `strict::toml`.
            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<RawMoment, A::Error> {
                Datetime::deserialize(MapAccessDeserializer::new(map))
                    .map(|native| RawMoment(native.to_string()))
                    .map_err(|_| de::Error::invalid_type(Unexpected::Map, &self))
            }
        }

        deserializer.deserialize_any(TextOrDate)
    }
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct RawLimits {
    names: Option<Vec<String>>,
    paths: Option<Vec<String>>,
    payload_digests: Option<Vec<String>>,
    root_digests: Option<Vec<String>>,
}

/// What a file says of a name.
pub(super) enum Entry {
    Trusted(Box<TrustedSigner>),
    Distrusted(SignerName),
}

impl Entry {
    pub(super) fn name(&self) -> &SignerName {
        match self {
            Self::Trusted(signer) => signer.name(),
            Self::Distrusted(name) => name,
        }
    }
}

/// The text of a trust file.
pub(super) struct TrustText {
    pub(super) text: String,
    /// Where the file really lies: what it names is relative to that.
    folder: PathBuf,
    /// `None` if it isn't there.
    pub(super) owner: Option<Owner>,
}

impl TrustText {
    /// A text that is to be written to `path`.
    pub(super) fn of(text: String, path: &Path) -> Self {
        Self {
            text,
            folder: path.parent().unwrap_or(Path::new("")).to_owned(),
            owner: None,
        }
    }
}

/// Reads what a file says; nothing if it isn't there.
pub(super) fn read(path: &Path) -> Result<Vec<Entry>, TrustStoreError> {
    read_text(path)
        .and_then(|text| parse(&text, path))
        .map_err(|problem| TrustStoreError::new(path, problem))
}

/// The text of a file; empty if it isn't there.
pub(super) fn read_text(path: &Path) -> Result<TrustText, Problem> {
    let found = match resolve::open(path) {
        Err(ReadError::Io(error)) if error.kind() == io::ErrorKind::NotFound => {
            return Ok(TrustText::of(String::new(), path));
        }
        other => other?,
    };
    let text = String::from_utf8(found.read(MAX_FILE)?)
        .map_err(|_| Problem::Toml(Escaped::new("it is not UTF-8")))?;
    Ok(TrustText {
        owner: Some(found.owner()),
        ..TrustText::of(text, &found.path)
    })
}

/// Validates the text of a file, and reads the files that it names. `path` is what it goes by.
pub(super) fn parse(text: &TrustText, path: &Path) -> Result<Vec<Entry>, Problem> {
    let raw: RawFile = strict::toml(&text.text).map_err(Problem::Toml)?;
    if raw.signers.len() > MAX_SIGNERS {
        return Err(Problem::Signers {
            found: raw.signers.len(),
        });
    }
    let file: Arc<Path> = path.into();
    raw.signers
        .into_iter()
        .map(|(name, signer)| {
            entry(&name, signer, &text.folder, &file).map_err(|rule| Problem::Signer {
                name: Escaped::bounded(&name),
                rule,
            })
        })
        .collect()
}

fn entry(name: &str, raw: RawSigner, folder: &Path, file: &Arc<Path>) -> Result<Entry, SignerRule> {
    let says_more = raw.public_key.is_some()
        || raw.certificates.is_some()
        || raw.valid_at.is_some()
        || raw.identity.is_some()
        || raw.identity_provider.is_some()
        || raw.trusted_root.is_some()
        || raw.models.is_some();
    match (raw.distrusted, says_more) {
        (false, _) => validate(name, raw, folder, file).map(|it| Entry::Trusted(Box::new(it))),
        (true, false) => SignerName::new(name).map(Entry::Distrusted),
        (true, true) => Err(SignerRule::Distrusted),
    }
}

fn validate(
    name: &str,
    raw: RawSigner,
    folder: &Path,
    file: &Arc<Path>,
) -> Result<TrustedSigner, SignerRule> {
    let name = SignerName::new(name)?;
    let limits = limits(raw.models.unwrap_or_default())?;
    if raw.valid_at.is_some() && raw.certificates.is_none() {
        return Err(SignerRule::ValidAtKind);
    }
    let trust = match (raw.public_key, raw.certificates, raw.identity) {
        (Some(key), None, None) => {
            let pem = pem(&key, folder, key::MAX_PEM)?;
            Trust::Key(PublicKey::from_pem(&pem)?)
        }
        (None, Some(entries), None) => {
            let files = entries
                .iter()
                .take(certificate::MAX_ANCHORS + 1)
                .map(|entry| pem(entry, folder, certificate::MAX_PEM))
                .collect::<Result<Vec<_>, _>>()?;
            Trust::Certificate {
                anchors: Anchors::from_pem(files)?,
                when: when(raw.valid_at, limits.payload_digests())?,
            }
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
            let trust = Trust::Sigstore {
                identity,
                identity_provider,
                trusted_root,
            };
            return Ok(TrustedSigner::new(
                name,
                trust,
                trusted_root_file,
                limits,
                file.clone(),
            ));
        }
        _ => return Err(SignerRule::Kind),
    };
    if raw.identity_provider.is_some() || raw.trusted_root.is_some() {
        return Err(SignerRule::Sigstore);
    }
    Ok(TrustedSigner::new(name, trust, None, limits, file.clone()))
}

/// When the certificates of a signer have to be valid. A moment that the operator chose is the only
/// one that counts, pins or not.
fn when(valid_at: Option<RawMoment>, pins: Option<&[Digest]>) -> Result<When, SignerRule> {
    let Some(RawMoment(text)) = valid_at else {
        return Ok(pins.map_or(When::Now, |pins| When::NowUnlessPinned(Pins::new(pins))));
    };
    text.parse()
        .map(When::At)
        .map_err(|error| SignerRule::ValidAt(Escaped::bounded(&text), error))
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
    let read = resolve::open(path).and_then(|found| found.read(limit));
    read.map_err(|error| match error {
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
        payload_digests: digests(raw.payload_digests, "payload-digests")?,
        root_digests: digests(raw.root_digests, "root-digests")?,
    })
}

fn digests(
    raw: Option<Vec<String>>,
    what: &'static str,
) -> Result<Option<Vec<Digest>>, SignerRule> {
    list(raw, what, |text| {
        let hex = text.strip_prefix("sha256:").unwrap_or(&text);
        Digest::from_hex(Algorithm::Sha256, hex)
            .map_err(|_| SignerRule::Digest(what, Escaped::bounded(&text)))
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
