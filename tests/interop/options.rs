//! Ignored paths and symbolic links, through both command lines.

use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use tempfile::TempDir;
use test_support::mounted::{model_fs, scratch};
use test_support::process::Finished;
use test_support::reference::{Keys, Reference};

/// A model directory to sign, and both command lines with one key.
struct Signing {
    folder: TempDir,
    keys: Keys,
    reference: Reference,
}

/// Which of the two command lines is run.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Side {
    Here,
    There,
}

const SIDES: [Side; 2] = [Side::Here, Side::There];

impl Signing {
    /// `None` only where the tests were switched off.
    fn new() -> Option<Self> {
        let reference = Reference::get()?;
        let folder = scratch();
        let signing = Self {
            keys: reference.keys(folder.path(), "P-256", &[]),
            reference,
            folder,
        };
        for name in [
            "weights.bin",
            "ignored/by-name",
            "sub/.git/config",
            "sub/skipped",
        ] {
            let path = signing.model().join(name);
            fs::create_dir_all(path.parent().expect("in a folder")).expect("mkdir");
            fs::write(path, name).expect("write a file");
        }
        Some(signing)
    }

    fn model(&self) -> PathBuf {
        self.folder.path().join("model")
    }

    fn sign(&self, side: Side, options: &[&Path]) -> Finished {
        let flag = ["--private-key", "--private_key"];
        self.call("sign", side, flag, &self.keys.private, options)
    }

    fn verify(&self, side: Side, options: &[&Path]) -> Finished {
        let flag = ["--public-key", "--public_key"];
        self.call("verify", side, flag, &self.keys.public, options)
    }

    fn call(
        &self,
        verb: &str,
        side: Side,
        [ours, theirs]: [&str; 2],
        key: &Path,
        options: &[&Path],
    ) -> Finished {
        let mut words: Vec<OsString> = vec![verb.into()];
        if side == Side::There {
            words.push("key".into());
        }
        words.push(self.model().into());
        words.extend(["--signature".into(), self.model().join("model.sig").into()]);
        let flag = if side == Side::Here { ours } else { theirs };
        words.extend([flag.into(), key.into()]);
        if (verb, side) == ("sign", Side::Here) {
            words.extend(["--hash".into(), "sha256".into()]);
        }
        words.extend(options.iter().map(OsString::from));
        match side {
            Side::Here => model_fs(words),
            Side::There => self.reference.run(words),
        }
    }

    #[track_caller]
    fn must_refuse(&self, side: Side, options: &[&Path], what: &str) {
        let verified = self.verify(side, options);
        assert!(!verified.succeeded(), "{what}: {verified}");
        if side == Side::Here {
            verified.expect_code(4, what);
        }
    }
}

#[test]
fn ignored_paths_are_recorded_and_ignored_on_both_sides() {
    for signer in SIDES {
        let Some(signing) = Signing::new() else {
            return;
        };
        let (one, two) = (
            signing.model().join("ignored"),
            signing.model().join("sub/skipped"),
        );
        let flag = Path::new("--ignore-paths");
        signing
            .sign(signer, &[flag, &one, flag, &two])
            .expect("sign");
        for verifier in SIDES {
            let what = format!("signed {signer:?}, verified {verifier:?}");
            // Without being told: the signature says what was left out.
            signing.verify(verifier, &[]).expect(&what);
            fs::write(one.join("more"), "x").expect("write a file");
            fs::write(&two, "changed").expect("write a file");
            signing.verify(verifier, &[]).expect(&what);
            // A neighbour whose name begins in the same way isn't ignored.
            let neighbour = signing.model().join("ignored-not");
            fs::write(&neighbour, "x").expect("write a file");
            signing.must_refuse(verifier, &[], &what);
            signing
                .verify(verifier, &[flag, &neighbour])
                .expect("ignored by the one who verifies");
            fs::remove_file(neighbour).expect("remove a file");
            // The verifier can't leave out what is signed.
            let signed = signing.model().join("weights.bin");
            signing.must_refuse(verifier, &[flag, &signed], &what);
        }
    }
}

#[test]
fn links_are_signed_as_what_they_lead_to() {
    for signer in SIDES {
        let Some(signing) = Signing::new() else {
            return;
        };
        symlink("weights.bin", signing.model().join("link.bin")).expect("make a link");
        let flag = Path::new("--allow_symlinks");
        let flag_of = |side| match side {
            Side::Here => Path::new("--allow-symlinks"),
            Side::There => flag,
        };
        let refused = signing.sign(signer, &[]);
        assert!(
            !refused.succeeded(),
            "{signer:?} signs a link unasked: {refused}"
        );
        signing.sign(signer, &[flag_of(signer)]).expect("sign");
        // Here the signature says so; the reference wants to be told again.
        signing.verify(Side::Here, &[]).expect("verify here");
        signing.verify(Side::There, &[flag]).expect("verify there");

        fs::remove_file(signing.model().join("link.bin")).expect("remove a link");
        symlink("sub/skipped", signing.model().join("link.bin")).expect("make a link");
        signing.must_refuse(Side::Here, &[], "a link to something else");
        signing.must_refuse(Side::There, &[flag], "a link to something else");
    }
}
