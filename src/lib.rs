//! Mount a signed machine-learning model read-only and verify every byte as it is read.
//!
//! A model directory signed in the [OpenSSF Model Signing][oms] (OMS) format is checked once
//! against its signature; its content is then checked chunk by chunk, when it is read. What can't
//! be proved is an error, never data.
//!
//! The layers, each importing only from those above it in this list:
//!
//! | layer | modules |
//! |---|---|
//! | words | [`digest`], [`name`], [`chunk`], [`files`] |
//! | OMS: bundle, envelope, statement, signatures | [`oms`] |
//! | the validated list of resources | [`manifest`] |
//! | verified reading: chunk tables, index store, sources, reader | [`reading`] |
//! | the file system, knowing nothing of FUSE | [`fs`] |
//! | the kernel: FUSE session, mount, unmount | [`kernel`] |
//!
//! What is trusted is decided by types, each with one constructor that takes a proof: only a checked
//! signature makes a [`manifest::VerifiedManifest`], only a proof of signed content makes a
//! [`reading::ChunkTable`] and with it a [`reading::ProvedLength`], and only hashing makes
//! [`reading::VerifiedBytes`], beside which a reply accepts nothing.
//!
//! [oms]: https://github.com/ossf/model-signing-spec

pub mod chunk;
pub mod digest;
pub mod files;
pub mod fs;
pub mod kernel;
pub mod manifest;
pub mod name;
pub mod oms;
pub mod reading;
mod sync;
mod threads;
