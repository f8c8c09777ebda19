//! A day of reads in some minutes: what the server takes meanwhile.

use std::fs::{self, File};
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use model_fs::digest::Algorithm;
use rustix::fs::Advice;
use serde_json::{Value, json};
use test_support::bench::mount::Host;
use test_support::bench::report::spread;
use test_support::built;

use crate::host::Taken;
use crate::model::{Dice, Model};
use crate::{Anyhow, Options, log_into};

const MIB: usize = 1 << 20;
const READERS: u64 = 4;
const STEP: Duration = Duration::from_secs(2);

/// Looks that are one point of the plot.
const WINDOW: usize = 5;

/// What a burst of reads that wait for the source may add for good, in KiB: as much as may be under
/// way, which the allocator keeps then.
const SPARE: u64 = 32 << 10;

/// Threads that a burst may add: pools keep what they have started.
const SPARE_THREADS: u64 = 8;

#[expect(clippy::cast_precision_loss, reason = "small numbers")]
pub(crate) fn run(options: &Options) -> Anyhow<(Value, Vec<String>)> {
    let folder = options.folder.join("day");
    fs::create_dir_all(&folder)?;
    let host = Host::new(&folder)?;
    let sizes = [256 * MIB, 200 * MIB + 77, 64 * MIB, 5_000_001, 1000];
    let model = Model::new(&host, &folder.join("model"), Algorithm::Blake3, &sizes)?;
    let more = ["--lane", &options.lane, "--metrics-listen", "127.0.0.1:0"];
    let mut more = more.map(Into::into).to_vec();
    more.extend(log_into(&folder));
    let mount = host.mount_with(&model.path, &host.index(), &more)?;

    let (over, bytes) = (AtomicBool::new(false), AtomicU64::new(0));
    let mut samples = Vec::new();
    let results = thread::scope(|scope| -> Anyhow<Vec<Anyhow<()>>> {
        let readers: Vec<_> = (0..READERS)
            .map(|seed| {
                let (model, over, bytes, place) = (&model, &over, &bytes, &mount.mountpoint);
                scope.spawn(move || read(model, place, seed, over, bytes))
            })
            .collect();
        let started = Instant::now();
        let mut looked = Ok(());
        while started.elapsed() < options.day && looked.is_ok() {
            thread::sleep(STEP);
            looked = Taken::by(mount.pid).map(|taken| {
                samples.push((started.elapsed().as_secs_f64(), taken));
            });
            let mut status = Command::new(built::program());
            status.arg("status").arg(&mount.mountpoint);
            status
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .status()?;
        }
        over.store(true, Ordering::SeqCst);
        looked?;
        let ended = readers.into_iter().map(std::thread::ScopedJoinHandle::join);
        Ok(ended
            .map(|ended| ended.unwrap_or_else(|_| Err("a reader panicked".into())))
            .collect())
    })?;

    let mut wrong: Vec<String> = results
        .into_iter()
        .filter_map(Result::err)
        .map(|error| error.to_string())
        .collect();
    let part = |quarter: usize| {
        let len = samples.len();
        let of = &samples[len * quarter / 4..len * (quarter + 1) / 4];
        let most = |field: fn(&Taken) -> u64| of.iter().map(|(_, taken)| field(taken)).max();
        (
            most(|taken| taken.memory_kib).unwrap_or_default(),
            most(|taken| taken.threads).unwrap_or_default(),
            most(|taken| taken.descriptors as u64).unwrap_or_default(),
        )
    };
    let (second, last) = (part(1), part(3));
    if last.0 > second.0 + SPARE || last.1 > second.1 + SPARE_THREADS || last.2 > second.2 {
        wrong.push(format!(
            "memory in KiB, threads, descriptors: {second:?} in the second quarter, {last:?} in \
             the last"
        ));
    }
    let points: Vec<Value> = samples
        .chunks(WINDOW)
        .map(|of| {
            let spread_of = |field: fn(&Taken) -> f64| {
                spread(of.iter().map(|(_, taken)| field(taken)).collect())
            };
            json!({
                "x": of[of.len() / 2].0 / 60.0,
                "memory_mib": spread_of(|taken| taken.memory_kib as f64 / 1024.0),
                "descriptors": spread_of(|taken| taken.descriptors as f64),
                "threads": spread_of(|taken| taken.threads as f64),
            })
        })
        .collect();
    let report = json!({
        "seconds": options.day.as_secs(),
        "read_bytes": bytes.load(Ordering::SeqCst),
        "most_in_second_quarter": second,
        "most_in_last_quarter": last,
        "points": points,
    });
    Ok((report, wrong))
}

/// Reads as engines do: whole files one after the other with an empty cache, then here and there.
fn read(
    model: &Model,
    place: &Path,
    seed: u64,
    over: &AtomicBool,
    bytes: &AtomicU64,
) -> Anyhow<()> {
    let mut dice = Dice::new(seed);
    let mut buffer = vec![0; MIB];
    while !over.load(Ordering::Relaxed) {
        let file = &model.files[usize::try_from(dice.below(model.files.len() as u64))?];
        let opened = File::open(place.join(&file.name))?;
        let len = file.bytes.len();
        let whole = dice.below(2) == 0;
        let mut at = 0;
        for _ in 0..len.div_ceil(MIB) {
            if !whole {
                at = usize::try_from(dice.below(len as u64))?;
            }
            let read = opened.read_at(&mut buffer, at as u64)?;
            if buffer[..read] != file.bytes[at..(at + MIB).min(len)] {
                return Err(format!("{} at {at}: wrong bytes", file.name).into());
            }
            bytes.fetch_add(read as u64, Ordering::Relaxed);
            at += read;
            if over.load(Ordering::Relaxed) {
                return Ok(());
            }
        }
        rustix::fs::fadvise(&opened, 0, None, Advice::DontNeed)?;
    }
    Ok(())
}
