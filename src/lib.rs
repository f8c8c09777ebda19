//! Mount a signed machine-learning model read-only and verify every byte as it is read.
//!
//! A model directory signed in the [OpenSSF Model Signing][oms] (OMS) format is checked once
//! against its signature; its content is then checked chunk by chunk, when it is read. What can't
//! be proved is an error, never data.
//!
//! ```no_run
//! use std::io::{Read, Seek, SeekFrom};
//!
//! use model_fs::{Model, OpenOptions, PublicKey, Trust};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let trust = Trust::Key(PublicKey::from_pem(&std::fs::read("signer.pem")?)?);
//! // The signature is verified, and the names in the directory; no content is read.
//! let model = Model::open("./model", &trust, OpenOptions::new())?;
//! println!("signed by {}", model.manifest().signer());
//!
//! // Bytes at an offset, or as from any file.
//! let mut weights = model.file("weights.safetensors")?;
//! let header = weights.read_at(0, 8)?;
//! weights.seek(SeekFrom::Start(8))?;
//! let mut text = vec![0; usize::from(header.as_slice()[0])];
//! weights.read_exact(&mut text)?;
//! # #[cfg(feature = "mount")] {
//!
//! // Or all of it, for programs that know only paths.
//! let mounted = model.mount("/mnt/model", model_fs::MountOptions::new())?;
//! mounted.wait()?;
//! # }
//! # Ok(())
//! # }
//! ```
//!
//! The layers, each importing only from those above it in this list:
//!
//! | layer | modules |
//! |---|---|
//! | words | [`digest`], [`name`], [`chunk`] |
//! | OMS: bundle, envelope, statement, signatures | [`oms`] |
//! | the validated list of files | [`manifest`] |
//! | verified reading: chunk tables, their store, sources, reader | [`reading`] |
//! | the file system, knowing nothing of FUSE | [`fs`] |
//! | the kernel: FUSE session, mount, unmount | `kernel`, with the feature `mount` |
//! | the front door | [`model`] |
//!
//! What is trusted is decided by types that are made of proofs alone, each in one file. A checked
//! signature makes a [`VerifiedManifest`]. Signed content and a proof about it make a
//! [`reading::ChunkTable`]; its length, or a signed one, is a [`reading::ProvedLength`]. Hashing
//! makes [`VerifiedBytes`], beside which a reply accepts nothing; the signature file that was
//! verified is the one other kind. The library knows no command line: its errors say what is wrong
//! in types and neutral words.
//!
//! # Features
//!
//! `mount` (on by default) brings the kernel's side, `cli` (on by default) the program. Without
//! both, what is left verifies and reads. `pkcs11` and `sigstore-sign` add ways to sign.
//!
//! [oms]: https://github.com/ossf/model-signing-spec

pub mod chunk;
pub mod digest;
#[doc(hidden)]
pub mod files;
pub mod fs;
#[cfg(feature = "mount")]
pub mod kernel;
pub mod manifest;
pub mod model;
pub mod name;
pub mod oms;
pub mod reading;
mod sync;
mod threads;

pub use self::manifest::VerifiedManifest;
pub use self::model::{FileError, Model, ModelFile, OpenError, OpenOptions, SignedModel};
#[cfg(feature = "mount")]
pub use self::model::{MountOptions, Mounted, StatusHandle};
pub use self::oms::key::PublicKey;
pub use self::oms::trust::Trust;
pub use self::oms::trust_store::TrustStore;
pub use self::reading::{ReadError, VerifiedBytes, Violation};
