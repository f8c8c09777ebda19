//! What a model is: a directory, or one file.

use crate::name::FileName;

/// What Python's `model_signing` calls the file of a model that is one file, where OMS v1.0 wants
/// its own name (6.1.2). It is no [`FileName`], and is a name for nothing else.
pub(super) const ONLY_FILE: &str = ".";

/// What a model is, which decides what its files may be called in a bundle.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ModelShape {
    /// A directory. Each file is called by its path in it.
    Directory,
    /// The file of this name, and no directory. Python's `model_signing` calls it `.`, whatever its
    /// name is; then it gets this one.
    SingleFile(FileName),
}

impl ModelShape {
    /// The name of the model that is one file.
    pub fn single_file(&self) -> Option<&FileName> {
        match self {
            Self::Directory => None,
            Self::SingleFile(name) => Some(name),
        }
    }

    /// Whether the model is one file.
    pub fn is_single_file(&self) -> bool {
        self.single_file().is_some()
    }
}
