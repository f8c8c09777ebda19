//! Servers killed at random moments.

use std::fs::{self, File};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use model_fs::digest::Algorithm;
use rustix::fs::Advice;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use test_support::bench::mount::Host;
use test_support::built;

use crate::host::Left;
use crate::model::{Dice, Model};
use crate::{Anyhow, Options, log_into};

const MIB: usize = 1 << 20;
const READERS: u64 = 4;

/// How long readers of a mount that is kept alive may be stopped.
const PAUSE: Duration = Duration::from_secs(1);

/// How long the next server is waited for.
const LIMIT: Duration = Duration::from_secs(60);

pub(crate) fn run(options: &Options) -> Anyhow<(Value, Vec<String>)> {
    let before = Left::of(&options.folder)?;
    let mut wrong = Vec::new();
    let mut report = json!({});
    for (name, hash) in [("blake3", Algorithm::Blake3), ("sha256", Algorithm::Sha256)] {
        let folder = options.folder.join("kills").join(name);
        fs::create_dir_all(&folder)?;
        let host = Host::new(&folder)?;
        let sizes = [24 * MIB + 5, 8 * MIB, 700_001];
        let model = Model::new(&host, &folder.join("model"), hash, &sizes)?;
        // BLAKE3 is read lazily; SHA-256 takes a full pass, and its table is written meanwhile.
        report[name] = plain(options, &host, &model, &mut wrong)?;
        report[format!("{name}, kept alive")] = kept(options, &host, &model, &mut wrong)?;
    }
    let after = Left::of(&options.folder)?;
    if after != before {
        wrong.push(format!("left: {before:?}, then {after:?}"));
    }
    Ok((report, wrong))
}

/// The daemon is killed, and the model mounted again where the dead mount is.
fn plain(options: &Options, host: &Host, model: &Model, wrong: &mut Vec<String>) -> Anyhow<Value> {
    let mut dice = Dice::new(1);
    let (mut good, mut failed) = (0, 0);
    let mut lane = vec!["--lane".into(), options.lane.clone().into()];
    lane.extend(log_into(&options.folder));
    for kill in 0..options.kills {
        // Half of them find no table.
        if kill % 2 == 0 {
            fs::remove_dir_all(host.index())?;
            fs::create_dir(host.index())?;
        }
        let mount = host.mount_with(&model.path, &host.index(), &lane)?;
        let readers = Readers::default();
        thread::scope(|scope| {
            for seed in 0..READERS {
                let (readers, place) = (&readers, &mount.mountpoint);
                scope.spawn(move || readers.read(model, place, u64::from(kill) * READERS + seed));
            }
            thread::sleep(Duration::from_millis(dice.below(120)));
            kill_process(number(mount.pid), Signal::KILL)?;
            thread::sleep(Duration::from_millis(20));
            readers.over.store(true, Ordering::SeqCst);
            Anyhow::Ok(())
        })?;
        let again = host.mount_with(&model.path, &host.index(), &lane)?;
        if let Err(error) = model.must_be_at(&again.mountpoint) {
            wrong.push(format!("after kill {kill}: {error}"));
        }
        good += readers.good.into_inner();
        failed += readers.failed.into_inner();
        wrong.append(&mut readers.wrong.into_inner().expect("no panic"));
        drop(again);
    }
    Ok(json!({ "kills": options.kills, "right_reads": good, "failed_reads": failed }))
}

/// The server is killed, and its keeper starts the next.
fn kept(options: &Options, host: &Host, model: &Model, wrong: &mut Vec<String>) -> Anyhow<Value> {
    let mut dice = Dice::new(2);
    let mut more = ["--lane", &options.lane, "--keep-alive"]
        .map(Into::into)
        .to_vec();
    more.extend(log_into(&options.folder));
    fs::remove_dir_all(host.index())?;
    fs::create_dir(host.index())?;
    let mount = host.mount_with(&model.path, &host.index(), &more)?;
    let readers = Readers::default();
    let servers = thread::scope(|scope| {
        for seed in 0..READERS {
            let (readers, place) = (&readers, &mount.mountpoint);
            scope.spawn(move || readers.read(model, place, seed));
        }
        let killed = (|| {
            let mut server = None;
            for kill in 0..options.kills {
                server = Some(next_server(&mount.mountpoint, server)?);
                if kill % 2 == 0 {
                    for entry in fs::read_dir(host.index())? {
                        // Only entries; what is being written lies there too, and may be gone.
                        let _ = fs::remove_file(entry?.path());
                    }
                }
                thread::sleep(Duration::from_millis(dice.below(120)));
                kill_process(number(server.expect("found")), Signal::KILL)?;
            }
            next_server(&mount.mountpoint, server)
        })();
        readers.over.store(true, Ordering::SeqCst);
        killed.map(|_| options.kills)
    })?;
    if let Err(error) = model.must_be_at(&mount.mountpoint) {
        wrong.push(format!("kept alive, in the end: {error}"));
    }
    let failed = readers.failed.into_inner();
    if failed > 0 {
        wrong.push(format!("kept alive: {failed} reads failed"));
    }
    let slowest = Duration::from_micros(readers.slowest.into_inner());
    if slowest > PAUSE {
        wrong.push(format!("kept alive: a reader was stopped for {slowest:?}"));
    }
    wrong.append(&mut readers.wrong.into_inner().expect("no panic"));
    Ok(json!({
        "kills": servers,
        "right_reads": readers.good.into_inner(),
        "slowest_read_ms": slowest.as_secs_f64() * 1e3,
    }))
}

fn number(process: u32) -> Pid {
    Pid::from_raw(process.cast_signed()).expect("a process")
}

/// The process that serves a mount that is kept alive, once it isn't `before`.
fn next_server(mountpoint: &Path, before: Option<u32>) -> Anyhow<u32> {
    let deadline = Instant::now() + LIMIT;
    loop {
        let mut status = Command::new(built::program());
        status.args(["status", "--json"]).arg(mountpoint);
        let said = status.stderr(Stdio::null()).output()?.stdout;
        let said: Value = serde_json::from_slice(&said).unwrap_or_default();
        if let Some(keeper) = said["kept"]["keeper"].as_u64() {
            let children = fs::read_to_string(format!("/proc/{keeper}/task/{keeper}/children"))?;
            let child = children.split_whitespace().next();
            if let Some(child) = child.and_then(|child| child.parse().ok())
                && Some(child) != before
            {
                return Ok(child);
            }
        }
        if Instant::now() > deadline {
            return Err("no server goes on".into());
        }
    }
}

/// What readers met.
#[derive(Default)]
struct Readers {
    over: AtomicBool,
    good: AtomicU64,
    failed: AtomicU64,
    /// In microseconds.
    slowest: AtomicU64,
    wrong: Mutex<Vec<String>>,
}

impl Readers {
    /// One call of the system.
    fn timed<T>(&self, call: impl FnOnce() -> T) -> T {
        let started = Instant::now();
        let done = call();
        let taken = u64::try_from(started.elapsed().as_micros()).unwrap_or(u64::MAX);
        self.slowest.fetch_max(taken, Ordering::Relaxed);
        done
    }

    fn read(&self, model: &Model, place: &Path, seed: u64) {
        let mut dice = Dice::new(seed);
        let mut buffer = vec![0; MIB];
        while !self.over.load(Ordering::Relaxed) {
            let index = usize::try_from(dice.below(model.files.len() as u64)).expect("small");
            let file = &model.files[index];
            let path: PathBuf = place.join(&file.name);
            let Ok(opened) = self.timed(|| File::open(&path)) else {
                self.failed.fetch_add(1, Ordering::Relaxed);
                continue;
            };
            for _ in 0..8 {
                let at = dice.below(file.bytes.len() as u64);
                let place = usize::try_from(at).expect("in memory");
                match self.timed(|| opened.read_at(&mut buffer, at)) {
                    Ok(read) if read > 0 && buffer[..read] == file.bytes[place..place + read] => {
                        self.good.fetch_add(1, Ordering::Relaxed);
                    }
                    Ok(_) => {
                        let what = format!("{} at {at}: wrong bytes", file.name);
                        self.wrong.lock().expect("no panic").push(what);
                    }
                    Err(_) => {
                        self.failed.fetch_add(1, Ordering::Relaxed);
                    }
                }
            }
            // An error means that there is nothing to drop any more.
            let _ = rustix::fs::fadvise(&opened, 0, None, Advice::DontNeed);
        }
    }
}
