//! A Sigstore instance in memory: certificate authority, certificate log, signature logs of both
//! versions and a timestamp authority, each with keys made up anew, and the trusted root that names
//! them. It signs OMS bundles, and each part can be changed before the next part is made from it.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use model_fs::oms::sigstore::trusted_root::TrustedRoot;
use model_fs::oms::trust::Trust;
use serde_json::{Value, json};

use super::der::{
    Certificate, Extension, Key, SHA256_OID, generalized_time, int, name, octets, oid, seq, set,
    sha256, tagged, tlv,
};

/// When everything here happens, in seconds since 1970: in June 2025.
pub const NOW: i64 = 1_750_000_000;
/// How long certificates of signers are valid, in seconds.
pub const LIFETIME: i64 = 600;
const YEAR: i64 = 365 * 24 * 3600;

pub const IDENTITY: &str = "signer@example.org";
pub const ISSUER: &str = "https://accounts.example.org/oauth2";

pub const CODE_SIGNING: &str = "1.3.6.1.5.5.7.3.3";
pub const TIME_STAMPING: &str = "1.3.6.1.5.5.7.3.8";
const SCTS: &str = "1.3.6.1.4.1.11129.2.4.2";
pub const ISSUER_V1_OID: &str = "1.3.6.1.4.1.57264.1.1";
pub const ISSUER_V2_OID: &str = "1.3.6.1.4.1.57264.1.8";
pub const SAN: &str = "2.5.29.17";
pub const KEY_USAGE: &str = "2.5.29.15";
pub const EXTENDED_KEY_USAGE: &str = "2.5.29.37";

pub fn b64(bytes: impl AsRef<[u8]>) -> String {
    STANDARD.encode(bytes)
}

fn pem(certificate: &[u8]) -> String {
    pem::encode_config(
        &pem::Pem::new("CERTIFICATE", certificate),
        pem::EncodeConfig::new().set_line_ending(pem::LineEnding::LF),
    )
}

/// How a signature is logged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Rekor v1.
    Dsse,
    /// Rekor v1, older.
    Intoto,
    /// Rekor v2, with a time stamp.
    HashedRekord,
}

impl Kind {
    pub const ALL: [Self; 3] = [Self::Dsse, Self::Intoto, Self::HashedRekord];

    pub fn name(self) -> (&'static str, &'static str) {
        match self {
            Self::Dsse => ("dsse", "0.0.1"),
            Self::Intoto => ("intoto", "0.0.2"),
            Self::HashedRekord => ("hashedrekord", "0.0.2"),
        }
    }
}

pub struct Instance {
    pub root: (Key, Vec<u8>),
    pub authority: (Key, Vec<u8>),
    pub certificate_log: Key,
    pub rekor: Key,
    pub rekor_v2: Key,
    pub timestamps: (Key, Vec<u8>),
}

impl Instance {
    pub fn new() -> Self {
        let validity = [NOW - YEAR, NOW + YEAR];
        let authority_usage = Extension::key_usage(0b0000_0110);
        let root = Key::p256();
        let root_certificate = Certificate {
            serial: 1,
            issuer: name("root"),
            subject: name("root"),
            validity,
            spki: root.spki(),
            extensions: with_identifiers(
                vec![Extension::authority(), authority_usage.clone()],
                [&root, &root],
            ),
        }
        .signed(&root);
        let authority = Key::p256();
        let authority_certificate = Certificate {
            serial: 2,
            issuer: name("root"),
            subject: name("authority"),
            validity,
            spki: authority.spki(),
            extensions: with_identifiers(
                vec![
                    Extension::authority(),
                    authority_usage,
                    Extension::usage(CODE_SIGNING, false),
                ],
                [&authority, &root],
            ),
        }
        .signed(&root);
        let timestamps = Key::p256();
        let timestamp_certificate = Certificate {
            serial: 3,
            issuer: name("root"),
            subject: name("timestamps"),
            validity,
            spki: timestamps.spki(),
            extensions: with_identifiers(
                vec![
                    Extension::key_usage(0x80),
                    Extension::usage(TIME_STAMPING, true),
                ],
                [&timestamps, &root],
            ),
        }
        .signed(&root);
        Self {
            root: (root, root_certificate),
            authority: (authority, authority_certificate),
            certificate_log: Key::p256(),
            rekor: Key::p256(),
            rekor_v2: Key::ed25519(),
            timestamps: (timestamps, timestamp_certificate),
        }
    }

    /// The `trusted_root.json`.
    pub fn trusted_root(&self) -> Value {
        let window = json!({ "start": time(NOW - YEAR), "end": time(NOW + YEAR) });
        let log = |url: &str, key: &Key| {
            json!({
                "baseUrl": url,
                "hashAlgorithm": "SHA2_256",
                "publicKey": {
                    "rawBytes": b64(key.spki()),
                    "keyDetails": key.details(),
                    "validFor": window,
                },
                "logId": { "keyId": b64(key.id()) },
            })
        };
        let chain = |certificates: [&Vec<u8>; 2]| {
            let certificates = certificates.map(|der| json!({ "rawBytes": b64(der) }));
            json!({ "certificates": certificates })
        };
        json!({
            "mediaType": "application/vnd.dev.sigstore.trustedroot+json;version=0.1",
            "tlogs": [
                log("https://rekor.example.org", &self.rekor),
                log("https://rekor-v2.example.org", &self.rekor_v2),
            ],
            "certificateAuthorities": [{
                "subject": { "organization": "example.org", "commonName": "authority" },
                "uri": "https://fulcio.example.org",
                "certChain": chain([&self.authority.1, &self.root.1]),
                "validFor": window,
            }],
            "ctlogs": [log("https://ctlog.example.org", &self.certificate_log)],
            "timestampAuthorities": [{
                "subject": { "organization": "example.org", "commonName": "timestamps" },
                "uri": "https://timestamps.example.org",
                "certChain": chain([&self.timestamps.1, &self.root.1]),
                "validFor": window,
            }],
        })
    }

    /// Trust in the identity that [`Signing::new`] uses.
    pub fn trust(&self) -> Trust {
        self.trust_in(IDENTITY, ISSUER)
    }

    pub fn trust_in(&self, identity: &str, issuer: &str) -> Trust {
        trust(&self.trusted_root(), identity, issuer)
    }
}

pub fn trust(root: &Value, identity: &str, issuer: &str) -> Trust {
    Trust::Sigstore {
        identity: identity.into(),
        identity_provider: issuer.into(),
        trusted_root: TrustedRoot::from_json(root.to_string().as_bytes()).unwrap(),
    }
}

pub fn time(seconds: i64) -> String {
    jiff::Timestamp::from_second(seconds).unwrap().to_string()
}

/// Extensions, and those that name the keys of a certificate and its issuer: hints here, and asked
/// for by other implementations.
fn with_identifiers(mut extensions: Vec<Extension>, [own, issuer]: [&Key; 2]) -> Vec<Extension> {
    extensions.extend(Extension::identifiers(own, issuer));
    extensions
}

/// A signing under way. Fields may be changed up to the call that uses them.
pub struct Signing<'a> {
    pub instance: &'a Instance,
    pub kind: Kind,
    pub key: Key,
    pub certificate: Certificate,
    /// When the signature is logged or stamped.
    pub time: i64,
    pub payload: Vec<u8>,
}

impl<'a> Signing<'a> {
    pub fn new(instance: &'a Instance, kind: Kind) -> Self {
        let key = Key::p256();
        let certificate = Certificate {
            serial: 0x1234_5678,
            issuer: name("authority"),
            subject: seq(&[]),
            validity: [NOW, NOW + LIFETIME],
            spki: key.spki(),
            extensions: with_identifiers(
                vec![
                    Extension::key_usage(0x80),
                    Extension::usage(CODE_SIGNING, false),
                    email(IDENTITY),
                    Extension::new(ISSUER_V1_OID, false, ISSUER.into()),
                    Extension::new(ISSUER_V2_OID, false, super::der::utf8(ISSUER)),
                ],
                [&key, &instance.authority.0],
            ),
        };
        Self {
            instance,
            kind,
            key,
            certificate,
            time: NOW + 5,
            payload: statement("model"),
        }
    }

    pub fn extension(&mut self, id: &str) -> &mut Extension {
        let extensions = &mut self.certificate.extensions;
        extensions.iter_mut().find(|e| e.id == id).unwrap()
    }

    pub fn remove_extension(&mut self, id: &str) {
        self.certificate.extensions.retain(|e| e.id != id);
    }

    /// The certificate, logged.
    pub fn certified(&self) -> Vec<u8> {
        self.certified_by(
            &self.instance.authority.0,
            &self.instance.certificate_log,
            NOW,
        )
    }

    pub fn certified_by(&self, authority: &Key, log: &Key, logged: i64) -> Vec<u8> {
        let mut certificate = self.certificate.clone();
        let sct = sct(&certificate.tbs(), &authority.id(), log, logged);
        certificate.extensions.push(Extension::new(
            SCTS,
            false,
            octets(&with_length(&with_length(&sct))),
        ));
        certificate.signed(authority)
    }

    /// The whole bundle.
    pub fn bundle(&self) -> Parts {
        self.bundle_with(&self.certified())
    }

    pub fn bundle_with(&self, certificate: &[u8]) -> Parts {
        let signature = self.key.sign(&pae(&self.payload));
        let body = body(self.kind, certificate, &signature, &self.payload);
        let entry = Entry::new(self.instance, self.kind, &body, self.time);
        let timestamps = match self.kind {
            Kind::HashedRekord => vec![self.timestamp(&signature)],
            _ => vec![],
        };
        Parts {
            certificate: certificate.to_vec(),
            entries: vec![entry.to_json()],
            timestamps,
            payload: self.payload.clone(),
            signature,
        }
    }

    pub fn timestamp(&self, signature: &[u8]) -> Vec<u8> {
        timestamp(&self.instance.timestamps.0, signature, self.time)
    }
}

pub fn email(address: &str) -> Extension {
    Extension::new(SAN, true, seq(&[&tlv(0x81, address.as_bytes())]))
}

pub fn uri(address: &str) -> Extension {
    Extension::new(SAN, true, seq(&[&tlv(0x86, address.as_bytes())]))
}

/// The parts of a bundle.
#[derive(Clone)]
pub struct Parts {
    pub certificate: Vec<u8>,
    pub entries: Vec<Value>,
    pub timestamps: Vec<Vec<u8>>,
    pub payload: Vec<u8>,
    pub signature: Vec<u8>,
}

impl Parts {
    pub fn to_value(&self) -> Value {
        let timestamps: Vec<Value> = self
            .timestamps
            .iter()
            .map(|der| json!({ "signedTimestamp": b64(der) }))
            .collect();
        json!({
            "mediaType": "application/vnd.dev.sigstore.bundle.v0.3+json",
            "verificationMaterial": {
                "certificate": { "rawBytes": b64(&self.certificate) },
                "tlogEntries": self.entries,
                "timestampVerificationData": { "rfc3161Timestamps": timestamps },
            },
            "dsseEnvelope": {
                "payload": b64(&self.payload),
                "payloadType": "application/vnd.in-toto+json",
                "signatures": [{ "sig": b64(&self.signature) }],
            },
        })
    }

    pub fn to_json(&self) -> Vec<u8> {
        self.to_value().to_string().into_bytes()
    }
}

/// An OMS statement about a model of two files.
pub fn statement(model: &str) -> Vec<u8> {
    let digests = [sha256(b"one"), sha256(b"two")];
    let resource = |name: &str, digest: [u8; 32]| {
        let digest = hex::encode(digest);
        json!({ "name": name, "algorithm": "sha256", "digest": digest })
    };
    json!({
        "_type": "https://in-toto.io/Statement/v1",
        "subject": [{
            "name": model,
            "digest": { "sha256": hex::encode(sha256(&digests.concat())) },
        }],
        "predicateType": "https://model_signing/signature/v1.0",
        "predicate": {
            "serialization": {
                "method": "files",
                "hash_type": "sha256",
                "allow_symlinks": false,
            },
            "resources": [resource("a", digests[0]), resource("b", digests[1])],
        },
    })
    .to_string()
    .into_bytes()
}

pub fn pae(payload: &[u8]) -> Vec<u8> {
    let header = format!("DSSEv1 28 application/vnd.in-toto+json {} ", payload.len());
    [header.as_bytes(), payload].concat()
}

/// The canonical body of a log entry. The members of `json!` are sorted, as canonical JSON has
/// them.
pub fn body(kind: Kind, certificate: &[u8], signature: &[u8], payload: &[u8]) -> Value {
    let hash = |bytes: &[u8]| json!({ "algorithm": "sha256", "value": hex::encode(sha256(bytes)) });
    let (name, version) = kind.name();
    let spec = match kind {
        Kind::Dsse => json!({
            "envelopeHash": hash(b"some spelling of the envelope"),
            "payloadHash": hash(payload),
            "signatures": [{
                "signature": b64(signature),
                "verifier": b64(pem(certificate)),
            }],
        }),
        Kind::Intoto => json!({ "content": {
            "envelope": {
                "payloadType": "application/vnd.in-toto+json",
                "signatures": [{
                    "publicKey": b64(pem(certificate)),
                    "sig": b64(b64(signature)),
                }],
            },
            "hash": hash(b"some spelling of the envelope"),
            "payloadHash": hash(payload),
        }}),
        Kind::HashedRekord => json!({ "hashedRekordV002": {
            "data": { "algorithm": "SHA2_256", "digest": b64(sha256(&pae(payload))) },
            "signature": {
                "content": b64(signature),
                "verifier": {
                    "keyDetails": "PKIX_ECDSA_P256_SHA_256",
                    "x509Certificate": { "rawBytes": b64(certificate) },
                },
            },
        }}),
    };
    json!({ "apiVersion": version, "kind": name, "spec": spec })
}

/// A log entry, all of it made over `body`.
pub struct Entry<'a> {
    pub kind: (String, String),
    /// The log that signs, which the entry names.
    pub log: &'a Key,
    /// Rekor v1 signs entries with a time.
    pub promised: bool,
    pub log_index: u64,
    pub time: i64,
    pub body: Vec<u8>,
    /// The place among `leaves`.
    pub position: usize,
    /// The hashes of the leaves of the tree; the entry's own is put in.
    pub leaves: Vec<[u8; 32]>,
}

impl<'a> Entry<'a> {
    pub fn new(instance: &'a Instance, kind: Kind, body: &Value, time: i64) -> Self {
        let (name, version) = kind.name();
        let v2 = kind == Kind::HashedRekord;
        Self {
            kind: (name.into(), version.into()),
            log: if v2 {
                &instance.rekor_v2
            } else {
                &instance.rekor
            },
            promised: !v2,
            // Rekor v1 counts over all of its trees, v2 in the one tree.
            log_index: if v2 { 5 } else { 1_000_005 },
            time,
            body: body.to_string().into_bytes(),
            position: 5,
            leaves: (0..11).map(|n| sha256(&[n])).collect(),
        }
    }

    pub fn to_json(&self) -> Value {
        let mut leaves = self.leaves.clone();
        leaves[self.position] = sha256(&[&[0], &self.body[..]].concat());
        let (root, hashes) = (root_of(&leaves), path_to(self.position, &leaves));
        let mut entry = json!({
            "logIndex": self.log_index.to_string(),
            "logId": { "keyId": b64(self.log.id()) },
            "kindVersion": { "kind": self.kind.0, "version": self.kind.1 },
            "canonicalizedBody": b64(&self.body),
            "inclusionProof": {
                "logIndex": self.position.to_string(),
                "treeSize": leaves.len().to_string(),
                "rootHash": b64(root),
                "hashes": hashes.iter().map(b64).collect::<Vec<_>>(),
                "checkpoint": { "envelope": checkpoint(self.log, leaves.len(), &root) },
            },
        });
        if self.promised {
            entry["integratedTime"] = self.time.to_string().into();
            let message = json!({
                "body": b64(&self.body),
                "integratedTime": self.time,
                "logID": hex::encode(self.log.id()),
                "logIndex": self.log_index,
            });
            let promise = self.log.sign(message.to_string().as_bytes());
            entry["inclusionPromise"] = json!({ "signedEntryTimestamp": b64(promise) });
        }
        entry
    }
}

/// A signed note over the head of a tree.
pub fn checkpoint(log: &Key, size: usize, root: &[u8; 32]) -> String {
    let note = format!("rekor.example.org - 1234\n{size}\n{}\n", b64(root));
    let signature = [&log.id()[..4], &log.sign(note.as_bytes())].concat();
    format!("{note}\n\u{2014} rekor.example.org {}\n", b64(signature))
}

fn node(left: &[u8], right: &[u8]) -> [u8; 32] {
    sha256(&[&[1], left, right].concat())
}

fn split(leaves: &[[u8; 32]]) -> usize {
    leaves.len().next_power_of_two() / 2
}

/// The root of a Merkle tree (RFC 6962, section 2.1).
pub fn root_of(leaves: &[[u8; 32]]) -> [u8; 32] {
    if let [leaf] = leaves {
        return *leaf;
    }
    let (left, right) = leaves.split_at(split(leaves));
    node(&root_of(left), &root_of(right))
}

/// The audit path to a leaf (RFC 6962, section 2.1.1).
pub fn path_to(position: usize, leaves: &[[u8; 32]]) -> Vec<[u8; 32]> {
    if leaves.len() == 1 {
        return vec![];
    }
    let (left, right) = leaves.split_at(split(leaves));
    let (mut path, sibling) = match position.checked_sub(left.len()) {
        None => (path_to(position, left), root_of(right)),
        Some(position) => (path_to(position, right), root_of(left)),
    };
    path.push(sibling);
    path
}

fn with_length(content: &[u8]) -> Vec<u8> {
    let length = u16::try_from(content.len()).unwrap();
    [&length.to_be_bytes(), content].concat()
}

/// A signed certificate timestamp over a precertificate (RFC 6962, sections 3.2 and 3.3).
pub fn sct(tbs: &[u8], issuer_key: &[u8; 32], log: &Key, seconds: i64) -> Vec<u8> {
    let milliseconds = (u64::try_from(seconds).unwrap() * 1000).to_be_bytes();
    let length = u32::try_from(tbs.len()).unwrap().to_be_bytes();
    let entry_type = [0, 1];
    let message = [
        &[0, 0],
        &milliseconds[..],
        &entry_type,
        issuer_key,
        &length[1..],
        tbs,
        &[0, 0],
    ]
    .concat();
    let ecdsa_sha256 = [4, 3];
    [
        &[0],
        &log.id()[..],
        &milliseconds,
        &[0, 0],
        &ecdsa_sha256,
        &with_length(&log.sign(&message)),
    ]
    .concat()
}

/// A time stamp over `data`.
pub fn timestamp(key: &Key, data: &[u8], seconds: i64) -> Vec<u8> {
    timestamp_of(key, &sha256(data), &[], seconds)
}

/// A time stamp over what has that SHA-256 digest, with the nonce, in DER, of a request that had
/// one (RFC 3161, section 2.4.2; RFC 5652, section 5).
pub fn timestamp_of(key: &Key, digest: &[u8], nonce: &[u8], seconds: i64) -> Vec<u8> {
    const TST_INFO: &str = "1.2.840.113549.1.9.16.1.4";
    let sha256_id = seq(&[&oid(SHA256_OID)]);
    let info = seq(&[
        &int(1),
        &oid("1.3.6.1.4.1.57264.2"),
        &seq(&[&sha256_id, &octets(digest)]),
        &int(99),
        &generalized_time(seconds),
        nonce,
    ]);
    let attribute = |id: &str, value: &[u8]| seq(&[&oid(id), &set(&[value])]);
    let attributes = set(&[
        &attribute("1.2.840.113549.1.9.3", &oid(TST_INFO)),
        &attribute("1.2.840.113549.1.9.4", &octets(&sha256(&info))),
    ]);
    let signature = key.sign(&attributes);
    // In the token, the attributes have another tag than in what is signed.
    let attributes = [&[0xa0], &attributes[1..]].concat();
    let signer = seq(&[
        &int(1),
        &seq(&[&name("root"), &int(3)]),
        &sha256_id,
        &attributes,
        &seq(&[&oid(super::der::ECDSA_SHA256)]),
        &octets(&signature),
    ]);
    let signed_data = seq(&[
        &int(3),
        &set(&[&sha256_id]),
        &seq(&[&oid(TST_INFO), &tagged(0, &octets(&info))]),
        &set(&[&signer]),
    ]);
    let token = seq(&[&oid("1.2.840.113549.1.7.2"), &tagged(0, &signed_data)]);
    let granted = seq(&[&int(0)]);
    seq(&[&granted, &token])
}
