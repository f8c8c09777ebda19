//! Proving all lengths before anything is shown.
//!
//! A length that is signed is known without a look at the file, which isn't opened. But it may come
//! without a chunk table: a file in large shards takes a full pass before its first byte. Such
//! files are found, and passed, as others that take one.
//!
//! Guarantees: each other file's length is asked for, some at a time, on other threads; files that
//! take a full pass are passed only where that is wanted. A file with a signed length that isn't
//! what was signed keeps no other from being shown: its reads fail. Doesn't: wait for longer than
//! it is told to.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::Duration;

use super::errno::FsError;
use super::file_system::FileSystem;
use crate::manifest::FileIndex;
use crate::reading::ReadError;

/// Lengths that are looked for at a time.
const MOST_UNDER_WAY: usize = 64;

/// What became of a file.
type Looked = (FileIndex, Result<bool, ReadError>);

/// How far proving is.
#[derive(Debug)]
pub enum Lengths {
    /// All are proved.
    Proved,
    /// That of this file takes a full pass, which wasn't wanted.
    TakesPass(FileIndex),
    /// That of this file can't be proved.
    Failed(FileIndex, FsError),
    /// Some aren't proved yet.
    UnderWay {
        /// Files that are left.
        left: usize,
    },
}

/// Lengths that are being proved. Passes end when this is dropped.
pub struct ProvingLengths {
    fs: Arc<FileSystem>,
    passes: bool,
    next: usize,
    /// Files that were asked for and aren't known yet.
    under_way: HashSet<FileIndex>,
    wanted: Arc<AtomicBool>,
    sender: Sender<Looked>,
    looked: Receiver<Looked>,
}

impl FileSystem {
    /// Begins to prove all lengths, also those that take a full pass if `passes`.
    pub fn prove_lengths(self: &Arc<Self>, passes: bool) -> ProvingLengths {
        let (sender, looked) = channel();
        ProvingLengths {
            fs: Arc::clone(self),
            passes,
            next: 0,
            under_way: HashSet::new(),
            wanted: Arc::new(AtomicBool::new(true)),
            sender,
            looked,
        }
    }
}

impl ProvingLengths {
    /// Goes on for this long, or until all is known.
    pub fn go_on(&mut self, patience: Duration) -> Lengths {
        let files = self.fs.reader.manifest().files().len();
        let until = std::time::Instant::now() + patience;
        loop {
            while self.under_way.len() < MOST_UNDER_WAY && self.next < files {
                let index = FileIndex::new(self.next);
                self.next += 1;
                match self.fs.reader.proved_len(index) {
                    None => self.ask(index),
                    Some(_) if self.fs.reader.is_table_signed(index) => {}
                    Some(_) => self.look_for_table(index),
                }
            }
            let left = files - self.next + self.under_way.len();
            if left == 0 {
                return Lengths::Proved;
            }
            let patience = until.saturating_duration_since(std::time::Instant::now());
            match self.looked.recv_timeout(patience) {
                Ok((index, Ok(true))) => {
                    self.under_way.remove(&index);
                }
                Ok((index, Ok(false))) if self.passes => self.pass(index),
                Ok((index, Ok(false))) => return Lengths::TakesPass(index),
                Ok((index, Err(error))) => match self.fs.reader.proved_len(index) {
                    // That of nothing has no read that could fail.
                    Some(len) if len.bytes() > 0 => {
                        tracing::warn!(%error, "reads of a file will fail");
                        self.under_way.remove(&index);
                    }
                    _ => return Lengths::Failed(index, error.into()),
                },
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {
                    return Lengths::UnderWay { left };
                }
            }
        }
    }

    fn ask(&mut self, index: FileIndex) {
        self.under_way.insert(index);
        let (reader, sender) = (Arc::clone(&self.fs.reader), self.sender.clone());
        self.fs.workers.run(index.number(), move || {
            reader.length_then(index, move |looked| {
                // Fails where nothing waits for it any more.
                let _ = sender.send((index, looked.map(|len| len.is_some())));
            });
        });
    }

    /// Finds out whether a file, whose length was signed, takes a full pass.
    fn look_for_table(&mut self, index: FileIndex) {
        self.under_way.insert(index);
        let (reader, sender) = (Arc::clone(&self.fs.reader), self.sender.clone());
        self.fs.workers.run(index.number(), move || {
            let _ = sender.send((index, Ok(reader.is_table_announced(index))));
        });
    }

    fn pass(&mut self, index: FileIndex) {
        self.under_way.insert(index);
        let (reader, sender) = (Arc::clone(&self.fs.reader), self.sender.clone());
        let wanted = Arc::clone(&self.wanted);
        let wanted = move || wanted.load(Ordering::Relaxed);
        self.fs.workers.run(index.number(), move || {
            reader.open_while(index, wanted, move |opened| {
                let _ = sender.send((index, opened.map(|_| true)));
            });
        });
    }
}

impl Drop for ProvingLengths {
    fn drop(&mut self) {
        self.wanted.store(false, Ordering::Relaxed);
    }
}

impl std::fmt::Debug for ProvingLengths {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ProvingLengths")
            .field("next", &self.next)
            .field("under_way", &self.under_way.len())
            .finish_non_exhaustive()
    }
}
