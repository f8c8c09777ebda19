//! Why no path leads from a certificate to a trusted one.
//!
//! Guarantees: what is quoted of certificates is escaped. Doesn't: look for paths, see
//! [`super::chain`].

use std::fmt;

use super::moment::{Moment, Span, shown};
use super::rules::CertificateRule;
use super::x509::Certificate;
use crate::name::Escaped;

/// Most certificates in a path, the leaf and the trusted one included. Those in use have two to
/// four.
pub const MAX_PATH: usize = 10;

/// Most signatures that are checked in one judgement, in all of its searches together. A bundle may
/// hold authorities that certify each other in every direction; without a bound the number of paths
/// would be exponential.
pub const MAX_SIGNATURE_CHECKS: usize = 128;

/// A certificate that no path leads from to a trusted one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PathError {
    /// A certificate breaks a rule.
    #[error("certificate \"{subject}\": {rule}")]
    Rule {
        /// Its subject, escaped.
        subject: Escaped,
        /// The rule.
        rule: CertificateRule,
    },
    /// A path is right but for the moment.
    #[error(transparent)]
    Untimely(Box<Untimely>),
    /// No known issuer has signed the certificate at which a path ends.
    #[error("{}", no_issuer(subject, issuer, *named))]
    NoIssuer {
        /// Its subject, escaped.
        subject: Escaped,
        /// Its issuer, escaped.
        issuer: Escaped,
        /// Whether there are certificates of that name that didn't sign it.
        named: bool,
    },
    /// Longer than [`MAX_PATH`].
    #[error("the certificates make a path of more than {MAX_PATH}")]
    Long,
    /// More than [`MAX_SIGNATURE_CHECKS`].
    #[error("no path found within {MAX_SIGNATURE_CHECKS} signature checks")]
    Work,
}

/// A certificate that isn't valid at the moment at which it is judged, in a path that is right in
/// all other respects.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct Untimely {
    /// Its subject, escaped.
    pub subject: Escaped,
    /// Its first moment.
    pub from: String,
    /// Its last moment.
    pub to: String,
    /// Whether its first moment is still to come, rather than its last one over.
    pub is_early: bool,
    /// Whether its last moment comes before its first one, so that it is valid at no time.
    pub is_never: bool,
    /// When all certificates of the path are valid together; none if there is no such moment.
    pub together: Option<Span>,
    /// The moment at which it was judged.
    pub moment: Moment,
}

impl Untimely {
    /// What is out of date in a path from a leaf.
    pub(super) fn of(leaf: &Certificate, path: &[Certificate], moment: Moment) -> Self {
        let is_never = |it: &Certificate| Span::ALWAYS.within(it).is_none();
        let is_late = |it: &Certificate| Span::at(moment.second()).within(it).is_none();
        let untimely = (path.iter().find(|it| is_never(it)))
            .or_else(|| path.iter().find(|it| is_late(it)))
            .unwrap_or(leaf);
        Self {
            subject: untimely.subject().clone(),
            from: untimely.not_before(),
            to: untimely.not_after(),
            is_early: moment.second() < untimely.validity().0.as_secs(),
            is_never: is_never(untimely),
            together: path.iter().try_fold(Span::ALWAYS, Span::within),
            moment,
        }
    }
}

impl fmt::Display for Untimely {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (subject, from, to) = (&self.subject, &self.from, &self.to);
        write!(f, "certificate \"{subject}\" ")?;
        if self.is_never {
            write!(
                f,
                "is valid at no time: its last moment, {to}, comes before its first, {from}"
            )?;
        } else {
            let fault = match (self.moment, self.is_early) {
                (Moment::Now(_), false) => "has expired",
                (Moment::Now(_), true) => "is not valid yet",
                (Moment::Chosen(_), false) => "had expired",
                (Moment::Chosen(_), true) => "was not valid yet",
            };
            write!(f, "{fault}: it is valid from {from} to {to}, and ")?;
            match self.moment {
                Moment::Now(second) => write!(f, "now it is {}", shown(second))?,
                Moment::Chosen(chosen) => write!(f, "judged at {chosen} (valid-at)")?,
            }
        }
        match self.together {
            Some(_) => Ok(()),
            None => f.write_str("; its path was never valid as a whole"),
        }
    }
}

fn no_issuer(subject: &Escaped, issuer: &Escaped, named: bool) -> String {
    let how = if named {
        "was not signed by any certificate of its issuer"
    } else {
        "has no issuer among the trusted certificates and those of the bundle: it names"
    };
    format!("certificate \"{subject}\" {how} \"{issuer}\"")
}
