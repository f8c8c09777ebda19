//! A signed model, and a host made of this one.
//!
//! Guarantees: whatever a script mounts is in a mount namespace of its own, which ends with the
//! script and what it leaves behind; nothing of the machine is changed.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use test_support::built;
use test_support::keys;
use test_support::missing::{Need, have};
use test_support::process::{Finished, finish};
use test_support::unprivileged::OrdinaryUser;

const LIMIT: Duration = Duration::from_secs(120);

/// What scripts begin with. `user COMMAND` runs a command as the ordinary user, `mnt` mounts, and
/// `served` says whether what is mounted is the model, and takes it away.
const PRELUDE: &str = r#"
set -u
mount --bind "$BUILT" "$PROGRAM" || exit 90
mnt() { "$PROGRAM" mount "$MODEL" "$MOUNTPOINT" --public-key "$KEY" "$@"; }
user() {
    HOME=$USER_HOME setpriv --reuid=65534 --regid=65534 --clear-groups --inh-caps=-all -- "$@"
}
user_mnt() { user "$PROGRAM" mount "$MODEL" "$MOUNTPOINT" --public-key "$KEY" "$@"; }
served() {
    "$@" cmp "$MODEL/weights" "$MOUNTPOINT/weights" &&
        "$@" "$PROGRAM" umount "$MOUNTPOINT" && echo served
}
# A /dev with what every container has, and no FUSE.
bare_dev() {
    mount -t tmpfs tmpfs "$SCRATCH" && mkdir "$SCRATCH/dev" || exit 90
    mount -t tmpfs tmpfs "$SCRATCH/dev" || exit 90
    for node in null:3 zero:5 random:8 urandom:9; do
        mknod -m 666 "$SCRATCH/dev/${node%:*}" c 1 "${node#*:}" || exit 90
    done
    mount --move "$SCRATCH/dev" /dev || exit 90
}
# /usr/bin and /bin as they are, but changes stay in memory.
own_programs() {
    mount -t tmpfs tmpfs "$SCRATCH" && mkdir "$SCRATCH/upper" "$SCRATCH/work" || exit 90
    options="lowerdir=/usr/bin,upperdir=$SCRATCH/upper,workdir=$SCRATCH/work"
    mount -t overlay -o "$options" overlay /usr/bin || exit 91
}
# A root directory with all that this one has, but /proc.
without_proc() {
    mount --bind / "$SCRATCH" && mount --rbind /dev "$SCRATCH/dev" || exit 90
    mount --bind "$BUILT" "$SCRATCH/$PROGRAM" || exit 90
}
"#;

/// What a script ends with where the kernel has no overlay file system.
const NO_OVERLAY: i32 = 91;

/// A host with a signed model and an ordinary user, to whom the mountpoint belongs.
pub(crate) struct Newcomer {
    user: OrdinaryUser,
    /// The mountpoint, `/mnt/model` in the documents.
    pub(crate) mountpoint: PathBuf,
}

impl Newcomer {
    /// `None` only where the tests were switched off.
    pub(crate) fn new() -> Option<Self> {
        if !have(Need::Root) || !have(Need::Fuse) {
            return None;
        }
        let user = OrdinaryUser::new()?;
        user.copy(&keys::path("p256-pub.pem"), "key.pub");
        let model = user.folder("model");
        let bytes: Vec<u8> = (0..3_000_000_u32).map(|i| (i % 251) as u8).collect();
        fs::write(model.join("weights"), bytes).expect("write");
        // A place for the mounts of a test, a home for root, and a file to mount the program on:
        // where others run tests, a copy may be open for writing still when it is to be run.
        for name in ["scratch", "root"] {
            fs::create_dir(user.home().join(name)).expect("mkdir");
        }
        fs::write(user.home().join("model-fs"), "").expect("write");
        let mut sign = built::program_at_home(&user.home().join("root"));
        let key = keys::path("p256-pkcs8.pem");
        sign.arg("sign")
            .arg(&model)
            .args(["--plain", "--private-key"]);
        finish(sign.arg(key), LIMIT).expect("sign");
        let open = [".", "model"].map(|name| (user.home().join(name), 0o755));
        let read = ["weights", "model.sig"].map(|name| (model.join(name), 0o644));
        for (path, mode) in open.into_iter().chain(read) {
            fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("open it to all");
        }
        let mountpoint = user.folder("mountpoint");
        Some(Self { user, mountpoint })
    }

    /// Runs a script of sh in a mount namespace, as root. `None` where the kernel lacks what it
    /// takes.
    #[track_caller]
    pub(crate) fn run(&self, script: &str) -> Option<Finished> {
        let home = self.user.home();
        let mut command = Command::new("unshare");
        command
            .args(["--mount", "sh", "-c"])
            .arg(format!("{PRELUDE}\n{script}"))
            .env("BUILT", built::program())
            .env("PROGRAM", home.join("model-fs"))
            .env("MODEL", home.join("model"))
            .env("MOUNTPOINT", &self.mountpoint)
            .env("KEY", home.join("key.pub"))
            .env("PRIVATE", keys::path("p256-pkcs8.pem"))
            .env("SCRATCH", home.join("scratch"))
            .env(
                "REFUSE",
                concat!(env!("CARGO_MANIFEST_DIR"), "/tests/hosts/refuse.py"),
            )
            .env("USER_HOME", home)
            .env("HOME", home.join("root"))
            .env("PATH", "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin")
            .current_dir(home);
        for variable in ["XDG_CACHE_HOME", "XDG_CONFIG_HOME", "MODEL_FS_LOG"] {
            command.env_remove(variable);
        }
        let finished = finish(&mut command, LIMIT);
        assert!(!finished.stderr.contains("panicked"), "{finished}");
        if finished.code() == Some(NO_OVERLAY) {
            test_support::missing::not_tested("a host without fusermount3: no overlay mounts here");
            return None;
        }
        Some(finished)
    }

    /// A script whose last command is a mount that serves, after which it says so.
    #[track_caller]
    pub(crate) fn serves(&self, script: &str) -> Option<Finished> {
        let finished = self.run(script)?.expect("a mount");
        assert!(finished.stdout.ends_with("served\n"), "{finished}");
        Some(finished)
    }

    /// A script that fails with what the document says.
    #[track_caller]
    pub(crate) fn fails(&self, script: &str) {
        if let Some(finished) = self.run(script) {
            let finished = finished.expect_code(1, "what can't be done");
            let errors = finished.stderr.lines().filter(|line| is_told(line));
            let said: Vec<String> = errors.map(|line| self.as_documented(line)).collect();
            assert!(!said.is_empty(), "no error: {finished}");
            assert_documented(&said.join(" "), &finished);
        }
    }

    /// A warning that the document has.
    #[track_caller]
    pub(crate) fn warns(&self, finished: &Finished, words: &str) {
        let warned = finished.stderr.lines().find(|line| line.contains(words));
        let warned = warned.unwrap_or_else(|| panic!("no such warning: {finished}"));
        // Without the time.
        let (_, warned) = warned.split_once(' ').expect("a time and a message");
        assert_documented(&self.as_documented(warned), finished);
    }

    /// A line of the program, with the paths that the document has.
    fn as_documented(&self, line: &str) -> String {
        let path = |path: PathBuf| path.into_os_string().into_string().expect("UTF-8");
        line.replace(&path(self.mountpoint.clone()), "/mnt/model")
            .replace(&path(self.user.home().join("scratch")), "/srv/tables")
            .replace(&path(self.user.home().join("root")), "/home/you")
            .replace(&path(self.user.home().to_owned()), "/home/you")
    }
}

fn is_told(line: &str) -> bool {
    line.starts_with("error: ") || line.starts_with("hint: ")
}

/// Lines may be wrapped anywhere.
fn words(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[track_caller]
fn assert_documented(said: &str, finished: &Finished) {
    let document = built::repository("docs/troubleshooting.md");
    let document = words(&fs::read_to_string(document).expect("read the document"));
    let said = words(said);
    assert!(
        document.contains(&said),
        "docs/troubleshooting.md doesn't have:\n{said}\n\n{finished}"
    );
}
