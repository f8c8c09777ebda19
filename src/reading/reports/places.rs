//! Places in files where something was met, each known once.

use lru::LruCache;

use crate::name::FileName;

/// Places that are known: a few megabytes at most. Where there are more, one that hasn't been met
/// for long counts anew.
pub(super) const KNOWN: usize = 1 << 16;

/// A file and the first byte of what was met there.
pub(super) type Place = (FileName, u64);

/// How often each place was reported. Unbounded by itself, since a bounded one takes all its memory
/// at once.
pub(super) struct Places(LruCache<Place, u8>);

impl Default for Places {
    fn default() -> Self {
        Self(LruCache::unbounded())
    }
}

impl Places {
    /// How often a place that is known was reported.
    pub(super) fn reports(&mut self, place: &Place) -> Option<&mut u8> {
        self.0.get_mut(place)
    }

    /// Takes note of a place that was reported once.
    pub(super) fn add(&mut self, place: Place) {
        self.0.put(place, 1);
        if self.0.len() > KNOWN {
            self.0.pop_lru();
        }
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }
}
