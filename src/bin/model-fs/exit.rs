//! Exit codes, and the failures that lead to them.
//!
//! Guarantees: an error that says nothing else exits with 1, a result that can't be written too. What
//! was found out is not forgotten over that: a model that doesn't match exits with 4 even where
//! nobody can be told. A reader who closes the pipe before the end has had enough, and changes no
//! exit code. Doesn't: print anything.

use std::process::ExitCode;

use model_fs::kernel::{MountError, OptionError, UnmountError};
#[cfg(feature = "pkcs11")]
use model_fs::oms::pkcs11::{Pkcs11Error, UriError};
use model_fs::reading::location::LocationError;

#[cfg(feature = "pkcs11")]
use crate::hints;

/// The exit codes that scripts rely on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Exit {
    /// Done.
    Done = 0,
    /// Could not do it: I/O, permissions, no FUSE, …
    Failed = 1,
    /// Wrong usage; what clap exits with too.
    Usage = 2,
    /// The signature is invalid, malformed, or by nobody trusted.
    Signature = 3,
    /// The signature holds, the content doesn't match it.
    Content = 4,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// Why a command didn't do its work, and what the user could do about it.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) exit: Exit,
    pub(crate) error: anyhow::Error,
    pub(crate) hint: Option<String>,
}

impl Failure {
    pub(crate) fn new(exit: Exit, error: impl Into<anyhow::Error>) -> Self {
        Self {
            exit,
            error: error.into(),
            hint: None,
        }
    }

    /// Adds what the user could do.
    pub(crate) fn with_hint(mut self, hint: impl Into<Option<String>>) -> Self {
        self.hint = hint.into();
        self
    }
}

impl From<anyhow::Error> for Failure {
    fn from(error: anyhow::Error) -> Self {
        Self::new(Exit::Failed, error)
    }
}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Self {
        Self::new(Exit::Failed, error)
    }
}

impl From<MountError> for Failure {
    fn from(error: MountError) -> Self {
        let hint = error.hint();
        Self::new(Exit::Failed, error).with_hint(hint)
    }
}

impl From<UnmountError> for Failure {
    fn from(error: UnmountError) -> Self {
        let hint = error.hint();
        Self::new(Exit::Failed, error).with_hint(hint)
    }
}

impl From<LocationError> for Failure {
    fn from(error: LocationError) -> Self {
        let exit = match error {
            LocationError::Ignored(_) => Exit::Usage,
            LocationError::LargeSignature(_) => Exit::Signature,
            LocationError::Model { .. }
            | LocationError::Kind(_)
            | LocationError::Name(_)
            | LocationError::NotUtf8(_)
            | LocationError::Signature { .. } => Exit::Failed,
        };
        Self::new(exit, error)
    }
}

#[cfg(feature = "pkcs11")]
impl From<UriError> for Failure {
    fn from(error: UriError) -> Self {
        let hint = hints::pkcs11_uri(&error);
        Self::new(Exit::Usage, error).with_hint(hint)
    }
}

#[cfg(feature = "pkcs11")]
impl From<Pkcs11Error> for Failure {
    fn from(error: Pkcs11Error) -> Self {
        let exit = match error {
            Pkcs11Error::NoModule | Pkcs11Error::TwoModules => Exit::Usage,
            _ => Exit::Failed,
        };
        let hint = hints::pkcs11(&error);
        Self::new(exit, error).with_hint(hint)
    }
}

impl From<OptionError> for Failure {
    fn from(error: OptionError) -> Self {
        Self::new(Exit::Usage, error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_find_their_code() {
        let failed = Failure::from(anyhow::anyhow!("x"));
        assert_eq!(failed.exit, Exit::Failed);
        let mut options = model_fs::kernel::MountOptions::new("/m");
        let usage = Failure::from(options.parse("rw").unwrap_err());
        assert_eq!(usage.exit, Exit::Usage);
        let no_fuse = Failure::from(MountError::NoDevice);
        assert_eq!(no_fuse.exit, Exit::Failed);
        assert!(no_fuse.hint.unwrap().contains("modprobe fuse"));
    }
}
