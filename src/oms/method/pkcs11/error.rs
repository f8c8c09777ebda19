//! What is wrong with a module, a token or a key.

use cryptoki::error::Error as CryptokiError;

use crate::name::Escaped;
use crate::oms::method::key::KeyError;

/// Most tokens or keys that a message lists.
const LISTED: usize = 16;

/// A bounded list for a message.
pub(super) fn list<T: ToString>(items: impl ExactSizeIterator<Item = T>) -> String {
    let more = items.len().saturating_sub(LISTED);
    let mut shown: Vec<_> = items
        .take(LISTED)
        .map(|item| Escaped::bounded(&item.to_string()).to_string())
        .collect();
    if shown.is_empty() {
        return "none".into();
    }
    if more > 0 {
        shown.push(format!("and {more} more"));
    }
    shown.join("; ")
}

pub(super) fn failed(what: &'static str, error: &CryptokiError) -> Pkcs11Error {
    Pkcs11Error::Failed {
        what,
        reason: said(error),
    }
}

/// What the module, or the linker, says. It comes from a device: escaped.
pub(super) fn said(error: &CryptokiError) -> Escaped {
    Escaped::bounded(&match error {
        CryptokiError::LibraryLoading(error) => error.to_string(),
        other => other.to_string(),
    })
}

/// A key on a token that can't be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Pkcs11Error {
    /// Neither the URI nor the caller says which module to load.
    #[error("no PKCS #11 module is named")]
    NoModule,
    /// The module is named twice.
    #[error("the PKCS #11 module is named both in the URI and beside it")]
    TwoModules,
    /// The module can't be loaded.
    #[error("the PKCS #11 module {path} can't be loaded: {reason}")]
    Module {
        /// Its path, escaped.
        path: Escaped,
        /// What is said about it, escaped.
        reason: Escaped,
    },
    /// No module of that name.
    #[error("there is no PKCS #11 module \"{name}\" in {directories}")]
    ModuleNotFound {
        /// Its name, escaped.
        name: Escaped,
        /// Where it was looked for, escaped.
        directories: String,
    },
    /// Several modules of that name.
    #[error("there is more than one PKCS #11 module \"{name}\": {found}")]
    Modules {
        /// Their name, escaped.
        name: Escaped,
        /// Their paths, escaped.
        found: String,
    },
    /// No token fits the URI.
    #[error("no token fits the PKCS #11 URI (found: {found})")]
    NoToken {
        /// The tokens that are there, escaped.
        found: String,
    },
    /// Several tokens fit the URI.
    #[error("more than one token fits the PKCS #11 URI: {found}")]
    Tokens {
        /// Those tokens, escaped.
        found: String,
    },
    /// The token wants a PIN.
    #[error("the token \"{0}\" needs a PIN and none was given")]
    NoPin(Escaped),
    /// The token refuses the PIN.
    #[error("the PIN does not open the token \"{0}\"")]
    WrongPin(Escaped),
    /// Too many wrong PINs.
    #[error("the PIN of the token \"{0}\" is locked, after too many wrong ones")]
    PinLocked(Escaped),
    /// No private key fits the URI.
    #[error("no private key on the token fits the PKCS #11 URI (found: {found})")]
    NoKey {
        /// The private keys that are there, escaped.
        found: String,
    },
    /// Several private keys fit the URI.
    #[error("more than one private key on the token fits the PKCS #11 URI: {found}")]
    Keys {
        /// Those keys, escaped.
        found: String,
    },
    /// Not an EC key.
    #[error("the private key {0} is not an EC key; P-256, P-384 and P-521 are supported")]
    NotEc(Escaped),
    /// A key that wants its PIN at each use.
    #[error("the private key {0} asks for a PIN at each signature, which is not supported")]
    AlwaysAuthenticate(Escaped),
    /// The token has no public key for the private one.
    #[error("the token has no public key beside the private key {0}")]
    NoPublicKey(Escaped),
    /// Different public keys claim to go with the private one.
    #[error("the token has different public keys for the private key {0}")]
    PublicKeys(Escaped),
    /// The public key can't be used.
    #[error("the public key {key} on the token: {error}")]
    PublicKey {
        /// Which, escaped.
        key: Escaped,
        /// What is wrong with it.
        #[source]
        error: KeyError,
    },
    /// The module reports an error.
    #[error("{what}: {reason}")]
    Failed {
        /// What was tried.
        what: &'static str,
        /// What the module says, escaped.
        reason: Escaped,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_bounded_and_escaped() {
        assert_eq!(list(<[String; 0]>::default().iter()), "none");
        assert_eq!(list(["a\u{1b}", "b"].iter()), "a\\u{1b}; b");
        let long = list(vec!["x"; LISTED + 2].iter());
        assert!(long.ends_with("; and 2 more"), "{long}");
    }
}
