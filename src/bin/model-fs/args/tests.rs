//! The rules between flags, and that everything documented parses.

use clap::CommandFactory as _;
use clap::error::ErrorKind;

use super::sign::Hash;
use super::*;

fn parse(line: &str) -> Result<Command, clap::Error> {
    let args = std::iter::once("model-fs").chain(line.split_whitespace());
    Cli::try_parse_from(args).map(|cli| cli.command)
}

fn refused(line: &str) -> ErrorKind {
    let error = parse(line).expect_err(line);
    assert_eq!(error.exit_code(), 2, "{line}");
    error.kind()
}

#[test]
fn definition_is_sound() {
    Cli::command().debug_assert();
}

#[test]
fn everything_documented_parses() {
    for line in [
        "mount M P",
        "mount M P --public-key k.pem --signature s --ignore-paths a --ignore-paths b \
         --ignore-unsigned-files --foreground --allow-other -o ro,fsname=x --cache-size 1GiB \
         --index-dir d --threads 8 --on-violation eio --on-violation-exec /bin/true \
         --repair-from a --repair-from b --prefetch all",
        "mount M P --on-violation lockdown -o ro -o noexec",
        "mount M P --certificate-chain a.pem b.pem --foreground",
        "mount M P --certificate-chain a.pem --certificate-chain b.pem",
        "mount M P --identity i --identity-provider https://p --trust-config t.json",
        "umount P",
        "warm P",
        "warm P a b/c --wait",
        "mount M P --pid-file f --metrics-listen 9100 --metrics-file m.prom",
        "attest P --private-key k",
        "attest P --private-key k --password-file f --output o --with-violations --force",
        "status",
        "status --check --json",
        "status P --watch --json",
        "status P",
        "status P --json",
        "verify M",
        "verify M --public-key k --signature s --ignore-paths a --ignore-unsigned-files --json",
        "verify --certificate-chain=a.pem M",
        "verify --public-key k M",
        "sign M --private-key k",
        "sign M --private-key k --password-file f --signing-certificate c --certificate-chain a \
         --certificate-chain b --signature s --hash sha256 --shard-size 64KiB --compat reference \
         --ignore-paths p --allow-symlinks --force",
        "sign M --identity-token-file t",
        "sign M --identity-token t --trust-config c --hash sha256",
        "sign M --identity-token-file t --trust-config c --fulcio-url u --rekor-url u \
         --rekor-version 2 --tsa-url u",
        "sign M --private-key k --hash blake2b",
        "sign M --private-key k --compat reference",
        "sign M --private-key k --hash blake3 --shard-size 1MB",
        "index M",
        "index M --public-key k --signature s --index-dir d",
        "inspect M",
        "inspect S --json",
        "trust list",
        "trust add --public-key k",
        "trust add --identity i --identity-provider p --name n",
        "trust add --certificate-chain c d --model-name m --model-path /m/** --root-digest 00",
        "trust add --system --public-key k",
        "trust add --public-key k --payload-digest 00 --payload-digest 11 --payload-of m",
        "trust remove --system n",
        "trust remove n --force",
        "trust distrust n",
        "trust remove n",
        "demo",
        "-v demo",
        "demo -vv --log-file f --log-format json",
    ] {
        parse(line).unwrap_or_else(|error| panic!("{line}: {error}"));
    }
}

#[test]
fn rules_between_flags_hold() {
    for line in [
        "verify M --public-key k --certificate-chain c",
        "verify M --public-key k --identity i --identity-provider p",
        "verify M --certificate-chain c --identity i --identity-provider p",
        "verify M --public-key k --trust-config t",
        "verify M --public-key k --public-key l",
        "verify M --identity-provider p",
        "verify M --identity i",
        "attest P",
        "attest --private-key k",
        "attest P --private-key k --force",
        "attest P --identity-token t",
        "sign M",
        "sign M --private-key k --identity-token t",
        "sign M --private-key k --identity-token-file t",
        "sign M --identity-token t --identity-token-file t",
        "sign M --private-key k --trust-config c",
        "sign M --private-key k --fulcio-url u",
        "sign M --private-key k --rekor-url u --rekor-version 2",
        "sign M --private-key k --rekor-version 2",
        "sign M --private-key k --tsa-url u",
        "sign M --private-key k --password-file f --identity-token-file t",
        "sign M --identity-token-file t --signing-certificate c --certificate-chain c",
        "sign M --identity-token t --password-file f",
        "sign M --identity-token t --signing-certificate c",
        "sign M --identity-token t --certificate-chain c",
        "sign M --identity-token t --fulcio-url u",
        "sign M --identity-token t --trust-config c --rekor-version 2",
        "sign M --identity-token t --trust-config c --rekor-url u --rekor-version 3",
        "sign M --private-key k --certificate-chain c",
        "sign M --private-key k --shard-size 0",
        "sign M --private-key k --hash md5",
        "mount M",
        "mount M P --cache-size 64K",
        "mount M P --threads 0",
        "mount M P --on-violation ignore",
        "umount",
        "trust",
        "frobnicate",
        "mount M P --no-verify",
        "verify M --ignore-git-paths",
    ] {
        refused(line);
    }
    assert_eq!(
        refused("verify M --public-key k --certificate-chain c"),
        ErrorKind::ArgumentConflict
    );
}

#[cfg(feature = "pkcs11")]
#[test]
fn a_key_lies_in_a_file_or_on_a_token() {
    for line in [
        "sign M --pkcs11-uri pkcs11:id=a",
        "sign M --pkcs11-uri pkcs11:id=a --pkcs11-module m.so --password-file f \
         --signing-certificate c --certificate-chain a",
    ] {
        match parse(line).unwrap() {
            Command::Sign(args) => {
                let signer = args.signer();
                assert!(matches!(signer, Signer::Key(KeyPlace::Token { .. })));
            }
            other => panic!("{other:?}"),
        }
    }
    for line in [
        "sign M --private-key k --pkcs11-uri pkcs11:id=a",
        "sign M --private-key k --pkcs11-module m.so",
        "sign M --pkcs11-module m.so",
        "sign M --pkcs11-uri pkcs11:id=a --pkcs11-uri pkcs11:id=b",
        "sign M --pkcs11-uri pkcs11:id=a --identity-token t",
        "sign M --pkcs11-uri pkcs11:id=a --identity-token-file t",
        "sign M --pkcs11-uri pkcs11:id=a --trust-config c",
        "sign M --pkcs11-uri pkcs11:id=a --fulcio-url u",
        "sign M --pkcs11-uri pkcs11:id=a --rekor-url u",
        "sign M --pkcs11-uri pkcs11:id=a --rekor-version 2",
        "sign M --pkcs11-uri pkcs11:id=a --tsa-url u",
        "sign M --identity-token t --pkcs11-module m.so",
        "sign M --identity-token-file t --pkcs11-module m.so",
    ] {
        refused(line);
    }
    let args = parse("sign M --pkcs11-uri pkcs11:id=a?pin-value=847261").unwrap();
    assert!(!format!("{args:?}").contains("847261"));
}

#[cfg(not(feature = "pkcs11"))]
#[test]
fn tokens_need_their_feature() {
    refused("sign M --pkcs11-uri pkcs11:id=a");
}

#[test]
fn a_token_is_not_shown() {
    let parsed = parse("sign M --identity-token sesame").unwrap();
    assert!(!format!("{parsed:?}").contains("sesame"), "{parsed:?}");
    match parsed {
        Command::Sign(args) => match args.signer() {
            Signer::IdentityToken(token) => assert_eq!(token.expose(), "sesame"),
            other => panic!("{other:?}"),
        },
        other => panic!("{other:?}"),
    }
    for line in [
        "sign M --identity-token sesame --private-key k",
        "sign M --identity-token sesame --identity-token sesame",
        "sign M --identity-token sesame --frobnicate",
        "sign --identity-token sesame",
    ] {
        let error = parse(line).unwrap_err().to_string();
        assert!(!error.contains("sesame"), "{error}");
    }
}

#[test]
fn trust_is_one_of() {
    let trust = |flags: &str| match parse(&format!("verify M {flags}")).unwrap() {
        Command::Verify(args) => args.trust.chosen(),
        other => panic!("{other:?}"),
    };
    assert_eq!(trust(""), Trust::Store);
    assert_eq!(trust("--public-key k"), Trust::PublicKey("k".into()));
    assert_eq!(
        trust("--certificate-chain a b --certificate-chain c"),
        Trust::CertificateChain(vec!["a".into(), "b".into(), "c".into()])
    );
    assert_eq!(
        trust("--identity i --identity-provider p --trust-config t"),
        Trust::Identity {
            identity: "i".into(),
            provider: "p".into(),
            trust_config: Some("t".into()),
        }
    );
}

#[test]
fn defaults_are_the_documented_ones() {
    for (options, hash) in [
        ("", Some(Hash::Sha256)),
        ("--compat reference", Some(Hash::Sha256)),
        ("--hash blake3", Some(Hash::Blake3)),
        ("--compat reference --hash blake2b", Some(Hash::Blake2b)),
        ("--compat reference --hash blake3", None),
    ] {
        match parse(&format!("sign M --private-key k {options}")).unwrap() {
            Command::Sign(args) => {
                assert_eq!(args.hash(), hash, "{options}");
                assert!(!args.force);
            }
            other => panic!("{other:?}"),
        }
    }
    match parse("mount M P --cache-size 1GB").unwrap() {
        Command::Mount(args) => {
            assert_eq!(args.on_violation, OnViolation::Eio);
            assert!(!args.foreground);
            assert_eq!(args.cache_size.unwrap().bytes(), 1_000_000_000);
        }
        other => panic!("{other:?}"),
    }
}
