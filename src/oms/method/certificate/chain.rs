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
//! here proves when a signature was made. The operator may choose another one for a signer
//! ([`When::At`]); and for payloads that they named themselves any moment will do at which the path
//! was valid ([`When::NowUnlessPinned`]): that waiver takes a `PinnedPayload`, the proof that the
//! payload is one of those, and there is no other way to it. [`PathError::Untimely`] is said only
//! of paths that are right but for the moment.
//!
//! The Python reference (`model_signing` 1.1) asks whether the path was valid at the leaf's own
//! `notBefore` and so accepts expired leaves; it also ends paths at self-signed trusted
//! certificates only; and it is content with a key usage *or* an extended key usage that fits,
//! whatever the other one says.

use super::anchors::Anchors;
use super::moment::{Moment, When, shown};
use super::pinned::PinnedPayload;
use super::rules::{CODE_SIGNING, CertificateRule};
use super::x509::Certificate;
use crate::name::Escaped;
use crate::oms::signer::CertificateTime;

/// Most certificates in a path, the leaf and the trusted one included. Those in use have two to
/// four.
pub const MAX_PATH: usize = 10;

/// Most signatures that are checked in the search for one path. A bundle may hold authorities that
/// certify each other in every direction; without a bound the number of paths would be exponential.
pub const MAX_SIGNATURE_CHECKS: usize = 128;

/// A path that holds; see the [module](self).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Path {
    // Private, and filled in by `find` and `find_for_pinned` alone.
    certificates: Vec<Certificate>,
    time: CertificateTime,
}

impl Path {
    /// Finds a path for `leaf` over `others`, which need not be trusted and whose order doesn't
    /// matter, to one of `anchors`, for a signature over `payload`, at the moment that `when` asks
    /// for.
    ///
    /// # Errors
    /// [`PathError`] says what broke the most promising path.
    pub(in crate::oms) fn judge(
        leaf: &Certificate,
        others: &[Certificate],
        anchors: &Anchors,
        when: &When,
        payload: &[u8],
    ) -> Result<Self, PathError> {
        match when {
            When::Now => Self::find(leaf, others, anchors, Moment::now()),
            When::At(chosen) => Self::find(leaf, others, anchors, *chosen),
            When::NowUnlessPinned(pins) => match Self::find(leaf, others, anchors, Moment::now()) {
                Err(PathError::Untimely(untimely)) => match pins.prove(payload) {
                    Some(proof) => Self::find_for_pinned(leaf, others, anchors, &proof),
                    None => Err(PathError::Untimely(untimely)),
                },
                found => found,
            },
        }
    }

    /// Finds a path whose certificates are valid at one moment.
    ///
    /// # Errors
    /// As [`Path::judge`].
    pub fn find(
        leaf: &Certificate,
        others: &[Certificate],
        anchors: &Anchors,
        at: impl Into<Moment>,
    ) -> Result<Self, PathError> {
        let moment = at.into();
        let now = Span::at(moment.second());
        match Search::run(leaf, others, anchors, Some(now)) {
            Ok((certificates, _)) => {
                let time = match moment {
                    Moment::Now(_) => CertificateTime::Now,
                    Moment::Chosen(chosen) => CertificateTime::At(chosen.to_string()),
                };
                return Ok(Self { certificates, time });
            }
            Err(PathError::Work) => return Err(PathError::Work),
            Err(_) => {}
        }
        // Whether there is more in the way than time is what the reader of the error has to know.
        let (certificates, together) = match Search::run(leaf, others, anchors, Some(Span::ALWAYS))
        {
            Ok(found) => found,
            Err(_) => Search::run(leaf, others, anchors, None)?,
        };
        let is_untimely = |it: &&Certificate| now.within(it).is_none();
        let untimely = certificates.iter().find(is_untimely).unwrap_or(leaf);
        Err(PathError::Untimely(Box::new(Untimely {
            subject: untimely.subject().clone(),
            from: untimely.not_before(),
            to: untimely.not_after(),
            is_early: moment.second() < untimely.validity().0.as_secs(),
            together: together.map(|span| (shown(span.first), shown(span.last))),
            moment,
        })))
    }

    /// Finds a path whose certificates were, are or will be valid at one moment, whichever that is.
    fn find_for_pinned(
        leaf: &Certificate,
        others: &[Certificate],
        anchors: &Anchors,
        _proof: &PinnedPayload,
    ) -> Result<Self, PathError> {
        let (certificates, _) = Search::run(leaf, others, anchors, Some(Span::ALWAYS))?;
        let time = CertificateTime::Pinned;
        Ok(Self { certificates, time })
    }

    /// The certificates, the leaf first and the trusted one last; they may be the same.
    pub fn certificates(&self) -> &[Certificate] {
        &self.certificates
    }

    /// When they were found to be valid.
    pub fn time(&self) -> &CertificateTime {
        &self.time
    }
}

/// Seconds since the Unix epoch, the first and the last included: a validity has whole seconds, and
/// its last belongs to it (section 4.1.2.5).
#[derive(Debug, Clone, Copy)]
struct Span {
    first: u64,
    last: u64,
}

impl Span {
    const ALWAYS: Self = Self {
        first: 0,
        last: u64::MAX,
    };

    fn at(second: u64) -> Self {
        Self {
            first: second,
            last: second,
        }
    }

    /// What of it lies in the validity of a certificate, if anything does.
    fn within(self, certificate: &Certificate) -> Option<Self> {
        let (first, last) = certificate.validity();
        let both = Self {
            first: self.first.max(first.as_secs()),
            last: self.last.min(last.as_secs()),
        };
        (both.first <= both.last).then_some(both)
    }
}

/// What became of a path.
enum Extended {
    /// It leads to a trusted certificate, and all of it is valid in this span.
    Whole(Option<Span>),
    /// Nothing that leads there goes on from it.
    Not,
}

/// A search in depth: trusted certificates first, then the others in their order.
struct Search<'a> {
    anchors: &'a [Certificate],
    others: &'a [Certificate],
    checks_left: usize,
    /// What is reported if no path is found.
    failure: Option<PathError>,
}

impl<'a> Search<'a> {
    /// Finds a path whose certificates are valid together at some moment of a span, and all of the
    /// span at which they are; without a span, a path that holds but for time, which is for errors
    /// only.
    fn run(
        leaf: &Certificate,
        others: &'a [Certificate],
        anchors: &'a Anchors,
        span: Option<Span>,
    ) -> Result<(Vec<Certificate>, Option<Span>), PathError> {
        let span = judge(leaf, span, Certificate::check_signer)?;
        let mut path = vec![leaf.clone()];
        if anchors.certificates().contains(leaf) {
            return Ok((path, span));
        }
        let mut search = Self {
            anchors: anchors.certificates(),
            others,
            checks_left: MAX_SIGNATURE_CHECKS,
            failure: None,
        };
        match search.extend(&mut path, span)? {
            Extended::Whole(together) => Ok((path, together)),
            Extended::Not => Err(search.failure.unwrap_or(PathError::Work)),
        }
    }

    /// Extends a path to a trusted certificate, and gives the part of the span in which all of it
    /// is valid. If there is none, leaves the path as it was.
    fn extend(
        &mut self,
        path: &mut Vec<Certificate>,
        span: Option<Span>,
    ) -> Result<Extended, PathError> {
        let Some(last) = path.last().cloned() else {
            return Ok(Extended::Not);
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
            let judged = judge(candidate, span, |it| it.check_issuer(below, CODE_SIGNING));
            let span = match judged {
                Ok(span) => span,
                Err(broken) => {
                    self.failed(broken);
                    continue;
                }
            };
            if path.len() >= MAX_PATH {
                self.failed(PathError::Long);
                continue;
            }
            path.push(candidate.clone());
            if trusted {
                return Ok(Extended::Whole(span));
            }
            if let Extended::Whole(together) = self.extend(path, span)? {
                return Ok(Extended::Whole(together));
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
        Ok(Extended::Not)
    }

    /// Remembers the first failure of the most telling kind. A broken rule was broken by a
    /// certificate that a signature led to; that there is nothing further is true of every stray.
    fn failed(&mut self, failure: PathError) {
        let rank = |failure: &PathError| match failure {
            PathError::Rule { .. } | PathError::Untimely(_) => 2,
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

/// Judges a certificate by what holds for all of a path and by the rules for its place in it. Gives
/// the part of the span in which it is valid.
fn judge(
    certificate: &Certificate,
    span: Option<Span>,
    place: impl FnOnce(&Certificate) -> Result<(), CertificateRule>,
) -> Result<Option<Span>, PathError> {
    certificate
        .check_understood()
        .and_then(|()| place(certificate))
        .and_then(|()| {
            let never = || CertificateRule::NeverTogether {
                from: certificate.not_before(),
                to: certificate.not_after(),
            };
            span.map(|span| span.within(certificate).ok_or_else(never))
                .transpose()
        })
        .map_err(|rule| PathError::Rule {
            subject: certificate.subject().clone(),
            rule,
        })
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
#[error(
    "certificate \"{subject}\" {}: it is valid from {from} to {to}, {}{}",
    fault(*moment, *is_early),
    judged(*moment),
    if together.is_none() { "; its path was never valid as a whole" } else { "" }
)]
pub struct Untimely {
    /// Its subject, escaped.
    pub subject: Escaped,
    /// Its first moment.
    pub from: String,
    /// Its last moment.
    pub to: String,
    /// Whether its first moment is still to come, rather than its last one over.
    pub is_early: bool,
    /// The first and the last moment at which all certificates of the path are valid together; none
    /// if there is no such moment.
    pub together: Option<(String, String)>,
    /// The moment at which it was judged.
    pub moment: Moment,
}

fn fault(moment: Moment, is_early: bool) -> &'static str {
    match (moment, is_early) {
        (Moment::Now(_), false) => "has expired",
        (Moment::Now(_), true) => "is not valid yet",
        (Moment::Chosen(_), false) => "had expired",
        (Moment::Chosen(_), true) => "was not valid yet",
    }
}

fn judged(moment: Moment) -> String {
    match moment {
        Moment::Now(second) => format!("and now it is {}", shown(second)),
        Moment::Chosen(chosen) => format!("and judged at {chosen} (valid-at)"),
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
