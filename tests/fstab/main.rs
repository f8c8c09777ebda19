//! Models, mounted by mount(8): from `/etc/fstab`, by root and by an ordinary user; and what the
//! usual tools make of such a mount.
//!
//! Needs `/dev/fuse`, `fusermount3`, root, `lsof`, `fuser` and `rsync`. What is missing fails the
//! tests; `MODEL_FS_SKIP` leaves them out on purpose.

mod calls;
mod machine;
mod tools;
mod users;
