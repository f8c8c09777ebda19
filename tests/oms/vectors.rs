//! Bundles made by other implementations.
//!
//! They lie outside of the project, in `../shared/vectors` or where `MODEL_FS_VECTORS` says. Where
//! they are absent that is said, and the tests pass.

use std::fs;
use std::path::{Path, PathBuf};

use model_fs::digest::Algorithm;
use model_fs::manifest::{
    ModelShape, SignedContent, UnverifiedManifest, VerifiedManifest, VerifyManifestError,
};
use model_fs::name::FileName;
use model_fs::oms::bundle::Method;
use model_fs::oms::certificate::{Anchors, When};
use model_fs::oms::key::PublicKey;
use model_fs::oms::sigstore::SigstoreError;
use model_fs::oms::sigstore::trusted_root::TrustedRoot;
use model_fs::oms::trust::{Signer, Trust};
use model_fs::oms::verify::VerifyError;
use serde_json::Value;
use test_support::missing::vectors;

struct Case {
    folder: PathBuf,
    config: Value,
}

impl Case {
    fn all(root: &Path) -> Vec<Self> {
        let mut cases: Vec<Self> = fs::read_dir(root)
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .filter_map(|folder| {
                let config = fs::read(folder.join("config.json")).ok()?;
                let config = serde_json::from_slice(&config).unwrap();
                Some(Self { folder, config })
            })
            .collect();
        cases.sort_by(|a, b| a.folder.cmp(&b.folder));
        assert!(!cases.is_empty());
        cases
    }

    fn bundle(&self) -> Vec<u8> {
        fs::read(self.folder.join("bundle.sig")).unwrap()
    }

    fn passes(&self) -> bool {
        self.config["expect"] != "fail"
    }
}

fn key(root: &Path, name: &str) -> Trust {
    let pem = fs::read(root.join("keys").join(name)).unwrap();
    Trust::Key(PublicKey::from_pem(&pem).unwrap())
}

#[test]
fn key_bundles() {
    let Some(root) = vectors() else { return };
    let mut verified = 0;
    for case in Case::all(&root) {
        if case.config["method"] != "key" {
            continue;
        }
        let pem = case.config["verify"]["public_key"].as_str().unwrap();
        let pem = Path::new(pem).file_name().unwrap().to_str().unwrap();
        let result =
            VerifiedManifest::verify(case.bundle(), &key(&root, pem), &ModelShape::Directory);
        assert_eq!(
            result.is_ok(),
            case.passes(),
            "{}: {result:?}",
            case.folder.display()
        );
        let wrong = VerifiedManifest::verify(
            case.bundle(),
            &key(&root, "wrong-key-pub.pem"),
            &ModelShape::Directory,
        );
        assert!(wrong.is_err(), "{}", case.folder.display());

        let Ok(manifest) = result else { continue };
        verified += 1;
        let model = match case.config["model_relative_to"].as_str() {
            Some(_) => case.folder.join("model"),
            None => root.join("model-simple"),
        };
        let files = manifest.files();
        let names: Vec<_> = files.iter().map(|file| file.name.as_str()).collect();
        assert_eq!(names, ["signme-1", "signme-2"]);
        for file in files {
            let content = fs::read(model.join(&file.name)).unwrap();
            assert_eq!(
                file.content,
                SignedContent::Whole(Algorithm::Sha256.hash(&content).into())
            );
        }
    }
    assert!(verified >= 2);
}

#[test]
fn certificate_bundles() {
    let Some(root) = vectors() else { return };
    let anchors = |name: &str| {
        let pem = fs::read(root.join("keys").join(name)).unwrap();
        Trust::Certificate {
            anchors: Anchors::from_pem([pem]).unwrap(),
            when: When::Now,
        }
    };
    let mut verified = 0;
    for case in Case::all(&root) {
        if case.config["method"] != "certificate" {
            continue;
        }
        let shown = case.folder.display();
        let pem = case.config["verify"]["cert_chain"][0].as_str().unwrap();
        let pem = Path::new(pem).file_name().unwrap().to_str().unwrap();
        let result = VerifiedManifest::verify(case.bundle(), &anchors(pem), &ModelShape::Directory);
        assert_eq!(result.is_ok(), case.passes(), "{shown}: {result:?}");
        let wrong = VerifiedManifest::verify(
            case.bundle(),
            &anchors("wrong-ca-cert.pem"),
            &ModelShape::Directory,
        );
        assert!(wrong.is_err(), "{shown}");
        let key = VerifiedManifest::verify(
            case.bundle(),
            &key(&root, "signing-key-pub.pem"),
            &ModelShape::Directory,
        );
        assert!(key.is_err(), "{shown}");

        match result {
            Ok(manifest) => {
                verified += 1;
                assert!(
                    matches!(manifest.signer(), Signer::Certificate { anchor, .. }
                    if anchor.to_string() == "CN=root-ca")
                );
                for file in manifest.files() {
                    let content = fs::read(case.folder.join("model").join(&file.name)).unwrap();
                    assert_eq!(
                        file.content,
                        SignedContent::Whole(Algorithm::Sha256.hash(&content).into())
                    );
                }
                assert_eq!(manifest.files().len(), 2);
                // The issuer may be trusted without its root, and so may the signer alone.
                for name in ["int-ca-cert.pem", "signing-key-cert.pem"] {
                    VerifiedManifest::verify(case.bundle(), &anchors(name), &ModelShape::Directory)
                        .unwrap();
                }
            }
            Err(error) => assert!(
                error
                    .to_string()
                    .contains("has expired: it is valid from 2020-01-0")
                    && error.to_string().contains(" to 2020-01-02T"),
                "{error}"
            ),
        }
    }
    assert!(verified >= 2);
}

/// What the Go implementation records in `ignore_paths` is relative to where it ran.
#[test]
fn odd_ignore_paths_have_no_effect() {
    let Some(root) = vectors() else { return };
    let bundle = fs::read(root.join("key-simple-go/bundle.sig")).unwrap();
    let verified = VerifiedManifest::verify(
        bundle,
        &key(&root, "signing-key-pub.pem"),
        &ModelShape::Directory,
    )
    .unwrap();
    let ignored = |path| verified.is_ignored(&FileName::new(path).unwrap());
    assert!(!ignored("ignore-me"));
    assert!(ignored(".gitmodules"));
    assert!(ignored(".git/HEAD"));
}

#[test]
fn other_methods_are_named() {
    let Some(root) = vectors() else { return };
    for case in Case::all(&root) {
        let method = match case.config["method"].as_str() {
            Some("certificate") => Method::Certificate,
            Some("sigstore") => Method::Sigstore,
            _ => continue,
        };
        assert_eq!(
            VerifiedManifest::verify(
                case.bundle(),
                &key(&root, "signing-key-pub.pem"),
                &ModelShape::Directory
            )
            .unwrap_err(),
            VerifyManifestError::Signature(VerifyError::Method {
                trusted: Method::Key,
                found: method
            }),
            "{}",
            case.folder.display()
        );
    }
}

#[test]
fn unverified_looks() {
    let Some(root) = vectors() else { return };
    for case in Case::all(&root) {
        let name = case.folder.file_name().unwrap().to_str().unwrap();
        let result = UnverifiedManifest::parse_without_verifying(case.bundle());
        if name == "key-simple-wrong-mediatype_fail" {
            assert!(result.unwrap_err().to_string().contains("mediaType"));
            continue;
        }
        let unverified = result.unwrap();
        assert_eq!(
            unverified.claimed_material().method().name(),
            case.config["method"].as_str().unwrap()
        );
        assert_eq!(unverified.claimed_manifest().files().len(), 2);
    }
}

#[test]
fn sigstore_bundles() {
    let Some(root) = vectors() else { return };
    let mut verified = 0;
    for case in Case::all(&root) {
        if case.config["method"] != "sigstore" {
            continue;
        }
        let verify = |edit: fn(&mut String, &mut String)| {
            let text = |name: &str| case.config["verify"][name].as_str().unwrap().to_owned();
            let (mut identity, mut identity_provider) =
                (text("identity"), text("identity_provider"));
            edit(&mut identity, &mut identity_provider);
            let trust = Trust::Sigstore {
                identity,
                identity_provider,
                trusted_root: TrustedRoot::public_good(),
            };
            VerifiedManifest::verify(case.bundle(), &trust, &ModelShape::Directory)
        };
        let manifest = verify(|_, _| {});
        assert_eq!(manifest.is_ok(), case.passes(), "{manifest:?}");
        let edits: [fn(&mut String, &mut String); 6] = [
            |identity, _| identity.push('x'),
            |identity, _| identity.truncate(identity.len() - 1),
            |identity, _| identity.clear(),
            |identity, _| identity.make_ascii_uppercase(),
            |_, provider| provider.push('/'),
            |identity, provider| std::mem::swap(identity, provider),
        ];
        for edit in edits {
            assert!(matches!(
                verify(edit),
                Err(VerifyManifestError::Signature(VerifyError::Sigstore(
                    SigstoreError::OtherSigner { .. }
                )))
            ));
        }
        let wrong = VerifiedManifest::verify(
            case.bundle(),
            &key(&root, "wrong-key-pub.pem"),
            &ModelShape::Directory,
        );
        assert!(wrong.is_err(), "{}", case.folder.display());

        let Ok(manifest) = manifest else { continue };
        verified += 1;
        let trust = Trust::Sigstore {
            identity: case.config["verify"]["identity"].as_str().unwrap().into(),
            identity_provider: case.config["verify"]["identity_provider"]
                .as_str()
                .unwrap()
                .into(),
            trusted_root: TrustedRoot::public_good(),
        };
        for member in [
            "/inclusionPromise/signedEntryTimestamp",
            "/inclusionProof/hashes/0",
            "/inclusionProof/rootHash",
            "/inclusionProof/checkpoint/envelope",
            "/canonicalizedBody",
            "/logId/keyId",
        ] {
            let mut forged: Value = serde_json::from_slice(&case.bundle()).unwrap();
            let member = forged["verificationMaterial"]["tlogEntries"][0]
                .pointer_mut(member)
                .unwrap();
            // Another letter of the same alphabet, well before the padding.
            let mut text = member.as_str().unwrap().to_owned();
            let index = text.len() - 12;
            let other = if &text[index..=index] == "A" {
                "B"
            } else {
                "A"
            };
            text.replace_range(index..=index, other);
            *member = text.into();
            let forged = VerifiedManifest::verify(
                forged.to_string().into_bytes(),
                &trust,
                &ModelShape::Directory,
            );
            assert!(forged.is_err());
        }
        let Signer::Sigstore { log_index, .. } = manifest.signer() else {
            panic!("{:?}", manifest.signer());
        };
        let bundle: Value = serde_json::from_slice(&case.bundle()).unwrap();
        let entry = &bundle["verificationMaterial"]["tlogEntries"][0];
        assert_eq!(
            log_index.map(|index| index.to_string()).as_deref(),
            entry["logIndex"].as_str()
        );
        for file in manifest.files() {
            let content = fs::read(case.folder.join("model").join(&file.name)).unwrap();
            assert_eq!(
                file.content,
                SignedContent::Whole(Algorithm::Sha256.hash(&content).into())
            );
        }
    }
    assert!(verified >= 2);
}
