//! How a file of the store is changed.

use std::fs::{DirBuilder, File, Permissions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, PermissionsExt as _, fchown};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};
use toml_edit::{Array, DocumentMut, Item, Table, value};

use super::comments;
use super::error::{Problem, TrustStoreError};
use super::parse::{self, MAX_FILE, TrustText};
use super::resolve::{self, FileRule, Owner, ReadError};
use super::signer::{SignerName, SignerRule};
use crate::digest::Digest;
use crate::files::{parent_of, write_file};
use crate::name::Escaped;
use crate::oms::method::certificate::{Certificate, ValidAt};
use crate::oms::method::key::{KeyError, PublicKey};
use crate::oms::wire::pem_file;

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

/// Who a signer to be added is, as its user names it: files to be copied into the store, or to be
/// named in it. Not a [`Trust`](crate::oms::trust::Trust), for nothing of it is believed before the
/// store was read back, with each file that it names, under the rules of [`FileRule`].
#[derive(Debug, Clone)]
pub enum NewIdentity {
    /// A PEM file with a public key. The key is copied into the store.
    Key(Vec<u8>),
    /// Trusted certificates.
    Certificate {
        /// PEM files with them. They are copied into the store.
        files: Vec<Vec<u8>>,
        /// When the certificates of its signatures have to be valid, if not when they are verified.
        valid_at: Option<ValidAt>,
    },
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

/// A file of the trust store, to be changed. Others who change it wait until this one is dropped;
/// what a reader sees is the file before or after, never between.
#[derive(Debug)]
pub struct TrustFile {
    path: PathBuf,
    /// Whose the file was, if it was there: its successor is theirs too.
    owner: Option<Owner>,
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
        let path = match resolve::open(path) {
            Ok(found) => found.path,
            Err(ReadError::Io(error)) if error.kind() == io::ErrorKind::NotFound => path.to_owned(),
            Err(error) => return Err(error.into()),
        };
        let folder = parent_of(&path);
        DirBuilder::new()
            .recursive(true)
            .mode(0o755)
            .create(folder)?;
        let directory = File::open(folder)?;
        flock(&directory, FlockOperation::LockExclusive).map_err(io::Error::from)?;
        // Everything in it must make sense before anything is changed.
        let text = parse::read_text(&path)?;
        parse::parse(&text, &path)?;
        let document = text
            .text
            .parse::<DocumentMut>()
            .map_err(|error| Problem::Toml(Escaped::bounded(error.message())))?;
        Ok(Self {
            owner: text.owner,
            path,
            document,
            directory,
        })
    }

    /// Adds a signer. Keys and certificates are copied into the file, and nothing else of what lies
    /// in their PEM files.
    ///
    /// # Errors
    /// [`TrustStoreError`] if the name is taken, or the signer breaks a rule; then nothing is
    /// added.
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
        self.insert(&signer.name, table, false)
    }

    fn insert(
        &mut self,
        name: &SignerName,
        mut table: Table,
        replace: bool,
    ) -> Result<(), Problem> {
        let mut document = self.document.clone();
        comments::put_in_place(&mut document, name.as_str(), &mut table);
        let signers = document
            .entry("signers")
            .or_insert_with(|| {
                let mut signers = Table::new();
                signers.set_implicit(true);
                Item::Table(signers)
            })
            .as_table_like_mut()
            .ok_or_else(|| Problem::Toml(Escaped::new("signers is not a table")))?;
        if signers.contains_key(name.as_str()) && !replace {
            return Err(Problem::Exists(name.clone()));
        }
        signers.insert(name.as_str(), Item::Table(table));
        let text = document.to_string();
        if text.len() > MAX_FILE {
            return Err(FileRule::TooLarge { limit: MAX_FILE }.into());
        }
        parse::parse(&TrustText::of(text, &self.path), &self.path)?;
        self.document = document;
        Ok(())
    }

    /// Removes a signer, or takes back that one is distrusted. What another file says of that name
    /// counts again then: see [`TrustStore::hidden`](super::TrustStore::hidden).
    ///
    /// # Errors
    /// [`TrustStoreError`] if there is none of that name.
    pub fn remove(&mut self, name: &SignerName) -> Result<(), TrustStoreError> {
        if comments::remove(&mut self.document, name.as_str()) {
            Ok(())
        } else {
            let unknown = Problem::Unknown(name.clone());
            Err(TrustStoreError::new(&self.path, unknown))
        }
    }

    /// Distrusts a name: whatever this file said of it is replaced, and what later files say of it
    /// doesn't count.
    ///
    /// # Errors
    /// [`TrustStoreError`] if the file would get too large.
    pub fn distrust(&mut self, name: &SignerName) -> Result<(), TrustStoreError> {
        let mut table = Table::new();
        table.insert("distrusted", value(true));
        self.insert(name, table, true)
            .map_err(|problem| TrustStoreError::new(&self.path, problem))
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
        let mode = self.owner.map_or(0o644, |owner| owner.mode);
        write_file(&self.path, mode, |out| {
            if let Some(owner) = self.owner {
                keep_owner(out.get_ref(), owner)?;
            }
            out.write_all(text.as_bytes())
        })?;
        self.directory.sync_all()
    }
}

/// Gives a new file to whom the old one belonged, for root changes the files of others; and its
/// very permission bits, whatever the umask.
fn keep_owner(file: &File, owner: Owner) -> io::Result<()> {
    let new = file.metadata()?;
    if (new.uid(), new.gid()) != (owner.user, owner.group) && rustix::process::geteuid().is_root() {
        fchown(file, Some(owner.user), Some(owner.group))?;
    }
    file.set_permissions(Permissions::from_mode(owner.mode))
}

fn table(signer: &NewSigner) -> Result<Table, SignerRule> {
    let mut table = Table::new();
    match &signer.identity {
        NewIdentity::Key(pem) => {
            PublicKey::from_pem(pem)?;
            let blocks = pem_file::blocks(pem).ok_or(KeyError::Pem)?;
            let key: String = blocks
                .iter()
                .filter(|block| block.tag() == "PUBLIC KEY")
                .map(|block| text("PUBLIC KEY", block.contents()))
                .collect();
            table.insert("public-key", value(key));
        }
        NewIdentity::Certificate { files, valid_at } => {
            let mut list = Array::new();
            for file in files {
                for certificate in Certificate::from_pem(file)? {
                    list.push(text("CERTIFICATE", certificate.der()));
                }
            }
            table.insert("certificates", value(list));
            if let Some(moment) = valid_at {
                table.insert("valid-at", value(moment.to_string()));
            }
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
    let hex = |digests: &[Digest]| digests.iter().map(Digest::to_hex).collect();
    limit("payload-digests", hex(&signer.payload_digests));
    limit("root-digests", hex(&signer.root_digests));
    if !limits.is_empty() {
        table.insert("models", Item::Table(limits));
    }
    Ok(table)
}

fn text(tag: &str, der: &[u8]) -> String {
    let config = pem::EncodeConfig::new().set_line_ending(pem::LineEnding::LF);
    pem::encode_config(&pem::Pem::new(tag, der), config)
}
