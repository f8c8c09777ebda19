//! `model-fs sign`.

use std::path::PathBuf;

use clap::{ArgGroup, Args, ValueEnum};
use model_fs::digest::Algorithm;
use model_fs::reading::whole::hash::Annotate;

use super::key::KeyArgs;
use super::model::ModelArgs;
use super::signer::{IDENTITY_TOKENS, Signer, SigstoreArgs};
use super::size::ByteSize;

/// clap's own would be one line with every way to name a signer.
const USAGE: &str = if cfg!(feature = "pkcs11") {
    "model-fs sign [OPTIONS] --private-key <PEM> <MODEL>
       model-fs sign [OPTIONS] --pkcs11-uri <URI> <MODEL>
       model-fs sign [OPTIONS] --identity-token-file <FILE> <MODEL>"
} else {
    "model-fs sign [OPTIONS] --private-key <PEM> <MODEL>
       model-fs sign [OPTIONS] --identity-token-file <FILE> <MODEL>"
};

/// `sign`.
#[derive(Debug, Args)]
#[command(group = ArgGroup::new("signer").required(true))]
#[command(override_usage = USAGE)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag")]
pub(crate) struct SignArgs {
    #[command(flatten)]
    pub(crate) model: ModelArgs,

    #[command(flatten)]
    pub(crate) key: KeyArgs,

    /// The certificate of the key
    #[arg(long, value_name = "PEM", conflicts_with_all = IDENTITY_TOKENS)]
    pub(crate) signing_certificate: Option<PathBuf>,

    /// Certificates above it (repeatable)
    #[arg(
        long,
        value_name = "PEM",
        requires = "signing_certificate",
        conflicts_with_all = IDENTITY_TOKENS
    )]
    pub(crate) certificate_chain: Vec<PathBuf>,

    /// Hash of the content; sha256 is what every verifier knows; blake3 alone is faster to sign,
    /// and the Python reference implementation can't verify it [default: sha256]
    #[arg(long, value_enum, value_name = "ALGORITHM")]
    hash: Option<Hash>,

    /// Sign pieces of SIZE instead of whole files
    #[arg(long, value_name = "SIZE")]
    pub(crate) shard_size: Option<ByteSize>,

    /// Leave out what is said of files beside their digests: sizes and BLAKE3 digests, which other
    /// verifiers pass over, and with which any host can mount at once
    #[arg(long)]
    plain: bool,

    /// Sign as another implementation can verify: with sha256, and with its names for shards and
    /// for a single file
    #[arg(long, value_enum, value_name = "IMPLEMENTATION")]
    pub(crate) compat: Option<Compat>,

    /// Leave PATH out, absolute or relative to MODEL, and what lies beneath it (repeatable). Exact:
    /// it has no patterns
    #[arg(long, value_name = "PATH")]
    pub(crate) ignore_paths: Vec<PathBuf>,

    /// Replace a signature by another signer, or a file that is no signature
    #[arg(long)]
    pub(crate) force: bool,

    /// Sign what symbolic links point to
    #[arg(long)]
    pub(crate) allow_symlinks: bool,

    /// Table store [default: ~/.cache/model-fs/index]
    #[arg(long, value_name = "DIR")]
    pub(crate) index_dir: Option<PathBuf>,

    /// Don't write chunk tables into the model (MODEL/.model-fs); other hosts then read it once
    /// before they can mount it lazily
    #[arg(long)]
    pub(crate) no_tables: bool,

    // Last: its heading would be that of what follows.
    #[command(flatten)]
    pub(crate) sigstore: SigstoreArgs,
}

impl SignArgs {
    /// Who signs.
    pub(crate) fn signer(&self) -> Signer<'_> {
        let sigstore = &self.sigstore;
        match (
            self.key.place(),
            &sigstore.identity_token,
            &sigstore.identity_token_file,
        ) {
            (Some(place), _, _) => Signer::Key(place),
            (None, Some(token), _) => Signer::IdentityToken(token),
            (None, None, Some(path)) => Signer::IdentityTokenFile(path),
            (None, None, None) => unreachable!("the group `signer` has one"),
        }
    }

    /// The hash to sign with; `None` if the implementation to sign for can't verify the one asked
    /// for.
    pub(crate) fn hash(&self) -> Option<Hash> {
        match (self.compat, self.hash) {
            (Some(Compat::Reference), Some(Hash::Blake3)) => None,
            (_, hash) => Some(hash.unwrap_or_default()),
        }
    }

    /// What is said of files beside their digests.
    pub(crate) fn annotate(&self) -> Annotate {
        if self.plain || self.shard_size.is_some() {
            Annotate::Nothing
        } else {
            Annotate::Files
        }
    }

    /// Whether chunk tables travel with the model: where a BLAKE3 digest is signed, against which
    /// they prove themselves.
    pub(crate) fn ships_tables(&self) -> bool {
        let is_signed = self.hash() == Some(Hash::Blake3) || self.annotate() == Annotate::Files;
        is_signed && self.shard_size.is_none() && !self.no_tables
    }
}

impl From<Compat> for model_fs::oms::sign::Compat {
    fn from(compat: Compat) -> Self {
        match compat {
            Compat::Reference => Self::Reference,
        }
    }
}

/// The hash of a signature's content.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Hash {
    Blake3,
    #[default]
    Sha256,
    Blake2b,
}

impl From<Hash> for Algorithm {
    fn from(hash: Hash) -> Self {
        match hash {
            Hash::Blake3 => Self::Blake3,
            Hash::Sha256 => Self::Sha256,
            Hash::Blake2b => Self::Blake2b,
        }
    }
}

/// Another implementation to write like.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Compat {
    /// The reference implementation, Python's `model_signing`.
    Reference,
}
