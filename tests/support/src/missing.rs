//! What a test needs and may not find: one rule for all tests.
//!
//! - What can be had everywhere ([`Need`]) and is missing *fails* the test that needs it, with the
//!   remedy. `MODEL_FS_SKIP`, a list of names with commas between them
//!   (`MODEL_FS_SKIP=fuse,engines`), leaves out on purpose the tests that need these, even where
//!   they are available.
//! - What can't be had everywhere is said, and the test passes: the bundles of other
//!   implementations, which aren't part of the repository ([`vectors`]), and what a kernel or
//!   machine doesn't offer ([`not_tested`]).
//!
//! Guarantees: each test program says once what isn't tested. It does so on its standard error
//! directly, since the test harness holds back the output of tests that pass.

use std::collections::BTreeSet;
use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{LazyLock, Mutex, Once, PoisonError};

/// The variable with what is left out.
const SKIP: &str = "MODEL_FS_SKIP";

/// The variable with the place of the vectors.
const VECTORS: &str = "MODEL_FS_VECTORS";

/// What a test may need.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Need {
    /// `/dev/fuse`.
    Fuse,
    /// A `fusermount3` with the set-uid bit.
    Fusermount3,
    /// Tests that run as root.
    Root,
    /// Python packages: the reference implementation, llama.cpp. What can't be installed fails.
    Engines,
    /// The `openssl` program.
    OpenSsl,
    /// The `rsync` program.
    Rsync,
    /// The `lsof` program.
    Lsof,
    /// The `fuser` program, of Debian's package `psmisc`.
    Fuser,
    /// The `groff` program, of Debian's package `groff-base`.
    Groff,
    /// The `shellcheck` program.
    Shellcheck,
    /// `systemd-analyze` and `systemd-nspawn`.
    Systemd,
    /// The `yamllint` program.
    Yamllint,
    /// The programs `fsck.erofs` and `dump.erofs`, of erofs-utils.
    Erofs,
}

impl Need {
    const ALL: [Self; 13] = [
        Self::Fuse,
        Self::Fusermount3,
        Self::Root,
        Self::Engines,
        Self::OpenSsl,
        Self::Rsync,
        Self::Lsof,
        Self::Fuser,
        Self::Groff,
        Self::Shellcheck,
        Self::Systemd,
        Self::Yamllint,
        Self::Erofs,
    ];

    /// What it is called in `MODEL_FS_SKIP`.
    fn name(self) -> &'static str {
        match self {
            Self::Fuse => "fuse",
            Self::Fusermount3 => "fusermount3",
            Self::Root => "root",
            Self::Engines => "engines",
            Self::OpenSsl => "openssl",
            Self::Rsync => "rsync",
            Self::Lsof => "lsof",
            Self::Fuser => "fuser",
            Self::Groff => "groff",
            Self::Shellcheck => "shellcheck",
            Self::Systemd => "systemd",
            Self::Yamllint => "yamllint",
            Self::Erofs => "erofs",
        }
    }

    /// Whether it is there, or why it isn't.
    fn look(self) -> Result<(), String> {
        match self {
            Self::Fuse => match OpenOptions::new().read(true).write(true).open("/dev/fuse") {
                Ok(_) => Ok(()),
                Err(error) => Err(format!("/dev/fuse can't be opened ({error})")),
            },
            Self::Fusermount3 => fusermount3(),
            Self::Root if rustix::process::geteuid().is_root() => Ok(()),
            Self::Root => Err("these tests don't run as root".to_owned()),
            Self::Engines => Ok(()),
            Self::OpenSsl => program("openssl", "version"),
            Self::Rsync => program("rsync", "--version"),
            Self::Lsof => program("lsof", "-v"),
            Self::Fuser => program("fuser", "-V"),
            Self::Groff => program("groff", "--version"),
            Self::Shellcheck => program("shellcheck", "--version"),
            Self::Systemd => program("systemd-analyze", "--version")
                .and_then(|()| program("systemd-nspawn", "--version")),
            Self::Yamllint => program("yamllint", "--version"),
            Self::Erofs => program("fsck.erofs", "-V").and_then(|()| program("dump.erofs", "-V")),
        }
    }
}

/// Whether to go on with a test that needs this: false where it is left out on purpose. Where it is
/// just missing, the test fails.
#[track_caller]
pub fn have(need: Need) -> bool {
    let name = need.name();
    if left_out().contains(name) {
        not_tested(&format!("what needs {name}: {SKIP} says so"));
        return false;
    }
    if let Err(reason) = need.look() {
        panic!("{reason} (to leave out what needs this: {SKIP}={name})");
    }
    true
}

/// The bundles of other implementations: `../shared/vectors` beside the repository, or where
/// `MODEL_FS_VECTORS` says. `None` where there are none.
#[track_caller]
pub fn vectors() -> Option<PathBuf> {
    if left_out().contains("vectors") {
        not_tested(&format!("what needs vectors: {SKIP} says so"));
        return None;
    }
    if let Some(named) = std::env::var_os(VECTORS) {
        let named = PathBuf::from(named);
        assert!(named.is_dir(), "{VECTORS}={}: no folder", named.display());
        return Some(named);
    }
    let beside = crate::built::repository("../shared/vectors");
    if beside.is_dir() {
        return Some(beside);
    }
    not_tested(&format!(
        "bundles of other implementations: {} isn't there, and {VECTORS} says no other place",
        beside.display()
    ));
    None
}

/// Says what isn't tested, once.
pub fn not_tested(what: &str) {
    static SAID: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());
    let mut said = SAID.lock().unwrap_or_else(PoisonError::into_inner);
    if said.insert(what.to_owned()) {
        // Not `eprintln`, which the harness shows of tests that fail. If it can't be said, the test
        // goes on.
        let _ = writeln!(std::io::stderr(), "NOT TESTED: {what}");
    }
}

/// The names in `MODEL_FS_SKIP`.
fn left_out() -> &'static BTreeSet<String> {
    static NAMES: LazyLock<BTreeSet<String>> = LazyLock::new(|| {
        let list = std::env::var(SKIP).unwrap_or_default();
        let names: BTreeSet<String> = list
            .split(',')
            .map(|name| name.trim().to_owned())
            .filter(|name| !name.is_empty())
            .collect();
        for name in &names {
            let known = name == "vectors" || Need::ALL.iter().any(|need| need.name() == name);
            assert!(known, "{SKIP}={list}: nothing is called {name:?}");
        }
        names
    });
    &NAMES
}

fn program(name: &str, argument: &str) -> Result<(), String> {
    let mut command = Command::new(name);
    let quiet = command.arg(argument).stdin(Stdio::null());
    match quiet.stdout(Stdio::null()).stderr(Stdio::null()).status() {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(format!("{name} {argument}: {status}")),
        Err(error) => Err(format!("no program {name} ({error})")),
    }
}

/// Whether an ordinary user can mount. On a fresh Debian machine that takes a package, which root
/// may install.
fn fusermount3() -> Result<(), String> {
    static INSTALLED: Once = Once::new();
    if !has_fusermount3() && rustix::process::geteuid().is_root() {
        INSTALLED.call_once(|| {
            let script =
                "apt-get update -qq && apt-get install -y -qq --no-install-recommends fuse3";
            let mut command = Command::new("sh");
            command
                .args(["-c", script])
                .env("DEBIAN_FRONTEND", "noninteractive")
                .stdin(Stdio::null());
            if let Ok(output) = command.output() {
                eprintln!("{script}: {}", output.status);
            }
        });
    }
    if has_fusermount3() {
        return Ok(());
    }
    Err(
        "no set-uid fusermount3: without it only root can mount (on Debian: apt-get install fuse3)"
            .to_owned(),
    )
}

fn has_fusermount3() -> bool {
    let found = ["/usr/bin", "/bin", "/usr/local/bin"]
        .iter()
        .map(|folder| Path::new(folder).join("fusermount3"))
        .find_map(|path| fs::metadata(&path).ok());
    found.is_some_and(|file| file.uid() == 0 && file.mode() & 0o4000 != 0)
}
