//! What operators see and do: signals, pid files, the service manager, metrics, and the status of
//! all mounts.

use std::fs::{self, File};
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Signal, kill_process};
use serde_json::Value;
use tempfile::TempDir;
use test_support::built;
use test_support::mounted::{clear, flip, is_mounted};
use test_support::process::finish;

use crate::background::daemon_of;
use crate::support::{
    BLAKE3, Host, LIMIT, Mode, Model, Mount, SHA256, assert_same, in_pages, pread, read_range, text,
};

fn model() -> Model {
    let model = Model::new([("weights", 600_000), ("config.json", 100)]);
    model.sign(BLAKE3);
    model
}

/// Waits until something is so.
#[track_caller]
pub(crate) fn until(what: &str, mut so: impl FnMut() -> bool) {
    let deadline = Instant::now() + LIMIT;
    while !so() {
        assert!(Instant::now() < deadline, "{what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn a_signal_has_the_status_logged_and_changes_nothing() {
    let Some(host) = Host::new() else { return };
    let model = model();
    let mut mount = host.mount(&model.path(), &[]);
    fs::read(mount.file("weights")).expect("read");
    kill_process(mount.pid(), Signal::USR1).expect("send a signal");
    until("the status is logged", || {
        mount.stderr().contains("verified_bytes")
    });
    let said = mount.stderr();
    let line = said.lines().find(|line| line.contains("verified_bytes"));
    let json = line
        .and_then(|line| line.split_once("status="))
        .expect("a status")
        .1;
    let status: Value = serde_json::from_str(json).expect("JSON");
    assert_eq!(status["mount"]["mountpoint"], text(mount.path()));
    assert!(status["verified_bytes"].as_u64() >= Some(600_000));
    mount.unmount();
}

#[test]
fn the_pid_file_is_there_while_the_mount_is_served() {
    let Some(host) = Host::new() else { return };
    let model = model();
    let (folder, mountpoint) = (
        TempDir::new().expect("mkdir"),
        TempDir::new().expect("mkdir"),
    );
    let pid_file = folder.path().join("model.pid");
    let mount = || {
        // Relative: the process in the background has another directory.
        let mut command = host.on_model("mount", &model.path(), &["--pid-file", "model.pid"]);
        command.current_dir(folder.path());
        command.arg("--").arg(mountpoint.path());
        host.run(&mut command)
    };
    mount().expect("mount");
    let daemon = daemon_of(mountpoint.path());
    let expected = format!("{}\n", daemon.as_raw_pid());
    assert_eq!(fs::read_to_string(&pid_file).expect("read"), expected);
    // Another mount doesn't take it over, and mounts nothing.
    let other = TempDir::new().expect("mkdir");
    let mut command = host.on_model("mount", &model.path(), &["--pid-file", text(&pid_file)]);
    let failed = host
        .run(command.arg("--").arg(other.path()))
        .expect_code(1, "mount");
    assert!(failed.stderr.contains("which is running"), "{failed}");
    assert!(!is_mounted(other.path()));
    kill_process(daemon, Signal::TERM).expect("send a signal");
    until("the pid file goes", || !pid_file.exists());
    // One that is left by a process that was killed is replaced.
    mount().expect("mount");
    let daemon = daemon_of(mountpoint.path());
    kill_process(daemon, Signal::KILL).expect("kill");
    let stat = format!("/proc/{}/stat", daemon.as_raw_pid());
    until("it is dead", || {
        fs::read_to_string(&stat).map_or(true, |stat| stat.contains(") Z "))
    });
    assert!(pid_file.exists());
    clear(mountpoint.path());
    mount().expect("mount over what a killed process left");
    kill_process(daemon_of(mountpoint.path()), Signal::TERM).expect("send a signal");
    until("the pid file goes", || !pid_file.exists());
    until("it is unmounted", || !is_mounted(mountpoint.path()));
}

#[test]
fn the_service_manager_is_told_of_readiness_health_and_the_end() {
    let Some(host) = Host::new() else { return };
    let model = model();
    let folder = TempDir::new().expect("mkdir");
    let path = folder.path().join("notify");
    let socket = UnixDatagram::bind(&path).expect("bind");
    socket
        .set_read_timeout(Some(LIMIT))
        .expect("set a time limit");
    let mountpoint = TempDir::new().expect("mkdir");
    let mut command = host.on_model("mount", &model.path(), &["--foreground"]);
    command
        .env("NOTIFY_SOCKET", &path)
        .env("WATCHDOG_USEC", "200000");
    command.arg("--").arg(mountpoint.path());
    let mut mount = Mount::of(command, mountpoint);
    let mut said = String::new();
    let mut hear = |wanted: &str, times: usize| {
        let start = said.len();
        while said[start..].matches(wanted).count() < times {
            let mut message = [0; 4096];
            let len = socket
                .recv(&mut message)
                .expect("the service manager is told");
            said.push_str(std::str::from_utf8(&message[..len]).expect("UTF-8"));
            said.push('\n');
        }
        said.clone()
    };
    let first = hear("STATUS=", 1);
    assert!(first.starts_with("READY=1"), "{first}");
    let lane = if in_pages() { "pages" } else { "fuse" };
    assert!(
        first.contains(&format!("violations: 0, lane: {lane}")),
        "{first}"
    );
    hear("WATCHDOG=1", 3);
    kill_process(mount.pid(), Signal::HUP).expect("send a signal");
    let reload = hear("RELOADING=1", 1);
    assert!(reload.contains("MONOTONIC_USEC="), "{reload}");
    hear("READY=1", 1);
    kill_process(mount.pid(), Signal::TERM).expect("send a signal");
    hear("STOPPING=1", 1);
    assert_eq!(mount.wait(), Some(0), "{}", mount.stderr());
}

#[test]
fn a_mount_in_use_is_unmounted_from_sight_and_says_by_whom() {
    let Some(host) = Host::new() else { return };
    let model = model();
    let mut mount = host.mount(&model.path(), &[]);
    let mut sleeper = Command::new("sleep")
        .arg("100")
        .current_dir(mount.path())
        .spawn()
        .expect("start");
    let held = File::open(mount.file("weights")).expect("open");
    // It becomes that program first.
    let comm = format!("/proc/{}/comm", sleeper.id());
    until("sleep runs", || {
        fs::read_to_string(&comm).is_ok_and(|name| name.trim() == "sleep")
    });
    let done = host
        .run(host.command("umount").arg(mount.path()))
        .expect("umount");
    let by = format!("sleep (process {})", sleeper.id());
    assert!(done.stderr.contains(&by), "{done}");
    let ours = format!("(process {})", std::process::id());
    assert!(done.stderr.contains(&ours), "{done}");
    assert!(!is_mounted(mount.path()));
    let found = pread(&held, 0, 1 << 20).expect("what is open is served");
    assert_same(&found, model.bytes("weights"), "an open file");
    drop(held);
    sleeper.kill().expect("kill");
    sleeper.wait().expect("wait");
    assert_eq!(mount.wait(), Some(0), "{}", mount.stderr());
}

/// Metrics of a mount by their names with labels, but for the label that all have.
fn parse(text: &str, mountpoint: &Path) -> Vec<(String, u64)> {
    let common = format!("mountpoint=\"{}\"", mountpoint.display());
    text.lines()
        // Sums are of seconds, and no whole numbers.
        .filter(|line| !line.starts_with('#') && !line.contains("_sum{"))
        .map(|line| {
            let (name, value) = line.rsplit_once(' ').expect("a value");
            assert!(name.contains(&common), "{line}");
            (name.replace(&common, ""), value.parse().expect("a number"))
        })
        .collect()
}

#[track_caller]
fn value(metrics: &[(String, u64)], name: &str) -> u64 {
    let found = metrics.iter().find(|(there, _)| there.starts_with(name));
    found.unwrap_or_else(|| panic!("{name}: {metrics:?}")).1
}

fn get(port: u16, request: &str) -> String {
    let mut client = TcpStream::connect(("127.0.0.1", port)).expect("connect");
    client.write_all(request.as_bytes()).expect("ask");
    let mut answer = String::new();
    client.read_to_string(&mut answer).expect("an answer");
    answer
}

#[test]
fn metrics_are_served_and_written_and_tell_what_the_status_tells() {
    let Some(host) = Host::new() else { return };
    let model = model();
    let folder = TempDir::new().expect("mkdir");
    let file = folder.path().join("model.prom");
    let free = std::net::TcpListener::bind("127.0.0.1:0").expect("bind");
    let port = free.local_addr().expect("an address").port();
    drop(free);
    let options = [
        "--metrics-file",
        text(&file),
        "--metrics-listen",
        &port.to_string(),
    ];
    let mount = host.mount(&model.path(), &options);
    let mountpoint: PathBuf = mount.path().to_owned();
    until("metrics are written", || file.exists());
    fs::read(mount.file("weights")).expect("read");
    flip(&model.file("weights"), 1000);
    assert!(read_range(&mount.file("weights"), Mode::Direct, 0, 4096).is_err());
    let ask = || get(port, "GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n");
    let answer = ask();
    let (head, body) = answer.split_once("\r\n\r\n").expect("a head");
    assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}");
    assert!(head.contains("text/plain; version=0.0.4"), "{head}");
    let metrics = parse(body, &mountpoint);
    let lane = if in_pages() { "pages" } else { "fuse" };
    assert!(body.contains(&format!("lane=\"{lane}\"")), "{body}");
    let stats = mount.stats();
    let chunks = value(&metrics, "model_fs_chunk_verify_seconds_count");
    // All ten chunks of the file but the last, by which it was proved; and the bad one again.
    assert!(chunks >= 10, "{chunks}");
    for (name, told) in [
        ("model_fs_verified_bytes_total", stats.verified_bytes),
        ("model_fs_source_read_bytes_total", stats.source_bytes),
        ("model_fs_delivered_bytes_total", stats.delivered_bytes),
        ("model_fs_proved_files", stats.proved_files),
        ("model_fs_violations_total{,kind=\"digest\"}", 1),
        ("model_fs_violations_total{,kind=\"truncated\"}", 0),
        ("model_fs_recovered_chunks_total{,kind=\"repair\"}", 0),
        ("model_fs_chunk_verify_seconds_bucket{,le=\"+Inf\"}", chunks),
        ("model_fs_chunk_verify_seconds_count", chunks),
        ("model_fs_files", 2),
        ("model_fs_size_bytes", 600_100),
        ("model_fs_up", 1),
        ("model_fs_info{,root_digest=\"sha256:", 1),
    ] {
        assert_eq!(value(&metrics, name), told, "{name}");
    }
    assert!(get(port, "GET / HTTP/1.1\r\n\r\n").starts_with("HTTP/1.1 404 "));
    assert!(get(port, "POST /metrics HTTP/1.1\r\n\r\n").starts_with("HTTP/1.1 405 "));
    // Clients that say nothing keep nobody else from asking.
    let silent: Vec<_> = (0..4)
        .map(|_| TcpStream::connect(("127.0.0.1", port)))
        .collect();
    assert!(ask().starts_with("HTTP/1.1 200 "));
    drop(silent);
    // A second mount can't have the same port, and is told before anything is mounted.
    host.mount_fails(&model.path(), &["--metrics-listen", &port.to_string()], 1);
    mount.unmount();
    assert!(TcpStream::connect(("127.0.0.1", port)).is_err());
    let last = fs::read_to_string(&file).expect("read");
    let last = parse(&last, &mountpoint);
    assert_eq!(value(&last, "model_fs_up"), 0);
    assert_eq!(
        value(&last, "model_fs_violations_total{,kind=\"digest\"}"),
        1
    );
    assert_eq!(fs::read_dir(folder.path()).expect("list").count(), 1);
}

#[test]
fn metrics_that_cannot_be_had_are_no_mount() {
    let Some(host) = Host::new() else { return };
    let model = model();
    for options in [
        ["--metrics-file", "/nothing/there/x.prom"],
        ["--metrics-file", "/dev/null"],
        ["--metrics-listen", "192.0.2.1:1"],
        ["--pid-file", "/dev/null"],
        ["--pid-file", "/nothing/there/pid"],
    ] {
        host.mount_fails(&model.path(), &options, 1);
    }
    let mut usage = host.on_model("mount", &model.path(), &["--metrics-listen", "nowhere"]);
    host.run(usage.arg("--").arg("/mnt"))
        .expect_code(2, "an address that is none");
}

#[test]
fn the_status_of_all_mounts_is_told_and_one_that_is_dead_hides_none() {
    let Some(host) = Host::new() else { return };
    let models = [model(), model()];
    let [good, mut dead] = [&models[0], &models[1]].map(|model| host.mount(&model.path(), &[]));
    let status = |more: &[&str]| host.run(host.command("status").args(more));
    let shown = status(&["--json"]);
    let documents: Vec<Value> = serde_json::from_str(&shown.stdout).expect("an array");
    let of = |documents: &[Value], mount: &Path| {
        let found = documents
            .iter()
            .find(|document| document["mount"]["mountpoint"] == text(mount));
        found.expect("each mount is there").clone()
    };
    for mount in [&good, &dead] {
        assert_eq!(of(&documents, mount.path())["violations"], 0);
    }
    kill_process(dead.pid(), Signal::KILL).expect("kill");
    dead.wait();
    let shown = status(&["--json"]).expect_code(1, "status");
    let documents: Vec<Value> = serde_json::from_str(&shown.stdout).expect("an array");
    assert_eq!(of(&documents, good.path())["violations"], 0);
    let error = of(&documents, dead.path())["error"].clone();
    assert!(
        error.as_str().is_some_and(|error| error.contains("dead")),
        "{error}"
    );
    let shown = status(&[]).expect_code(1, "status");
    assert!(shown.stdout.contains("can't be asked") && shown.stdout.contains("is dead"));
    assert!(shown.stdout.contains(text(good.path())), "{shown}");
    // A violation anywhere outweighs it.
    flip(&models[0].file("weights"), 1000);
    assert!(fs::read(good.file("weights")).is_err());
    let found = status(&["--check"]).expect_code(4, "check");
    assert!(found.stderr.contains("isn't what was signed"), "{found}");
    assert!(found.stderr.contains(text(good.path())), "{found}");
    drop(dead);
    good.unmount();
}

#[test]
fn a_watched_status_is_one_document_a_line() {
    let Some(host) = Host::new() else { return };
    let model = model();
    let mount = host.mount(&model.path(), &[]);
    let mut command = host.command("status");
    command.args(["--json", "--watch"]).arg(mount.path());
    let mut watching = command.stdout(Stdio::piped()).spawn().expect("start");
    let out = watching.stdout.take().expect("its output");
    let mut lines = std::io::BufRead::lines(std::io::BufReader::new(out));
    for _ in 0..2 {
        let line = lines.next().expect("a line").expect("read");
        let status: Value = serde_json::from_str(&line).expect("JSON");
        assert_eq!(status["violations"], 0);
    }
    // Whoever takes no more ends it.
    drop(lines);
    until("it ends", || watching.try_wait().expect("wait").is_some());
    assert!(watching.wait().expect("wait").success());
    let mut both = Command::new(built::program());
    both.args(["status", "--watch", "--check"]);
    finish(&mut both, LIMIT).expect_code(2, "watch and check");
    mount.unmount();
}

#[test]
fn messages_of_the_fuse_library_reach_the_log() {
    let Some(host) = Host::new() else { return };
    let model = model();
    let mountpoint = TempDir::new().expect("mkdir");
    let mut command = host.on_model("mount", &model.path(), &["--foreground"]);
    command.env("MODEL_FS_LOG", "fuser=debug");
    command.arg("--").arg(mountpoint.path());
    let mut mount = Mount::of(command, mountpoint);
    // What is asked for is shown beside whatever was chosen.
    kill_process(mount.pid(), Signal::USR1).expect("send a signal");
    until("the status is logged", || {
        mount.stderr().contains("verified_bytes")
    });
    let said = mount.unmount();
    assert!(said.contains("DEBUG fuser::"), "{said}");
}

#[test]
fn what_is_hashed_as_a_whole_is_said_with_the_way_to_do_it_beforehand() {
    let Some(host) = Host::new() else { return };
    let model = Model::new([("large", 3 << 20), ("small", 1000)]);
    model.sign(SHA256);
    let mount = host.mount(&model.path(), &[]);
    let to_hash = mount.owner_status().to_hash;
    assert_eq!((to_hash.to_hash_files, to_hash.to_hash_bytes), (1, 3 << 20));
    fs::read(mount.file("large")).expect("read");
    assert_eq!(mount.stats().full_pass_bytes, 3 << 20);
    let said = mount.unmount();
    assert!(
        said.contains("model-fs index ") && said.contains("3.00 MiB"),
        "{said}"
    );
    // Now that it is proved, there is nothing to say.
    let mount = host.mount(&model.path(), &[]);
    assert_eq!(mount.owner_status().to_hash.to_hash_files, 0);
    let said = mount.unmount();
    assert!(!said.contains("model-fs index"), "{said}");
}
