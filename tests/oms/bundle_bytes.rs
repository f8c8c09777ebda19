//! The signature file that a mount shows is the file that was verified, to the byte, however it
//! spells what it says. It is held in memory once: its payload is decoded in place, and put back.

use std::fmt::Write as _;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE, URL_SAFE_NO_PAD};
use model_fs::digest::Algorithm;
use model_fs::manifest::{ModelShape, VerifiedManifest};
use model_fs::name::FileName;
use model_fs::oms::bundle::MEDIA_TYPE;
use model_fs::oms::dsse::{PAYLOAD_TYPE, Pae};
use model_fs::oms::key::PrivateKey;
use model_fs::oms::statement::root_digest_of;
use model_fs::oms::trust::Trust;
use serde_json::json;
use test_support::keys;

fn key() -> PrivateKey {
    keys::private("p256-sec1.pem")
}

/// A payload that takes every character of both alphabets, `padding` bytes longer or shorter.
fn payload(resources: usize, padding: usize) -> Vec<u8> {
    let digests: Vec<_> = (0..resources)
        .map(|index| Algorithm::Sha256.hash(&index.to_le_bytes()))
        .collect();
    let resources: Vec<_> = digests
        .iter()
        .enumerate()
        .map(|(index, digest)| {
            let name = format!("{index:05}");
            json!({ "name": name, "algorithm": "sha256", "digest": digest.to_hex() })
        })
        .collect();
    json!({
        "_type": "https://in-toto.io/Statement/v1",
        "subject": [{ "name": "model", "digest": { "sha256": root_digest_of(&digests).to_hex() } }],
        "predicateType": "https://model_signing/signature/v1.0",
        "predicate": {
            "serialization": { "method": "files", "hash_type": "sha256" },
            "resources": resources,
        },
        // `?` and `>` at each of the three places give `/` and `+`.
        "x": format!("???>>>{}~~~\u{7ff}\u{3fff}", "?>".repeat(padding)),
        "y": "z".repeat(2 * padding),
    })
    .to_string()
    .into_bytes()
}

/// The bundle around two texts that are put into JSON as they stand.
fn bundle(payload: &str, signature: &str, hint: &str) -> String {
    format!(
        r#"{{"mediaType":"{MEDIA_TYPE}","verificationMaterial":{{"publicKey":{{"hint":"{hint}"}}}},
"dsseEnvelope":{{"payload":"{payload}","payloadType":"{PAYLOAD_TYPE}",
"signatures":[{{"sig":"{signature}","keyid":null}}]}},"later":"ü"}}"#
    )
}

/// Verifies a file, and compares what is kept of it with the file.
fn keeps(file: &str, expected: &[u8]) {
    let key = key();
    let trust = Trust::Key(key.public_key().clone());
    let digest = Algorithm::Sha256.hash(expected);
    let file: Arc<[u8]> = file.as_bytes().into();
    // The caller keeps a reference to the same memory, which must stay as it was.
    let verified = VerifiedManifest::verify(file.clone(), &trust, &ModelShape::Directory).unwrap();
    assert!(*verified.bundle() == file);
    assert_eq!(verified.payload_digest(), digest);
    let bytes = file.to_vec();
    // This time the caller keeps no reference.
    let verified = VerifiedManifest::verify(file, &trust, &ModelShape::Directory).unwrap();
    assert!(verified.bundle()[..] == bytes[..]);
    assert_eq!(verified.payload_digest(), digest);
    let ignored = FileName::new("00000").unwrap();
    let rest = verified.without(&[ignored]);
    assert!(rest.bundle()[..] == bytes[..]);
    assert_eq!(rest.payload_digest(), digest);
}

#[test]
fn every_spelling_of_base64() {
    let key = key();
    let hint = key.public_key().hint();
    let mut lengths = [false; 3];
    for resources in [2, 100] {
        for padding in 0..12 {
            let payload = payload(resources, padding);
            lengths[payload.len() % 3] = true;
            let signature = key.sign(&Pae::new(&payload).parts()).unwrap();
            for engine in [&STANDARD, &STANDARD_NO_PAD, &URL_SAFE, &URL_SAFE_NO_PAD] {
                let text = engine.encode(&payload);
                assert!(text.contains(['+', '-']) && text.contains(['/', '_']));
                keeps(&bundle(&text, &STANDARD.encode(&signature), hint), &payload);
                // Payload and signature needn't be encoded alike.
                keeps(
                    &bundle(&STANDARD.encode(&payload), &engine.encode(&signature), hint),
                    &payload,
                );
            }
        }
    }
    assert_eq!(lengths, [true; 3]);
}

/// Every character as an escape of JSON.
fn escaped(text: &str) -> String {
    text.chars().fold(String::new(), |mut all, c| {
        let _ = write!(all, "\\u{:04X}", u32::from(c));
        all
    })
}

#[test]
fn white_space_order_and_escapes() {
    let key = key();
    let hint = key.public_key().hint();
    let payload = payload(200, 1);
    let signature = STANDARD.encode(key.sign(&Pae::new(&payload).parts()).unwrap());
    let text = STANDARD.encode(&payload);
    let plain = bundle(&text, &signature, hint);
    keeps(&plain, &payload);
    keeps(&format!("\n\r\t {plain} \n\n\t"), &payload);
    for (from, to) in [
        ("\":", "\" \t\n:\r\n  "),
        (",\"", " ,\n\t\""),
        ("{", "{ "),
        // Escapes in names, and in texts beside the payload.
        ("\"payload\"", "\"p\\u0061yload\""),
        ("\"sig\"", "\"\\u0073ig\""),
        (
            "\"later\":\"ü\"",
            "\"l\\u0061ter\":\"\\u00fc\\ud83d\\ude00\\/\\n\"",
        ),
        ("application/vnd", "application\\/vnd"),
    ] {
        let spelt = plain.replace(from, to);
        assert_ne!(spelt, plain);
        keeps(&spelt, &payload);
    }
    // In the payload itself: it is decoded beside the file then.
    for spelt in [
        text.replace('/', "\\/"),
        text.replace('+', "\\u002b"),
        text.replacen('e', "\\u0065", 1),
        escaped(&text),
    ] {
        assert_ne!(spelt, text);
        keeps(&bundle(&spelt, &signature, hint), &payload);
    }
    // In the signature, and the hint.
    keeps(&bundle(&text, &escaped(&signature), hint), &payload);
    let hint = hint.replacen(|c: char| c.is_ascii_digit(), "\\u0030", 0);
    keeps(&bundle(&text, &signature, &hint), &payload);
    // Another order.
    let value: serde_json::Value = serde_json::from_str(&plain).unwrap();
    for file in [
        value.to_string(),
        serde_json::to_string_pretty(&value).unwrap(),
    ] {
        keeps(&file, &payload);
    }
}

/// What isn't base64 in one spelling is refused, so nothing has to be put back.
#[test]
fn no_other_spelling() {
    let key = key();
    let trust = Trust::Key(key.public_key().clone());
    let payload = payload(2, 1);
    let signature = STANDARD.encode(key.sign(&Pae::new(&payload).parts()).unwrap());
    let text = STANDARD.encode(&payload);
    let at = text.find(['/', '+']).unwrap();
    let mixed = format!(
        "{}{}",
        &text[..=at],
        text[at + 1..].replace('/', "_").replace('+', "-")
    );
    for spelt in [
        format!("\\n{text}"),
        format!("{text}\\n"),
        format!("{}\\n{}", &text[..64], &text[64..]),
        format!(" {text}"),
        format!("{text}===="),
        format!("{}=={}", &text[..64], &text[64..]),
        mixed,
    ] {
        let file = bundle(&spelt, &signature, key.public_key().hint());
        let error = VerifiedManifest::verify(file.into_bytes(), &trust, &ModelShape::Directory)
            .unwrap_err();
        assert!(
            error.to_string().contains("payload is not valid base64"),
            "{error}"
        );
    }
}
