//! Where `sign` writes and where it doesn't, what the user may name, and which model is meant: the
//! real program, run as people run it.
//!
//! Needs `bash`, `mkfifo`, and for some tests `/dev/fuse` (`MODEL_FS_SKIP=fuse` leaves these out)
//! and mount namespaces.

use std::ffi::OsStr;
use std::fs::{self, File, OpenOptions};
use std::io::Read as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, OpenOptionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use tempfile::TempDir;
use test_support::built;
use test_support::keys;
use test_support::missing::{Need, have};
use test_support::mounted::{clear, scratch};
use test_support::process::{Finished, finish};

const LIMIT: Duration = Duration::from_secs(120);

/// More bytes than can be hashed within a test's time limit: a command that fails in time has
/// failed before hashing.
const ENDLESS: u64 = 1 << 42;

/// A folder to work in, with two keys. It is also the home directory, so trust store and index
/// store are in it.
struct Folder(TempDir);

impl Folder {
    fn new() -> Self {
        let folder = scratch();
        for (from, to) in [
            ("p256-pkcs8.pem", "key.pem"),
            ("p256-pub.pem", "key.pub"),
            ("p384-pkcs8.pem", "other.pem"),
            ("p384-pub.pem", "other.pub"),
        ] {
            fs::copy(keys::path(from), folder.path().join(to)).expect("copy a key");
        }
        Self(folder)
    }

    /// With a model of two files that have tables.
    fn with_model(name: &str) -> Self {
        let folder = Self::new();
        folder.model(name);
        folder
    }

    fn model(&self, name: &str) {
        fs::create_dir(self.path(name)).expect("mkdir");
        for file in ["weights", "config"] {
            let content = format!("{name}/{file} ").repeat(20_000);
            fs::write(self.path(name).join(file), content).expect("write");
        }
    }

    fn path(&self, name: impl AsRef<Path>) -> PathBuf {
        self.0.path().join(name)
    }

    fn read(&self, name: &str) -> Vec<u8> {
        fs::read(self.path(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
    }

    /// Runs a line of bash in the folder, in which `model-fs` is the program under test.
    fn run(&self, line: &str) -> Finished {
        let mut command = Command::new("bash");
        command.args(["-c", line]);
        self.finish(&mut command)
    }

    fn finish(&self, command: &mut Command) -> Finished {
        let programs = Path::new(built::program()).parent().expect("a folder");
        let path = std::env::var_os("PATH").unwrap_or_default();
        let paths = std::iter::once(programs.to_owned()).chain(std::env::split_paths(&path));
        command
            .env("PATH", std::env::join_paths(paths).expect("a search path"))
            .env("HOME", self.0.path())
            .env_remove("XDG_CONFIG_HOME")
            .env_remove("XDG_CACHE_HOME")
            .env_remove("MODEL_FS_LOG")
            .current_dir(self.0.path());
        let finished = finish(command, LIMIT);
        assert!(!finished.stderr.contains("panicked"), "{finished}");
        finished
    }

    #[track_caller]
    fn works(&self, line: &str) -> Finished {
        self.run(line).expect(line)
    }

    /// Exits with this code, and says these words.
    #[track_caller]
    fn fails(&self, code: i32, line: &str, words: &[&str]) -> Finished {
        let finished = self.run(line).expect_code(code, line);
        for word in words {
            assert!(finished.stderr.contains(word), "{word}: {finished}");
        }
        finished
    }
}

const KEY: &str = "--private-key key.pem";
const TRUST: &str = "--public-key key.pub";

#[test]
fn a_signature_is_written_into_its_model_and_nowhere_else() {
    let folder = Folder::with_model("a");
    folder.model("b");
    folder.works(&format!("model-fs sign a {KEY} --signature model.sig"));
    folder.works(&format!("model-fs verify a {TRUST}"));
    let beside = folder.read("model.sig");
    folder.works(&format!("model-fs sign b {KEY}"));
    assert_eq!(folder.read("model.sig"), beside, "the signature of a");
    assert!(folder.path("b/model.sig").exists());
    for model in ["a", "b"] {
        folder.works(&format!("model-fs verify {model} {TRUST}"));
    }
    folder.works(&format!("model-fs sign b/weights {KEY}"));
    folder.works(&format!("model-fs verify b/weights {TRUST}"));
    assert_eq!(folder.read("model.sig"), beside, "the signature of a");
}

#[test]
fn another_signers_signature_is_replaced_by_force_alone() {
    let folder = Folder::with_model("m");
    folder.works(&format!("model-fs sign m {KEY}"));
    let first = folder.read("m/model.sig");
    // The same signer, of something else.
    fs::write(folder.path("m/more"), "more").expect("write");
    folder.works(&format!("model-fs sign m {KEY}"));
    let second = folder.read("m/model.sig");
    assert_ne!(first, second);
    let other = "model-fs sign m --private-key other.pem";
    folder.fails(1, other, &["m/model.sig", "signed by key ", "--force"]);
    folder.fails(1, &format!("{other} --signature m/model.sig"), &["--force"]);
    assert_eq!(folder.read("m/model.sig"), second);
    folder.works(&format!("{other} --signature elsewhere.sig"));
    folder.works(&format!("{other} --force"));
    folder.works("model-fs verify m --public-key other.pub");
    for damaged in [&second[..second.len() / 2], b""] {
        fs::write(folder.path("m/model.sig"), damaged).expect("write");
        folder.fails(1, other, &["no signature", "--force"]);
        assert_eq!(folder.read("m/model.sig"), damaged);
    }
    folder.works(&format!("{other} --force"));
    folder.works("model-fs verify m --public-key other.pub");

    folder.works(&format!("model-fs sign m/weights {KEY}"));
    folder.fails(
        1,
        "model-fs sign m/weights --private-key other.pem",
        &["--force"],
    );
}

#[test]
fn who_is_refused_is_refused_before_anything_is_hashed() {
    let folder = Folder::with_model("m");
    folder.works(&format!("model-fs sign m {KEY} --signature signed"));
    fs::write(folder.path("unreadable"), "x").expect("write");
    let endless = File::create(folder.path("m/endless")).expect("create");
    endless.set_len(ENDLESS).expect("make it long");
    for (line, word) in [
        ("--private-key other.pem --signature signed", "--force"),
        (
            "--private-key key.pem --signature none/signature",
            "No such file",
        ),
        ("--private-key key.pem --signature m", "directory"),
        ("--private-key key.pem --signature m/weights", "overwritten"),
        (
            "--private-key key.pem --index-dir m/new",
            "lies in the model",
        ),
    ] {
        folder.fails(1, &format!("model-fs sign m {line}"), &[word]);
    }
}

#[test]
fn what_is_no_regular_file_is_written_as_it_is() {
    let folder = Folder::with_model("m");
    let sign = format!("model-fs sign m {KEY} --signature");
    // Links like those in /dev, made here, so that a test that fails can't remove the real ones.
    symlink("/proc/self/fd/1", folder.path("stdout")).expect("link");
    symlink("/dev/null", folder.path("null")).expect("link");
    for line in [
        "stdout > out",
        "stdout | cat > out",
        "/proc/self/fd/1 > out",
        "/dev/fd/3 3> out",
        ">(cat > out); wait $!",
    ] {
        let _ = fs::remove_file(folder.path("out"));
        let finished = folder.works(&format!("{sign} {line}"));
        let told = format!("{}{}", finished.stdout, finished.stderr);
        assert!(told.contains("signed: 2 files"), "{finished}");
        folder.works(&format!("model-fs verify m {TRUST} --signature out"));
    }
    // Written at the current offset: what a shell wrote before stays, and what it writes later
    // follows.
    folder.works(&format!(
        "{{ echo before; {sign} stdout; echo behind; }} > out"
    ));
    let out = String::from_utf8(folder.read("out")).expect("UTF-8");
    let lines: Vec<_> = out.lines().collect();
    assert_eq!((lines.len(), lines[0], lines[2]), (3, "before", "behind"));
    assert!(lines[1].starts_with('{'), "{out}");

    folder.works("mkfifo fifo");
    folder.works(&format!("cat fifo > out & {sign} fifo; wait"));
    folder.works(&format!("model-fs verify m {TRUST} --signature out"));
    assert!(
        fs::symlink_metadata(folder.path("fifo"))
            .unwrap()
            .file_type()
            .is_fifo()
    );
    folder.works(&format!("{sign} null"));
    for link in ["stdout", "null"] {
        assert!(folder.path(link).is_symlink(), "{link}");
    }
}

#[test]
fn a_signature_that_is_a_link_stays_one() {
    let folder = Folder::with_model("m");
    fs::create_dir(folder.path("signatures")).expect("mkdir");
    folder.works(&format!("model-fs sign m {KEY} --signature signatures/m"));
    symlink("../signatures/m", folder.path("m/model.sig")).expect("link");
    let first = folder.read("signatures/m");
    fs::write(folder.path("m/more"), "more").expect("write");
    // The model's owner chose where the link leads, so it is followed only where the user names it.
    for force in ["", "--force"] {
        let line = format!("model-fs sign m {KEY} {force}");
        folder.fails(1, &line, &["a symbolic link", "--signature"]);
    }
    assert_eq!(folder.read("signatures/m"), first);
    let finished = folder.works(&format!("model-fs sign m {KEY} --signature m/model.sig"));
    assert!(finished.stdout.contains("signatures/m"), "{finished}");
    assert!(folder.path("m/model.sig").is_symlink());
    assert_ne!(folder.read("signatures/m"), first);
    folder.works(&format!("model-fs verify m {TRUST}"));

    fs::write(folder.path("precious"), "precious").expect("write");
    folder.works("mkfifo fifo");
    for target in [
        "../precious",
        "../none",
        "/dev/null",
        "/dev/stdout",
        "../fifo",
        "../signatures",
    ] {
        fs::remove_file(folder.path("m/model.sig")).expect("remove");
        symlink(target, folder.path("m/model.sig")).expect("link");
        folder.fails(1, &format!("model-fs sign m {KEY}"), &["model.sig"]);
    }
    assert_eq!(folder.read("precious"), b"precious");
    assert!(!folder.path("none").exists());
}

#[test]
fn content_is_never_overwritten_by_a_signature() {
    let folder = Folder::with_model("m");
    let weights = folder.read("m/weights");
    symlink("m/weights", folder.path("link")).expect("link");
    fs::hard_link(folder.path("m/weights"), folder.path("hard")).expect("link");
    for line in [
        "sign m --signature m/weights",
        "sign m --signature ./m/../m/weights",
        "sign m --signature link",
        "sign m --signature hard",
        "sign m --signature /dev/fd/3 3<> m/weights",
        "sign m/weights --signature m/weights",
        "sign m/weights --signature link",
    ] {
        for force in ["", "--force"] {
            let line = format!("model-fs {line} {KEY} {force}");
            folder.fails(1, &line, &["overwritten", "--signature"]);
            assert!(folder.read("m/weights") == weights, "{line}");
        }
    }
    // A file of ours: its place can't hold content.
    folder.works(&format!("model-fs sign m {KEY} --signature m/signed"));
    folder.works(&format!("model-fs sign m {KEY} --signature m/signed"));
    folder.works(&format!("model-fs verify m {TRUST} --signature m/signed"));
    // What is left out isn't content.
    fs::write(folder.path("m/notes"), "notes").expect("write");
    let line = format!("model-fs sign m {KEY} --signature m/notes --ignore-paths m/notes");
    let absolute = line.replace("--ignore-paths m/notes", "--ignore-paths \"$PWD/m/notes\"");
    folder.fails(1, &absolute, &["no signature", "--force"]);
    folder.works(&format!("{absolute} --force"));
}

#[test]
fn tables_are_never_written_or_removed_through_a_link() {
    let folder = Folder::with_model("m");
    fs::create_dir(folder.path("elsewhere")).expect("mkdir");
    let table = format!("elsewhere/{}.table", "0a".repeat(32));
    fs::write(folder.path(&table), "a table of another model").expect("write");
    symlink("../elsewhere", folder.path("m/.model-fs")).expect("link");
    let sign = format!("model-fs sign m {KEY}");
    folder.fails(1, &sign, &["m/.model-fs", "--no-tables"]);
    fs::remove_file(folder.path("m/.model-fs")).expect("remove");
    fs::write(folder.path("m/.model-fs"), "a file").expect("write");
    folder.fails(1, &sign, &["m/.model-fs", "--no-tables"]);
    assert!(!folder.path("m/model.sig").exists());
    fs::remove_file(folder.path("m/.model-fs")).expect("remove");
    symlink("../elsewhere", folder.path("m/.model-fs")).expect("link");
    folder.works(&format!("{sign} --no-tables"));
    let left: Vec<_> = fs::read_dir(folder.path("elsewhere")).unwrap().collect();
    assert_eq!(left.len(), 1);
    assert_eq!(folder.read(&table), b"a table of another model");

    // Beside a single file lie the tables of others.
    fs::remove_file(folder.path("m/.model-fs")).expect("remove");
    folder.works(&sign);
    let tables = || fs::read_dir(folder.path("m/.model-fs")).unwrap().count();
    assert_eq!(tables(), 2);
    folder.works(&format!("model-fs sign m/config {KEY}"));
    assert_eq!(tables(), 2, "those of the directory");
}

#[test]
fn a_store_in_the_model_is_refused_before_it_is_made() {
    let folder = Folder::with_model("m");
    folder.works(&format!("model-fs sign m {KEY}"));
    fs::create_dir(folder.path("aside")).expect("mkdir");
    fs::create_dir(folder.path("m/sub")).expect("mkdir");
    symlink("m/sub", folder.path("linked")).expect("link");
    fs::create_dir(folder.path("mnt")).expect("mkdir");
    for line in [
        format!("sign m {KEY}"),
        format!("verify m {TRUST}"),
        format!("index m {TRUST}"),
        format!("mount m mnt {TRUST}"),
    ] {
        for store in ["m", "m/new", "m/new/deeper", "linked/new", "aside/../m/new"] {
            let line = format!("model-fs {line} --index-dir {store}");
            let finished = folder.run(&line);
            clear(&folder.path("mnt"));
            finished.expect_code(1, &line);
            assert!(!folder.path("m/new").exists(), "{line}");
            assert!(!folder.path("m/host.key").exists(), "{line}");
            assert!(!folder.path("linked/new").exists(), "{line}");
        }
    }
    let line = format!("model-fs verify m {TRUST} --index-dir aside/new/../../m/new");
    folder.fails(1, &line, &["index store"]);
    assert!(!folder.path("aside/new").exists());
    folder.works(&format!(
        "model-fs index m {TRUST} --index-dir aside/new/deeper"
    ));
    assert_eq!(
        folder.path("aside/new").metadata().unwrap().mode() & 0o077,
        0
    );
}

#[test]
fn a_model_that_is_a_file_is_that_file_alone() {
    let folder = Folder::new();
    // In the home directory, where the index store is too.
    let content = "weights ".repeat(200_000);
    fs::write(folder.path("m.gguf"), &content).expect("write");
    for hash in ["sha256", "blake3"] {
        folder.works(&format!("model-fs sign ~/m.gguf {KEY} --hash {hash}"));
        folder.works(&format!("model-fs verify ~/m.gguf {TRUST}"));
        folder.works(&format!("model-fs index m.gguf {TRUST}"));
    }
    assert!(folder.path(".cache/model-fs/index").is_dir());
    if !have(Need::Fuse) {
        return;
    }
    fs::create_dir(folder.path("mnt")).expect("mkdir");
    let mount = format!("model-fs mount ./m.gguf ./mnt {TRUST}");
    let finished = folder.run(&mount);
    let found = fs::read_to_string(folder.path("mnt/m.gguf"));
    let beside = folder.run("model-fs umount mnt");
    clear(&folder.path("mnt"));
    finished.expect(&mount);
    assert!(found.expect("read") == content);
    beside.expect("umount");
    // A mount on the directory that holds the model would cover the model.
    let above = folder.run(&format!("model-fs mount ./m.gguf . {TRUST}"));
    clear(folder.0.path());
    above.expect_code(1, "a mount over the model");
}

#[test]
fn a_file_whose_name_can_not_be_signed_is_an_error() {
    let folder = Folder::new();
    let name = OsStr::from_bytes(b"m\xff.gguf");
    fs::write(folder.path(name), "weights").expect("write");
    for (verb, option, key) in [
        ("sign", "--private-key", "key.pem"),
        ("verify", "--public-key", "key.pub"),
        ("index", "--public-key", "key.pub"),
    ] {
        let mut command = Command::new(built::program());
        command.arg(verb).arg(name).args([option, key]);
        let finished = folder.finish(&mut command).expect_code(1, verb);
        assert!(finished.stderr.contains("not valid UTF-8"), "{finished}");
    }
    assert_eq!(folder.run("ls -A | grep -c sig").stdout.trim(), "0");
}

/// Namespaces end with their command, and so does what is mounted in them.
#[test]
fn a_model_that_cannot_be_written_is_found_before_it_is_hashed() {
    let folder = Folder::with_model("m");
    let in_namespace = |line: &str| {
        let mut command = Command::new("unshare");
        if !rustix::process::geteuid().is_root() {
            command.args(["--user", "--map-root-user"]);
        }
        let script = format!("mount --bind m m && mount -o remount,bind,ro m && {line}");
        command.args(["--mount", "bash", "-c", &script]);
        folder.finish(&mut command)
    };
    let elsewhere = format!("model-fs sign m {KEY} --signature elsewhere");
    let finished = in_namespace(&elsewhere).expect("sign");
    assert!(finished.stderr.contains("chunk tables"), "{finished}");
    assert!(!folder.path("m/.model-fs").exists());
    folder.works(&format!("model-fs verify m {TRUST} --signature elsewhere"));
    let silent = in_namespace(&format!("{elsewhere} --no-tables")).expect("sign");
    assert_eq!(silent.stderr, "");

    let endless = File::create(folder.path("m/endless")).expect("create");
    endless.set_len(ENDLESS).expect("make it long");
    let finished = in_namespace(&format!("model-fs sign m {KEY}"));
    let finished = finished.expect_code(1, "sign");
    for word in ["m/model.sig", "Read-only file system", "--signature"] {
        assert!(finished.stderr.contains(word), "{word}: {finished}");
    }
}

#[test]
fn what_the_user_names_may_be_a_stream() {
    let folder = Folder::with_model("m");
    for sign in [
        "model-fs sign m --private-key <(cat key.pem)",
        "model-fs sign m --private-key /dev/stdin < key.pem",
        "cat key.pem | model-fs sign m --private-key /dev/stdin",
        "model-fs sign m --private-key /proc/self/fd/3 3< key.pem",
    ] {
        folder.works(sign);
    }
    for verify in [
        "model-fs verify m --public-key <(cat key.pub)",
        "model-fs verify m --public-key /dev/stdin < key.pub",
        "cat key.pub | model-fs verify m --public-key /dev/stdin",
        "model-fs verify m --public-key key.pub --signature <(cat m/model.sig)",
        "cat m/model.sig | model-fs verify m --public-key key.pub --signature /dev/stdin",
        "model-fs trust add --name a --public-key <(cat key.pub)",
        "cat m/model.sig | model-fs inspect /dev/stdin",
        "model-fs inspect <(cat m/model.sig)",
    ] {
        folder.works(verify);
    }
    // The size is bounded, and a directory isn't accepted.
    for (line, words) in [
        ("--public-key /dev/zero", ["/dev/zero", "more than"]),
        ("--public-key m", ["public key m", "directory"]),
        (
            "--public-key key.pub --signature m",
            ["signature m", "directory"],
        ),
    ] {
        folder.fails(1, &format!("model-fs verify m {line}"), &words);
    }
    let line = "model-fs verify m --public-key key.pub --signature /dev/zero";
    folder.fails(3, line, &["more than"]);
    if have(Need::Fuse) {
        fs::create_dir(folder.path("mnt")).expect("mkdir");
        let mount = "model-fs mount m mnt --public-key <(cat key.pub)";
        let finished = folder.run(mount);
        let found = fs::read(folder.path("mnt/config"));
        clear(&folder.path("mnt"));
        finished.expect(mount);
        assert!(found.expect("read") == folder.read("m/config"));
    }
}

#[test]
fn what_a_model_holds_may_not_be_a_stream() {
    let folder = Folder::with_model("m");
    folder.works(&format!("model-fs sign m {KEY}"));
    fs::rename(folder.path("m/model.sig"), folder.path("aside")).expect("rename");
    folder.works("mkfifo m/model.sig");
    // Nothing writes to this FIFO, so opening it to read would wait for ever.
    let line = format!("model-fs verify m {TRUST}");
    folder.fails(1, &line, &["model.sig", "a FIFO, not a regular file"]);
    for target in ["/dev/stdin", "/dev/zero", "/proc/self/fd/0"] {
        fs::remove_file(folder.path("m/model.sig")).expect("remove");
        symlink(target, folder.path("m/model.sig")).expect("link");
        folder.fails(1, &format!("cat aside | {line}"), &["not a regular file"]);
    }
    fs::remove_file(folder.path("m/model.sig")).expect("remove");
    symlink("../aside", folder.path("m/model.sig")).expect("link");
    folder.works(&line);
}

#[test]
fn patterns_are_refused_and_absent_paths_are_told() {
    let folder = Folder::with_model("m");
    fs::write(folder.path("m/a.log"), "log").expect("write");
    fs::write(folder.path("m/b[1].log"), "log").expect("write");
    for pattern in ["*.log", "a.lo?", "sub/*", "[ab].log"] {
        let line = format!("model-fs sign m {KEY} --ignore-paths '{pattern}'");
        folder.fails(2, &line, &["exact", "--ignore-paths"]);
    }
    assert!(!folder.path("m/model.sig").exists());
    // The argument may be a name, and the spelling that the hint shows works.
    folder.works(&format!(
        "model-fs sign m {KEY} --ignore-paths 'b[1].log' --ignore-paths a.log"
    ));
    let line = "cd m; model-fs sign . --private-key ../key.pem \
                $(printf -- '--ignore-paths=%s ' *.log)";
    folder.works(line);
    let inspected = folder.works("model-fs inspect m");
    for name in ["a.log", "b[1].log"] {
        assert!(
            inspected.stdout.contains(&format!("ignored        {name}")),
            "{inspected}"
        );
    }
    let told = "nothing in the model has this name";
    for line in [
        format!("model-fs sign m {KEY} --ignore-paths none"),
        format!("model-fs verify m {TRUST} --ignore-paths none"),
        format!("model-fs verify m {TRUST} --ignore-paths '*.log'"),
    ] {
        let finished = folder.works(&line);
        assert!(finished.stderr.contains(told), "{finished}");
    }
    let finished = folder.works(&format!("model-fs sign m {KEY} --ignore-paths a.log"));
    assert!(!finished.stderr.contains(told), "{finished}");
}

#[test]
fn signing_for_the_reference_takes_a_hash_that_it_reads() {
    let folder = Folder::with_model("m");
    let sign = format!("model-fs sign m {KEY} --compat reference");
    for (options, hash) in [
        ("", "sha256"),
        ("--hash blake2b", "blake2b"),
        ("--hash sha256", "sha256"),
    ] {
        folder.works(&format!("{sign} {options}"));
        let inspected = folder.works("model-fs inspect m");
        let line = format!("hash           {hash}\n");
        assert!(inspected.stdout.contains(&line), "{inspected}");
    }
    folder.fails(
        2,
        &format!("{sign} --hash blake3"),
        &["reference", "sha256"],
    );
}

/// What lies in an allowed place is what counts, not what the name leads to by then.
#[test]
fn a_limit_for_paths_is_about_what_was_opened() {
    let folder = Folder::new();
    for name in ["allowed", "elsewhere", "links", "mnt"] {
        fs::create_dir(folder.path(name)).expect("mkdir");
    }
    let content = "weights ".repeat(200_000);
    for name in ["allowed/real", "elsewhere/copy"] {
        fs::write(folder.path(name), &content).expect("write");
    }
    let turn = |target: &str| {
        let _ = fs::remove_file(folder.path("links/m.gguf"));
        symlink(target, folder.path("links/m.gguf")).expect("link");
    };
    turn("../allowed/real");
    folder.works(&format!(
        "model-fs sign links/m.gguf {KEY} --allow-symlinks --no-tables"
    ));
    let root = folder.0.path().canonicalize().expect("canonicalize");
    let limit = root.join("allowed/**");
    folder.works(&format!(
        "model-fs trust add {TRUST} --model-path '{}'",
        limit.display()
    ));
    folder.works("model-fs verify links/m.gguf");
    turn("../elsewhere/copy");
    folder.fails(3, "model-fs verify links/m.gguf", &[]);
    if !have(Need::Fuse) {
        return;
    }
    turn("../allowed/real");
    let finished = folder.run("model-fs mount links/m.gguf mnt");
    turn("../elsewhere/copy");
    // The only good bytes lie where they must not come from.
    fs::write(folder.path("allowed/real"), content.replace('w', "W")).expect("write");
    let read = read_past_the_cache(&folder.path("mnt/m.gguf"));
    // Put back as it was, as another file of the same name.
    fs::copy(folder.path("elsewhere/copy"), folder.path("allowed/new")).expect("copy");
    fs::rename(folder.path("allowed/new"), folder.path("allowed/real")).expect("rename");
    let again = read_past_the_cache(&folder.path("mnt/m.gguf"));
    clear(&folder.path("mnt"));
    finished.expect("mount");
    let eio = rustix::io::Errno::IO.raw_os_error();
    assert_eq!(
        read.expect_err("not what lies elsewhere").raw_os_error(),
        Some(eio)
    );
    assert!(again.expect("read") == content.as_bytes());
}

/// A directory that is a link is the one that it led to.
#[test]
fn a_limit_for_paths_is_about_the_directory_that_was_opened() {
    let folder = Folder::new();
    for name in ["allowed", "elsewhere"] {
        fs::create_dir(folder.path(name)).expect("mkdir");
        folder.model(&format!("{name}/m"));
    }
    fs::remove_dir_all(folder.path("elsewhere/m")).expect("remove");
    folder.works(&format!("model-fs sign allowed/m {KEY}"));
    folder.works("cp -r allowed/m elsewhere/m");
    let root = folder.0.path().canonicalize().expect("canonicalize");
    folder.works(&format!(
        "model-fs trust add {TRUST} --model-path '{}/allowed/*'",
        root.display()
    ));
    symlink("allowed/m", folder.path("link")).expect("link");
    folder.works("model-fs verify link");
    fs::remove_file(folder.path("link")).expect("remove");
    symlink("elsewhere/m", folder.path("link")).expect("link");
    folder.fails(3, "model-fs verify link", &[]);
    // Reached by a link of /proc, as if the model lay elsewhere than it does.
    folder.works("exec 3< allowed/m; model-fs verify /proc/self/fd/3");
    folder.fails(
        3,
        "exec 3< elsewhere/m; model-fs verify /proc/self/fd/3",
        &[],
    );
}

/// Another mount namespace may have any path.
#[test]
fn a_path_of_another_namespace_is_not_believed() {
    let folder = Folder::with_model("m");
    folder.works(&format!("model-fs sign m {KEY}"));
    let root = folder.0.path().canonicalize().expect("canonicalize");
    folder.works(&format!(
        "model-fs trust add {TRUST} --model-path '{}/allowed/*'",
        root.display()
    ));
    fs::create_dir(folder.path("allowed")).expect("mkdir");
    folder.works("cp -r m allowed/ && model-fs verify allowed/m");
    // In there, the model lies in the allowed place.
    let inside = "mount -t tmpfs none allowed && cp -r m allowed/ && touch ready && exec sleep 100";
    let script = format!(
        "unshare {} --mount bash -c '{inside}' & inside=$!; \
         while ! test -e ready; do sleep 0.05; done; \
         model-fs verify /proc/$inside/root{}/allowed/m; code=$?; kill $inside; exit $code",
        if rustix::process::geteuid().is_root() {
            ""
        } else {
            "--user --map-root-user"
        },
        root.display(),
    );
    folder.fails(1, &script, &["no path leads to it"]);
}

fn read_past_the_cache(path: &Path) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    OpenOptions::new()
        .read(true)
        .custom_flags(rustix::fs::OFlags::DIRECT.bits().cast_signed())
        .open(path)?
        .read_to_end(&mut bytes)?;
    Ok(bytes)
}

#[test]
fn what_a_download_has_noted_is_left_out_and_may_change() {
    let folder = Folder::with_model("m");
    let notes = folder.path("m/.cache/huggingface/download");
    fs::create_dir_all(&notes).expect("mkdir");
    fs::write(notes.join("weights.metadata"), "a commit").expect("write");
    let signed = folder.works(&format!("model-fs sign m {KEY}"));
    assert!(
        signed.stderr.contains(".cache/huggingface") && signed.stderr.contains("left out"),
        "{signed}"
    );
    let inspected = folder.works("model-fs inspect m");
    assert!(
        inspected
            .stdout
            .contains("ignored        .cache/huggingface"),
        "{inspected}"
    );
    fs::write(notes.join("weights.metadata"), "another commit").expect("write");
    fs::write(notes.join("more.lock"), "").expect("write");
    folder.works(&format!("model-fs verify m {TRUST}"));
    // What else lies there is content.
    fs::write(folder.path("m/.cache/own"), "content").expect("write");
    folder.fails(4, &format!("model-fs verify m {TRUST}"), &[".cache/own"]);
}
