//! The trust store: what is read, what is refused, and what it says about a model.

use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown, symlink};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Barrier};
use std::thread;

use model_fs::digest::Algorithm;
use model_fs::manifest::{
    Description, Manifest, ManifestFile, ModelShape, Serialization, SignedContent,
    UnverifiedManifest, VerifiedManifest, VerifyWithStoreError,
};
use model_fs::name::FileName;
use model_fs::oms::bundle::Method;
use model_fs::oms::certificate::{PathError, ValidAt, When};
use model_fs::oms::key::PrivateKey;
use model_fs::oms::sign::{Compat, Signing, SigningCertificate};
use model_fs::oms::trust::{CertificateTime, Signer, Trust};
use model_fs::oms::trust_store::{
    FileRule, MAX_FILE, NewIdentity, NewSigner, Problem, SignerName, SignerRule, TrustFile,
    TrustStore, TrustedSigner,
};
use model_fs::oms::verify::VerifyError;
use test_support::keys;
use test_support::missing::{Need, have};
use test_support::pki::{DAY, Key, Scheme, Spec, moment, pem_file, with_chain};

const MODEL: &str = "/models/acme/llama";

struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn write(&self, name: &str, text: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, Permissions::from_mode(0o644)).unwrap();
        path
    }

    fn load(&self, text: &str) -> Result<TrustStore, Problem> {
        let path = self.write("trust.toml", text);
        TrustStore::load([path]).map_err(|error| error.problem)
    }
}

fn data(name: &str) -> Vec<u8> {
    fs::read(keys::path(name)).unwrap()
}

fn public(name: &str) -> String {
    String::from_utf8(data(name)).unwrap()
}

fn private(name: &str) -> PrivateKey {
    PrivateKey::from_pem(&data(name), None).unwrap()
}

fn manifest(name: &str) -> Manifest {
    let files = vec![ManifestFile {
        name: FileName::new("weights.bin").unwrap(),
        content: SignedContent::Whole(Algorithm::Blake3.hash(b"weights").into()),
    }];
    let description = Description {
        subject_name: name.into(),
        shape: ModelShape::Directory,
        serialization: Serialization::files(Algorithm::Blake3),
        allow_symlinks: false,
        ignore_paths: Vec::new(),
    };
    Manifest::new(description, files).unwrap()
}

fn signed(key: &str) -> Vec<u8> {
    manifest("llama")
        .sign(&private(key), Compat::Specification)
        .unwrap()
}

fn who(store: &TrustStore, bundle: Vec<u8>) -> Result<String, VerifyWithStoreError> {
    VerifiedManifest::verify_with_store(bundle, store, Path::new(MODEL), &ModelShape::Directory)
        .map(|(_, signer)| signer.name().to_string())
}

fn key_entry(name: &str, pem: &str) -> String {
    format!("[signers.{name}]\npublic-key = '''\n{pem}'''\n")
}

#[test]
fn names_the_signer_that_matched() {
    let folder = Folder::new();
    let (root, leaf) = (Key::new(Scheme::Rsa(256)), Key::new(Scheme::P256(256)));
    let root_pem = pem_file([&Spec::root("root", &root).der()[..]]);
    folder.write("keys/p384.pem", data("p384-pub.pem"));
    folder.write("ca.pem", &root_pem);
    let store = folder
        .load(&format!(
            "# ours\n{}\n[signers.by-path]\npublic-key = \"keys/p384.pem\"\n\
             [signers.ca]\ncertificates = [\"ca.pem\"]\n\
             [signers.alice]\nidentity = \"a@b\"\nidentity-provider = \"https://c\"\n",
            key_entry("inline", &public("p256-pub.pem"))
        ))
        .unwrap();
    let names: Vec<_> = store
        .signers()
        .map(|signer| signer.name().to_string())
        .collect();
    assert_eq!(names, ["alice", "by-path", "ca", "inline"]);
    assert_eq!(who(&store, signed("p256-sec1.pem")).unwrap(), "inline");
    assert_eq!(who(&store, signed("p384-sec1.pem")).unwrap(), "by-path");

    let certificate = Spec::leaf("signer", &leaf, "root", &root).der();
    let certificate =
        SigningCertificate::from_pem(pem_file([&certificate[..]]).as_bytes(), [""; 0]).unwrap();
    let key = PrivateKey::from_pem(leaf.pkcs8_pem().as_bytes(), None).unwrap();
    let signing = Signing::Certificate(&key, &certificate);
    let bundle = manifest("llama")
        .sign(signing, Compat::Specification)
        .unwrap();
    assert_eq!(who(&store, bundle.clone()).unwrap(), "ca");

    // No trusted signer: the error has the claimed signer, and what would be needed to trust it.
    let error = who(&store, signed("p521-sec1.pem")).unwrap_err();
    let VerifyWithStoreError::Nobody { claim, refused } = &error else {
        panic!("{error}")
    };
    assert!(refused.is_empty());
    let hint = private("p521-sec1.pem").public_key().hint().to_owned();
    assert_eq!(
        error.to_string(),
        format!("not trusted: the signature claims to be by key {hint}")
    );
    assert_eq!(claim.method(), Method::Key);

    let stranger = Key::new(Scheme::P256(256));
    folder.write(
        "ca.pem",
        pem_file([&Spec::root("root", &stranger).der()[..]]),
    );
    let store = folder
        .load("[signers.ca]\ncertificates = [\"ca.pem\"]\n")
        .unwrap();
    let error = who(&store, bundle).unwrap_err();
    assert!(
        error
            .to_string()
            .contains("certificate \"CN=signer\" (SHA-256 "),
        "{error}"
    );
    let VerifyWithStoreError::Nobody { refused, .. } = &error else {
        panic!("{error}")
    };
    assert_eq!(refused.len(), 1);

    // A trusted key, and another payload.
    let store = folder
        .load(&key_entry("k", &public("p256-pub.pem")))
        .unwrap();
    let mut forged: serde_json::Value = serde_json::from_slice(&signed("p256-sec1.pem")).unwrap();
    let other: serde_json::Value = serde_json::from_slice(
        &manifest("other")
            .sign(&private("p256-sec1.pem"), Compat::Specification)
            .unwrap(),
    )
    .unwrap();
    forged["dsseEnvelope"]["payload"] = other["dsseEnvelope"]["payload"].clone();
    let error = who(&store, forged.to_string().into_bytes()).unwrap_err();
    assert!(matches!(&error, VerifyWithStoreError::Nobody { refused, .. } if refused.len() == 1));
    assert!(matches!(
        who(&store, b"{}".to_vec()),
        Err(VerifyWithStoreError::Invalid(_))
    ));
    assert!(who(&TrustStore::default(), signed("p256-sec1.pem")).is_err());
}

#[test]
fn limits() {
    let folder = Folder::new();
    let root = manifest("llama").root_digest().to_hex();
    let other = Algorithm::Sha256.hash(b"").to_hex();
    for (models, allowed) in [
        (String::new(), true),
        ("names = [\"x\", \"llama\"]".into(), true),
        ("names = [\"lla\", \"llama2\", \"Llama\"]".into(), false),
        ("paths = [\"/models/acme/llama\"]".into(), true),
        ("paths = [\"/models/acme/*\"]".into(), true),
        ("paths = [\"/models/**\"]".into(), true),
        ("paths = [\"/**/llama\"]".into(), true),
        ("paths = [\"/models/acme/lla??\"]".into(), true),
        ("paths = [\"/models/*\"]".into(), false),
        ("paths = [\"/models/acme\"]".into(), false),
        ("paths = [\"/models/acme/llama/**\"]".into(), false),
        ("paths = [\"/Models/**\"]".into(), false),
        (format!("root-digests = [\"{root}\"]"), true),
        (format!("root-digests = [\"sha256:{root}\"]"), true),
        (format!("root-digests = [\"{other}\"]"), false),
        (
            format!("root-digests = [\"{root}\"]\nnames = [\"llama\"]"),
            true,
        ),
        (
            format!("root-digests = [\"{root}\"]\nnames = [\"x\"]"),
            false,
        ),
        (
            format!("root-digests = [\"{other}\"]\nnames = [\"llama\"]"),
            false,
        ),
    ] {
        let entry = key_entry("k", &public("p256-pub.pem"));
        let store = folder
            .load(&format!("{entry}\n[signers.k.models]\n{models}\n"))
            .unwrap();
        let found = who(&store, signed("p256-sec1.pem"));
        assert_eq!(found.is_ok(), allowed, "{models}");
        if let Err(error) = found {
            assert_eq!(
                error.to_string(),
                "signed by \"k\", who is not trusted for this model"
            );
        }
        // That doesn't hold back another signer with the same key.
        let both = format!(
            "{entry}[signers.k.models]\n{models}\n{}",
            key_entry("z", &public("p256-pub.pem"))
        );
        let store = folder.load(&both).unwrap();
        let expected = if allowed { "k" } else { "z" };
        assert_eq!(who(&store, signed("p256-sec1.pem")).unwrap(), expected);
    }
    // Paths that aren't the real one match no pattern.
    let entry = key_entry("k", &public("p256-pub.pem"));
    let store = folder
        .load(&format!(
            "{entry}\n[signers.k.models]\npaths = [\"/models/**\"]\n"
        ))
        .unwrap();
    for path in ["models/x", "/models/../etc/x", "/models/./x", ""] {
        let bundle = signed("p256-sec1.pem");
        let found = VerifiedManifest::verify_with_store(
            bundle,
            &store,
            Path::new(path),
            &ModelShape::Directory,
        );
        assert!(found.is_err(), "{path}");
    }
}

#[test]
fn what_is_malformed_is_refused_whole() {
    let folder = Folder::new();
    let key = public("p256-pub.pem");
    let good = key_entry("good", &key);
    assert!(folder.load(&good).is_ok());
    assert!(folder.load("").unwrap().is_empty());
    for (text, expected) in [
        ("x", "not a trust store: "),
        ("[signer.a]\n", "unknown field `signer`"),
        ("[signers.a]\nkey = \"x\"\n", "unknown field `key`"),
        (
            "[signers.a.models]\nname = [\"x\"]\n",
            "unknown field `name`",
        ),
        ("[signers.a]\n", "signer \"a\": exactly one of"),
        (
            "[signers.a]\nidentity = \"a\"\npublic-key = \"b\"\n",
            "signer \"a\": exactly one of",
        ),
        ("[signers.a]\nidentity = \"a\"\n", "are needed together"),
        (
            "[signers.a]\nidentity = \"\"\nidentity-provider = \"x\"\n",
            "signer \"a\": identity is empty",
        ),
        ("[signers.a]\npublic-key = \"\"\n", "is empty"),
        (
            "[signers.a]\npublic-key = \"none.pem\"\n",
            "none.pem: No such file",
        ),
        (
            "[signers.a]\npublic-key = \".\"\n",
            "it is not a regular file",
        ),
        (
            "[signers.a]\npublic-key = \"-----BEGIN x\"\n",
            "signer \"a\": the key file has",
        ),
        (
            "[signers.a]\ncertificates = []\n",
            "signer \"a\": the certificate file has no",
        ),
        ("[signers.\"a b\"]\n", "signer \"a b\": a name has at most"),
        ("[signers.\"\"]\n", "a name has at most"),
        ("[signers.-a]\n", "a name has at most"),
        ("[signers.\"a\\u001b\"]\n", "signer \"a\\u{1b}\": a name"),
        (
            "[signers.a]\nidentity = \"a\"\nidentity-provider = \"b\"\n[signers.a]\n",
            "not a trust store: ",
        ),
    ] {
        let error = folder
            .load(&format!("{good}{text}"))
            .unwrap_err()
            .to_string();
        assert!(error.contains(expected), "{text:?}: {error}");
        assert!(!error.contains('\u{1b}'));
    }
    for (models, expected) in [
        ("names = []", "models.names is empty"),
        ("names = [\"\"]", "an entry of models.names is empty"),
        ("paths = []", "models.paths is empty"),
        ("paths = [\"models/*\"]", "is not an absolute path"),
        ("paths = [\"/models/../*\"]", "is not an absolute path"),
        ("paths = [\"/models/\"]", "is not an absolute path"),
        ("paths = [\"/models/***\"]", "is not an absolute path"),
        ("root-digests = [\"ab\"]", "is not a SHA-256 digest"),
        ("root-digests = [\"blake3:ab\"]", "is not a SHA-256 digest"),
    ] {
        let error = folder
            .load(&format!("{good}[signers.good.models]\n{models}\n"))
            .unwrap_err()
            .to_string();
        assert!(error.contains(expected), "{models}: {error}");
    }
    let trusted_root = format!("{}trusted-root = \"x\"\n", key_entry("a", &key));
    assert!(folder.load(&trusted_root).is_err());
    assert!(matches!(
        folder.load(&" ".repeat(MAX_FILE + 1)),
        Err(Problem::File(FileRule::TooLarge { .. }))
    ));
    assert!(folder.load(&" ".repeat(MAX_FILE)).is_ok());
    let deep = format!("x = {}", "[".repeat(100_000));
    assert!(folder.load(&deep).is_err());
    let missing = TrustStore::load([folder.path("missing/trust.toml")]).unwrap();
    assert!(missing.is_empty());
}

#[test]
fn what_others_can_write_is_refused() {
    let folder = Folder::new();
    let text = "[signers.k]\npublic-key = \"d/key.pem\"\n";
    let key = folder.write("d/key.pem", public("p256-pub.pem"));
    let file = folder.write("trust.toml", text);
    let load = || TrustStore::load([&file]).map_err(|error| error.to_string());
    let set = |path: &Path, mode| fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
    load().unwrap();
    for (path, good, bad) in [
        (&file, 0o644, [0o646, 0o664, 0o666]),
        (&key, 0o600, [0o602, 0o620, 0o622]),
    ] {
        for mode in bad {
            set(path, mode);
            let error = load().unwrap_err();
            assert!(
                error.contains(&format!("by others than its owner (mode {mode:o})")),
                "{error}"
            );
        }
        set(path, good);
        load().unwrap();
    }
    for directory in [folder.path("d"), folder.0.path().to_owned()] {
        for mode in [0o777, 0o775, 0o757] {
            set(&directory, mode);
            let error = load().unwrap_err();
            assert!(
                error.contains("others can write in the directory"),
                "{error}"
            );
        }
        set(&directory, 0o1777);
        load().unwrap();
        set(&directory, 0o755);
    }

    // Links are followed, and both ends count.
    fs::create_dir(folder.path("open")).unwrap();
    let linked = folder.path("open/trust.toml");
    fs::create_dir_all(folder.path("open/d")).unwrap();
    fs::copy(&key, folder.path("open/d/key.pem")).unwrap();
    symlink(&file, &linked).unwrap();
    TrustStore::load([&linked]).unwrap();
    set(&folder.path("open"), 0o777);
    assert!(TrustStore::load([&linked]).is_err());
    set(&folder.path("open"), 0o755);

    if have(Need::Root) {
        chown(&file, Some(12345), None).unwrap();
        let error = load().unwrap_err();
        assert!(
            error.contains("it belongs to user 12345, neither root nor"),
            "{error}"
        );
        chown(&file, Some(0), None).unwrap();
        chown(folder.path("d"), Some(12345), None).unwrap();
        assert!(
            load()
                .unwrap_err()
                .contains("others can write in the directory")
        );
    }
}

#[test]
fn the_first_file_hides_names_of_the_second() {
    let folder = Folder::new();
    let user = folder.write("user.toml", key_entry("k", &public("p256-pub.pem")));
    let system = folder.write(
        "system.toml",
        key_entry("k", &public("p384-pub.pem")) + &key_entry("s", &public("p521-pub.pem")),
    );
    let store = TrustStore::load([&user, &system]).unwrap();
    assert_eq!(who(&store, signed("p256-sec1.pem")).unwrap(), "k");
    assert!(who(&store, signed("p384-sec1.pem")).is_err());
    assert_eq!(who(&store, signed("p521-sec1.pem")).unwrap(), "s");
    let files: Vec<_> = store
        .signers()
        .map(|signer| signer.file().to_owned())
        .collect();
    assert_eq!(files, [user, system]);
}

#[test]
fn where_the_users_file_lies() {
    let at = |config: Option<&str>, home: Option<&str>| {
        TrustStore::user_file(config.map(Path::new), home.map(Path::new))
    };
    let path = |text: &str| Some(PathBuf::from(text));
    assert_eq!(at(Some("/c"), Some("/h")), path("/c/model-fs/trust.toml"));
    assert_eq!(
        at(Some("c"), Some("/h")),
        path("/h/.config/model-fs/trust.toml")
    );
    assert_eq!(
        at(Some(""), Some("/h")),
        path("/h/.config/model-fs/trust.toml")
    );
    assert_eq!(at(None, None), None);
    assert_eq!(at(None, Some("h")), None);
}

fn new(name: &str, identity: NewIdentity) -> NewSigner {
    NewSigner {
        name: SignerName::new(name).unwrap(),
        identity,
        names: Vec::new(),
        paths: Vec::new(),
        payload_digests: Vec::new(),
        root_digests: Vec::new(),
    }
}

fn certificate(files: Vec<Vec<u8>>, valid_at: Option<ValidAt>) -> NewIdentity {
    NewIdentity::Certificate { files, valid_at }
}

#[test]
fn add_and_remove_keep_the_rest() {
    let folder = Folder::new();
    let path = folder.path("config/model-fs/trust.toml");
    let mut file = TrustFile::open(&path).unwrap();
    // A file with both halves: only the public one is copied.
    let both = [data("p256-sec1.pem"), data("p256-pub.pem")].concat();
    let mut signer = new("k", NewIdentity::Key(both));
    signer.names = vec!["llama".into()];
    signer.paths = vec!["/models/**".into()];
    signer.root_digests = vec![manifest("llama").root_digest()];
    file.add(&signer).unwrap();
    file.save().unwrap();
    let text = fs::read_to_string(&path).unwrap();
    assert!(!text.contains("PRIVATE"), "{text}");
    assert_eq!(
        fs::metadata(&path).unwrap().permissions().mode() & 0o777,
        0o644
    );
    let store = TrustStore::load([&path]).unwrap();
    assert_eq!(who(&store, signed("p256-sec1.pem")).unwrap(), "k");

    fs::write(&path, format!("# mine, by hand\n{text}\n# the end\n")).unwrap();
    let root = Key::new(Scheme::P256(256));
    let certificates = pem_file([&Spec::root("root", &root).der()[..]]);
    let private = root.pkcs8_pem();
    // The trusted root of any instance will do: it is read, but nothing is verified with it here.
    let json = folder.write(
        "root.json",
        sigstore_verify::trust_root::SIGSTORE_PRODUCTION_TRUSTED_ROOT,
    );
    let mut file = TrustFile::open(&path).unwrap();
    let certificates = vec![
        certificates.clone().into(),
        (private + &certificates).into(),
    ];
    file.add(&new("ca", certificate(certificates, None)))
        .unwrap();
    let sigstore = |trusted_root| NewIdentity::Sigstore {
        identity: "alice@\"acme\"".into(),
        identity_provider: "https://x".into(),
        trusted_root,
    };
    file.add(&new("alice", sigstore(Some(json.clone()))))
        .unwrap();
    let error = file.add(&new("k", sigstore(None))).unwrap_err();
    assert!(matches!(error.problem, Problem::Exists(_)));
    let error = file
        .add(&new("bob", sigstore(Some("x".into()))))
        .unwrap_err();
    assert!(matches!(
        error.problem,
        Problem::Signer {
            rule: SignerRule::Path(_),
            ..
        }
    ));
    let error = file
        .add(&new("bob", NewIdentity::Key(b"".to_vec())))
        .unwrap_err();
    assert!(matches!(
        error.problem,
        Problem::Signer {
            rule: SignerRule::Key(_),
            ..
        }
    ));
    let mut limited = new("bob", sigstore(None));
    limited.paths = vec!["relative".into()];
    assert!(file.add(&limited).is_err());
    file.save().unwrap();

    let text = fs::read_to_string(&path).unwrap();
    assert!(
        text.contains("# mine, by hand") && text.contains("# the end"),
        "{text}"
    );
    assert!(!text.contains("PRIVATE") && !text.contains("bob"));
    let store = TrustStore::load([&path]).unwrap();
    let signers: Vec<_> = store.signers().collect();
    assert_eq!(signers.len(), 3);
    let Trust::Sigstore { identity, .. } = signers[0].trust() else {
        panic!()
    };
    assert_eq!(identity, "alice@\"acme\"");
    assert_eq!(signers[0].trusted_root_file().unwrap(), json);
    assert!(signers[1].limits().is_unlimited());
    assert_eq!(signers[2].limits().names().unwrap(), ["llama"]);

    let mut file = TrustFile::open(&path).unwrap();
    file.remove(&SignerName::new("k").unwrap()).unwrap();
    let error = file.remove(&SignerName::new("k").unwrap()).unwrap_err();
    assert!(matches!(error.problem, Problem::Unknown(_)));
    // Nothing changes on disk before `save`.
    assert_eq!(TrustStore::load([&path]).unwrap().signers().count(), 3);
    file.save().unwrap();
    assert_eq!(TrustStore::load([&path]).unwrap().signers().count(), 2);
    assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1);
}

#[test]
fn a_link_to_the_file_stays_a_link() {
    let folder = Folder::new();
    let real = folder.write("real/trust.toml", "");
    let link = folder.path("trust.toml");
    symlink(&real, &link).unwrap();
    let mut file = TrustFile::open(&link).unwrap();
    file.add(&new("k", NewIdentity::Key(data("p256-pub.pem"))))
        .unwrap();
    file.save().unwrap();
    assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
    assert_eq!(TrustStore::load([&real]).unwrap().signers().count(), 1);
}

#[test]
fn changes_at_once_are_all_made() {
    let folder = Folder::new();
    let path = folder.path("trust.toml");
    let barrier = Arc::new(Barrier::new(8));
    let threads: Vec<_> = (0..8)
        .map(|index| {
            let (path, barrier) = (path.clone(), barrier.clone());
            thread::spawn(move || {
                barrier.wait();
                let mut file = TrustFile::open(&path).unwrap();
                let key = NewIdentity::Key(data("p256-pub.pem"));
                file.add(&new(&format!("k{index}"), key)).unwrap();
                file.save().unwrap();
            })
        })
        .collect();
    for thread in threads {
        thread.join().unwrap();
    }
    assert_eq!(TrustStore::load([&path]).unwrap().signers().count(), 8);
}

#[test]
fn what_cannot_be_relied_on_is_not_changed() {
    let folder = Folder::new();
    let path = folder.write("trust.toml", "not TOML");
    assert!(TrustFile::open(&path).is_err());
    fs::write(&path, "").unwrap();
    fs::set_permissions(&path, Permissions::from_mode(0o666)).unwrap();
    assert!(TrustFile::open(&path).is_err());
}

fn digest_of_payload(bundle: &[u8]) -> String {
    let trust = Trust::Key(private("p256-sec1.pem").public_key().clone());
    VerifiedManifest::verify(bundle, &trust, &ModelShape::Directory)
        .unwrap()
        .payload_digest()
        .to_hex()
}

/// The same contents under another name: a root digest doesn't notice, the payload digest does.
#[test]
fn a_pin_by_payload_covers_names() {
    let folder = Folder::new();
    let sign = |file: &str| {
        let files = vec![ManifestFile {
            name: FileName::new(file).unwrap(),
            content: SignedContent::Whole(Algorithm::Blake3.hash(b"weights").into()),
        }];
        let description = Description {
            subject_name: "llama".into(),
            shape: ModelShape::Directory,
            serialization: Serialization::files(Algorithm::Blake3),
            allow_symlinks: false,
            ignore_paths: Vec::new(),
        };
        let manifest = Manifest::new(description, files).unwrap();
        let key = private("p256-sec1.pem");
        let bundle = manifest.sign(&key, Compat::Specification).unwrap();
        (manifest.root_digest().to_hex(), bundle)
    };
    let (root, vetted) = sign("notes.txt");
    let (same_root, renamed) = sign("modeling_llama.py");
    assert_eq!(root, same_root);
    let payload = digest_of_payload(&vetted);
    assert_ne!(payload, digest_of_payload(&renamed));
    // The payload digest is of the decoded bytes, so a bundle that encodes them differently has the
    // same one.
    let claims = UnverifiedManifest::parse_without_verifying(vetted.clone()).unwrap();
    assert_eq!(claims.payload_digest().to_hex(), payload);

    let entry = key_entry("k", &public("p256-pub.pem"));
    for (models, of_the_vetted, of_the_renamed) in [
        (format!("root-digests = [\"{root}\"]"), true, true),
        (format!("payload-digests = [\"{payload}\"]"), true, false),
        (
            format!("payload-digests = [\"sha256:{payload}\"]"),
            true,
            false,
        ),
        (format!("payload-digests = [\"{root}\"]"), false, false),
        (
            format!("payload-digests = [\"{root}\", \"{payload}\"]"),
            true,
            false,
        ),
        (
            format!("payload-digests = [\"{payload}\"]\nroot-digests = [\"{payload}\"]"),
            false,
            false,
        ),
        (
            format!("payload-digests = [\"{payload}\"]\nroot-digests = [\"{root}\"]"),
            true,
            false,
        ),
    ] {
        let store = folder
            .load(&format!("{entry}\n[signers.k.models]\n{models}\n"))
            .unwrap();
        assert_eq!(
            who(&store, vetted.clone()).is_ok(),
            of_the_vetted,
            "{models}"
        );
        assert_eq!(
            who(&store, renamed.clone()).is_ok(),
            of_the_renamed,
            "{models}"
        );
    }
    for (models, expected) in [
        ("payload-digests = []", "models.payload-digests is empty"),
        (
            "payload-digests = [\"ab\"]",
            "models.payload-digests: \"ab\" is not",
        ),
        (
            "payload-digest = [\"ab\"]",
            "unknown field `payload-digest`",
        ),
    ] {
        let error = folder
            .load(&format!("{entry}\n[signers.k.models]\n{models}\n"))
            .unwrap_err()
            .to_string();
        assert!(error.contains(expected), "{error}");
    }
}

#[test]
fn a_distrusted_name_hides_later_ones_and_says_nothing_else() {
    let folder = Folder::new();
    let user = folder.write("user.toml", "[signers.k]\ndistrusted = true\n");
    let system = folder.write(
        "system.toml",
        key_entry("k", &public("p256-pub.pem")) + &key_entry("s", &public("p384-pub.pem")),
    );
    let store = TrustStore::load([&user, &system]).unwrap();
    assert!(who(&store, signed("p256-sec1.pem")).is_err());
    assert_eq!(who(&store, signed("p384-sec1.pem")).unwrap(), "s");
    assert_eq!(store.distrusted()[0].name.as_str(), "k");
    let [hidden] = store.hidden() else { panic!() };
    assert_eq!(hidden.signer.name().as_str(), "k");
    assert_eq!((hidden.signer.file(), &*hidden.by), (&*system, &*user));
    // A signer that is trusted by an earlier file isn't distrusted by a later one.
    let store = TrustStore::load([&system, &user]).unwrap();
    assert_eq!(who(&store, signed("p256-sec1.pem")).unwrap(), "k");

    for (text, expected) in [
        (
            "distrusted = true\npublic-key = \"x\"",
            "goes with nothing else",
        ),
        (
            "distrusted = true\n[signers.k.models]\nnames = [\"x\"]",
            "goes with nothing else",
        ),
        ("distrusted = false", "exactly one of"),
        ("distrusted = \"yes\"", "invalid type"),
    ] {
        let error = folder.load(&format!("[signers.k]\n{text}\n")).unwrap_err();
        assert!(error.to_string().contains(expected), "{error}");
    }
}

/// A link in the middle of the path, at any depth: its directory and its owner count too.
#[test]
fn every_directory_and_link_on_the_way_counts() {
    let folder = Folder::new();
    let set = |path: &Path, mode| fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
    // trust.toml -> one/trust.toml -> two/link/trust.toml, where link -> ../three
    for name in ["one", "two", "three", "three/sub"] {
        fs::create_dir(folder.path(name)).unwrap();
    }
    folder.write(
        "three/trust.toml",
        "[signers.k]\npublic-key = \"sub/../key.pem\"\n",
    );
    folder.write("three/key.pem", public("p256-pub.pem"));
    symlink("one/trust.toml", folder.path("trust.toml")).unwrap();
    symlink("../two/./link/trust.toml", folder.path("one/trust.toml")).unwrap();
    symlink(folder.path("three"), folder.path("two/link")).unwrap();
    let load = || TrustStore::load([folder.path("trust.toml")]).map_err(|e| e.to_string());
    assert_eq!(who(&load().unwrap(), signed("p256-sec1.pem")).unwrap(), "k");
    for directory in ["one", "two", "three", "three/sub"] {
        set(&folder.path(directory), 0o777);
        let error = load().unwrap_err();
        let named = format!(
            "others can write in the directory \"{}",
            folder.path(directory).display()
        );
        assert!(error.contains(&named), "{error}");
        // In a directory with the sticky bit, other users can't replace our files.
        set(&folder.path(directory), 0o1777);
        load().unwrap();
        set(&folder.path(directory), 0o755);
    }
    load().unwrap();
    if have(Need::Root) {
        for link in ["trust.toml", "one/trust.toml", "two/link"] {
            std::os::unix::fs::lchown(folder.path(link), Some(12345), None).unwrap();
            let error = load().unwrap_err();
            assert!(
                error.contains(&format!("{link}\" on the way to it belongs to user 12345")),
                "{error}"
            );
            std::os::unix::fs::lchown(folder.path(link), Some(0), None).unwrap();
        }
        chown(folder.path("two"), Some(12345), None).unwrap();
        assert!(load().unwrap_err().contains("(user 12345, mode 755)"));
        chown(folder.path("two"), Some(0), None).unwrap();
        load().unwrap();
    }
}

#[test]
fn what_leads_nowhere_or_is_no_file() {
    let folder = Folder::new();
    let load = |name: &str| TrustStore::load([folder.path(name)]).map_err(|e| e.to_string());
    symlink("loop", folder.path("loop")).unwrap();
    assert!(load("loop").unwrap_err().contains("symbolic links"));
    folder.write("l0", "");
    for index in 1..=41 {
        symlink(format!("l{}", index - 1), folder.path(&format!("l{index}"))).unwrap();
    }
    load("l40").unwrap();
    assert!(load("l41").unwrap_err().contains("symbolic links"));
    // A missing file counts as empty, even where the way to it is unsafe; a file that exists
    // doesn't.
    symlink("gone", folder.path("dangling")).unwrap();
    assert!(load("dangling").unwrap().is_empty());
    fs::create_dir(folder.path("open")).unwrap();
    fs::set_permissions(folder.path("open"), Permissions::from_mode(0o777)).unwrap();
    assert!(load("open/trust.toml").unwrap().is_empty());
    folder.write("open/trust.toml", "");
    assert!(load("open/trust.toml").is_err());
    assert!(
        load("l0/trust.toml")
            .unwrap_err()
            .contains("Not a directory")
    );
    assert!(load("open").unwrap_err().contains("not a regular file"));
    // A pipe is refused without waiting for its other end, and no device is opened.
    rustix::fs::mknodat(
        rustix::fs::CWD,
        folder.path("pipe"),
        rustix::fs::FileType::Fifo,
        rustix::fs::Mode::from_raw_mode(0o644),
        0,
    )
    .unwrap();
    assert!(load("pipe").unwrap_err().contains("not a regular file"));
    let error = TrustStore::load(["/dev/tty"]).unwrap_err();
    assert!(error.to_string().contains("not a regular file"), "{error}");
}

/// One rule for reading and for changing: relative to where the file really lies.
#[test]
fn what_a_linked_file_names_is_beside_the_file() {
    let folder = Folder::new();
    let real = folder.write("real/trust.toml", "[signers.k]\npublic-key = \"key.pem\"\n");
    folder.write("real/key.pem", public("p256-pub.pem"));
    folder.write("link/key.pem", public("p384-pub.pem"));
    let link = folder.path("link/trust.toml");
    symlink(&real, &link).unwrap();
    let store = TrustStore::load([&link]).unwrap();
    assert_eq!(who(&store, signed("p256-sec1.pem")).unwrap(), "k");
    assert!(who(&store, signed("p384-sec1.pem")).is_err());
    assert_eq!(store.signers().next().unwrap().file(), link);
    fs::remove_file(folder.path("link/key.pem")).unwrap();
    let mut file = TrustFile::open(&link).unwrap();
    file.add(&new("other", NewIdentity::Key(data("p521-pub.pem"))))
        .unwrap();
    file.save().unwrap();
    fs::remove_file(folder.path("real/key.pem")).unwrap();
    assert!(TrustStore::load([&link]).is_err());
    assert!(TrustFile::open(&link).is_err());
}

#[test]
fn a_changed_file_keeps_its_mode_and_owner() {
    let folder = Folder::new();
    let path = folder.write("trust.toml", "");
    let is_root = have(Need::Root);
    for (index, mode) in [0o600, 0o400, 0o640, 0o644, 0o755].into_iter().enumerate() {
        fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
        if is_root {
            chown(&path, Some(0), Some(12345)).unwrap();
            fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
        }
        let mut file = TrustFile::open(&path).unwrap();
        file.add(&new(
            &format!("k{index}"),
            NewIdentity::Key(data("p256-pub.pem")),
        ))
        .unwrap();
        file.save().unwrap();
        let metadata = fs::metadata(&path).unwrap();
        assert_eq!(metadata.permissions().mode() & 0o7777, mode);
        if is_root {
            assert_eq!(metadata.gid(), 12345);
        }
    }
    assert_eq!(TrustStore::load([&path]).unwrap().signers().count(), 5);
}

/// Three levels, each valid for a time of its own, in seconds from now.
struct Levels {
    root: String,
    bundle: Vec<u8>,
}

impl Levels {
    fn new(times: [(i64, i64); 3]) -> Self {
        Self::with(times, |_, _| {})
    }

    fn with(times: [(i64, i64); 3], change: impl Fn(usize, &mut Spec<'_>)) -> Self {
        let [root, ca, leaf] = [(); 3].map(|()| Key::new(Scheme::P256(256)));
        let specs = [
            Spec::root("root", &root),
            Spec::authority("ca", &ca, "root", &root),
            Spec::leaf("signer", &leaf, "ca", &ca),
        ];
        // No certificate is signed with that isn't valid: it is signed before time goes by.
        let before = pem_file([&specs[2].der()[..]]);
        let before = SigningCertificate::from_pem(before.as_bytes(), [""; 0]).unwrap();
        let key = PrivateKey::from_pem(leaf.pkcs8_pem().as_bytes(), None).unwrap();
        let signing = Signing::Certificate(&key, &before);
        let signed = manifest("llama").sign(signing, Compat::Specification);
        let mut ders = specs.into_iter().enumerate().map(|(index, spec)| {
            let mut spec = spec.but(|spec| spec.valid = times[index]);
            change(index, &mut spec);
            spec.der()
        });
        let [root, ca, leaf] = [(); 3].map(|()| ders.next().unwrap());
        Self {
            root: pem_file([&root[..]]),
            bundle: with_chain(&signed.unwrap(), &[&leaf, &ca]),
        }
    }

    /// An entry for the root, with what else it says.
    fn entry(&self, more: &str) -> String {
        format!(
            "[signers.acme]\ncertificates = ['''\n{}''']\n{more}\n",
            self.root
        )
    }

    fn verify(&self, folder: &Folder, more: &str) -> Result<CertificateTime, VerifyWithStoreError> {
        let store = folder.load(&self.entry(more)).unwrap();
        let bundle = self.bundle.clone();
        let model = Path::new(MODEL);
        let (verified, _) =
            VerifiedManifest::verify_with_store(bundle, &store, model, &ModelShape::Directory)?;
        let Signer::Certificate { time, .. } = verified.signer() else {
            panic!("{:?}", verified.signer());
        };
        Ok(time.clone())
    }

    /// Why the signer doesn't vouch for it.
    fn refused(&self, folder: &Folder, more: &str) -> VerifyError {
        match self.verify(folder, more) {
            Err(VerifyWithStoreError::Nobody { refused, .. }) => refused[0].1.clone(),
            other => panic!("{other:?}"),
        }
    }

    fn payload_digest(&self) -> String {
        let claims = UnverifiedManifest::parse_without_verifying(self.bundle.clone()).unwrap();
        claims.payload_digest().to_hex()
    }
}

const VALID: (i64, i64) = (-30 * DAY, 30 * DAY);
const EXPIRED: (i64, i64) = (-20 * DAY, -10 * DAY);
const EARLY: (i64, i64) = (10 * DAY, 20 * DAY);

fn is_untimely(error: &VerifyError) -> bool {
    matches!(error, VerifyError::Path(PathError::Untimely(_)))
}

/// Of each level: what has expired, or isn't valid yet, fails, and the message says which, from
/// when to when, and what was judged.
#[test]
fn certificates_that_are_out_of_date_are_named() {
    let folder = Folder::new();
    let valid = Levels::new([VALID; 3]);
    assert_eq!(valid.verify(&folder, "").unwrap(), CertificateTime::Now);
    for (level, subject) in ["CN=root", "CN=ca", "CN=signer"].into_iter().enumerate() {
        for (time, fault) in [(EXPIRED, "has expired"), (EARLY, "is not valid yet")] {
            let mut times = [VALID; 3];
            times[level] = time;
            let levels = Levels::new(times);
            let error = levels.refused(&folder, "");
            assert!(is_untimely(&error));
            let said = error.to_string();
            let expected = format!(
                "the signer's certificate is not trusted: certificate \"{subject}\" {fault}: it is \
                 valid from {} to {}, and now it is ",
                moment(time.0),
                moment(time.1)
            );
            assert!(said.starts_with(&expected), "{said}");
            let VerifyError::Path(PathError::Untimely(untimely)) = error else {
                panic!()
            };
            let together = format!("{} to {}", moment(time.0), moment(time.1));
            assert_eq!(untimely.together.unwrap().to_string(), together);
            assert_eq!(untimely.is_early, time == EARLY);
        }
    }
}

/// All certificates are judged at `valid-at`, and at no other moment: at both ends of what they
/// have in common, and beyond.
#[test]
fn a_moment_of_the_past_takes_the_place_of_now() {
    let folder = Folder::new();
    let at = |offset: i64| format!("valid-at = \"{}\"", moment(offset));
    // Together from the leaf's first moment to the authority's last.
    let levels = Levels::new([
        (-90 * DAY, -40 * DAY),
        (-80 * DAY, -50 * DAY),
        (-70 * DAY, -45 * DAY),
    ]);
    for (offset, fault) in [
        (-70 * DAY - 1, Some("\"CN=signer\" was not valid yet: ")),
        (-70 * DAY, None),
        (-60 * DAY, None),
        (-50 * DAY, None),
        (-50 * DAY + 1, Some("\"CN=ca\" had expired: ")),
        (-42 * DAY, Some("\"CN=signer\" had expired: ")),
        (-100 * DAY, Some("\"CN=signer\" was not valid yet: ")),
        (0, Some("\"CN=signer\" had expired: ")),
    ] {
        match fault {
            None => {
                let time = levels.verify(&folder, &at(offset)).unwrap();
                let chosen: ValidAt = moment(offset).parse().unwrap();
                assert_eq!(time, CertificateTime::At(chosen.to_string()));
            }
            Some(fault) => {
                let error = levels.refused(&folder, &at(offset));
                assert!(is_untimely(&error));
                let said = error.to_string();
                assert!(said.contains(fault), "{offset}: {said}");
                let chosen: ValidAt = moment(offset).parse().unwrap();
                let judged = format!(", and judged at {chosen} (valid-at)");
                assert!(said.ends_with(&judged), "{said}");
            }
        }
    }
    // What is valid now and wasn't then.
    let fresh = Levels::new([VALID, VALID, (-DAY, DAY)]);
    let error = fresh.refused(&folder, &at(-2 * DAY));
    assert!(error.to_string().contains("was not valid yet"), "{error}");
    assert!(fresh.verify(&folder, &at(-DAY)).is_ok());
    // Of no moment in common there is none to choose, and the error says so.
    let apart = Levels::new([VALID, (-90 * DAY, -80 * DAY), (-70 * DAY, -60 * DAY)]);
    for more in [String::new(), at(-85 * DAY), at(-75 * DAY), at(-65 * DAY)] {
        let error = apart.refused(&folder, &more);
        assert!(is_untimely(&error));
        let said = error.to_string();
        assert!(
            said.ends_with("; its path was never valid as a whole"),
            "{said}"
        );
    }
}

/// A date is its first second in UTC; TOML's own dates are read as texts are.
#[test]
fn a_moment_is_written_as_rfc_3339_has_it() {
    let folder = Folder::new();
    let levels = Levels::new([(-400 * DAY, -DAY); 3]);
    let when = |more: &str| {
        let store = folder.load(&levels.entry(more))?;
        let Some(Trust::Certificate { when, .. }) =
            store.signers().next().map(TrustedSigner::trust)
        else {
            panic!()
        };
        Ok::<_, Problem>(when.clone())
    };
    assert_eq!(when("").unwrap(), When::Now);
    let midnight = When::At("2025-05-01".parse().unwrap());
    for same in [
        "\"2025-05-01\"",
        "2025-05-01",
        "2025-05-01T00:00:00Z",
        "\"2025-05-01T02:00:00+02:00\"",
        "2025-05-01 02:00:00+02:00",
    ] {
        assert_eq!(when(&format!("valid-at = {same}")).unwrap(), midnight);
    }
    // TOML leaves the seconds out where it likes.
    for short in ["2025-05-01T12:00Z", "\"2025-05-01T12:00Z\""] {
        let error = when(&format!("valid-at = {short}"))
            .unwrap_err()
            .to_string();
        assert!(error.contains("it is neither a date"), "{short}: {error}");
    }
    let noon = When::At("2025-05-01T12:00:00Z".parse().unwrap());
    assert_eq!(when("valid-at = 2025-05-01T12:00:00.5Z").unwrap(), noon);
    for (value, expected) in [
        ("\"\"", "valid-at: \"\": it is neither a date"),
        ("\"today\"", "it is neither a date"),
        ("\"2025-02-30\"", "it is neither a date"),
        ("\"01.05.2025\"", "it is neither a date"),
        ("\"\\u001b[2J\"", "valid-at: \"\\u{1b}[2J\": it is neither"),
        ("\"2025-05-01T12:00:00\"", "has no offset from UTC"),
        ("2025-05-01T12:00:00", "has no offset from UTC"),
        ("12:00:00", "it is neither a date"),
        ("1969-12-31", "before 1970"),
        (
            "\"9999-01-01\"",
            "valid-at: \"9999-01-01\": it lies in the future",
        ),
        ("9999-01-01", "it lies in the future"),
        ("20250501", "expected a date, or a date and time"),
        ("true", "expected a date, or a date and time"),
        ("[\"2025-05-01\"]", "expected a date, or a date and time"),
        (
            "{ \"$__toml_private_datetime\" = \"2025-05-01\" }",
            "no member can be called \"$__toml_private_datetime\"",
        ),
        (
            "{ date = \"2025-05-01\" }",
            "expected a date, or a date and time",
        ),
    ] {
        let error = when(&format!("valid-at = {value}"))
            .unwrap_err()
            .to_string();
        assert!(error.contains(expected), "{value}: {error}");
        assert!(!error.contains('\u{1b}'));
    }
    let tomorrow = format!("valid-at = {}", moment(DAY));
    assert!(when(&tomorrow).unwrap_err().to_string().contains("future"));
    // Only certificates are judged at a moment.
    for other in [
        key_entry("k", &public("p256-pub.pem")),
        "[signers.k]\nidentity = \"a\"\nidentity-provider = \"b\"\n".to_owned(),
        "[signers.k]\n".to_owned(),
    ] {
        let error = folder.load(&(other + "valid-at = 2025-05-01\n"));
        let error = error.unwrap_err().to_string();
        assert!(
            error.contains("valid-at goes with certificates only"),
            "{error}"
        );
    }
    let distrusted = "[signers.k]\ndistrusted = true\nvalid-at = 2025-05-01\n";
    let error = folder.load(distrusted).unwrap_err().to_string();
    assert!(error.contains("goes with nothing else"), "{error}");
    assert!(when("valid_at = 2025-05-01").is_err());
}

/// Who has named the very payload has said more than a certificate can: then time doesn't count,
/// of any of the certificates, and everything else does.
#[test]
fn a_pinned_payload_waives_time_and_nothing_else() {
    let folder = Folder::new();
    let pinned =
        |digests: &[&str]| format!("[signers.acme.models]\npayload-digests = {digests:?}\n");
    let payload = Levels::new([VALID; 3]).payload_digest();
    let mut other = payload.clone();
    let flipped = if other.starts_with('0') { "1" } else { "0" };
    other.replace_range(..1, flipped);
    let root = manifest("llama").root_digest().to_hex();

    for times in [
        [VALID, VALID, EXPIRED],
        [VALID, EXPIRED, VALID],
        [EXPIRED, VALID, VALID],
        [EXPIRED; 3],
        [VALID, VALID, EARLY],
        [
            (-30 * DAY, -15 * DAY),
            (-20 * DAY, -10 * DAY),
            (-15 * DAY, -5 * DAY),
        ],
    ] {
        let levels = Levels::new(times);
        assert_eq!(levels.payload_digest(), payload);
        assert!(is_untimely(&levels.refused(&folder, "")));
        for pins in [&[&payload[..]][..], &[&other, &payload]] {
            let time = levels.verify(&folder, &pinned(pins)).unwrap();
            assert_eq!(time, CertificateTime::Pinned);
        }
        // Another payload is pinned; or none, and its root digest is; or a pin of another signer.
        assert!(is_untimely(&levels.refused(&folder, &pinned(&[&other]))));
        for more in [
            format!("[signers.acme.models]\nroot-digests = [\"{root}\", \"{payload}\"]\n"),
            "[signers.acme.models]\nnames = [\"llama\"]\n".to_owned(),
            format!(
                "[signers.z]\nidentity = \"a\"\nidentity-provider = \"b\"\n\
                 [signers.z.models]\npayload-digests = [\"{payload}\"]\n"
            ),
        ] {
            assert!(is_untimely(&levels.refused(&folder, &more)), "{more}");
        }
        // The other limits still are limits.
        let elsewhere = pinned(&[&payload]) + "paths = [\"/elsewhere/**\"]\n";
        assert!(matches!(
            levels.verify(&folder, &elsewhere),
            Err(VerifyWithStoreError::OtherModels { .. })
        ));
        // A moment that is chosen is the only one.
        let both = format!(
            "valid-at = \"{}\"\n{}",
            moment(-60 * DAY),
            pinned(&[&payload])
        );
        assert!(is_untimely(&levels.refused(&folder, &both)));
        let both = format!(
            "valid-at = \"{}\"\n{}",
            moment(-15 * DAY),
            pinned(&[&other])
        );
        assert!(levels.verify(&folder, &both).is_err());
    }
    // What is valid needs no waiver.
    let valid = Levels::new([VALID; 3]);
    let time = valid.verify(&folder, &pinned(&[&payload])).unwrap();
    assert_eq!(time, CertificateTime::Now);

    // Certificates that never were valid together; that are wrong otherwise; of another root.
    let apart = Levels::new([VALID, (-90 * DAY, -80 * DAY), (-70 * DAY, -60 * DAY)]);
    let backwards = Levels::new([VALID, VALID, (-10 * DAY, -20 * DAY)]);
    let wrong = |level: usize, change: fn(&mut Spec<'_>)| {
        Levels::with([VALID, VALID, EXPIRED], move |index, spec| {
            if index == level {
                change(spec);
            }
        })
    };
    let expired = || Levels::new([VALID, VALID, EXPIRED]);
    let strange = Levels {
        root: expired().root,
        ..expired()
    };
    for (never, expected) in [
        (apart, "\"CN=signer\" has expired: it is valid from "),
        (
            backwards,
            "\"CN=signer\" is valid at no time: its last moment, ",
        ),
    ] {
        // It is said in the same words, pinned or not: a pin can't help.
        for more in [String::new(), pinned(&[&payload])] {
            let error = never.refused(&folder, &more);
            assert!(is_untimely(&error));
            let said = error.to_string();
            assert!(said.contains(expected), "{said}");
            assert!(
                said.ends_with("; its path was never valid as a whole"),
                "{said}"
            );
        }
    }
    for (levels, expected) in [
        (
            wrong(2, |spec| spec.flip_signature = true),
            "was not signed by",
        ),
        (
            wrong(1, |spec| spec.flip_signature = true),
            "was not signed by",
        ),
        (
            wrong(1, |spec| spec.ca = Some(false)),
            "not a certificate authority",
        ),
        (wrong(0, |spec| spec.path_len = Some(0)), "path length"),
        (wrong(2, |spec| spec.key_usage = None), "is not for signing"),
        (
            wrong(2, |spec| {
                spec.extended_key_usage = Some((false, "1.3.6.1.5.5.7.3.1"));
            }),
            "does not include codeSigning",
        ),
        (
            wrong(1, |spec| spec.extra = vec![("1.2.3.4", true, vec![5, 0])]),
            "critical extension 1.2.3.4",
        ),
        (strange, "was not signed by"),
    ] {
        // That it has expired too isn't said: nothing that waives time would help.
        for more in [String::new(), pinned(&[&payload])] {
            let error = levels.refused(&folder, &more);
            assert!(!is_untimely(&error));
            assert!(error.to_string().contains(expected), "{expected}: {error}");
        }
    }

    // The right certificates, expired, and a signature by another key, or over another payload.
    let levels = expired();
    let mut forged: serde_json::Value = serde_json::from_slice(&levels.bundle).unwrap();
    let theirs: serde_json::Value = serde_json::from_slice(&expired().bundle).unwrap();
    forged["dsseEnvelope"] = theirs["dsseEnvelope"].clone();
    let forged = Levels {
        root: levels.root,
        bundle: forged.to_string().into_bytes(),
    };
    for more in [String::new(), pinned(&[&payload])] {
        assert_eq!(forged.refused(&folder, &more), VerifyError::Signature);
    }
}

#[test]
fn a_moment_is_added_and_read_back() {
    let folder = Folder::new();
    let path = folder.path("trust.toml");
    let levels = Levels::new([EXPIRED; 3]);
    let files = vec![levels.root.clone().into_bytes()];
    let chosen: ValidAt = moment(-15 * DAY).parse().unwrap();
    let mut file = TrustFile::open(&path).unwrap();
    file.add(&new("acme", certificate(files, Some(chosen))))
        .unwrap();
    file.save().unwrap();
    let text = fs::read_to_string(&path).unwrap();
    assert!(
        text.contains(&format!("valid-at = \"{chosen}\"\n")),
        "{text}"
    );
    let store = TrustStore::load([&path]).unwrap();
    assert_eq!(who(&store, levels.bundle.clone()).unwrap(), "acme");
    // Whoever verifies with the signer alone, without a store, does so at that moment too.
    let trust = store.signers().next().unwrap().trust();
    VerifiedManifest::verify(levels.bundle, trust, &ModelShape::Directory).unwrap();
}
