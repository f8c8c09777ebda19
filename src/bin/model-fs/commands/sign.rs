//! `model-fs sign`.

use std::fmt::Write as _;
use std::num::NonZeroU64;
use std::path::Path;

use anyhow::Context as _;
use model_fs::files::{Directory, Output, read_given};
use model_fs::manifest::{Description, Manifest, ManifestFile, Serialization};
use model_fs::name::{Escaped, FileName};
use model_fs::oms::bundle::{Bundle, MAX_BUNDLE, Material};
use model_fs::oms::certificate::Certificate;
use model_fs::oms::claim::Claim;
use model_fs::oms::key::{MAX_PEM, Password, PrivateKey, SigningKey};
#[cfg(feature = "pkcs11")]
use model_fs::oms::pkcs11::{Pkcs11Key, Pkcs11Uri};
#[cfg(feature = "sigstore-sign")]
use model_fs::oms::sign::sigstore::SigstoreSigner;
use model_fs::oms::sign::{Compat, Signing, SigningCertificate};
use model_fs::oms::sigstore::ClaimedIdentity;
use model_fs::reading::check;
use model_fs::reading::location::ModelLocation;
use model_fs::reading::signing::hash_model;
use model_fs::reading::{ChunkTable, Found, IndexStore, Links, Scan, shipped};
use zeroize::Zeroize as _;

use super::progress::Bar;
use super::signed_model::{files, open_store, read_pem, total_bytes, warn_of_absent};
use crate::cli::{self, KeyPlace, SignArgs};
use crate::exit::{Exit, Failure};
use crate::hints;
use crate::terminal;

pub(crate) fn run(args: &SignArgs) -> Result<(), Failure> {
    // Before anything is hashed: whatever can be known to be in the way.
    let Some(hash) = args.hash() else {
        return Err(unreadable_by_the_reference());
    };
    let signer = Signer::load(args)?;
    let location = ModelLocation::find_to_sign(&args.model.model, args.model.signature.as_deref())?;
    let links = if args.allow_symlinks {
        Links::Follow
    } else {
        Links::Refuse
    };
    let directory = location.open(links)?;
    let ignored = location.ignored(&args.ignore_paths)?;
    check_ignored(&location, &ignored)?;
    let scan = location.scan_to_sign(&directory, &ignored)?;
    let names = names_to_sign(&scan, args.allow_symlinks)?;
    if args.allow_symlinks {
        warn_of_outside_links(location.root(), &names);
    }
    let output = Replaced::find(&location, &names, &ignored)?;
    if !args.force {
        output.require_author(signer.author().as_ref())?;
    }

    let serialization = Serialization {
        hash: hash.into(),
        shard_size: args
            .shard_size
            .and_then(|size| NonZeroU64::new(size.bytes())),
    };
    let tables = Tables {
        store: open_store(args.index_dir.as_deref(), &location)?,
        // Only BLAKE3 tables prove themselves to somebody else.
        ship_to: if args.ships_tables() && serialization.shard_size.is_none() {
            shelf(&location)?
        } else {
            None
        },
    };
    let bar = Bar::new(total_bytes(&scan, names.iter()), "hashing");
    let hashed = hash_model(
        &directory,
        &names,
        serialization,
        &|table| tables.keep(table),
        &bar,
    )
    .map_err(anyhow::Error::new)?;
    bar.finish();
    for name in &hashed.unsignable {
        tracing::warn!(file = %name, "empty file not signed: shards can't express one");
    }

    let manifest = manifest(
        &location,
        serialization,
        args.allow_symlinks,
        ignored,
        hashed.files,
    )?;
    let compat = args.compat.map_or(Compat::Specification, Compat::from);
    let bundle = manifest
        .sign(signer.signing(), compat)
        .map_err(hints::not_signed)?;
    let mut told = format!(
        "signed: {}, root digest {}, signature {}\n",
        files(manifest.files().len()),
        manifest.root_digest(),
        output.path,
    );
    // An identity token doesn't show whom it names. Now it is known, and verifiers must be told.
    if !matches!(args.signer(), cli::Signer::Key(_)) {
        let written = Bundle::parse(&bundle).map_err(anyhow::Error::new)?;
        if !args.force {
            output.require_author(Some(&Author::of(written.material())))?;
        }
        let _ = writeln!(told, "signed by: {}", Claim::of(written.material()));
    }
    output.write(&bundle, &told)?;
    tables.remove_others(&location, &manifest);
    Ok(())
}

fn unreadable_by_the_reference() -> Failure {
    let error = anyhow::anyhow!(
        "--hash blake3 and --compat reference exclude each other: the command line of the reference \
         can't verify BLAKE3"
    );
    Failure::new(Exit::Usage, error)
        .with_hint("sign with --hash sha256, or leave --hash out".to_owned())
}

/// Refuses what looks like a pattern and names nothing: it would be recorded, and have no effect.
fn check_ignored(location: &ModelLocation, ignored: &[FileName]) -> Result<(), Failure> {
    for name in ignored.iter().filter(|name| location.lacks(name)) {
        if name.as_str().contains(['*', '?', '[']) {
            let error = anyhow::anyhow!(
                "nothing in the model is called \"{name}\": ignored paths are exact, they have no \
                 patterns (OMS v1.0, 6.2.1)"
            );
            return Err(Failure::new(Exit::Usage, error).with_hint(
                "give --ignore-paths once for each file, as `$(printf -- '--ignore-paths=%s ' *.log)` \
                 does in the model's directory, or name a directory with all that lies beneath it"
                    .to_owned(),
            ));
        }
        warn_of_absent(name);
    }
    Ok(())
}

/// What is to be signed.
fn manifest(
    location: &ModelLocation,
    serialization: Serialization,
    allow_symlinks: bool,
    mut ignore_paths: Vec<FileName>,
    files: Vec<ManifestFile>,
) -> Result<Manifest, Failure> {
    ignore_paths.extend(location.signature_to_ignore().cloned());
    if !location.is_single_file() {
        // Recorded whether or not there are tables now: `index` or another signer may add them.
        ignore_paths.push(FileName::new(shipped::DIRECTORY).map_err(anyhow::Error::new)?);
    }
    let description = Description {
        subject_name: location.model_name(),
        serialization,
        allow_symlinks,
        ignore_paths,
    };
    let manifest = Manifest::new(description, files).map_err(anyhow::Error::new)?;
    Ok(if location.is_single_file() {
        manifest.of_single_file()
    } else {
        manifest
    })
}

/// Who made a signature, as far as it says so itself.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Author {
    /// The holder of a key, certified or not.
    Key(String),
    /// A Sigstore identity.
    Identity(ClaimedIdentity),
    /// It doesn't say.
    Unknown,
}

impl Author {
    fn of(material: &Material) -> Self {
        let author = match material {
            Material::Key { hint } => hint.clone().map(Self::Key),
            Material::Certificate { chain } => chain
                .first()
                .and_then(|der| Certificate::from_der(der).ok()?.public_key().ok())
                .map(|key| Self::Key(key.hint().to_owned())),
            Material::Sigstore { certificate, .. } => {
                ClaimedIdentity::of(certificate).ok().map(Self::Identity)
            }
        };
        author.unwrap_or(Self::Unknown)
    }
}

/// The file that the signature is written to, and what is there.
struct Replaced {
    output: Output,
    /// How messages call it.
    path: String,
    /// What is replaced: who made it, and in words. `None` for nothing.
    there: Option<(Author, String)>,
}

impl Replaced {
    /// Finds out what would be replaced. What is to be signed never is.
    fn find(
        location: &ModelLocation,
        names: &[FileName],
        ignored: &[FileName],
    ) -> Result<Self, Failure> {
        let output = location.signature_to_write().map_err(|error| {
            Failure::from(error).with_hint(
                "name a file with --signature; a link that is named so is followed".to_owned(),
            )
        })?;
        let path = location.signature();
        let path = match output.linked_to() {
            Some(target) => format!(
                "{} (a link to {})",
                Escaped::path(&path),
                Escaped::path(&target)
            ),
            None => Escaped::path(&path).to_string(),
        };
        let content = |what: &dyn std::fmt::Display| {
            let error = anyhow::anyhow!(
                "signature {path}: that is {what}, which is to be signed, not overwritten"
            );
            Failure::from(error).with_hint("choose another file with --signature".to_owned())
        };
        if let Some(identity) = output.existing()?
            && let Some(name) = location.find_same(names.iter(), identity)
        {
            return Err(content(&format!("the model's \"{name}\"")));
        }
        let there = match output.read_existing(MAX_BUNDLE) {
            Ok(None) => None,
            Ok(Some(bytes)) => match Bundle::parse(&bytes) {
                Ok(bundle) => {
                    let claim = format!("signed by {}", Claim::of(bundle.material()));
                    Some((Author::of(bundle.material()), claim))
                }
                Err(_) if location.signature_is_content(ignored) => {
                    return Err(content(&"a file of the model"));
                }
                Err(_) => Some((Author::Unknown, "no signature".to_owned())),
            },
            Err(_) if location.signature_is_content(ignored) => {
                return Err(content(&"a file of the model"));
            }
            Err(error) => Some((Author::Unknown, format!("not readable: {error}"))),
        };
        Ok(Self {
            output,
            path,
            there,
        })
    }

    /// Refuses to replace what isn't known to be by the same author. Without one, who signs isn't known
    /// yet but that it is a Sigstore identity.
    fn require_author(&self, author: Option<&Author>) -> Result<(), Failure> {
        let Some((found, what)) = &self.there else {
            return Ok(());
        };
        let same = match (found, author) {
            (Author::Unknown, _) => false,
            (found, Some(author)) => found == author,
            (found, None) => matches!(found, Author::Identity(_)),
        };
        if same {
            return Ok(());
        }
        let error = anyhow::anyhow!(
            "signature {}: there is a file already, which is {what}",
            self.path
        );
        Err(Failure::from(error).with_hint(
            "replace it with --force, or write another file with --signature FILE".to_owned(),
        ))
    }

    /// Writes the signature, which is part of the model, and as public. Then tells of it: on stdout,
    /// unless that is where the signature went.
    fn write(self, bundle: &[u8], told: &str) -> Result<(), Failure> {
        let is_stdout = self.output.is_stdout();
        self.output
            .write(0o644, bundle)
            .with_context(|| format!("signature {}", self.path))?;
        if is_stdout {
            terminal::note(told.trim_end());
            Ok(())
        } else {
            terminal::print(told)
        }
    }
}

/// Where tables that travel with the model go, if they can be written there.
fn shelf(location: &ModelLocation) -> Result<Option<&Directory>, Failure> {
    match shipped::check(location.directory()) {
        Ok(()) => Ok(Some(location.directory())),
        Err(error) if error.kind() == std::io::ErrorKind::NotADirectory => {
            let path = location.root().join(shipped::DIRECTORY);
            let error = anyhow::Error::new(error).context(Escaped::path(&path).to_string());
            Err(Failure::from(error).with_hint(
                "chunk tables are written there: take it away, or sign with --no-tables".to_owned(),
            ))
        }
        Err(error) => {
            tracing::warn!(
                %error,
                "chunk tables can't be written into the model: other hosts will read all of it once \
                 before they can mount it lazily"
            );
            Ok(None)
        }
    }
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

    /// Who signs, where that is known beforehand.
    #[cfg_attr(
        not(feature = "sigstore-sign"),
        allow(clippy::unnecessary_wraps, reason = "only an identity isn't known")
    )]
    fn author(&self) -> Option<Author> {
        match self {
            Self::Key(key, _) => Some(Author::Key(key.public_key().hint().to_owned())),
            #[cfg(feature = "sigstore-sign")]
            Self::Sigstore(_) => None,
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
        .with_context(|| format!("private key {}", Escaped::path(path)))?;
    Ok(key)
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
    ship_to: Option<&'a Directory>,
}

impl Tables<'_> {
    fn keep(&self, table: &ChunkTable) -> std::io::Result<()> {
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

    /// Removes those of an earlier state of the model. Nobody would ask for them.
    fn remove_others(&self, location: &ModelLocation, manifest: &Manifest) {
        // Beside a single file are the tables of others.
        if let Some(root) = self.ship_to
            && !location.is_single_file()
            && let Err(error) = shipped::remove_others(root, manifest)
        {
            tracing::warn!(%error, "old chunk tables in {} stay", shipped::DIRECTORY);
        }
    }
}
