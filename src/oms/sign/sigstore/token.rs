//! Identity tokens.

use sigstore_sign::{Error, oidc};

use crate::name::Escaped;

/// Largest identity token, in bytes. Those in use have some 1000 to 3000.
pub const MAX_TOKEN: usize = 16 << 10;

/// An identity token, which an OIDC provider made for the signer. It is a secret: with it, others
/// can sign as that signer.
/// `Debug` doesn't show it.
#[derive(Debug, Clone)]
pub struct IdentityToken(pub(super) oidc::IdentityToken);

impl IdentityToken {
    /// Takes a JSON Web Token. White space around it is no part of it. Whether it is genuine is for
    /// the certificate authority to say.
    ///
    /// # Errors
    /// [`TokenError`] for what no authority would take; it doesn't quote the token.
    pub fn from_jwt(text: &[u8]) -> Result<Self, TokenError> {
        if text.len() > MAX_TOKEN {
            return Err(TokenError::TooLarge { found: text.len() });
        }
        let text = std::str::from_utf8(text).map_err(|_| TokenError::Malformed)?;
        // What the crate says quotes it.
        let token =
            oidc::IdentityToken::from_jwt(text.trim()).map_err(|_| TokenError::Malformed)?;
        let token = Self(token);
        token.check_expiry()?;
        Ok(token)
    }

    pub(super) fn check_expiry(&self) -> Result<(), TokenError> {
        if self.0.is_expired() {
            return Err(TokenError::Expired);
        }
        Ok(())
    }

    /// What a service said, escaped and bounded, and without the token, should it have been quoted.
    pub(super) fn redact(&self, said: &Error) -> Escaped {
        let said = said
            .to_string()
            .replace(self.0.expose_secret(), "(the identity token)");
        Escaped::bounded(&said)
    }
}

/// An identity token that can't be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// Larger than [`MAX_TOKEN`].
    #[error("the identity token has {found} bytes, at most {MAX_TOKEN} are allowed")]
    TooLarge {
        /// Bytes found.
        found: usize,
    },
    /// Not a JSON Web Token, or one without the claims that OIDC wants.
    #[error(
        "the identity token is not one of OIDC: three parts in base64url joined by dots, the \
         second with \"iss\", \"sub\" and \"exp\""
    )]
    Malformed,
    /// Too old. They live for minutes.
    #[error("the identity token has expired")]
    Expired,
}

#[cfg(test)]
mod tests {
    use base64::Engine as _;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;

    use super::*;

    fn token(claims: &str) -> Vec<u8> {
        format!("e30.{}.c2ln", URL_SAFE_NO_PAD.encode(claims)).into_bytes()
    }

    #[test]
    fn tokens_are_checked_bounded_and_not_shown() {
        let good = token(r#"{"iss":"i","sub":"s","exp":9999999999}"#);
        let padded = [b"\n ", &good[..], b"\r\n"].concat();
        let read = IdentityToken::from_jwt(&padded).unwrap();
        assert_eq!(read.0.expose_secret().as_bytes(), good);
        assert!(!format!("{read:?}").contains("e30"));

        let refused = |text: &[u8]| IdentityToken::from_jwt(text).unwrap_err();
        let old = token(r#"{"iss":"i","sub":"s","exp":1}"#);
        assert_eq!(refused(&old), TokenError::Expired);
        for malformed in [&b""[..], b"a.b", b"a.b.c", b"\xff", &token("{}")] {
            assert_eq!(refused(malformed), TokenError::Malformed);
        }
        let found = MAX_TOKEN + 1;
        assert_eq!(refused(&vec![b'a'; found]), TokenError::TooLarge { found });
        assert_eq!(refused(&vec![b'a'; MAX_TOKEN]), TokenError::Malformed);
    }

    #[test]
    fn a_token_in_an_answer_is_not_repeated() {
        let text = token(r#"{"iss":"i","sub":"s","exp":9999999999}"#);
        let token = IdentityToken::from_jwt(&text).unwrap();
        let text = String::from_utf8(text).unwrap();
        let said = sigstore_sign::fulcio::Error::InvalidResponse(format!("bad: {text}\u{202e}"));
        let said = token.redact(&said.into()).to_string();
        assert!(
            !said.contains(&text) && !said.contains('\u{202e}'),
            "{said}"
        );
        assert!(said.contains("bad: (the identity token)"), "{said}");
    }
}
