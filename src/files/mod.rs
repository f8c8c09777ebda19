//! Files and directories by descriptor: what was looked at is what is used.
//!
//! Guarantees: nothing that is made, replaced or removed beneath a [`Directory`] is reached through
//! a link, whatever becomes of the names above it meanwhile. Opening a file that
//! [`Directory::write_file`] writes gives the old one or all of the new one, after a crash too;
//! where writing fails the old one stays. An [`Output`] is found to be writable before there is
//! anything to write. Reading is bounded.
//!
//! There is one way to open a file for each source of its path: [`open_given`] for a path that the
//! user names, [`open_found`] for what others may have put beneath a directory, and `open_entry`
//! for what must be exactly there, in a directory of ours.
//!
//! Doesn't: see to it that a new file is there after a crash, for which its directory has to be
//! synchronised; or follow a directory that was put in another's place: a [`Directory`] stays the
//! one that was opened. Needs `/proc` (proc(5)) to tell where something lies, and to open again
//! what was opened with `O_PATH`.

mod atomic;
mod directory;
mod identity;
mod locate;
mod o_path;
mod open;
mod output;
mod owner;
mod read;
#[cfg(test)]
mod tests;

pub use self::atomic::{abandon_files, write_file};
pub use self::directory::{Directory, nearest, parent_of};
pub use self::identity::Identity;
pub(crate) use self::identity::describe;
pub use self::locate::place_of;
pub use self::o_path::{descriptor_path, has_descriptor_paths};
pub(crate) use self::o_path::{look_at, look_at_entry, reopen};
pub(crate) use self::open::{OpenError, open_entry};
pub use self::open::{open_found, open_given};
pub use self::output::Output;
pub(crate) use self::owner::{is_root_or_user, is_sticky, is_user, is_writable_by_others};
pub(crate) use self::read::read_whole;
pub use self::read::{read_given, read_stream};
