//! A file of a model, as a manifest has it.

use super::content::SignedContent;
use crate::name::FileName;

/// A file of a model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ManifestFile {
    /// Its path in the model.
    pub name: FileName,
    /// What was signed about its content.
    pub content: SignedContent,
}
