//! The socket on which the daemon of a mount tells its status.
//!
//! It is found by what the mount table says of the mount: its lane, the number of the file system
//! and the user who mounted it. Whoever connects is sent the status, and that is all. Through
//! EROFS, which answers for itself, there is no other way to ask. Through FUSE an attribute tells
//! the same ([`STATUS_ATTRIBUTE`](crate::fs::STATUS_ATTRIBUTE)); but who asks for that waits in the
//! kernel, where nothing can end them, if the daemon is stuck.
//!
//! Guarantees: the folder is its user's alone, so that user and root are the only ones that can
//! connect. In the folder of an ordinary user, root writes nothing, and connects to nothing but
//! that user's own sockets. Nobody waits for a daemon that doesn't answer for longer than some
//! seconds. Doesn't: take anything in; outlive its daemon, but for a name that leads nowhere: of a
//! daemon that was killed, or of a mount that is left dead. The next mount of that number replaces
//! it, and `umount` removes it. A user without a folder in `/run/user`, which login managers make,
//! has no socket.
//!
//! | file | holds |
//! |---|---|
//! | `address` | where the socket of a mount is |
//! | `listener` | the daemon's end |
//! | `asking` | the other end |

mod address;
mod asking;
mod listener;

use std::time::Duration;

pub use self::address::Address;
pub(super) use self::address::lock_folder;
pub use self::asking::{Asking, is_model};
pub(super) use self::asking::{Listening, forget, is_dead};
pub(super) use self::listener::Control;

/// How long either side waits for the other.
const PATIENCE: Duration = Duration::from_secs(5);

/// How often the lock of the folder is tried, and a daemon asked that was killed meanwhile.
const STEP: Duration = Duration::from_millis(1);
