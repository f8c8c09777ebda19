//! Listing a model directory.
//!
//! Guarantees: nothing is opened but directories, beneath the root and through no link unless links
//! are allowed, and none beyond the [`Boundary`]; directories are listed side by side, and large ones
//! looked at in parts, on some threads. What was found doesn't depend on which thread found it. It
//! ends within its [`Bounds`] in time and memory, also where links lead to links and there are more
//! paths than a list could hold. Doesn't: hold more directories open than a path has components, for each
//! thread.

use std::ffi::{CStr, CString, OsStr};
use std::io;
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex};

use rustix::fs::{AtFlags, FileType, Mode, OFlags};
use rustix::io::Errno;

use super::boundary::{Boundary, Place};
use super::walk::Walk;
use super::{ABSENT, Found, Links, LocalDirectory, Scan, SourceError};
use crate::files::{describe, look_at_entry};
use crate::manifest::ManifestFile;
use crate::name::{Escaped, FileName};
use crate::oms::bundle::MAX_BUNDLE;
use crate::oms::statement::MAX_RESOURCES;
use crate::sync::{lock, wait};

/// Deepest directory nesting that a scan follows. Deeper trees can't hold a signed name, since
/// names are at most [`crate::name::MAX_PATH`] bytes long.
const MAX_DEPTH: usize = crate::name::MAX_PATH / 2;

/// Most links to directories that a scan follows. Links to files, as in the cache layout of
/// Hugging Face hubs, are not among them: those to directories multiply.
const MAX_LINKED: u64 = 4096;

/// Files and directories that may be there without being signed.
const UNSIGNED_ENTRIES: u64 = 200_000;

/// Bytes of their names.
const UNSIGNED_BYTES: u64 = 64 << 20;

/// Components of links to come over for each entry that may be there, on average, and for all of
/// them together.
const STEPS_PER_ENTRY: u64 = 32;
const MORE_STEPS: u64 = 500_000;

/// How much a scan takes in.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bounds {
    /// Files, directories, and whatever else a directory lists.
    entries: u64,
    /// Bytes of names that are held.
    bytes: u64,
    /// Components of links.
    steps: u64,
}

impl Bounds {
    /// What a signature can hold, and as many directories.
    pub(super) fn to_sign() -> Self {
        Self::new(2 * MAX_RESOURCES as u64, MAX_BUNDLE as u64)
    }

    /// What these files need, and an allowance for what isn't signed. They are sorted by name.
    pub(super) fn of(files: &[ManifestFile]) -> Self {
        let bytes: u64 = files
            .iter()
            .map(|file| file.name.as_str().len() as u64)
            .sum();
        let names = files.iter().map(|file| file.name.as_str());
        let entries = files.len() as u64 + directories_of(names);
        Self::new(entries + UNSIGNED_ENTRIES, bytes + UNSIGNED_BYTES)
    }

    fn new(entries: u64, bytes: u64) -> Self {
        Self {
            entries,
            bytes,
            steps: entries / 2 * STEPS_PER_ENTRY + MORE_STEPS,
        }
    }
}

/// How many directories hold files with these names, which are sorted.
fn directories_of<'a>(names: impl Iterator<Item = &'a str>) -> u64 {
    let mut before = "";
    let mut count = 0;
    for name in names {
        let pairs = name.bytes().zip(before.bytes());
        let shared = pairs.take_while(|(a, b)| a == b).count();
        let rest = name.bytes().skip(shared);
        count += rest.filter(|&byte| byte == b'/').count() as u64;
        before = name;
    }
    count
}

/// Most threads that list directories.
const MAX_THREADS: usize = 8;

/// Entries that one thread looks at before another may go on with the rest.
const BATCH: usize = 4096;

/// A directory on the way.
struct Directory {
    /// By `O_PATH`.
    fd: OwnedFd,
    /// Its path in the model, empty for the root.
    path: String,
    place: Place,
    depth: usize,
    parent: Option<Arc<Directory>>,
}

/// What remains to be done.
enum Task {
    /// A directory in another one, or a link to one.
    Enter {
        parent: Arc<Directory>,
        name: CString,
        linked: bool,
    },
    /// Entries of a directory, each name ended by a NUL.
    Look(Arc<Directory>, Vec<u8>),
}

#[derive(Default)]
struct State {
    waiting: Vec<Task>,
    /// Threads that may still add to it.
    working: usize,
    failed: Option<io::Error>,
}

/// What was taken in so far.
#[derive(Default)]
struct Taken {
    entries: AtomicU64,
    /// Of names as listed, and of names that are kept.
    listed_bytes: AtomicU64,
    kept_bytes: AtomicU64,
    linked: AtomicU64,
    steps: AtomicU64,
}

struct Scanner<'a, S> {
    links: Links,
    boundary: &'a Boundary,
    bounds: &'a Bounds,
    taken: Taken,
    files: &'a [ManifestFile],
    skip: &'a S,
    signed: Box<[AtomicU64]>,
    state: Mutex<State>,
    changed: Condvar,
}

/// What one thread found, but for signed files.
#[derive(Default)]
struct Other {
    entries: Vec<(FileName, Found)>,
    unnameable: Vec<Escaped>,
}

/// Lists everything beneath `root` but what `skip` says to leave out. `files` are sorted by name.
pub(super) fn scan<S: Fn(&FileName) -> bool + Sync>(
    root: &LocalDirectory,
    files: &[ManifestFile],
    bounds: &Bounds,
    skip: &S,
) -> io::Result<Scan> {
    let scanner = Scanner {
        links: root.links,
        boundary: &root.boundary,
        bounds,
        taken: Taken::default(),
        files,
        skip,
        signed: files.iter().map(|_| AtomicU64::new(ABSENT)).collect(),
        state: Mutex::default(),
        changed: Condvar::new(),
    };
    let root = Directory {
        place: root.boundary.look(&root.root).map_err(into_io)?,
        fd: root.root.try_clone()?,
        path: String::new(),
        depth: 0,
        parent: None,
    };
    let mut first = Other::default();
    let tasks = scanner.list(root, &mut first)?;
    lock(&scanner.state).waiting = tasks;
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let others = std::thread::scope(|scope| {
        let others: Vec<_> = (1..threads.min(MAX_THREADS))
            .map(|_| scope.spawn(|| scanner.work(Other::default())))
            .collect();
        let mut found = vec![scanner.work(first)];
        found.extend(others.into_iter().map(|thread| {
            thread
                .join()
                .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        }));
        found
    });
    if let Some(error) = lock(&scanner.state).failed.take() {
        return Err(error);
    }
    let mut scan = Scan {
        signed: scanner
            .signed
            .into_iter()
            .map(AtomicU64::into_inner)
            .collect(),
        ..Scan::default()
    };
    for other in others {
        scan.entries.extend(other.entries);
        scan.unnameable.extend(other.unnameable);
    }
    scan.unnameable.sort_unstable_by_key(Escaped::to_string);
    Ok(scan)
}

impl<S: Fn(&FileName) -> bool + Sync> Scanner<'_, S> {
    /// Does what there is to do until nobody has anything left.
    fn work(&self, mut found: Other) -> Other {
        let mut state = lock(&self.state);
        loop {
            if state.failed.is_some() {
                return found;
            }
            let Some(task) = state.waiting.pop() else {
                if state.working == 0 {
                    return found;
                }
                state = wait(&self.changed, state);
                continue;
            };
            state.working += 1;
            drop(state);
            let done = self.perform(task, &mut found);
            state = lock(&self.state);
            state.working -= 1;
            match done {
                Ok(tasks) => state.waiting.extend(tasks),
                Err(error) => state.failed = Some(error),
            }
            self.changed.notify_all();
        }
    }

    fn perform(&self, task: Task, found: &mut Other) -> io::Result<Vec<Task>> {
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
                    "more than {MAX_LINKED} symbolic links to directories, and what they lead to may \
                     be reached in more ways than can be listed. Put a directory where each link is, \
                     or have them ignored"
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
                "links that lead over more than {} names in all, too many for a model. Put files where \
                 the links are, or have them ignored",
                self.bounds.steps
            )));
        }
        Ok(reached)
    }

    /// Lists a directory and looks at some of its entries. Gives what is left to do.
    fn list(&self, directory: Directory, found: &mut Other) -> io::Result<Vec<Task>> {
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
                "more than {entries} files and directories, too many for this model. Move elsewhere \
                 what isn't part of it, or have it ignored"
            )));
        }
        self.take_name(directory, &self.taken.listed_bytes, len)
    }

    /// Takes note of a name that is listed or kept.
    fn take_name(&self, directory: &Directory, taken: &AtomicU64, len: usize) -> io::Result<()> {
        let most = self.bounds.bytes;
        if take(taken, len as u64, most) {
            return Err(directory.beyond(&format_args!(
                "names of more than {most} bytes in all, too many for this model. Move elsewhere what \
                 isn't part of it, or have it ignored"
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

    /// The name of an entry that isn't signed; none if it is to be skipped, or can't be signed, which is
    /// taken note of. Made only for what isn't a signed file: there may be a million that are.
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

/// Adds to what was taken. Whether that is too much now.
fn take(taken: &AtomicU64, more: u64, most: u64) -> bool {
    taken
        .fetch_add(more, Ordering::Relaxed)
        .saturating_add(more)
        > most
}

fn into_io(error: SourceError) -> io::Error {
    match error {
        SourceError::Io(error) => io::Error::new(error.kind(), error.to_string()),
        error => io::Error::other(error.to_string()),
    }
}

impl Directory {
    /// The path of an entry.
    fn join(&self, entry: &str) -> String {
        if self.path.is_empty() {
            entry.to_owned()
        } else {
            format!("{}/{entry}", self.path)
        }
    }

    /// Whether it or a directory above it is in this place.
    fn is_within(&self, place: Place) -> bool {
        let above = std::iter::successors(Some(self), |directory| directory.parent.as_deref());
        above.into_iter().any(|above| above.place == place)
    }

    fn failed(&self, errno: Errno) -> io::Error {
        self.failed_with(&errno.into())
    }

    fn failed_with(&self, error: &io::Error) -> io::Error {
        io::Error::new(error.kind(), format!("{}: {error}", self.shown()))
    }

    /// The scan is over, since there is more than it takes in: `what`.
    fn beyond(&self, what: &std::fmt::Arguments<'_>) -> io::Error {
        io::Error::other(format!("stopped at {}: there are {what}", self.shown()))
    }

    fn shown(&self) -> Escaped {
        Escaped::bounded(match self.path.as_str() {
            "" => ".",
            path => path,
        })
    }
}

/// The signed names beneath one directory.
struct SignedNames<'a> {
    files: &'a [ManifestFile],
    /// Index of the first.
    first: usize,
    /// Bytes that all of them begin with.
    prefix: usize,
}

impl<'a> SignedNames<'a> {
    fn new(files: &'a [ManifestFile], directory: &str) -> Self {
        let (first, prefix) = if directory.is_empty() {
            (0, 0)
        } else {
            let prefix = format!("{directory}/");
            let first = files.partition_point(|file| file.name.as_str() < prefix.as_str());
            (first, prefix.len())
        };
        let rest = &files[first..];
        let beneath = |file: &ManifestFile| {
            prefix == 0
                || file
                    .name
                    .as_str()
                    .strip_prefix(directory)
                    .is_some_and(|rest| rest.starts_with('/'))
        };
        Self {
            files: &rest[..rest.partition_point(beneath)],
            first,
            prefix,
        }
    }

    /// The file that has this name in the directory.
    fn find(&self, entry: &[u8]) -> Option<usize> {
        let prefix = self.prefix;
        self.files
            .binary_search_by(|file| file.name.as_str().as_bytes()[prefix..].cmp(entry))
            .ok()
            .map(|at| self.first + at)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::os::unix::fs::symlink;
    use std::path::Path;

    use super::*;

    fn scanned(dir: &Path, bounds: &Bounds) -> io::Result<Scan> {
        let source = LocalDirectory::open(dir, Links::Follow)?;
        scan(&source, &[], bounds, &|_: &FileName| false)
    }

    #[test]
    fn a_scan_takes_in_what_fits_its_bounds_and_says_which_it_does_not() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("d")).unwrap();
        for file in ["d/1", "d/2", "d/3"] {
            std::fs::write(dir.path().join(file), b"").unwrap();
        }
        symlink("d/.././d/1", dir.path().join("l")).unwrap();
        // Listed: d, l, 1, 2, 3. Kept: l, d, d/1, d/2, d/3. Links: l, d, .., ., d, 1.
        let fits = Bounds {
            entries: 5,
            bytes: 11,
            steps: 6,
        };
        assert_eq!(scanned(dir.path(), &fits).unwrap().entries.len(), 4);
        for (bounds, reason) in [
            (Bounds { entries: 4, ..fits }, "more than 4 files and"),
            (Bounds { bytes: 10, ..fits }, "names of more than 10 bytes"),
            (Bounds { steps: 5, ..fits }, "over more than 5 names"),
        ] {
            let error = scanned(dir.path(), &bounds).unwrap_err().to_string();
            assert!(error.contains(reason), "{error}");
        }
    }

    #[test]
    fn directories_of_signed_files_are_counted_once() {
        for names in [
            &["a"][..],
            &["a/b", "a/c/d", "a/bc/d", "a.x", "a0/x", "a-b/x/y/z"],
            &["x/y/z/1", "x/y/z/2", "x/y/w/1", "x/1"],
        ] {
            let mut names = names.to_vec();
            names.sort_unstable();
            let above = |name: &&'static str| {
                let name = *name;
                name.match_indices('/').map(move |(at, _)| &name[..at])
            };
            let directories: BTreeSet<_> = names.iter().flat_map(above).collect();
            let count = directories_of(names.iter().copied());
            assert_eq!(count, directories.len() as u64, "{names:?}");
        }
    }
}
