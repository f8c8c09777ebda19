//! `model-fs trust`.

use std::fmt::{Display, Write as _};
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use model_fs::digest::{Algorithm, Digest};
use model_fs::name::Escaped;
use model_fs::oms::certificate::{self, Certificate};
use model_fs::oms::key::{MAX_PEM, PublicKey};
use model_fs::oms::trust_store::{
    FileRule, Identity, MAX_NAME, NewIdentity, NewSigner, Problem, SYSTEM_FILE, SignerName,
    TrustFile, TrustStore, TrustStoreError, TrustedSigner,
};
use model_fs::reading::location::read_bounded;
use serde_json::{Value, json};

use crate::cli::{
    self, TrustAddArgs, TrustCommand, TrustCommandArgs, TrustListArgs, TrustPlaceArgs,
    TrustRemoveArgs,
};
use crate::exit::{Exit, Failure};
use crate::terminal;

pub(crate) fn run(args: TrustCommandArgs) -> Result<(), Failure> {
    match args.command {
        TrustCommand::Add(args) => add(args),
        TrustCommand::List(args) => list(&args),
        TrustCommand::Remove(args) => remove(&args),
    }
}

/// The store that decides where the command line says nothing: the user's, then the system's.
pub(crate) fn load_store() -> Result<TrustStore, Failure> {
    let files = user_file().into_iter().chain([SYSTEM_FILE.into()]);
    TrustStore::load(files).map_err(store_failure)
}

fn user_file() -> Option<PathBuf> {
    let variable = |name| std::env::var_os(name).map(PathBuf::from);
    let (config, home) = (variable("XDG_CONFIG_HOME"), variable("HOME"));
    TrustStore::user_file(config.as_deref(), home.as_deref())
}

/// The file that a change is made in.
fn file(place: &TrustPlaceArgs) -> Result<PathBuf, Failure> {
    if place.system {
        return Ok(SYSTEM_FILE.into());
    }
    user_file().ok_or_else(|| {
        Failure::from(anyhow::anyhow!("no place for the trust store"))
            .with_hint("set HOME, or change the system's with --system".to_owned())
    })
}

fn store_failure(error: TrustStoreError) -> Failure {
    let hint = match &error.problem {
        Problem::File(FileRule::Writable { .. }) => Some(format!("chmod go-w {}", error.path)),
        Problem::Unknown(_) => Some("`model-fs trust list` shows who may sign".to_owned()),
        Problem::Exists(name) => Some(format!(
            "choose another --name, or first: model-fs trust remove {name}"
        )),
        _ => None,
    };
    Failure::from(anyhow::Error::new(error)).with_hint(hint)
}

fn add(args: TrustAddArgs) -> Result<(), Failure> {
    let usage = |text: String| Failure::new(Exit::Usage, anyhow::Error::msg(text));
    let (default_name, identity) = match args.trust.chosen() {
        cli::Trust::Store => {
            return Err(usage("nobody to trust is given".to_owned()).with_hint(
                "give --public-key, --certificate-chain, or --identity and --identity-provider"
                    .to_owned(),
            ));
        }
        cli::Trust::PublicKey(path) => {
            let pem = read(&path, MAX_PEM)?;
            let key =
                PublicKey::from_pem(&pem).with_context(|| Escaped::path(&path).to_string())?;
            (short("key", key.hint()), NewIdentity::Key(pem))
        }
        cli::Trust::CertificateChain(paths) => {
            let mut name = None;
            let mut files = Vec::new();
            for path in paths {
                let pem = read(&path, certificate::MAX_PEM)?;
                let certificates = Certificate::from_pem(&pem)
                    .with_context(|| Escaped::path(&path).to_string())?;
                name = name.or_else(|| Some(short("ca", certificates.first()?.fingerprint())));
                files.push(pem);
            }
            (name.unwrap_or_default(), NewIdentity::Certificate(files))
        }
        cli::Trust::Identity {
            identity,
            provider,
            trust_config,
        } => {
            let trusted_root = trust_config
                .map(|path| {
                    path.canonicalize()
                        .with_context(|| Escaped::path(&path).to_string())
                })
                .transpose()?;
            let new = NewIdentity::Sigstore {
                identity: identity.clone(),
                identity_provider: provider,
                trusted_root,
            };
            (plain(&identity), new)
        }
    };
    let name = args.name.unwrap_or(default_name);
    let root_digests = args
        .root_digest
        .iter()
        .map(|text| {
            let hex = text.strip_prefix("sha256:").unwrap_or(text);
            Digest::from_hex(Algorithm::Sha256, hex)
                .map_err(|error| usage(format!("--root-digest: {error}")))
        })
        .collect::<Result<_, _>>()?;
    let signer = NewSigner {
        name: SignerName::new(&name)
            .map_err(|rule| usage(format!("--name {}: {rule}", Escaped::bounded(&name))))?,
        identity,
        names: args.model_name,
        paths: args.model_path,
        root_digests,
    };
    let path = file(&args.place)?;
    let mut store = TrustFile::open(&path).map_err(store_failure)?;
    store.add(&signer).map_err(store_failure)?;
    store.save().map_err(store_failure)?;
    terminal::print(&format!("added {name} to {}\n", Escaped::path(&path)))
}

fn read(path: &Path, limit: usize) -> Result<Vec<u8>, Failure> {
    Ok(read_bounded(path, limit).with_context(|| Escaped::path(path).to_string())?)
}

/// A name that tells keys apart.
fn short(kind: &str, digest: &str) -> String {
    format!("{kind}-{}", digest.get(..12).unwrap_or(digest))
}

/// An identity as a name: `alice@acme.example` becomes `alice-acme.example`.
fn plain(identity: &str) -> String {
    let name: String = identity
        .chars()
        .map(|c| match c {
            _ if c.is_ascii_alphanumeric() => c,
            '.' | '_' => c,
            _ => '-',
        })
        .take(MAX_NAME)
        .collect();
    name.trim_matches(['-', '.', '_']).to_owned()
}

fn remove(args: &TrustRemoveArgs) -> Result<(), Failure> {
    let name = SignerName::new(&args.name)
        .map_err(|rule| Failure::new(Exit::Usage, anyhow::Error::new(rule)))?;
    let path = file(&args.place)?;
    let mut store = TrustFile::open(&path).map_err(store_failure)?;
    store.remove(&name).map_err(store_failure)?;
    store.save().map_err(store_failure)?;
    terminal::print(&format!("removed {name} from {}\n", Escaped::path(&path)))
}

fn list(args: &TrustListArgs) -> Result<(), Failure> {
    let store = load_store()?;
    if args.json {
        let signers: Vec<_> = store.signers().map(to_json).collect();
        return terminal::print_json(&json!({ "signers": signers }));
    }
    if store.is_empty() {
        terminal::note("the trust store is empty");
    }
    for signer in store.signers() {
        terminal::print(&to_text(signer))?;
    }
    Ok(())
}

fn to_text(signer: &TrustedSigner) -> String {
    let mut text = format!("{}\n", signer.name());
    let mut line = |label: &str, value: &dyn Display| {
        let _ = writeln!(text, "  {label:<12} {value}");
    };
    line("method", &signer.identity().method());
    match signer.identity() {
        Identity::Key(key) => line("key", &key.hint()),
        Identity::Certificate(anchors) => {
            for certificate in anchors.certificates() {
                line("certificate", &describe(certificate));
            }
        }
        Identity::Sigstore(sigstore) => {
            line("identity", &Escaped::new(&sigstore.identity));
            line("provider", &Escaped::new(&sigstore.identity_provider));
            if let Some(path) = &sigstore.trusted_root_file {
                line("trusted root", &Escaped::path(path));
            }
        }
        _ => {}
    }
    let limits = signer.limits();
    for name in limits.names().into_iter().flatten() {
        line("only model", &Escaped::new(name));
    }
    for pattern in limits.paths().into_iter().flatten() {
        line("only at", &Escaped::new(pattern));
    }
    for digest in limits.root_digests().into_iter().flatten() {
        line("only digest", digest);
    }
    line("file", &Escaped::path(signer.file()));
    text
}

fn describe(certificate: &Certificate) -> String {
    format!(
        "{} (SHA-256 {}, until {})",
        certificate.subject(),
        certificate.fingerprint(),
        certificate.not_after()
    )
}

fn to_json(signer: &TrustedSigner) -> Value {
    let mut entry = json!({
        "name": signer.name().as_str(),
        "method": signer.identity().method().name(),
        "file": signer.file().to_string_lossy(),
    });
    match signer.identity() {
        Identity::Key(key) => entry["key"] = json!(key.hint()),
        Identity::Certificate(anchors) => {
            entry["certificates"] = anchors
                .certificates()
                .iter()
                .map(|certificate| {
                    json!({
                        "subject": certificate.subject().to_string(),
                        "sha256": certificate.fingerprint(),
                        "not_before": certificate.not_before(),
                        "not_after": certificate.not_after(),
                    })
                })
                .collect();
        }
        Identity::Sigstore(sigstore) => {
            entry["identity"] = json!(sigstore.identity);
            entry["identity_provider"] = json!(sigstore.identity_provider);
            entry["trusted_root"] = json!(
                sigstore
                    .trusted_root_file
                    .as_ref()
                    .map(|path| path.to_string_lossy())
            );
        }
        _ => {}
    }
    let limits = signer.limits();
    entry["models"] = json!({
        "names": limits.names(),
        "paths": limits.paths().map(Iterator::collect::<Vec<_>>),
        "root_digests": limits
            .root_digests()
            .map(|digests| digests.iter().map(ToString::to_string).collect::<Vec<_>>()),
    });
    entry
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn default_names_are_names() {
        for (identity, name) in [
            ("alice@acme.example", "alice-acme.example"),
            (
                "https://github.com/o/r/.github/x@y",
                "https---github.com-o-r-.github-x-y",
            ),
            ("\u{202e}--x--", "x"),
        ] {
            assert_eq!(plain(identity), name);
            SignerName::new(&plain(identity)).unwrap();
        }
        SignerName::new(&plain(&"a".repeat(1000))).unwrap();
        SignerName::new(&short("key", &"0".repeat(64))).unwrap();
    }
}
