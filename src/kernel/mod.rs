//! The kernel: FUSE.
mod fuse;
pub use fuse::FuseAdaptor;
