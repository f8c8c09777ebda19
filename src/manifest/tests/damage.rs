//! Statements and bundles that are damaged anywhere.

use proptest::prelude::*;
use serde_json::json;

use super::*;

#[test]
fn every_flipped_bit_of_the_bundle_fails_or_changes_nothing() {
    let manifest = Manifest::new(
        description(Serialization::files(Algorithm::Sha256)),
        vec![whole("a", Algorithm::Sha256)],
    )
    .unwrap();
    let bundle = manifest.sign(&key(), Compat::Specification).unwrap();
    let text = std::str::from_utf8(&bundle).unwrap();
    let within = |member: &str| {
        let start = text.find(member).unwrap() + member.len();
        start..start + text[start..].find('"').unwrap()
    };
    let covered = [within("\"payload\":\""), within("\"sig\":\"")];
    for index in 0..bundle.len() {
        for bit in 0..8 {
            let mut flipped = bundle.clone();
            flipped[index] ^= 1 << bit;
            match VerifiedManifest::verify(flipped, &trust(), &ModelShape::Directory) {
                Err(_) => {}
                Ok(verified) => {
                    // Members outside of the signature may change where nothing depends on them.
                    assert!(
                        !covered.iter().any(|range| range.contains(&index)),
                        "{index}.{bit}"
                    );
                    assert_eq!(*verified, manifest);
                }
            }
        }
    }
}

proptest! {
    /// Whatever a trusted signer signed, it is an error or a manifest that keeps the rules.
    #[test]
    fn damaged_statements_are_errors_or_keep_the_rules(
        sharded: bool,
        edits in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
        cut in prop::option::of(any::<prop::sample::Index>()),
    ) {
        let statement = if sharded {
            shards(&json!(10), &["a:0:10", "a:10:15", "b/c:0:3"])
        } else {
            files(&["a", "b/c", "b/d"])
        };
        let mut payload = statement.to_string().into_bytes();
        for (index, byte) in edits {
            let index = index.index(payload.len());
            payload[index] = byte;
        }
        if let Some(cut) = cut {
            payload.truncate(cut.index(payload.len()));
        }
        let bundle = sign_payload(payload, &key()).unwrap();
        if let Ok(verified) = VerifiedManifest::verify(bundle, &trust(), &ModelShape::Directory) {
            let manifest = &*verified;
            prop_assert!(manifest.files().is_sorted_by(|a, b| a.name < b.name));
            prop_assert!(!manifest.files().is_empty());
            for file in manifest.files() {
                prop_assert!(FileName::new(file.name.as_str()).is_ok());
                prop_assert_eq!(file.content.algorithm(), manifest.hash());
                prop_assert!(file.content.len() != Some(0));
                prop_assert!(!manifest.is_ignored(&file.name));
            }
        }
    }

    #[test]
    fn damaged_bundles_are_errors_and_nothing_worse(
        edits in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
        cut in prop::option::of(any::<prop::sample::Index>()),
    ) {
        let mut bundle = sign_payload(files(&["a"]).to_string().into_bytes(), &key()).unwrap();
        for (index, byte) in edits {
            let index = index.index(bundle.len());
            bundle[index] = byte;
        }
        if let Some(cut) = cut {
            bundle.truncate(cut.index(bundle.len()));
        }
        let _ = UnverifiedManifest::parse_without_verifying(bundle.as_slice());
        if let Ok(verified) = VerifiedManifest::verify(bundle, &trust(), &ModelShape::Directory) {
            prop_assert_eq!(&*verified, &signed(&files(&["a"])).unwrap());
        }
    }
}
