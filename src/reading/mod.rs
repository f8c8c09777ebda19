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
//! | module | holds |
//! |---|---|
//! | `location`, `source` | where models lie and bytes come from, untrusted |
//! | `subtree`, `table_file` | BLAKE3 trees, and chunk tables as files |
//! | `table` | chunk tables: the only way from a proof to one |
//! | `index_store`, `shipped` | tables that this host keeps, and those that travel with a model |
//! | `full_pass`, `proof` | hashing whole files on all cores, and what the result says |
//! | `last_chunk`, `passes`, `opening` | where a file ends, who gets a full pass when, and how a file gets its table |
//! | `buffer`, `verified`, `cache`, `flights` | private buffers, verified bytes, keeping and sharing them |
//! | `reader`, `stats` | reading files, and what was done |
//! | `prefetch`, `push` | verifying ahead of sequential readers, and into the kernel's page cache |
//! | `violation`, `violation_log` | what is wrong, and telling it |
//! | `source_errors`, `reports` | what can't be had, and telling it |
//! | `check`, `signing` | whole models: verifying and signing them |

mod buffer;
mod cache;
pub mod check;
mod flights;
pub mod full_pass;
mod index_store;
mod last_chunk;
pub mod location;
mod opening;
mod passes;
mod prefetch;
mod proof;
mod push;
mod reader;
mod reports;
pub mod shipped;
pub mod signing;
mod source;
mod source_errors;
mod stats;
pub mod subtree;
pub mod table;
mod table_file;
mod verified;
mod violation;
mod violation_log;

pub use index_store::{IndexStore, IndexStoreError};
pub use push::PageSink;
pub use reader::{OpenFile, Reader, ReaderOptions, Retain};
pub use source::{
    Caching, FileIdentity, Found, Links, LocalDirectory, LocalFile, Scan, Source, SourceError,
    SourceFile,
};
pub use source_errors::{SourceErrors, SourceFailure};
pub use stats::ReaderStats;
pub use table::{ChunkTable, ProvedLength};
pub use table_file::TableFileError;
pub use verified::VerifiedBytes;
pub use violation::{ReadError, Violation, ViolationKind};
pub use violation_log::ViolationLog;

#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;
