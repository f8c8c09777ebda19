//! What the user could do where the system said no.
//!
//! Guarantees: for each reason that a user can do something about, one line that says what.
//! Doesn't: name the path, which the error does; or know better than [`crate::hints`], which comes
//! first.

use std::io::{self, ErrorKind};
use std::sync::Arc;

use rustix::io::Errno;

/// What helps about the first error of the system in a chain of causes.
pub(crate) fn of(error: &anyhow::Error) -> Option<&'static str> {
    error.chain().find_map(|cause| {
        let shared = || cause.downcast_ref::<Arc<io::Error>>().map(|it| &**it);
        let own = cause.downcast_ref::<io::Error>();
        let number = || cause.downcast_ref::<Errno>().map(|it| io::Error::from(*it));
        match own.or_else(shared) {
            Some(error) => of_io(error),
            None => of_io(&number()?),
        }
    })
}

/// What helps about one.
pub(crate) fn of_io(error: &io::Error) -> Option<&'static str> {
    if error.raw_os_error() == Some(Errno::IO.raw_os_error()) {
        return Some("the disk or what it is reached by fails: see \"journalctl -k\"");
    }
    Some(match error.kind() {
        ErrorKind::NotFound => "check the path, and that the disk it lies on is mounted",
        ErrorKind::PermissionDenied => {
            "run this as a user who may; \"namei -l PATH\" shows who that is"
        }
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => {
            "make room (\"df -h\" shows where there is none), or choose another place"
        }
        ErrorKind::ReadOnlyFilesystem => "choose a place that can be written",
        ErrorKind::IsADirectory => "name a file",
        ErrorKind::NotADirectory => "check the path: a part of it is a file",
        ErrorKind::FileTooLarge => "name the file that is meant: this one is too large to be it",
        ErrorKind::AddrInUse => {
            "choose another port, or end what listens there: \"ss -ltnp\" shows it"
        }
        ErrorKind::AddrNotAvailable => "give an address of this host: \"ip address\" lists them",
        ErrorKind::StaleNetworkFileHandle => "mount the network file system there anew",
        ErrorKind::NotConnected => {
            "a mount on the way is dead: \"findmnt -t fuse\" shows it, \"umount\" takes it away"
        }
        ErrorKind::OutOfMemory => "free some memory, or raise its limit",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cause_is_found_wherever_it_is() {
        let full = || io::Error::from_raw_os_error(Errno::NOSPC.raw_os_error());
        let own = anyhow::Error::new(full())
            .context("signature a")
            .context("b");
        assert!(of(&own).unwrap().contains("df -h"));
        let shared = anyhow::Error::new(Arc::new(full())).context("a");
        assert_eq!(of(&shared), of(&own));
        assert_eq!(of(&anyhow::Error::new(Errno::NOSPC).context("a")), of(&own));
        assert_eq!(of(&anyhow::anyhow!("a")), None);
        assert_eq!(of_io(&io::Error::other("a")), None);
    }

    #[test]
    fn a_broken_disk_is_told_from_a_missing_file() {
        let hint = |errno: Errno| of_io(&errno.into()).unwrap();
        assert!(hint(Errno::IO).contains("journalctl"));
        assert!(hint(Errno::NOENT).contains("path"));
        assert!(hint(Errno::ACCESS).contains("namei -l"));
        assert_eq!(hint(Errno::ACCESS), hint(Errno::PERM));
    }
}
