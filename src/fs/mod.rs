//! The file system: what a mount shows, without a word of FUSE.
//!
//! Guarantees: names come from the [frozen tree](Tree), content only as
//! [`VerifiedBytes`]; the end of a file is reported only once its
//! length is proved; no operation waits for I/O on the thread that calls it, but for what says
//! `then`, which continues on another. Doesn't: speak to the kernel.

mod errno;
#[cfg(test)]
mod tests;
mod tree;

use std::collections::HashMap;
use std::ffi::OsStr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock, PoisonError, RwLock};

pub use self::errno::{FsError, errno};
pub use self::tree::{Node, ROOT, Tree};
use crate::manifest::SignedContent;
use crate::name::FileName;
use crate::pool::Pool;
use crate::reading::{OpenFile, Reader, ReaderStats, Scan, VerifiedBytes, Violation};

/// Block size reported by `stat` and `statfs`, in bytes.
pub const BLOCK_SIZE: u32 = 4096;

/// Attributes of an inode. Times and owners aren't signed, so whoever shows them uses constants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Attributes {
    /// Inode number.
    pub ino: u64,
    /// Whether it is a directory; otherwise it is a regular file.
    pub is_directory: bool,
    /// Bytes.
    pub size: u64,
    /// Links: subdirectories and two for a directory, one for a file.
    pub links: u32,
    /// Whether `size` is proved. If not it is the source's claim, and may still change.
    pub proved: bool,
}

/// Totals for `statfs`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Totals {
    /// Bytes of all files, as far as known.
    pub bytes: u64,
    /// Inodes.
    pub inodes: u64,
}

/// What a handle stands for.
#[derive(Clone)]
enum Opened {
    Model(Arc<OpenFile>),
    Signature,
}

/// Told of each new violation.
pub type ViolationHook = Box<dyn Fn(&Violation) + Send + Sync>;

/// How a [`FileSystem`] is set up.
pub struct FsOptions {
    /// Threads that read and verify.
    pub workers: usize,
    /// Whether the first violation ends all reading, instead of failing its own reads only.
    pub lockdown: bool,
    /// Called for each new violation, on a thread that is serving a read: it must not wait.
    pub on_violation: Option<ViolationHook>,
    /// Where the signature file appears; nowhere if that name is signed.
    pub signature: Option<FileName>,
}

/// A signed model as a file system.
pub struct FileSystem {
    reader: Arc<Reader>,
    tree: Tree,
    signature: VerifiedBytes,
    /// Lengths claimed by the source when the tree was made, by index in the manifest.
    claimed: Box<[u64]>,
    /// Whether a lookup has given the proved length, by index in the manifest.
    told: Box<[AtomicBool]>,
    workers: Pool,
    handles: RwLock<HashMap<u64, Opened>>,
    next_handle: AtomicU64,
    mount_facts: OnceLock<serde_json::Value>,
}

/// Extended attributes, all of them read-only (`xattr(7)`, user namespace).
mod attribute {
    /// Of a file: its signed digest. Of the root: the root digest.
    pub(super) const DIGEST: &str = "user.model-fs.digest";
    /// Of the root: who signed.
    pub(super) const SIGNER: &str = "user.model-fs.signer";
    /// Of a file: `proved` once its length and chunk table are, else `unproved`.
    pub(super) const STATE: &str = "user.model-fs.state";
    /// Of the root, unlisted: what the daemon did and met, as JSON.
    pub(super) const STATUS: &str = super::STATUS_ATTRIBUTE;
}

/// The extended attribute of the mount's root that holds its status, as JSON. It isn't listed:
/// copying tools would take it along.
pub const STATUS_ATTRIBUTE: &str = "user.model-fs.status";

/// Most violations in a status: an attribute holds 64 KiB (`XATTR_SIZE_MAX`).
const MAX_STATUS_VIOLATIONS: usize = 32;

impl FileSystem {
    /// The file system of what `reader` reads. `scan` gives the sizes that the source claims.
    ///
    /// # Errors
    /// When threads can't be started.
    pub fn new(reader: Arc<Reader>, scan: &Scan, options: FsOptions) -> std::io::Result<Self> {
        let manifest = reader.manifest().manifest();
        let claimed = manifest
            .files()
            .iter()
            .enumerate()
            .map(|(index, file)| scan.len_of_signed(index, &file.name).unwrap_or(0))
            .collect();
        let told = manifest.files().iter().map(|_| AtomicBool::new(false));
        let FsOptions {
            workers,
            lockdown,
            on_violation,
            signature,
        } = options;
        let lock = Arc::downgrade(&reader);
        reader.violations().watch(move |violation| {
            if lockdown && let Some(reader) = lock.upgrade() {
                reader.stop();
                tracing::error!("lockdown: nothing is read from this mount any more");
            }
            if let Some(hook) = &on_violation {
                hook(violation);
            }
        });
        Ok(Self {
            tree: Tree::new(manifest, signature.as_ref()),
            signature: VerifiedBytes::of_signature(reader.manifest()),
            claimed,
            told: told.collect(),
            workers: Pool::started("reader", workers)?,
            handles: RwLock::default(),
            next_handle: AtomicU64::new(1),
            mount_facts: OnceLock::new(),
            reader,
        })
    }

    /// The reader underneath.
    pub fn reader(&self) -> &Arc<Reader> {
        &self.reader
    }

    /// From now on, has what is verified ahead of readers put into the kernel's page cache. `store` is
    /// told inode, offset and bytes, and says whether it did so; see [`Reader::push_into`].
    pub fn push_into(
        self: &Arc<Self>,
        store: impl Fn(u64, u64, &VerifiedBytes) -> bool + Send + Sync + 'static,
    ) {
        let fs = Arc::downgrade(self);
        self.reader.push_into(Box::new(move |index, offset, bytes| {
            let ino = fs.upgrade().and_then(|fs| {
                let file = &fs.reader.manifest().manifest().files()[index];
                fs.tree.find(&file.name)
            });
            ino.is_some_and(|ino| store(ino, offset, bytes))
        }));
    }

    /// Adds what only whoever mounts knows to the status, under `mount`. Only the first call counts.
    pub fn set_mount_facts(&self, facts: serde_json::Value) {
        let _ = self.mount_facts.set(facts);
    }

    /// The inode of `name` in `parent`.
    ///
    /// # Errors
    /// [`FsError::NotFound`], [`FsError::NotADirectory`].
    pub fn lookup(&self, parent: u64, name: &OsStr) -> Result<Attributes, FsError> {
        self.directory(parent)?;
        let ino = self.tree.lookup(parent, name).ok_or(FsError::NotFound)?;
        let attributes = self.attributes(ino)?;
        if let (Some(Node::File(index)), true) = (self.tree.node(ino), attributes.proved) {
            self.told[index].store(true, Ordering::Relaxed);
        }
        Ok(attributes)
    }

    /// Attributes of an inode.
    ///
    /// # Errors
    /// [`FsError::NotFound`].
    pub fn attributes(&self, ino: u64) -> Result<Attributes, FsError> {
        let node = self.tree.node(ino).ok_or(FsError::NotFound)?;
        let (size, links, proved) = match node {
            Node::Directory(children) => {
                let links = 2 + self.tree.subdirectories(children);
                (0, u32::try_from(links).unwrap_or(u32::MAX), true)
            }
            Node::Signature => (self.signature.len() as u64, 1, true),
            Node::File(index) => match self.reader.proved_len(index) {
                Some(len) => (len, 1, true),
                None => (self.claimed[index], 1, false),
            },
        };
        Ok(Attributes {
            ino,
            is_directory: matches!(node, Node::Directory(_)),
            size,
            links,
            proved,
        })
    }

    /// The entry of a directory at `position`, `.` and `..` first; `None` beyond the last.
    ///
    /// # Errors
    /// [`FsError::NotFound`], [`FsError::NotADirectory`].
    pub fn entry(
        &self,
        directory: u64,
        position: u64,
    ) -> Result<Option<(&str, Attributes)>, FsError> {
        self.directory(directory)?;
        match self.tree.entry(directory, position) {
            Some((ino, name)) => Ok(Some((name, self.attributes(ino)?))),
            None => Ok(None),
        }
    }

    /// That `ino` is a directory.
    ///
    /// # Errors
    /// [`FsError::NotFound`], [`FsError::NotADirectory`].
    pub fn directory(&self, ino: u64) -> Result<(), FsError> {
        match self.tree.node(ino) {
            Some(Node::Directory(_)) => Ok(()),
            Some(Node::File(_) | Node::Signature) => Err(FsError::NotADirectory),
            None => Err(FsError::NotFound),
        }
    }

    /// Whether an access of these kinds is possible at all (`access(2)`).
    ///
    /// # Errors
    /// [`FsError::ReadOnly`] for writing, [`FsError::Denied`] for executing a file.
    pub fn access(&self, ino: u64, write: bool, execute: bool) -> Result<(), FsError> {
        let node = self.tree.node(ino).ok_or(FsError::NotFound)?;
        match node {
            _ if write => Err(FsError::ReadOnly),
            Node::File(_) | Node::Signature if execute => Err(FsError::Denied),
            Node::File(_) | Node::Signature | Node::Directory(_) => Ok(()),
        }
    }

    /// Opens a file for reading, and hands `then` its handle once its length is proved. That may
    /// take a full pass; meanwhile everything else works.
    ///
    /// Where the proved length isn't the claimed one, whoever opens may go by the claimed one still,
    /// and would read beyond the end of the file: the kernel fills such pages with zeros, which
    /// nobody signed. So a [lookup](Self::lookup) has to come first: until then it is
    /// [`FsError::Stale`].
    pub fn open(
        self: &Arc<Self>,
        ino: u64,
        then: impl FnOnce(Result<u64, FsError>) + Send + 'static,
    ) {
        let index = match self.tree.node(ino) {
            None => return then(Err(FsError::NotFound)),
            Some(Node::Directory(_)) => return then(Err(FsError::IsADirectory)),
            Some(Node::Signature) => return then(Ok(self.keep(Opened::Signature))),
            Some(Node::File(index)) => index,
        };
        let fs = Arc::clone(self);
        self.workers.run(index as u64, move || {
            let reader = Arc::clone(&fs.reader);
            reader.open_then(index, move |opened| {
                then(opened.map_err(FsError::from).and_then(|file| {
                    let told = fs.told[index].load(Ordering::Relaxed);
                    if file.len() != fs.claimed[index] && !told {
                        return Err(FsError::Stale);
                    }
                    Ok(fs.keep(Opened::Model(file)))
                }));
            });
        });
    }

    fn keep(&self, opened: Opened) -> u64 {
        let handle = self.next_handle.fetch_add(1, Ordering::Relaxed);
        self.handles
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(handle, opened);
        handle
    }

    /// Reads from an open file, fewer bytes than asked for only at its end.
    pub fn read(
        &self,
        handle: u64,
        offset: u64,
        len: usize,
        then: impl FnOnce(Result<VerifiedBytes, FsError>) + Send + 'static,
    ) {
        let opened = self
            .handles
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .get(&handle)
            .cloned();
        match opened {
            None => then(Err(FsError::BadHandle)),
            Some(Opened::Signature) => {
                let start = usize::try_from(offset).unwrap_or(usize::MAX);
                then(Ok(self.signature.slice(start..start.saturating_add(len))));
            }
            Some(Opened::Model(file)) => match file.read_now(offset, len) {
                Some(bytes) => then(Ok(bytes)),
                None => self.workers.run(file.index() as u64, move || {
                    then(file.read(offset, len).map_err(FsError::from));
                }),
            },
        }
    }

    /// Closes a handle.
    pub fn release(&self, handle: u64) {
        self.handles
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(&handle);
    }

    /// The value of an extended attribute.
    ///
    /// # Errors
    /// [`FsError::NoAttribute`], [`FsError::NotFound`].
    pub fn attribute(&self, ino: u64, name: &OsStr) -> Result<Vec<u8>, FsError> {
        let node = self.tree.node(ino).ok_or(FsError::NotFound)?;
        let manifest = self.reader.manifest();
        let name = name.to_str().ok_or(FsError::NoAttribute)?;
        let value = match (node, name) {
            (Node::Directory(_), attribute::DIGEST) if ino == ROOT => {
                manifest.manifest().root_digest().to_string()
            }
            (Node::Directory(_), attribute::SIGNER) if ino == ROOT => manifest.signer().to_string(),
            (Node::Directory(_), attribute::STATUS) if ino == ROOT => self.status().to_string(),
            (Node::File(index), attribute::DIGEST) => {
                match &manifest.manifest().files()[index].content {
                    SignedContent::Whole(digest) => digest.to_string(),
                    SignedContent::Shards(_) => return Err(FsError::NoAttribute),
                }
            }
            (Node::File(index), attribute::STATE) => match self.reader.proved_len(index) {
                Some(_) => "proved".to_owned(),
                None => "unproved".to_owned(),
            },
            _ => return Err(FsError::NoAttribute),
        };
        Ok(value.into_bytes())
    }

    /// The names of an inode's extended attributes.
    ///
    /// # Errors
    /// [`FsError::NotFound`].
    pub fn attribute_names(&self, ino: u64) -> Result<&'static [&'static str], FsError> {
        let node = self.tree.node(ino).ok_or(FsError::NotFound)?;
        Ok(match node {
            Node::Directory(_) if ino == ROOT => &[attribute::DIGEST, attribute::SIGNER],
            Node::File(index) => match self.reader.manifest().manifest().files()[index].content {
                SignedContent::Whole(_) => &[attribute::DIGEST, attribute::STATE],
                SignedContent::Shards(_) => &[attribute::STATE],
            },
            Node::Directory(_) | Node::Signature => &[],
        })
    }

    /// Totals of the model.
    pub fn totals(&self) -> Totals {
        let files = 0..self.claimed.len();
        Totals {
            bytes: files
                .map(|index| self.reader.proved_len(index).unwrap_or(self.claimed[index]))
                .sum(),
            inodes: self.tree.len() as u64,
        }
    }

    /// What the mount did and met, as JSON.
    fn status(&self) -> serde_json::Value {
        let manifest = self.reader.manifest();
        let ReaderStats {
            source_bytes,
            verified_bytes,
            prefetched_bytes,
            pushed_bytes,
            delivered_bytes,
            cache_hits,
            cached_bytes,
            full_passes,
            full_pass_bytes,
            proved_files,
            violations,
            ..
        } = self.reader.stats();
        let totals = self.totals();
        let recent: Vec<_> = self
            .reader
            .violations()
            .recent()
            .iter()
            .take(MAX_STATUS_VIOLATIONS)
            .map(Violation::to_string)
            .collect();
        serde_json::json!({
            "mount": self.mount_facts.get(),
            "signer": manifest.signer().to_string(),
            "root_digest": manifest.manifest().root_digest().to_string(),
            "files": self.claimed.len(),
            "bytes": totals.bytes,
            "proved_files": proved_files,
            "source_bytes": source_bytes,
            "verified_bytes": verified_bytes,
            "prefetched_bytes": prefetched_bytes,
            "pushed_bytes": pushed_bytes,
            "delivered_bytes": delivered_bytes,
            "cache_hits": cache_hits,
            "cached_bytes": cached_bytes,
            "full_passes": full_passes,
            "full_pass_bytes": full_pass_bytes,
            "violations": violations,
            "recent_violations": recent,
        })
    }
}

impl std::fmt::Debug for FileSystem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FileSystem")
            .field("reader", &self.reader)
            .field("inodes", &self.tree.len())
            .finish_non_exhaustive()
    }
}
