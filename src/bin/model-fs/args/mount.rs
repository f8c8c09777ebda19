//! `model-fs mount`.

use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::path::PathBuf;

use clap::{Args, ValueEnum};
use model_fs::fs::Prefetch;

use super::ignore::IgnoreArgs;
use super::model::ModelArgs;
use super::size::ByteSize;
use super::trust_flags::TrustArgs;
use crate::background::Home;

/// A number of threads.
fn threads(text: &str) -> Result<NonZeroUsize, &'static str> {
    text.parse().map_err(|_| "give a number, at least 1")
}

/// `mount`.
#[derive(Debug, Args)]
pub(crate) struct MountArgs {
    #[command(flatten)]
    pub(crate) model: ModelArgs,

    /// Mount point: a directory
    #[arg(value_name = "MOUNTPOINT")]
    pub(crate) mountpoint: PathBuf,

    #[command(flatten)]
    pub(crate) ignore: IgnoreArgs,

    /// Stay until unmounted or signalled
    #[arg(long)]
    pub(crate) foreground: bool,

    /// Let other users look into the mount
    #[arg(long)]
    pub(crate) allow_other: bool,

    /// Mount options, as for mount(8)
    #[arg(short = 'o', value_name = "OPTIONS")]
    pub(crate) options: Vec<String>,

    /// Cache size, of verified data [default: 256MiB]
    #[arg(long, value_name = "SIZE")]
    pub(crate) cache_size: Option<ByteSize>,

    /// Table store [default: ~/.cache/model-fs/index]
    #[arg(long, value_name = "DIR")]
    pub(crate) index_dir: Option<PathBuf>,

    /// Threads that take requests from the kernel
    #[arg(long, value_name = "N", value_parser = threads)]
    pub(crate) threads: Option<NonZeroUsize>,

    /// How the kernel shows the model: by FUSE, or through the page cache of its own EROFS, where
    /// that is possible
    #[arg(long, value_enum, default_value_t, value_name = "LANE")]
    pub(crate) lane: LaneChoice,

    /// What to do when content isn't what was signed: fail that read, or every read from then on
    #[arg(long, value_enum, default_value_t, value_name = "ACTION")]
    pub(crate) on_violation: OnViolation,

    /// Program to run when content isn't what was signed: an absolute path; no shell, no arguments,
    /// the facts are in its environment
    #[arg(long, value_name = "PROGRAM")]
    pub(crate) on_violation_exec: Option<PathBuf>,

    /// Second place for content that the model gives wrong, or not at all, while it is mounted: the
    /// same files under the same names. It needs no trust; may be given several times
    #[arg(long, value_name = "DIR")]
    pub(crate) repair_from: Vec<PathBuf>,

    /// What to do in the background, while nothing else has to be done: prove how each file is
    /// checked, or also read and check all of it, so that readers find it in memory
    #[arg(long, value_enum, default_value_t, value_name = "WHAT")]
    pub(crate) prefetch: PrefetchWhat,

    /// Go on when the process that serves is killed: another process keeps the mount, and starts
    /// the next
    #[arg(long)]
    pub(crate) keep_alive: bool,

    /// Write the number of the process that serves to FILE once it does; removed at the end
    #[arg(long, value_name = "FILE")]
    pub(crate) pid_file: Option<PathBuf>,

    /// Serve metrics for Prometheus by HTTP, at /metrics: a port of this host (9100), or an address
    /// that others can reach (0.0.0.0:9100)
    #[arg(long, value_name = "ADDRESS", value_parser = super::address::parse)]
    pub(crate) metrics_listen: Option<SocketAddr>,

    /// Write metrics to FILE every few seconds, for the textfile collector of Prometheus' node
    /// exporter: a file of its own for each mount, whose name ends in .prom
    #[arg(long, value_name = "FILE")]
    pub(crate) metrics_file: Option<PathBuf>,

    #[command(flatten)]
    pub(crate) trust: TrustArgs,

    /// `HOME` for the process in the background.
    #[arg(skip)]
    pub(crate) home: Home,
}

/// What is done in the background once a model is mounted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum PrefetchWhat {
    /// Nothing.
    #[default]
    None,
    /// Chunk tables are proved.
    Tables,
    /// All content is read.
    All,
}

impl From<PrefetchWhat> for Prefetch {
    fn from(what: PrefetchWhat) -> Self {
        match what {
            PrefetchWhat::None => Self::None,
            PrefetchWhat::Tables => Self::Tables,
            PrefetchWhat::All => Self::All,
        }
    }
}

/// How the kernel shows a model.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum LaneChoice {
    /// FUSE, until the other lane is complete.
    #[default]
    Auto,
    /// FUSE.
    Fuse,
    /// EROFS; FUSE where that can't be.
    Pages,
}

/// What a violation leads to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum OnViolation {
    /// That read fails.
    #[default]
    Eio,
    /// Every read fails from then on.
    Lockdown,
}
