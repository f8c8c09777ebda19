//! How a file gets its chunk table, and its length.
//!
//! Guarantees: each file is proved once, however many callers ask; those that ask for it meanwhile
//! are told the same. What can be proved at hand is (`at_hand`). Anything else takes a full pass,
//! which is made only as long as a caller waits for it (`pass`, `queue`). Every caller is told,
//! also where a proof ends in a panic. Doesn't: wait; a caller is told on another thread, or on its
//! own.

mod at_hand;
pub(super) mod last_chunk;
mod pass;
mod queue;
mod waiters;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock};

use self::at_hand::{AtHand, AtHandProver};
use self::queue::PassQueue;
pub use self::queue::PassUnderway;
use self::waiters::{Waiter, Wanted, WithLength, WithTable, tell_all, tell_lengths};
use super::fetch::Shared;
use super::table::{ChunkTable, ProvedLength, TableStore};
use crate::manifest::FileIndex;
use crate::sync::lock;

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

/// The proofs of all files of a model.
pub(super) struct Opening {
    shared: Arc<Shared>,
    at_hand: AtHandProver,
    /// By index. Made when a file is first asked for: of a million files, most never are.
    files: Box<[OnceLock<Box<FileProof>>]>,
    passes: PassQueue,
    next_pass: AtomicU64,
    /// The sum of all lengths that are proved.
    proved_bytes: AtomicU64,
}

impl Opening {
    pub(super) fn new(
        shared: Arc<Shared>,
        store: Option<Arc<TableStore>>,
        parallel_passes: usize,
    ) -> Arc<Self> {
        let files = shared.manifest.files();
        let signed = files.iter().filter_map(|file| file.content.len());
        Arc::new(Self {
            proved_bytes: AtomicU64::new(signed.fold(0, u64::saturating_add)),
            files: files.iter().map(|_| OnceLock::new()).collect(),
            at_hand: AtHandProver {
                shared: Arc::clone(&shared),
                store,
            },
            passes: PassQueue::new(parallel_passes),
            next_pass: AtomicU64::new(0),
            shared,
        })
    }

    fn file(&self, index: FileIndex) -> &FileProof {
        self.files[index.get()].get_or_init(Box::default)
    }

    /// The proved length of a file, if it is known already. Looks at nothing.
    pub(super) fn proved_len(&self, index: FileIndex) -> Option<ProvedLength> {
        ProvedLength::of_signed(&self.shared.file(index).content)
            .or_else(|| self.files[index.get()].get()?.len.get().copied())
    }

    /// The sum of all lengths that are proved.
    pub(super) fn proved_bytes(&self) -> u64 {
        self.proved_bytes.load(Ordering::Relaxed)
    }

    /// The full passes that are being made, and how many wait to be.
    pub(super) fn passes_underway(&self) -> (Vec<PassUnderway>, usize) {
        self.passes.underway()
    }

    /// Takes note of a length.
    fn note_len(&self, index: FileIndex, len: ProvedLength) {
        if self.file(index).len.set(len).is_ok() && self.shared.file(index).content.len().is_none()
        {
            let add = |sum: u64| Some(sum.saturating_add(len.bytes()));
            let relaxed = Ordering::Relaxed;
            let _ = self.proved_bytes.fetch_update(relaxed, relaxed, add);
        }
    }

    /// Whether the table of a file, whose length was signed, can be had without a full pass, as far
    /// as can be told without opening the file.
    pub(super) fn is_table_announced(&self, index: FileIndex) -> bool {
        self.at_hand.is_announced(index)
    }

    /// Has `then` told the length of a file if that can be proved at hand, or that it takes a full
    /// pass, which this doesn't start.
    pub(super) fn length(self: &Arc<Self>, index: FileIndex, then: WithLength) {
        match self.proved_len(index) {
            Some(len) => then(Ok(Some(len))),
            None => self.ask(index, Waiter::Length(then)),
        }
    }

    /// Has `then` given the table of a file: at once where it is at hand, otherwise after the full
    /// pass that this starts, on another thread. The pass goes on as long as `wanted` says so, or
    /// another caller waits for it too.
    pub(super) fn table(self: &Arc<Self>, index: FileIndex, then: WithTable, wanted: Wanted) {
        self.ask(index, Waiter::Table(then, wanted));
    }

    fn ask(self: &Arc<Self>, index: FileIndex, waiter: Waiter) {
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
    fn look(self: &Arc<Self>, index: FileIndex, mut wants_table: bool) {
        loop {
            let owed = Owed {
                opening: self,
                index,
                pass: None,
            };
            let found = self.at_hand.prove(index, wants_table);
            std::mem::forget(owed);
            if let Ok(AtHand::Table(table)) = found {
                return self.record(index, table);
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

    /// Has a full pass made for those who wait for a table, if any do.
    fn pass(self: &Arc<Self>, index: FileIndex, waiters: Vec<Waiter>) {
        let waiters: Vec<_> = waiters.into_iter().filter_map(Waiter::of_table).collect();
        if waiters.is_empty() {
            return;
        }
        let mut proof = lock(&self.file(index).proof);
        match &mut *proof {
            Proof::Unproved => {}
            // Another caller came in between.
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
                    this.at_hand.save(&table);
                    this.record(index, table);
                }
                Err(error) => {
                    this.shared.reports.report(&error);
                    tell_all(this.take_waiters(index, Some(pass)), &error);
                }
            }
        });
    }

    /// Takes note of a proof, and tells those who wait for it. Readers were told one length, so a
    /// table of another one is an error, whatever proved it.
    fn record(&self, index: FileIndex, table: ChunkTable) {
        self.note_len(index, table.proved_len());
        let is_known_len = self.proved_len(index) == Some(table.proved_len());
        let table = Arc::new(table);
        let before = {
            let mut proof = lock(&self.file(index).proof);
            match &*proof {
                // A pass that no caller waited for any more, beside another one.
                Proof::Proved(_) => return,
                _ if is_known_len => {
                    std::mem::replace(&mut *proof, Proof::Proved(Arc::clone(&table)))
                }
                _ => std::mem::take(&mut *proof),
            }
        };
        let waiters = match before {
            Proof::Proved(_) => return,
            Proof::Unproved => Vec::new(),
            Proof::Looking(waiters) => waiters,
            Proof::Passing(_, waiters) => waiters
                .into_iter()
                .map(|(then, wanted)| Waiter::Table(then, wanted))
                .collect(),
        };
        if !is_known_len {
            let file = &self.shared.file(index).name;
            tracing::error!(%file, "a table of another length than the one that was proved before");
            return tell_all(waiters, &self.shared.abandoned(index));
        }
        self.shared.counters.proved_files.add(1);
        for waiter in waiters {
            waiter.tell(Ok(&table));
        }
    }

    /// Those who wait for a look at hand, or for that pass; the next one to ask begins anew. The
    /// right bytes may have come back by then.
    fn take_waiters(&self, index: FileIndex, pass: Option<u64>) -> Vec<Waiter> {
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

    /// Lets go those who no longer wait for a pass. Whether any caller still waits.
    fn is_pass_wanted(&self, index: FileIndex, pass: u64) -> bool {
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
            then(Err(self.shared.stopped(index)));
        }
        wanted
    }
}

/// The duty to tell those who wait, should a proof end in a panic.
struct Owed<'a> {
    opening: &'a Opening,
    index: FileIndex,
    pass: Option<u64>,
}

impl Drop for Owed<'_> {
    fn drop(&mut self) {
        let waiters = self.opening.take_waiters(self.index, self.pass);
        tell_all(waiters, &self.opening.shared.abandoned(self.index));
    }
}
