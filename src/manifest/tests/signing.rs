//! Manifests that are made here, signed, and verified.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::oms::bundle::Bundle;
use crate::oms::trust::Signer;
use crate::oms::verify::VerifyError;

#[test]
fn a_new_manifest_keeps_the_rules() {
    let new = |files| Manifest::new(description(Serialization::files(Algorithm::Sha256)), files);
    let file = |name| whole(name, Algorithm::Sha256);
    assert_eq!(new(vec![]), Err(ManifestError::Empty));
    assert!(matches!(
        new(vec![file("a"), file("a")]),
        Err(ManifestError::Duplicate { .. })
    ));
    assert!(matches!(
        new(vec![file("a/b"), file("a")]),
        Err(ManifestError::FileAndDirectory { .. })
    ));
    assert!(matches!(
        new(vec![file("model.sig")]),
        Err(ManifestError::ListedAndIgnored { .. })
    ));
    assert!(matches!(
        new(vec![file(".git/x")]),
        Err(ManifestError::ListedAndIgnored { .. })
    ));
    assert!(matches!(
        new(vec![whole("a", Algorithm::Blake3)]),
        Err(ManifestError::Misfit { .. })
    ));
    assert!(matches!(
        new(vec![sharded("a", Algorithm::Sha256, 10, 10)]),
        Err(ManifestError::Misfit { .. })
    ));
    let nameless = Description {
        subject_name: String::new(),
        shape: ModelShape::Directory,
        ..description(Serialization::files(Algorithm::Sha256))
    };
    assert_eq!(
        Manifest::new(nameless, vec![file("a")]),
        Err(ManifestError::NoSubjectName)
    );
}

#[test]
fn what_is_signed_is_what_is_verified() {
    let size = NonZeroU64::new(10).unwrap();
    for hash in Algorithm::ALL {
        for (serialization, files) in [
            (
                Serialization::files(hash),
                vec![whole("b/ü", hash), whole("a:0:1", hash), whole("a", hash)],
            ),
            (
                Serialization::shards(hash, size),
                vec![sharded("b", hash, 10, 1), sharded("a:b", hash, 10, 120)],
            ),
        ] {
            let manifest = Manifest::new(description(serialization), files).unwrap();
            for compat in [Compat::Specification, Compat::Reference] {
                let bundle = manifest.sign(&key(), compat).unwrap();
                let verified =
                    VerifiedManifest::verify(bundle.clone(), &trust(), &ModelShape::Directory)
                        .unwrap();
                assert_eq!(*verified, manifest);
                assert_eq!(&**verified.bundle(), bundle);
                assert_eq!(
                    verified.signer(),
                    &Signer::Key {
                        hint: key().public_key().hint().into()
                    }
                );
            }
        }
    }
}

#[test]
fn what_is_written() {
    let payload = |manifest: &Manifest, compat| {
        let bundle = Bundle::parse(&manifest.sign(&key(), compat).unwrap()).unwrap();
        serde_json::from_slice::<Value>(bundle.envelope().unverified_payload()).unwrap()
    };
    let files = Manifest::new(
        description(Serialization::files(Algorithm::Blake3)),
        vec![whole("b", Algorithm::Blake3), whole("a", Algorithm::Blake3)],
    )
    .unwrap();
    let written = payload(&files, Compat::Reference);
    assert_eq!(written, payload(&files, Compat::Specification));
    assert_eq!(
        written["predicateType"],
        "https://model_signing/signature/v1.0"
    );
    assert_eq!(
        written["predicate"]["serialization"],
        json!({
            "method": "files", "hash_type": "blake3", "allow_symlinks": false,
            "ignore_paths": [".git", ".gitattributes", ".github", ".gitignore", "model.sig"],
        })
    );
    assert_eq!(written["predicate"]["resources"][0]["name"], "a");
    assert_eq!(written["predicate"]["resources"][0]["algorithm"], "blake3");

    let shards = Manifest::new(
        description(Serialization::shards(
            Algorithm::Sha256,
            NonZeroU64::new(10).unwrap(),
        )),
        vec![sharded("a", Algorithm::Sha256, 10, 101)],
    )
    .unwrap();
    let written = payload(&shards, Compat::Specification);
    assert_eq!(
        written["predicate"]["serialization"]["shard_size"].to_string(),
        "10"
    );
    let resources = written["predicate"]["resources"].as_array().unwrap();
    let names: Vec<_> = resources
        .iter()
        .map(|r| r["name"].as_str().unwrap())
        .collect();
    assert_eq!(names[..4], ["a:0:10", "a:100:101", "a:10:20", "a:20:30"]);
    assert!(resources.iter().all(|r| r["algorithm"] == "sha256"));
    let written = payload(&shards, Compat::Reference);
    let resources = written["predicate"]["resources"].as_array().unwrap();
    assert!(
        resources
            .iter()
            .all(|r| r["algorithm"] == "sha256-sharded-10")
    );
}

/// Python's `model_signing` calls the file of a single-file model so.
#[test]
fn the_only_file_of_a_single_file_model_may_be_a_dot() {
    let shape = || ModelShape::SingleFile(FileName::new("own.gguf").unwrap());
    let verify = |bundle: &[u8]| {
        VerifiedManifest::verify(bundle, &trust(), &shape())
            .map(|verified| verified.files().to_vec())
    };
    let size = NonZeroU64::new(10).unwrap();
    for (serialization, file) in [
        (
            Serialization::files(Algorithm::Sha256),
            whole("own.gguf", Algorithm::Sha256),
        ),
        (
            Serialization::shards(Algorithm::Sha256, size),
            sharded("own.gguf", Algorithm::Sha256, 10, 101),
        ),
    ] {
        let manifest_of = |shape| {
            let description = Description {
                shape,
                ..description(serialization)
            };
            Manifest::new(description, vec![file.clone()]).unwrap()
        };
        // A directory with one file is no single-file model.
        let (directory, single) = (manifest_of(ModelShape::Directory), manifest_of(shape()));
        for manifest in [&directory, &single] {
            let bundle = manifest.sign(&key(), Compat::Specification).unwrap();
            assert_eq!(verify(&bundle).unwrap(), std::slice::from_ref(&file));
            assert!(VerifiedManifest::verify(bundle, &trust(), &ModelShape::Directory).is_ok());
        }
        let bundle = directory.sign(&key(), Compat::Reference).unwrap();
        assert!(VerifiedManifest::verify(bundle, &trust(), &ModelShape::Directory).is_ok());

        let bundle = single.sign(&key(), Compat::Reference).unwrap();
        assert_eq!(verify(&bundle).unwrap(), [file]);
        let error = VerifiedManifest::verify(bundle, &trust(), &ModelShape::Directory).unwrap_err();
        assert!(error.to_string().contains("\".\" component"), "{error}");
    }

    let bundle_of =
        |statement: Value| sign_payload(statement.to_string().into_bytes(), &key()).expect("sign");
    let listed: [(Value, &str); 7] = [
        (files(&[".", "a"]), "\".\""),
        (files(&[".", "."]), "\".\""),
        (files(&["./own.gguf"]), "\"./own.gguf\""),
        (files(&["./"]), "\"./\""),
        (files(&[".."]), "\"..\""),
        (files(&[""]), "\"\""),
        (shards(&json!(10), &[".:0:10", "a:0:10"]), "\".\""),
    ];
    for (statement, name) in listed {
        let error = verify(&bundle_of(statement)).unwrap_err();
        assert!(
            matches!(error, VerifyManifestError::Manifest(ManifestError::Name(_))),
            "{error}"
        );
        assert!(error.to_string().contains(name), "{error}");
    }
    // Ranges are ranges, whatever the file is called.
    let error = verify(&bundle_of(shards(&json!(10), &[".:0:10", ".:20:21"]))).unwrap_err();
    assert!(error.to_string().contains("gap"), "{error}");
}

#[test]
fn another_key_is_named() {
    let other = include_bytes!("../../../tests/data/keys/p384-pub.pem");
    let other = crate::oms::key::PublicKey::from_pem(other).unwrap();
    let manifest = Manifest::new(
        description(Serialization::files(Algorithm::Sha256)),
        vec![whole("a", Algorithm::Sha256)],
    )
    .unwrap();
    let bundle = manifest.sign(&key(), Compat::Specification).unwrap();
    let error = VerifiedManifest::verify(
        bundle.clone(),
        &Trust::Key(other.clone()),
        &ModelShape::Directory,
    )
    .unwrap_err();
    assert!(matches!(
        error,
        VerifyManifestError::Signature(VerifyError::OtherKey { .. })
    ));
    // Without the hint, or with a forged one, the signature decides.
    let text = String::from_utf8(bundle).unwrap();
    for hint in ["", other.hint()] {
        let forged = text.replace(key().public_key().hint(), hint).into_bytes();
        assert_eq!(
            VerifiedManifest::verify(forged, &Trust::Key(other.clone()), &ModelShape::Directory)
                .unwrap_err(),
            VerifyManifestError::Signature(VerifyError::Signature)
        );
    }
}

fn any_names() -> impl Strategy<Value = Vec<String>> {
    // One letter before each name keeps it from being a file and a directory, or ignored.
    prop::collection::btree_set("[a-zé0-9:. \\-]{0,8}", 1..20)
        .prop_map(|names| names.into_iter().map(|name| format!("d/f{name}")).collect())
}

proptest! {
    #[test]
    fn signing_and_verifying_round_trips(
        names in any_names(),
        hash in prop::sample::select(Algorithm::ALL.to_vec()),
        size in prop::option::of(1_u64..50),
        lens in prop::collection::vec(1_u64..500, 20),
        reference: bool,
    ) {
        let files = names.iter().zip(lens).map(|(name, len)| match size {
            None => whole(name, hash),
            Some(size) => sharded(name, hash, size, len),
        }).collect();
        let shard_size = size.and_then(NonZeroU64::new);
        let serialization = Serialization { hash, shard_size };
        let manifest = Manifest::new(description(serialization), files).unwrap();
        let compat = if reference { Compat::Reference } else { Compat::Specification };
        let bundle = manifest.sign(&key(), compat).unwrap();
        let verified = VerifiedManifest::verify(bundle, &trust(), &ModelShape::Directory).unwrap();
        prop_assert_eq!(&*verified, &manifest);
    }
}
