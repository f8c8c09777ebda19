//! `model-fs trust`.

use std::fmt::{Display, Write as _};
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use model_fs::digest::{Algorithm, Digest};
use model_fs::files::read_given;
use model_fs::name::Escaped;
use model_fs::oms::certificate::{self, Certificate};
use model_fs::oms::key::{MAX_PEM, PublicKey};
use model_fs::oms::trust::Trust;
use model_fs::oms::trust_store::{
    Distrusted, FileRule, Hidden, MAX_NAME, NewIdentity, NewSigner, Problem, SYSTEM_FILE,
    SignerName, TrustFile, TrustStore, TrustStoreError, TrustedSigner,
};
use serde_json::{Value, json};

use crate::cli::{
    self, TrustAddArgs, TrustCommand, TrustCommandArgs, TrustDistrustArgs, TrustListArgs,
    TrustRemoveArgs,
};
use crate::exit::{Exit, Failure};
use crate::terminal;

pub(crate) fn run(args: TrustCommandArgs) -> Result<(), Failure> {
    let files = Files::of_the_user();
    match args.command {
        TrustCommand::Add(args) => add(*args, &files),
        TrustCommand::List(args) => list(&args, &files),
        TrustCommand::Remove(args) => {
            let removed = remove(&args, &files)?;
            terminal::print(&format!("{removed}\n"))
        }
        TrustCommand::Distrust(args) => {
            let distrusted = distrust(&args, &files)?;
            terminal::print(&format!("{distrusted}\n"))
        }
    }
}

/// The store that decides where the command line says nothing: the user's, then the system's.
pub(crate) fn load_store() -> Result<TrustStore, Failure> {
    Files::of_the_user().load()
}

/// The files of the store.
struct Files {
    /// `None` for a user without a home.
    user: Option<PathBuf>,
    system: PathBuf,
}

impl Files {
    fn of_the_user() -> Self {
        let variable = |name| std::env::var_os(name).map(PathBuf::from);
        let (config, home) = (variable("XDG_CONFIG_HOME"), variable("HOME"));
        Self {
            user: TrustStore::user_file(config.as_deref(), home.as_deref()),
            system: SYSTEM_FILE.into(),
        }
    }

    fn load(&self) -> Result<TrustStore, Failure> {
        let files = self.user.iter().chain([&self.system]);
        TrustStore::load(files).map_err(store_failure)
    }

    /// The file that a change is made in.
    fn changed(&self, system: bool) -> Result<&Path, Failure> {
        if system {
            return Ok(&self.system);
        }
        self.user.as_deref().ok_or_else(|| {
            Failure::from(anyhow::anyhow!(
                "HOME isn't set, so the trust store has no place"
            ))
            .with_hint("set HOME, or change the system's with --system".to_owned())
        })
    }
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

fn usage(text: String) -> Failure {
    Failure::new(Exit::Usage, anyhow::Error::msg(text))
}

/// Whom the command line wants trusted, by what name if it gives none, and what is to be said of
/// them.
fn chosen(trust: cli::Trust) -> Result<(String, NewIdentity, Vec<String>), Failure> {
    match trust {
        cli::Trust::Store => Err(usage("whom to trust isn't said".to_owned()).with_hint(
            "give --public-key, --certificate-chain, or --identity and --identity-provider"
                .to_owned(),
        )),
        cli::Trust::PublicKey(path) => {
            let pem = read(&path, MAX_PEM)?;
            let key = PublicKey::from_pem(&pem).with_context(|| Escaped::path(&path))?;
            let said = format!("  key {}", key.hint());
            Ok((short("key", key.hint()), NewIdentity::Key(pem), vec![said]))
        }
        cli::Trust::CertificateChain(paths) => {
            let (mut name, mut files, mut said) = (None, Vec::new(), Vec::new());
            for path in paths {
                let pem = read(&path, certificate::MAX_PEM)?;
                let certificates =
                    Certificate::from_pem(&pem).with_context(|| Escaped::path(&path))?;
                name = name.or_else(|| Some(short("ca", certificates.first()?.fingerprint())));
                said.extend(
                    certificates
                        .iter()
                        .map(|certificate| format!("  certificate {}", describe(certificate))),
                );
                files.push(pem);
            }
            let identity = NewIdentity::Certificate(files);
            Ok((name.unwrap_or_default(), identity, said))
        }
        cli::Trust::Identity {
            identity,
            provider,
            trust_config,
        } => {
            let trusted_root = trust_config
                .map(|path| path.canonicalize().with_context(|| Escaped::path(&path)))
                .transpose()?;
            let new = NewIdentity::Sigstore {
                identity: identity.clone(),
                identity_provider: provider,
                trusted_root,
            };
            Ok((plain(&identity), new, Vec::new()))
        }
    }
}

fn add(args: TrustAddArgs, files: &Files) -> Result<(), Failure> {
    let (default_name, identity, mut said) = chosen(args.trust.chosen())?;
    let name = args.name.unwrap_or(default_name);
    let mut payload_digests = digests("--payload-digest", &args.payload_digest)?;
    for path in &args.payload_of {
        let digest = payload_of(path)?;
        said.push(format!(
            "  only payload {digest}, of {}",
            Escaped::path(path)
        ));
        payload_digests.push(digest);
    }
    let root_digests = digests("--root-digest", &args.root_digest)?;
    if !root_digests.is_empty() {
        said.push(format!("  {ROOT_DIGESTS_ALONE}"));
    }
    let signer = NewSigner {
        name: SignerName::new(&name)
            .map_err(|rule| usage(format!("--name {}: {rule}", Escaped::bounded(&name))))?,
        identity,
        names: args.model_name,
        paths: args.model_path,
        payload_digests,
        root_digests,
    };
    let path = files.changed(args.place.system)?;
    let mut store = TrustFile::open(path).map_err(store_failure)?;
    store.add(&signer).map_err(store_failure)?;
    store.save().map_err(store_failure)?;
    let mut told = format!("added {name} to {}\n", Escaped::path(path));
    for line in said {
        let _ = writeln!(told, "{line}");
    }
    // It is added, whatever is wrong with the other file.
    if let Ok(store) = files.load() {
        for hidden in store.hidden() {
            if *hidden.signer.name() == signer.name {
                let (file, by) = (
                    Escaped::path(hidden.signer.file()),
                    Escaped::path(&hidden.by),
                );
                let _ = writeln!(
                    told,
                    "  hidden by {by}, and so without effect: the entry {name} of {file}"
                );
            }
        }
    }
    terminal::print(&told)
}

/// What a root digest leaves open.
const ROOT_DIGESTS_ALONE: &str = "a root digest covers contents alone: neither names, nor which \
                                  bytes make which file, nor ignored paths and links";

fn digests(flag: &str, texts: &[String]) -> Result<Vec<Digest>, Failure> {
    texts
        .iter()
        .map(|text| {
            let hex = text.strip_prefix("sha256:").unwrap_or(text);
            Digest::from_hex(Algorithm::Sha256, hex)
                .map_err(|error| usage(format!("{flag}: {error}")))
        })
        .collect()
}

/// The digest of what a signature file says, whoever wrote it.
fn payload_of(path: &Path) -> Result<Digest, Failure> {
    super::inspect::payload_digest(path)
}

fn read(path: &Path, limit: usize) -> Result<Vec<u8>, Failure> {
    Ok(read_given(path, limit).with_context(|| Escaped::path(path))?)
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

fn signer_name(name: &str) -> Result<SignerName, Failure> {
    SignerName::new(name).map_err(|rule| Failure::new(Exit::Usage, anyhow::Error::new(rule)))
}

/// Removes an entry, and says so. Where that would bring back what it hid, which may be wider, it
/// takes `--force`.
fn remove(args: &TrustRemoveArgs, files: &Files) -> Result<String, Failure> {
    let name = signer_name(&args.name)?;
    let path = files.changed(args.place.system)?;
    let mut file = TrustFile::open(path).map_err(store_failure)?;
    file.remove(&name).map_err(store_failure)?;
    let mut said = format!("removed {name} from {}", Escaped::path(path));
    if !args.place.system {
        let store = match files.load() {
            Err(_) if args.force => TrustStore::default(),
            other => other?,
        };
        let uncovered = store.hidden().iter().map(|hidden| &hidden.signer);
        for signer in uncovered.filter(|signer| *signer.name() == name) {
            let counts = format!("the entry {name} of {}", Escaped::path(signer.file()));
            if !args.force {
                let error = anyhow::anyhow!("{counts}, which this one hides, would count again");
                return Err(Failure::from(error).with_hint(format!(
                    "to trust neither: model-fs trust distrust {name}; to let it count: \
                     model-fs trust remove {name} --force"
                )));
            }
            let _ = write!(
                said,
                "\n{counts} counts again:\n{}",
                to_text(signer).trim_end()
            );
        }
    }
    file.save().map_err(store_failure)?;
    Ok(said)
}

/// Distrusts a name that is there, and says so.
fn distrust(args: &TrustDistrustArgs, files: &Files) -> Result<String, Failure> {
    let name = signer_name(&args.name)?;
    let path = files.changed(false)?;
    let store = files.load()?;
    let is_known = store.signers().any(|signer| *signer.name() == name)
        || store
            .distrusted()
            .iter()
            .any(|distrusted| distrusted.name == name);
    if !is_known {
        let error = anyhow::Error::new(Problem::Unknown(name));
        let hint = "`model-fs trust list` shows who may sign".to_owned();
        return Err(Failure::from(error).with_hint(hint));
    }
    let mut file = TrustFile::open(path).map_err(store_failure)?;
    file.distrust(&name).map_err(store_failure)?;
    file.save().map_err(store_failure)?;
    Ok(format!(
        "distrusted {name} in {}: no entry of that name counts; other entries do, the same key in \
         one of them too",
        Escaped::path(path)
    ))
}

fn list(args: &TrustListArgs, files: &Files) -> Result<(), Failure> {
    let store = files.load()?;
    if args.json {
        return terminal::print_json(&store_to_json(&store));
    }
    if store.is_empty() {
        terminal::note("the trust store is empty: nobody is trusted");
    }
    terminal::print(&store_to_text(&store))
}

fn store_to_text(store: &TrustStore) -> String {
    let mut text: String = store.signers().map(to_text).collect();
    for Distrusted { name, file } in store.distrusted() {
        let _ = write!(
            text,
            "{name}\n  distrusted\n  file         {}\n",
            Escaped::path(file)
        );
    }
    for Hidden { signer, by } in store.hidden() {
        let entry = to_text(signer);
        let (name, rest) = entry.split_once('\n').unwrap_or((&entry, ""));
        let _ = write!(
            text,
            "{name} (hidden, without effect)\n  hidden by    {}\n{rest}",
            Escaped::path(by)
        );
    }
    text
}

fn store_to_json(store: &TrustStore) -> Value {
    let distrusted =
        |it: &Distrusted| json!({ "name": it.name.as_str(), "file": it.file.to_string_lossy() });
    let hidden = |it: &Hidden| {
        let mut entry = to_json(&it.signer);
        entry["hidden_by"] = json!(it.by.to_string_lossy());
        entry
    };
    json!({
        "signers": store.signers().map(to_json).collect::<Vec<_>>(),
        "distrusted": store.distrusted().iter().map(distrusted).collect::<Vec<_>>(),
        "hidden": store.hidden().iter().map(hidden).collect::<Vec<_>>(),
    })
}

fn to_text(signer: &TrustedSigner) -> String {
    let mut text = format!("{}\n", signer.name());
    let mut line = |label: &str, value: &dyn Display| {
        let _ = writeln!(text, "  {label:<12} {value}");
    };
    line("method", &signer.trust().method());
    match signer.trust() {
        Trust::Key(key) => line("key", &key.hint()),
        Trust::Certificate(anchors) => {
            for certificate in anchors.certificates() {
                line("certificate", &describe(certificate));
            }
        }
        Trust::Sigstore {
            identity,
            identity_provider,
            ..
        } => {
            line("identity", &Escaped::new(identity));
            line("provider", &Escaped::new(identity_provider));
            if let Some(path) = signer.trusted_root_file() {
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
    for digest in limits.payload_digests().into_iter().flatten() {
        line("only payload", digest);
    }
    if let Some(digests) = limits.root_digests() {
        for digest in digests {
            line("only root", digest);
        }
        line("", &format_args!("({ROOT_DIGESTS_ALONE})"));
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
        "method": signer.trust().method().name(),
        "file": signer.file().to_string_lossy(),
    });
    match signer.trust() {
        Trust::Key(key) => entry["key"] = json!(key.hint()),
        Trust::Certificate(anchors) => {
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
        Trust::Sigstore {
            identity,
            identity_provider,
            ..
        } => {
            entry["identity"] = json!(identity);
            entry["identity_provider"] = json!(identity_provider);
            entry["trusted_root"] = json!(
                signer
                    .trusted_root_file()
                    .map(|path| path.to_string_lossy())
            );
        }
        _ => {}
    }
    let limits = signer.limits();
    let texts = |digests: Option<&[Digest]>| {
        digests.map(|digests| digests.iter().map(ToString::to_string).collect::<Vec<_>>())
    };
    entry["models"] = json!({
        "names": limits.names(),
        "paths": limits.paths().map(Iterator::collect::<Vec<_>>),
        "payload_digests": texts(limits.payload_digests()),
        "root_digests": texts(limits.root_digests()),
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

    struct Two {
        folder: tempfile::TempDir,
        files: Files,
    }

    impl Two {
        fn new(user: &str, system: &str) -> Self {
            let folder = tempfile::tempdir().unwrap();
            let write = |name: &str, text: &str| {
                let path = folder.path().join(name);
                std::fs::write(&path, text).unwrap();
                path
            };
            let files = Files {
                user: Some(write("user.toml", user)),
                system: write("system.toml", system),
            };
            Self { folder, files }
        }

        fn user(&self) -> String {
            std::fs::read_to_string(self.folder.path().join("user.toml")).unwrap()
        }

        fn remove(&self, force: bool) -> Result<String, Failure> {
            let args = TrustRemoveArgs {
                name: "acme".to_owned(),
                force,
                place: crate::cli::TrustPlaceArgs { system: false },
            };
            remove(&args, &self.files)
        }

        fn distrust(&self, name: &str) -> Result<String, Failure> {
            let name = name.to_owned();
            distrust(&TrustDistrustArgs { name }, &self.files)
        }

        fn trusted(&self) -> Vec<String> {
            let store = self.files.load().unwrap();
            store.signers().map(|it| it.name().to_string()).collect()
        }
    }

    const NARROW: &str = "# mine\n[signers.acme]\nidentity = \"a\"\nidentity-provider = \"b\"\n\
                          [signers.acme.models]\nnames = [\"llama\"]\n";
    const WIDE: &str = "[signers.acme]\nidentity = \"a\"\nidentity-provider = \"b\"\n";

    #[test]
    fn what_an_entry_hides_does_not_count_again_unasked() {
        let two = Two::new(NARROW, WIDE);
        let text = store_to_text(&two.files.load().unwrap());
        assert!(
            text.starts_with("acme\n") && text.contains("  only model   llama\n"),
            "{text}"
        );
        assert!(
            text.contains("acme (hidden, without effect)\n  hidden by    "),
            "{text}"
        );
        let json = store_to_json(&two.files.load().unwrap());
        assert_eq!(json["hidden"][0]["name"], "acme");
        assert_eq!(json["hidden"][0]["models"]["names"], Value::Null);
        assert!(
            json["hidden"][0]["hidden_by"]
                .as_str()
                .unwrap()
                .ends_with("user.toml")
        );

        let failure = two.remove(false).unwrap_err();
        assert!(
            failure.error.to_string().ends_with("would count again"),
            "{failure:?}"
        );
        assert!(failure.hint.unwrap().contains("trust distrust acme"));
        assert_eq!(two.user(), NARROW);
        let said = two.remove(true).unwrap();
        assert!(
            said.contains("system.toml counts again:\nacme\n  method"),
            "{said}"
        );
        let store = two.files.load().unwrap();
        assert!(store.signers().all(|signer| signer.limits().is_unlimited()));
        assert!(store.hidden().is_empty());

        // Nothing is hidden, nothing is in the way.
        let alone = Two::new(NARROW, "");
        let said = alone.remove(false).unwrap();
        assert!(
            said.starts_with("removed acme from ") && !said.contains('\n'),
            "{said}"
        );
        assert!(alone.trusted().is_empty());
    }

    #[test]
    fn a_system_signer_can_be_distrusted() {
        for user in ["", NARROW] {
            let two = Two::new(user, &(WIDE.to_owned() + &WIDE.replace("acme", "other")));
            two.distrust("acme").unwrap();
            assert_eq!(two.trusted(), ["other"]);
            // A mistyped name would leave somebody trusted.
            assert!(two.distrust("amce").is_err());
            two.distrust("acme").unwrap();
            let text = store_to_text(&two.files.load().unwrap());
            assert!(text.contains("acme\n  distrusted\n  file "), "{text}");
            assert!(text.contains("acme (hidden, without effect)\n"), "{text}");
            let json = store_to_json(&two.files.load().unwrap());
            assert_eq!(json["distrusted"][0]["name"], "acme");
            assert!(two.remove(false).is_err());
            two.remove(true).unwrap();
            assert_eq!(two.trusted(), ["acme", "other"]);
        }
    }
}
