//! Known violations: the rule, and what breaks it. An entry that no longer breaks its rule must be
//! removed.

pub(crate) const KNOWN: &[&str] = &[];
