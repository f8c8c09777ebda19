//! Callers that wait for a table or a length, and telling them.
//!
//! Guarantees: each is told once. Doesn't: wait; it is told on the thread that has the result.

use std::sync::Arc;

use crate::reading::table::{ChunkTable, ProvedLength};
use crate::reading::violation::ReadError;

/// What to do with a table once it is proved.
pub(super) type WithTable = Box<dyn FnOnce(Result<Arc<ChunkTable>, ReadError>) + Send>;

/// What to do with a length: `None` where it takes a full pass.
pub(super) type WithLength = Box<dyn FnOnce(Result<Option<ProvedLength>, ReadError>) + Send>;

/// Whether the caller still waits.
pub(super) type Wanted = Box<dyn Fn() -> bool + Send>;

/// What a caller waits for.
pub(super) enum Waiter {
    Table(WithTable, Wanted),
    Length(WithLength),
}

impl Waiter {
    /// Tells what became of the proof.
    pub(super) fn tell(self, proved: Result<&Arc<ChunkTable>, &ReadError>) {
        match self {
            Self::Table(then, _) => then(proved.map(Arc::clone).map_err(Clone::clone)),
            Self::Length(then) => {
                let len = proved.map(|table| Some(table.proved_len()));
                then(len.map_err(Clone::clone));
            }
        }
    }

    /// What waits for a table, if it does.
    pub(super) fn of_table(self) -> Option<(WithTable, Wanted)> {
        match self {
            Self::Table(then, wanted) => Some((then, wanted)),
            Self::Length(_) => None,
        }
    }
}

/// Tells all of them of an error.
pub(super) fn tell_all(waiters: Vec<Waiter>, error: &ReadError) {
    for waiter in waiters {
        waiter.tell(Err(error));
    }
}

/// Tells those who wait for a length, and gives the others.
pub(super) fn tell_lengths(waiters: &mut Vec<Waiter>, len: Option<ProvedLength>) -> Vec<Waiter> {
    let mut tables = Vec::new();
    for waiter in waiters.drain(..) {
        match waiter {
            Waiter::Length(then) => then(Ok(len)),
            table @ Waiter::Table(..) => tables.push(table),
        }
    }
    tables
}
