//! The Sigstore method: a short-lived certificate, and logs that saw it in use (OMS v1.0, 4.1;
//! Sigstore client specification, "Verification").
//!
//! Guarantees: [`crate::oms::verify::verify`] accepts an envelope only if its one signature is by
//! the key of the bundle's certificate; that certificate is of a trusted authority, for code
//! signing, logged in a trusted certificate log, and names exactly the trusted identity and
//! identity provider; and every log entry is proved to be in a trusted log and to be about this
//! envelope, this signature and this certificate. The certificate was valid at every time that
//! anything in the bundle proves, at least one. No network is used, and the clock only to refuse
//! times in the future. No byte of the payload is parsed before its signature, by the trusted
//! identity, has held.
//!
//! Doesn't: say that the certificate has not been revoked, which Sigstore doesn't do; that the log
//! still holds the entry or shows it to all who ask, which takes monitors and witnesses; or
//! anything about the statement.
//!
//! The work is done by `sigstore-verify`. What version 0.15 checks, and what is checked here
//! because it does not:
//!
//! | | `sigstore-verify` | here |
//! |---|---|---|
//! | chain to an authority, at each proved time, code signing | yes | the authority's own certificates must have been valid too, and be those of an authority for that purpose ([`trusted_root`]) |
//! | key usage of the certificate | no | digital signature |
//! | SCT | exactly one, by a trusted log, key valid at its time | |
//! | identity | the first email or URI is compared, exactly | there must be exactly one name |
//! | identity provider | the newer extension, else the older, exactly | they may not differ or be repeated |
//! | inclusion proof | of each entry that has one, *one* entry must | every entry must |
//! | checkpoint | signed by any trusted log, ever valid | by the log that the entry names, valid at each proved time |
//! | size of the tree in proof and checkpoint (Rekor v1) | not compared | equal |
//! | signed entry timestamp | where present | |
//! | a proved time | one: signed entry timestamp or RFC 3161; whatever is present must verify | |
//! | RFC 3161 time stamp | over the signature, by the authority's own leaf certificate; neither its content type attribute nor a second signer is looked at | |
//! | body of the entry | payload digest, signature; certificate, but for `intoto` its key only | the whole certificate; the kind in the body is the bundle's |
//! | envelope digest in a `dsse` body | no: it covers a spelling of JSON that the bundle doesn't keep | no: payload and signature are covered |
//! | signature of the envelope | yes, having parsed the payload | also before anything parses it |
//!
//! The tests hold each "no" of the middle column against the crate. Re-check the table when its
//! version moves.
//!
//! A bundle without any log entry, with time stamps only, is refused. So is a key or certificate
//! bundle: [`crate::oms::verify`] compares methods first. Log entries of other kinds than `dsse`
//! 0.0.1, `intoto` 0.0.2 and `hashedrekord` 0.0.2 are named in the error.
//!
//! Memory: once a trusted signer is known, the crate copies the payload and parses it into a tree
//! of several times its size; for a model of a million files that is gigabytes.

mod error;
mod identity;
mod log;
pub mod trusted_root;
mod verify;

pub use self::error::SigstoreError;
pub use self::identity::{CertificateRule, ClaimedIdentity};
pub use self::log::EntryRule;
pub(in crate::oms) use self::verify::verify;
