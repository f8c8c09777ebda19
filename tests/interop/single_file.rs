//! Models that are a file, not a directory.
//!
//! The specification wants the file's own name in the manifest (OMS v1.0, 6.1.2), the reference
//! writes and wants `.`. We write the name, and `.` with `--compat reference`; and accept both.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;
use test_support::missing::{Need, have};
use test_support::mounted::{Mounted, flip, model_fs, scratch};
use test_support::process::{Finished, finish};
use test_support::reference::{Keys, Reference};

use crate::{Form, LIMIT};

const NAME: &str = "model.gguf";

/// A file to sign, with another beside it.
struct SingleFile {
    folder: TempDir,
    keys: Keys,
    reference: Reference,
}

impl SingleFile {
    /// `None` only where the tests were switched off.
    fn new() -> Option<Self> {
        if !have(Need::Fuse) {
            return None;
        }
        let reference = Reference::get()?;
        let folder = scratch();
        let model = Self {
            keys: reference.keys(folder.path(), "P-256", &[]),
            folder,
            reference,
        };
        fs::write(model.path(NAME), [5; 4097]).expect("write a file");
        fs::write(model.path("beside"), "not signed").expect("write a file");
        Some(model)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Signs here, for the reference with the options that it needs.
    fn sign(&self, options: &[&str]) {
        let (model, key) = (self.path(NAME), &self.keys.private);
        let words = [Path::new("sign"), &model, Path::new("--private-key"), key];
        model_fs(words.into_iter().chain(options.iter().map(Path::new))).expect("sign");
    }

    fn verify(&self, name: &str) -> Finished {
        let (model, key) = (self.path(name), &self.keys.public);
        model_fs([Path::new("verify"), &model, Path::new("--public-key"), key])
    }

    /// The model verifies here, mounted and not, under any name, and no longer once it is changed.
    fn must_hold_here(&self, what: &str) {
        self.verify(NAME).expect(what);
        let renamed = "renamed.gguf";
        for [from, to] in [[NAME, renamed], [renamed, NAME]] {
            let index = scratch();
            let mounted = Mounted::new(&self.path(from), &self.keys.public, index.path());
            let mut list = Command::new("ls");
            let listed = finish(list.arg("-A").arg(mounted.path()), LIMIT).expect("list a mount");
            let names: Vec<_> = listed.stdout.lines().collect();
            assert_eq!(names, [from, &format!("{from}.sig")], "{what}");
            let mut compare = Command::new("cmp");
            compare.arg(self.path(from)).arg(mounted.path().join(from));
            finish(&mut compare, LIMIT).expect(what);
            mounted.unmount();
            for end in ["", ".sig"] {
                let (from, to) = (format!("{from}{end}"), format!("{to}{end}"));
                fs::rename(self.path(&from), self.path(&to)).expect("rename a file");
            }
        }
        flip(&self.path(NAME), 4096);
        self.verify(NAME).expect_code(4, what);
        flip(&self.path(NAME), 4096);
    }

    /// The reference accepts the model, mounted here and not, and no longer once it is changed.
    fn must_hold_there(&self, form: Form, what: &str) {
        let accepts = |model: &Path| self.reference.accepts(model, &self.keys, &form.theirs());
        accepts(&self.path(NAME)).must_accept(what);
        let index = scratch();
        let mounted = Mounted::new(&self.path(NAME), &self.keys.public, index.path());
        accepts(&mounted.path().join(NAME)).must_accept(what);
        mounted.unmount();
        flip(&self.path(NAME), 4096);
        accepts(&self.path(NAME)).must_reject("Hash mismatch", what);
        flip(&self.path(NAME), 4096);
    }
}

#[test]
fn signed_there_a_single_file_holds_here() {
    for form in [Form::Sha256, Form::Blake3, Form::Sha256Shards] {
        let Some(model) = SingleFile::new() else {
            return;
        };
        let what = format!("{form:?}, signed there");
        model
            .reference
            .sign(&model.path(NAME), &model.keys, &form.theirs());
        model.must_hold_there(form, &what);
        model.must_hold_here(&what);
    }
}

#[test]
fn signed_here_for_the_reference_a_single_file_holds_there() {
    for form in [Form::Sha256, Form::Blake2b, Form::Sha256Shards] {
        let Some(model) = SingleFile::new() else {
            return;
        };
        let what = format!("{form:?}, signed here");
        let mut options = form.ours();
        if !form.is_sharded() {
            options.extend(["--compat", "reference"]);
        }
        model.sign(&options);
        model.must_hold_there(form, &what);
        model.must_hold_here(&what);
    }
}

/// As the specification has it, and not as the reference reads it.
#[test]
fn signed_here_by_the_text_a_single_file_has_its_own_name() {
    let Some(model) = SingleFile::new() else {
        return;
    };
    model.sign(&["--hash", "sha256"]);
    model.verify(NAME).expect("verify here");
    model
        .reference
        .command_line_accepts(&model.path(NAME), &model.keys)
        .must_reject(NAME, "the file's own name");
}

/// A manifest whose only name is `.` describes no directory, not even one with a single file.
#[test]
fn a_directory_with_the_signature_of_a_file_is_refused() {
    let Some(model) = SingleFile::new() else {
        return;
    };
    model
        .reference
        .sign_by_command_line(&model.path(NAME), &model.keys);
    let directory = model.path("directory");
    fs::create_dir(&directory).expect("mkdir");
    fs::rename(model.path(NAME), directory.join(NAME)).expect("move a file");
    fs::rename(
        model.path(&format!("{NAME}.sig")),
        directory.join("model.sig"),
    )
    .expect("move a signature");
    let refused = model.verify("directory").expect_code(3, "a directory");
    assert!(refused.stderr.contains("\".\" component"), "{refused}");
}
