//! Certificates, there and back through the Python reference (`model_signing` 1.1).
//!
//! Runs where the program `model_signing` is on the path, or where `MODEL_FS_REFERENCE` says; says so
//! where it isn't.

#[allow(dead_code)] // each test uses a part of it
mod pki;

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use model_fs::digest::Algorithm;
use model_fs::manifest::{
    Description, Manifest, ManifestFile, Serialization, SignedContent, VerifiedManifest,
};
use model_fs::name::FileName;
use model_fs::oms::certificate::Anchors;
use model_fs::oms::key::PrivateKey;
use model_fs::oms::sign::{Compat, Signing, SigningCertificate};
use model_fs::oms::trust::Trust;

use self::pki::{Key, Scheme, Spec, pem_file};

fn reference() -> Option<OsString> {
    let program = std::env::var_os("MODEL_FS_REFERENCE").unwrap_or_else(|| "model_signing".into());
    match Command::new(&program).arg("--version").output() {
        Ok(output) if output.status.success() => Some(program),
        _ => {
            eprintln!("skipped: no model_signing program");
            None
        }
    }
}

struct Model {
    folder: tempfile::TempDir,
    manifest: Manifest,
}

impl Model {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir_all(folder.path().join("model/a")).unwrap();
        let files = ["a/weights.bin", "config.json"].map(|name| {
            fs::write(folder.path().join("model").join(name), name).unwrap();
            ManifestFile {
                name: FileName::new(name).unwrap(),
                content: SignedContent::Whole(Algorithm::Sha256.hash(name.as_bytes())),
            }
        });
        let description = Description {
            subject_name: "model".into(),
            hash: Algorithm::Sha256,
            serialization: Serialization::Files,
            allow_symlinks: false,
            ignore_paths: Vec::new(),
        };
        let manifest = Manifest::new(description, files.into()).unwrap();
        Self { folder, manifest }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn write(&self, name: &str, bytes: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(name);
        fs::write(&path, bytes).unwrap();
        path
    }
}

fn run(program: &OsString, verb: &str, model: &Model, arguments: &[(&str, &Path)]) -> Output {
    let mut command = Command::new(program);
    command.args([verb, "certificate"]).arg(model.path("model"));
    for (flag, path) in arguments {
        command.arg(flag).arg(path);
    }
    command.output().unwrap()
}

#[test]
fn there_and_back() {
    let Some(program) = reference() else { return };
    for (name, scheme) in [
        ("P-256", Scheme::P256(256)),
        ("P-384", Scheme::P384(384)),
        ("P-521", Scheme::P521(512)),
    ] {
        let model = Model::new();
        let (root, ca, leaf) = (
            Key::new(Scheme::Rsa(256)),
            Key::new(Scheme::P256(256)),
            Key::new(scheme),
        );
        let root_pem = pem_file([&Spec::root("root", &root).der()[..]]);
        let ca_pem = pem_file([&Spec::authority("ca", &ca, "root", &root).der()[..]]);
        let leaf_pem = pem_file([&Spec::leaf("signer", &leaf, "ca", &ca).der()[..]]);
        let trust = Trust::Certificate(Anchors::from_pem([&root_pem]).unwrap());
        let key_pem = leaf.pkcs8_pem();

        // Signed here, verified there.
        let key = PrivateKey::from_pem(key_pem.as_bytes(), None).unwrap();
        let certificate = SigningCertificate::from_pem(leaf_pem.as_bytes(), [&ca_pem]).unwrap();
        let signing = Signing::Certificate(&key, &certificate);
        let bundle = model.manifest.sign(signing, Compat::Specification).unwrap();
        let signature = model.write("ours.sig", &bundle);
        let root_file = model.write("root.pem", &root_pem);
        let arguments = [
            ("--signature", signature.as_path()),
            ("--certificate_chain", &root_file),
        ];
        let output = run(&program, "verify", &model, &arguments);
        assert!(output.status.success(), "{name}: {output:?}");

        // Signed there, verified here.
        let signature = model.path("theirs.sig");
        let arguments = [
            ("--signature", signature.as_path()),
            ("--private_key", &model.write("key.pem", &key_pem)),
            ("--signing_certificate", &model.write("leaf.pem", &leaf_pem)),
            ("--certificate_chain", &model.write("ca.pem", &ca_pem)),
        ];
        let output = run(&program, "sign", &model, &arguments);
        assert!(output.status.success(), "{name}: {output:?}");
        let verified = VerifiedManifest::verify(fs::read(&signature).unwrap(), &trust).unwrap();
        assert_eq!(verified.manifest().files(), model.manifest.files());
    }
}
