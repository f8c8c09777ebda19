//! What a mount shows, and that nothing changes it.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, OpenOptions, Permissions};
use std::io;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::Path;

use rustix::fs::{Access, AtFlags, CWD, RenameFlags, XattrFlags};
use rustix::io::Errno;
use sha2::Digest as _;
use test_support::built;
use test_support::missing::{Need, have};
use test_support::mounted::scratch;
use test_support::process::finish;
use test_support::unprivileged::OrdinaryUser;

use crate::support::{
    BLAKE3, CHUNK, EIO, Host, LIMIT, Mode, Model, Mount, SHA256, assert_eio, assert_same, in_pages,
    python, read_range, tool,
};

fn errno<T: std::fmt::Debug>(result: io::Result<T>) -> Option<Errno> {
    match result {
        Ok(done) => panic!("it was done: {done:?}"),
        Err(error) => error.raw_os_error().map(Errno::from_raw_os_error),
    }
}

#[test]
fn every_kind_of_change_is_refused_as_on_a_read_only_file_system() {
    let Some(host) = Host::new() else { return };
    let model = Model::new([("file", 10), ("dir/file", 10)]);
    model.sign(BLAKE3);
    let mount = host.mount(&model.path(), &[]);
    let (file, dir, new) = (mount.file("file"), mount.file("dir"), mount.file("new"));
    let from = |result: rustix::io::Result<()>| result.map_err(io::Error::from);

    for path in [&file, &mount.file("model.sig")] {
        for options in [
            OpenOptions::new().write(true),
            OpenOptions::new().append(true),
            OpenOptions::new().read(true).write(true),
            OpenOptions::new().write(true).truncate(true),
        ] {
            assert_eq!(errno(options.open(path)), Some(Errno::ROFS), "{options:?}");
        }
    }
    let changes: [(&str, io::Result<()>); 16] = [
        ("create", fs::write(&new, b"x")),
        ("create in a directory", fs::write(dir.join("new"), b"x")),
        ("unlink", fs::remove_file(&file)),
        ("mkdir", fs::create_dir(&new)),
        ("rmdir", fs::remove_dir(&dir)),
        ("rename", fs::rename(&file, &new)),
        (
            "exchange",
            from(rustix::fs::renameat_with(
                CWD,
                &file,
                CWD,
                dir.join("file"),
                RenameFlags::EXCHANGE,
            )),
        ),
        (
            "chmod",
            fs::set_permissions(&file, Permissions::from_mode(0o600)),
        ),
        ("chown", std::os::unix::fs::chown(&file, Some(1), Some(1))),
        ("link", fs::hard_link(&file, &new)),
        ("symlink", std::os::unix::fs::symlink("file", &new)),
        (
            "setxattr",
            from(rustix::fs::setxattr(
                &file,
                "user.x",
                b"1",
                XattrFlags::empty(),
            )),
        ),
        (
            "removexattr",
            from(rustix::fs::removexattr(&file, "user.model-fs.digest")),
        ),
        (
            "truncate",
            OpenOptions::new()
                .write(true)
                .open(&file)
                .and_then(|f| f.set_len(0)),
        ),
        ("mknod", {
            let mode = rustix::fs::Mode::RUSR;
            from(rustix::fs::mknodat(
                CWD,
                &new,
                rustix::fs::FileType::Fifo,
                mode,
                0,
            ))
        }),
        ("utimes", {
            let now = rustix::fs::Timespec {
                tv_sec: 1,
                tv_nsec: 0,
            };
            let times = rustix::fs::Timestamps {
                last_access: now,
                last_modification: now,
            };
            from(rustix::fs::utimensat(CWD, &file, &times, AtFlags::empty()))
        }),
    ];
    for (what, result) in changes {
        assert_eq!(errno(result), Some(Errno::ROFS), "{what}");
    }
    let found = read_range(&file, Mode::Direct, 0, 100).expect("read");
    assert_same(&found, model.bytes("file"), "after all of it");
    mount.unmount();
}

#[test]
fn attributes_say_what_was_signed_and_by_whom() {
    let Some(host) = Host::new() else { return };
    let model = Model::new([("small", 10), ("large", 3 << 20)]);
    model.sign(SHA256);
    let mount = host.mount(&model.path(), &[]);
    let attribute = |path: &Path, name: &str| {
        let mut value = vec![0; 64 << 10];
        let len = rustix::fs::getxattr(path, name, &mut value[..]).map_err(io::Error::from)?;
        value.truncate(len);
        Ok::<_, io::Error>(String::from_utf8(value).expect("UTF-8"))
    };
    let names = |path: &Path| {
        let mut list = vec![0; 4096];
        let len = rustix::fs::listxattr(path, &mut list[..]).expect("listxattr");
        list.truncate(len);
        String::from_utf8(list).expect("UTF-8")
    };
    let digest = hex::encode(sha2::Sha256::digest(model.bytes("large")));
    let large = mount.file("large");
    assert_eq!(
        attribute(&large, "user.model-fs.digest").expect("digest"),
        format!("sha256:{digest}")
    );
    if in_pages() {
        // What changes is no attribute there, and what doesn't is listed.
        let state = attribute(&large, "user.model-fs.state").expect_err("a state");
        assert_eq!(state.raw_os_error(), Some(Errno::NODATA.raw_os_error()));
        assert_eq!(names(&large), "user.model-fs.digest\0");
        mount.unmount();
        return;
    }
    assert_eq!(
        attribute(&large, "user.model-fs.state").expect("state"),
        "unproved"
    );
    read_range(&large, Mode::Cached, 0, 1).expect("read");
    assert_eq!(
        attribute(&large, "user.model-fs.state").expect("state"),
        "proved"
    );
    // A program that copies files would copy every listed attribute.
    let root = mount.path();
    for path in [root, &large, &mount.file("small"), &mount.file("model.sig")] {
        assert_eq!(names(path), "", "{}", path.display());
    }
    assert!(
        !attribute(root, "user.model-fs.signer")
            .expect("signer")
            .is_empty()
    );
    let status = mount.status();
    assert_eq!(
        attribute(root, "user.model-fs.digest").expect("digest"),
        status.root_digest
    );
    for path in [root, &large, &mount.file("model.sig")] {
        for name in [
            "user.other",
            "security.capability",
            "system.posix_acl_access",
        ] {
            let refused = errno(attribute(path, name));
            assert!(
                matches!(refused, Some(Errno::NODATA | Errno::OPNOTSUPP)),
                "{refused:?}"
            );
        }
    }
    let mut little = [0; 3];
    let refused = rustix::fs::getxattr(&large, "user.model-fs.digest", &mut little[..]);
    assert_eq!(
        refused
            .map_err(io::Error::from)
            .map_err(|e| e.raw_os_error()),
        Err(Some(Errno::RANGE.raw_os_error()))
    );
    mount.unmount();
}

#[test]
fn stat_tells_sizes_and_constants() {
    let Some(host) = Host::new() else { return };
    let model = Model::new([("file", CHUNK + 1), ("dir/sub/file", 10), ("dir/b", 0)]);
    model.sign(BLAKE3);
    // What isn't signed isn't shown: times, modes and owners of the source.
    fs::set_permissions(model.file("file"), Permissions::from_mode(0o4777)).expect("chmod");
    let mount = host.mount(&model.path(), &[]);
    let (uid, gid) = (
        rustix::process::getuid().as_raw(),
        rustix::process::getgid().as_raw(),
    );
    let mut inodes = BTreeSet::new();
    for (path, mode, size, links) in [
        ("", 0o040_755, 0, 3),
        ("dir", 0o040_755, 0, 3),
        ("dir/sub", 0o040_755, 0, 2),
        ("file", 0o100_644, CHUNK + 1, 1),
        ("dir/sub/file", 0o100_644, 10, 1),
        ("dir/b", 0o100_644, 0, 1),
    ] {
        let found = fs::symlink_metadata(mount.file(path)).expect("stat");
        // Through EROFS, permission bits alone keep others out, directories have a size, and blocks
        // are whole ones.
        let (mode, size, blocks) = match in_pages() {
            true if path.is_empty() => (0o040_700, found.size(), found.blocks()),
            true if found.is_dir() => (mode, found.size(), found.blocks()),
            true => (mode, size, size.div_ceil(4096) * 8),
            false => (mode, size, size.div_ceil(512)),
        };
        assert_eq!(found.mode(), mode, "{path}");
        assert_eq!((found.size(), found.nlink()), (size, links), "{path}");
        assert_eq!((found.uid(), found.gid()), (uid, gid), "{path}");
        let time = (found.mtime(), found.mtime_nsec());
        for other in [
            (found.atime(), found.atime_nsec()),
            (found.ctime(), found.ctime_nsec()),
        ] {
            assert_eq!(other, time, "{path}");
        }
        // From 1980 to 2024.
        assert!(
            (315_532_800..1_704_067_200).contains(&time.0),
            "{path}: {time:?}"
        );
        assert_eq!(found.blocks(), blocks, "{path}");
        assert!(inodes.insert(found.ino()), "{path}");
    }
    let total = rustix::fs::statvfs(mount.path()).expect("statfs");
    let blocks = (CHUNK + 11_u64).div_ceil(4096);
    if in_pages() {
        // Those of the image too, and each file has whole ones. EROFS says that none is free, and
        // counts inodes down from as many as can be.
        assert!((blocks..blocks + 8).contains(&total.f_blocks));
        assert_eq!((total.f_bfree, total.f_bavail), (0, 0));
        assert_eq!(total.f_files - total.f_ffree, 7);
    } else {
        assert_eq!(total.f_blocks, blocks);
        assert_eq!((total.f_bfree, total.f_bavail), (blocks, blocks));
        // Three files, three directories, and the signature.
        assert_eq!((total.f_files, total.f_ffree), (7, 7));
    }
    assert_eq!(total.f_namemax, 255);
    assert!(total.f_flag.contains(rustix::fs::StatVfsMountFlags::RDONLY));

    for (path, access, answer) in [
        ("file", Access::READ_OK, Ok(())),
        ("file", Access::EXISTS, Ok(())),
        ("file", Access::WRITE_OK, Err(Errno::ROFS)),
        ("file", Access::EXEC_OK, Err(Errno::ACCESS)),
        ("dir", Access::EXEC_OK, Ok(())),
        ("dir", Access::WRITE_OK, Err(Errno::ROFS)),
        ("nothing", Access::EXISTS, Err(Errno::NOENT)),
        ("file/x", Access::EXISTS, Err(Errno::NOTDIR)),
        (&"x".repeat(255), Access::EXISTS, Err(Errno::NOENT)),
        (&"x".repeat(256), Access::EXISTS, Err(Errno::NAMETOOLONG)),
        (&"x".repeat(1000), Access::EXISTS, Err(Errno::NAMETOOLONG)),
    ] {
        assert_eq!(
            rustix::fs::access(mount.file(path), access),
            answer,
            "{path} {access:?}"
        );
    }
    mount.unmount();
}

/// The modification times of all of a mount, in whole seconds, which is what most programs compare.
fn seconds(mount: &Path) -> BTreeMap<String, i64> {
    let mut paths = walk(mount);
    paths.insert(String::new());
    paths.insert("sub".to_owned());
    paths
        .into_iter()
        .map(|path| {
            let found = fs::symlink_metadata(mount.join(&path)).expect("stat");
            (path, found.mtime())
        })
        .collect()
}

#[test]
fn times_change_with_what_was_signed_and_with_nothing_else() {
    let Some(host) = Host::new() else { return };
    let sharded: &[&str] = &["--hash", "sha256", "--shard-size", "100000"];
    for options in [BLAKE3, SHA256, sharded] {
        let mut model = Model::new([("same", 300_000), ("sub/changed", 3 << 20)]);
        let times_of = |model: &Model| {
            let mount = host.mount(&model.path(), &[]);
            let times = seconds(mount.path());
            mount.unmount();
            times
        };
        model.sign(options);
        let first = times_of(&model);
        assert_eq!(times_of(&model), first, "another mount");
        // The source's times don't matter, nor does who signs, or when.
        fs::File::options()
            .write(true)
            .open(model.file("same"))
            .and_then(|file| file.set_modified(std::time::SystemTime::UNIX_EPOCH))
            .expect("change a time");
        let signature = "model.sig";
        fs::remove_file(model.file(signature)).expect("remove");
        model.sign(options);
        let mut again = times_of(&model);
        assert_ne!(again[signature], first[signature], "another signature");
        again.insert(signature.to_owned(), first[signature]);
        assert_eq!(again, first, "signed again");

        let mut bytes = model.bytes("sub/changed").to_vec();
        bytes[2_000_000] ^= 1;
        model.add("sub/changed", bytes);
        fs::remove_file(model.file(signature)).expect("remove");
        model.sign(options);
        let changed = times_of(&model);
        for path in ["", "sub", "sub/changed", signature] {
            assert_ne!(changed[path], first[path], "{path}");
        }
        assert_eq!(changed["same"], first["same"]);
    }
}

#[test]
fn python_runs_the_version_that_is_mounted_and_not_the_one_that_it_has_cached() {
    let Some(host) = Host::new() else { return };
    let place = scratch();
    let cache = host.home().join("pycache");
    for version in ["1", "2"] {
        let mut model = Model::new([("config.json", 10)]);
        let module = format!("VERSION = {version}\n");
        model.add("modeling.py", module.into_bytes());
        model.sign(BLAKE3);
        // The same place each time.
        let mountpoint = tempfile::Builder::new()
            .prefix("mnt")
            .rand_bytes(0)
            .tempdir_in(place.path())
            .expect("make a mountpoint");
        let mut command = host.on_model("mount", &model.path(), &[]);
        command.arg("--foreground").arg("--").arg(mountpoint.path());
        let mount = Mount::of(command, mountpoint);
        let script = "import sys; sys.pycache_prefix, path = sys.argv[1:]; \
                      sys.path.insert(0, path); import modeling; print(modeling.VERSION)";
        for _ in 0..2 {
            let mut python = python();
            python.arg("-c").arg(script).arg(&cache).arg(mount.path());
            let finished = finish(&mut python, LIMIT).expect("import a module");
            assert_eq!(finished.stdout.trim(), version, "{finished}");
        }
        mount.unmount();
        assert!(!walk(&cache).is_empty(), "Python cached nothing");
    }
}

/// A mount that an ordinary user may look into, and that user. Where the tests don't run as root,
/// that is the user who runs them. `None` only where the tests were switched off.
fn mounted_for_all(host: &Host, model: &Model) -> Option<(OrdinaryUser, Mount)> {
    let user = OrdinaryUser::new()?;
    let mountpoint = tempfile::TempDir::new_in(user.home()).expect("make a mountpoint");
    let mut command = host.on_model("mount", &model.path(), &[]);
    if rustix::process::geteuid().is_root() {
        command.arg("--allow-other");
    }
    command.arg("--foreground").arg("--").arg(mountpoint.path());
    Some((user, Mount::of(command, mountpoint)))
}

#[test]
fn copies_belong_to_whoever_made_them_and_can_be_changed_and_removed() {
    let Some(host) = Host::new() else { return };
    let model = Model::new([("weights", 100_000), ("sub/dir/module.py", 10)]);
    model.sign(BLAKE3);
    let Some((user, mount)) = mounted_for_all(&host, &model) else {
        return;
    };
    let mnt = mount.path().to_str().expect("UTF-8");
    let run = |program: &str, arguments: &[&str]| {
        finish(user.command(program).args(arguments), LIMIT).expect(program);
    };
    for options in [&["-r"][..], &["-a"], &["-r", "--preserve=mode,xattr"]] {
        run("cp", &[options, &[mnt, "copy"]].concat());
        let copy = user.home().join("copy");
        for path in ["", "weights", "sub/dir/module.py", "model.sig"] {
            let path = copy.join(path);
            let mut names = [0; 4096];
            // A file system may have none.
            let listed = rustix::fs::listxattr(&path, &mut names[..]).unwrap_or(0);
            let names = String::from_utf8_lossy(&names[..listed]);
            assert!(!names.contains("model-fs"), "{}: {names}", path.display());
        }
        run("sh", &["-c", "echo changed > copy/sub/dir/module.py"]);
        run("sh", &["-c", "echo new > copy/sub/new"]);
        run("rm", &["-r", "copy"]);
    }
    let denied = finish(user.command("test").arg("-w").arg(mount.path()), LIMIT);
    assert_eq!(denied.code(), Some(1), "{denied}");
    mount.unmount();
}

#[test]
fn rsync_copies_with_extended_attributes() {
    let Some(host) = Host::new() else { return };
    if !have(Need::Rsync) {
        return;
    }
    let mut model = Model::new([("weights", 100_000)]);
    model.add("module.py", b"VERSION = 1".to_vec());
    model.sign(BLAKE3);
    let copy = model.beside("copy");
    for version in [&b"VERSION = 1"[..], b"VERSION = 2"] {
        model.add("module.py", version.to_vec());
        let _ = fs::remove_file(model.file("model.sig"));
        model.sign(BLAKE3);
        let mount = host.mount(&model.path(), &[]);
        let from = format!("{}/", mount.path().display());
        let to = copy.to_str().expect("UTF-8");
        tool("rsync", ["-aX", &from, to]).expect("rsync");
        mount.unmount();
        assert_eq!(fs::read(copy.join("module.py")).expect("read"), version);
    }
}

#[test]
fn only_the_owner_and_root_see_the_full_status() {
    let Some(host) = Host::new() else { return };
    // Only root can also run programs as another user.
    if !have(Need::Root) {
        return;
    }
    let model = Model::new([("secret-name", 3 << 20)]);
    model.sign(BLAKE3);
    let Some((user, mount)) = mounted_for_all(&host, &model) else {
        return;
    };
    test_support::mounted::flip(&model.file("secret-name"), 5);
    let read = read_range(&mount.file("secret-name"), Mode::Direct, 0, 1);
    crate::support::assert_eio(read, "a changed byte");
    let full = format!("{:?}", mount.status());
    let found = "found ";
    assert!(
        full.contains("secret-name") && full.contains(found),
        "{full}"
    );

    let mut status = user.command_as_nobody(Path::new(built::program()));
    status.args(["status", "--json"]).arg(mount.path());
    let finished = finish(&mut status, LIMIT).expect("status");
    let public: serde_json::Value = serde_json::from_str(&finished.stdout).expect("JSON");
    assert_eq!(public["failures"], 1);
    assert_eq!(public["root_digest"], mount.status().root_digest);
    for secret in ["secret-name", found, "recent", "_bytes"] {
        assert!(!finished.stdout.contains(secret), "{secret}: {finished}");
    }
    for path in [mount.path(), &model.path()] {
        let path = path.to_str().expect("UTF-8");
        assert!(!finished.stdout.contains(path), "{path}: {finished}");
    }
    mount.unmount();
}

/// The model's owner may have a signed name lead to a file that only root can see. Users who can't
/// see it aren't told its length.
#[test]
fn others_are_not_told_lengths_that_are_only_claimed_where_links_are_followed() {
    let Some(host) = Host::new() else { return };
    // Only root mounts for others.
    if !have(Need::Root) {
        return;
    }
    let model = Model::new([("big", 3 << 20)]);
    model.sign(&[SHA256, &["--allow-symlinks"]].concat());
    let Some((user, mount)) = mounted_for_all(&host, &model) else {
        return;
    };
    let secret = host.home().join("secret");
    fs::write(&secret, vec![7; 4_000_123]).expect("write");
    fs::set_permissions(&secret, Permissions::from_mode(0o600)).expect("chmod");
    model.remove("big");
    std::os::unix::fs::symlink(&secret, model.file("big")).expect("link");
    let size = |mut stat: std::process::Command| {
        stat.args(["--format=%s"]).arg(mount.file("big"));
        finish(&mut stat, LIMIT)
    };
    let own = size(std::process::Command::new("stat")).expect("stat");
    assert_eq!(
        own.stdout.trim(),
        "4000123",
        "the owner sees what is claimed"
    );
    let shown = || size(user.command("stat")).expect("stat").stdout;
    let cmp = || {
        let mut cmp = user.command("cmp");
        cmp.args([mount.file("big"), mount.file("big")]);
        cmp.arg("--bytes=1");
        finish(&mut cmp, LIMIT)
    };
    assert_eq!(shown().trim(), "0");
    assert!(
        !cmp().succeeded(),
        "what isn't as it was signed isn't opened"
    );
    assert_eq!(shown().trim(), "0");
    // What is as it was signed works, for others too: opening it proves it.
    model.restore("big");
    assert_eq!(shown().trim(), "0");
    cmp().expect("cmp");
    assert_eq!(shown().trim(), (3 << 20).to_string());
    mount.unmount();
}

/// Every path beneath a directory.
fn walk(root: &Path) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let mut open = vec![root.to_owned()];
    while let Some(directory) = open.pop() {
        for entry in fs::read_dir(&directory).expect("list") {
            let entry = entry.expect("list");
            if entry.file_type().expect("type").is_dir() {
                open.push(entry.path());
            } else {
                let path = entry.path();
                let name = path
                    .strip_prefix(root)
                    .expect("beneath")
                    .to_str()
                    .expect("UTF-8");
                assert!(found.insert(name.to_owned()), "{name} is listed twice");
            }
        }
    }
    found
}

#[test]
fn only_what_was_signed_is_there() {
    let Some(host) = Host::new() else { return };
    let mut model = Model::new([
        ("weights", CHUNK + 1),
        ("sub/.git/config", 9),
        ("sub/file", 9),
    ]);
    let unsigned = [
        ".git/config",
        ".gitignore",
        ".gitattributes",
        ".github/workflows/x",
        "cache/left/out",
        "sub/local.txt",
    ];
    for name in unsigned {
        model.add(name, b"unsigned".to_vec());
    }
    let absolute = model.file("sub/local.txt");
    let ignore = [
        "--ignore-paths",
        "cache",
        "--ignore-paths",
        absolute.to_str().expect("UTF-8"),
    ];
    model.sign(&ignore);
    let mount = host.mount(&model.path(), &[]);
    assert!(model.path().join(".model-fs").is_dir(), "tables are there");
    let wanted = ["model.sig", "sub/.git/config", "sub/file", "weights"].map(str::to_owned);
    assert_eq!(walk(mount.path()), BTreeSet::from(wanted));
    for name in unsigned
        .into_iter()
        .chain([".model-fs", ".git", "cache", "sub/..x"])
    {
        assert!(!mount.file(name).exists(), "{name}");
    }
    mount.unmount();

    // What the user leaves out in addition isn't there either, changed or not.
    fs::write(model.file("sub/file"), b"changed").expect("write");
    let mount = host.mount(&model.path(), &["--ignore-paths", "sub"]);
    let wanted = ["model.sig", "weights"].map(str::to_owned);
    assert_eq!(walk(mount.path()), BTreeSet::from(wanted));
    mount.unmount();
}

#[test]
fn what_appears_in_the_source_later_doesnt_appear_in_the_mount() {
    let Some(host) = Host::new() else { return };
    let model = Model::new([("weights", 10), ("dir/file", 10)]);
    model.sign(BLAKE3);
    let mount = host.mount(&model.path(), &[]);
    for name in ["new", "dir/new", "newdir/new"] {
        fs::create_dir_all(model.file(name).parent().expect("a parent")).expect("mkdir");
        fs::write(model.file(name), b"x").expect("write");
        assert!(!mount.file(name).exists(), "{name}");
    }
    fs::remove_dir_all(model.file("dir")).expect("remove");
    let wanted = ["dir/file", "model.sig", "weights"].map(str::to_owned);
    assert_eq!(walk(mount.path()), BTreeSet::from(wanted));
    if in_pages() {
        // Its length was proved before; its content isn't to be had.
        assert_eio(fs::read(mount.file("dir/file")), "a file that is gone");
        mount.unmount();
        return;
    }
    // The name is signed; how long the file is can't be proved any more.
    let gone = fs::metadata(mount.file("dir/file")).expect_err("a length from nowhere");
    assert_eq!(gone.raw_os_error(), Some(EIO), "{gone}");
    mount.unmount();
}

#[test]
fn the_signature_in_the_mount_is_the_verified_one() {
    let Some(host) = Host::new() else { return };
    let model = Model::new([("weights", 10)]);
    let places = [
        (model.file("model.sig"), "model.sig", true),
        (
            model.file("signatures/one.json"),
            "signatures/one.json",
            false,
        ),
        (model.beside("model.sig"), "model.sig", true),
        (model.beside("elsewhere.json"), "model.sig", false),
    ];
    fs::create_dir(model.file("signatures")).expect("mkdir");
    for (place, shown, is_default) in places {
        let place_text = place.to_str().expect("UTF-8");
        model.sign(&["--signature", place_text]);
        let signature = fs::read(&place).expect("read the signature");
        let given = ["--signature", place_text];
        let mount = host.mount(&model.path(), if is_default { &[] } else { &given });
        // The mount shows what was verified, even after the file is removed.
        fs::remove_file(&place).expect("remove");
        for mode in [Mode::Cached, Mode::Direct] {
            let found = read_range(&mount.file(shown), mode, 0, 1 << 20).expect("read");
            assert_same(&found, &signature, place_text);
        }
        let size = fs::metadata(mount.file(shown)).expect("stat").len();
        assert_eq!(size, signature.len() as u64);
        mount.unmount();
        let _ = fs::remove_dir_all(model.file(".model-fs"));
    }
}

#[test]
fn a_mount_can_be_verified_and_mounted_itself() {
    let Some(host) = Host::new() else { return };
    let model = Model::new([("weights", 2 << 20), ("config.json", 100)]);
    model.sign(SHA256);
    let mount = host.mount(&model.path(), &[]);
    host.run(&mut host.on_model("verify", mount.path(), &[]))
        .expect("verify");
    let second = host.mount(mount.path(), &[]);
    let found = read_range(&second.file("weights"), Mode::Cached, 0, 4 << 20).expect("read");
    assert_same(&found, model.bytes("weights"), "through two mounts");
    second.unmount();
    mount.unmount();
}

#[test]
fn a_model_of_one_file_is_a_directory_with_that_file() {
    let Some(host) = Host::new() else { return };
    for options in [BLAKE3, SHA256] {
        let model = Model::new([("weights.gguf", 2 << 20), ("neighbour", 10)]);
        let file = model.file("weights.gguf");
        let publisher = Host::anywhere();
        let mut sign = publisher.command("sign");
        sign.arg(&file).args(options);
        sign.arg("--private-key").arg(crate::support::private_key());
        publisher.run(&mut sign).expect("sign");
        let signature = fs::read(model.file("weights.gguf.sig")).expect("read the signature");

        let mount = host.mount(&file, &[]);
        let wanted = ["weights.gguf", "weights.gguf.sig"].map(str::to_owned);
        assert_eq!(walk(mount.path()), BTreeSet::from(wanted));
        let found = read_range(&mount.file("weights.gguf"), Mode::Cached, 0, 4 << 20);
        assert_same(
            &found.expect("read"),
            model.bytes("weights.gguf"),
            "the file",
        );
        let found = fs::read(mount.file("weights.gguf.sig")).expect("read");
        assert_same(&found, &signature, "the signature");
        mount.unmount();

        test_support::mounted::flip(&file, 1_500_000);
        host.run(&mut host.on_model("verify", &file, &[]))
            .expect_code(4, "verify");
        let mount = host.mount(&file, &[]);
        let read = read_range(&mount.file("weights.gguf"), Mode::Cached, 1_500_000, 1);
        crate::support::assert_eio(read, "a changed byte");
        mount.unmount();
        fs::remove_file(&file).expect("remove");
        host.mount_fails(&file, &[], 1);
    }
}
