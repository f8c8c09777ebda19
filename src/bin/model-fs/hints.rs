//! What the user could do about an error: verbs and flags of this program, and commands of the
//! system.
//!
//! The library says what is wrong, and knows no command line; these functions read its types, one
//! for each kind of error. Guarantees: paths and names are shown as words of a shell command,
//! harmless to a terminal. Doesn't: decide what is a failure, or with which exit code.

use model_fs::kernel::{MountError, MountRefusal, UnmountError};
use model_fs::manifest::VerifyWithStoreError;
use model_fs::name::shell_word;
use model_fs::oms::trust_store::{FileRule, Problem, TrustStoreError};

/// What helps where mounting failed.
pub(crate) fn mount(error: &MountError) -> Option<String> {
    Some(match error {
        MountError::Missing { mountpoint } => format!("mkdir -p {}", shell_word(mountpoint)),
        MountError::Dead { mountpoint } | MountError::AlreadyMounted { mountpoint } => {
            format!("model-fs umount {}", shell_word(mountpoint))
        }
        MountError::Overlap { .. } => "choose an empty directory elsewhere".into(),
        MountError::NoDevice => {
            "on a host, load the module with \"modprobe fuse\"; in a container, pass the device in \
             (--device /dev/fuse)"
                .into()
        }
        MountError::Device(_) => {
            "/dev/fuse must be readable and writable for this user (usually mode 0666); in a \
             container, pass it in (--device /dev/fuse)"
                .into()
        }
        MountError::Descriptors(_) => {
            "raise the limit for open files (ulimit -n), or use fewer --threads".into()
        }
        MountError::Thread(_) => {
            "raise the limit for processes (ulimit -u), or use fewer --threads".into()
        }
        MountError::NoHelper => "install the package fuse3, or mount as root".into(),
        MountError::OthersNotAllowed { .. } => {
            "add a line \"user_allow_other\" to /etc/fuse.conf, or mount as root".into()
        }
        MountError::Refused { reason, .. } => match reason {
            MountRefusal::Denied => "the mountpoint must belong to the user who mounts".into(),
            MountRefusal::NotPermitted => {
                "in a container, mounting needs the capability SYS_ADMIN (--cap-add SYS_ADMIN)"
                    .into()
            }
            MountRefusal::Other => return None,
        },
        MountError::NotADirectory { .. }
        | MountError::Unusable { .. }
        | MountError::HelperFailed(_)
        | MountError::Kernel { .. }
        | MountError::Table(_)
        | MountError::Vanished { .. }
        | MountError::Elsewhere { .. }
        | MountError::Handshake(_)
        | MountError::Interrupted => return None,
    })
}

/// What helps where unmounting failed.
pub(crate) fn unmount(error: &UnmountError) -> Option<String> {
    Some(match error {
        UnmountError::Busy { mountpoint } => {
            let path = shell_word(mountpoint);
            format!("\"fuser -vm {path}\" or \"lsof {path}\" shows who uses it")
        }
        UnmountError::NotOurs { mountpoint, .. } => format!("umount {}", shell_word(mountpoint)),
        UnmountError::NoHelper => "install the package fuse3, or unmount as root".into(),
        UnmountError::Refused { .. } => {
            "only root and the user who mounted it can unmount it".into()
        }
        UnmountError::Path { .. }
        | UnmountError::Table(_)
        | UnmountError::NotMounted { .. }
        | UnmountError::HelperFailed(_)
        | UnmountError::Kernel { .. }
        | UnmountError::Moved { .. }
        | UnmountError::Remains { .. } => return None,
    })
}

/// What helps where the trust store can't be used or changed.
pub(crate) fn trust_store(error: &TrustStoreError) -> Option<String> {
    match &error.problem {
        Problem::File(FileRule::Writable { .. }) => Some(format!("chmod go-w {}", error.path)),
        Problem::Unknown(_) => Some(who_may_sign()),
        Problem::Exists(name) => Some(format!(
            "choose another --name, or first: model-fs trust remove {name}"
        )),
        Problem::Io(_)
        | Problem::File(_)
        | Problem::Toml(_)
        | Problem::Signers { .. }
        | Problem::Signer { .. } => None,
    }
}

/// How to see which signers are trusted.
pub(crate) fn who_may_sign() -> String {
    "`model-fs trust list` shows who may sign".to_owned()
}

/// The command that would trust the claimed signer, where the trust store has no such signer.
pub(crate) fn nobody_trusted(error: &VerifyWithStoreError) -> Option<String> {
    match error {
        VerifyWithStoreError::Nobody { claim, .. } => {
            Some(format!("to trust them: {}", claim.trust_command()))
        }
        VerifyWithStoreError::Invalid(_) | VerifyWithStoreError::OtherModels { .. } => None,
    }
}

/// How to get rid of tables in an index store that are no longer believed.
pub(crate) const OLD_TABLES: &str = "`model-fs index --clean` removes them";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hints_are_commands_with_the_path_as_one_word() {
        let mountpoint = std::path::PathBuf::from("/mnt/mount point");
        let missing = MountError::Missing {
            mountpoint: mountpoint.clone(),
        };
        assert_eq!(mount(&missing).unwrap(), "mkdir -p '/mnt/mount point'");
        for error in [
            MountError::AlreadyMounted {
                mountpoint: mountpoint.clone(),
            },
            MountError::Dead {
                mountpoint: mountpoint.clone(),
            },
        ] {
            let hint = mount(&error).unwrap();
            assert_eq!(hint, "model-fs umount '/mnt/mount point'");
        }
        let busy = UnmountError::Busy { mountpoint };
        assert!(
            unmount(&busy)
                .unwrap()
                .contains("lsof '/mnt/mount point'\"")
        );
    }

    #[test]
    fn what_the_helper_refuses_is_told_apart() {
        let refused = |reason| {
            mount(&MountError::Refused {
                mountpoint: "/mnt".into(),
                message: "no".to_owned(),
                reason,
            })
        };
        assert!(
            refused(MountRefusal::Denied)
                .unwrap()
                .contains("must belong")
        );
        assert!(
            refused(MountRefusal::NotPermitted)
                .unwrap()
                .contains("SYS_ADMIN")
        );
        assert_eq!(refused(MountRefusal::Other), None);
    }
}
