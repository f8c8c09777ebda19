//! Chunk tables: what the bytes of each chunk of a file must hash to, and how that is known.
//!
//! Guarantees: a [`ChunkTable`] is of signed content, and its length is proved; only `proved` makes
//! one, from a proof. Doesn't: read the model, but for [`full_pass`], which hashes all of a file,
//! and [`shipped`], which reads tables beside it.
//!
//! | file | holds |
//! |---|---|
//! | `geometry` | which content needs a table at all |
//! | `subtree` | BLAKE3 chaining values, and how they merge |
//! | `file` | tables as bytes |
//! | `full_pass`, `parts` | hashing a whole file for everything that is wanted of it |
//! | `digest`, `digests` | what chunks are compared by |
//! | `proved` | [`ChunkTable`]: the only way from a proof to a table; the key of this host |
//! | `proof` | what a pass has to compute, and what its result says |
//! | `store`, `shipped` | tables that this host keeps, and those that travel with a model |

mod digest;
mod digests;
mod file;
#[doc(hidden)]
pub mod full_pass;
mod geometry;
mod parts;
pub(super) mod proof;
mod proved;
#[doc(hidden)]
pub mod shipped;
mod store;
#[doc(hidden)]
pub mod subtree;

pub(crate) use self::digest::Mismatch;
pub(crate) use self::digests::ChunkDigests;
pub use self::file::TableFileError;
pub use self::geometry::{Laziness, MAX_DIRECT_SHARD, MAX_WHOLE, laziness};
pub(crate) use self::proved::Candidate;
pub use self::proved::{ChunkTable, ProvedLength};
pub use self::store::{TableStore, TableStoreError};
