//! Sigstore in memory: an instance whose keys are made up anew, and the DER that it speaks.

pub mod der;
pub mod instance;
