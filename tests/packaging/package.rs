//! The Debian package: installed, used, upgraded with a mount in use, and purged.
//!
//! On a machine that is this one, with all changes in memory: its root is an overlay of ours, in a
//! mount namespace of its own. So dpkg is the real one and knows what is installed, and nothing
//! here changes.

use std::path::Path;
use std::process::Command;
use std::sync::Mutex;
use std::time::Duration;

use tempfile::TempDir;
use test_support::missing::{Need, have, not_tested};
use test_support::mounted::scratch;
use test_support::process::{Finished, finish};
use test_support::{built, keys};

use crate::boot::System;

const LIMIT: Duration = Duration::from_secs(300);

/// Sets the machine up in `$1`, and runs the script `$2` there, which finds the files of `$3` in
/// `/given`. Then lists what is there that was not, but for what dpkg and others keep of any
/// package.
const MACHINE: &str = r#"
set -eu
mount -t tmpfs -o mode=755 tmpfs "$1"
mkdir "$1/upper" "$1/work" "$1/root"
mount -t overlay -o "lowerdir=/,upperdir=$1/upper,workdir=$1/work" overlay "$1/root" ||
    { echo no overlay; exit 0; }
mount -t proc proc "$1/root/proc"
mount --rbind /dev "$1/root/dev"
mount --rbind /sys "$1/root/sys"
mount -t tmpfs tmpfs "$1/root/run"
mkdir "$1/root/given"
mount --bind "$3" "$1/root/given"
status=0
chroot "$1/root" sh -euxc "$2" || status=$?
for target in $(findmnt --raw --noheadings --output TARGET --types fuse.model-fs); do
    case $target in "$1"/*) umount --lazy "$target" ;; esac
done
cd "$1/upper"
of_any='var/lib/(dpkg|systemd)|var/log|var/cache/(man|debconf|ldconfig)|etc/ld.so.cache'
find . ! -type d ! -type c | grep -Ev "^./($of_any)" |
    sed 's/^/LEFT /'
exit $status
"#;

/// Runs a script of sh as root on such a machine; `None` where there can be none.
#[track_caller]
fn on_a_machine(script: &str, given: &Path) -> Option<Finished> {
    let place = TempDir::new().expect("make a folder");
    let mut command = Command::new("unshare");
    command
        .args(["--mount", "--propagation", "private", "sh", "-c", MACHINE])
        .arg("sh")
        .arg(place.path())
        .arg(script)
        .arg(given)
        .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
        .env("HOME", "/root")
        .env("LC_ALL", "C")
        .env("DEBIAN_FRONTEND", "noninteractive");
    let finished = finish(&mut command, LIMIT).expect("the script");
    if finished.stdout.starts_with("no overlay") {
        not_tested("the Debian package on a machine: the kernel mounts no overlay here");
        return None;
    }
    Some(finished)
}

/// `cargo deb` strips the program to a file of one name for all.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

/// Packages of two versions of this build, and keys, in a folder; `None` without `cargo-deb`.
#[track_caller]
fn packages() -> Option<TempDir> {
    if ![Need::Fuse, Need::Root].into_iter().all(have) {
        return None;
    }
    let there = finish(
        Command::new("sh").args(["-c", "command -v cargo-deb"]),
        LIMIT,
    );
    if !there.succeeded() {
        not_tested("the Debian package: cargo-deb isn't installed");
        return None;
    }
    let _guard = ONE_AT_A_TIME.lock();
    let folder = scratch();
    let profile = Path::new(built::program()).parent();
    let profile = profile.and_then(Path::file_name).expect("a folder");
    for version in ["0.1.0-1", "0.1.1-1"] {
        let mut command = Command::new(env!("CARGO"));
        command
            .args(["deb", "--no-build", "--locked", "--offline", "--profile"])
            .arg(if profile == "debug" {
                "dev".as_ref()
            } else {
                profile
            })
            // What is looked at is what is in it, not how small it is.
            .args(["--fast", "--no-dbgsym", "--strip"])
            .args(["--deb-version", version, "--output"])
            .arg(folder.path().join(format!("{version}.deb")))
            .current_dir(env!("CARGO_MANIFEST_DIR"));
        finish(&mut command, LIMIT).expect("cargo deb");
    }
    for (key, name) in [("p256-pkcs8.pem", "key.pem"), ("p256-pub.pem", "key.pub")] {
        std::fs::copy(keys::path(key), folder.path().join(name)).expect("copy a key");
    }
    Some(folder)
}

#[test]
fn what_the_package_holds_is_where_debian_has_it() {
    let Some(given) = packages() else { return };
    let package = given.path().join("0.1.0-1.deb");
    let list = finish(Command::new("dpkg-deb").arg("-c").arg(&package), LIMIT);
    let list = list.expect("list the package").stdout;
    for name in [
        "/usr/bin/model-fs",
        "/usr/sbin/mount.model-fs -> ../bin/model-fs",
        "/usr/sbin/mount.fuse.model-fs -> ../bin/model-fs",
        "/usr/share/man/man1/model-fs-mount.1.gz",
        "/usr/share/man/man8/mount.model-fs.8.gz",
        "/usr/share/bash-completion/completions/model-fs",
        "/usr/share/zsh/vendor-completions/_model-fs",
        "/usr/share/fish/vendor_completions.d/model-fs.fish",
        "/usr/lib/systemd/system/model-fs@.service",
        "/usr/share/doc/model-fs/examples/fstab",
        "/usr/share/doc/model-fs/examples/trust.toml",
        "/usr/share/doc/model-fs/copyright",
    ] {
        let there = list.lines().any(|line| line.ends_with(name));
        assert!(there, "{name}:\n{list}");
    }
    // Everything belongs to root, and nobody else may write to it.
    for line in list.lines() {
        assert!(
            line.contains(" 0/0 ") || line.contains(" root/root "),
            "{line}"
        );
        let (group, others) = (&line[5..6], &line[8..9]);
        assert!(
            line.starts_with('l') || (group, others) == ("-", "-"),
            "{line}"
        );
    }
    let field = |name| {
        let mut command = Command::new("dpkg-deb");
        let field = command.arg("-f").arg(&package).arg(name);
        finish(field, LIMIT).expect("read a field").stdout
    };
    assert!(field("Depends").contains("libc6"), "{}", field("Depends"));
    assert_eq!(field("Recommends").trim(), "fuse3");
}

/// Installs, mounts by fstab, upgrades while the mount is in use, and purges while it is mounted.
const LIFE: &str = r#"
dpkg --install /given/0.1.0-1.deb
mkdir -p /srv/model /mnt/model /etc/model-fs
head -c 3000000 /dev/urandom > /srv/model/weights
model-fs sign /srv/model --private-key /given/key.pem
cp /given/key.pub /etc/model-fs/signer.pem
echo "/srv/model /mnt/model fuse.model-fs ro,keep_alive,public_key=/etc/model-fs/signer.pem 0 0" \
    > /etc/fstab
mount -a
test "$(findmnt -nro FSTYPE /mnt/model)" = fuse.model-fs
mkdir -p /var/cache/model-fs/index
exec 7< /mnt/model/weights
dpkg --install /given/0.1.1-1.deb
test "$(dpkg-query -Wf '${Version}' model-fs)" = 0.1.1-1
cmp /srv/model/weights /proc/self/fd/7
cmp /srv/model/weights /mnt/model/weights
model-fs status /mnt/model
if umount /mnt/model 2>/dev/null; then exit 9; fi
exec 7<&-
umount /mnt/model
mount /mnt/model
dpkg --purge model-fs
cmp /srv/model/weights /mnt/model/weights
umount /mnt/model
test ! -e /usr/bin/model-fs
test ! -e /usr/sbin/mount.model-fs
test ! -e /var/cache/model-fs
echo through
"#;

#[test]
fn a_mount_goes_on_through_upgrade_and_purge_and_nothing_is_left() {
    let Some(given) = packages() else { return };
    let Some(finished) = on_a_machine(LIFE, given.path()) else {
        return;
    };
    assert!(finished.stdout.contains("\nthrough\n"), "{finished}");
    let mut left: Vec<&str> = finished
        .stdout
        .lines()
        .filter_map(|line| line.strip_prefix("LEFT ."))
        // Chunk tables, named by digests, that the administrator has made by signing and mounting.
        .filter(|path| !path.starts_with("/root/.cache/model-fs/index/"))
        .filter(|path| !path.starts_with("/srv/model/.model-fs/"))
        .collect();
    left.sort_unstable();
    let made = [
        "/etc/fstab",
        "/etc/model-fs/signer.pem",
        "/srv/model/model.sig",
        "/srv/model/weights",
    ];
    assert_eq!(left, made, "{finished}");
}

/// The same by the unit that the package brings, in a system that systemd runs. Its `/usr` is an
/// overlay in memory, and its dpkg knows of no other package.
const SERVICE: &str = r#"
mkdir /run/over
mount -t tmpfs tmpfs /run/over
mkdir /run/over/upper /run/over/work
mount -t overlay -o lowerdir=/usr,upperdir=/run/over/upper,workdir=/run/over/work overlay /usr
mkdir -p /var/lib/dpkg/updates /var/lib/dpkg/info
: > /var/lib/dpkg/status
dpkg --force-depends --install /given/0.1.0-1.deb
mkdir -p /srv/models/llm /etc/model-fs
head -c 3000000 /dev/urandom > /srv/models/llm/weights
model-fs sign /srv/models/llm --private-key /given/key.pem
cp /given/key.pub /etc/model-fs/signer.pem
cp /usr/share/doc/model-fs/examples/example.conf /etc/model-fs/llm.conf
systemctl enable --now model-fs@llm.service
systemctl is-active model-fs@llm.service
exec 7< /mnt/llm/weights
main() { systemctl show --property=MainPID --value model-fs@llm.service; }
before=$(main)
dpkg --force-depends --install /given/0.1.1-1.deb
test "$(main)" = "$before"
cmp /srv/models/llm/weights - <&7
model-fs upgrade /mnt/llm
cmp /srv/models/llm/weights /mnt/llm/weights
systemctl is-active model-fs@llm.service
exec 7<&-
dpkg --purge model-fs
# Who takes the program away doesn't take the model from its readers.
cmp /srv/models/llm/weights /mnt/llm/weights
systemctl disable --now model-fs@llm.service
fails findmnt /mnt/llm
find /run/over/upper ! -type d ! -type c ! -path '*/cache/*' | sed 's/^/LEFT /'
find /etc /var ! -type d -path '*model-fs*' ! -path '/var/log/*' | sed 's/^/KEPT /'
"#;

#[test]
fn a_service_goes_on_through_upgrade_and_purge() {
    let Some(given) = packages() else { return };
    let Some(system) = System::to_install_on(given.path()) else {
        return;
    };
    let said = system.shows(SERVICE);
    let mut kept: Vec<&str> = said
        .lines()
        .filter_map(|line| line.strip_prefix("KEPT "))
        .collect();
    kept.sort_unstable();
    let made = ["/etc/model-fs/llm.conf", "/etc/model-fs/signer.pem"];
    assert_eq!(kept, made, "{said}");
    assert!(!said.contains("\nLEFT "), "{said}");
}
