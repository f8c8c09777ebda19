//! The trust store: who may sign which models, in files that only their owner and root can write.
//!
//! ```toml
//! [signers.acme-release]                      # a key: PEM, or the path of a PEM file
//! public-key = """
//! -----BEGIN PUBLIC KEY-----
//! …
//! -----END PUBLIC KEY-----
//! """
//!
//! [signers.acme-ca]                           # certificates: PEM or paths
//! certificates = ["acme-root.pem"]
//!
//! [signers.acme-2025]                         # the same, judged at a moment of the past
//! certificates = ["acme-root.pem"]
//! valid-at = "2025-05-01"
//!
//! [signers.alice]                             # a Sigstore identity
//! identity = "alice@acme.example"
//! identity-provider = "https://accounts.acme.example"
//! trusted-root = "/etc/model-fs/acme-sigstore.json"   # none: the public instance
//!
//! [signers.alice.models]                      # none: every model
//! names = ["llama"]                           # what the signer calls the model
//! paths = ["/models/acme/**"]                 # where it lies on this host
//! payload-digests = ["9f86d0…"]               # this very statement, all that is signed
//! root-digests = ["8b1a99…"]                  # contents with these digests, in this order
//!
//! [signers.bob]                               # no signer, whatever a later file says of bob
//! distrusted = true
//! ```
//!
//! Paths in a file are relative to the directory in which it really lies, links followed. Of
//! `models`, each list that is given must have an entry that matches. In `paths`, `*` and `?` stay
//! within a directory and `**` crosses them.
//!
//! A root digest covers the digests of the contents alone (OMS v1.0, 6.5.1): neither names, nor
//! which bytes make which file, nor what was left out or whether links are followed. The holder of
//! the key can sign the same contents under other names. The payload digest covers all of it.
//!
//! Of a signer with `certificates`, these have to be valid when they are verified, or at `valid-at`
//! where it has one. Where it has `payload-digests` and no `valid-at`, time doesn't count, for a
//! payload that is pinned is all that it is trusted for ([`When`](super::certificate::When)).
//!
//! Guarantees: a file counts only if it, every file that it names, and every directory and link on
//! the way to them can be changed by root and the user only (`resolve`). Anything unknown
//! in it is an error, as is one bad signer: a store is read wholly or not at all. Sizes and numbers
//! are bounded.
//!
//! Doesn't: fall back on the certificates of the operating system, ever, or believe anything that
//! lies beside a model. A missing file is an empty one.

mod comments;
mod error;
mod file;
mod limits;
mod parse;
mod resolve;
mod signer;
mod store;

pub use self::error::{MAX_SIGNERS, Problem, TrustStoreError};
pub use self::file::{NewIdentity, NewSigner, TrustFile};
pub use self::limits::{Limits, MAX_LIMITS, ModelContext};
pub use self::parse::MAX_FILE;
pub use self::resolve::FileRule;
pub use self::signer::{MAX_NAME, SignerName, SignerRule, TrustedSigner};
pub use self::store::{Distrusted, Hidden, SYSTEM_FILE, TrustStore};
