//! Resolving a path by hand, one component after the other.
//!
//! Guarantees: each directory, link and file on the way was looked at before it was asked for
//! anything, so that the way never leads into what lies beyond the [`Boundary`]; links are followed
//! only where they are allowed, [`MAX_LINKS`] at most; it ends after [`MAX_STEPS`]. Doesn't: open
//! anything for reading. Doesn't stay beneath a root where links are allowed: they may lead
//! anywhere.
//!
//! The kernel would resolve a path at once, but tells only at the end where it led, and a single
//! name looked up in a mount of ours is a question to ourselves. So it does so only where no mount
//! is crossed (`RESOLVE_NO_XDEV`, openat2(2)).
//!
//! Unlike the kernel it knows no `nosymfollow` (mount(8)) and no `fs.protected_symlinks` (proc(5)),
//! which guard programs that believe what they find.

use std::ffi::{CStr, CString};
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};

use rustix::fs::{FileType, Mode, OFlags, ResolveFlags};
use rustix::io::{Errno, retry_on_intr};

use super::boundary::{Boundary, Place};
use super::{Links, SourceError};

/// Most links on one way, as in the kernel (`path_resolution(7)`).
const MAX_LINKS: usize = 40;

/// Most components on one way, those of links included: those of the longest name, twice.
const MAX_STEPS: usize = 4096;

const ASTRAY: SourceError = SourceError::NotAFile("a symbolic link that leads nowhere");

/// What a path led to.
pub(super) struct Reached {
    /// The directory that holds it; none is the one that the walk began in.
    pub(super) parent: Option<OwnedFd>,
    /// Its name there.
    pub(super) name: CString,
    /// The thing itself, by `O_PATH`.
    pub(super) fd: OwnedFd,
    pub(super) place: Place,
}

/// One walk.
pub(super) struct Walk<'a> {
    boundary: &'a Boundary,
    links: Links,
    /// Components come over so far.
    pub(super) steps: usize,
}

impl<'a> Walk<'a> {
    pub(super) fn new(boundary: &'a Boundary, links: Links) -> Self {
        Self {
            boundary,
            links,
            steps: 0,
        }
    }

    /// Resolves `path` from `start`, a directory within the boundary.
    ///
    /// # Errors
    /// [`SourceError`]. Links that lead nowhere are [`SourceError::Missing`], or
    /// [`SourceError::NotAFile`] if they don't end.
    pub(super) fn resolve(
        &mut self,
        start: BorrowedFd<'_>,
        path: &[u8],
    ) -> Result<Reached, SourceError> {
        self.boundary.settled()?;
        let mut ahead = components(path)?;
        let mut parent = None::<OwnedFd>;
        let mut links = 0;
        while let Some(name) = ahead.pop() {
            self.steps += 1;
            if self.steps > MAX_STEPS {
                return Err(ASTRAY);
            }
            let here = parent.as_ref().map_or(start, OwnedFd::as_fd);
            let fd = step(here, &name, ahead.is_empty())?;
            let place = self.boundary.look(&fd)?;
            match place.kind {
                FileType::Symlink if self.links == Links::Refuse => {
                    return Err(Errno::LOOP.into());
                }
                FileType::Symlink => {
                    links += 1;
                    let target = retry_on_intr(|| rustix::fs::readlinkat(&fd, c"", Vec::new()))?;
                    if target.as_bytes().first() == Some(&b'/') {
                        parent = Some(self.root()?);
                    }
                    ahead.append(&mut components(target.as_bytes())?);
                    if links > MAX_LINKS || ahead.len() > MAX_STEPS {
                        return Err(ASTRAY);
                    }
                }
                _ if ahead.is_empty() => {
                    return Ok(Reached {
                        parent,
                        name,
                        fd,
                        place,
                    });
                }
                FileType::Directory => parent = Some(fd),
                _ => return Err(Errno::NOTDIR.into()),
            }
        }
        Err(Errno::NOENT.into())
    }

    /// What a link in `directory` leads to, if that lies on the same mount and no other link is on
    /// the way: then the kernel may go. None if it has to be found by hand. As for
    /// [`resolve`](Self::resolve), the steps are counted.
    pub(super) fn resolve_straight(
        &mut self,
        directory: BorrowedFd<'_>,
        link: &CStr,
    ) -> Result<Option<(OwnedFd, Place)>, SourceError> {
        // By hand it is found out what is wrong.
        let Ok(target) = retry_on_intr(|| rustix::fs::readlinkat(directory, link, Vec::new()))
        else {
            return Ok(None);
        };
        let path = target.as_bytes();
        self.steps += 1 + path.split(|&byte| byte == b'/').count();
        if path.starts_with(b"/") {
            return Ok(None);
        }
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let resolve = ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_XDEV;
        match rustix::fs::openat2(directory, target.as_c_str(), flags, Mode::empty(), resolve) {
            Ok(fd) => {
                let place = self.boundary.look(&fd)?;
                Ok((place.kind != FileType::Symlink).then_some((fd, place)))
            }
            Err(_) => Ok(None),
        }
    }

    fn root(&self) -> Result<OwnedFd, SourceError> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let root = rustix::fs::open("/", flags, Mode::empty())?;
        self.boundary.look(&root)?;
        Ok(root)
    }
}

/// Opens what has a name in a directory, without doing anything to it.
fn step(at: BorrowedFd<'_>, name: &CString, is_last: bool) -> Result<OwnedFd, Errno> {
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let open = |flags| retry_on_intr(|| rustix::fs::openat(at, name, flags, Mode::empty()));
    if !is_last {
        // What is mounted on demand (autofs(5)) is mounted only for those that ask for a directory.
        match open(flags | OFlags::DIRECTORY) {
            Err(Errno::NOTDIR | Errno::LOOP) => {}
            opened => return opened,
        }
    }
    open(flags)
}

/// The components of a path that have to be stepped over, the last one first.
fn components(path: &[u8]) -> Result<Vec<CString>, Errno> {
    let mut names: Vec<&[u8]> = path
        .split(|&byte| byte == b'/')
        .filter(|name| !matches!(name, [] | [b'.']))
        .collect();
    // Such a path is a directory's.
    let ends_as_directory = path.ends_with(b"/") || path.ends_with(b"/.") || path == b".";
    if ends_as_directory || names.is_empty() && !path.is_empty() {
        names.push(b".");
    }
    names
        .into_iter()
        .rev()
        .map(|name| CString::new(name).map_err(|_| Errno::INVAL))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_cut_into_what_has_to_be_stepped_over() {
        for (path, expected) in [
            ("a/b", "b a"),
            ("/a//./b", "b a"),
            ("../x", "x .."),
            ("a/", ". a"),
            ("a/.", ". a"),
            ("a/..", ".. a"),
            (".", "."),
            ("/", "."),
            ("//.//", "."),
            ("", ""),
        ] {
            let found = components(path.as_bytes()).unwrap();
            let found: Vec<_> = found.iter().map(|name| name.to_str().unwrap()).collect();
            assert_eq!(found.join(" "), expected, "{path}");
        }
    }
}
