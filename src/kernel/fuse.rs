//! The FUSE adaptor: requests of the kernel to operations of the [`FileSystem`], and back.
//!
//! Guarantees: it decides nothing. What there is, and what it holds, is the file system's to say;
//! what becomes of a program that asks for unreadable content without end is decided in
//! [`populate_loop`](super::populate_loop), which is told of each failing read; when a request is
//! let go, in [`pending`](super::pending). It never waits for a source: look-ups, reads
//! and opens that have to are answered from other threads. Every request that would change
//! something is answered EROFS ([`read_only`](super::read_only)). Only here do inodes and handles
//! meet the numbers of FUSE. Doesn't: mount; see [`MountSession`](super::MountSession).

use std::ffi::OsStr;
use std::sync::Arc;

use fuser::{
    AccessFlags, Errno, FileHandle, Filesystem, FopenFlags, Generation, INodeNo, InitFlags,
    KernelConfig, LockOwner, OpenAccMode, OpenFlags, ReplyAttr, ReplyData, ReplyDirectory,
    ReplyEmpty, ReplyEntry, ReplyOpen, ReplyStatfs, ReplyXattr, Request,
};

use super::options::MountOptions;
use super::owner::{Owner, kind};
use super::pending::{Pending, Watch};
use super::populate_loop::{Attempt, PopulateLoops};
use super::read_only::refused_operations;
use super::schedule;
use crate::fs::{BLOCK_SIZE, FileSystem, FsError, Handle, Inode, Read, errno};
use crate::name::MAX_COMPONENT;
use crate::reading::VerifiedBytes;

/// Requests that the kernel may have under way for read-ahead and for reads past its page cache
/// (`max_background`): as many as there may be. Those that aren't answered, since the source of
/// their file hangs, stay among them, and once all of them are such, the kernel sends none for any
/// file.
const MAX_BACKGROUND: u16 = u16::MAX;

/// A signed model as the kernel sees it.
#[derive(Debug)]
pub struct FuseAdaptor {
    fs: Arc<FileSystem>,
    populate_loops: Arc<PopulateLoops>,
    watch: Watch,
    owner: Owner,
}

impl FuseAdaptor {
    /// Shows `fs`, with the owner and the permissions that the options say.
    pub fn new(fs: Arc<FileSystem>, options: &MountOptions) -> Self {
        Self {
            fs,
            populate_loops: Arc::default(),
            watch: Watch::default(),
            owner: Owner::new(options),
        }
    }
}

fn code(error: &FsError) -> Errno {
    Errno::from_i32(errno(error).raw_os_error())
}

const GENERATION: Generation = Generation(0);

impl Filesystem for FuseAdaptor {
    fn init(&mut self, _req: &Request, config: &mut KernelConfig) -> std::io::Result<()> {
        // Each is used where the kernel has it. Not so READDIRPLUS: a listing would have to give
        // the kernel lengths that aren't proved, or prove all of them.
        for wanted in [InitFlags::FUSE_ASYNC_DIO, InitFlags::FUSE_PARALLEL_DIROPS] {
            if config.capabilities().contains(wanted) {
                let _ = config.add_capabilities(wanted);
            }
        }
        let _ = config.set_max_background(MAX_BACKGROUND);
        Ok(())
    }

    fn lookup(&self, req: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        let pending = Pending::new(reply);
        let (answered, owner) = (pending.answerer(), self.owner);
        let audience = self.owner.audience(req.uid());
        self.fs.lookup(parent.into(), name, audience, move |found| {
            let Some((reply, _unanswered)) = answered.take() else {
                return;
            };
            match found {
                Ok(attributes) => {
                    let (attr, ttl) = (owner.attributes(attributes), owner.ttl(&attributes));
                    // How long the attributes hold, then how long the name does.
                    reply.entry_with_ttls(&ttl, &ttl, &attr, GENERATION);
                }
                Err(error) => reply.error(code(&error)),
            }
        });
        self.watch.look_after(req, &pending);
    }

    fn getattr(&self, _req: &Request, ino: INodeNo, _fh: Option<FileHandle>, reply: ReplyAttr) {
        match self.fs.stat(ino.into()) {
            Ok(attributes) => reply.attr(
                &self.owner.ttl(&attributes),
                &self.owner.attributes(attributes),
            ),
            Err(error) => reply.error(code(&error)),
        }
    }

    fn open(&self, req: &Request, ino: INodeNo, flags: OpenFlags, reply: ReplyOpen) {
        if flags.acc_mode() != OpenAccMode::O_RDONLY {
            return reply.error(Errno::EROFS);
        }
        let pending = Pending::new(reply);
        let (answered, asked) = (pending.answerer(), pending.clone());
        let fs = Arc::clone(&self.fs);
        let wanted = move || asked.is_wanted();
        self.fs.open(ino.into(), wanted, move |opened| {
            match (opened, answered.take()) {
                // What the kernel has cached was verified, and stays so.
                (Ok(handle), Some((reply, _unanswered))) => reply.opened(
                    handle.into(),
                    FopenFlags::FOPEN_KEEP_CACHE | FopenFlags::FOPEN_NOFLUSH,
                ),
                // The kernel won't release what it didn't get.
                (Ok(handle), None) => fs.release(handle),
                (Err(error), Some((reply, _unanswered))) => reply.error(code(&error)),
                (Err(_), None) => {}
            }
        });
        self.watch.look_after(req, &pending);
    }

    fn read(
        &self,
        req: &Request,
        ino: INodeNo,
        fh: FileHandle,
        offset: u64,
        size: u32,
        _flags: OpenFlags,
        _lock_owner: Option<LockOwner>,
        reply: ReplyData,
    ) {
        schedule::serve(size);
        let attempt = Attempt {
            thread: req.pid(),
            ino: ino.into(),
            offset,
        };
        let waits = match self.fs.read(ino.into(), fh.into(), offset, size as usize) {
            Read::Done(read) => return answer_read(&self.populate_loops, attempt, read, reply),
            Read::Waits(waits) => waits,
        };
        let pending = Pending::new(reply);
        let (answered, populate_loops) = (pending.answerer(), Arc::clone(&self.populate_loops));
        let asked = pending.clone();
        waits.wait(
            move || asked.is_wanted(),
            move |read| {
                if let Some((reply, _unanswered)) = answered.take() {
                    answer_read(&populate_loops, attempt, read, reply);
                }
            },
        );
        self.watch.look_after(req, &pending);
    }

    fn release(
        &self,
        _req: &Request,
        _ino: INodeNo,
        fh: FileHandle,
        _flags: OpenFlags,
        _lock_owner: Option<LockOwner>,
        _flush: bool,
        reply: ReplyEmpty,
    ) {
        self.fs.release(fh.into());
        reply.ok();
    }

    /// Everything is as durable as it will get.
    fn fsync(
        &self,
        _req: &Request,
        _ino: INodeNo,
        _fh: FileHandle,
        _datasync: bool,
        reply: ReplyEmpty,
    ) {
        reply.ok();
    }

    fn fsyncdir(
        &self,
        _req: &Request,
        _ino: INodeNo,
        _fh: FileHandle,
        _datasync: bool,
        reply: ReplyEmpty,
    ) {
        reply.ok();
    }

    fn opendir(&self, _req: &Request, ino: INodeNo, _flags: OpenFlags, reply: ReplyOpen) {
        match self.fs.require_directory(ino.into()) {
            Ok(()) => reply.opened(
                FileHandle(0),
                FopenFlags::FOPEN_KEEP_CACHE | FopenFlags::FOPEN_CACHE_DIR,
            ),
            Err(error) => reply.error(code(&error)),
        }
    }

    fn readdir(
        &self,
        _req: &Request,
        ino: INodeNo,
        _fh: FileHandle,
        offset: u64,
        mut reply: ReplyDirectory,
    ) {
        for position in offset.. {
            match self.fs.entry(ino.into(), position) {
                Ok(Some(entry)) => {
                    let (ino, kind) = (entry.ino.into(), kind(entry.is_directory));
                    if reply.add(ino, position + 1, kind, entry.name) {
                        break;
                    }
                }
                Ok(None) => break,
                Err(error) => return reply.error(code(&error)),
            }
        }
        reply.ok();
    }

    /// The sizes are those of the model. All of it counts as free, as with other mounts of what
    /// lies elsewhere (sshfs, s3fs, mount-s3): what is full for ever, as squashfs and EROFS are,
    /// has to be left out of every alert about full disks. Nothing can be written here anyway.
    fn statfs(&self, _req: &Request, _ino: INodeNo, reply: ReplyStatfs) {
        let totals = self.fs.totals();
        let blocks = totals.bytes.div_ceil(u64::from(BLOCK_SIZE));
        let name_max = u32::try_from(MAX_COMPONENT).unwrap_or(u32::MAX);
        reply.statfs(
            blocks,
            blocks,
            blocks,
            totals.inodes,
            totals.inodes,
            BLOCK_SIZE,
            name_max,
            BLOCK_SIZE,
        );
    }

    fn access(&self, _req: &Request, ino: INodeNo, mask: AccessFlags, reply: ReplyEmpty) {
        let (write, execute) = (
            mask.contains(AccessFlags::W_OK),
            mask.contains(AccessFlags::X_OK),
        );
        match self.fs.access(ino.into(), write, execute) {
            Ok(()) => reply.ok(),
            Err(error) => reply.error(code(&error)),
        }
    }

    fn getxattr(&self, req: &Request, ino: INodeNo, name: &OsStr, size: u32, reply: ReplyXattr) {
        match self
            .fs
            .xattr(ino.into(), name, self.owner.audience(req.uid()))
        {
            Ok(value) => answer_xattr(&value, size, reply),
            Err(error) => reply.error(code(&error)),
        }
    }

    fn listxattr(&self, _req: &Request, ino: INodeNo, size: u32, reply: ReplyXattr) {
        match self.fs.xattr_names(ino.into()) {
            Ok(names) => {
                let list: String = names.iter().flat_map(|name| [*name, "\0"]).collect();
                answer_xattr(list.as_bytes(), size, reply);
            }
            Err(error) => reply.error(code(&error)),
        }
    }

    refused_operations!();
}

/// Answers a read: with verified bytes and nothing else, or with an error, which the watch over
/// loops is told of before the program is.
fn answer_read(
    populate_loops: &PopulateLoops,
    attempt: Attempt,
    read: Result<VerifiedBytes, FsError>,
    reply: ReplyData,
) {
    match read {
        Ok(bytes) => reply.data(bytes.as_slice()),
        Err(error) => {
            populate_loops.failed(attempt);
            reply.error(code(&error));
        }
    }
}

/// Answers `getxattr(2)` and `listxattr(2)`: the size where none was offered, ERANGE where too
/// little was.
fn answer_xattr(value: &[u8], size: u32, reply: ReplyXattr) {
    match (u32::try_from(value.len()), size) {
        (Ok(len), 0) => reply.size(len),
        (Ok(len), room) if len <= room => reply.data(value),
        _ => reply.error(Errno::ERANGE),
    }
}

const _: () = assert!(Inode::ROOT.number() == INodeNo::ROOT.0);

impl From<INodeNo> for Inode {
    fn from(ino: INodeNo) -> Self {
        Self::new(ino.0)
    }
}

impl From<Inode> for INodeNo {
    fn from(ino: Inode) -> Self {
        Self(ino.number())
    }
}

impl From<FileHandle> for Handle {
    fn from(fh: FileHandle) -> Self {
        Self::new(fh.0)
    }
}

impl From<Handle> for FileHandle {
    fn from(handle: Handle) -> Self {
        Self(handle.number())
    }
}
