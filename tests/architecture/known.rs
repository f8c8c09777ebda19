//! What breaks a rule and is known to: the rule, and what breaks it. What no longer does has to go.

pub(crate) const KNOWN: &[&str] = &[];
