//! The method through the real command line: with a trusted root of one's own, each forgery that
//! another library of Sigstore's accepted, and what `inspect` shows.

use std::fs;
use std::path::PathBuf;
use std::process::Output;

use serde_json::{Value, json};
use test_support::built;
use test_support::sigstore::instance::{
    Entry, IDENTITY, ISSUER, Instance, Kind, LIFETIME, NOW, Parts, Signing, body, statement,
};

use super::flip;

/// A model that [`statement`] is about, and a home directory whose trust store is empty.
struct Model(tempfile::TempDir);

impl Model {
    fn new(root: &Value) -> Self {
        let model = Self(tempfile::tempdir().unwrap());
        fs::create_dir(model.path("model")).unwrap();
        fs::write(model.path("model/a"), "one").unwrap();
        fs::write(model.path("model/b"), "two").unwrap();
        fs::write(model.path("root.json"), root.to_string()).unwrap();
        model
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn run(&self, arguments: &[&str]) -> Output {
        let mut command = built::program_at_home(self.0.path());
        command.args(arguments).output().unwrap()
    }

    fn verify(&self, bundle: &Parts, identity: &str) -> Output {
        fs::write(self.path("model/model.sig"), bundle.to_json()).unwrap();
        self.run(&[
            "verify",
            "model",
            "--identity",
            identity,
            "--identity-provider",
            ISSUER,
            "--trust-config",
            "root.json",
        ])
    }

    fn holds(&self, bundle: &Parts, what: &str) {
        let output = self.verify(bundle, IDENTITY);
        assert_eq!(output.status.code(), Some(0), "{what}: {output:?}");
    }

    /// Exit code 3, and a message that says what is wrong.
    fn refuses(&self, bundle: &Parts, says: &str, what: &str) {
        let output = self.verify(bundle, IDENTITY);
        let text = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(3), "{what}: {text}");
        assert!(output.stdout.is_empty(), "{what}: {output:?}");
        assert!(
            text.starts_with("error: ") && text.to_lowercase().contains(says),
            "{what}: not {says:?}: {text}"
        );
    }
}

#[test]
fn forgeries_are_refused() {
    let (instance, forger) = (Instance::new(), Instance::new());
    let model = Model::new(&instance.trusted_root());
    for kind in Kind::ALL {
        let signing = Signing::new(&instance, kind);
        let good = signing.bundle();
        model.holds(&good, "as signed");
        let other = model.verify(&good, "other@example.org");
        assert_eq!(other.status.code(), Some(3), "{other:?}");

        let bent = |edit: &dyn Fn(&mut Value)| {
            let mut bundle = good.clone();
            edit(&mut bundle.entries[0]);
            bundle
        };
        if kind != Kind::HashedRekord {
            let promise =
                bent(&|entry| flip(&mut entry["inclusionPromise"]["signedEntryTimestamp"]));
            model.refuses(&promise, "inclusion promise", "promise flipped");
        }
        let proof = bent(&|entry| flip(&mut entry["inclusionProof"]["hashes"][0]));
        model.refuses(&proof, "inclusion proof", "Merkle hash flipped");
        let checkpoint = bent(&|entry| {
            let note = &mut entry["inclusionProof"]["checkpoint"]["envelope"];
            *note = note.as_str().unwrap().replacen("1234", "1235", 1).into();
        });
        model.refuses(
            &checkpoint,
            "checkpoint is not signed",
            "checkpoint changed",
        );
        let logged = body(kind, &good.certificate, &good.signature, &good.payload);
        let mut entry = good.clone();
        entry.entries = vec![Entry::new(&forger, kind, &logged, signing.time).to_json()];
        model.refuses(&entry, "is not trusted", "whole entry forged");

        let mut late = Signing::new(&instance, kind);
        late.time = NOW + LIFETIME + 1;
        model.refuses(&late.bundle(), "expired", "expired at the signing time");
        let mut payload = good.clone();
        payload.payload = statement("other");
        model.refuses(&payload, "signature", "payload of another bundle");
        let certificate = signing.certified_by(&instance.authority.0, &forger.certificate_log, NOW);
        let stamp = signing.bundle_with(&certificate);
        model.refuses(&stamp, "sct", "stamp of another certificate log");
    }
}

#[test]
fn claims_are_shown() {
    let instance = Instance::new();
    let model = Model::new(&json!({}));
    for kind in Kind::ALL {
        let mut bundle = Signing::new(&instance, kind).bundle();
        // Shown whether or not any of it is true.
        flip(&mut bundle.entries[0]["inclusionProof"]["hashes"][0]);
        fs::write(model.path("model/model.sig"), bundle.to_json()).unwrap();
        let output = model.run(&["inspect", "model"]);
        let text = String::from_utf8(output.stdout).unwrap();
        let index = if kind == Kind::HashedRekord {
            5
        } else {
            1_000_005
        };
        let (name, version) = kind.name();
        for part in [
            "NOTHING WAS VERIFIED",
            IDENTITY,
            ISSUER,
            &format!("{name} {version}, number {index}"),
        ] {
            assert!(text.contains(part), "{part}: {text}");
        }
        let output = model.run(&["inspect", "model", "--json"]);
        let report: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(report["verified"], false);
        assert_eq!(report["method"], "sigstore");
        let entry = report["claimed_log_entries"][0].as_str().unwrap();
        // Version 2 logs no times.
        let time = jiff::Timestamp::from_second(NOW + 5).unwrap().to_string();
        assert_eq!(entry.contains(&time), kind != Kind::HashedRekord, "{entry}");
    }
}
