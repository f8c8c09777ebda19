//! Secrets among the arguments.

use std::fmt;

use zeroize::Zeroizing;

/// Text of the command line that is a secret, or may hold one even if it shouldn't: never shown,
/// and wiped from memory when dropped.
#[derive(Clone)]
pub(crate) struct Secret(Zeroizing<String>);

impl Secret {
    #[cfg_attr(
        not(any(test, feature = "pkcs11", feature = "sigstore-sign")),
        allow(dead_code)
    )]
    pub(crate) fn expose(&self) -> &str {
        &self.0
    }
}

// It can't fail, so clap never shows the text in a message.
impl From<String> for Secret {
    fn from(text: String) -> Self {
        Self(Zeroizing::new(text))
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(secret)")
    }
}
