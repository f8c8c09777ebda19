//! Verified reading: from signed digests and untrusted bytes to [`VerifiedBytes`].
//!
//! OMS signs one digest for a whole file, or one for each shard. Reading lazily needs a digest for
//! each piece that is read. So each file has a [chunk table](ChunkTable), and reading is always the
//! same: read the chunk into a private buffer, hash that buffer, compare, serve that buffer. Only
//! how a table earns trust differs:
//!
//! | the manifest says | the table | full pass before the first byte? |
//! |---|---|---|
//! | shards of at most [`MAX_DIRECT_SHARD`](table::MAX_DIRECT_SHARD) | the manifest itself | no |
//! | a file of one chunk | the signed digest itself | no |
//! | a file, BLAKE3 | chaining values that merge to the signed digest; they may come from anywhere | no, where they are at hand |
//! | anything else | chaining values under a root hash that this host bound to the signed digest | once per host |
//!
//! A read runs downhill, from `reader` to `source`:
//!
//! | module | holds |
//! |---|---|
//! | [`whole`] | whole models: hashing and verifying them |
//! | `reader` | the files of a model, each proved and opened once |
//! | `opening` | how a file gets its table: at hand, or by a full pass in a fair queue |
//! | `open_file` | reading an open file, at once or waiting |
//! | `ahead` | verifying ahead of sequential readers, and into the kernel's page cache |
//! | `fetch` | from a range to verified chunks: cache, claims, source |
//! | `chunk` | private buffers, verified bytes, keeping and sharing them |
//! | [`table`] | chunk tables: the only way from a proof to one, as files, in the store, shipped |
//! | `source`, [`location`] | where models lie and bytes come from, untrusted |
//! | `stats`, `reports`, `violation` | what was done, what is wrong, and telling it |
//!
//! # Glossary
//!
//! | word | means |
//! |---|---|
//! | chunk | the bytes of a file that are verified together |
//! | shard | a piece of a file with a digest of its own in the signature (OMS, "Shard serialization") |
//! | run | consecutive chunks, read with one call |
//! | request | a range of a file that a caller asks for |
//! | part | what of a chunk lies in a request |
//! | stream | a sequential reader of a file, as its requests show it |
//! | window | bytes that may be verified ahead of streams |
//! | segment | 2 MiB of a file that are pushed into the kernel's page cache together |
//! | slot, slab | a reused buffer of up to 1 MiB, and the mapping of 8 MiB that it is cut from |
//! | at hand | provable by reading at most one chunk and the file's table |
//! | second place | where chunks are asked for that the source doesn't give; trusted as little |
//! | full pass | reading all of a file to prove its table |
//! | binding | a table in the store of this host: signed content and length, bound to a root hash |

mod ahead;
mod chunk;
mod fetch;
pub mod location;
mod open_file;
mod opening;
mod reader;
mod reports;
mod source;
mod stats;
pub mod table;
mod violation;
pub mod whole;

pub use self::ahead::PageSink;
pub use self::chunk::{Retain, VerifiedBytes};
pub use self::fetch::RepairPlace;
pub use self::open_file::OpenFile;
pub use self::opening::PassUnderway;
pub use self::reader::{DEFAULT_CACHE_BYTES, Reader, ReaderOptions};
pub use self::reports::{
    RecoveredBy, Recoveries, Recovery, SourceErrors, SourceFailure, ViolationLog,
};
pub use self::source::{
    Caching, FileIdentity, Found, Links, LocalDirectory, LocalFile, Scan, Source, SourceError,
    SourceFile,
};
pub use self::stats::{BOUNDS_MICROS, ReaderStats, VerifyTimes};
pub use self::table::{ChunkTable, ProvedLength, TableFileError, TableStore, TableStoreError};
pub use self::violation::{ReadError, Violation, ViolationKind};

#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;
