//! Signatures by a Sigstore instance.

use std::time::Duration;

use sigstore_sign::{Error, SigningContext, reqwest};

use super::instance::Instance;
use super::token::{IdentityToken, TokenError};
use crate::name::Escaped;
use crate::oms::bundle::{Bundle, Material};
use crate::oms::method::sigstore::{ClaimedIdentity, SigstoreError};
use crate::oms::trust::Trust;
use crate::oms::verify::{VerifyError, verify};

/// How long a service may take to answer. Logs of version 2 answer once the entry is in the tree.
const ANSWER: Duration = Duration::from_secs(60);

/// How long a service may take to be there.
const CONNECT: Duration = Duration::from_secs(10);

const USER_AGENT: &str = concat!("model-fs/", env!("CARGO_PKG_VERSION"));

/// Signs as whom an identity token names.
#[derive(Debug)]
pub struct SigstoreSigner {
    instance: Instance,
    token: IdentityToken,
}

impl SigstoreSigner {
    /// Nothing is asked of any service yet.
    pub fn new(instance: Instance, token: IdentityToken) -> Self {
        Self { instance, token }
    }

    /// Signs a payload, and gives the bytes of the signature file. Waits for the services, on a
    /// runtime of its own: not to be called from another one.
    pub(in crate::oms) fn sign(&self, payload: &[u8]) -> Result<Vec<u8>, SigstoreSigningError> {
        // Hashing may have taken longer than tokens live.
        self.token.check_expiry()?;
        let client = self.client()?;
        let signer = SigningContext::new(self.instance.services.clone())
            .with_http_client(client)
            .signer(self.token.0.clone());
        let bundle = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|error| SigstoreSigningError::Client(Escaped::bounded(&error.to_string())))?
            .block_on(signer.sign_raw_statement(payload))
            .map_err(|error| self.failed(&error))?;
        let mut json = bundle
            .to_json()
            .map_err(|error| SigstoreSigningError::Client(Escaped::bounded(&error.to_string())))?
            .into_bytes();
        json.push(b'\n');
        self.check(&json, payload)?;
        Ok(json)
    }

    fn client(&self) -> Result<reqwest::Client, SigstoreSigningError> {
        let mut client = reqwest::Client::builder()
            .user_agent(USER_AGENT)
            .connect_timeout(CONNECT)
            .timeout(ANSWER)
            // A redirected request would take the token along.
            .redirect(reqwest::redirect::Policy::none())
            // Answers are small, and their size isn't bounded: none may grow when it is unpacked.
            .no_gzip()
            .no_deflate()
            .no_brotli()
            .no_zstd();
        if self.instance.clear {
            // What is in the clear stays on this host.
            client = client.no_proxy();
        } else {
            client = client.https_only(true);
        }
        client
            .build()
            .map_err(|error| SigstoreSigningError::Client(Escaped::bounded(&error.to_string())))
    }

    fn failed(&self, error: &Error) -> SigstoreSigningError {
        let services = &self.instance.services;
        let (service, url) = match error {
            Error::Fulcio(_) => ("certificate authority", services.fulcio_url()),
            Error::Rekor(_) => ("log", services.rekor_url()),
            Error::Tsa(_) => (
                "timestamp authority",
                services.tsa_url().unwrap_or_default(),
            ),
            _ => return SigstoreSigningError::Other(self.token.redact(error)),
        };
        SigstoreSigningError::Service {
            service,
            url: Escaped::bounded(url),
            said: self.token.redact(error),
        }
    }

    /// As a verifier does who trusts whom the certificate names.
    fn check(&self, json: &[u8], payload: &[u8]) -> Result<(), SigstoreSigningError> {
        let bundle = Bundle::parse(json).map_err(VerifyError::from)?;
        let Material::Sigstore { certificate, .. } = bundle.material() else {
            return Err(SigstoreSigningError::OtherPayload);
        };
        let claims = ClaimedIdentity::of(certificate)
            .map_err(|rule| VerifyError::from(SigstoreError::Certificate(rule)))?;
        let verified = verify(
            json,
            &Trust::Sigstore {
                identity: claims.identity,
                identity_provider: claims.identity_provider,
                trusted_root: self.instance.trusted_root.clone(),
            },
        )?;
        if verified.payload() != payload {
            return Err(SigstoreSigningError::OtherPayload);
        }
        Ok(())
    }
}

/// A model that Sigstore didn't sign.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SigstoreSigningError {
    /// The token has run out on the way.
    #[error(transparent)]
    Token(#[from] TokenError),
    /// There is no way to the services from here. Escaped.
    #[error("cannot reach Sigstore's services: {0}")]
    Client(Escaped),
    /// A service is out of reach, refuses, or answers with something else. Texts of the service are
    /// escaped and bounded.
    #[error("the {service} at {url} failed: {said}")]
    Service {
        /// Which.
        service: &'static str,
        /// Where, escaped.
        url: Escaped,
        /// What is wrong, escaped.
        said: Escaped,
    },
    /// Anything else that `sigstore-sign` can't do. Escaped.
    #[error("signing with Sigstore failed: {0}")]
    Other(Escaped),
    /// The services answered, and with something that no verifier would take.
    #[error("what the services made does not verify, and was not kept: {0}")]
    NotVerified(#[from] VerifyError),
    /// Something else was signed. Never seen.
    #[error("what the services made is not about this model, and was not kept")]
    OtherPayload,
}
