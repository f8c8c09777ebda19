//! A signed model as a file system: what it is made of.
//!
//! Its operations are in the files beside this one: [`lookup`](super::lookup),
//! [`attributes`](super::attributes), [`listing`](super::listing), [`handles`](super::handles) and
//! [`xattr`](super::xattr).

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, RwLock};

use super::claimed_inodes::ClaimedInodes;
use super::errno::FsError;
use super::handle::{Handle, Opened};
use super::inode::Inode;
use super::lockdown::Lockdown;
use super::prefetch::PrefetchProgress;
use super::status::{Kept, MountFacts, ToHash};
use super::time::Times;
use super::tree::{Node, Tree};
use super::trust_decision::TrustDecision;
use crate::digest::{Algorithm, Digest};
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
    /// How many processes served the same mount before, of the same signature.
    pub earlier_processes: u16,
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
    /// As they are when they are asked for.
    pub(super) mount_facts: OnceLock<Box<dyn Fn() -> MountFacts + Send + Sync>>,
    pub(super) trust: OnceLock<TrustDecision>,
    pub(super) bundle_digest: OnceLock<Digest>,
    pub(super) to_hash: OnceLock<ToHash>,
    pub(super) prefetch: OnceLock<Arc<PrefetchProgress>>,
    pub(super) kept: Mutex<Option<Kept>>,
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
            earlier_processes,
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
            next_handle: AtomicU64::new(Handle::first(earlier_processes).number()),
            mount_facts: OnceLock::new(),
            trust: OnceLock::new(),
            bundle_digest: OnceLock::new(),
            to_hash: OnceLock::new(),
            prefetch: OnceLock::new(),
            kept: Mutex::default(),
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

    /// A digest of all that a kernel is told and goes on believing: names and their numbers, and
    /// the signature, on which lengths rest. It is the same for the same model and options.
    pub fn shown_digest(&self) -> String {
        let mut hasher = Algorithm::Sha256.hasher();
        hasher.update(b"model-fs inodes, 1\n");
        hasher.update(&(self.signature.len() as u64).to_le_bytes());
        hasher.update(self.signature.as_slice());
        self.tree.hash_into(&mut hasher);
        hasher.finish().to_string()
    }

    /// What `ino` is, also where it is a file that is shown with a claimed length.
    ///
    /// # Errors
    /// [`FsError::NotFound`]; [`FsError::Stale`] for one whose length turned out to be another.
    pub(super) fn node(&self, ino: Inode) -> Result<Node<'_>, FsError> {
        let node = match self.claims.file(ino) {
            Some((index, claimed)) if index.get() < self.claimed.len() => {
                let proved = self.reader.proved_len(index);
                let disproved = proved.is_some_and(|len| claimed.is_disproved_by(len));
                (!disproved).then_some(Node::File(index))
            }
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
