//! `model-fs sign`.

use std::io::Write as _;
use std::num::NonZeroU64;
use std::path::Path;

use anyhow::Context as _;
use model_fs::atomic;
use model_fs::manifest::{Description, Manifest, Serialization};
use model_fs::name::FileName;
use model_fs::oms::bundle::Bundle;
use model_fs::oms::claim::Claim;
use model_fs::oms::key::{MAX_PEM, Password, PrivateKey};
#[cfg(feature = "pkcs11")]
use model_fs::oms::pkcs11::{Pkcs11Key, Pkcs11Uri};
use model_fs::oms::sign::{Compat, Signing, SigningCertificate, SigningKey};
#[cfg(feature = "sigstore-sign")]
use model_fs::oms::sigstore::signing::SigstoreSigner;
use model_fs::reading::check;
use model_fs::reading::location::{ModelLocation, read_bounded};
use model_fs::reading::signing::{SigningPlan, hash_model};
use model_fs::reading::{Found, IndexStore, Links, Scan, TableFile, shipped};
use zeroize::Zeroize as _;

use super::progress::Bar;
use super::signed_model::{open_store, read_pem, total_bytes};
use crate::cli::{self, KeyPlace, SignArgs};
#[cfg(feature = "pkcs11")]
use crate::exit::Exit;
use crate::exit::Failure;

pub(crate) fn run(args: &SignArgs) -> Result<(), Failure> {
    // Before anything is hashed.
    let signer = Signer::load(args)?;
    let location = ModelLocation::find(&args.model.model, args.model.signature.as_deref())?;
    let links = if args.allow_symlinks {
        Links::Follow
    } else {
        Links::Refuse
    };
    let directory = location.open(links)?;
    let ignored = location.ignored(&args.ignore_paths)?;
    let scan = location.scan_to_sign(&directory, &ignored)?;
    let names = names_to_sign(&scan, args.allow_symlinks)?;
    if args.allow_symlinks {
        warn_of_outside_links(location.root(), &names);
    }

    let plan = SigningPlan {
        algorithm: args.hash.into(),
        shard_size: args
            .shard_size
            .and_then(|size| NonZeroU64::new(size.bytes())),
    };
    let tables = Tables {
        store: open_store(args.index_dir.as_deref(), &location)?,
        // Only BLAKE3 tables prove themselves to somebody else.
        ship_to: (args.ships_tables() && plan.shard_size.is_none()).then(|| location.root()),
    };
    let bar = Bar::new(total_bytes(&scan, names.iter()), "hashing");
    let hashed = hash_model(&directory, &names, plan, &|table| tables.keep(table), &bar)
        .map_err(anyhow::Error::new)?;
    bar.finish();
    for name in &hashed.unsignable {
        tracing::warn!(file = %name, "empty file not signed: shards can't express one");
    }

    let mut ignore_paths = ignored;
    ignore_paths.extend(location.signature_to_ignore().cloned());
    if !location.is_single_file() {
        // Recorded whether or not there are tables now: `index` or another signer may add them.
        ignore_paths.push(FileName::new(shipped::DIRECTORY).map_err(anyhow::Error::new)?);
    }
    let description = Description {
        subject_name: location.model_name(),
        hash: plan.algorithm,
        serialization: match plan.shard_size {
            None => Serialization::Files,
            Some(size) => Serialization::Shards { size },
        },
        allow_symlinks: args.allow_symlinks,
        ignore_paths,
    };
    let mut manifest = Manifest::new(description, hashed.files).map_err(anyhow::Error::new)?;
    if location.is_single_file() {
        manifest = manifest.of_single_file();
    }
    let compat = args.compat.map_or(Compat::Specification, Compat::from);
    let bundle = manifest
        .sign(signer.signing(), compat)
        .map_err(anyhow::Error::new)?;
    if tables.ship_to.is_some() {
        // Of an earlier state of the model. Nobody would ask for them.
        shipped::remove_others(location.root(), &manifest)
            .with_context(|| format!("old chunk tables in {}", shipped::DIRECTORY))?;
    }
    write_signature(location.signature(), &bundle)
        .with_context(|| format!("signature {}", location.signature().display()))?;
    println!(
        "signed: {} files, root digest {}, signature {}",
        manifest.files().len(),
        manifest.root_digest(),
        location.signature().display(),
    );
    // An identity token doesn't show whom it names, and verifiers must be told.
    if !matches!(args.signer(), cli::Signer::Key(_))
        && let Ok(bundle) = Bundle::parse(&bundle)
    {
        println!("signed by: {}", Claim::of(bundle.material()));
    }
    Ok(())
}

/// What signs.
enum Signer {
    Key(Box<dyn SigningKey>, Option<SigningCertificate>),
    #[cfg(feature = "sigstore-sign")]
    Sigstore(Box<SigstoreSigner>),
}

impl Signer {
    fn load(args: &SignArgs) -> Result<Self, Failure> {
        match args.signer() {
            cli::Signer::Key(place) => {
                let certificate = signing_certificate(args)?;
                let password_file = args.password_file.as_deref();
                let key = signing_key(place, password_file, certificate.as_ref())?;
                if let Some(certificate) = &certificate {
                    certificate
                        .check_key(key.public_key())
                        .map_err(anyhow::Error::new)?;
                }
                Ok(Self::Key(key, certificate))
            }
            #[cfg(feature = "sigstore-sign")]
            cli::Signer::IdentityToken(token) => {
                let token = token.expose().as_bytes();
                let signer = super::sigstore::signer(token, &args.sigstore)?;
                Ok(Self::Sigstore(Box::new(signer)))
            }
            #[cfg(feature = "sigstore-sign")]
            cli::Signer::IdentityTokenFile(path) => {
                let token = super::sigstore::token_file(path)?;
                let signer = super::sigstore::signer(&token, &args.sigstore)?;
                Ok(Self::Sigstore(Box::new(signer)))
            }
            #[cfg(not(feature = "sigstore-sign"))]
            cli::Signer::IdentityToken(_) | cli::Signer::IdentityTokenFile(_) => {
                Err(Failure::from(anyhow::anyhow!(
                    "this build of model-fs doesn't sign with Sigstore, which takes an HTTP client"
                ))
                .with_hint(
                    "install one that does: cargo install --path . --features sigstore-sign"
                        .to_owned(),
                ))
            }
        }
    }

    fn signing(&self) -> Signing<'_> {
        match self {
            Self::Key(key, None) => Signing::Key(&**key),
            Self::Key(key, Some(certificate)) => Signing::Certificate(&**key, certificate),
            #[cfg(feature = "sigstore-sign")]
            Self::Sigstore(signer) => Signing::Sigstore(signer),
        }
    }
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
        .with_context(|| format!("signing certificate {}", path.display()))?;
    Ok(Some(certificate))
}

/// The key to sign with, wherever it lies.
#[cfg_attr(
    not(feature = "pkcs11"),
    allow(unused_variables, reason = "only a token may lack the public key")
)]
fn signing_key(
    place: KeyPlace<'_>,
    password_file: Option<&Path>,
    certificate: Option<&SigningCertificate>,
) -> Result<Box<dyn SigningKey>, Failure> {
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
    let key = PrivateKey::from_pem(&pem, password.as_ref())
        .with_context(|| format!("private key {}", path.display()))?;
    Ok(key)
}

/// The first line of a file without its end: neither an editor's newline nor a note below it is
/// part of the password.
fn password(path: &Path) -> Result<Password, Failure> {
    let context = || format!("password file {}", path.display());
    let mut bytes = read_bounded(path, MAX_PEM).with_context(context)?;
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

/// Every regular file; anything else is an error (OMS v1.0, 6.1 and 6.1.1).
fn names_to_sign(scan: &Scan, allow_symlinks: bool) -> Result<Vec<FileName>, Failure> {
    if let Some(name) = scan.unnameable.first() {
        return Err(anyhow::anyhow!("\"{name}\": such a name can't be signed").into());
    }
    let mut names = Vec::with_capacity(scan.entries.len());
    for (name, found) in &scan.entries {
        match found {
            Found::File { .. } => names.push(name.clone()),
            Found::Other(what) => {
                let failure = check::Failure::WrongType {
                    file: name.clone(),
                    found: what,
                };
                let hint = (!allow_symlinks && what.contains("symbolic link"))
                    .then(|| "sign what links lead to with --allow-symlinks".to_owned());
                return Err(Failure::from(anyhow::Error::new(failure)).with_hint(hint));
            }
        }
    }
    Ok(names)
}

/// What lies outside of the model is signed as it is now, and doesn't travel with the model.
fn warn_of_outside_links(root: &Path, names: &[FileName]) {
    for name in names {
        let target = root.join(name).canonicalize();
        if target.is_ok_and(|target| !target.starts_with(root)) {
            tracing::warn!(file = %name, "a symbolic link leads out of the model");
        }
    }
}

/// Where chunk tables go that fall out of hashing.
struct Tables<'a> {
    store: Option<IndexStore>,
    ship_to: Option<&'a Path>,
}

impl Tables<'_> {
    fn keep(&self, table: &TableFile) -> std::io::Result<()> {
        if let Some(store) = &self.store
            && let Err(error) = store.save(table)
        {
            tracing::warn!(%error, "chunk table not kept on this host");
        }
        match self.ship_to {
            Some(root) => shipped::save(root, table),
            None => Ok(()),
        }
    }
}

/// Writes the signature, which is part of the model, and as public.
fn write_signature(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    // Renaming over a device, such as /dev/stdout, would replace it.
    if path.metadata().is_ok_and(|there| !there.is_file()) {
        return Err(std::io::Error::other("it is no regular file"));
    }
    atomic::write_file(path, 0o644, |out| out.write_all(bytes))
}
