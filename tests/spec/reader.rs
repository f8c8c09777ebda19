//! The reader in Python.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use serde::Deserialize;
use serde_json::Value;
use test_support::built;
use test_support::process::{Finished, finish};
use test_support::python_env::{LAZY_READER, PythonEnv};

use crate::model::{Outcomes, Range};

const LIMIT: Duration = Duration::from_secs(600);

/// Where the specification and all that belongs to it lie.
pub(crate) fn spec() -> PathBuf {
    built::repository("docs/spec")
}

/// The reader, ready to be called.
pub(crate) struct Reader(PythonEnv);

/// What it found out about a model.
#[derive(Debug, Deserialize)]
pub(crate) struct Found {
    pub(crate) verdict: String,
    #[serde(default)]
    pub(crate) differences: Value,
    /// Absent where there is no statement to read by.
    #[serde(default)]
    pub(crate) reads: Vec<Outcomes>,
}

impl Reader {
    /// `None` only where the tests were switched off.
    pub(crate) fn get() -> Option<Self> {
        PythonEnv::get(&LAZY_READER).map(Self)
    }

    /// Runs a Python script of the specification.
    pub(crate) fn run_script(&self, script: &str, argument: &Path) -> Finished {
        let mut command = self.0.python();
        command.arg(spec().join(script)).arg(argument);
        finish(&mut command, LIMIT)
    }

    /// Runs one verb of the reader.
    pub(crate) fn run(&self, verb: &str, arguments: &[&Path]) -> Finished {
        finish(self.command().arg(verb).args(arguments), LIMIT)
    }

    fn command(&self) -> Command {
        let mut command = self.0.python();
        let path = [self.0.folder(), &spec().join("reader")].map(Path::to_owned);
        let path = std::env::join_paths(path).expect("paths without colons");
        command.env("PYTHONPATH", path).args(["-m", "lazy_reader"]);
        command
    }

    /// Judges many models in one process.
    pub(crate) fn judge(&self, key: &Path, models: &[(PathBuf, Vec<Range>)]) -> Vec<Found> {
        let mut asked = Vec::new();
        for (model, reads) in models {
            let line = serde_json::json!({"model": model, "reads": reads});
            writeln!(asked, "{line}").expect("write to memory");
        }
        let folder = test_support::mounted::scratch();
        let list = folder.path().join("asked");
        std::fs::write(&list, asked).expect("write what is asked");
        let mut command = self.command();
        command.arg("judge").arg("--public-key").arg(key);
        command.stdin(Stdio::from(std::fs::File::open(&list).expect("a file")));
        let done = command.output().expect("run the reader");
        let told = String::from_utf8_lossy(&done.stderr);
        assert!(done.status.success(), "the reader failed: {told}");
        let answers = String::from_utf8(done.stdout).expect("text");
        let parse = |line| serde_json::from_str(line).expect("an answer of the reader");
        answers.lines().map(parse).collect()
    }
}
