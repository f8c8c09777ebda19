//! Keys, signatures and verdicts of the OMS reference implementation (`reference.py`).

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::process::{Finished, finish};
use crate::python_env::{PythonEnv, REFERENCE};

const LIMIT: Duration = Duration::from_secs(120);
const REJECTED: i32 = 3;

/// The reference maps files to hash them with blake3; a byte that a mount refuses then kills it.
const SIGBUS: i32 = 7;

/// Where a model's signature usually is.
fn signature_of(model: &Path) -> PathBuf {
    if model.is_file() {
        let mut signature = model.as_os_str().to_owned();
        signature.push(".sig");
        signature.into()
    } else {
        model.join("model.sig")
    }
}

/// `reference.py`, which calls the reference implementation's Python interface.
pub fn script() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("reference.py")
}

/// A key pair in two PEM files.
pub struct Keys {
    pub private: PathBuf,
    pub public: PathBuf,
}

/// The reference implementation, ready to be called.
#[derive(Clone)]
pub struct Reference(PythonEnv);

impl Reference {
    /// `None` only where the tests were switched off.
    pub fn get() -> Option<Self> {
        PythonEnv::get(&REFERENCE).map(Self)
    }

    /// A fresh key pair; `extra` holds further options of `reference.py keys`.
    pub fn keys(&self, folder: &Path, curve: &str, extra: &[&str]) -> Keys {
        let keys = Keys {
            private: folder.join("private.pem"),
            public: folder.join("public.pem"),
        };
        let mut command = self.script("keys");
        command.args(["--curve", curve]).args(extra);
        command.arg("--private-key").arg(&keys.private);
        command.arg("--public-key").arg(&keys.public);
        finish(&mut command, LIMIT).expect("make a key pair");
        keys
    }

    /// Signs as a publisher does: the reference's own command line, which means files and sha256.
    pub fn sign_by_command_line(&self, model: &Path, keys: &Keys) {
        let mut command = self.command_line("sign", model);
        command.arg("--private_key").arg(&keys.private);
        finish(&mut command, LIMIT).expect("sign with the reference's command line");
    }
}

/// What only the tests of interoperation need.
impl Reference {
    /// Signs through the Python interface; `form` holds options such as `--method` and `--hash`.
    pub fn sign(&self, model: &Path, keys: &Keys, form: &[&str]) {
        let mut command = self.script("sign");
        command.arg(model).args(form);
        command.arg("--signature").arg(signature_of(model));
        command.arg("--private-key").arg(&keys.private);
        finish(&mut command, LIMIT).expect("sign with the reference's Python interface");
    }

    /// Whether the Python interface accepts the model. Trouble that isn't a verdict is a failure.
    pub fn accepts(&self, model: &Path, keys: &Keys, form: &[&str]) -> Verdict {
        let mut command = self.script("verify");
        command.arg(model).args(form);
        command.arg("--signature").arg(signature_of(model));
        command.arg("--public-key").arg(&keys.public);
        Verdict::of(finish(&mut command, LIMIT), REJECTED)
    }

    /// Runs the reference's command line.
    pub fn run<S: AsRef<std::ffi::OsStr>>(
        &self,
        arguments: impl IntoIterator<Item = S>,
    ) -> Finished {
        let mut command = self.0.python();
        command.args(["-m", "model_signing"]).args(arguments);
        finish(&mut command, LIMIT)
    }

    /// Whether the reference's command line accepts the model.
    pub fn command_line_accepts(&self, model: &Path, keys: &Keys) -> Verdict {
        let mut command = self.command_line("verify", model);
        command.arg("--public_key").arg(&keys.public);
        Verdict::of(finish(&mut command, LIMIT), 1)
    }
}

impl Reference {
    fn script(&self, verb: &str) -> Command {
        let mut command = self.0.python();
        command.arg(script()).arg(verb);
        command
    }

    fn command_line(&self, verb: &str, model: &Path) -> Command {
        let mut command = self.0.python();
        command
            .args(["-m", "model_signing", verb, "key"])
            .arg(model);
        command.arg("--signature").arg(signature_of(model));
        command
    }
}

/// What the reference says about a model.
pub struct Verdict {
    accepted: bool,
    said: Finished,
}

impl Verdict {
    fn of(said: Finished, rejected: i32) -> Self {
        let accepted = said.succeeded();
        assert!(
            accepted || said.code() == Some(rejected) || said.killed_by(SIGBUS),
            "the reference came to no verdict: {said}"
        );
        Self { accepted, said }
    }

    /// Fails unless the model was accepted.
    #[track_caller]
    pub fn must_accept(&self, what: &str) {
        assert!(
            self.accepted,
            "{what}: the reference rejects it: {}",
            self.said
        );
    }

    /// Fails unless the model was rejected, with a reason in which `because` occurs.
    #[track_caller]
    pub fn must_reject(&self, because: &str, what: &str) {
        assert!(!self.accepted, "{what}: the reference accepts it");
        assert!(
            self.said.stderr.contains(because)
                || self.said.stdout.contains(because)
                || self.said.killed_by(SIGBUS),
            "{what}: rejected, but not because of {because:?}: {}",
            self.said
        );
    }
}
