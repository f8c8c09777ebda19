//! The library as another program uses it: the front door, and the examples as they are shown.

use std::fs;
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use model_fs::kernel::{SessionEnd, Shutdown};
use model_fs::model::StorePlace;
use model_fs::reading::whole::verify::Difference;
use model_fs::{
    FileError, Model, MountOptions, OpenError, OpenOptions, PublicKey, ReadError, Trust,
};
use tempfile::TempDir;
use test_support::missing::{Need, have};
use test_support::mounted::{is_mounted, model_fs, scratch};
use test_support::{built, keys};

/// Many times what anything here needs.
const LIMIT: Duration = Duration::from_secs(60);

const MIB: usize = 1 << 20;

fn noise(len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    blake3::Hasher::new().finalize_xof().fill(&mut bytes);
    bytes
}

/// A signed model: a file of 5 MiB, a small one in a folder, and a link to a file elsewhere.
struct Signed {
    scratch: TempDir,
    weights: Vec<u8>,
}

impl Signed {
    fn new() -> Self {
        let scratch = scratch();
        let model = scratch.path().join("model");
        fs::create_dir_all(model.join("sub")).unwrap();
        let weights = noise(5 * MIB + 7);
        fs::write(model.join("weights.bin"), &weights).unwrap();
        fs::write(model.join("sub/config.json"), b"{}").unwrap();
        fs::write(scratch.path().join("blob"), b"elsewhere").unwrap();
        symlink("../blob", model.join("linked")).unwrap();
        let signed = Self { scratch, weights };
        signed.sign(&model, &["--allow-symlinks"]);
        signed
    }

    fn path(&self) -> PathBuf {
        self.scratch.path().join("model")
    }

    /// A model that is a file, signed.
    fn single(&self) -> PathBuf {
        let file = self.scratch.path().join("own.gguf");
        fs::write(&file, &self.weights).unwrap();
        self.sign(&file, &[]);
        file
    }

    fn sign(&self, model: &Path, more: &[&str]) {
        let mut arguments = vec![
            "sign".into(),
            model.to_owned(),
            "--private-key".into(),
            keys::path("p256-pkcs8.pem"),
            "--index-dir".into(),
            self.store(),
        ];
        arguments.extend(more.iter().map(PathBuf::from));
        model_fs(arguments).expect("sign a model");
    }

    fn store(&self) -> PathBuf {
        self.scratch.path().join("store")
    }

    fn options(&self) -> OpenOptions {
        OpenOptions::new().store(StorePlace::At(self.store()))
    }

    fn open(&self) -> Model {
        Model::open(self.path(), &trust(), self.options()).unwrap()
    }
}

fn trust() -> Trust {
    let pem = fs::read(keys::path("p256-pub.pem")).unwrap();
    Trust::Key(PublicKey::from_pem(&pem).unwrap())
}

#[test]
fn files_are_read_at_offsets_and_in_order() {
    let signed = Signed::new();
    let model = signed.open();
    let names: Vec<_> = model.files().map(|file| file.name.as_str()).collect();
    assert_eq!(names, ["linked", "sub/config.json", "weights.bin"]);
    let mut weights = model.file("weights.bin").unwrap();
    assert_eq!(weights.len(), signed.weights.len() as u64);
    let bytes = weights.read_at(3 * MIB as u64 - 5, 10).unwrap();
    assert_eq!(bytes.as_slice(), &signed.weights[3 * MIB - 5..3 * MIB + 5]);
    let mut all = Vec::new();
    assert_eq!(weights.read_to_end(&mut all).unwrap(), signed.weights.len());
    assert!(all == signed.weights);
    assert_eq!(weights.seek(SeekFrom::End(-7)).unwrap(), 5 * MIB as u64);
    assert_eq!(
        weights.seek(SeekFrom::Current(-1)).unwrap(),
        5 * MIB as u64 - 1
    );
    let mut tail = [0; 8];
    weights.read_exact(&mut tail).unwrap();
    assert_eq!(tail, signed.weights[5 * MIB - 1..]);
    assert_eq!(weights.read(&mut tail).unwrap(), 0);
    assert_eq!(weights.seek(SeekFrom::Start(u64::MAX)).unwrap(), u64::MAX);
    assert_eq!(weights.read(&mut tail).unwrap(), 0);
    let beyond = weights.seek(SeekFrom::Current(1)).unwrap_err();
    assert_eq!(beyond.kind(), io::ErrorKind::InvalidInput);
    let linked = model.file("linked").unwrap().read_at(0, 100).unwrap();
    assert_eq!(linked.as_slice(), b"elsewhere");
    assert!(matches!(
        model.file("nothing"),
        Err(FileError::NotSigned(_))
    ));
}

#[test]
fn what_is_changed_later_is_an_error_and_is_told() {
    let signed = Signed::new();
    let model = signed.open();
    let mut weights = model.file("weights.bin").unwrap();
    let mut changed = signed.weights.clone();
    changed[MIB] ^= 1;
    fs::write(signed.path().join("weights.bin"), changed).unwrap();
    weights.read_exact(&mut vec![0; MIB]).unwrap();
    let error = weights.read(&mut [0; 1]).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::InvalidData);
    assert!(matches!(
        weights.read_at(MIB as u64, 1),
        Err(ReadError::Violation(_))
    ));
    assert_eq!(model.violations().count(), 1);
    assert!(weights.read_at(2 * MIB as u64, 1).is_ok());
}

#[test]
fn nothing_is_opened_but_what_was_signed() {
    let signed = Signed::new();
    let other = Trust::Key(keys::private("p384-sec1.pem").public_key().clone());
    let refused = Model::open(signed.path(), &other, signed.options()).unwrap_err();
    assert!(matches!(refused, OpenError::Signature(_)), "{refused}");
    fs::write(signed.path().join("extra"), b"").unwrap();
    let differs = Model::open(signed.path(), &trust(), signed.options()).unwrap_err();
    let OpenError::Differs(differences) = &differs else {
        panic!("{differs}");
    };
    assert!(matches!(differences[..], [Difference::Unsigned(_)]));
    let ignoring = signed.options().ignore_unsigned_files(true);
    assert!(Model::open(signed.path(), &trust(), ignoring).is_ok());
    let left_out = signed.options().ignore_path("extra");
    assert!(Model::open(signed.path(), &trust(), left_out).is_ok());
    let within = OpenOptions::new().store(StorePlace::At(signed.path().join("store")));
    let refused = Model::open(signed.path(), &trust(), within.ignore_unsigned_files(true));
    assert!(matches!(refused, Err(OpenError::Store(_))));
    assert!(!signed.path().join("store").exists());
}

#[test]
fn a_mount_lives_until_it_is_asked_to_end_or_dropped() {
    if !have(Need::Fuse) {
        return;
    }
    let signed = Signed::new();
    let mountpoint = scratch();
    let violations = Arc::new(AtomicU64::new(0));
    let shutdown = Shutdown::new();
    let stop = shutdown.handle();
    let count = Arc::clone(&violations);
    let options = MountOptions::new()
        .on_violation(move |_| {
            count.fetch_add(1, Ordering::Relaxed);
        })
        .shutdown(shutdown);
    let mounted = signed.open().mount(mountpoint.path(), options).unwrap();
    let read = fs::read(mountpoint.path().join("weights.bin")).unwrap();
    assert!(read == signed.weights);
    assert_eq!(mounted.stats().delivered_bytes, read.len() as u64);
    fs::write(signed.scratch.path().join("blob"), b"elsewhat?").unwrap();
    assert!(fs::read(mountpoint.path().join("linked")).is_err());
    assert_eq!(violations.load(Ordering::Relaxed), 1);
    assert_eq!(mounted.violations().count(), 1);
    let (sender, ended) = mpsc::channel();
    thread::spawn(move || sender.send(mounted.wait().map_err(|error| error.to_string())));
    stop.stop();
    let end = ended.recv_timeout(LIMIT).unwrap().unwrap();
    assert!(matches!(end, SessionEnd::Stopped(_)), "{end:?}");
    assert!(!is_mounted(mountpoint.path()));

    let mounted = signed.open().mount(mountpoint.path(), MountOptions::new());
    assert!(is_mounted(mountpoint.path()));
    drop(mounted);
    assert!(!is_mounted(mountpoint.path()));
}

#[test]
fn a_mount_that_fails_leaves_nothing() {
    if !have(Need::Fuse) {
        return;
    }
    let signed = Signed::new();
    let missing = signed.scratch.path().join("missing");
    let refused = signed.open().mount(&missing, MountOptions::new());
    assert!(refused.is_err());
    assert!(MountOptions::new().option_list("rw").is_err());
    // The same model can be read afterwards.
    assert!(signed.open().file("weights.bin").is_ok());
}

/// An example, which `cargo test` builds; for a home of its own.
fn example(name: &str, home: &Path) -> Command {
    let examples = Path::new(built::program()).with_file_name("examples");
    let program = examples.join(name);
    assert!(program.exists(), "{name}: run `cargo build --examples`");
    let mut command = Command::new(program);
    command.env("HOME", home).env_remove("XDG_CACHE_HOME");
    command
}

#[test]
fn the_example_reads_models_with_links_and_single_files() {
    let signed = Signed::new();
    let key = keys::path("p256-pub.pem");
    let read = |model: &Path, file: &str, offset: &str, len: &str| {
        let mut command = example("read_verified", signed.scratch.path());
        command.arg(model).arg(&key).args([file, offset, len]);
        command.output().unwrap()
    };
    let model = signed.path();
    let linked = read(&model, "linked", "4", "100");
    assert_eq!(linked.stdout, b"where");
    let weights = read(&model, "weights.bin", "70000", "1000");
    assert_eq!(weights.stdout, &signed.weights[70_000..71_000]);
    let single = signed.single();
    let own = read(&single, "own.gguf", "5242880", "100");
    assert_eq!(own.stdout, &signed.weights[5 * MIB..]);
    assert!(!read(&model, "nothing", "0", "1").status.success());
}

#[test]
fn the_example_mounts_models_with_links_and_single_files() {
    if !have(Need::Fuse) {
        return;
    }
    let signed = Signed::new();
    let mountpoint = scratch();
    for (model, file) in [
        (signed.path(), "weights.bin"),
        (signed.single(), "own.gguf"),
    ] {
        let mut daemon = example("mount", signed.scratch.path())
            .arg(&model)
            .arg(keys::path("p256-pub.pem"))
            .arg(mountpoint.path())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let begin = Instant::now();
        while !is_mounted(mountpoint.path()) {
            assert!(begin.elapsed() < LIMIT, "not mounted within {LIMIT:?}");
            thread::sleep(Duration::from_millis(5));
        }
        let mut all = Vec::new();
        let mut read = fs::File::open(mountpoint.path().join(file)).unwrap();
        read.read_to_end(&mut all).unwrap();
        drop(read);
        assert!(all == signed.weights);
        model_fs(["umount".as_ref(), mountpoint.path().as_os_str()]).expect("unmount");
        assert!(daemon.wait().unwrap().success());
    }
}
