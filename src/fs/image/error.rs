//! Why a file system has no image.

/// Why there is no image.
#[derive(Debug, thiserror::Error)]
pub enum ImageError {
    /// A name of the signer, or something like it, is too long.
    #[error("the attributes of an inode are too long for an image")]
    Attributes,
    /// More than 16 TiB of metadata, or 2³² units of it.
    #[error("the model has too many names for an image")]
    TooLarge,
    /// A length isn't proved, or an inode is gone.
    #[error("an inode can't be put into an image")]
    Inode(#[source] crate::fs::FsError),
    /// It can't be written.
    #[error("the image can't be written")]
    Write(#[from] std::io::Error),
}
