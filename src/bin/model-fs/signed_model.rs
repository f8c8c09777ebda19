//! Opening a model whose signature is verified, as `mount`, `verify` and `index` begin.

use std::path::Path;

use model_fs::model::Trusted;
use model_fs::reading::location::ModelLocation;
use model_fs::{OpenError, OpenOptions, SignedModel};

use crate::args::{IgnoreArgs, ModelArgs, TrustArgs};
use crate::exit::{Exit, Failure};
use crate::findings::content_failure;
use crate::index_store;
use crate::system_hints;
use crate::trust::{self, load_trust, not_trusted};

/// What a verb's flags say about opening a model.
pub(crate) fn options(
    model: &ModelArgs,
    ignore: &IgnoreArgs,
    index_dir: Option<&Path>,
) -> OpenOptions {
    let mut options = OpenOptions::new().ignore_unsigned_files(ignore.ignore_unsigned_files);
    options.signature.clone_from(&model.signature);
    options.ignore_paths.clone_from(&ignore.ignore_paths);
    options.store = index_store::place(index_dir);
    options
}

/// Verifies the signature and lists the directory. Reads no content.
pub(crate) fn open(
    model: &ModelArgs,
    trust: TrustArgs,
    options: OpenOptions,
) -> Result<SignedModel, Failure> {
    let location = ModelLocation::find(&model.model, options.signature.as_deref())?;
    // What is wrong with the command line is told before what is wrong with files that it names.
    location.ignored(&options.ignore_paths)?;
    // Before the signature is read: it may be large.
    let trust = load_trust(trust.chosen())?;
    let trusted = match &trust {
        trust::Trusted::Flags(trust) => Trusted::from(trust),
        trust::Trusted::Store(store) => Trusted::from(store),
    };
    let signature = location.signature();
    SignedModel::at(location, trusted, options)
        .map_err(|error| Failure::from(error).about_signature(&signature))
}

impl From<OpenError> for Failure {
    fn from(error: OpenError) -> Self {
        let repair = match &error {
            OpenError::Repair { error, .. } => system_hints::of_io(error).map(str::to_owned),
            _ => None,
        };
        match error {
            OpenError::Location(error) => error.into(),
            OpenError::Signature(error) => error.into(),
            OpenError::Signer(error) => not_trusted(error),
            OpenError::Differs(differences) => content_failure(&differences),
            OpenError::Store(error) => error.into(),
            other => Self::new(Exit::Failed, other).with_hint(repair),
        }
    }
}
