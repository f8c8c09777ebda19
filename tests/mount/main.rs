//! Signed models, mounted by the real program on the real kernel, read by ordinary programs.
//!
//! What must hold of a mount, seen from outside: every reader gets the source's bytes, in every way
//! of reading, and an error in place of any byte that isn't the signed one.
//!
//! Needs `/dev/fuse`, `fusermount3`, `python3` (for `mmap`), and the usual tools of a Linux system.
//! What is missing fails the tests; `MODEL_FS_SKIP=fuse` leaves them out on purpose.

mod support;

mod attest;
mod background;
mod bindings;
mod codes;
mod control;
mod exits;
mod index;
mod kept;
mod lanes;
mod lazy;
mod lengths;
mod links;
mod manners;
mod monitoring;
mod one_file;
mod operations;
mod pages;
mod passes;
mod populate;
mod pushed;
mod reads;
mod repair;
mod replace;
mod reports;
mod scale;
mod session;
mod signals;
mod stress;
mod stuck;
mod tampering;
mod tree;
mod users;
mod warm;
