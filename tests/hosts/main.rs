//! Hosts and containers that lack something, as a newcomer meets them.
//!
//! Each test makes such a host of this one in a mount namespace, runs the real program there, and
//! finds what it says in `docs/troubleshooting.md`, word for word.
//!
//! Needs root, `/dev/fuse`, `fusermount3`, `python3`, and `unshare` and `setpriv` (util-linux).
//! What takes control groups of version 1 or an overlay is said not to be tested where the kernel
//! has none.

mod device;
mod little;
mod mountpoints;
mod place;
mod rights;
mod support;
