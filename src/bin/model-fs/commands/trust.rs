//! `model-fs trust`.

use std::fmt::Write as _;
use std::path::Path;

use anyhow::Context as _;
use model_fs::digest::{Algorithm, Digest};
use model_fs::files::read_given;
use model_fs::name::Escaped;
use model_fs::oms::certificate::{self, Certificate, ValidAt};
use model_fs::oms::key::{MAX_PEM, PublicKey};
use model_fs::oms::trust_store::{
    MAX_NAME, NewIdentity, NewSigner, Problem, SignerName, SignerRule, TrustFile, TrustStore,
};

use crate::args::{
    self, TrustAddArgs, TrustCommand, TrustCommandArgs, TrustDistrustArgs, TrustListArgs,
    TrustRemoveArgs,
};
use crate::claims::payload_digest;
use crate::exit::{Exit, Failure};
use crate::hints;
use crate::key_files::unusable;
use crate::signals;
use crate::terminal;
use crate::trust::{
    Files, PINNED, ROOT_DIGESTS_ALONE, VALID_AT, describe, store_to_json, store_to_text, to_text,
};

pub(crate) fn run(args: TrustCommandArgs) -> Result<(), Failure> {
    signals::leave_nothing();
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

fn usage(text: String) -> Failure {
    Failure::new(Exit::Usage, anyhow::Error::msg(text))
}

/// Whom the command line wants trusted, by what name if it gives none, and what is to be said of
/// them.
fn chosen(
    trust: args::Trust,
    valid_at: Option<ValidAt>,
) -> Result<(String, NewIdentity, Vec<String>), Failure> {
    if valid_at.is_some() && !matches!(trust, args::Trust::CertificateChain(_)) {
        let rule = SignerRule::ValidAtKind.to_string();
        return Err(usage(format!("--{rule}"))
            .with_hint("give --certificate-chain, or leave out --valid-at".to_owned()));
    }
    match trust {
        args::Trust::Store => Err(usage("whom to trust isn't said".to_owned()).with_hint(
            "give --public-key, --certificate-chain, or --identity and --identity-provider"
                .to_owned(),
        )),
        args::Trust::PublicKey(path) => {
            let pem = read(&path, MAX_PEM)?;
            let key =
                PublicKey::from_pem(&pem).map_err(|error| unusable(&path, "public key", error))?;
            let said = format!("  key {}", key.hint());
            Ok((short("key", key.hint()), NewIdentity::Key(pem), vec![said]))
        }
        args::Trust::CertificateChain(paths) => {
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
            if let Some(moment) = valid_at {
                said.push(format!("  valid at {moment}: {VALID_AT}"));
            }
            let identity = NewIdentity::Certificate { files, valid_at };
            Ok((name.unwrap_or_default(), identity, said))
        }
        args::Trust::Identity {
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
    let valid_at = args.valid_at.as_deref().map(moment).transpose()?;
    let (default_name, identity, mut said) = chosen(args.trust.chosen(), valid_at)?;
    let name = args.name.unwrap_or(default_name);
    let mut payload_digests = digests("--payload-digest", &args.payload_digest)?;
    for path in &args.payload_of {
        let digest = payload_digest(path)?;
        said.push(format!(
            "  only payload {digest}, of {}",
            Escaped::path(path)
        ));
        payload_digests.push(digest);
    }
    if let NewIdentity::Certificate { valid_at: None, .. } = identity
        && !payload_digests.is_empty()
    {
        said.push(format!("  valid at {PINNED}"));
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
    let mut store = TrustFile::open(path)?;
    store.add(&signer)?;
    store.save()?;
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

fn moment(text: &str) -> Result<ValidAt, Failure> {
    text.parse()
        .map_err(|error| usage(format!("--valid-at {}: {error}", Escaped::bounded(text))))
}

fn digests(flag: &str, texts: &[String]) -> Result<Vec<Digest>, Failure> {
    texts
        .iter()
        .map(|text| {
            let hex = text.strip_prefix("sha256:").unwrap_or(text);
            Digest::from_hex(Algorithm::Sha256, hex).map_err(|error| {
                let hint = "\"model-fs inspect MODEL\" shows it".to_owned();
                usage(format!("{flag}: {error}")).with_hint(hint)
            })
        })
        .collect()
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
    let mut file = TrustFile::open(path)?;
    file.remove(&name)?;
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
    file.save()?;
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
        return Err(Failure::from(error).with_hint(hints::who_may_sign()));
    }
    let mut file = TrustFile::open(path)?;
    file.distrust(&name)?;
    file.save()?;
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

#[cfg(test)]
mod tests {
    use serde_json::Value;

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
                place: crate::args::TrustPlaceArgs { system: false },
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
            // A mistyped name would leave a signer trusted.
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
