//! Files that only their owner and root can write, and how one of them is changed.

use std::fs::{self, DirBuilder, File, Metadata, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, OFlags, flock};
use toml_edit::{Array, DocumentMut, Item, Table, value};

use super::{
    MAX_FILE, NewIdentity, NewSigner, Problem, SignerName, SignerRule, TrustStoreError, parse,
};
use crate::atomic;
use crate::digest::Digest;
use crate::name::Escaped;
use crate::oms::certificate::Certificate;
use crate::oms::key::{KeyError, PublicKey};

/// Bits of a mode that let others than the owner write.
const WRITABLE_BY_OTHERS: u32 = 0o022;

/// In a directory with this bit, nobody can remove or rename what belongs to somebody else.
const STICKY: u32 = 0o1000;

/// What a file must be to be relied on.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FileRule {
    /// A directory, a device, a pipe.
    #[error("it is not a regular file")]
    NotRegular,
    /// Larger than the bound for its kind.
    #[error("it has more than {limit} bytes")]
    TooLarge {
        /// The bound.
        limit: usize,
    },
    /// Somebody else could change it.
    #[error("it belongs to user {owner}, neither root nor the user who runs this")]
    Owner {
        /// The user.
        owner: u32,
    },
    /// Somebody else can change it.
    #[error("it can be written by others than its owner (mode {mode:o})")]
    Writable {
        /// Its mode.
        mode: u32,
    },
    /// Somebody else could put another file in its place.
    #[error("others can write in the directory \"{directory}\" (user {owner}, mode {mode:o})")]
    Directory {
        /// The directory, escaped.
        directory: Escaped,
        /// Its owner.
        owner: u32,
        /// Its mode.
        mode: u32,
    },
}

/// Why a file can't be read.
#[derive(Debug)]
pub(super) enum ReadError {
    Io(io::Error),
    Rule(FileRule),
}

impl From<io::Error> for ReadError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl From<ReadError> for Problem {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::Io(error) => Self::Io(error),
            ReadError::Rule(rule) => Self::File(rule),
        }
    }
}

fn is_ours(owner: u32) -> bool {
    owner == 0 || owner == rustix::process::geteuid().as_raw()
}

fn mode(metadata: &Metadata) -> u32 {
    metadata.mode() & 0o7777
}

/// Reads a file that nobody but root and the user can write, or replace.
pub(super) fn read(path: &Path, limit: usize) -> Result<Vec<u8>, ReadError> {
    // A pipe must not make us wait.
    let nonblocking = OFlags::NONBLOCK.bits().cast_signed();
    let file = OpenOptions::new()
        .read(true)
        .custom_flags(nonblocking)
        .open(path)?;
    // Of what was opened, so that nothing can change in between.
    let metadata = file.metadata()?;
    if !metadata.is_file() {
        return Err(ReadError::Rule(FileRule::NotRegular));
    }
    if !is_ours(metadata.uid()) {
        let owner = metadata.uid();
        return Err(ReadError::Rule(FileRule::Owner { owner }));
    }
    if metadata.mode() & WRITABLE_BY_OTHERS != 0 {
        let mode = mode(&metadata);
        return Err(ReadError::Rule(FileRule::Writable { mode }));
    }
    check_directories(path)?;
    let mut bytes = Vec::new();
    file.take(limit as u64 + 1).read_to_end(&mut bytes)?;
    if bytes.len() > limit {
        return Err(ReadError::Rule(FileRule::TooLarge { limit }));
    }
    Ok(bytes)
}

/// Checks every directory above a file, and, where links lead to it, above what it is really.
fn check_directories(path: &Path) -> Result<(), ReadError> {
    let link = fs::canonicalize(
        path.parent()
            .filter(|p| !p.as_os_str().is_empty())
            .unwrap_or(Path::new(".")),
    )?;
    let file = fs::canonicalize(path)?;
    for directory in link.ancestors().chain(file.ancestors().skip(1)) {
        let metadata = fs::symlink_metadata(directory)?;
        let open = metadata.mode() & WRITABLE_BY_OTHERS != 0 && metadata.mode() & STICKY == 0;
        if open || !is_ours(metadata.uid()) {
            return Err(ReadError::Rule(FileRule::Directory {
                directory: Escaped::new(&directory.to_string_lossy()),
                owner: metadata.uid(),
                mode: mode(&metadata),
            }));
        }
    }
    Ok(())
}

/// A file of the trust store, to be changed. Others who change it wait until this one is dropped;
/// what a reader sees is the file before or after, never between.
#[derive(Debug)]
pub struct TrustFile {
    path: PathBuf,
    document: DocumentMut,
    /// The lock, on the directory: the file itself is replaced.
    directory: File,
}

impl TrustFile {
    /// Reads a file, or begins one that isn't there yet; its directory is made.
    ///
    /// # Errors
    /// [`TrustStoreError`] if it is there and can't be relied on, or is malformed.
    pub fn open(path: &Path) -> Result<Self, TrustStoreError> {
        Self::open_or_problem(path).map_err(|problem| TrustStoreError::new(path, problem))
    }

    fn open_or_problem(path: &Path) -> Result<Self, Problem> {
        // A link is kept, and what it leads to is changed.
        let path = match fs::canonicalize(path) {
            Ok(path) => path,
            Err(error) if error.kind() == io::ErrorKind::NotFound => path.to_owned(),
            Err(error) => return Err(error.into()),
        };
        let folder = path
            .parent()
            .filter(|folder| !folder.as_os_str().is_empty());
        let folder = folder.unwrap_or(Path::new("."));
        DirBuilder::new()
            .recursive(true)
            .mode(0o755)
            .create(folder)?;
        let directory = File::open(folder)?;
        flock(&directory, FlockOperation::LockExclusive).map_err(io::Error::from)?;
        let text = parse::read_text(&path)?;
        // Everything in it must make sense before anything is changed.
        parse::parse(&text, &path)?;
        let document = text
            .parse::<DocumentMut>()
            .map_err(|error| Problem::Toml(Escaped::bounded(error.message())))?;
        Ok(Self {
            path,
            document,
            directory,
        })
    }

    /// Adds a signer. Keys and certificates are copied into the file, and nothing else of what lies
    /// in their PEM files.
    ///
    /// # Errors
    /// [`TrustStoreError`] if the name is taken, or the signer breaks a rule; then nothing is added.
    pub fn add(&mut self, signer: &NewSigner) -> Result<(), TrustStoreError> {
        self.try_add(signer)
            .map_err(|problem| TrustStoreError::new(&self.path, problem))
    }

    fn try_add(&mut self, signer: &NewSigner) -> Result<(), Problem> {
        let broken = |rule| Problem::Signer {
            name: Escaped::new(signer.name.as_str()),
            rule,
        };
        let table = table(signer).map_err(broken)?;
        let mut document = self.document.clone();
        let signers = document
            .entry("signers")
            .or_insert_with(|| {
                let mut signers = Table::new();
                signers.set_implicit(true);
                Item::Table(signers)
            })
            .as_table_like_mut()
            .ok_or_else(|| Problem::Toml(Escaped::new("signers is not a table")))?;
        if signers.contains_key(signer.name.as_str()) {
            return Err(Problem::Exists(signer.name.clone()));
        }
        signers.insert(signer.name.as_str(), Item::Table(table));
        let text = document.to_string();
        if text.len() > MAX_FILE {
            return Err(FileRule::TooLarge { limit: MAX_FILE }.into());
        }
        parse::parse(&text, &self.path)?;
        self.document = document;
        Ok(())
    }

    /// Removes a signer.
    ///
    /// # Errors
    /// [`TrustStoreError`] if there is none of that name.
    pub fn remove(&mut self, name: &SignerName) -> Result<(), TrustStoreError> {
        self.document
            .get_mut("signers")
            .and_then(Item::as_table_like_mut)
            .and_then(|signers| signers.remove(name.as_str()))
            .map(|_| ())
            .ok_or_else(|| TrustStoreError::new(&self.path, Problem::Unknown(name.clone())))
    }

    /// Puts the changed file in the place of the old one, at once and for good.
    ///
    /// # Errors
    /// [`TrustStoreError`] if it can't be written; then the old one stays.
    pub fn save(self) -> Result<(), TrustStoreError> {
        self.write()
            .map_err(|error| TrustStoreError::new(&self.path, error))
    }

    fn write(&self) -> io::Result<()> {
        let text = self.document.to_string();
        atomic::write_file(&self.path, 0o644, |out| out.write_all(text.as_bytes()))?;
        self.directory.sync_all()
    }
}

fn table(signer: &NewSigner) -> Result<Table, SignerRule> {
    let mut table = Table::new();
    match &signer.identity {
        NewIdentity::Key(pem) => {
            PublicKey::from_pem(pem)?;
            let blocks = pem::parse_many(pem).map_err(|_| KeyError::Pem)?;
            let key: String = blocks
                .iter()
                .filter(|block| block.tag() == "PUBLIC KEY")
                .map(|block| text("PUBLIC KEY", block.contents()))
                .collect();
            table.insert("public-key", value(key));
        }
        NewIdentity::Certificate(files) => {
            let mut list = Array::new();
            for file in files {
                for certificate in Certificate::from_pem(file)? {
                    list.push(text("CERTIFICATE", certificate.der()));
                }
            }
            table.insert("certificates", value(list));
        }
        NewIdentity::Sigstore {
            identity,
            identity_provider,
            trusted_root,
        } => {
            table.insert("identity", value(identity));
            table.insert("identity-provider", value(identity_provider));
            if let Some(path) = trusted_root {
                let path = path
                    .to_str()
                    .filter(|path| path.starts_with('/'))
                    .ok_or_else(|| SignerRule::Path(Escaped::new(&path.to_string_lossy())))?;
                table.insert("trusted-root", value(path));
            }
        }
    }
    let mut limits = Table::new();
    let mut limit = |key: &str, entries: Vec<String>| {
        if !entries.is_empty() {
            limits.insert(key, value(Array::from_iter(entries)));
        }
    };
    limit("names", signer.names.clone());
    limit("paths", signer.paths.clone());
    limit(
        "root-digests",
        signer.root_digests.iter().map(Digest::to_hex).collect(),
    );
    if !limits.is_empty() {
        table.insert("models", Item::Table(limits));
    }
    Ok(table)
}

fn text(tag: &str, der: &[u8]) -> String {
    let config = pem::EncodeConfig::new().set_line_ending(pem::LineEnding::LF);
    pem::encode_config(&pem::Pem::new(tag, der), config)
}
