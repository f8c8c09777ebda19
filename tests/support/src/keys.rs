//! Keys to sign with: one that is made up anew, and those of `tests/data/keys`.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use aws_lc_rs::encoding::{AsDer as _, EcPrivateKeyRfc5915Der, PublicKeyX509Der};
use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair as _};
use model_fs::oms::key::PrivateKey;

use crate::built;

/// A file of `tests/data/keys`.
pub fn path(name: &str) -> PathBuf {
    built::repository("tests/data/keys").join(name)
}

/// A private key of `tests/data/keys` without a password.
pub fn private(name: &str) -> PrivateKey {
    PrivateKey::from_pem(&fs::read(path(name)).expect("read a key"), None).expect("a private key")
}

/// Makes a P-256 key: `key.pem` and `key.pub` in `folder`.
pub fn write_keys(folder: &Path) -> io::Result<()> {
    let failed = |_| io::Error::other("can't make a key");
    let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_ASN1_SIGNING).map_err(failed)?;
    let secret: EcPrivateKeyRfc5915Der<'_> = pair.private_key().as_der().map_err(failed)?;
    let public: PublicKeyX509Der<'_> = pair.public_key().as_der().map_err(failed)?;
    for (name, label, der) in [
        ("key.pem", "EC PRIVATE KEY", secret.as_ref()),
        ("key.pub", "PUBLIC KEY", public.as_ref()),
    ] {
        fs::write(folder.join(name), pem::encode(&pem::Pem::new(label, der)))?;
    }
    Ok(())
}
