//! Signing with Sigstore, through the real command line: against a stand-in on this host that
//! speaks the interfaces of certificate authority, log (both versions) and timestamp authority, and
//! answers rightly, wrongly or not at all. The reference implementation also verifies what is
//! signed here, see `tests/interop`.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::Output;
use std::sync::{Arc, Mutex};

use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1, UnparsedPublicKey};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde_json::{Value, json};
use test_support::built;
use test_support::process::Finished;
use test_support::reference::Reference;
use test_support::sigstore::der::{Key, sha256};
use test_support::sigstore::instance::{
    Entry, IDENTITY, ISSUER, Instance, Kind, NOW, Signing, b64, body, pae, statement, timestamp_of,
};

/// What goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    None,
    /// The token is refused, and the answer quotes it.
    TokenRefused,
    /// The certificate is for another key.
    OtherKey,
    /// The certificate is by an authority that isn't trusted.
    OtherAuthority,
    /// The certificate isn't in any trusted certificate log.
    OtherCertificateLog,
    /// The authority sends us, and with us the token, to the log.
    Redirect,
    EntryRefused,
    /// An entry about another statement, by another key.
    OtherEntry,
    /// The right entry, by another log.
    OtherLog,
    /// An answer that can't be understood.
    Garbage,
    TimeRefused,
    /// A time stamp over something else.
    OtherTime,
    /// A time at which the certificate wasn't valid.
    LateTime,
}

/// The services, on one port.
struct StandIn {
    instance: Instance,
    other: Instance,
    /// The version of the log.
    kind: Kind,
    fault: Fault,
    /// What was asked for: path and body.
    requests: Mutex<Vec<(String, Vec<u8>)>>,
}

impl StandIn {
    /// Serves until the test's process ends.
    fn start(kind: Kind, fault: Fault) -> (Arc<Self>, String) {
        let stand_in = Arc::new(Self {
            instance: Instance::new(),
            other: Instance::new(),
            kind,
            fault,
            requests: Mutex::new(vec![]),
        });
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let serving = Arc::clone(&stand_in);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                serving.serve(&stream.unwrap());
            }
        });
        (stand_in, url)
    }

    fn serve(&self, stream: &TcpStream) {
        let mut reader = BufReader::new(stream);
        let (mut path, mut length) = (None, 0);
        loop {
            let mut line = String::new();
            reader.read_line(&mut line).unwrap();
            let line = line.trim_end();
            if line.is_empty() {
                break;
            }
            assert!(
                !line.to_ascii_lowercase().starts_with("accept-encoding:"),
                "a packed answer may be of any size: {line}"
            );
            if path.is_none() {
                path = line
                    .strip_prefix("POST ")
                    .and_then(|rest| rest.split(' ').next())
                    .map(str::to_owned);
            }
            if let Some((name, value)) = line.split_once(": ")
                && name.eq_ignore_ascii_case("content-length")
            {
                length = value.parse().unwrap();
            }
        }
        let path = path.expect("only POST is used");
        let mut body = vec![0; length];
        reader.read_exact(&mut body).unwrap();
        let (status, answer) = self.answer(&path, &body);
        self.requests.lock().unwrap().push((path, body));
        let mut stream = stream;
        let head = format!(
            "HTTP/1.1 {status} \r\nContent-Length: {}\r\nLocation: /api/v1/log/entries\r\n\
             Connection: close\r\n\r\n",
            answer.len()
        );
        stream
            .write_all(&[head.as_bytes(), &answer].concat())
            .unwrap();
    }

    fn answer(&self, path: &str, body: &[u8]) -> (u16, Vec<u8>) {
        let json = || serde_json::from_slice(body).unwrap();
        match path {
            "/api/v2/signingCert" => self.certify(&json()),
            "/api/v1/log/entries" => self.log(&json()),
            "/api/v2/log/entries" => self.log_v2(&json()),
            "/api/v1/timestamp" => self.stamp(body),
            _ => (404, path.as_bytes().to_vec()),
        }
    }

    /// Fulcio v2.
    fn certify(&self, request: &Value) -> (u16, Vec<u8>) {
        let token = request["credentials"]["oidcIdentityToken"]
            .as_str()
            .unwrap();
        match self.fault {
            Fault::TokenRefused => return (401, format!("not valid: {token}").into_bytes()),
            Fault::Redirect => return (307, vec![]),
            _ => {}
        }
        let claims = URL_SAFE_NO_PAD
            .decode(token.split('.').nth(1).unwrap())
            .unwrap();
        let claims: Value = serde_json::from_slice(&claims).unwrap();
        let request = &request["publicKeyRequest"];
        let key = pem::parse(request["publicKey"]["content"].as_str().unwrap()).unwrap();
        let key = key.contents();
        // The signer has the key: they signed their own subject.
        let point = &key[key.len() - 65..];
        UnparsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, point)
            .verify(
                claims["email"].as_str().unwrap().as_bytes(),
                &bytes(&request["proofOfPossession"]),
            )
            .unwrap();

        let mut signing = Signing::new(&self.instance, self.kind);
        assert_eq!(
            (&claims["email"], &claims["iss"]),
            (&IDENTITY.into(), &ISSUER.into())
        );
        if self.fault != Fault::OtherKey {
            signing.certificate.spki = key.to_vec();
        }
        let authority = match self.fault {
            Fault::OtherAuthority => &self.other.authority.0,
            _ => &self.instance.authority.0,
        };
        let log = match self.fault {
            Fault::OtherCertificateLog => &self.other.certificate_log,
            _ => &self.instance.certificate_log,
        };
        let chain = [
            signing.certified_by(authority, log, NOW),
            self.instance.authority.1.clone(),
            self.instance.root.1.clone(),
        ];
        let chain: Vec<String> = chain
            .map(|der| pem::encode(&pem::Pem::new("CERTIFICATE", der)))
            .to_vec();
        let answer =
            json!({ "signedCertificateEmbeddedSct": { "chain": { "certificates": chain } } });
        (201, answer.to_string().into_bytes())
    }

    /// The entry that a log makes, in a bundle's form.
    fn entry(&self, certificate: &[u8], signature: &[u8], payload: &[u8]) -> Value {
        let body = if self.fault == Fault::OtherEntry {
            let mut other = Signing::new(&self.instance, self.kind);
            other.payload = statement("other");
            let signature = other.key.sign(&pae(&other.payload));
            body(self.kind, &other.certified(), &signature, &other.payload)
        } else {
            body(self.kind, certificate, signature, payload)
        };
        let log = match self.fault {
            Fault::OtherLog => &self.other,
            _ => &self.instance,
        };
        let time = match self.fault {
            Fault::LateTime => NOW + 3600,
            _ => NOW + 5,
        };
        Entry::new(log, self.kind, &body, time).to_json()
    }

    /// Rekor v1.
    fn log(&self, request: &Value) -> (u16, Vec<u8>) {
        match self.fault {
            Fault::EntryRefused => return (400, b"no such thing here".to_vec()),
            Fault::Garbage => return (201, b"{\"x\":".to_vec()),
            _ => {}
        }
        assert_eq!(
            (&request["kind"], &request["apiVersion"]),
            (&"dsse".into(), &"0.0.1".into())
        );
        let proposed = &request["spec"]["proposedContent"];
        let envelope: Value = serde_json::from_str(proposed["envelope"].as_str().unwrap()).unwrap();
        let certificate = pem::parse(bytes(&proposed["verifiers"][0])).unwrap();
        let entry = self.entry(
            certificate.contents(),
            &bytes(&envelope["signatures"][0]["sig"]),
            &bytes(&envelope["payload"]),
        );
        let proof = &entry["inclusionProof"];
        let hashes = proof["hashes"].as_array().unwrap().iter();
        let hashes: Vec<_> = hashes.map(|hash| hex::encode(bytes(hash))).collect();
        let answer = json!({ "f00d".repeat(16): {
            "body": entry["canonicalizedBody"],
            "integratedTime": number(&entry["integratedTime"]),
            "logID": hex::encode(bytes(&entry["logId"]["keyId"])),
            "logIndex": number(&entry["logIndex"]),
            "verification": {
                "inclusionProof": {
                    "checkpoint": proof["checkpoint"]["envelope"],
                    "hashes": hashes,
                    "logIndex": number(&proof["logIndex"]),
                    "rootHash": hex::encode(bytes(&proof["rootHash"])),
                    "treeSize": number(&proof["treeSize"]),
                },
                "signedEntryTimestamp": entry["inclusionPromise"]["signedEntryTimestamp"],
            },
        }});
        (201, answer.to_string().into_bytes())
    }

    /// Rekor v2. It is sent a digest only, so the digest is all that the entry says about the
    /// payload.
    fn log_v2(&self, request: &Value) -> (u16, Vec<u8>) {
        match self.fault {
            Fault::EntryRefused => return (400, b"no such thing here".to_vec()),
            Fault::Garbage => return (201, b"{\"x\":".to_vec()),
            _ => {}
        }
        let request = &request["hashedRekordRequestV002"];
        let signature = &request["signature"];
        let certificate = bytes(&signature["verifier"]["x509Certificate"]["rawBytes"]);
        let mut entry = self.entry(&certificate, &bytes(&signature["content"]), b"");
        if self.fault != Fault::OtherEntry {
            let mut body: Value =
                serde_json::from_slice(&bytes(&entry["canonicalizedBody"])).unwrap();
            body["spec"]["hashedRekordV002"]["data"]["digest"] = request["digest"].clone();
            let log = match self.fault {
                Fault::OtherLog => &self.other,
                _ => &self.instance,
            };
            entry = Entry::new(log, self.kind, &body, NOW + 5).to_json();
        }
        (201, entry.to_string().into_bytes())
    }

    /// RFC 3161.
    fn stamp(&self, request: &[u8]) -> (u16, Vec<u8>) {
        if self.fault == Fault::TimeRefused {
            return (500, vec![]);
        }
        // version, message imprint, nonce, and whether certificates are wanted
        let fields = elements(elements(request)[0].1);
        let digest = match self.fault {
            Fault::OtherTime => sha256(b"something else").to_vec(),
            _ => elements(fields[1].1)[1].1.to_vec(),
        };
        let nonce = fields[2].0;
        assert_eq!(nonce[0], 0x02);
        let seconds = match self.fault {
            Fault::LateTime => NOW + 3600,
            _ => NOW + 6,
        };
        (
            201,
            timestamp_of(&self.instance.timestamps.0, &digest, nonce, seconds),
        )
    }

    /// A client trust configuration for this instance. `services` are of its signing configuration.
    fn config(&self, url: &str, timestamps: bool) -> Value {
        let version = |version: u32, url: String| {
            json!([{
                "url": url,
                "majorApiVersion": version,
                "validFor": { "start": "2020-01-01T00:00:00Z" },
                "operator": "example.org",
            }])
        };
        let any = json!({ "selector": "ANY" });
        let of_log = if self.kind == Kind::HashedRekord {
            2
        } else {
            1
        };
        let mut config = json!({
            "mediaType": "application/vnd.dev.sigstore.clienttrustconfig.v0.1+json",
            "trustedRoot": self.instance.trusted_root(),
            "signingConfig": {
                "mediaType": "application/vnd.dev.sigstore.signingconfig.v0.2+json",
                "caUrls": version(1, url.to_owned()),
                "oidcUrls": [],
                "rekorTlogUrls": version(of_log, url.to_owned()),
                "rekorTlogConfig": any,
                "tsaConfig": any,
            },
        });
        if timestamps {
            config["signingConfig"]["tsaUrls"] = version(1, format!("{url}/api/v1/timestamp"));
        }
        config
    }

    /// The paths asked for, in order.
    fn asked(&self) -> Vec<String> {
        self.requests
            .lock()
            .unwrap()
            .iter()
            .map(|(path, _)| path.clone())
            .collect()
    }
}

/// Elements of DER, each as a whole and its content.
fn elements(mut der: &[u8]) -> Vec<(&[u8], &[u8])> {
    let mut found = vec![];
    while let [_, length, ..] = der {
        // Nothing here is longer.
        assert!(*length < 0x80);
        let end = 2 + usize::from(*length);
        found.push((&der[..end], &der[2..end]));
        der = &der[end..];
    }
    found
}

fn bytes(base64: &Value) -> Vec<u8> {
    STANDARD.decode(base64.as_str().unwrap()).unwrap()
}

/// An `int64`, which in JSON of protocol buffers is text.
fn number(text: &Value) -> u64 {
    text.as_str().unwrap().parse().unwrap()
}

/// A model, and what to sign it with.
struct Model {
    directory: tempfile::TempDir,
    token: String,
}

impl Model {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path().join("model");
        std::fs::create_dir_all(root.join("sub")).unwrap();
        std::fs::write(root.join("weights"), vec![7; 300_000]).unwrap();
        std::fs::write(root.join("sub/config.json"), "{}").unwrap();
        let claims = json!({ "iss": ISSUER, "sub": "1", "aud": "sigstore", "exp": 9_999_999_999_u64,
            "email": IDENTITY, "email_verified": true });
        let token = format!(
            "e30.{}.c2VjcmV0",
            URL_SAFE_NO_PAD.encode(claims.to_string())
        );
        std::fs::write(directory.path().join("token"), format!("{token}\n")).unwrap();
        Self { directory, token }
    }

    fn signature(&self) -> PathBuf {
        self.directory.path().join("model/model.sig")
    }

    fn config(&self, config: &Value) {
        std::fs::write(
            self.directory.path().join("config.json"),
            config.to_string(),
        )
        .unwrap();
    }

    fn run(&self, arguments: &[&str]) -> Output {
        let output = built::program_at_home(self.directory.path())
            .args(arguments)
            // Requests to this host must not go through a proxy.
            .env("http_proxy", "http://127.0.0.1:1")
            .env("all_proxy", "http://127.0.0.1:1")
            .output()
            .unwrap();
        for text in [&output.stdout, &output.stderr] {
            let text = String::from_utf8_lossy(text);
            assert!(!text.contains(&self.token), "the token is shown: {text}");
        }
        output
    }

    fn sign(&self, more: &[&str]) -> Output {
        let usual = [
            "sign",
            "model",
            "--trust-config",
            "config.json",
            "--hash",
            "sha256",
        ];
        self.run(&[&usual[..], more].concat())
    }

    fn done(output: &Output) -> String {
        let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
        assert!(output.status.success(), "{}", text(&output.stderr));
        text(&output.stdout)
    }

    /// Exit code 1, no signature, and what was said.
    fn refused(&self, output: &Output) -> String {
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(1), "{text}");
        assert!(output.stdout.is_empty(), "{output:?}");
        assert!(!self.signature().exists(), "{text}");
        let left = std::fs::read_dir(self.directory.path().join("model")).unwrap();
        let left: Vec<_> = left.map(|entry| entry.unwrap().file_name()).collect();
        assert!(
            !left
                .iter()
                .any(|name| name.to_string_lossy().starts_with(".model-fs-")),
            "{left:?}"
        );
        assert!(text.starts_with("error: "), "{text}");
        text
    }

    fn verify(&self, identity: &str) -> Output {
        self.run(&[
            "verify",
            "model",
            "--identity",
            identity,
            "--identity-provider",
            ISSUER,
            "--trust-config",
            "config.json",
        ])
    }
}

const FILE: [&str; 2] = ["--identity-token-file", "token"];

#[test]
fn signed_by_either_log_and_verified() {
    for (kind, timestamps, kinds) in [
        (Kind::Dsse, false, "dsse 0.0.1"),
        (Kind::Dsse, true, "dsse 0.0.1"),
        (Kind::HashedRekord, true, "hashedrekord 0.0.2"),
    ] {
        let (stand_in, url) = StandIn::start(kind, Fault::None);
        let model = Model::new();
        model.config(&stand_in.config(&url, timestamps));
        let said = Model::done(&model.sign(&FILE));
        assert!(said.contains(IDENTITY) && said.contains(ISSUER), "{said}");
        let log = if kind == Kind::Dsse {
            "/api/v1/log/entries"
        } else {
            "/api/v2/log/entries"
        };
        let mut asked = vec!["/api/v2/signingCert", log];
        asked.extend(timestamps.then_some("/api/v1/timestamp"));
        assert_eq!(stand_in.asked(), asked);

        let bundle: Value =
            serde_json::from_slice(&std::fs::read(model.signature()).unwrap()).unwrap();
        assert_eq!(
            bundle["mediaType"],
            "application/vnd.dev.sigstore.bundle.v0.3+json"
        );
        let material = &bundle["verificationMaterial"];
        let kind_version = &material["tlogEntries"][0]["kindVersion"];
        let found = format!(
            "{} {}",
            kind_version["kind"].as_str().unwrap(),
            kind_version["version"].as_str().unwrap()
        );
        assert_eq!(found, kinds);
        let stamps = &material["timestampVerificationData"]["rfc3161Timestamps"];
        assert_eq!(
            stamps.as_array().map_or(0, Vec::len),
            usize::from(timestamps)
        );
        // What is signed is what signing with a key signs.
        let payload: Value =
            serde_json::from_slice(&bytes(&bundle["dsseEnvelope"]["payload"])).unwrap();
        assert_eq!(
            payload["predicateType"],
            "https://model_signing/signature/v1.0"
        );
        assert_eq!(payload["subject"][0]["name"], "model");

        Model::done(&model.verify(IDENTITY));
        assert_eq!(model.verify("other@example.org").status.code(), Some(3));
        std::fs::write(model.directory.path().join("model/weights"), "x").unwrap();
        assert_eq!(model.verify(IDENTITY).status.code(), Some(4));
    }
}

/// What either log saw holds for the OMS reference implementation too, which asks no service
/// either.
#[test]
fn the_reference_accepts_what_is_signed() {
    let Some(reference) = Reference::get() else {
        return;
    };
    for (kind, timestamps) in [
        (Kind::Dsse, false),
        (Kind::Dsse, true),
        (Kind::HashedRekord, true),
    ] {
        let (stand_in, url) = StandIn::start(kind, Fault::None);
        let model = Model::new();
        model.config(&stand_in.config(&url, timestamps));
        Model::done(&model.sign(&FILE));
        let path = |name: &str| model.directory.path().join(name).into_os_string();
        let verify = |identity: &str| -> Finished {
            reference.run([
                "verify".into(),
                "sigstore".into(),
                path("model"),
                "--signature".into(),
                path("model/model.sig"),
                "--identity".into(),
                identity.into(),
                "--identity_provider".into(),
                ISSUER.into(),
                "--trust_config".into(),
                path("config.json"),
            ])
        };
        let what = format!("{kind:?}, {timestamps}");
        verify(IDENTITY).expect(&what);
        assert!(!verify("other@example.org").succeeded(), "{what}");
        std::fs::write(model.directory.path().join("model/weights"), "x").unwrap();
        assert!(!verify(IDENTITY).succeeded(), "{what}");
    }
}

#[test]
fn services_by_their_urls() {
    for kind in [Kind::Dsse, Kind::HashedRekord] {
        let (stand_in, url) = StandIn::start(kind, Fault::None);
        let model = Model::new();
        model.config(&stand_in.instance.trusted_root());
        let timestamps = format!("{url}/api/v1/timestamp");
        // A slash at the end of a URL is no part of it.
        let base = format!("{url}/");
        let urls = ["--fulcio-url", &base, "--rekor-url", &base];
        let more: &[&str] = match kind {
            Kind::HashedRekord => &["--rekor-version", "2", "--tsa-url", &timestamps],
            _ => &[],
        };
        Model::done(&model.sign(&[&FILE[..], &urls, more].concat()));
        Model::done(&model.verify(IDENTITY));
    }
}

#[test]
fn urls_go_before_the_configuration() {
    let (stand_in, url) = StandIn::start(Kind::Dsse, Fault::None);
    let model = Model::new();
    for (member, flag, path) in [
        ("caUrls", "--fulcio-url", ""),
        ("rekorTlogUrls", "--rekor-url", ""),
        ("tsaUrls", "--tsa-url", "/api/v1/timestamp"),
    ] {
        let mut config = stand_in.config(&url, true);
        config["signingConfig"][member][0]["url"] = "http://127.0.0.1:1".into();
        model.config(&config);
        model.refused(&model.sign(&FILE));
        let url = format!("{url}{path}");
        Model::done(&model.sign(&[&FILE[..], &[flag, &url]].concat()));
        Model::done(&model.verify(IDENTITY));
        std::fs::remove_file(model.signature()).unwrap();
    }
}

#[test]
fn a_token_on_the_command_line() {
    let (stand_in, url) = StandIn::start(Kind::Dsse, Fault::None);
    let model = Model::new();
    model.config(&stand_in.config(&url, false));
    let output = model.sign(&["--identity-token", &model.token, "-vvv"]);
    Model::done(&output);
    Model::done(&model.verify(IDENTITY));
    // The token went to the authority and nowhere else.
    for (path, body) in &*stand_in.requests.lock().unwrap() {
        let has = body
            .windows(model.token.len())
            .any(|window| window == model.token.as_bytes());
        assert_eq!(has, path == "/api/v2/signingCert", "{path}");
    }
}

#[test]
fn whatever_fails_leaves_no_signature() {
    let (authority, log, time) = ("certificate authority", "log", "timestamp authority");
    for (kind, fault, says) in [
        (Kind::Dsse, Fault::TokenRefused, [authority, "401"]),
        (Kind::Dsse, Fault::Redirect, [authority, "307"]),
        (
            Kind::Dsse,
            Fault::OtherKey,
            ["does not verify", "signature"],
        ),
        (
            Kind::Dsse,
            Fault::OtherAuthority,
            ["does not verify", "certificate is not trusted"],
        ),
        (
            Kind::Dsse,
            Fault::OtherCertificateLog,
            ["does not verify", ""],
        ),
        (Kind::Dsse, Fault::EntryRefused, [log, "no such thing here"]),
        (
            Kind::Dsse,
            Fault::OtherEntry,
            ["does not verify", "log entry"],
        ),
        (
            Kind::Dsse,
            Fault::OtherLog,
            ["does not verify", "log entry"],
        ),
        (Kind::Dsse, Fault::Garbage, [log, ""]),
        (Kind::Dsse, Fault::LateTime, ["does not verify", ""]),
        (
            Kind::HashedRekord,
            Fault::OtherKey,
            ["does not verify", "signature"],
        ),
        (
            Kind::HashedRekord,
            Fault::EntryRefused,
            [log, "no such thing here"],
        ),
        (
            Kind::HashedRekord,
            Fault::OtherEntry,
            [log, "does not match"],
        ),
        (
            Kind::HashedRekord,
            Fault::OtherLog,
            ["does not verify", "log entry"],
        ),
        (Kind::HashedRekord, Fault::Garbage, [log, ""]),
        (Kind::HashedRekord, Fault::TimeRefused, [time, "500"]),
        (Kind::HashedRekord, Fault::OtherTime, [time, ""]),
        (Kind::HashedRekord, Fault::LateTime, ["does not verify", ""]),
    ] {
        let (stand_in, url) = StandIn::start(kind, fault);
        let model = Model::new();
        model.config(&stand_in.config(&url, kind == Kind::HashedRekord));
        let said = model.refused(&model.sign(&FILE));
        for says in says {
            assert!(said.contains(says), "{kind:?} {fault:?}: {said}");
        }
        if fault == Fault::Redirect {
            assert_eq!(stand_in.asked(), ["/api/v2/signingCert"]);
        }
    }
}

#[test]
fn a_failure_keeps_an_older_signature() {
    let (stand_in, url) = StandIn::start(Kind::Dsse, Fault::EntryRefused);
    let model = Model::new();
    model.config(&stand_in.config(&url, false));
    std::fs::write(model.signature(), "older").unwrap();
    let said = model.sign(&[&FILE[..], &["--force"]].concat());
    assert_eq!(said.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&said.stderr).contains("log"));
    assert_eq!(std::fs::read(model.signature()).unwrap(), b"older");
}

#[test]
fn nobody_there() {
    let (stand_in, url) = StandIn::start(Kind::HashedRekord, Fault::None);
    let closed = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let closed = format!("http://{closed}");
    let model = Model::new();
    model.config(&stand_in.config(&url, true));
    for (flags, service) in [
        (&["--fulcio-url", &closed][..], "certificate authority"),
        (&["--rekor-url", &closed, "--rekor-version", "2"], "log"),
        (&["--tsa-url", &closed], "timestamp authority"),
    ] {
        let said = model.refused(&model.sign(&[&FILE[..], flags].concat()));
        assert!(said.contains(service) && said.contains(&closed), "{said}");
    }
}

/// Refused before anything is hashed or any service is asked.
#[test]
fn what_can_not_work_is_said_first() {
    let (stand_in, url) = StandIn::start(Kind::HashedRekord, Fault::None);
    let model = Model::new();
    let refused = |config: &Value, flags: &[&str], says: &str| {
        model.config(config);
        let said = model.refused(&model.sign(flags));
        assert!(said.contains(says), "{says}: {said}");
    };
    let good = stand_in.config(&url, true);
    let with = |flags: &[&'static str]| [&FILE[..], flags].concat();

    refused(&good, &["--identity-token", "a.b.c"], "not one of OIDC");
    let old = URL_SAFE_NO_PAD.encode(r#"{"iss":"i","sub":"s","exp":1}"#);
    refused(
        &good,
        &["--identity-token", &format!("a.{old}.c")],
        "expired",
    );
    refused(&good, &["--identity-token-file", "nowhere"], "nowhere");
    std::fs::write(model.directory.path().join("large"), vec![b'a'; 1 << 20]).unwrap();
    refused(&good, &["--identity-token-file", "large"], "large");

    let root = stand_in.instance.trusted_root();
    refused(&root, &FILE, "nothing says where to sign");
    refused(
        &root,
        &with(&["--fulcio-url", "https://f.example.org"]),
        "nothing says where to sign",
    );
    let both = [
        "--fulcio-url",
        "https://f.example.org",
        "--rekor-url",
        "https://r.example.org",
    ];
    refused(
        &root,
        &with(&[&both[..], &["--rekor-version", "2"]].concat()),
        "timestamp authority",
    );
    refused(
        &good,
        &with(&["--fulcio-url", "http://fulcio.example.org"]),
        "loopback",
    );
    refused(&good, &with(&["--rekor-url", "nonsense"]), "nonsense");
    // Without a timestamp authority, only a log of version 1 will do.
    refused(&stand_in.config(&url, false), &FILE, "no log of version 1");
    let mut several = good.clone();
    several["signingConfig"]["rekorTlogConfig"] = json!({ "selector": "EXACT", "count": 2 });
    refused(&several, &FILE, "cannot be satisfied");
    let mut ended = good.clone();
    ended["signingConfig"]["caUrls"][0]["validFor"]["end"] = "2021-01-01T00:00:00Z".into();
    refused(&ended, &FILE, "Fulcio");
    let mut malformed = good.clone();
    malformed["signingConfig"]["mediaType"] = "x".into();
    refused(&malformed, &FILE, "signing configuration is malformed");

    assert_eq!(stand_in.asked(), Vec::<String>::new());
    assert!(!model.directory.path().join("model/.model-fs").exists());
}

/// The trusted root decides, not the service that answers: the services of one instance, the root
/// of another.
#[test]
fn another_instance_does_not_sign() {
    let (stand_in, url) = StandIn::start(Kind::Dsse, Fault::None);
    let model = Model::new();
    let mut config = stand_in.config(&url, false);
    config["trustedRoot"] = stand_in.other.trusted_root();
    model.config(&config);
    let said = model.refused(&model.sign(&FILE));
    assert!(said.contains("does not verify"), "{said}");
}

#[test]
fn keys_differ_and_encodings_agree() {
    // What the stand-in itself relies on.
    let key = Key::p256();
    let spki = key.spki();
    UnparsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, &spki[spki.len() - 65..])
        .verify(b"m", &key.sign(b"m"))
        .unwrap();
    assert_eq!(b64([0xfb]), "+w==");
    assert_eq!(
        elements(&[2, 1, 5, 4, 0]),
        [(&[2, 1, 5][..], &[5][..]), (&[4, 0], &[])]
    );
}
