//! Private keys that stay in hardware: signing through a PKCS #11 module (feature `pkcs11`).
//!
//! Guarantees: exactly one token and one private key fit the URI, else nothing is signed. What the
//! token gives as a signature left here only after it held under the public key. A module is loaded
//! from an absolute path of a regular file, never by a search of the dynamic linker's. The PIN is
//! wiped when dropped, goes to the one token that was found, and appears in no message.
//!
//! Doesn't: shield this process from the module, whose code runs in it; know keys that want their PIN
//! for each signature (`CKA_ALWAYS_AUTHENTICATE`); make or change anything on a token.

mod uri;

use std::fmt::{self, Write as _};
use std::fs;
use std::path::{Path, PathBuf};

use cryptoki::context::{CInitializeArgs, CInitializeFlags, Function, Pkcs11};
use cryptoki::error::{Error as CryptokiError, RvError};
use cryptoki::mechanism::Mechanism;
use cryptoki::object::{Attribute, AttributeType, KeyType, ObjectClass, ObjectHandle};
use cryptoki::session::{Session, UserType};
use cryptoki::slot::{Slot, TokenInfo};
use cryptoki::types::RawAuthPin;
use pkcs8::der::asn1::{AnyRef, BitStringRef, OctetStringRef, SequenceOf, UintRef};
use pkcs8::der::{Decode, Encode};
use pkcs8::spki::{AlgorithmIdentifierRef, SubjectPublicKeyInfoRef};

use self::uri::Wanted;
pub use self::uri::{MAX_URI, Pkcs11Uri, UriError};
use super::key::{Curve, ID_EC_PUBLIC_KEY, KeyError, Password, PublicKey, SigningFailed};
use super::sign::SigningKey;
use crate::name::Escaped;

/// Where modules are looked for that a URI only names: of Debian, Fedora and Arch.
pub const MODULE_DIRECTORIES: &[&str] = &[
    "/usr/lib64/pkcs11",
    "/usr/lib/pkcs11",
    #[cfg(target_arch = "x86_64")]
    "/usr/lib/x86_64-linux-gnu/pkcs11",
    #[cfg(target_arch = "aarch64")]
    "/usr/lib/aarch64-linux-gnu/pkcs11",
];

/// Most tokens or keys that a message lists.
const LISTED: usize = 16;

/// Most objects on a token that are looked at.
const MAX_OBJECTS: usize = 4096;

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
    /// `module` is for URIs that don't say which to load. `certified` is the key of the certificate to
    /// sign with: it stands in where the token keeps no public key beside the private one.
    ///
    /// # Errors
    /// [`Pkcs11Error`] if there is no such module, token or key, or more than one, or the token doesn't
    /// let us use it.
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
        // A token whose public key is not the private key's would make a bundle that nobody accepts.
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

/// A loaded module.
struct Module(Pkcs11);

impl Module {
    fn load(path: &Path) -> Result<Self, Pkcs11Error> {
        let unusable = |reason: &CryptokiError| Pkcs11Error::Module {
            path: shown_path(path),
            reason: said(reason),
        };
        let module = Pkcs11::new(path).map_err(|error| unusable(&error))?;
        module
            .initialize(CInitializeArgs::new(CInitializeFlags::OS_LOCKING_OK))
            .map_err(|error| unusable(&error))?;
        Ok(Self(module))
    }
}

impl Drop for Module {
    fn drop(&mut self) {
        // Nothing is left to do about an error: the signature is made, or isn't.
        let _ = self.0.clone().finalize();
    }
}

/// The file to load, by its real path.
fn module_path(uri: &Pkcs11Uri, given: Option<&Path>) -> Result<PathBuf, Pkcs11Error> {
    let path = match (given, uri.module_path(), uri.module_name()) {
        (Some(_), None, None) | (None, Some(_), None) => given.or(uri.module_path()),
        (None, None, None) => return Err(Pkcs11Error::NoModule),
        (Some(_), _, _) => return Err(Pkcs11Error::TwoModules),
        (None, Some(path), Some(_)) if !path.is_dir() => Some(path),
        (None, Some(directory), Some(name)) => return named_module(name, &[directory]),
        (None, None, Some(name)) => {
            return named_module(
                name,
                &MODULE_DIRECTORIES.iter().map(Path::new).collect::<Vec<_>>(),
            );
        }
    };
    let path = path.ok_or(Pkcs11Error::NoModule)?;
    let unusable = |reason: &str| Pkcs11Error::Module {
        path: shown_path(path),
        reason: Escaped::bounded(reason),
    };
    // The linker would search its own directories for a name without a slash.
    let real = path
        .canonicalize()
        .map_err(|error| unusable(&error.to_string()))?;
    if !real.is_file() {
        return Err(unusable("it is no regular file"));
    }
    Ok(real)
}

/// The one module of a name in some directories: `NAME.so` or `libNAME.so`, in any case of letters.
fn named_module(name: &str, directories: &[&Path]) -> Result<PathBuf, Pkcs11Error> {
    let mut found: Vec<PathBuf> = Vec::new();
    // A directory that isn't there has no module.
    for entry in directories
        .iter()
        .flat_map(fs::read_dir)
        .flatten()
        .flatten()
    {
        let is_named = entry.file_name().to_str().is_some_and(|file| {
            let file = file.to_lowercase();
            let name = name.to_lowercase();
            file.strip_suffix(".so")
                .is_some_and(|stem| stem == name || stem.strip_prefix("lib") == Some(&name))
        });
        if is_named
            && let Ok(path) = entry.path().canonicalize()
            && path.is_file()
            && !found.contains(&path)
        {
            found.push(path);
        }
    }
    match found.len() {
        1 => Ok(found.remove(0)),
        0 => Err(Pkcs11Error::ModuleNotFound {
            name: Escaped::bounded(name),
            directories: list(directories.iter().map(|path| path.to_string_lossy())),
        }),
        _ => Err(Pkcs11Error::Modules {
            name: Escaped::bounded(name),
            found: list(found.iter().map(|path| path.to_string_lossy())),
        }),
    }
}

/// The one token that fits. The PIN must not go to another.
fn find_token(module: &Pkcs11, wanted: &Wanted) -> Result<(Slot, TokenInfo), Pkcs11Error> {
    let unreadable = |error: &CryptokiError| failed("the module's tokens can't be listed", error);
    let library_fits = fits_library(module, wanted).map_err(|error| unreadable(&error))?;
    let mut found = Vec::new();
    let mut others = Vec::new();
    for slot in module
        .get_slots_with_token()
        .map_err(|error| unreadable(&error))?
    {
        // A token that is pulled out just now, or is broken, isn't the one.
        let (Ok(token), Ok(slot_info)) = (module.get_token_info(slot), module.get_slot_info(slot))
        else {
            continue;
        };
        if !token.token_initialized() {
            continue;
        }
        let fits = library_fits
            && fits(wanted.token.as_deref(), token.label())
            && fits(wanted.manufacturer.as_deref(), token.manufacturer_id())
            && fits(wanted.serial.as_deref(), token.serial_number())
            && fits(wanted.model.as_deref(), token.model())
            && fits(
                wanted.slot_manufacturer.as_deref(),
                slot_info.manufacturer_id(),
            )
            && fits(
                wanted.slot_description.as_deref(),
                slot_info.slot_description(),
            )
            && wanted.slot_id.is_none_or(|id| id == slot.id());
        if fits {
            found.push((slot, token));
        } else {
            others.push((slot, token));
        }
    }
    match found.len() {
        1 => Ok(found.remove(0)),
        0 => Err(Pkcs11Error::NoToken {
            found: list(others.iter().map(shown_token)),
        }),
        _ => Err(Pkcs11Error::Tokens {
            found: list(found.iter().map(shown_token)),
        }),
    }
}

fn fits_library(module: &Pkcs11, wanted: &Wanted) -> Result<bool, CryptokiError> {
    let library = module.get_library_info()?;
    let version = library.library_version();
    Ok(fits(
        wanted.library_manufacturer.as_deref(),
        library.manufacturer_id(),
    ) && fits(
        wanted.library_description.as_deref(),
        library.library_description(),
    ) && wanted
        .library_version
        .is_none_or(|wanted| wanted == (version.major(), version.minor())))
}

fn fits(wanted: Option<&str>, found: &str) -> bool {
    wanted.is_none_or(|wanted| wanted == found)
}

fn shown_token((slot, token): &(Slot, TokenInfo)) -> String {
    format!(
        "token={} serial={} slot-id={}",
        token.label(),
        token.serial_number(),
        slot.id()
    )
}

fn log_in(session: &Session, token: &TokenInfo, pin: Option<&Password>) -> Result<(), Pkcs11Error> {
    let label = || Escaped::bounded(token.label());
    let done = match pin {
        None if !token.login_required() => return Ok(()),
        // The token has a keypad of its own.
        None if token.protected_authentication_path() => session.login(UserType::User, None),
        None => return Err(Pkcs11Error::NoPin(label())),
        Some(_) if token.user_pin_locked() => return Err(Pkcs11Error::PinLocked(label())),
        Some(pin) => {
            let pin = RawAuthPin::new(Box::new(pin.bytes().to_vec()));
            session.login_with_raw(UserType::User, &pin)
        }
    };
    done.map_err(|error| match error {
        CryptokiError::Pkcs11(
            RvError::PinIncorrect | RvError::PinInvalid | RvError::PinLenRange,
            Function::Login,
        ) => Pkcs11Error::WrongPin(label()),
        CryptokiError::Pkcs11(RvError::PinLocked, Function::Login) => {
            Pkcs11Error::PinLocked(label())
        }
        other => failed("the token refuses the login", &other),
    })
}

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

struct KeyObject {
    handle: ObjectHandle,
    attributes: KeyAttributes,
}

impl KeyObject {
    fn shown(&self) -> Escaped {
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
fn find_key(session: &Session, uri: &Pkcs11Uri) -> Result<KeyObject, Pkcs11Error> {
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
fn find_public_key(session: &Session, key: &KeyObject) -> Result<Option<PublicKey>, Pkcs11Error> {
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

fn shown_path(path: &Path) -> Escaped {
    Escaped::bounded(&path.to_string_lossy())
}

/// A bounded list for a message.
fn list<T: ToString>(items: impl ExactSizeIterator<Item = T>) -> String {
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

fn failed(what: &'static str, error: &CryptokiError) -> Pkcs11Error {
    Pkcs11Error::Failed {
        what,
        reason: said(error),
    }
}

/// What the module, or the linker, says. It comes from a device: escaped.
fn said(error: &CryptokiError) -> Escaped {
    Escaped::bounded(&match error {
        CryptokiError::LibraryLoading(error) => error.to_string(),
        other => other.to_string(),
    })
}

/// A key on a token that can't be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Pkcs11Error {
    /// Nobody says which module to load.
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

    #[test]
    fn points_come_wrapped_or_bare() {
        let pem = include_bytes!("../../tests/data/keys/p256-pub.pem");
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

    #[test]
    fn modules_are_found_by_name() {
        let folder = tempfile::tempdir().unwrap();
        for file in [
            "libsofthsm2.so",
            "Other.so",
            "other.txt",
            "lib.so",
            "two.so",
            "libtwo.so",
        ] {
            fs::write(folder.path().join(file), "").unwrap();
        }
        fs::create_dir(folder.path().join("folder.so")).unwrap();
        let missing = folder.path().join("missing");
        let find = |name: &str| named_module(name, &[&missing, folder.path()]);
        for (name, file) in [
            ("softhsm2", "libsofthsm2.so"),
            ("LibSoftHSM2", "libsofthsm2.so"),
            ("other", "Other.so"),
        ] {
            assert_eq!(find(name).unwrap().file_name().unwrap(), file, "{name}");
        }
        for name in ["soft", "softhsm2.so", "folder", "libother", "*"] {
            assert!(
                matches!(find(name), Err(Pkcs11Error::ModuleNotFound { .. })),
                "{name}"
            );
        }
        assert!(matches!(find("two"), Err(Pkcs11Error::Modules { .. })));
    }

    #[test]
    fn a_module_is_named_once() {
        let path = |uri: &str, given: Option<&Path>| {
            module_path(&Pkcs11Uri::parse(uri).unwrap(), given).unwrap_err()
        };
        let given = Some(Path::new("/m.so"));
        assert_eq!(path("pkcs11:object=k", None), Pkcs11Error::NoModule);
        for uri in [
            "pkcs11:object=k?module-path=/m.so",
            "pkcs11:object=k?module-name=m",
        ] {
            assert_eq!(path(uri, given), Pkcs11Error::TwoModules, "{uri}");
        }
        for given in ["/nonexistent/m.so", "/", "m.so"] {
            let error = path("pkcs11:object=k", Some(Path::new(given)));
            assert!(matches!(error, Pkcs11Error::Module { .. }), "{error}");
        }
    }

    #[test]
    fn lists_are_bounded_and_escaped() {
        assert_eq!(list(<[String; 0]>::default().iter()), "none");
        assert_eq!(list(["a\u{1b}", "b"].iter()), "a\\u{1b}; b");
        let long = list(vec!["x"; LISTED + 2].iter());
        assert!(long.ends_with("; and 2 more"), "{long}");
    }
}
