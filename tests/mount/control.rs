//! The socket on which a mount tells its status: who may ask there, and that `status` does.

use std::fs;
use std::io::{Read as _, Write as _};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::process::{Signal, kill_process};
use serde_json::Value;
use test_support::built;
use test_support::process::finish;
use test_support::unprivileged::OrdinaryUser;

use crate::operations::until;
use crate::support::{BLAKE3, Host, LIMIT, Model, Mount, in_pages, text};
use crate::users::{Clear, run, user_with_a_signed_model};

fn model() -> Model {
    let model = Model::new([("weights", 1 << 20)]);
    model.sign(BLAKE3);
    model
}

/// The folder of this user's sockets.
fn folder() -> PathBuf {
    match rustix::process::geteuid().as_raw() {
        0 => "/run/model-fs".into(),
        user => format!("/run/user/{user}/model-fs").into(),
    }
}

/// Where the mount on `mountpoint` tells its status, in the folder of the user who mounted.
pub(crate) fn socket_in(folder: &Path, mountpoint: &Path) -> PathBuf {
    let device = fs::metadata(mountpoint).expect("stat").dev();
    let (major, minor) = (rustix::fs::major(device), rustix::fs::minor(device));
    let lane = if in_pages() { "pages" } else { "fuse" };
    folder.join(format!("{lane}-{major}:{minor}"))
}

/// The same of a mount of this user, once it is there; `None`, with the attribute in its place,
/// where the user has no folder for it.
pub(crate) fn socket(mount: &Mount) -> Option<PathBuf> {
    let socket = socket_in(&folder(), mount.path());
    let has_folder = folder().parent().is_some_and(Path::exists);
    if has_folder {
        until("the socket is there", || {
            UnixStream::connect(&socket).is_ok()
        });
    }
    has_folder.then_some(socket)
}

/// Which file has a name: once a mount is gone, another may have its number.
fn file(path: &Path) -> Option<u64> {
    fs::symlink_metadata(path).ok().map(|found| found.ino())
}

fn told(socket: &Path) -> Value {
    let mut text = String::new();
    let mut stream = UnixStream::connect(socket).expect("connect");
    stream.read_to_string(&mut text).expect("read");
    serde_json::from_str(&text).expect("JSON")
}

/// What `status --json` says of a mount.
fn said(host: &Host, mount: &Mount) -> Value {
    let status = host.run(host.command("status").arg("--json").arg(mount.path()));
    serde_json::from_str(&status.expect("status").stdout).expect("JSON")
}

/// A daemon that isn't ours, at a name where one of ours was: it says what it is given, until this
/// is dropped.
struct Other(PathBuf);

impl Other {
    fn new(socket: &Path, says: &Value) -> Self {
        fs::remove_file(socket).expect("remove");
        let listener = UnixListener::bind(socket).expect("listen");
        let says = says.to_string();
        std::thread::spawn(move || {
            while let Ok((mut asking, _)) = listener.accept() {
                let _ = asking.write_all(says.as_bytes());
            }
        });
        Self(socket.to_owned())
    }
}

impl Drop for Other {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

#[test]
fn status_asks_the_daemon_and_where_that_is_out_of_reach_the_file_system() {
    let Some(host) = Host::new() else { return };
    let model = model();
    let mount = host.mount(&model.path(), &[]);
    let Some(socket) = socket(&mount) else { return };
    let mode = fs::metadata(folder()).expect("stat").permissions().mode();
    assert_eq!(mode & 0o7777, 0o700);
    let mut daemon = told(&socket);
    assert_eq!(daemon["root_digest"], said(&host, &mount)["root_digest"]);
    assert_eq!(daemon["mount"]["mountpoint"], text(mount.path()));
    daemon["model_name"] = "told on the socket".into();
    let other = Other::new(&socket, &daemon);
    assert_eq!(said(&host, &mount)["model_name"], "told on the socket");
    drop(other);
    if in_pages() {
        let status = host.run(host.command("status").arg(mount.path()));
        status.expect_code(1, "status");
    } else {
        let attribute = said(&host, &mount);
        assert_ne!(attribute["model_name"], "told on the socket");
        assert_eq!(attribute["root_digest"], daemon["root_digest"]);
    }
    if !in_pages() {
        mount.unmount();
    }
}

#[test]
fn no_name_is_left_of_a_mount_that_was_taken_away() {
    let Some(host) = Host::new() else { return };
    let model = model();
    let mut mount = host.mount(&model.path(), &[]);
    let Some(found) = socket(&mount) else { return };
    kill_process(mount.pid(), Signal::KILL).expect("kill");
    mount.wait();
    let before = file(&found).expect("the name stays");
    let umount = host.run(host.command("umount").arg(mount.path()));
    umount.expect("umount");
    assert_ne!(file(&found), Some(before));

    let mount = host.mount(&model.path(), &[]);
    let found = socket(&mount).expect("as before");
    let before = file(&found).expect("it is there");
    mount.unmount();
    assert_ne!(file(&found), Some(before));
}

#[test]
fn others_reach_no_socket_and_nothing_of_theirs_is_asked() {
    if !rustix::process::geteuid().is_root() {
        eprintln!("left out: needs root and another user");
        return;
    }
    let Some(host) = Host::new() else { return };
    let Some(user) = user_with_a_signed_model() else {
        return;
    };
    let model = model();
    let mount = host.mount(&model.path(), &[]);
    let found = socket(&mount).expect("root has a folder");
    let script = "import socket,sys; socket.socket(socket.AF_UNIX).connect(sys.argv[1])";
    let mut connect = user.command("python3");
    let refused = finish(connect.args(["-c", script, text(&found)]), LIMIT);
    assert!(refused.stderr.contains("PermissionError"), "{refused}");
    mount.unmount();

    // As a login manager makes it.
    let runtime = RuntimeFolder::new(&user);
    let mountpoint = user.folder("told");
    let mount = ["mount", "model", "told", "--public-key", "public.pem"];
    run(&user, built::program(), &mount).expect("mount");
    let clear = Clear(mountpoint.clone());
    let (folder, socket) = runtime.socket();
    assert_eq!(
        fs::metadata(&folder).expect("stat").permissions().mode() & 0o7777,
        0o700
    );
    let by_user = ["status", "--json", "told"];
    let by_user = || {
        run(&user, built::program(), &by_user)
            .expect("status")
            .stdout
    };
    let by_root = || {
        let mut command = host.command("status");
        host.run(command.arg("--json").arg(&mountpoint))
    };
    // The kernel lets root into no mount of others that isn't open to all; the socket does.
    fs::metadata(&mountpoint).expect_err("root is kept out of the mount");
    assert_eq!(told(&socket)["mount"]["mountpoint"], text(&mountpoint));
    for said in [by_user(), by_root().expect("status").stdout] {
        let said: Value = serde_json::from_str(&said).expect("JSON");
        assert_eq!(said["mount"]["mountpoint"], text(&mountpoint), "{said}");
        assert_eq!(said["violations"], 0);
    }

    // The name leads to a service that root would be let in by, and the user not.
    let mut says = told(&socket);
    says["model_name"] = "told by another service".into();
    let service = user.home().join("service");
    fs::write(&service, "").expect("write");
    let _other = Other::new(&service, &says);
    fs::remove_file(&socket).expect("remove");
    for lead in [
        (|service: &Path, socket: &Path| std::os::unix::fs::symlink(service, socket)) as Lead,
        |service, socket| fs::hard_link(service, socket),
    ] {
        if lead(&service, &socket).is_err() {
            continue; // another file system
        }
        let refused = by_root().expect_code(1, "status");
        assert!(!refused.stdout.contains("another service"), "{refused}");
        assert!(
            refused.stderr.contains("isn't open to this user"),
            "{refused}"
        );
        fs::remove_file(&socket).expect("remove");
    }
    // So does the folder.
    let elsewhere = user.home().join("elsewhere");
    fs::rename(&folder, &elsewhere).expect("rename");
    std::os::unix::fs::symlink(&elsewhere, &folder).expect("link");
    let _own = Other::new(
        &{
            let own = elsewhere.join(socket.file_name().expect("a name"));
            fs::write(&own, "").expect("write");
            own
        },
        &says,
    );
    let refused = by_root().expect_code(1, "status");
    assert!(!refused.stdout.contains("another service"), "{refused}");
    drop(clear);
}

/// Has `service` be met at the name of a socket.
type Lead = fn(&Path, &Path) -> std::io::Result<()>;

/// A folder as a login manager makes it for a user who logs in.
struct RuntimeFolder(PathBuf);

impl RuntimeFolder {
    fn new(user: &OrdinaryUser) -> Self {
        let owner = fs::metadata(user.home()).expect("stat");
        let folder = PathBuf::from(format!("/run/user/{}", owner.uid()));
        fs::create_dir_all(&folder).expect("make it");
        fs::set_permissions(&folder, fs::Permissions::from_mode(0o700)).expect("chmod");
        chown(&folder, Some(owner.uid()), Some(owner.gid())).expect("chown");
        Self(folder)
    }

    /// The folder of the sockets, and the newest one: other tests have mounts of the same user.
    fn socket(&self) -> (PathBuf, PathBuf) {
        let folder = self.0.join("model-fs");
        let sockets = fs::read_dir(&folder).expect("list").flatten();
        let sockets = sockets.map(|entry| entry.path()).filter(|path| {
            let told = UnixStream::connect(path).is_ok().then(|| told(path));
            told.is_some_and(|told| {
                told["mount"]["mountpoint"]
                    .as_str()
                    .is_some_and(|at| at.ends_with("/told"))
            })
        });
        let sockets: Vec<_> = sockets.collect();
        assert_eq!(sockets.len(), 1, "{sockets:?}");
        (folder, sockets[0].clone())
    }
}

impl Drop for RuntimeFolder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[test]
fn a_status_between_two_servers_is_a_whole_one() {
    let Some(host) = Host::new() else { return };
    let model = model();
    let mount = host.mount(&model.path(), &["--keep-alive"]);
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let asking = scope.spawn(|| {
            let mut asked = 0;
            while !over.load(Ordering::Relaxed) {
                let said = said(&host, &mount);
                assert_eq!(said["mount"]["mountpoint"], text(mount.path()), "{said}");
                assert!(said["kept"]["earlier_processes"].is_u64(), "{said}");
                asked += 1;
            }
            asked
        });
        // A few: a server that is killed again and again is given up.
        for _ in 0..6 {
            crate::kept::kill(&mount);
        }
        over.store(true, Ordering::Relaxed);
        assert!(asking.join().expect("each status is whole") > 0);
    });
    mount.unmount();
}
