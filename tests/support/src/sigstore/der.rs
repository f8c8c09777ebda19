//! Just enough DER (X.690) to write certificates and time stamps, right ones and wrong ones.

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _,
};

pub const ECDSA_SHA256: &str = "1.2.840.10045.4.3.2";
pub const SHA256_OID: &str = "2.16.840.1.101.3.4.2.1";

pub fn tlv(tag: u8, content: &[u8]) -> Vec<u8> {
    let length = content.len().to_be_bytes();
    let first = length.iter().position(|&b| b != 0).unwrap_or(7);
    let length = &length[first..];
    let long = match length {
        [..0x80] => None,
        _ => Some(0x80 | u8::try_from(length.len()).unwrap()),
    };
    [&[tag], long.as_slice(), length, content].concat()
}

pub fn seq(parts: &[&[u8]]) -> Vec<u8> {
    tlv(0x30, &parts.concat())
}

/// A SET OF, in the order of DER.
pub fn set(parts: &[&[u8]]) -> Vec<u8> {
    let mut parts = parts.to_vec();
    parts.sort_unstable();
    tlv(0x31, &parts.concat())
}

/// `[n]`, constructed.
pub fn tagged(n: u8, content: &[u8]) -> Vec<u8> {
    tlv(0xa0 | n, content)
}

pub fn int(value: u64) -> Vec<u8> {
    let bytes = value.to_be_bytes();
    let first = bytes.iter().position(|&b| b != 0).unwrap_or(7);
    let mut content = bytes[first..].to_vec();
    if content[0] >= 0x80 {
        content.insert(0, 0);
    }
    tlv(0x02, &content)
}

pub fn boolean(value: bool) -> Vec<u8> {
    tlv(0x01, &[if value { 0xff } else { 0 }])
}

pub fn octets(content: &[u8]) -> Vec<u8> {
    tlv(0x04, content)
}

pub fn bits(content: &[u8]) -> Vec<u8> {
    tlv(0x03, &[&[0], content].concat())
}

pub fn utf8(text: &str) -> Vec<u8> {
    tlv(0x0c, text.as_bytes())
}

pub fn oid(text: &str) -> Vec<u8> {
    let arcs: Vec<u64> = text.split('.').map(|arc| arc.parse().unwrap()).collect();
    let mut content = vec![];
    for arc in std::iter::once(arcs[0] * 40 + arcs[1]).chain(arcs[2..].iter().copied()) {
        let groups = (0..9)
            .rev()
            .map(|n| (arc >> (7 * n)).to_le_bytes()[0] & 0x7f);
        let mut groups: Vec<u8> = groups.skip_while(|&group| group == 0).collect();
        if groups.is_empty() {
            groups.push(0);
        }
        let last = groups.len() - 1;
        groups[..last].iter_mut().for_each(|group| *group |= 0x80);
        content.extend(groups);
    }
    tlv(0x06, &content)
}

fn time(tag: u8, format: &str, seconds: i64) -> Vec<u8> {
    let time = jiff::Timestamp::from_second(seconds).unwrap();
    tlv(tag, time.strftime(format).to_string().as_bytes())
}

pub fn utc_time(seconds: i64) -> Vec<u8> {
    time(0x17, "%y%m%d%H%M%SZ", seconds)
}

pub fn generalized_time(seconds: i64) -> Vec<u8> {
    time(0x18, "%Y%m%d%H%M%SZ", seconds)
}

pub fn sha256(data: &[u8]) -> [u8; 32] {
    digest(&SHA256, data).as_ref().try_into().unwrap()
}

/// A key to sign with, made up anew.
pub enum Key {
    P256(EcdsaKeyPair),
    Ed25519(Ed25519KeyPair),
}

impl Key {
    pub fn p256() -> Self {
        Self::P256(EcdsaKeyPair::generate(&ECDSA_P256_SHA256_ASN1_SIGNING).unwrap())
    }

    pub fn ed25519() -> Self {
        Self::Ed25519(Ed25519KeyPair::generate().unwrap())
    }

    /// The public key as a `SubjectPublicKeyInfo`.
    pub fn spki(&self) -> Vec<u8> {
        match self {
            Self::P256(pair) => seq(&[
                &seq(&[&oid("1.2.840.10045.2.1"), &oid("1.2.840.10045.3.1.7")]),
                &bits(pair.public_key().as_ref()),
            ]),
            Self::Ed25519(pair) => seq(&[
                &seq(&[&oid("1.3.101.112")]),
                &bits(pair.public_key().as_ref()),
            ]),
        }
    }

    pub fn id(&self) -> [u8; 32] {
        sha256(&self.spki())
    }

    pub fn sign(&self, message: &[u8]) -> Vec<u8> {
        match self {
            Self::P256(pair) => {
                let signature = pair.sign(&SystemRandom::new(), message).unwrap();
                signature.as_ref().to_vec()
            }
            Self::Ed25519(pair) => pair.sign(message).as_ref().to_vec(),
        }
    }

    pub fn details(&self) -> &'static str {
        match self {
            Self::P256(_) => "PKIX_ECDSA_P256_SHA_256",
            Self::Ed25519(_) => "PKIX_ED25519",
        }
    }
}

/// An X.509 extension.
#[derive(Clone)]
pub struct Extension {
    pub id: &'static str,
    pub critical: bool,
    pub value: Vec<u8>,
}

impl Extension {
    pub fn new(id: &'static str, critical: bool, value: Vec<u8>) -> Self {
        Self {
            id,
            critical,
            value,
        }
    }

    pub fn key_usage(bits: u8) -> Self {
        let unused = u8::try_from(bits.trailing_zeros()).unwrap();
        Self::new("2.5.29.15", true, tlv(0x03, &[unused, bits]))
    }

    /// Time stamps want it critical (RFC 3161, section 2.3), Sigstore's authorities write it so for
    /// nothing else.
    pub fn usage(purpose: &str, critical: bool) -> Self {
        Self::new("2.5.29.37", critical, seq(&[&oid(purpose)]))
    }

    /// The identifiers of a certificate's own key and of its issuer's.
    pub fn identifiers(own: &Key, issuer: &Key) -> [Self; 2] {
        let (own, issuer) = (own.id(), issuer.id());
        [
            Self::new("2.5.29.14", false, octets(&own[..20])),
            Self::new("2.5.29.35", false, seq(&[&tlv(0x80, &issuer[..20])])),
        ]
    }

    pub fn authority() -> Self {
        Self::new("2.5.29.19", true, seq(&[&boolean(true)]))
    }
}

/// What a certificate says.
#[derive(Clone)]
pub struct Certificate {
    pub serial: u64,
    pub issuer: Vec<u8>,
    pub subject: Vec<u8>,
    pub validity: [i64; 2],
    pub spki: Vec<u8>,
    pub extensions: Vec<Extension>,
}

impl Certificate {
    /// What is signed.
    pub fn tbs(&self) -> Vec<u8> {
        let extensions: Vec<Vec<u8>> = self
            .extensions
            .iter()
            .map(|extension| {
                let critical = if extension.critical {
                    boolean(true)
                } else {
                    vec![]
                };
                seq(&[&oid(extension.id), &critical, &octets(&extension.value)])
            })
            .collect();
        let extensions: Vec<&[u8]> = extensions.iter().map(Vec::as_slice).collect();
        seq(&[
            &tagged(0, &int(2)),
            &int(self.serial),
            &seq(&[&oid(ECDSA_SHA256)]),
            &self.issuer,
            &seq(&[&utc_time(self.validity[0]), &utc_time(self.validity[1])]),
            &self.subject,
            &self.spki,
            &tagged(3, &seq(&extensions)),
        ])
    }

    pub fn signed(&self, by: &Key) -> Vec<u8> {
        let tbs = self.tbs();
        seq(&[&tbs, &seq(&[&oid(ECDSA_SHA256)]), &bits(&by.sign(&tbs))])
    }
}

/// A distinguished name with a common name only.
pub fn name(common_name: &str) -> Vec<u8> {
    seq(&[&set(&[&seq(&[&oid("2.5.4.3"), &utf8(common_name)])])])
}
