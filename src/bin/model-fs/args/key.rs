//! The flags that say with which key to sign.

use std::path::{Path, PathBuf};

use clap::Args;

#[cfg(feature = "pkcs11")]
use super::secret::Secret;

/// A key to sign with, in a file or on a token. It is one of the group `signer`, of which the verb
/// wants one.
#[derive(Debug, Args)]
pub(crate) struct KeyArgs {
    /// The key to sign with
    #[arg(long, value_name = "PEM", group = "signer")]
    private_key: Option<PathBuf>,

    /// The key to sign with, on a token: an RFC 7512 URI (pkcs11:token=…;object=…)
    ///
    /// It names the key by its label (object), its id, or both, and must fit one token and one key.
    /// The module is module-path, or module-name in the system's directories of modules, or
    /// --pkcs11-module. The PIN comes from --password-file or pin-source=file:/FILE; pin-value is
    /// refused, since others could read it in the list of processes.
    #[cfg(feature = "pkcs11")]
    #[arg(long, value_name = "URI", group = "signer")]
    pkcs11_uri: Option<Secret>,

    /// The module to reach the token through, where the URI doesn't name one
    #[cfg(feature = "pkcs11")]
    // `requires` alone is waived where another signer of the group is given.
    #[arg(
        long,
        value_name = "PATH",
        requires = "pkcs11_uri",
        conflicts_with = "private_key"
    )]
    pkcs11_module: Option<PathBuf>,

    /// File with the password of the key, or the PIN of the token
    #[arg(long, value_name = "FILE")]
    pub(crate) password_file: Option<PathBuf>,
}

/// Where the key to sign with is.
#[derive(Debug, Clone, Copy)]
pub(crate) enum KeyPlace<'a> {
    /// In a PEM file.
    File(&'a Path),
    /// On a token.
    #[cfg(feature = "pkcs11")]
    Token {
        uri: &'a Secret,
        module: Option<&'a Path>,
    },
}

impl KeyArgs {
    /// Where the key is; `None` where another signer of the group was given.
    pub(crate) fn place(&self) -> Option<KeyPlace<'_>> {
        #[cfg(feature = "pkcs11")]
        if let Some(uri) = &self.pkcs11_uri {
            return Some(KeyPlace::Token {
                uri,
                module: self.pkcs11_module.as_deref(),
            });
        }
        self.private_key.as_deref().map(KeyPlace::File)
    }
}
