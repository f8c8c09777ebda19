//! Bundles with a good signature over any payload, however wrong.
//!
//! Made here from the specification, not with the code under test, which would refuse to.

use std::fs;
use std::path::{Path, PathBuf};

use aws_lc_rs::encoding::{AsDer as _, PublicKeyX509Der};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair as _};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use tempfile::TempDir;
use test_support::mounted::scratch;
use test_support::process::Finished;

use crate::program::Home;

const PAYLOAD_TYPE: &str = "application/vnd.in-toto+json";

/// A model of two files, `a` (10 bytes) and `b/c` (5 bytes), with a key that signs anything.
pub(crate) struct Signer {
    folder: TempDir,
    key: EcdsaKeyPair,
    pub(crate) home: Home,
}

pub(crate) const FILES: [(&str, &[u8]); 2] = [("a", b"0123456789"), ("b/c", b"hello")];

impl Signer {
    pub(crate) fn new() -> Self {
        let folder = scratch();
        let key = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_ASN1_SIGNING).expect("make a key");
        let spki: PublicKeyX509Der<'_> = key.public_key().as_der().expect("encode a key");
        let pem = pem::encode(&pem::Pem::new("PUBLIC KEY", spki.as_ref()));
        let signer = Self {
            folder,
            key,
            home: Home::new(),
        };
        fs::write(signer.public_key(), pem).expect("write a key");
        for (name, content) in FILES {
            let path = signer.model().join(name);
            fs::create_dir_all(path.parent().expect("in a folder")).expect("mkdir");
            fs::write(path, content).expect("write a file");
        }
        signer
    }

    pub(crate) fn model(&self) -> PathBuf {
        self.folder.path().join("model")
    }

    pub(crate) fn signature(&self) -> PathBuf {
        self.model().join("model.sig")
    }

    pub(crate) fn public_key(&self) -> PathBuf {
        self.folder.path().join("public.pem")
    }

    /// The words of `verify` with the right key.
    pub(crate) fn verify(&self) -> Vec<PathBuf> {
        vec![
            "verify".into(),
            self.model(),
            "--public-key".into(),
            self.public_key(),
        ]
    }

    /// Writes a bundle over exactly these bytes.
    pub(crate) fn sign(&self, payload: &[u8]) {
        let mut message = format!(
            "DSSEv1 {} {PAYLOAD_TYPE} {} ",
            PAYLOAD_TYPE.len(),
            payload.len()
        )
        .into_bytes();
        message.extend_from_slice(payload);
        let signature = self.key.sign(&SystemRandom::new(), &message).expect("sign");
        let bundle = json!({
            "mediaType": "application/vnd.dev.sigstore.bundle.v0.3+json",
            "verificationMaterial": {"publicKey": {}, "tlogEntries": []},
            "dsseEnvelope": {
                "payload": STANDARD.encode(payload),
                "payloadType": PAYLOAD_TYPE,
                "signatures": [{"sig": STANDARD.encode(signature.as_ref()), "keyid": ""}],
            },
        });
        fs::write(self.signature(), bundle.to_string()).expect("write a bundle");
    }

    /// The model that is the file `model/a` alone, and its signature.
    pub(crate) fn single_file(&self) -> [PathBuf; 2] {
        let file = self.model().join("a");
        [file.clone(), file.with_extension("sig")]
    }

    /// Signs a statement and verifies the file `a` with it, as a model of its own.
    pub(crate) fn judge_single_file(&self, statement: &Value) -> Finished {
        self.sign(statement.to_string().as_bytes());
        let [file, signature] = self.single_file();
        fs::rename(self.signature(), &signature).expect("move a bundle");
        let words = [
            "verify".into(),
            file,
            "--public-key".into(),
            self.public_key(),
        ];
        self.home.run(words)
    }

    /// Signs a statement and verifies the model with it.
    pub(crate) fn judge(&self, statement: &Value) -> Finished {
        self.sign(statement.to_string().as_bytes());
        self.home.run(self.verify())
    }
}

pub(crate) fn sha256(bytes: &[u8]) -> String {
    hex::encode(Sha256::digest(bytes))
}

pub(crate) fn resource(name: &str, content: &[u8]) -> Value {
    json!({"name": name, "algorithm": "sha256", "digest": sha256(content)})
}

/// `files` or `shards` of the first file alone, by another name.
pub(crate) fn single_file(mut statement: Value, name: &str) -> Value {
    let resources = statement["predicate"]["resources"].as_array_mut();
    let resources = resources.expect("resources");
    resources.retain(|resource| {
        let listed = resource["name"].as_str().expect("a name");
        listed == "a" || listed.starts_with("a:")
    });
    for resource in resources {
        let listed = resource["name"].as_str().expect("a name").to_owned();
        resource["name"] = listed.replacen('a', name, 1).into();
    }
    state_root(&mut statement);
    statement
}

fn statement(serialization: &Value, resources: &[Value]) -> Value {
    let mut statement = json!({
        "_type": "https://in-toto.io/Statement/v1",
        "subject": [{"name": "model", "digest": {"sha256": ""}}],
        "predicateType": "https://model_signing/signature/v1.0",
        "predicate": {"serialization": serialization, "resources": resources},
    });
    state_root(&mut statement);
    statement
}

/// A right statement about the model, with the method `files`.
pub(crate) fn files() -> Value {
    of_resources(&FILES.map(|(name, content)| resource(name, content)))
}

/// A statement with these resources, with the method `files`.
pub(crate) fn of_resources(resources: &[Value]) -> Value {
    let serialization = json!({
        "method": "files",
        "hash_type": "sha256",
        "allow_symlinks": false,
        "ignore_paths": ["model.sig", ".model-fs"],
    });
    statement(&serialization, resources)
}

/// A right statement about the model, with the method `shards` of 4 bytes.
pub(crate) fn shards() -> Value {
    let serialization = json!({
        "method": "shards", "hash_type": "sha256", "shard_size": 4,
        "allow_symlinks": false, "ignore_paths": ["model.sig"],
    });
    let mut resources = Vec::new();
    for (name, content) in FILES {
        for (index, shard) in content.chunks(4).enumerate() {
            let (start, end) = (4 * index, 4 * index + shard.len());
            resources.push(resource(&format!("{name}:{start}:{end}"), shard));
        }
    }
    statement(&serialization, &resources)
}

/// Makes the root digest that of the resources, as far as they have digests.
pub(crate) fn state_root(statement: &mut Value) {
    let mut hasher = Sha256::new();
    let resources = statement["predicate"]["resources"].as_array();
    for resource in resources.into_iter().flatten() {
        let digest = resource["digest"].as_str().unwrap_or_default();
        hasher.update(hex::decode(digest).unwrap_or_default());
    }
    statement["subject"][0]["digest"]["sha256"] = hex::encode(hasher.finalize()).into();
}

/// Whether a path is there, for messages.
pub(crate) fn shown(path: &Path) -> String {
    path.display().to_string()
}
