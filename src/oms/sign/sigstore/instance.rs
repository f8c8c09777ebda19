//! Where to sign, and whom verifiers of that instance trust.

use std::net::IpAddr;

use serde::Deserialize;
use serde_json::value::RawValue;
use sigstore_sign::rekor::RekorApiVersion;
use sigstore_sign::reqwest::Url;
use sigstore_sign::trust_root::{ServiceSelector, SigningConfig};
use sigstore_sign::{Error, SigningServices, SigstoreInstance};

use crate::name::Escaped;
use crate::oms::method::sigstore::trusted_root::{
    CLIENT_CONFIG_TYPE, MAX_TRUSTED_ROOT, TrustedRoot, TrustedRootError,
};
use crate::oms::wire::strict;

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
    pub(super) services: SigningServices,
    pub(super) trusted_root: TrustedRoot,
    /// One of them is spoken to in the clear, on this host.
    pub(super) clear: bool,
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

/// By address: what a name means is for a resolver to say.
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
    TrustedRoot(#[from] TrustedRootError),
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
    #[error("the services cannot be used: {0}")]
    Services(Escaped),
}

impl InstanceError {
    fn services(error: &Error) -> Self {
        Self::Services(Escaped::bounded(&error.to_string()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
