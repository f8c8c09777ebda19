//! The exit codes that are documented, each by a real case of each command that has it, and the
//! remedy that is told with it.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use tempfile::TempDir;
use test_support::keys;
use test_support::mounted::{clear, flip, scratch};
use test_support::process::{Finished, finish};

use crate::support::{Host, LIMIT, SHA256, noise};

/// The codes that `docs/operations.md` gives to each command; `umount` and so on are those of a
/// mount that isn't there, or isn't kept alive.
const DOCUMENTED: &[(&str, &[i32])] = &[
    ("demo", &[0, 1, 2]),
    ("index", &[0, 1, 2, 3, 4]),
    ("inspect", &[0, 1, 2, 3]),
    ("mount", &[0, 1, 2, 3, 4]),
    ("sign", &[0, 1, 2]),
    ("status", &[0, 1, 2, 4]),
    ("trust", &[0, 1, 2, 3]),
    ("umount", &[0, 1, 2]),
    ("upgrade", &[1, 2]),
    ("verify", &[0, 1, 2, 3, 4]),
    ("warm", &[0, 1, 2, 4]),
];

/// Nothing has gone wrong.
const NONE: &str = "";

/// What clap says of a command line that it can't read.
const HELP: &str = "For more information, try '--help'";

/// What is run, one after the other, in a directory with the models that [`Folder`] makes. A line
/// that fails names its remedy: the beginning of its hint, or [`HELP`].
#[rustfmt::skip]
const CASES: &[(i32, &str, &str)] = &[
    (0, "sign unsigned --private-key key.pem", NONE),
    (1, "sign missing --private-key key.pem", "check the path"),
    (1, "sign empty --private-key key.pem", "name the directory"),
    (1, "sign good --private-key missing.pem", "check the path"),
    (1, "sign good --private-key pub.pem", "give the private half"),
    (1, "sign good --private-key locked.pem", "give its password in a file"),
    (1, "sign good --private-key locked.pem --password-file pub.pem", "give the right one"),
    (1, "sign good --private-key other.pem", "replace it with --force"),
    (1, "sign good --private-key key.pem --signature no/where.sig", "mkdir -p no"),
    (1, "sign good --private-key key.pem --signature point", "name a file"),
    (2, "sign good", HELP),
    (2, "sign good --private-key key.pem --hash md5", HELP),
    (2, "sign good --private-key key.pem --ignore-paths ../x", "give paths in the model"),

    (0, "inspect good", NONE),
    (1, "inspect missing", "check the path"),
    (2, "inspect", HELP),
    (3, "inspect broken", "copy the signature anew"),

    (0, "verify good --public-key pub.pem", NONE),
    (1, "verify missing --public-key pub.pem", "check the path"),
    (1, "verify empty --public-key pub.pem", "name the signature"),
    (1, "verify good --public-key missing.pem", "check the path"),
    (1, "verify good --public-key key.pem", "give the public half"),
    (1, "verify good --certificate-chain pub.pem", "give a key with --public-key"),
    (1, "verify good --public-key pub.pem --index-dir good/in", "choose another directory"),
    (1, "verify good --public-key pub.pem --log-file no/where", "check the path"),
    (2, "verify good --public-key", HELP),
    (2, "verify good --identity a", HELP),
    (2, "verify good --no-such-flag", HELP),
    (3, "verify good", "to trust them: model-fs trust add"),
    (3, "verify good --public-key otherpub.pem", "if you trust that key too"),
    (3, "verify good --identity a --identity-provider https://b", "if you trust the signer"),
    (3, "verify broken --public-key pub.pem", "copy the signature anew"),
    (4, "verify tampered --public-key pub.pem", "get these files anew"),
    (4, "verify extra --public-key pub.pem", "remove these files"),
    (4, "verify good --public-key pub.pem --ignore-paths weights", "--ignore-paths leaves out"),

    (0, "index good --public-key pub.pem", NONE),
    (1, "index missing --public-key pub.pem", "check the path"),
    (2, "index good --json", HELP),
    (3, "index good --public-key otherpub.pem", "if you trust that key too"),
    (4, "index plain --public-key pub.pem", "model-fs verify shows"),

    (0, "trust add --name acme --public-key pub.pem", NONE),
    (0, "trust list", NONE),
    (0, "verify good", NONE),
    (1, "trust add --name acme --public-key pub.pem", "choose another --name"),
    (1, "trust add --public-key missing.pem", "check the path"),
    (1, "trust remove nobody", "`model-fs trust list` shows"),
    (1, "trust distrust nobody", "`model-fs trust list` shows"),
    (2, "trust add --name b", "give --public-key"),
    (2, "trust add --public-key pub.pem --payload-digest x", "\"model-fs inspect MODEL\""),
    (2, "trust forget acme", HELP),
    (3, "trust add --name b --public-key pub.pem --payload-of broken", "copy the signature anew"),
    (0, "trust distrust acme", NONE),
    (0, "trust remove acme", NONE),

    (0, "mount good point --public-key pub.pem", NONE),
    (1, "mount good point --public-key pub.pem", "model-fs umount "),
    (0, "status point", NONE),
    (0, "status point --check", NONE),
    (0, "warm point --wait", NONE),
    (1, "warm point missing", "check the path"),
    (2, "warm point ../good", "name files as they are called"),
    (1, "upgrade point", "unmount, and mount again"),
    (0, "umount point", NONE),
    (1, "umount point", "\"model-fs status\" shows"),
    (1, "umount missing", "check the path"),
    (2, "umount", HELP),
    (1, "status point", "\"model-fs status\" shows"),
    (1, "status missing", "check the path"),
    (2, "status --watch --check", HELP),
    (1, "warm point", "\"model-fs status\" shows"),
    (2, "upgrade", HELP),
    (1, "mount good missing --public-key pub.pem", "mkdir -p missing"),
    (1, "mount good pub.pem --public-key pub.pem", "name a directory"),
    (1, "mount good good --public-key pub.pem", "choose an empty directory elsewhere"),
    (1, "mount missing point --public-key pub.pem", "check the path"),
    (1, "mount good point --public-key pub.pem --pid-file no/where", "check the path"),
    (1, "mount good point --public-key pub.pem --repair-from missing", "check the path"),
    (1, "mount good point --public-key pub.pem --metrics-listen 192.0.2.1:9", "give an address"),
    (2, "mount good", HELP),
    (2, "mount good point --public-key pub.pem -o rw", "leave it out"),
    (2, "mount good point --public-key pub.pem --threads 0", HELP),
    (2, "mount good point --public-key pub.pem --on-violation-exec true", "give the absolute path"),
    (3, "mount good point --public-key otherpub.pem", "if you trust that key too"),
    (3, "mount broken point --public-key pub.pem", "copy the signature anew"),
    (4, "mount extra point --public-key pub.pem", "remove these files"),

    (0, "mount tampered point --public-key pub.pem", NONE),
    (4, "warm point --wait", "model-fs status "),
    (4, "status point --check", "get these files anew"),
    (0, "umount point", NONE),

    (0, "demo", NONE),
    (1, "TMPDIR=missing demo", "check the path"),
    (2, "demo now", HELP),
];

/// Where the cases run.
struct Folder(TempDir);

impl Folder {
    fn new() -> Self {
        let folder = Self(scratch());
        for (name, key) in [
            ("key.pem", "p256-pkcs8.pem"),
            ("pub.pem", "p256-pub.pem"),
            ("other.pem", "p384-pkcs8.pem"),
            ("otherpub.pem", "p384-pub.pem"),
            ("locked.pem", "p256-pkcs8-pbkdf2.pem"),
        ] {
            fs::copy(keys::path(key), folder.path().join(name)).expect("copy a key");
        }
        for name in ["empty", "point"] {
            fs::create_dir(folder.path().join(name)).expect("mkdir");
        }
        for (name, options) in [
            ("unsigned", None),
            ("good", Some(&[][..])),
            ("tampered", Some(&[])),
            ("extra", Some(&[])),
            ("broken", Some(&[])),
            ("plain", Some(SHA256)),
        ] {
            let model = folder.path().join(name);
            fs::create_dir(&model).expect("mkdir");
            fs::write(model.join("weights"), noise("weights", 2 << 20)).expect("write");
            if let Some(options) = options {
                // Not where the cases run, which would know its chunk tables then.
                let mut sign = Host::anywhere().command("sign");
                sign.arg(&model).args(options);
                sign.arg("--private-key").arg(keys::path("p256-pkcs8.pem"));
                finish(&mut sign, LIMIT).expect("sign");
            }
        }
        for name in ["tampered", "plain"] {
            flip(&folder.path().join(name).join("weights"), 1 << 20);
        }
        fs::write(folder.path().join("extra/more"), "x").expect("write");
        fs::write(folder.path().join("broken/model.sig"), "{}").expect("write");
        folder
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    /// Runs a line of [`CASES`].
    fn run(&self, host: &Host, line: &str) -> Finished {
        let mut words = line.split_whitespace().peekable();
        let variable = words.next_if(|word| word.contains('='));
        let mut command = host.command(words.next().expect("a verb"));
        command.args(words).current_dir(self.path());
        command.envs(variable.and_then(|it| it.split_once('=')));
        host.run(&mut command)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        clear(&self.path().join("point"));
    }
}

#[test]
fn each_command_exits_as_documented_and_names_the_remedy() {
    let Some(host) = Host::new() else { return };
    let folder = Folder::new();
    let mut seen = BTreeMap::<&str, BTreeSet<i32>>::new();
    for &(code, line, remedy) in CASES {
        let finished = folder.run(&host, line);
        assert_eq!(finished.code(), Some(code), "{finished}");
        if remedy.is_empty() {
            assert!(!finished.stderr.contains("error: "), "{finished}");
        } else {
            let said = if remedy == HELP {
                finished.stderr.contains(HELP)
            } else {
                let hint = finished
                    .stderr
                    .lines()
                    .find_map(|it| it.strip_prefix("hint: "));
                hint.is_some_and(|hint| hint.starts_with(remedy))
            };
            assert!(said, "{remedy}: {finished}");
            assert!(finished.stderr.contains("error: "), "{finished}");
        }
        let verb = line.split_whitespace().find(|word| !word.contains('='));
        seen.entry(verb.expect("a verb")).or_default().insert(code);
    }
    let seen: Vec<_> = seen.into_iter().collect();
    let documented = DOCUMENTED
        .iter()
        .map(|&(verb, codes)| (verb, codes.iter().copied().collect()));
    assert_eq!(seen, documented.collect::<Vec<_>>());
}
