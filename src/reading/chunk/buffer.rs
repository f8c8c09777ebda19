//! Private buffers for source bytes, reused.
//!
//! Guarantees: a buffer's bytes change only while one owner holds it mutably; once shared they
//! never change. Doesn't: say that any byte was verified.
//!
//! Buffers go back where they came from when the last reader lets go of them. A fresh megabyte
//! costs 256 page faults, which is more time than hashing it takes. So buffers of up to a megabyte,
//! which are what the cache of verified chunks consists of, are *slots* of slabs in huge pages,
//! where the kernel gives them: a fault for 2 MiB. Slots are shared by all readers of the process
//! and are never given back to the system: there are as many as were once in use at a time, which
//! caches bound.

use std::alloc::{Layout, handle_alloc_error};
use std::sync::{Arc, Mutex};

use memmap2::{Advice, MmapMut};

use crate::sync::lock;

/// The smallest slot. Larger ones are larger by powers of two.
const SMALLEST: usize = 64 * 1024;

/// Sizes of slots: up to 1 MiB.
const CLASSES: usize = 5;

/// Bytes mapped at a time: four huge pages of most processors, one of which is lost where the
/// mapping doesn't begin on the boundary of one (Linux before 6.7).
const SLAB: usize = 8 << 20;

/// Slots that are not in use, by size.
#[derive(Debug)]
struct Slots {
    free: [Mutex<Vec<&'static mut [u8]>>; CLASSES],
}

static SLOTS: Slots = Slots {
    free: [const { Mutex::new(Vec::new()) }; CLASSES],
};

impl Slots {
    /// The class of the smallest slots that hold `len` bytes, if there is one.
    fn class_of(len: usize) -> Option<usize> {
        (0..CLASSES).find(|class| len <= SMALLEST << class)
    }

    /// A slot of a class: the one given back last, which the processor's cache may still hold.
    /// `None` if the system has no memory to give.
    fn take(&self, class: usize) -> Option<&'static mut [u8]> {
        if let Some(slot) = lock(&self.free[class]).pop() {
            return Some(slot);
        }
        let slab = MmapMut::map_anon(SLAB).ok()?;
        // Without huge pages it is slower, and nothing else.
        let _ = slab.advise(Advice::HugePage);
        let slab: &'static mut MmapMut = Box::leak(Box::new(slab));
        let mut slots: Vec<_> = slab.chunks_exact_mut(SMALLEST << class).rev().collect();
        let slot = slots.pop();
        lock(&self.free[class]).append(&mut slots);
        slot
    }

    /// Takes back a slot.
    fn put(&self, slot: &'static mut [u8]) {
        if let Some(class) = Self::class_of(slot.len()) {
            lock(&self.free[class]).push(slot);
        }
    }
}

/// Large buffers that wait to be used again.
#[derive(Debug, Default)]
struct Free {
    buffers: Vec<MmapMut>,
    bytes: usize,
}

/// A pool of buffers. Of those too large for a slot it keeps a bounded number of bytes for reuse.
#[derive(Debug)]
pub(crate) struct BufferPool {
    free: Mutex<Free>,
    keep: usize,
}

impl BufferPool {
    /// A pool that keeps up to `keep` bytes of unused large buffers.
    pub(crate) fn new(keep: usize) -> Arc<Self> {
        Arc::new(Self {
            free: Mutex::default(),
            keep,
        })
    }

    /// A buffer of `len` bytes of unspecified content.
    pub(crate) fn take(self: &Arc<Self>, len: usize) -> Buffer {
        let slot = Slots::class_of(len).and_then(|class| SLOTS.take(class));
        let memory = slot.map_or_else(|| Memory::Large(Some(self.large(len))), Memory::Slot);
        Buffer {
            memory,
            len,
            pool: Arc::clone(self),
        }
    }

    /// In pages of its own, as a source wants it that is read past the page cache.
    fn large(&self, len: usize) -> MmapMut {
        let size = len.next_multiple_of(SMALLEST).max(SMALLEST);
        let mut free = lock(&self.free);
        // The smallest that fits: a small request must not eat the buffer a large one needs.
        let best = free
            .buffers
            .iter()
            .enumerate()
            .filter(|(_, buffer)| buffer.len() >= size && buffer.len() <= 2 * size)
            .min_by_key(|(_, buffer)| buffer.len())
            .map(|(index, _)| index);
        if let Some(index) = best {
            let bytes = free.buffers.swap_remove(index);
            free.bytes -= bytes.len();
            return bytes;
        }
        drop(free);
        MmapMut::map_anon(size).unwrap_or_else(|_| {
            handle_alloc_error(Layout::array::<u8>(size).unwrap_or(Layout::new::<u8>()))
        })
    }

    fn put(&self, bytes: MmapMut) {
        let mut free = lock(&self.free);
        if free.bytes + bytes.len() <= self.keep {
            free.bytes += bytes.len();
            free.buffers.push(bytes);
        }
    }
}

/// Where a buffer's bytes are.
#[derive(Debug)]
enum Memory {
    Slot(&'static mut [u8]),
    /// There until the buffer is dropped.
    Large(Option<MmapMut>),
}

/// Bytes owned by us alone, from a [`BufferPool`].
#[derive(Debug)]
pub(crate) struct Buffer {
    /// At least `len` bytes; the rest is room.
    memory: Memory,
    len: usize,
    pool: Arc<BufferPool>,
}

impl Buffer {
    /// The bytes in use.
    pub(crate) fn as_slice(&self) -> &[u8] {
        &self.all()[..self.len]
    }

    /// The bytes in use, to fill.
    pub(crate) fn as_mut_slice(&mut self) -> &mut [u8] {
        let len = self.len;
        match &mut self.memory {
            Memory::Slot(slot) => &mut slot[..len],
            Memory::Large(bytes) => &mut bytes.as_deref_mut().unwrap_or_default()[..len],
        }
    }

    /// Gives up the bytes from `len` on.
    pub(crate) fn truncate(&mut self, len: usize) {
        self.len = self.len.min(len);
    }

    /// Bytes of memory held, room included.
    pub(crate) fn footprint(&self) -> usize {
        self.all().len()
    }

    fn all(&self) -> &[u8] {
        match &self.memory {
            Memory::Slot(slot) => slot,
            Memory::Large(bytes) => bytes.as_deref().unwrap_or_default(),
        }
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        match &mut self.memory {
            Memory::Slot(slot) => SLOTS.put(std::mem::take(slot)),
            Memory::Large(bytes) => bytes.take().into_iter().for_each(|it| self.pool.put(it)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LARGE: usize = 2 << 20;

    #[test]
    fn large_buffers_are_reused_and_the_pool_is_bounded() {
        let pool = BufferPool::new(4 * LARGE);
        let first = pool.take(LARGE + 1);
        assert_eq!(first.as_slice().len(), LARGE + 1);
        let address = first.as_slice().as_ptr();
        assert!(address.addr().is_multiple_of(4096));
        drop(first);
        let second = pool.take(LARGE + SMALLEST);
        assert_eq!(second.as_slice().as_ptr(), address);
        let many: Vec<_> = (0..10).map(|_| pool.take(LARGE)).collect();
        drop((second, many));
        assert!(lock(&pool.free).bytes <= 4 * LARGE);
    }

    #[test]
    fn a_small_request_leaves_large_buffers_alone() {
        let pool = BufferPool::new(100 * LARGE);
        drop(pool.take(50 * LARGE));
        assert_eq!(pool.take(1).footprint(), SMALLEST);
        assert_eq!(pool.take(LARGE).footprint(), LARGE);
    }

    #[test]
    fn slots_fit_are_reused_and_do_not_overlap() {
        let slots = Slots {
            free: Default::default(),
        };
        let mut all = Vec::new();
        for (len, footprint) in [
            (0, SMALLEST),
            (SMALLEST, SMALLEST),
            (SMALLEST + 1, 2 * SMALLEST),
            (1 << 20, 1 << 20),
        ] {
            let class = Slots::class_of(len).unwrap();
            for _ in 0..2 * SLAB / footprint {
                let slot = slots.take(class).unwrap();
                assert_eq!(slot.len(), footprint);
                all.push(slot);
            }
        }
        assert_eq!(Slots::class_of((1 << 20) + 1), None);
        let mut places: Vec<_> = all
            .iter()
            .map(|slot| (slot.as_ptr() as usize, slot.len()))
            .collect();
        places.sort_unstable();
        assert!(places.is_sorted_by(|a, b| a.0 + a.1 <= b.0));
        // All slabs are in use as a whole, so that whatever comes next is one of them again.
        let address = all[0].as_ptr();
        slots.put(all.swap_remove(0));
        assert_eq!(slots.take(0).unwrap().as_ptr(), address);
    }
}
