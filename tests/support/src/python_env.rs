//! Python packages for the tests: installed once into `target/engines`, then reused.
//!
//! Guarantees: an environment that exists is complete (it is installed under another name, then
//! renamed), test processes that run at the same time install it once (a file lock), and another
//! list of packages is another environment (the folder's name carries a digest of the list).
//!
//! Needs `python3` (3.10 or newer) with `pip`, and on the first run a package index. Where the
//! packages can't be installed the tests fail and say so. `MODEL_FS_SKIP=engines` leaves those
//! tests out on purpose; continuous integration doesn't.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::time::Duration;

use rustix::fs::{FlockOperation, flock};

use crate::built;
use crate::missing::{Need, have};
use crate::process::finish;

const INSTALL_LIMIT: Duration = Duration::from_secs(900);
const ASK_LIMIT: Duration = Duration::from_secs(60);

/// The OMS reference implementation. It doesn't name pyopenssl itself, yet can't be imported
/// without it.
pub const REFERENCE: Packages = Packages {
    name: "reference",
    groups: &[&["model-signing==1.1.1", "pyopenssl==26.4.0"]],
};

/// What the reader of `docs/spec/reader` needs beside Python itself.
pub const LAZY_READER: Packages = Packages {
    name: "lazy-reader",
    groups: &[&["cryptography==48.0.0"]],
};

/// What one environment holds: each group is one call of `pip install`.
pub struct Packages {
    pub name: &'static str,
    pub groups: &'static [&'static [&'static str]],
}

/// An installed environment.
#[derive(Clone)]
pub struct PythonEnv {
    folder: PathBuf,
}

impl PythonEnv {
    /// The environment with these packages; `None` only where the tests were switched off.
    pub fn get(packages: &Packages) -> Option<Self> {
        if !have(Need::Engines) {
            return None;
        }
        let base = built::target().join("engines");
        fs::create_dir_all(&base).unwrap_or_else(|e| panic!("create {}: {e}", base.display()));
        let spec = format!("{:?}", packages.groups);
        let id = &blake3::hash(spec.as_bytes()).to_hex()[..12];
        let folder = base.join(format!("{}-{id}", packages.name));

        let lock = File::create(base.join(format!("{}.lock", packages.name))).expect("lock file");
        flock(&lock, FlockOperation::LockExclusive).expect("lock the Python environment");
        if !folder.exists() {
            install(packages, &base, &folder);
        }
        Some(Self { folder })
    }

    /// Where the packages lie, as `import` sees them.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// A Python that sees these packages and nothing that the user has installed.
    pub fn python(&self) -> Command {
        let mut command = bare_python();
        command.env("PYTHONPATH", &self.folder);
        command
    }
}

/// Where Python lies. The command of that name may be a script that looks for the right version,
/// each time for as long as a test takes.
pub fn interpreter() -> &'static Path {
    static FOUND: OnceLock<PathBuf> = OnceLock::new();
    FOUND.get_or_init(|| {
        let mut command = Command::new("python3");
        command.args(["-c", "import sys; print(sys.executable)"]);
        let said = finish(&mut command, ASK_LIMIT).expect("run python3");
        said.stdout.trim().into()
    })
}

fn bare_python() -> Command {
    let mut command = Command::new(interpreter());
    command
        .env_remove("PYTHONHOME")
        .env("PYTHONNOUSERSITE", "1")
        .env("PYTHONUTF8", "1")
        // Caches of byte code would be written into the source tree, next to the scripts.
        .env("PYTHONDONTWRITEBYTECODE", "1");
    command
}

fn install(packages: &Packages, base: &Path, folder: &Path) {
    let unfinished = tempfile::Builder::new()
        .prefix(&format!("{}.unfinished-", packages.name))
        .tempdir_in(base)
        .expect("a folder to install into");
    for group in packages.groups {
        // `--target` needs neither the venv module, which Debian packages apart, nor a say in a
        // Python that the system manages.
        let done = finish(
            bare_python()
                .args(["-m", "pip", "install", "--quiet", "--no-input"])
                .args(["--disable-pip-version-check", "--no-warn-script-location"])
                .args(["--root-user-action", "ignore", "--upgrade", "--target"])
                .arg(unfinished.path())
                .args(*group),
            INSTALL_LIMIT,
        );
        assert!(
            done.succeeded(),
            "cannot install the Python packages {group:?} that this test needs; is pip there, and \
             a package index within reach? (to leave such tests out on purpose: \
             MODEL_FS_SKIP=engines)\n{done}"
        );
    }
    // Readable by all: tests also run these packages as an ordinary user.
    let everyone = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    fs::set_permissions(unfinished.path(), everyone).expect("open the folder to all");
    fs::rename(unfinished.keep(), folder).expect("give the environment its name");
}
