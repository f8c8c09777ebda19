//! Models signed with certificates, from the signature to the verdict.

use model_fs::digest::Algorithm;
use model_fs::manifest::{
    Description, Manifest, ManifestFile, ModelShape, Serialization, SignedContent, VerifiedManifest,
};
use model_fs::name::FileName;
use model_fs::oms::bundle::{Bundle, MAX_CERTIFICATES, Material};
use model_fs::oms::certificate::{Anchors, When};
use model_fs::oms::key::{PrivateKey, PublicKey, SigningFailed, SigningKey};
use model_fs::oms::sign::{Compat, Signing, SigningCertificate};
use model_fs::oms::trust::{CertificateTime, Signer, Trust};
use test_support::pki::{DAY, Key, Scheme, Spec, pem_file};
use x509_cert::ext::pkix::KeyUsages;

fn manifest() -> Manifest {
    let files = vec![ManifestFile {
        name: FileName::new("weights.bin").unwrap(),
        content: SignedContent::Whole(Algorithm::Blake3.hash(b"weights").into()),
    }];
    let description = Description {
        subject_name: "model".into(),
        shape: ModelShape::Directory,
        serialization: Serialization::files(Algorithm::Blake3),
        allow_symlinks: false,
        ignore_paths: Vec::new(),
    };
    Manifest::new(description, files).unwrap()
}

struct Pki {
    root: Vec<u8>,
    ca: Vec<u8>,
    leaf: Vec<u8>,
    key: PrivateKey,
}

/// Three levels, the upper two RSA.
fn pki(scheme: Scheme) -> Pki {
    let (root, ca, leaf) = (
        Key::new(Scheme::Rsa(256)),
        Key::new(Scheme::Pss(384)),
        Key::new(scheme),
    );
    Pki {
        root: Spec::root("root", &root).der(),
        ca: Spec::authority("ca", &ca, "root", &root).der(),
        leaf: Spec::leaf("signer", &leaf, "ca", &ca).der(),
        key: PrivateKey::from_pem(leaf.pkcs8_pem().as_bytes(), None).unwrap(),
    }
}

fn pem(der: &[u8]) -> String {
    pem_file([der])
}

fn trust(der: &[u8]) -> Trust {
    Trust::Certificate {
        anchors: Anchors::from_pem([pem(der)]).unwrap(),
        when: When::Now,
    }
}

#[test]
fn round_trip_on_every_curve() {
    for scheme in [Scheme::P256(256), Scheme::P384(384), Scheme::P521(512)] {
        let pki = pki(scheme);
        let certificate =
            SigningCertificate::from_pem(pem(&pki.leaf).as_bytes(), [pem(&pki.ca), pem(&pki.root)])
                .unwrap();
        let signing = Signing::Certificate(&pki.key, &certificate);
        let bundle = manifest().sign(signing, Compat::Specification).unwrap();

        let parsed = Bundle::parse(&bundle).unwrap();
        assert_eq!(
            parsed.material(),
            &Material::Certificate {
                chain: vec![pki.leaf.clone(), pki.ca.clone(), pki.root.clone()]
            }
        );
        for (trusted, anchor) in [
            (&pki.root, "CN=root"),
            (&pki.ca, "CN=ca"),
            (&pki.leaf, "CN=signer"),
        ] {
            let verified =
                VerifiedManifest::verify(bundle.clone(), &trust(trusted), &ModelShape::Directory)
                    .unwrap();
            assert_eq!(
                verified.signer(),
                &Signer::Certificate {
                    subject: certificate.leaf().subject().clone(),
                    fingerprint: Algorithm::Sha256.hash(&pki.leaf).to_hex(),
                    anchor: model_fs::name::Escaped::new(anchor),
                    time: CertificateTime::Now,
                }
            );
        }
        let stranger = Key::new(Scheme::P256(256));
        let stranger = Spec::root("root", &stranger).der();
        let error = VerifiedManifest::verify(bundle, &trust(&stranger), &ModelShape::Directory)
            .unwrap_err();
        assert!(
            error
                .to_string()
                .starts_with("the signer's certificate is not trusted: ")
        );
    }
}

/// A chain that is trusted says nothing about a signature by another key.
#[test]
fn another_chain_does_not_vouch() {
    let (mine, theirs) = (pki(Scheme::P256(256)), pki(Scheme::P256(256)));
    let sign = |pki: &Pki| {
        let certificate =
            SigningCertificate::from_pem(pem(&pki.leaf).as_bytes(), [pem(&pki.ca)]).unwrap();
        let signing = Signing::Certificate(&pki.key, &certificate);
        let bundle = manifest().sign(signing, Compat::Specification).unwrap();
        serde_json::from_slice::<serde_json::Value>(&bundle).unwrap()
    };
    let mut mixed = sign(&mine);
    mixed["verificationMaterial"] = sign(&theirs)["verificationMaterial"].clone();
    let error = VerifiedManifest::verify(
        mixed.to_string().into_bytes(),
        &trust(&theirs.root),
        &ModelShape::Directory,
    );
    assert_eq!(
        error.unwrap_err().to_string(),
        "the signature does not match the bundle's payload and the trusted key"
    );
}

#[test]
fn what_no_verifier_would_take_is_not_signed() {
    let pki = pki(Scheme::P256(256));
    let none: [&str; 0] = [];
    let from = |spec: &Spec<'_>| SigningCertificate::from_pem(pem(&spec.der()).as_bytes(), none);
    let key = Key::new(Scheme::P256(256));
    let good = Spec::leaf("signer", &key, "signer", &key);
    let other = from(&good).unwrap();
    let error = manifest()
        .sign(
            Signing::Certificate(&pki.key, &other),
            Compat::Specification,
        )
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        "the private key is not that of the signing certificate \"CN=signer\""
    );

    let rsa = Key::new(Scheme::Rsa(256));
    for (spec, expected) in [
        (
            good.clone().but(|spec| spec.valid = (-2 * DAY, -DAY)),
            "it expired at",
        ),
        (
            good.clone().but(|spec| spec.valid = (DAY, 2 * DAY)),
            "it is not valid before",
        ),
        (
            good.clone().but(|spec| spec.key_usage = None),
            "it is not for signing",
        ),
        (
            good.clone()
                .but(|spec| spec.extended_key_usage = Some((false, "1.3.6.1.5.5.7.3.1"))),
            "its extended key usage does not include codeSigning",
        ),
        (
            good.clone().but(|spec| {
                spec.key_usage = Some(KeyUsages::KeyEncipherment.into());
                spec.extended_key_usage = Some((false, "1.3.6.1.5.5.7.3.3"));
            }),
            "its key usage does not include digitalSignature",
        ),
        (Spec::leaf("signer", &rsa, "signer", &key), "an RSA key"),
    ] {
        let error = from(&spec).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }
    assert!(SigningCertificate::from_pem(b"", none).is_err());

    // An issuer that is for servers only is refused, unless it issued nothing in this chain.
    let issuer = Key::new(Scheme::P256(256));
    let servers = Spec::authority("ca", &issuer, "root", &key)
        .but(|spec| spec.extended_key_usage = Some((false, "1.3.6.1.5.5.7.3.1")));
    let chain = [pem(&servers.der())];
    let signed_by_it = Spec::leaf("signer", &key, "ca", &issuer);
    let error = SigningCertificate::from_pem(pem(&signed_by_it.der()).as_bytes(), &chain)
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("\"CN=ca\": its extended key usage does not include codeSigning"),
        "{error}"
    );
    assert!(SigningCertificate::from_pem(pem(&good.der()).as_bytes(), &chain).is_ok());

    // As many as a bundle may have, and one more.
    let chain = |count: usize| {
        let authorities: Vec<_> = (0..count)
            .map(|index| Spec::authority(&format!("ca {index}"), &key, "root", &key).der())
            .collect();
        let text = pem_file(authorities.iter().map(Vec::as_slice));
        // A certificate that is given twice is taken once.
        SigningCertificate::from_pem(pem(&good.der()).as_bytes(), [&text, &text])
    };
    assert!(chain(MAX_CERTIFICATES - 1).is_ok());
    assert!(chain(MAX_CERTIFICATES).is_err());
}

/// A key whose signatures are made elsewhere, as on a token.
struct Elsewhere(PrivateKey, bool);

impl SigningKey for Elsewhere {
    fn public_key(&self) -> &PublicKey {
        self.0.public_key()
    }

    fn sign(&self, message: &[&[u8]]) -> Result<Vec<u8>, SigningFailed> {
        if self.1 {
            self.0.sign(message)
        } else {
            Err(SigningFailed(model_fs::name::Escaped::new(
                "the token is gone",
            )))
        }
    }
}

#[test]
fn keys_that_live_elsewhere() {
    let pki = pki(Scheme::P384(384));
    let certificate =
        SigningCertificate::from_pem(pem_file([&pki.leaf[..], &pki.ca]).as_bytes(), [""; 0])
            .unwrap();
    let key = Elsewhere(pki.key, true);
    let sign = |signing: Signing<'_>| manifest().sign(signing, Compat::Specification);
    let bundle = sign(Signing::Certificate(&key, &certificate)).unwrap();
    VerifiedManifest::verify(bundle, &trust(&pki.root), &ModelShape::Directory).unwrap();
    let bundle = sign((&key).into()).unwrap();
    VerifiedManifest::verify(
        bundle,
        &Trust::Key(key.public_key().clone()),
        &ModelShape::Directory,
    )
    .unwrap();
    let gone = Elsewhere(key.0, false);
    assert_eq!(
        sign((&gone).into()).unwrap_err().to_string(),
        "the private key could not sign: the token is gone"
    );
}
