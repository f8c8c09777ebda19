//! A file of this machine.

use std::fs::File;
use std::io::{self, IoSliceMut};
use std::num::NonZeroU64;
use std::os::unix::fs::FileExt as _;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::fs::{Advice, OFlags, fadvise};
use rustix::io::{Errno, ReadWriteFlags};

use super::cached::is_cached;
use super::{Caching, FileIdentity, SourceFile};
use crate::files::reopen;

/// A regular file of this machine.
#[derive(Debug)]
pub struct LocalFile {
    file: File,
    /// The same file opened to be read past the page cache, where that can be done.
    direct: OnceLock<Option<File>>,
    no_direct: AtomicBool,
    /// The kernel, or the file system that holds the file, has no uncached reads.
    no_uncached: AtomicBool,
    /// Reads that don't wait have failed because the file was not in memory, so that they tell
    /// whether it is; or there are none.
    tells_memory: AtomicBool,
    no_nowait: AtomicBool,
}

/// `RWF_DONTCACHE` (preadv2(2), Linux 6.14): pages that this read brings into the page cache leave
/// it when the read is done. Pages that were there already, for other readers, stay.
const DONTCACHE: ReadWriteFlags = ReadWriteFlags::from_bits_retain(0x80);

/// What offsets, lengths and places in memory have to be multiples of to read past the page cache.
/// Devices with larger blocks exist; they refuse.
const DIRECT_ALIGNMENT: usize = 4096;

/// What is asked for to find out how a file system answers.
const PAGE: usize = 4096;

impl LocalFile {
    /// Takes over an open regular file.
    pub fn new(file: File) -> Self {
        Self {
            file,
            direct: OnceLock::new(),
            no_direct: AtomicBool::new(false),
            no_uncached: AtomicBool::new(false),
            tells_memory: AtomicBool::new(false),
            no_nowait: AtomicBool::new(false),
        }
    }

    /// Reads past the page cache (`O_DIRECT`, open(2)): the device writes into `buffer` itself, and
    /// nothing is left behind. `None` where that can't be done, here or for this file, or where the
    /// page cache may hold the bytes without our knowing: a network file system's does for good
    /// reason, unless just these are not to be taken.
    fn read_direct(
        &self,
        buffer: &mut [u8],
        offset: u64,
        caching: Caching,
    ) -> Option<io::Result<usize>> {
        let len = buffer.len() - buffer.len() % DIRECT_ALIGNMENT;
        if len == 0
            || !buffer.as_ptr().addr().is_multiple_of(DIRECT_ALIGNMENT)
            || !offset.is_multiple_of(DIRECT_ALIGNMENT as u64)
            || self.no_direct.load(Ordering::Relaxed)
            || caching != Caching::Renew && !self.tells_memory.load(Ordering::Relaxed)
        {
            return None;
        }
        let direct = self.direct.get_or_init(|| {
            // Not by its name, which may be another file's by now.
            reopen(&self.file, OFlags::RDONLY | OFlags::DIRECT).ok()
        });
        match direct.as_ref()?.read_at(&mut buffer[..len], offset) {
            // A file system that wants larger blocks, or doesn't do it after all.
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::InvalidInput | io::ErrorKind::Unsupported
                ) =>
            {
                self.no_direct.store(true, Ordering::Relaxed);
                None
            }
            result => Some(result),
        }
    }

    /// Has the kernel drop what it keeps of these bytes, as far as it will.
    fn forget(&self, offset: u64, len: usize) {
        const PAGE: u64 = DIRECT_ALIGNMENT as u64;
        // Pages that are dropped are dropped whole.
        let start = offset - offset % PAGE;
        let len = offset.saturating_add(len as u64).next_multiple_of(PAGE) - start;
        let advised = fadvise(&self.file, start, NonZeroU64::new(len), Advice::DontNeed);
        if let Err(error) = advised {
            tracing::debug!(%error, "what is cached of a file stays");
        }
    }

    fn read_some(&self, buffer: &mut [u8], offset: u64, caching: Caching) -> io::Result<usize> {
        if caching != Caching::Keep
            && let Some(result) = self.read_direct(buffer, offset, caching)
        {
            return result;
        }
        if caching == Caching::Renew {
            self.forget(offset, buffer.len());
        }
        if caching == Caching::Drop && !self.no_uncached.load(Ordering::Relaxed) {
            let mut buffers = [IoSliceMut::new(buffer)];
            match rustix::io::preadv2(&self.file, &mut buffers, offset, DONTCACHE) {
                Err(Errno::OPNOTSUPP | Errno::INVAL | Errno::NOSYS) => {
                    self.no_uncached.store(true, Ordering::Relaxed);
                }
                other => return Ok(other?),
            }
        }
        self.file.read_at(buffer, offset)
    }
}

impl SourceFile for LocalFile {
    fn identity(&self) -> Option<FileIdentity> {
        let stat = rustix::fs::fstat(&self.file).ok()?;
        Some(FileIdentity {
            device: stat.st_dev,
            inode: stat.st_ino,
        })
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.file.metadata()?.len())
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64, caching: Caching) -> io::Result<usize> {
        let mut filled = 0;
        while filled < buffer.len() {
            match self.read_some(&mut buffer[filled..], offset + filled as u64, caching) {
                Ok(0) => break,
                Ok(read) => filled += read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(filled)
    }

    fn read_now(&self, buffer: &mut [u8], offset: u64) -> bool {
        if self.no_nowait.load(Ordering::Relaxed) {
            return false;
        }
        let len = buffer.len();
        let mut asked = buffer;
        if is_cached(&self.file, offset, len) == Some(false) {
            if self.tells_memory.load(Ordering::Relaxed) {
                return false;
            }
            // One page, to find out whether it tells.
            let most = asked.len().min(PAGE);
            asked = &mut asked[..most];
        }
        let mut buffers = [IoSliceMut::new(asked)];
        // preadv2(2): only what is in the page cache. For what isn't, the kernel begins to read
        // ahead nonetheless.
        match rustix::io::preadv2(&self.file, &mut buffers, offset, ReadWriteFlags::NOWAIT) {
            Ok(read) => read == len,
            Err(Errno::AGAIN) => {
                self.tells_memory.store(true, Ordering::Relaxed);
                false
            }
            Err(Errno::OPNOTSUPP | Errno::INVAL | Errno::NOSYS) => {
                self.no_nowait.store(true, Ordering::Relaxed);
                false
            }
            Err(_) => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reading::chunk::buffer::BufferPool;

    #[test]
    fn reads_the_same_past_the_page_cache_and_through_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("weights.bin");
        let mut bytes = vec![0; 300_123];
        blake3::Hasher::new().finalize_xof().fill(&mut bytes);
        std::fs::write(&path, &bytes).unwrap();
        let local = LocalFile::new(File::open(&path).unwrap());
        local.tells_memory.store(true, Ordering::Relaxed);
        // Buffers of the pool begin where pages do.
        let pool = BufferPool::new(0);
        for offset in [
            0, 1, 4096, 65_536, 262_144, 299_008, 300_122, 300_123, 304_000,
        ] {
            for len in [1, 4095, 4096, 65_536, 100_000, 1 << 20] {
                let expected = bytes.get(offset..).unwrap_or_default();
                let expected = &expected[..expected.len().min(len)];
                for caching in [Caching::Drop, Caching::Keep, Caching::Renew] {
                    let mut buffer = pool.take(len);
                    let read = local.read_at(buffer.as_mut_slice(), offset as u64, caching);
                    let found = &buffer.as_slice()[..read.unwrap()];
                    assert!(found == expected, "{len} bytes at {offset}, {caching:?}");
                }
            }
        }
    }

    /// Twice: the first look finds out how the file system answers.
    #[test]
    fn asking_for_what_is_not_in_memory_brings_nothing_in() {
        const LEN: usize = 8 << 20;
        let mut file = tempfile::tempfile().unwrap();
        std::io::Write::write_all(&mut file, &vec![7; LEN]).unwrap();
        file.sync_all().unwrap();
        let cool = |file: &File| {
            rustix::fs::fadvise(file, 0, None, rustix::fs::Advice::DontNeed).unwrap();
        };
        let local = LocalFile::new(file);
        let mut page = vec![0; 4096];
        cool(&local.file);
        if is_cached(&local.file, 0, LEN) != Some(false) || local.read_now(&mut page, 0) {
            return; // A file system in memory, or a kernel that doesn't tell.
        }
        // What is still being read can't be dropped.
        let mut all = vec![0; LEN];
        local.read_at(&mut all, 0, Caching::Keep).unwrap();
        cool(&local.file);
        for offset in (0..LEN as u64).step_by(64 << 10) {
            assert!(!local.read_now(&mut page, offset));
        }
        for offset in (0..LEN as u64).step_by(4096) {
            assert_eq!(is_cached(&local.file, offset, 1), Some(false), "{offset}");
        }
        // What is there is given.
        local.read_at(&mut page, 0, Caching::Keep).unwrap();
        assert!(local.read_now(&mut page, 0));
        assert_eq!(page, [7; 4096]);
    }
}
