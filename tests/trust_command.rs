//! `model-fs trust`, as people and scripts use it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;
use test_support::built;
use test_support::keys;
use test_support::pki::{DAY, Key, Scheme, Spec, moment, pem_file, with_chain};

struct Home(tempfile::TempDir);

impl Home {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn file(&self) -> PathBuf {
        self.0.path().join("model-fs/trust.toml")
    }

    fn run(&self, verb: &str, arguments: &[&str]) -> Output {
        Command::new(built::program())
            .arg(verb)
            .args(arguments)
            .env("XDG_CONFIG_HOME", self.0.path())
            .env("XDG_STATE_HOME", self.0.path())
            .env("XDG_CACHE_HOME", self.0.path())
            .output()
            .unwrap()
    }

    fn trust(&self, arguments: &[&str]) -> Output {
        self.run("trust", arguments)
    }

    fn write(&self, name: &str, text: impl AsRef<[u8]>) -> String {
        let path = self.0.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    }

    fn done(&self, arguments: &[&str]) -> String {
        let output = self.trust(arguments);
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    }

    fn refused(&self, code: i32, arguments: &[&str]) -> String {
        let output = self.trust(arguments);
        assert_eq!(output.status.code(), Some(code), "{output:?}");
        assert!(output.stdout.is_empty());
        String::from_utf8(output.stderr).unwrap()
    }

    /// The user's entries; a host may have entries of its own.
    fn listed(&self) -> Vec<Value> {
        let all: Value = serde_json::from_str(&self.done(&["list", "--json"])).unwrap();
        let file = self.file();
        all["signers"]
            .as_array()
            .unwrap()
            .iter()
            .filter(|signer| Path::new(signer["file"].as_str().unwrap()) == file)
            .cloned()
            .collect()
    }
}

fn key(name: &str) -> String {
    keys::path(name).to_str().unwrap().to_owned()
}

#[test]
fn add_list_remove() {
    let home = Home::new();
    assert!(home.listed().is_empty());
    let added = home.done(&["add", "--public-key", &key("p256-pub.pem")]);
    assert!(added.starts_with("added key-ae62c229dc26 to "), "{added}");
    let digest = "ab".repeat(32);
    home.done(&[
        "add",
        "--identity",
        "alice@acme.example",
        "--identity-provider",
        "https://accounts.acme.example",
        "--model-name",
        "llama",
        "--model-path",
        "/models/**",
        "--root-digest",
        &digest,
    ]);
    let listed = home.listed();
    assert_eq!(listed.len(), 2);
    assert_eq!(listed[0]["name"], "alice-acme.example");
    assert_eq!(listed[0]["method"], "sigstore");
    assert_eq!(listed[0]["models"]["names"][0], "llama");
    assert_eq!(listed[0]["models"]["paths"][0], "/models/**");
    assert_eq!(
        listed[0]["models"]["root_digests"][0],
        format!("sha256:{digest}")
    );
    assert_eq!(listed[1]["method"], "key");
    assert_eq!(listed[1]["models"]["names"], Value::Null);
    let text = home.done(&["list"]);
    assert!(
        text.contains("key-ae62c229dc26\n  method       key\n"),
        "{text}"
    );

    home.done(&["remove", "key-ae62c229dc26"]);
    assert_eq!(home.listed().len(), 1);
    let error = home.refused(1, &["remove", "key-ae62c229dc26"]);
    assert!(
        error.contains("there is no signer \"key-ae62c229dc26\"\nhint: "),
        "{error}"
    );
}

#[test]
fn mistakes_change_nothing() {
    let home = Home::new();
    let pem = key("p256-pub.pem");
    home.done(&["add", "--name", "k", "--public-key", &pem]);
    let before = fs::read(home.file()).unwrap();
    for (code, arguments) in [
        (2, &["add"][..]),
        (2, &["add", "--name", "a b", "--public-key", &pem]),
        (2, &["add", "--public-key", &pem, "--root-digest", "xy"]),
        (2, &["remove", "a b"]),
        (1, &["add", "--name", "k", "--public-key", &pem]),
        (1, &["add", "--public-key", "/none"]),
        (1, &["add", "--public-key", &key("p256-sec1.pem")]),
        (1, &["add", "--certificate-chain", &pem]),
        (
            1,
            &["add", "--public-key", &pem, "--model-path", "relative"],
        ),
    ] {
        let error = home.refused(code, arguments);
        assert!(error.starts_with("error: "), "{error}");
        assert_eq!(fs::read(home.file()).unwrap(), before);
    }
}

#[test]
fn from_signing_with_a_certificate_to_trusting_it() {
    let home = Home::new();
    let (root, ca, leaf) = (
        Key::new(Scheme::Rsa(256)),
        Key::new(Scheme::P256(256)),
        Key::new(Scheme::P384(384)),
    );
    let root_pem = pem_file([&Spec::root("root", &root).der()[..]]);
    let ca_pem = pem_file([&Spec::authority("ca", &ca, "root", &root).der()[..]]);
    let leaf_pem = pem_file([&Spec::leaf("signer", &leaf, "ca", &ca).der()[..]]);
    let root_pem = home.write("root.pem", root_pem);
    let ca_pem = home.write("ca.pem", ca_pem);
    let leaf_pem = home.write("leaf.pem", leaf_pem);
    let key_pem = home.write("key.pem", leaf.pkcs8_pem());
    let weights = home.write("model/weights.bin", "weights");
    let model = Path::new(&weights).parent().unwrap().to_str().unwrap();

    let other = key("p256-sec1.pem");
    let chain = [
        "--signing-certificate",
        &leaf_pem,
        "--certificate-chain",
        &ca_pem,
    ];
    let output = home.run(
        "sign",
        &[&[model, "--private-key", &other], &chain[..]].concat(),
    );
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let output = home.run(
        "sign",
        &[&[model, "--private-key", &key_pem], &chain[..]].concat(),
    );
    assert!(output.status.success(), "{output:?}");

    let output = home.run("verify", &[model, "--certificate-chain", &root_pem]);
    assert!(output.status.success(), "{output:?}");
    let output = home.run(
        "verify",
        &[model, "--certificate-chain", &key("p256-pub.pem")],
    );
    assert_eq!(output.status.code(), Some(1), "{output:?}");

    let output = home.run("verify", &[model]);
    assert_eq!(output.status.code(), Some(3), "{output:?}");
    let error = String::from_utf8(output.stderr).unwrap();
    assert!(
        error.starts_with("error: signature ")
            && error
                .contains(": not trusted: the signature claims to be by certificate \"CN=signer\"")
            && error.ends_with("hint: to trust them: model-fs trust add --certificate-chain PEM\n"),
        "{error}"
    );

    home.done(&["add", "--name", "acme", "--certificate-chain", &root_pem]);
    let output = home.run("verify", &[model]);
    assert!(output.status.success(), "{output:?}");
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(
        text.contains("signed by \"acme\", certificate \"CN=signer\""),
        "{text}"
    );
    let output = home.run("verify", &[model, "--json"]);
    let document: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(document["trusted_as"], "acme");
    assert_eq!(document["method"], "certificate");

    // The same signer, for other models only.
    home.done(&["remove", "acme"]);
    let more = ["--model-path", "/elsewhere/**"];
    home.done(
        &[
            &["add", "--name", "acme", "--certificate-chain", &root_pem],
            &more[..],
        ]
        .concat(),
    );
    let output = home.run("verify", &[model]);
    assert_eq!(output.status.code(), Some(3), "{output:?}");
    let error = String::from_utf8(output.stderr).unwrap();
    assert!(
        error.starts_with("error: signature ")
            && error.contains(
                "model.sig: signed by \"acme\", who is not trusted for this model\n\
                 hint: `model-fs trust list`"
            ),
        "{error}"
    );
}

#[test]
fn every_certificate_of_a_chain_is_shown() {
    let home = Home::new();
    let (one, two) = (Key::new(Scheme::P256(256)), Key::new(Scheme::P256(256)));
    let first = pem_file([&Spec::root("first", &one).der()[..]]);
    let second = pem_file([&Spec::root("se\u{202e}cond", &two).der()[..]]);
    let roots = format!("{first}{}{second}", "\n".repeat(200));
    let roots = home.write("roots.pem", roots);
    let added = home.done(&["add", "--name", "acme", "--certificate-chain", &roots]);
    let lines: Vec<_> = added.lines().collect();
    assert_eq!(lines.len(), 3, "{added}");
    assert!(lines[1].starts_with("  certificate CN=first (SHA-256 "));
    assert!(lines[2].starts_with("  certificate CN=se\\u{202e}cond (SHA-256 "));
    for certificate in home.listed()[0]["certificates"].as_array().unwrap() {
        assert!(added.contains(certificate["sha256"].as_str().unwrap()));
    }
    let pem = key("p256-pub.pem");
    let added = home.done(&["add", "--name", "k", "--public-key", &pem]);
    assert!(added.contains("  key ae62c229dc2686848e"), "{added}");

    // The last block is cut off: no signer is added, not even with the first block alone.
    let text = fs::read_to_string(&roots).unwrap();
    let cut = home.write("cut.pem", &text[..text.len() - 20]);
    let error = home.refused(1, &["add", "--name", "cut", "--certificate-chain", &cut]);
    assert!(error.contains("damaged PEM block"), "{error}");
    // A file's name can't act on the terminal either.
    let named = home.write("a\u{1b}[2J\n.pem", "");
    let error = home.refused(1, &["add", "--certificate-chain", &named]);
    assert!(error.contains("a\\u{1b}[2J\\u{a}.pem"), "{error}");
    let error = home.refused(1, &["add", "--public-key", &format!("{named}x")]);
    assert!(!error.contains('\u{1b}'), "{error}");
}

/// From looking at a model to trusting exactly it.
#[test]
fn pinned_by_what_was_signed() {
    let home = Home::new();
    let (public, private) = (key("p256-pub.pem"), key("p256-sec1.pem"));
    let weights = home.write("model/notes.txt", "import os");
    let model = Path::new(&weights).parent().unwrap().to_str().unwrap();
    let sign = || {
        let output = home.run("sign", &[model, "--private-key", &private]);
        assert!(output.status.success(), "{output:?}");
    };
    sign();
    let output = home.run("inspect", &[model, "--json"]);
    let shown: Value = serde_json::from_slice(&output.stdout).unwrap();
    let payload = shown["payload_digest"].as_str().unwrap().to_owned();
    let root = shown["root_digest"].as_str().unwrap().to_owned();
    let output = home.run("inspect", &[model]);
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(
        text.contains(&format!("payload digest {payload} (all that is signed)\n")),
        "{text}"
    );
    assert!(text.contains(&format!("root digest    {root} (contents alone)\n")));

    let add = |more: &[&str]| {
        let arguments = ["add", "--name", "k", "--public-key", &public];
        home.done(&[&arguments[..], more].concat())
    };
    let added = add(&["--root-digest", &root]);
    assert!(
        added.contains("covers contents alone: neither names"),
        "{added}"
    );
    let listed = home.done(&["list"]);
    assert!(
        listed.contains(&format!("only root    {root}\n")) && listed.contains("neither names"),
        "{listed}"
    );
    home.done(&["remove", "k"]);
    add(&["--payload-digest", &payload]);
    assert_eq!(home.listed()[0]["models"]["payload_digests"][0], payload);
    home.done(&["remove", "k"]);
    let added = add(&["--payload-of", model]);
    assert!(
        added.contains(&format!("  only payload {payload}, of ")),
        "{added}"
    );
    let listed = home.done(&["list"]);
    assert!(
        listed.contains(&format!("only payload {payload}\n")),
        "{listed}"
    );

    let output = home.run("verify", &[model]);
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(
        text.contains(&format!("payload digest: {payload}\n")),
        "{text}"
    );
    let output = home.run("verify", &[model, "--json"]);
    let document: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(document["payload_digest"], *payload);

    // The same content by another name, signed with the same key.
    fs::rename(&weights, Path::new(model).join("modeling.py")).unwrap();
    sign();
    let output = home.run("inspect", &[model, "--json"]);
    let shown: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(shown["root_digest"], *root);
    let output = home.run("verify", &[model]);
    assert_eq!(output.status.code(), Some(3), "{output:?}");

    let error = home.refused(
        2,
        &["add", "--public-key", &public, "--payload-digest", "xy"],
    );
    assert!(error.contains("--payload-digest: "), "{error}");
    let error = home.refused(
        1,
        &["add", "--public-key", &public, "--payload-of", "/none"],
    );
    assert!(error.contains("/none"), "{error}");
    let garbage = home.write("garbage.sig", "[]");
    home.refused(
        3,
        &["add", "--public-key", &public, "--payload-of", &garbage],
    );
}

#[test]
fn the_password_is_the_first_line() {
    let home = Home::new();
    let weights = home.write("model/w", "weights");
    let model = Path::new(&weights).parent().unwrap().to_str().unwrap();
    let private = key("p256-sec1-aes256.pem");
    for (text, opens) in [
        ("correct-horse", true),
        ("correct-horse\n", true),
        ("correct-horse\r\n", true),
        ("correct-horse\nnote to self\n", true),
        ("correct-horse\r\n\r\nnote", true),
        ("\ncorrect-horse\n", false),
        ("correct-horse \n", false),
    ] {
        let file = home.write("password", text);
        let arguments = [model, "--private-key", &private, "--password-file", &file];
        let output = home.run("sign", &arguments);
        assert_eq!(output.status.success(), opens, "{text:?}: {output:?}");
    }
}

/// Through the program: `distrust` takes only a name that exists.
#[test]
fn distrust() {
    let home = Home::new();
    let pem = key("p256-pub.pem");
    let error = home.refused(1, &["distrust", "k"]);
    assert!(
        error.contains("there is no signer \"k\"\nhint: "),
        "{error}"
    );
    home.refused(2, &["distrust", "a b"]);
    home.done(&["add", "--name", "k", "--public-key", &pem]);
    let said = home.done(&["distrust", "k"]);
    assert!(said.starts_with("distrusted k in "), "{said}");
    assert!(home.listed().is_empty());
    let text = fs::read_to_string(home.file()).unwrap();
    assert!(
        text.contains("distrusted = true") && !text.contains("PUBLIC"),
        "{text}"
    );
    let all: Value = serde_json::from_str(&home.done(&["list", "--json"])).unwrap();
    assert_eq!(all["distrusted"][0]["name"], "k");
    home.done(&["remove", "k"]);
}

/// A model whose signature was made while its certificate was valid, which is 10 days ago.
struct Expired {
    home: Home,
    model: String,
    root: String,
}

impl Expired {
    fn new() -> Self {
        let home = Home::new();
        let (root, leaf) = (Key::new(Scheme::P256(256)), Key::new(Scheme::P256(256)));
        let spec = Spec::leaf("signer", &leaf, "root", &root);
        let key_pem = home.write("key.pem", leaf.pkcs8_pem());
        let before = home.write("leaf.pem", pem_file([&spec.der()[..]]));
        let valid_root = Spec::root("root", &root).but(|spec| spec.valid = (-90 * DAY, 90 * DAY));
        let root = home.write("root.pem", pem_file([&valid_root.der()[..]]));
        let weights = home.write("model/weights.bin", "weights");
        let model = Path::new(&weights).parent().unwrap().to_str().unwrap();
        let arguments = [
            model,
            "--private-key",
            &key_pem,
            "--signing-certificate",
            &before,
        ];
        let output = home.run("sign", &arguments);
        assert!(output.status.success(), "{output:?}");
        // Time goes by.
        let expired = spec.but(|spec| spec.valid = (-20 * DAY, -10 * DAY)).der();
        let signature = Path::new(model).join("model.sig");
        let bundle = with_chain(&fs::read(&signature).unwrap(), &[&expired]);
        fs::write(&signature, bundle).unwrap();
        Self {
            model: model.to_owned(),
            home,
            root,
        }
    }

    fn verify(&self, flags: &[&str]) -> Output {
        self.home
            .run("verify", &[&[&self.model[..]], flags].concat())
    }

    fn verified(&self) -> String {
        let output = self.verify(&[]);
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    }

    fn refused(&self, flags: &[&str]) -> String {
        let output = self.verify(flags);
        assert_eq!(output.status.code(), Some(3), "{output:?}");
        String::from_utf8(output.stderr).unwrap()
    }

    fn add(&self, more: &[&str]) -> String {
        let arguments = ["add", "--name", "acme", "--certificate-chain", &self.root];
        self.home.done(&[&arguments[..], more].concat())
    }
}

/// From a certificate that has expired, by the remedies that the hint names, to a verified model.
#[test]
fn what_an_operator_can_do_about_an_expired_certificate() {
    let it = Expired::new();
    let said = format!(
        "certificate \"CN=signer\" has expired: it is valid from {} to {}, and now it is ",
        moment(-20 * DAY),
        moment(-10 * DAY)
    );
    it.add(&[]);
    let of_the_store = it.refused(&[]);
    assert!(of_the_store.contains("not by \"acme\": "), "{of_the_store}");
    let of_a_flag = it.refused(&["--certificate-chain", &it.root]);
    let add = "model-fs trust add --name NAME --certificate-chain PEM";
    for error in [&of_the_store, &of_a_flag] {
        assert!(error.contains(&said), "{error}");
        for remedy in [
            format!("exactly that: {add} --payload-of SIGNATURE; "),
            format!("({} to {})", moment(-20 * DAY), moment(-10 * DAY)),
            format!("signed with their keys since: {add} --valid-at DATE\n"),
        ] {
            assert!(error.contains(&remedy), "{error}");
        }
    }
    let output = it.verify(&["--json"]);
    let document: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert!(document["hint"].as_str().unwrap().contains("--payload-of"));
    it.home.done(&["remove", "acme"]);

    // Exactly what was signed.
    let added = it.add(&["--payload-of", &it.model]);
    assert!(added.contains("  only payload sha256:"), "{added}");
    assert!(
        added.contains("  valid at any time (for the payloads"),
        "{added}"
    );
    let text = it.verified();
    assert!(
        text.contains("under \"CN=root\", not valid now, its payload pinned"),
        "{text}"
    );
    let listed = it.home.done(&["list"]);
    assert!(
        listed.contains("  valid at     any time (for the payloads"),
        "{listed}"
    );
    assert_eq!(it.home.listed()[0]["valid_at"], Value::Null);
    it.home.done(&["remove", "acme"]);
    it.add(&["--payload-digest", &"ab".repeat(32)]);
    assert!(it.refused(&[]).contains(&said));
    it.home.done(&["remove", "acme"]);

    // Whatever is signed with these certificates.
    let then = moment(-15 * DAY);
    let added = it.add(&["--valid-at", &then]);
    assert!(
        added.contains(&format!("  valid at {then}: certificates are judged")),
        "{added}"
    );
    let text = it.verified();
    assert!(
        text.contains(&format!("under \"CN=root\", valid at {then}")),
        "{text}"
    );
    let listed = it.home.done(&["list"]);
    assert!(
        listed.contains(&format!("  valid at     {then} (certificates")),
        "{listed}"
    );
    assert_eq!(it.home.listed()[0]["valid_at"], *then);
    // The flag alone is judged now, whatever the store says.
    assert!(
        it.refused(&["--certificate-chain", &it.root])
            .contains(&said)
    );
    it.home.done(&["remove", "acme"]);
    it.add(&["--valid-at", &moment(-30 * DAY)]);
    let error = it.refused(&[]);
    assert!(
        error.contains("\"CN=signer\" was not valid yet: "),
        "{error}"
    );
    assert!(
        error.contains(" (valid-at)\nhint: if what was signed is known to be good"),
        "{error}"
    );
}

#[test]
fn nothing_but_the_trust_store_waives_time() {
    let it = Expired::new();
    let date = "2025-05-01";
    for (verb, more) in [
        ("verify", &[][..]),
        ("index", &[]),
        ("mount", &["/nowhere"]),
    ] {
        let flags = ["--certificate-chain", &it.root, "--valid-at", date];
        let output = it
            .home
            .run(verb, &[&[&it.model[..]], more, &flags].concat());
        assert_eq!(output.status.code(), Some(2), "{output:?}");
        let error = String::from_utf8(output.stderr).unwrap();
        assert!(
            error.contains("unexpected argument '--valid-at'"),
            "{error}"
        );
    }

    let pem = key("p256-pub.pem");
    let chain = ["--certificate-chain", &it.root[..]];
    let of_a_key = ["--public-key", &pem];
    let identity = ["--identity", "a@b", "--identity-provider", "https://c"];
    for (who, date, expected) in [
        (
            &of_a_key[..],
            date,
            "--valid-at goes with certificates only: a key has no validity",
        ),
        (&identity, date, "--valid-at goes with certificates only"),
        (&[], date, "--valid-at goes with certificates only"),
        (
            &chain,
            "yesterday",
            "--valid-at yesterday: it is neither a date",
        ),
        (&chain, "2025-02-29", "it is neither a date"),
        (&chain, "", "it is neither a date"),
        (
            &chain,
            "2025-05-01T12:00:00",
            "its time has no offset from UTC",
        ),
        (&chain, "\u{1b}[2J", "--valid-at \\u{1b}[2J: "),
        (&chain, "9999-01-01", "it lies in the future"),
        (&chain, &moment(DAY), "it lies in the future"),
        (&chain, "1900-01-01", "it lies before 1970"),
    ] {
        let arguments = [&["add", "--valid-at", date][..], who].concat();
        let error = it.home.refused(2, &arguments);
        assert!(error.contains(expected), "{arguments:?}: {error}");
        assert!(!it.home.file().exists(), "{arguments:?}");
    }
}
