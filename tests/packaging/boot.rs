//! A system that is booted for a test: this machine's `/usr`, our program and units in it, and
//! nothing else, in a container.
//!
//! Guarantees: nothing of the machine is changed, and the container ends with its script or at a
//! time limit. Doesn't: boot a kernel; the container shares this one.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::LazyLock;
use std::time::Duration;

use tempfile::TempDir;
use test_support::built;
use test_support::keys;
use test_support::missing::{Need, have, not_tested};
use test_support::mounted::scratch;
use test_support::process::finish;

const LIMIT: Duration = Duration::from_secs(120);

/// The unit that runs a script and ends the container.
const SHOW: &str = "\
[Unit]
SuccessAction=poweroff
FailureAction=poweroff
[Service]
Type=oneshot
ExecStart=/bin/sh -eux /show/script
StandardOutput=file:/show/log
StandardError=file:/show/log
";

/// `sh -e` goes on after `! COMMAND`, whatever that ends with. And where a script fails, what the
/// services said is of interest.
const PRELUDE: &str = "\
fails() { if \"$@\"; then exit 1; fi; }
trap 'test $? = 0 || journalctl --no-pager --lines=60 --unit=\"model-fs@*\" --unit=\"mnt-*\"' EXIT
";

/// What goes into a container.
pub(crate) struct System {
    folder: TempDir,
    /// What is bound into it: the option of `systemd-nspawn`, what, and where.
    binds: Vec<(&'static str, PathBuf, &'static str)>,
}

impl System {
    /// With our program, its units, a signed model of another user's in `/srv/models/llm`, and the
    /// key to trust in `/etc/model-fs/signer.pem`. `None` where tests are left out on purpose, and
    /// where nothing can be booted.
    #[track_caller]
    pub(crate) fn new() -> Option<Self> {
        if !Self::boots() {
            return None;
        }
        let units = ["model-fs@.service", "mnt-llm.mount"];
        let system =
            Self::with(&units.map(|name| built::repository("packaging/systemd/").join(name)));
        let model = system.path("models/llm");
        fs::create_dir_all(&model).expect("mkdir");
        fs::write(model.join("weights"), vec![7; 300_000]).expect("write");
        let mut sign = built::program_at_home(system.folder.path());
        sign.arg("sign").arg(&model).arg("--private-key");
        finish(sign.arg(keys::path("p256-pkcs8.pem")), LIMIT).expect("sign");
        for entry in fs::read_dir(&model).expect("list") {
            let path = entry.expect("an entry").path();
            std::os::unix::fs::chown(&path, Some(65534), Some(65534)).expect("give away");
            fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).expect("close");
        }
        fs::copy(keys::path("p256-pub.pem"), system.path("etc/signer.pem")).expect("copy");
        let example = built::repository("packaging/systemd/example.conf");
        fs::copy(example, system.path("etc/llm.conf")).expect("copy");
        Some(system)
    }

    /// With nothing of ours; `given` is there as `/given`. `None` as for [`System::new`].
    #[track_caller]
    pub(crate) fn to_install_on(given: &Path) -> Option<Self> {
        Self::boots().then(|| {
            let mut system = Self::bare();
            system.binds.push(("bind-ro", given.to_owned(), "/given"));
            system
        })
    }

    #[track_caller]
    fn boots() -> bool {
        static BOOTS: LazyLock<bool> = LazyLock::new(|| {
            let boots = System::bare().boot("true").is_some();
            if !boots {
                not_tested("units in a running systemd: no container can be booted here");
            }
            boots
        });
        let needs = [Need::Root, Need::Fuse, Need::Systemd];
        needs.into_iter().all(have) && *BOOTS
    }

    fn bare() -> Self {
        let folder = scratch();
        let (units, show) = (folder.path().join("units"), folder.path().join("show"));
        let system = Self {
            folder,
            binds: vec![
                ("bind", units, "/etc/systemd/system"),
                ("bind", show, "/show"),
            ],
        };
        for name in ["units", "show"] {
            fs::create_dir(system.path(name)).expect("mkdir");
        }
        fs::write(system.path("units/show.service"), SHOW).expect("write");
        system
    }

    fn with(units: &[PathBuf]) -> Self {
        let mut system = Self::bare();
        for name in ["etc", "models", "usr/bin", "usr/sbin"] {
            fs::create_dir_all(system.path(name)).expect("mkdir");
        }
        for unit in units {
            let name = unit.file_name().expect("a name");
            fs::copy(unit, system.path("units").join(name)).expect("copy a unit");
        }
        fs::copy(built::program(), system.path("usr/bin/model-fs")).expect("copy the program");
        let helper = system.path("usr/sbin/mount.fuse.model-fs");
        symlink("/usr/bin/model-fs", helper).expect("link the helper");
        let (etc, models) = (system.path("etc"), system.path("models"));
        let usr = format!("/usr:{}", system.path("usr").display());
        system.binds.extend([
            ("overlay-ro", usr.into(), "/usr"),
            ("bind-ro", etc, "/etc/model-fs"),
            ("bind", models, "/srv/models"),
        ]);
        system
    }

    /// Has the service do without this option of the example.
    pub(crate) fn without(&self, option: &str) {
        let configuration = self.path("etc/llm.conf");
        let text = fs::read_to_string(&configuration).expect("read");
        assert!(text.contains(option), "{text}");
        fs::write(configuration, text.replace(option, "")).expect("write");
    }

    /// Puts a drop-in beside the service.
    pub(crate) fn drop_in(&self, text: &str) {
        let folder = self.path("units/model-fs@.service.d");
        fs::create_dir_all(&folder).expect("mkdir");
        fs::write(folder.join("test.conf"), text).expect("write");
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Boots, and runs a script of sh as root, with `-eux`. What it said if it came to its end.
    #[must_use]
    fn boot(&self, script: &str) -> Option<String> {
        let script = format!("{PRELUDE}{script}\nset +x\necho at the end\n");
        fs::write(self.path("show/script"), script).expect("write");
        let mut command = Command::new("systemd-nspawn");
        command.args([
            "--directory=/",
            "--volatile=yes",
            "--register=no",
            "--keep-unit",
            "--bind=/dev/fuse",
        ]);
        for (option, what, to) in &self.binds {
            command.arg(format!("--{option}={}:{to}", what.display()));
        }
        if Path::new("/dev/autofs").exists() {
            command.arg("--bind=/dev/autofs");
        }
        command.args([
            "--boot",
            "systemd.unit=show.service",
            "systemd.firstboot=no",
        ]);
        let finished = finish(&mut command, LIMIT);
        let log = fs::read_to_string(self.path("show/log")).unwrap_or_default();
        if log.ends_with("at the end\n") {
            return Some(log);
        }
        eprintln!("{log}\n{finished}");
        None
    }

    /// The same for a script that must come to its end: a command of it that fails ends it.
    #[track_caller]
    pub(crate) fn shows(&self, script: &str) -> String {
        self.boot(script).expect("the script fails")
    }
}
