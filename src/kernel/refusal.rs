//! What it means that a mount was refused.
//!
//! Guarantees: only words that `fusermount3` writes itself, and facts about this process, decide.
//! Doesn't: change what happens; a cause that isn't found is [`MountRefusal::Other`] or
//! [`MountRefusal::NotPermitted`].

use rustix::io::Errno;

use super::fusermount;

/// The whole range of users, which only the first user namespace has (`user_namespaces(7)`).
const ALL_USERS: [&str; 3] = ["0", "0", "4294967295"];

/// What the kernel or `fusermount3` means by refusing a mount, as far as can be told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MountRefusal {
    /// The user may not mount on that directory.
    Denied,
    /// That directory lies in a file system of a kind that users may not mount on.
    FileSystem,
    /// A security module of the kernel forbids it.
    SecurityModule,
    /// The process is in a user namespace, and may not mount there.
    UserNamespace,
    /// The process has `no_new_privs`, so the helper doesn't get root's rights.
    NoNewPrivileges,
    /// The helper lacks the set-user-ID bit, or lies in a file system that is mounted `nosuid`.
    NotSetUserId,
    /// The process lacks the capability to mount.
    NotPermitted,
    /// Another reason.
    Other,
}

impl MountRefusal {
    /// Why the system call failed.
    pub(super) fn of_errno(errno: Errno) -> Self {
        match errno {
            Errno::PERM => Circumstances::now().not_permitted(),
            Errno::ACCESS => Self::SecurityModule,
            _ => Self::Other,
        }
    }

    /// What the helper's message means.
    pub(super) fn of_message(message: &str) -> Self {
        Self::of_message_in(message, Circumstances::now)
    }

    fn of_message_in(message: &str, now: impl FnOnce() -> Circumstances) -> Self {
        let says = |words: &str| message.contains(words);
        if says("mount failed: Operation not permitted") {
            now().not_permitted()
        } else if says("mount failed: Permission denied") {
            Self::SecurityModule
        } else if says("mounting over filesystem type") {
            Self::FileSystem
        } else if says("no write access") || says("not owned by user") || says("ermission denied") {
            Self::Denied
        } else {
            Self::Other
        }
    }
}

/// What decides whether a process may mount.
#[derive(Debug, Clone, Copy)]
#[allow(clippy::struct_excessive_bools, reason = "each is a fact of its own")]
struct Circumstances {
    is_root: bool,
    in_user_namespace: bool,
    no_new_privileges: bool,
    helper_is_set_user_id: bool,
}

impl Circumstances {
    /// Those of this process. What can't be found out is taken to be as usual.
    fn now() -> Self {
        let map = std::fs::read_to_string("/proc/self/uid_map");
        Self {
            is_root: rustix::process::geteuid().is_root(),
            in_user_namespace: map.is_ok_and(|map| !has_all_users(&map)),
            no_new_privileges: rustix::thread::no_new_privs().unwrap_or(false),
            helper_is_set_user_id: fusermount::is_set_user_id().unwrap_or(true),
        }
    }

    /// Why the kernel says `EPERM`.
    fn not_permitted(self) -> MountRefusal {
        if self.in_user_namespace {
            MountRefusal::UserNamespace
        } else if self.is_root {
            // The helper could give it nothing that it hasn't.
            MountRefusal::NotPermitted
        } else if self.no_new_privileges {
            MountRefusal::NoNewPrivileges
        } else if !self.helper_is_set_user_id {
            MountRefusal::NotSetUserId
        } else {
            MountRefusal::NotPermitted
        }
    }
}

fn has_all_users(map: &str) -> bool {
    map.split_whitespace().eq(ALL_USERS)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An ordinary user on an ordinary host.
    const USER: Circumstances = Circumstances {
        is_root: false,
        in_user_namespace: false,
        no_new_privileges: false,
        helper_is_set_user_id: true,
    };

    #[test]
    fn what_is_not_permitted_has_a_cause() {
        let root = Circumstances {
            is_root: true,
            no_new_privileges: true,
            helper_is_set_user_id: false,
            ..USER
        };
        let no_new_privileges = Circumstances {
            no_new_privileges: true,
            helper_is_set_user_id: false,
            ..USER
        };
        let helper = Circumstances {
            helper_is_set_user_id: false,
            ..USER
        };
        let namespace = Circumstances {
            in_user_namespace: true,
            ..root
        };
        for (circumstances, expected) in [
            (USER, MountRefusal::NotPermitted),
            (root, MountRefusal::NotPermitted),
            (no_new_privileges, MountRefusal::NoNewPrivileges),
            (helper, MountRefusal::NotSetUserId),
            (namespace, MountRefusal::UserNamespace),
        ] {
            let message = "fusermount3: mount failed: Operation not permitted";
            let found = MountRefusal::of_message_in(message, || circumstances);
            assert_eq!(found, expected, "{circumstances:?}");
        }
    }

    #[test]
    fn messages_of_the_helper_are_understood() {
        for (message, expected) in [
            (
                "fusermount3: mount failed: Permission denied",
                MountRefusal::SecurityModule,
            ),
            (
                "fusermount3: user has no write access to mountpoint /m",
                MountRefusal::Denied,
            ),
            (
                "fusermount3: mountpoint /m not owned by user",
                MountRefusal::Denied,
            ),
            (
                "fusermount3: bad mount point /m: Permission denied",
                MountRefusal::Denied,
            ),
            (
                "fusermount3: mounting over filesystem type 0x00009fa0 is forbidden",
                MountRefusal::FileSystem,
            ),
            (
                "fusermount3: mount failed: Invalid argument",
                MountRefusal::Other,
            ),
        ] {
            let found = MountRefusal::of_message_in(message, || panic!("nothing to ask"));
            assert_eq!(found, expected, "{message}");
        }
    }

    #[test]
    fn errors_of_the_system_call_are_understood() {
        assert_eq!(
            MountRefusal::of_errno(Errno::ACCESS),
            MountRefusal::SecurityModule
        );
        assert_eq!(MountRefusal::of_errno(Errno::INVAL), MountRefusal::Other);
    }

    #[test]
    fn the_first_user_namespace_has_all_users() {
        assert!(has_all_users("         0          0 4294967295\n"));
        for map in [
            "",
            "0 1000 1\n",
            "0 100000 65536\n",
            "0 0 4294967295\n1 1 1\n",
        ] {
            assert!(!has_all_users(map), "{map}");
        }
    }
}
