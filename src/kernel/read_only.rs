//! The operations of FUSE that are refused, each with one error.
//!
//! Guarantees: nothing here looks at what is asked. The kernel refuses most of it by itself, since
//! every mount is read-only. Doesn't: refuse what only looks; see [`super::fuse`].

/// Answers each operation of a list with the error that it stands under.
macro_rules! refuse {
    ($($error:ident { $($name:ident($($argument:ty),*) -> $reply:ty;)* })*) => {
        $($(
            fn $name(&self, _: &fuser::Request, $(_: $argument,)* reply: $reply) {
                reply.error(fuser::Errno::$error);
            }
        )*)*
    };
}

/// The refused operations, for the `impl` of [`fuser::Filesystem`].
macro_rules! refused_operations {
    () => {
        $crate::kernel::read_only::refuse! {
            // What would change something.
            EROFS {
                setattr(fuser::INodeNo, Option<u32>, Option<u32>, Option<u32>, Option<u64>,
                    Option<fuser::TimeOrNow>, Option<fuser::TimeOrNow>,
                    Option<std::time::SystemTime>, Option<fuser::FileHandle>,
                    Option<std::time::SystemTime>, Option<std::time::SystemTime>,
                    Option<std::time::SystemTime>, Option<fuser::BsdFileFlags>)
                    -> fuser::ReplyAttr;
                mknod(fuser::INodeNo, &std::ffi::OsStr, u32, u32, u32) -> fuser::ReplyEntry;
                mkdir(fuser::INodeNo, &std::ffi::OsStr, u32, u32) -> fuser::ReplyEntry;
                unlink(fuser::INodeNo, &std::ffi::OsStr) -> fuser::ReplyEmpty;
                rmdir(fuser::INodeNo, &std::ffi::OsStr) -> fuser::ReplyEmpty;
                symlink(fuser::INodeNo, &std::ffi::OsStr, &std::path::Path) -> fuser::ReplyEntry;
                rename(fuser::INodeNo, &std::ffi::OsStr, fuser::INodeNo, &std::ffi::OsStr,
                    fuser::RenameFlags) -> fuser::ReplyEmpty;
                link(fuser::INodeNo, fuser::INodeNo, &std::ffi::OsStr) -> fuser::ReplyEntry;
                write(fuser::INodeNo, fuser::FileHandle, u64, &[u8], fuser::WriteFlags,
                    fuser::OpenFlags, Option<fuser::LockOwner>) -> fuser::ReplyWrite;
                create(fuser::INodeNo, &std::ffi::OsStr, u32, u32, i32) -> fuser::ReplyCreate;
                setxattr(fuser::INodeNo, &std::ffi::OsStr, &[u8], i32, u32) -> fuser::ReplyEmpty;
                removexattr(fuser::INodeNo, &std::ffi::OsStr) -> fuser::ReplyEmpty;
                fallocate(fuser::INodeNo, fuser::FileHandle, u64, u64, i32) -> fuser::ReplyEmpty;
            }
            ENOSYS {
                // There is nothing to flush; the kernel asks no more after one ENOSYS.
                flush(fuser::INodeNo, fuser::FileHandle, fuser::LockOwner) -> fuser::ReplyEmpty;
                // Locks are the kernel's: it was told that we have none.
                getlk(fuser::INodeNo, fuser::FileHandle, fuser::LockOwner, u64, u64, i32, u32)
                    -> fuser::ReplyLock;
            }
        }
    };
}

pub(super) use {refuse, refused_operations};
