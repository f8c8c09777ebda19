//! Files of a real file system, and what others do to them meanwhile.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Write as _};
use std::os::fd::AsFd as _;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;

use super::atomic::Temporary;
use super::*;

fn directory(dir: &tempfile::TempDir) -> Directory {
    Directory::open(dir.path()).unwrap()
}

fn write(directory: &Directory, name: &str, text: &str) -> io::Result<()> {
    directory.write_file(OsStr::new(name), 0o644, |out| {
        out.write_all(text.as_bytes())
    })
}

#[test]
fn nothing_beneath_a_directory_is_reached_through_a_link() {
    let (dir, elsewhere) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    std::fs::write(elsewhere.path().join("f"), "theirs").unwrap();
    symlink(elsewhere.path(), dir.path().join("sub")).unwrap();
    symlink(elsewhere.path().join("f"), dir.path().join("f")).unwrap();
    let directory = directory(&dir);
    for result in [
        directory.open_beneath(OsStr::new("sub")),
        directory.make(OsStr::new("sub"), 0o755),
        directory.open_beneath(OsStr::new("f")),
    ] {
        assert_eq!(result.unwrap_err().kind(), io::ErrorKind::NotADirectory);
    }
    for name in ["sub/x", "../x", "..", ".", "", "x/", "/x"] {
        let error = write(&directory, name, "x").unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidInput, "{name}");
        assert!(directory.remove_file(OsStr::new(name)).is_err(), "{name}");
    }
    write(&directory, "f", "ours").unwrap();
    directory.remove_file(OsStr::new("sub")).unwrap();
    let names: Vec<_> = std::fs::read_dir(elsewhere.path()).unwrap().collect();
    assert_eq!(names.len(), 1);
    let theirs = std::fs::read_to_string(elsewhere.path().join("f")).unwrap();
    assert_eq!(theirs, "theirs");
    assert!(!dir.path().join("f").is_symlink());
}

#[test]
fn a_directory_stays_the_one_that_was_opened() {
    let dir = tempfile::tempdir().unwrap();
    let (old, new) = (dir.path().join("old"), dir.path().join("new"));
    std::fs::create_dir(&old).unwrap();
    let directory = Directory::open(&old).unwrap();
    std::fs::rename(&old, &new).unwrap();
    std::fs::create_dir(&old).unwrap();
    write(&directory, "f", "x").unwrap();
    assert!(new.join("f").exists() && !old.join("f").exists());
    assert_eq!(directory.locate().unwrap(), new.canonicalize().unwrap());
    let above = Directory::open(dir.path()).unwrap();
    assert!(directory.is_within(above.identity().unwrap()).unwrap());
    assert!(!above.is_within(directory.identity().unwrap()).unwrap());
    std::fs::remove_dir_all(&new).unwrap();
    assert!(directory.locate().is_err());
}

/// In a process of its own: what ends now is all of it.
#[test]
fn a_process_that_ends_leaves_nothing_on_its_way() {
    const PLACE: &str = "MODEL_FS_TEST_ABANDON";
    let names = |path: &Path| {
        let listed = std::fs::read_dir(path).unwrap().flatten();
        let mut names: Vec<_> = listed.map(|entry| entry.file_name()).collect();
        names.sort();
        names
    };
    if let Some(place) = std::env::var_os(PLACE) {
        let place = Path::new(&place);
        let directory = Directory::open(place).unwrap();
        write(&directory, "done", "all of it").unwrap();
        let _ = directory.write_file(OsStr::new("half"), 0o644, |_| {
            assert_eq!(names(place).len(), 2, "a file is on its way");
            abandon_files();
            std::process::exit(77)
        });
        unreachable!("it has ended");
    }
    let dir = tempfile::tempdir().unwrap();
    let this = "files::tests::a_process_that_ends_leaves_nothing_on_its_way";
    let mut command = std::process::Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", this]).env(PLACE, dir.path());
    assert_eq!(command.output().unwrap().status.code(), Some(77));
    assert_eq!(names(dir.path()), ["done"]);
}

#[test]
fn a_failure_leaves_the_old_file_and_nothing_else() {
    let dir = tempfile::tempdir().unwrap();
    let directory = directory(&dir);
    let path = dir.path().join("f");
    for content in ["one", "two"] {
        let name = OsStr::new("f");
        directory
            .write_file(name, 0o600, |out| out.write_all(content.as_bytes()))
            .unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), content);
    }
    assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    directory
        .write_file(OsStr::new("f"), 0o600, |out| {
            out.write_all(b"three")?;
            Err(io::Error::other("no"))
        })
        .unwrap_err();
    directory.check_writable().unwrap();
    Temporary::new(&directory, 0o600).map(drop).unwrap();
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "two");
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
}

#[test]
fn an_output_replaces_regular_files_alone_and_keeps_links() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name);
    std::fs::create_dir(path("sub")).unwrap();
    std::fs::write(path("sub/real"), "old").unwrap();
    std::fs::hard_link(path("sub/real"), path("other")).unwrap();
    symlink("sub/real", path("link")).unwrap();
    symlink("nothing", path("dangling")).unwrap();
    let output = Output::given(&path("link")).unwrap();
    assert_eq!(output.read_existing(9).unwrap().unwrap(), b"old");
    assert!(output.linked_to().unwrap().ends_with("sub/real"));
    output.write(0o644, b"new").unwrap();
    assert!(path("link").is_symlink());
    assert_eq!(std::fs::read(path("sub/real")).unwrap(), b"new");
    // As a whole: a process that has the old one open, or by another name, still has it.
    assert_eq!(std::fs::read(path("other")).unwrap(), b"old");

    for refused in ["dangling", "sub", "none/x"] {
        assert!(Output::given(&path(refused)).is_err(), "{refused}");
    }
    let new = Output::given(&path("new")).unwrap();
    assert!(!path("new").exists());
    new.write(0o644, b"new").unwrap();
    assert_eq!(std::fs::read(path("new")).unwrap(), b"new");

    let output = Output::given(&path("new")).unwrap();
    std::fs::remove_file(path("new")).unwrap();
    std::fs::write(path("new"), b"another program's").unwrap();
    assert!(output.write(0o644, b"ours").is_err());
}

#[test]
fn what_is_open_is_written_as_it_is() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("f");
    let file = File::create(&path).unwrap();
    let output = Output::given(&descriptor_path(file.as_fd())).unwrap();
    assert_eq!(output.linked_to(), None);
    assert_eq!(
        output.existing().unwrap(),
        Some(Identity::of(&file).unwrap())
    );
    let identity = Identity::of(&file).unwrap();
    output.write(0o644, b"x").unwrap();
    assert_eq!(std::fs::read(&path).unwrap(), b"x");
    assert_eq!(Identity::of(File::open(&path).unwrap()).unwrap(), identity);
    Output::given(Path::new("/dev/null"))
        .unwrap()
        .write(0o644, b"x")
        .unwrap();
    let devices = Directory::open(Path::new("/dev")).unwrap();
    let error = Output::in_directory(&devices, OsStr::new("null")).unwrap_err();
    assert!(error.to_string().contains("a device"), "{error}");
}

#[test]
fn reading_is_bounded_and_what_is_found_is_a_regular_file() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("f");
    std::fs::write(&path, b"12345").unwrap();
    assert_eq!(read_given(&path, 5).unwrap(), b"12345");
    for endless in [path.as_path(), Path::new("/dev/zero")] {
        let error = read_given(endless, 4).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::FileTooLarge);
    }
    assert!(read_given(dir.path(), 4).is_err());

    let directory = directory(&dir);
    symlink("/dev/zero", dir.path().join("zero")).unwrap();
    symlink("f", dir.path().join("link")).unwrap();
    for name in ["f", "link"] {
        let (_, len) = open_found(&directory, Path::new(name), 5).unwrap();
        assert_eq!(len, 5);
    }
    let error = open_found(&directory, Path::new("f"), 4).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::FileTooLarge);
    let error = open_found(&directory, Path::new("zero"), 5).unwrap_err();
    assert!(error.to_string().contains("a device"), "{error}");
}

#[test]
fn the_nearest_directory_of_a_path_that_is_not_there() {
    let dir = tempfile::tempdir().unwrap();
    let (found, missing) = nearest(&dir.path().join("a/b")).unwrap();
    assert_eq!(found.path(), dir.path());
    assert_eq!(missing, ["a", "b"]);
    let (_, missing) = nearest(dir.path()).unwrap();
    assert!(missing.is_empty());
    let (_, missing) = nearest(Path::new("not-there/x")).unwrap();
    assert_eq!(missing, ["not-there", "x"]);
    std::fs::write(dir.path().join("f"), "").unwrap();
    assert!(nearest(&dir.path().join("f/x")).is_err());
    let error = nearest(&dir.path().join("a/../b")).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
}
