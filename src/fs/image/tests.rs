//! Images against what other programs make of them: the tools of erofs-utils, and the kernel.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{Cursor, Write as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use proptest::collection::{btree_map, vec};
use proptest::prelude::*;
use rustix::fs::{Mode, OFlags};
use rustix::mount::{FsMountFlags, FsOpenFlags, MountAttrFlags};
use test_support::missing::{Need, have, not_tested};
use test_support::process::finish;

use super::*;
use crate::digest::Algorithm;
use crate::fs::data::{DataFile, DataRead};
use crate::fs::testing::shown;
use crate::fs::{FileSystem, Inode, Node};
use crate::reading::testing::random;

const LIMIT: Duration = Duration::from_secs(120);

const OWNER: ImageOptions = ImageOptions {
    uid: 1234,
    gid: 5678,
    umask: 0,
    only: None,
};

/// An image and its data, as files.
struct Made {
    folder: tempfile::TempDir,
    /// Inodes of it.
    inodes: usize,
}

impl Made {
    fn new(shown: &Arc<FileSystem>, options: ImageOptions) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let file = DataFile::new(Arc::clone(shown)).unwrap();
        let image = Image::new(shown, file.extents(), options).unwrap();
        for ino in shown.tree().inodes() {
            let made = attributes::attributes(shown, ino).unwrap().len();
            assert_eq!(attributes::len(shown, ino).unwrap(), made as u64);
        }
        let mut bytes = Cursor::new(Vec::new());
        let digest = image.write(&mut bytes).unwrap();
        let bytes = bytes.into_inner();
        assert_eq!(bytes.len() as u64, image.bytes());
        assert_eq!(bytes[1024 + 48..][..16], digest.uuid());
        let mut again = Cursor::new(Vec::new());
        assert_eq!(image.write(&mut again).unwrap(), digest);
        assert!(
            bytes == again.into_inner(),
            "an image is the same each time"
        );
        assert_eq!(image.digest().unwrap(), digest);
        fs::write(folder.path().join("image"), bytes).unwrap();
        let mut data = File::create(folder.path().join("data")).unwrap();
        let len = usize::try_from(file.extents().bytes()).unwrap();
        for at in (0..len).step_by(1 << 20) {
            let some = (len - at).min(1 << 20);
            let (sender, receiver) = std::sync::mpsc::channel();
            match file.read(at as u64, some) {
                DataRead::Done(read) => sender.send(read).unwrap(),
                DataRead::Waits(waits) => waits.wait(move |read| sender.send(read).unwrap()),
            }
            let read = receiver.recv().unwrap().unwrap();
            data.write_all(&read.whole()).unwrap();
        }
        Self {
            folder,
            inodes: shown.tree().len(),
        }
    }

    fn path(&self, name: &str) -> std::path::PathBuf {
        self.folder.path().join(name)
    }

    /// Has `fsck.erofs` look at it, and extract it.
    fn extracted(&self) -> std::path::PathBuf {
        let to = self.path("extracted");
        let mut command = Command::new("fsck.erofs");
        command
            .arg(format!("--device={}", self.path("data").display()))
            .arg(format!("--extract={}", to.display()))
            .arg(self.path("image"));
        finish(&mut command, LIMIT).expect("fsck.erofs");
        to
    }

    /// The root of it, mounted by the kernel and attached nowhere. `None` where the kernel can't
    /// mount files, or this user may not.
    fn mounted(&self) -> Option<std::os::fd::OwnedFd> {
        let made = || -> rustix::io::Result<_> {
            let context = rustix::mount::fsopen("erofs", FsOpenFlags::FSOPEN_CLOEXEC)?;
            rustix::mount::fsconfig_set_string(&context, "source", self.path("image"))?;
            rustix::mount::fsconfig_set_string(&context, "device", self.path("data"))?;
            rustix::mount::fsconfig_create(&context)?;
            let flags = MountAttrFlags::MOUNT_ATTR_RDONLY;
            rustix::mount::fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, flags)
        };
        match made() {
            Ok(root) => Some(root),
            Err(errno) => {
                not_tested(&format!("images, mounted by the kernel: {errno}"));
                None
            }
        }
    }
}

/// What is beneath a directory: bytes of files, nothing for directories.
fn walk(root: &Path) -> BTreeMap<String, Option<Vec<u8>>> {
    let mut found = BTreeMap::new();
    let mut left = vec![String::new()];
    while let Some(directory) = left.pop() {
        for entry in fs::read_dir(root.join(&directory)).unwrap() {
            let entry = entry.unwrap();
            let name = entry.file_name().into_string().unwrap();
            let name = match directory.as_str() {
                "" => name,
                above => format!("{above}/{name}"),
            };
            let bytes = if entry.file_type().unwrap().is_dir() {
                left.push(name.clone());
                None
            } else {
                Some(fs::read(root.join(&name)).unwrap())
            };
            found.insert(name, bytes);
        }
    }
    found
}

/// The same, of what was signed.
fn wanted(files: &[(String, Vec<u8>)], shown: &FileSystem) -> BTreeMap<String, Option<Vec<u8>>> {
    let mut wanted = BTreeMap::new();
    let signature = shown.reader().manifest().bundle().to_vec();
    let signature = [("model.sig".to_owned(), signature)];
    for (name, bytes) in files.iter().chain(&signature) {
        for (end, _) in name.match_indices('/') {
            wanted.insert(name[..end].to_owned(), None);
        }
        wanted.insert(name.clone(), Some(bytes.clone()));
    }
    wanted
}

fn assert_same(
    found: &BTreeMap<String, Option<Vec<u8>>>,
    wanted: &BTreeMap<String, Option<Vec<u8>>>,
) {
    let names = |of: &BTreeMap<String, _>| of.keys().cloned().collect::<Vec<_>>();
    assert_eq!(names(found), names(wanted));
    for (name, bytes) in wanted {
        assert!(&found[name] == bytes, "{name:?}");
    }
}

/// Compares attributes of all inodes with those of the file system, and looks each name up.
fn assert_attributes(root: &Path, shown: &FileSystem) {
    let mut left = vec![(Inode::ROOT, root.to_owned())];
    while let Some((ino, path)) = left.pop() {
        let (found, wanted) = (fs::metadata(&path).unwrap(), shown.stat(ino).unwrap());
        let time = SystemTime::UNIX_EPOCH
            + Duration::new(
                found.mtime().cast_unsigned(),
                u32::try_from(found.mtime_nsec()).unwrap(),
            );
        assert_eq!(time, wanted.time, "{}", path.display());
        assert_eq!((found.uid(), found.gid()), (OWNER.uid, OWNER.gid));
        assert_eq!(found.is_dir(), wanted.is_directory);
        assert_eq!(
            found.mode() & 0o7777,
            if found.is_dir() { 0o755 } else { 0o644 }
        );
        assert_eq!(found.nlink(), u64::from(wanted.links));
        if !found.is_dir() {
            assert_eq!(found.len(), wanted.size);
        }
        for name in crate::fs::xattr::FIXED {
            let wanted = shown
                .xattr(ino, name.as_ref(), crate::fs::Audience::Others)
                .ok();
            let mut value = vec![0; 1 << 16];
            let len = rustix::fs::getxattr(&path, name, &mut value[..]).ok();
            let found = len.map(|len| value[..len].to_vec());
            assert_eq!(found, wanted, "{name} of {}", path.display());
        }
        assert!(fs::metadata(path.join("no such name")).is_err());
        if let Some(Node::Directory(_)) = shown.tree().node(ino) {
            let entries = (2..).map_while(|position| shown.tree().entry(ino, position));
            left.extend(entries.map(|(ino, name)| (ino, path.join(name))));
        }
    }
}

fn check(files: &[(String, Vec<u8>)], algorithm: Algorithm, shard_size: Option<u64>) {
    let (_, shown) = shown(files, algorithm, shard_size);
    let made = Made::new(&shown, OWNER);
    let wanted = wanted(files, &shown);
    assert_same(&walk(&made.extracted()), &wanted);
    let mut dump = Command::new("dump.erofs");
    let device = format!("--device={}", made.path("data").display());
    let dump = dump.arg("-s").arg(device).arg(made.path("image"));
    let said = finish(dump, LIMIT).expect("dump.erofs");
    let count = format!("{}", made.inodes);
    let line = said
        .stdout
        .lines()
        .find(|line| line.contains("inode count"));
    assert!(line.is_some_and(|line| line.ends_with(&count)), "{said}");
    let Some(root) = made.mounted() else { return };
    let root = crate::files::descriptor_path(std::os::fd::AsFd::as_fd(&root));
    assert_same(&walk(&root), &wanted);
    assert_attributes(&root, &shown);
}

/// Names that sort before, between and behind `.` and `..`, long ones and others.
fn component() -> impl Strategy<Value = String> {
    prop_oneof![
        "[!+,\\-.a-cA-Z\u{e4}\u{4e2d}]{1,4}",
        "[a-d]{200,250}",
        Just(".a".to_owned()),
        Just(".-".to_owned()),
        Just("...".to_owned()),
    ]
    .prop_filter("a name", |name| name != "." && name != "..")
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn any_tree_is_shown_by_tools_and_kernel_as_it_is(
        files in btree_map(vec(component(), 1..4), 0..9000_usize, 1..60),
        sharded in any::<bool>(),
    ) {
        if !have(Need::Erofs) {
            return Ok(());
        }
        // No file may be a directory too.
        let names: Vec<String> = files.keys().map(|path| path.join("/")).collect();
        let beneath = |name: &str| {
            let folder = format!("{name}/");
            names.iter().any(|other| other.starts_with(&folder))
        };
        let files: Vec<_> = names
            .iter()
            .zip(files.values())
            .filter(|(name, _)| !beneath(name) && name.as_str() != "model.sig")
            .map(|(name, &len)| (name.clone(), random(len, len as u64)))
            .collect();
        prop_assume!(!files.is_empty());
        // Files without a byte have no shards, and no place in such a signature.
        let sharded = sharded && files.iter().all(|(_, bytes)| !bytes.is_empty());
        let shard_size = sharded.then_some(4096);
        check(&files, Algorithm::Sha256, shard_size);
    }
}

#[test]
fn directories_of_all_sizes_are_whole() {
    if !have(Need::Erofs) {
        return;
    }
    // From one that is inline in any place to one of several blocks, sizes close to whole blocks
    // among them.
    let files: Vec<_> = (0..240)
        .flat_map(|folder| {
            let name = move |file| format!("folder-{folder:03}/{file:060}");
            (0..folder % 120).map(move |file| (name(file), vec![7; file % 3]))
        })
        .collect();
    check(&files, Algorithm::Blake3, None);
}

#[test]
fn only_the_owner_enters_unless_others_may() {
    let (_, shown) = shown(&[("a".to_owned(), vec![1])], Algorithm::Blake3, None);
    let made = Made::new(
        &shown,
        ImageOptions {
            only: Some(42),
            umask: 0o027,
            ..OWNER
        },
    );
    let Some(root) = made.mounted() else { return };
    let found = rustix::fs::fstat(&root).unwrap();
    assert_eq!((found.st_mode & 0o7777, found.st_uid), (0o700, 42));
    let file = rustix::fs::openat(&root, "a", OFlags::RDONLY, Mode::empty()).unwrap();
    let found = rustix::fs::fstat(&file).unwrap();
    assert_eq!(found.st_mode & 0o7777, 0o640);
    assert_eq!((found.st_uid, found.st_gid), (1234, 5678));
}

#[test]
fn no_permission_is_given_that_was_taken_away() {
    let (_, shown) = shown(&[("d/a".to_owned(), vec![1])], Algorithm::Blake3, None);
    let options = ImageOptions {
        umask: 0o077,
        ..OWNER
    };
    let made = Made::new(&shown, options);
    let Some(root) = made.mounted() else { return };
    for (name, mode) in [(".", 0o700), ("d", 0o700), ("d/a", 0o600)] {
        let file = rustix::fs::openat(&root, name, OFlags::RDONLY, Mode::empty()).unwrap();
        let found = rustix::fs::fstat(&file).unwrap();
        assert_eq!(
            (found.st_mode & 0o7777, found.st_uid),
            (mode, 1234),
            "{name}"
        );
    }
}

/// Takes a while, and much memory for the files; says how much of both the image takes.
#[test]
#[ignore = "a million files"]
fn a_million_files_have_an_image() {
    let files: Vec<_> = (0..1_000_000)
        .map(|index| {
            (
                format!("d{:03}/{index:07}-of-a-model", index % 997),
                vec![1, 2, 3],
            )
        })
        .collect();
    let (_, shown) = shown(&files, Algorithm::Blake3, None);
    let resident = || {
        let status = fs::read_to_string("/proc/self/status").unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        line.unwrap().trim().to_owned()
    };
    let before = resident();
    let started = Instant::now();
    let file = DataFile::new(Arc::clone(&shown)).unwrap();
    let image = Image::new(&shown, file.extents(), OWNER).unwrap();
    let planned = started.elapsed();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("image");
    image.write(File::create(&path).unwrap()).unwrap();
    println!(
        "planned in {planned:?}, written by {:?}: {} bytes; memory {before} before, {} after",
        started.elapsed(),
        image.bytes(),
        resident()
    );
    let mut command = Command::new("fsck.erofs");
    let data = folder.path().join("data");
    File::create(&data)
        .unwrap()
        .set_len(file.extents().bytes())
        .unwrap();
    command.arg(format!("--device={}", data.display()));
    finish(command.arg(&path), LIMIT).expect("fsck.erofs");
}
