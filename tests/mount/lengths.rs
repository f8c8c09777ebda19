//! What the kernel is told of lengths, and what becomes of a length that was only claimed.
//!
//! The adversary gives files another length: before the mount, while they are looked up, or for
//! ever. Every reader gets the signed bytes, all of them and no more, or an error.

use std::fs::{self, OpenOptions};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use test_support::built;
use test_support::missing::{Need, have};
use test_support::mounted::scratch;
use test_support::process::finish;

use crate::passes::Stopped;
use crate::support::{
    ANNOTATED, BLAKE2B, BLAKE3, CHUNK, Host, Mode, Model, Mount, SHA256, SIZED, WHOLE, in_pages,
    open, python, read_range, tool,
};

/// Files that are small enough to be proved by reading them, and files that take a full pass where
/// no table is at hand.
const SMALL: usize = 300;
const LARGE: usize = 16;

fn names() -> Vec<String> {
    let small = (0..SMALL).map(|index| format!("code/module_{index:03}.py"));
    let large = (0..LARGE).map(|index| format!("weights/part-{index:02}"));
    small.chain(large).collect()
}

fn model(options: &[&str]) -> Model {
    let len = |index: usize| match index {
        // Sizes around a page, and so small that nothing else shares the page.
        0..SMALL => 1 + (index as u64 * 97) % 20_000,
        _ => WHOLE + 1 + (index as u64 * 4099) % 50_000,
    };
    let model = Model::new(
        names()
            .into_iter()
            .enumerate()
            .map(|(at, name)| (name, len(at))),
    );
    model.sign(options);
    // Without tables, so that large files take a full pass, no matter how they were signed.
    let tables = model.file(".model-fs");
    if tables.exists() {
        fs::remove_dir_all(tables).expect("remove the tables");
    }
    model
}

fn resize(path: &Path, by: i64) {
    let file = OpenOptions::new().write(true).open(path).expect("open");
    let len = file.metadata().expect("stat").len();
    file.set_len(len.saturating_add_signed(by)).expect("resize");
}

/// Writes a file's signed bytes back, without replacing the file.
fn refill(model: &Model, name: &str) {
    fs::write(model.file(name), model.bytes(name)).expect("write");
}

/// What the adversary does about lengths.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Attack {
    /// Cuts files until the mount is there.
    CutAndRestore,
    /// Appends zeros until the mount is there.
    AppendAndRestore,
    /// Appends zeros for good.
    Append,
    /// Cuts, appends and restores all the time.
    Toggle,
}

impl Attack {
    fn before(self, model: &Model) {
        for name in names() {
            let len = model.bytes(&name).len();
            match self {
                Self::CutAndRestore => resize(&model.file(&name), -i64::try_from(len / 2).unwrap()),
                Self::AppendAndRestore | Self::Append => resize(&model.file(&name), 5000),
                Self::Toggle => {}
            }
        }
    }

    fn after(self, model: &Model) {
        if matches!(self, Self::CutAndRestore | Self::AppendAndRestore) {
            for name in names() {
                refill(model, &name);
            }
        }
    }

    /// As long as it lasts.
    fn meanwhile(self, model: &Model, over: &AtomicBool) {
        if self != Self::Toggle {
            return;
        }
        let names = names();
        for (round, name) in names.iter().cycle().enumerate() {
            if over.load(Ordering::Relaxed) {
                break;
            }
            resize(&model.file(name), if round % 2 == 0 { 4096 } else { -1 });
            refill(model, &names[(round * 7 + 3) % names.len()]);
        }
        for name in &names {
            refill(model, name);
        }
    }
}

/// What ranks that read all files at the same time got.
#[derive(Debug, Default)]
struct Deliveries {
    right: u64,
    errors: u64,
}

fn rank(way: &str, mount: &Mount, golden: &Path, start: f64, names: &Path) -> Child {
    python()
        .arg(built::repository("tests/mount/ranks.py"))
        .arg(way)
        .args([mount.path(), golden])
        .arg(start.to_string())
        .arg(names)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .expect("start a rank")
}

fn read_by_ranks(model: &Model, mount: &Mount, ranks: usize, mappings: bool) -> Deliveries {
    let lists = scratch();
    let list = lists.path().join("names");
    fs::write(&list, names().join("\n")).expect("write");
    let mut ways = vec!["read", "open", "sendfile"];
    if mappings {
        // Not where pages may be unreadable: such a page ends a process that has mapped it.
        ways.push("mmap");
    }
    let soon = SystemTime::now() + Duration::from_millis(500);
    let start = soon
        .duration_since(UNIX_EPOCH)
        .expect("after 1970")
        .as_secs_f64();
    let golden = model.golden("");
    let children: Vec<Child> = (0..ranks)
        .map(|at| ways[at % ways.len()])
        // Beside the readers, processes that only ask for lengths.
        .chain(["stat", "stat"])
        .map(|way| rank(way, mount, &golden, start, &list))
        .collect();
    let mut all = Deliveries::default();
    for child in children {
        let output = child.wait_with_output().expect("wait for a rank");
        let said = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success(), "{}: {said}", output.status);
        for line in said.lines() {
            match line.split_once(' ') {
                Some(("right", count)) => all.right += count.parse::<u64>().expect("a number"),
                Some(("errors", count)) => all.errors += count.parse::<u64>().expect("a number"),
                _ => panic!("{ranks} ranks: {said}"),
            }
        }
    }
    all
}

/// Eight ranks over 400 files had 90 of 3,200 reads cut short, and got unsigned zeros where some
/// had been appended, when a claimed length was still believed.
fn nobody_gets_anything_but_the_signed_bytes(options: &[&str]) {
    let Some(_) = Host::new() else { return };
    let model = model(options);
    let mut delivered = 0;
    for attack in [
        Attack::CutAndRestore,
        Attack::AppendAndRestore,
        Attack::Append,
        Attack::Toggle,
    ] {
        for ranks in [2, 8, 16] {
            attack.before(&model);
            let host = Host::anywhere();
            let mount = host.mount(&model.path(), &[]);
            attack.after(&model);
            let over = AtomicBool::new(false);
            let got = std::thread::scope(|scope| {
                scope.spawn(|| attack.meanwhile(&model, &over));
                let got = read_by_ranks(&model, &mount, ranks, attack != Attack::Toggle);
                over.store(true, Ordering::Relaxed);
                got
            });
            delivered += got.right;
            match attack {
                // By the time of the reads, everything is as it was signed.
                Attack::CutAndRestore | Attack::AppendAndRestore => {
                    assert_eq!(got.errors, 0, "{attack:?}, {ranks} ranks");
                    // Where lengths are proved at the mount, they were met then.
                    assert!(mount.stats().violations == 0 || in_pages());
                }
                // Nothing at hand says where these files end.
                Attack::Append => assert_eq!(got.right, 0, "{attack:?}, {ranks} ranks"),
                Attack::Toggle => {}
            }
            mount.unmount();
            for name in names() {
                refill(&model, &name);
            }
        }
    }
    let each = (names().len() * 26) as u64;
    assert!(delivered >= 2 * each, "{delivered} of {each} twice");
}

#[test]
fn ranks_that_open_together_get_the_signed_bytes_of_sha256_files() {
    nobody_gets_anything_but_the_signed_bytes(SHA256);
}

#[test]
fn ranks_that_open_together_get_the_signed_bytes_of_blake3_files() {
    nobody_gets_anything_but_the_signed_bytes(BLAKE3);
}

#[test]
fn ranks_that_open_together_get_the_signed_bytes_of_blake2b_files() {
    nobody_gets_anything_but_the_signed_bytes(BLAKE2B);
}

/// What the kernel says of a file by itself, while the daemon answers nothing: its size in bytes.
fn known(mount: &Mount, name: &str) -> Option<u64> {
    let _stopped = Stopped::new(mount.pid());
    let mut stat = Command::new("stat");
    stat.args(["--format=%s".as_ref(), mount.file(name).as_os_str()]);
    let finished = finish(&mut stat, Duration::from_secs(3));
    finished.status?;
    Some(
        finished
            .expect("stat")
            .stdout
            .trim()
            .parse()
            .expect("a size"),
    )
}

/// The kernel keeps what is proved, and never a claim.
#[test]
fn the_kernel_keeps_proved_lengths_and_no_others() {
    let Some(host) = Host::new() else { return };
    let large = 3 * WHOLE;
    let model = Model::new([("large", large), ("small", 100), ("dir/small", 7)]);
    model.sign(SHA256);
    resize(&model.file("large"), 5000);
    let mount = host.mount(&model.path(), &[]);
    // A listing has no lengths.
    let list = tool("ls", ["-R".as_ref(), mount.path().as_os_str()]).expect("ls");
    assert!(list.stdout.contains("large"), "{list}");
    for name in ["large", "small", "dir/small"] {
        assert_eq!(known(&mount, name), None, "{name}: nobody has looked it up");
    }
    let size = |name: &str| fs::metadata(mount.file(name)).expect("stat").len();
    assert_eq!((size("small"), size("dir/small")), (100, 7));
    assert_eq!(size("large"), large + 5000, "the source's claim");
    assert_eq!(known(&mount, "small"), Some(100));
    assert_eq!(known(&mount, "dir/small"), Some(7));
    assert_eq!(
        known(&mount, "large"),
        None,
        "a claim is asked for each time"
    );
    // A program that asks again is told what is claimed by then.
    resize(&model.file("large"), -6000);
    assert_eq!(size("large"), large - 1000);
    model.restore("large");
    assert_eq!(size("large"), large);
    drop(open(&mount.file("large"), Mode::Cached).expect("open"));
    assert_eq!(size("large"), large);
    assert_eq!(known(&mount, "large"), Some(large));
    mount.unmount();
}

/// Where a table is at hand, asking for the length proves it, no matter what the source claims.
#[test]
fn a_length_that_can_be_proved_at_hand_is_never_claimed() {
    let Some(_) = Host::new() else { return };
    let large = 40 * CHUNK + 1000;
    for (options, stored) in [
        (BLAKE3, false),
        (BLAKE3, true),
        (SHA256, true),
        (BLAKE2B, true),
        (ANNOTATED, false),
        (SIZED, false),
    ] {
        let model = Model::new([("large", large)]);
        model.sign(options);
        let host = Host::anywhere();
        if stored {
            let mut index = host.on_model("index", &model.path(), &[]);
            host.run(&mut index).expect("index");
        }
        resize(&model.file("large"), 100_000);
        let mount = host.mount(&model.path(), &[]);
        let before = mount.bytes_read_by_daemon();
        assert_eq!(
            fs::metadata(mount.file("large")).expect("stat").len(),
            large
        );
        let read = mount.bytes_read_by_daemon() - before;
        assert!(read < 2 * CHUNK + 100_000, "{read} bytes for a look");
        if [ANNOTATED, SIZED].contains(&options) {
            assert_eq!(mount.stats().source_bytes, 0, "the signature says it");
        }
        assert_eq!(known(&mount, "large"), Some(large));
        let end = read_range(&mount.file("large"), Mode::Cached, large - 10, 100).expect("read");
        assert_eq!(
            end,
            model.bytes("large")[usize::try_from(large - 10).unwrap()..]
        );
        assert_eq!(mount.stats().full_passes, 0);
        // A descriptor that only names the file can be opened for reading.
        let reopened = python()
            .arg("-c")
            .arg(
                "import os, sys\n\
                 fd = os.open(sys.argv[1], os.O_PATH)\n\
                 print(len(open(f'/proc/self/fd/{fd}', 'rb').read()))",
            )
            .arg(mount.file("large"))
            .output()
            .expect("run python");
        assert_eq!(
            String::from_utf8_lossy(&reopened.stdout).trim(),
            large.to_string()
        );
        mount.unmount();
    }
}

/// As a container's volume shows one file of a mount (Kubernetes: `subPath`).
#[test]
fn a_file_that_is_bound_elsewhere_by_itself_works_when_its_source_was_restored() {
    let Some(host) = Host::new() else { return };
    // Only root binds files.
    if !have(Need::Root) {
        return;
    }
    let large = 3 * WHOLE;
    let model = Model::new([("large", large)]);
    model.sign(SHA256);
    resize(&model.file("large"), 5000);
    let mount = host.mount(&model.path(), &[]);
    model.restore("large");
    // In a mount namespace that ends with the command.
    let target = host.home().join("bound");
    fs::write(&target, b"").expect("write");
    let script = "mount --bind \"$1\" \"$2\" && cmp \"$2\" \"$3\" && cmp \"$2\" \"$3\"";
    let mut command = Command::new("unshare");
    command.args([
        "--mount",
        "--propagation",
        "private",
        "sh",
        "-c",
        script,
        "sh",
    ]);
    command.args([mount.file("large"), target, model.golden("large")]);
    finish(&mut command, Duration::from_secs(60)).expect("bind and compare");
    mount.unmount();
}
