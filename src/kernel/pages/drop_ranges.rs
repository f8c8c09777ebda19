//! Taking back from the page cache what failed.
//!
//! EROFS reads whole folios, of up to 2 MiB in a sequential stream. One that fails stays in the
//! cache as not read, and whoever reads any page of it asks for all of it again. Once the range is
//! dropped, its pages are asked for in smaller folios, and those around a bad chunk can be read.
//!
//! Guarantees: each range that failed is dropped soon afterwards, by a thread that owes no answer;
//! the mount is in use only for the moment that takes. Doesn't: find a mount that was taken out of
//! the namespace, whose pages stay as they are.

use std::collections::BTreeMap;
use std::num::NonZeroU64;
use std::ops::Range;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Weak};
use std::thread;
use std::time::Duration;

use rustix::fs::{Advice, Mode, OFlags};

use crate::fs::data::Part;
use crate::fs::{FileSystem, Inode, Node};
use crate::kernel::attach::Attached;
use crate::kernel::mount_error::MountError;

/// The largest folio, in bytes: a range is dropped only with all folios that it touches.
const FOLIO: u64 = 2 << 20;

/// After these times, for an answer takes a moment to unlock its pages.
const AFTER: [Duration; 2] = [Duration::from_millis(1), Duration::from_millis(20)];

/// A range of a file that failed.
type FailedRange = (Part, Range<u64>);

/// Where ranges that failed are told.
#[derive(Debug, Clone)]
pub(super) struct Failed(Sender<FailedRange>);

impl Failed {
    /// A place to tell, and what the thread that [drops](start) waits for.
    pub(super) fn new() -> (Self, Receiver<FailedRange>) {
        let (sender, receiver) = channel();
        (Self(sender), receiver)
    }

    /// Notes that this range, in bytes of the file, failed.
    pub(super) fn note(&self, part: Part, range: Range<u64>) {
        // Fails where the mount is going away.
        let _ = self.0.send((part, range));
    }
}

/// Starts the thread that drops what `told` says.
pub(super) fn start(
    told: Receiver<FailedRange>,
    attached: &Arc<Attached>,
    fs: &Arc<FileSystem>,
) -> Result<(), MountError> {
    let (attached, fs) = (Arc::downgrade(attached), Arc::downgrade(fs));
    thread::Builder::new()
        .name("drop-ranges".to_owned())
        .spawn(move || drop_when_told(&told, &attached, &fs))
        .map_err(MountError::Thread)?;
    Ok(())
}

/// Drops what it is told of, as long as the mount is there.
fn drop_when_told(told: &Receiver<FailedRange>, attached: &Weak<Attached>, fs: &Weak<FileSystem>) {
    while let Ok(first) = told.recv() {
        thread::sleep(AFTER[0]);
        let mut ranges: BTreeMap<(usize, u64), Part> = BTreeMap::new();
        for (part, range) in std::iter::once(first).chain(told.try_iter()) {
            let key = match part {
                Part::File(index) => index.get(),
                Part::Signature => usize::MAX,
            };
            let folios = range.start / FOLIO..range.end.div_ceil(FOLIO);
            ranges.extend(folios.map(|folio| ((key, folio), part)));
        }
        for wait in AFTER {
            let (Some(attached), Some(fs)) = (attached.upgrade(), fs.upgrade()) else {
                return;
            };
            for (&(_, folio), &part) in &ranges {
                if let Err(error) = drop_folio(&attached, &fs, part, folio) {
                    tracing::debug!(%error, "pages around a failure stay");
                }
            }
            drop((attached, fs));
            thread::sleep(wait);
        }
    }
}

fn drop_folio(
    attached: &Arc<Attached>,
    fs: &FileSystem,
    part: Part,
    folio: u64,
) -> std::io::Result<()> {
    let ino = match part {
        Part::File(index) => fs.tree().of_file(index),
        Part::Signature => fs
            .tree()
            .inodes()
            .find(|&ino| fs.tree().node(ino) == Some(Node::Signature)),
    };
    let path = ino.and_then(|ino: Inode| fs.tree().path(ino));
    let path = path.ok_or(std::io::ErrorKind::NotFound)?;
    let root = attached.open_root()?;
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW | OFlags::NONBLOCK;
    let file = rustix::fs::openat(&root, path, flags, Mode::empty())?;
    drop(root);
    let len = NonZeroU64::new(FOLIO);
    Ok(rustix::fs::fadvise(
        &file,
        folio * FOLIO,
        len,
        Advice::DontNeed,
    )?)
}
