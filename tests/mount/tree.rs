//! What a mount shows, and that nothing changes it.

use std::collections::BTreeSet;
use std::fs::{self, OpenOptions, Permissions};
use std::io;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::Path;

use rustix::fs::{Access, AtFlags, CWD, RenameFlags, XattrFlags};
use rustix::io::Errno;
use sha2::Digest as _;

use crate::support::{BLAKE3, CHUNK, Host, Mode, Model, SHA256, assert_same, read_range};

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
    assert_eq!(
        attribute(&large, "user.model-fs.state").expect("state"),
        "unproved"
    );
    read_range(&large, Mode::Cached, 0, 1).expect("read");
    assert_eq!(
        attribute(&large, "user.model-fs.state").expect("state"),
        "proved"
    );
    assert_eq!(names(&large), "user.model-fs.digest\0user.model-fs.state\0");

    let root = mount.path();
    assert_eq!(names(root), "user.model-fs.digest\0user.model-fs.signer\0");
    assert!(
        !attribute(root, "user.model-fs.signer")
            .expect("signer")
            .is_empty()
    );
    let status = mount.status();
    assert_eq!(
        attribute(root, "user.model-fs.digest").expect("digest"),
        status["root_digest"].as_str().expect("a root digest")
    );
    assert_eq!(names(&mount.file("model.sig")), "");
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
        ("", 0o040_555, 0, 3),
        ("dir", 0o040_555, 0, 3),
        ("dir/sub", 0o040_555, 0, 2),
        ("file", 0o100_444, CHUNK + 1, 1),
        ("dir/sub/file", 0o100_444, 10, 1),
        ("dir/b", 0o100_444, 0, 1),
    ] {
        let found = fs::symlink_metadata(mount.file(path)).expect("stat");
        assert_eq!(found.mode(), mode, "{path}");
        assert_eq!((found.size(), found.nlink()), (size, links), "{path}");
        assert_eq!((found.uid(), found.gid()), (uid, gid), "{path}");
        assert_eq!(
            (found.mtime(), found.atime(), found.ctime()),
            (0, 0, 0),
            "{path}"
        );
        assert_eq!(found.blocks(), size.div_ceil(512), "{path}");
        assert!(inodes.insert(found.ino()), "{path}");
    }
    let total = rustix::fs::statvfs(mount.path()).expect("statfs");
    assert_eq!(total.f_blocks, (CHUNK + 11_u64).div_ceil(4096));
    assert_eq!(
        (total.f_bavail, total.f_ffree, total.f_namemax),
        (0, 0, 255)
    );
    // Three files, three directories, and the signature.
    assert_eq!(total.f_files, 7);
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
    ] {
        assert_eq!(
            rustix::fs::access(mount.file(path), access),
            answer,
            "{path} {access:?}"
        );
    }
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

    // What the user leaves out on top of it isn't there either, changed or not.
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
    assert_eq!(
        fs::metadata(mount.file("dir/file")).expect("stat").len(),
        10
    );
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
        // It stays what was verified, whatever becomes of the file.
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

        crate::mounted::flip(&file, 1_500_000);
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
