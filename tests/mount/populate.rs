//! Programs that keep asking for a page that can't be had: the one that the kernel would let hang
//! for ever is ended, and no other.

use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use test_support::built;
use test_support::mounted::flip;
use test_support::process::finish;

use crate::support::{BLAKE3, CHUNK, Host, LIMIT, Mode, Model, Mount, open, python};

/// A page that can't be had.
const PLACE: u64 = 2_000_000;

/// Failures that end a process that hangs.
const SPIN: u64 = 256;

fn mounted(host: &Host) -> (Model, Mount) {
    let model = Model::new([("weights", 3 << 20)]);
    model.sign(BLAKE3);
    let mount = host.mount(&model.path(), &[]);
    // Proved before the change, so that the file opens.
    drop(open(&mount.file("weights"), Mode::Cached).expect("open"));
    flip(&model.file("weights"), PLACE);
    (model, mount)
}

fn populate(verb: &str, mount: &Mount, numbers: &[u64]) -> Command {
    let mut command = python();
    command
        .arg(built::repository("tests/mount/populate.py"))
        .arg(verb)
        .arg(mount.file("weights"))
        .args(numbers.iter().map(ToString::to_string));
    command
}

#[test]
fn a_process_that_populates_a_mapping_of_unreadable_content_is_ended() {
    let Some(host) = Host::new() else { return };
    let (_model, mut mount) = mounted(&host);
    for verb in ["populate", "lock"] {
        let finished = finish(&mut populate(verb, &mount, &[]), LIMIT);
        assert!(finished.killed_by(9), "{verb}: {finished}");
        // Ended by the daemon, not by our own limit.
        assert!(finished.status.is_some(), "{verb}: {finished}");
        assert!(mount.stderr().contains("killed a process"), "{verb}");
    }
    // This program reports the error itself.
    let finished = finish(&mut populate("advise", &mount, &[]), LIMIT);
    finished.expect_code(5, "populate by advice");
    mount.unmount();
}

#[test]
fn a_process_that_is_not_stuck_is_not_ended_however_often_it_asks() {
    let Some(host) = Host::new() else { return };
    let (_model, mut mount) = mounted(&host);
    let page = PLACE - PLACE % 4096;
    for (verb, times) in [("read", 5_000), ("ahead", 10_000)] {
        let before = mount.bytes_read_by_daemon();
        let finished = finish(&mut populate(verb, &mount, &[page, times]), LIMIT);
        finished.expect(verb);
        let asked = (mount.bytes_read_by_daemon() - before) / CHUNK;
        assert!(asked > 2 * SPIN, "{verb} asked only {asked} times");
    }
    assert!(!mount.stderr().contains("killed"), "{}", mount.stderr());
    mount.unmount();
}

/// A child that is ended with the test.
struct Endless(Child);

impl Drop for Endless {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn a_process_that_handles_the_fault_is_not_ended() {
    let Some(host) = Host::new() else { return };
    let (_model, mut mount) = mounted(&host);
    let child = populate("fault", &mount, &[PLACE])
        .stdin(Stdio::null())
        .spawn()
        .expect("start python3");
    let mut child = Endless(child);
    // Each attempt sleeps, waiting for its answer.
    let status = format!("/proc/{}/status", child.0.id());
    let deadline = Instant::now() + LIMIT;
    loop {
        let status = std::fs::read_to_string(&status).expect("look at the child");
        let slept: u64 = status
            .lines()
            .find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"))
            .and_then(|count| count.trim().parse().ok())
            .unwrap_or(0);
        if slept > 20 * SPIN {
            break;
        }
        assert!(Instant::now() < deadline, "it slept only {slept} times");
        let ended = child.0.try_wait().expect("wait for a child");
        assert!(ended.is_none(), "{ended:?}: {}", mount.stderr());
        std::thread::sleep(Duration::from_millis(10));
    }
    kill_process(Pid::from_child(&child.0), Signal::TERM).expect("end it");
    let status = child.0.wait().expect("wait for a child");
    let signal = std::os::unix::process::ExitStatusExt::signal(&status);
    assert_eq!(signal, Some(15), "{}", mount.stderr());
    assert!(!mount.stderr().contains("killed"), "{}", mount.stderr());
    mount.unmount();
}
