//! Chunks being verified right now, so that each is verified once however many ask for it.
//!
//! Guarantees: of concurrent requests for a chunk, one [claims](Flights::claim) it and all get its
//! result; whoever claimed always lands it, also by panicking, or [gives it up](Claims::give_up), and
//! then whoever waited claims it in turn. No lock is held while a chunk is read or hashed. Doesn't:
//! remember anything once a chunk has landed.
//!
//! There is no deadlock: only running threads hold claims, and each lands or gives up all it has
//! claimed before it waits for what others have.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use super::cache::Key;
use super::verified::VerifiedBytes;
use super::violation::ReadError;

type Outcome = Result<VerifiedBytes, ReadError>;

/// How far a chunk is.
#[derive(Debug, Default)]
enum State {
    #[default]
    Airborne,
    Landed(Outcome),
    GivenUp,
}

/// A chunk that somebody is verifying.
#[derive(Debug, Default)]
pub(super) struct Flight {
    state: Mutex<State>,
    landed: Condvar,
}

impl Flight {
    /// Waits until the chunk has landed; `None` if whoever claimed it gave it up.
    pub(super) fn wait(&self) -> Option<Outcome> {
        let mut state = lock(&self.state);
        loop {
            match &*state {
                State::Airborne => {}
                State::Landed(outcome) => return Some(outcome.clone()),
                State::GivenUp => return None,
            }
            state = self
                .landed
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }
}

/// All chunks being verified.
#[derive(Debug, Default)]
pub(super) struct Flights {
    airborne: Mutex<HashMap<Key, Arc<Flight>>>,
}

/// Chunks that the caller has to verify, and those that others are verifying for it.
pub(super) struct Claims<'a> {
    flights: &'a Flights,
    /// Claimed and not yet landed.
    mine: Vec<(Key, Arc<Flight>)>,
    pub(super) theirs: Vec<(Key, Arc<Flight>)>,
    /// What whoever waits is told if the caller never lands a chunk.
    abandoned: ReadError,
}

impl Flights {
    /// Claims each of `keys` that nobody has claimed.
    pub(super) fn claim(
        &self,
        keys: impl Iterator<Item = Key>,
        abandoned: ReadError,
    ) -> Claims<'_> {
        let mut claims = Claims {
            flights: self,
            mine: Vec::new(),
            theirs: Vec::new(),
            abandoned,
        };
        let mut airborne = lock(&self.airborne);
        for key in keys {
            match airborne.entry(key) {
                Entry::Occupied(flight) => claims.theirs.push((key, Arc::clone(flight.get()))),
                Entry::Vacant(vacant) => {
                    let flight = vacant.insert(Arc::default());
                    claims.mine.push((key, Arc::clone(flight)));
                }
            }
        }
        drop(airborne);
        claims
    }
}

impl Claims<'_> {
    /// The chunks to verify, in the order in which they were asked for.
    pub(super) fn mine(&self) -> Vec<u64> {
        self.mine.iter().map(|(key, _)| key.chunk).collect()
    }

    /// Hands out the result for a claimed chunk.
    pub(super) fn land(&mut self, chunk: u64, outcome: Outcome) {
        if let Some(index) = self.mine.iter().position(|(key, _)| key.chunk == chunk) {
            let (key, flight) = self.mine.remove(index);
            self.flights.land(key, &flight, State::Landed(outcome));
        }
    }

    /// Leaves what was claimed and not landed to whoever waits for it or comes next.
    pub(super) fn give_up(mut self) {
        for (key, flight) in self.mine.drain(..) {
            self.flights.land(key, &flight, State::GivenUp);
        }
    }
}

impl Drop for Claims<'_> {
    fn drop(&mut self) {
        for (key, flight) in self.mine.drain(..) {
            let abandoned = State::Landed(Err(self.abandoned.clone()));
            self.flights.land(key, &flight, abandoned);
        }
    }
}

impl Flights {
    fn land(&self, key: Key, flight: &Flight, state: State) {
        lock(&self.airborne).remove(&key);
        *lock(&flight.state) = state;
        flight.landed.notify_all();
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::name::FileName;

    fn keys(chunks: &[u64]) -> impl Iterator<Item = Key> {
        chunks.iter().map(|&chunk| Key { file: 0, chunk })
    }

    fn error() -> ReadError {
        ReadError::Abandoned {
            file: FileName::new("model.bin").unwrap(),
        }
    }

    #[test]
    fn one_claims_and_all_get_the_result() {
        let flights = Flights::default();
        let mut first = flights.claim(keys(&[1, 2]), error());
        let second = flights.claim(keys(&[2, 3]), error());
        assert_eq!(first.mine(), [1, 2]);
        assert_eq!(second.mine(), [3]);
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| second.theirs[0].1.wait());
            first.land(2, Ok(VerifiedBytes::end_of_file()));
            assert!(waiting.join().unwrap().unwrap().is_ok());
        });
        // Landed chunks can be claimed again.
        assert_eq!(flights.claim(keys(&[2]), error()).mine(), [2]);
    }

    #[test]
    fn whoever_panics_leaves_nobody_waiting() {
        let flights = Flights::default();
        std::thread::scope(|scope| {
            let claims = flights.claim(keys(&[1]), error());
            let other = flights.claim(keys(&[1]), error());
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
        assert!(lock(&flights.airborne).is_empty());
    }

    #[test]
    fn what_is_given_up_can_be_claimed_by_whoever_waited() {
        let flights = Flights::default();
        let first = flights.claim(keys(&[1]), error());
        let second = flights.claim(keys(&[1]), error());
        first.give_up();
        assert!(second.theirs[0].1.wait().is_none());
        assert_eq!(flights.claim(keys(&[1]), error()).mine(), [1]);
    }
}
