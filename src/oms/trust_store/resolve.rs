//! Finds a file by a path of which every part was looked at: by descriptor, link by link.
//!
//! Guarantees: what [`open`] gives was reached through directories and symbolic links that belong
//! to root or the user who runs this, of which no other user can write in the directories (or,
//! where the sticky bit is set, can't touch what is ours); and the file itself is a regular one
//! under the same rule. The path is walked once: each part is opened beneath the part before and
//! judged by that descriptor, and a link's target by the link that was judged. So there is nothing
//! between what is judged and what is read, in the middle of a path neither. Nothing but a regular
//! file is opened for reading: neither a pipe, which would wait, nor a device.
//!
//! Doesn't: say why a file is missing. A path that leads nowhere is missing even if others could
//! put a file there; that one would be refused.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, Read as _};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStringExt as _;
use std::path::{Component, Path, PathBuf};

use rustix::fs::{CWD, FileType, Mode, OFlags, Stat, fstat, openat, readlinkat};
use rustix::io::Errno;

use crate::files::{
    OpenError, is_root_or_user, is_sticky, is_writable_by_others, look_at_entry, open_entry,
};
use crate::name::Escaped;

/// Most symbolic links on the way to one file, as the kernel has it (`path_resolution(7)`).
const MAX_LINKS: usize = 40;

/// What a file must be to be relied on.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FileRule {
    /// A directory, a device, a pipe.
    #[error("it is not a regular file")]
    NotRegular,
    /// Larger than the bound for its kind.
    #[error("it has more than {limit} bytes")]
    TooLarge {
        /// The bound.
        limit: usize,
    },
    /// Another user could change it.
    #[error("it belongs to user {owner}, neither root nor the user who runs this")]
    Owner {
        /// The user.
        owner: u32,
    },
    /// Other users can change it.
    #[error("it can be written by others than its owner (mode {mode:o})")]
    Writable {
        /// Its mode.
        mode: u32,
    },
    /// Another user could have it lead elsewhere.
    #[error(
        "the link \"{link}\" on the way to it belongs to user {owner}, neither root nor the user \
         who runs this"
    )]
    Link {
        /// The link, escaped.
        link: Escaped,
        /// Its owner.
        owner: u32,
    },
    /// Another user could put another file in its place.
    #[error("others can write in the directory \"{directory}\" (user {owner}, mode {mode:o})")]
    Directory {
        /// The directory, escaped.
        directory: Escaped,
        /// Its owner.
        owner: u32,
        /// Its mode.
        mode: u32,
    },
}

/// Why a file can't be read.
#[derive(Debug)]
pub(super) enum ReadError {
    Io(io::Error),
    Rule(FileRule),
}

impl From<io::Error> for ReadError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl From<Errno> for ReadError {
    fn from(error: Errno) -> Self {
        Self::Io(error.into())
    }
}

/// A file that can be relied on.
#[derive(Debug)]
pub(super) struct Found {
    file: File,
    stat: Stat,
    /// Where it really lies: absolute, without links.
    pub(super) path: PathBuf,
}

impl Found {
    /// Its permission bits, owner and group.
    pub(super) fn owner(&self) -> Owner {
        Owner {
            mode: self.stat.st_mode & 0o777,
            user: self.stat.st_uid,
            group: self.stat.st_gid,
        }
    }

    /// Its content, of at most `limit` bytes.
    pub(super) fn read(&self, limit: usize) -> Result<Vec<u8>, ReadError> {
        let mut bytes = Vec::new();
        (&self.file)
            .take(limit as u64 + 1)
            .read_to_end(&mut bytes)?;
        if bytes.len() > limit {
            return Err(ReadError::Rule(FileRule::TooLarge { limit }));
        }
        Ok(bytes)
    }
}

/// Whose a file is, and who may do what with it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Owner {
    pub(super) mode: u32,
    pub(super) user: u32,
    pub(super) group: u32,
}

/// Opens a file; see the [module](self).
pub(super) fn open(path: &Path) -> Result<Found, ReadError> {
    let mut walk = Walk::begin()?;
    if path.is_absolute() {
        walk.push(path);
    } else {
        walk.push(&std::env::current_dir()?.join(path));
    }
    loop {
        let part = walk.todo.pop().ok_or(FileRule::NotRegular)?;
        if let Some(found) = walk.step(&part)? {
            return match walk.broken {
                Some(rule) => Err(ReadError::Rule(rule)),
                None => Ok(found),
            };
        }
    }
}

impl From<OpenError> for ReadError {
    fn from(error: OpenError) -> Self {
        match error {
            OpenError::NotRegular(_) => Self::Rule(FileRule::NotRegular),
            OpenError::Io(error) => Self::Io(error),
        }
    }
}

impl From<FileRule> for ReadError {
    fn from(rule: FileRule) -> Self {
        Self::Rule(rule)
    }
}

/// A path being walked.
struct Walk {
    /// The directory that was reached.
    directory: OwnedFd,
    /// Its path.
    path: PathBuf,
    /// What is still to be walked, the next part last.
    todo: Vec<OsString>,
    links: usize,
    /// The first rule that was broken on the way. It is of interest only if there is a file.
    broken: Option<FileRule>,
}

impl Walk {
    fn begin() -> Result<Self, ReadError> {
        let mut walk = Self {
            directory: root()?,
            path: "/".into(),
            todo: Vec::new(),
            links: 0,
            broken: None,
        };
        walk.judge_directory()?;
        Ok(walk)
    }

    fn push(&mut self, path: &Path) {
        let parts = path.components().rev().map(Component::as_os_str);
        self.todo.extend(parts.map(OsStr::to_owned));
    }

    /// Walks one part. Gives the file if that was the last.
    fn step(&mut self, part: &OsStr) -> Result<Option<Found>, ReadError> {
        match Path::new(part).components().next() {
            Some(Component::Normal(name)) => self.enter(name),
            Some(Component::RootDir) => {
                self.directory = root()?;
                self.path = "/".into();
                Ok(None)
            }
            Some(Component::ParentDir) => {
                self.directory = self.lookup(OsStr::new(".."))?;
                self.path.pop();
                self.judge_directory()?;
                Ok(None)
            }
            Some(Component::CurDir | Component::Prefix(_)) | None => Ok(None),
        }
    }

    fn lookup(&self, name: &OsStr) -> Result<OwnedFd, ReadError> {
        Ok(look_at_entry(&self.directory, name)?)
    }

    fn enter(&mut self, name: &OsStr) -> Result<Option<Found>, ReadError> {
        let entry = self.lookup(name)?;
        let stat = fstat(&entry)?;
        let is_last = self.todo.is_empty();
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::Symlink => {
                self.follow(&entry, &stat, name)?;
                Ok(None)
            }
            FileType::Directory if !is_last => {
                self.directory = entry;
                self.path.push(name);
                self.judge_directory()?;
                Ok(None)
            }
            FileType::RegularFile if is_last => self.file(name).map(Some),
            _ if is_last => Err(FileRule::NotRegular.into()),
            _ => Err(Errno::NOTDIR.into()),
        }
    }

    fn follow(&mut self, link: &OwnedFd, stat: &Stat, name: &OsStr) -> Result<(), ReadError> {
        self.links += 1;
        if self.links > MAX_LINKS {
            return Err(Errno::LOOP.into());
        }
        if !is_root_or_user(stat.st_uid) {
            self.broken.get_or_insert(FileRule::Link {
                link: Escaped::new(&self.path.join(name).to_string_lossy()),
                owner: stat.st_uid,
            });
        }
        // Of the link that was judged, whatever has the name by now.
        let target = readlinkat(link, "", Vec::new())?;
        self.push(Path::new(&OsString::from_vec(target.into_bytes())));
        Ok(())
    }

    fn file(&mut self, name: &OsStr) -> Result<Found, ReadError> {
        // What has the name by now may be something else. The rest is asked of what was opened, so
        // that nothing can change in between.
        let (file, stat) = open_entry(&self.directory, name)?;
        if !is_root_or_user(stat.st_uid) {
            let owner = stat.st_uid;
            return Err(FileRule::Owner { owner }.into());
        }
        if is_writable_by_others(&stat) {
            let mode = stat.st_mode & 0o7777;
            return Err(FileRule::Writable { mode }.into());
        }
        Ok(Found {
            file,
            stat,
            path: self.path.join(name),
        })
    }

    fn judge_directory(&mut self) -> Result<(), ReadError> {
        let stat = fstat(&self.directory)?;
        let is_open_to_others = is_writable_by_others(&stat) && !is_sticky(&stat);
        if is_open_to_others || !is_root_or_user(stat.st_uid) {
            self.broken.get_or_insert(FileRule::Directory {
                directory: Escaped::new(&self.path.to_string_lossy()),
                owner: stat.st_uid,
                mode: stat.st_mode & 0o7777,
            });
        }
        Ok(())
    }
}

fn root() -> Result<OwnedFd, ReadError> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    Ok(openat(CWD, "/", flags, Mode::empty())?)
}
