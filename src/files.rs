//! Files and directories by descriptor: what was looked at is what is used.
//!
//! Guarantees: nothing that is made, replaced or removed beneath a [`Directory`] is reached through a
//! link, whatever becomes of the names above it meanwhile. Whoever opens a file that
//! [`Directory::write_file`] wrote finds the old one or all of the new one, after a crash too; where
//! writing fails the old one stays. An [`Output`] is found to be writable before there is anything to
//! write. Reading is bounded.
//!
//! Doesn't: see to it that a new file is there after a crash, for which its directory has to be
//! synchronised; or follow a directory that was put in another's place: a [`Directory`] stays the one
//! that was opened. Needs `/proc` (proc(5)) to tell where something lies, and to open again what was
//! opened with `O_PATH`.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, BufWriter, Read as _, Write as _};
use std::os::fd::{AsFd, AsRawFd as _, BorrowedFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use rustix::fs::{AtFlags, CWD, Dir, FileType, Mode, OFlags, ResolveFlags, Stat};
use rustix::io::Errno;

use crate::name::Escaped;

/// Deepest directory whose way up is followed.
const MAX_DEPTH: usize = 4096;

/// How often a name is made up for a temporary file.
const MAX_NAMES: u32 = 64;

/// In a directory with this bit, only the owner of a file (or of the directory) may replace it
/// (inode(7)).
const STICKY: u32 = 0o1000;

/// Which file or directory something is, whatever leads to it. Numbers are given anew once nothing
/// refers to a file any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Identity {
    device: u64,
    inode: u64,
}

impl Identity {
    /// Of what is open.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn of(file: impl AsFd) -> io::Result<Self> {
        Ok((&rustix::fs::fstat(file)?).into())
    }
}

impl From<&Stat> for Identity {
    fn from(stat: &Stat) -> Self {
        Self {
            device: stat.st_dev,
            inode: stat.st_ino,
        }
    }
}

/// An open directory. It stays that directory when it is renamed, or when another is put in its place.
#[derive(Debug, Clone)]
pub struct Directory {
    /// With `O_PATH`: to search it is enough.
    fd: Arc<OwnedFd>,
    path: PathBuf,
}

impl Directory {
    /// Opens a directory, links followed: a path that the user gave.
    ///
    /// # Errors
    /// What the kernel says, also where it is no directory.
    pub fn open(path: &Path) -> io::Result<Self> {
        let fd = rustix::fs::open(path, PATH_ONLY | OFlags::DIRECTORY, Mode::empty())?;
        Ok(Self::new(fd, path.to_owned()))
    }

    /// Takes over a directory that is open.
    pub(crate) fn new(fd: OwnedFd, path: PathBuf) -> Self {
        Self {
            fd: Arc::new(fd),
            path,
        }
    }

    /// The same directory, at this path.
    pub(crate) fn found_at(self, path: PathBuf) -> Self {
        Self { path, ..self }
    }

    /// The path that it was opened by, for messages.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Which directory it is.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn identity(&self) -> io::Result<Identity> {
        Identity::of(&self.fd)
    }

    /// Where it lies now: absolute, without links.
    ///
    /// # Errors
    /// Where no path leads to it: it was removed, covered by a mount, or lies outside of what this
    /// process can reach.
    pub fn locate(&self) -> io::Result<PathBuf> {
        let path = kernel_path(self.as_fd())?;
        let found = open_without_links(&path).map_err(not_by_this_path)?;
        if Identity::of(found)? != self.identity()? {
            return Err(nowhere());
        }
        Ok(path)
    }

    /// Whether it is the directory of this identity, or lies beneath it.
    ///
    /// # Errors
    /// When the kernel doesn't show a directory on the way up.
    pub fn is_within(&self, above: Identity) -> io::Result<bool> {
        let flags = PATH_ONLY | OFlags::DIRECTORY;
        let root = Identity::of(rustix::fs::open("/", flags, Mode::empty())?)?;
        let mut here = self.fd.try_clone()?;
        for _ in 0..MAX_DEPTH {
            match Identity::of(&here)? {
                identity if identity == above => return Ok(true),
                identity if identity == root => return Ok(false),
                _ => here = rustix::fs::openat(&here, "..", flags, Mode::empty())?,
            }
        }
        Err(nowhere())
    }

    /// Opens a directory in this one, through no link.
    ///
    /// # Errors
    /// [`io::ErrorKind::NotADirectory`] where there is something else, links included; else what the
    /// kernel says.
    pub fn open_beneath(&self, name: &OsStr) -> io::Result<Self> {
        let flags = PATH_ONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW;
        match rustix::fs::openat(&self.fd, component(name)?, flags, Mode::empty()) {
            Ok(fd) => Ok(Self::new(fd, self.path.join(name))),
            Err(Errno::NOTDIR | Errno::LOOP) => Err(io::Error::new(
                io::ErrorKind::NotADirectory,
                "it is a link or a file, not a directory",
            )),
            Err(errno) => Err(errno.into()),
        }
    }

    /// The same, and makes it where it isn't there, with these permission bits, less those of the umask.
    ///
    /// # Errors
    /// As [`open_beneath`](Self::open_beneath).
    pub fn make(&self, name: &OsStr, mode: u32) -> io::Result<Self> {
        match rustix::fs::mkdirat(&self.fd, component(name)?, Mode::from_raw_mode(mode)) {
            Ok(()) | Err(Errno::EXIST) => self.open_beneath(name),
            Err(errno) => Err(errno.into()),
        }
    }

    /// Writes a file with these permission bits, less those of the umask, in place of what has the name.
    /// A link is replaced, not followed.
    ///
    /// # Errors
    /// What the file system or `write` says.
    pub fn write_file(
        &self,
        name: &OsStr,
        mode: u32,
        write: impl FnOnce(&mut BufWriter<&File>) -> io::Result<()>,
    ) -> io::Result<()> {
        self.write_temporary(mode, write)?.rename(component(name)?)
    }

    /// The same where nothing has the name yet.
    ///
    /// # Errors
    /// [`io::ErrorKind::AlreadyExists`] where something has; else what the file system or `write` says.
    pub fn create_file(
        &self,
        name: &OsStr,
        mode: u32,
        write: impl FnOnce(&mut BufWriter<&File>) -> io::Result<()>,
    ) -> io::Result<()> {
        let temporary = self.write_temporary(mode, write)?;
        let (from, to) = (&temporary.name, component(name)?);
        // The name that it had goes with `temporary`.
        Ok(rustix::fs::linkat(
            &self.fd,
            from,
            &self.fd,
            to,
            AtFlags::empty(),
        )?)
    }

    fn write_temporary(
        &self,
        mode: u32,
        write: impl FnOnce(&mut BufWriter<&File>) -> io::Result<()>,
    ) -> io::Result<Temporary<'_>> {
        let temporary = Temporary::new(self, mode)?;
        let mut out = BufWriter::with_capacity(1 << 20, &temporary.file);
        write(&mut out)?;
        out.flush()?;
        drop(out);
        temporary.file.sync_data()?;
        Ok(temporary)
    }

    /// Finds out whether files can be made here, and leaves none.
    ///
    /// # Errors
    /// Why not.
    pub fn check_writable(&self) -> io::Result<()> {
        // A file that never has a name (open(2)), where the file system has such files.
        let flags = OFlags::TMPFILE | OFlags::WRONLY | OFlags::CLOEXEC;
        match rustix::fs::openat(&self.fd, ".", flags, Mode::RUSR | Mode::WUSR) {
            Ok(_) => Ok(()),
            Err(_) => Temporary::new(self, 0o600).map(drop),
        }
    }

    /// Removes a file, or a link itself.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn remove_file(&self, name: &OsStr) -> io::Result<()> {
        Ok(rustix::fs::unlinkat(
            &self.fd,
            component(name)?,
            AtFlags::empty(),
        )?)
    }

    /// Removes an empty directory in it.
    ///
    /// # Errors
    /// What the kernel says, `ENOTEMPTY` where it isn't.
    pub fn remove_directory(&self, name: &OsStr) -> io::Result<()> {
        Ok(rustix::fs::unlinkat(
            &self.fd,
            component(name)?,
            AtFlags::REMOVEDIR,
        )?)
    }

    /// Shows each name in it but `.` and `..`, however many there are.
    ///
    /// # Errors
    /// What the kernel or `see` says.
    pub fn for_each_name(&self, mut see: impl FnMut(&OsStr) -> io::Result<()>) -> io::Result<()> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let listing = rustix::fs::openat(&self.fd, ".", flags, Mode::empty())?;
        for entry in Dir::new(listing)? {
            let entry = entry?;
            match entry.file_name().to_bytes() {
                b"." | b".." => {}
                name => see(OsStr::from_bytes(name))?,
            }
        }
        Ok(())
    }
}

impl AsFd for Directory {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// For what is only to be looked at: opening it has no effect, whatever it is.
const PATH_ONLY: OFlags = OFlags::PATH.union(OFlags::CLOEXEC);

/// A name as one component of a path.
fn component(name: &OsStr) -> io::Result<&OsStr> {
    let mut components = Path::new(name).components();
    match (components.next(), components.next()) {
        (Some(Component::Normal(only)), None) if only == name => Ok(only),
        _ => Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            format!("{} is no file name", Escaped::path(Path::new(name))),
        )),
    }
}

/// A file on its way to its name. Goes when it is dropped before.
struct Temporary<'a> {
    directory: &'a Directory,
    name: String,
    file: File,
}

impl<'a> Temporary<'a> {
    fn new(directory: &'a Directory, mode: u32) -> io::Result<Self> {
        let flags =
            OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let mut attempts = 0;
        loop {
            let mut random = [0; 8];
            aws_lc_rs::rand::fill(&mut random)
                .map_err(|_| io::Error::other("no random numbers"))?;
            let name = format!(".model-fs-{}", hex::encode(random));
            match rustix::fs::openat(directory, &name, flags, Mode::from_raw_mode(mode)) {
                Ok(fd) => {
                    return Ok(Self {
                        directory,
                        name,
                        file: fd.into(),
                    });
                }
                Err(Errno::EXIST) if attempts < MAX_NAMES => attempts += 1,
                Err(errno) => return Err(errno.into()),
            }
        }
    }

    fn rename(mut self, name: &OsStr) -> io::Result<()> {
        let directory = self.directory;
        rustix::fs::renameat(directory, &self.name, directory, name)?;
        self.name.clear();
        Ok(())
    }
}

impl Drop for Temporary<'_> {
    fn drop(&mut self) {
        if !self.name.is_empty() {
            // If it can't be removed, its name tells what it was.
            let _ = self.directory.remove_file(OsStr::new(&self.name));
        }
    }
}

/// Where an open file lies now: the directory, opened, and its name there. The directory's path is
/// absolute and without links.
///
/// # Errors
/// Where no path leads to the file: it was removed, covered by a mount, lies outside of what this
/// process can reach, or never had a name.
pub fn place_of(file: impl AsFd) -> io::Result<(Directory, OsString)> {
    let path = kernel_path(file.as_fd())?;
    let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(nowhere());
    };
    let directory = open_without_links(parent).map_err(not_by_this_path)?;
    let directory = Directory::new(directory, parent.to_owned());
    let found = open_entry(&directory, name).map_err(not_by_this_path)?;
    if Identity::of(found)? != Identity::of(file)? {
        return Err(nowhere());
    }
    Ok((directory, name.to_owned()))
}

/// What the kernel calls a file (proc(5)). The name alone proves nothing: it may belong to another mount
/// namespace, or be that of a file that was removed.
fn kernel_path(file: BorrowedFd<'_>) -> io::Result<PathBuf> {
    let link = rustix::fs::readlink(in_proc(file), Vec::new())?;
    let path = PathBuf::from(OsString::from_vec(link.into_bytes()));
    if path.is_absolute() {
        Ok(path)
    } else {
        Err(nowhere())
    }
}

fn in_proc(file: BorrowedFd<'_>) -> String {
    format!("/proc/self/fd/{}", file.as_raw_fd())
}

/// Opens an absolute path that has no links on it.
fn open_without_links(path: &Path) -> io::Result<OwnedFd> {
    let flags = PATH_ONLY | OFlags::NOFOLLOW;
    let mut fd = rustix::fs::open("/", flags, Mode::empty())?;
    for component in path.components() {
        match component {
            Component::RootDir => {}
            // A link is opened itself, and leads to nothing beneath it.
            Component::Normal(name) => fd = rustix::fs::openat(&fd, name, flags, Mode::empty())?,
            Component::CurDir | Component::ParentDir | Component::Prefix(_) => {
                return Err(nowhere());
            }
        }
    }
    Ok(fd)
}

/// What has a name in a directory, a link itself.
fn open_entry(directory: &Directory, name: &OsStr) -> io::Result<OwnedFd> {
    let flags = PATH_ONLY | OFlags::NOFOLLOW;
    Ok(rustix::fs::openat(
        directory,
        component(name)?,
        flags,
        Mode::empty(),
    )?)
}

/// Opens what was opened with `O_PATH`, and nothing else, whatever has its name by now.
fn reopen(file: impl AsFd, flags: OFlags) -> io::Result<File> {
    let flags = flags | OFlags::CLOEXEC | OFlags::NOCTTY;
    Ok(rustix::fs::open(in_proc(file.as_fd()), flags, Mode::empty())?.into())
}

/// A path that the kernel gave, and that leads elsewhere or to nothing here.
fn not_by_this_path(error: io::Error) -> io::Error {
    match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => nowhere(),
        _ => error,
    }
}

fn nowhere() -> io::Error {
    io::Error::new(io::ErrorKind::NotFound, "no path leads to it any more")
}

/// What a file is, in words.
pub(crate) fn describe(kind: FileType) -> &'static str {
    match kind {
        FileType::RegularFile => "a regular file",
        FileType::Directory => "a directory",
        FileType::Symlink => "a symbolic link",
        FileType::Fifo => "a FIFO",
        FileType::Socket => "a socket",
        FileType::CharacterDevice | FileType::BlockDevice => "a device",
        FileType::Unknown => "something unknown",
    }
}

fn kind_of(file: impl AsFd) -> io::Result<FileType> {
    Ok(FileType::from_raw_mode(rustix::fs::fstat(file)?.st_mode))
}

/// The nearest directory on the way to `path` that is there, and the names that aren't there yet.
///
/// # Errors
/// What the kernel says; [`io::ErrorKind::InvalidInput`] for a `..` below something that isn't there:
/// where that leads isn't known before it is made.
pub fn nearest(path: &Path) -> io::Result<(Directory, Vec<OsString>)> {
    let mut missing = Vec::new();
    let mut there = path;
    loop {
        let here = if there == Path::new("") {
            Path::new(".")
        } else {
            there
        };
        match Directory::open(here) {
            Ok(directory) => {
                missing.reverse();
                return Ok((directory, missing));
            }
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            Err(error) => match (there.parent(), there.file_name()) {
                (Some(parent), Some(name)) => {
                    missing.push(name.to_owned());
                    there = parent;
                }
                (Some(_), None) => {
                    return Err(io::Error::new(
                        io::ErrorKind::InvalidInput,
                        "it has a \"..\" below a directory that is not there",
                    ));
                }
                (None, _) => return Err(error),
            },
        }
    }
}

/// Reads at most `limit` bytes of what the *user* names: a file, a pipe, `/dev/stdin`, a descriptor of
/// `/proc/self/fd`. Waits for a FIFO that nobody writes to, as every tool does. Not for a path that
/// comes from a model or a configuration: those must be regular files.
///
/// # Errors
/// What the file system says; [`io::ErrorKind::FileTooLarge`] beyond the limit.
pub fn read_given(path: &Path, limit: usize) -> io::Result<Vec<u8>> {
    read_stream(&open_given(path)?, limit)
}

/// Opens what the user names to be read, see [`read_given`].
///
/// # Errors
/// What the file system says, also of a directory.
pub fn open_given(path: &Path) -> io::Result<File> {
    use std::os::unix::fs::OpenOptionsExt as _;

    let file = File::options()
        .read(true)
        .custom_flags(OFlags::NOCTTY.bits().cast_signed())
        .open(path)?;
    match kind_of(&file)? {
        FileType::Directory => Err(io::ErrorKind::IsADirectory.into()),
        _ => Ok(file),
    }
}

/// Reads what is left of an open file, at most `limit` bytes.
///
/// # Errors
/// As [`read_given`].
pub fn read_stream(file: &File, limit: usize) -> io::Result<Vec<u8>> {
    let len = usize::try_from(file.metadata()?.len()).unwrap_or(usize::MAX);
    if len > limit {
        return Err(too_large(limit));
    }
    // In one piece where the length is known: what is read may be a secret, and a vector that grows
    // leaves copies behind.
    let mut bytes = Vec::with_capacity(len.max(4096) + 1);
    file.take(limit as u64 + 1).read_to_end(&mut bytes)?;
    if bytes.len() > limit {
        return Err(too_large(limit));
    }
    Ok(bytes)
}

/// Opens a file that was *found* beneath a directory, which others may have filled: a regular file of at
/// most `limit` bytes, or nothing. Links are followed, but none of `/proc`. What is something else is
/// not opened at all. Gives its claimed length too.
///
/// # Errors
/// What the file system says; [`io::ErrorKind::FileTooLarge`] beyond the limit.
pub fn open_regular(directory: &Directory, path: &Path, limit: usize) -> io::Result<(File, usize)> {
    let found = follow(directory, path)?.into_fd();
    let kind = kind_of(&found)?;
    if kind != FileType::RegularFile {
        return Err(io::Error::other(format!(
            "it is {}, not a regular file",
            describe(kind)
        )));
    }
    let file = reopen(found, OFlags::RDONLY | OFlags::NONBLOCK)?;
    match usize::try_from(file.metadata()?.len()) {
        Ok(len) if len <= limit => Ok((file, len)),
        _ => Err(too_large(limit)),
    }
}

/// Where links lead.
enum Followed {
    /// To a name.
    Named(OwnedFd),
    /// To what some process has open, by a link of `/proc`; or nobody can tell.
    Magic(OwnedFd),
}

impl Followed {
    fn into_fd(self) -> OwnedFd {
        match self {
            Self::Named(fd) | Self::Magic(fd) => fd,
        }
    }
}

/// Follows links, without opening what they lead to.
fn follow(directory: &Directory, path: &Path) -> io::Result<Followed> {
    let named = rustix::fs::openat2(
        directory,
        path,
        PATH_ONLY,
        Mode::empty(),
        ResolveFlags::NO_MAGICLINKS,
    );
    match named {
        Ok(fd) => Ok(Followed::Named(fd)),
        // Kernels before 5.6, seccomp filters that don't know the call, and links of /proc.
        Err(Errno::NOSYS | Errno::PERM | Errno::LOOP) => Ok(Followed::Magic(rustix::fs::openat(
            directory,
            path,
            PATH_ONLY,
            Mode::empty(),
        )?)),
        Err(errno) => Err(errno.into()),
    }
}

fn too_large(limit: usize) -> io::Error {
    io::Error::new(
        io::ErrorKind::FileTooLarge,
        format!("it has more than {limit} bytes"),
    )
}

/// A file that is to be written, found before there is anything to write.
///
/// What is a regular file is replaced as a whole; so is one that a link leads to, in its own directory,
/// and the link stays. Everything else (devices, FIFOs, what `/dev/stdout` and `/proc/self/fd` lead to)
/// is written as it is.
#[derive(Debug)]
pub struct Output {
    place: Place,
    /// What is there.
    existing: Option<OwnedFd>,
    /// Whether the name that was given is a link.
    linked: bool,
}

#[derive(Debug)]
enum Place {
    /// A name, with a regular file or nothing.
    Name {
        directory: Directory,
        name: OsString,
    },
    /// What can't be replaced, opened to be written.
    Open(File),
    /// The standard output of this process, or what it was led to: written on from where it stands.
    Stdout(OwnedFd),
}

impl Output {
    /// Finds what a path that the user gives leads to. Opens what isn't replaced, and so waits for a
    /// FIFO that nobody reads, as every tool does.
    ///
    /// # Errors
    /// Why it can't be written, as far as that can be known now.
    pub fn given(path: &Path) -> io::Result<Self> {
        let Some(name) = path.file_name() else {
            return Err(io::ErrorKind::IsADirectory.into());
        };
        let parent = path.parent().filter(|parent| *parent != Path::new(""));
        let directory = Directory::open(parent.unwrap_or(Path::new(".")))?;
        let output = Self::find(&directory, name)?;
        output.check()?;
        Ok(output)
    }

    /// Finds a name that nobody gave in a directory that others may have filled: only a regular file may
    /// be there. Not a link, since they would choose what is replaced.
    ///
    /// # Errors
    /// Why it can't be written, as far as that can be known now.
    pub fn in_directory(directory: &Directory, name: &OsStr) -> io::Result<Self> {
        let existing = match open_entry(directory, name) {
            Ok(found) => match kind_of(&found)? {
                FileType::RegularFile => Some(found),
                kind => {
                    let message = format!("it is {}, not a regular file", describe(kind));
                    return Err(io::Error::other(message));
                }
            },
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(error),
        };
        let output = Self::named(directory.clone(), name.to_owned(), existing);
        output.check()?;
        Ok(output)
    }

    fn find(directory: &Directory, name: &OsStr) -> io::Result<Self> {
        let found = match open_entry(directory, name) {
            Ok(found) => found,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Ok(Self::named(directory.clone(), name.to_owned(), None));
            }
            Err(error) => return Err(error),
        };
        match kind_of(&found)? {
            FileType::RegularFile => {
                Ok(Self::named(directory.clone(), name.to_owned(), Some(found)))
            }
            FileType::Symlink => Self::find_linked(directory, name),
            _ => Self::open(found),
        }
    }

    fn find_linked(directory: &Directory, name: &OsStr) -> io::Result<Self> {
        let followed = follow(directory, Path::new(name)).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => io::Error::other("it is a link that leads nowhere"),
            _ => error,
        })?;
        match followed {
            Followed::Named(found) if kind_of(&found)? == FileType::RegularFile => {
                match place_of(&found) {
                    Ok((directory, name)) => Ok(Self {
                        linked: true,
                        ..Self::named(directory, name, Some(found))
                    }),
                    Err(_) => Self::open(found),
                }
            }
            other => Self::open(other.into_fd()),
        }
    }

    fn named(directory: Directory, name: OsString, existing: Option<OwnedFd>) -> Self {
        Self {
            place: Place::Name { directory, name },
            existing,
            linked: false,
        }
    }

    fn open(found: OwnedFd) -> io::Result<Self> {
        if kind_of(&found)? == FileType::Directory {
            return Err(io::ErrorKind::IsADirectory.into());
        }
        let stdout = io::stdout();
        let is_stdout = Identity::of(&stdout)
            .is_ok_and(|stdout| Identity::of(&found).is_ok_and(|found| found == stdout));
        let place = if is_stdout {
            Place::Stdout(stdout.as_fd().try_clone_to_owned()?)
        } else {
            Place::Open(reopen(&found, OFlags::WRONLY)?)
        };
        Ok(Self {
            place,
            existing: Some(found),
            linked: false,
        })
    }

    fn check(&self) -> io::Result<()> {
        let Place::Name { directory, .. } = &self.place else {
            return Ok(());
        };
        directory.check_writable()?;
        let Some(existing) = &self.existing else {
            return Ok(());
        };
        let (above, file) = (rustix::fs::fstat(directory)?, rustix::fs::fstat(existing)?);
        let user = rustix::process::geteuid().as_raw();
        if above.st_mode & STICKY != 0 && user != 0 && ![above.st_uid, file.st_uid].contains(&user)
        {
            return Err(io::Error::new(
                io::ErrorKind::PermissionDenied,
                "it belongs to another user, and only its owner may replace a file in that directory",
            ));
        }
        Ok(())
    }

    /// The file that is replaced, where the name that was given is a link to it.
    pub fn linked_to(&self) -> Option<PathBuf> {
        match &self.place {
            Place::Name { directory, name } if self.linked => Some(directory.path().join(name)),
            Place::Name { .. } | Place::Open(_) | Place::Stdout(_) => None,
        }
    }

    /// Whether it is the standard output of this process, or what that was led to.
    pub fn is_stdout(&self) -> bool {
        matches!(self.place, Place::Stdout(_))
    }

    /// Which regular file is there, if one is.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn existing(&self) -> io::Result<Option<Identity>> {
        match &self.existing {
            Some(existing) if kind_of(existing)? == FileType::RegularFile => {
                Identity::of(existing).map(Some)
            }
            _ => Ok(None),
        }
    }

    /// Reads the regular file that is to be replaced, at most `limit` bytes; `None` if nothing is.
    ///
    /// # Errors
    /// What the file system says; [`io::ErrorKind::FileTooLarge`] beyond the limit.
    pub fn read_existing(&self, limit: usize) -> io::Result<Option<Vec<u8>>> {
        match (&self.place, &self.existing) {
            (Place::Name { .. }, Some(existing)) => {
                let file = reopen(existing, OFlags::RDONLY | OFlags::NONBLOCK)?;
                read_stream(&file, limit).map(Some)
            }
            _ => Ok(None),
        }
    }

    /// Writes it. A new file has these permission bits, less those of the umask.
    ///
    /// # Errors
    /// What the file system says; also where another file has taken the place of the one that was found.
    pub fn write(self, mode: u32, bytes: &[u8]) -> io::Result<()> {
        match self.place {
            Place::Name { directory, name } => {
                let now = match open_entry(&directory, &name) {
                    Ok(found) => Some(Identity::of(found)?),
                    Err(error) if error.kind() == io::ErrorKind::NotFound => None,
                    Err(error) => return Err(error),
                };
                if now != self.existing.map(Identity::of).transpose()? {
                    return Err(io::Error::other("it was replaced meanwhile"));
                }
                directory.write_file(&name, mode, |out| out.write_all(bytes))
            }
            Place::Open(mut file) => {
                let is_file = file.metadata()?.is_file();
                if is_file {
                    file.set_len(0)?;
                }
                file.write_all(bytes)?;
                if is_file { file.sync_data() } else { Ok(()) }
            }
            Place::Stdout(stdout) => File::from(stdout).write_all(bytes),
        }
    }
}

/// Opens a model or whatever else the user names, to be looked at only: links followed, nothing read.
pub(crate) fn look_at(path: &Path) -> io::Result<(OwnedFd, FileType)> {
    let fd = rustix::fs::openat(CWD, path, PATH_ONLY, Mode::empty())?;
    let kind = kind_of(&fd)?;
    Ok((fd, kind))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    use super::*;

    fn directory(dir: &tempfile::TempDir) -> Directory {
        Directory::open(dir.path()).unwrap()
    }

    fn write(directory: &Directory, name: &str, text: &str) -> io::Result<()> {
        directory.write_file(OsStr::new(name), 0o644, |out| {
            out.write_all(text.as_bytes())
        })
    }

    #[test]
    fn nothing_beneath_a_directory_is_reached_through_a_link() {
        let (dir, elsewhere) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        std::fs::write(elsewhere.path().join("f"), "theirs").unwrap();
        symlink(elsewhere.path(), dir.path().join("sub")).unwrap();
        symlink(elsewhere.path().join("f"), dir.path().join("f")).unwrap();
        let directory = directory(&dir);
        for result in [
            directory.open_beneath(OsStr::new("sub")),
            directory.make(OsStr::new("sub"), 0o755),
            directory.open_beneath(OsStr::new("f")),
        ] {
            assert_eq!(result.unwrap_err().kind(), io::ErrorKind::NotADirectory);
        }
        for name in ["sub/x", "../x", "..", ".", "", "x/", "/x"] {
            let error = write(&directory, name, "x").unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::InvalidInput, "{name}");
            assert!(directory.remove_file(OsStr::new(name)).is_err(), "{name}");
        }
        write(&directory, "f", "ours").unwrap();
        directory.remove_file(OsStr::new("sub")).unwrap();
        let names: Vec<_> = std::fs::read_dir(elsewhere.path()).unwrap().collect();
        assert_eq!(names.len(), 1);
        let theirs = std::fs::read_to_string(elsewhere.path().join("f")).unwrap();
        assert_eq!(theirs, "theirs");
        assert!(!dir.path().join("f").is_symlink());
    }

    #[test]
    fn a_directory_stays_the_one_that_was_opened() {
        let dir = tempfile::tempdir().unwrap();
        let (old, new) = (dir.path().join("old"), dir.path().join("new"));
        std::fs::create_dir(&old).unwrap();
        let directory = Directory::open(&old).unwrap();
        std::fs::rename(&old, &new).unwrap();
        std::fs::create_dir(&old).unwrap();
        write(&directory, "f", "x").unwrap();
        assert!(new.join("f").exists() && !old.join("f").exists());
        assert_eq!(directory.locate().unwrap(), new.canonicalize().unwrap());
        let above = Directory::open(dir.path()).unwrap();
        assert!(directory.is_within(above.identity().unwrap()).unwrap());
        assert!(!above.is_within(directory.identity().unwrap()).unwrap());
        std::fs::remove_dir_all(&new).unwrap();
        assert!(directory.locate().is_err());
    }

    #[test]
    fn a_failure_leaves_the_old_file_and_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        let directory = directory(&dir);
        let path = dir.path().join("f");
        for content in ["one", "two"] {
            let name = OsStr::new("f");
            directory
                .write_file(name, 0o600, |out| out.write_all(content.as_bytes()))
                .unwrap();
            assert_eq!(std::fs::read_to_string(&path).unwrap(), content);
        }
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
        directory
            .write_file(OsStr::new("f"), 0o600, |out| {
                out.write_all(b"three")?;
                Err(io::Error::other("no"))
            })
            .unwrap_err();
        directory.check_writable().unwrap();
        Temporary::new(&directory, 0o600).map(drop).unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "two");
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn an_output_replaces_regular_files_alone_and_keeps_links() {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name);
        std::fs::create_dir(path("sub")).unwrap();
        std::fs::write(path("sub/real"), "old").unwrap();
        std::fs::hard_link(path("sub/real"), path("other")).unwrap();
        symlink("sub/real", path("link")).unwrap();
        symlink("nothing", path("dangling")).unwrap();
        let output = Output::given(&path("link")).unwrap();
        assert_eq!(output.read_existing(9).unwrap().unwrap(), b"old");
        assert!(output.linked_to().unwrap().ends_with("sub/real"));
        output.write(0o644, b"new").unwrap();
        assert!(path("link").is_symlink());
        assert_eq!(std::fs::read(path("sub/real")).unwrap(), b"new");
        // As a whole: who has the old one open, or by another name, still has it.
        assert_eq!(std::fs::read(path("other")).unwrap(), b"old");

        for refused in ["dangling", "sub", "none/x"] {
            assert!(Output::given(&path(refused)).is_err(), "{refused}");
        }
        let new = Output::given(&path("new")).unwrap();
        assert!(!path("new").exists());
        new.write(0o644, b"new").unwrap();
        assert_eq!(std::fs::read(path("new")).unwrap(), b"new");

        let output = Output::given(&path("new")).unwrap();
        std::fs::remove_file(path("new")).unwrap();
        std::fs::write(path("new"), b"somebody else's").unwrap();
        assert!(output.write(0o644, b"ours").is_err());
    }

    #[test]
    fn what_is_open_is_written_as_it_is() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("f");
        let file = File::create(&path).unwrap();
        let output = Output::given(Path::new(&in_proc(file.as_fd()))).unwrap();
        assert_eq!(output.linked_to(), None);
        assert_eq!(
            output.existing().unwrap(),
            Some(Identity::of(&file).unwrap())
        );
        let identity = Identity::of(&file).unwrap();
        output.write(0o644, b"x").unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"x");
        assert_eq!(Identity::of(File::open(&path).unwrap()).unwrap(), identity);
        Output::given(Path::new("/dev/null"))
            .unwrap()
            .write(0o644, b"x")
            .unwrap();
        let devices = Directory::open(Path::new("/dev")).unwrap();
        let error = Output::in_directory(&devices, OsStr::new("null")).unwrap_err();
        assert!(error.to_string().contains("a device"), "{error}");
    }

    #[test]
    fn reading_is_bounded_and_what_is_found_is_a_regular_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("f");
        std::fs::write(&path, b"12345").unwrap();
        assert_eq!(read_given(&path, 5).unwrap(), b"12345");
        for endless in [path.as_path(), Path::new("/dev/zero")] {
            let error = read_given(endless, 4).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::FileTooLarge);
        }
        assert!(read_given(dir.path(), 4).is_err());

        let directory = directory(&dir);
        symlink("/dev/zero", dir.path().join("zero")).unwrap();
        symlink("f", dir.path().join("link")).unwrap();
        for name in ["f", "link"] {
            let (_, len) = open_regular(&directory, Path::new(name), 5).unwrap();
            assert_eq!(len, 5);
        }
        let error = open_regular(&directory, Path::new("f"), 4).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::FileTooLarge);
        let error = open_regular(&directory, Path::new("zero"), 5).unwrap_err();
        assert!(error.to_string().contains("a device"), "{error}");
    }

    #[test]
    fn the_nearest_directory_of_a_path_that_is_not_there() {
        let dir = tempfile::tempdir().unwrap();
        let (found, missing) = nearest(&dir.path().join("a/b")).unwrap();
        assert_eq!(found.path(), dir.path());
        assert_eq!(missing, ["a", "b"]);
        let (_, missing) = nearest(dir.path()).unwrap();
        assert!(missing.is_empty());
        let (_, missing) = nearest(Path::new("not-there/x")).unwrap();
        assert_eq!(missing, ["not-there", "x"]);
        std::fs::write(dir.path().join("f"), "").unwrap();
        assert!(nearest(&dir.path().join("f/x")).is_err());
        let error = nearest(&dir.path().join("a/../b")).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
    }
}
