//! What the user could do about what the library says: the program's verbs and flags, which the
//! library doesn't know.
//!
//! Guarantees: hostile text is shown as it is only where a shell and a terminal take it for one
//! word. Doesn't: decide what an error is, or its exit code.

use model_fs::manifest::VerifyManifestError;
use model_fs::name::Escaped;
use model_fs::oms::bundle::Method;
use model_fs::oms::claim::Claim;
#[cfg(feature = "pkcs11")]
use model_fs::oms::pkcs11::{Pkcs11Error, UriError};
use model_fs::oms::sign::SignError;
#[cfg(feature = "sigstore-sign")]
use model_fs::oms::sign::sigstore::SigstoreSigningError;
use model_fs::oms::sigstore::{EntryRule, SigstoreError};
use model_fs::oms::verify::VerifyError;

/// Where a PIN may come from.
#[cfg(feature = "pkcs11")]
const PIN: &str =
    "give the PIN in a file: --password-file FILE, or pin-source=file:/FILE in the URI";

/// The command that would trust whoever is claimed. Words in capitals are for the user to fill in:
/// a bundle holds neither the key nor the certificate that would have to be trusted, and if it did,
/// it would be that of whoever wrote the bundle.
pub(crate) fn trust_command(claim: &Claim) -> String {
    let how = match claim.method() {
        Method::Key => "--public-key PEM".to_owned(),
        Method::Certificate => "--certificate-chain PEM".to_owned(),
        Method::Sigstore => {
            let claimed = match claim {
                Claim::Sigstore(claimed) => claimed.as_ref(),
                _ => None,
            };
            let word = |text: Option<&String>, placeholder: &str| {
                text.and_then(|text| shell_word(text))
                    .unwrap_or_else(|| placeholder.to_owned())
            };
            let identity = word(claimed.map(|claimed| &claimed.identity), "ID");
            let provider = word(claimed.map(|claimed| &claimed.identity_provider), "URL");
            format!("--identity {identity} --identity-provider {provider}")
        }
    };
    format!("model-fs trust add {how}")
}

/// Hostile text as one word of a shell command, if it can be shown as it is.
fn shell_word(text: &str) -> Option<String> {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "@%+=:,./-_".contains(c);
    if !text.is_empty() && text.chars().all(is_plain) {
        return Some(text.to_owned());
    }
    let harmless = Escaped::bounded(text).to_string() == text;
    harmless.then(|| format!("'{}'", text.replace('\'', r"'\''")))
}

/// Why a signature is refused, and how a file that it asks for would be given.
pub(crate) fn refusal(error: &VerifyError) -> String {
    format!("{error}{}", how_given(error))
}

/// The same of a signature that was to be checked against one signer.
pub(crate) fn refused(error: VerifyManifestError) -> anyhow::Error {
    match &error {
        VerifyManifestError::Signature(signature) if !how_given(signature).is_empty() => {
            anyhow::Error::msg(refusal(signature))
        }
        _ => error.into(),
    }
}

/// Why a model isn't signed: what Sigstore's services made is verified before it is kept.
pub(crate) fn not_signed(error: SignError) -> anyhow::Error {
    match &error {
        #[cfg(feature = "sigstore-sign")]
        SignError::Sigstore(SigstoreSigningError::NotVerified(refused))
            if !how_given(refused).is_empty() =>
        {
            anyhow::Error::msg(format!("{error}{}", how_given(refused)))
        }
        _ => error.into(),
    }
}

/// Goes on where the message ends, which names a file that the user may have.
fn how_given(error: &VerifyError) -> &'static str {
    match error {
        VerifyError::Sigstore(SigstoreError::Entry(EntryRule::NewerLog { .. })) => {
            ", given with --trust-config"
        }
        _ => "",
    }
}

/// What the user could do about a key on a token that can't be used.
#[cfg(feature = "pkcs11")]
pub(crate) fn pkcs11(error: &Pkcs11Error) -> Option<String> {
    let hint = match error {
        Pkcs11Error::NoModule | Pkcs11Error::ModuleNotFound { .. } => {
            "name the module's file with --pkcs11-module PATH, or with module-path in the URI"
        }
        Pkcs11Error::TwoModules => "leave out --pkcs11-module, or module-path and module-name",
        Pkcs11Error::NoPin(_) => PIN,
        Pkcs11Error::Tokens { .. } => "say which with token=, serial= or slot-id= in the URI",
        Pkcs11Error::Keys { .. } => "say which with object= and id= in the URI",
        Pkcs11Error::NoPublicKey(_) => {
            "sign with a certificate of the key (--signing-certificate), or put its public key on \
             the token"
        }
        Pkcs11Error::Module { .. }
        | Pkcs11Error::Modules { .. }
        | Pkcs11Error::NoToken { .. }
        | Pkcs11Error::WrongPin(_)
        | Pkcs11Error::PinLocked(_)
        | Pkcs11Error::NoKey { .. }
        | Pkcs11Error::NotEc(_)
        | Pkcs11Error::AlwaysAuthenticate(_)
        | Pkcs11Error::PublicKeys(_)
        | Pkcs11Error::PublicKey { .. }
        | Pkcs11Error::Failed { .. } => return None,
    };
    Some(hint.to_owned())
}

/// What the user could do about a URI that names no key on a token.
#[cfg(feature = "pkcs11")]
pub(crate) fn pkcs11_uri(error: &UriError) -> Option<String> {
    (*error == UriError::PinValue).then(|| PIN.to_owned())
}

#[cfg(test)]
mod tests {
    use model_fs::oms::sigstore::ClaimedIdentity;

    use super::*;

    #[test]
    fn the_command_that_would_trust_a_claim() {
        let key = Claim::Key {
            hint: Some(Escaped::new("ab")),
        };
        let certificate = Claim::Certificate {
            leaf: None,
            issuer: None,
        };
        let identity = |identity: &str| {
            Claim::Sigstore(Some(ClaimedIdentity {
                identity: identity.to_owned(),
                identity_provider: "https://accounts.example".to_owned(),
            }))
        };
        for (claim, how) in [
            (key, "--public-key PEM"),
            (certificate, "--certificate-chain PEM"),
            (
                Claim::Sigstore(None),
                "--identity ID --identity-provider URL",
            ),
            (
                identity("alice@acme.example"),
                "--identity alice@acme.example --identity-provider https://accounts.example",
            ),
            (
                identity("it's; $HOME"),
                r"--identity 'it'\''s; $HOME' --identity-provider https://accounts.example",
            ),
            (
                identity("\u{202e}"),
                "--identity ID --identity-provider https://accounts.example",
            ),
        ] {
            assert_eq!(trust_command(&claim), format!("model-fs trust add {how}"));
        }
    }

    #[test]
    fn a_newer_trusted_root_is_given_with_a_flag() {
        let id = "ab".to_owned();
        let newer = VerifyError::Sigstore(SigstoreError::Entry(EntryRule::NewerLog { id }));
        let said = refusal(&newer);
        assert!(
            said.ends_with("trusted_root.json, given with --trust-config"),
            "{said}"
        );
        assert_eq!(refused(newer.into()).to_string(), said);
        let other = VerifyError::Signature;
        assert_eq!(refusal(&other), other.to_string());
        assert_eq!(
            refused(other.into()).to_string(),
            refusal(&VerifyError::Signature)
        );
    }
}
