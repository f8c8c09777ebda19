//! Reading the data file.
//!
//! Guarantees: a read gives all that was asked for, or an error; each file is opened when it is
//! first read, with its length proved, and content is verified as of any open file. Doesn't: wait
//! on the thread that asks.

use std::collections::HashMap;
use std::fmt;
use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex};

use lru::LruCache;

use super::bytes::DataBytes;
use super::extents::{Extents, NoExtents, Part, Piece};
use crate::fs::errno::FsError;
use crate::fs::file_system::FileSystem;
use crate::manifest::FileIndex;
use crate::reading::{OpenFile, ProvedLength, VerifiedBytes};
use crate::sync::lock;

/// Files kept open though nothing says that they are still read: each takes a descriptor.
const MOST_OPEN: NonZeroUsize = NonZeroUsize::new(256).unwrap();

/// The data file of a file system.
pub struct DataFile {
    fs: Arc<FileSystem>,
    extents: Extents,
    open: Mutex<LruCache<FileIndex, Arc<OpenFile>>>,
}

/// How a read of the data file goes.
#[derive(Debug)]
pub enum DataRead {
    /// This is the answer.
    Done(Result<DataBytes, FsError>),
    /// It has to be waited for.
    Waits(PendingDataRead),
}

/// A read of the data file that has to be waited for.
pub struct PendingDataRead {
    file: Arc<DataFile>,
    pieces: Vec<Piece>,
    /// Files of it, which stay open for it, and whether they were opened for it.
    opened: HashMap<FileIndex, (Arc<OpenFile>, bool)>,
}

/// What a read is handed to.
type Then = Box<dyn FnOnce(Result<DataBytes, FsError>) + Send>;

impl DataFile {
    /// Lays out what `fs` shows, whose lengths have to be proved by now.
    ///
    /// # Errors
    /// [`NoExtents`].
    pub fn new(fs: Arc<FileSystem>) -> Result<Arc<Self>, NoExtents> {
        let extents = Extents::new(&fs.reader, fs.signature.len() as u64)?;
        Ok(Arc::new(Self {
            fs,
            extents,
            open: Mutex::new(LruCache::new(MOST_OPEN)),
        }))
    }

    /// The file system that it has the files of.
    pub fn fs(&self) -> &Arc<FileSystem> {
        &self.fs
    }

    /// Where the files lie.
    pub fn extents(&self) -> &Extents {
        &self.extents
    }

    /// Reads `len` bytes from `offset`, never fewer. At once if nothing has to be waited for. What
    /// leads beyond the end of the data file is an error.
    pub fn read(self: &Arc<Self>, offset: u64, len: usize) -> DataRead {
        if self.fs.lockdown.is_met() {
            return DataRead::Done(self.fs.counted(Err(FsError::LockedDown)));
        }
        let len_of = |part| self.len_of(part);
        let Some(pieces) = self.extents.pieces(offset, len, len_of) else {
            return DataRead::Done(Err(FsError::Short));
        };
        match self.read_now(&pieces) {
            Some(bytes) => DataRead::Done(Ok(bytes)),
            None => DataRead::Waits(PendingDataRead {
                file: Arc::clone(self),
                pieces,
                opened: HashMap::new(),
            }),
        }
    }

    fn len_of(&self, part: Part) -> Option<u64> {
        match part {
            Part::File(index) => self.fs.reader.proved_len(index).map(ProvedLength::bytes),
            Part::Signature => Some(self.fs.signature.len() as u64),
        }
    }

    fn read_now(&self, pieces: &[Piece]) -> Option<DataBytes> {
        self.gather(pieces, |index, offset, len| {
            let known = lock(&self.open).get(&index).cloned();
            known.and_then(|file| file.read_now(offset, len)).ok_or(())
        })
        .ok()
    }

    /// All pieces one after the other, each as long as was asked for.
    fn gather<E: From<Short>>(
        &self,
        pieces: &[Piece],
        mut read: impl FnMut(FileIndex, u64, usize) -> Result<VerifiedBytes, E>,
    ) -> Result<DataBytes, E> {
        let mut all = DataBytes::none();
        for Piece { part, range, zeros } in pieces {
            let len = usize::try_from(range.end - range.start).map_err(|_| Short)?;
            let bytes = match part {
                _ if len == 0 => VerifiedBytes::end_of_file(),
                Part::File(index) => read(*index, range.start, len)?,
                Part::Signature => {
                    let start = usize::try_from(range.start).map_err(|_| Short)?;
                    self.fs.signature.slice(start..start + len)
                }
            };
            if bytes.len() != len {
                return Err(Short.into());
            }
            all.add(bytes);
            all.add_zeros(*zeros);
        }
        Ok(all)
    }

    /// Keeps a file open for later reads.
    fn keep(&self, index: FileIndex, file: &Arc<OpenFile>) {
        let closed = lock(&self.open).push(index, Arc::clone(file));
        // Not under the lock: closing may take its time.
        drop(closed);
    }
}

/// A read that gave less than its file has.
struct Short;

impl From<Short> for FsError {
    fn from(_: Short) -> Self {
        Self::Short
    }
}

impl From<Short> for () {
    fn from(_: Short) -> Self {}
}

impl PendingDataRead {
    /// Hands `then` the bytes, on another thread.
    pub fn wait(self, then: impl FnOnce(Result<DataBytes, FsError>) + Send + 'static) {
        let fs = Arc::clone(&self.file.fs);
        let Some(owed) = fs.lockdown.owe(self.first()) else {
            return then(fs.counted(Err(FsError::LockedDown)));
        };
        self.go_on(Box::new(move |read| {
            then(fs.counted(read));
            drop(owed);
        }));
    }

    fn first(&self) -> FileIndex {
        let first = self.pieces.iter().find_map(Piece::file);
        first.unwrap_or(FileIndex::new(0))
    }

    /// Opens what isn't open yet, one file after the other, and then reads. A file may turn out to
    /// take a full pass, which no worker waits for.
    fn go_on(mut self, then: Then) {
        let fs = Arc::clone(&self.file.fs);
        fs.workers.run(self.first().number(), move || {
            let Some(index) = self.not_open() else {
                return then(self.read());
            };
            let reader = Arc::clone(&self.file.fs.reader);
            reader.open_then(index, move |opened| match opened {
                Ok(file) => {
                    self.file.keep(index, &file);
                    self.opened.insert(index, (file, true));
                    self.go_on(then);
                }
                Err(error) => then(Err(error.into())),
            });
        });
    }

    /// Takes what is open already, up to the first file that isn't.
    fn not_open(&mut self) -> Option<FileIndex> {
        for index in self.pieces.iter().filter_map(Piece::file) {
            if !self.opened.contains_key(&index) {
                let Some(file) = lock(&self.file.open).get(&index).cloned() else {
                    return Some(index);
                };
                self.opened.insert(index, (file, false));
            }
        }
        None
    }

    fn read(&self) -> Result<DataBytes, FsError> {
        self.file.gather(&self.pieces, |index, offset, len| {
            let (file, is_new) = self.opened.get(&index).ok_or(Short)?;
            // As any other read begins: from it follows what is read ahead, and how.
            let now = is_new.then(|| file.read_now(offset, len)).flatten();
            now.map_or_else(|| Ok(file.read(offset, len)?), Ok)
        })
    }
}

impl fmt::Debug for DataFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DataFile")
            .field("fs", &self.fs)
            .field("blocks", &self.extents.blocks())
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for PendingDataRead {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PendingDataRead")
            .field("pieces", &self.pieces)
            .finish_non_exhaustive()
    }
}
