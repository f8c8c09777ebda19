//! The file system: what a mount shows, without a word of FUSE.
//!
//! Guarantees: names come from the [frozen tree](Tree), content only as
//! [`VerifiedBytes`]; the end of a file is reported only once its
//! length is proved; no operation waits for I/O on the thread that calls it, but for what says
//! `then`, which continues on another. Doesn't: speak to the kernel.

mod errno;
mod inodes;
mod lockdown;
mod status;
#[cfg(test)]
mod tests;
mod time;
mod tree;
mod xattr;

use std::collections::HashMap;
use std::ffi::OsStr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock, RwLock};
use std::time::SystemTime;

use self::inodes::ClaimedInodes;
use self::lockdown::Lockdown;
use self::time::Times;

pub use self::errno::{FsError, errno};
pub use self::status::{Audience, MountFacts};
pub use self::tree::{Node, ROOT, Tree};
pub use self::xattr::STATUS_ATTRIBUTE;
use crate::name::{FileName, MAX_COMPONENT};
use crate::reading::{OpenFile, ProvedLength, ReadError, Reader, Scan, VerifiedBytes, Violation};
use crate::sync::{read, write};
use crate::threads::ThreadPool;

/// Block size reported by `stat` and `statfs`, in bytes.
pub const BLOCK_SIZE: u32 = 4096;

/// Attributes of an inode. Modes and owners aren't signed, so the kernel is told constants.
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
    /// When it was last changed, made of what was signed.
    pub time: SystemTime,
}

/// A name in a directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entry<'a> {
    /// Inode number, as of now.
    pub ino: u64,
    /// The name.
    pub name: &'a str,
    /// Whether it is a directory; otherwise it is a regular file.
    pub is_directory: bool,
}

/// Totals for `statfs`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Totals {
    /// Bytes of all files whose length is proved.
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
    /// Lengths claimed by the source when the tree was made, by index in the manifest: for totals
    /// alone.
    claimed: Box<[u64]>,
    /// Files that are shown with the length that their source claims.
    claims: ClaimedInodes,
    workers: ThreadPool,
    handles: RwLock<HashMap<u64, Opened>>,
    next_handle: AtomicU64,
    mount_facts: OnceLock<MountFacts>,
    times: Times,
    lockdown: Arc<Lockdown>,
    /// Requests for names, files or content that got none, whatever was the matter.
    failures: AtomicU64,
}

impl FileSystem {
    /// The file system of what `reader` reads. `scan` gives the sizes that the source claims.
    ///
    /// # Errors
    /// When threads can't be started.
    pub fn new(reader: Arc<Reader>, scan: &Scan, options: FsOptions) -> std::io::Result<Self> {
        let manifest = reader.manifest();
        let claimed = manifest
            .files()
            .iter()
            .enumerate()
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
            failures: AtomicU64::new(0),
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
            let ino = fs
                .upgrade()
                .and_then(|fs| fs.inode(index).zip(fs.lockdown.owe(index)));
            ino.is_some_and(|(ino, _owed)| store(ino, offset, bytes))
        }));
    }

    /// Adds what only whoever mounts knows to the status, under `mount`. Only the first call counts.
    pub fn set_mount_facts(&self, facts: MountFacts) {
        let _ = self.mount_facts.set(facts);
    }

    /// Has a thread call `drop_pages` with each file's inode once a violation has ended all reading, if
    /// that is what violations do: what the kernel has cached isn't to be read any more either. Then
    /// nothing of ours is owed about that file, so `drop_pages` may wait for answers to the kernel.
    /// Only the first call counts.
    ///
    /// # Errors
    /// When the thread can't be started.
    pub fn on_lockdown(
        self: &Arc<Self>,
        drop_pages: impl Fn(u64) + Send + 'static,
    ) -> std::io::Result<()> {
        let Some(started) = self
            .lockdown
            .take_start()
            .filter(|_| self.lockdown.is_wanted())
        else {
            return Ok(());
        };
        let fs = Arc::downgrade(self);
        std::thread::Builder::new()
            .name("lockdown".to_owned())
            .spawn(move || lockdown::drop_when_met(&fs, &started, drop_pages))?;
        Ok(())
    }

    /// Hands `then` the inode of `name` in `parent`, at once where its length is known. Otherwise that
    /// is proved if it can be without a full pass, on another thread; a file that takes one is
    /// shown with the length that its source claims. Not to others where links are followed: whoever
    /// owns the model may have it lead to what they can't see, and its length would be told. They are
    /// shown an empty file until somebody has opened it, which proves the length. No lookup waits for
    /// that: the kernel holds the directory meanwhile.
    ///
    /// # Errors
    /// [`FsError::NotFound`], [`FsError::NotADirectory`], [`FsError::NameTooLong`], and
    /// [`FsError::Read`] for a file that can't be what was signed, or can't be read.
    pub fn lookup(
        self: &Arc<Self>,
        parent: u64,
        name: &OsStr,
        audience: Audience,
        then: impl FnOnce(Result<Attributes, FsError>) + Send + 'static,
    ) {
        let ino = match self.find(parent, name) {
            Ok(ino) => ino,
            Err(error) => return then(Err(error)),
        };
        let index = match self.tree.node(ino) {
            Some(Node::File(index)) => index,
            Some(Node::Directory(_) | Node::Signature) | None => return then(self.stat(ino)),
        };
        if self.reader.proved_len(index).is_some() {
            return then(self.shown(index));
        }
        let is_hidden = audience == Audience::Others && self.reader.manifest().allow_symlinks();
        let fs = Arc::clone(self);
        self.workers.run(index as u64, move || {
            let reader = Arc::clone(&fs.reader);
            reader.length_then(index, move |looked| {
                then(match looked {
                    Ok(Some(_)) => fs.shown(index),
                    // Nor are they told what is the matter.
                    Ok(None) | Err(_) if is_hidden => {
                        let ino = ClaimedInodes::hidden(index);
                        Ok(fs.attributes_of(ino, index, 0, false))
                    }
                    looked => fs.counted(fs.looked(index, looked)),
                });
            });
        });
    }

    /// What is in the tree under that name.
    fn find(&self, parent: u64, name: &OsStr) -> Result<u64, FsError> {
        if name.len() > MAX_COMPONENT {
            return Err(FsError::NameTooLong);
        }
        self.require_directory(parent)?;
        self.tree.lookup(parent, name).ok_or(FsError::NotFound)
    }

    /// Attributes of a file after a look at its length.
    fn looked(
        &self,
        index: usize,
        looked: Result<Option<ProvedLength>, ReadError>,
    ) -> Result<Attributes, FsError> {
        if looked?.is_none() {
            let len = self.reader.claimed_len(index)?;
            let proved = || self.reader.proved_len(index);
            if let Some(ino) = self.claims.claim(index, len, proved) {
                return Ok(self.attributes_of(ino, index, len, false));
            }
        }
        self.shown(index)
    }

    /// Attributes of a file whose length is proved.
    fn shown(&self, index: usize) -> Result<Attributes, FsError> {
        let len = self.reader.proved_len(index).ok_or(FsError::Stale)?;
        let ino = self.inode(index).ok_or(FsError::Stale)?;
        Ok(self.attributes_of(ino, index, len.bytes(), true))
    }

    /// The inode of a file whose length is proved, which is then always the same.
    pub(crate) fn inode(&self, index: usize) -> Option<u64> {
        let len = self.reader.proved_len(index)?;
        let file = &self.reader.manifest().files()[index];
        let in_tree = self.tree.find(&file.name)?;
        Some(self.claims.inode(index, len, in_tree))
    }

    fn attributes_of(&self, ino: u64, index: usize, size: u64, proved: bool) -> Attributes {
        Attributes {
            ino,
            is_directory: false,
            size,
            links: 1,
            proved,
            time: self.time(Node::File(index)),
        }
    }

    /// What `ino` is, also where it is a file that is shown with a claimed length.
    fn node(&self, ino: u64) -> Option<Node<'_>> {
        match self.claims.file(ino) {
            Some((index, _)) if index < self.claimed.len() => Some(Node::File(index)),
            Some(_) => None,
            None => self.tree.node(ino),
        }
    }

    /// Counts a request that got no content, if it is one.
    fn counted<T>(&self, result: Result<T, FsError>) -> Result<T, FsError> {
        if let Err(FsError::Read(_) | FsError::LockedDown) = &result {
            self.failures.fetch_add(1, Ordering::Relaxed);
        }
        result
    }

    /// The error for an inode that isn't there: it may have been, with another length.
    fn missing(ino: u64) -> FsError {
        if ClaimedInodes::is_one(ino) {
            FsError::Stale
        } else {
            FsError::NotFound
        }
    }

    /// Attributes of an inode.
    ///
    /// # Errors
    /// [`FsError::NotFound`]; [`FsError::Stale`] for one whose length turned out to be another.
    pub fn stat(&self, ino: u64) -> Result<Attributes, FsError> {
        let node = self.node(ino).ok_or_else(|| Self::missing(ino))?;
        let (size, links) = match node {
            Node::Directory(children) => {
                let links = 2 + self.tree.subdirectories(children);
                (0, u32::try_from(links).unwrap_or(u32::MAX))
            }
            Node::Signature => (self.signature.len() as u64, 1),
            Node::File(index) => return self.stat_file(ino, index),
        };
        Ok(Attributes {
            ino,
            is_directory: matches!(node, Node::Directory(_)),
            size,
            links,
            proved: true,
            time: self.time(node),
        })
    }

    fn stat_file(&self, ino: u64, index: usize) -> Result<Attributes, FsError> {
        match (self.reader.proved_len(index), self.claims.file(ino)) {
            (Some(len), _) if self.inode(index) == Some(ino) => {
                Ok(self.attributes_of(ino, index, len.bytes(), true))
            }
            (None, Some((_, claimed))) => Ok(self.attributes_of(ino, index, claimed.len, false)),
            (Some(_), _) | (None, None) => Err(FsError::Stale),
        }
    }

    fn time(&self, node: Node<'_>) -> SystemTime {
        match node {
            Node::Directory(_) => self.times.of_directory(),
            Node::Signature => self.times.of_signature(self.signature.as_slice()),
            Node::File(index) => {
                let file = &self.reader.manifest().files()[index];
                self.times.of_file(index, &file.content)
            }
        }
    }

    /// The entry of a directory at `position`, `.` and `..` first; `None` beyond the last. Says
    /// nothing about what the entry is but its kind: a length has to be looked up.
    ///
    /// # Errors
    /// [`FsError::NotFound`], [`FsError::NotADirectory`].
    pub fn entry(&self, directory: u64, position: u64) -> Result<Option<Entry<'_>>, FsError> {
        self.require_directory(directory)?;
        let Some((ino, name)) = self.tree.entry(directory, position) else {
            return Ok(None);
        };
        let (ino, is_directory) = match self.tree.node(ino) {
            Some(Node::Directory(_)) => (ino, true),
            Some(Node::File(index)) => (self.claims.claimed(index).map_or(ino, |it| it.ino), false),
            Some(Node::Signature) | None => (ino, false),
        };
        Ok(Some(Entry {
            ino,
            name,
            is_directory,
        }))
    }

    /// That `ino` is a directory.
    ///
    /// # Errors
    /// [`FsError::NotFound`], [`FsError::NotADirectory`].
    pub fn require_directory(&self, ino: u64) -> Result<(), FsError> {
        match self.node(ino) {
            Some(Node::Directory(_)) => Ok(()),
            Some(Node::File(_) | Node::Signature) => Err(FsError::NotADirectory),
            None => Err(Self::missing(ino)),
        }
    }

    /// Whether an access of these kinds is possible at all (`access(2)`).
    ///
    /// # Errors
    /// [`FsError::ReadOnly`] for writing, [`FsError::Denied`] for executing a file.
    pub fn access(&self, ino: u64, write: bool, execute: bool) -> Result<(), FsError> {
        let node = self.node(ino).ok_or_else(|| Self::missing(ino))?;
        match node {
            _ if write => Err(FsError::ReadOnly),
            Node::File(_) | Node::Signature if execute => Err(FsError::Denied),
            Node::File(_) | Node::Signature | Node::Directory(_) => Ok(()),
        }
    }

    /// Opens a file for reading, and hands `then` its handle once its length is proved. That may
    /// take a full pass, which goes on as long as `wanted` says so; meanwhile everything else works.
    ///
    /// An inode that was shown with another length than the proved one is never opened: its error is
    /// [`FsError::Stale`], upon which the kernel looks the name up again and finds another inode
    /// (`open_last_lookups`, `LOOKUP_REVAL`).
    pub fn open(
        self: &Arc<Self>,
        ino: u64,
        wanted: impl Fn() -> bool + Send + 'static,
        then: impl FnOnce(Result<u64, FsError>) + Send + 'static,
    ) {
        let index = match self.node(ino) {
            _ if self.lockdown.is_met() => return then(self.counted(Err(FsError::LockedDown))),
            None => return then(Err(Self::missing(ino))),
            Some(Node::Directory(_)) => return then(Err(FsError::IsADirectory)),
            Some(Node::Signature) => return then(Ok(self.keep(Opened::Signature))),
            Some(Node::File(index)) => index,
        };
        let fs = Arc::clone(self);
        self.workers.run(index as u64, move || {
            let reader = Arc::clone(&fs.reader);
            reader.open_while(index, wanted, move |opened| {
                let opened = fs.counted(opened.map_err(FsError::from));
                then(opened.and_then(|file| {
                    if fs.inode(index) != Some(ino) {
                        return Err(FsError::Stale);
                    }
                    Ok(fs.keep(Opened::Model(file)))
                }));
            });
        });
    }

    fn keep(&self, opened: Opened) -> u64 {
        let handle = self.next_handle.fetch_add(1, Ordering::Relaxed);
        write(&self.handles).insert(handle, opened);
        handle
    }

    /// Reads from an open file, fewer bytes than asked for only at its end. At once if nothing
    /// has to be waited for.
    pub fn read(self: &Arc<Self>, handle: u64, offset: u64, len: usize) -> Read {
        let opened = read(&self.handles).get(&handle).cloned();
        match opened {
            _ if self.lockdown.is_met() => Read::Done(self.counted(Err(FsError::LockedDown))),
            None => Read::Done(Err(FsError::BadHandle)),
            Some(Opened::Signature) => {
                let start = usize::try_from(offset).unwrap_or(usize::MAX);
                Read::Done(Ok(self.signature.slice(start..start.saturating_add(len))))
            }
            Some(Opened::Model(file)) => match file.read_now(offset, len) {
                Some(bytes) => Read::Done(Ok(bytes)),
                None => Read::Waits(PendingRead {
                    fs: Arc::clone(self),
                    file,
                    offset,
                    len,
                }),
            },
        }
    }

    /// Closes a handle.
    pub fn release(&self, handle: u64) {
        write(&self.handles).remove(&handle);
    }

    /// Totals of the model, as far as they are proved.
    pub fn totals(&self) -> Totals {
        Totals {
            bytes: self.reader.proved_bytes(),
            inodes: self.tree.len() as u64,
        }
    }

    /// Bytes of all files, proved or claimed when the mount was made.
    pub fn claimed_bytes(&self) -> u64 {
        (0..self.claimed.len())
            .map(|index| {
                let proved = self.reader.proved_len(index);
                proved.map_or(self.claimed[index], ProvedLength::bytes)
            })
            // Claims may be as large as the adversary likes.
            .fold(0, u64::saturating_add)
    }
}

/// How a read goes.
#[derive(Debug)]
pub enum Read {
    /// This is the answer.
    Done(Result<VerifiedBytes, FsError>),
    /// It has to be waited for.
    Waits(PendingRead),
}

/// A read that has to be waited for.
pub struct PendingRead {
    fs: Arc<FileSystem>,
    file: Arc<OpenFile>,
    offset: u64,
    len: usize,
}

impl PendingRead {
    /// Hands `then` the bytes, on another thread.
    pub fn wait(self, then: impl FnOnce(Result<VerifiedBytes, FsError>) + Send + 'static) {
        let Self {
            fs,
            file,
            offset,
            len,
        } = self;
        let Some(owed) = fs.lockdown.owe(file.index()) else {
            return then(fs.counted(Err(FsError::LockedDown)));
        };
        let counting = Arc::clone(&fs);
        fs.workers.run(file.index() as u64, move || {
            then(counting.counted(file.read(offset, len).map_err(FsError::from)));
            drop(owed);
        });
    }
}

impl std::fmt::Debug for PendingRead {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PendingRead")
            .field("file", &self.file)
            .field("offset", &self.offset)
            .field("len", &self.len)
            .finish_non_exhaustive()
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
