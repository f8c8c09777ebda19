//! Chunks being verified right now, so that each is verified once however many ask for it.
//!
//! Guarantees: of concurrent requests for a chunk, one [claims](InFlight::claim) it and all get its
//! result. A claim ends in every case: it is [completed](Claims::complete), also by a panic, or
//! [given up](Claims::give_up), and then a thread that waited claims the chunk in turn. No lock is
//! held while a chunk is read or hashed. Doesn't: remember anything once a chunk is complete.
//!
//! There is no deadlock: only running threads hold claims, and each completes or gives up all that
//! it has claimed before it waits for what others have.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::{Arc, Condvar, Mutex, PoisonError};

use super::cache::Key;
use super::verified::VerifiedBytes;
use crate::chunk::ChunkIndex;
use crate::reading::violation::ReadError;
use crate::sync::lock;

type Outcome = Result<VerifiedBytes, ReadError>;

/// How far a chunk is.
#[derive(Debug, Default)]
enum State {
    #[default]
    Underway,
    Complete(Outcome),
    GivenUp,
}

/// A chunk that a thread is verifying.
#[derive(Debug, Default)]
pub(in crate::reading) struct Pending {
    state: Mutex<State>,
    changed: Condvar,
}

impl Pending {
    /// Waits until the chunk is complete; `None` if its claim was given up.
    pub(in crate::reading) fn wait(&self) -> Option<Outcome> {
        let mut state = lock(&self.state);
        loop {
            match &*state {
                State::Underway => {}
                State::Complete(outcome) => return Some(outcome.clone()),
                State::GivenUp => return None,
            }
            state = self
                .changed
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }
}

/// All chunks being verified.
#[derive(Debug, Default)]
pub(in crate::reading) struct InFlight {
    pending: Mutex<HashMap<Key, Arc<Pending>>>,
}

/// Chunks that the caller has to verify, and those that others are verifying for it.
pub(in crate::reading) struct Claims<'a> {
    in_flight: &'a InFlight,
    /// Claimed, and neither complete nor given up.
    mine: Vec<(Key, Arc<Pending>)>,
    pub(in crate::reading) theirs: Vec<(Key, Arc<Pending>)>,
    /// What other threads are told of a claim that ends in a panic.
    abandoned: ReadError,
}

impl InFlight {
    /// Claims each of `keys` that no other thread has claimed.
    pub(in crate::reading) fn claim(
        &self,
        keys: impl Iterator<Item = Key>,
        abandoned: ReadError,
    ) -> Claims<'_> {
        let mut claims = Claims {
            in_flight: self,
            mine: Vec::new(),
            theirs: Vec::new(),
            abandoned,
        };
        let mut pending = lock(&self.pending);
        for key in keys {
            match pending.entry(key) {
                Entry::Occupied(other) => claims.theirs.push((key, Arc::clone(other.get()))),
                Entry::Vacant(vacant) => {
                    let claimed = vacant.insert(Arc::default());
                    claims.mine.push((key, Arc::clone(claimed)));
                }
            }
        }
        drop(pending);
        claims
    }
}

impl Claims<'_> {
    /// The chunks to verify, in the order in which they were asked for.
    pub(in crate::reading) fn mine(&self) -> Vec<ChunkIndex> {
        self.mine.iter().map(|(key, _)| key.chunk).collect()
    }

    /// Hands out the result for a claimed chunk.
    pub(in crate::reading) fn complete(&mut self, chunk: ChunkIndex, outcome: Outcome) {
        if let Some(index) = self.mine.iter().position(|(key, _)| key.chunk == chunk) {
            let (key, pending) = self.mine.remove(index);
            self.in_flight.end(key, &pending, State::Complete(outcome));
        }
    }

    /// Leaves what was claimed and isn't complete to the threads that wait for it or come next.
    pub(in crate::reading) fn give_up(mut self) {
        for (key, pending) in self.mine.drain(..) {
            self.in_flight.end(key, &pending, State::GivenUp);
        }
    }
}

impl Drop for Claims<'_> {
    fn drop(&mut self) {
        for (key, pending) in self.mine.drain(..) {
            let abandoned = State::Complete(Err(self.abandoned.clone()));
            self.in_flight.end(key, &pending, abandoned);
        }
    }
}

impl InFlight {
    fn end(&self, key: Key, pending: &Pending, state: State) {
        lock(&self.pending).remove(&key);
        *lock(&pending.state) = state;
        pending.changed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manifest::FileIndex;
    use crate::name::FileName;

    fn keys(chunks: &[u64]) -> impl Iterator<Item = Key> {
        let file = FileIndex::new(0);
        let key = move |&chunk| Key {
            file,
            chunk: ChunkIndex::new(chunk),
        };
        chunks.iter().map(key)
    }

    fn positions(claims: &Claims<'_>) -> Vec<u64> {
        claims.mine().into_iter().map(ChunkIndex::get).collect()
    }

    fn error() -> ReadError {
        ReadError::Abandoned {
            file: FileName::new("model.bin").unwrap(),
        }
    }

    #[test]
    fn one_claims_and_all_get_the_result() {
        let in_flight = InFlight::default();
        let mut first = in_flight.claim(keys(&[1, 2]), error());
        let second = in_flight.claim(keys(&[2, 3]), error());
        assert_eq!(positions(&first), [1, 2]);
        assert_eq!(positions(&second), [3]);
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| second.theirs[0].1.wait());
            first.complete(ChunkIndex::new(2), Ok(VerifiedBytes::end_of_file()));
            assert!(waiting.join().unwrap().unwrap().is_ok());
        });
        // What is complete can be claimed again.
        assert_eq!(positions(&in_flight.claim(keys(&[2]), error())), [2]);
    }

    #[test]
    fn a_claim_that_ends_in_a_panic_leaves_no_thread_waiting() {
        let in_flight = InFlight::default();
        std::thread::scope(|scope| {
            let claims = in_flight.claim(keys(&[1]), error());
            let other = in_flight.claim(keys(&[1]), error());
            let waiting = scope.spawn(move || other.theirs[0].1.wait());
            let failing = scope.spawn(move || {
                let _claims = claims;
                panic!("as if verification had a bug");
            });
            assert!(failing.join().is_err());
            assert!(matches!(
                waiting.join().unwrap(),
                Some(Err(ReadError::Abandoned { .. }))
            ));
        });
        assert!(lock(&in_flight.pending).is_empty());
    }

    #[test]
    fn what_is_given_up_can_be_claimed_by_a_thread_that_waited() {
        let in_flight = InFlight::default();
        let first = in_flight.claim(keys(&[1]), error());
        let second = in_flight.claim(keys(&[1]), error());
        first.give_up();
        assert!(second.theirs[0].1.wait().is_none());
        assert_eq!(positions(&in_flight.claim(keys(&[1]), error())), [1]);
    }
}
