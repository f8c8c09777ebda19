//! The file that a signature is written to.
//!
//! Guarantees: nothing that is to be signed is overwritten. Doesn't: verify what is replaced; who
//! made it is what it says itself, and decides only whether the user has to insist.

use std::io::ErrorKind::NotFound;

use anyhow::Context as _;
use model_fs::files::{Output, parent_of};
use model_fs::name::{Escaped, FileName, shell_word};
use model_fs::oms::bundle::{Bundle, MAX_BUNDLE, Material};
use model_fs::oms::certificate::Certificate;
use model_fs::oms::claim::Claim;
use model_fs::oms::sigstore::ClaimedIdentity;
use model_fs::reading::location::{LocationError, ModelLocation};

use crate::exit::Failure;
use crate::terminal;

/// Who made a signature, as far as it says so itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Author {
    /// The holder of a key, certified or not.
    Key(String),
    /// A Sigstore identity.
    Identity(ClaimedIdentity),
    /// It doesn't say.
    Unknown,
}

impl Author {
    /// What the material of a bundle says.
    pub(crate) fn of(material: &Material) -> Self {
        let author = match material {
            Material::Key { hint } => hint.clone().map(Self::Key),
            Material::Certificate { chain } => chain
                .first()
                .and_then(|der| Certificate::from_der(der).ok()?.public_key().ok())
                .map(|key| Self::Key(key.hint().to_owned())),
            Material::Sigstore { certificate, .. } => {
                ClaimedIdentity::of(certificate).ok().map(Self::Identity)
            }
        };
        author.unwrap_or(Self::Unknown)
    }
}

/// The file that the signature is written to, and what is there.
pub(crate) struct Replaced {
    output: Output,
    /// How messages call it.
    pub(crate) path: String,
    /// What is replaced: who made it, and in words. `None` for nothing.
    there: Option<(Author, String)>,
}

impl Replaced {
    /// Finds out what would be replaced. What is to be signed never is.
    pub(crate) fn find(
        location: &ModelLocation,
        names: &[FileName],
        ignored: &[FileName],
    ) -> Result<Self, Failure> {
        let output = location.signature_to_write().map_err(|error| {
            let hint = match &error {
                LocationError::Signature { path, error } if error.kind() == NotFound => {
                    format!("mkdir -p {}", shell_word(parent_of(path)))
                }
                _ => "name a file with --signature; a link that is named so is followed".to_owned(),
            };
            Failure::from(error).with_hint(hint)
        })?;
        let path = location.signature();
        let path = match output.linked_to() {
            Some(target) => format!(
                "{} (a link to {})",
                Escaped::path(&path),
                Escaped::path(&target)
            ),
            None => Escaped::path(&path).to_string(),
        };
        let content = |what: &dyn std::fmt::Display| {
            let error = anyhow::anyhow!(
                "signature {path}: that is {what}, which is to be signed, not overwritten"
            );
            Failure::from(error).with_hint("choose another file with --signature".to_owned())
        };
        if let Some(identity) = output.existing()?
            && let Some(name) = location.find_same(names.iter(), identity)
        {
            return Err(content(&format!("the model's \"{name}\"")));
        }
        let there = match output.read_existing(MAX_BUNDLE) {
            Ok(None) => None,
            Ok(Some(bytes)) => match Bundle::parse(&bytes) {
                Ok(bundle) => {
                    let claim = format!("signed by {}", Claim::of(bundle.material()));
                    Some((Author::of(bundle.material()), claim))
                }
                Err(_) if location.signature_is_content(ignored) => {
                    return Err(content(&"a file of the model"));
                }
                Err(_) => Some((Author::Unknown, "no signature".to_owned())),
            },
            Err(_) if location.signature_is_content(ignored) => {
                return Err(content(&"a file of the model"));
            }
            Err(error) => Some((Author::Unknown, format!("not readable: {error}"))),
        };
        Ok(Self {
            output,
            path,
            there,
        })
    }

    /// Refuses to replace what isn't known to be by the same author. Without one, who signs isn't
    /// known yet but that it is a Sigstore identity.
    pub(crate) fn require_author(&self, author: Option<&Author>) -> Result<(), Failure> {
        let Some((found, what)) = &self.there else {
            return Ok(());
        };
        let same = match (found, author) {
            (Author::Unknown, _) => false,
            (found, Some(author)) => found == author,
            (found, None) => matches!(found, Author::Identity(_)),
        };
        if same {
            return Ok(());
        }
        let error = anyhow::anyhow!(
            "signature {}: there is a file already, which is {what}",
            self.path
        );
        Err(Failure::from(error).with_hint(
            "replace it with --force, or write another file with --signature FILE".to_owned(),
        ))
    }

    /// Writes the signature, which is part of the model, and as public. Then tells of it: on
    /// stdout, unless that is where the signature went.
    pub(crate) fn write(self, bundle: &[u8], told: &str) -> Result<(), Failure> {
        let is_stdout = self.output.is_stdout();
        self.output
            .write(0o644, bundle)
            .with_context(|| format!("signature {}", self.path))?;
        if is_stdout {
            terminal::note(told.trim_end());
            Ok(())
        } else {
            terminal::print(told)
        }
    }
}
