//! A source of one file, `weights`, served by this process: some bytes are wrong once, and some
//! come when the test says so. The kernel keeps what it was given in memory.

use std::ffi::OsStr;
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, UNIX_EPOCH};

use fuser::{
    Errno, FileAttr, FileHandle, FileType, Filesystem, FopenFlags, Generation, INodeNo, LockOwner,
    OpenFlags, ReplyAttr, ReplyData, ReplyDirectory, ReplyEntry, ReplyOpen, Request,
};
use model_fs::kernel::{MountOptions, MountSession, Shutdown};
use tempfile::TempDir;

/// What is served.
pub(crate) struct OneFile {
    bytes: Vec<u8>,
    /// Bytes that are given wrong the next time.
    lies: Mutex<Vec<u64>>,
    /// What lies after so many bytes is given once the gate is open.
    gate: Option<(u64, Arc<Gate>)>,
}

/// What holds reads up until it is opened.
#[derive(Default)]
pub(crate) struct Gate {
    is_open: Mutex<bool>,
    opened: Condvar,
}

impl Gate {
    pub(crate) fn open(&self) {
        *self.is_open.lock().unwrap() = true;
        self.opened.notify_all();
    }

    fn pass(&self) {
        let is_open = self.is_open.lock().unwrap();
        let _open = self.opened.wait_while(is_open, |open| !*open).unwrap();
    }
}

/// The mount, until this is dropped.
pub(crate) struct Served {
    directory: TempDir,
    gate: Option<Arc<Gate>>,
    _session: MountSession,
}

impl Served {
    pub(crate) fn path(&self) -> &Path {
        self.directory.path()
    }

    /// Gives what was held up, from now on.
    pub(crate) fn open_gate(&self) {
        if let Some(gate) = &self.gate {
            gate.open();
        }
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        // Also after a failed assertion: what waits must end.
        self.open_gate();
    }
}

impl OneFile {
    pub(crate) fn of(bytes: &[u8]) -> Self {
        Self {
            bytes: bytes.to_vec(),
            lies: Mutex::default(),
            gate: None,
        }
    }

    pub(crate) fn lies(self, lies: &[u64]) -> Self {
        *self.lies.lock().unwrap() = lies.to_vec();
        self
    }

    pub(crate) fn gate(mut self, after: u64) -> Self {
        self.gate = Some((after, Arc::default()));
        self
    }

    pub(crate) fn serve(self) -> Served {
        let directory = TempDir::new().expect("mkdir");
        let options = MountOptions::new("/one file");
        let gate = self.gate.as_ref().map(|(_, gate)| Arc::clone(gate));
        let session = MountSession::start(self, directory.path(), &options, Shutdown::new());
        Served {
            directory,
            gate,
            _session: session.expect("mount the source"),
        }
    }
}

const FILE: INodeNo = INodeNo(2);
const LONG: Duration = Duration::from_secs(3600);

impl OneFile {
    fn attributes(&self, ino: INodeNo) -> FileAttr {
        let file = ino == FILE;
        FileAttr {
            ino,
            size: if file { self.bytes.len() as u64 } else { 0 },
            blocks: 1,
            atime: UNIX_EPOCH,
            mtime: UNIX_EPOCH,
            ctime: UNIX_EPOCH,
            crtime: UNIX_EPOCH,
            kind: if file {
                FileType::RegularFile
            } else {
                FileType::Directory
            },
            perm: 0o755,
            nlink: 1,
            uid: 0,
            gid: 0,
            rdev: 0,
            blksize: 4096,
            flags: 0,
        }
    }
}

impl Filesystem for OneFile {
    fn lookup(&self, _: &Request, _: INodeNo, name: &OsStr, reply: ReplyEntry) {
        if name == "weights" {
            reply.entry(&LONG, &self.attributes(FILE), Generation(0));
        } else {
            reply.error(Errno::ENOENT);
        }
    }

    fn getattr(&self, _: &Request, ino: INodeNo, _: Option<FileHandle>, reply: ReplyAttr) {
        reply.attr(&LONG, &self.attributes(ino));
    }

    fn open(&self, _: &Request, _: INodeNo, _: OpenFlags, reply: ReplyOpen) {
        reply.opened(FileHandle(0), FopenFlags::FOPEN_KEEP_CACHE);
    }

    fn read(
        &self,
        _: &Request,
        _: INodeNo,
        _: FileHandle,
        offset: u64,
        size: u32,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyData,
    ) {
        let start = usize::try_from(offset).unwrap().min(self.bytes.len());
        let end = (start + size as usize).min(self.bytes.len());
        if let Some((after, gate)) = &self.gate
            && offset >= *after
        {
            gate.pass();
        }
        let mut given = self.bytes[start..end].to_vec();
        self.lies.lock().unwrap().retain(|&lie| {
            let at = usize::try_from(lie).unwrap().checked_sub(start);
            let byte = at.and_then(|at| given.get_mut(at));
            byte.map(|byte| *byte ^= 1).is_none()
        });
        reply.data(&given);
    }

    fn readdir(
        &self,
        _: &Request,
        _: INodeNo,
        _: FileHandle,
        offset: u64,
        mut reply: ReplyDirectory,
    ) {
        if offset == 0 {
            let _full = reply.add(FILE, 1, FileType::RegularFile, "weights");
        }
        reply.ok();
    }
}
