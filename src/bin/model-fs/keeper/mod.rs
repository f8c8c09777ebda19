//! A mount that outlives the process that serves it (`mount --keep-alive`).
//!
//! A small process, the keeper, starts the server: this program once more, which verifies the
//! model, mounts it, and leaves with the keeper what another process takes to go on with the mount
//! ([`Handover`](model_fs::kernel::Handover)). When the server is killed, the keeper starts the
//! next, which verifies the signature anew. Until that one answers, programs that read wait.
//!
//! Guarantees: the keeper reads nothing of the model and trusts nothing; no server takes a mount
//! over before the one before it is gone. A server that fails by itself, because the signature
//! isn't valid any more or the model is gone, is the end of the mount. Doesn't: outlive the keeper:
//! if that is killed, the server serves on, and the mount ends with it.

mod channel;
mod event;
mod keep;
mod server;
mod serving;

pub(crate) use keep::{check_arguments, run};
pub(crate) use serving::{Served, is_kept_in_background, of_this_process};
