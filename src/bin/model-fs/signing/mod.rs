//! What `sign` is made of, besides the order of its steps: who signs, where the signature goes and
//! what is there already, and where chunk tables go.

mod output;
mod signer;
#[cfg(feature = "sigstore-sign")]
mod sigstore;
mod tables;

pub(crate) use self::output::{Author, Replaced};
pub(crate) use self::signer::{Signer, bare_key};
pub(crate) use self::tables::Tables;
