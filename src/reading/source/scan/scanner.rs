//! Entering directories, listing them, and looking at their entries, one task at a time.

use std::ffi::{CStr, CString, OsStr};
use std::io;
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::fs::{AtFlags, FileType, Mode, OFlags};
use rustix::io::Errno;

use super::super::boundary::{Boundary, Place};
use super::super::walk::Walk;
use super::super::{ABSENT, Found, Links, SourceError};
use super::bounds::{Bounds, MAX_DEPTH, MAX_LINKED, Taken, take};
use super::directory::{Directory, into_io};
use super::signed_names::SignedNames;
use crate::files::{describe, look_at_entry};
use crate::manifest::ManifestFile;
use crate::name::{Escaped, FileName};

/// Entries that one thread looks at before another may go on with the rest.
const BATCH: usize = 4096;

/// What remains to be done.
pub(super) enum Task {
    /// A directory in another one, or a link to one.
    Enter {
        parent: Arc<Directory>,
        name: CString,
        linked: bool,
    },
    /// Entries of a directory, each name ended by a NUL.
    Look(Arc<Directory>, Vec<u8>),
}

/// What one thread found, but for signed files.
#[derive(Default)]
pub(super) struct Other {
    pub(super) entries: Vec<(FileName, Found)>,
    pub(super) unnameable: Vec<Escaped>,
}

/// What all tasks of a scan share.
pub(super) struct Scanner<'a, S> {
    links: Links,
    boundary: &'a Boundary,
    bounds: &'a Bounds,
    taken: Taken,
    files: &'a [ManifestFile],
    skip: &'a S,
    /// As [`Scan::signed`](super::super::Scan).
    signed: Box<[AtomicU64]>,
}

impl<'a, S: Fn(&FileName) -> bool + Sync> Scanner<'a, S> {
    /// `files` are sorted by name.
    pub(super) fn new(
        links: Links,
        boundary: &'a Boundary,
        bounds: &'a Bounds,
        files: &'a [ManifestFile],
        skip: &'a S,
    ) -> Self {
        Self {
            links,
            boundary,
            bounds,
            taken: Taken::default(),
            files,
            skip,
            signed: files.iter().map(|_| AtomicU64::new(ABSENT)).collect(),
        }
    }

    /// The claimed lengths of signed files that were found.
    pub(super) fn into_signed(self) -> Box<[u64]> {
        let signed = self.signed.into_iter();
        signed.map(AtomicU64::into_inner).collect()
    }

    /// Does one task. Gives those that come of it.
    pub(super) fn perform(&self, task: Task, found: &mut Other) -> io::Result<Vec<Task>> {
        match task {
            Task::Enter {
                parent,
                name,
                linked,
            } => {
                let directory = self.enter(parent, &name, linked)?;
                self.list(directory, found)
            }
            Task::Look(directory, names) => {
                let mut tasks = Vec::new();
                self.look(&directory, &names, found, &mut tasks)?;
                Ok(tasks)
            }
        }
    }

    /// Opens a directory that was found in `parent`.
    fn enter(&self, parent: Arc<Directory>, name: &CStr, linked: bool) -> io::Result<Directory> {
        let path = parent.join(&name.to_string_lossy());
        let (fd, place) = self.open(&parent, name, linked)?;
        let depth = parent.depth + 1;
        if depth > MAX_DEPTH {
            return Err(io::Error::other(format!(
                "{}: directories lie more than {MAX_DEPTH} deep in one another",
                Escaped::bounded(&path)
            )));
        }
        // Without a link no directory lies in itself.
        if linked && parent.is_within(place) {
            return Err(io::Error::other(format!(
                "{}: a symbolic link leads back to a directory above it",
                Escaped::bounded(&path)
            )));
        }
        Ok(Directory {
            fd,
            path,
            place,
            depth,
            parent: Some(parent),
        })
    }

    fn open(&self, parent: &Directory, name: &CStr, linked: bool) -> io::Result<(OwnedFd, Place)> {
        if linked {
            if take(&self.taken.linked, 1, MAX_LINKED) {
                return Err(parent.beyond(&format_args!(
                    "more than {MAX_LINKED} symbolic links to directories, and what they lead to \
                     may be reached in more ways than can be listed. Put a directory where each \
                     link is, or have them ignored"
                )));
            }
            let reached = self.follow(parent, name)?;
            return reached.map_err(|error| parent.failed_with(&into_io(error)));
        }
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        let fd = rustix::fs::openat(&parent.fd, name, flags, Mode::empty())
            .map_err(|errno| parent.failed(errno))?;
        let place = self.boundary.look(&fd);
        let place = place.map_err(|error| parent.failed_with(&into_io(error)))?;
        Ok((fd, place))
    }

    /// Follows a link. Inside, what is wrong with the link; outside, what ends the scan.
    fn follow(&self, directory: &Directory, name: &CStr) -> io::Result<Followed> {
        let at = directory.fd.as_fd();
        let mut walk = Walk::new(self.boundary, self.links);
        let reached = match walk.resolve_straight(at, name) {
            Ok(None) => {
                // It is by hand that steps are bounded.
                let mut by_hand = Walk::new(self.boundary, self.links);
                let reached = by_hand.resolve(at, name.to_bytes());
                walk.steps += by_hand.steps;
                reached.map(|reached| (reached.fd, reached.place))
            }
            Ok(Some(reached)) => Ok(reached),
            Err(error) => Err(error),
        };
        if take(&self.taken.steps, walk.steps as u64, self.bounds.steps) {
            return Err(directory.beyond(&format_args!(
                "links that lead over more than {} names in all, too many for a model. Put files \
                 where the links are, or have them ignored",
                self.bounds.steps
            )));
        }
        Ok(reached)
    }

    /// Lists a directory and looks at some of its entries. Gives what is left to do.
    pub(super) fn list(&self, directory: Directory, found: &mut Other) -> io::Result<Vec<Task>> {
        // A descriptor of its own to list: the other is only there to find things by.
        let listing = rustix::fs::openat(
            &directory.fd,
            ".",
            OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC,
            Mode::empty(),
        )
        .map_err(|errno| directory.failed(errno))?;
        let entries = rustix::fs::Dir::new(listing).map_err(|errno| directory.failed(errno))?;
        let directory = Arc::new(directory);
        let mut tasks = Vec::new();
        let (mut names, mut count) = (Vec::new(), 0);
        for entry in entries {
            let entry = entry.map_err(|errno| directory.failed(errno))?;
            let raw = entry.file_name();
            if matches!(raw.to_bytes(), b"." | b"..") {
                continue;
            }
            self.take_entry(&directory, raw.count_bytes())?;
            names.extend_from_slice(raw.to_bytes_with_nul());
            count += 1;
            if count == BATCH {
                let batch = std::mem::take(&mut names);
                tasks.push(Task::Look(Arc::clone(&directory), batch));
                count = 0;
            }
        }
        self.look(&directory, &names, found, &mut tasks)?;
        Ok(tasks)
    }

    fn take_entry(&self, directory: &Directory, len: usize) -> io::Result<()> {
        let entries = self.bounds.entries;
        if take(&self.taken.entries, 1, entries) {
            return Err(directory.beyond(&format_args!(
                "more than {entries} files and directories, too many for this model. Move \
                 elsewhere what isn't part of it, or have it ignored"
            )));
        }
        self.take_name(directory, &self.taken.listed_bytes, len)
    }

    /// Takes note of a name that is listed or kept.
    fn take_name(&self, directory: &Directory, taken: &AtomicU64, len: usize) -> io::Result<()> {
        let most = self.bounds.bytes;
        if take(taken, len as u64, most) {
            return Err(directory.beyond(&format_args!(
                "names of more than {most} bytes in all, too many for this model. Move elsewhere \
                 what isn't part of it, or have it ignored"
            )));
        }
        Ok(())
    }

    /// Says of each entry what it is; directories are left to do.
    fn look(
        &self,
        directory: &Arc<Directory>,
        names: &[u8],
        found: &mut Other,
        tasks: &mut Vec<Task>,
    ) -> io::Result<()> {
        let signed = SignedNames::new(self.files, &directory.path);
        for raw in names.split_inclusive(|&byte| byte == 0) {
            let raw = CStr::from_bytes_with_nul(raw).expect("each ends with its only NUL");
            let entry = match signed.find(raw.to_bytes()) {
                Some(index) => Entry::Signed(index),
                None => match self.unsigned(directory, raw, found)? {
                    Some(name) => Entry::Unsigned(name),
                    None => continue,
                },
            };
            match self.kind_of(directory, raw)? {
                None => {}
                Some(Kind::File { len }) => match entry {
                    Entry::Signed(index) => self.signed[index].store(len, Ordering::Relaxed),
                    Entry::Unsigned(name) => found.entries.push((name, Found::File { len })),
                },
                Some(Kind::Directory { linked }) => tasks.push(Task::Enter {
                    parent: Arc::clone(directory),
                    name: raw.to_owned(),
                    linked,
                }),
                Some(Kind::Other(what)) => {
                    let name = match entry {
                        Entry::Signed(index) => self.files[index].name.clone(),
                        Entry::Unsigned(name) => name,
                    };
                    found.entries.push((name, Found::Other(what)));
                }
            }
        }
        Ok(())
    }

    /// The name of an entry that isn't signed; none if it is to be skipped, or can't be signed,
    /// which is taken note of. Made only for what isn't a signed file: there may be a million that
    /// are.
    fn unsigned(
        &self,
        directory: &Directory,
        raw: &CStr,
        found: &mut Other,
    ) -> io::Result<Option<FileName>> {
        let joined = directory.join(&raw.to_string_lossy());
        let name = match FileName::new(&joined) {
            Ok(valid) if raw.to_str().is_ok() => Some(valid),
            _ => None,
        };
        if name.as_ref().is_some_and(self.skip) {
            return Ok(None);
        }
        let taken = &self.taken.kept_bytes;
        self.take_name(directory, taken, joined.len())?;
        if name.is_none() {
            let raw = OsStr::from_bytes(raw.to_bytes());
            let path = Path::new(&directory.path).join(raw);
            found.unnameable.push(Escaped::bounded_path(path));
        }
        Ok(name)
    }

    /// What an entry is, or where links are followed leads to; none if it is gone.
    fn kind_of(&self, directory: &Directory, raw: &CStr) -> io::Result<Option<Kind>> {
        let nofollow = AtFlags::SYMLINK_NOFOLLOW;
        let stat = match rustix::fs::statat(&directory.fd, raw, nofollow) {
            Ok(stat) => stat,
            // Since it was listed.
            Err(Errno::NOENT) => return Ok(None),
            Err(errno) => return Err(directory.failed(errno)),
        };
        let kind = FileType::from_raw_mode(stat.st_mode);
        if kind == FileType::Symlink && self.links == Links::Follow {
            return self.leads_to(directory, raw).map(Some);
        }
        let device = (
            rustix::fs::major(stat.st_dev),
            rustix::fs::minor(stat.st_dev),
        );
        if device != directory.place.device
            && !self.boundary.knows(device)
            && let Some(what) = self.is_beyond(directory, raw)?
        {
            return Ok(Some(Kind::Other(what)));
        }
        Ok(Some(Kind::new(kind, stat.st_size, false)))
    }

    /// What a link leads to.
    fn leads_to(&self, directory: &Directory, raw: &CStr) -> io::Result<Kind> {
        let (fd, place) = match self.follow(directory, raw)? {
            Ok(reached) => reached,
            Err(SourceError::Missing) => {
                return Ok(Kind::Other("a symbolic link that leads nowhere"));
            }
            Err(SourceError::NotAFile(what)) => return Ok(Kind::Other(what)),
            Err(error @ SourceError::Io(_)) => return Err(directory.failed_with(&into_io(error))),
        };
        let len = match place.kind {
            FileType::RegularFile => {
                let stat = rustix::fs::fstat(&fd).map_err(|errno| directory.failed(errno))?;
                stat.st_size
            }
            _ => 0,
        };
        Ok(Kind::new(place.kind, len, true))
    }

    /// Whether an entry on another device is beyond the boundary, and why.
    fn is_beyond(&self, directory: &Directory, raw: &CStr) -> io::Result<Option<&'static str>> {
        let fd = look_at_entry(&directory.fd, raw).map_err(|errno| directory.failed(errno))?;
        match self.boundary.look(&fd) {
            Ok(_) => Ok(None),
            Err(SourceError::NotAFile(what)) => Ok(Some(what)),
            Err(error) => Err(directory.failed_with(&into_io(error))),
        }
    }
}

/// What a link led to, by `O_PATH`.
type Followed = Result<(OwnedFd, Place), SourceError>;

/// An entry by its name.
enum Entry {
    /// Index of the file that is signed under it.
    Signed(usize),
    Unsigned(FileName),
}

/// What an entry is.
enum Kind {
    File { len: u64 },
    Directory { linked: bool },
    Other(&'static str),
}

impl Kind {
    fn new(kind: FileType, len: i64, linked: bool) -> Self {
        match kind {
            FileType::RegularFile => Self::File {
                len: u64::try_from(len).unwrap_or(0),
            },
            FileType::Directory => Self::Directory { linked },
            other => Self::Other(describe(other)),
        }
    }
}
