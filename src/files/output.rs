//! Files that are to be written, found before there is anything to write.
//!
//! Guarantees: an [`Output`] was found to be writable, as far as that can be known; a regular file
//! is replaced as a whole, and only the one that was found. Doesn't: make anything before it is
//! written.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, Write as _};
use std::os::fd::{AsFd as _, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{FileType, OFlags};
use rustix::io::Errno;

use super::directory::{Directory, component, parent_of};
use super::identity::{Identity, kind_of, not_regular};
use super::locate::place_of;
use super::o_path::{Followed, follow, look_at_entry, reopen};
use super::owner::may_replace;
use super::read::read_stream;

/// A file that is to be written, found before there is anything to write.
///
/// What is a regular file is replaced as a whole; so is one that a link leads to, in its own
/// directory, and the link stays. Everything else (devices, FIFOs, what `/dev/stdout` and
/// `/proc/self/fd` lead to) is written as it is.
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
    /// Finds what a path that the user gives leads to. Opens what isn't replaced, and so waits for
    /// a FIFO that nothing reads, as every tool does.
    ///
    /// # Errors
    /// Why it can't be written, as far as that can be known now.
    pub fn given(path: &Path) -> io::Result<Self> {
        let Some(name) = path.file_name() else {
            return Err(io::ErrorKind::IsADirectory.into());
        };
        let directory = Directory::open(parent_of(path))?;
        let output = Self::find(&directory, name)?;
        output.check()?;
        Ok(output)
    }

    /// Finds a name that the user didn't give, in a directory that others may have filled: only a
    /// regular file may be there. Not a link, since they would choose what is replaced.
    ///
    /// # Errors
    /// Why it can't be written, as far as that can be known now.
    pub fn in_directory(directory: &Directory, name: &OsStr) -> io::Result<Self> {
        let existing = find_entry(directory, name)?;
        if let Some(found) = &existing {
            match kind_of(found)? {
                FileType::RegularFile => {}
                kind => return Err(not_regular(kind)),
            }
        }
        let output = Self::named(directory.clone(), name.to_owned(), existing);
        output.check()?;
        Ok(output)
    }

    fn find(directory: &Directory, name: &OsStr) -> io::Result<Self> {
        let Some(found) = find_entry(directory, name)? else {
            return Ok(Self::named(directory.clone(), name.to_owned(), None));
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
        let followed =
            follow(directory.as_fd(), Path::new(name)).map_err(|error| match error.kind() {
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
        if !may_replace(
            &rustix::fs::fstat(directory)?,
            &rustix::fs::fstat(existing)?,
        ) {
            return Err(io::Error::new(
                io::ErrorKind::PermissionDenied,
                "it belongs to another user, and only its owner may replace a file in that \
                 directory",
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
    /// What the file system says; also where another file has taken the place of the one that was
    /// found.
    pub fn write(self, mode: u32, bytes: &[u8]) -> io::Result<()> {
        match self.place {
            Place::Name { directory, name } => {
                let now = find_entry(&directory, &name)?;
                if now.map(Identity::of).transpose()?
                    != self.existing.map(Identity::of).transpose()?
                {
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

/// What has a name in a directory, a link itself; `None` where nothing has.
fn find_entry(directory: &Directory, name: &OsStr) -> io::Result<Option<OwnedFd>> {
    match look_at_entry(directory, component(name)?) {
        Ok(found) => Ok(Some(found)),
        Err(Errno::NOENT) => Ok(None),
        Err(errno) => Err(errno.into()),
    }
}
