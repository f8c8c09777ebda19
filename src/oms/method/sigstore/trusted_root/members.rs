//! The members of a trusted root, all of them (`sigstore_trustroot.proto` of Sigstore's
//! protobuf-specs; its JSON schema allows no others either).
//!
//! Guarantees: a file that these types read has no member that is passed over. A window that is
//! spelt `valid_for`, as other encoders of protocol buffers do, would otherwise be no window.
//!
//! Doesn't: keep anything. `sigstore-verify` reads the same text into types of its own.

#![allow(dead_code, reason = "read, and not looked at")]

use serde::Deserialize;
use serde::de::IgnoredAny;

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct TrustedRoot {
    media_type: IgnoredAny,
    tlogs: Option<Vec<TransparencyLog>>,
    certificate_authorities: Option<Vec<Authority>>,
    ctlogs: Option<Vec<TransparencyLog>>,
    timestamp_authorities: Option<Vec<Authority>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct TransparencyLog {
    base_url: Option<IgnoredAny>,
    hash_algorithm: Option<IgnoredAny>,
    public_key: Option<PublicKey>,
    log_id: Option<LogId>,
    checkpoint_key_id: Option<LogId>,
    operator: Option<IgnoredAny>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct PublicKey {
    raw_bytes: Option<IgnoredAny>,
    key_details: Option<IgnoredAny>,
    valid_for: Option<Window>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct LogId {
    key_id: Option<IgnoredAny>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Authority {
    subject: Option<Subject>,
    uri: Option<IgnoredAny>,
    cert_chain: Option<Chain>,
    valid_for: Option<Window>,
    operator: Option<IgnoredAny>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Subject {
    organization: Option<IgnoredAny>,
    common_name: Option<IgnoredAny>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Chain {
    certificates: Option<Vec<Certificate>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Certificate {
    raw_bytes: Option<IgnoredAny>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Window {
    start: Option<IgnoredAny>,
    end: Option<IgnoredAny>,
}
