//! The Sigstore method against an instance of our own: every part that a forger could change is
//! changed, one at a time.

mod program;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use model_fs::manifest::{ModelShape, VerifiedManifest};
use model_fs::oms::bundle::{Bundle, BundleError, EvidenceError, Material, Method};
use model_fs::oms::claim::Claim;
use model_fs::oms::sigstore::trusted_root::TrustedRoot;
use model_fs::oms::sigstore::{CertificateRule, EntryRule, SigstoreError};
use model_fs::oms::trust::{Signer, Trust};
use model_fs::oms::verify::{VerifyError, verify};
use proptest::prelude::*;
use serde_json::{Value, json};
use test_support::sigstore::der::{
    self, Certificate, Extension, Key, name, octets, seq, tlv, utf8,
};
use test_support::sigstore::instance::{
    CODE_SIGNING, EXTENDED_KEY_USAGE, Entry, IDENTITY, ISSUER, ISSUER_V1_OID, ISSUER_V2_OID,
    Instance, KEY_USAGE, Kind, LIFETIME, NOW, Parts, SAN, Signing, TIME_STAMPING, b64, body,
    checkpoint, email, root_of, sct, statement, time, timestamp, trust, uri,
};

fn check(bundle: &[u8], trust: &Trust) -> Result<Signer, VerifyError> {
    verify(bundle, trust).map(|verified| verified.signer().clone())
}

/// The error of a bundle that is of the method Sigstore and malformed in no other way.
fn rejected(bundle: &Parts, trust: &Trust) -> SigstoreError {
    refused(&bundle.to_json(), trust)
}

fn refused(bundle: &[u8], trust: &Trust) -> SigstoreError {
    match check(bundle, trust) {
        Err(VerifyError::Sigstore(error)) => error,
        other => panic!("{other:?}"),
    }
}

/// Changes one byte in a member that holds base64.
fn flip(member: &mut Value) {
    let mut bytes = STANDARD.decode(member.as_str().unwrap()).unwrap();
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    *member = b64(bytes).into();
}

#[test]
fn every_kind_of_log_entry_verifies() {
    let instance = Instance::new();
    for kind in Kind::ALL {
        let signing = Signing::new(&instance, kind);
        let bundle = signing.bundle().to_json();
        let manifest =
            VerifiedManifest::verify(bundle, &instance.trust(), &ModelShape::Directory).unwrap();
        assert_eq!(manifest.files().len(), 2);
        let Signer::Sigstore {
            identity,
            identity_provider,
            log_index,
            integrated_time,
            signed_before,
        } = manifest.signer()
        else {
            panic!("{:?}", manifest.signer());
        };
        assert_eq!(
            (identity.as_str(), identity_provider.as_str()),
            (IDENTITY, ISSUER)
        );
        let v2 = kind == Kind::HashedRekord;
        assert_eq!(*log_index, Some(if v2 { 5 } else { 1_000_005 }));
        assert_eq!(integrated_time.is_none(), v2);
        let seconds = signed_before
            .duration_since(std::time::UNIX_EPOCH)
            .unwrap()
            .as_secs();
        assert_eq!(seconds, u64::try_from(NOW + 5).unwrap());
        assert_eq!(
            manifest.signer().to_string(),
            format!("Sigstore identity \"{IDENTITY}\" of \"{ISSUER}\"")
        );
        assert_eq!(manifest.signer().method(), Method::Sigstore);
        // The same text as a claim.
        let claimed = Bundle::parse(&signing.bundle().to_json()).unwrap();
        assert_eq!(
            Claim::of(claimed.material()).to_string(),
            manifest.signer().to_string()
        );
        let Material::Sigstore { evidence, .. } = claimed.material() else {
            panic!("{:?}", claimed.material());
        };
        let entry = &evidence.claimed_entries()[0];
        assert_eq!((entry.claimed_kind(), entry.claimed_version()), kind.name());
        assert_eq!(Some(entry.claimed_index()), *log_index);
        assert_eq!(entry.claimed_time().is_none(), v2);
    }
}

#[test]
fn trees_of_every_shape() {
    let instance = Instance::new();
    let signing = Signing::new(&instance, Kind::Dsse);
    let bundle = signing.bundle();
    let logged = body(
        Kind::Dsse,
        &bundle.certificate,
        &bundle.signature,
        &bundle.payload,
    );
    for size in [1, 2, 3, 5, 7, 8, 9] {
        for position in 0..size {
            let mut entry = Entry::new(&instance, Kind::Dsse, &logged, signing.time);
            entry.position = position;
            entry.leaves.truncate(size);
            let mut bundle = bundle.clone();
            bundle.entries = vec![entry.to_json()];
            check(&bundle.to_json(), &instance.trust()).unwrap();
        }
    }
}

#[test]
fn identity_and_provider_are_compared_whole() {
    let instance = Instance::new();
    for kind in Kind::ALL {
        let bundle = Signing::new(&instance, kind).bundle();
        for (identity, issuer) in [
            ("signer@example.or", ISSUER),
            ("signer@example.org.evil.example", ISSUER),
            ("igner@example.org", ISSUER),
            ("Signer@example.org", ISSUER),
            ("signer@example.org ", ISSUER),
            (".*", ISSUER),
            ("", ISSUER),
            (IDENTITY, ""),
            (IDENTITY, "https://accounts.example.org"),
            (IDENTITY, "https://accounts.example.org/oauth2/"),
            (IDENTITY, "https://accounts.example.org/OAuth2"),
            (ISSUER, IDENTITY),
        ] {
            let error = rejected(&bundle, &instance.trust_in(identity, issuer));
            assert!(
                matches!(error, SigstoreError::OtherSigner { .. }),
                "{identity} {issuer}: {error}"
            );
        }
    }
}

#[test]
fn identities_are_emails_or_uris() {
    const WORKFLOW: &str = "https://github.com/o/r/.github/workflows/w.yml@refs/heads/main";
    let instance = Instance::new();
    let mut signing = Signing::new(&instance, Kind::Dsse);
    *signing.extension(SAN) = uri(WORKFLOW);
    let bundle = signing.bundle().to_json();
    check(&bundle, &instance.trust_in(WORKFLOW, ISSUER)).unwrap();
    let shorter = &WORKFLOW[..WORKFLOW.len() - 5];
    assert!(check(&bundle, &instance.trust_in(shorter, ISSUER)).is_err());
}

/// What an identity contains may not reach a terminal.
#[test]
fn identities_are_shown_escaped() {
    let instance = Instance::new();
    let mut signing = Signing::new(&instance, Kind::Dsse);
    let identity = "a\u{1b}[2Jb@example.org";
    *signing.extension(SAN) = email(identity);
    let bundle = signing.bundle().to_json();
    let signer = check(&bundle, &instance.trust_in(identity, ISSUER)).unwrap();
    for shown in [
        signer.to_string(),
        refused(&bundle, &instance.trust()).to_string(),
    ] {
        assert!(shown.contains("a\\u{1b}[2Jb@example.org"), "{shown}");
    }
}

/// A change of the certificate's extensions, and the rule that it breaks.
type Change = (Bend, CertificateRule);

#[test]
fn certificates_are_unambiguous() {
    let changes: [Change; 16] = [
        (
            |s| s.remove_extension(SAN),
            CertificateRule::Identities { found: 0 },
        ),
        (
            |s| s.extension(SAN).value = seq(&[]),
            CertificateRule::Identities { found: 0 },
        ),
        (
            |s| {
                let (ours, other) = (IDENTITY.as_bytes(), b"other@example.org");
                s.extension(SAN).value = seq(&[&tlv(0x81, ours), &tlv(0x81, other)]);
            },
            CertificateRule::Identities { found: 2 },
        ),
        (
            |s| {
                let (ours, other) = (IDENTITY.as_bytes(), b"https://example.org");
                s.extension(SAN).value = seq(&[&tlv(0x86, other), &tlv(0x81, ours)]);
            },
            CertificateRule::Identities { found: 2 },
        ),
        (
            |s| s.extension(SAN).value = seq(&[&tlv(0x82, b"signer.example.org")]),
            CertificateRule::IdentityKind,
        ),
        (
            |s| *s.extension(SAN) = email(""),
            CertificateRule::IdentityKind,
        ),
        (
            |s| {
                let again = s.extension(SAN).clone();
                s.certificate.extensions.push(again);
            },
            CertificateRule::Malformed,
        ),
        (
            |s| {
                s.remove_extension(ISSUER_V1_OID);
                s.remove_extension(ISSUER_V2_OID);
            },
            CertificateRule::NoIssuer,
        ),
        (
            |s| s.extension(ISSUER_V1_OID).value = b"https://other.example".to_vec(),
            CertificateRule::Issuers,
        ),
        (
            |s| s.extension(ISSUER_V2_OID).value = utf8("https://other.example"),
            CertificateRule::Issuers,
        ),
        (
            |s| {
                let again = s.extension(ISSUER_V2_OID).clone();
                s.certificate.extensions.push(again);
            },
            CertificateRule::Issuers,
        ),
        (
            |s| s.extension(ISSUER_V2_OID).value = ISSUER.into(),
            CertificateRule::MalformedIssuer,
        ),
        (
            |s| s.extension(ISSUER_V1_OID).value = vec![0xff],
            CertificateRule::MalformedIssuer,
        ),
        (
            |s| s.extension(ISSUER_V1_OID).value.clear(),
            CertificateRule::MalformedIssuer,
        ),
        (|s| s.remove_extension(KEY_USAGE), CertificateRule::KeyUsage),
        (
            |s| *s.extension(KEY_USAGE) = Extension::key_usage(0b0000_0100),
            CertificateRule::KeyUsage,
        ),
    ];
    let instance = Instance::new();
    for (number, (change, rule)) in changes.into_iter().enumerate() {
        let mut signing = Signing::new(&instance, Kind::Dsse);
        change(&mut signing);
        assert_eq!(
            rejected(&signing.bundle(), &instance.trust()),
            SigstoreError::Certificate(rule),
            "{number}"
        );
    }
    // Either of the issuer's extensions alone is fine.
    for remove in [ISSUER_V1_OID, ISSUER_V2_OID] {
        let mut signing = Signing::new(&instance, Kind::Dsse);
        signing.remove_extension(remove);
        check(&signing.bundle().to_json(), &instance.trust()).unwrap();
    }
}

#[test]
fn certificates_are_of_the_authority_and_for_code_signing() {
    let instance = Instance::new();
    let changes: [fn(&mut Signing<'_>); 5] = [
        |s| s.remove_extension(EXTENDED_KEY_USAGE),
        |s| *s.extension(EXTENDED_KEY_USAGE) = Extension::usage("1.3.6.1.5.5.7.3.1", false),
        |s| s.certificate.extensions.push(Extension::authority()),
        |s| {
            let unknown = Extension::new("1.3.6.1.4.1.99999.1", true, octets(b""));
            s.certificate.extensions.push(unknown);
        },
        |s| s.certificate.issuer = name("somebody"),
    ];
    for kind in Kind::ALL {
        for (number, change) in changes.iter().enumerate() {
            let mut signing = Signing::new(&instance, kind);
            change(&mut signing);
            let error = rejected(&signing.bundle(), &instance.trust());
            assert!(
                matches!(error, SigstoreError::Chain(_)),
                "{number}: {error}"
            );
        }
        // An authority of the same name and another key.
        let signing = Signing::new(&instance, kind);
        let certificate = signing.certified_by(&Key::p256(), &instance.certificate_log, NOW);
        let error = rejected(&signing.bundle_with(&certificate), &instance.trust());
        assert!(matches!(error, SigstoreError::Chain(_)), "{error}");
        // The holder of a signer's certificate acts as an authority.
        let holder = Signing::new(&instance, kind);
        let mut signing = Signing::new(&instance, kind);
        signing.certificate.issuer = holder.certificate.subject.clone();
        let certificate = signing.certified_by(&holder.key, &instance.certificate_log, NOW);
        let error = rejected(&signing.bundle_with(&certificate), &instance.trust());
        assert!(matches!(error, SigstoreError::Chain(_)), "{error}");
    }
}

/// The root alone may be the authority too.
#[test]
fn roots_may_issue() {
    let instance = Instance::new();
    let mut signing = Signing::new(&instance, Kind::HashedRekord);
    signing.certificate.issuer = name("root");
    let certificate = signing.certified_by(&instance.root.0, &instance.certificate_log, NOW);
    let bundle = signing.bundle_with(&certificate).to_json();
    check(&bundle, &instance.trust()).unwrap();
    let mut root = instance.trusted_root();
    root["certificateAuthorities"][0]["certChain"]["certificates"] =
        json!([{ "rawBytes": b64(&instance.root.1) }]);
    check(&bundle, &trust(&root, IDENTITY, ISSUER)).unwrap();
}

#[test]
fn certificates_are_used_while_valid() {
    let instance = Instance::new();
    for kind in Kind::ALL {
        for (seconds, valid) in [
            (NOW - 1, false),
            (NOW, true),
            (NOW + LIFETIME, true),
            (NOW + LIFETIME + 1, false),
            (NOW + 30 * 24 * 3600, false),
        ] {
            let mut signing = Signing::new(&instance, kind);
            signing.time = seconds;
            let result = check(&signing.bundle().to_json(), &instance.trust());
            assert_eq!(result.is_ok(), valid, "{kind:?} {seconds}: {result:?}");
            if let Err(error) = result {
                assert!(
                    matches!(error, VerifyError::Sigstore(SigstoreError::Chain(_))),
                    "{error}"
                );
            }
        }
    }
}

#[test]
fn one_good_time_does_not_cover_for_a_bad_one() {
    let instance = Instance::new();
    let mut signing = Signing::new(&instance, Kind::Dsse);
    let mut bundle = signing.bundle();
    bundle.timestamps = vec![signing.timestamp(&bundle.signature)];
    check(&bundle.to_json(), &instance.trust()).unwrap();
    signing.time = NOW + LIFETIME + 1;
    bundle.timestamps.push(signing.timestamp(&bundle.signature));
    let error = rejected(&bundle, &instance.trust());
    assert!(matches!(error, SigstoreError::Chain(_)), "{error}");
}

#[test]
fn the_future_proves_nothing() {
    let instance = Instance::new();
    let mut signing = Signing::new(&instance, Kind::Dsse);
    signing.time = jiff::Timestamp::now().as_second() + 3600;
    signing.certificate.validity = [NOW, signing.time + 60];
    assert!(check(&signing.bundle().to_json(), &instance.trust()).is_err());
}

#[test]
fn certificates_are_logged() {
    let instance = Instance::new();
    for kind in Kind::ALL {
        let signing = Signing::new(&instance, kind);
        let with = |extensions: Vec<Extension>| {
            let mut certificate = signing.certificate.clone();
            certificate.extensions.extend(extensions);
            let certificate = certificate.signed(&instance.authority.0);
            rejected(&signing.bundle_with(&certificate), &instance.trust())
        };
        let length = |bytes: &[u8]| {
            let length = u16::try_from(bytes.len()).unwrap();
            [&length.to_be_bytes(), bytes].concat()
        };
        let scts = |scts: &[Vec<u8>]| {
            let list: Vec<u8> = scts.iter().flat_map(|sct| length(sct)).collect();
            let value = octets(&length(&list));
            vec![Extension::new("1.3.6.1.4.1.11129.2.4.2", false, value)]
        };
        let tbs = signing.certificate.tbs();
        let (issuer, log) = (instance.authority.0.id(), &instance.certificate_log);
        let good = sct(&tbs, &issuer, log, NOW);
        let mut flipped = good.clone();
        *flipped.last_mut().unwrap() ^= 1;
        let mut of_another = signing.certificate.clone();
        of_another.serial += 1;
        for (number, bad) in [
            vec![],
            scts(&[]),
            scts(&[good.clone(), good.clone()]),
            scts(&[flipped]),
            // By a log that isn't trusted, and by one that is trusted for something else.
            scts(&[sct(&tbs, &issuer, &Key::p256(), NOW)]),
            scts(&[sct(&tbs, &issuer, &instance.rekor, NOW)]),
            // Over another certificate, or for another authority.
            scts(&[sct(&of_another.tbs(), &issuer, log, NOW)]),
            scts(&[sct(&tbs, &instance.root.0.id(), log, NOW)]),
            // At a time when the log's key was not in use.
            scts(&[sct(&tbs, &issuer, log, NOW - 2 * 365 * 24 * 3600)]),
            scts(&[good[..good.len() - 1].to_vec()]),
        ]
        .into_iter()
        .enumerate()
        {
            let error = with(bad);
            assert!(
                matches!(error, SigstoreError::Chain(_)),
                "{number}: {error}"
            );
        }
    }
}

#[test]
fn a_tampered_payload_or_signature_is_noticed() {
    let instance = Instance::new();
    for kind in Kind::ALL {
        let bundle = Signing::new(&instance, kind).bundle();
        let mut changed = bundle.clone();
        changed.payload.push(b' ');
        assert_eq!(
            rejected(&changed, &instance.trust()),
            SigstoreError::Signature
        );
        // Another statement, good by itself.
        let mut changed = bundle.clone();
        changed.payload = statement("other");
        assert_eq!(
            rejected(&changed, &instance.trust()),
            SigstoreError::Signature
        );
        let mut changed = bundle.clone();
        *changed.signature.last_mut().unwrap() ^= 1;
        assert!(check(&changed.to_json(), &instance.trust()).is_err());
        // Signed without saying what type of payload it is.
        let mut signing = Signing::new(&instance, kind);
        signing.payload = bundle.payload.clone();
        let mut changed = signing.bundle();
        changed.signature = signing.key.sign(&changed.payload);
        assert!(check(&changed.to_json(), &instance.trust()).is_err());
    }
}

/// Nothing of one bundle fits another, though each part verifies in its own.
#[test]
fn parts_of_two_bundles_do_not_mix() {
    let instance = Instance::new();
    for kind in Kind::ALL {
        let ours = Signing::new(&instance, kind).bundle();
        let mut signing = Signing::new(&instance, kind);
        signing.payload = statement("other");
        let theirs = signing.bundle();
        for bundle in [&ours, &theirs] {
            check(&bundle.to_json(), &instance.trust()).unwrap();
        }
        let swaps: [fn(&mut Parts, &Parts); 6] = [
            |a, b| a.payload = b.payload.clone(),
            |a, b| a.signature = b.signature.clone(),
            |a, b| a.certificate = b.certificate.clone(),
            |a, b| a.entries = b.entries.clone(),
            |a, b| (a.payload, a.signature) = (b.payload.clone(), b.signature.clone()),
            |a, b| a.entries.extend(b.entries.clone()),
        ];
        for (number, swap) in swaps.into_iter().enumerate() {
            let mut mixed = ours.clone();
            swap(&mut mixed, &theirs);
            let result = check(&mixed.to_json(), &instance.trust());
            assert!(result.is_err(), "{kind:?} {number}");
        }
        let mut mixed = ours.clone();
        mixed.timestamps = vec![signing.timestamp(&theirs.signature)];
        let error = rejected(&mixed, &instance.trust());
        assert!(matches!(error, SigstoreError::Time(_)), "{error}");
    }
}

/// The same key in two certificates: the log saw one of them.
#[test]
fn the_logged_certificate_is_the_bundles() {
    let instance = Instance::new();
    for kind in Kind::ALL {
        let mut signing = Signing::new(&instance, kind);
        let mut bundle = signing.bundle();
        signing.certificate.serial += 1;
        bundle.certificate = signing.certified();
        assert!(
            check(&bundle.to_json(), &instance.trust()).is_err(),
            "{kind:?}"
        );
        if kind == Kind::Intoto {
            assert_eq!(
                rejected(&bundle, &instance.trust()),
                SigstoreError::Entry(EntryRule::Certificate)
            );
        }
    }
}

/// The forgeries that another library of Sigstore's accepted.
#[test]
fn forged_log_entries_are_noticed() {
    let instance = Instance::new();
    for kind in Kind::ALL {
        let bundle = Signing::new(&instance, kind).bundle();
        let forged = |edit: &dyn Fn(&mut Value)| {
            let mut forged = bundle.clone();
            edit(&mut forged.entries[0]);
            assert_ne!(forged.entries, bundle.entries);
            rejected(&forged, &instance.trust())
        };
        // Any hash of the proof.
        for hash in 0..bundle.entries[0]["inclusionProof"]["hashes"]
            .as_array()
            .unwrap()
            .len()
        {
            let error = forged(&|entry| flip(&mut entry["inclusionProof"]["hashes"][hash]));
            assert!(matches!(error, SigstoreError::Log(_)), "{error}");
        }
        let error = forged(&|entry| {
            entry["inclusionProof"]["hashes"]
                .as_array_mut()
                .unwrap()
                .pop();
        });
        assert!(matches!(error, SigstoreError::Log(_)), "{error}");
        // The signature of the checkpoint.
        let error = forged(&|entry| {
            let note = &mut entry["inclusionProof"]["checkpoint"]["envelope"];
            let (head, signature) = note.as_str().unwrap().trim_end().rsplit_once(' ').unwrap();
            let (head, mut signature) = (head.to_owned(), Value::from(signature));
            flip(&mut signature);
            *note = format!("{head} {}\n", signature.as_str().unwrap()).into();
        });
        assert_eq!(error, SigstoreError::Entry(EntryRule::CheckpointSignature));
        // What the checkpoint says.
        let error = forged(&|entry| {
            let note = &mut entry["inclusionProof"]["checkpoint"]["envelope"];
            *note = note.as_str().unwrap().replacen("1234", "1235", 1).into();
        });
        assert_eq!(error, SigstoreError::Entry(EntryRule::CheckpointSignature));
        if kind == Kind::HashedRekord {
            let error = forged(&|entry| entry["logIndex"] = "6".into());
            assert!(matches!(error, SigstoreError::Log(_)), "{error}");
        } else {
            let edits: [fn(&mut Value); 4] = [
                |entry| flip(&mut entry["inclusionPromise"]["signedEntryTimestamp"]),
                |entry| entry["integratedTime"] = (NOW + 6).to_string().into(),
                |entry| entry["logIndex"] = "1000006".into(),
                |entry| drop(entry.as_object_mut().unwrap().remove("integratedTime")),
            ];
            for edit in edits {
                let error = forged(&edit);
                assert!(
                    matches!(error, SigstoreError::Log(_) | SigstoreError::Time(_)),
                    "{error}"
                );
            }
            let error = forged(&|entry| flip(&mut entry["inclusionProof"]["rootHash"]));
            assert!(
                matches!(error, SigstoreError::Log(_) | SigstoreError::Other(_)),
                "{error}"
            );
            let error = forged(&|entry| entry["inclusionProof"]["logIndex"] = "6".into());
            assert!(matches!(error, SigstoreError::Log(_)), "{error}");
            let error = forged(&|entry| entry["inclusionProof"]["treeSize"] = "12".into());
            assert_eq!(error, SigstoreError::Entry(EntryRule::TreeSize));
        }
        // Any change of the body.
        let error = forged(&|entry| {
            let mut body = STANDARD
                .decode(entry["canonicalizedBody"].as_str().unwrap())
                .unwrap();
            body.insert(0, b' ');
            entry["canonicalizedBody"] = b64(body).into();
        });
        assert!(
            matches!(error, SigstoreError::Log(_) | SigstoreError::Time(_)),
            "{error}"
        );
    }
}

/// A whole entry of the forger's own: their tree, their checkpoint, their promise.
#[test]
fn entries_of_other_logs_are_refused() {
    let (instance, forger) = (Instance::new(), Instance::new());
    for kind in Kind::ALL {
        let signing = Signing::new(&instance, kind);
        let mut bundle = signing.bundle();
        let logged = body(
            kind,
            &bundle.certificate,
            &bundle.signature,
            &bundle.payload,
        );
        bundle.entries = vec![Entry::new(&forger, kind, &logged, signing.time).to_json()];
        let error = rejected(&bundle, &instance.trust());
        assert!(
            matches!(error, SigstoreError::Entry(EntryRule::UnknownLog { .. })),
            "{error}"
        );
        // Under the name of the trusted log.
        let log = match kind {
            Kind::HashedRekord => &instance.rekor_v2,
            _ => &instance.rekor,
        };
        bundle.entries[0]["logId"]["keyId"] = b64(log.id()).into();
        let error = rejected(&bundle, &instance.trust());
        assert_eq!(error, SigstoreError::Entry(EntryRule::CheckpointSignature));
        // With that log's key hint in the checkpoint too.
        let note = bundle.entries[0]["inclusionProof"]["checkpoint"]["envelope"].clone();
        let (head, signature) = note.as_str().unwrap().trim_end().rsplit_once(' ').unwrap();
        let mut signature = STANDARD.decode(signature).unwrap();
        signature[..4].copy_from_slice(&log.id()[..4]);
        bundle.entries[0]["inclusionProof"]["checkpoint"]["envelope"] =
            format!("{head} {}\n", b64(signature)).into();
        let error = rejected(&bundle, &instance.trust());
        assert_eq!(error, SigstoreError::Entry(EntryRule::CheckpointSignature));
        // Beside an honest entry.
        let honest = signing.bundle_with(&bundle.certificate);
        let mut both = bundle.clone();
        both.signature.clone_from(&honest.signature);
        both.entries.insert(0, honest.entries[0].clone());
        assert!(check(&both.to_json(), &instance.trust()).is_err());
    }
}

/// Two trusted logs: each vouches for its own entries.
#[test]
fn logs_do_not_vouch_for_each_other() {
    let instance = Instance::new();
    let signing = Signing::new(&instance, Kind::Dsse);
    let mut bundle = signing.bundle();
    let logged = body(
        Kind::Dsse,
        &bundle.certificate,
        &bundle.signature,
        &bundle.payload,
    );
    let entry = Entry::new(&instance, Kind::Dsse, &logged, signing.time);
    let mut json = entry.to_json();
    let mut leaves = entry.leaves.clone();
    leaves[5] = der::sha256(&[&[0], &entry.body[..]].concat());
    let root = root_of(&leaves);
    json["inclusionProof"]["checkpoint"]["envelope"] =
        checkpoint(&instance.rekor_v2, leaves.len(), &root).into();
    bundle.entries = vec![json];
    assert_eq!(
        rejected(&bundle, &instance.trust()),
        SigstoreError::Entry(EntryRule::CheckpointSignature)
    );
}

#[test]
fn several_entries_must_all_hold() {
    let instance = Instance::new();
    let signing = Signing::new(&instance, Kind::Dsse);
    let mut bundle = signing.bundle();
    let mut second = Entry::new(
        &instance,
        Kind::Intoto,
        &body(
            Kind::Intoto,
            &bundle.certificate,
            &bundle.signature,
            &bundle.payload,
        ),
        NOW + 2,
    );
    second.log_index = 7;
    bundle.entries.push(second.to_json());
    let signer = check(&bundle.to_json(), &instance.trust()).unwrap();
    let Signer::Sigstore {
        log_index,
        integrated_time,
        ..
    } = signer
    else {
        panic!("{signer:?}");
    };
    assert_eq!(log_index, Some(1_000_005));
    let earliest = jiff::Timestamp::from_second(NOW + 2).unwrap();
    assert_eq!(integrated_time, Some(earliest.into()));

    flip(&mut bundle.entries[1]["inclusionPromise"]["signedEntryTimestamp"]);
    assert!(check(&bundle.to_json(), &instance.trust()).is_err());
    // `sigstore-verify` would be content with one proof for both.
    bundle.entries[1] = second.to_json();
    bundle.entries[1]
        .as_object_mut()
        .unwrap()
        .remove("inclusionProof");
    assert_eq!(
        check(&bundle.to_json(), &instance.trust()),
        Err(VerifyError::Bundle(BundleError::Evidence(
            EvidenceError::NoProof
        )))
    );
}

#[test]
fn a_time_must_be_proved() {
    let instance = Instance::new();
    for kind in Kind::ALL {
        let signing = Signing::new(&instance, kind);
        let mut bundle = signing.bundle();
        let stamped = vec![signing.timestamp(&bundle.signature)];
        // Without a promise, the time of the entry is a claim.
        bundle.entries[0]
            .as_object_mut()
            .unwrap()
            .remove("inclusionPromise");
        bundle.timestamps = vec![];
        let error = rejected(&bundle, &instance.trust());
        assert!(matches!(error, SigstoreError::Time(_)), "{error}");
        // A time stamp proves the time; but without a promise, nothing signs the log index of Rekor
        // v1.
        bundle.timestamps = stamped;
        let signer = check(&bundle.to_json(), &instance.trust()).unwrap();
        let Signer::Sigstore {
            log_index,
            integrated_time,
            ..
        } = signer
        else {
            panic!("{signer:?}");
        };
        assert_eq!(log_index.is_some(), kind == Kind::HashedRekord);
        assert_eq!(integrated_time, None);

        let (key, signature) = (&instance.timestamps.0, &bundle.signature);
        let mut flipped = timestamp(key, signature, NOW + 5);
        *flipped.last_mut().unwrap() ^= 1;
        for (number, bad) in [
            flipped,
            timestamp(&Key::p256(), signature, NOW + 5),
            timestamp(key, b"another signature", NOW + 5),
            timestamp(key, signature, NOW - 2 * 365 * 24 * 3600),
            b"not a time stamp".to_vec(),
            vec![],
        ]
        .into_iter()
        .enumerate()
        {
            bundle.timestamps = vec![bad];
            let error = rejected(&bundle, &instance.trust());
            assert!(matches!(error, SigstoreError::Time(_)), "{number}: {error}");
        }
    }
}

#[test]
fn log_keys_are_believed_while_in_use() {
    let instance = Instance::new();
    for kind in Kind::ALL {
        let bundle = Signing::new(&instance, kind).bundle();
        for (window, valid) in [
            (json!({ "start": time(NOW) }), true),
            (json!({ "start": time(NOW), "end": time(NOW + 5) }), true),
            (
                json!({ "start": time(NOW - 9), "end": time(NOW + 4) }),
                false,
            ),
            (json!({ "start": time(NOW + 6) }), false),
            (Value::Null, true),
        ] {
            let mut root = instance.trusted_root();
            for log in root["tlogs"].as_array_mut().unwrap() {
                log["publicKey"]["validFor"] = window.clone();
            }
            let result = check(&bundle.to_json(), &trust(&root, IDENTITY, ISSUER));
            assert_eq!(result.is_ok(), valid, "{kind:?} {window}: {result:?}");
        }
    }
}

#[test]
fn authorities_are_believed_while_in_use() {
    let instance = Instance::new();
    for kind in Kind::ALL {
        let bundle = Signing::new(&instance, kind).bundle();
        for (window, valid) in [
            (json!({ "start": time(NOW), "end": time(NOW + 5) }), true),
            (
                json!({ "start": time(NOW - 9), "end": time(NOW + 4) }),
                false,
            ),
            (json!({ "start": time(NOW + 6) }), false),
            (Value::Null, true),
        ] {
            let authorities: &[&str] = match kind {
                Kind::HashedRekord => &["certificateAuthorities", "timestampAuthorities"],
                _ => &["certificateAuthorities"],
            };
            for authority in authorities {
                let mut root = instance.trusted_root();
                root[authority][0]["validFor"] = window.clone();
                let result = check(&bundle.to_json(), &trust(&root, IDENTITY, ISSUER));
                assert_eq!(
                    result.is_ok(),
                    valid,
                    "{kind:?} {authority} {window}: {result:?}"
                );
            }
        }
    }
}

/// The window in the file may be wider than the certificates in it.
#[test]
fn expired_authorities_vouch_for_nobody() {
    let mut instance = Instance::new();
    let key = Key::p256();
    let certificate = Certificate {
        serial: 4,
        issuer: name("root"),
        subject: name("authority"),
        validity: [NOW - 1000, NOW + 4],
        spki: key.spki(),
        extensions: vec![Extension::authority(), Extension::key_usage(0b0000_0110)],
    }
    .signed(&instance.root.0);
    instance.authority = (key, certificate);
    for kind in Kind::ALL {
        let mut signing = Signing::new(&instance, kind);
        signing.time = NOW + 4;
        check(&signing.bundle().to_json(), &instance.trust()).unwrap();
        signing.time = NOW + 5;
        let error = rejected(&signing.bundle(), &instance.trust());
        assert!(matches!(error, SigstoreError::Chain(_)), "{error}");
    }
}

#[test]
fn unknown_kinds_are_named() {
    let instance = Instance::new();
    let signing = Signing::new(&instance, Kind::Dsse);
    for (kind, version) in [
        ("dsse", "0.0.2"),
        ("intoto", "0.0.1"),
        ("hashedrekord", "0.0.1"),
        ("rekord", "0.0.1"),
        ("", ""),
        ("dsse\u{1b}", "0.0.1"),
    ] {
        let mut bundle = signing.bundle();
        bundle.entries[0]["kindVersion"] = json!({ "kind": kind, "version": version });
        let error = rejected(&bundle, &instance.trust());
        assert!(matches!(error, SigstoreError::Kind { .. }), "{error}");
        let shown = error.to_string();
        assert!(
            shown.contains("dsse 0.0.1, intoto 0.0.2 and hashedrekord 0.0.2"),
            "{shown}"
        );
        assert!(!shown.contains('\u{1b}'));
    }
}

/// A logged entry states its own kind.
#[test]
fn the_kind_is_the_logged_one() {
    let instance = Instance::new();
    for kind in Kind::ALL {
        for (name, value) in [("kind", "rekord"), ("apiVersion", "0.0.9")] {
            let signing = Signing::new(&instance, kind);
            let mut bundle = signing.bundle();
            let mut logged = body(
                kind,
                &bundle.certificate,
                &bundle.signature,
                &bundle.payload,
            );
            logged[name] = value.into();
            bundle.entries = vec![Entry::new(&instance, kind, &logged, signing.time).to_json()];
            assert_eq!(
                rejected(&bundle, &instance.trust()),
                SigstoreError::Entry(EntryRule::Kind)
            );
        }
    }
}

/// A body that is an array is refused: read by position, its header would say the right thing.
#[test]
fn the_body_is_an_object() {
    let instance = Instance::new();
    for kind in Kind::ALL {
        let signing = Signing::new(&instance, kind);
        let mut bundle = signing.bundle();
        let (name, version) = kind.name();
        let logged = json!([name, version]);
        bundle.entries = vec![Entry::new(&instance, kind, &logged, signing.time).to_json()];
        assert_eq!(
            rejected(&bundle, &instance.trust()),
            SigstoreError::Entry(EntryRule::Body)
        );
    }
}

/// The log holds something else under the same certificate: each part of a body is compared.
#[test]
fn the_body_is_about_this_envelope() {
    let instance = Instance::new();
    for kind in Kind::ALL {
        let signing = Signing::new(&instance, kind);
        let bundle = signing.bundle();
        let (certificate, signature) = (&bundle.certificate, &bundle.signature);
        let other = Signing::new(&instance, kind).certified();
        for (number, logged) in [
            body(kind, certificate, signature, b"another payload"),
            body(kind, certificate, b"another signature", &bundle.payload),
            body(kind, &other, signature, &bundle.payload),
            json!({ "apiVersion": kind.name().1, "kind": kind.name().0, "spec": {} }),
            json!([]),
        ]
        .into_iter()
        .enumerate()
        {
            let mut bundle = bundle.clone();
            bundle.entries = vec![Entry::new(&instance, kind, &logged, signing.time).to_json()];
            let result = check(&bundle.to_json(), &instance.trust());
            assert!(
                matches!(result, Err(VerifyError::Sigstore(_))),
                "{kind:?} {number}: {result:?}"
            );
        }
    }
}

#[test]
fn evidence_is_there_and_bounded() {
    let instance = Instance::new();
    let bundle = Signing::new(&instance, Kind::Dsse).bundle();
    let evidence = |edit: &dyn Fn(&mut Value)| {
        let mut value = bundle.to_value();
        edit(&mut value["verificationMaterial"]);
        match check(value.to_string().as_bytes(), &instance.trust()) {
            Err(VerifyError::Bundle(BundleError::Evidence(error))) => error,
            other => panic!("{other:?}"),
        }
    };
    for none in [json!([]), Value::Null] {
        let error = evidence(&|material| material["tlogEntries"] = none.clone());
        assert_eq!(error, EvidenceError::NoLogEntry);
    }
    let entry = &bundle.entries[0];
    let error = evidence(&|material| material["tlogEntries"] = json!(vec![entry; 9]));
    assert_eq!(error, EvidenceError::LogEntries { found: 9 });
    let stamp = json!({ "signedTimestamp": "AAAA" });
    let error = evidence(&|material| {
        material["timestampVerificationData"]["rfc3161Timestamps"] = json!(vec![&stamp; 9]);
    });
    assert_eq!(error, EvidenceError::Timestamps { found: 9 });

    let entry = |edit: &dyn Fn(&mut Value)| evidence(&|m| edit(&mut m["tlogEntries"][0]));
    let proof = |edit: &dyn Fn(&mut Value)| entry(&|e| edit(&mut e["inclusionProof"]));
    assert_eq!(
        entry(&|e| e["inclusionProof"] = Value::Null),
        EvidenceError::NoProof
    );
    for none in [Value::Null, json!({}), json!({ "envelope": "" })] {
        assert_eq!(
            proof(&|p| p["checkpoint"] = none.clone()),
            EvidenceError::NoCheckpoint
        );
    }
    let hash = b64([0; 32]);
    assert_eq!(
        proof(&|p| p["hashes"] = json!(vec![&hash; 64])),
        EvidenceError::LongProof { found: 64 }
    );
    for (member, size) in [("canonicalizedBody", 1 << 20), ("kindVersion", 65)] {
        let large = "A".repeat(size);
        let error = entry(&|e| match member {
            "kindVersion" => e[member]["kind"] = large.clone().into(),
            _ => e[member] = large.clone().into(),
        });
        assert!(
            matches!(error, EvidenceError::TooLarge { member: named, .. } if named == member),
            "{error}"
        );
    }
    let large = "A".repeat(1 << 20);
    for error in [
        proof(&|p| p["checkpoint"]["envelope"] = large.clone().into()),
        entry(&|e| e["inclusionPromise"]["signedEntryTimestamp"] = large.clone().into()),
        proof(&|p| p["rootHash"] = large.clone().into()),
        entry(&|e| e["logId"]["keyId"] = large.clone().into()),
    ] {
        assert!(matches!(error, EvidenceError::TooLarge { .. }), "{error}");
    }
    assert_eq!(
        entry(&|e| e["logId"]["keyId"] = "AAAA".into()),
        EvidenceError::Hash("logId")
    );
    assert_eq!(
        entry(&|e| e["canonicalizedBody"] = "!".into()),
        EvidenceError::Base64("canonicalizedBody")
    );
    for (member, value) in [("logIndex", json!("-1")), ("logIndex", json!(-1))] {
        assert_eq!(
            entry(&|e| e[member] = value.clone()),
            EvidenceError::Negative(member)
        );
    }
    for odd in [
        json!("9223372036854775808"),
        json!(1.5),
        json!("x"),
        json!({}),
    ] {
        assert!(matches!(
            entry(&|e| e["integratedTime"] = odd.clone()),
            EvidenceError::Json(_)
        ));
    }
    let nested = "[".repeat(100_000) + &"]".repeat(100_000);
    let text = bundle.to_value().to_string();
    let text = text.replacen(
        "\"tlogEntries\":[",
        &format!("\"tlogEntries\":[{nested},"),
        1,
    );
    assert!(check(text.as_bytes(), &instance.trust()).is_err());
}

/// Other implementations write numbers as numbers, and a `keyid` of `null`.
#[test]
fn other_spellings_are_read() {
    let instance = Instance::new();
    for kind in Kind::ALL {
        for keyid in [Value::Null, json!(""), json!("x")] {
            let mut value = Signing::new(&instance, kind).bundle().to_value();
            value["dsseEnvelope"]["signatures"][0]["keyid"] = keyid;
            let entry = &mut value["verificationMaterial"]["tlogEntries"][0];
            for pointer in [
                "/logIndex",
                "/integratedTime",
                "/inclusionProof/logIndex",
                "/inclusionProof/treeSize",
            ] {
                if let Some(number) = entry.pointer_mut(pointer) {
                    *number = number.as_str().unwrap().parse::<u64>().unwrap().into();
                }
            }
            if kind != Kind::HashedRekord {
                value["verificationMaterial"]["timestampVerificationData"] = Value::Null;
            }
            check(value.to_string().as_bytes(), &instance.trust()).unwrap();
        }
    }
}

/// Signed by the right person, and no statement of OMS.
#[test]
fn what_is_signed_must_be_a_statement() {
    let instance = Instance::new();
    let statement = |edit: &dyn Fn(&mut Value)| {
        let mut payload: Value = serde_json::from_slice(&statement("model")).unwrap();
        edit(&mut payload);
        payload.to_string().into_bytes()
    };
    for payload in [
        b"{}".to_vec(),
        b"not JSON".to_vec(),
        statement(&|s| s["subject"][0]["digest"]["sha256"] = "00".repeat(32).into()),
        statement(&|s| s["subject"] = json!([])),
        statement(&|s| s["predicateType"] = "https://slsa.dev/provenance/v1".into()),
        statement(&|s| s["predicate"]["resources"] = json!([])),
    ] {
        for kind in Kind::ALL {
            let mut signing = Signing::new(&instance, kind);
            signing.payload.clone_from(&payload);
            let error = rejected(&signing.bundle(), &instance.trust());
            assert!(matches!(error, SigstoreError::Statement(_)), "{error}");
        }
    }
}

/// Release 0.2 signed a list of subjects; with Sigstore, over the regular PAE.
#[test]
fn statements_of_release_0_2() {
    let instance = Instance::new();
    let subject = |name: &str, content: &[u8]| {
        let digest = hex::encode(der::sha256(content));
        json!({ "name": name, "digest": { "sha256": digest } })
    };
    for kind in Kind::ALL {
        let mut signing = Signing::new(&instance, kind);
        signing.payload = json!({
            "_type": "https://in-toto.io/Statement/v1",
            "subject": [subject("a", b"one"), subject("b", b"two")],
            "predicateType": "https://model_signing/Digests/v0.1",
            "predicate": {},
        })
        .to_string()
        .into_bytes();
        let bundle = signing.bundle();
        let manifest =
            VerifiedManifest::verify(bundle.to_json(), &instance.trust(), &ModelShape::Directory)
                .unwrap();
        assert_eq!(manifest.files().len(), 2);
        let mut forged = bundle;
        forged.payload.push(b' ');
        let error = rejected(&forged, &instance.trust());
        assert_eq!(error, SigstoreError::Signature);
    }
}

/// A payload is parsed only once it is known that a trusted signer signed it: the error is about
/// the signer or the signature, though the payload isn't even JSON.
#[test]
fn nothing_is_parsed_for_strangers() {
    let (instance, other) = (Instance::new(), Instance::new());
    for kind in Kind::ALL {
        let mut signing = Signing::new(&instance, kind);
        signing.payload = b"not JSON".to_vec();
        let bundle = signing.bundle();
        let error = rejected(&bundle, &instance.trust());
        assert!(matches!(error, SigstoreError::Statement(_)), "{error}");

        let mut root = instance.trusted_root();
        root["certificateAuthorities"] = other.trusted_root()["certificateAuthorities"].clone();
        let error = rejected(&bundle, &trust(&root, IDENTITY, ISSUER));
        assert!(matches!(error, SigstoreError::Chain(_)), "{error}");

        let mut forged = bundle.clone();
        flip(&mut forged.entries[0]["inclusionProof"]["hashes"][0]);
        let error = rejected(&forged, &instance.trust());
        assert!(matches!(error, SigstoreError::Log(_)), "{error}");

        let mut forged = bundle;
        forged.payload.push(b' ');
        assert_eq!(
            rejected(&forged, &instance.trust()),
            SigstoreError::Signature
        );
    }
}

#[test]
fn methods_are_not_confused() {
    let instance = Instance::new();
    let mut value = Signing::new(&instance, Kind::Dsse).bundle().to_value();
    let certificate = value["verificationMaterial"]["certificate"].take();
    for (name, material, found) in [
        ("publicKey", json!({ "hint": "" }), Method::Key),
        (
            "x509CertificateChain",
            json!({ "certificates": [certificate] }),
            Method::Certificate,
        ),
    ] {
        let mut value = value.clone();
        value["verificationMaterial"][name] = material;
        assert_eq!(
            check(value.to_string().as_bytes(), &instance.trust()),
            Err(VerifyError::Method {
                trusted: Method::Sigstore,
                found
            })
        );
    }
}

#[test]
fn another_instance_knows_nobody_here() {
    let (instance, other) = (Instance::new(), Instance::new());
    for kind in Kind::ALL {
        let bundle = Signing::new(&instance, kind).bundle().to_json();
        assert!(check(&bundle, &other.trust()).is_err());
        let public_good = Trust::Sigstore {
            identity: IDENTITY.into(),
            identity_provider: ISSUER.into(),
            trusted_root: model_fs::oms::sigstore::trusted_root::TrustedRoot::public_good(),
        };
        assert!(check(&bundle, &public_good).is_err());
        // Each kind of authority is needed.
        for (part, index) in [
            ("certificateAuthorities", 0),
            ("ctlogs", 0),
            ("tlogs", usize::from(kind == Kind::HashedRekord)),
            ("timestampAuthorities", 0),
        ] {
            let mut root = instance.trusted_root();
            root[part][index] = other.trusted_root()[part][index].clone();
            let result = check(&bundle, &trust(&root, IDENTITY, ISSUER));
            let needed = part != "timestampAuthorities" || kind == Kind::HashedRekord;
            assert_eq!(result.is_err(), needed, "{kind:?} {part}");
        }
    }
}

/// `sigstore-verify` by itself accepts this, and says that it checked all there is.
fn the_crate_accepts(parts: &Parts, root: &Value) {
    use sigstore_verify::trust_root::TrustedRoot;
    use sigstore_verify::types::{Bundle, Sha256Hash};
    use sigstore_verify::{VerificationPolicy, Verifier};

    let root = TrustedRoot::from_json(&root.to_string()).unwrap();
    let bundle = Bundle::from_json(&parts.to_value().to_string()).unwrap();
    let payload: Value = serde_json::from_slice(&parts.payload).unwrap();
    let digest = payload["subject"][0]["digest"]["sha256"].as_str().unwrap();
    let verified = Verifier::new(&root)
        .unwrap()
        .verify(
            Sha256Hash::from_hex(digest).unwrap(),
            &bundle,
            &VerificationPolicy::new(IDENTITY, ISSUER),
        )
        .unwrap();
    assert!(verified.tlog_verified() && verified.sct_verified());
}

/// `sigstore-verify` accepts this and we don't. If it becomes stricter, this test fails, and the
/// table in `oms::sigstore` is out of date.
fn only_we_refuse(what: &str, parts: &Parts, root: &Value) {
    let result = check(&parts.to_json(), &trust(root, IDENTITY, ISSUER));
    assert!(result.is_err(), "{what}");
    the_crate_accepts(parts, root);
}

type Bend = fn(&mut Signing<'_>);

#[test]
fn what_only_we_check_of_certificates() {
    let instance = Instance::new();
    let root = instance.trusted_root();

    let bent: [(&str, Bend); 5] = [
        ("no key usage", |s| s.remove_extension(KEY_USAGE)),
        ("key usage", |s| {
            *s.extension(KEY_USAGE) = Extension::key_usage(0b0000_0100);
        }),
        ("two names", |s| {
            let (ours, other) = (IDENTITY.as_bytes(), b"other@example.org");
            s.extension(SAN).value = seq(&[&tlv(0x81, ours), &tlv(0x81, other)]);
        }),
        ("two providers", |s| {
            s.extension(ISSUER_V1_OID).value = b"https://other.example".to_vec();
        }),
        ("a name of another kind first", |s| {
            let (ours, other) = (IDENTITY.as_bytes(), b"example.org");
            s.extension(SAN).value = seq(&[&tlv(0x82, other), &tlv(0x81, ours)]);
        }),
    ];
    for (what, bend) in bent {
        let mut signing = Signing::new(&instance, Kind::Dsse);
        bend(&mut signing);
        only_we_refuse(what, &signing.bundle(), &root);
    }

    let mut instance = Instance::new();
    let key = Key::p256();
    let certificate = Certificate {
        serial: 4,
        issuer: name("root"),
        subject: name("authority"),
        validity: [NOW - 1000, NOW + 4],
        spki: key.spki(),
        extensions: vec![Extension::authority(), Extension::key_usage(0b0000_0110)],
    }
    .signed(&instance.root.0);
    instance.authority = (key, certificate);
    let signing = Signing::new(&instance, Kind::Dsse);
    only_we_refuse(
        "an expired authority",
        &signing.bundle(),
        &instance.trusted_root(),
    );
}

#[test]
fn what_only_we_check_of_logs() {
    let instance = Instance::new();
    let root = instance.trusted_root();
    let signing = Signing::new(&instance, Kind::Dsse);
    let honest = signing.bundle();
    the_crate_accepts(&honest, &root);
    let log_body = |kind| {
        body(
            kind,
            &honest.certificate,
            &honest.signature,
            &honest.payload,
        )
    };
    let with = |entry: Value| Parts {
        entries: vec![entry],
        ..honest.clone()
    };

    let mut unproved = honest.clone();
    unproved.entries.push(honest.entries[0].clone());
    let second = unproved.entries[1].as_object_mut().unwrap();
    second.remove("inclusionProof");
    second.remove("inclusionPromise");
    only_we_refuse("an entry that nothing proves", &unproved, &root);

    let logged = log_body(Kind::Dsse);
    let mut entry = Entry::new(&instance, Kind::Dsse, &logged, signing.time);
    let mut leaves = entry.leaves.clone();
    leaves[entry.position] = der::sha256(&[&[0], &entry.body[..]].concat());
    let head = root_of(&leaves);
    let mut other_log = entry.to_json();
    other_log["inclusionProof"]["checkpoint"]["envelope"] =
        checkpoint(&instance.rekor_v2, leaves.len(), &head).into();
    only_we_refuse("the checkpoint of another log", &with(other_log), &root);

    let mut other_size = entry.to_json();
    other_size["inclusionProof"]["checkpoint"]["envelope"] =
        checkpoint(&instance.rekor, leaves.len() + 1, &head).into();
    only_we_refuse("a checkpoint of another size", &with(other_size), &root);

    let mut renamed = logged.clone();
    renamed["kind"] = "rekord".into();
    entry.body = renamed.to_string().into_bytes();
    only_we_refuse("a body of another kind", &with(entry.to_json()), &root);

    let mut signing = Signing::new(&instance, Kind::Intoto);
    let mut swapped = signing.bundle();
    signing.certificate.serial += 1;
    swapped.certificate = signing.certified();
    only_we_refuse("another certificate of the same key", &swapped, &root);

    let signing = Signing::new(&instance, Kind::HashedRekord);
    let mut old_key = root.clone();
    old_key["tlogs"][1]["publicKey"]["validFor"] =
        json!({ "start": time(NOW - 9), "end": time(NOW + 4) });
    only_we_refuse("a log key after its time", &signing.bundle(), &old_key);
}

/// The wrapping of a time stamp is not signed; all else in these parts is.
#[test]
fn every_flipped_bit_is_noticed() {
    let instance = Instance::new();
    let trust = instance.trust();
    for kind in Kind::ALL {
        let bundle = Signing::new(&instance, kind).bundle();
        let signer = check(&bundle.to_json(), &trust);
        let try_flipped = |part: fn(&mut Parts) -> &mut Vec<u8>, verdict: &dyn Fn(usize, _)| {
            for index in 0..part(&mut bundle.clone()).len() {
                let mut flipped = bundle.clone();
                part(&mut flipped)[index] ^= 1 << (index % 8);
                verdict(index, check(&flipped.to_json(), &trust));
            }
        };
        let noticed = |index, result: Result<Signer, _>| assert!(result.is_err(), "{index}");
        try_flipped(|bundle| &mut bundle.signature, &noticed);
        try_flipped(|bundle| &mut bundle.certificate, &noticed);
        if kind == Kind::HashedRekord {
            let same = |index, result: Result<Signer, _>| {
                assert!(result.is_err() || result == signer, "{index}: {result:?}");
            };
            try_flipped(|bundle| &mut bundle.timestamps[0], &same);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Damage anywhere in the text is an error or changes nothing that counts.
    #[test]
    fn damaged_bundles_are_errors_or_the_same(
        kind in prop::sample::select(Kind::ALL.to_vec()),
        index: prop::sample::Index,
        byte: u8,
        cut: bool,
    ) {
        let instance = Instance::new();
        let signing = Signing::new(&instance, kind);
        let mut bundle = signing.bundle().to_json();
        let index = index.index(bundle.len());
        if cut {
            bundle.truncate(index);
        } else {
            bundle[index] = byte;
        }
        if let Ok(verified) = verify(&bundle, &instance.trust()) {
            prop_assert_eq!(verified.payload(), &signing.payload[..]);
        }
    }
}

/// A certificate that may not be an authority.
struct NoAuthority {
    what: &'static str,
    extensions: Vec<Extension>,
    rule: &'static str,
}

const CERTIFIES: u8 = 0b0000_0110;
const SIGNS: u8 = 0x80;

fn no_authorities() -> Vec<NoAuthority> {
    let usage = Extension::key_usage;
    let not_an_authority = Extension::new("2.5.29.19", true, seq(&[]));
    let unknown = Extension::new("1.2.3.4", true, seq(&[]));
    let constraints = Extension::new("2.5.29.30", false, seq(&[]));
    let servers = Extension::usage("1.3.6.1.5.5.7.3.1", false);
    let authority = Extension::authority;
    [
        (
            "no constraints",
            vec![usage(CERTIFIES)],
            "not a certificate authority",
        ),
        (
            "CA:FALSE",
            vec![not_an_authority, usage(CERTIFIES)],
            "not a certificate authority",
        ),
        (
            "no keyCertSign",
            vec![authority(), usage(SIGNS)],
            "its key usage lacks keyCertSign",
        ),
        (
            "for servers",
            vec![authority(), usage(CERTIFIES), servers],
            "extended key usage does not include codeSigning",
        ),
        (
            "an unknown demand",
            vec![authority(), usage(CERTIFIES), unknown],
            "critical extension 1.2.3.4",
        ),
        (
            "name constraints",
            vec![authority(), usage(CERTIFIES), constraints],
            "name constraints",
        ),
    ]
    .map(|(what, extensions, rule)| NoAuthority {
        what,
        extensions,
        rule,
    })
    .into()
}

/// What the certificates of a trusted root's authorities say about themselves counts, as it does
/// for any issuer.
#[test]
fn what_only_we_check_of_authorities() {
    let usage = Extension::key_usage;
    let (certs, signs) = (CERTIFIES, SIGNS);
    let certificate = |instance: &Instance, key: &Key, extensions: Vec<Extension>| {
        Certificate {
            serial: 9,
            issuer: name("root"),
            subject: name("authority"),
            validity: [NOW - 1000, NOW + 1000],
            spki: key.spki(),
            extensions,
        }
        .signed(&instance.root.0)
    };
    let read = |instance: &Instance| {
        TrustedRoot::from_json(instance.trusted_root().to_string().as_bytes())
            .map(|_| ())
            .map_err(|error| error.to_string())
    };
    for shape in no_authorities() {
        // The one that issues, and the one above it.
        let mut lower = Instance::new();
        let key = Key::p256();
        let der = certificate(&lower, &key, shape.extensions.clone());
        lower.authority = (key, der);
        let mut upper = Instance::new();
        upper.root.1 = certificate(&upper, &upper.root.0, shape.extensions);
        for instance in [lower, upper] {
            let error = read(&instance).unwrap_err();
            assert!(
                error.contains("CN=authority") && error.contains(shape.rule),
                "{}: {error}",
                shape.what
            );
        }
    }
    for (what, extensions, rule) in [
        (
            "no purpose",
            vec![usage(signs)],
            "does not include timeStamping",
        ),
        (
            "another purpose",
            vec![usage(signs), Extension::usage(CODE_SIGNING, true)],
            "does not include timeStamping",
        ),
        (
            "another key usage",
            vec![usage(certs), Extension::usage(TIME_STAMPING, true)],
            "does not include digitalSignature",
        ),
    ] {
        let mut instance = Instance::new();
        let key = Key::p256();
        let der = certificate(&instance, &key, extensions);
        instance.timestamps = (key, der);
        let error = read(&instance).unwrap_err();
        assert!(error.contains(rule), "{what}: {error}");
    }
    let mut instance = Instance::new();
    let key = Key::p256();
    let fine = vec![usage(signs), Extension::usage(TIME_STAMPING, true)];
    let der = certificate(&instance, &key, fine);
    instance.timestamps = (key, der);
    read(&instance).unwrap();
}

/// A log that the built-in root doesn't know may be newer than the program, and the error says so;
/// with a trusted root that the user gave, it doesn't.
#[test]
fn an_unknown_log_is_said_to_be_newer_where_it_may_be() {
    let instance = Instance::new();
    let bundle = Signing::new(&instance, Kind::Dsse).bundle();
    let built_in = Trust::Sigstore {
        identity: IDENTITY.into(),
        identity_provider: ISSUER.into(),
        trusted_root: TrustedRoot::public_good(),
    };
    let error = rejected(&bundle, &built_in);
    assert!(
        matches!(error, SigstoreError::Entry(EntryRule::NewerLog { .. })),
        "{error}"
    );
    let said = error.to_string();
    assert!(
        said.contains("of 2026-10-23") && said.ends_with("current trusted_root.json"),
        "{said}"
    );
    let other = Instance::new();
    let error = rejected(&bundle, &other.trust());
    assert!(
        matches!(error, SigstoreError::Entry(EntryRule::UnknownLog { .. })),
        "{error}"
    );
}
