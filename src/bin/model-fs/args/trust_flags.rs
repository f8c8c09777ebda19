//! The flags that say whom to trust.

use std::path::PathBuf;

use clap::Args;

/// How a signature earns trust. Without any of these, the trust store decides.
#[derive(Debug, Default, Args)]
#[command(next_help_heading = "Trust (default: the trust store)")]
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
