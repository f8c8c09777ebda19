//! The unverified contestant: a FUSE file system that hands on what is in a directory.
//!
//! Guarantees: mounted, tuned and answered by the same code and the same settings as a signed
//! model, so that what differs is verification and what it needs. It is the fastest that such a
//! file system can easily be: a read is made on the session thread, into a buffer that stays in its
//! cache. With a delay it is a slow source instead: each read takes that long, any number at a
//! time. Doesn't: belong in a release. It checks nothing.

use std::cell::RefCell;
use std::collections::HashMap;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io;
use std::num::NonZeroUsize;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, UNIX_EPOCH};

use fuser::{
    Errno, FileAttr, FileHandle, FileType, Filesystem, FopenFlags, Generation, INodeNo, InitFlags,
    KernelConfig, LockOwner, OpenFlags, ReplyAttr, ReplyData, ReplyDirectory, ReplyEntry,
    ReplyOpen, ReplyXattr, Request,
};
use model_fs::kernel::{MountOptions, MountSession, Shutdown, schedule};

const FOREVER: Duration = Duration::from_secs(365 * 24 * 60 * 60);

/// Session threads of a slow source: reads that it has under way at a time.
const SLOW_THREADS: usize = 64;

/// The attribute of the root that says how many bytes were read, for the reader of a slow source.
pub(crate) const READ_BYTES: &str = "user.read-bytes";

struct Node {
    path: PathBuf,
    directory: bool,
    len: u64,
    children: Vec<(OsString, usize)>,
}

struct Passthrough {
    nodes: Vec<Node>,
    files: HashMap<usize, Arc<File>>,
    delay: Duration,
    read_bytes: AtomicU64,
}

thread_local! {
    static BUFFER: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// Serves `source` on `mountpoint` until it is unmounted.
pub(crate) fn serve(source: &Path, mountpoint: &Path, delay: Duration) -> io::Result<()> {
    let mut nodes = Vec::new();
    scan(source, &mut nodes)?;
    let mut files = HashMap::new();
    for (index, node) in nodes.iter().enumerate() {
        if !node.directory {
            files.insert(index, Arc::new(File::open(&node.path)?));
        }
    }
    let mut options = MountOptions::new(source);
    if !delay.is_zero() {
        options.threads = NonZeroUsize::new(SLOW_THREADS).expect("not zero");
        options.allow_other().map_err(io::Error::other)?;
    }
    let fs = Passthrough {
        nodes,
        files,
        delay,
        read_bytes: AtomicU64::new(0),
    };
    let shutdown = Shutdown::on_signals(|| {}, || {})?;
    let session =
        MountSession::start(fs, mountpoint, &options, shutdown).map_err(io::Error::other)?;
    session.wait().map_err(io::Error::other)?;
    Ok(())
}

/// Takes in everything beneath a directory, itself first.
fn scan(path: &Path, nodes: &mut Vec<Node>) -> io::Result<usize> {
    let metadata = path.metadata()?;
    let index = nodes.len();
    nodes.push(Node {
        path: path.to_owned(),
        directory: metadata.is_dir(),
        len: metadata.len(),
        children: Vec::new(),
    });
    if metadata.is_dir() {
        for entry in path.read_dir()? {
            let entry = entry?;
            let child = scan(&entry.path(), nodes)?;
            nodes[index].children.push((entry.file_name(), child));
        }
    }
    Ok(index)
}

impl Passthrough {
    fn node(&self, ino: INodeNo) -> Option<(usize, &Node)> {
        let index = usize::try_from(ino.0).ok()?.checked_sub(1)?;
        Some((index, self.nodes.get(index)?))
    }

    fn attributes(&self, index: usize) -> FileAttr {
        let node = &self.nodes[index];
        FileAttr {
            ino: INodeNo(index as u64 + 1),
            size: node.len,
            blocks: node.len.div_ceil(512),
            atime: UNIX_EPOCH,
            mtime: UNIX_EPOCH,
            ctime: UNIX_EPOCH,
            crtime: UNIX_EPOCH,
            kind: kind(node),
            perm: if node.directory { 0o555 } else { 0o444 },
            nlink: 1,
            uid: rustix::process::getuid().as_raw(),
            gid: rustix::process::getgid().as_raw(),
            rdev: 0,
            blksize: 4096,
            flags: 0,
        }
    }
}

fn kind(node: &Node) -> FileType {
    if node.directory {
        FileType::Directory
    } else {
        FileType::RegularFile
    }
}

impl Filesystem for Passthrough {
    fn init(&mut self, _: &Request, config: &mut KernelConfig) -> io::Result<()> {
        // What `FuseAdaptor` asks for, but for what only concerns listings.
        for wanted in [InitFlags::FUSE_ASYNC_DIO, InitFlags::FUSE_PARALLEL_DIROPS] {
            if config.capabilities().contains(wanted) {
                let _ = config.add_capabilities(wanted);
            }
        }
        let _ = config.set_max_background(64);
        Ok(())
    }

    fn lookup(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        let child = self.node(parent).and_then(|(_, node)| {
            let (_, index) = node.children.iter().find(|(child, _)| child == name)?;
            Some(*index)
        });
        match child {
            Some(index) => reply.entry(&FOREVER, &self.attributes(index), Generation(0)),
            None => reply.error(Errno::ENOENT),
        }
    }

    fn getattr(&self, _: &Request, ino: INodeNo, _: Option<FileHandle>, reply: ReplyAttr) {
        match self.node(ino) {
            Some((index, _)) => reply.attr(&FOREVER, &self.attributes(index)),
            None => reply.error(Errno::ENOENT),
        }
    }

    fn open(&self, _: &Request, ino: INodeNo, _: OpenFlags, reply: ReplyOpen) {
        // A slow source is a disk on a network: no page cache of ours helps it.
        let flags = if self.delay.is_zero() {
            FopenFlags::FOPEN_KEEP_CACHE | FopenFlags::FOPEN_NOFLUSH
        } else {
            FopenFlags::FOPEN_DIRECT_IO
        };
        reply.opened(FileHandle(ino.0), flags);
    }

    fn read(
        &self,
        _: &Request,
        ino: INodeNo,
        _: FileHandle,
        offset: u64,
        size: u32,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyData,
    ) {
        schedule::serve(size);
        let Some((index, _)) = self.node(ino) else {
            return reply.error(Errno::ENOENT);
        };
        if !self.delay.is_zero() {
            std::thread::sleep(self.delay);
        }
        BUFFER.with_borrow_mut(|buffer| {
            let size = size as usize;
            if buffer.len() < size {
                buffer.resize(size, 0);
            }
            let mut filled = 0;
            while filled < size {
                match self.files[&index].read_at(&mut buffer[filled..size], offset + filled as u64)
                {
                    Ok(0) => break,
                    Ok(read) => filled += read,
                    Err(_) => return reply.error(Errno::EIO),
                }
            }
            self.read_bytes.fetch_add(filled as u64, Ordering::Relaxed);
            reply.data(&buffer[..filled]);
        });
    }

    fn getxattr(&self, _: &Request, _: INodeNo, name: &OsStr, size: u32, reply: ReplyXattr) {
        if name != READ_BYTES {
            return reply.error(Errno::ENODATA);
        }
        let value = self.read_bytes.load(Ordering::Relaxed).to_string();
        if size == 0 {
            reply.size(u32::try_from(value.len()).unwrap_or(0));
        } else {
            reply.data(value.as_bytes());
        }
    }

    fn readdir(
        &self,
        _: &Request,
        ino: INodeNo,
        _: FileHandle,
        offset: u64,
        mut reply: ReplyDirectory,
    ) {
        let Some((_, node)) = self.node(ino) else {
            return reply.error(Errno::ENOENT);
        };
        let skip = usize::try_from(offset).unwrap_or(usize::MAX);
        for (position, (name, index)) in node.children.iter().enumerate().skip(skip) {
            let child = INodeNo(*index as u64 + 1);
            if reply.add(child, position as u64 + 1, kind(&self.nodes[*index]), name) {
                break;
            }
        }
        reply.ok();
    }
}
