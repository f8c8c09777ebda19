//! The file system without a kernel.

use std::sync::Mutex;
use std::sync::mpsc::channel;

use rustix::io::Errno;

use super::*;
use crate::digest::Algorithm;
use crate::reading::testing::{Memory, random, sign};
use crate::reading::{ReaderOptions, Source};

const MIB: usize = 1 << 20;

struct Fixture {
    source: Arc<Memory>,
    fs: Arc<FileSystem>,
    bundle: Vec<u8>,
}

/// `large` needs a full pass, `small` doesn't.
fn fixture(lockdown: bool, hook: Option<ViolationHook>) -> Fixture {
    let source = Arc::new(Memory::default());
    source.put("large", &random(5 * MIB, 1));
    source.put("sub/small", b"small");
    let manifest = sign(&source, Algorithm::Sha256, None, false);
    let bundle = manifest.bundle().to_vec();
    let mut scan = Scan::default();
    for file in manifest.manifest().files() {
        let len = source.file(file.name.as_str()).bytes.lock().unwrap().len() as u64;
        scan.entries
            .insert(file.name.clone(), crate::reading::Found::File { len });
    }
    let dynamic = Arc::clone(&source) as Arc<dyn Source>;
    let reader = Reader::new(manifest, dynamic, None, ReaderOptions::default());
    let options = FsOptions {
        workers: 2,
        lockdown,
        on_violation: hook,
        signature: FileName::new("model.sig").ok(),
    };
    Fixture {
        source,
        fs: Arc::new(FileSystem::new(reader, &scan, options).unwrap()),
        bundle,
    }
}

impl Fixture {
    fn ino(&self, parent: u64, name: &str) -> u64 {
        self.fs.lookup(parent, OsStr::new(name)).unwrap().ino
    }

    fn open(&self, ino: u64) -> Result<u64, FsError> {
        let (sender, receiver) = channel();
        self.fs
            .open(ino, move |opened| sender.send(opened).unwrap());
        receiver.recv().unwrap()
    }

    fn read(&self, handle: u64, offset: u64, len: usize) -> Result<Vec<u8>, FsError> {
        let (sender, receiver) = channel();
        self.fs.read(handle, offset, len, move |read| {
            sender
                .send(read.map(|bytes| bytes.as_slice().to_vec()))
                .unwrap();
        });
        receiver.recv().unwrap()
    }
}

fn is(result: Result<impl Sized, FsError>, expected: Errno) -> bool {
    result.is_err_and(|error| errno(&error) == expected)
}

#[test]
fn serves_names_sizes_and_bytes() {
    let it = fixture(false, None);
    let large = it.ino(ROOT, "large");
    assert!(
        !it.fs.attributes(large).unwrap().proved,
        "only claimed before an open"
    );
    let handle = it.open(large).unwrap();
    let attributes = it.fs.attributes(large).unwrap();
    assert!(attributes.proved && attributes.size == 5 * MIB as u64);
    assert_eq!(
        it.read(handle, 3 * MIB as u64 + 1, 5000).unwrap(),
        random(5 * MIB, 1)[3 * MIB + 1..][..5000]
    );
    assert_eq!(it.read(handle, 5 * MIB as u64 - 2, 5000).unwrap().len(), 2);
    assert!(it.read(handle, 5 * MIB as u64, 5000).unwrap().is_empty());
    let small = it.ino(it.ino(ROOT, "sub"), "small");
    assert_eq!(it.read(it.open(small).unwrap(), 0, 100).unwrap(), b"small");
    let signature = it.open(it.ino(ROOT, "model.sig")).unwrap();
    assert_eq!(it.read(signature, 0, 1 << 20).unwrap(), it.bundle);
    assert!(it.read(signature, u64::MAX, 10).unwrap().is_empty());
    it.fs.release(handle);
    assert!(is(it.read(handle, 0, 1), Errno::BADF));
}

#[test]
fn errors_have_their_errno() {
    let it = fixture(false, None);
    let (sub, large) = (it.ino(ROOT, "sub"), it.ino(ROOT, "large"));
    assert!(is(it.fs.lookup(ROOT, OsStr::new("nothing")), Errno::NOENT));
    assert!(is(it.fs.lookup(large, OsStr::new("x")), Errno::NOTDIR));
    assert!(is(it.fs.attributes(99), Errno::NOENT));
    assert!(is(it.fs.entry(large, 0), Errno::NOTDIR));
    assert!(is(it.open(sub), Errno::ISDIR));
    assert!(is(it.open(99), Errno::NOENT));
    assert!(is(it.fs.access(large, true, false), Errno::ROFS));
    assert!(is(it.fs.access(large, false, true), Errno::ACCESS));
    assert!(it.fs.access(sub, false, true).is_ok());
    assert!(is(
        it.fs.attribute(large, OsStr::new("user.other")),
        Errno::NODATA
    ));
    it.source.edit("large", |bytes| bytes[0] ^= 1);
    assert!(is(it.open(large), Errno::IO));
    it.source.remove("large");
    assert!(is(it.open(large), Errno::IO));
}

#[test]
fn a_file_of_another_length_than_claimed_has_to_be_looked_up_again() {
    let it = fixture(false, None);
    // As if the source had claimed another size when it was scanned.
    let mut scan = Scan::default();
    let name = FileName::new("sub/small").unwrap();
    scan.entries
        .insert(name, crate::reading::Found::File { len: 1_000_000 });
    let options = FsOptions {
        workers: 1,
        lockdown: false,
        on_violation: None,
        signature: None,
    };
    let it = Fixture {
        fs: Arc::new(FileSystem::new(Arc::clone(it.fs.reader()), &scan, options).unwrap()),
        ..it
    };
    let sub = it.ino(ROOT, "sub");
    let claimed = it.fs.lookup(sub, OsStr::new("small")).unwrap();
    assert!(!claimed.proved && claimed.size == 1_000_000);
    let small = claimed.ino;
    assert!(is(it.open(small), Errno::STALE));
    assert!(is(it.open(small), Errno::STALE), "nobody has looked yet");
    let proved = it.fs.lookup(sub, OsStr::new("small")).unwrap();
    assert!(proved.proved && proved.size == 5);
    assert!(it.open(small).is_ok());
}

#[test]
fn lockdown_ends_all_reading_and_the_hook_is_told() {
    for lockdown in [false, true] {
        let (sender, receiver) = channel();
        let sender = Mutex::new(sender);
        let hook: ViolationHook =
            Box::new(move |violation| sender.lock().unwrap().send(violation.clone()).unwrap());
        let it = fixture(lockdown, Some(hook));
        let handle = it.open(it.ino(ROOT, "large")).unwrap();
        it.source.edit("large", |bytes| bytes[MIB] ^= 1);
        assert!(is(it.read(handle, MIB as u64, 1), Errno::IO));
        assert_eq!(receiver.recv().unwrap().file.as_str(), "large");
        assert_eq!(is(it.read(handle, 4 * MIB as u64, 1), Errno::IO), lockdown);
    }
}

#[test]
fn the_status_is_json_of_bounded_size() {
    let it = fixture(false, None);
    let handle = it.open(it.ino(ROOT, "large")).unwrap();
    it.source.edit("large", |bytes| bytes.fill(0));
    for offset in 0..100 {
        assert!(it.read(handle, offset * 50_000, 1).is_err());
    }
    let status = it.fs.attribute(ROOT, OsStr::new(STATUS_ATTRIBUTE)).unwrap();
    assert!(status.len() < 64 * 1024);
    let status: serde_json::Value = serde_json::from_slice(&status).unwrap();
    assert_eq!(status["violations"], 100);
    assert!(
        !it.fs
            .attribute_names(ROOT)
            .unwrap()
            .contains(&STATUS_ATTRIBUTE)
    );
}
