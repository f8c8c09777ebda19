//! What `model-fs sign --identity-token` signs with.

use std::path::Path;

use anyhow::Context as _;
use model_fs::files::read_given;
use model_fs::name::Escaped;
use model_fs::oms::sign::sigstore::{
    IdentityToken, Instance, MAX_TOKEN, RekorVersion, ServiceUrls, SigstoreSigner,
};
use model_fs::oms::sigstore::trusted_root::MAX_TRUSTED_ROOT;
use zeroize::Zeroizing;

use crate::args::{RekorVersion as RequestedVersion, SigstoreArgs};
use crate::exit::Failure;

/// Reads the file of a token.
pub(crate) fn token_file(path: &Path) -> Result<Zeroizing<Vec<u8>>, Failure> {
    let token = read_given(path, MAX_TOKEN)
        .with_context(|| format!("identity token {}", Escaped::path(path)))?;
    Ok(Zeroizing::new(token))
}

/// The signer that a token names, at the instance that the flags name.
pub(crate) fn signer(token: &[u8], args: &SigstoreArgs) -> Result<SigstoreSigner, Failure> {
    let token = IdentityToken::from_jwt(token).map_err(anyhow::Error::new)?;
    let instance = match &args.trust_config {
        None => Instance::public_good().map_err(anyhow::Error::new)?,
        Some(path) => {
            let context = || format!("trust configuration {}", Escaped::path(path));
            let json = read_given(path, MAX_TRUSTED_ROOT).with_context(context)?;
            Instance::from_json(&json, urls(args)).with_context(context)?
        }
    };
    Ok(SigstoreSigner::new(instance, token))
}

fn urls(args: &SigstoreArgs) -> ServiceUrls {
    let version = match args.rekor_version {
        None | Some(RequestedVersion::V1) => RekorVersion::V1,
        Some(RequestedVersion::V2) => RekorVersion::V2,
    };
    ServiceUrls {
        fulcio: args.fulcio_url.clone(),
        rekor: args.rekor_url.clone().map(|url| (url, version)),
        timestamps: args.tsa_url.clone(),
    }
}
