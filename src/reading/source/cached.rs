//! Whether the page cache has part of a file (`cachestat(2)`, Linux 6.5).
//!
//! Guarantees: asking brings nothing into memory, which a read that doesn't wait does (Linux 5.9
//! and later begin to read ahead for it). Doesn't: know, on an older kernel or without the right to
//! ask; nor say for how long it will be so.

use std::fs::File;
use std::os::fd::AsRawFd as _;

/// The system call's number, the same wherever Linux has its usual numbers.
const CACHESTAT: libc::c_long = 451;

/// `struct cachestat_range`.
#[repr(C)]
struct Range {
    offset: u64,
    len: u64,
}

/// `struct cachestat`.
#[repr(C)]
#[derive(Default)]
struct Found {
    cached: u64,
    dirty: u64,
    written_back: u64,
    evicted: u64,
    recently_evicted: u64,
}

/// Whether all pages with these bytes are there. `None` where the kernel doesn't tell.
pub(super) fn is_cached(file: &File, offset: u64, len: usize) -> Option<bool> {
    let page = rustix::param::page_size() as u64;
    let last = offset.checked_add(len.checked_sub(1)? as u64)?;
    let pages = last / page - offset / page + 1;
    let range = Range {
        offset,
        len: len as u64,
    };
    count(file, &range).map(|cached| cached >= pages)
}

#[cfg(any(
    target_arch = "x86_64",
    target_arch = "aarch64",
    target_arch = "riscv64"
))]
#[allow(unsafe_code)]
fn count(file: &File, range: &Range) -> Option<u64> {
    let mut found = Found::default();
    let (range, to): (*const Range, *mut Found) = (range, &raw mut found);
    // SAFETY: the kernel reads one `Range` and writes one `Found`, both of which are there until
    // the call is over, and laid out as it has them.
    let result = unsafe { libc::syscall(CACHESTAT, file.as_raw_fd(), range, to, 0) };
    (result == 0).then_some(found.cached)
}

#[cfg(not(any(
    target_arch = "x86_64",
    target_arch = "aarch64",
    target_arch = "riscv64"
)))]
fn count(_: &File, _: &Range) -> Option<u64> {
    None
}
