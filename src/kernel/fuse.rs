//! The FUSE adaptor: requests of the kernel to operations of the [`FileSystem`], and back.
//!
//! Guarantees: it decides nothing about content or names, and it never waits: reads and opens are
//! answered from other threads. Every request that would change something is answered EROFS.
//! Doesn't: mount; see [`MountSession`](super::MountSession).

use std::ffi::OsStr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use fuser::{
    AccessFlags, BsdFileFlags, Errno, FileAttr, FileHandle, FileType, Filesystem, FopenFlags,
    Generation, INodeNo, InitFlags, KernelConfig, LockOwner, OpenAccMode, OpenFlags, RenameFlags,
    ReplyAttr, ReplyCreate, ReplyData, ReplyDirectory, ReplyEmpty, ReplyEntry, ReplyLock,
    ReplyOpen, ReplyStatfs, ReplyWrite, ReplyXattr, Request, TimeOrNow, WriteFlags,
};

use super::pending::{Pending, Watch};
use super::populate_loop::{Attempt, PopulateLoops};
use super::schedule;
use crate::fs::{Attributes, Audience, BLOCK_SIZE, FileSystem, FsError, ROOT, Read, errno};
use crate::name::MAX_COMPONENT;
use crate::reading::VerifiedBytes;

/// How long the kernel may believe what is proved. The tree is frozen and proved lengths don't
/// change, so: as long as it likes.
const FOREVER: Duration = Duration::from_secs(365 * 24 * 60 * 60);

/// Requests that the kernel may have under way for read-ahead and for reads past its page cache
/// (`max_background`): as many as there may be. Those that aren't answered, since the source of their
/// file hangs, stay among them, and once all of them are such, the kernel sends none for any file.
const MAX_BACKGROUND: u16 = u16::MAX;

/// A signed model as the kernel sees it.
#[derive(Debug)]
pub struct FuseAdaptor {
    fs: Arc<FileSystem>,
    populate_loops: Arc<PopulateLoops>,
    watch: Watch,
    owner: Owner,
}

/// Whom everything belongs to, the user who mounts, and what the kernel may keep of it.
#[derive(Debug, Clone, Copy)]
struct Owner {
    uid: u32,
    gid: u32,
    /// Whether the kernel may answer by itself what is proved.
    kept: bool,
}

impl FuseAdaptor {
    /// Shows `fs`, with everything owned by the user who mounts.
    pub fn new(fs: Arc<FileSystem>) -> Self {
        Self {
            fs,
            populate_loops: Arc::default(),
            watch: Watch::default(),
            owner: Owner {
                uid: rustix::process::getuid().as_raw(),
                gid: rustix::process::getgid().as_raw(),
                kept: true,
            },
        }
    }

    /// Has the kernel ask for attributes each time. For a mount into which not everybody may look, where
    /// the kernel doesn't know who may (`allow_root`): it would answer anybody.
    #[must_use]
    pub fn asked_each_time(mut self) -> Self {
        self.owner.kept = false;
        self
    }

    /// Who a user is.
    fn audience(&self, uid: u32) -> Audience {
        if uid == self.owner.uid || uid == 0 {
            Audience::Owner
        } else {
            Audience::Others
        }
    }
}

impl Owner {
    /// How long the kernel may keep attributes: not at all while a length is only claimed.
    fn ttl(self, attributes: &Attributes) -> Duration {
        if attributes.proved && self.kept {
            FOREVER
        } else {
            Duration::ZERO
        }
    }

    fn attributes(self, attributes: Attributes) -> FileAttr {
        let Attributes {
            ino,
            is_directory,
            size,
            links,
            proved: _,
            time,
        } = attributes;
        FileAttr {
            ino: INodeNo(ino),
            size,
            // `stat` counts in units of 512 bytes.
            blocks: size.div_ceil(512),
            atime: time,
            mtime: time,
            ctime: time,
            crtime: time,
            kind: kind(is_directory),
            // Copies take modes along, and whoever copies wants to be able to change and remove them.
            perm: if is_directory { 0o755 } else { 0o644 },
            nlink: links,
            uid: self.uid,
            gid: self.gid,
            rdev: 0,
            blksize: BLOCK_SIZE,
            flags: 0,
        }
    }
}

fn kind(is_directory: bool) -> FileType {
    if is_directory {
        FileType::Directory
    } else {
        FileType::RegularFile
    }
}

fn code(error: &FsError) -> Errno {
    Errno::from_i32(errno(error).raw_os_error())
}

const GENERATION: Generation = Generation(0);

impl Filesystem for FuseAdaptor {
    fn init(&mut self, _req: &Request, config: &mut KernelConfig) -> std::io::Result<()> {
        // Each is used where the kernel has it. Not so READDIRPLUS: a listing would have to give the
        // kernel lengths that aren't proved, or prove all of them.
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
        let audience = self.audience(req.uid());
        self.fs.lookup(parent.0, name, audience, move |found| {
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
        match self.fs.stat(ino.0) {
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
        self.fs.open(ino.0, wanted, move |opened| {
            match (opened, answered.take()) {
                // What the kernel has cached was verified, and stays so.
                (Ok(handle), Some((reply, _unanswered))) => reply.opened(
                    FileHandle(handle),
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
            ino: ino.0,
            offset,
        };
        let waits = match self.fs.read(fh.0, offset, size as usize) {
            Read::Done(read) => return answer_read(&self.populate_loops, attempt, read, reply),
            Read::Waits(waits) => waits,
        };
        let pending = Pending::new(reply);
        let (answered, populate_loops) = (pending.answerer(), Arc::clone(&self.populate_loops));
        waits.wait(move |read| {
            if let Some((reply, _unanswered)) = answered.take() {
                answer_read(&populate_loops, attempt, read, reply);
            }
        });
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
        self.fs.release(fh.0);
        reply.ok();
    }

    /// Nothing to flush; the kernel stops asking after one ENOSYS.
    fn flush(
        &self,
        _req: &Request,
        _ino: INodeNo,
        _fh: FileHandle,
        _lock_owner: LockOwner,
        reply: ReplyEmpty,
    ) {
        reply.error(Errno::ENOSYS);
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
        match self.fs.require_directory(ino.0) {
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
            match self.fs.entry(ino.0, position) {
                Ok(Some(entry)) => {
                    let (ino, kind) = (INodeNo(entry.ino), kind(entry.is_directory));
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

    fn statfs(&self, _req: &Request, _ino: INodeNo, reply: ReplyStatfs) {
        let totals = self.fs.totals();
        let blocks = totals.bytes.div_ceil(u64::from(BLOCK_SIZE));
        let name_max = u32::try_from(MAX_COMPONENT).unwrap_or(u32::MAX);
        reply.statfs(
            blocks,
            0,
            0,
            totals.inodes,
            0,
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
        match self.fs.access(ino.0, write, execute) {
            Ok(()) => reply.ok(),
            Err(error) => reply.error(code(&error)),
        }
    }

    fn getxattr(&self, req: &Request, ino: INodeNo, name: &OsStr, size: u32, reply: ReplyXattr) {
        match self.fs.attribute(ino.0, name, self.audience(req.uid())) {
            Ok(value) => answer_attribute(&value, size, reply),
            Err(error) => reply.error(code(&error)),
        }
    }

    fn listxattr(&self, _req: &Request, ino: INodeNo, size: u32, reply: ReplyXattr) {
        match self.fs.attribute_names(ino.0) {
            Ok(names) => {
                let list: String = names.iter().flat_map(|name| [*name, "\0"]).collect();
                answer_attribute(list.as_bytes(), size, reply);
            }
            Err(error) => reply.error(code(&error)),
        }
    }

    // Everything below would change something. The kernel refuses most of it by itself, since the
    // mount is read-only.

    fn setattr(
        &self,
        _req: &Request,
        _ino: INodeNo,
        _mode: Option<u32>,
        _uid: Option<u32>,
        _gid: Option<u32>,
        _size: Option<u64>,
        _atime: Option<TimeOrNow>,
        _mtime: Option<TimeOrNow>,
        _ctime: Option<SystemTime>,
        _fh: Option<FileHandle>,
        _crtime: Option<SystemTime>,
        _chgtime: Option<SystemTime>,
        _bkuptime: Option<SystemTime>,
        _flags: Option<BsdFileFlags>,
        reply: ReplyAttr,
    ) {
        reply.error(Errno::EROFS);
    }

    fn mknod(
        &self,
        _req: &Request,
        _parent: INodeNo,
        _name: &OsStr,
        _mode: u32,
        _umask: u32,
        _rdev: u32,
        reply: ReplyEntry,
    ) {
        reply.error(Errno::EROFS);
    }

    fn mkdir(
        &self,
        _req: &Request,
        _parent: INodeNo,
        _name: &OsStr,
        _mode: u32,
        _umask: u32,
        reply: ReplyEntry,
    ) {
        reply.error(Errno::EROFS);
    }

    fn unlink(&self, _req: &Request, _parent: INodeNo, _name: &OsStr, reply: ReplyEmpty) {
        reply.error(Errno::EROFS);
    }

    fn rmdir(&self, _req: &Request, _parent: INodeNo, _name: &OsStr, reply: ReplyEmpty) {
        reply.error(Errno::EROFS);
    }

    fn symlink(
        &self,
        _req: &Request,
        _parent: INodeNo,
        _link_name: &OsStr,
        _target: &std::path::Path,
        reply: ReplyEntry,
    ) {
        reply.error(Errno::EROFS);
    }

    fn rename(
        &self,
        _req: &Request,
        _parent: INodeNo,
        _name: &OsStr,
        _newparent: INodeNo,
        _newname: &OsStr,
        _flags: RenameFlags,
        reply: ReplyEmpty,
    ) {
        reply.error(Errno::EROFS);
    }

    fn link(
        &self,
        _req: &Request,
        _ino: INodeNo,
        _newparent: INodeNo,
        _newname: &OsStr,
        reply: ReplyEntry,
    ) {
        reply.error(Errno::EROFS);
    }

    fn write(
        &self,
        _req: &Request,
        _ino: INodeNo,
        _fh: FileHandle,
        _offset: u64,
        _data: &[u8],
        _write_flags: WriteFlags,
        _flags: OpenFlags,
        _lock_owner: Option<LockOwner>,
        reply: ReplyWrite,
    ) {
        reply.error(Errno::EROFS);
    }

    fn create(
        &self,
        _req: &Request,
        _parent: INodeNo,
        _name: &OsStr,
        _mode: u32,
        _umask: u32,
        _flags: i32,
        reply: ReplyCreate,
    ) {
        reply.error(Errno::EROFS);
    }

    fn setxattr(
        &self,
        _req: &Request,
        _ino: INodeNo,
        _name: &OsStr,
        _value: &[u8],
        _flags: i32,
        _position: u32,
        reply: ReplyEmpty,
    ) {
        reply.error(Errno::EROFS);
    }

    fn removexattr(&self, _req: &Request, _ino: INodeNo, _name: &OsStr, reply: ReplyEmpty) {
        reply.error(Errno::EROFS);
    }

    fn fallocate(
        &self,
        _req: &Request,
        _ino: INodeNo,
        _fh: FileHandle,
        _offset: u64,
        _length: u64,
        _mode: i32,
        reply: ReplyEmpty,
    ) {
        reply.error(Errno::EROFS);
    }

    /// Locks are kept by the kernel: it was told that we don't keep them.
    fn getlk(
        &self,
        _req: &Request,
        _ino: INodeNo,
        _fh: FileHandle,
        _lock_owner: LockOwner,
        _start: u64,
        _end: u64,
        _typ: i32,
        _pid: u32,
        reply: ReplyLock,
    ) {
        reply.error(Errno::ENOSYS);
    }
}

/// Answers a read: nothing but verified bytes, or an error.
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

/// Answers `getxattr(2)` and `listxattr(2)`: the size where none was offered, ERANGE where too little
/// was.
fn answer_attribute(value: &[u8], size: u32, reply: ReplyXattr) {
    match (u32::try_from(value.len()), size) {
        (Ok(len), 0) => reply.size(len),
        (Ok(len), room) if len <= room => reply.data(value),
        _ => reply.error(Errno::ERANGE),
    }
}

const _: () = assert!(ROOT == INodeNo::ROOT.0);
