//! Signs with Sigstore: a key made up for one signature, a certificate for whom an identity token
//! names, and a log that saw both (Sigstore client specification, "Signing").
//!
//! Guarantees: what [`SigstoreSigner`] gives out has been verified as any verifier does, against
//! the trusted root in use, for the identity that the certificate names, and its payload is the one
//! given, byte for byte. So a service that answers with somebody else's certificate, another log's
//! entry or an entry about something else makes an error, not a signature. The private key never
//! leaves the process and is dropped with the signature. The identity token goes to the certificate
//! authority alone, in the body of one request that follows no redirect, over TLS (or in the clear
//! to a service on this host); it is in no error, and what is kept of it here is wiped from memory
//! when dropped.
//!
//! Doesn't: get a token, or refresh a signing configuration; wipe the copies that the HTTP client
//! makes for a request; bound the size of a service's answer, other than by the time that it may
//! take (the crate's clients read it whole, and the HTTP library has no limit to give them; packed
//! answers aren't asked for and not unpacked). A failure after the log took the entry leaves that
//! entry there for ever, as logs do.
//!
//! The work is done by `sigstore-sign`, which signs the bytes that it is given. It parses them too,
//! into a tree of several times their size.

use std::net::IpAddr;
use std::time::Duration;

use serde::Deserialize;
use serde_json::value::RawValue;
use sigstore_sign::rekor::RekorApiVersion;
use sigstore_sign::reqwest::{self, Url};
use sigstore_sign::trust_root::{ServiceSelector, SigningConfig};
use sigstore_sign::{Error, SigningContext, SigningServices, SigstoreInstance, oidc};

use super::super::bundle::{Bundle, Material};
use super::super::strict;
use super::super::trust::Trust;
use super::super::verify::{VerifyError, verify};
use super::ClaimedIdentity;
use super::trusted_root::{CLIENT_CONFIG_TYPE, MAX_TRUSTED_ROOT, TrustedRoot};
use crate::name::Escaped;

/// Largest identity token, in bytes. Those in use have some 1000 to 3000.
pub const MAX_TOKEN: usize = 16 << 10;

/// How long a service may take to answer. Logs of version 2 answer once the entry is in the tree.
const ANSWER: Duration = Duration::from_secs(60);

/// How long a service may take to be there.
const CONNECT: Duration = Duration::from_secs(10);

const USER_AGENT: &str = concat!("model-fs/", env!("CARGO_PKG_VERSION"));

/// An identity token, which an OIDC provider made for the signer: whoever has it can sign as them.
/// `Debug` doesn't show it.
#[derive(Debug, Clone)]
pub struct IdentityToken(oidc::IdentityToken);

impl IdentityToken {
    /// Takes a JSON Web Token. White space around it is no part of it. Whether it is genuine is for
    /// the certificate authority to say.
    ///
    /// # Errors
    /// [`TokenError`] for what no authority would take; it doesn't quote the token.
    pub fn from_jwt(text: &[u8]) -> Result<Self, TokenError> {
        if text.len() > MAX_TOKEN {
            return Err(TokenError::TooLarge { found: text.len() });
        }
        let text = std::str::from_utf8(text).map_err(|_| TokenError::Malformed)?;
        // What the crate says quotes it.
        let token =
            oidc::IdentityToken::from_jwt(text.trim()).map_err(|_| TokenError::Malformed)?;
        let token = Self(token);
        token.check_expiry()?;
        Ok(token)
    }

    fn check_expiry(&self) -> Result<(), TokenError> {
        if self.0.is_expired() {
            return Err(TokenError::Expired);
        }
        Ok(())
    }

    /// What a service said, escaped and bounded, and without the token, should it have been quoted.
    fn redact(&self, said: &Error) -> Escaped {
        let said = said
            .to_string()
            .replace(self.0.expose_secret(), "(the identity token)");
        Escaped::bounded(&said)
    }
}

/// An identity token that can't be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// Larger than [`MAX_TOKEN`].
    #[error("the identity token has {found} bytes, at most {MAX_TOKEN} are allowed")]
    TooLarge {
        /// Bytes found.
        found: usize,
    },
    /// Not a JSON Web Token, or one without the claims that OIDC wants.
    #[error(
        "the identity token is not one of OIDC: three parts in base64url joined by dots, the second \
         with \"iss\", \"sub\" and \"exp\""
    )]
    Malformed,
    /// Too old. They live for minutes.
    #[error("the identity token has expired")]
    Expired,
}

/// A version of the log's interface.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum RekorVersion {
    /// Rekor v1: it signs the time at which it took an entry.
    #[default]
    V1,
    /// Rekor v2: it doesn't, so there must be a timestamp authority.
    V2,
}

impl From<RekorVersion> for RekorApiVersion {
    fn from(version: RekorVersion) -> Self {
        match version {
            RekorVersion::V1 => Self::V1,
            RekorVersion::V2 => Self::V2,
        }
    }
}

/// Where services are, instead of where a configuration says.
#[derive(Debug, Clone, Default)]
pub struct ServiceUrls {
    /// The certificate authority.
    pub fulcio: Option<String>,
    /// The log.
    pub rekor: Option<(String, RekorVersion)>,
    /// The timestamp authority: the whole URL of its endpoint.
    pub timestamps: Option<String>,
}

/// The services of a Sigstore instance, and whom its verifiers trust.
#[derive(Debug, Clone)]
pub struct Instance {
    services: SigningServices,
    trusted_root: TrustedRoot,
    /// One of them is spoken to in the clear, on this host.
    clear: bool,
}

impl Instance {
    /// The public-good instance, as known when `sigstore-sign` was released.
    ///
    /// # Errors
    /// [`InstanceError`] if what was known then has run out.
    pub fn public_good() -> Result<Self, InstanceError> {
        let services = SigningServices::from_embedded(SigstoreInstance::PublicGood)
            .map_err(|error| InstanceError::services(&error))?;
        Self::new(services, TrustedRoot::public_good())
    }

    /// Reads a client trust configuration, which holds a trusted root and the services to sign
    /// with, or a `trusted_root.json`, which takes URLs for the rest.
    ///
    /// With URLs for authority and log, the configuration's services aren't looked at.
    ///
    /// # Errors
    /// [`InstanceError`] if it is malformed, or a service is missing or can't be used.
    pub fn from_json(json: &[u8], urls: ServiceUrls) -> Result<Self, InstanceError> {
        let trusted_root = TrustedRoot::from_json(json)?;
        let services = match (urls.fulcio, urls.rekor) {
            (Some(fulcio), Some((rekor, version))) => {
                SigningServices::new(fulcio, "").with_rekor(rekor, version.into())
            }
            (fulcio, rekor) => {
                let configured = configured(json)?.ok_or(InstanceError::NoServices)?;
                let mut services = match fulcio {
                    None => configured,
                    Some(fulcio) => with_fulcio(&configured, fulcio),
                };
                if let Some((rekor, version)) = rekor {
                    services = services.with_rekor(rekor, version.into());
                }
                services
            }
        };
        let services = match urls.timestamps {
            None => services,
            Some(url) => services.with_tsa_url(url),
        };
        Self::new(services, trusted_root)
    }

    fn new(services: SigningServices, trusted_root: TrustedRoot) -> Result<Self, InstanceError> {
        services
            .validate()
            .map_err(|error| InstanceError::services(&error))?;
        let mut clear = false;
        let urls = [services.fulcio_url(), services.rekor_url()];
        for url in urls.into_iter().chain(services.tsa_url()) {
            clear |= is_clear(url)?;
        }
        Ok(Self {
            services,
            trusted_root,
            clear,
        })
    }
}

/// Whether a service is spoken to in the clear, which is allowed on this host only.
fn is_clear(url: &str) -> Result<bool, InstanceError> {
    let refused = || InstanceError::Url(Escaped::bounded(url));
    let parsed = Url::parse(url).map_err(|_| refused())?;
    match (parsed.scheme(), parsed.host_str()) {
        ("https", Some(_)) => Ok(false),
        ("http", Some(host)) if is_this_host(host) => Ok(true),
        _ => Err(refused()),
    }
}

/// By address: what a name means is for somebody else to say.
fn is_this_host(host: &str) -> bool {
    let address = host.trim_start_matches('[').trim_end_matches(']');
    address
        .parse()
        .is_ok_and(|address: IpAddr| address.is_loopback())
}

fn with_fulcio(services: &SigningServices, fulcio: String) -> SigningServices {
    let moved = SigningServices::new(fulcio, "")
        .with_rekor(services.rekor_url(), services.rekor_api_version());
    match services.tsa_url() {
        None => moved,
        Some(url) => moved.with_tsa_url(url),
    }
}

/// The services of a client trust configuration, if the file is one.
fn configured(json: &[u8]) -> Result<Option<SigningServices>, InstanceError> {
    if json.len() > MAX_TRUSTED_ROOT {
        return Ok(None);
    }
    let raw: RawConfig<'_> = strict::json(json).map_err(InstanceError::Json)?;
    let Some(config) = raw.signing_config else {
        return Ok(None);
    };
    if raw.media_type != CLIENT_CONFIG_TYPE {
        return Ok(None);
    }
    // The crate takes arrays for objects.
    let _: SigningConfig = strict::json_text(config.get()).map_err(InstanceError::Json)?;
    let config = SigningConfig::from_json(config.get())
        .map_err(|error| InstanceError::Json(Escaped::bounded(&error.to_string())))?;
    if !config.tsa_urls.is_empty() {
        return SigningServices::from_signing_config(&config)
            .map(Some)
            .map_err(|error| InstanceError::services(&error));
    }
    // A log of version 1 tells the time itself, so an instance may do without time stamps; the
    // crate wants a timestamp authority all the same.
    let fulcio = config
        .fulcio_url()
        .ok_or(InstanceError::Missing("certificate authority"))?;
    let logs = config.eligible_rekor_urls(Some(1));
    let selection = &config.rekor_tlog_config;
    let one = match selection.selector {
        ServiceSelector::Any => true,
        ServiceSelector::Exact => selection.count == Some(1),
        ServiceSelector::All => logs.len() == 1,
        _ => false,
    };
    match logs.first() {
        None => Err(InstanceError::Missing(
            "log of version 1, and no timestamp authority for one of version 2,",
        )),
        Some(_) if !one => Err(InstanceError::SeveralLogs),
        Some(log) => Ok(Some(SigningServices::new(&fulcio.url, &log.url))),
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawConfig<'a> {
    media_type: String,
    #[serde(borrow)]
    signing_config: Option<&'a RawValue>,
}

/// An instance that can't be signed with.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InstanceError {
    /// No usable trusted root.
    #[error(transparent)]
    TrustedRoot(#[from] super::trusted_root::TrustedRootError),
    /// A malformed signing configuration. Escaped.
    #[error("the signing configuration is malformed: {0}")]
    Json(Escaped),
    /// Neither a signing configuration nor URLs.
    #[error("nothing says where to sign: the file has a trusted root and no signing configuration")]
    NoServices,
    /// Without which there is no signature.
    #[error("the signing configuration has no {0} that is in use now")]
    Missing(&'static str),
    /// It wants entries in more than one log.
    #[error("the signing configuration wants more than one log, which is not supported")]
    SeveralLogs,
    /// Not a URL, or one that a token mustn't be sent to. Escaped.
    #[error(
        "\"{0}\" is not the URL of a service: https://…, or http:// and a loopback address such as \
         127.0.0.1"
    )]
    Url(Escaped),
    /// What `sigstore-sign` says of the services. Escaped.
    #[error("the services can not be used: {0}")]
    Services(Escaped),
}

impl InstanceError {
    fn services(error: &Error) -> Self {
        Self::Services(Escaped::bounded(&error.to_string()))
    }
}

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
    pub(in super::super) fn sign(&self, payload: &[u8]) -> Result<Vec<u8>, SigstoreSigningError> {
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
            .map_err(|rule| VerifyError::from(super::SigstoreError::Certificate(rule)))?;
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
    #[error("Sigstore's services can not be spoken to from here: {0}")]
    Client(Escaped),
    /// A service is out of reach, refuses, or answers with something else. Texts of the service are
    /// escaped and bounded.
    #[error("the {service} at {url} did not do its part: {said}")]
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

#[cfg(test)]
mod tests {
    use base64::Engine as _;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;

    use super::*;

    fn token(claims: &str) -> Vec<u8> {
        format!("e30.{}.c2ln", URL_SAFE_NO_PAD.encode(claims)).into_bytes()
    }

    #[test]
    fn tokens_are_checked_bounded_and_not_shown() {
        let good = token(r#"{"iss":"i","sub":"s","exp":9999999999}"#);
        let padded = [b"\n ", &good[..], b"\r\n"].concat();
        let read = IdentityToken::from_jwt(&padded).unwrap();
        assert_eq!(read.0.expose_secret().as_bytes(), good);
        assert!(!format!("{read:?}").contains("e30"));

        let refused = |text: &[u8]| IdentityToken::from_jwt(text).unwrap_err();
        let old = token(r#"{"iss":"i","sub":"s","exp":1}"#);
        assert_eq!(refused(&old), TokenError::Expired);
        for malformed in [&b""[..], b"a.b", b"a.b.c", b"\xff", &token("{}")] {
            assert_eq!(refused(malformed), TokenError::Malformed);
        }
        let found = MAX_TOKEN + 1;
        assert_eq!(refused(&vec![b'a'; found]), TokenError::TooLarge { found });
        assert_eq!(refused(&vec![b'a'; MAX_TOKEN]), TokenError::Malformed);
    }

    #[test]
    fn a_token_in_an_answer_is_not_repeated() {
        let text = token(r#"{"iss":"i","sub":"s","exp":9999999999}"#);
        let token = IdentityToken::from_jwt(&text).unwrap();
        let text = String::from_utf8(text).unwrap();
        let said = sigstore_sign::fulcio::Error::InvalidResponse(format!("bad: {text}\u{202e}"));
        let said = token.redact(&said.into()).to_string();
        assert!(
            !said.contains(&text) && !said.contains('\u{202e}'),
            "{said}"
        );
        assert!(said.contains("bad: (the identity token)"), "{said}");
    }

    #[test]
    fn tokens_go_over_tls_or_stay_here() {
        for (url, clear) in [
            ("https://fulcio.example.org", false),
            ("https://127.0.0.1:8443/x", false),
            ("http://127.0.0.1:80", true),
            ("http://127.9.9.9", true),
            ("http://[::1]:1", true),
        ] {
            assert_eq!(is_clear(url), Ok(clear), "{url}");
        }
        for url in [
            "",
            "fulcio.example.org",
            "http://fulcio.example.org",
            "http://127.0.0.1@fulcio.example.org",
            "http://127.0.0.1.example.org",
            "http://localhost",
            "http://10.0.0.1",
            "http://[::2]",
            "ftp://127.0.0.1",
            "file:///etc/passwd",
        ] {
            assert!(is_clear(url).is_err(), "{url}");
        }
    }

    #[test]
    fn the_embedded_instance_can_be_used() {
        let instance = Instance::public_good().unwrap();
        assert!(!instance.clear);
        assert!(instance.services.tsa_url().is_some());
    }
}
