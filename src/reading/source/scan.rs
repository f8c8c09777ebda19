//! Listing a model directory.
//!
//! Guarantees: nothing is opened but directories, beneath the root and through no link unless links
//! are allowed; directories are listed side by side, and large ones looked at in parts, on some
//! threads. What was found doesn't depend on which thread found it. Doesn't: hold more directories
//! open than a path has components, for each thread.

use std::ffi::OsStr;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use rustix::fs::{AtFlags, FileType, Mode, OFlags};
use rustix::io::Errno;

use super::{ABSENT, Found, Links, LocalDirectory, Scan, describe};
use crate::manifest::ManifestFile;
use crate::name::{Escaped, FileName};

/// Deepest directory nesting that a scan follows. Deeper trees can't hold a signed name, since
/// names are at most [`crate::name::MAX_PATH`] bytes long.
const MAX_DEPTH: usize = crate::name::MAX_PATH / 2;

/// Most threads that list directories.
const MAX_THREADS: usize = 8;

/// Entries that one thread looks at before another may go on with the rest.
const BATCH: usize = 4096;

/// A directory on the way.
struct Directory {
    fd: OwnedFd,
    /// Its path in the model, empty for the root.
    path: String,
    /// Device and inode number.
    identity: (u64, u64),
    depth: usize,
    parent: Option<Arc<Directory>>,
}

/// What remains to be done.
enum Task {
    /// A directory in another one.
    Enter(Arc<Directory>, FileName),
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

struct Scanner<'a, S> {
    links: Links,
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
    skip: &S,
) -> io::Result<Scan> {
    let scanner = Scanner {
        links: root.links,
        files,
        skip,
        signed: files.iter().map(|_| AtomicU64::new(ABSENT)).collect(),
        state: Mutex::default(),
        changed: Condvar::new(),
    };
    let root = Directory {
        identity: identity_of(&root.root)?,
        fd: root.root.try_clone()?,
        path: String::new(),
        depth: 0,
        parent: None,
    };
    let mut first = Other::default();
    let tasks = scanner.list(root, &mut first)?;
    scanner.lock().waiting = tasks;
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
    if let Some(error) = scanner.lock().failed.take() {
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
        let mut state = self.lock();
        loop {
            if state.failed.is_some() {
                return found;
            }
            let Some(task) = state.waiting.pop() else {
                if state.working == 0 {
                    return found;
                }
                state = self
                    .changed
                    .wait(state)
                    .unwrap_or_else(PoisonError::into_inner);
                continue;
            };
            state.working += 1;
            drop(state);
            let done = self.perform(task, &mut found);
            state = self.lock();
            state.working -= 1;
            match done {
                Ok(tasks) => state.waiting.extend(tasks),
                Err(error) => state.failed = Some(error),
            }
            self.changed.notify_all();
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn perform(&self, task: Task, found: &mut Other) -> io::Result<Vec<Task>> {
        match task {
            Task::Enter(parent, name) => {
                let directory = self.enter(parent, &name)?;
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
    fn enter(&self, parent: Arc<Directory>, name: &FileName) -> io::Result<Directory> {
        let nofollow = match self.links {
            Links::Refuse => OFlags::NOFOLLOW,
            Links::Follow => OFlags::empty(),
        };
        let last = name.components().next_back().unwrap_or_default();
        let fd = rustix::fs::openat(
            &parent.fd,
            last,
            OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC | nofollow,
            Mode::empty(),
        )
        .map_err(|errno| parent.failed(errno))?;
        let identity = identity_of(&fd)?;
        let depth = parent.depth + 1;
        let above = std::iter::successors(Some(&parent), |directory| directory.parent.as_ref());
        if depth > MAX_DEPTH || above.into_iter().any(|above| above.identity == identity) {
            return Err(io::Error::other(format!(
                "{name}: a symbolic link leads back to a directory above it"
            )));
        }
        Ok(Directory {
            fd,
            path: name.as_str().to_owned(),
            identity,
            depth,
            parent: Some(parent),
        })
    }

    /// Lists a directory and looks at some of its entries. Gives what is left to do.
    fn list(&self, directory: Directory, found: &mut Other) -> io::Result<Vec<Task>> {
        // A descriptor of its own to list: listing moves a file offset that clones share.
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

    /// Says of each entry what it is; directories are left to do.
    fn look(
        &self,
        directory: &Arc<Directory>,
        names: &[u8],
        found: &mut Other,
        tasks: &mut Vec<Task>,
    ) -> io::Result<()> {
        let follow = match self.links {
            Links::Refuse => AtFlags::SYMLINK_NOFOLLOW,
            Links::Follow => AtFlags::empty(),
        };
        let signed = SignedNames::new(self.files, &directory.path);
        for raw in names.split_inclusive(|&byte| byte == 0) {
            let raw =
                std::ffi::CStr::from_bytes_with_nul(raw).expect("each ends with its only NUL");
            let index = signed.find(raw.to_bytes());
            // Made only for what isn't a signed file: there may be a million that are.
            let mut name = None;
            if index.is_none() {
                let lossy = raw.to_string_lossy();
                let joined = directory.join(&lossy);
                match FileName::new(&joined) {
                    Ok(valid) if raw.to_str().is_ok() => {
                        if (self.skip)(&valid) {
                            continue;
                        }
                        name = Some(valid);
                    }
                    _ => {
                        let raw = OsStr::from_bytes(raw.to_bytes());
                        let path = Path::new(&directory.path).join(raw);
                        found.unnameable.push(Escaped::bounded_path(path));
                        continue;
                    }
                }
            }
            let name = || match (index, name) {
                (_, Some(name)) => name,
                (Some(index), None) => self.files[index].name.clone(),
                (None, None) => unreachable!("one of them is there"),
            };
            let stat = match rustix::fs::statat(&directory.fd, raw, follow) {
                Ok(stat) => stat,
                // Gone since it was listed.
                Err(Errno::NOENT) if self.links == Links::Refuse => continue,
                Err(Errno::NOENT | Errno::LOOP) => {
                    let found_there = Found::Other("a symbolic link that leads nowhere");
                    found.entries.push((name(), found_there));
                    continue;
                }
                Err(errno) => return Err(directory.failed(errno)),
            };
            match (FileType::from_raw_mode(stat.st_mode), index) {
                (FileType::RegularFile, Some(index)) => {
                    let len = u64::try_from(stat.st_size).unwrap_or(0);
                    self.signed[index].store(len, Ordering::Relaxed);
                }
                (FileType::RegularFile, None) => {
                    let len = u64::try_from(stat.st_size).unwrap_or(0);
                    found.entries.push((name(), Found::File { len }));
                }
                (FileType::Directory, _) => {
                    tasks.push(Task::Enter(Arc::clone(directory), name()));
                }
                (other, _) => found.entries.push((name(), Found::Other(describe(other)))),
            }
        }
        Ok(())
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

    fn failed(&self, errno: Errno) -> io::Error {
        let shown = if self.path.is_empty() {
            "."
        } else {
            &self.path
        };
        let error = io::Error::from(errno);
        io::Error::new(error.kind(), format!("{}: {error}", Escaped::new(shown)))
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

fn identity_of(fd: impl AsFd) -> io::Result<(u64, u64)> {
    let stat = rustix::fs::fstat(fd)?;
    Ok((stat.st_dev, stat.st_ino))
}
