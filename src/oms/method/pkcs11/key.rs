//! Private keys on a token, and how one signs.

use std::fmt;
use std::path::Path;

use cryptoki::mechanism::Mechanism;
use cryptoki::object::ObjectHandle;
use cryptoki::session::Session;
use pkcs8::der::Encode;
use pkcs8::der::asn1::{SequenceOf, UintRef};

use super::error::{Pkcs11Error, failed, said};
use super::module::{Module, module_path};
use super::object::{find_key, find_public_key};
use super::token::{find_token, log_in};
use super::uri::Pkcs11Uri;
use crate::name::Escaped;
use crate::oms::method::key::{Curve, Password, PublicKey, SigningFailed, SigningKey};

/// A private key on a token.
pub struct Pkcs11Key {
    // Closed before the module is finalized: fields are dropped in their order.
    session: Session,
    _module: Module,
    key: ObjectHandle,
    public: PublicKey,
}

impl Pkcs11Key {
    /// Finds the one key that a URI names, and logs in to its token.
    ///
    /// `module` is for URIs that don't say which to load. `certified` is the key of the certificate
    /// to sign with: it stands in where the token keeps no public key beside the private one.
    ///
    /// # Errors
    /// [`Pkcs11Error`] if there is no such module, token or key, or more than one, or the token
    /// doesn't let us use it.
    pub fn open(
        uri: &Pkcs11Uri,
        module: Option<&Path>,
        pin: Option<&Password>,
        certified: Option<&PublicKey>,
    ) -> Result<Self, Pkcs11Error> {
        let module = Module::load(&module_path(uri, module)?)?;
        let (slot, token) = find_token(&module.0, &uri.token)?;
        let session = module
            .0
            .open_ro_session(slot)
            .map_err(|error| failed("the token can't be opened", &error))?;
        log_in(&session, &token, pin)?;
        let key = find_key(&session, uri)?;
        let public = match (find_public_key(&session, &key)?, certified) {
            (Some(public), _) => public,
            (None, Some(certified)) => certified.clone(),
            (None, None) => return Err(Pkcs11Error::NoPublicKey(key.shown())),
        };
        Ok(Self {
            session,
            _module: module,
            key: key.handle,
            public,
        })
    }
}

impl SigningKey for Pkcs11Key {
    fn public_key(&self) -> &PublicKey {
        &self.public
    }

    fn sign(&self, message: &[&[u8]]) -> Result<Vec<u8>, SigningFailed> {
        let hash = self.public.curve().hash(message);
        let raw = self
            .session
            .sign(&Mechanism::Ecdsa, self.key, hash.as_ref())
            .map_err(|error| SigningFailed(said(&error)))?;
        let signature = der_signature(self.public.curve(), &raw)
            .ok_or_else(|| SigningFailed(Escaped::new("the token gave no ECDSA signature")))?;
        // A token whose public key is not the private key's would make a bundle that no verifier
        // accepts.
        self.public.verify(message, &signature).map_err(|_| {
            SigningFailed(Escaped::new(
                "the token's signature does not hold under the public key that goes with it",
            ))
        })?;
        Ok(signature)
    }
}

impl fmt::Debug for Pkcs11Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Pkcs11Key({:?}, …)", self.public)
    }
}

/// `r ‖ s`, both of one length (PKCS #11 v3.1, section 6.3.1), as an `ECDSA-Sig-Value` in DER (RFC
/// 5480, appendix A). `None` if it can't be one for that curve.
fn der_signature(curve: Curve, raw: &[u8]) -> Option<Vec<u8>> {
    let longest = match curve {
        Curve::P256 => 32,
        Curve::P384 => 48,
        Curve::P521 => 66,
    };
    let half = raw.len() / 2;
    if !raw.len().is_multiple_of(2) || half == 0 || half > longest {
        return None;
    }
    let (r, s) = raw.split_at(half);
    let mut value = SequenceOf::<UintRef<'_>, 2>::new();
    value.add(UintRef::new(r).ok()?).ok()?;
    value.add(UintRef::new(s).ok()?).ok()?;
    value.to_der().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn raw_signatures_become_der() {
        let mut raw = [0; 64];
        raw[31] = 1;
        raw[32] = 0x80;
        let der = der_signature(Curve::P256, &raw).unwrap();
        let mut expected = vec![0x30, 3 + 2 + 33, 2, 1, 1, 2, 33, 0, 0x80];
        expected.resize(2 + 3 + 2 + 33, 0);
        assert_eq!(der, expected);
        // Shorter halves are allowed (PKCS #11 v3.1, section 6.3.1).
        assert_eq!(
            der_signature(Curve::P521, &[1, 2]).unwrap(),
            [0x30, 6, 2, 1, 1, 2, 1, 2]
        );
    }

    #[test]
    fn raw_signatures_of_a_wrong_length_are_none() {
        for (curve, longest) in [(Curve::P256, 64), (Curve::P384, 96), (Curve::P521, 132)] {
            for length in [0, 1, longest - 1, longest + 1, longest + 2] {
                assert_eq!(
                    der_signature(curve, &vec![1; length]),
                    None,
                    "{curve} {length}"
                );
            }
            for length in [2, longest - 2, longest] {
                assert!(
                    der_signature(curve, &vec![1; length]).is_some(),
                    "{curve} {length}"
                );
            }
        }
    }
}
