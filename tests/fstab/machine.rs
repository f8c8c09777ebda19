//! A machine on which model-fs is installed, as far as mount(8) can see.
//!
//! A mount namespace of its own: `/sbin` has the names by which mount(8) calls model-fs,
//! `/etc/fstab` is the test's, and `/run`, where mount(8) takes notes, is empty. Guarantees:
//! nothing outside of the namespace changes, and when a [`Machine`] is dropped, or the test dies,
//! its mounts end.

use std::ffi::OsStr;
use std::fs;
use std::io::{BufRead as _, BufReader};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use model_fs::kernel::FS_TYPE;
use tempfile::TempDir;
use test_support::missing::{Need, have};
use test_support::process::{Finished, finish};
use test_support::{built, keys};

/// For a command: many times what it needs.
const LIMIT: Duration = Duration::from_secs(120);

/// The ordinary user.
const NOBODY: &str = "65534";

/// Makes the namespace, with `$1` as a place of its own, the program `$2` installed and the key
/// files `$3` and `$4` at hand; then waits for its standard input to be closed.
const SET_UP: &str = r#"
set -eu
place=$1 program=$2
unmount_all() {
    while target=$(findmnt --first-only --noheadings --output TARGET --types TYPE); do
        umount --lazy "$target" || break
    done
}
# Copies of what others have mounted, which they would wait for.
unmount_all
mount -t tmpfs -o mode=755 tmpfs "$place"
sbin=$(readlink -f /sbin)
mkdir "$place/was" "$place/sbin"
mount --bind "$sbin" "$place/was"
for name in "$place/was"/*; do
    case $name in */mount.model-fs | */mount.fuse.model-fs | */model-fs) continue ;; esac
    ln -s "$name" "$place/sbin/"
done
cp "$program" "$place/sbin/model-fs"
mount --bind "$place/sbin" "$sbin"
ln -s model-fs "$sbin/mount.model-fs"
ln -s model-fs "$sbin/mount.fuse.model-fs"
: > "$place/fstab"
mount --bind "$place/fstab" /etc/fstab
mount -t tmpfs tmpfs /run
mkdir "$place/home"
chown 65534:65534 "$place/home"
cp "$3" "$place/key"
cp "$4" "$place/key.pub"
# Where root's tables are.
home=$(getent passwd 0 | cut -d: -f6)
mount -t tmpfs tmpfs "$home"
echo ready
read -r _ || true
unmount_all
"#;

pub(crate) struct Machine {
    place: TempDir,
    holder: Child,
}

impl Machine {
    /// `None` only where the tests were switched off.
    #[track_caller]
    pub(crate) fn new() -> Option<Self> {
        let needs = [Need::Fuse, Need::Fusermount3, Need::Root];
        if !needs.into_iter().all(have) {
            return None;
        }
        // As udev does; the ordinary user mounts too.
        let all = fs::Permissions::from_mode(0o666);
        fs::set_permissions("/dev/fuse", all).expect("open /dev/fuse to all");
        let place = TempDir::new().expect("make a folder");
        let mut holder = Command::new("unshare")
            .args(["--mount", "--propagation", "private", "sh", "-c"])
            .args([&SET_UP.replace("TYPE", FS_TYPE), "sh"])
            .arg(place.path())
            .arg(built::program())
            .args(["p256-pkcs8.pem", "p256-pub.pem"].map(keys::path))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("start unshare");
        let mut said = String::new();
        let stdout = holder.stdout.take().expect("a pipe");
        let read = BufReader::new(stdout).read_line(&mut said);
        read.expect("read what it says");
        assert_eq!(said, "ready\n", "the namespace can't be set up");
        Some(Self { place, holder })
    }

    /// A path of this machine that all its users reach.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.place.path().join(name)
    }

    /// Runs a command as root.
    pub(crate) fn run<S: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = S>) -> Finished {
        finish(self.command().args(arguments), LIMIT)
    }

    /// Runs words, separated by spaces, as a command of root.
    pub(crate) fn words(&self, line: &str) -> Finished {
        self.run(line.split(' '))
    }

    /// The same as the ordinary user.
    pub(crate) fn words_as_user(&self, line: &str) -> Finished {
        let home = self.path("home");
        let mut command = self.command();
        command
            .arg("setpriv")
            .args(["--reuid", NOBODY, "--regid", NOBODY, "--clear-groups"])
            .args(line.split(' '));
        finish(command.env("HOME", home), LIMIT)
    }

    /// Runs what follows in the namespace.
    fn command(&self) -> Command {
        let mut command = Command::new("nsenter");
        for variable in ["MODEL_FS_LOG", "XDG_CONFIG_HOME", "XDG_CACHE_HOME"] {
            command.env_remove(variable);
        }
        command
            .arg(format!("--mount=/proc/{}/ns/mnt", self.holder.id()))
            .arg("--")
            .env("LC_ALL", "C")
            .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
            .env("HOME", self.path("root"));
        command
    }

    /// Runs a script of sh, which must succeed. `$1`, `$2` … are the arguments.
    #[track_caller]
    pub(crate) fn script<S: AsRef<OsStr>>(
        &self,
        script: &str,
        arguments: impl IntoIterator<Item = S>,
    ) -> String {
        let mut command = self.command();
        command.args(["sh", "-euc", script, "sh"]).args(arguments);
        finish(&mut command, LIMIT).expect(script).stdout
    }

    /// Makes a signed model `model`, its key `key.pub`, and the directory `mnt`.
    #[track_caller]
    pub(crate) fn with_a_signed_model(self) -> Self {
        self.script(
            "cd \"$1\"; mkdir -p model/dir mnt
            head -c 300000 /dev/urandom > model/weights
            echo '{}' > model/dir/config.json
            model-fs sign model --private-key key
            chmod -R a+rX model key.pub",
            [self.place.path()],
        );
        self
    }

    /// Replaces `/etc/fstab`. `@` in it is this machine's place.
    pub(crate) fn fstab(&self, text: &str) {
        let text = text.replace('@', self.place.path().to_str().expect("a plain path"));
        self.script("printf '%s\\n' \"$1\" > /etc/fstab", [text]);
    }

    /// Type and options of what is mounted on `name`, as findmnt(8) tells them.
    pub(crate) fn mounted(&self, name: &str) -> Option<String> {
        let mut command = self.command();
        command.args(["findmnt", "--noheadings", "--output", "FSTYPE,OPTIONS"]);
        let found = finish(command.arg(self.path(name)), LIMIT);
        found.succeeded().then_some(found.stdout)
    }

    /// Mounts the model on `mnt` with these options beside the key and `ro`.
    #[track_caller]
    pub(crate) fn mount(&self, options: &str) {
        let key = self.path("key.pub");
        let options = format!("ro,public_key={},{options}", key.display());
        let (model, mnt) = (self.path("model"), self.path("mnt"));
        let line = ["mount", "-t", FS_TYPE, "-o", &options].map(OsStr::new);
        let paths = [model.as_os_str(), mnt.as_os_str()];
        let done = self.run(line.into_iter().chain(paths)).expect("mount");
        assert_eq!(said(&done), "");
    }

    /// Unmounts `mnt` with umount(8).
    #[track_caller]
    pub(crate) fn unmount(&self) {
        self.run([Path::new("umount"), &self.path("mnt")])
            .expect("umount");
        assert_eq!(self.mounted("mnt"), None);
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        // It cleans up when its standard input ends.
        drop(self.holder.stdin.take());
        let _ = self.holder.wait();
    }
}

/// What a command said on stderr, but for that there is no system log, which isn't everywhere.
pub(crate) fn said(finished: &Finished) -> String {
    let lines = finished.stderr.lines();
    let lines = lines.filter(|line| !line.contains("there is no system log here"));
    lines.collect::<Vec<_>>().join("\n")
}
