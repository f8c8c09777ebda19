//! The ways in which files are read, each timed inside a process of its own.
//!
//! Guarantees: every method looks at what it was given (a byte of each cache line at least), and
//! the time covers opening, mapping and reading, not starting the process. Doesn't: check the
//! bytes; the tests do.

use std::fs::File;
use std::io;
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::Path;
use std::time::Instant;

use memmap2::{Advice, Mmap};
use rustix::fs::OFlags;
use serde::{Deserialize, Serialize};
use test_support::bench::process::own_cpu_seconds;

const MIB: usize = 1 << 20;
const PAGE: usize = 4096;

/// Single pages that a random method reads.
const RANDOM_PAGES: u64 = 4000;

/// How a file is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Method {
    /// `pread` of 1 MiB, in order.
    Read,
    /// The same from eight threads, each its own eighth of every 8 MiB: eight reads in flight.
    Read8,
    /// A mapping, in order.
    Mmap,
    /// A mapping, four threads, each its own quarter.
    Mmap4,
    /// The same with sixteen.
    Mmap16,
    /// `pread` of single pages, anywhere.
    RandomRead,
    /// Faults of single pages anywhere, with `MADV_RANDOM`.
    RandomFault,
    /// The same without advice, so that the kernel reads around each.
    RandomFaultAround,
    /// `pread` of 1 MiB past the page cache.
    Direct,
    /// [`Read`](Self::Read), for the third time: the second access to a page moves it between lists
    /// of the page cache, which doesn't depend on what is being measured.
    ReRead,
    /// [`Mmap`](Self::Mmap), for the third time.
    ReMap,
    /// The 1 MiB in the middle, and nothing else.
    OneMib,
}

/// What a reader measured.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Measured {
    pub(crate) bytes: u64,
    pub(crate) seconds: f64,
    pub(crate) cpu_seconds: f64,
    pub(crate) p50_us: Option<f64>,
    pub(crate) p99_us: Option<f64>,
}

/// Reads `path` by `method`.
pub(crate) fn run(method: Method, path: &Path) -> io::Result<Measured> {
    if method == Method::ReRead {
        read(path, OFlags::empty())?;
        read(path, OFlags::empty())?;
    }
    if method == Method::ReMap {
        fault(path, 1)?;
        fault(path, 1)?;
    }
    let mut latencies = Vec::new();
    let (started, cpu) = (Instant::now(), own_cpu_seconds());
    let bytes = match method {
        Method::Read | Method::ReRead => read(path, OFlags::empty())?,
        Method::Direct => read(path, OFlags::DIRECT)?,
        Method::Read8 => read_parallel(path, 8)?,
        Method::Mmap | Method::ReMap => fault(path, 1)?,
        Method::Mmap4 => fault(path, 4)?,
        Method::Mmap16 => fault(path, 16)?,
        Method::RandomRead => random_read(path, &mut latencies)?,
        Method::RandomFault => random_fault(path, Some(Advice::Random), &mut latencies)?,
        Method::RandomFaultAround => random_fault(path, None, &mut latencies)?,
        Method::OneMib => {
            let file = File::open(path)?;
            let middle = file.metadata()?.len() / 2;
            file.read_exact_at(&mut vec![0; MIB], middle)?;
            MIB as u64
        }
    };
    let seconds = started.elapsed().as_secs_f64();
    latencies.sort_by(f64::total_cmp);
    let at = |percent: usize| latencies.get(latencies.len() * percent / 100).copied();
    Ok(Measured {
        bytes,
        seconds,
        cpu_seconds: own_cpu_seconds() - cpu,
        p50_us: at(50),
        p99_us: at(99),
    })
}

fn read(path: &Path, flags: OFlags) -> io::Result<u64> {
    let file = File::options()
        .read(true)
        .custom_flags(flags.bits().cast_signed())
        .open(path)?;
    // Past the page cache, the place in memory has to be a page's.
    let mut buffer = vec![0; MIB + PAGE];
    let skip = buffer.as_ptr().align_offset(PAGE);
    let buffer = &mut buffer[skip..skip + MIB];
    let mut offset = 0;
    loop {
        match file.read_at(buffer, offset)? {
            0 => return Ok(offset),
            read => offset += read as u64,
        }
    }
}

fn read_parallel(path: &Path, threads: u64) -> io::Result<u64> {
    let file = &File::open(path)?;
    std::thread::scope(|scope| {
        let readers: Vec<_> = (0..threads)
            .map(|thread| {
                scope.spawn(move || {
                    let mut buffer = vec![0; MIB];
                    let mut bytes = 0;
                    for step in 0.. {
                        let offset = (step * threads + thread) * MIB as u64;
                        match file.read_at(&mut buffer, offset)? {
                            0 => break,
                            read => bytes += read as u64,
                        }
                    }
                    Ok(bytes)
                })
            })
            .collect();
        readers
            .into_iter()
            .map(|reader| reader.join().expect("a reader that doesn't panic"))
            .sum()
    })
}

/// Maps a file.
#[allow(unsafe_code)]
fn map(file: &File) -> io::Result<Mmap> {
    // SAFETY: the file is this benchmark's own and no process writes to it while it is mapped; the
    // bytes are only added up, so that even then nothing but the sum would be wrong.
    unsafe { Mmap::map(file) }
}

/// Looks at one word of each cache line.
fn touch(bytes: &[u8]) -> u64 {
    bytes
        .iter()
        .step_by(64)
        .fold(0, |sum, &byte| sum + u64::from(byte))
}

fn fault(path: &Path, threads: usize) -> io::Result<u64> {
    let map = &map(&File::open(path)?)?;
    let part = map.len().div_ceil(threads);
    std::thread::scope(|scope| {
        for part in map.chunks(part) {
            scope.spawn(move || std::hint::black_box(touch(part)));
        }
    });
    Ok(map.len() as u64)
}

/// Pages of a file of `len` bytes, scattered, the same in each run.
fn scattered(len: u64) -> impl Iterator<Item = u64> {
    let pages = (len / PAGE as u64).max(1);
    // xorshift64 (Marsaglia 2003)
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    (0..RANDOM_PAGES).map(move |_| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state % pages * PAGE as u64
    })
}

fn random_read(path: &Path, latencies: &mut Vec<f64>) -> io::Result<u64> {
    let file = File::open(path)?;
    let mut buffer = [0; PAGE];
    for offset in scattered(file.metadata()?.len()) {
        let started = Instant::now();
        file.read_exact_at(&mut buffer, offset)?;
        latencies.push(started.elapsed().as_secs_f64() * 1e6);
    }
    Ok(RANDOM_PAGES * PAGE as u64)
}

fn random_fault(path: &Path, advice: Option<Advice>, latencies: &mut Vec<f64>) -> io::Result<u64> {
    let map = map(&File::open(path)?)?;
    if let Some(advice) = advice {
        map.advise(advice)?;
    }
    for offset in scattered(map.len() as u64) {
        let offset = usize::try_from(offset).map_err(io::Error::other)?;
        let started = Instant::now();
        std::hint::black_box(touch(&map[offset..offset + PAGE]));
        latencies.push(started.elapsed().as_secs_f64() * 1e6);
    }
    Ok(RANDOM_PAGES * PAGE as u64)
}
