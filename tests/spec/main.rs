//! Lazy verification as `docs/spec` has it: its test vectors, and its reader in Python beside ours.
//!
//! Both readers must give the verdict that each vector states, and the same one of models that are
//! made up here, signed by the program and damaged. Needs Python 3.10 with pip
//! (`MODEL_FS_SKIP=engines` leaves out what does).

mod model;
mod ours;
mod random;
mod reader;
mod side_by_side;
mod vectors;
