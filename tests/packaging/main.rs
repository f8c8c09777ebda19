//! What is in `packaging/`, and what is installed from it, used as those who install it use it:
//! units, the Debian package, container files, scripts, man pages, completions.
//!
//! Needs `systemd-analyze`, `systemd-nspawn`, `yamllint`, `shellcheck`, `groff`, `bash`, and Python
//! with pip; what boots a system also root and `/dev/fuse`. What is missing fails the tests;
//! `MODEL_FS_SKIP` leaves them out on purpose. Where a system can't be booted in a container, it is
//! said not to be tested. The package is tested where `cargo-deb` is installed, completions for zsh
//! and fish where these are.

mod boot;
mod kubernetes;
mod package;
mod pages;
mod scripts;
mod systemd;
