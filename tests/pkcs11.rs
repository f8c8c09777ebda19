//! `sign --pkcs11-uri` with the keys of a `SoftHSM` token, through the real command line.
//!
//! Needs `SoftHSM` 2 (Debian's package `softhsm2`). Its absence is a failure with a message. Each
//! test has tokens of its own; only child processes learn where those are (`SOFTHSM2_CONF`). The
//! reference implementation takes part too, see `tests/interop`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use cryptoki::context::{CInitializeArgs, CInitializeFlags, Pkcs11};
use cryptoki::mechanism::Mechanism;
use cryptoki::object::{Attribute, AttributeType, KeyType, ObjectClass};
use cryptoki::session::{Session, UserType};
use cryptoki::types::RawAuthPin;
use tempfile::TempDir;
use test_support::built;
use test_support::keys;
use test_support::pki::{Key, Scheme, Spec, pem_file};
use test_support::process::{Finished, finish};
use test_support::reference::Reference;
use x509_cert::der::asn1::{Any, BitString, OctetString};
use x509_cert::der::{Decode as _, Encode as _};
use x509_cert::spki::{AlgorithmIdentifierOwned, ObjectIdentifier, SubjectPublicKeyInfoOwned};

const LIMIT: Duration = Duration::from_secs(60);
const PIN: &str = "58301947";
const WRONG_PIN: &str = "74910385";

/// What [`on_token`] has to do, and to which token.
const TASK: &str = "MODEL_FS_TEST_TASK";

fn module() -> PathBuf {
    let places = [
        "/usr/lib/softhsm/libsofthsm2.so",
        "/usr/lib64/pkcs11/libsofthsm2.so",
        "/usr/lib/pkcs11/libsofthsm2.so",
    ];
    places
        .iter()
        .map(PathBuf::from)
        .find(|path| path.exists())
        .unwrap_or_else(|| panic!("no SoftHSM (on Debian: apt-get install softhsm2)"))
}

/// A model and some tokens.
struct Bench {
    folder: TempDir,
}

impl Bench {
    /// With one token, called `token`.
    fn new() -> Self {
        let bench = Self {
            folder: tempfile::tempdir().unwrap(),
        };
        fs::create_dir(bench.path("tokens")).unwrap();
        let tokens = bench.path("tokens");
        let configuration = format!(
            "directories.tokendir = {}\nobjectstore.backend = file\nlog.level = ERROR\n",
            tokens.display()
        );
        fs::write(bench.path("softhsm2.conf"), configuration).unwrap();
        fs::create_dir(bench.path("model")).unwrap();
        fs::write(bench.path("model/weights.bin"), [7; 5000]).unwrap();
        fs::write(bench.path("pin"), format!("{PIN}\n")).unwrap();
        fs::write(bench.path("wrong-pin"), WRONG_PIN).unwrap();
        bench.token("token");
        bench
    }

    /// With a P-256 key on it, called `key`.
    fn with_key() -> Self {
        let bench = Self::new();
        bench.import_key(&Key::new(Scheme::P256(256)), "key", "01");
        bench
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new(program);
        command
            .env("SOFTHSM2_CONF", self.path("softhsm2.conf"))
            .env("HOME", self.folder.path())
            .env("XDG_CONFIG_HOME", self.path("config"))
            .env("XDG_STATE_HOME", self.path("state"));
        command
    }

    fn softhsm(&self, arguments: &[&str]) {
        let mut command = self.command("softhsm2-util");
        finish(command.args(arguments), LIMIT).expect("softhsm2-util");
    }

    fn token(&self, label: &str) {
        self.softhsm(&[
            "--init-token",
            "--free",
            "--label",
            label,
            "--pin",
            PIN,
            "--so-pin",
            "12345678",
        ]);
    }

    fn import(&self, pem: &Path, label: &str, id: &str) {
        let pem = pem.to_str().unwrap();
        self.softhsm(&[
            "--import", pem, "--token", "token", "--label", label, "--id", id, "--pin", PIN,
        ]);
    }

    /// Puts a key on the token, and its public half into `LABEL.pub`.
    fn import_key(&self, key: &Key, label: &str, id: &str) {
        let private = self.path("import.pem");
        fs::write(&private, key.pkcs8_pem()).unwrap();
        self.import(&private, label, id);
        let public = pem::encode(&pem::Pem::new("PUBLIC KEY", key.spki.clone()));
        fs::write(self.path(&format!("{label}.pub")), public).unwrap();
    }

    /// Has [`on_token`] do something in a process of its own.
    fn on_token(&self, task: &str) {
        let mut command = self.command(std::env::current_exe().unwrap());
        command
            .args(["--ignored", "--exact", "on_token"])
            .env(TASK, task)
            .current_dir(self.folder.path());
        finish(&mut command, LIMIT).expect(task);
    }

    fn model_fs(&self, arguments: &[&str]) -> Finished {
        let mut command = self.command(built::program());
        command.args(arguments).current_dir(self.folder.path());
        let done = finish(&mut command, LIMIT);
        for pin in [PIN, WRONG_PIN] {
            assert!(
                !done.stdout.contains(pin) && !done.stderr.contains(pin),
                "a PIN is shown: {done}"
            );
        }
        done
    }

    /// `sign` with a URI that gets the module's path, and further flags.
    fn sign(&self, uri: &str, flags: &[&str]) -> Finished {
        self.sign_by(&format!("{uri}?module-path={}", module().display()), flags)
    }

    /// `sign` with a URI as it stands, and further flags.
    fn sign_by(&self, uri: &str, flags: &[&str]) -> Finished {
        let usual = ["-vv", "sign", "model", "--pkcs11-uri", uri];
        self.model_fs(&[&usual[..], flags].concat())
    }

    #[track_caller]
    fn signs(&self, uri: &str, flags: &[&str]) {
        let _ = fs::remove_file(self.path("model/model.sig"));
        self.sign(uri, flags).expect(uri);
    }

    #[track_caller]
    fn verifies(&self, flags: &[&str]) {
        let mut arguments = vec!["verify", "model"];
        arguments.extend_from_slice(flags);
        self.model_fs(&arguments).expect("verify");
    }

    /// `sign` fails with such an exit code and message, and leaves no signature.
    #[track_caller]
    fn refuses(&self, code: i32, message: &str, done: Finished) {
        let done = done.expect_code(code, message);
        assert!(done.stderr.contains(message), "not {message:?}: {done}");
        assert!(!self.path("model/model.sig").exists(), "{done}");
    }
}

const GIVE_PIN: [&str; 2] = ["--password-file", "pin"];

#[test]
fn keys_on_every_curve_sign() {
    let bench = Bench::new();
    let other = Key::new(Scheme::P256(256));
    bench.import_key(&other, "other", "00");
    for (index, scheme) in [Scheme::P256(256), Scheme::P384(384), Scheme::P521(512)]
        .into_iter()
        .enumerate()
    {
        let key = Key::new(scheme);
        let label = format!("key {index}");
        bench.import_key(&key, &label, &format!("0{index}ff"));
        let public = format!("{label}.pub");
        for uri in [
            format!("pkcs11:token=token;object=key%20{index};type=private"),
            format!("pkcs11:id=%0{index}%ff"),
        ] {
            // More than once: a number with a leading zero byte encodes differently.
            for _ in 0..4 {
                bench.signs(&uri, &GIVE_PIN);
                bench.verifies(&["--public-key", &public]);
            }
        }
        bench
            .model_fs(&["verify", "model", "--public-key", "other.pub"])
            .expect_code(3, "another key");
    }
}

#[test]
fn keys_that_never_left_the_token_sign() {
    let bench = Bench::new();
    for curve in ["p256", "p384", "p521"] {
        bench.on_token(&format!("generate {curve}"));
        bench.signs(&format!("pkcs11:object={curve}"), &GIVE_PIN);
        bench.verifies(&["--public-key", &format!("{curve}.pub")]);
    }
}

#[test]
fn the_module_and_the_pin_can_be_named_elsewhere() {
    let bench = Bench::with_key();
    let module = module();
    let (folder, module) = (
        module.parent().unwrap().display(),
        module.display().to_string(),
    );
    let pin = bench.path("pin");
    let pin = pin.display();

    let uri = format!("pkcs11:object=key?pin-source=file:{pin}");
    bench
        .sign_by(&uri, &["--pkcs11-module", &module])
        .expect("--pkcs11-module");
    bench.verifies(&["--public-key", "key.pub"]);

    let uri = format!("pkcs11:object=key?module-path={folder}&module-name=SoftHSM2");
    bench.sign_by(&uri, &GIVE_PIN).expect("module-name");
    bench.verifies(&["--public-key", "key.pub"]);

    fs::remove_file(bench.path("model/model.sig")).unwrap();
    let uri = format!("pkcs11:object=key?pin-source=file:{pin}&module-path={module}");
    let twice = bench.sign_by(&uri, &GIVE_PIN);
    bench.refuses(2, "the PIN is named twice", twice);
    let twice = bench.sign_by(&uri, &["--pkcs11-module", &module]);
    bench.refuses(2, "module is named both", twice);
}

#[test]
fn certificates_go_with_keys_on_tokens() {
    let bench = Bench::new();
    let (root, ca, leaf) = (
        Key::new(Scheme::P384(384)),
        Key::new(Scheme::P256(256)),
        Key::new(Scheme::P256(256)),
    );
    bench.import_key(&leaf, "leaf", "01");
    let certificates = [
        ("root.pem", Spec::root("root", &root).der()),
        ("ca.pem", Spec::authority("ca", &ca, "root", &root).der()),
        ("leaf.pem", Spec::leaf("signer", &leaf, "ca", &ca).der()),
        ("wrong.pem", Spec::leaf("wrong", &root, "ca", &ca).der()),
    ];
    for (name, der) in &certificates {
        fs::write(bench.path(name), pem_file([der.as_slice()])).unwrap();
    }
    let flags = |certificate| {
        let mut flags = GIVE_PIN.to_vec();
        flags.extend([
            "--signing-certificate",
            certificate,
            "--certificate-chain",
            "ca.pem",
        ]);
        flags
    };
    let uri = "pkcs11:object=leaf";
    bench.signs(uri, &flags("leaf.pem"));
    bench.verifies(&["--certificate-chain", "root.pem"]);
    fs::remove_file(bench.path("model/model.sig")).unwrap();
    let wrong = "the private key is not that of the signing certificate";
    bench.refuses(1, wrong, bench.sign(uri, &flags("wrong.pem")));

    // Many tokens keep no public key beside the private one.
    bench.on_token("remove-public-keys");
    bench.refuses(1, "no public key beside", bench.sign(uri, &GIVE_PIN));
    let wrong = "does not hold under the public key";
    bench.refuses(1, wrong, bench.sign(uri, &flags("wrong.pem")));
    bench.signs(uri, &flags("leaf.pem"));
    bench.verifies(&["--certificate-chain", "root.pem"]);
}

/// What a token signs is what other implementations expect of a key or of a certificate.
#[test]
fn the_reference_accepts_what_a_token_signs() {
    let Some(reference) = Reference::get() else {
        return;
    };
    let bench = Bench::new();
    let root = Key::new(Scheme::P384(384));
    let pem = pem_file([Spec::root("root", &root).der().as_slice()]);
    fs::write(bench.path("root.pem"), pem).unwrap();
    let holds = |method: &str, [flag, trusted]: [&str; 2]| {
        let words = [
            "verify".into(),
            method.into(),
            bench.path("model").into_os_string(),
            "--signature".into(),
            bench.path("model/model.sig").into(),
            flag.into(),
            bench.path(trusted).into(),
        ];
        reference.run(words)
    };
    for (label, id, scheme) in [
        ("p256", "01", Scheme::P256(256)),
        ("p384", "02", Scheme::P384(384)),
        ("p521", "03", Scheme::P521(512)),
    ] {
        let key = Key::new(scheme);
        bench.import_key(&key, label, id);
        let (uri, public) = (format!("pkcs11:object={label}"), format!("{label}.pub"));
        let mut flags = GIVE_PIN.to_vec();
        flags.extend(["--hash", "sha256"]);
        bench.signs(&uri, &flags);
        holds("key", ["--public_key", &public]).expect(label);

        let leaf = Spec::leaf("signer", &key, "root", &root).der();
        fs::write(bench.path("leaf.pem"), pem_file([leaf.as_slice()])).unwrap();
        flags.extend(["--signing-certificate", "leaf.pem"]);
        flags.extend(["--certificate-chain", "root.pem"]);
        bench.signs(&uri, &flags);
        holds("certificate", ["--certificate_chain", "root.pem"]).expect(label);
    }
    let weights = bench.path("model/weights.bin");
    fs::write(weights, [8; 5000]).unwrap();
    let changed = holds("certificate", ["--certificate_chain", "root.pem"]);
    assert!(!changed.succeeded(), "{changed}");
}

#[test]
fn what_fits_twice_or_not_at_all_is_an_error() {
    let bench = Bench::with_key();
    bench.import_key(&Key::new(Scheme::P256(256)), "key", "02");
    bench.import(&keys::path("rsa-pkcs8.pem"), "rsa", "03");
    bench.import(&keys::path("secp256k1-pkcs8.pem"), "koblitz", "04");
    bench.on_token("generate always");

    let two = bench.sign("pkcs11:object=key", &GIVE_PIN);
    for listed in [
        "more than one private key",
        "object=key id=%01",
        "object=key id=%02",
    ] {
        assert!(two.stderr.contains(listed), "{listed}: {two}");
    }
    bench.refuses(1, "say which", two);
    let none = bench.sign("pkcs11:object=kay", &GIVE_PIN);
    assert!(none.stderr.contains("object=key id=%01"), "{none}");
    bench.refuses(1, "no private key on the token fits", none);
    let none = bench.sign("pkcs11:object=key;id=%03", &GIVE_PIN);
    bench.refuses(1, "no private key on the token fits", none);
    let rsa = bench.sign("pkcs11:object=rsa", &GIVE_PIN);
    bench.refuses(1, "is not an EC key", rsa);
    let koblitz = bench.sign("pkcs11:object=koblitz", &GIVE_PIN);
    bench.refuses(1, "P-256, P-384 and P-521 are supported", koblitz);
    let always = bench.sign("pkcs11:object=always", &GIVE_PIN);
    bench.refuses(1, "asks for a PIN at each signature", always);

    let none = bench.sign("pkcs11:token=tokem;object=key;id=%01", &GIVE_PIN);
    assert!(none.stderr.contains("token=token serial="), "{none}");
    bench.refuses(1, "no token fits", none);
    for wanted in [
        "manufacturer=m",
        "serial=0",
        "model=m",
        "slot-id=1",
        "slot-description=s",
        "slot-manufacturer=m",
        "library-manufacturer=m",
        "library-description=d",
        "library-version=255",
    ] {
        let uri = format!("pkcs11:object=key;id=%01;{wanted}");
        bench.refuses(1, "no token fits", bench.sign(&uri, &GIVE_PIN));
    }
    bench.token("second");
    let two = bench.sign("pkcs11:object=key;id=%01", &GIVE_PIN);
    assert!(two.stderr.contains("token=second"), "{two}");
    bench.refuses(1, "more than one token fits", two);

    // The right key among them, named by every attribute that tokens and keys have.
    bench.signs(
        "pkcs11:token=token;model=SoftHSM%20v2;object=key;id=%02",
        &GIVE_PIN,
    );
}

#[test]
fn pins_and_modules_that_do_not_work_are_errors() {
    let bench = Bench::with_key();
    let uri = "pkcs11:token=token;object=key";

    let wrong = bench.sign(uri, &["--password-file", "wrong-pin"]);
    bench.refuses(1, "the PIN does not open the token \"token\"", wrong);
    bench.refuses(1, "needs a PIN", bench.sign(uri, &[]));
    let missing = bench.sign(uri, &["--password-file", "nowhere"]);
    bench.refuses(1, "password file nowhere", missing);

    let with = |query: &str| bench.sign_by(&format!("{uri}?{query}"), &GIVE_PIN);
    bench.refuses(1, "No such file", with("module-path=/nonexistent.so"));
    bench.refuses(1, "can't be loaded", with("module-path=/etc/passwd"));
    bench.refuses(1, "not a regular file", with("module-path=/"));
    bench.refuses(1, "no PKCS #11 module", with("module-name=nonexistent"));
    let library = bench.path("libm.so.6");
    for folder in ["/lib/x86_64-linux-gnu", "/lib/aarch64-linux-gnu", "/lib64"] {
        let _ = std::os::unix::fs::symlink(Path::new(folder).join("libm.so.6"), &library);
        if library.exists() {
            break;
        }
        let _ = fs::remove_file(&library);
    }
    bench.refuses(
        1,
        "can't be loaded",
        with(&format!("module-path={}", library.display())),
    );

    let unnamed = bench.sign_by(uri, &[]);
    bench.refuses(2, "--pkcs11-module", unnamed);
    bench.refuses(2, "list of processes", with(&format!("pin-value={PIN}")));
    bench.refuses(2, "unknown", with("pin-valu=1"));
    bench.refuses(2, "begins with", bench.sign("object=key", &GIVE_PIN));
    let both = bench.sign(uri, &["--private-key", "key.pem"]);
    bench.refuses(2, "cannot be used with", both);

    bench.signs(uri, &GIVE_PIN);
}

#[test]
#[ignore = "runs in a child process of other tests, which tells it what to do"]
fn on_token() {
    let task = std::env::var(TASK).expect("a task");
    let pkcs11 = Pkcs11::new(module()).unwrap();
    pkcs11
        .initialize(CInitializeArgs::new(CInitializeFlags::OS_LOCKING_OK))
        .unwrap();
    let slot = pkcs11.get_slots_with_initialized_token().unwrap()[0];
    let session = pkcs11.open_rw_session(slot).unwrap();
    let pin = RawAuthPin::new(Box::new(PIN.into()));
    session.login_with_raw(UserType::User, &pin).unwrap();
    match task.split_once(' ') {
        Some(("generate", "always")) => generate(&session, "always", "1.2.840.10045.3.1.7"),
        Some(("generate", "p256")) => generate(&session, "p256", "1.2.840.10045.3.1.7"),
        Some(("generate", "p384")) => generate(&session, "p384", "1.3.132.0.34"),
        Some(("generate", "p521")) => generate(&session, "p521", "1.3.132.0.35"),
        None if task == "remove-public-keys" => {
            let public = [Attribute::Class(ObjectClass::PUBLIC_KEY)];
            for object in session.find_objects(&public).unwrap() {
                session.destroy_object(object).unwrap();
            }
        }
        _ => panic!("{task}"),
    }
}

/// Makes a key on the token, and writes its public half to `LABEL.pub`.
fn generate(session: &Session, label: &str, curve: &str) {
    let curve = ObjectIdentifier::new_unwrap(curve).to_der().unwrap();
    let common = [
        Attribute::Token(true),
        Attribute::KeyType(KeyType::EC),
        Attribute::Label(label.into()),
        Attribute::Id(label.into()),
    ];
    let mut public = common.to_vec();
    public.extend([Attribute::Verify(true), Attribute::EcParams(curve.clone())]);
    let mut private = common.to_vec();
    private.extend([
        Attribute::Private(true),
        Attribute::Sensitive(true),
        Attribute::Extractable(false),
        Attribute::Sign(true),
        // Asks for its PIN at each use.
        Attribute::AlwaysAuthenticate(label == "always"),
    ]);
    let (public, _) = session
        .generate_key_pair(&Mechanism::EccKeyPairGen, &public, &private)
        .unwrap();
    let attributes = session
        .get_attributes(public, &[AttributeType::EcPoint])
        .unwrap();
    let [Attribute::EcPoint(point)] = attributes.as_slice() else {
        panic!("{attributes:?}");
    };
    let point = OctetString::from_der(point).unwrap();
    let spki = SubjectPublicKeyInfoOwned {
        algorithm: AlgorithmIdentifierOwned {
            oid: ObjectIdentifier::new_unwrap("1.2.840.10045.2.1"),
            parameters: Some(Any::from_der(&curve).unwrap()),
        },
        subject_public_key: BitString::from_bytes(point.as_bytes()).unwrap(),
    };
    let pem = pem::encode(&pem::Pem::new("PUBLIC KEY", spki.to_der().unwrap()));
    fs::write(format!("{label}.pub"), pem).unwrap();
}
