//! `model-fs trust`, as people and scripts use it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;

struct Home(tempfile::TempDir);

impl Home {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn file(&self) -> PathBuf {
        self.0.path().join("model-fs/trust.toml")
    }

    fn trust(&self, arguments: &[&str]) -> Output {
        Command::new(env!("CARGO_BIN_EXE_model-fs"))
            .arg("trust")
            .args(arguments)
            .env("XDG_CONFIG_HOME", self.0.path())
            .output()
            .unwrap()
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

    /// The user's entries; a host may have its own.
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
    let keys = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/keys");
    keys.join(name).to_str().unwrap().to_owned()
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
