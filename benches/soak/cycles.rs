//! Mounting, reading and unmounting again and again.

use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use model_fs::digest::Algorithm;
use model_fs::kernel::{Lane, Shutdown};
use model_fs::{Model as Signed, MountOptions, OpenOptions, PublicKey, Trust};
use serde_json::{Value, json};
use test_support::bench::mount::Host;

use crate::host::{Left, Taken};
use crate::model::Model;
use crate::{Anyhow, Options, log_into};

/// The argument of the process that mounts again and again by itself.
pub(crate) const ONE_PROCESS: &str = "--one-process";

/// Bytes of the files that are read.
const SIZES: [usize; 3] = [3 << 20, 100, 0];

/// Mounts before the process is looked at for the first time: what it keeps it has by then.
const WARM: u32 = 100;

/// What an allocator may keep more, in KiB.
const SPARE: u64 = 16 << 10;

/// How long threads of a mount that is gone may take to end.
const PATIENCE: Duration = Duration::from_secs(5);

pub(crate) fn run(options: &Options) -> Anyhow<(Value, Vec<String>)> {
    let folder = options.folder.join("cycles");
    std::fs::create_dir_all(&folder)?;
    let host = Host::new(&folder)?;
    let model = Model::new(&host, &folder.join("model"), Algorithm::Blake3, &SIZES)?;
    let mut wrong = Vec::new();
    let before = Left::of(&options.folder)?;
    let started = Instant::now();
    let mut more = vec!["--lane".into(), options.lane.clone().into()];
    more.extend(log_into(&folder));
    for _ in 0..options.cycles {
        let mount = host.mount_with(&model.path, &host.index(), &more)?;
        model.must_be_at(&mount.mountpoint)?;
    }
    let seconds = started.elapsed().as_secs_f64();
    let after = Left::of(&options.folder)?;
    if after != before {
        wrong.push(format!("left of the program: {before:?}, then {after:?}"));
    }

    // With one arena, memory tells of leaks alone: with one for each of many threads, what is free
    // in them comes and goes.
    let mut command = Command::new(std::env::current_exe()?);
    command.env("MALLOC_ARENA_MAX", "1");
    command.args([ONE_PROCESS, "--lane", &options.lane, "--cycles"]);
    command.arg(options.cycles.to_string());
    let output = command
        .arg("--folder")
        .arg(&options.folder)
        .stderr(Stdio::inherit())
        .output()?;
    if !output.status.success() {
        return Err(format!("one process: {}", output.status).into());
    }
    let [(left, first), (left_now, last)]: [(Left, Taken); 2] =
        serde_json::from_slice(&output.stdout)?;
    if left != left_now {
        wrong.push(format!("left of a process: {left:?}, then {left_now:?}"));
    }
    let grew = last.descriptors > first.descriptors || last.threads > first.threads;
    if grew || last.memory_kib > first.memory_kib + SPARE {
        wrong.push(format!("one process: {first:?}, then {last:?}"));
    }
    let report = json!({
        "mounts": options.cycles,
        "seconds_by_the_program": seconds,
        "before": before,
        "after": after,
        "one_process_first": first,
        "one_process_last": last,
    });
    Ok((report, wrong))
}

/// Mounts by itself, and prints what there is after the first [`WARM`] mounts and after all.
pub(crate) fn one_process(options: &Options) -> Anyhow<()> {
    let folder = options.folder.join("cycles");
    let key = PublicKey::from_pem(&std::fs::read(folder.join("key.pub"))?)?;
    let model = Model::there(&folder.join("model"), &SIZES);
    let within = |mountpoint: &Path| -> Anyhow<()> {
        let lane = match options.lane.as_str() {
            "pages" => Lane::Pages,
            _ => Lane::Fuse,
        };
        let shutdown = Shutdown::new();
        let stop = shutdown.handle();
        let mount = MountOptions::new().lane(lane).shutdown(shutdown);
        let opened = Signed::open(&model.path, &Trust::Key(key.clone()), OpenOptions::new())?;
        let mounted = opened.mount(mountpoint, mount)?;
        model.must_be_at(mounted.mountpoint())?;
        stop.stop();
        mounted.wait()?;
        Ok(())
    };
    let mountpoint = folder.join("mount");
    let look = || -> Anyhow<_> {
        thread::sleep(PATIENCE);
        Ok((Left::of(&options.folder)?, Taken::by(std::process::id())?))
    };
    for _ in 0..WARM.min(options.cycles) {
        within(&mountpoint)?;
    }
    let first = look()?;
    for _ in WARM..options.cycles {
        within(&mountpoint)?;
    }
    println!("{}", json!([first, look()?]));
    Ok(())
}
