//! How a file gets its chunk table, and its length.
//!
//! Guarantees: each file is proved once, whoever asks; those who ask for it meanwhile are told the
//! same. What can be proved at hand is: by the signature, by a table of the store, by a file that is
//! small enough to be its own proof, by a table shipped with the model. Anything else takes a full
//! pass, which is made only as long as somebody waits for it. Nobody is forgotten, also where a
//! proof ends in a panic. Doesn't: wait; whoever asks is told on another thread, or on its own.
//!
//! The store is asked first. A binding there is for content too large to be checked directly, so it
//! never takes the place of a direct check that fails.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::{Duration, Instant};

use super::buffer::BufferPool;
use super::cache::{ChunkCache, Key};
use super::full_pass::{self, Observer};
use super::index_store::IndexStore;
use super::passes::{Passes, Progress, with_own_threads};
use super::reports::Reports;
use super::source::{FileIdentity, Source, SourceError, SourceFile};
use super::stats::Counters;
use super::table::{Candidate, ChunkTable, ProvedLength};
use super::violation::ReadError;
use super::{last_chunk, proof, shipped};
use crate::manifest::{ManifestFile, VerifiedManifest};
use crate::name::Escaped;
use crate::sync::lock;

/// How often a pass looks whether somebody still waits for it, and whether the file is still there.
const CHECK: Duration = Duration::from_millis(100);

/// How often a pass begins again because the file was replaced.
const MAX_ATTEMPTS: u32 = 100;

/// What to do with a table once it is proved.
type WithTable = Box<dyn FnOnce(Result<Arc<ChunkTable>, ReadError>) + Send>;

/// What to do with a length: `None` where it takes a full pass.
type WithLength = Box<dyn FnOnce(Result<Option<ProvedLength>, ReadError>) + Send>;

/// Whether somebody still waits.
type Wanted = Box<dyn Fn() -> bool + Send>;

/// What somebody waits for.
enum Waiter {
    Table(WithTable, Wanted),
    Length(WithLength),
}

/// How far the proof of a file is.
#[derive(Default)]
enum Proof {
    #[default]
    Unproved,
    /// It is looked for at hand.
    Looking(Vec<Waiter>),
    /// A full pass is made or waits to be made; its number tells it from those before it.
    Passing(u64, Vec<(WithTable, Wanted)>),
    Proved(Arc<ChunkTable>),
}

#[derive(Default)]
struct FileProof {
    proof: Mutex<Proof>,
    /// Never changes once it is known: only one length can be the signed one.
    len: OnceLock<ProvedLength>,
}

/// What was found at hand.
enum AtHand {
    Table(ChunkTable),
    Length(ProvedLength),
    /// Only a full pass can tell.
    Nothing,
}

/// The proofs of all files of a model.
pub(super) struct Opening {
    manifest: Arc<VerifiedManifest>,
    source: Arc<dyn Source>,
    store: Option<IndexStore>,
    /// Made when a file is first asked for: of a million files, most never are.
    files: Box<[OnceLock<Box<FileProof>>]>,
    passes: Passes,
    next_pass: AtomicU64,
    /// The sum of all lengths that are proved.
    proved_bytes: AtomicU64,
    stopped: AtomicBool,
    shared: Shared,
}

/// What a reader uses too.
pub(super) struct Shared {
    pub(super) pool: Arc<BufferPool>,
    pub(super) cache: Arc<ChunkCache>,
    pub(super) counters: Arc<Counters>,
    pub(super) reports: Arc<Reports>,
}

impl Opening {
    pub(super) fn new(
        manifest: Arc<VerifiedManifest>,
        source: Arc<dyn Source>,
        store: Option<IndexStore>,
        parallel_passes: usize,
        shared: Shared,
    ) -> Arc<Self> {
        let files = manifest.manifest().files();
        let signed = files.iter().filter_map(|file| file.content.len());
        Arc::new(Self {
            proved_bytes: AtomicU64::new(signed.fold(0, u64::saturating_add)),
            files: files.iter().map(|_| OnceLock::new()).collect(),
            manifest,
            source,
            store,
            passes: Passes::new(parallel_passes),
            next_pass: AtomicU64::new(0),
            stopped: AtomicBool::new(false),
            shared,
        })
    }

    fn signed(&self, index: usize) -> &ManifestFile {
        &self.manifest.manifest().files()[index]
    }

    fn file(&self, index: usize) -> &FileProof {
        self.files[index].get_or_init(Box::default)
    }

    /// Ends all passes.
    pub(super) fn stop(&self) {
        self.stopped.store(true, Ordering::SeqCst);
    }

    /// The proved length of a file, if it is known already. Looks at nothing.
    pub(super) fn proved_len(&self, index: usize) -> Option<ProvedLength> {
        ProvedLength::of_signed(&self.signed(index).content)
            .or_else(|| self.files[index].get()?.len.get().copied())
    }

    /// The sum of all lengths that are proved.
    pub(super) fn proved_bytes(&self) -> u64 {
        self.proved_bytes.load(Ordering::Relaxed)
    }

    /// Takes note of a length.
    fn note_len(&self, index: usize, len: ProvedLength) {
        if self.file(index).len.set(len).is_ok() && self.signed(index).content.len().is_none() {
            let add = |sum: u64| Some(sum.saturating_add(len.bytes()));
            let relaxed = Ordering::Relaxed;
            let _ = self.proved_bytes.fetch_update(relaxed, relaxed, add);
        }
    }

    /// Has `then` told the length of a file if that can be proved at hand, or that it takes a full
    /// pass, which this doesn't start.
    pub(super) fn length(self: &Arc<Self>, index: usize, then: WithLength) {
        match self.proved_len(index) {
            Some(len) => then(Ok(Some(len))),
            None => self.ask(index, Waiter::Length(then)),
        }
    }

    /// Has `then` given the table of a file: at once where it is at hand, otherwise after the full
    /// pass that this starts, on another thread. The pass goes on as long as `wanted` says so, or
    /// somebody else waits for it too.
    pub(super) fn table(self: &Arc<Self>, index: usize, then: WithTable, wanted: Wanted) {
        self.ask(index, Waiter::Table(then, wanted));
    }

    fn ask(self: &Arc<Self>, index: usize, waiter: Waiter) {
        let mut proof = lock(&self.file(index).proof);
        match (&mut *proof, waiter) {
            (Proof::Proved(table), waiter) => {
                let table = Arc::clone(table);
                drop(proof);
                waiter.tell(Ok(&table));
            }
            (Proof::Looking(waiters), waiter) => waiters.push(waiter),
            (Proof::Passing(_, waiters), Waiter::Table(then, wanted)) => {
                waiters.push((then, wanted));
            }
            (Proof::Passing(..), Waiter::Length(then)) => {
                drop(proof);
                then(Ok(None));
            }
            (Proof::Unproved, waiter) => {
                let wants_table = matches!(waiter, Waiter::Table(..));
                *proof = Proof::Looking(vec![waiter]);
                drop(proof);
                self.look(index, wants_table);
            }
        }
    }

    /// Looks at hand, until those who wait are told or wait for a full pass.
    fn look(self: &Arc<Self>, index: usize, mut wants_table: bool) {
        loop {
            let owed = Owed {
                opening: self,
                index,
                pass: None,
            };
            let found = self.at_hand(index, wants_table);
            std::mem::forget(owed);
            if let Ok(AtHand::Table(table)) = found {
                return self.settle(index, table);
            }
            let mut waiters = self.take_waiters(index, None);
            match found {
                Err(error) => {
                    self.shared.reports.report(&error);
                    return tell_all(waiters, &error);
                }
                Ok(AtHand::Length(len)) => {
                    self.note_len(index, len);
                    let tables = tell_lengths(&mut waiters, Some(len));
                    if tables.is_empty() {
                        return;
                    }
                    // It is at hand, so it can be loaded. Others may have come meanwhile.
                    let mut proof = lock(&self.file(index).proof);
                    match &mut *proof {
                        Proof::Unproved => *proof = Proof::Looking(tables),
                        Proof::Looking(_) | Proof::Passing(..) | Proof::Proved(_) => {
                            drop(proof);
                            for waiter in tables {
                                self.ask(index, waiter);
                            }
                            return;
                        }
                    }
                    wants_table = true;
                }
                Ok(AtHand::Table(_) | AtHand::Nothing) => {
                    let tables = tell_lengths(&mut waiters, None);
                    return self.pass(index, tables);
                }
            }
        }
    }

    /// Proves a file, or if that suffices its length, without reading all of it, if that is possible.
    fn at_hand(&self, index: usize, wants_table: bool) -> Result<AtHand, ReadError> {
        let file = self.signed(index);
        if let Some(table) = ChunkTable::of_shards(&file.content) {
            return Ok(AtHand::Table(table));
        }
        if let Some(store) = &self.store {
            let bound = if wants_table {
                store.load(&file.content).map(AtHand::Table)
            } else {
                store.proved_len(&file.content).map(AtHand::Length)
            };
            if let Some(found) = bound {
                return Ok(found);
            }
        }
        let source = self.source.open(&file.name);
        let source = source.map_err(|error| self.source_error(index, 0, error))?;
        let claimed = source
            .len()
            .map_err(|error| self.source_error(index, 0, error.into()))?;
        if let Some(candidate) = Candidate::whole(&file.content, claimed) {
            return self
                .prove_length(index, candidate, &*source)
                .map(AtHand::Table);
        }
        if let Some(candidate) = shipped::load(&*self.source, &file.content, claimed)
            && let Ok(table) = self.prove_length(index, candidate, &*source)
        {
            self.keep(&table);
            return Ok(AtHand::Table(table));
        }
        Ok(AtHand::Nothing)
    }

    /// Proves a claimed length by verifying the last chunk, which is kept: it is about to be read.
    fn prove_length(
        &self,
        index: usize,
        candidate: Candidate,
        source: &dyn SourceFile,
    ) -> Result<ChunkTable, ReadError> {
        let Shared {
            pool,
            cache,
            counters,
            ..
        } = &self.shared;
        let chunk = candidate.digests().chunks().count() - 1;
        let (table, bytes) = last_chunk::prove_length(self.signed(index), candidate, source, pool)?;
        counters.source_bytes.add(bytes.len() as u64);
        counters.verified_bytes.add(bytes.len() as u64);
        cache.insert(Key { file: index, chunk }, bytes, 0);
        Ok(table)
    }

    /// Keeps a table for the next reader. Doing without is slower and no less safe.
    fn keep(&self, table: &ChunkTable) {
        if let Some(store) = &self.store
            && let Err(error) = store.save(table)
        {
            self.shared.counters.unkept_tables.add(1);
            let path = Escaped::path(store.directory());
            tracing::warn!(%path, %error, "chunk table not kept: the next mount will prove it again");
        }
    }

    /// Has a full pass made for those who wait for a table, if any do.
    fn pass(self: &Arc<Self>, index: usize, waiters: Vec<Waiter>) {
        let waiters: Vec<_> = waiters.into_iter().filter_map(Waiter::of_table).collect();
        if waiters.is_empty() {
            return;
        }
        let mut proof = lock(&self.file(index).proof);
        match &mut *proof {
            Proof::Unproved => {}
            // Somebody came in between.
            Proof::Passing(_, others) => return others.extend(waiters),
            Proof::Looking(others) => {
                let waiters = waiters
                    .into_iter()
                    .map(|(then, it)| Waiter::Table(then, it));
                return others.extend(waiters);
            }
            Proof::Proved(table) => {
                let table = Arc::clone(table);
                drop(proof);
                for (then, _) in waiters {
                    then(Ok(Arc::clone(&table)));
                }
                return;
            }
        }
        let pass = self.next_pass.fetch_add(1, Ordering::Relaxed);
        *proof = Proof::Passing(pass, waiters);
        drop(proof);
        let this = Arc::clone(self);
        self.passes.run(move |progress| {
            let owed = Owed {
                opening: &this,
                index,
                pass: Some(pass),
            };
            let proved = this.full_pass(index, pass, progress);
            std::mem::forget(owed);
            match proved {
                Ok(table) => {
                    this.keep(&table);
                    this.settle(index, table);
                }
                Err(error) => {
                    this.shared.reports.report(&error);
                    tell_all(this.take_waiters(index, Some(pass)), &error);
                }
            }
        });
    }

    /// Proves a file by hashing all of it. Begins again where another file has taken its place, or it
    /// has another length: the right bytes may be back.
    fn full_pass(
        &self,
        index: usize,
        pass: u64,
        progress: &Progress,
    ) -> Result<ChunkTable, ReadError> {
        let file = self.signed(index);
        for _ in 0..MAX_ATTEMPTS {
            // A source may keep us waiting for that, too.
            progress.begins_read();
            let source = self.source.open(&file.name);
            progress.ends_read();
            let source = source.map_err(|error| self.source_error(index, 0, error))?;
            let claim = Claim::of(&*source);
            let claim = claim.map_err(|error| self.source_error(index, 0, error.into()))?;
            let observer = PassObserver {
                opening: self,
                index,
                pass,
                progress,
                claim,
                checked: Mutex::new(Instant::now()),
                unwanted: AtomicBool::new(false),
                outdated: AtomicBool::new(false),
            };
            let proved = self.hash(file, &*source, &observer);
            if proved.is_ok() {
                return proved;
            }
            // What differs from what was signed may no longer be what has the name.
            observer.check();
            if observer.is_ended() {
                return Err(self.stopped(index));
            }
            if !observer.outdated.load(Ordering::Relaxed) {
                return proved;
            }
        }
        let error = format!("it was replaced {MAX_ATTEMPTS} times while it was read");
        Err(self.source_error(index, 0, std::io::Error::other(error).into()))
    }

    /// Hashes a file and compares it with what was signed.
    fn hash(
        &self,
        file: &ManifestFile,
        source: &dyn SourceFile,
        observer: &PassObserver<'_>,
    ) -> Result<ChunkTable, ReadError> {
        let bytes = observer.claim.len;
        observer.check();
        if observer.cancelled() {
            return Err(self.stopped(observer.index));
        }
        // Nothing has to be hashed to know that bytes are missing.
        if let Some(signed) = file.content.len().filter(|&signed| bytes < signed)
            && let Some(violation) = proof::length_violation(file, signed, bytes)
        {
            return Err(violation.into());
        }
        tracing::info!(file = %file.name, bytes, "full pass: no chunk table is proved yet");
        let plan = proof::plan_of(&file.content);
        let len = plan.len.map_or(bytes, |signed| signed.min(bytes));
        let hash = || full_pass::hash_file(source, &plan, observer);
        let hashed = with_own_threads(len, observer.progress, hash)
            .map_err(|error| self.source_error(observer.index, bytes, error.into()))?;
        self.shared.counters.full_passes.add(1);
        proof::prove(file, hashed).map_err(|violations| {
            let mut errors = violations.into_iter().map(ReadError::from);
            let first = errors
                .next()
                .unwrap_or_else(|| self.abandoned(observer.index));
            // The first is reported as all errors are.
            errors.for_each(|error| self.shared.reports.report(&error));
            first
        })
    }

    /// Takes note of a proof, and tells those who wait for it.
    fn settle(&self, index: usize, table: ChunkTable) {
        self.note_len(index, table.proved_len());
        let table = Arc::new(table);
        let before = {
            let mut proof = lock(&self.file(index).proof);
            std::mem::replace(&mut *proof, Proof::Proved(Arc::clone(&table)))
        };
        let waiters = match before {
            // A pass that nobody waited for any more, beside another one.
            Proof::Proved(_) => return,
            Proof::Unproved => Vec::new(),
            Proof::Looking(waiters) => waiters,
            Proof::Passing(_, waiters) => waiters
                .into_iter()
                .map(|(then, wanted)| Waiter::Table(then, wanted))
                .collect(),
        };
        self.shared.counters.proved_files.add(1);
        for waiter in waiters {
            waiter.tell(Ok(&table));
        }
    }

    /// Those who wait for a look at hand, or for that pass; the next one to ask begins anew. The right
    /// bytes may have come back by then.
    fn take_waiters(&self, index: usize, pass: Option<u64>) -> Vec<Waiter> {
        let mut proof = lock(&self.file(index).proof);
        match (&*proof, pass) {
            (Proof::Looking(_), None) => {}
            (Proof::Passing(current, _), Some(pass)) if *current == pass => {}
            _ => return Vec::new(),
        }
        match std::mem::take(&mut *proof) {
            Proof::Looking(waiters) => waiters,
            Proof::Passing(_, waiters) => waiters
                .into_iter()
                .map(|(then, wanted)| Waiter::Table(then, wanted))
                .collect(),
            Proof::Unproved | Proof::Proved(_) => Vec::new(),
        }
    }

    /// Lets go those who no longer wait for a pass. Whether anybody still does.
    fn is_pass_wanted(&self, index: usize, pass: u64) -> bool {
        let mut proof = lock(&self.file(index).proof);
        let Proof::Passing(current, waiters) = &mut *proof else {
            return false;
        };
        if *current != pass {
            return false;
        }
        let gone: Vec<_> = waiters.extract_if(.., |(_, wanted)| !wanted()).collect();
        let wanted = !waiters.is_empty();
        if !wanted {
            // From here on, the next one to ask has a pass of its own.
            *proof = Proof::Unproved;
        }
        drop(proof);
        for (then, _) in gone {
            then(Err(self.stopped(index)));
        }
        wanted
    }

    fn source_error(&self, index: usize, end: u64, error: SourceError) -> ReadError {
        ReadError::Source {
            file: self.signed(index).name.clone(),
            range: 0..end,
            error,
        }
    }

    fn abandoned(&self, index: usize) -> ReadError {
        ReadError::Abandoned {
            file: self.signed(index).name.clone(),
        }
    }

    fn stopped(&self, index: usize) -> ReadError {
        ReadError::Stopped {
            file: self.signed(index).name.clone(),
        }
    }
}

impl Waiter {
    fn tell(self, proved: Result<&Arc<ChunkTable>, &ReadError>) {
        match self {
            Self::Table(then, _) => then(proved.map(Arc::clone).map_err(Clone::clone)),
            Self::Length(then) => {
                let len = proved.map(|table| Some(table.proved_len()));
                then(len.map_err(Clone::clone));
            }
        }
    }

    fn of_table(self) -> Option<(WithTable, Wanted)> {
        match self {
            Self::Table(then, wanted) => Some((then, wanted)),
            Self::Length(_) => None,
        }
    }
}

fn tell_all(waiters: Vec<Waiter>, error: &ReadError) {
    for waiter in waiters {
        waiter.tell(Err(error));
    }
}

/// Tells those who wait for a length, and gives the others.
fn tell_lengths(waiters: &mut Vec<Waiter>, len: Option<ProvedLength>) -> Vec<Waiter> {
    let mut tables = Vec::new();
    for waiter in waiters.drain(..) {
        match waiter {
            Waiter::Length(then) => then(Ok(len)),
            table @ Waiter::Table(..) => tables.push(table),
        }
    }
    tables
}

/// The duty to tell those who wait, should a proof end in a panic.
struct Owed<'a> {
    opening: &'a Opening,
    index: usize,
    pass: Option<u64>,
}

impl Drop for Owed<'_> {
    fn drop(&mut self) {
        let waiters = self.opening.take_waiters(self.index, self.pass);
        tell_all(waiters, &self.opening.abandoned(self.index));
    }
}

/// What a source says of the file that has a name: which one it is, and how long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Claim {
    identity: Option<FileIdentity>,
    /// Bytes.
    len: u64,
}

impl Claim {
    fn of(file: &dyn SourceFile) -> std::io::Result<Self> {
        Ok(Self {
            identity: file.identity(),
            len: file.len()?,
        })
    }
}

/// Counts what a full pass does, and ends it when the reader stops, when nobody waits any more, or when it
/// reads what no longer has the file's name or length.
struct PassObserver<'a> {
    opening: &'a Opening,
    index: usize,
    pass: u64,
    progress: &'a Progress,
    claim: Claim,
    checked: Mutex<Instant>,
    unwanted: AtomicBool,
    outdated: AtomicBool,
}

impl PassObserver<'_> {
    fn check(&self) {
        if !self.opening.is_pass_wanted(self.index, self.pass) {
            self.unwanted.store(true, Ordering::Relaxed);
        }
        let now = self
            .opening
            .source
            .open(&self.opening.signed(self.index).name);
        // What can't be looked at may still be read.
        if let Ok(now) = now
            && let Ok(now) = Claim::of(&*now)
            && now != self.claim
        {
            self.outdated.store(true, Ordering::Relaxed);
        }
    }

    /// Whether nobody wants the pass any more.
    fn is_ended(&self) -> bool {
        self.opening.stopped.load(Ordering::Relaxed) || self.unwanted.load(Ordering::Relaxed)
    }
}

impl Observer for PassObserver<'_> {
    fn hashed(&self, bytes: u64) {
        self.opening.shared.counters.full_pass_bytes.add(bytes);
        // One of the hashing threads at a time, and not for each block.
        if let Ok(mut checked) = self.checked.try_lock()
            && checked.elapsed() >= CHECK
        {
            *checked = Instant::now();
            self.check();
        }
    }

    fn reads(&self, begins: bool) {
        if begins {
            self.progress.begins_read();
        } else {
            self.progress.ends_read();
        }
    }

    fn cancelled(&self) -> bool {
        self.is_ended() || self.outdated.load(Ordering::Relaxed)
    }
}
