//! The method `certificate`: chains of three levels and certificates that sign themselves, on each
//! curve, through both command lines.

use std::ffi::OsString;
use std::fs;
use std::path::PathBuf;

use tempfile::TempDir;
use test_support::mounted::{flip, model_fs, scratch};
use test_support::pki::{Key, Scheme, Spec, pem_file};
use test_support::process::Finished;
use test_support::reference::Reference;

/// A model directory with a signer, and all that the two sides are given.
struct Certified {
    folder: TempDir,
    reference: Reference,
    chained: bool,
}

impl Certified {
    /// `None` only where the tests were switched off. Without a chain the signer vouches for
    /// itself.
    fn new(scheme: Scheme, chained: bool) -> Option<Self> {
        let certified = Self {
            reference: Reference::get()?,
            folder: scratch(),
            chained,
        };
        let model = certified.path("model");
        fs::create_dir_all(model.join("a")).expect("mkdir");
        fs::write(model.join("a/weights.bin"), [7; 3000]).expect("write a file");
        fs::write(model.join("config.json"), "{}").expect("write a file");

        let (root, ca) = (Key::new(Scheme::Rsa(256)), Key::new(Scheme::P256(256)));
        let leaf = Key::new(scheme);
        let write = |name: &str, text: String| {
            fs::write(certified.path(name), text).expect("write a PEM file");
        };
        let certificate = if chained {
            let ca_spec = Spec::authority("ca", &ca, "root", &root);
            write("ca.pem", pem_file([&ca_spec.der()[..]]));
            write("root.pem", pem_file([&Spec::root("root", &root).der()[..]]));
            Spec::leaf("signer", &leaf, "ca", &ca).der()
        } else {
            Spec::leaf("signer", &leaf, "signer", &leaf).der()
        };
        write("leaf.pem", pem_file([&certificate[..]]));
        if !chained {
            write("root.pem", pem_file([&certificate[..]]));
        }
        write("key.pem", leaf.pkcs8_pem());
        let other = Key::new(Scheme::P256(256));
        write(
            "other.pem",
            pem_file([&Spec::root("root", &other).der()[..]]),
        );
        Some(certified)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The signer's options; the two sides spell them differently.
    fn signer(&self, dash: char) -> Vec<OsString> {
        let spell =
            |flag: &str| OsString::from(format!("--{}", flag.replace(' ', &dash.to_string())));
        let mut words = vec![
            spell("private key"),
            self.path("key.pem").into(),
            spell("signing certificate"),
            self.path("leaf.pem").into(),
        ];
        // The reference can't sign without a chain.
        if self.chained || dash == '_' {
            let chain = if self.chained { "ca.pem" } else { "leaf.pem" };
            words.extend([spell("certificate chain"), self.path(chain).into()]);
        }
        words
    }

    fn sign_here(&self) {
        let words = [
            "sign".into(),
            self.path("model").into(),
            "--hash".into(),
            "sha256".into(),
        ];
        model_fs(words.into_iter().chain(self.signer('-'))).expect("sign here");
    }

    fn signature(&self) -> [OsString; 2] {
        ["--signature".into(), self.path("model/model.sig").into()]
    }

    fn sign_there(&self) {
        let words = [
            "sign".into(),
            "certificate".into(),
            self.path("model").into(),
        ];
        let words = words.into_iter().chain(self.signature());
        self.reference
            .run(words.chain(self.signer('_')))
            .expect("sign there");
    }

    fn verify_here(&self, anchor: &str) -> Finished {
        let words: [OsString; 4] = [
            "verify".into(),
            self.path("model").into(),
            "--certificate-chain".into(),
            self.path(anchor).into(),
        ];
        model_fs(words)
    }

    fn verify_there(&self, anchor: &str) -> Finished {
        let words = [
            "verify".into(),
            "certificate".into(),
            self.path("model").into(),
        ];
        let anchor = ["--certificate_chain".into(), self.path(anchor).into()];
        let words = words.into_iter().chain(self.signature());
        self.reference.run(words.chain(anchor))
    }

    /// Both sides accept the model under the right root, and refuse it under another root and once
    /// a byte is changed.
    fn must_hold(&self, what: &str) {
        let shown = model_fs(["inspect".into(), self.path("model")]);
        let shown = shown.expect(what).stdout;
        for part in [
            "NOTHING WAS VERIFIED",
            "CN=signer",
            "SHA-256 ",
            "valid from ",
        ] {
            assert!(shown.contains(part), "{what}: {part}: {shown}");
        }
        self.verify_here("root.pem").expect(what);
        self.verify_there("root.pem").expect(what);
        self.verify_here("other.pem").expect_code(3, what);
        let there = self.verify_there("other.pem");
        assert!(
            !there.succeeded(),
            "{what}: the reference accepts another root: {there}"
        );
        flip(&self.path("model/a/weights.bin"), 1234);
        self.verify_here("root.pem").expect_code(4, what);
        let there = self.verify_there("root.pem");
        assert!(
            !there.succeeded(),
            "{what}: the reference accepts a changed file: {there}"
        );
        flip(&self.path("model/a/weights.bin"), 1234);
    }
}

fn there_and_back(chained: bool) {
    for scheme in [Scheme::P256(256), Scheme::P384(384), Scheme::P521(512)] {
        let Some(certified) = Certified::new(scheme, chained) else {
            return;
        };
        certified.sign_here();
        certified.must_hold(&format!("{scheme:?}, signed here"));
        fs::remove_file(certified.path("model/model.sig")).expect("remove a signature");
        certified.sign_there();
        certified.must_hold(&format!("{scheme:?}, signed there"));
    }
}

#[test]
fn a_chain_of_three_levels_holds_on_both_sides() {
    there_and_back(true);
}

#[test]
fn a_certificate_that_signs_itself_holds_on_both_sides() {
    there_and_back(false);
}
