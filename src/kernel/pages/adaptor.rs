//! The FUSE file system that EROFS reads content from: a directory with two files.
//!
//! Guarantees: [`DATA`] is the [data file](DataFile); each read of it is answered with all that was
//! asked for, or with EIO, in bounded time; [`SHORT`] answers every read with no byte, for the test
//! of the kernel. Doesn't: serve anything else, or be looked at by anything but the kernel.

use std::ffi::OsStr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime};

use fuser::{
    AccessFlags, Errno, FileAttr, FileHandle, FileType, Filesystem, FopenFlags, Generation,
    INodeNo, InitFlags, KernelConfig, LockOwner, OpenFlags, ReplyAttr, ReplyData, ReplyEmpty,
    ReplyEntry, ReplyOpen, Request,
};

use super::answers::Answers;
use super::drop_ranges::Failed;
use crate::fs::data::{DataBytes, DataFile, DataRead, Part};
use crate::fs::{BLOCK_SIZE, FsError, Inode};
use crate::kernel::pending::{Pending, Watch};
use crate::kernel::populate_loop::{Attempt, PopulateLoops};
use crate::kernel::schedule;

/// The name of the data file.
pub(super) const DATA: &str = "data";

/// The name of the file that answers with nothing.
pub(super) const SHORT: &str = "short";

const DATA_INO: INodeNo = INodeNo(2);
const SHORT_INO: INodeNo = INodeNo(3);

/// How long a read may take before it is EIO. What waits for it can't be interrupted, so there is a
/// bound; a source that is slower than this can't be read in this lane.
pub(in crate::kernel) const MOST_WAIT: Duration = Duration::from_secs(60);

/// How long the kernel may believe attributes, which never change.
const FOREVER: Duration = Duration::from_secs(365 * 24 * 60 * 60);

/// See [`fuse`](crate::kernel::fuse).
const MAX_BACKGROUND: u16 = u16::MAX;

/// The file system.
#[derive(Debug)]
pub(super) struct DataAdaptor {
    data: Arc<DataFile>,
    answers: Answers,
    failed: Failed,
    has_async_reads: Arc<AtomicBool>,
    watch: Watch,
    populate_loops: Arc<PopulateLoops>,
}

impl DataAdaptor {
    pub(super) fn new(data: Arc<DataFile>, answers: Answers, failed: Failed) -> Self {
        Self {
            data,
            answers,
            failed,
            has_async_reads: Arc::default(),
            watch: Watch::default(),
            populate_loops: Arc::default(),
        }
    }

    /// Set, once the kernel has agreed to it: reads past its page cache don't wait for one another.
    pub(super) fn has_async_reads(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.has_async_reads)
    }

    fn attributes(&self, ino: INodeNo) -> Option<FileAttr> {
        let (size, kind) = match ino {
            INodeNo::ROOT => (0, FileType::Directory),
            DATA_INO => (self.data.extents().bytes(), FileType::RegularFile),
            SHORT_INO => (BLOCK_SIZE.into(), FileType::RegularFile),
            _ => return None,
        };
        let time = SystemTime::UNIX_EPOCH;
        Some(FileAttr {
            ino,
            size,
            blocks: size.div_ceil(512),
            atime: time,
            mtime: time,
            ctime: time,
            crtime: time,
            kind,
            perm: if ino == INodeNo::ROOT { 0o500 } else { 0o400 },
            nlink: if ino == INodeNo::ROOT { 2 } else { 1 },
            uid: rustix::process::getuid().as_raw(),
            gid: rustix::process::getgid().as_raw(),
            rdev: 0,
            blksize: BLOCK_SIZE,
            flags: 0,
        })
    }
}

impl Filesystem for DataAdaptor {
    fn init(&mut self, _req: &Request, config: &mut KernelConfig) -> std::io::Result<()> {
        let wanted = InitFlags::FUSE_ASYNC_DIO;
        let has_it =
            config.capabilities().contains(wanted) && config.add_capabilities(wanted).is_ok();
        self.has_async_reads.store(has_it, Ordering::SeqCst);
        let _ = config.set_max_background(MAX_BACKGROUND);
        Ok(())
    }

    fn lookup(&self, _req: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        let ino = match name.to_str() {
            Some(DATA) if parent == INodeNo::ROOT => DATA_INO,
            Some(SHORT) if parent == INodeNo::ROOT => SHORT_INO,
            _ => return reply.error(Errno::ENOENT),
        };
        match self.attributes(ino) {
            Some(found) => reply.entry_with_ttls(&FOREVER, &FOREVER, &found, Generation(0)),
            None => reply.error(Errno::ENOENT),
        }
    }

    fn getattr(&self, _req: &Request, ino: INodeNo, _fh: Option<FileHandle>, reply: ReplyAttr) {
        match self.attributes(ino) {
            Some(found) => reply.attr(&FOREVER, &found),
            None => reply.error(Errno::ENOENT),
        }
    }

    /// Of the thread that has the directory as its root for a moment.
    fn access(&self, _req: &Request, _ino: INodeNo, _mask: AccessFlags, reply: ReplyEmpty) {
        reply.ok();
    }

    fn open(&self, _req: &Request, ino: INodeNo, _flags: OpenFlags, reply: ReplyOpen) {
        match ino {
            DATA_INO | SHORT_INO => reply.opened(
                FileHandle(0),
                // Whatever EROFS is told later, no second copy comes to be.
                FopenFlags::FOPEN_DIRECT_IO | FopenFlags::FOPEN_NOFLUSH,
            ),
            _ => reply.error(Errno::EISDIR),
        }
    }

    fn read(
        &self,
        req: &Request,
        ino: INodeNo,
        _fh: FileHandle,
        offset: u64,
        size: u32,
        _flags: OpenFlags,
        _lock_owner: Option<LockOwner>,
        reply: ReplyData,
    ) {
        if ino == SHORT_INO {
            return reply.data(&[]);
        }
        if self.answers.is_cut_off() {
            return reply.error(Errno::EIO);
        }
        schedule::serve(size);
        let answer = Answer {
            populate_loops: Arc::clone(&self.populate_loops),
            failed: self.failed.clone(),
            part: self.data.extents().at(offset),
            thread: req.pid(),
            offset,
            size,
        };
        let waits = match self.data.read(offset, size as usize) {
            DataRead::Done(read) => return answer.give(read, reply),
            DataRead::Waits(waits) => waits,
        };
        let pending = Pending::new(reply);
        let noted = self.answers.note(&pending);
        let answered = pending.answerer();
        waits.wait(move |read| {
            if let Some((reply, _unanswered)) = answered.take() {
                answer.give(read, reply);
            }
            drop(noted);
        });
        self.watch.look_after_for(req, &pending, MOST_WAIT);
    }
}

/// What a read is answered with.
struct Answer {
    populate_loops: Arc<PopulateLoops>,
    failed: Failed,
    /// What lies where it begins, and where in that.
    part: Option<(Part, u64)>,
    thread: u32,
    offset: u64,
    size: u32,
}

impl Answer {
    /// Answers: with all bytes that were asked for, or with an error.
    fn give(self, read: Result<DataBytes, FsError>, reply: ReplyData) {
        let error = match read {
            Ok(bytes) if bytes.len() == self.size as usize => return reply.data(&bytes.whole()),
            Ok(_) => FsError::Short,
            Err(error) => error,
        };
        let attempt = Attempt {
            thread: self.thread,
            // One file for all: the offset tells them apart.
            ino: Inode::new(DATA_INO.0),
            offset: self.offset,
        };
        self.populate_loops.failed(attempt);
        tracing::debug!(%error, offset = self.offset, "a read of the data file fails");
        reply.error(Errno::EIO);
        if let Some((part, start)) = self.part {
            self.failed.note(part, start..start + u64::from(self.size));
        }
    }
}
