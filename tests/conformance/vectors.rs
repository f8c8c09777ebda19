//! Bundles of other implementations, each judged as its `config.json` says.
//!
//! They lie outside of the project, in `../shared/vectors` or where `MODEL_FS_VECTORS` says. Where
//! they are absent that is said, and the tests pass.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use serde_json::Value;
use test_support::missing::vectors;
use test_support::mounted::{flip, scratch};
use test_support::process::finish;

use crate::program::Home;

/// How many of each kind must have been judged, so that a missing folder is noticed.
const AT_LEAST_PASS: usize = 6;
const AT_LEAST_FAIL: usize = 2;

struct Case {
    root: PathBuf,
    folder: PathBuf,
    config: Value,
}

impl Case {
    /// `None` where there are no vectors.
    fn all() -> Option<Vec<Self>> {
        let root = vectors()?;
        let mut cases = Vec::new();
        for entry in fs::read_dir(&root).expect("list the vectors") {
            let folder = entry.expect("list the vectors").path();
            let config = folder.join("config.json");
            // `keys` and `model-simple` have none: they are no cases.
            if config.exists() {
                let config = fs::read(&config).expect("read a configuration");
                cases.push(Self {
                    root: root.clone(),
                    config: serde_json::from_slice(&config).expect("a configuration is JSON"),
                    folder,
                });
            }
        }
        cases.sort_by(|a, b| a.folder.cmp(&b.folder));
        Some(cases)
    }

    fn name(&self) -> String {
        self.folder.display().to_string()
    }

    fn passes(&self) -> bool {
        match self.config["expect"].as_str() {
            None | Some("pass") => true,
            Some("fail") => false,
            Some(other) => panic!("{}: expects {other:?}", self.name()),
        }
    }

    fn model(&self) -> PathBuf {
        match (
            self.text("model"),
            self.config["model_relative_to"].as_str(),
        ) {
            (model, Some("test_dir")) => self.folder.join(model),
            ("models/simple", None) => self.root.join("model-simple"),
            other => panic!("{}: model {other:?}", self.name()),
        }
    }

    fn text(&self, member: &str) -> &str {
        self.config[member].as_str().expect("a text")
    }

    fn key(&self, name: &str) -> String {
        let name = Path::new(name).file_name().expect("a file name");
        self.root.join("keys").join(name).display().to_string()
    }

    /// The options that the configuration asks for.
    fn trust(&self) -> Vec<String> {
        let verify = &self.config["verify"];
        let text = |member: &str| verify[member].as_str().expect("a text").to_owned();
        match self.text("method") {
            "key" => vec!["--public-key".into(), self.key(&text("public_key"))],
            "certificate" => verify["cert_chain"]
                .as_array()
                .expect("certificates")
                .iter()
                .flat_map(|path| {
                    let path = path.as_str().expect("a path");
                    ["--certificate-chain".to_owned(), self.key(path)]
                })
                .collect(),
            "sigstore" => sigstore(&text("identity"), &text("identity_provider")),
            other => panic!("{}: method {other:?}", self.name()),
        }
    }

    /// Options that trust other signers only, by the same method and by others.
    fn wrong_trust(&self) -> Vec<Vec<String>> {
        let key = vec!["--public-key".to_owned(), self.key("wrong-key-pub.pem")];
        let ca = vec![
            "--certificate-chain".to_owned(),
            self.key("wrong-ca-cert.pem"),
        ];
        let verify = &self.config["verify"];
        let identity = verify["identity"].as_str().unwrap_or("a@example.com");
        let provider = verify["identity_provider"]
            .as_str()
            .unwrap_or("https://example.com");
        vec![
            key,
            ca,
            sigstore(&format!("x{identity}"), provider),
            sigstore(identity, &format!("{provider}/")),
            // The trust store, which is empty.
            Vec::new(),
        ]
    }

    fn ignored(&self) -> Vec<String> {
        let paths = self.config["verify"]["ignore_paths"].as_array();
        let paths = paths.into_iter().flatten();
        paths
            .flat_map(|path| {
                let path = path.as_str().expect("a path");
                ["--ignore-paths".to_owned(), path.to_owned()]
            })
            .collect()
    }

    fn arguments(&self, model: &Path, trust: &[String]) -> Vec<String> {
        let bundle = self.folder.join("bundle.sig");
        let mut arguments = vec![
            "verify".to_owned(),
            model.display().to_string(),
            "--signature".to_owned(),
            bundle.display().to_string(),
        ];
        arguments.extend_from_slice(trust);
        arguments.extend(self.ignored());
        arguments
    }
}

fn sigstore(identity: &str, provider: &str) -> Vec<String> {
    ["--identity", identity, "--identity-provider", provider]
        .map(str::to_owned)
        .into()
}

#[test]
fn each_is_judged_as_its_configuration_says() {
    let Some(cases) = Case::all() else { return };
    let home = Home::new();
    let (mut passed, mut failed) = (0, 0);
    for case in &cases {
        let expected = if case.passes() { 0 } else { 3 };
        home.run(case.arguments(&case.model(), &case.trust()))
            .expect_code(expected, &case.name());
        *(if case.passes() {
            &mut passed
        } else {
            &mut failed
        }) += 1;
    }
    assert!(
        passed >= AT_LEAST_PASS && failed >= AT_LEAST_FAIL,
        "only {passed} and {failed} cases"
    );
}

#[test]
fn nobody_else_signed_them() {
    let Some(cases) = Case::all() else { return };
    let home = Home::new();
    for case in &cases {
        for trust in case.wrong_trust() {
            home.run(case.arguments(&case.model(), &trust))
                .expect_code(3, &format!("{}: {trust:?}", case.name()));
        }
    }
}

/// A byte changed, a file more, a file less: the signature holds, the content doesn't.
#[test]
fn changed_models_are_told_apart_from_bad_signatures() {
    let Some(cases) = Case::all() else { return };
    let home = Home::new();
    for case in cases.iter().filter(|case| case.passes()) {
        let folder = scratch();
        let model = folder.path().join("model");
        let mut copy = Command::new("cp");
        copy.arg("-R").arg(case.model()).arg(&model);
        finish(&mut copy, Duration::from_secs(60)).expect("copy a model");
        let must = |code: i32, what: &str| {
            let what = format!("{}: {what}", case.name());
            home.run(case.arguments(&model, &case.trust()))
                .expect_code(code, &what);
        };
        must(0, "the copy");
        flip(&model.join("signme-1"), 0);
        must(4, "a changed byte");
        flip(&model.join("signme-1"), 0);
        fs::write(model.join("unsigned"), "x").expect("write a file");
        must(4, "a file more");
        fs::remove_file(model.join("unsigned")).expect("remove a file");
        fs::remove_file(model.join("signme-2")).expect("remove a file");
        must(4, "a file less");
    }
}

#[test]
fn mounts_show_what_was_signed() {
    let Some(cases) = Case::all() else { return };
    let home = Home::new();
    for case in &cases {
        let mut options = case.trust();
        let bundle = case.folder.join("bundle.sig").display().to_string();
        options.extend(["--signature".to_owned(), bundle]);
        options.extend(case.ignored());
        if !case.passes() {
            let mountpoint = scratch();
            let model = case.model().display().to_string();
            let mountpoint = mountpoint.path().display().to_string();
            let words = ["mount".to_owned(), model, mountpoint].into_iter();
            home.run(words.chain(options)).expect_code(3, &case.name());
            continue;
        }
        home.mounted(&case.model(), &options, |mountpoint| {
            let mut list = Command::new("ls");
            let listed = finish(list.arg("-A").arg(mountpoint), Duration::from_secs(60));
            let listed = listed.expect("list a mount").stdout;
            let names: Vec<_> = listed.lines().filter(|name| *name != "model.sig").collect();
            assert_eq!(names, ["signme-1", "signme-2"], "{}", case.name());
            for name in names {
                let mut compare = Command::new("cmp");
                compare
                    .arg(case.model().join(name))
                    .arg(mountpoint.join(name));
                finish(&mut compare, Duration::from_secs(60)).expect(&case.name());
            }
        });
    }
}
