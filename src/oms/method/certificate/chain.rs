//! Finds the path from a signer's certificate to a trusted one (RFC 5280, section 6; RFC 4158).
//!
//! Guarantees: a [`Path`] leads from the leaf to one of the trusted certificates; each of its
//! certificates but the last is named *and signed* by the next, all of them are valid at the same
//! moment, and each issuer may issue: an authority, with `keyCertSign` where a key usage is stated,
//! for code signing where an extended key usage is stated, and within the path length constraints
//! above it. The leaf may sign models. Critical extensions that aren't understood, and name
//! constraints, break a path. However the certificates of a bundle are arranged, at most
//! [`MAX_SIGNATURE_CHECKS`] signatures are checked in one judgement, which may search more than
//! once: at the moment that is asked for, and then for what to say, or to waive, if only time is in
//! the way. All of these searches share the one bound.
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
use super::moment::{Moment, Span, When};
pub use super::path_error::{MAX_PATH, MAX_SIGNATURE_CHECKS, PathError, Untimely};
use super::pinned::PinnedPayload;
use super::rules::{CODE_SIGNING, CertificateRule};
use super::x509::Certificate;
use crate::oms::signer::CertificateTime;

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
        let (moment, pins) = match when {
            When::Now => (Moment::now(), None),
            When::At(chosen) => (Moment::from(*chosen), None),
            When::NowUnlessPinned(pins) => (Moment::now(), Some(pins)),
        };
        let late = match Search::new(leaf, others, anchors).find(moment)? {
            Ok(path) => return Ok(path),
            Err(late) => late,
        };
        match pins.and_then(|pins| pins.prove(payload)) {
            Some(proof) => late.waived(&proof),
            None => Err(PathError::Untimely(late.untimely)),
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
        let found = Search::new(leaf, others, anchors).find(at.into())?;
        found.map_err(|late| PathError::Untimely(late.untimely))
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

/// A path that is right but for the moment.
struct Late {
    certificates: Vec<Certificate>,
    untimely: Box<Untimely>,
}

impl Late {
    /// The path after all, if its certificates were, are or will be valid at one moment, whichever
    /// that is.
    fn waived(self, _proof: &PinnedPayload) -> Result<Path, PathError> {
        match self.untimely.together {
            Some(_) => Ok(Path {
                certificates: self.certificates,
                time: CertificateTime::Pinned,
            }),
            None => Err(PathError::Untimely(self.untimely)),
        }
    }
}

/// What a search asks of time.
#[derive(Debug, Clone, Copy)]
enum Time {
    /// That the certificates are valid together at some moment of the span.
    Within(Span),
    /// Nothing.
    Any,
}

impl Time {
    /// What is left of it for the issuers of a certificate, if anything is.
    fn within(self, certificate: &Certificate) -> Option<Self> {
        match self {
            Self::Within(span) => span.within(certificate).map(Self::Within),
            Self::Any => Some(self),
        }
    }
}

/// Searches in depth: trusted certificates first, then the others in their order.
struct Search<'a> {
    leaf: &'a Certificate,
    anchors: &'a [Certificate],
    others: &'a [Certificate],
    /// Of all searches together.
    checks_left: usize,
    /// What the last search reports if it finds no path: what isn't about time.
    failure: Option<PathError>,
    /// Whether the last search gave up a path because of time.
    has_given_up: bool,
}

impl<'a> Search<'a> {
    fn new(leaf: &'a Certificate, others: &'a [Certificate], anchors: &'a Anchors) -> Self {
        Self {
            leaf,
            anchors: anchors.certificates(),
            others,
            checks_left: MAX_SIGNATURE_CHECKS,
            failure: None,
            has_given_up: false,
        }
    }

    /// Finds a path that is valid at a moment, or else one that is right but for that.
    ///
    /// Whether there is more in the way than time is what the reader of an error has to know. So a
    /// path is sought that was valid as a whole at another moment, and then one that never was; but
    /// for a moment that was chosen, one that is valid now comes before both.
    fn find(&mut self, moment: Moment) -> Result<Result<Path, Late>, PathError> {
        if let Some(certificates) = self.run(Time::Within(Span::at(moment.second())))? {
            let time = match moment {
                Moment::Now(_) => CertificateTime::Now,
                Moment::Chosen(chosen) => CertificateTime::At(chosen.to_string()),
            };
            return Ok(Ok(Path { certificates, time }));
        }
        let now = match moment {
            Moment::Now(_) => None,
            Moment::Chosen(_) => Some(Time::Within(Span::at(Moment::now().second()))),
        };
        for time in now
            .into_iter()
            .chain([Time::Within(Span::ALWAYS), Time::Any])
        {
            // Where time wasn't in the way, the next search would end as the last one did.
            if !self.has_given_up {
                break;
            }
            if let Some(certificates) = self.run(time)? {
                let untimely = Box::new(Untimely::of(self.leaf, &certificates, moment));
                return Ok(Err(Late {
                    certificates,
                    untimely,
                }));
            }
        }
        Err(self.failure.take().unwrap_or(PathError::Work))
    }

    /// Finds a path of which time asks no more than is said.
    ///
    /// # Errors
    /// [`PathError::Work`].
    fn run(&mut self, time: Time) -> Result<Option<Vec<Certificate>>, PathError> {
        self.failure = None;
        self.has_given_up = false;
        let Some(time) = self.judge(self.leaf, time, Certificate::check_signer) else {
            return Ok(None);
        };
        let mut path = vec![self.leaf.clone()];
        let found = self.anchors.contains(self.leaf) || self.extend(&mut path, time)?;
        Ok(found.then_some(path))
    }

    /// Extends a path to a trusted certificate. If it can't be, leaves it as it was.
    fn extend(&mut self, path: &mut Vec<Certificate>, time: Time) -> Result<bool, PathError> {
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
            let judged = self.judge(candidate, time, |it| it.check_issuer(below, CODE_SIGNING));
            let Some(time) = judged else {
                continue;
            };
            if path.len() >= MAX_PATH {
                self.failed(PathError::Long);
                continue;
            }
            path.push(candidate.clone());
            if trusted || self.extend(path, time)? {
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

    /// Judges a certificate by what holds for all of a path and by the rules for its place in it.
    /// Gives what is left of the time, if it passes.
    fn judge(
        &mut self,
        certificate: &Certificate,
        time: Time,
        place: impl FnOnce(&Certificate) -> Result<(), CertificateRule>,
    ) -> Option<Time> {
        let rules = certificate
            .check_understood()
            .and_then(|()| place(certificate));
        if let Err(rule) = rules {
            self.failed(PathError::Rule {
                subject: certificate.subject().clone(),
                rule,
            });
            return None;
        }
        let left = time.within(certificate);
        self.has_given_up |= left.is_none();
        left
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
