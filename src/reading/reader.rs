//! The reader: verified bytes of a model's files.
//!
//! Guarantees: [`OpenFile::read`] gives bytes that are the signed ones, at that offset of that
//! file, or an error; an end of file is reported only on a proved length. Reading is always the
//! same: read the chunk into a private buffer, hash that buffer, compare, serve that buffer. A chunk
//! that many ask for at once is verified once. Doesn't: hold back other files while one is being
//! proved; wait on behalf of callers that may not wait (use [`Reader::open_then`] and
//! [`OpenFile::read_now`] there).

use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError, RwLock, Weak};
use std::thread::available_parallelism;

use super::buffer::BufferPool;
use super::cache::{ChunkCache, Key};
use super::flights::Flights;
use super::index_store::IndexStore;
use super::opening::{Opening, Shared};
use super::prefetch::{Activity, Met, Prefetcher, Streams};
use super::push::{self, Arrival, PageSink};
use super::reports::Reports;
use super::source::{Caching, Source, SourceError, SourceFile};
use super::source_errors::SourceErrors;
use super::stats::{Counters, ReaderStats};
use super::table::{ChunkTable, ProvedLength};
use super::verified::{ChunkVerifier, VerifiedBytes, verify_chunks};
use super::violation::{ReadError, Violation, ViolationKind};
use super::violation_log::ViolationLog;
use crate::manifest::{ManifestFile, VerifiedManifest};
use crate::sync::lock;

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

/// An open file, while somebody has it open.
type OpenOnce = Mutex<Weak<OpenFile>>;

/// Reads a signed model, verifying every byte.
pub struct Reader {
    manifest: Arc<VerifiedManifest>,
    source: Arc<dyn Source>,
    options: ReaderOptions,
    opening: Arc<Opening>,
    /// Each open while anybody has it open, so that all share one descriptor. Made when a file is
    /// first opened: of a million files, most never are.
    open: Box<[OnceLock<Box<OpenOnce>>]>,
    pool: Arc<BufferPool>,
    cache: Arc<ChunkCache>,
    flights: Flights,
    prefetcher: Prefetcher,
    activity: Arc<Activity>,
    page_sink: OnceLock<PageSink>,
    counters: Arc<Counters>,
    reports: Arc<Reports>,
    stopped: AtomicBool,
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
        let pool = BufferPool::new(IDLE_BUFFERS);
        let cache = Arc::new(ChunkCache::new(options.cache_bytes, options.retain));
        let (counters, reports) = (Arc::<Counters>::default(), Arc::<Reports>::default());
        let opening = Opening::new(
            Arc::clone(&manifest),
            Arc::clone(&source),
            store,
            options.parallel_passes,
            Shared {
                pool: Arc::clone(&pool),
                cache: Arc::clone(&cache),
                counters: Arc::clone(&counters),
                reports: Arc::clone(&reports),
            },
        );
        let files = manifest.manifest().files().iter();
        let cores = available_parallelism().map_or(1, usize::from);
        Arc::new(Self {
            open: files.map(|_| OnceLock::new()).collect(),
            manifest,
            source,
            options,
            opening,
            pool,
            cache,
            flights: Flights::default(),
            prefetcher: Prefetcher::new(cores),
            activity: Arc::new(Activity::new(cores)),
            page_sink: OnceLock::new(),
            counters,
            reports,
            stopped: AtomicBool::new(false),
        })
    }

    /// The signed list of files. Their positions in it are the `index` of the other calls.
    pub fn manifest(&self) -> &VerifiedManifest {
        &self.manifest
    }

    /// Where the content comes from.
    pub(crate) fn source(&self) -> &dyn Source {
        &*self.source
    }

    /// The violations met so far.
    pub fn violations(&self) -> &ViolationLog {
        &self.reports.violations
    }

    /// What the source didn't give so far.
    pub fn source_errors(&self) -> &SourceErrors {
        &self.reports.source_errors
    }

    /// From now on, has what is verified ahead of a single sequential reader put into `sink`. Applies
    /// to files opened later; only the first call counts.
    pub fn push_into(&self, sink: PageSink) {
        let _ = self.page_sink.set(sink);
    }

    /// Ends all full passes and refuses all further reads. Cannot be undone.
    pub fn stop(&self) {
        self.stopped.store(true, Ordering::SeqCst);
        self.opening.stop();
    }

    /// What was done so far.
    pub fn stats(&self) -> ReaderStats {
        self.counters.look(self.cache.bytes() as u64, &self.reports)
    }

    /// The proved length of a file, if it is known already. Looks at nothing.
    pub fn proved_len(&self, index: usize) -> Option<ProvedLength> {
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
        index: usize,
        then: impl FnOnce(Result<Option<ProvedLength>, ReadError>) + Send + 'static,
    ) {
        self.opening.length(index, Box::new(then));
    }

    /// The length that the source claims for a file now, in bytes. Nothing that is delivered may
    /// depend on it.
    ///
    /// # Errors
    /// [`ReadError::Source`].
    pub fn claimed_len(&self, index: usize) -> Result<u64, ReadError> {
        let file = &self.manifest.manifest().files()[index];
        let claimed = self.source.open(&file.name).and_then(|it| Ok(it.len()?));
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
        self.open_while(index, || true, then);
    }

    /// [`open_then`](Self::open_then) as long as `wanted` says so: a full pass that nobody wants any
    /// more ends, and `then` is told [`ReadError::Stopped`].
    pub fn open_while(
        self: &Arc<Self>,
        index: usize,
        wanted: impl Fn() -> bool + Send + 'static,
        then: impl FnOnce(Result<Arc<OpenFile>, ReadError>) + Send + 'static,
    ) {
        let reader = Arc::clone(self);
        let with_table = move |proved: Result<Arc<ChunkTable>, ReadError>| {
            then(proved.and_then(|table| reader.attach(index, table)));
        };
        self.opening
            .table(index, Box::new(with_table), Box::new(wanted));
    }

    /// A handle on a proved file.
    fn attach(
        self: &Arc<Self>,
        index: usize,
        table: Arc<ChunkTable>,
    ) -> Result<Arc<OpenFile>, ReadError> {
        let state = self.open[index].get_or_init(Box::default);
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
            })
            .inspect_err(|error| self.reports.report(error))?;
        let mut open = lock(state);
        // Another thread may have been faster.
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
        self.counters.source_bytes.add(read);
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
            self.counters.verified_bytes.add(bytes);
            let verified = verify_chunks(table.digests(), verify.clone(), buffer);
            for (chunk, result) in verify.zip(verified) {
                results.push(result.map_err(|mismatch| violation(chunk, mismatch.into())));
            }
        }
        for chunk in run.start + whole..run.end {
            let kind = ViolationKind::Truncated { end: start + read };
            results.push(Err(violation(chunk, kind)));
        }
        results
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
            reader.counters.cache_hits.add(1);
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
        self.deliver(&parts, &wanted)
            .ok_or_else(|| reader.abandoned(self.index))
    }

    /// Joins what is delivered, and counts it. `None` unless it is all of what is wanted: what is
    /// missing between two parts must not be closed up, and a short read would tell the kernel that
    /// the file ends there.
    fn deliver(&self, parts: &[VerifiedBytes], wanted: &Range<u64>) -> Option<VerifiedBytes> {
        let bytes = VerifiedBytes::join(parts, &self.reader.pool);
        let len = bytes.len() as u64;
        if len != wanted.end - wanted.start {
            return None;
        }
        self.reader.counters.delivered_bytes.add(len);
        Some(bytes)
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
            reader.counters.cache_hits.add(1);
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
        let parts: Option<Vec<_>> = span
            .zip(found)
            .map(|(chunk, bytes)| Some(bytes?.slice(part_of(chunk))))
            .collect();
        match parts.and_then(|parts| self.deliver(&parts, wanted)) {
            Some(bytes) => (met, Some(bytes)),
            None => (Met::Waiting, None),
        }
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
        let buffer = reader.pool.take(len);
        let mut verifier = ChunkVerifier::new(self.table.digests(), run, buffer);
        let mut bytes = 0;
        while let Some((place, offset)) = verifier.place() {
            if !source.read_now(place, offset) {
                break;
            }
            bytes += place.len() as u64;
            if !verifier.verify() {
                break;
            }
        }
        reader.counters.source_bytes.add(bytes);
        reader.counters.verified_bytes.add(bytes);
        verifier
            .finish()
            .into_iter()
            .map_while(Result::ok)
            .collect()
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
        reader.counters.prefetched_bytes.add(bytes.len() as u64);
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
            reader.counters.pushed_bytes.add(part.len() as u64);
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
            reader.reports.report(error);
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
