//! The members of a bundle in JSON, as they are read and as they are written, and how large they
//! may be.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::oms::dsse::{RawEnvelope, WireEnvelope};
use crate::oms::wire::few::Few;

/// The only media type of OMS bundles.
pub const MEDIA_TYPE: &str = "application/vnd.dev.sigstore.bundle.v0.3+json";

/// Largest signature file, in bytes. Enough for
/// [`MAX_RESOURCES`](crate::oms::statement::MAX_RESOURCES) resources with SHA-256 or BLAKE3: each
/// has 64 digits of digest, 45 bytes of JSON and a path of some 70 bytes, and a third more for
/// base64.
///
/// This is what bounds memory. A signature file is held once: its payload is decoded where it
/// stands. So what is refused takes its own size and little more, 256 MiB in all. The statement,
/// parsed once the signature holds, takes up to 150 bytes and a name more for each resource, of
/// which there are at most [`MAX_RESOURCES`](crate::oms::statement::MAX_RESOURCES).
pub const MAX_BUNDLE: usize = 240 << 20;

/// Largest signature file with escapes in its JSON: they are copied to be read. Neither base64 nor
/// anything else in a bundle needs them.
pub const MAX_ESCAPED: usize = 16 << 20;

/// Most certificates in one bundle: far more than the depth of any chain in use.
pub const MAX_CERTIFICATES: usize = 32;

/// Largest certificate, in bytes of DER.
pub const MAX_CERTIFICATE: usize = 64 << 10;

/// Longest key hint, in bytes. The hint of OMS is 64 hexadecimal digits.
pub const MAX_HINT: usize = 256;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct RawBundle<'a> {
    #[serde(borrow)]
    pub(super) media_type: Cow<'a, str>,
    #[serde(borrow)]
    pub(super) verification_material: RawMaterial<'a>,
    #[serde(borrow)]
    pub(super) dsse_envelope: Option<RawEnvelope<'a>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct RawMaterial<'a> {
    #[serde(borrow)]
    pub(super) public_key: Option<RawKey<'a>>,
    #[serde(borrow)]
    pub(super) x509_certificate_chain: Option<RawChain<'a>>,
    #[serde(borrow)]
    pub(super) certificate: Option<RawCertificate<'a>>,
    #[serde(borrow)]
    pub(super) tlog_entries: Option<&'a RawValue>,
    #[serde(borrow)]
    pub(super) timestamp_verification_data: Option<&'a RawValue>,
}

/// `rawBytes` and `keyDetails`, which older bundles have, are a key that the signer chose: unknown
/// members here.
#[derive(Deserialize)]
pub(super) struct RawKey<'a> {
    #[serde(borrow)]
    pub(super) hint: Option<Cow<'a, str>>,
}

#[derive(Deserialize)]
pub(super) struct RawChain<'a> {
    #[serde(borrow, default)]
    pub(super) certificates: Few<RawCertificate<'a>, MAX_CERTIFICATES>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct RawCertificate<'a> {
    #[serde(borrow)]
    pub(super) raw_bytes: Cow<'a, str>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct WireBundle<'a> {
    pub(super) media_type: &'static str,
    pub(super) verification_material: WireMaterial<'a>,
    pub(super) dsse_envelope: WireEnvelope<'a>,
}

#[derive(Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct WireMaterial<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) public_key: Option<WireKey<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) x509_certificate_chain: Option<WireChain>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) certificate: Option<WireCertificate>,
    /// Other verifiers want the member, though it has no entries.
    pub(super) tlog_entries: [(); 0],
}

#[derive(Serialize)]
pub(super) struct WireKey<'a> {
    pub(super) hint: &'a str,
}

#[derive(Serialize)]
pub(super) struct WireChain {
    pub(super) certificates: Vec<WireCertificate>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct WireCertificate {
    pub(super) raw_bytes: String,
}
