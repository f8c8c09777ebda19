//! Mounts that outlive the process that serves them (`--keep-alive`), and upgrades.

use std::fs::{self, File};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use rustix::fs::Advice;
use rustix::process::{Pid, Signal, kill_process, test_kill_process};
use test_support::built;
use test_support::mounted::{flip, is_mounted};
use test_support::process::{Finished, finish};

use crate::operations::until;
use crate::passes::Stopped;
use crate::support::{
    ANNOTATED, BLAKE3, Dice, Host, LIMIT, Mode, Model, Mount, SHA256, assert_eio, assert_same,
    has_pages, map, open, part, pread, python, read_range, text, tool,
};

const KEPT: &[&str] = &["--keep-alive"];
const LEN: u64 = 24 << 20;

/// How often the server is killed while others read.
const KILLS: u32 = 25;

fn model(how: &[&str]) -> Model {
    let model = Model::new([("weights", LEN), ("config.json", 100)]);
    model.sign(how);
    model
}

/// The process that serves a mount: the keeper's child.
#[track_caller]
fn server_of(keeper: Pid) -> Pid {
    let deadline = Instant::now() + LIMIT;
    loop {
        let keeper = keeper.as_raw_pid();
        let path = format!("/proc/{keeper}/task/{keeper}/children");
        let children = fs::read_to_string(path).expect("list children");
        if let Some(child) = children.split_whitespace().next() {
            let child = child.parse().expect("a number");
            return Pid::from_raw(child).expect("a process");
        }
        assert!(Instant::now() < deadline, "nothing serves");
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// Kills the server, and waits until the next one serves.
#[track_caller]
pub(crate) fn kill(mount: &Mount) {
    let before = earlier(mount);
    kill_process(server_of(mount.pid()), Signal::KILL).expect("kill");
    let deadline = Instant::now() + LIMIT;
    while earlier(mount) == before {
        assert!(Instant::now() < deadline, "nothing goes on");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// Processes that served the mount before. Waits while none does.
#[track_caller]
fn earlier(mount: &Mount) -> Option<u16> {
    mount.owner_status().kept.map(|kept| kept.earlier_processes)
}

#[test]
fn readers_see_nothing_of_a_server_that_is_killed() {
    let Some(host) = Host::new() else { return };
    for how in [BLAKE3, ANNOTATED] {
        let model = model(how);
        let mount = host.mount(&model.path(), KEPT);
        let (done, reads) = (AtomicBool::new(false), AtomicU64::new(0));
        let bytes = model.bytes("weights");
        std::thread::scope(|scope| {
            for (number, mode) in (0..).zip([Mode::Direct, Mode::Direct, Mode::Cached]) {
                let (done, reads, path) = (&done, &reads, mount.file("weights"));
                scope.spawn(move || {
                    let mut dice = Dice::new(&format!("reader {number}"));
                    let mut file = open(&path, mode).expect("open");
                    while !done.load(Ordering::Relaxed) {
                        // Whole pages, as reads past the page cache are.
                        let offset = dice.below(LEN / 4096) * 4096;
                        let len = usize::try_from((1 + dice.below(256)) * 4096).expect("small");
                        let read = pread(&file, offset, len).expect("no read fails");
                        assert_same(&read, part(bytes, offset, len), "a read");
                        if dice.below(20) == 0 {
                            file = open(&path, mode).expect("no open fails");
                            let found = fs::metadata(&path).expect("no look fails");
                            assert_eq!(found.len(), LEN);
                            assert_eq!(file.metadata().expect("nor this").ino(), found.ino());
                        }
                        reads.fetch_add(1, Ordering::Relaxed);
                    }
                });
            }
            let (golden, path) = (model.golden("weights"), mount.file("weights"));
            let arguments = ["compare", "private", text(&path), text(&golden)].map(str::to_owned);
            scope.spawn(|| {
                let arguments = arguments;
                while !done.load(Ordering::Relaxed) {
                    // SIGBUS would end it.
                    map(&arguments).expect("compare what is mapped");
                    // What isn't mapped any more is asked for anew.
                    let file = open(&mount.file("weights"), Mode::Cached).expect("open");
                    rustix::fs::fadvise(&file, 0, None, Advice::DontNeed).expect("drop");
                }
            });
            let mut dice = Dice::new("kills");
            let mut kills = 0;
            let deadline = Instant::now() + LIMIT;
            let few_reads = || reads.load(Ordering::Relaxed) <= 100;
            while (kills < KILLS || few_reads()) && Instant::now() < deadline {
                kills += 1;
                std::thread::sleep(Duration::from_millis(dice.below(60)));
                kill(&mount);
                if dice.below(4) == 0 {
                    // And the next one before it serves.
                    kill_process(server_of(mount.pid()), Signal::KILL).expect("kill");
                    std::thread::sleep(Duration::from_millis(dice.below(20)));
                    kill_process(server_of(mount.pid()), Signal::KILL).expect("kill");
                }
            }
            done.store(true, Ordering::Relaxed);
        });
        assert!(reads.load(Ordering::Relaxed) > 100);
        let kept = mount.owner_status().kept.expect("kept");
        assert!(kept.earlier_processes > 1, "{kept:?}");
        assert_eq!(
            kept.keeper,
            mount.pid().as_raw_nonzero().get().unsigned_abs()
        );
        mount.unmount();
    }
}

#[test]
fn a_file_that_took_a_full_pass_stays_open() {
    let Some(host) = Host::new() else { return };
    let model = model(SHA256);
    let mount = host.mount(&model.path(), KEPT);
    let path = mount.file("weights");
    let file = open(&path, Mode::Direct).expect("open");
    let number = file.metadata().expect("look").ino();
    for _ in 0..3 {
        kill(&mount);
        let read = pread(&file, 4096, 1 << 20).expect("read");
        assert_same(&read, part(model.bytes("weights"), 4096, 1 << 20), "a read");
        let found = file.metadata().expect("look");
        assert_eq!((found.len(), found.ino()), (LEN, number));
    }
    // The source is another one by now: what is open gives no other byte.
    flip(&model.file("weights"), 9 << 20);
    kill(&mount);
    assert_eio(pread(&file, 9 << 20, 4096), "a changed chunk");
    assert_same(
        &pread(&file, 0, 4096).expect("read"),
        part(model.bytes("weights"), 0, 4096),
        "a good one",
    );
    drop(file);
    mount.unmount();
}

#[test]
fn files_that_were_claimed_are_opened_and_told_of_by_the_next_server() {
    let Some(host) = Host::new() else { return };
    let model = model(SHA256);
    let mount = host.mount(&model.path(), KEPT);
    let file = open(&mount.file("weights"), Mode::Direct).expect("open");
    let descriptor = format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&file));
    for _ in 0..2 {
        kill(&mount);
        let again = File::open(&descriptor).expect("open by descriptor");
        let forced = rustix::fs::statx(
            &again,
            c"",
            rustix::fs::AtFlags::EMPTY_PATH | rustix::fs::AtFlags::STATX_FORCE_SYNC,
            rustix::fs::StatxFlags::SIZE,
        );
        assert_eq!(forced.expect("statx").stx_size, LEN);
        let anew = open(&mount.file("weights"), Mode::Direct).expect("open by path");
        for file in [&again, &anew, &file] {
            let read = pread(file, 8 << 20, 4096).expect("read");
            assert_same(&read, part(model.bytes("weights"), 8 << 20, 4096), "a read");
        }
    }
    drop(file);
    mount.unmount();
}

#[test]
fn what_is_out_of_sight_goes_on_too() {
    let Some(host) = Host::new() else { return };
    let model = model(BLAKE3);
    let mut mount = host.mount(&model.path(), KEPT);
    let file = open(&mount.file("weights"), Mode::Direct).expect("open");
    finish(Command::new("umount").arg("-l").arg(mount.path()), LIMIT).expect("umount -l");
    let before = server_of(mount.pid());
    kill_process(before, Signal::KILL).expect("kill");
    let read = pread(&file, 0, 1 << 20).expect("read");
    assert_same(&read, part(model.bytes("weights"), 0, 1 << 20), "a read");
    drop(file);
    assert_eq!(mount.wait(), Some(0), "{}", mount.stderr());
}

#[test]
fn the_directory_where_it_was_mounted_may_go() {
    let Some(host) = Host::new() else { return };
    let model = model(BLAKE3);
    let directory = model.beside("gone");
    fs::create_dir(&directory).expect("mkdir");
    let mut command = host.on_model("mount", &model.path(), &["--keep-alive", "--foreground"]);
    let mountpoint = tempfile::tempdir().expect("make a mountpoint");
    command
        .current_dir(&directory)
        .arg("--")
        .arg(mountpoint.path());
    let mount = Mount::of(command, mountpoint);
    fs::remove_dir(&directory).expect("rmdir");
    kill(&mount);
    mount.unmount();
}

#[test]
fn a_stop_while_nobody_serves_is_a_clean_end() {
    let Some(host) = Host::new() else { return };
    let model = model(BLAKE3);
    let ready = model.beside("ready.pid");
    let options = ["--keep-alive", "--pid-file", text(&ready)];
    for round in 0..20 {
        let mut mount = host.mount(&model.path(), &options);
        // The keeper may not have heard yet that the mount is there, which then wasn't ready.
        let is_ready = round % 2 == 0;
        if is_ready {
            until("the mount is ready", || ready.exists());
        }
        kill_process(server_of(mount.pid()), Signal::KILL).expect("kill");
        kill_process(mount.pid(), Signal::TERM).expect("signal");
        let code = mount.wait();
        let is_clean = code == Some(0) || (!is_ready && code == Some(1));
        assert!(is_clean, "{code:?}: {}", mount.stderr());
        assert!(!is_mounted(mount.path()));
        let _ = fs::remove_file(&ready);
    }
}

#[test]
fn two_upgrades_at_a_time_end_nothing() {
    let Some(host) = Host::new() else { return };
    let model = model(BLAKE3);
    let mount = host.mount(&model.path(), KEPT);
    for _ in 0..5 {
        kill_process(server_of(mount.pid()), Signal::KILL).expect("kill");
        for _ in 0..2 {
            kill_process(mount.pid(), Signal::USR2).expect("signal");
        }
        let read = read_range(&mount.file("weights"), Mode::Direct, 0, 4096).expect("read");
        assert_same(&read, part(model.bytes("weights"), 0, 4096), "a read");
    }
    mount.unmount();
}

#[test]
fn another_signature_ends_the_mount() {
    let Some(host) = Host::new() else { return };
    for (what, change, code) in [
        ("signed anew", None, 1),
        ("no signature", Some(&b""[..]), 3),
    ] {
        let model = model(BLAKE3);
        let mut mount = host.mount(&model.path(), KEPT);
        let file = open(&mount.file("weights"), Mode::Direct).expect("open");
        match change {
            None => model.sign(&["--hash", "blake3", "--plain", "--force"]),
            Some(bytes) => fs::write(model.file("model.sig"), bytes).expect("write"),
        }
        kill_process(server_of(mount.pid()), Signal::KILL).expect("kill");
        assert_eq!(mount.wait(), Some(code), "{what}: {}", mount.stderr());
        assert!(!is_mounted(mount.path()), "{what}");
        assert!(pread(&file, 0, 4096).is_err(), "{what}");
    }
}

#[test]
fn a_signal_to_the_keeper_ends_all() {
    let Some(host) = Host::new() else { return };
    let model = model(BLAKE3);
    for signal in [Signal::TERM, Signal::INT] {
        let pid_file = model.beside("pid");
        let text = pid_file.to_str().expect("text");
        let mut mount = host.mount(&model.path(), &["--keep-alive", "--pid-file", text]);
        let server = server_of(mount.pid());
        let deadline = Instant::now() + LIMIT;
        while !pid_file.exists() {
            assert!(Instant::now() < deadline, "no pid file");
            std::thread::sleep(Duration::from_millis(5));
        }
        let said = fs::read_to_string(&pid_file).expect("a pid file");
        assert_eq!(said.trim(), mount.pid().as_raw_pid().to_string());
        kill_process(mount.pid(), signal).expect("signal");
        assert_eq!(mount.wait(), Some(0), "{}", mount.stderr());
        assert!(!is_mounted(mount.path()));
        assert!(test_kill_process(server).is_err(), "the server has ended");
        assert!(!pid_file.exists());
    }
}

#[test]
fn without_its_keeper_a_mount_is_served_until_its_server_ends() {
    let Some(host) = Host::new() else { return };
    let model = model(BLAKE3);
    let mut mount = host.mount(&model.path(), KEPT);
    let server = server_of(mount.pid());
    kill_process(mount.pid(), Signal::KILL).expect("kill");
    mount.wait();
    let read = read_range(&mount.file("weights"), Mode::Direct, 0, 1 << 20).expect("read");
    assert_same(&read, part(model.bytes("weights"), 0, 1 << 20), "a read");
    kill_process(server, Signal::TERM).expect("signal");
    let deadline = Instant::now() + LIMIT;
    while is_mounted(mount.path()) {
        assert!(Instant::now() < deadline, "SIGTERM ends it");
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn a_lockdown_cant_be_kept() {
    let Some(host) = Host::new() else { return };
    let model = model(BLAKE3);
    let options = ["--keep-alive", "--on-violation", "lockdown"];
    let refused = host.mount_fails(&model.path(), &options, 2);
    assert!(refused.stderr.contains("exclude each other"), "{refused}");
}

#[test]
fn what_can_be_read_once_cant_be_kept() {
    let Some(host) = Host::new() else { return };
    let model = model(BLAKE3);
    let mountpoint = model.beside("mnt");
    fs::create_dir(&mountpoint).expect("mkdir");
    let mut command = host.command("mount");
    command.arg(model.path()).arg(&mountpoint);
    command.args(["--keep-alive", "--public-key", "/dev/stdin"]);
    let refused = host.run(&mut command).expect_code(2, "mount");
    assert!(refused.stderr.contains("give a file"), "{refused}");
}

/// A copy of the program, which a test may replace.
fn installed(model: &Model) -> PathBuf {
    let path = model.beside("model-fs");
    install(built::program().as_ref(), &path);
    path
}

/// Puts a program in the place of another, as a package manager does.
fn install(program: &Path, path: &Path) {
    let new = path.with_extension("new");
    // By another process: what one writes here, a child that another test starts at that moment
    // has open for writing too, and nothing that is can be run (ETXTBSY).
    tool("cp", [program, &new]).expect("copy");
    fs::rename(&new, path).expect("rename");
}

fn mount_by(host: &Host, program: &Path, model: &Model, directory: Option<&Path>) -> Mount {
    let usual = host.on_model("mount", &model.path(), &["--keep-alive", "--foreground"]);
    let mountpoint = tempfile::tempdir().expect("make a mountpoint");
    let mut command = Command::new(program);
    command
        .args(usual.get_args())
        .arg("--")
        .arg(mountpoint.path());
    if let Some(directory) = directory {
        command.current_dir(directory);
    }
    for (name, value) in usual.get_envs() {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
    Mount::of(command, mountpoint)
}

fn upgrade(mount: &Mount) -> Finished {
    let mut command = Command::new(built::program());
    finish(command.arg("upgrade").arg(mount.path()), LIMIT)
}

/// What a process runs.
fn program_of(process: Pid) -> PathBuf {
    fs::read_link(format!("/proc/{}/exe", process.as_raw_pid())).expect("look")
}

#[test]
fn a_new_version_goes_on_while_others_read() {
    let Some(host) = Host::new() else { return };
    let model = model(ANNOTATED);
    let program = installed(&model);
    let mount = mount_by(&host, &program, &model, None);
    let (done, bytes) = (AtomicBool::new(false), model.bytes("weights"));
    std::thread::scope(|scope| {
        let (done, path) = (&done, mount.file("weights"));
        scope.spawn(move || {
            let file: File = open(&path, Mode::Direct).expect("open");
            let mut dice = Dice::new("reader");
            while !done.load(Ordering::Relaxed) {
                let offset = dice.below(LEN / 4096) * 4096;
                let read = pread(&file, offset, 128 << 10).expect("no read fails");
                assert_same(&read, part(bytes, offset, 128 << 10), "a read");
            }
        });
        for _ in 0..3 {
            install(built::program().as_ref(), &program);
            let before = server_of(mount.pid());
            let removed = format!("{} (deleted)", program.display());
            assert_eq!(program_of(before), Path::new(&removed));
            upgrade(&mount).expect("upgrade");
            assert_eq!(program_of(server_of(mount.pid())), program);
            assert!(
                test_kill_process(before).is_err(),
                "the one before has ended"
            );
        }
        done.store(true, Ordering::Relaxed);
    });
    mount.unmount();
}

#[test]
fn a_version_that_doesnt_start_changes_nothing() {
    let Some(host) = Host::new() else { return };
    let model = model(BLAKE3);
    let program = installed(&model);
    let mount = mount_by(&host, &program, &model, None);
    let server = server_of(mount.pid());
    install("/bin/false".as_ref(), &program);
    let failed = upgrade(&mount).expect_code(1, "upgrade");
    assert!(failed.stderr.contains("exit status: 1"), "{failed}");
    fs::remove_file(&program).expect("remove");
    let failed = upgrade(&mount).expect_code(1, "upgrade");
    assert!(failed.stderr.contains("cannot open"), "{failed}");
    assert_eq!(server_of(mount.pid()), server);
    let read = read_range(&mount.file("weights"), Mode::Direct, 0, 4096).expect("read");
    assert_same(&read, part(model.bytes("weights"), 0, 4096), "a read");
    // The program that was started can still be, although its path is gone.
    kill(&mount);
    mount.unmount();
}

/// A program that says that it is ready, as this one does, and fails once it is told to go on: a
/// copy of Python, whose first argument, the verb, is a script in the directory of the mount.
const FAILS_LATE: &str = r#"
import socket, sys
keeper = socket.socket(fileno=0)
keeper.send(b'"Prepared"')
assert keeper.recv(65536).startswith(b'{"TakeOver"')
keeper.send(b'{"Failed":"as a test wants it"}')
sys.exit(1)
"#;

#[test]
fn a_version_that_fails_once_it_takes_over_is_told_of_and_the_one_before_goes_on() {
    let Some(host) = Host::new() else { return };
    let model = model(BLAKE3);
    let program = installed(&model);
    let directory = model.beside("directory");
    fs::create_dir(&directory).expect("mkdir");
    fs::write(directory.join("mount"), FAILS_LATE).expect("write");
    let mount = mount_by(&host, &program, &model, Some(&directory));
    let python = python().get_program().to_owned();
    for failed in 1..=2 {
        install(Path::new(&python), &program);
        let said = upgrade(&mount).expect_code(1, "upgrade");
        assert!(said.stderr.contains("as a test wants it"), "{said}");
        let kept = mount.owner_status().kept.expect("kept");
        assert_eq!((kept.upgrades, kept.failed_upgrades), (0, failed));
        let read = read_range(&mount.file("weights"), Mode::Direct, 0, 4096).expect("read");
        assert_same(&read, part(model.bytes("weights"), 0, 4096), "a read");
    }
    install(built::program().as_ref(), &program);
    upgrade(&mount).expect("upgrade");
    let kept = mount.owner_status().kept.expect("kept");
    assert_eq!((kept.upgrades, kept.failed_upgrades), (1, 2));
    // What is counted goes on with a server that is killed.
    kill(&mount);
    let kept = mount.owner_status().kept.expect("kept");
    assert_eq!((kept.upgrades, kept.failed_upgrades), (1, 2));
    mount.unmount();
}

#[test]
fn a_mount_that_isnt_kept_isnt_upgraded() {
    let Some(host) = Host::new() else { return };
    let model = model(BLAKE3);
    let mount = host.mount(&model.path(), &[]);
    let failed = upgrade(&mount).expect_code(1, "upgrade");
    assert!(failed.stderr.contains("--keep-alive"), "{failed}");
    mount.unmount();
}

/// A kept mount through EROFS, and the mount that it reads from; `None` where there can't be one.
fn pages_on_a_source_that_can_hang(host: &Host) -> Option<(Model, Mount, Mount)> {
    if !has_pages() {
        return None;
    }
    let model = model(BLAKE3);
    let source = host.mount(&model.path(), &["--lane", "fuse", "--allow-other"]);
    let options = ["--keep-alive", "--lane", "pages"];
    let mount = Host::anywhere().mount(source.path(), &options);
    assert_eq!(mount.facts().lane, "pages");
    Some((model, source, mount))
}

/// A process that reads what nothing was read of, and so waits for the source.
fn reader_of(mount: &Mount, offset: u64) -> Child {
    let mut dd = Command::new("dd");
    dd.arg(format!("if={}", mount.file("weights").display()))
        .args(["of=/dev/null", "bs=4096", "count=1"])
        .arg(format!("skip={}", offset / 4096))
        .stderr(Stdio::null());
    dd.spawn().expect("start a reader")
}

/// The end of a process, which comes.
#[track_caller]
fn end_of(process: &mut Child) -> Option<i32> {
    let deadline = Instant::now() + LIMIT;
    loop {
        if let Some(status) = process.try_wait().expect("wait for a child") {
            return status.code();
        }
        assert!(Instant::now() < deadline, "it doesn't end");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Stops the source of a mount, and waits for a reader to wait for it.
fn stop(source: &Mount, mount: &Mount) -> (Stopped, Child) {
    // The kernel mustn't have its pages.
    let file = File::open(source.file("weights")).expect("open");
    rustix::fs::fadvise(&file, 0, None, Advice::DontNeed).expect("drop");
    drop(file);
    let stopped = Stopped::new(source.pid());
    let reader = reader_of(mount, 8 << 20);
    hangs(&reader);
    (stopped, reader)
}

/// Waits until a reader waits for an answer, which in this lane no signal ends.
fn hangs(reader: &Child) {
    let deadline = Instant::now() + LIMIT;
    let stat = format!("/proc/{}/stat", reader.id());
    loop {
        let stat = fs::read_to_string(&stat).expect("look");
        if stat
            .rsplit(") ")
            .next()
            .is_some_and(|it| it.starts_with('D'))
        {
            return;
        }
        assert!(Instant::now() < deadline, "it doesn't wait: {stat}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[track_caller]
fn stops_while_a_source_hangs(is_killed: bool) {
    let Some(host) = Host::new() else { return };
    let Some((_model, source, mut mount)) = pages_on_a_source_that_can_hang(&host) else {
        return;
    };
    let (stopped, mut reader) = stop(&source, &mount);
    let mut server = server_of(mount.pid());
    if is_killed {
        // The next one hangs where it looks for the signature.
        kill_process(server, Signal::KILL).expect("kill");
        let deadline = Instant::now() + LIMIT;
        while server_of(mount.pid()) == server {
            assert!(Instant::now() < deadline, "no other is started");
            std::thread::sleep(Duration::from_millis(1));
        }
        server = server_of(mount.pid());
    }
    kill_process(mount.pid(), Signal::TERM).expect("signal");
    assert_eq!(end_of(&mut reader), Some(1), "an error");
    assert_eq!(
        mount.wait(),
        Some(i32::from(!is_killed)),
        "{}",
        mount.stderr()
    );
    assert!(!is_mounted(mount.path()));
    assert!(test_kill_process(server).is_err(), "the server has ended");
    drop(stopped);
    source.unmount();
}

#[test]
fn a_stop_lets_go_those_who_wait_for_a_source_that_hangs() {
    stops_while_a_source_hangs(false);
}

#[test]
fn a_stop_between_two_servers_lets_go_those_who_wait() {
    stops_while_a_source_hangs(true);
}

#[test]
fn a_mount_that_nobody_answers_for_ends_and_lets_go_those_who_wait() {
    let Some(host) = Host::new() else { return };
    let Some((_model, source, mut mount)) = pages_on_a_source_that_can_hang(&host) else {
        return;
    };
    let (stopped, mut reader) = stop(&source, &mount);
    // The next one hangs where it looks for the signature.
    kill_process(server_of(mount.pid()), Signal::KILL).expect("kill");
    assert_eq!(end_of(&mut reader), Some(1), "an error");
    assert_eq!(mount.wait(), Some(1), "{}", mount.stderr());
    assert!(mount.stderr().contains("in time"), "{}", mount.stderr());
    assert!(!is_mounted(mount.path()));
    drop(stopped);
    source.unmount();
}

#[test]
fn lengths_that_cant_be_proved_again_end_a_mount_through_erofs() {
    let Some(host) = Host::new() else { return };
    if !has_pages() {
        return;
    }
    let model = model(BLAKE3);
    let mut mount = host.mount(&model.path(), &["--keep-alive", "--lane", "pages"]);
    let file = open(&mount.file("weights"), Mode::Cached).expect("open");
    // What this host has proved, and the end of the file.
    fs::remove_dir_all(host.store()).expect("remove");
    flip(&model.file("weights"), LEN - 1);
    kill_process(server_of(mount.pid()), Signal::KILL).expect("kill");
    assert_eq!(mount.wait(), Some(1), "{}", mount.stderr());
    let said = mount.stderr();
    assert!(
        said.contains("can't go on: the length of weights"),
        "{said}"
    );
    assert!(!is_mounted(mount.path()));
    assert_eio(pread(&file, 8 << 20, 4096), "what wasn't read before");
}

#[test]
fn a_mount_goes_on_in_the_lane_that_it_was_made_in() {
    let Some(host) = Host::new() else { return };
    let model = model(BLAKE3);
    let options = ["--keep-alive", "--lane", "pages", "-o", "max_read=65536"];
    let mount = host.mount(&model.path(), &options);
    kill(&mount);
    let deadline = Instant::now() + LIMIT;
    let facts = loop {
        // A server that has just begun doesn't tell yet.
        if let Some(facts) = mount.owner_status().mount {
            break facts;
        }
        assert!(
            Instant::now() < deadline,
            "it doesn't tell how it is mounted"
        );
        std::thread::sleep(Duration::from_millis(5));
    };
    let reason = facts.not_pages.expect("a reason");
    assert_eq!(facts.lane, "fuse");
    assert!(
        reason.contains("as the process before showed it"),
        "{reason}"
    );
    mount.unmount();
}
