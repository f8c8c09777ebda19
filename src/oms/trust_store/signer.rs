//! A signer of a store: its name, who it is, and for which models.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::limits::{Limits, MAX_LIMITS};
use super::resolve::FileRule;
use crate::name::Escaped;
use crate::oms::method::certificate::{CertificateError, ValidAtError};
use crate::oms::method::key::KeyError;
use crate::oms::method::sigstore::trusted_root::TrustedRootError;
use crate::oms::trust::Trust;

/// Longest name of a signer, in bytes.
pub const MAX_NAME: usize = 64;

/// The name of a signer in a store: letters, digits, `-`, `_` and `.`, beginning with a letter or
/// digit; nothing that a shell or a terminal would act on.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct SignerName(String);

impl SignerName {
    /// Validates a name.
    ///
    /// # Errors
    /// [`SignerRule::Name`] for any other.
    pub fn new(name: &str) -> Result<Self, SignerRule> {
        let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
        if name.len() <= MAX_NAME
            && name.bytes().all(plain)
            && name
                .bytes()
                .next()
                .is_some_and(|b| b.is_ascii_alphanumeric())
        {
            Ok(Self(name.to_owned()))
        } else {
            Err(SignerRule::Name)
        }
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for SignerName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for SignerName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{self}\"")
    }
}

/// A signer of a store.
#[derive(Debug, Clone)]
pub struct TrustedSigner {
    name: SignerName,
    trust: Trust,
    trusted_root_file: Option<PathBuf>,
    limits: Limits,
    file: Arc<Path>,
}

impl TrustedSigner {
    pub(super) fn new(
        name: SignerName,
        trust: Trust,
        trusted_root_file: Option<PathBuf>,
        limits: Limits,
        file: Arc<Path>,
    ) -> Self {
        Self {
            name,
            trust,
            trusted_root_file,
            limits,
            file,
        }
    }

    /// Its name.
    pub fn name(&self) -> &SignerName {
        &self.name
    }

    /// The models that it is trusted for.
    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    /// Who it is: what to verify with.
    pub fn trust(&self) -> &Trust {
        &self.trust
    }

    /// Where the `trusted_root.json` of a private Sigstore instance lies; `None` for the public
    /// instance and for the other methods.
    pub fn trusted_root_file(&self) -> Option<&Path> {
        self.trusted_root_file.as_deref()
    }

    /// The file that it stands in.
    pub fn file(&self) -> &Path {
        &self.file
    }
}

/// The rules for a signer.
#[derive(Debug, thiserror::Error)]
pub enum SignerRule {
    /// See [`SignerName`].
    #[error(
        "a name has at most {MAX_NAME} letters, digits, '-', '_' and '.', \
         the first a letter or digit"
    )]
    Name,
    /// None or several of the three kinds.
    #[error("exactly one of public-key, certificates and identity is needed")]
    Kind,
    /// One half of a Sigstore identity, or a root for what isn't one.
    #[error("identity and identity-provider are needed together; trusted-root goes with them only")]
    Sigstore,
    /// A moment for what isn't judged by one: a key has no validity, and Sigstore proves when a
    /// signature was made.
    #[error(
        "valid-at goes with certificates only: a key has no validity, and a Sigstore signature is \
         judged at the time that its log or a time stamp proves"
    )]
    ValidAtKind,
    /// Not a moment of the past.
    #[error("valid-at: \"{0}\": {1}")]
    ValidAt(Escaped, #[source] ValidAtError),
    /// A text that may not be empty.
    #[error("{0} is empty")]
    Empty(&'static str),
    /// A path that can't be written into a text file.
    #[error("trusted-root: the path \"{0}\" is not absolute, or not UTF-8")]
    Path(Escaped),
    /// The key.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// The certificates.
    #[error(transparent)]
    Certificate(#[from] CertificateError),
    /// The trusted root of a Sigstore instance.
    #[error("trusted-root: {0}")]
    TrustedRoot(#[from] TrustedRootError),
    /// A file that it names can't be read.
    #[error("{path}: {error}")]
    Io {
        /// The file, escaped.
        path: Escaped,
        /// Why not.
        #[source]
        error: io::Error,
    },
    /// A file that it names can't be relied on.
    #[error("{path}: {rule}")]
    File {
        /// The file, escaped.
        path: Escaped,
        /// Why not.
        #[source]
        rule: FileRule,
    },
    /// A list without entries, or with more than [`MAX_LIMITS`].
    #[error("models.{0} is empty or has more than {MAX_LIMITS} entries")]
    Limits(&'static str),
    /// Not an absolute path pattern.
    #[error("models.paths: \"{0}\" is not an absolute path or pattern")]
    Pattern(Escaped),
    /// Not a digest.
    #[error("models.{0}: \"{1}\" is not a SHA-256 digest in hexadecimal digits")]
    Digest(&'static str, Escaped),
    /// A distrusted name, and something said about it.
    #[error("distrusted goes with nothing else: the name is all that is distrusted")]
    Distrusted,
}
