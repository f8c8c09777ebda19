//! The formats of OMS as the library reads them: signatures of the reference implementation and of
//! others, bundles byte for byte, keys, certificates and their chains.
//!
//! Needs the program `openssl` for what is compared with it; where it is missing, the tests say so.

mod bundle_bytes;
mod certificates;
mod chains;
mod keys;
mod objects;
mod vectors;
