//! Where model files come from.
//!
//! Guarantees: [`LocalDirectory`] opens only regular files, beneath its root and through no
//! symbolic link unless links are allowed, and never blocks on a FIFO or a device. Doesn't: say
//! anything about content. The adversary owns it and may change it at any moment; a length asked
//! for here is a claim.
//!
//! The reader asks a [`Source`] for a file by its signed name and then for byte ranges; it doesn't
//! know about paths. Tomorrow a source may be object storage.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, IoSliceMut};
use std::os::fd::{AsFd, AsRawFd as _, OwnedFd};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use rustix::fs::{FileType, Mode, OFlags, ResolveFlags};
use rustix::io::{Errno, ReadWriteFlags};

use crate::files::{Directory, describe};
use crate::manifest::Manifest;
use crate::name::{Escaped, FileName};

mod scan;

/// A place that holds model files.
pub trait Source: Send + Sync {
    /// Opens a file.
    ///
    /// # Errors
    /// [`SourceError`]; no content is looked at.
    fn open(&self, name: &FileName) -> Result<Arc<dyn SourceFile>, SourceError>;
}

/// An open file of a [`Source`]. Its bytes are untrusted and may change between two reads.
pub trait SourceFile: Send + Sync {
    /// Claimed length in bytes.
    ///
    /// # Errors
    /// What the source says.
    fn len(&self) -> io::Result<u64>;

    /// Whether the claimed length is zero.
    ///
    /// # Errors
    /// What the source says.
    fn is_empty(&self) -> io::Result<bool> {
        Ok(self.len()? == 0)
    }

    /// Fills `buffer` from `offset`; returns how many bytes there were, fewer only at the end of
    /// the file.
    ///
    /// # Errors
    /// What the source says.
    fn read_at(&self, buffer: &mut [u8], offset: u64, caching: Caching) -> io::Result<usize>;

    /// Fills `buffer` from `offset` if all of it can be had without waiting, which a source need not
    /// know. Says whether it did; what is in the buffer otherwise means nothing.
    fn read_now(&self, buffer: &mut [u8], offset: u64) -> bool {
        let _ = (buffer, offset);
        false
    }
}

/// Whether a source that caches should keep what it gives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Caching {
    /// It will be asked for the same bytes again soon.
    Keep,
    /// Whoever reads keeps what is needed; another copy would only take memory.
    Drop,
}

/// Why a source doesn't give a file.
#[derive(Debug, Clone, thiserror::Error)]
pub enum SourceError {
    /// There is nothing of that name.
    #[error("the file is missing")]
    Missing,
    /// There is something else than a regular file.
    #[error("it is {0}, not a regular file")]
    NotAFile(&'static str),
    /// The source can't say or read it.
    #[error("{0}")]
    Io(Arc<io::Error>),
}

impl From<Errno> for SourceError {
    fn from(errno: Errno) -> Self {
        match errno {
            Errno::NOENT | Errno::NOTDIR => Self::Missing,
            // What `openat2` says of a link on the way, and `open` of one at its end.
            Errno::LOOP | Errno::XDEV => Self::NotAFile("a symbolic link"),
            Errno::NXIO => Self::NotAFile("a socket or a device"),
            other => Self::Io(Arc::new(other.into())),
        }
    }
}

impl From<io::Error> for SourceError {
    fn from(error: io::Error) -> Self {
        match error.raw_os_error() {
            Some(raw) => Errno::from_raw_os_error(raw).into(),
            None => Self::Io(Arc::new(error)),
        }
    }
}

/// What to do about symbolic links in a model directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Links {
    /// A link stands for nothing: it is not a regular file.
    Refuse,
    /// A link stands for the file it leads to, also outside of the directory (as in the cache
    /// layout of Hugging Face hubs). Content is verified all the same.
    Follow,
}

/// A directory of this machine, or the single file in it that is the model.
#[derive(Debug)]
pub struct LocalDirectory {
    root: OwnedFd,
    path: PathBuf,
    links: Links,
    one: Option<OneFile>,
}

/// The file that a model is which is no directory.
#[derive(Debug)]
struct OneFile {
    name: FileName,
    /// Where it really lies: a directory, and the name there. `None` for a link that isn't to be
    /// followed.
    place: Option<(OwnedFd, OsString)>,
}

/// What a directory scan found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Found {
    /// A regular file, or with [`Links::Follow`] a link to one, of a claimed length in bytes.
    File {
        /// Bytes, as the source says.
        len: u64,
    },
    /// Something else than a regular file or a directory.
    Other(&'static str),
}

/// Everything found beneath a model directory.
#[derive(Debug, Default)]
pub struct Scan {
    /// Files and other things, by name, but what is in `signed`. Directories only show through what
    /// they hold.
    pub entries: BTreeMap<FileName, Found>,
    /// Names that no manifest can hold (not UTF-8, over-long), escaped. Never signed, so always
    /// extra.
    pub unnameable: Vec<Escaped>,
    /// The claimed lengths of signed files that are there, by index in the manifest that was scanned
    /// for; [`ABSENT`] for the others. A million names need not be held twice.
    pub(super) signed: Box<[u64]>,
}

/// In [`Scan::signed`]: no regular file of that name. No file is that long.
pub(super) const ABSENT: u64 = u64::MAX;

impl Scan {
    /// The claimed length of a file in bytes; `None` if there is no such file. Doesn't know the files
    /// of a manifest that was scanned for.
    pub fn len_of(&self, name: &FileName) -> Option<u64> {
        match self.entries.get(name)? {
            Found::File { len } => Some(*len),
            Found::Other(_) => None,
        }
    }

    /// The claimed length of file `index` of the manifest that was scanned for, which is called
    /// `name`; `None` if there is no such file.
    pub fn len_of_signed(&self, index: usize, name: &FileName) -> Option<u64> {
        match self.signed.get(index) {
            Some(&ABSENT) | None => self.len_of(name),
            Some(&len) => Some(len),
        }
    }
}

/// How often an open is tried that others get in the way of.
const MAX_OPEN_ATTEMPTS: u32 = 64;

impl LocalDirectory {
    /// Opens a model directory.
    ///
    /// # Errors
    /// When `path` isn't a directory that can be opened.
    pub fn open(path: &Path, links: Links) -> io::Result<Self> {
        let root = rustix::fs::open(
            path,
            OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC,
            Mode::empty(),
        )?;
        Ok(Self {
            root,
            path: path.to_owned(),
            links,
            one: None,
        })
    }

    /// The same of a directory that is open.
    ///
    /// # Errors
    /// When there are no descriptors left.
    pub fn of(directory: &Directory, links: Links) -> io::Result<Self> {
        Ok(Self {
            root: directory.as_fd().try_clone_to_owned()?,
            path: directory.path().to_owned(),
            links,
            one: None,
        })
    }

    /// Opens `name` where it was found to lie, as `file` of `directory`, and through no link from now on;
    /// `None` refuses it as a link. Every other name is opened as before.
    ///
    /// # Errors
    /// When there are no descriptors left.
    pub fn with_one_file(
        mut self,
        name: &FileName,
        place: Option<(&Directory, &OsStr)>,
    ) -> io::Result<Self> {
        let place = match place {
            Some((directory, file)) => {
                Some((directory.as_fd().try_clone_to_owned()?, file.to_owned()))
            }
            None => None,
        };
        self.one = Some(OneFile {
            name: name.clone(),
            place,
        });
        Ok(self)
    }

    /// The path it was opened by, for messages.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// How links are treated.
    pub fn links(&self) -> Links {
        self.links
    }

    /// Lists everything beneath the directory but what `skip` says to leave out (with all that is
    /// beneath it). Reads no content.
    ///
    /// # Errors
    /// A directory that can't be listed, or a cycle of links, with the path in the message.
    pub fn scan(&self, skip: impl Fn(&FileName) -> bool + Sync) -> io::Result<Scan> {
        scan::scan(self, &[], &skip)
    }

    /// The same, held against the files of a manifest: what is there under their names is found
    /// without asking `skip`.
    ///
    /// # Errors
    /// As [`scan`](Self::scan).
    pub fn scan_for(
        &self,
        manifest: &Manifest,
        skip: impl Fn(&FileName) -> bool + Sync,
    ) -> io::Result<Scan> {
        scan::scan(self, manifest.files(), &skip)
    }

    /// A scan that looks at one name only: the model is that file.
    ///
    /// # Errors
    /// When the file system can't say what is there.
    pub fn scan_one(&self, name: &FileName) -> io::Result<Scan> {
        let mut scan = Scan::default();
        let found = match self.open(name) {
            Ok(file) => Found::File { len: file.len()? },
            Err(SourceError::Missing) => return Ok(scan),
            Err(SourceError::NotAFile(what)) => Found::Other(what),
            Err(SourceError::Io(error)) => {
                return Err(io::Error::new(error.kind(), format!("{name}: {error}")));
            }
        };
        scan.entries.insert(name.clone(), found);
        Ok(scan)
    }

    fn open_file(&self, name: &FileName) -> Result<OwnedFd, Errno> {
        // Without O_NONBLOCK an open waits for the other end of a FIFO.
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
        if let Some(one) = self.one.as_ref().filter(|one| one.name == *name) {
            let (directory, file) = one.place.as_ref().ok_or(Errno::LOOP)?;
            let flags = flags | OFlags::NOFOLLOW;
            return rustix::fs::openat(directory, file, flags, Mode::empty());
        }
        let (flags, resolve) = match self.links {
            Links::Refuse => (
                flags | OFlags::NOFOLLOW,
                ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS,
            ),
            Links::Follow => (flags, ResolveFlags::NO_MAGICLINKS),
        };
        let mut attempts = 0;
        loop {
            let path = name.as_str();
            match rustix::fs::openat2(&self.root, path, flags, Mode::empty(), resolve) {
                // A rename somewhere on the way; the kernel asks to try again (openat2(2)). Whoever
                // keeps renaming, or holds a lease on the file, mustn't keep us here.
                Err(Errno::AGAIN | Errno::INTR) if attempts < MAX_OPEN_ATTEMPTS => attempts += 1,
                // Kernels before 5.6, and containers whose seccomp filter doesn't know the call.
                Err(Errno::NOSYS | Errno::PERM) => return self.open_file_by_component(name, flags),
                other => return other,
            }
        }
    }

    /// [`open_file`](Self::open_file) without `openat2`: one component after the other.
    fn open_file_by_component(&self, name: &FileName, flags: OFlags) -> Result<OwnedFd, Errno> {
        if self.links == Links::Follow {
            return rustix::fs::openat(&self.root, name.as_str(), flags, Mode::empty());
        }
        let path_only = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        let mut directory = None::<OwnedFd>;
        let mut components = name.components().peekable();
        while let Some(component) = components.next() {
            let at = directory.as_ref().map_or(self.root.as_fd(), AsFd::as_fd);
            if components.peek().is_none() {
                return rustix::fs::openat(at, component, flags, Mode::empty());
            }
            directory = Some(rustix::fs::openat(at, component, path_only, Mode::empty())?);
        }
        Err(Errno::NOENT)
    }
}

impl Source for LocalDirectory {
    fn open(&self, name: &FileName) -> Result<Arc<dyn SourceFile>, SourceError> {
        let fd = self.open_file(name)?;
        let stat = rustix::fs::fstat(&fd)?;
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::RegularFile => Ok(Arc::new(LocalFile::new(fd.into()))),
            other => Err(SourceError::NotAFile(describe(other))),
        }
    }
}

/// A regular file of this machine.
#[derive(Debug)]
pub struct LocalFile {
    file: File,
    /// The same file opened to be read past the page cache, where that can be done.
    direct: OnceLock<Option<File>>,
    no_direct: AtomicBool,
    /// The kernel, or the file system that holds the file, has no uncached reads.
    no_uncached: AtomicBool,
    /// Reads that don't wait have failed because the file was not in memory, so that they tell whether it
    /// is; or there are none.
    tells_memory: AtomicBool,
    no_nowait: AtomicBool,
}

/// `RWF_DONTCACHE` (preadv2(2), Linux 6.14): pages that this read brings into the page cache leave it
/// when the read is done. Pages that were there already, for somebody else, stay.
const DONTCACHE: ReadWriteFlags = ReadWriteFlags::from_bits_retain(0x80);

/// What offsets, lengths and places in memory have to be multiples of to read past the page cache.
/// Devices with larger blocks exist; they refuse.
const DIRECT_ALIGNMENT: usize = 4096;

impl LocalFile {
    /// Takes over an open regular file.
    pub fn new(file: File) -> Self {
        Self {
            file,
            direct: OnceLock::new(),
            no_direct: AtomicBool::new(false),
            no_uncached: AtomicBool::new(false),
            tells_memory: AtomicBool::new(false),
            no_nowait: AtomicBool::new(false),
        }
    }

    /// Reads past the page cache (`O_DIRECT`, open(2)): the device writes into `buffer` itself, and
    /// nothing is left behind. `None` where that can't be done, here or for this file, or where the page
    /// cache may hold the bytes without our knowing: a network file system's does for good reason.
    fn read_direct(&self, buffer: &mut [u8], offset: u64) -> Option<io::Result<usize>> {
        let len = buffer.len() - buffer.len() % DIRECT_ALIGNMENT;
        if len == 0
            || !buffer.as_ptr().addr().is_multiple_of(DIRECT_ALIGNMENT)
            || !offset.is_multiple_of(DIRECT_ALIGNMENT as u64)
            || self.no_direct.load(Ordering::Relaxed)
            || !self.tells_memory.load(Ordering::Relaxed)
        {
            return None;
        }
        let direct = self.direct.get_or_init(|| {
            // Not by its name, which may be another file's by now.
            let path = format!("/proc/self/fd/{}", self.file.as_raw_fd());
            let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::DIRECT;
            let opened = rustix::fs::open(path, flags, Mode::empty());
            opened.ok().map(File::from)
        });
        match direct.as_ref()?.read_at(&mut buffer[..len], offset) {
            // A file system that wants larger blocks, or doesn't do it after all.
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::InvalidInput | io::ErrorKind::Unsupported
                ) =>
            {
                self.no_direct.store(true, Ordering::Relaxed);
                None
            }
            result => Some(result),
        }
    }

    fn read_some(&self, buffer: &mut [u8], offset: u64, caching: Caching) -> io::Result<usize> {
        if caching == Caching::Drop
            && let Some(result) = self.read_direct(buffer, offset)
        {
            return result;
        }
        if caching == Caching::Drop && !self.no_uncached.load(Ordering::Relaxed) {
            let mut buffers = [IoSliceMut::new(buffer)];
            match rustix::io::preadv2(&self.file, &mut buffers, offset, DONTCACHE) {
                Err(Errno::OPNOTSUPP | Errno::INVAL | Errno::NOSYS) => {
                    self.no_uncached.store(true, Ordering::Relaxed);
                }
                other => return Ok(other?),
            }
        }
        self.file.read_at(buffer, offset)
    }
}

impl SourceFile for LocalFile {
    fn len(&self) -> io::Result<u64> {
        Ok(self.file.metadata()?.len())
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64, caching: Caching) -> io::Result<usize> {
        let mut filled = 0;
        while filled < buffer.len() {
            match self.read_some(&mut buffer[filled..], offset + filled as u64, caching) {
                Ok(0) => break,
                Ok(read) => filled += read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(filled)
    }

    fn read_now(&self, buffer: &mut [u8], offset: u64) -> bool {
        if self.no_nowait.load(Ordering::Relaxed) {
            return false;
        }
        let len = buffer.len();
        let mut buffers = [IoSliceMut::new(buffer)];
        // preadv2(2): only what is in the page cache. It brings nothing in, so nothing is left there.
        match rustix::io::preadv2(&self.file, &mut buffers, offset, ReadWriteFlags::NOWAIT) {
            Ok(read) => read == len,
            Err(Errno::AGAIN) => {
                self.tells_memory.store(true, Ordering::Relaxed);
                false
            }
            Err(Errno::OPNOTSUPP | Errno::INVAL | Errno::NOSYS) => {
                self.no_nowait.store(true, Ordering::Relaxed);
                false
            }
            Err(_) => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    fn name(path: &str) -> FileName {
        FileName::new(path).unwrap()
    }

    fn tree() -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(dir.path().join("sub/deep")).unwrap();
        std::fs::write(dir.path().join("a.bin"), b"aaaa").unwrap();
        std::fs::write(dir.path().join("sub/deep/b.bin"), b"bb").unwrap();
        dir
    }

    fn read_all(file: &dyn SourceFile) -> Vec<u8> {
        let mut bytes = vec![0; 100];
        let read = file.read_at(&mut bytes, 0, Caching::Drop).unwrap();
        bytes.truncate(read);
        bytes
    }

    #[test]
    fn opens_regular_files_beneath_the_root() {
        let dir = tree();
        let source = LocalDirectory::open(dir.path(), Links::Refuse).unwrap();
        let file = source.open(&name("sub/deep/b.bin")).unwrap();
        assert_eq!(read_all(&*file), b"bb");
        assert_eq!(file.len().unwrap(), 2);
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW;
        let found = source.open_file_by_component(&name("sub/deep/b.bin"), flags);
        assert_eq!(read_all(&LocalFile::new(found.unwrap().into())), b"bb");
    }

    #[test]
    fn reads_the_same_past_the_page_cache_and_through_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("weights.bin");
        let mut bytes = vec![0; 300_123];
        blake3::Hasher::new().finalize_xof().fill(&mut bytes);
        std::fs::write(&path, &bytes).unwrap();
        let local = LocalFile::new(File::open(&path).unwrap());
        local.tells_memory.store(true, Ordering::Relaxed);
        // Buffers of the pool begin where pages do.
        let pool = super::super::buffer::BufferPool::new(0);
        for offset in [
            0, 1, 4096, 65_536, 262_144, 299_008, 300_122, 300_123, 304_000,
        ] {
            for len in [1, 4095, 4096, 65_536, 100_000, 1 << 20] {
                let expected = bytes.get(offset..).unwrap_or_default();
                let expected = &expected[..expected.len().min(len)];
                for caching in [Caching::Drop, Caching::Keep] {
                    let mut buffer = pool.take(len);
                    let read = local.read_at(buffer.as_mut_slice(), offset as u64, caching);
                    let found = &buffer.as_slice()[..read.unwrap()];
                    assert!(found == expected, "{len} bytes at {offset}, {caching:?}");
                }
            }
        }
    }

    #[test]
    fn refuses_everything_else_without_waiting() {
        let dir = tree();
        let path = |name: &str| dir.path().join(name);
        symlink("a.bin", path("link")).unwrap();
        symlink("sub", path("linked")).unwrap();
        symlink("/etc/passwd", path("outside")).unwrap();
        let fifo = std::process::Command::new("mkfifo")
            .arg(path("fifo"))
            .status();
        assert!(fifo.unwrap().success());
        let _socket = std::os::unix::net::UnixListener::bind(path("socket")).unwrap();

        let source = LocalDirectory::open(dir.path(), Links::Refuse).unwrap();
        for (file, reason) in [
            ("link", "a symbolic link"),
            ("outside", "a symbolic link"),
            ("linked/deep/b.bin", "a symbolic link"),
            ("fifo", "a FIFO"),
            ("socket", "a socket"),
            ("sub", "a directory"),
        ] {
            match source.open(&name(file)) {
                Err(SourceError::NotAFile(what)) => {
                    assert!(what.starts_with(reason), "{file}: {what}");
                }
                other => panic!("{file}: {:?}", other.map(|_| "opened")),
            }
        }
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW;
        for file in ["linked/deep/b.bin", "link"] {
            assert!(source.open_file_by_component(&name(file), flags).is_err());
        }
        assert!(matches!(
            source.open(&name("nothing")),
            Err(SourceError::Missing)
        ));
        assert!(matches!(
            source.open(&name("a.bin/x")),
            Err(SourceError::Missing)
        ));
    }

    #[test]
    fn follows_links_where_allowed() {
        let dir = tree();
        let elsewhere = tempfile::tempdir().unwrap();
        std::fs::write(elsewhere.path().join("blob"), b"blob").unwrap();
        symlink(elsewhere.path().join("blob"), dir.path().join("model")).unwrap();
        let source = LocalDirectory::open(dir.path(), Links::Follow).unwrap();
        assert_eq!(read_all(&*source.open(&name("model")).unwrap()), b"blob");
        let scan = source.scan(|_| false).unwrap();
        assert_eq!(scan.entries[&name("model")], Found::File { len: 4 });
    }

    #[test]
    fn a_scan_finds_what_is_there_and_skips_what_it_is_told() {
        let dir = tree();
        symlink("a.bin", dir.path().join("link")).unwrap();
        let hidden =
            <std::ffi::OsStr as std::os::unix::ffi::OsStrExt>::from_bytes(b"not-utf8-\xff");
        std::fs::write(dir.path().join(hidden), b"").unwrap();
        let source = LocalDirectory::open(dir.path(), Links::Refuse).unwrap();
        let scan = source.scan(|name| name.as_str() == "sub").unwrap();
        let names: Vec<_> = scan.entries.keys().map(FileName::as_str).collect();
        assert_eq!(names, ["a.bin", "link"]);
        assert_eq!(scan.entries[&name("link")], Found::Other("a symbolic link"));
        assert_eq!(scan.unnameable.len(), 1);
        let scan = source.scan(|_| false).unwrap();
        assert_eq!(
            scan.entries[&name("sub/deep/b.bin")],
            Found::File { len: 2 }
        );
    }

    #[test]
    fn a_cycle_of_links_is_an_error() {
        let dir = tree();
        symlink("..", dir.path().join("sub/up")).unwrap();
        let source = LocalDirectory::open(dir.path(), Links::Follow).unwrap();
        let error = source.scan(|_| false).unwrap_err().to_string();
        assert!(error.contains("sub/up"), "{error}");
    }
}
