//! A signed model as a file system: what it is made of.
//!
//! Its operations are in the files beside this one: [`lookup`](super::lookup),
//! [`attributes`](super::attributes), [`listing`](super::listing), [`handles`](super::handles) and
//! [`xattr`](super::xattr).

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock, RwLock};

use super::claimed_inodes::ClaimedInodes;
use super::errno::FsError;
use super::handle::{Handle, Opened};
use super::inode::Inode;
use super::lockdown::Lockdown;
use super::status::{MountFacts, ToHash};
use super::time::Times;
use super::tree::{Node, Tree};
use crate::name::FileName;
use crate::reading::{Reader, Scan, VerifiedBytes, Violation};
use crate::threads::ThreadPool;

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
    pub(super) reader: Arc<Reader>,
    pub(super) tree: Tree,
    pub(super) signature: VerifiedBytes,
    /// Lengths claimed by the source when the tree was made, by index in the manifest: for totals
    /// alone.
    pub(super) claimed: Box<[u64]>,
    /// Files that are shown with the length that their source claims.
    pub(super) claims: ClaimedInodes,
    pub(super) workers: ThreadPool,
    pub(super) handles: RwLock<HashMap<Handle, Opened>>,
    pub(super) next_handle: AtomicU64,
    pub(super) mount_facts: OnceLock<MountFacts>,
    pub(super) to_hash: OnceLock<ToHash>,
    pub(super) times: Times,
    pub(super) lockdown: Arc<Lockdown>,
    /// Requests for names, files or content that got none, for whatever reason.
    pub(super) failures: AtomicU64,
}

impl FileSystem {
    /// The file system of what `reader` reads. `scan` gives the sizes that the source claims.
    ///
    /// # Errors
    /// When threads can't be started.
    pub fn new(reader: Arc<Reader>, scan: &Scan, options: FsOptions) -> std::io::Result<Self> {
        let manifest = reader.manifest();
        let claimed = manifest
            .indexed()
            .map(|(index, file)| scan.len_of_signed(index, &file.name).unwrap_or(0))
            .collect();
        let FsOptions {
            workers,
            lockdown,
            on_violation,
            signature,
        } = options;
        let lockdown = Lockdown::new(lockdown);
        let (lock, stopped) = (Arc::clone(&lockdown), Arc::downgrade(&reader));
        reader.violations().watch(move |violation| {
            if lock.is_wanted() && lock.begin() {
                if let Some(reader) = stopped.upgrade() {
                    reader.stop();
                }
                tracing::error!("lockdown: nothing is read from this mount any more");
            }
            if let Some(hook) = &on_violation {
                hook(violation);
            }
        });
        Ok(Self {
            tree: Tree::new(manifest, signature.as_ref()),
            times: Times::new(manifest),
            lockdown,
            signature: VerifiedBytes::of_signature(reader.manifest()),
            claimed,
            claims: ClaimedInodes::default(),
            workers: ThreadPool::started("reader", workers)?,
            handles: RwLock::default(),
            next_handle: AtomicU64::new(1),
            mount_facts: OnceLock::new(),
            to_hash: OnceLock::new(),
            failures: AtomicU64::new(0),
            reader,
        })
    }

    /// The reader underneath.
    pub fn reader(&self) -> &Arc<Reader> {
        &self.reader
    }

    /// The inodes, as they were when the file system was made.
    pub fn tree(&self) -> &Tree {
        &self.tree
    }

    /// What `ino` is, also where it is a file that is shown with a claimed length.
    ///
    /// # Errors
    /// [`FsError::NotFound`]; [`FsError::Stale`] for one whose length turned out to be another.
    pub(super) fn node(&self, ino: Inode) -> Result<Node<'_>, FsError> {
        let node = match self.claims.file(ino) {
            Some((index, _)) if index.get() < self.claimed.len() => Some(Node::File(index)),
            Some(_) => None,
            None => self.tree.node(ino),
        };
        // One that isn't there may have been, with another length.
        node.ok_or(if ClaimedInodes::is_one(ino) {
            FsError::Stale
        } else {
            FsError::NotFound
        })
    }

    /// Counts a request that got no content, if it is one.
    pub(super) fn counted<T>(&self, result: Result<T, FsError>) -> Result<T, FsError> {
        if let Err(FsError::Read(_) | FsError::LockedDown) = &result {
            self.failures.fetch_add(1, Ordering::Relaxed);
        }
        result
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
