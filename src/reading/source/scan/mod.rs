//! Listing a model directory.
//!
//! Guarantees: nothing is opened but directories, beneath the root and through no link unless links
//! are allowed, and none beyond the [`Boundary`]; directories are listed side by side, and large
//! ones looked at in parts, on some threads. What was found doesn't depend on which thread found
//! it. It ends within its [`Bounds`] in time and memory, also where links lead to links and there
//! are more paths than a list could hold. Doesn't: hold more directories open than a path has
//! components, for each thread.
//!
//! | file | holds |
//! |---|---|
//! | `queue` | what remains to be done, shared by the threads |
//! | `scanner` | entering, listing and looking, one task at a time |
//! | `directory` | a directory on the way |
//! | `signed_names` | which of the signed files lie beneath a directory |
//! | `bounds` | how much is taken in |

mod bounds;
mod directory;
mod queue;
mod scanner;
mod signed_names;

use std::io;
use std::os::fd::OwnedFd;

pub(super) use self::bounds::Bounds;
use self::directory::{Directory, into_io};
use self::queue::Queue;
use self::scanner::{Other, Scanner};
use super::boundary::Boundary;
use super::{Links, Scan};
use crate::manifest::ManifestFile;
use crate::name::{Escaped, FileName};

/// Most threads that list directories.
const MAX_THREADS: usize = 8;

/// The directory that a scan begins in, and how it is to be entered.
#[derive(Clone, Copy)]
pub(super) struct Root<'a> {
    pub(super) directory: &'a OwnedFd,
    pub(super) links: Links,
    pub(super) boundary: &'a Boundary,
}

/// Lists everything beneath `root` but what `skip` says to leave out. `files` are sorted by name.
pub(super) fn scan<S: Fn(&FileName) -> bool + Sync>(
    root: &Root<'_>,
    files: &[ManifestFile],
    bounds: &Bounds,
    skip: &S,
) -> io::Result<Scan> {
    let scanner = Scanner::new(root.links, root.boundary, bounds, files, skip);
    let root = Directory {
        place: root.boundary.look(root.directory).map_err(into_io)?,
        fd: root.directory.try_clone()?,
        path: String::new(),
        depth: 0,
        parent: None,
    };
    let mut first = Other::default();
    let queue = Queue::new(scanner.list(root, &mut first)?);
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let others = std::thread::scope(|scope| {
        let others: Vec<_> = (1..threads.min(MAX_THREADS))
            .map(|_| scope.spawn(|| queue.work(&scanner, Other::default())))
            .collect();
        let mut found = vec![queue.work(&scanner, first)];
        found.extend(others.into_iter().map(|thread| {
            thread
                .join()
                .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        }));
        found
    });
    if let Some(error) = queue.take_failure() {
        return Err(error);
    }
    let mut scan = Scan {
        signed: scanner.into_signed(),
        ..Scan::default()
    };
    for other in others {
        scan.entries.extend(other.entries);
        scan.unnameable.extend(other.unnameable);
    }
    scan.unnameable.sort_unstable_by_key(Escaped::to_string);
    Ok(scan)
}
