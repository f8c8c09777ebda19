//! The reader: verified bytes of a model's files.
//!
//! Guarantees: [`OpenFile::read`] gives bytes that are the signed ones, at that offset of that
//! file, or an error; an end of file is reported only on a proved length. Reading is always the
//! same: read the chunk into a private buffer, hash that buffer, compare, serve that buffer. A chunk
//! that many ask for at once is verified once. Doesn't: hold back other files while one is being
//! proved; wait on behalf of callers that may not wait (use [`Reader::open_then`] and
//! [`OpenFile::read_now`] there).

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError, RwLock, Weak};
use std::thread::available_parallelism;

use super::buffer::BufferPool;
use super::cache::{ChunkCache, Key};
use super::flights::Flights;
use super::full_pass::{self, Observer};
use super::index_store::{IndexStore, shipped};
use super::prefetch::{Activity, Met, Prefetcher, Streams};
use super::proof::{self, Proved};
use super::push::{self, Arrival, PageSink};
use super::source::{Caching, Source, SourceError, SourceFile};
use super::table::ChunkTable;
use super::verified::{Filling, VerifiedBytes, verify_chunks};
use super::violation::{ReadError, Violation, ViolationKind};
use super::violation_log::ViolationLog;
use crate::manifest::{ManifestFile, SignedContent, VerifiedManifest};
use crate::name::Escaped;

/// Most bytes that one read asks of the source: a request of the kernel is at most 1 MiB unless an
/// administrator raised the limit, and may touch two more chunks.
const MAX_RUN: u64 = 4 << 20;

/// Most bytes that are read and verified on a thread that may not wait: about a millisecond of
/// SHA-256.
const MAX_NOW: u64 = 2 << 20;

/// Bytes of idle read buffers kept for reuse.
const IDLE_BUFFERS: usize = 16 << 20;

/// Which verified chunks the reader's cache keeps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Retain {
    /// All: nobody else caches what is delivered.
    All,
    /// Those of which a part was delivered. Right where a page cache keeps what was delivered, as
    /// the kernel does for a mount; then a chunk isn't held in memory twice.
    Partial,
}

/// How a [`Reader`] works.
#[derive(Debug, Clone)]
pub struct ReaderOptions {
    /// Bytes of verified chunks to keep.
    pub cache_bytes: usize,
    /// Which chunks to keep.
    pub retain: Retain,
    /// Full passes to make side by side.
    pub parallel_passes: usize,
}

impl Default for ReaderOptions {
    /// 256 MiB of all that is read, and a pass for each core.
    fn default() -> Self {
        Self {
            cache_bytes: 256 << 20,
            retain: Retain::All,
            parallel_passes: available_parallelism().map_or(1, usize::from),
        }
    }
}

/// What a reader has done since it was made.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ReaderStats {
    /// Bytes read from the source to serve reads and to open files.
    pub source_bytes: u64,
    /// Bytes of them that were verified.
    pub verified_bytes: u64,
    /// Bytes of them that were verified ahead of a sequential reader.
    pub prefetched_bytes: u64,
    /// Bytes of them that were pushed into a page cache before anybody asked for them.
    pub pushed_bytes: u64,
    /// Bytes delivered to those who asked.
    pub delivered_bytes: u64,
    /// Reads answered from the cache alone.
    pub cache_hits: u64,
    /// Bytes of verified chunks in the cache now.
    pub cached_bytes: u64,
    /// Full passes made, and the bytes that they hashed.
    pub full_passes: u64,
    /// Bytes hashed in full passes.
    pub full_pass_bytes: u64,
    /// Files whose chunk table is proved.
    pub proved_files: u64,
    /// Chunk tables that were proved and could not be written to the index store.
    pub unkept_tables: u64,
    /// Reads and opens that ended in a violation.
    pub violations: u64,
}

#[derive(Debug, Default)]
struct Counters {
    source_bytes: AtomicU64,
    verified_bytes: AtomicU64,
    prefetched_bytes: AtomicU64,
    pushed_bytes: AtomicU64,
    delivered_bytes: AtomicU64,
    cache_hits: AtomicU64,
    full_passes: AtomicU64,
    full_pass_bytes: AtomicU64,
    proved_files: AtomicU64,
    unkept_tables: AtomicU64,
}

/// What to do with a file once it is open.
type Waiter = Box<dyn FnOnce(Result<Arc<OpenFile>, ReadError>) + Send>;

/// How far the proof of a file's chunk table is.
#[derive(Default)]
enum Proof {
    #[default]
    Unproved,
    /// Somebody is at it; these wait.
    Underway(Vec<Waiter>),
    Proved(Arc<ChunkTable>),
}

#[derive(Default)]
struct FileState {
    proof: Mutex<Proof>,
    /// Open while anybody has it open, so that all share one descriptor.
    open: Mutex<Weak<OpenFile>>,
}

/// Reads a signed model, verifying every byte.
pub struct Reader {
    manifest: Arc<VerifiedManifest>,
    source: Arc<dyn Source>,
    store: Option<IndexStore>,
    options: ReaderOptions,
    /// Made when a file is first opened: of a million files, most never are.
    files: Box<[OnceLock<Box<FileState>>]>,
    pool: Arc<BufferPool>,
    cache: ChunkCache,
    flights: Flights,
    prefetcher: Prefetcher,
    activity: Arc<Activity>,
    page_sink: OnceLock<PageSink>,
    passes: Mutex<PassQueue>,
    counters: Counters,
    log: ViolationLog,
    stopped: AtomicBool,
}

/// Files that wait for a full pass, first come, first served: all of them are wanted.
#[derive(Default)]
struct PassQueue {
    waiting: VecDeque<usize>,
    running: usize,
}

impl Reader {
    /// A reader of the model that `manifest` signs, with content from `source`. Without an index
    /// store, bindings last as long as the reader.
    pub fn new(
        manifest: Arc<VerifiedManifest>,
        source: Arc<dyn Source>,
        store: Option<IndexStore>,
        options: ReaderOptions,
    ) -> Arc<Self> {
        let files = manifest
            .manifest()
            .files()
            .iter()
            .map(|_| OnceLock::new())
            .collect();
        let cores = available_parallelism().map_or(1, usize::from);
        Arc::new(Self {
            cache: ChunkCache::new(options.cache_bytes, options.retain),
            manifest,
            source,
            store,
            options,
            files,
            pool: BufferPool::new(IDLE_BUFFERS),
            flights: Flights::default(),
            prefetcher: Prefetcher::new(cores),
            activity: Arc::new(Activity::new(cores)),
            page_sink: OnceLock::new(),
            passes: Mutex::default(),
            counters: Counters::default(),
            log: ViolationLog::default(),
            stopped: AtomicBool::new(false),
        })
    }

    /// The signed list of files. Their positions in it are the `index` of the other calls.
    pub fn manifest(&self) -> &VerifiedManifest {
        &self.manifest
    }

    fn file(&self, index: usize) -> &FileState {
        self.files[index].get_or_init(Box::default)
    }

    /// The violations met so far.
    pub fn violations(&self) -> &ViolationLog {
        &self.log
    }

    /// From now on, has what is verified ahead of a single sequential reader put into `sink`. Applies
    /// to files opened later; only the first call counts.
    pub fn push_into(&self, sink: PageSink) {
        let _ = self.page_sink.set(sink);
    }

    /// Ends all full passes and refuses all further reads. Cannot be undone.
    pub fn stop(&self) {
        self.stopped.store(true, Ordering::SeqCst);
    }

    /// What was done so far.
    pub fn stats(&self) -> ReaderStats {
        let get = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        ReaderStats {
            source_bytes: get(&self.counters.source_bytes),
            verified_bytes: get(&self.counters.verified_bytes),
            prefetched_bytes: get(&self.counters.prefetched_bytes),
            pushed_bytes: get(&self.counters.pushed_bytes),
            delivered_bytes: get(&self.counters.delivered_bytes),
            cache_hits: get(&self.counters.cache_hits),
            cached_bytes: self.cache.bytes() as u64,
            full_passes: get(&self.counters.full_passes),
            full_pass_bytes: get(&self.counters.full_pass_bytes),
            proved_files: get(&self.counters.proved_files),
            unkept_tables: get(&self.counters.unkept_tables),
            violations: self.log.count(),
        }
    }

    /// The proved length of a file in bytes, if it is known already. Looks at nothing.
    pub fn proved_len(&self, index: usize) -> Option<u64> {
        if let Some(len) = self.manifest.manifest().files()[index].content.len() {
            return Some(len);
        }
        match &*lock(&self.files[index].get()?.proof) {
            Proof::Proved(table) => Some(table.len()),
            Proof::Unproved | Proof::Underway(_) => None,
        }
    }

    /// Opens a file, waiting for the proof of its chunk table and its length.
    ///
    /// # Errors
    /// [`ReadError`].
    pub fn open(self: &Arc<Self>, index: usize) -> Result<Arc<OpenFile>, ReadError> {
        let (sender, receiver) = std::sync::mpsc::sync_channel(1);
        self.open_then(index, move |opened| {
            // Fails only if the receiver is gone, and it is waiting below.
            let _ = sender.send(opened);
        });
        receiver
            .recv()
            .unwrap_or_else(|_| Err(self.abandoned(index)))
    }

    /// Opens a file and hands it to `then`: at once where the table is at hand, otherwise after the
    /// full pass that this starts, on another thread. The caller waits for bounded reads only.
    pub fn open_then(
        self: &Arc<Self>,
        index: usize,
        then: impl FnOnce(Result<Arc<OpenFile>, ReadError>) + Send + 'static,
    ) {
        let mut proof = lock(&self.file(index).proof);
        match &mut *proof {
            Proof::Proved(table) => {
                let table = Arc::clone(table);
                drop(proof);
                then(self.attach(index, table));
            }
            Proof::Underway(waiters) => waiters.push(Box::new(then)),
            Proof::Unproved => {
                *proof = Proof::Underway(vec![Box::new(then)]);
                drop(proof);
                let settle = Settle::new(self, index);
                match self.prove_from_table(index) {
                    Ok(Some(table)) => settle.with(Ok(table)),
                    Ok(None) => self.queue_pass(settle),
                    Err(error) => settle.with(Err(error)),
                }
            }
        }
    }

    /// Proves a file without reading all of it, if that is possible.
    fn prove_from_table(&self, index: usize) -> Result<Option<ChunkTable>, ReadError> {
        let file = &self.manifest.manifest().files()[index];
        if let Some(table) = proof::direct_table(&file.content) {
            return Ok(Some(table));
        }
        let opened = self.source.open(&file.name);

        // Small files are their own table. If this one isn't what was signed, a table of the store
        // may still tell how long it was, and so which parts of it can be read.
        let mut unproved = None;
        if let (SignedContent::Whole(digest), Ok(source)) = (&file.content, &opened) {
            let len = source
                .len()
                .map_err(|error| source_error(file, 0..0, error))?;
            if len <= proof::max_whole(digest.algorithm()) {
                let table = ChunkTable::whole(*digest, len);
                match self.prove_length(index, &table, &**source) {
                    Ok(()) => return Ok(Some(table)),
                    Err(error) => unproved = Some(error),
                }
            }
        }
        let identity = file.content.identity();
        if let Some(store) = &self.store
            && let Some(stored) = store.load(&identity)
            && let Some(table) = proof::table_from_file(&file.content, stored, true)
        {
            return Ok(Some(table));
        }
        if let Some(error) = unproved {
            self.report(&error);
            return Err(error);
        }
        let source = opened.map_err(|error| ReadError::Source {
            file: file.name.clone(),
            range: 0..0,
            error,
        })?;
        if let Some(shipped) = shipped::load(&*self.source, &identity)
            && let Some(table) = proof::table_from_file(&file.content, shipped.clone(), false)
            && self.prove_length(index, &table, &*source).is_ok()
        {
            self.keep(&shipped);
            return Ok(Some(table));
        }
        Ok(None)
    }

    /// Proves a claimed length by verifying the last chunk.
    fn prove_length(
        &self,
        index: usize,
        table: &ChunkTable,
        source: &dyn SourceFile,
    ) -> Result<(), ReadError> {
        if table.length_is_proved() {
            return Ok(());
        }
        let last = table.chunks().count() - 1;
        let run = last..last + 1;
        for chunk in self.read_chunks(index, table, source, run) {
            let key = Key {
                file: index,
                chunk: last,
            };
            self.cache.insert(key, chunk?, 0);
        }
        Ok(())
    }

    /// Keeps a table for the next reader. Doing without is slower and no less safe.
    fn keep(&self, table: &super::table_file::TableFile) {
        if let Some(store) = &self.store
            && let Err(error) = store.save(table)
        {
            self.counters.unkept_tables.fetch_add(1, Ordering::Relaxed);
            let path = Escaped::path(store.directory());
            tracing::warn!(%path, %error, "chunk table not kept: the next mount will prove it again");
        }
    }

    /// Queues a full pass, and sees to it that somebody makes it.
    fn queue_pass(self: &Arc<Self>, settle: Settle) {
        let index = settle.index;
        let mut passes = lock(&self.passes);
        passes.waiting.push_back(index);
        // From here on the queue owes the settlement.
        settle.defer();
        if passes.running >= self.options.parallel_passes.max(1) {
            return;
        }
        passes.running += 1;
        drop(passes);
        let reader = Arc::clone(self);
        let spawned = std::thread::Builder::new()
            .name("full-pass".to_owned())
            .spawn(move || reader.make_passes());
        if spawned.is_err() {
            // No thread to be had: better slow than stuck.
            Arc::clone(self).make_passes();
        }
    }

    fn make_passes(self: Arc<Self>) {
        loop {
            let index = {
                let mut passes = lock(&self.passes);
                let Some(index) = passes.waiting.pop_front() else {
                    passes.running -= 1;
                    return;
                };
                index
            };
            let settle = Settle::new(&self, index);
            // A panic settles with `Abandoned` and must not end the queue.
            let proved = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
                self.prove_by_full_pass(index)
            }));
            if let Ok(proved) = proved {
                settle.with(proved);
            }
        }
    }

    /// Proves a file by hashing all of it, and keeps the table.
    fn prove_by_full_pass(&self, index: usize) -> Result<ChunkTable, ReadError> {
        let file = &self.manifest.manifest().files()[index];
        let source = self
            .source
            .open(&file.name)
            .map_err(|error| ReadError::Source {
                file: file.name.clone(),
                range: 0..0,
                error,
            })?;
        let len = source
            .len()
            .map_err(|error| source_error(file, 0..0, error))?;
        tracing::info!(file = %file.name, bytes = len, "full pass: no chunk table is proved yet");
        let plan = proof::plan_of(&file.content);
        let observer = PassObserver(self);
        let hashed = full_pass::hash_file(&*source, &plan, &observer).map_err(|error| {
            if observer.cancelled() {
                self.stopped_error(index)
            } else {
                source_error(file, 0..len, error)
            }
        })?;
        self.counters.full_passes.fetch_add(1, Ordering::Relaxed);
        match proof::compare(file, hashed) {
            Proved::Table(table, keep) => {
                if let Some(keep) = keep {
                    self.keep(&keep);
                }
                Ok(table)
            }
            Proved::Violations(violations) => {
                let mut first = None;
                for violation in violations {
                    let error = ReadError::from(violation);
                    self.report(&error);
                    first.get_or_insert(error);
                }
                Err(first.unwrap_or_else(|| self.abandoned(index)))
            }
        }
    }

    /// A handle on a proved file.
    fn attach(
        self: &Arc<Self>,
        index: usize,
        table: Arc<ChunkTable>,
    ) -> Result<Arc<OpenFile>, ReadError> {
        let state = &self.file(index).open;
        if let Some(open) = lock(state).upgrade() {
            return Ok(open);
        }
        let file = &self.manifest.manifest().files()[index];
        let source = self
            .source
            .open(&file.name)
            .map_err(|error| ReadError::Source {
                file: file.name.clone(),
                range: 0..table.len(),
                error,
            })?;
        let mut open = lock(state);
        // Somebody may have been faster.
        if let Some(open) = open.upgrade() {
            return Ok(open);
        }
        let opened = Arc::new(OpenFile {
            reader: Arc::clone(self),
            index,
            table,
            source: RwLock::new(source),
            streams: Mutex::new(Streams::new(
                self.options.cache_bytes,
                Arc::clone(&self.activity),
                self.page_sink.get().is_some(),
            )),
            push_ended: Condvar::new(),
        });
        *open = Arc::downgrade(&opened);
        Ok(opened)
    }

    /// Reads the chunks `run` from `source` and verifies them. One result a chunk.
    fn read_chunks(
        &self,
        index: usize,
        table: &ChunkTable,
        source: &dyn SourceFile,
        run: Range<u64>,
    ) -> Vec<Result<VerifiedBytes, ReadError>> {
        let file = &self.manifest.manifest().files()[index];
        let chunks = table.chunks();
        let (start, end) = (chunks.range(run.start).start, chunks.range(run.end - 1).end);
        let Ok(len) = usize::try_from(end - start) else {
            return run.map(|_| Err(self.abandoned(index))).collect();
        };
        let mut buffer = self.pool.take(len);
        let read = match source.read_at(buffer.as_mut_slice(), start, Caching::Drop) {
            Ok(read) => read as u64,
            Err(error) => {
                let error = source_error(file, start..end, error);
                return run.map(|_| Err(error.clone())).collect();
            }
        };
        self.counters
            .source_bytes
            .fetch_add(read, Ordering::Relaxed);
        // Chunks that the source gave in full.
        let whole = run
            .clone()
            .take_while(|&chunk| chunks.range(chunk).end - start <= read)
            .count() as u64;
        let violation = |chunk: u64, kind| {
            ReadError::from(Violation {
                file: file.name.clone(),
                range: chunks.range(chunk),
                algorithm: table.algorithm(),
                kind,
            })
        };
        let mut results = Vec::new();
        if whole > 0 {
            let verify = run.start..run.start + whole;
            let bytes = chunks.range(verify.end - 1).end - start;
            buffer.truncate(usize::try_from(bytes).unwrap_or(len));
            self.counters
                .verified_bytes
                .fetch_add(bytes, Ordering::Relaxed);
            for (chunk, result) in verify.clone().zip(verify_chunks(table, verify, buffer)) {
                results.push(result.map_err(|mismatch| {
                    let kind = ViolationKind::Digest {
                        expected: mismatch.expected,
                        found: mismatch.found,
                    };
                    violation(chunk, kind)
                }));
            }
        }
        for chunk in run.start + whole..run.end {
            let kind = ViolationKind::Truncated { end: start + read };
            results.push(Err(violation(chunk, kind)));
        }
        results
    }

    fn report(&self, error: &ReadError) {
        if let ReadError::Violation(violation) = error {
            self.log.record(violation);
        }
    }

    fn abandoned(&self, index: usize) -> ReadError {
        ReadError::Abandoned {
            file: self.manifest.manifest().files()[index].name.clone(),
        }
    }

    fn stopped_error(&self, index: usize) -> ReadError {
        ReadError::Stopped {
            file: self.manifest.manifest().files()[index].name.clone(),
        }
    }
}

impl std::fmt::Debug for Reader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Reader")
            .field("options", &self.options)
            .field("stats", &self.stats())
            .finish_non_exhaustive()
    }
}

fn source_error(file: &ManifestFile, range: Range<u64>, error: std::io::Error) -> ReadError {
    ReadError::Source {
        file: file.name.clone(),
        range,
        error: SourceError::from(error),
    }
}

/// Counts what a full pass does, and ends it when the reader stops.
struct PassObserver<'a>(&'a Reader);

impl Observer for PassObserver<'_> {
    fn hashed(&self, bytes: u64) {
        self.0
            .counters
            .full_pass_bytes
            .fetch_add(bytes, Ordering::Relaxed);
    }

    fn cancelled(&self) -> bool {
        self.0.stopped.load(Ordering::Relaxed)
    }
}

/// The duty to tell those who wait for a file's proof how it ended, also if it ended in a panic.
struct Settle {
    reader: Arc<Reader>,
    index: usize,
    owed: bool,
}

impl Settle {
    fn new(reader: &Arc<Reader>, index: usize) -> Self {
        Self {
            reader: Arc::clone(reader),
            index,
            owed: true,
        }
    }

    /// Passes the duty on.
    fn defer(mut self) {
        self.owed = false;
    }

    fn with(mut self, proved: Result<ChunkTable, ReadError>) {
        self.owed = false;
        self.settle(proved);
    }

    fn settle(&self, proved: Result<ChunkTable, ReadError>) {
        let state = self.reader.file(self.index);
        let proved = proved.map(Arc::new);
        let next = match &proved {
            Ok(table) => {
                self.reader
                    .counters
                    .proved_files
                    .fetch_add(1, Ordering::Relaxed);
                Proof::Proved(Arc::clone(table))
            }
            // The next open tries again: the right bytes may have come back.
            Err(_) => Proof::Unproved,
        };
        let before = std::mem::replace(&mut *lock(&state.proof), next);
        if let Proof::Underway(waiters) = before {
            for waiter in waiters {
                waiter(match &proved {
                    Ok(table) => self.reader.attach(self.index, Arc::clone(table)),
                    Err(error) => Err(error.clone()),
                });
            }
        }
    }
}

impl Drop for Settle {
    fn drop(&mut self) {
        if self.owed {
            self.settle(Err(self.reader.abandoned(self.index)));
        }
    }
}

/// A file whose chunk table and length are proved.
pub struct OpenFile {
    reader: Arc<Reader>,
    index: usize,
    table: Arc<ChunkTable>,
    /// Replaced when the file turns out to have been replaced beneath its name.
    source: RwLock<Arc<dyn SourceFile>>,
    streams: Mutex<Streams>,
    /// Told when a push has ended, or gone no further.
    push_ended: Condvar,
}

impl OpenFile {
    /// The position of the file in the manifest.
    pub fn index(&self) -> usize {
        self.index
    }

    /// The proved length in bytes.
    pub fn len(&self) -> u64 {
        self.table.len()
    }

    /// Whether the file is empty.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The digests it is verified with.
    pub fn table(&self) -> &ChunkTable {
        &self.table
    }

    /// Reads `len` bytes from `offset`, fewer only at the end of the file.
    ///
    /// # Errors
    /// [`ReadError`]; then no byte is given, though other parts of the range may be readable.
    pub fn read(&self, offset: u64, len: usize) -> Result<VerifiedBytes, ReadError> {
        let reader = &*self.reader;
        if reader.stopped.load(Ordering::Relaxed) {
            return Err(reader.stopped_error(self.index));
        }
        let chunks = self.table.chunks();
        let span = chunks.spanning(offset, len as u64);
        if span.is_empty() {
            return Ok(VerifiedBytes::end_of_file());
        }
        let wanted = offset..offset.saturating_add(len as u64).min(self.len());
        self.await_push(&wanted);
        let part_of = |chunk: u64| part_of(&chunks.range(chunk), &wanted);
        let key = |chunk| self.key(chunk);

        let mut found = span
            .clone()
            .map(|chunk| reader.cache.get(key(chunk), part_of(chunk).len()).map(Ok))
            .collect::<Vec<Option<Result<VerifiedBytes, ReadError>>>>();
        if found.iter().all(Option::is_some) {
            reader.counters.cache_hits.fetch_add(1, Ordering::Relaxed);
        }
        let place = |chunk: u64| usize::try_from(chunk - span.start).unwrap_or(usize::MAX);
        // Again only for what others gave up, and then it's ours to claim.
        while found.iter().any(Option::is_none) {
            let missing = span.clone().filter(|&chunk| found[place(chunk)].is_none());
            let abandoned = reader.abandoned(self.index);
            let mut claims = reader.flights.claim(missing.map(key), abandoned);
            // What landed between looking and claiming is in the cache by now.
            for chunk in claims.mine() {
                if let Some(bytes) = reader.cache.get(key(chunk), part_of(chunk).len()) {
                    claims.land(chunk, Ok(bytes.clone()));
                    found[place(chunk)] = Some(Ok(bytes));
                }
            }
            for run in self.runs(&claims.mine()) {
                for (chunk, result) in run.clone().zip(self.fetch(run)) {
                    if let Ok(bytes) = &result {
                        self.retain(chunk, bytes, part_of(chunk).len());
                    }
                    claims.land(chunk, result.clone());
                    found[place(chunk)] = Some(result);
                }
            }
            for (key, flight) in &claims.theirs {
                found[place(key.chunk)] = match flight.wait() {
                    Some(Ok(bytes)) => {
                        // For the cache this was a delivery like any other.
                        reader.cache.get(*key, part_of(key.chunk).len());
                        Some(Ok(bytes))
                    }
                    Some(Err(error)) => Some(Err(error)),
                    None => {
                        let cached = reader.cache.get(*key, part_of(key.chunk).len());
                        cached.map(Ok)
                    }
                };
            }
        }
        let parts = span
            .zip(found)
            .map(|(chunk, bytes)| {
                let bytes = bytes.unwrap_or_else(|| Err(reader.abandoned(self.index)))?;
                Ok(bytes.slice(part_of(chunk)))
            })
            .collect::<Result<Vec<_>, ReadError>>()?;
        Ok(self.deliver(&parts))
    }

    /// Joins what is delivered, and counts it.
    fn deliver(&self, parts: &[VerifiedBytes]) -> VerifiedBytes {
        let bytes = VerifiedBytes::join(parts, &self.reader.pool);
        self.reader
            .counters
            .delivered_bytes
            .fetch_add(bytes.len() as u64, Ordering::Relaxed);
        bytes
    }

    /// Keeps a chunk of which `delivered` bytes are about to be delivered, if that is of use.
    fn retain(&self, chunk: u64, bytes: &VerifiedBytes, delivered: usize) {
        let reader = &*self.reader;
        if reader.options.retain == Retain::All || delivered < bytes.len() {
            let kept = bytes.clone().compact(&reader.pool);
            reader.cache.insert(self.key(chunk), kept, delivered);
        }
    }

    /// [`read`](Self::read) if neither the source nor another thread has to be waited for: what is
    /// in the cache, and what the source has in memory, verified on this thread. Whatever isn't as it
    /// should be is left to `read`.
    pub fn read_now(self: &Arc<Self>, offset: u64, len: usize) -> Option<VerifiedBytes> {
        let chunks = self.table.chunks();
        let span = chunks.spanning(offset, len as u64);
        if span.is_empty() {
            return (!self.reader.stopped.load(Ordering::Relaxed)).then(VerifiedBytes::end_of_file);
        }
        let wanted = offset..offset.saturating_add(len as u64).min(self.len());
        let arrival = self.streams().pushes.arrive(&wanted);
        if arrival == Arrival::Instead {
            self.push_ended.notify_all();
        }
        let (met, bytes) = match arrival {
            Arrival::Held => (Met::Underway, None),
            Arrival::Free | Arrival::Instead => self.try_now(span, &wanted),
        };
        let ahead = self.streams().observe(wanted, met);
        if let Some(ahead) = ahead {
            self.reader.prefetcher.schedule(self, &ahead);
        }
        bytes
    }

    fn try_now(&self, span: Range<u64>, wanted: &Range<u64>) -> (Met, Option<VerifiedBytes>) {
        let reader = &*self.reader;
        let chunks = self.table.chunks();
        let whole = chunks.range(span.end - 1).end - chunks.range(span.start).start;
        if reader.stopped.load(Ordering::Relaxed) || whole > MAX_NOW {
            return (Met::Waiting, None);
        }
        let key = |chunk| self.key(chunk);
        let part_of = |chunk: u64| part_of(&chunks.range(chunk), wanted);
        let mut found = span
            .clone()
            .map(|chunk| reader.cache.peek(key(chunk)))
            .collect::<Vec<_>>();
        let place = |chunk: u64| usize::try_from(chunk - span.start).unwrap_or(usize::MAX);
        let cached: Vec<u64> = span
            .clone()
            .filter(|&chunk| found[place(chunk)].is_some())
            .collect();
        let met = if found.iter().all(Option::is_some) {
            reader.counters.cache_hits.fetch_add(1, Ordering::Relaxed);
            Met::Cached
        } else {
            let missing = span.clone().filter(|&chunk| found[place(chunk)].is_none());
            let abandoned = reader.abandoned(self.index);
            let mut claims = reader.flights.claim(missing.map(key), abandoned);
            let underway = !claims.theirs.is_empty();
            let mut complete = !underway;
            if complete {
                for run in self.runs(&claims.mine()) {
                    let verified = self.fetch_now(run.clone());
                    complete &= verified.len() as u64 == run.end - run.start;
                    for (chunk, bytes) in run.zip(verified) {
                        found[place(chunk)] = Some(bytes);
                    }
                    if !complete {
                        break;
                    }
                }
            }
            for chunk in claims.mine() {
                if let Some(bytes) = &found[place(chunk)] {
                    // What can't be delivered now is asked for again in a moment.
                    let delivered = if complete { part_of(chunk).len() } else { 0 };
                    self.retain(chunk, bytes, delivered);
                    claims.land(chunk, Ok(bytes.clone()));
                }
            }
            claims.give_up();
            if underway {
                return (Met::Underway, None);
            }
            if !complete {
                return (Met::Waiting, None);
            }
            Met::Fresh
        };
        for chunk in cached {
            reader.cache.get(key(chunk), part_of(chunk).len());
        }
        let parts: Vec<_> = span
            .zip(found)
            .filter_map(|(chunk, bytes)| Some(bytes?.slice(part_of(chunk))))
            .collect();
        (met, Some(self.deliver(&parts)))
    }

    /// Reads and verifies a run of chunks from a source that has them in memory. Gives those before
    /// the first that it hasn't, or that isn't what was signed.
    fn fetch_now(&self, run: Range<u64>) -> Vec<VerifiedBytes> {
        let reader = &*self.reader;
        let chunks = self.table.chunks();
        let len = chunks.range(run.end - 1).end - chunks.range(run.start).start;
        let Ok(len) = usize::try_from(len) else {
            return Vec::new();
        };
        let source = Arc::clone(&self.source.read().unwrap_or_else(PoisonError::into_inner));
        let mut filling = Filling::new(&self.table, run, reader.pool.take(len));
        let mut bytes = 0;
        while let Some((place, offset)) = filling.place() {
            if !source.read_now(place, offset) {
                break;
            }
            bytes += place.len() as u64;
            if !filling.verify() {
                break;
            }
        }
        for counter in [
            &reader.counters.source_bytes,
            &reader.counters.verified_bytes,
        ] {
            counter.fetch_add(bytes, Ordering::Relaxed);
        }
        filling.finish().into_iter().map_while(Result::ok).collect()
    }

    /// Waits where a reader is to be held; see [`push`].
    fn await_push(&self, wanted: &Range<u64>) {
        let streams = self.streams();
        let hold = |streams: &mut Streams| streams.pushes.hold(wanted);
        drop(self.push_ended.wait_while(streams, hold));
    }

    /// Takes note that the segment at `start` is pushed, and lets readers go on.
    pub(super) fn end_push(&self, start: u64) {
        self.streams().pushes.end(start);
        self.push_ended.notify_all();
    }

    /// The sequential readers of this file.
    pub(super) fn streams(&self) -> MutexGuard<'_, Streams> {
        lock(&self.streams)
    }

    /// Verifies the chunks that begin in `range` into the cache, or pushes them, as long as `awaited`
    /// wants them. What fails is left to whoever asks for it. Whether all was done.
    pub(super) fn prefetch(
        &self,
        range: Range<u64>,
        push: bool,
        awaited: impl Fn(u64) -> bool,
    ) -> bool {
        let reader = &*self.reader;
        if reader.stopped.load(Ordering::Relaxed) {
            return false;
        }
        let chunks = self.table.chunks();
        let mut span = chunks.spanning(range.start, range.end - range.start);
        // A chunk that lies in two ranges belongs to the first.
        if chunks.range(span.start).start < range.start {
            span.start += 1;
        }
        if push {
            match self.push_now(span, &range, &awaited) {
                Some(rest) => span = rest,
                None => return false,
            }
        }
        let mut verified = Vec::new();
        let wanted = span
            .clone()
            .filter(|&chunk| awaited(chunks.range(chunk).start));
        let missing = wanted.filter(|&chunk| reader.cache.peek(self.key(chunk)).is_none());
        let missing: Vec<u64> = missing.collect();
        let keys = missing.iter().map(|&chunk| self.key(chunk));
        let abandoned = reader.abandoned(self.index);
        let mut claims = reader.flights.claim(keys, abandoned);
        for mut run in self.runs(&claims.mine()) {
            let mut keep = |chunk, bytes: VerifiedBytes| {
                self.keep_ahead(chunk, &bytes);
                if push {
                    verified.push((chunk, bytes.clone()));
                }
                claims.land(chunk, Ok(bytes));
            };
            for bytes in self.fetch_now(run.clone()) {
                keep(run.start, bytes);
                run.start += 1;
            }
            if run.is_empty() {
                continue;
            }
            let source = Arc::clone(&self.source.read().unwrap_or_else(PoisonError::into_inner));
            let results = reader.read_chunks(self.index, &self.table, &*source, run.clone());
            for (chunk, result) in run.zip(results) {
                if let Ok(bytes) = result {
                    keep(chunk, bytes);
                }
            }
        }
        claims.give_up();
        for (chunk, bytes) in verified {
            self.push(chunk, &bytes, &range, &awaited);
        }
        span.is_empty() || awaited(chunks.range(span.end - 1).start)
    }

    /// Verifies and pushes chunks that the source has in memory, each while it is hot in the
    /// processor's caches. Returns the rest, from the first that isn't in memory; nothing where the
    /// reader has overtaken us.
    fn push_now(
        &self,
        span: Range<u64>,
        within: &Range<u64>,
        awaited: impl Fn(u64) -> bool,
    ) -> Option<Range<u64>> {
        let reader = &*self.reader;
        for chunk in span.clone() {
            if !awaited(self.table.chunks().range(chunk).start) {
                return None;
            }
            if reader.cache.peek(self.key(chunk)).is_some() {
                continue;
            }
            let abandoned = reader.abandoned(self.index);
            let key = std::iter::once(self.key(chunk));
            let mut claims = reader.flights.claim(key, abandoned);
            if claims.mine().is_empty() {
                // Somebody needs it now.
                continue;
            }
            let Some(bytes) = self.fetch_now(chunk..chunk + 1).pop() else {
                claims.give_up();
                return Some(chunk..span.end);
            };
            self.keep_ahead(chunk, &bytes);
            claims.land(chunk, Ok(bytes.clone()));
            self.push(chunk, &bytes, within, &awaited);
        }
        Some(span.end..span.end)
    }

    fn keep_ahead(&self, chunk: u64, bytes: &VerifiedBytes) {
        let reader = &*self.reader;
        reader
            .counters
            .prefetched_bytes
            .fetch_add(bytes.len() as u64, Ordering::Relaxed);
        reader.cache.insert(self.key(chunk), bytes.clone(), 0);
    }

    /// Pushes what lies in `within` of a chunk that is in the cache, out of which it goes with that but
    /// for what stays back. No claims may be held.
    fn push(
        &self,
        chunk: u64,
        bytes: &VerifiedBytes,
        within: &Range<u64>,
        awaited: impl Fn(u64) -> bool,
    ) {
        let reader = &*self.reader;
        let Some(sink) = reader.page_sink.get() else {
            return;
        };
        let range = self.table.chunks().range(chunk);
        let pushed = range.start.max(within.start)..range.end.min(within.end);
        for part in push::parts(&pushed) {
            let part = part_of(&range, &part);
            if reader.stopped.load(Ordering::Relaxed) || !awaited(range.start) {
                return;
            }
            if !sink(
                self.index,
                range.start + part.start as u64,
                &bytes.slice(part.clone()),
            ) {
                return;
            }
            reader
                .counters
                .pushed_bytes
                .fetch_add(part.len() as u64, Ordering::Relaxed);
            // For the cache this was a delivery like any other.
            reader.cache.get(self.key(chunk), part.len());
        }
    }

    fn key(&self, chunk: u64) -> Key {
        Key {
            file: self.index,
            chunk,
        }
    }

    /// Groups chunks into runs to read at once.
    fn runs(&self, chunks: &[u64]) -> Vec<Range<u64>> {
        let longest = (MAX_RUN / self.table.chunks().size()).max(1);
        let mut runs = Vec::<Range<u64>>::new();
        for &chunk in chunks {
            match runs.last_mut() {
                Some(run) if run.end == chunk && run.end - run.start < longest => run.end += 1,
                _ => runs.push(chunk..chunk + 1),
            }
        }
        runs
    }

    /// Reads and verifies a run of chunks. A chunk that fails is tried once more from the file that
    /// has the name now: the one we hold may have been replaced by a good copy, or be a stale handle
    /// of a network file system.
    fn fetch(&self, run: Range<u64>) -> Vec<Result<VerifiedBytes, ReadError>> {
        let reader = &*self.reader;
        let held = Arc::clone(&self.source.read().unwrap_or_else(PoisonError::into_inner));
        let mut results = reader.read_chunks(self.index, &self.table, &*held, run.clone());
        if results.iter().all(Result::is_ok) {
            return results;
        }
        let name = &reader.manifest.manifest().files()[self.index].name;
        if let Ok(fresh) = reader.source.open(name) {
            for (chunk, result) in run.zip(&mut results) {
                if result.is_ok() {
                    continue;
                }
                let again = chunk..chunk + 1;
                let again = reader
                    .read_chunks(self.index, &self.table, &*fresh, again)
                    .pop();
                if let Some(Ok(bytes)) = again {
                    *result = Ok(bytes);
                    *self.source.write().unwrap_or_else(PoisonError::into_inner) =
                        Arc::clone(&fresh);
                }
            }
        }
        for error in results.iter().filter_map(|result| result.as_ref().err()) {
            reader.report(error);
        }
        results
    }
}

impl std::fmt::Debug for OpenFile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("OpenFile")
            .field(
                "name",
                &self.reader.manifest.manifest().files()[self.index].name,
            )
            .field("len", &self.len())
            .finish_non_exhaustive()
    }
}

/// The part of the chunk at `range` that lies in `wanted`, counted from the start of the chunk.
fn part_of(range: &Range<u64>, wanted: &Range<u64>) -> Range<usize> {
    let start = wanted.start.max(range.start) - range.start;
    let end = wanted.end.min(range.end) - range.start;
    // Within a chunk, so within memory.
    usize::try_from(start).unwrap_or(0)..usize::try_from(end).unwrap_or(0)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
