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
use model_fs::oms::key::PrivateKey;
use model_fs::oms::sign::{Compat, Signing, SigningCertificate};
use model_fs::oms::trust::Trust;
use model_fs::oms::trust_store::{
    FileRule, MAX_FILE, NewIdentity, NewSigner, Problem, SignerName, SignerRule, TrustFile,
    TrustStore,
};
use test_support::keys;
use test_support::missing::{Need, have};
use test_support::pki::{Key, Scheme, Spec, pem_file};

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
        .map(|(_, name)| name.to_string())
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
        format!("signed by nobody trusted: the bundle names key {hint}")
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
    file.add(&new("ca", NewIdentity::Certificate(certificates)))
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
