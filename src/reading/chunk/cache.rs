//! The cache of verified chunks.
//!
//! Guarantees: it keeps no more bytes of memory in use than it was given, and chunks that were read
//! again survive any scan. What is worth keeping is decided here and nowhere else. Doesn't: verify.
//!
//! Chunks that were read together lie in one buffer, which any of them keeps in use: it is counted
//! once, from the first of them that comes to the last that goes.
//!
//! Two queues, each least recently used first out (a segmented LRU, Karedla et al. 1994). A chunk
//! enters *on probation*. When some of its bytes are delivered a second time it is *hot*.
//! Delivering different parts of a chunk one after the other, as small requests of a scan do, isn't
//! reuse. With [`Retain::Partial`], a chunk leaves when it was delivered in full: its memory, still
//! in the processor's cache, is what the next chunk is read into.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard};

use lru::LruCache;

use super::buffer::BufferPool;
use super::verified::VerifiedBytes;
use crate::chunk::ChunkIndex;
use crate::manifest::FileIndex;
use crate::sync::lock;

/// Which verified chunks the cache keeps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Retain {
    /// All: no other cache has what is delivered.
    All,
    /// Those of which a part was delivered. Right where a page cache keeps what was delivered, as
    /// the kernel does for a mount; then a chunk isn't held in memory twice.
    Partial,
}

/// A chunk of a file of this reader.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(in crate::reading) struct Key {
    pub(in crate::reading) file: FileIndex,
    pub(in crate::reading) chunk: ChunkIndex,
}

#[derive(Debug)]
struct Entry {
    bytes: VerifiedBytes,
    /// How many bytes were delivered from it since it was verified.
    delivered: usize,
}

#[derive(Debug)]
struct Queues {
    probation: LruCache<Key, Entry>,
    hot: LruCache<Key, Entry>,
    /// Bytes of the hot chunks.
    hot_bytes: usize,
    /// Bytes of memory that all chunks keep in use.
    bytes: usize,
    /// How many chunks keep each buffer in use.
    buffers: HashMap<usize, u32>,
}

impl Queues {
    fn hold(&mut self, bytes: &VerifiedBytes) {
        let holders = self.buffers.entry(bytes.buffer_id()).or_insert(0);
        *holders += 1;
        if *holders == 1 {
            self.bytes += bytes.footprint();
        }
    }

    fn let_go(&mut self, bytes: &VerifiedBytes) {
        let buffer = bytes.buffer_id();
        if let Some(holders) = self.buffers.get_mut(&buffer) {
            *holders -= 1;
            if *holders == 0 {
                self.buffers.remove(&buffer);
                self.bytes -= bytes.footprint();
            }
        }
    }
}

/// Verified chunks, bounded in bytes.
#[derive(Debug)]
pub(in crate::reading) struct ChunkCache {
    queues: Mutex<Queues>,
    capacity: usize,
    retain: Retain,
}

impl ChunkCache {
    /// A cache of at most `capacity` bytes. With zero it holds nothing.
    pub(in crate::reading) fn new(capacity: usize, retain: Retain) -> Self {
        Self {
            queues: Mutex::new(Queues {
                probation: LruCache::unbounded(),
                hot: LruCache::unbounded(),
                hot_bytes: 0,
                bytes: 0,
                buffers: HashMap::new(),
            }),
            capacity,
            retain,
        }
    }

    /// Bytes held now.
    pub(in crate::reading) fn bytes(&self) -> usize {
        self.lock().bytes
    }

    /// The chunk, if it is there. Counts for nothing: a [`get`](Self::get) says that it is
    /// delivered.
    pub(in crate::reading) fn peek(&self, key: Key) -> Option<VerifiedBytes> {
        let queues = self.lock();
        let entry = queues
            .hot
            .peek(&key)
            .or_else(|| queues.probation.peek(&key))?;
        Some(entry.bytes.clone())
    }

    /// The chunk, of which `wanted` bytes are about to be delivered.
    pub(in crate::reading) fn get(&self, key: Key, wanted: usize) -> Option<VerifiedBytes> {
        let mut guard = self.lock();
        let queues = &mut *guard;
        if let Some(entry) = queues.hot.get(&key) {
            return Some(entry.bytes.clone());
        }
        let entry = queues.probation.get_mut(&key)?;
        let bytes = entry.bytes.clone();
        entry.delivered += wanted;
        if entry.delivered > bytes.len() {
            if let Some(entry) = queues.probation.pop(&key) {
                queues.hot_bytes += entry.bytes.len();
                queues.hot.push(key, entry);
                self.cool(queues);
            }
        } else if self.is_done_with(&bytes, entry.delivered)
            && let Some(entry) = queues.probation.pop(&key)
        {
            queues.let_go(&entry.bytes);
        }
        Some(bytes)
    }

    /// Whether a chunk of which so many bytes were delivered is of no more use.
    fn is_done_with(&self, bytes: &VerifiedBytes, delivered: usize) -> bool {
        self.retain == Retain::Partial && delivered >= bytes.len()
    }

    /// Keeps a chunk of which `delivered` bytes are about to be delivered, if that is of use: in
    /// memory of its own, where it would keep a much larger buffer in use.
    pub(in crate::reading) fn insert_rest(
        &self,
        key: Key,
        bytes: &VerifiedBytes,
        delivered: usize,
        buffers: &Arc<BufferPool>,
    ) {
        if !self.is_done_with(bytes, delivered) {
            self.insert(key, bytes.clone().compact(buffers), delivered);
        }
    }

    /// Keeps a chunk, of which `delivered` bytes were delivered when it was verified.
    pub(in crate::reading) fn insert(&self, key: Key, bytes: VerifiedBytes, delivered: usize) {
        if bytes.footprint() > self.capacity {
            return;
        }
        let mut guard = self.lock();
        let queues = &mut *guard;
        if queues.hot.contains(&key) || queues.probation.contains(&key) {
            return;
        }
        queues.hold(&bytes);
        queues.probation.push(key, Entry { bytes, delivered });
        while queues.bytes > self.capacity {
            if let Some((_, evicted)) = queues.probation.pop_lru() {
                queues.let_go(&evicted.bytes);
            } else if let Some((_, evicted)) = queues.hot.pop_lru() {
                queues.let_go(&evicted.bytes);
                queues.hot_bytes -= evicted.bytes.len();
            } else {
                break;
            }
        }
    }

    /// Keeps a quarter of the cache for newcomers: the hot chunks longest unused go on probation.
    fn cool(&self, queues: &mut Queues) {
        while queues.hot_bytes > self.capacity / 4 * 3 {
            let Some((key, mut entry)) = queues.hot.pop_lru() else {
                break;
            };
            queues.hot_bytes -= entry.bytes.len();
            entry.delivered = 0;
            queues.probation.push(key, entry);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Queues> {
        lock(&self.queues)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reading::testing::verified;

    const CHUNK: usize = 64 * 1024;

    fn chunk(pool: &Arc<BufferPool>) -> VerifiedBytes {
        verified(pool, &vec![0; CHUNK])
    }

    fn key(chunk: u64) -> Key {
        Key {
            file: FileIndex::new(0),
            chunk: ChunkIndex::new(chunk),
        }
    }

    #[test]
    fn the_bound_holds() {
        let pool = BufferPool::new(0);
        let cache = ChunkCache::new(10 * CHUNK, Retain::Partial);
        for index in 0..100 {
            cache.insert(key(index), chunk(&pool), 1);
            cache.get(key(index / 2), CHUNK);
            assert!(cache.bytes() <= 10 * CHUNK);
        }
        assert_eq!(cache.bytes(), 10 * CHUNK);
        let nothing = ChunkCache::new(0, Retain::All);
        nothing.insert(key(0), chunk(&pool), 1);
        assert!(nothing.get(key(0), 1).is_none());
    }

    #[test]
    fn chunks_that_share_a_buffer_are_counted_once() {
        let pool = BufferPool::new(0);
        let cache = ChunkCache::new(2 << 20, Retain::All);
        for step in 0..4 {
            let read = verified(&pool, &vec![0; 1 << 20]);
            for part in 0..16 {
                let bytes = read.slice(part * CHUNK..(part + 1) * CHUNK);
                cache.insert(key(step * 16 + part as u64), bytes, 1);
                assert!(cache.bytes() <= 2 << 20);
            }
        }
        assert_eq!(cache.bytes(), 2 << 20);
        assert!((32..64).all(|chunk| cache.get(key(chunk), 1).is_some()));
        assert!((0..32).all(|chunk| cache.get(key(chunk), 1).is_none()));
    }

    #[test]
    fn a_scan_does_not_evict_what_is_hot() {
        let pool = BufferPool::new(0);
        let cache = ChunkCache::new(10 * CHUNK, Retain::Partial);
        for index in 0..5 {
            cache.insert(key(index), chunk(&pool), CHUNK / 2);
            cache.get(key(index), CHUNK);
        }
        // A scan in requests of half a chunk: each chunk is asked for twice, for different bytes.
        for index in 1_000..2_000 {
            cache.insert(key(index), chunk(&pool), CHUNK / 2);
            assert!(cache.get(key(index), CHUNK / 2).is_some());
        }
        for index in 0..5 {
            assert!(cache.get(key(index), 1).is_some(), "chunk {index}");
        }
    }

    #[test]
    fn what_was_delivered_in_full_goes_first() {
        let pool = BufferPool::new(0);
        let cache = ChunkCache::new(2 * CHUNK, Retain::Partial);
        cache.insert(key(0), chunk(&pool), CHUNK / 2);
        cache.insert(key(1), chunk(&pool), CHUNK / 2);
        cache.get(key(1), CHUNK / 2);
        cache.insert(key(2), chunk(&pool), 1);
        assert!(cache.get(key(0), 1).is_some());
        assert!(cache.get(key(1), 1).is_none());
    }

    #[test]
    fn even_hot_chunks_make_room_in_the_end() {
        let pool = BufferPool::new(0);
        let cache = ChunkCache::new(4 * CHUNK, Retain::All);
        for index in 0..8 {
            cache.insert(key(index), chunk(&pool), CHUNK);
            cache.get(key(index), CHUNK);
            cache.get(key(index), CHUNK);
        }
        assert!(cache.get(key(7), 1).is_some());
        assert!(cache.bytes() <= 4 * CHUNK);
    }
}
