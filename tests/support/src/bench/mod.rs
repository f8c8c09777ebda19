//! What benchmarks share: arguments, mounts, what processes take, and reports.

pub mod arguments;
pub mod mount;
pub mod process;
pub mod report;
