//! The flags that say who signs: the holder of a key, or an identity that Sigstore vouches for.

use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};

use super::key::KeyPlace;
use super::secret::Secret;

/// The flags that sign with Sigstore. What belongs to a key conflicts with them, and the other way
/// round. "requires" wouldn't do: clap doesn't insist on a required flag that conflicts with one
/// that is there.
pub(super) const IDENTITY_TOKENS: [&str; 2] = ["identity_token", "identity_token_file"];

/// The flags that sign with a key. What belongs to Sigstore conflicts with them.
#[cfg(feature = "pkcs11")]
const KEYS: [&str; 2] = ["private_key", "pkcs11_uri"];
#[cfg(not(feature = "pkcs11"))]
const KEYS: [&str; 1] = ["private_key"];

/// What goes with a key only.
#[cfg(feature = "pkcs11")]
const OF_KEYS: [&str; 2] = ["password_file", "pkcs11_module"];
#[cfg(not(feature = "pkcs11"))]
const OF_KEYS: [&str; 1] = ["password_file"];

/// How to sign with Sigstore. Every build knows the flags, so that one that can't sign so says why.
#[derive(Debug, Args)]
#[command(next_help_heading = "Sigstore (feature sigstore-sign)")]
pub(crate) struct SigstoreArgs {
    /// Sign as whom this identity token names. Other users of this host can see it in the list of
    /// processes: prefer a file
    #[arg(long, value_name = "TOKEN", group = "signer", conflicts_with_all = OF_KEYS)]
    pub(super) identity_token: Option<Secret>,

    /// Sign as whom the identity token in FILE names
    #[arg(long, value_name = "FILE", group = "signer", conflicts_with_all = OF_KEYS)]
    pub(super) identity_token_file: Option<PathBuf>,

    /// A private Sigstore instance: its client trust configuration, or its trusted root, which
    /// takes the URLs below [default: the public-good instance]
    #[arg(long, value_name = "JSON", conflicts_with_all = KEYS)]
    pub(crate) trust_config: Option<PathBuf>,

    /// Its certificate authority, if not the one that the configuration names
    #[arg(
        long,
        value_name = "URL",
        requires = "trust_config",
        conflicts_with_all = KEYS
    )]
    pub(crate) fulcio_url: Option<String>,

    /// Its log, if not the one that the configuration names
    #[arg(
        long,
        value_name = "URL",
        requires = "trust_config",
        conflicts_with_all = KEYS
    )]
    pub(crate) rekor_url: Option<String>,

    /// Version of the interface of that log [default: 1]
    #[arg(
        long,
        value_enum,
        value_name = "VERSION",
        requires = "rekor_url",
        conflicts_with_all = KEYS
    )]
    pub(crate) rekor_version: Option<RekorVersion>,

    /// Its timestamp authority, if not the one that the configuration names
    #[arg(
        long,
        value_name = "URL",
        requires = "trust_config",
        conflicts_with_all = KEYS
    )]
    pub(crate) tsa_url: Option<String>,
}

/// A version of the log's interface.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum RekorVersion {
    #[value(name = "1")]
    V1,
    #[value(name = "2")]
    V2,
}

/// The one signer that the flags of `sign` name.
#[derive(Debug, Clone, Copy)]
#[cfg_attr(not(feature = "sigstore-sign"), allow(dead_code))] // it says no, whatever the token
pub(crate) enum Signer<'a> {
    /// The holder of a key.
    Key(KeyPlace<'a>),
    /// Whom an identity token names.
    IdentityToken(&'a Secret),
    /// The same, of a token in a file.
    IdentityTokenFile(&'a Path),
}
