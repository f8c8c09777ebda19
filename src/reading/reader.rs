//! The reader: the files of a signed model, each proved once and opened once.
//!
//! Guarantees: a file that is opened has a proved chunk table and length, and all that have it open
//! share one descriptor. Doesn't: hold back other files while one is being proved; wait on behalf
//! of callers that may not wait (use [`Reader::open_then`] and [`OpenFile::read_now`] there).

use std::fmt;
use std::sync::{Arc, Mutex, OnceLock, Weak};
use std::thread::available_parallelism;

use super::ahead::{Ahead, FileAhead, PageSink};
use super::chunk::buffer::BufferPool;
use super::chunk::{ChunkCache, Retain};
use super::fetch::{FileChunks, RepairPlace, Shared};
use super::open_file::OpenFile;
use super::opening::{Opening, PassUnderway};
use super::reports::{Recoveries, SourceErrors, ViolationLog};
use super::source::{Absent, Source, SourceFile};
use super::stats::{ReaderStats, VerifyTimes};
use super::table::{ChunkTable, ProvedLength, TableStore};
use super::violation::ReadError;
use crate::manifest::{FileIndex, VerifiedManifest};
use crate::sync::lock;

/// Bytes of idle read buffers kept for reuse.
const IDLE_BUFFERS: usize = 16 << 20;

/// Bytes of verified chunks that a reader keeps unless it is told otherwise: 256 MiB.
pub const DEFAULT_CACHE_BYTES: usize = 256 << 20;

/// How a [`Reader`] works.
#[derive(Debug, Clone, Copy)]
pub struct ReaderOptions {
    /// Bytes of verified chunks to keep.
    pub cache_bytes: usize,
    /// Which chunks to keep.
    pub retain: Retain,
    /// Full passes to make side by side.
    pub parallel_passes: usize,
}

impl Default for ReaderOptions {
    /// [`DEFAULT_CACHE_BYTES`] of all that is read, and a pass for each core.
    fn default() -> Self {
        Self {
            cache_bytes: DEFAULT_CACHE_BYTES,
            retain: Retain::All,
            parallel_passes: available_parallelism().map_or(1, usize::from),
        }
    }
}

/// An open file, while it is in use.
type InUse = Mutex<Weak<FileAhead>>;

/// Reads a signed model, verifying every byte.
pub struct Reader {
    shared: Arc<Shared>,
    opening: Arc<Opening>,
    ahead: Arc<Ahead>,
    /// By index. Made when a file is first opened: of a million files, most never are.
    open: Box<[OnceLock<Box<InUse>>]>,
}

impl Reader {
    /// A reader of the model that `manifest` signs, with content from `source`. Without a table
    /// store, bindings last as long as the reader.
    pub fn new(
        manifest: Arc<VerifiedManifest>,
        source: Arc<dyn Source>,
        store: Option<Arc<TableStore>>,
        options: ReaderOptions,
    ) -> Arc<Self> {
        Self::with_places(manifest, source, Vec::new(), store, options)
    }

    /// The same, which asks `places`, in this order, for what the source doesn't give or has wrong.
    /// They need no trust.
    pub fn with_places(
        manifest: Arc<VerifiedManifest>,
        source: Arc<dyn Source>,
        places: Vec<RepairPlace>,
        store: Option<Arc<TableStore>>,
        options: ReaderOptions,
    ) -> Arc<Self> {
        let files = manifest.files().len();
        let cores = available_parallelism().map_or(1, usize::from);
        let shared = Shared::new(
            manifest,
            source,
            places,
            BufferPool::new(IDLE_BUFFERS),
            ChunkCache::new(options.cache_bytes, options.retain),
        );
        Arc::new(Self {
            opening: Opening::new(Arc::clone(&shared), store, options.parallel_passes),
            ahead: Ahead::new(cores, options.cache_bytes),
            open: (0..files).map(|_| OnceLock::new()).collect(),
            shared,
        })
    }

    /// The signed list of files. Their positions in it are the `index` of the other calls.
    pub fn manifest(&self) -> &VerifiedManifest {
        &self.shared.manifest
    }

    /// Where content comes from: the source, then the second places.
    pub(crate) fn sources(&self) -> impl Iterator<Item = &dyn Source> {
        let places = self.shared.places.iter().map(|place| &*place.source);
        std::iter::once(&*self.shared.source).chain(places)
    }

    /// The violations met so far.
    pub fn violations(&self) -> &ViolationLog {
        &self.shared.reports.violations
    }

    /// What the source didn't give so far.
    pub fn source_errors(&self) -> &SourceErrors {
        &self.shared.reports.source_errors
    }

    /// What was had after all so far: by a second read, or from a second place.
    pub fn recoveries(&self) -> &Recoveries {
        &self.shared.reports.recoveries
    }

    /// From now on, has what is verified ahead of a single sequential reader put into `sink`.
    /// Applies to files opened later; only the first call counts.
    pub fn push_into(&self, sink: Arc<dyn PageSink>) {
        self.ahead.push_into(sink);
    }

    /// Ends all full passes and refuses all further reads. Cannot be undone.
    pub fn stop(&self) {
        self.shared.stop();
    }

    /// What was done so far.
    pub fn stats(&self) -> ReaderStats {
        let cached = self.shared.cache.bytes() as u64;
        self.shared.counters.look(cached, &self.shared.reports)
    }

    /// The full passes that are being made, and how many wait to be.
    pub fn passes_underway(&self) -> (Vec<PassUnderway>, usize) {
        self.opening.passes_underway()
    }

    /// How long the chunks verified for reads so far took.
    pub fn verify_times(&self) -> VerifyTimes {
        self.shared.counters.verify_times.look()
    }

    /// The proved length of a file, if it is known already. Looks at nothing.
    pub fn proved_len(&self, index: FileIndex) -> Option<ProvedLength> {
        self.opening.proved_len(index)
    }

    /// The sum of all lengths that are proved, in bytes.
    pub fn proved_bytes(&self) -> u64 {
        self.opening.proved_bytes()
    }

    /// Has `then` told the length of a file where that can be proved at hand, and nothing where it
    /// takes a full pass, which isn't made. The caller waits for bounded reads only: at most one
    /// chunk and the file's chunk table.
    pub fn length_then(
        &self,
        index: FileIndex,
        then: impl FnOnce(Result<Option<ProvedLength>, ReadError>) + Send + 'static,
    ) {
        self.opening.length(index, Box::new(then));
    }

    /// Whether the signature itself is the chunk table of a file, so that nothing else has to be
    /// found to read it. Looks at nothing.
    pub fn is_table_signed(&self, index: FileIndex) -> bool {
        ChunkTable::of_signed(&self.shared.file(index).content).is_some()
    }

    /// Whether the chunk table of a file, whose length was signed, can be had without a full pass:
    /// the signature is one, or a header of the table store or of the model announces one. The file
    /// isn't opened, and what was announced may turn out to be none.
    pub fn is_table_announced(&self, index: FileIndex) -> bool {
        self.opening.is_table_announced(index)
    }

    /// The length that the source claims for a file now, in bytes, or else a second place. Nothing
    /// that is delivered may depend on it.
    ///
    /// # Errors
    /// [`ReadError::Source`].
    pub fn claimed_len(&self, index: FileIndex) -> Result<u64, ReadError> {
        let file = self.shared.file(index);
        let claim = |source: &dyn Source| Ok(source.open(&file.name)?.len()?);
        let claimed = claim(&*self.shared.source).or_else(|error| {
            let mut places = self.sources().skip(1);
            places.find_map(|place| claim(place).ok()).ok_or(error)
        });
        claimed.map_err(|error| ReadError::Source {
            file: file.name.clone(),
            range: 0..0,
            error,
        })
    }

    /// Opens a file, waiting for the proof of its chunk table and its length.
    ///
    /// # Errors
    /// [`ReadError`].
    pub fn open(self: &Arc<Self>, index: FileIndex) -> Result<Arc<OpenFile>, ReadError> {
        let (sender, receiver) = std::sync::mpsc::sync_channel(1);
        self.open_then(index, move |opened| {
            // Fails only if the receiver is gone, and it is waiting below.
            let _ = sender.send(opened);
        });
        receiver
            .recv()
            .unwrap_or_else(|_| Err(self.shared.abandoned(index)))
    }

    /// Opens a file and hands it to `then`: at once where the table is at hand, otherwise after the
    /// full pass that this starts, on another thread. The caller waits for bounded reads only.
    pub fn open_then(
        self: &Arc<Self>,
        index: FileIndex,
        then: impl FnOnce(Result<Arc<OpenFile>, ReadError>) + Send + 'static,
    ) {
        self.open_while(index, || true, then);
    }

    /// [`open_then`](Self::open_then) as long as `wanted` says so: a full pass that no caller wants
    /// any more ends, and `then` is told [`ReadError::Stopped`].
    pub fn open_while(
        self: &Arc<Self>,
        index: FileIndex,
        wanted: impl Fn() -> bool + Send + 'static,
        then: impl FnOnce(Result<Arc<OpenFile>, ReadError>) + Send + 'static,
    ) {
        let reader = Arc::clone(self);
        let with_table = move |proved: Result<Arc<ChunkTable>, ReadError>| {
            then(proved.and_then(|table| reader.handle(index, table)));
        };
        self.opening
            .table(index, Box::new(with_table), Box::new(wanted));
    }

    /// A handle on a proved file, which shares what other handles on it have.
    fn handle(&self, index: FileIndex, table: Arc<ChunkTable>) -> Result<Arc<OpenFile>, ReadError> {
        let in_use = self.open[index.get()].get_or_init(Box::default);
        let handle = |ahead| Ok(Arc::new(OpenFile::new(ahead)));
        if let Some(ahead) = lock(in_use).upgrade() {
            return handle(ahead);
        }
        let file = self.shared.file(index);
        let opened = self.shared.source.open(&file.name);
        let source = opened
            .or_else(|error| match &*self.shared.places {
                [] => Err(error),
                // It is tried again whenever something is read.
                _ => Ok(Arc::new(Absent(error)) as Arc<dyn SourceFile>),
            })
            .map_err(|error| ReadError::Source {
                file: file.name.clone(),
                range: 0..table.len(),
                error,
            })
            .inspect_err(|error| self.shared.reports.report(error))?;
        let mut in_use = lock(in_use);
        // Another thread may have been faster.
        if let Some(ahead) = in_use.upgrade() {
            return handle(ahead);
        }
        let chunks = FileChunks::new(index, table, source, Arc::clone(&self.shared));
        let ahead = FileAhead::new(Arc::new(chunks), Arc::clone(&self.ahead));
        *in_use = Arc::downgrade(&ahead);
        handle(ahead)
    }
}

impl fmt::Debug for Reader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reader")
            .field("stats", &self.stats())
            .finish_non_exhaustive()
    }
}
