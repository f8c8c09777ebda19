//! The command line, as types: a file for each verb, and one for each group of flags that verbs
//! share.
//!
//! Guarantees: whatever parses obeys the rules between flags, so that verbs needn't check them
//! again. Doesn't: look at files.

mod address;
mod attest;
mod demo;
mod examples;
mod ignore;
mod index;
mod inspect;
mod key;
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
mod upgrade;
mod verify;
mod version;
mod warm;
mod width;

use std::ffi::OsString;

use clap::{Parser, Subcommand};
use model_fs::name::Escaped;

use crate::terminal;

pub(crate) use self::attest::AttestArgs;
pub(crate) use self::demo::DemoArgs;
pub(crate) use self::ignore::IgnoreArgs;
pub(crate) use self::index::IndexArgs;
pub(crate) use self::inspect::InspectArgs;
pub(crate) use self::key::{KeyArgs, KeyPlace};
pub(crate) use self::log::{LogArgs, LogFormat};
pub(crate) use self::model::ModelArgs;
pub(crate) use self::mount::{LaneChoice, MountArgs, OnViolation};
pub(crate) use self::sign::SignArgs;
pub(crate) use self::signer::Signer;
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
pub(crate) use self::upgrade::UpgradeArgs;
pub(crate) use self::verify::VerifyArgs;
pub(crate) use self::warm::WarmArgs;

/// Sign, verify and mount machine-learning models.
///
/// A mounted model is read-only, and every byte is checked against its signature as it is read.
#[derive(Debug, Parser)]
#[command(
    name = "model-fs",
    version,
    long_version = version::long(),
    max_term_width = 100,
    after_help = examples::AFTER_ALL
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
    #[command(after_help = examples::MOUNT)]
    Mount(MountArgs),
    /// Unmount a model
    #[command(after_help = examples::UMOUNT)]
    Umount(UmountArgs),
    /// Have a mount served by this program as it is installed now, while it is in use
    #[command(after_help = examples::UPGRADE)]
    Upgrade(UpgradeArgs),
    /// Show what a mount has done and seen
    #[command(after_help = examples::STATUS)]
    Status(StatusArgs),
    /// Read a mounted model, so that others find it in memory
    #[command(after_help = examples::WARM)]
    Warm(WarmArgs),
    /// State what a mount has served and verified, signed with a key of this host
    #[command(after_help = examples::ATTEST)]
    Attest(AttestArgs),
    /// Check a model, all of it, now
    #[command(after_help = examples::VERIFY)]
    Verify(VerifyArgs),
    /// Sign a model
    #[command(after_help = examples::SIGN)]
    Sign(SignArgs),
    /// Prepare a model so that mounting it reads nothing but what is asked for
    #[command(after_help = examples::INDEX)]
    Index(IndexArgs),
    /// Show what a signature says, without verifying anything
    #[command(after_help = examples::INSPECT)]
    Inspect(InspectArgs),
    /// Manage trusted signers
    #[command(after_help = examples::TRUST)]
    Trust(TrustCommandArgs),
    /// Show the whole story on a throw-away model
    Demo(DemoArgs),
}

/// Reads a command line. What clap has to say about a wrong one shows arguments as they may be
/// shown: clap repeats them, and a name that a shell's pattern found isn't the user's.
pub(crate) fn parse(arguments: &[OsString]) -> Result<Cli, clap::Error> {
    try_parse::<Cli>(arguments).map_err(|message| shown::<Cli>(message, arguments))
}

/// Reads a command line of `P`. What there is to tell of it fits the terminal.
pub(crate) fn try_parse<P: Parser>(
    arguments: impl IntoIterator<Item = impl Into<OsString> + Clone>,
) -> Result<P, clap::Error> {
    let mut command = P::command();
    if let Some(columns) = terminal::columns() {
        command = width::fit(command, columns);
    }
    let mut matches = command.try_get_matches_from_mut(arguments)?;
    P::from_arg_matches_mut(&mut matches).map_err(|error| error.format(&mut command))
}

/// What clap has to say about these arguments of `P`, with arguments as they may be shown.
pub(crate) fn shown<P: Parser>(message: clap::Error, arguments: &[OsString]) -> clap::Error {
    let escaped = arguments.iter().map(|argument| match argument.to_str() {
        Some(text) => Escaped::again(text),
        None => Escaped::path(argument),
    });
    let escaped = escaped.map(|argument| argument.to_string());
    // It is about the same argument. Where it isn't, it was about one that is no text, and shows
    // none.
    try_parse::<P>(escaped).err().unwrap_or(message)
}
