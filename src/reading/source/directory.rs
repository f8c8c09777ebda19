//! A model directory of this machine.
//!
//! Guarantees: whatever has a signed name is looked at (`O_PATH`) before it is opened for reading,
//! and only regular files on storage are opened, none of them in a mount that this process serves.
//! So nothing is set off that opening or reading a device or a file of `/proc` would, and this
//! process never waits for an answer of its own.

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::fd::{AsFd as _, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::{FileType, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;

use super::boundary::{Boundary, Place};
use super::walk::Walk;
use super::{Found, Links, LocalFile, Scan, Source, SourceError, SourceFile, scan};
use crate::files::{Directory, describe, look_at_entry, reopen};
use crate::manifest::Manifest;
use crate::name::FileName;

/// A directory of this machine, or the single file in it that is the model.
#[derive(Debug)]
pub struct LocalDirectory {
    root: OwnedFd,
    path: PathBuf,
    links: Links,
    boundary: Boundary,
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
            boundary: Boundary::default(),
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
            boundary: Boundary::default(),
            one: None,
        })
    }

    /// Opens `name` where it was found to lie, as `file` of `directory`, and through no link from
    /// now on; `None` refuses it as a link. Every other name is opened as before.
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
    /// A directory that can't be listed, a cycle of links, or more than can be signed, with the
    /// path in the message.
    pub fn scan(&self, skip: impl Fn(&FileName) -> bool + Sync) -> io::Result<Scan> {
        scan::scan(&self.to_scan(), &[], &scan::Bounds::to_sign(), &skip)
    }

    /// The same, held against the files of a manifest: what is there under their names is found
    /// without asking `skip`.
    ///
    /// # Errors
    /// As [`scan`](Self::scan), but the bound is what the manifest needs and an allowance for what
    /// isn't signed.
    pub fn scan_for(
        &self,
        manifest: &Manifest,
        skip: impl Fn(&FileName) -> bool + Sync,
    ) -> io::Result<Scan> {
        let files = manifest.files();
        scan::scan(&self.to_scan(), files, &scan::Bounds::of(files), &skip)
    }

    /// Where a scan begins.
    pub(super) fn to_scan(&self) -> scan::Root<'_> {
        scan::Root {
            directory: &self.root,
            links: self.links,
            boundary: &self.boundary,
        }
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

    /// What has this name, by `O_PATH`.
    fn find(&self, name: &FileName) -> Result<(OwnedFd, Place), SourceError> {
        if let Some((directory, file)) = self.place_of_one(name)? {
            let fd = look_at_entry(directory, file)?;
            let place = self.boundary.look(&fd)?;
            return Ok((fd, place));
        }
        let flags = OFlags::PATH | OFlags::CLOEXEC;
        let (flags, resolve) = match self.links {
            Links::Refuse => (
                flags | OFlags::NOFOLLOW,
                ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS,
            ),
            Links::Follow => (flags, ResolveFlags::NO_MAGICLINKS),
        };
        // On one mount the kernel finds the way, and it can't be ours.
        let resolve = resolve | ResolveFlags::NO_XDEV;
        let mut attempts = 0;
        loop {
            let path = name.as_str();
            match rustix::fs::openat2(&self.root, path, flags, Mode::empty(), resolve) {
                Ok(fd) => {
                    let place = self.boundary.look(&fd)?;
                    return Ok((fd, place));
                }
                // A rename somewhere on the way; the kernel asks to try again (openat2(2)). An
                // adversary who keeps renaming mustn't keep us here.
                Err(Errno::AGAIN | Errno::INTR) if attempts < MAX_OPEN_ATTEMPTS => attempts += 1,
                // Another mount; kernels before 5.6, and containers whose seccomp filter doesn't
                // know the call.
                Err(Errno::XDEV | Errno::NOSYS | Errno::PERM) => return self.walk(name),
                Err(errno) => return Err(errno.into()),
            }
        }
    }

    /// Where the one file lies, if the model is that file.
    fn place_of_one(&self, name: &FileName) -> Result<Option<(&OwnedFd, &OsStr)>, Errno> {
        match self.one.as_ref().filter(|one| one.name == *name) {
            None => Ok(None),
            Some(one) => match &one.place {
                Some((directory, file)) => Ok(Some((directory, file))),
                None => Err(Errno::LOOP),
            },
        }
    }

    fn walk(&self, name: &FileName) -> Result<(OwnedFd, Place), SourceError> {
        let mut walk = Walk::new(&self.boundary, self.links);
        let reached = walk.resolve(self.root.as_fd(), name.as_str().as_bytes())?;
        Ok((reached.fd, reached.place))
    }

    /// Opens for reading what was found and is a regular file.
    fn open_found(
        &self,
        name: &FileName,
        fd: &OwnedFd,
        place: Place,
    ) -> Result<OwnedFd, SourceError> {
        // A file is opened without waiting for the holder of a lease on it (fcntl(2)).
        let flags = OFlags::RDONLY | OFlags::NONBLOCK;
        let mut attempts = 0;
        let opened = loop {
            match reopen(fd, flags) {
                Err(Errno::AGAIN | Errno::INTR) if attempts < MAX_OPEN_ATTEMPTS => attempts += 1,
                // A file system may say so of the file, too.
                Err(Errno::NOENT | Errno::NOTDIR) if rustix::fs::stat("/proc/self/fd").is_err() => {
                    break self.open_without_proc(name, flags, place)?;
                }
                opened => break opened?.into(),
            }
        };
        if self.boundary.look(&opened)? == place {
            Ok(opened)
        } else {
            Err(io::Error::other("it was replaced while it was opened").into())
        }
    }

    /// Opens a file where there is no `/proc`, as in the smallest containers: by its name, once it
    /// was seen that this is no name to be afraid of.
    fn open_without_proc(
        &self,
        name: &FileName,
        flags: OFlags,
        place: Place,
    ) -> Result<OwnedFd, SourceError> {
        let flags = flags | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NOCTTY;
        if let Some((directory, file)) = self.place_of_one(name)? {
            return Ok(rustix::fs::openat(directory, file, flags, Mode::empty())?);
        }
        let mut walk = Walk::new(&self.boundary, self.links);
        let reached = walk.resolve(self.root.as_fd(), name.as_str().as_bytes())?;
        if reached.place != place {
            return Err(io::Error::other("it was replaced while it was opened").into());
        }
        let at = reached.parent.as_ref().unwrap_or(&self.root);
        Ok(rustix::fs::openat(at, &reached.name, flags, Mode::empty())?)
    }
}

impl Source for LocalDirectory {
    fn open(&self, name: &FileName) -> Result<Arc<dyn SourceFile>, SourceError> {
        let (fd, place) = self.find(name)?;
        match place.kind {
            FileType::RegularFile => {
                let opened = self.open_found(name, &fd, place)?;
                Ok(Arc::new(LocalFile::new(opened.into())))
            }
            other => Err(SourceError::NotAFile(describe(other))),
        }
    }

    /// Until it is known where the mount is, files whose way crosses a mountpoint are not opened; a
    /// call that asks for one waits, for ten seconds at most.
    fn expect_mount(&self) {
        self.boundary.expect_mount();
    }

    /// This holds for links, other mounts of the same file system, and directories that were moved.
    fn never_enter(&self, device: (u32, u32)) {
        self.boundary.never_enter(device);
    }

    fn mount_failed(&self) {
        self.boundary.mount_failed();
    }
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::os::unix::fs::{MetadataExt as _, symlink};
    use std::sync::mpsc::{TryRecvError, channel};

    use super::super::Caching;
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
        assert!(source.walk(&name("sub/deep/b.bin")).is_ok());
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
        for file in ["linked/deep/b.bin", "link"] {
            match source.walk(&name(file)) {
                Err(SourceError::NotAFile(what)) => assert_eq!(what, "a symbolic link"),
                other => panic!("{file}: {other:?}"),
            }
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

    fn refused(source: &LocalDirectory, file: &str) -> &'static str {
        match source.open(&name(file)) {
            Err(SourceError::NotAFile(what)) => what,
            other => panic!("{file}: {:?}", other.map(|_| "opened")),
        }
    }

    #[test]
    fn a_walk_by_hand_leads_where_the_kernel_goes() {
        let dir = tree();
        let path = |name: &str| dir.path().join(name);
        let absolute = path("sub/deep");
        for (link, target) in [
            ("one", "a.bin"),
            ("two", "./one"),
            ("three", "sub/../two"),
            ("abs", absolute.to_str().unwrap()),
            ("sub/up", ".."),
            ("sub/chain", "up/sub/up//three"),
            ("slash", "a.bin/"),
            ("dot", "."),
            ("root", "/"),
            ("top", "../../../../../../../../../.."),
            ("loop", "pool"),
            ("pool", "loop"),
            ("nowhere", "none/../a.bin"),
            ("through", "a.bin/../a.bin"),
        ] {
            symlink(target, path(link)).unwrap();
        }
        let source = LocalDirectory::open(dir.path(), Links::Follow).unwrap();
        for file in [
            "a.bin",
            "one",
            "two",
            "three",
            "abs/b.bin",
            "sub/chain",
            "sub/up/sub/up/one",
            "slash",
            "dot",
            "dot/dot/one",
            "root",
            "root/dev",
            "top",
            "top/dev",
            "loop",
            "nowhere",
            "through",
            "sub",
            "none",
            "a.bin/x",
            "sub/deep/b.bin",
        ] {
            let found = source.walk(&name(file)).map(|(_, place)| place.inode);
            match (std::fs::metadata(path(file)), found) {
                (Ok(there), Ok(inode)) => assert_eq!(inode, there.ino(), "{file}"),
                (Err(_), Err(_)) => {}
                (there, found) => panic!("{file}: {there:?}, {found:?}"),
            }
        }
        // As many links as the kernel follows, and one more.
        symlink("a.bin", path("chain-1")).unwrap();
        for number in 2..=41 {
            symlink(
                format!("chain-{}", number - 1),
                path(&format!("chain-{number}")),
            )
            .unwrap();
        }
        for number in [40, 41] {
            let file = format!("chain-{number}");
            let there = File::open(path(&file)).is_ok();
            assert_eq!(there, number == 40);
            assert_eq!(source.walk(&name(&file)).is_ok(), there, "{file}");
        }
    }

    #[test]
    fn what_is_no_storage_is_neither_opened_nor_listed() {
        let dir = tree();
        let path = |name: &str| dir.path().join(name);
        for (link, target) in [
            ("mem", "/proc/self/mem"),
            ("status", "/proc/self/status"),
            ("magic", "/proc/self/fd/0"),
            ("kernel", "/sys/kernel"),
            ("processes", "/proc"),
        ] {
            symlink(target, path(link)).unwrap();
        }
        symlink("/dev/tty", path("terminal")).unwrap();
        let source = LocalDirectory::open(dir.path(), Links::Follow).unwrap();
        for file in [
            "mem",
            "status",
            "magic",
            "kernel",
            "processes/version",
            "processes/self/root/etc/passwd",
        ] {
            let what = refused(&source, file);
            assert!(what.contains("isn't storage"), "{file}: {what}");
        }
        assert_eq!(refused(&source, "terminal"), "a device");
        let scan = source.scan(|_| false).unwrap();
        let names: Vec<_> = scan.entries.keys().map(FileName::as_str).collect();
        assert_eq!(
            names,
            [
                "a.bin",
                "kernel",
                "magic",
                "mem",
                "processes",
                "status",
                "sub/deep/b.bin",
                "terminal"
            ]
        );
        for link in ["kernel", "magic", "mem", "processes", "status"] {
            let Found::Other(what) = scan.entries[&name(link)] else {
                panic!("{link} is taken for a file");
            };
            assert!(what.contains("isn't storage"), "{link}: {what}");
        }
    }

    /// A directory on another file system, and its number.
    fn elsewhere() -> (tempfile::TempDir, (u32, u32)) {
        let dir = tempfile::tempdir_in("/dev/shm").unwrap();
        let device = dir.path().metadata().unwrap().dev();
        assert_ne!(device, tree().path().metadata().unwrap().dev());
        let device = (rustix::fs::major(device), rustix::fs::minor(device));
        (dir, device)
    }

    #[test]
    fn a_file_system_of_ours_is_never_entered() {
        let dir = tree();
        let (other, device) = elsewhere();
        std::fs::create_dir(other.path().join("dir")).unwrap();
        std::fs::write(other.path().join("dir/file"), b"there").unwrap();
        let through = format!("{}/..{}", other.path().display(), dir.path().display());
        for (link, target) in [
            ("file", other.path().join("dir/file")),
            ("dir", other.path().join("dir")),
            ("through", through.into()),
        ] {
            symlink(target, dir.path().join(link)).unwrap();
        }
        let source = LocalDirectory::open(dir.path(), Links::Follow).unwrap();
        for file in ["file", "dir/file"] {
            assert_eq!(read_all(&*source.open(&name(file)).unwrap()), b"there");
        }
        source.never_enter(device);
        for file in ["file", "dir/file", "through/a.bin"] {
            let what = refused(&source, file);
            assert!(what.contains("this process serves"), "{file}: {what}");
        }
        assert_eq!(read_all(&*source.open(&name("a.bin")).unwrap()), b"aaaa");
        std::fs::remove_file(dir.path().join("through")).unwrap();
        let scan = source.scan(|_| false).unwrap();
        for link in ["file", "dir"] {
            let found = &scan.entries[&name(link)];
            assert!(matches!(found, Found::Other(what) if what.contains("serves")));
        }
    }

    #[test]
    fn nothing_is_entered_before_it_is_known_what_is_ours() {
        let dir = tree();
        let (other, device) = elsewhere();
        std::fs::write(other.path().join("file"), b"there").unwrap();
        symlink(other.path().join("file"), dir.path().join("file")).unwrap();
        let source = LocalDirectory::open(dir.path(), Links::Follow).unwrap();
        source.expect_mount();
        // On the same file system it makes no difference.
        assert_eq!(read_all(&*source.open(&name("a.bin")).unwrap()), b"aaaa");
        let (sender, opened) = channel();
        std::thread::scope(|scope| {
            scope.spawn(|| sender.send(source.open(&name("file")).map(|_| ())));
            std::thread::sleep(std::time::Duration::from_millis(50));
            assert_eq!(opened.try_recv().unwrap_err(), TryRecvError::Empty);
            source.never_enter(device);
            assert!(opened.recv().unwrap().is_err());
        });
    }

    #[test]
    fn a_mount_that_failed_is_waited_for_no_longer() {
        let dir = tree();
        let (other, _) = elsewhere();
        std::fs::write(other.path().join("file"), b"file").unwrap();
        symlink(other.path().join("file"), dir.path().join("file")).unwrap();
        let source = LocalDirectory::open(dir.path(), Links::Follow).unwrap();
        source.expect_mount();
        std::thread::scope(|scope| {
            let opened = scope.spawn(|| source.open(&name("file")).map(|_| ()));
            std::thread::sleep(std::time::Duration::from_millis(50));
            source.mount_failed();
            assert!(opened.join().unwrap().is_ok());
        });
    }

    /// Links that lead to links: 2^40 paths.
    #[test]
    fn a_fan_of_links_ends_a_scan_early_with_a_reason() {
        let dir = tempfile::tempdir().unwrap();
        for level in 0..40 {
            let inner = dir.path().join(format!("{level}"));
            std::fs::create_dir(&inner).unwrap();
            for link in ["left", "right"] {
                symlink(format!("../{}", level + 1), inner.join(link)).unwrap();
            }
        }
        std::fs::create_dir(dir.path().join("40")).unwrap();
        let source = LocalDirectory::open(dir.path(), Links::Follow).unwrap();
        let error = source.scan(|_| false).unwrap_err().to_string();
        assert!(error.contains("more than 4096 symbolic links"), "{error}");
        // Where links aren't followed there is nothing to it.
        let source = LocalDirectory::open(dir.path(), Links::Refuse).unwrap();
        assert_eq!(source.scan(|_| false).unwrap().entries.len(), 80);
    }
}
