//! What is in `packaging/`, used as those who install it use it.
//!
//! Needs `systemd-analyze`, `systemd-nspawn`, `yamllint`, `shellcheck`, and Python with pip; what
//! boots a system also root and `/dev/fuse`. Where a system can't be booted in a container, it is
//! said not to be tested.

mod boot;
mod kubernetes;
mod scripts;
mod systemd;
