//! What OMS demands, asked of the program itself: real bundles of other implementations, statements
//! that are signed and wrong, hostile sizes, and what is reported.
//!
//! Every command runs with a home of its own, so nothing depends on whom the user who runs the
//! tests trusts.

mod annotations;
mod manners;
mod places;
mod program;
mod reports;
mod signed;
mod sizes;
mod statements;
mod vectors;
mod widths;
