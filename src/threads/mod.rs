//! Threads for jobs that wait or compute, so that the thread that brings them doesn't.
//!
//! Each job has a key: the file that it is about. Some files may never answer (a network file
//! system whose server is gone, an adversary's FUSE daemon), and however many jobs wait for those,
//! jobs of other files go on.
//!
//! Guarantees:
//! - Jobs of a key start in the order in which they come; keys take turns.
//! - Up to `max_running` jobs run at a time, on threads that are started as they are needed. A job
//!   that has run for 50 ms while others wait is *blocked*: it is taken to wait for something, and
//!   no longer counts.
//! - A key may have `max_running` jobs running, those that are blocked counted; four where there
//!   are hundreds of threads, and one where there are a thousand. The rest of its jobs wait in its
//!   own queue. So a key without blocked jobs finds the thread that it needs, as long as no more
//!   than some 4000 keys have blocked jobs.
//! - Keys that have blocked jobs are given no more than a quarter of the places while others wait,
//!   but always get their turn.
//! - Threads that have nothing to do for a while end.
//! - A job that panics ends neither its thread nor the pool; after the pool is dropped, what is
//!   queued is still done.
//!
//! Doesn't: bound the queue; say when a job is done; end a job.

mod pool;
mod state;
#[cfg(test)]
mod tests;

pub(crate) use self::pool::ThreadPool;
