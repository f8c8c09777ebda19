//! Only objects where the formats have objects: every struct that is read, written as an array of
//! its members in their order, which serde by itself would take. And only UTF-8.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use model_fs::manifest::{ModelShape, UnverifiedManifest, VerifiedManifest};
use model_fs::oms::bundle::{Bundle, MEDIA_TYPE};
use model_fs::oms::dsse::{PAYLOAD_TYPE, Pae};
use model_fs::oms::key::PrivateKey;
use model_fs::oms::sigstore::trusted_root::TrustedRoot;
use model_fs::oms::statement::{PREDICATE_TYPE_V0, Statement};
use model_fs::oms::trust::Trust;
use model_fs::oms::trust_store::TrustStore;
use serde_json::{Value, json};
use sigstore_verify::trust_root::SIGSTORE_PRODUCTION_TRUSTED_ROOT;
use test_support::keys;

/// What is said of an array in the place of an object.
const REFUSED: &str = "invalid type: sequence, expected named members";

fn key() -> PrivateKey {
    keys::private("p256-sec1.pem")
}

/// The places of all objects in a document.
fn objects(value: &Value, at: &str, found: &mut Vec<String>) {
    match value {
        Value::Object(members) => {
            found.push(at.to_owned());
            for (name, value) in members {
                objects(value, &format!("{at}/{name}"), found);
            }
        }
        Value::Array(items) => {
            for (index, value) in items.iter().enumerate() {
                objects(value, &format!("{at}/{index}"), found);
            }
        }
        _ => {}
    }
}

/// Has each object of a document written as an array, by itself and all of them together, and
/// expects that each is refused for that reason.
fn refuses_arrays(document: &Value, structs: usize, read: impl Fn(&Value) -> Result<(), String>) {
    read(document).unwrap();
    let mut places = Vec::new();
    objects(document, "", &mut places);
    assert_eq!(places.len(), structs, "{places:?}");
    let as_array = |document: &mut Value, at: &str| {
        let object = document.pointer_mut(at).unwrap();
        let members: Vec<_> = object.as_object().unwrap().values().cloned().collect();
        *object = members.into();
    };
    let mut whole = document.clone();
    // What lies deeper comes later.
    for place in places.iter().rev() {
        let mut changed = document.clone();
        as_array(&mut changed, place);
        let error = read(&changed).unwrap_err();
        assert!(error.contains(REFUSED), "{place}: {error}");
        as_array(&mut whole, place);
    }
    assert!(!whole.to_string().contains('{'));
    assert!(read(&whole).unwrap_err().contains(REFUSED));
}

fn statement() -> Value {
    let digest = model_fs::digest::Algorithm::Sha256.hash(b"weights");
    let root = model_fs::oms::statement::root_digest_of([&digest]);
    json!({
        "_type": "https://in-toto.io/Statement/v1",
        "subject": [{ "name": "model", "digest": { "sha256": root.to_hex() } }],
        "predicateType": "https://model_signing/signature/v1.0",
        "predicate": {
            "serialization": {
                "method": "files",
                "hash_type": "sha256",
                "allow_symlinks": false,
                "ignore_paths": [".git"],
            },
            "resources": [
                { "name": "w", "algorithm": "sha256", "digest": digest.to_hex() },
            ],
        },
    })
}

fn bundle(payload: &[u8]) -> Value {
    let key = key();
    let signature = key.sign(&Pae::new(payload).parts()).unwrap();
    json!({
        "mediaType": MEDIA_TYPE,
        "verificationMaterial": { "publicKey": { "hint": key.public_key().hint() } },
        "dsseEnvelope": {
            "payload": STANDARD.encode(payload),
            "payloadType": PAYLOAD_TYPE,
            "signatures": [{ "sig": STANDARD.encode(signature) }],
        },
    })
}

fn verify(bundle: impl Into<Vec<u8>>) -> Result<(), String> {
    let trust = Trust::Key(key().public_key().clone());
    VerifiedManifest::verify(bundle.into(), &trust, &ModelShape::Directory)
        .map(|_| ())
        .map_err(|error| error.to_string())
}

#[test]
fn bundles_with_a_key() {
    let bundle = bundle(statement().to_string().as_bytes());
    refuses_arrays(&bundle, 5, |bundle| verify(bundle.to_string()));
}

#[test]
fn bundles_with_certificates_and_log_entries() {
    let read = |bundle: &Value| {
        Bundle::parse(bundle.to_string().as_bytes())
            .map(|_| ())
            .map_err(|error| error.to_string())
    };
    let mut bundle = bundle(b"{}");
    bundle["verificationMaterial"] =
        json!({ "x509CertificateChain": { "certificates": [{ "rawBytes": "AAAA" }] } });
    refuses_arrays(&bundle, 6, read);

    let hash = STANDARD.encode([0; 32]);
    bundle["verificationMaterial"] = json!({
        "certificate": { "rawBytes": "AAAA" },
        "tlogEntries": [{
            "logIndex": "1",
            "logId": { "keyId": hash },
            "kindVersion": { "kind": "dsse", "version": "0.0.1" },
            "integratedTime": "1",
            "inclusionPromise": { "signedEntryTimestamp": "AAAA" },
            "inclusionProof": {
                "logIndex": "1",
                "rootHash": hash,
                "treeSize": "2",
                "hashes": [hash],
                "checkpoint": { "envelope": "x" },
            },
            "canonicalizedBody": "AAAA",
        }],
        "timestampVerificationData": { "rfc3161Timestamps": [{ "signedTimestamp": "AAAA" }] },
    });
    refuses_arrays(&bundle, 13, read);
}

#[test]
fn statements() {
    refuses_arrays(&statement(), 6, |statement| {
        verify(bundle(statement.to_string().as_bytes()).to_string())
    });
    let legacy = json!({
        "_type": "https://in-toto.io/Statement/v1",
        "subject": [{
            "name": "w",
            "digest": { "sha256": "00".repeat(32) },
            "annotations": { "actual_hash_algorithm": "sha256" },
        }],
        "predicateType": PREDICATE_TYPE_V0,
    });
    refuses_arrays(&legacy, 4, |statement| {
        Statement::parse_legacy(statement.to_string().as_bytes())
            .map(|_| ())
            .map_err(|error| error.to_string())
    });
    // A caller that parses without verifying gets the same answer.
    let positional = json!([bundle(b"{}")["mediaType"], [], []]).to_string();
    let error = UnverifiedManifest::parse_without_verifying(positional.into_bytes()).unwrap_err();
    assert!(error.to_string().contains(REFUSED), "{error}");
}

#[test]
fn trusted_roots() {
    let read = |root: &Value| {
        TrustedRoot::from_json(root.to_string().as_bytes())
            .map(|_| ())
            .map_err(|error| error.to_string())
    };
    let root: Value = serde_json::from_str(SIGSTORE_PRODUCTION_TRUSTED_ROOT).unwrap();
    let mut places = Vec::new();
    objects(&root, "", &mut places);
    refuses_arrays(&root, places.len(), read);
    let config = json!({
        "mediaType": "application/vnd.dev.sigstore.clienttrustconfig.v0.1+json",
        "trustedRoot": root,
    });
    refuses_arrays(&config, places.len() + 1, read);
}

#[test]
fn trust_files() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("trust.toml");
    let load = |text: &[u8]| {
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        TrustStore::load([&path]).map_err(|error| error.to_string())
    };
    let signer = "identity = \"a\"\nidentity-provider = \"b\"\n";
    let good = format!("# ü\n[signers.a]\n{signer}models = {{ names = [\"m\"] }}\n");
    load(good.as_bytes()).unwrap();
    for text in [
        // By position: public-key, certificates, identity, …
        "[signers]\na = [\"k.pem\"]\n".to_owned(),
        "[[signers.a]]\npublic-key = \"k.pem\"\n".to_owned(),
        format!("[signers.a]\n{signer}models = [[\"m\"]]\n"),
        format!("[signers.a]\n{signer}[[signers.a.models]]\nnames = [\"m\"]\n"),
    ] {
        let error = load(text.as_bytes()).unwrap_err();
        assert!(error.contains(REFUSED), "{text}: {error}");
    }
    assert!(load(b"[[signers]]\n").is_err());
    let broken = good.replace('ü', "\u{0}").replace('\u{0}', "");
    let mut broken = broken.into_bytes();
    broken.insert(2, 0xff);
    let error = load(&broken).unwrap_err();
    assert!(error.ends_with("it is not UTF-8"), "{error}");
}

/// Wherever it stands, in members that are passed over too.
#[test]
fn what_is_not_utf_8() {
    let spoilt = |document: &Value| {
        let text = document.to_string();
        let at = text.find("SPOILT").unwrap();
        let mut bytes = text.into_bytes();
        bytes[at] = 0xff;
        bytes
    };
    let mut document = bundle(statement().to_string().as_bytes());
    for (name, value) in [("x", json!("SPOILT")), ("SPOILT", json!(1))] {
        document[name] = value;
        verify(document.to_string()).unwrap();
        let error = verify(spoilt(&document)).unwrap_err();
        assert!(error.contains("it is not UTF-8"), "{error}");
        document.as_object_mut().unwrap().remove(name);
    }
    let mut payload = statement();
    payload["predicate"]["x"] = json!({ "y": "SPOILT" });
    verify(bundle(payload.to_string().as_bytes()).to_string()).unwrap();
    let error = verify(bundle(&spoilt(&payload)).to_string()).unwrap_err();
    assert!(error.contains("it is not UTF-8"), "{error}");

    let mut root: Value = serde_json::from_str(SIGSTORE_PRODUCTION_TRUSTED_ROOT).unwrap();
    root["tlogs"][0]["baseUrl"] = "SPOILT".into();
    TrustedRoot::from_json(root.to_string().as_bytes()).unwrap();
    let error = TrustedRoot::from_json(&spoilt(&root)).unwrap_err();
    assert!(error.to_string().contains("it is not UTF-8"), "{error}");
}
