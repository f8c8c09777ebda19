//! The command line, as types: a file for each verb, and one for each group of flags that verbs
//! share.
//!
//! Guarantees: whatever parses obeys the rules between flags, so that verbs needn't check them
//! again. Doesn't: look at files.

mod address;
mod demo;
mod ignore;
mod index;
mod inspect;
mod log;
mod model;
mod mount;
mod secret;
mod sign;
mod signer;
mod size;
mod status;
#[cfg(test)]
mod tests;
mod trust;
mod trust_flags;
mod umount;
mod verify;

use clap::{Parser, Subcommand};
use model_fs::name::Escaped;

pub(crate) use self::demo::DemoArgs;
pub(crate) use self::ignore::IgnoreArgs;
pub(crate) use self::index::IndexArgs;
pub(crate) use self::inspect::InspectArgs;
pub(crate) use self::log::{LogArgs, LogFormat};
pub(crate) use self::model::ModelArgs;
pub(crate) use self::mount::{LaneChoice, MountArgs, OnViolation};
pub(crate) use self::sign::SignArgs;
pub(crate) use self::signer::{KeyPlace, Signer};
#[cfg(feature = "sigstore-sign")]
pub(crate) use self::signer::{RekorVersion, SigstoreArgs};
pub(crate) use self::size::ByteSize;
pub(crate) use self::status::StatusArgs;
#[cfg(test)]
pub(crate) use self::trust::TrustPlaceArgs;
pub(crate) use self::trust::{
    TrustAddArgs, TrustCommand, TrustCommandArgs, TrustDistrustArgs, TrustListArgs, TrustRemoveArgs,
};
pub(crate) use self::trust_flags::{Trust, TrustArgs};
pub(crate) use self::umount::UmountArgs;
pub(crate) use self::verify::VerifyArgs;

/// Sign, verify and mount machine-learning models.
///
/// A mounted model is read-only, and every byte is checked against its signature as it is read.
#[derive(Debug, Parser)]
#[command(
    name = "model-fs",
    version,
    max_term_width = 100,
    disable_help_subcommand = true
)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) log: LogArgs,

    #[command(subcommand)]
    pub(crate) command: Command,
}

/// The verbs.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Mount a signed model read-only; check it as it is read
    Mount(MountArgs),
    /// Unmount a model
    Umount(UmountArgs),
    /// Show what a mount has done and seen
    Status(StatusArgs),
    /// Check a model, all of it, now
    Verify(VerifyArgs),
    /// Sign a model
    Sign(SignArgs),
    /// Prepare a model so that mounting it reads nothing but what is asked for
    Index(IndexArgs),
    /// Show what a signature says, without verifying anything
    Inspect(InspectArgs),
    /// Manage trusted signers
    Trust(TrustCommandArgs),
    /// Show the whole story on a throw-away model
    Demo(DemoArgs),
}

/// What clap has to say, with arguments as they may be shown: clap repeats them, and a name that a
/// shell's pattern found isn't the user's.
pub(crate) fn shown(message: clap::Error) -> clap::Error {
    let escaped = std::env::args_os().map(|argument| match argument.to_str() {
        Some(text) => Escaped::again(text),
        None => Escaped::path(&argument),
    });
    let escaped = escaped.map(|argument| argument.to_string());
    // It is about the same argument. Where it isn't, it was about one that is no text, and shows
    // none.
    Cli::try_parse_from(escaped).err().unwrap_or(message)
}
