//! What is installed of model-fs: man pages and completions as the programs see them that read
//! them, and the Debian package on a machine of its own.
//!
//! Needs `groff`, `bash`, `/dev/fuse` and root. What is missing fails the tests; `MODEL_FS_SKIP`
//! leaves them out on purpose. The package is tested where `cargo-deb` is installed, completions
//! for zsh and fish where these are.

mod package;
mod pages;
