//! A file system of which a fault in one request ends nothing else.
//!
//! Guarantees: a request in which the file system panics is answered EIO (`fuser` does so for an
//! answer that is dropped) and logged, and its thread goes on; each request is counted until it is
//! answered. Doesn't: see that a file system answers from a thread of its own, unless that keeps
//! the [`Unanswered`].

use std::cell::Cell;
use std::ffi::OsStr;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::SystemTime;

use fuser::{
    AccessFlags, BsdFileFlags, CopyFileRangeFlags, FileHandle, Filesystem, INodeNo, IoctlFlags,
    KernelConfig, LockOwner, OpenFlags, PollEvents, PollFlags, PollNotifier, RenameFlags,
    ReplyAttr, ReplyBmap, ReplyCreate, ReplyData, ReplyDirectory, ReplyDirectoryPlus, ReplyEmpty,
    ReplyEntry, ReplyIoctl, ReplyLock, ReplyLseek, ReplyOpen, ReplyPoll, ReplyStatfs, ReplyWrite,
    ReplyXattr, Request, TimeOrNow, WriteFlags,
};

/// How many requests wait for their answers, and how many have had them.
#[derive(Debug, Clone, Default)]
pub(super) struct Requests(Arc<Counts>);

#[derive(Debug, Default)]
struct Counts {
    waiting: AtomicU64,
    answered: AtomicU64,
}

impl Requests {
    pub(super) fn waiting(&self) -> u64 {
        self.0.waiting.load(Ordering::Relaxed)
    }

    pub(super) fn answered(&self) -> u64 {
        self.0.answered.load(Ordering::Relaxed)
    }
}

/// A request that waits for its answer, for as long as this is there.
#[derive(Debug)]
pub(super) struct Unanswered(Requests);

impl Unanswered {
    fn new(requests: &Requests) -> Self {
        requests.0.waiting.fetch_add(1, Ordering::Relaxed);
        Self(requests.clone())
    }

    /// The request that the calling thread is serving, to be kept by what answers it later, from
    /// another thread. `None` if it was asked for already, or the thread serves none. A request
    /// that isn't asked for counts as answered when the file system returns.
    pub(super) fn of_this_request() -> Option<Self> {
        CURRENT.take()
    }
}

impl Drop for Unanswered {
    fn drop(&mut self) {
        let Counts { waiting, answered } = &*self.0.0;
        answered.fetch_add(1, Ordering::Relaxed);
        waiting.fetch_sub(1, Ordering::Relaxed);
    }
}

thread_local! {
    /// The request that this thread is serving.
    static CURRENT: Cell<Option<Unanswered>> = const { Cell::new(None) };
}

/// A file system, guarded.
#[derive(Debug)]
pub(super) struct Guarded<F> {
    inner: F,
    requests: Requests,
}

impl<F> Guarded<F> {
    pub(super) fn new(inner: F) -> Self {
        Self {
            inner,
            requests: Requests::default(),
        }
    }

    pub(super) fn requests(&self) -> Requests {
        self.requests.clone()
    }

    fn serve(&self, request: &'static str, serve: impl FnOnce(&F)) {
        CURRENT.set(Some(Unanswered::new(&self.requests)));
        // Nothing of `inner` is changed but through its own locks, which say so if they are
        // poisoned.
        if catch_unwind(AssertUnwindSafe(|| serve(&self.inner))).is_err() {
            tracing::error!(
                request,
                "a request failed and gets an I/O error: this is a bug in model-fs"
            );
        }
        drop(CURRENT.take());
    }
}

/// Hands requests on.
macro_rules! hand_on {
    ($($name:ident($($argument:ident: $type:ty),*);)*) => {
        $(
            fn $name(&self, request: &Request, $($argument: $type),*) {
                self.serve(stringify!($name), |inner| inner.$name(request, $($argument),*));
            }
        )*
    };
}

impl<F: Filesystem> Filesystem for Guarded<F> {
    fn init(&mut self, request: &Request, config: &mut KernelConfig) -> io::Result<()> {
        self.inner.init(request, config)
    }

    fn destroy(&mut self) {
        self.inner.destroy();
    }

    // `batch_forget` can't be written here (its type is private to fuser); it calls `forget`.
    hand_on! {
        lookup(parent: INodeNo, name: &OsStr, reply: ReplyEntry);
        forget(ino: INodeNo, lookups: u64);
        getattr(ino: INodeNo, fh: Option<FileHandle>, reply: ReplyAttr);
        setattr(ino: INodeNo, mode: Option<u32>, uid: Option<u32>, gid: Option<u32>,
            size: Option<u64>, atime: Option<TimeOrNow>, mtime: Option<TimeOrNow>,
            ctime: Option<SystemTime>, fh: Option<FileHandle>, crtime: Option<SystemTime>,
            chgtime: Option<SystemTime>, bkuptime: Option<SystemTime>,
            flags: Option<BsdFileFlags>, reply: ReplyAttr);
        readlink(ino: INodeNo, reply: ReplyData);
        mknod(parent: INodeNo, name: &OsStr, mode: u32, umask: u32, rdev: u32, reply: ReplyEntry);
        mkdir(parent: INodeNo, name: &OsStr, mode: u32, umask: u32, reply: ReplyEntry);
        unlink(parent: INodeNo, name: &OsStr, reply: ReplyEmpty);
        rmdir(parent: INodeNo, name: &OsStr, reply: ReplyEmpty);
        symlink(parent: INodeNo, name: &OsStr, target: &Path, reply: ReplyEntry);
        rename(parent: INodeNo, name: &OsStr, new_parent: INodeNo, new_name: &OsStr,
            flags: RenameFlags, reply: ReplyEmpty);
        link(ino: INodeNo, new_parent: INodeNo, new_name: &OsStr, reply: ReplyEntry);
        open(ino: INodeNo, flags: OpenFlags, reply: ReplyOpen);
        read(ino: INodeNo, fh: FileHandle, offset: u64, size: u32, flags: OpenFlags,
            lock_owner: Option<LockOwner>, reply: ReplyData);
        write(ino: INodeNo, fh: FileHandle, offset: u64, data: &[u8], write_flags: WriteFlags,
            flags: OpenFlags, lock_owner: Option<LockOwner>, reply: ReplyWrite);
        flush(ino: INodeNo, fh: FileHandle, lock_owner: LockOwner, reply: ReplyEmpty);
        release(ino: INodeNo, fh: FileHandle, flags: OpenFlags, lock_owner: Option<LockOwner>,
            flush: bool, reply: ReplyEmpty);
        fsync(ino: INodeNo, fh: FileHandle, datasync: bool, reply: ReplyEmpty);
        opendir(ino: INodeNo, flags: OpenFlags, reply: ReplyOpen);
        readdir(ino: INodeNo, fh: FileHandle, offset: u64, reply: ReplyDirectory);
        readdirplus(ino: INodeNo, fh: FileHandle, offset: u64, reply: ReplyDirectoryPlus);
        releasedir(ino: INodeNo, fh: FileHandle, flags: OpenFlags, reply: ReplyEmpty);
        fsyncdir(ino: INodeNo, fh: FileHandle, datasync: bool, reply: ReplyEmpty);
        statfs(ino: INodeNo, reply: ReplyStatfs);
        setxattr(ino: INodeNo, name: &OsStr, value: &[u8], flags: i32, position: u32,
            reply: ReplyEmpty);
        getxattr(ino: INodeNo, name: &OsStr, size: u32, reply: ReplyXattr);
        listxattr(ino: INodeNo, size: u32, reply: ReplyXattr);
        removexattr(ino: INodeNo, name: &OsStr, reply: ReplyEmpty);
        access(ino: INodeNo, mask: AccessFlags, reply: ReplyEmpty);
        create(parent: INodeNo, name: &OsStr, mode: u32, umask: u32, flags: i32,
            reply: ReplyCreate);
        getlk(ino: INodeNo, fh: FileHandle, lock_owner: LockOwner, start: u64, end: u64, typ: i32,
            pid: u32, reply: ReplyLock);
        setlk(ino: INodeNo, fh: FileHandle, lock_owner: LockOwner, start: u64, end: u64, typ: i32,
            pid: u32, sleep: bool, reply: ReplyEmpty);
        bmap(ino: INodeNo, block_size: u32, index: u64, reply: ReplyBmap);
        ioctl(ino: INodeNo, fh: FileHandle, flags: IoctlFlags, command: u32, data: &[u8],
            out_size: u32, reply: ReplyIoctl);
        poll(ino: INodeNo, fh: FileHandle, notifier: PollNotifier, events: PollEvents,
            flags: PollFlags, reply: ReplyPoll);
        fallocate(ino: INodeNo, fh: FileHandle, offset: u64, length: u64, mode: i32,
            reply: ReplyEmpty);
        lseek(ino: INodeNo, fh: FileHandle, offset: i64, whence: i32, reply: ReplyLseek);
        copy_file_range(ino_in: INodeNo, fh_in: FileHandle, offset_in: u64, ino_out: INodeNo,
            fh_out: FileHandle, offset_out: u64, length: u64, flags: CopyFileRangeFlags,
            reply: ReplyWrite);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_waits_until_what_answers_it_is_gone() {
        let guarded = Guarded::new(());
        let requests = guarded.requests();
        let seen = || (requests.waiting(), requests.answered());
        guarded.serve("at once", |()| assert_eq!(seen(), (1, 0)));
        assert_eq!(seen(), (0, 1));
        let mut later = None;
        guarded.serve("later", |()| later = Unanswered::of_this_request());
        assert_eq!(seen(), (1, 1));
        guarded.serve("a bug", |()| panic!("as if a request had a bug"));
        assert_eq!(seen(), (1, 2));
        std::thread::spawn(move || drop(later)).join().unwrap();
        assert_eq!(seen(), (0, 3));
        assert!(Unanswered::of_this_request().is_none());
    }
}
