//! Every way of reading gives the source's bytes.

use std::fs::File;
use std::os::fd::AsFd;
use std::path::Path;

use crate::support::{
    ANNOTATED, BLAKE2B, BLAKE3, CHUNK, Dice, Host, Mode, Model, Mount, SHA256, SHARD, SIZED, WHOLE,
    assert_same, in_pages, map, open, part, pread, tool,
};

/// Sizes around every limit of what is verified in one piece.
const SIZES: [u64; 16] = [
    0,
    1,
    4095,
    4096,
    4097,
    CHUNK - 1,
    CHUNK,
    CHUNK + 1,
    3 * CHUNK + 12_345,
    WHOLE - 1,
    WHOLE,
    WHOLE + 1,
    SHARD - 1,
    SHARD,
    SHARD + 1,
    2 * SHARD + 12_345,
];

/// Names that programs often handle wrongly.
fn names() -> Vec<String> {
    let mut deep = vec!["deep"; 60].join("/");
    deep.push_str("/file");
    let mut names = vec![
        "with space/a b".to_owned(),
        "ünï/模型-\u{1f980}.bin".to_owned(),
        "e\u{301}".to_owned(),
        "é".to_owned(),
        "a:0:10".to_owned(),
        "colon:s/a:b".to_owned(),
        "quote'\"\\$(x)\n\t*?".to_owned(),
        "-rf".to_owned(),
        "n".repeat(255),
        "sub/.git/config".to_owned(),
        "a/x".to_owned(),
        "a-b/x".to_owned(),
        "a.txt".to_owned(),
        deep,
    ];
    names.push(format!("{}/{}", "d".repeat(255), "é".repeat(127)));
    names
}

/// Has each file of a model read in each way. Every way gets a mount of its own, so that none
/// profits from what another left in the page cache.
#[track_caller]
fn read_in_every_way(model: &Model, options: &[&str]) {
    let Some(host) = Host::new() else { return };
    model.sign(options);
    let ways: [fn(&Model, &Mount); 8] = [
        cmp,
        sha256sum,
        dd_odd,
        dd_direct,
        sendfile,
        map_private,
        map_shared,
        parallel,
    ];
    for way in ways {
        let mount = host.mount(&model.path(), &[]);
        way(model, &mount);
        assert_eq!(mount.stats().violations, 0);
        mount.unmount();
    }
}

fn cmp(model: &Model, mount: &Mount) {
    for name in model.files.keys() {
        tool(
            "cmp",
            [Path::new("--"), &model.file(name), &mount.file(name)],
        )
        .expect("cmp");
    }
}

fn sha256sum(model: &Model, mount: &Mount) {
    use sha2::Digest as _;
    for (name, bytes) in &model.files {
        let sum = tool("sha256sum", [Path::new("--"), &mount.file(name)]).expect("sha256sum");
        let wanted = hex::encode(sha2::Sha256::digest(bytes));
        assert!(
            sum.stdout.trim_start_matches('\\').starts_with(&wanted),
            "{name:?}: {sum}"
        );
    }
}

/// Has `dd` copy blocks `skip` to `skip + count` of `block` bytes.
fn dd(model: &Model, mount: &Mount, name: &str, block: u64, range: (u64, u64), flags: &str) {
    if in_pages() && flags.contains("direct") {
        return; // EROFS has no direct reads.
    }
    let out = model.beside("dd.out");
    tool(
        "dd",
        [
            format!("if={}", mount.file(name).display()),
            format!("of={}", out.display()),
            format!("bs={block}"),
            format!("skip={}", range.0),
            format!("count={}", range.1),
            format!("iflag=fullblock{flags}"),
            "status=none".to_owned(),
        ],
    )
    .expect("dd");
    let copied = std::fs::read(&out).expect("read what dd wrote");
    let len = usize::try_from(block * range.1).expect("fits in memory");
    let wanted = part(model.bytes(name), block * range.0, len);
    assert_same(&copied, wanted, &format!("{name:?} by blocks of {block}"));
}

fn dd_odd(model: &Model, mount: &Mount) {
    for (name, bytes) in &model.files {
        let len = bytes.len() as u64;
        dd(model, mount, name, 1, (len.saturating_sub(3), 10), "");
        // 65,537 bytes from an offset that is no multiple of anything.
        dd(model, mount, name, 65_537, (len / 65_537 / 2, 3), "");
        dd(model, mount, name, 262_147, (1, 4), "");
    }
}

fn dd_direct(model: &Model, mount: &Mount) {
    for (name, bytes) in &model.files {
        let blocks = bytes.len() as u64 / 4096 + 2;
        if blocks < 500 {
            dd(model, mount, name, 4096, (0, blocks), ",direct");
        }
        dd(model, mount, name, 1 << 20, (0, 32), ",direct");
        dd(model, mount, name, 12_288, (3, 40), ",direct");
    }
}

fn sendfile(model: &Model, mount: &Mount) {
    for (name, bytes) in &model.files {
        let from = open(&mount.file(name), Mode::Cached).expect("open");
        let out = tempfile::tempfile().expect("make a temporary file");
        let mut offset = 0;
        loop {
            // A count that doesn't divide anything.
            let sent = rustix::fs::sendfile(out.as_fd(), from.as_fd(), Some(&mut offset), 300_007)
                .unwrap_or_else(|e| panic!("sendfile {name:?}: {e}"));
            if sent == 0 {
                break;
            }
        }
        let sent = pread(&out, 0, bytes.len() + 1).expect("read what was sent");
        assert_same(&sent, bytes, &format!("{name:?} by sendfile"));
    }
}

fn map_private(model: &Model, mount: &Mount) {
    mapped(model, mount, "private");
    if let Some(name) = model
        .files
        .keys()
        .find(|name| !model.bytes(name).is_empty())
    {
        map(["write".as_ref(), mount.file(name).as_os_str()]).expect("write to a private mapping");
    }
}

fn map_shared(model: &Model, mount: &Mount) {
    mapped(model, mount, "shared");
}

fn mapped(model: &Model, mount: &Mount, mode: &str) {
    let mut arguments = vec!["compare".into(), mode.into()];
    for name in model.files.keys() {
        arguments.push(mount.file(name).into_os_string());
        arguments.push(model.golden(name).into_os_string());
    }
    map(arguments).expect("compare mappings");
}

/// Sixteen readers, each with its own order and its own ranges, cached and direct.
fn parallel(model: &Model, mount: &Mount) {
    std::thread::scope(|scope| {
        for reader in 0..16 {
            scope.spawn(move || {
                let mut dice = Dice::new(&format!("reader {reader}"));
                let mode = if reader % 4 == 3 {
                    Mode::Direct
                } else {
                    Mode::Cached
                };
                let names: Vec<_> = model.files.keys().collect();
                for turn in 0..names.len() {
                    let name = names[(turn + reader * 5) % names.len()];
                    let file = open(&mount.file(name), mode).expect("open");
                    read_here_and_there(&file, model.bytes(name), &mut dice, name);
                }
            });
        }
    });
}

fn read_here_and_there(file: &File, bytes: &[u8], dice: &mut Dice, name: &str) {
    for _ in 0..6 {
        let offset = dice.below(bytes.len() as u64 + 10);
        let len = usize::try_from(dice.below(600_000)).expect("small");
        let found = pread(file, offset, len).unwrap_or_else(|e| panic!("read {name:?}: {e}"));
        assert_same(
            &found,
            part(bytes, offset, len),
            &format!("{name:?} at {offset}"),
        );
    }
}

fn sized(sizes: &[u64]) -> Model {
    Model::new(sizes.iter().map(|size| (format!("size-{size}"), *size)))
}

#[test]
fn blake3_files_of_every_size_read_as_the_source() {
    read_in_every_way(&sized(&SIZES), BLAKE3);
}

#[test]
fn sha256_files_of_every_size_read_as_the_source() {
    read_in_every_way(&sized(&SIZES), SHA256);
}

#[test]
fn blake2b_files_of_every_size_read_as_the_source() {
    read_in_every_way(&sized(&SIZES), BLAKE2B);
}

#[test]
fn annotated_files_of_every_size_read_as_the_source() {
    read_in_every_way(&sized(&SIZES), ANNOTATED);
    read_in_every_way(&sized(&SIZES), SIZED);
}

/// Zero-byte files aside: shards can't sign them.
#[test]
fn shards_that_are_chunks_read_as_the_source() {
    read_in_every_way(
        &sized(&SIZES[1..]),
        &["--hash", "sha256", "--shard-size", "4MiB"],
    );
    read_in_every_way(
        &sized(&[1, 999, 1000, 1001, 2000, 100_003, CHUNK + 1]),
        &["--hash", "blake3", "--shard-size", "1000"],
    );
}

#[test]
fn shards_too_large_to_be_chunks_read_as_the_source() {
    let sizes = [
        1,
        CHUNK,
        SHARD,
        SHARD + 1,
        SHARD + 2,
        2 * SHARD + 1,
        3 * SHARD + 12_345,
    ];
    read_in_every_way(
        &sized(&sizes),
        &["--hash", "sha256", "--shard-size", "4194305"],
    );
}

#[test]
fn names_of_every_kind_read_as_the_source() {
    let names = || names().into_iter().zip((900..).step_by(97_531));
    read_in_every_way(&Model::new(names()), BLAKE3);
    read_in_every_way(
        &Model::new(names()),
        &["--hash", "blake2b", "--shard-size", "100000"],
    );
}
