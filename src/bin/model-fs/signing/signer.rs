//! Who signs: the holder of a key, in a file or on a token, or an identity that Sigstore vouches
//! for.
//!
//! Guarantees: passwords, PINs and keys are wiped from memory when they are no longer used.
//! Doesn't: read any of them from the command line.

use std::path::Path;

use anyhow::Context as _;
use model_fs::files::read_given;
use model_fs::name::Escaped;
use model_fs::oms::key::{MAX_PEM, Password, PrivateKey, SigningKey};
#[cfg(feature = "pkcs11")]
use model_fs::oms::pkcs11::{Pkcs11Key, Pkcs11Uri};
#[cfg(feature = "sigstore-sign")]
use model_fs::oms::sign::sigstore::SigstoreSigner;
use model_fs::oms::sign::{Signing, SigningCertificate};
use zeroize::Zeroize as _;

use super::output::Author;
#[cfg(feature = "sigstore-sign")]
use super::sigstore;
use crate::args::{self, KeyArgs, KeyPlace, SignArgs};
#[cfg(feature = "pkcs11")]
use crate::exit::Exit;
use crate::exit::Failure;
use crate::key_files::{read_pem, unusable};

/// What signs.
pub(crate) enum Signer {
    /// A key, and its certificate if it has one.
    Key(Box<dyn SigningKey>, Option<SigningCertificate>),
    /// An identity that Sigstore vouches for.
    #[cfg(feature = "sigstore-sign")]
    Sigstore(Box<SigstoreSigner>),
}

impl Signer {
    /// Reads whatever signing takes: keys, certificates, tokens.
    pub(crate) fn load(args: &SignArgs) -> Result<Self, Failure> {
        match args.signer() {
            args::Signer::Key(place) => {
                let certificate = signing_certificate(args)?;
                let key = signing_key(place, &args.key, certificate.as_ref())?;
                if let Some(certificate) = &certificate {
                    certificate
                        .check_key(key.public_key())
                        .map_err(anyhow::Error::new)?;
                }
                Ok(Self::Key(key, certificate))
            }
            #[cfg(feature = "sigstore-sign")]
            args::Signer::IdentityToken(token) => {
                let token = token.expose().as_bytes();
                let signer = sigstore::signer(token, &args.sigstore)?;
                Ok(Self::Sigstore(Box::new(signer)))
            }
            #[cfg(feature = "sigstore-sign")]
            args::Signer::IdentityTokenFile(path) => {
                let token = sigstore::token_file(path)?;
                let signer = sigstore::signer(&token, &args.sigstore)?;
                Ok(Self::Sigstore(Box::new(signer)))
            }
            #[cfg(not(feature = "sigstore-sign"))]
            args::Signer::IdentityToken(_) | args::Signer::IdentityTokenFile(_) => {
                Err(Failure::from(anyhow::anyhow!(
                    "this build can't sign with Sigstore (feature sigstore-sign)"
                ))
                .with_hint(
                    "install one that does: cargo install --path . --features sigstore-sign"
                        .to_owned(),
                ))
            }
        }
    }

    /// Who signs, where that is known beforehand.
    #[cfg_attr(
        not(feature = "sigstore-sign"),
        allow(clippy::unnecessary_wraps, reason = "only an identity isn't known")
    )]
    pub(crate) fn author(&self) -> Option<Author> {
        match self {
            Self::Key(key, _) => Some(Author::Key(key.public_key().hint().to_owned())),
            #[cfg(feature = "sigstore-sign")]
            Self::Sigstore(_) => None,
        }
    }

    /// The same, as the library takes it.
    pub(crate) fn signing(&self) -> Signing<'_> {
        match self {
            Self::Key(key, None) => Signing::Key(&**key),
            Self::Key(key, Some(certificate)) => Signing::Certificate(&**key, certificate),
            #[cfg(feature = "sigstore-sign")]
            Self::Sigstore(signer) => Signing::Sigstore(signer),
        }
    }
}

/// The bare key to sign with.
pub(crate) fn bare_key(args: &KeyArgs) -> Result<Box<dyn SigningKey>, Failure> {
    let place = args.place().expect("the group `signer` has no others");
    signing_key(place, args, None)
}

/// The certificate to sign with, and those above it.
fn signing_certificate(args: &SignArgs) -> Result<Option<SigningCertificate>, Failure> {
    let Some(path) = &args.signing_certificate else {
        return Ok(None);
    };
    let pem = read_pem(path, "signing certificate")?;
    let chain = args
        .certificate_chain
        .iter()
        .map(|path| read_pem(path, "certificate"))
        .collect::<Result<Vec<_>, _>>()?;
    let chain = chain.iter().map(|pem| pem.as_slice());
    let certificate = SigningCertificate::from_pem(&pem, chain)
        .with_context(|| format!("signing certificate {}", Escaped::path(path)))?;
    Ok(Some(certificate))
}

/// The key to sign with, wherever it lies.
#[cfg_attr(
    not(feature = "pkcs11"),
    allow(unused_variables, reason = "only a token may lack the public key")
)]
fn signing_key(
    place: KeyPlace<'_>,
    args: &KeyArgs,
    certificate: Option<&SigningCertificate>,
) -> Result<Box<dyn SigningKey>, Failure> {
    let password_file = args.password_file.as_deref();
    match place {
        KeyPlace::File(path) => Ok(Box::new(private_key(path, password_file)?)),
        #[cfg(feature = "pkcs11")]
        KeyPlace::Token { uri, module } => {
            let uri = Pkcs11Uri::parse(uri.expose())?;
            let pin_file = match (password_file, uri.pin_source()) {
                (Some(_), Some(_)) => {
                    let error = anyhow::anyhow!(
                        "the PIN is named twice, by --password-file and by the URI's pin-source"
                    );
                    return Err(Failure::new(Exit::Usage, error));
                }
                (given, source) => given.or(source),
            };
            let pin = pin_file.map(password).transpose()?;
            let certified = certificate.map(SigningCertificate::key);
            let key = Pkcs11Key::open(&uri, module, pin.as_ref(), certified)?;
            Ok(Box::new(key))
        }
    }
}

fn private_key(path: &Path, password_file: Option<&Path>) -> Result<PrivateKey, Failure> {
    let pem = read_pem(path, "private key")?;
    let password = password_file.map(password).transpose()?;
    PrivateKey::from_pem(&pem, password.as_ref())
        .map_err(|error| unusable(path, "private key", error))
}

/// The first line of a file without its end: neither an editor's newline nor a note below it is
/// part of the password.
fn password(path: &Path) -> Result<Password, Failure> {
    let context = || format!("password file {}", Escaped::path(path));
    let mut bytes = read_given(path, MAX_PEM).with_context(context)?;
    if let Some(end) = bytes.iter().position(|&byte| byte == b'\n') {
        // What is cut off may be secret too, and isn't wiped by cutting.
        bytes[end..].zeroize();
        bytes.truncate(end);
        if bytes.last() == Some(&b'\r') {
            bytes.pop();
        }
    }
    Ok(Password::new(bytes))
}
