//! Exit codes, and the failures that lead to them.
//!
//! Guarantees: an error of the library gets its exit code here, where every variant is listed
//! wherever a type has more than one code, so that a new one can't get any by chance; what opening
//! a model may end in is taken apart in `signed_model`.
//! An error that isn't named here exits with 1, and so does a result that can't be written. What
//! was found out is not forgotten over that: a model that doesn't match exits with 4 even where
//! that can't be told. A reader who closes the pipe before the end has had enough, and changes no
//! exit code. Doesn't: print anything, or know what the user could do ([`hints`] does).

use std::path::Path;
use std::process::ExitCode;

use model_fs::kernel::{MountError, OptionError, RemountError, UnmountError};
use model_fs::manifest::{VerifyManifestError, VerifyWithStoreError};
use model_fs::model::StoreError;
use model_fs::name::Escaped;
#[cfg(feature = "pkcs11")]
use model_fs::oms::pkcs11::{Pkcs11Error, UriError};
use model_fs::oms::trust_store::TrustStoreError;
use model_fs::reading::location::LocationError;
use model_fs::reading::whole::verify;
use model_fs::reading::{ReadError, SourceError};

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
    /// The signature is invalid, malformed, or by no trusted signer.
    Signature = 3,
    /// The signature holds, the content doesn't match it.
    Content = 4,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

impl Exit {
    /// The code for what comparing a model with its signature found. Code 4 needs content that was
    /// seen and is wrong: a disk or a permission in the way says nothing about who changed what.
    pub(crate) fn of_findings(findings: &[verify::Difference]) -> Self {
        let wrong = |finding: &verify::Difference| match finding {
            verify::Difference::Unreadable { .. } => false,
            verify::Difference::Missing(_)
            | verify::Difference::LeftOut(_)
            | verify::Difference::WrongType { .. }
            | verify::Difference::Unsigned(_)
            | verify::Difference::Content(_) => true,
        };
        if findings.is_empty() {
            Self::Done
        } else if findings.iter().any(wrong) {
            Self::Content
        } else {
            Self::Failed
        }
    }

    /// The code for files that couldn't be read and verified, of which there is at least one. As
    /// for findings, something in the way of reading says nothing about the content.
    pub(crate) fn of_reads(errors: &[ReadError]) -> Self {
        let wrong = |error: &ReadError| match error {
            ReadError::Source { error, .. } => match error {
                SourceError::Io(_) => false,
                SourceError::Missing | SourceError::NotAFile(_) => true,
            },
            ReadError::Violation(_) | ReadError::Stopped { .. } | ReadError::Abandoned { .. } => {
                true
            }
        };
        if errors.iter().any(wrong) {
            Self::Content
        } else {
            Self::Failed
        }
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

    /// Adds which signature was read, where that is what is wrong.
    pub(crate) fn about_signature(mut self, path: &Path) -> Self {
        if self.exit == Exit::Signature {
            let path = Escaped::path(path);
            self.error = self.error.context(format!("signature {path}"));
        }
        self
    }

    /// What the user could do, as far as that is known.
    pub(crate) fn remedy(&self) -> Option<&str> {
        let own = self.hint.as_deref();
        own.or_else(|| hints::by_cause(&self.error))
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
        let hint = hints::mount(&error);
        Self::new(Exit::Failed, error).with_hint(hint)
    }
}

impl From<UnmountError> for Failure {
    fn from(error: UnmountError) -> Self {
        let hint = hints::unmount(&error);
        Self::new(Exit::Failed, error).with_hint(hint)
    }
}

impl From<RemountError> for Failure {
    fn from(error: RemountError) -> Self {
        Self::new(Exit::Failed, error)
    }
}

impl From<OptionError> for Failure {
    fn from(error: OptionError) -> Self {
        let hint = hints::option(&error);
        Self::new(Exit::Usage, error).with_hint(hint)
    }
}

impl From<VerifyManifestError> for Failure {
    fn from(error: VerifyManifestError) -> Self {
        let hint = hints::signature(&error);
        Self::new(Exit::Signature, hints::refused(error)).with_hint(hint)
    }
}

impl From<VerifyWithStoreError> for Failure {
    fn from(error: VerifyWithStoreError) -> Self {
        let hint = hints::nobody_trusted(&error);
        Self::new(Exit::Signature, error).with_hint(hint)
    }
}

impl From<TrustStoreError> for Failure {
    fn from(error: TrustStoreError) -> Self {
        let hint = hints::trust_store(&error);
        Self::new(Exit::Failed, error).with_hint(hint)
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        let hint = hints::store(&error);
        Self::new(Exit::Failed, error).with_hint(hint)
    }
}

impl From<LocationError> for Failure {
    fn from(error: LocationError) -> Self {
        let exit = match error {
            LocationError::Ignored(_) => Exit::Usage,
            LocationError::LargeSignature(_) => Exit::Signature,
            LocationError::NoProc
            | LocationError::Model { .. }
            | LocationError::Kind(_)
            | LocationError::Name(_)
            | LocationError::NotUtf8(_)
            | LocationError::NoSignature { .. }
            | LocationError::Several(_)
            | LocationError::Signature { .. } => Exit::Failed,
        };
        let hint = hints::location(&error);
        Self::new(exit, error).with_hint(hint)
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
            Pkcs11Error::Module { .. }
            | Pkcs11Error::ModuleNotFound { .. }
            | Pkcs11Error::Modules { .. }
            | Pkcs11Error::NoToken { .. }
            | Pkcs11Error::Tokens { .. }
            | Pkcs11Error::NoPin(_)
            | Pkcs11Error::WrongPin(_)
            | Pkcs11Error::PinLocked(_)
            | Pkcs11Error::NoKey { .. }
            | Pkcs11Error::Keys { .. }
            | Pkcs11Error::NotEc(_)
            | Pkcs11Error::AlwaysAuthenticate(_)
            | Pkcs11Error::NoPublicKey(_)
            | Pkcs11Error::PublicKeys(_)
            | Pkcs11Error::PublicKey { .. }
            | Pkcs11Error::Failed { .. } => Exit::Failed,
        };
        let hint = hints::pkcs11(&error);
        Self::new(exit, error).with_hint(hint)
    }
}

#[cfg(test)]
mod tests {
    use model_fs::name::FileName;

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
    #[test]
    fn what_is_only_in_the_way_says_nothing_about_the_content() {
        let file = FileName::new("a").unwrap();
        let io = || SourceError::Io(std::sync::Arc::new(std::io::Error::other("no")));
        let unreadable = verify::Difference::Unreadable {
            file: file.clone(),
            error: io(),
        };
        let missing = verify::Difference::Missing(file.clone());
        assert_eq!(Exit::of_findings(&[]), Exit::Done);
        assert_eq!(
            Exit::of_findings(std::slice::from_ref(&unreadable)),
            Exit::Failed
        );
        assert_eq!(Exit::of_findings(&[unreadable, missing]), Exit::Content);
        let read = |error| ReadError::Source {
            file: file.clone(),
            range: 0..1,
            error,
        };
        assert_eq!(Exit::of_reads(&[read(io())]), Exit::Failed);
        assert_eq!(
            Exit::of_reads(&[read(io()), read(SourceError::Missing)]),
            Exit::Content
        );
    }
}
