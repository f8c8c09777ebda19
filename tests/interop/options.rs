//! Ignored paths, symbolic links and single files, through both command lines.

use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use crate::mounted::{model_fs, scratch};
use crate::process::Finished;
use crate::reference::{Keys, Reference};

/// Something to sign, and both command lines with one key.
struct Signing {
    folder: TempDir,
    keys: Keys,
    reference: Reference,
    model: PathBuf,
    signature: PathBuf,
}

/// Who does it.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Side {
    Here,
    There,
}

const SIDES: [Side; 2] = [Side::Here, Side::There];

impl Signing {
    /// `None` only where the tests were switched off.
    fn new(model: &str, signature: &str) -> Option<Self> {
        let reference = Reference::get()?;
        let folder = scratch();
        Some(Self {
            keys: reference.keys(folder.path(), "P-256", &[]),
            model: folder.path().join(model),
            signature: folder.path().join(signature),
            reference,
            folder,
        })
    }

    fn directory() -> Option<Self> {
        let signing = Self::new("model", "model/model.sig")?;
        for name in [
            "weights.bin",
            "ignored/by-name",
            "sub/.git/config",
            "sub/skipped",
        ] {
            let path = signing.model.join(name);
            fs::create_dir_all(path.parent().expect("in a folder")).expect("mkdir");
            fs::write(path, name).expect("write a file");
        }
        Some(signing)
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
        words.push(self.model.clone().into());
        words.extend(["--signature".into(), self.signature.clone().into()]);
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
        let Some(signing) = Signing::directory() else {
            return;
        };
        let (one, two) = (
            signing.model.join("ignored"),
            signing.model.join("sub/skipped"),
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
            // A neighbour of the same beginning isn't ignored.
            let neighbour = signing.model.join("ignored-not");
            fs::write(&neighbour, "x").expect("write a file");
            signing.must_refuse(verifier, &[], &what);
            signing
                .verify(verifier, &[flag, &neighbour])
                .expect("ignored by the one who verifies");
            fs::remove_file(neighbour).expect("remove a file");
        }
    }
}

#[test]
fn links_are_signed_as_what_they_lead_to() {
    for signer in SIDES {
        let Some(signing) = Signing::directory() else {
            return;
        };
        symlink("weights.bin", signing.model.join("link.bin")).expect("make a link");
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

        fs::remove_file(signing.model.join("link.bin")).expect("remove a link");
        symlink("sub/skipped", signing.model.join("link.bin")).expect("make a link");
        signing.must_refuse(Side::Here, &[], "a link to something else");
        signing.must_refuse(Side::There, &[flag], "a link to something else");
    }
}

/// The specification names the file by its basename. The reference calls it `.`, so neither side
/// verifies what the other signed, and a path of `.` stays refused here.
#[test]
fn a_single_file_has_another_name_there() {
    let Some(signing) = Signing::new("model.gguf", "model.gguf.sig") else {
        return;
    };
    fs::write(&signing.model, [5; 4097]).expect("write a file");
    fs::write(signing.folder.path().join("beside"), "not signed").expect("write a file");
    signing.sign(Side::Here, &[]).expect("sign here");
    signing.verify(Side::Here, &[]).expect("verify here");
    signing.must_refuse(Side::There, &[], "the basename");
    fs::write(&signing.model, [6; 4097]).expect("write a file");
    signing.must_refuse(Side::Here, &[], "a changed file");

    signing.sign(Side::There, &[]).expect("sign there");
    signing.verify(Side::There, &[]).expect("verify there");
    let refused = signing.verify(Side::Here, &[]);
    let refused = refused.expect_code(3, "a file that is called `.`");
    assert!(refused.stderr.contains("\".\" component"), "{refused}");
}
