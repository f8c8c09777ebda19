//! Key files as OpenSSL writes them.
//!
//! `tests/data/keys` holds throw-away keys of every kind; the encrypted ones have the password
//! `correct-horse`. Signatures go both ways through the `openssl` program.

use std::fs;
use std::process::Command;

use model_fs::oms::key::{Curve, KeyError, MAX_PEM, Password, PrivateKey, PublicKey};
use proptest::prelude::*;
use test_support::keys::path;
use test_support::missing::{Need, have};

const PASSWORD: &str = "correct-horse";

/// Written by OpenSSL 3.0: `openssl pkey -pubin -in FILE | sha256sum`.
const HINTS: [(&str, Curve, &str); 3] = [
    (
        "p256",
        Curve::P256,
        "ae62c229dc2686848efa2cc69b5989e4c6c74d20644e574118d6bdd8a54bab9c",
    ),
    (
        "p384",
        Curve::P384,
        "533f526d9007f0e53ba8dfd56af0ddf04a9633f0191165666e3ef367d94fb4c2",
    ),
    (
        "p521",
        Curve::P521,
        "5da15dcad31c506a471f96c70a1202a48219f1c34e1109cc908d88cb74fb69e3",
    ),
];

fn read(name: &str) -> Vec<u8> {
    fs::read(path(name)).unwrap()
}

fn private(name: &str) -> Result<PrivateKey, KeyError> {
    PrivateKey::from_pem(&read(name), None)
}

fn opened(name: &str, password: &str) -> Result<PrivateKey, KeyError> {
    PrivateKey::from_pem(&read(name), Some(&Password::new(password.into())))
}

#[test]
fn hints_are_those_of_openssl() {
    for (name, curve, hint) in HINTS {
        let key = PublicKey::from_pem(&read(&format!("{name}-pub.pem"))).unwrap();
        assert_eq!((key.curve(), key.hint()), (curve, hint));
        for form in ["sec1", "pkcs8"] {
            let key = private(&format!("{name}-{form}.pem")).unwrap();
            assert_eq!(key.public_key().hint(), hint);
        }
    }
}

#[test]
fn a_hint_does_not_depend_on_how_the_file_spells_the_key() {
    let plain = PublicKey::from_pem(&read("p256-pub.pem")).unwrap();
    let compressed = PublicKey::from_pem(&read("p256-pub-compressed.pem")).unwrap();
    assert_eq!(compressed.hint(), plain.hint());
    let text = String::from_utf8(read("p256-pub.pem")).unwrap();
    let crlf = PublicKey::from_pem(text.replace('\n', "\r\n").as_bytes()).unwrap();
    assert_eq!(crlf.hint(), plain.hint());
    let prose = PublicKey::from_pem(format!("Ours:\n\n  --- key ---\n{text}\nbye").as_bytes());
    assert_eq!(prose.unwrap().hint(), plain.hint());
}

#[test]
fn every_private_form_opens_the_same_key() {
    let public = PublicKey::from_pem(&read("p256-pub.pem")).unwrap();
    let same = |key: Result<PrivateKey, KeyError>| {
        let signature = key.unwrap().sign(&[b"message"]).unwrap();
        public.verify(&[b"mess", b"", b"age"], &signature).unwrap();
    };
    for name in ["p256-sec1.pem", "p256-sec1-params.pem", "p256-pkcs8.pem"] {
        same(private(name));
        same(opened(name, "not needed"));
        let text = String::from_utf8(read(name)).unwrap();
        let prose = format!("Bag Attributes\n    key: 1\n\n{text}");
        same(PrivateKey::from_pem(prose.as_bytes(), None));
        same(PrivateKey::from_pem(
            text.replace('\n', "\r\n").as_bytes(),
            None,
        ));
    }
    for name in [
        "p256-pkcs8-pbkdf2.pem",
        "p256-pkcs8-scrypt.pem",
        "p256-sec1-aes128.pem",
        "p256-sec1-aes192.pem",
        "p256-sec1-aes256.pem",
    ] {
        same(opened(name, PASSWORD));
        assert_eq!(private(name).unwrap_err(), KeyError::NoPassword, "{name}");
        for wrong in ["", "correct-horse\n", "Correct-horse"] {
            assert_eq!(
                opened(name, wrong).unwrap_err(),
                KeyError::WrongPassword,
                "{name}"
            );
        }
    }
}

/// One wrong password in 256 leaves padding that looks right; what follows must notice.
#[test]
fn no_wrong_password_gives_another_error() {
    let name = "p256-sec1-aes256.pem";
    for wrong in 0..2000 {
        assert_eq!(
            opened(name, &wrong.to_string()).unwrap_err(),
            KeyError::WrongPassword
        );
    }
}

#[test]
fn what_cannot_be_used_is_named() {
    let public = |name| PublicKey::from_pem(&read(name)).unwrap_err();
    assert!(matches!(public("p256-sec1.pem"), KeyError::NotFound { .. }));
    assert!(matches!(public("rsa-pub.pem"), KeyError::NotEc(_)));
    assert!(matches!(public("ed25519-pub.pem"), KeyError::NotEc(_)));
    assert_eq!(
        public("secp256k1-pub.pem"),
        KeyError::UnsupportedCurve("1.3.132.0.10".into())
    );
    // Explicit parameters that describe a named curve. That they do would have to be believed.
    assert_eq!(public("p256-pub-explicit.pem"), KeyError::UnnamedCurve);

    let private = |name| private(name).unwrap_err();
    assert!(matches!(private("p256-pub.pem"), KeyError::NotFound { .. }));
    assert!(matches!(private("rsa-pkcs8.pem"), KeyError::NotEc(_)));
    assert!(matches!(private("ed25519-pkcs8.pem"), KeyError::NotEc(_)));
    assert!(matches!(
        private("secp256k1-pkcs8.pem"),
        KeyError::UnsupportedCurve(_)
    ));
    assert_eq!(
        opened("p256-pkcs8-des3.pem", PASSWORD).unwrap_err(),
        KeyError::Encryption
    );
    // The password is right; the decrypted content is what is wrong.
    assert_eq!(
        opened("secp256k1-sec1-aes256.pem", PASSWORD).unwrap_err(),
        KeyError::UnsupportedCurve("1.3.132.0.10".into())
    );
    for name in ["p256-sec1-explicit.pem", "p256-pkcs8-explicit.pem"] {
        assert_eq!(private(name), KeyError::UnnamedCurve, "{name}");
    }
    // The error says what was weak, and what to do, whether or not the password is right.
    for (name, expected) in [
        (
            "p256-pkcs8-pbkdf2-sha1.pem",
            KeyError::WeakEncryption("PBKDF2 with SHA-1"),
        ),
        ("p256-pkcs8-pbes1.pem", KeyError::WeakEncryption("PBES1")),
        ("p256-pkcs8-pkcs12-3des.pem", KeyError::Encryption),
    ] {
        for password in [PASSWORD, "wrong"] {
            let error = opened(name, password).unwrap_err();
            assert_eq!(error, expected, "{name}");
            let said = error.to_string();
            assert!(said.contains("openssl pkcs8 -topk8"), "{said}");
        }
    }
    assert!(
        opened("p256-pkcs8-pbkdf2-sha1.pem", PASSWORD)
            .unwrap_err()
            .to_string()
            .contains("PBKDF2 with SHA-1")
    );
    for (good, name) in [
        ("p256-sec1.pem", "p256-pub.pem"),
        ("p384-pub.pem", "p256-pub.pem"),
    ] {
        // The last block is cut off: which key was it?
        let file = read(name);
        let file = [&read(good)[..], &file[..file.len() - 10]].concat();
        assert_eq!(PublicKey::from_pem(&file).unwrap_err(), KeyError::Pem);
        assert_eq!(
            PrivateKey::from_pem(&file, None).unwrap_err(),
            KeyError::Pem
        );
    }
    assert_eq!(
        opened("secp256k1-sec1-aes256.pem", "wrong").unwrap_err(),
        KeyError::WrongPassword
    );
    for name in ["p256-pkcs8-slow-pbkdf2.pem", "p256-pkcs8-slow-scrypt.pem"] {
        assert_eq!(
            opened(name, PASSWORD).unwrap_err(),
            KeyError::WorkFactor,
            "{name}"
        );
    }

    let twice = [read("p256-pub.pem"), read("p384-pub.pem")].concat();
    assert_eq!(
        PublicKey::from_pem(&twice).unwrap_err(),
        KeyError::Several("PUBLIC KEY")
    );
    let twice = [read("p256-sec1.pem"), read("p384-pkcs8.pem")].concat();
    assert_eq!(
        PrivateKey::from_pem(&twice, None).unwrap_err(),
        KeyError::Several("PRIVATE KEY")
    );
    let large = vec![b'\n'; MAX_PEM + 1];
    assert!(matches!(
        PublicKey::from_pem(&large),
        Err(KeyError::TooLarge { .. })
    ));
    let mut fits = read("p256-pub.pem");
    fits.resize(MAX_PEM, b'\n');
    assert!(PublicKey::from_pem(&fits).is_ok());
    assert!(matches!(
        PublicKey::from_pem(b""),
        Err(KeyError::NotFound { .. })
    ));
}

#[test]
fn secrets_are_not_shown() {
    let shown = format!(
        "{:?} {:?}",
        private("p256-sec1.pem").unwrap(),
        Password::new(PASSWORD.into())
    );
    assert_eq!(shown, "PrivateKey(P-256, …) Password(…)");
}

/// A signature with another curve's key, or with a bit changed, is none.
#[test]
fn signatures_are_of_one_key_and_message() {
    for (name, ..) in HINTS {
        let key = private(&format!("{name}-sec1.pem")).unwrap();
        let signature = key.sign(&[b"message"]).unwrap();
        for (other, ..) in HINTS {
            let public = PublicKey::from_pem(&read(&format!("{other}-pub.pem"))).unwrap();
            assert_eq!(
                public.verify(&[b"message"], &signature).is_ok(),
                other == name
            );
            assert!(public.verify(&[b"massage"], &signature).is_err());
        }
        for index in 0..signature.len() {
            for bit in 0..8 {
                let mut flipped = signature.clone();
                flipped[index] ^= 1 << bit;
                assert!(key.public_key().verify(&[b"message"], &flipped).is_err());
            }
        }
        assert!(key.public_key().verify(&[b"message"], b"").is_err());
    }
}

#[test]
fn openssl_agrees() {
    if !have(Need::OpenSsl) {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str| folder.path().join(name);
    fs::write(file("message"), b"message").unwrap();
    for (name, curve, _) in HINTS {
        let hash = match curve {
            Curve::P256 => "-sha256",
            Curve::P384 => "-sha384",
            Curve::P521 => "-sha512",
        };
        let key = private(&format!("{name}-pkcs8.pem")).unwrap();
        fs::write(file("signature"), key.sign(&[b"message"]).unwrap()).unwrap();
        let status = Command::new("openssl")
            .args(["dgst", hash, "-verify"])
            .arg(path(&format!("{name}-pub.pem")))
            .arg("-signature")
            .args([file("signature"), file("message")])
            .output()
            .unwrap();
        assert!(status.status.success(), "{status:?}");

        let status = Command::new("openssl")
            .args(["dgst", hash, "-sign"])
            .arg(path(&format!("{name}-pkcs8.pem")))
            .arg("-out")
            .args([file("signature"), file("message")])
            .output()
            .unwrap();
        assert!(status.status.success(), "{status:?}");
        let signature = fs::read(file("signature")).unwrap();
        key.public_key().verify(&[b"message"], &signature).unwrap();
    }
}

proptest! {
    #[test]
    fn damaged_key_files_are_errors_and_nothing_worse(
        name in prop::sample::select(vec![
            "p256-sec1.pem", "p384-pkcs8.pem", "p256-sec1-aes256.pem", "p521-sec1.pem",
        ]),
        index: prop::sample::Index,
        byte: u8,
        cut: bool,
    ) {
        let mut pem = read(name);
        let index = index.index(pem.len());
        if cut {
            pem.truncate(index);
        } else {
            pem[index] = byte;
        }
        // Every file that can be read gives a key that works.
        if let Ok(key) = PrivateKey::from_pem(&pem, Some(&Password::new(PASSWORD.into()))) {
            let signature = key.sign(&[b"message"]).unwrap();
            prop_assert!(key.public_key().verify(&[b"message"], &signature).is_ok());
        }
        let _ = PublicKey::from_pem(&pem);
    }
}
