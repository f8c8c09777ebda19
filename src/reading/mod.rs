//! Verified reading: from signed digests and untrusted bytes to [`VerifiedBytes`].
//!
//! OMS signs one digest for a whole file, or one for each shard. Reading lazily needs a digest for
//! each piece that is read. So each file has a [chunk table](ChunkTable), and reading is always the
//! same: read the chunk into a private buffer, hash that buffer, compare, serve that buffer. Only
//! how a table earns trust differs:
//!
//! | the manifest says | the table | full pass before the first byte? |
//! |---|---|---|
//! | shards of at most [`MAX_DIRECT_SHARD`](proof::MAX_DIRECT_SHARD) | the manifest itself | no |
//! | a file of one chunk | the signed digest itself | no |
//! | a file, BLAKE3 | chaining values that merge to the signed digest; they may come from anywhere | no, where they are at hand |
//! | anything else | chaining values under a root hash that this host bound to the signed digest | once per host |
//!
//! | module | holds |
//! |---|---|
//! | `location`, `source` | where models lie and bytes come from, untrusted |
//! | `subtree`, `table`, `table_file` | chunk tables, in memory and as files |
//! | `index_store` | the owner-only store of tables, and those shipped with a model |
//! | `full_pass` | hashing whole files on all cores |
//! | `proof` | from signed content to a table |
//! | `buffer`, `verified`, `cache`, `flights` | private buffers, verified bytes, keeping and sharing them |
//! | `reader` | opening and reading files |
//! | `prefetch`, `push` | verifying ahead of sequential readers, and into the kernel's page cache |
//! | `violation`, `violation_log` | what is wrong, and telling it |
//! | `source_errors` | what can't be had, and telling it |
//! | `check`, `signing` | whole models: verifying and signing them |

mod buffer;
mod cache;
pub mod check;
mod flights;
pub mod full_pass;
mod index_store;
pub mod location;
mod prefetch;
pub mod proof;
mod push;
mod reader;
pub mod signing;
mod source;
mod source_errors;
pub mod subtree;
mod table;
mod table_file;
mod verified;
mod violation;
mod violation_log;

pub use index_store::{IndexStore, IndexStoreError, shipped};
pub use push::PageSink;
pub use reader::{OpenFile, Reader, ReaderOptions, ReaderStats, Retain};
pub use source::{
    Caching, Found, Links, LocalDirectory, LocalFile, Scan, Source, SourceError, SourceFile,
};
pub use source_errors::{SourceErrors, SourceFailure};
pub use table::{ChunkTable, Length, MAX_VALUES, TableError};
pub use table_file::{TableFile, TableFileError};
pub use verified::VerifiedBytes;
pub use violation::{ReadError, Violation, ViolationKind};
pub use violation_log::ViolationLog;

#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;
