//! The trust store: who may sign which models, in files that only their owner and root can write.
//!
//! ```toml
//! [signers.acme-release]                      # a key: PEM, or the path of a PEM file
//! public-key = """
//! -----BEGIN PUBLIC KEY-----
//! …
//! -----END PUBLIC KEY-----
//! """
//!
//! [signers.acme-ca]                           # certificates: PEM or paths
//! certificates = ["acme-root.pem"]
//!
//! [signers.alice]                             # a Sigstore identity
//! identity = "alice@acme.example"
//! identity-provider = "https://accounts.acme.example"
//! trusted-root = "/etc/model-fs/acme-sigstore.json"   # none: the public instance
//!
//! [signers.alice.models]                      # none: every model
//! names = ["llama"]                           # what the signer calls the model
//! paths = ["/models/acme/**"]                 # where it lies on this host
//! payload-digests = ["9f86d0…"]               # this very statement, all that is signed
//! root-digests = ["8b1a99…"]                  # contents with these digests, in this order
//!
//! [signers.bob]                               # nobody, whatever a later file says of that name
//! distrusted = true
//! ```
//!
//! Paths in a file are relative to the directory in which it really lies, links followed. Of
//! `models`, each list that is given must have an entry that matches. In `paths`, `*` and `?` stay
//! within a directory and `**` crosses them.
//!
//! A root digest covers the digests of the contents alone (OMS v1.0, 6.5.1): neither names, nor
//! which bytes make which file, nor what was left out or whether links are followed. Whoever has
//! the key can sign the same contents under other names. The payload digest covers all of it.
//!
//! Guarantees: a file counts only if it, every file that it names, and every directory and link on
//! the way to them can be changed by nobody but root and the user (`resolve`). Anything unknown
//! in it is an error, as is one bad signer: a store is read wholly or not at all. Sizes and numbers
//! are bounded.
//!
//! Doesn't: fall back on the certificates of the operating system, ever, or believe anything that
//! lies beside a model. A missing file is an empty one.

mod file;
mod parse;
mod resolve;

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use glob::{MatchOptions, Pattern};

pub use self::file::{FileRule, TrustFile};
use self::parse::Entry;
use super::bundle::Method;
use super::certificate::{Anchors, CertificateError};
use super::key::{KeyError, PublicKey};
use super::sigstore::trusted_root::{TrustedRoot, TrustedRootError};
use super::trust::Trust;
use crate::digest::Digest;
use crate::name::Escaped;

/// Largest `trust.toml`, in bytes.
pub const MAX_FILE: usize = 4 << 20;

/// Most signers in one file.
pub const MAX_SIGNERS: usize = 1000;

/// Longest name of a signer, in bytes.
pub const MAX_NAME: usize = 64;

/// Most entries of each list of `models`.
pub const MAX_LIMITS: usize = 1000;

/// The system's file, after the user's own.
pub const SYSTEM_FILE: &str = "/etc/model-fs/trust.toml";

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

/// Who a signer is.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Identity {
    /// The holder of a key.
    Key(PublicKey),
    /// Whoever one of these certificates leads to.
    Certificate(Anchors),
    /// Whoever a Sigstore instance knew by an identity.
    Sigstore(SigstoreIdentity),
}

impl Identity {
    /// The method that such a signer signs with.
    pub fn method(&self) -> Method {
        match self {
            Self::Key(_) => Method::Key,
            Self::Certificate(_) => Method::Certificate,
            Self::Sigstore(_) => Method::Sigstore,
        }
    }
}

/// Whoever a Sigstore instance knew by an identity. Both texts are compared as a whole.
#[derive(Debug, Clone)]
pub struct SigstoreIdentity {
    /// An email address or a URI; not empty.
    pub identity: String,
    /// The URL of the OIDC provider that vouches for it; not empty.
    pub identity_provider: String,
    /// Where the `trusted_root.json` of a private instance lies; `None` for the public instance.
    pub trusted_root_file: Option<PathBuf>,
    /// The instance.
    pub trusted_root: TrustedRoot,
}

/// The models that a signer is trusted for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Limits {
    names: Option<Vec<String>>,
    paths: Option<Vec<Pattern>>,
    payload_digests: Option<Vec<Digest>>,
    root_digests: Option<Vec<Digest>>,
}

/// What limits are compared with.
#[derive(Debug, Clone, Copy)]
pub struct ModelContext<'a> {
    /// Where the model lies: absolute, links resolved. Any other path matches no pattern.
    pub path: &'a Path,
    /// What the signer calls it.
    pub name: &'a str,
    /// SHA-256 of the payload that was signed.
    pub payload_digest: &'a Digest,
    /// Its root digest.
    pub root_digest: &'a Digest,
}

impl Limits {
    /// Whether they allow a model.
    pub fn allow(&self, model: &ModelContext<'_>) -> bool {
        const OPTIONS: MatchOptions = MatchOptions {
            case_sensitive: true,
            require_literal_separator: true,
            require_literal_leading_dot: false,
        };
        let path = model.path.to_str().filter(|path| {
            path.starts_with('/') && !path.split('/').any(|part| matches!(part, "." | ".."))
        });
        self.names
            .as_ref()
            .is_none_or(|names| names.iter().any(|name| name == model.name))
            && self.paths.as_ref().is_none_or(|patterns| {
                path.is_some_and(|path| {
                    patterns
                        .iter()
                        .any(|pattern| pattern.matches_with(path, OPTIONS))
                })
            })
            && one_of(self.payload_digests.as_deref(), model.payload_digest)
            && one_of(self.root_digests.as_deref(), model.root_digest)
    }

    /// The names that the signer may give a model, if they are limited.
    pub fn names(&self) -> Option<&[String]> {
        self.names.as_deref()
    }

    /// The patterns of paths, if they are limited.
    pub fn paths(&self) -> Option<impl Iterator<Item = &str>> {
        self.paths
            .as_ref()
            .map(|patterns| patterns.iter().map(Pattern::as_str))
    }

    /// The digests of the payload, if they are limited.
    pub fn payload_digests(&self) -> Option<&[Digest]> {
        self.payload_digests.as_deref()
    }

    /// The root digests, if they are limited. They cover contents, and neither names nor anything
    /// else that was signed.
    pub fn root_digests(&self) -> Option<&[Digest]> {
        self.root_digests.as_deref()
    }

    /// Whether they allow every model.
    pub fn is_unlimited(&self) -> bool {
        let Self {
            names,
            paths,
            payload_digests,
            root_digests,
        } = self;
        names.is_none() && paths.is_none() && payload_digests.is_none() && root_digests.is_none()
    }
}

fn one_of(digests: Option<&[Digest]>, digest: &Digest) -> bool {
    digests.is_none_or(|digests| digests.contains(digest))
}

/// A signer of a store.
#[derive(Debug, Clone)]
pub struct TrustedSigner {
    name: SignerName,
    identity: Identity,
    limits: Limits,
    trust: Trust,
    file: Arc<Path>,
}

impl TrustedSigner {
    fn new(name: SignerName, identity: Identity, limits: Limits, file: Arc<Path>) -> Self {
        let trust = match &identity {
            Identity::Key(key) => Trust::Key(key.clone()),
            Identity::Certificate(anchors) => Trust::Certificate(anchors.clone()),
            Identity::Sigstore(sigstore) => Trust::Sigstore {
                identity: sigstore.identity.clone(),
                identity_provider: sigstore.identity_provider.clone(),
                trusted_root: sigstore.trusted_root.clone(),
            },
        };
        Self {
            name,
            identity,
            limits,
            trust,
            file,
        }
    }

    /// Its name.
    pub fn name(&self) -> &SignerName {
        &self.name
    }

    /// Who it is.
    pub fn identity(&self) -> &Identity {
        &self.identity
    }

    /// The models that it is trusted for.
    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    /// What to verify with.
    pub fn trust(&self) -> &Trust {
        &self.trust
    }

    /// The file that it stands in.
    pub fn file(&self) -> &Path {
        &self.file
    }
}

/// Who may sign; see the [module](self).
#[derive(Debug, Clone, Default)]
pub struct TrustStore {
    signers: Vec<TrustedSigner>,
    distrusted: Vec<Distrusted>,
    hidden: Vec<Hidden>,
}

/// A name that a file distrusts.
#[derive(Debug, Clone)]
pub struct Distrusted {
    /// The name.
    pub name: SignerName,
    /// The file that says so.
    pub file: Arc<Path>,
}

/// A signer that doesn't count, for an earlier file has its name.
#[derive(Debug, Clone)]
pub struct Hidden {
    /// The signer.
    pub signer: TrustedSigner,
    /// The file that hides it.
    pub by: Arc<Path>,
}

impl TrustStore {
    /// Reads files. Where two have a signer of the same name, the earlier one's counts and hides
    /// the later: so a user can narrow, replace or distrust what the system trusts.
    ///
    /// # Errors
    /// [`TrustStoreError`] if a file is there and can't be relied on, or is malformed.
    pub fn load<P: AsRef<Path>>(
        paths: impl IntoIterator<Item = P>,
    ) -> Result<Self, TrustStoreError> {
        let mut store = Self::default();
        let mut taken: BTreeMap<SignerName, Arc<Path>> = BTreeMap::new();
        for path in paths {
            let file: Arc<Path> = path.as_ref().into();
            for entry in parse::read(&file)? {
                let before = taken.get(entry.name()).cloned();
                match (before, entry) {
                    (Some(by), Entry::Trusted(signer)) => {
                        let signer = *signer;
                        store.hidden.push(Hidden { signer, by });
                    }
                    (Some(_), Entry::Distrusted(_)) => {}
                    (None, Entry::Trusted(signer)) => {
                        taken.insert(signer.name.clone(), file.clone());
                        store.signers.push(*signer);
                    }
                    (None, Entry::Distrusted(name)) => {
                        taken.insert(name.clone(), file.clone());
                        let file = file.clone();
                        store.distrusted.push(Distrusted { name, file });
                    }
                }
            }
        }
        Ok(store)
    }

    /// The names that are distrusted.
    pub fn distrusted(&self) -> &[Distrusted] {
        &self.distrusted
    }

    /// The signers that don't count, for an earlier file trusts or distrusts their names.
    pub fn hidden(&self) -> &[Hidden] {
        &self.hidden
    }

    /// The user's file: `$XDG_CONFIG_HOME/model-fs/trust.toml`, or in `$HOME/.config` where that is
    /// not set. Takes the values of the two variables; those that aren't absolute paths don't count
    /// (XDG Base Directory Specification).
    pub fn user_file(config_home: Option<&Path>, home: Option<&Path>) -> Option<PathBuf> {
        config_home
            .filter(|path| path.is_absolute())
            .map(Path::to_owned)
            .or_else(|| Some(home.filter(|path| path.is_absolute())?.join(".config")))
            .map(|folder| folder.join("model-fs/trust.toml"))
    }

    /// The signers, in the order of the files and by name in each.
    pub fn signers(&self) -> impl Iterator<Item = &TrustedSigner> {
        self.signers.iter()
    }

    /// Whether nobody is trusted.
    pub fn is_empty(&self) -> bool {
        self.signers.is_empty()
    }
}

/// A signer to be added, as the user gives it.
#[derive(Debug, Clone)]
pub struct NewSigner {
    /// Its name.
    pub name: SignerName,
    /// Who it is.
    pub identity: NewIdentity,
    /// The names that it may give a model; empty for any.
    pub names: Vec<String>,
    /// The patterns of paths where its models may lie; empty for anywhere.
    pub paths: Vec<String>,
    /// The digests of the payloads that it may sign; empty for any.
    pub payload_digests: Vec<Digest>,
    /// The root digests of its models, which cover contents alone; empty for any.
    pub root_digests: Vec<Digest>,
}

/// Who a signer to be added is.
#[derive(Debug, Clone)]
pub enum NewIdentity {
    /// A PEM file with a public key. The key is copied into the store.
    Key(Vec<u8>),
    /// PEM files with certificates. They are copied into the store.
    Certificate(Vec<Vec<u8>>),
    /// A Sigstore identity.
    Sigstore {
        /// An email address or a URI.
        identity: String,
        /// The URL of the OIDC provider.
        identity_provider: String,
        /// The absolute path of a `trusted_root.json`, which stays where it is.
        trusted_root: Option<PathBuf>,
    },
}

/// A trust store that can't be used. Paths are escaped.
#[derive(Debug, thiserror::Error)]
#[error("{path}: {problem}")]
pub struct TrustStoreError {
    /// The file.
    pub path: Escaped,
    /// What is wrong with it.
    #[source]
    pub problem: Problem,
}

impl TrustStoreError {
    fn new(path: &Path, problem: impl Into<Problem>) -> Self {
        Self {
            path: Escaped::new(&path.to_string_lossy()),
            problem: problem.into(),
        }
    }
}

/// What is wrong with a trust store.
#[derive(Debug, thiserror::Error)]
pub enum Problem {
    /// It can't be read or written.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// It can't be relied on.
    #[error(transparent)]
    File(#[from] FileRule),
    /// Not TOML, or with members that aren't known. Escaped.
    #[error("not a trust store: {0}")]
    Toml(Escaped),
    /// More than [`MAX_SIGNERS`].
    #[error("it has {found} signers, at most {MAX_SIGNERS} are allowed")]
    Signers {
        /// Signers found.
        found: usize,
    },
    /// A signer breaks a rule.
    #[error("signer \"{name}\": {rule}")]
    Signer {
        /// Its name, escaped.
        name: Escaped,
        /// The rule.
        #[source]
        rule: SignerRule,
    },
    /// A signer of that name is there already.
    #[error("there is a signer \"{0}\" already")]
    Exists(SignerName),
    /// No signer of that name is there.
    #[error("there is no signer \"{0}\"")]
    Unknown(SignerName),
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
    /// Somebody distrusted, and something about them.
    #[error("distrusted goes with nothing else: the name is all that is distrusted")]
    Distrusted,
}
