//! How the formats of OMS spell things: what bundles, statements, trusted roots and trust stores
//! have in common, and know nothing of one another for.

pub(super) mod base64;
pub(super) mod few;
pub(super) mod pem_file;
pub(super) mod strict;
