//! Descriptions for Kubernetes. No cluster runs here: they are checked against its own schemas.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use test_support::built;
use test_support::missing::{Need, have};
use test_support::mounted::scratch;
use test_support::process::{Finished, finish};
use test_support::python_env::{Packages, PythonEnv};

const LIMIT: Duration = Duration::from_secs(120);

/// It brings the schemas of each release.
const VALIDATOR: Packages = Packages {
    name: "kubernetes-validate",
    groups: &[&["kubernetes-validate==1.37.0"]],
};

const FILES: [&str; 2] = ["sidecar.yaml", "node.yaml"];

#[test]
fn every_yaml_file_is_tidy() {
    if have(Need::Yamllint) {
        let mut command = Command::new("yamllint");
        command.args(["--strict", "packaging", ".yamllint"]);
        let finished = finish(command.current_dir(built::repository("")), LIMIT);
        finished.expect("yamllint");
    }
}

fn validate(environment: &PythonEnv, version: &str, file: &Path) -> Finished {
    let mut command = environment.python();
    command.args([
        "-m",
        "kubernetes_validate",
        "--strict",
        "--kubernetes-version",
    ]);
    finish(command.arg(version).arg(file), LIMIT)
}

#[test]
fn kubernetes_knows_every_word_in_the_first_release_that_works_and_in_a_new_one() {
    let Some(environment) = PythonEnv::get(&VALIDATOR) else {
        return;
    };
    for file in FILES {
        let file = built::repository("packaging/kubernetes").join(file);
        for version in ["1.29", "1.37"] {
            let finished = validate(&environment, version, &file).expect("valid");
            let passed = format!("against version {version}");
            let said = format!("{}{}", finished.stdout, finished.stderr);
            assert!(said.contains(&passed), "{finished}");
        }
        // It would say so.
        let text = std::fs::read_to_string(&file).expect("read");
        let wrong = scratch();
        let copy = wrong.path().join("wrong.yaml");
        std::fs::write(&copy, text.replace("mountPropagation", "mountPropagatoin")).expect("write");
        validate(&environment, "1.37", &copy).expect_code(1, "a word that isn't known");
    }
}
