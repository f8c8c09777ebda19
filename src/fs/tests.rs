//! The file system without a kernel.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::sync::atomic::Ordering;
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex};

use rustix::io::Errno;

use super::*;
use crate::digest::Algorithm;
use crate::name::{FileName, MAX_COMPONENT};
use crate::reading::testing::{Memory, random, sign};
use crate::reading::{Reader, ReaderOptions, Scan, Source};

const MIB: usize = 1 << 20;

struct Fixture {
    source: Arc<Memory>,
    fs: Arc<FileSystem>,
    bundle: Vec<u8>,
    opened: Mutex<HashMap<Handle, Inode>>,
}

/// `large` needs a full pass, `small` doesn't.
fn fixture(lockdown: bool, hook: Option<ViolationHook>) -> Fixture {
    fixture_after(0, lockdown, hook)
}

fn fixture_after(earlier_processes: u16, lockdown: bool, hook: Option<ViolationHook>) -> Fixture {
    let source = Arc::new(Memory::default());
    source.put("large", &random(5 * MIB, 1));
    source.put("sub/small", b"small");
    let manifest = sign(&source, Algorithm::Sha256, None, false);
    let bundle = manifest.bundle().to_vec();
    let mut scan = Scan::default();
    for file in manifest.files() {
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
        earlier_processes,
    };
    Fixture {
        source,
        fs: Arc::new(FileSystem::new(reader, &scan, options).unwrap()),
        bundle,
        opened: Mutex::default(),
    }
}

impl Fixture {
    fn lookup(&self, parent: Inode, name: &str) -> Result<Attributes, FsError> {
        let (sender, receiver) = channel();
        let then = move |found| sender.send(found).unwrap();
        let name = OsStr::new(name);
        self.fs.lookup(parent, name, Audience::Owner, then);
        receiver.recv().unwrap()
    }

    fn ino(&self, parent: Inode, name: &str) -> Inode {
        self.lookup(parent, name).unwrap().ino
    }

    fn open(&self, ino: Inode) -> Result<Handle, FsError> {
        let (sender, receiver) = channel();
        self.fs
            .open(ino, || true, move |opened| sender.send(opened).unwrap());
        let opened = receiver.recv().unwrap();
        if let Ok(handle) = &opened {
            self.opened.lock().unwrap().insert(*handle, ino);
        }
        opened
    }

    fn read(&self, handle: Handle, offset: u64, len: usize) -> Result<Vec<u8>, FsError> {
        let ino = self.opened.lock().unwrap().get(&handle).copied();
        self.read_as(ino.unwrap_or(Inode::ROOT), handle, offset, len)
    }

    fn read_as(
        &self,
        ino: Inode,
        handle: Handle,
        offset: u64,
        len: usize,
    ) -> Result<Vec<u8>, FsError> {
        let read = match self.fs.read(ino, handle, offset, len) {
            Read::Done(read) => read,
            Read::Waits(waits) => {
                let (sender, receiver) = channel();
                waits.wait(|| true, move |read| sender.send(read).unwrap());
                receiver.recv().unwrap()
            }
        };
        read.map(|bytes| bytes.as_slice().to_vec())
    }
}

fn is(result: Result<impl Sized, FsError>, expected: Errno) -> bool {
    result.is_err_and(|error| errno(&error) == expected)
}

#[test]
fn serves_names_sizes_and_bytes() {
    let it = fixture(false, None);
    let large = it.ino(Inode::ROOT, "large");
    assert!(
        !it.fs.stat(large).unwrap().proved,
        "only claimed before an open"
    );
    let handle = it.open(large).unwrap();
    let attributes = it.fs.stat(large).unwrap();
    assert!(attributes.proved && attributes.size == 5 * MIB as u64);
    assert_eq!(
        it.read(handle, 3 * MIB as u64 + 1, 5000).unwrap(),
        random(5 * MIB, 1)[3 * MIB + 1..][..5000]
    );
    assert_eq!(it.read(handle, 5 * MIB as u64 - 2, 5000).unwrap().len(), 2);
    assert!(it.read(handle, 5 * MIB as u64, 5000).unwrap().is_empty());
    let small = it.ino(it.ino(Inode::ROOT, "sub"), "small");
    assert_eq!(it.read(it.open(small).unwrap(), 0, 100).unwrap(), b"small");
    let signature = it.open(it.ino(Inode::ROOT, "model.sig")).unwrap();
    assert_eq!(it.read(signature, 0, 1 << 20).unwrap(), it.bundle);
    assert!(it.read(signature, u64::MAX, 10).unwrap().is_empty());
    it.fs.release(handle);
    assert!(is(it.read(handle, 0, 1), Errno::BADF));
}

#[test]
fn errors_have_their_errno() {
    let it = fixture(false, None);
    let (sub, large) = (it.ino(Inode::ROOT, "sub"), it.ino(Inode::ROOT, "large"));
    assert!(is(it.lookup(Inode::ROOT, "nothing"), Errno::NOENT));
    assert!(is(it.lookup(large, "x"), Errno::NOTDIR));
    let name = "x".repeat(MAX_COMPONENT);
    assert!(is(it.lookup(Inode::ROOT, &name), Errno::NOENT));
    let long = name + "x";
    assert!(is(it.lookup(Inode::ROOT, &long), Errno::NAMETOOLONG));
    assert!(is(it.fs.stat(Inode::new(99)), Errno::NOENT));
    assert!(is(it.fs.entry(large, 0), Errno::NOTDIR));
    assert!(is(it.open(sub), Errno::ISDIR));
    assert!(is(it.open(Inode::new(99)), Errno::NOENT));
    assert!(is(it.fs.access(large, true, false), Errno::ROFS));
    assert!(is(it.fs.access(large, false, true), Errno::ACCESS));
    assert!(it.fs.access(sub, false, true).is_ok());
    assert!(is(
        it.fs
            .xattr(large, OsStr::new("user.other"), Audience::Owner),
        Errno::NODATA
    ));
    it.source.edit("large", |bytes| bytes[0] ^= 1);
    assert!(is(it.open(large), Errno::IO));
    it.source.remove("large");
    assert!(is(it.open(large), Errno::IO));
}

/// Each inode number was told with one length, and can be opened only if that is the proved one.
#[test]
fn a_claimed_length_is_that_of_an_inode_of_its_own() {
    let it = fixture(false, None);
    let claimed = |len: usize| {
        it.source.edit("large", |bytes| bytes.resize(len, 0));
        let found = it.lookup(Inode::ROOT, "large").unwrap();
        assert!(!found.proved && found.size == len as u64);
        assert_eq!(it.fs.stat(found.ino).unwrap(), found);
        found.ino
    };
    let restore = || {
        let genuine = random(5 * MIB, 1);
        it.source.edit("large", |bytes| *bytes = genuine);
    };
    let (longer, shorter) = (claimed(6 * MIB), claimed(4 * MIB));
    assert_ne!(longer, shorter);
    // The first is no longer what the file is shown as.
    assert!(is(it.fs.stat(longer), Errno::STALE));
    assert!(is(it.open(longer), Errno::STALE));
    // It can't be what was signed.
    assert!(is(it.open(shorter), Errno::IO));
    restore();
    // Now it could be, but the kernel believes another length of this inode.
    assert!(is(it.open(shorter), Errno::STALE));
    let proved = it.lookup(Inode::ROOT, "large").unwrap();
    assert!(proved.proved && proved.size == 5 * MIB as u64);
    assert!(it.open(proved.ino).is_ok());
    for stale in [longer, shorter] {
        assert!(is(it.fs.stat(stale), Errno::STALE));
        assert!(is(it.open(stale), Errno::STALE));
        assert!(is(it.fs.xattr_names(stale), Errno::STALE));
    }
    // Whatever the source claims from now on.
    it.source.edit("large", Vec::clear);
    assert_eq!(it.lookup(Inode::ROOT, "large").unwrap(), proved);
}

#[test]
fn a_true_claim_stays_the_inode() {
    let it = fixture(false, None);
    let claimed = it.lookup(Inode::ROOT, "large").unwrap();
    assert!(!claimed.proved && claimed.size == 5 * MIB as u64);
    assert!(it.open(claimed.ino).is_ok());
    let proved = it.lookup(Inode::ROOT, "large").unwrap();
    assert!(proved.proved);
    assert_eq!(proved.ino, claimed.ino);
    assert_eq!(
        it.fs.inode(crate::manifest::FileIndex::new(0)),
        Some(claimed.ino)
    );
    assert_eq!(
        it.fs.entry(Inode::ROOT, 2).unwrap().unwrap().ino,
        claimed.ino
    );
}

/// No length is ever claimed of a file that is small enough to be proved by reading it.
#[test]
fn what_can_be_proved_at_hand_is_proved_when_it_is_looked_up() {
    let it = fixture(false, None);
    let sub = it.ino(Inode::ROOT, "sub");
    for len in [0, 3, 100, MIB] {
        it.source.edit("sub/small", |bytes| bytes.resize(len, 0));
        assert!(is(it.lookup(sub, "small"), Errno::IO), "{len} bytes");
    }
    it.source
        .edit("sub/small", |bytes| *bytes = b"small".to_vec());
    let small = it.lookup(sub, "small").unwrap();
    assert!(small.proved && small.size == 5);
    assert_eq!(it.fs.reader().stats().full_passes, 0);
}

#[test]
fn lockdown_ends_all_reading_and_the_hook_is_told() {
    for lockdown in [false, true] {
        let (sender, receiver) = channel();
        let sender = Mutex::new(sender);
        let hook: ViolationHook =
            Box::new(move |violation| sender.lock().unwrap().send(violation.clone()).unwrap());
        let it = fixture(lockdown, Some(hook));
        let handle = it.open(it.ino(Inode::ROOT, "large")).unwrap();
        it.source.edit("large", |bytes| bytes[MIB] ^= 1);
        assert!(is(it.read(handle, MIB as u64, 1), Errno::IO));
        assert_eq!(receiver.recv().unwrap().file.as_str(), "large");
        assert_eq!(is(it.read(handle, 4 * MIB as u64, 1), Errno::IO), lockdown);
    }
}

impl Fixture {
    fn status(&self, audience: Audience) -> serde_json::Value {
        let name = OsStr::new(STATUS_ATTRIBUTE);
        let status = self.fs.xattr(Inode::ROOT, name, audience).unwrap();
        assert!(status.len() <= 64 << 10, "an attribute holds no more");
        serde_json::from_slice(&status).unwrap()
    }
}

#[test]
fn the_status_is_json_and_counts_each_bad_place_once() {
    let it = fixture(false, None);
    let handle = it.open(it.ino(Inode::ROOT, "large")).unwrap();
    it.source.edit("large", |bytes| bytes.fill(0));
    // 64 KiB are a chunk.
    for offset in 0..80 {
        for part in 0..3 {
            assert!(it.read(handle, offset * (64 << 10) + part, 1).is_err());
        }
    }
    let status = it.status(Audience::Owner);
    assert_eq!(status["violations"], 80);
    assert_eq!(status["violation_retries"], 160);
    assert_eq!(status["recent_violations"].as_array().unwrap().len(), 32);
    assert_eq!(status["source_errors"], 0);
}

#[test]
fn only_the_owner_learns_names_paths_and_digests() {
    let it = fixture(true, None);
    it.fs.set_mount_facts(|| {
        MountFacts::new(
            std::path::Path::new("/place/of/mount"),
            std::path::Path::new("/place/of/model"),
        )
    });
    let handle = it.open(it.ino(Inode::ROOT, "large")).unwrap();
    it.source.remove("sub/small");
    assert!(is(
        it.lookup(it.ino(Inode::ROOT, "sub"), "small"),
        Errno::IO
    ));
    it.source.edit("large", |bytes| bytes[0] ^= 1);
    assert!(is(it.read(handle, 0, 1), Errno::IO));

    let (full, public) = (it.status(Audience::Owner), it.status(Audience::Others));
    let recent = |of: &str| full[of][0].as_str().unwrap().to_owned();
    assert!(recent("recent_violations").contains("large"), "{full}");
    assert!(recent("recent_source_errors").contains("missing"), "{full}");
    assert_eq!(full["mount"]["source"], "/place/of/model");
    assert!(full["source_bytes"].is_u64() && full["bytes"].is_u64());

    let names: Vec<_> = public.as_object().unwrap().keys().collect();
    let told = [
        "bundle_digest",
        "failures",
        "files",
        "method",
        "model_name",
        "payload_digest",
        "root_digest",
        "signer",
    ];
    assert_eq!(names, told);
    for name in told.iter().filter(|name| **name != "failures") {
        assert_eq!(public[name], full[name], "{name}");
    }
    assert_eq!(public["failures"], 2);
    assert_eq!(full["locked_down"], true);
}

#[test]
fn attributes_are_answered_and_not_listed() {
    let it = fixture(false, None);
    let large = it.ino(Inode::ROOT, "large");
    for ino in [Inode::ROOT, large, it.ino(Inode::ROOT, "model.sig")] {
        assert!(it.fs.xattr_names(ino).unwrap().is_empty());
    }
    assert!(is(it.fs.xattr_names(Inode::new(99)), Errno::NOENT));
    let get = |ino, name: &str| {
        let value = it.fs.xattr(ino, OsStr::new(name), Audience::Others);
        String::from_utf8(value.unwrap()).unwrap()
    };
    assert!(get(large, "user.model-fs.digest").starts_with("sha256:"));
    assert_eq!(get(large, "user.model-fs.state"), "unproved");
    assert!(!get(Inode::ROOT, "user.model-fs.signer").is_empty());
}

#[test]
fn what_the_source_doesnt_give_is_counted_and_told() {
    let it = fixture(false, None);
    let (sub, large) = (it.ino(Inode::ROOT, "sub"), it.ino(Inode::ROOT, "large"));
    let small = it.ino(sub, "small");
    let handle = it.open(large).unwrap();
    let count = || {
        it.status(Audience::Owner)["source_errors"]
            .as_u64()
            .unwrap()
    };
    it.source.remove("sub/small");
    assert!(is(it.open(small), Errno::IO));
    assert_eq!(count(), 1);
    assert!(is(it.open(small), Errno::IO));
    assert_eq!(count(), 2);
    let file = it.source.file("large");
    file.failing.store(true, Ordering::SeqCst);
    assert!(is(it.read(handle, 0, 1), Errno::IO));
    assert_eq!(count(), 3);
    let status = it.status(Audience::Owner);
    assert_eq!(status["violations"], 0, "no content is wrong");
    let recent = status["recent_source_errors"].as_array().unwrap();
    assert_eq!(recent.len(), 2, "each file and kind once: {status}");
    assert!(
        recent[0]
            .as_str()
            .unwrap()
            .contains("\"large\" bytes 0 to 65536"),
        "{status}"
    );
    assert!(recent[1].as_str().unwrap().contains("missing"), "{status}");
}

/// A source with nothing to open files with.
struct Short(Errno);

impl Source for Short {
    fn open(
        &self,
        _: &FileName,
    ) -> Result<Arc<dyn crate::reading::SourceFile>, crate::reading::SourceError> {
        Err(self.0.into())
    }
}

#[test]
fn what_this_machine_is_short_of_is_told_as_it_is() {
    let full = fixture(false, None);
    for (source, told) in [
        (Errno::MFILE, Errno::MFILE),
        (Errno::NFILE, Errno::NFILE),
        (Errno::NOMEM, Errno::NOMEM),
        (Errno::IO, Errno::IO),
        (Errno::ACCESS, Errno::IO),
        (Errno::STALE, Errno::IO),
        (Errno::NOENT, Errno::IO),
    ] {
        let manifest = Arc::new(full.fs.reader().manifest().clone());
        let options = ReaderOptions::default();
        let reader = Reader::new(manifest, Arc::new(Short(source)), None, options);
        let options = FsOptions {
            workers: 1,
            lockdown: true,
            on_violation: None,
            signature: None,
            earlier_processes: 0,
        };
        let it = Fixture {
            source: Arc::clone(&full.source),
            bundle: Vec::new(),
            opened: Mutex::default(),
            fs: Arc::new(FileSystem::new(reader, &Scan::default(), options).unwrap()),
        };
        assert!(is(it.lookup(Inode::ROOT, "large"), told), "{source}");
        let status = it.status(Audience::Owner);
        assert_eq!(status["violations"], 0);
        assert_eq!(status["source_errors"], 1);
        assert_eq!(status["locked_down"], false);
    }
}

#[test]
fn claimed_lengths_dont_wrap_when_they_are_summed() {
    let it = fixture(false, None);
    let mut scan = Scan::default();
    for name in ["large", "sub/small"] {
        let claimed = crate::reading::Found::File { len: u64::MAX - 1 };
        scan.entries.insert(FileName::new(name).unwrap(), claimed);
    }
    let options = FsOptions {
        workers: 1,
        lockdown: false,
        on_violation: None,
        signature: None,
        earlier_processes: 0,
    };
    let fs = FileSystem::new(Arc::clone(it.fs.reader()), &scan, options).unwrap();
    assert_eq!(fs.claimed_bytes(), u64::MAX);
}

#[test]
fn lockdown_refuses_the_signature_and_opens_and_drops_pages() {
    let it = fixture(true, None);
    let (large, signature) = (
        it.ino(Inode::ROOT, "large"),
        it.ino(Inode::ROOT, "model.sig"),
    );
    let small = it.ino(it.ino(Inode::ROOT, "sub"), "small");
    let (sender, dropped) = channel();
    it.fs
        .on_lockdown(move |ino| sender.send(ino).unwrap())
        .unwrap();
    let handle = it.open(large).unwrap();
    let signed = it.open(signature).unwrap();
    assert!(!it.read(signed, 0, 10).unwrap().is_empty());
    // As if a read of it were being waited for.
    let Some(Node::File(index)) = it.fs.tree.node(small) else {
        panic!("it is a file");
    };
    let owed = it.fs.lockdown.owe(index);
    assert!(dropped.try_recv().is_err(), "nothing is wrong yet");
    it.source.edit("large", |bytes| bytes[MIB] ^= 1);
    assert!(is(it.read(handle, MIB as u64, 1), Errno::IO));
    assert!(is(it.read(signed, 0, 10), Errno::IO));
    assert!(is(it.read(handle, 0, 10), Errno::IO));
    for ino in [large, small, signature] {
        assert!(is(it.open(ino), Errno::IO));
    }
    let mut pages: Vec<Inode> = dropped.iter().take(2).collect();
    pages.sort_unstable();
    let mut files = vec![large, signature];
    files.sort_unstable();
    assert_eq!(pages, files, "each file that nothing is owed about");
    assert!(dropped.try_recv().is_err(), "and no other");
    drop(owed);
    assert_eq!(dropped.recv(), Ok(small), "then that one");
    assert!(dropped.recv().is_err(), "and no directory");
    assert!(it.lookup(Inode::ROOT, "large").is_ok(), "names stay");
}

fn after(processes: u16) -> Fixture {
    fixture_after(processes, true, None)
}

#[test]
fn handles_of_an_earlier_process_go_on() {
    let first = fixture(false, None);
    let claimed = first.ino(Inode::ROOT, "large");
    let sub = first.ino(Inode::ROOT, "sub");
    let (small, signature) = (first.ino(sub, "small"), first.ino(Inode::ROOT, "model.sig"));
    let handles = [claimed, small, signature].map(|ino| first.open(ino).unwrap());
    let offset = 3 * MIB as u64;
    let large = first.read(handles[0], offset, 5000).unwrap();

    for processes in [1, 2, u16::MAX] {
        let later = after(processes);
        assert_eq!(
            later.read_as(claimed, handles[0], offset, 5000).unwrap(),
            large
        );
        assert_eq!(later.read_as(small, handles[1], 0, 100).unwrap(), b"small");
        let signed = later.read_as(signature, handles[2], 0, 1 << 20).unwrap();
        assert!(signed == later.bundle);
        assert!(
            later.fs.stat(claimed).unwrap().proved,
            "as it was shown before"
        );
        let own = later.open(small).unwrap();
        assert!(handles.iter().all(|&handle| handle != own));
        later.fs.release(own);
        assert!(is(later.read_as(small, own, 0, 1), Errno::BADF));
    }
    let not_yet = Handle::first(2);
    assert!(is(after(1).read_as(small, not_yet, 0, 1), Errno::BADF));
    assert!(is(first.read_as(small, not_yet, 0, 1), Errno::BADF));
}

#[test]
fn an_earlier_handle_reads_nothing_but_what_was_signed() {
    let first = fixture(false, None);
    // Shown before with a length that turns out to be another.
    first.source.file("large").bytes.lock().unwrap().push(0);
    let lied = first.ino(Inode::ROOT, "large");
    assert_eq!(first.fs.stat(lied).unwrap().size, 5 * MIB as u64 + 1);
    let handle = Handle::first(0);
    let later = after(1);
    assert!(is(later.read_as(lied, handle, 0, 10), Errno::STALE));

    let later = after(1);
    let (root, sub) = (Inode::ROOT, later.ino(Inode::ROOT, "sub"));
    for directory in [root, sub] {
        assert!(is(later.read_as(directory, handle, 0, 10), Errno::ISDIR));
    }
    assert!(is(
        later.read_as(Inode::new(1 << 40), handle, 0, 10),
        Errno::NOENT
    ));
    later.source.file("sub/small").bytes.lock().unwrap()[0] ^= 1;
    let small = later.fs.tree().lookup(sub, OsStr::new("small")).unwrap();
    assert!(is(later.read_as(small, handle, 0, 10), Errno::IO));
}

#[test]
fn a_handle_is_that_of_one_inode() {
    let it = fixture(false, None);
    let large = it.ino(Inode::ROOT, "large");
    let small = it.ino(it.ino(Inode::ROOT, "sub"), "small");
    let handle = it.open(small).unwrap();
    assert!(is(it.read_as(large, handle, 0, 1), Errno::BADF));
    assert_eq!(it.read_as(small, handle, 0, 5).unwrap(), b"small");
}

#[test]
fn what_was_shown_before_is_opened_and_told_as_it_was() {
    let first = fixture(false, None);
    let claimed = first.ino(Inode::ROOT, "large");
    let later = after(1);
    // Before it was looked up here, and after.
    assert_eq!(later.fs.stat(claimed).unwrap().size, 5 * MIB as u64);
    let handle = later.open(claimed).unwrap();
    assert_eq!(later.read(handle, 0, 100).unwrap().len(), 100);
    assert!(later.fs.stat(claimed).unwrap().proved);
    // The one in the tree is what it is shown as from now on; both are the same file.
    let in_tree = later.ino(Inode::ROOT, "large");
    let handle = later.open(in_tree).unwrap();
    assert_eq!(later.read(handle, 0, 100).unwrap().len(), 100);
    assert!(later.open(claimed).is_ok() && later.fs.stat(claimed).is_ok());
}
