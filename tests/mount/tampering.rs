//! No matter how the source changes, before the mount or after it: reads give the signed bytes, or
//! an error.

use std::fs::{self, OpenOptions};
use std::path::Path;

use test_support::mounted::flip;

use crate::support::{
    ANNOTATED, BLAKE2B, BLAKE3, CHUNK, Dice, EIO, Host, Mode, Model, Mount, SHA256, SIGBUS, SIZED,
    WHOLE, assert_eio, assert_same, in_pages, map, open, part, pread, read_range, tool,
};

const SHARDS: &[&str] = &["--hash", "sha256", "--shard-size", "100000"];
const LARGE_SHARDS: &[&str] = &["--hash", "blake2b", "--shard-size", "4194305"];
const FORMS: [&[&str]; 7] = [
    BLAKE3,
    SHA256,
    BLAKE2B,
    SHARDS,
    LARGE_SHARDS,
    ANNOTATED,
    SIZED,
];

/// A file of one chunk, one of several, one that sha256 needs a full pass for, and others of the
/// same sizes to swap them with.
const FILES: [(&str, u64); 6] = [
    ("small", 300),
    ("middle", 2 * CHUNK + 77),
    ("large", WHOLE + CHUNK + 5),
    ("other/small", 300),
    ("other/middle", 2 * CHUNK + 77),
    ("other/large", WHOLE + CHUNK + 5),
];

/// What the adversary does to a file.
#[derive(Debug, Clone, Copy)]
enum Tamper {
    Flip(u64),
    /// Cuts this many bytes off.
    Cut(u64),
    Extend(u64),
    Empty,
    Swap,
    Remove,
    LinkToCopy,
    Fifo,
    Directory,
    FullDirectory,
}

/// The changes that leave a regular file of that name, so that a mount succeeds.
const CONTENT: [Tamper; 9] = [
    Tamper::Flip(0),
    Tamper::Flip(299),
    Tamper::Cut(1),
    Tamper::Cut(200),
    Tamper::Extend(1),
    Tamper::Extend(5_000),
    Tamper::Extend(2 << 20),
    Tamper::Empty,
    Tamper::Swap,
];

/// The changes that a mount finds when it lists the model, and what it calls them.
const NAMES: [(Tamper, &str); 5] = [
    (Tamper::Remove, "missing"),
    (Tamper::LinkToCopy, "a symbolic link"),
    (Tamper::Fifo, "a FIFO"),
    (Tamper::Directory, "missing"),
    (Tamper::FullDirectory, "a directory"),
];

impl Tamper {
    fn apply(self, model: &Model, name: &str) {
        let path = model.file(name);
        let len = model.bytes(name).len() as u64;
        let resize = |len: u64| {
            let file = OpenOptions::new().write(true).open(&path).expect("open");
            file.set_len(len).expect("change the length");
        };
        match self {
            Self::Flip(at) => flip(&path, at),
            Self::Cut(by) => resize(len - by),
            Self::Extend(by) => resize(len + by),
            Self::Empty => resize(0),
            Self::Swap => {
                let (other, aside) = (model.file(&format!("other/{name}")), model.beside("aside"));
                fs::rename(&path, &aside).expect("rename");
                fs::rename(&other, &path).expect("rename");
                fs::rename(&aside, &other).expect("rename");
            }
            Self::Remove => fs::remove_file(&path).expect("remove"),
            Self::LinkToCopy => {
                fs::remove_file(&path).expect("remove");
                // The right bytes, but through a link that the signature doesn't allow.
                std::os::unix::fs::symlink(model.golden(name), &path).expect("link");
            }
            Self::Fifo => {
                fs::remove_file(&path).expect("remove");
                tool("mkfifo", [&path]).expect("mkfifo");
            }
            Self::Directory => {
                fs::remove_file(&path).expect("remove");
                fs::create_dir(&path).expect("mkdir");
            }
            Self::FullDirectory => {
                Self::Directory.apply(model, name);
                fs::write(path.join("inside"), b"x").expect("write");
            }
        }
    }

    fn undo(self, model: &Model, name: &str) {
        match self {
            // In place, so that a process that has the file open sees the change too.
            Self::Flip(_) | Self::Cut(_) | Self::Extend(_) | Self::Empty => {
                fs::write(model.file(name), model.bytes(name)).expect("write");
            }
            Self::Swap => self.apply(model, name),
            _ => model.restore(name),
        }
    }
}

/// Reads a file in many ways and ranges. Every one gives the signed bytes or EIO. Says whether all
/// of them gave bytes.
#[track_caller]
fn no_wrong_byte(mount: &Mount, model: &Model, name: &str, context: &str) -> bool {
    let (path, signed) = (mount.file(name), model.bytes(name));
    let mut whole = true;
    let mut check = |offset: u64, len: usize, found: std::io::Result<Vec<u8>>| {
        let what = format!("{context}: {name} at {offset}");
        match found {
            Ok(bytes) => assert_same(&bytes, part(signed, offset, len), &what),
            Err(error) => {
                assert_eq!(error.raw_os_error(), Some(EIO), "{what}: {error}");
                whole = false;
            }
        }
    };
    let end = signed.len() as u64;
    for mode in [Mode::Cached, Mode::Direct] {
        let file = match open(&path, mode) {
            Ok(file) => file,
            Err(error) => {
                check(0, 0, Err(error));
                continue;
            }
        };
        for offset in (0..=end).step_by(100_003) {
            check(offset, 100_003, pread(&file, offset, 100_003));
        }
        // Across the end and beyond it: no byte but the signed ones.
        for (offset, len) in [
            (end.saturating_sub(10), 100),
            (end, 100),
            (end + 4096, 4096),
        ] {
            check(offset, len, pread(&file, offset, len));
        }
    }
    for mode in ["private", "shared"] {
        let golden = model.golden(name);
        let mapped = map([
            "compare".as_ref(),
            mode.as_ref(),
            path.as_os_str(),
            golden.as_ref(),
        ]);
        let refused = mapped.killed_by(SIGBUS) || mapped.code() == Some(5);
        assert!(
            mapped.succeeded() || refused,
            "{context}: {mode} mapping: {mapped}"
        );
        whole &= !refused;
    }
    whole
}

#[track_caller]
fn all_right(mount: &Mount, model: &Model, name: &str, context: &str) {
    assert!(
        no_wrong_byte(mount, model, name, context),
        "{context}: {name} isn't readable"
    );
}

/// Content that was changed before the mount.
#[track_caller]
fn changed_before_the_mount(options: &[&str]) {
    let Some(host) = Host::new() else { return };
    let model = Model::new(FILES);
    model.sign(options);
    for name in ["small", "middle", "large"] {
        for tamper in CONTENT {
            let context = format!("{options:?} {tamper:?}");
            tamper.apply(&model, name);
            let mount = host.mount(&model.path(), &[]);
            let extended = matches!(tamper, Tamper::Extend(_));
            let whole = no_wrong_byte(&mount, &model, name, &context);
            // What was added lies outside of what was signed, and may be left unread.
            assert!(!whole || extended, "{context}: {name} is readable");
            if !matches!(tamper, Tamper::Swap) {
                all_right(&mount, &model, "other/small", &context);
            }
            tamper.undo(&model, name);
            // The bytes are back, and so is the file, without another mount.
            let found = read_range(&mount.file(name), Mode::Direct, 0, 4 << 20);
            assert_same(&found.expect(&context), model.bytes(name), &context);
            mount.unmount();
        }
    }
}

/// Content that is changed while it is mounted: unread, unread but open, and read.
#[track_caller]
fn changed_after_the_mount(options: &[&str]) {
    let Some(host) = Host::new() else { return };
    let model = Model::new(FILES);
    model.sign(options);
    let names = NAMES.map(|(tamper, _)| tamper);
    for name in ["small", "middle", "large"] {
        for tamper in CONTENT.into_iter().chain(names) {
            let context = format!("{options:?} {tamper:?}");
            let mount = host.mount(&model.path(), &["--cache-size", "1"]);
            tamper.apply(&model, name);
            no_wrong_byte(&mount, &model, name, &context);
            tamper.undo(&model, name);
            all_right(&mount, &model, name, &context);

            let held = open(&mount.file(name), Mode::Direct).expect("open");
            tamper.apply(&model, name);
            for (offset, signed) in (0..).step_by(50_001).zip(model.bytes(name).chunks(50_001)) {
                match pread(&held, offset, signed.len()) {
                    Ok(found) => assert_same(&found, signed, &context),
                    Err(error) => assert_eq!(error.raw_os_error(), Some(EIO), "{context}"),
                }
            }
            no_wrong_byte(&mount, &model, name, &context);
            tamper.undo(&model, name);
            let found = pread(&held, 0, 4 << 20).expect(&context);
            assert_same(&found, model.bytes(name), &context);
            drop(held);
            mount.unmount();
        }
    }
}

/// What keeps its name but not its type, and what is gone or new.
#[track_caller]
fn other_names_before_the_mount(options: &[&str]) {
    let Some(host) = Host::new() else { return };
    let model = Model::new(FILES);
    model.sign(options);
    for (tamper, reason) in NAMES {
        for name in ["middle", "other/small"] {
            tamper.apply(&model, name);
            let failed = host.mount_fails(&model.path(), &[], 4);
            for word in [name, reason] {
                assert!(failed.stderr.contains(word), "{tamper:?}: {failed}");
            }
            // Nor does hiding what isn't signed make up for what is.
            host.mount_fails(&model.path(), &["--ignore-unsigned-files"], 4);
            tamper.undo(&model, name);
        }
    }
    host.mount(&model.path(), &[]).unmount();
}

macro_rules! for_each_form {
    ($($name:ident => $form:expr;)*) => {$(
        mod $name {
            use super::*;

            #[test]
            fn content_changed_before_the_mount_is_never_delivered() {
                changed_before_the_mount($form);
            }

            #[test]
            fn content_changed_after_the_mount_is_never_delivered() {
                changed_after_the_mount($form);
            }

            #[test]
            fn files_that_are_gone_or_no_files_fail_the_mount() {
                other_names_before_the_mount($form);
            }
        }
    )*};
}

for_each_form! {
    blake3 => BLAKE3;
    sha256 => SHA256;
    blake2b => BLAKE2B;
    annotated => ANNOTATED;
    sized => SIZED;
    shards => SHARDS;
    large_shards => LARGE_SHARDS;
}

/// Makes something at a path.
type Make = fn(&Path);

#[test]
fn extra_files_fail_the_mount_unless_they_are_to_be_hidden() {
    let Some(host) = Host::new() else { return };
    for options in [BLAKE3, SHARDS] {
        let model = Model::new(FILES);
        model.sign(options);
        let extras: [(&str, Make); 4] = [
            ("other/extra.py", |path| {
                fs::write(path, b"import os").expect("write");
            }),
            ("extra \u{1b}[2J", |path| {
                fs::write(path, b"x").expect("write");
            }),
            ("extra-fifo", |path| {
                tool("mkfifo", [path]).expect("mkfifo");
            }),
            ("extra-link", |path| {
                std::os::unix::fs::symlink("small", path).expect("link");
            }),
        ];
        for (name, make) in extras {
            make(&model.file(name));
            let failed = host.mount_fails(&model.path(), &[], 4);
            let shown = name.replace('\u{1b}', "\\u{1b}");
            assert!(failed.stderr.contains(&shown), "{failed}");
            assert!(failed.stderr.contains("hint: "), "{failed}");
            assert!(!failed.stderr.contains('\u{1b}'), "{failed}");

            let mount = host.mount(&model.path(), &["--ignore-unsigned-files"]);
            let found = fs::symlink_metadata(mount.file(name)).map_err(|error| error.kind());
            assert!(
                matches!(found, Err(std::io::ErrorKind::NotFound)),
                "{found:?}"
            );
            let listed = fs::read_dir(mount.path()).expect("list").count();
            // small, middle, large, other, and the signature.
            assert_eq!(listed, 5);
            mount.unmount();
            model.remove(name);
        }
    }
}

#[test]
fn every_single_byte_of_a_small_file_counts() {
    let Some(host) = Host::new() else { return };
    for options in FORMS {
        let model = Model::new([("file", 120), ("deep/er/file", 40)]);
        model.sign(options);
        let mount = host.mount(&model.path(), &["--cache-size", "1"]);
        for (name, signed) in &model.files {
            let held = open(&mount.file(name), Mode::Direct).expect("open");
            for offset in 0..signed.len() as u64 {
                let what = format!("{options:?} {name} byte {offset}");
                flip(&model.file(name), offset);
                for read in [offset..offset + 1, 0..signed.len() as u64] {
                    let len = usize::try_from(read.end - read.start).expect("small");
                    assert_eio(pread(&held, read.start, len), &what);
                }
                flip(&model.file(name), offset);
                assert_same(&pread(&held, 0, 1000).expect(&what), signed, &what);
            }
        }
        mount.unmount();
    }
}

#[test]
fn a_changed_byte_anywhere_costs_its_chunk_and_no_other() {
    let Some(host) = Host::new() else { return };
    let forms = [
        (BLAKE3, CHUNK),
        (SHA256, CHUNK),
        (BLAKE2B, CHUNK),
        (SHARDS, 100_000),
        (LARGE_SHARDS, CHUNK),
    ];
    for (options, chunk) in forms {
        let len = 6 << 20;
        let model = Model::new([("weights", len)]);
        model.sign(options);
        let mount = host.mount(&model.path(), &["--cache-size", "1"]);
        let file = open(&mount.file("weights"), Mode::Direct).expect("open");
        let mut dice = Dice::new("places");
        let mut places: Vec<u64> = (0..30).map(|_| dice.below(len)).collect();
        places.extend([0, chunk - 1, chunk, len - 1]);
        for place in places {
            let what = format!("{options:?} byte {place}");
            flip(&model.file("weights"), place);
            let around = place.saturating_sub(2000);
            assert_eio(pread(&file, around, 4096), &what);
            assert_eio(pread(&file, place, 1), &what);
            // A request that reaches beyond the chunk.
            assert_eio(pread(&file, place.saturating_sub(300_000), 600_000), &what);
            let start = place / chunk * chunk;
            let mut neighbours = [start.wrapping_sub(1), start + chunk];
            if in_pages() {
                // Pages are whole or not there, also those with bytes of a good chunk.
                let page = 4096;
                neighbours = [
                    (start / page * page).wrapping_sub(1),
                    (start + chunk).next_multiple_of(page),
                ];
            }
            for neighbour in neighbours {
                if neighbour < len {
                    let signed = part(model.bytes("weights"), neighbour, 1);
                    assert_same(&pread(&file, neighbour, 1).expect(&what), signed, &what);
                }
            }
            flip(&model.file("weights"), place);
            let found = pread(&file, around, 4096).expect(&what);
            assert_same(&found, part(model.bytes("weights"), around, 4096), &what);
        }
        drop(file);
        mount.unmount();
    }
}

#[test]
fn a_changed_page_kills_who_maps_it_and_the_others_live() {
    let Some(host) = Host::new() else { return };
    for options in [BLAKE3, SHA256, SHARDS] {
        let model = Model::new([("weights", 3 << 20)]);
        model.sign(options);
        let mount = host.mount(&model.path(), &[]);
        // Proved before the change, so that the file opens.
        drop(open(&mount.file("weights"), Mode::Cached).expect("open"));
        let place = 2_000_000;
        flip(&model.file("weights"), place);
        for mode in ["private", "shared"] {
            let touch = |offset: u64| {
                let path = mount.file("weights");
                let offset = offset.to_string();
                map([
                    "touch".as_ref(),
                    mode.as_ref(),
                    path.as_os_str(),
                    offset.as_ref(),
                ])
            };
            assert!(touch(place).killed_by(SIGBUS), "{options:?}");
            let elsewhere = touch(100).expect("touch another chunk");
            let signed = model.bytes("weights")[100].to_string();
            assert_eq!(elsewhere.stdout.trim(), signed);
        }
        flip(&model.file("weights"), place);
        let mut compare = vec!["compare".into(), "shared".into()];
        compare.push(mount.file("weights").into_os_string());
        compare.push(model.golden("weights").into_os_string());
        map(compare).expect("map the right bytes again");
        mount.unmount();
    }
}

#[test]
fn what_was_cached_before_the_change_stays_the_signed_content() {
    let Some(host) = Host::new() else { return };
    let model = Model::new([("weights", 3 << 20)]);
    model.sign(BLAKE3);
    let mount = host.mount(&model.path(), &[]);
    tool("cmp", [model.golden("weights"), mount.file("weights")]).expect("read it once");
    fs::write(model.file("weights"), vec![b'X'; 3 << 20]).expect("write");
    // Answered from the page cache, without a request to the daemon.
    tool("cmp", [model.golden("weights"), mount.file("weights")]).expect("read it again");
    assert_eio(
        read_range(&mount.file("weights"), Mode::Direct, 1 << 20, 4096),
        "past the cache",
    );
    mount.unmount();
}

#[test]
fn a_writer_who_never_rests_has_nobody_read_a_wrong_byte() {
    let Some(host) = Host::new() else { return };
    for options in [BLAKE3, SHA256, SHARDS] {
        let model = Model::new([("weights", 3 << 20)]);
        model.sign(options);
        let mount = host.mount(&model.path(), &["--cache-size", "1"]);
        let held = open(&mount.file("weights"), Mode::Direct).expect("open");
        let (path, signed) = (model.file("weights"), model.bytes("weights"));
        let done = std::sync::atomic::AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let mut dice = Dice::new("writer");
                while !done.load(std::sync::atomic::Ordering::Relaxed) {
                    let place = dice.below(signed.len() as u64);
                    flip(&path, place);
                    flip(&path, place);
                }
            });
            let mut dice = Dice::new("reader");
            for _ in 0..400 {
                let offset = dice.below(signed.len() as u64);
                match pread(&held, offset, 50_000) {
                    Ok(found) => assert_same(&found, part(signed, offset, 50_000), "a race"),
                    Err(error) => assert_eq!(error.raw_os_error(), Some(EIO)),
                }
            }
            done.store(true, std::sync::atomic::Ordering::Relaxed);
        });
        drop(held);
        mount.unmount();
    }
}
