//! `model-fs trust`, and the verbs beneath it.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::trust_flags::TrustArgs;

/// `trust`.
#[derive(Debug, Args)]
pub(crate) struct TrustCommandArgs {
    #[command(subcommand)]
    pub(crate) command: TrustCommand,
}

/// What to do with the trust store.
#[derive(Debug, Subcommand)]
pub(crate) enum TrustCommand {
    /// Trust a signer
    Add(Box<TrustAddArgs>),
    /// Show who is trusted, and what is hidden
    List(TrustListArgs),
    /// Stop trusting a signer
    Remove(TrustRemoveArgs),
    /// Distrust a signer, whatever the system's file says of it
    Distrust(TrustDistrustArgs),
}

/// `trust add`.
#[derive(Debug, Args)]
pub(crate) struct TrustAddArgs {
    /// Name of the entry, for `trust remove` [default: made of the key, certificate or identity]
    #[arg(long, value_name = "NAME")]
    pub(crate) name: Option<String>,

    /// Only for models that the signer calls NAME (repeatable)
    #[arg(long, value_name = "NAME")]
    pub(crate) model_name: Vec<String>,

    /// Only for models that lie at PATTERN, absolute, with `*` and `**` (repeatable)
    #[arg(long, value_name = "PATTERN")]
    pub(crate) model_path: Vec<String>,

    /// Only for the statement with this payload digest, as `inspect` shows it: files, names, all
    /// that is signed (repeatable)
    #[arg(long, value_name = "SHA256")]
    pub(crate) payload_digest: Vec<String>,

    /// The same, of the statement in this signature file or model (repeatable). The file isn't
    /// verified: look at it with `inspect` first
    #[arg(long, value_name = "MODEL|SIGNATURE")]
    pub(crate) payload_of: Vec<PathBuf>,

    /// Only for contents with this root digest (repeatable). It covers neither names, nor which
    /// bytes make which file, nor ignored paths and links: prefer --payload-digest
    #[arg(long, value_name = "SHA256")]
    pub(crate) root_digest: Vec<String>,

    /// Judge the certificates as of DATE, a day of the past (its first second in UTC) or a date
    /// and time with an offset, and not as of now. Nothing shows that a signature was made by
    /// then: prefer --payload-of, with which certificates may have expired as well
    #[arg(long, value_name = "DATE")]
    pub(crate) valid_at: Option<String>,

    #[command(flatten)]
    pub(crate) place: TrustPlaceArgs,

    #[command(flatten)]
    pub(crate) trust: TrustArgs,
}

/// Which file of the trust store to change.
#[derive(Debug, Args)]
pub(crate) struct TrustPlaceArgs {
    /// Change what everybody on this host trusts, not what you do
    #[arg(long)]
    pub(crate) system: bool,
}

/// `trust list`.
#[derive(Debug, Args)]
pub(crate) struct TrustListArgs {
    /// Print one JSON document
    #[arg(long)]
    pub(crate) json: bool,
}

/// `trust distrust`.
#[derive(Debug, Args)]
pub(crate) struct TrustDistrustArgs {
    /// Name of the entry: of the system's file, or of your own, which is replaced
    #[arg(value_name = "NAME")]
    pub(crate) name: String,
}

/// `trust remove`.
#[derive(Debug, Args)]
pub(crate) struct TrustRemoveArgs {
    /// Name of the entry
    #[arg(value_name = "NAME")]
    pub(crate) name: String,

    /// Remove it though the system's entry of that name will count again
    #[arg(long)]
    pub(crate) force: bool,

    #[command(flatten)]
    pub(crate) place: TrustPlaceArgs,
}
