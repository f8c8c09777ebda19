//! Finds the path from a signer's certificate to a trusted one (RFC 5280, section 6; RFC 4158).
//!
//! Guarantees: a [`Path`] leads from the leaf to one of the trusted certificates; each of its
//! certificates but the last is named *and signed* by the next, all of them are valid at the same
//! moment, and each issuer may issue: an authority, with `keyCertSign` where a key usage is stated,
//! for code signing where an extended key usage is stated, and within the path length constraints
//! above it. The leaf may sign models. Critical extensions that aren't understood, and name
//! constraints, break a path. However the certificates of a bundle are arranged, at most
//! [`MAX_SIGNATURE_CHECKS`] signatures are checked.
//!
//! A trusted certificate ends a path wherever it stands: it needn't be self-signed (an intermediate
//! authority may be trusted without its root, OpenSSL's "partial chain"), and may be the leaf
//! itself. It must be valid and, where it issues, an authority like any other issuer.
//!
//! Doesn't: ask whether a certificate was revoked, evaluate policies, or take key identifiers for
//! more than hints, which it doesn't need: issuers are chosen by signature. So two authorities of
//! one name, and a leaf with the name of its issuer, are told apart.
//!
//! The moment is the moment of verification, as OMS asks for: unlike a Sigstore bundle, nothing
//! here proves when a signature was made. The Python reference (`model_signing` 1.1) asks whether
//! the path was valid at the leaf's own `notBefore` and so accepts expired leaves; it also ends
//! paths at self-signed trusted certificates only; and it is content with a key usage *or* an
//! extended key usage that fits, whatever the other one says.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::anchors::Anchors;
use super::rules::{CODE_SIGNING, CertificateRule};
use super::x509::Certificate;
use crate::name::Escaped;

/// Most certificates in a path, the leaf and the trusted one included. Those in use have two to
/// four.
pub const MAX_PATH: usize = 10;

/// Most signatures that are checked in the search for one path. A bundle may hold authorities that
/// certify each other in every direction; without a bound the number of paths would be exponential.
pub const MAX_SIGNATURE_CHECKS: usize = 128;

/// A path that holds; see the [module](self).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Path {
    // Private, and filled in by `find` alone.
    certificates: Vec<Certificate>,
}

impl Path {
    /// Finds a path for `leaf` over `others`, which need not be trusted and whose order doesn't
    /// matter, to one of `anchors`, at a moment.
    ///
    /// # Errors
    /// [`PathError`] says what broke the most promising path.
    pub fn find(
        leaf: &Certificate,
        others: &[Certificate],
        anchors: &Anchors,
        at: SystemTime,
    ) -> Result<Self, PathError> {
        // Before 1970 nothing was valid.
        let at = at.duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
        let broken = |certificate: &Certificate, rule| PathError::Rule {
            subject: certificate.subject().clone(),
            rule,
        };
        leaf.check(at).map_err(|rule| broken(leaf, rule))?;
        leaf.check_signer().map_err(|rule| broken(leaf, rule))?;

        let mut certificates = vec![leaf.clone()];
        if anchors.certificates().contains(leaf) {
            return Ok(Self { certificates });
        }
        let mut search = Search {
            anchors: anchors.certificates(),
            others,
            at,
            checks_left: MAX_SIGNATURE_CHECKS,
            failure: None,
        };
        if search.extend(&mut certificates)? {
            return Ok(Self { certificates });
        }
        Err(search.failure.unwrap_or(PathError::Work))
    }

    /// The certificates, the leaf first and the trusted one last; they may be the same.
    pub fn certificates(&self) -> &[Certificate] {
        &self.certificates
    }
}

/// A search in depth: trusted certificates first, then the others in their order.
struct Search<'a> {
    anchors: &'a [Certificate],
    others: &'a [Certificate],
    at: Duration,
    checks_left: usize,
    /// What is reported if no path is found.
    failure: Option<PathError>,
}

impl Search<'_> {
    /// Extends a path to a trusted certificate. If there is none, leaves the path as it was.
    fn extend(&mut self, path: &mut Vec<Certificate>) -> Result<bool, PathError> {
        let Some(last) = path.last().cloned() else {
            return Ok(false);
        };
        // Authorities between a new issuer and the leaf. Self-issued ones carry an authority from
        // one key to the next, and don't count (RFC 5280, section 4.2.1.9).
        let below = path
            .iter()
            .skip(1)
            .filter(|certificate| !certificate.is_self_issued())
            .count();
        let (mut named, mut signed) = (false, false);
        let candidates = (self.anchors.iter().map(|certificate| (certificate, true)))
            .chain(self.others.iter().map(|certificate| (certificate, false)));
        for (candidate, trusted) in candidates {
            // One holder and key twice is a loop: what lies behind was in reach the first time,
            // with fewer authorities beneath.
            if !last.names_as_issuer(candidate)
                || path.iter().any(|before| before.is_for_same_key(candidate))
            {
                continue;
            }
            named = true;
            self.checks_left = self.checks_left.checked_sub(1).ok_or(PathError::Work)?;
            if !last.is_signed_by(candidate) {
                continue;
            }
            signed = true;
            let rules = candidate
                .check(self.at)
                .and_then(|()| candidate.check_issuer(below, CODE_SIGNING));
            if let Err(rule) = rules {
                self.failed(PathError::Rule {
                    subject: candidate.subject().clone(),
                    rule,
                });
                continue;
            }
            if path.len() >= MAX_PATH {
                self.failed(PathError::Long);
                continue;
            }
            path.push(candidate.clone());
            if trusted || self.extend(path)? {
                return Ok(true);
            }
            path.pop();
        }
        if !signed {
            self.failed(PathError::NoIssuer {
                subject: last.subject().clone(),
                issuer: last.issuer().clone(),
                named,
            });
        }
        Ok(false)
    }

    /// Remembers the first failure of the most telling kind. A broken rule was broken by a
    /// certificate that a signature led to; that there is nothing further is true of every stray.
    fn failed(&mut self, failure: PathError) {
        let rank = |failure: &PathError| match failure {
            PathError::Rule { .. } => 2,
            PathError::Long | PathError::Work => 1,
            PathError::NoIssuer { .. } => 0,
        };
        if self
            .failure
            .as_ref()
            .is_none_or(|before| rank(&failure) > rank(before))
        {
            self.failure = Some(failure);
        }
    }
}

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

fn no_issuer(subject: &Escaped, issuer: &Escaped, named: bool) -> String {
    let how = if named {
        "was not signed by any certificate of its issuer"
    } else {
        "has no issuer among the trusted certificates and those of the bundle: it names"
    };
    format!("certificate \"{subject}\" {how} \"{issuer}\"")
}
