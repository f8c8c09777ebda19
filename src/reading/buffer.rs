//! Private buffers for source bytes, reused.
//!
//! Guarantees: a buffer's bytes change only while one owner holds it mutably; once shared they
//! never change. Doesn't: say that any byte was verified.
//!
//! Buffers go back to their pool when the last reader lets go of them. A fresh megabyte costs 256
//! page faults, which is as much time as hashing it does.

use std::sync::{Arc, Mutex, PoisonError};

/// Buffers of one size class that wait to be used again.
#[derive(Debug, Default)]
struct Free {
    buffers: Vec<Vec<u8>>,
    bytes: usize,
}

/// A pool of buffers that keeps a bounded number of bytes for reuse.
#[derive(Debug)]
pub(crate) struct BufferPool {
    free: Mutex<Free>,
    keep: usize,
}

/// Sizes are rounded up to this many bytes, so that buffers fit one another's place.
const GRANULE: usize = 64 * 1024;

impl BufferPool {
    /// A pool that keeps up to `keep` bytes of unused buffers.
    pub(crate) fn new(keep: usize) -> Arc<Self> {
        Arc::new(Self {
            free: Mutex::default(),
            keep,
        })
    }

    /// A buffer of `len` bytes of unspecified content.
    pub(crate) fn take(self: &Arc<Self>, len: usize) -> Buffer {
        let size = len.next_multiple_of(GRANULE).max(GRANULE);
        let reused = {
            let mut free = self.lock();
            // The smallest that fits: a small request must not eat the buffer a large one needs.
            let best = free
                .buffers
                .iter()
                .enumerate()
                .filter(|(_, buffer)| buffer.len() >= size && buffer.len() <= 2 * size)
                .min_by_key(|(_, buffer)| buffer.len())
                .map(|(index, _)| index);
            best.map(|index| {
                let bytes = free.buffers.swap_remove(index);
                free.bytes -= bytes.len();
                bytes
            })
        };
        Buffer {
            bytes: reused.unwrap_or_else(|| vec![0; size]),
            len,
            pool: Arc::clone(self),
        }
    }

    fn put(&self, bytes: Vec<u8>) {
        let mut free = self.lock();
        if free.bytes + bytes.len() <= self.keep {
            free.bytes += bytes.len();
            free.buffers.push(bytes);
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Free> {
        self.free.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Bytes owned by us alone, from a [`BufferPool`].
#[derive(Debug)]
pub(crate) struct Buffer {
    /// At least `len` bytes; the rest is room.
    bytes: Vec<u8>,
    len: usize,
    pool: Arc<BufferPool>,
}

impl Buffer {
    /// The bytes in use.
    pub(crate) fn as_slice(&self) -> &[u8] {
        &self.bytes[..self.len]
    }

    /// The bytes in use, to fill.
    pub(crate) fn as_mut_slice(&mut self) -> &mut [u8] {
        &mut self.bytes[..self.len]
    }

    /// Gives up the bytes from `len` on.
    pub(crate) fn truncate(&mut self, len: usize) {
        self.len = self.len.min(len);
    }

    /// Bytes of memory held, room included.
    pub(crate) fn footprint(&self) -> usize {
        self.bytes.len()
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        self.pool.put(std::mem::take(&mut self.bytes));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buffers_are_reused_and_the_pool_is_bounded() {
        let pool = BufferPool::new(4 * GRANULE);
        let first = pool.take(GRANULE + 1);
        assert_eq!(first.as_slice().len(), GRANULE + 1);
        let address = first.as_slice().as_ptr();
        drop(first);
        let second = pool.take(2 * GRANULE);
        assert_eq!(second.as_slice().as_ptr(), address);
        let many: Vec<_> = (0..10).map(|_| pool.take(GRANULE)).collect();
        drop((second, many));
        assert!(pool.lock().bytes <= 4 * GRANULE);
    }

    #[test]
    fn a_small_request_leaves_large_buffers_alone() {
        let pool = BufferPool::new(100 * GRANULE);
        drop(pool.take(50 * GRANULE));
        assert_eq!(pool.take(1).footprint(), GRANULE);
    }
}
