//! The command line, as types.
//!
//! Guarantees: whatever parses obeys the rules between flags, so that verbs needn't check them
//! again. Doesn't: look at files.

use std::fmt;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

use clap::{ArgAction, ArgGroup, Args, Parser, Subcommand, ValueEnum};
use model_fs::digest::Algorithm;
use zeroize::Zeroizing;

use crate::size::ByteSize;

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

    /// Whether this process is the one that `mount` leaves in the background.
    #[arg(skip = crate::background::is_child())]
    pub(crate) background_child: bool,

    #[command(subcommand)]
    pub(crate) command: Command,
}

/// Flags about what is told on the way.
#[derive(Debug, Args)]
pub(crate) struct LogArgs {
    /// More log messages (twice: debugging)
    #[arg(short, long, global = true, action = ArgAction::Count)]
    pub(crate) verbose: u8,

    /// Append events to FILE instead of showing them
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) log_file: Option<PathBuf>,

    /// Form of events on stderr and in a log file
    #[arg(
        long,
        global = true,
        value_enum,
        default_value_t,
        value_name = "FORMAT"
    )]
    pub(crate) log_format: LogFormat,
}

/// The form of an event.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogFormat {
    /// A line for people.
    #[default]
    Text,
    /// A line of JSON.
    Json,
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

/// How a signature earns trust. Without any of these, the trust store decides.
#[derive(Debug, Default, Args)]
#[command(next_help_heading = "Trust (default: the trust store decides)")]
pub(crate) struct TrustArgs {
    /// Trust signatures by this key
    #[arg(long, value_name = "PEM", conflicts_with_all = ["certificate_chain", "identity"])]
    public_key: Option<PathBuf>,

    /// Trust signatures by certificates under these CA certificates
    #[arg(long, value_name = "PEM", num_args = 1.., conflicts_with = "identity")]
    certificate_chain: Vec<PathBuf>,

    /// Trust Sigstore signatures by this identity
    #[arg(long, value_name = "ID", requires = "identity_provider")]
    identity: Option<String>,

    /// Who vouches for the identity
    #[arg(long, value_name = "URL", requires = "identity")]
    identity_provider: Option<String>,

    /// Sigstore's keys and certificates, instead of the built-in ones
    #[arg(long, value_name = "TRUSTED_ROOT_JSON", requires = "identity")]
    trust_config: Option<PathBuf>,
}

/// The one way chosen by [`TrustArgs`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Trust {
    /// The trust store decides.
    Store,
    /// A public key, in a PEM file.
    PublicKey(PathBuf),
    /// Certificates, in PEM files.
    CertificateChain(Vec<PathBuf>),
    /// A Sigstore identity.
    Identity {
        identity: String,
        provider: String,
        trust_config: Option<PathBuf>,
    },
}

impl TrustArgs {
    /// The way chosen.
    pub(crate) fn chosen(self) -> Trust {
        if let Some(path) = self.public_key {
            Trust::PublicKey(path)
        } else if !self.certificate_chain.is_empty() {
            Trust::CertificateChain(self.certificate_chain)
        } else if let (Some(identity), Some(provider)) = (self.identity, self.identity_provider) {
            Trust::Identity {
                identity,
                provider,
                trust_config: self.trust_config,
            }
        } else {
            Trust::Store
        }
    }
}

/// A signed model.
#[derive(Debug, Args)]
pub(crate) struct ModelArgs {
    /// The model: a directory or a file
    #[arg(value_name = "MODEL")]
    pub(crate) model: PathBuf,

    /// The signature [default: MODEL/model.sig; MODEL.sig for a file]
    #[arg(long, value_name = "FILE")]
    pub(crate) signature: Option<PathBuf>,
}

/// What of a model directory isn't signed.
#[derive(Debug, Args)]
pub(crate) struct IgnoreArgs {
    /// Leave PATH out, absolute or relative to MODEL (repeatable)
    #[arg(long, value_name = "PATH")]
    pub(crate) ignore_paths: Vec<PathBuf>,

    /// Accept files that the signature doesn't name, and hide them
    #[arg(long)]
    pub(crate) ignore_unsigned_files: bool,
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
    #[arg(long, value_name = "N")]
    pub(crate) threads: Option<NonZeroUsize>,

    /// What to do when content isn't what was signed: fail that read, or every read from then on
    #[arg(long, value_enum, default_value_t, value_name = "ACTION")]
    pub(crate) on_violation: OnViolation,

    /// Command to run when content isn't what was signed
    #[arg(long, value_name = "COMMAND")]
    pub(crate) on_violation_exec: Option<String>,

    #[command(flatten)]
    pub(crate) trust: TrustArgs,
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

/// `umount`.
#[derive(Debug, Args)]
pub(crate) struct UmountArgs {
    /// Where the model is mounted
    #[arg(value_name = "MOUNTPOINT")]
    pub(crate) mountpoint: PathBuf,
}

/// `status`.
#[derive(Debug, Args)]
pub(crate) struct StatusArgs {
    /// Where the model is mounted
    #[arg(value_name = "MOUNTPOINT")]
    pub(crate) mountpoint: PathBuf,

    /// Print one JSON document
    #[arg(long)]
    pub(crate) json: bool,

    /// This process is the one that asks the mount, which is its stdin.
    #[arg(long, hide = true)]
    pub(crate) status_child: bool,
}

/// `verify`.
#[derive(Debug, Args)]
pub(crate) struct VerifyArgs {
    #[command(flatten)]
    pub(crate) model: ModelArgs,

    #[command(flatten)]
    pub(crate) ignore: IgnoreArgs,

    /// Print one JSON document
    #[arg(long)]
    pub(crate) json: bool,

    /// Table store [default: ~/.cache/model-fs/index]
    #[arg(long, value_name = "DIR")]
    pub(crate) index_dir: Option<PathBuf>,

    #[command(flatten)]
    pub(crate) trust: TrustArgs,
}

/// The flags that sign with Sigstore. What belongs to a key conflicts with them and the other way
/// round: clap doesn't insist on a flag that conflicts with one that is there, so "requires" won't do.
const IDENTITY_TOKENS: [&str; 2] = ["identity_token", "identity_token_file"];

/// The flags that sign with a key. What belongs to Sigstore conflicts with them.
#[cfg(feature = "pkcs11")]
const KEYS: [&str; 2] = ["private_key", "pkcs11_uri"];
#[cfg(not(feature = "pkcs11"))]
const KEYS: [&str; 1] = ["private_key"];

/// `sign`.
#[derive(Debug, Args)]
#[command(group = ArgGroup::new("signer").required(true))]
#[cfg_attr(
    not(feature = "pkcs11"),
    command(after_help = "Keys on tokens (--pkcs11-uri) need a build with the feature pkcs11")
)]
pub(crate) struct SignArgs {
    #[command(flatten)]
    pub(crate) model: ModelArgs,

    /// The key to sign with
    #[arg(long, value_name = "PEM", group = "signer")]
    private_key: Option<PathBuf>,

    /// The key to sign with, on a token: an RFC 7512 URI (pkcs11:token=…;object=…)
    ///
    /// It names the key by its label (object), its id, or both, and must fit one token and one key.
    /// The module is module-path, or module-name in the system's directories of modules, or
    /// --pkcs11-module. The PIN comes from --password-file or pin-source=file:/FILE; pin-value is
    /// refused, since others could read it in the list of processes.
    #[cfg(feature = "pkcs11")]
    #[arg(long, value_name = "URI", group = "signer")]
    pkcs11_uri: Option<Secret>,

    /// The module to reach the token through, where the URI doesn't name one
    #[cfg(feature = "pkcs11")]
    // `requires` alone is waived where another signer of the group is given.
    #[arg(
        long,
        value_name = "PATH",
        requires = "pkcs11_uri",
        conflicts_with = "private_key",
        conflicts_with_all = IDENTITY_TOKENS
    )]
    pkcs11_module: Option<PathBuf>,

    /// File with the password of the key, or the PIN of the token
    #[arg(long, value_name = "FILE", conflicts_with_all = IDENTITY_TOKENS)]
    pub(crate) password_file: Option<PathBuf>,

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

    /// Hash of the content [default: blake3; sha256 with --compat]
    #[arg(long, value_enum, value_name = "ALGORITHM")]
    hash: Option<Hash>,

    /// Sign pieces of SIZE instead of whole files
    #[arg(long, value_name = "SIZE")]
    pub(crate) shard_size: Option<ByteSize>,

    /// Sign as another implementation can verify: with sha256, and with its names for shards and for
    /// a single file
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

/// How to sign with Sigstore. Every build knows the flags, so that one that can't sign so says why.
#[derive(Debug, Args)]
#[command(next_help_heading = "Sigstore (needs a build with the feature sigstore-sign)")]
pub(crate) struct SigstoreArgs {
    /// Sign as whom this identity token names. Other users of this host can see it in the list of
    /// processes: prefer a file
    #[arg(long, value_name = "TOKEN", group = "signer")]
    identity_token: Option<Secret>,

    /// Sign as whom the identity token in FILE names
    #[arg(long, value_name = "FILE", group = "signer")]
    identity_token_file: Option<PathBuf>,

    /// A private Sigstore instance: its client trust configuration, or its trusted root, which takes
    /// the URLs below [default: the public-good instance]
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

/// Text of the command line that is a secret, or may hold one even if it shouldn't: never shown, and
/// wiped from memory when dropped.
#[derive(Clone)]
pub(crate) struct Secret(Zeroizing<String>);

impl Secret {
    #[cfg_attr(
        not(any(test, feature = "pkcs11", feature = "sigstore-sign")),
        allow(dead_code)
    )]
    pub(crate) fn expose(&self) -> &str {
        &self.0
    }
}

// It can't fail, so clap never shows the text in a message.
impl From<String> for Secret {
    fn from(text: String) -> Self {
        Self(Zeroizing::new(text))
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(secret)")
    }
}

/// The one signer that [`SignArgs`] name.
#[derive(Debug, Clone, Copy)]
#[cfg_attr(not(feature = "sigstore-sign"), allow(dead_code))] // it says no, whatever the token
pub(crate) enum Signer<'a> {
    /// Whoever holds a key.
    Key(KeyPlace<'a>),
    /// Whom an identity token names.
    IdentityToken(&'a Secret),
    /// The same, of a token in a file.
    IdentityTokenFile(&'a Path),
}

/// Where the key of [`SignArgs`] is.
#[derive(Debug, Clone, Copy)]
pub(crate) enum KeyPlace<'a> {
    /// In a PEM file.
    File(&'a Path),
    /// On a token.
    #[cfg(feature = "pkcs11")]
    Token {
        uri: &'a Secret,
        module: Option<&'a Path>,
    },
}

impl SignArgs {
    /// Who signs.
    pub(crate) fn signer(&self) -> Signer<'_> {
        #[cfg(feature = "pkcs11")]
        if let Some(uri) = &self.pkcs11_uri {
            return Signer::Key(KeyPlace::Token {
                uri,
                module: self.pkcs11_module.as_deref(),
            });
        }
        let sigstore = &self.sigstore;
        match (
            &self.private_key,
            &sigstore.identity_token,
            &sigstore.identity_token_file,
        ) {
            (Some(path), _, _) => Signer::Key(KeyPlace::File(path)),
            (None, Some(token), _) => Signer::IdentityToken(token),
            (None, None, Some(path)) => Signer::IdentityTokenFile(path),
            (None, None, None) => unreachable!("the group `signer` has one"),
        }
    }

    /// The hash to sign with; `None` if the implementation to sign for can't verify the one asked for.
    pub(crate) fn hash(&self) -> Option<Hash> {
        match (self.compat, self.hash) {
            (None, hash) => Some(hash.unwrap_or_default()),
            (Some(Compat::Reference), Some(Hash::Blake3)) => None,
            (Some(Compat::Reference), hash) => Some(hash.unwrap_or(Hash::Sha256)),
        }
    }

    /// Whether chunk tables travel with the model. Only those of BLAKE3 prove themselves.
    pub(crate) fn ships_tables(&self) -> bool {
        self.hash() == Some(Hash::Blake3) && !self.no_tables
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
    #[default]
    Blake3,
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

/// `index`.
#[derive(Debug, Args)]
pub(crate) struct IndexArgs {
    #[command(flatten)]
    pub(crate) model: ModelArgs,

    /// Table store [default: ~/.cache/model-fs/index]
    #[arg(long, value_name = "DIR")]
    pub(crate) index_dir: Option<PathBuf>,

    /// Remove the tables of earlier releases from the table store, which are no longer believed
    #[arg(long)]
    pub(crate) clean: bool,

    #[command(flatten)]
    pub(crate) trust: TrustArgs,
}

/// `inspect`.
#[derive(Debug, Args)]
pub(crate) struct InspectArgs {
    /// A signed model, or its signature
    #[arg(value_name = "MODEL|SIGNATURE")]
    pub(crate) path: PathBuf,

    /// Print one JSON document
    #[arg(long)]
    pub(crate) json: bool,
}

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

/// `demo`.
#[derive(Debug, Args)]
pub(crate) struct DemoArgs {}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;
    use clap::error::ErrorKind;

    use super::*;

    fn parse(line: &str) -> Result<Command, clap::Error> {
        let args = std::iter::once("model-fs").chain(line.split_whitespace());
        Cli::try_parse_from(args).map(|cli| cli.command)
    }

    fn refused(line: &str) -> ErrorKind {
        let error = parse(line).expect_err(line);
        assert_eq!(error.exit_code(), 2, "{line}");
        error.kind()
    }

    #[test]
    fn definition_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn everything_documented_parses() {
        for line in [
            "mount M P",
            "mount M P --public-key k.pem --signature s --ignore-paths a --ignore-paths b \
             --ignore-unsigned-files --foreground --allow-other -o ro,fsname=x --cache-size 1GiB \
             --index-dir d --threads 8 --on-violation eio --on-violation-exec true",
            "mount M P --on-violation lockdown -o ro -o noexec",
            "mount M P --certificate-chain a.pem b.pem --foreground",
            "mount M P --certificate-chain a.pem --certificate-chain b.pem",
            "mount M P --identity i --identity-provider https://p --trust-config t.json",
            "umount P",
            "status P",
            "status P --json",
            "verify M",
            "verify M --public-key k --signature s --ignore-paths a --ignore-unsigned-files --json",
            "verify --certificate-chain=a.pem M",
            "verify --public-key k M",
            "sign M --private-key k",
            "sign M --private-key k --password-file f --signing-certificate c --certificate-chain a \
             --certificate-chain b --signature s --hash sha256 --shard-size 64KiB --compat reference \
             --ignore-paths p --allow-symlinks --force",
            "sign M --identity-token-file t",
            "sign M --identity-token t --trust-config c --hash sha256",
            "sign M --identity-token-file t --trust-config c --fulcio-url u --rekor-url u \
             --rekor-version 2 --tsa-url u",
            "sign M --private-key k --hash blake2b",
            "sign M --private-key k --compat reference",
            "sign M --private-key k --hash blake3 --shard-size 1MB",
            "index M",
            "index M --public-key k --signature s --index-dir d",
            "inspect M",
            "inspect S --json",
            "trust list",
            "trust add --public-key k",
            "trust add --identity i --identity-provider p --name n",
            "trust add --certificate-chain c d --model-name m --model-path /m/** --root-digest 00",
            "trust add --system --public-key k",
            "trust add --public-key k --payload-digest 00 --payload-digest 11 --payload-of m",
            "trust remove --system n",
            "trust remove n --force",
            "trust distrust n",
            "trust remove n",
            "demo",
            "-v demo",
            "demo -vv --log-file f --log-format json",
        ] {
            parse(line).unwrap_or_else(|error| panic!("{line}: {error}"));
        }
    }

    #[test]
    fn rules_between_flags_hold() {
        for line in [
            "verify M --public-key k --certificate-chain c",
            "verify M --public-key k --identity i --identity-provider p",
            "verify M --certificate-chain c --identity i --identity-provider p",
            "verify M --public-key k --trust-config t",
            "verify M --public-key k --public-key l",
            "verify M --identity-provider p",
            "verify M --identity i",
            "sign M",
            "sign M --private-key k --identity-token t",
            "sign M --private-key k --identity-token-file t",
            "sign M --identity-token t --identity-token-file t",
            "sign M --private-key k --trust-config c",
            "sign M --private-key k --fulcio-url u",
            "sign M --private-key k --rekor-url u --rekor-version 2",
            "sign M --private-key k --rekor-version 2",
            "sign M --private-key k --tsa-url u",
            "sign M --private-key k --password-file f --identity-token-file t",
            "sign M --identity-token-file t --signing-certificate c --certificate-chain c",
            "sign M --identity-token t --password-file f",
            "sign M --identity-token t --signing-certificate c",
            "sign M --identity-token t --certificate-chain c",
            "sign M --identity-token t --fulcio-url u",
            "sign M --identity-token t --trust-config c --rekor-version 2",
            "sign M --identity-token t --trust-config c --rekor-url u --rekor-version 3",
            "sign M --private-key k --certificate-chain c",
            "sign M --private-key k --shard-size 0",
            "sign M --private-key k --hash md5",
            "mount M",
            "mount M P --cache-size 64K",
            "mount M P --threads 0",
            "mount M P --on-violation ignore",
            "umount",
            "trust",
            "frobnicate",
            "mount M P --no-verify",
            "verify M --ignore-git-paths",
        ] {
            refused(line);
        }
        assert_eq!(
            refused("verify M --public-key k --certificate-chain c"),
            ErrorKind::ArgumentConflict
        );
    }

    #[cfg(feature = "pkcs11")]
    #[test]
    fn a_key_lies_in_a_file_or_on_a_token() {
        for line in [
            "sign M --pkcs11-uri pkcs11:id=a",
            "sign M --pkcs11-uri pkcs11:id=a --pkcs11-module m.so --password-file f \
             --signing-certificate c --certificate-chain a",
        ] {
            match parse(line).unwrap() {
                Command::Sign(args) => {
                    let signer = args.signer();
                    assert!(matches!(signer, Signer::Key(KeyPlace::Token { .. })));
                }
                other => panic!("{other:?}"),
            }
        }
        for line in [
            "sign M --private-key k --pkcs11-uri pkcs11:id=a",
            "sign M --private-key k --pkcs11-module m.so",
            "sign M --pkcs11-module m.so",
            "sign M --pkcs11-uri pkcs11:id=a --pkcs11-uri pkcs11:id=b",
            "sign M --pkcs11-uri pkcs11:id=a --identity-token t",
            "sign M --pkcs11-uri pkcs11:id=a --identity-token-file t",
            "sign M --pkcs11-uri pkcs11:id=a --trust-config c",
            "sign M --pkcs11-uri pkcs11:id=a --fulcio-url u",
            "sign M --pkcs11-uri pkcs11:id=a --rekor-url u",
            "sign M --pkcs11-uri pkcs11:id=a --rekor-version 2",
            "sign M --pkcs11-uri pkcs11:id=a --tsa-url u",
            "sign M --identity-token t --pkcs11-module m.so",
            "sign M --identity-token-file t --pkcs11-module m.so",
        ] {
            refused(line);
        }
        let args = parse("sign M --pkcs11-uri pkcs11:id=a?pin-value=847261").unwrap();
        assert!(!format!("{args:?}").contains("847261"));
    }

    #[cfg(not(feature = "pkcs11"))]
    #[test]
    fn tokens_need_their_feature() {
        refused("sign M --pkcs11-uri pkcs11:id=a");
    }

    #[test]
    fn a_token_is_not_shown() {
        let parsed = parse("sign M --identity-token sesame").unwrap();
        assert!(!format!("{parsed:?}").contains("sesame"), "{parsed:?}");
        match parsed {
            Command::Sign(args) => match args.signer() {
                Signer::IdentityToken(token) => assert_eq!(token.expose(), "sesame"),
                other => panic!("{other:?}"),
            },
            other => panic!("{other:?}"),
        }
        for line in [
            "sign M --identity-token sesame --private-key k",
            "sign M --identity-token sesame --identity-token sesame",
            "sign M --identity-token sesame --frobnicate",
            "sign --identity-token sesame",
        ] {
            let error = parse(line).unwrap_err().to_string();
            assert!(!error.contains("sesame"), "{error}");
        }
    }

    #[test]
    fn trust_is_one_of() {
        let trust = |flags: &str| match parse(&format!("verify M {flags}")).unwrap() {
            Command::Verify(args) => args.trust.chosen(),
            other => panic!("{other:?}"),
        };
        assert_eq!(trust(""), Trust::Store);
        assert_eq!(trust("--public-key k"), Trust::PublicKey("k".into()));
        assert_eq!(
            trust("--certificate-chain a b --certificate-chain c"),
            Trust::CertificateChain(vec!["a".into(), "b".into(), "c".into()])
        );
        assert_eq!(
            trust("--identity i --identity-provider p --trust-config t"),
            Trust::Identity {
                identity: "i".into(),
                provider: "p".into(),
                trust_config: Some("t".into()),
            }
        );
    }

    #[test]
    fn defaults_are_the_documented_ones() {
        for (options, hash) in [
            ("", Some(Hash::Blake3)),
            ("--compat reference", Some(Hash::Sha256)),
            ("--compat reference --hash blake2b", Some(Hash::Blake2b)),
            ("--compat reference --hash blake3", None),
        ] {
            match parse(&format!("sign M --private-key k {options}")).unwrap() {
                Command::Sign(args) => {
                    assert_eq!(args.hash(), hash, "{options}");
                    assert!(!args.force);
                }
                other => panic!("{other:?}"),
            }
        }
        match parse("mount M P --cache-size 1GB").unwrap() {
            Command::Mount(args) => {
                assert_eq!(args.on_violation, OnViolation::Eio);
                assert!(!args.foreground);
                assert_eq!(args.cache_size.unwrap().bytes(), 1_000_000_000);
            }
            other => panic!("{other:?}"),
        }
    }
}
