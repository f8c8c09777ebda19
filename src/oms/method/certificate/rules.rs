//! What a certificate may do: by itself, as the signer's, and as an issuer's.

use std::time::Duration;

use x509_cert::der::asn1::ObjectIdentifier;
use x509_cert::ext::pkix::{ExtendedKeyUsage, KeyUsage};

use super::x509::Certificate;

pub(in crate::oms) const CODE_SIGNING: ObjectIdentifier =
    ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.3.3");

pub(in crate::oms) const TIME_STAMPING: ObjectIdentifier =
    ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.3.8");

const ANY_EXTENDED_KEY_USAGE: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.37.0");

impl Certificate {
    /// The rules for any certificate by itself: valid at a moment, which is given since the Unix
    /// epoch, and without demands that aren't understood. Those of a path are judged together
    /// (`chain`).
    pub(in crate::oms) fn check(&self, at: Duration) -> Result<(), CertificateRule> {
        let (first, last) = self.validity();
        if at < first {
            return Err(CertificateRule::NotYetValid {
                from: self.not_before(),
            });
        }
        // The last moment is a whole second, and belongs to the validity (section 4.1.2.5).
        if at.as_secs() > last.as_secs() {
            return Err(CertificateRule::Expired {
                since: self.not_after(),
            });
        }
        self.check_understood()
    }

    /// That it makes no demands that aren't understood.
    pub(in crate::oms) fn check_understood(&self) -> Result<(), CertificateRule> {
        match self.extensions().unknown_critical {
            Some(oid) => Err(CertificateRule::CriticalExtension(oid.to_string())),
            None => Ok(()),
        }
    }

    /// The rules for a certificate that models are signed with. OMS asks for a key usage of
    /// `digitalSignature` or an extended key usage of `codeSigning`; and where a certificate states
    /// either of them, critical or not, it limits what the key is for (RFC 5280, sections 4.2.1.3
    /// and 4.2.1.12: "only for one of the purposes indicated"). So each that is stated must allow
    /// it, and one must be stated.
    pub(in crate::oms) fn check_signer(&self) -> Result<(), CertificateRule> {
        let extensions = self.extensions();
        let for_signatures = extensions
            .key_usage
            .as_ref()
            .map(KeyUsage::digital_signature);
        let for_code = extensions
            .extended_key_usage
            .as_ref()
            .is_some_and(names_code_signing);
        if for_signatures != Some(true) && !for_code {
            return Err(CertificateRule::NotForSigning);
        }
        if for_signatures == Some(false) {
            return Err(CertificateRule::NoDigitalSignature);
        }
        self.check_purpose(CODE_SIGNING)
    }

    /// That its extended key usage, where it states one, includes `purpose` or any purpose. What an
    /// issuer states limits what it issues, as every verifier in use reads it.
    pub(in crate::oms) fn check_purpose(
        &self,
        purpose: ObjectIdentifier,
    ) -> Result<(), CertificateRule> {
        match &self.extensions().extended_key_usage {
            Some(usage) if !usage.0.contains(&purpose) && !names_any_purpose(usage) => {
                Err(CertificateRule::OtherPurposes(match purpose {
                    TIME_STAMPING => "timeStamping",
                    _ => "codeSigning",
                }))
            }
            _ => Ok(()),
        }
    }

    /// The rules for a certificate of a time stamping authority (RFC 3161, section 2.3): its
    /// extended key usage names `timeStamping`, and its key usage, where it states one,
    /// `digitalSignature`.
    pub(in crate::oms) fn check_time_stamper(&self) -> Result<(), CertificateRule> {
        self.check_understood()?;
        let extensions = self.extensions();
        let purposes = extensions.extended_key_usage.as_ref();
        if !purposes.is_some_and(|usage| usage.0.contains(&TIME_STAMPING)) {
            return Err(CertificateRule::OtherPurposes("timeStamping"));
        }
        match &extensions.key_usage {
            Some(usage) if !usage.digital_signature() => Err(CertificateRule::NoDigitalSignature),
            _ => Ok(()),
        }
    }

    /// The rules for a certificate that others are issued with (RFC 5280, section 6.1.4, (k) to
    /// (n)), of which `below` come between it and the leaf, not counting self-issued ones. Where it
    /// states an extended key usage, that must allow what the leaf is for.
    pub(in crate::oms) fn check_issuer(
        &self,
        below: usize,
        purpose: ObjectIdentifier,
    ) -> Result<(), CertificateRule> {
        let extensions = self.extensions();
        let constraints = match &extensions.basic_constraints {
            Some(constraints) if constraints.ca => constraints,
            _ => return Err(CertificateRule::NotAnAuthority),
        };
        if extensions
            .key_usage
            .as_ref()
            .is_some_and(|usage| !usage.key_cert_sign())
        {
            return Err(CertificateRule::NoCertSign);
        }
        if let Some(limit) = constraints.path_len_constraint
            && below > usize::from(limit)
        {
            return Err(CertificateRule::PathLength { limit });
        }
        // Not evaluated, so nothing may depend on them, whether marked critical or not.
        if extensions.has_name_constraints {
            return Err(CertificateRule::NameConstraints);
        }
        self.check_purpose(purpose)
    }
}

fn names_code_signing(usage: &ExtendedKeyUsage) -> bool {
    usage.0.contains(&CODE_SIGNING)
}

fn names_any_purpose(usage: &ExtendedKeyUsage) -> bool {
    usage.0.contains(&ANY_EXTENDED_KEY_USAGE)
}

/// The rules that a certificate may break by itself or by its place in a path.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CertificateRule {
    /// `notBefore`.
    #[error("it is not valid before {from}")]
    NotYetValid {
        /// Its first moment.
        from: String,
    },
    /// `notAfter`.
    #[error("it expired at {since}")]
    Expired {
        /// Its last moment.
        since: String,
    },
    /// A critical extension that isn't understood (RFC 5280, section 4.2).
    #[error("it has the critical extension {0}, which is not supported")]
    CriticalExtension(String),
    /// The leaf has neither use that OMS asks for.
    #[error(
        "it is not for signing: it has neither the key usage digitalSignature \
         nor the extended key usage codeSigning"
    )]
    NotForSigning,
    /// A key usage without `digitalSignature`.
    #[error("its key usage does not include digitalSignature")]
    NoDigitalSignature,
    /// An extended key usage without the purpose that is named.
    #[error("its extended key usage does not include {0}")]
    OtherPurposes(&'static str),
    /// An issuer that is no authority.
    #[error("it issued a certificate and is not a certificate authority (CA:TRUE)")]
    NotAnAuthority,
    /// An issuer whose key isn't for certificates.
    #[error("it issued a certificate and its key usage lacks keyCertSign")]
    NoCertSign,
    /// Too many authorities beneath an issuer.
    #[error("its path length constraint allows at most {limit} authorities beneath it")]
    PathLength {
        /// The number that it allows.
        limit: u8,
    },
    /// An issuer with constraints that aren't evaluated.
    #[error("it has name constraints, which are not supported")]
    NameConstraints,
}
