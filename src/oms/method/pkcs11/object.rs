//! The keys on a token: which one a URI names, and which public key goes with it.

use std::fmt::Write as _;

use cryptoki::error::Error as CryptokiError;
use cryptoki::object::{Attribute, AttributeType, KeyType, ObjectClass, ObjectHandle};
use cryptoki::session::Session;
use pkcs8::der::asn1::{AnyRef, BitStringRef, OctetStringRef};
use pkcs8::der::{Decode, Encode};
use pkcs8::spki::{AlgorithmIdentifierRef, SubjectPublicKeyInfoRef};

use super::error::{Pkcs11Error, failed, list};
use super::uri::Pkcs11Uri;
use crate::name::Escaped;
use crate::oms::method::key::{ID_EC_PUBLIC_KEY, KeyError, PublicKey};

/// Most objects on a token that are looked at.
const MAX_OBJECTS: usize = 4096;

/// A key object, and what it says of itself.
#[derive(Default)]
struct KeyAttributes {
    label: Vec<u8>,
    id: Vec<u8>,
    key_type: Option<KeyType>,
    parameters: Vec<u8>,
    point: Vec<u8>,
    always_authenticate: bool,
}

impl KeyAttributes {
    /// The public key that its parameters and point make; `None` if it has none.
    fn public_key(&self) -> Option<Result<PublicKey, KeyError>> {
        let Self {
            parameters, point, ..
        } = self;
        if parameters.is_empty() || point.is_empty() {
            return None;
        }
        // PKCS #11 wraps the point in an octet string; some tokens give it bare.
        let wrapped = OctetStringRef::from_der(point)
            .ok()
            .and_then(|point| public_key(parameters, point.as_bytes()).ok());
        Some(wrapped.map_or_else(|| public_key(parameters, point), Ok))
    }
}

pub(super) struct KeyObject {
    pub(super) handle: ObjectHandle,
    attributes: KeyAttributes,
}

impl KeyObject {
    pub(super) fn shown(&self) -> Escaped {
        let KeyAttributes {
            label,
            id,
            key_type,
            ..
        } = &self.attributes;
        let mut shown = format!("object={}", String::from_utf8_lossy(label));
        if !id.is_empty() {
            shown += " id=";
            for byte in id {
                let _ = write!(shown, "%{byte:02x}");
            }
        }
        if let Some(key_type) = key_type.filter(|key_type| *key_type != KeyType::EC) {
            let _ = write!(shown, " ({key_type})");
        }
        Escaped::bounded(&shown)
    }
}

fn public_key(parameters: &[u8], point: &[u8]) -> Result<PublicKey, KeyError> {
    let encode = || {
        SubjectPublicKeyInfoRef {
            algorithm: AlgorithmIdentifierRef {
                oid: ID_EC_PUBLIC_KEY,
                parameters: Some(AnyRef::from_der(parameters)?),
            },
            subject_public_key: BitStringRef::from_bytes(point)?,
        }
        .to_der()
    };
    PublicKey::from_spki(&encode().map_err(|_| KeyError::Malformed)?)
}

/// The objects that fit a template.
fn objects(session: &Session, template: &[Attribute]) -> Result<Vec<KeyObject>, Pkcs11Error> {
    let unreadable = |error: &CryptokiError| failed("the token's keys can't be listed", error);
    // Ends before attributes are asked for: some tokens do one thing at a time.
    let handles = session
        .iter_objects(template)
        .and_then(|found| found.take(MAX_OBJECTS).collect::<Result<Vec<_>, _>>())
        .map_err(|error| unreadable(&error))?;
    handles
        .into_iter()
        .map(|handle| {
            let attributes = session
                .get_attributes(
                    handle,
                    &[
                        AttributeType::Label,
                        AttributeType::Id,
                        AttributeType::KeyType,
                        AttributeType::EcParams,
                        AttributeType::EcPoint,
                        AttributeType::AlwaysAuthenticate,
                    ],
                )
                .map_err(|error| unreadable(&error))?;
            let mut known = KeyAttributes::default();
            for attribute in attributes {
                match attribute {
                    Attribute::Label(label) => known.label = label,
                    Attribute::Id(id) => known.id = id,
                    Attribute::KeyType(key_type) => known.key_type = Some(key_type),
                    Attribute::EcParams(parameters) => known.parameters = parameters,
                    Attribute::EcPoint(point) => known.point = point,
                    Attribute::AlwaysAuthenticate(always) => known.always_authenticate = always,
                    _ => {}
                }
            }
            Ok(KeyObject {
                handle,
                attributes: known,
            })
        })
        .collect()
}

/// The one private key that a URI names.
pub(super) fn find_key(session: &Session, uri: &Pkcs11Uri) -> Result<KeyObject, Pkcs11Error> {
    let private_keys = objects(session, &[Attribute::Class(ObjectClass::PRIVATE_KEY)])?;
    // Compared here: not every token's search takes each attribute.
    let (mut found, others): (Vec<_>, Vec<_>) = private_keys.into_iter().partition(|key| {
        let KeyAttributes { label, id, .. } = &key.attributes;
        uri.label
            .as_ref()
            .is_none_or(|wanted| wanted.as_bytes() == label)
            && uri.id.as_ref().is_none_or(|wanted| wanted == id)
    });
    let key = match found.len() {
        1 => found.remove(0),
        0 => {
            return Err(Pkcs11Error::NoKey {
                found: list(others.iter().map(KeyObject::shown)),
            });
        }
        _ => {
            return Err(Pkcs11Error::Keys {
                found: list(found.iter().map(KeyObject::shown)),
            });
        }
    };
    if key
        .attributes
        .key_type
        .is_some_and(|key_type| key_type != KeyType::EC)
    {
        return Err(Pkcs11Error::NotEc(key.shown()));
    }
    if key.attributes.always_authenticate {
        return Err(Pkcs11Error::AlwaysAuthenticate(key.shown()));
    }
    Ok(key)
}

/// The public key of a private one: what the private object says of it, or else the public object
/// with the same id (without one: the same label). Several that are the same key are one.
pub(super) fn find_public_key(
    session: &Session,
    key: &KeyObject,
) -> Result<Option<PublicKey>, Pkcs11Error> {
    let malformed = |object: &KeyObject, error| Pkcs11Error::PublicKey {
        key: object.shown(),
        error,
    };
    if let Some(public) = key.attributes.public_key() {
        return public.map(Some).map_err(|error| malformed(key, error));
    }
    let same = |object: &KeyObject| {
        if key.attributes.id.is_empty() {
            object.attributes.label == key.attributes.label
        } else {
            object.attributes.id == key.attributes.id
        }
    };
    let mut found: Option<PublicKey> = None;
    for object in objects(session, &[Attribute::Class(ObjectClass::PUBLIC_KEY)])?
        .iter()
        .filter(|object| same(object))
    {
        let Some(public) = object.attributes.public_key() else {
            continue;
        };
        let public = public.map_err(|error| malformed(object, error))?;
        match &found {
            Some(first) if first.hint() != public.hint() => {
                return Err(Pkcs11Error::PublicKeys(key.shown()));
            }
            _ => found = Some(public),
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn points_come_wrapped_or_bare() {
        let pem = include_bytes!("../../../../tests/data/keys/p256-pub.pem");
        let expected = PublicKey::from_pem(pem).unwrap();
        let blocks = pem::parse_many(pem).unwrap();
        let info = SubjectPublicKeyInfoRef::from_der(blocks[0].contents()).unwrap();
        let bare = info.subject_public_key.as_bytes().unwrap();
        let wrapped = OctetStringRef::new(bare).unwrap().to_der().unwrap();
        let parameters = info.algorithm.parameters.unwrap().to_der().unwrap();
        for point in [bare.to_vec(), wrapped] {
            let found = public_key_of(&parameters, point).unwrap().unwrap();
            assert_eq!(found.hint(), expected.hint());
        }
        for wrong in [vec![4], vec![0; 65], bare[..64].to_vec()] {
            assert!(public_key_of(&parameters, wrong).unwrap().is_err());
        }
        assert!(public_key_of(&parameters, Vec::new()).is_none());
        assert!(public_key_of(&[], bare.to_vec()).is_none());
    }

    fn public_key_of(parameters: &[u8], point: Vec<u8>) -> Option<Result<PublicKey, KeyError>> {
        let attributes = KeyAttributes {
            parameters: parameters.to_vec(),
            point,
            ..KeyAttributes::default()
        };
        attributes.public_key()
    }
}
