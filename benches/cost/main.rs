//! What a mount costs, by the size of the model.
//!
//! ```sh
//! cargo bench --bench cost -- [--quick] [--rounds N] [--only NAME]... [--out FILE]
//!     [--folder DIRECTORY]
//! ```
//!
//! | curve | from, to | |
//! |---|---|---|
//! | `targets` | | the two models that targets are for |
//! | `size` | 1 GB to 2 TB | 128 sparse files, BLAKE3, tables at hand |
//! | `files` | 1 to 1,000,000 | files of a byte, SHA-256 |
//! | `shards` | 1 to 1,000,000 | of 1 MiB, in one sparse file, SHA-256 |
//! | `readers` | 1 to 64 | threads that read 4 KiB at random, source warm |
//!
//! Guarantees: each sample has a fresh mount, made as users make it: the clock runs from the start
//! of the command to its end, when the mount answers. Peak memory is that of the daemon (`VmHWM`).
//! Directories are in the kernel's caches. Doesn't: assert anything. Models stay in the folder for
//! the next run; the largest needs a million inodes, and 20 GB of holes take no space.

mod models;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::time::Instant;

use rustix::fs::Advice;
use serde_json::{Value, json};
use test_support::bench::arguments::Arguments;
use test_support::bench::mount::Mount;
use test_support::bench::process::peak_memory;
use test_support::bench::report::{machine, percentile, spread};
use test_support::built;

use self::models::{Model, Workshop};

const PAGE: usize = 4096;

/// Random reads of a sample.
const RANDOM_READS: usize = 2000;

/// More memory than any sample takes, in bytes.
const ENOUGH: usize = 768 << 20;

struct Options {
    quick: bool,
    rounds: usize,
    only: Vec<String>,
    out: PathBuf,
    folder: PathBuf,
}

impl Options {
    fn parse(arguments: impl Iterator<Item = String>) -> Result<Self, String> {
        let mut options = Self {
            quick: false,
            rounds: 5,
            only: Vec::new(),
            out: PathBuf::from("target/cost.json"),
            folder: built::scratch().join("cost"),
        };
        let mut arguments = Arguments::new(arguments);
        while let Some(argument) = arguments.next() {
            match argument.as_str() {
                "--quick" => {
                    options.quick = true;
                    options.rounds = 3;
                }
                "--rounds" => options.rounds = arguments.number()?,
                "--only" => options.only.push(arguments.value()?),
                "--out" => options.out = arguments.value()?.into(),
                "--folder" => options.folder = arguments.value()?.into(),
                _ => return Err(format!("{argument}: unknown")),
            }
        }
        Ok(options)
    }

    fn wants(&self, name: &str) -> bool {
        self.only.is_empty() || self.only.iter().any(|only| only == name)
    }
}

/// Samples of some quantities, by their names.
#[derive(Default)]
struct Samples(BTreeMap<&'static str, Vec<f64>>);

impl Samples {
    fn add(&mut self, name: &'static str, value: f64) {
        self.0.entry(name).or_default().push(value);
    }

    /// A point of a curve.
    fn point(self, x: u64, label: &str) -> Value {
        let mut shown = format!("  {label:>16}");
        let mut point = json!({ "x": x, "label": label });
        for (name, values) in self.0 {
            let spread = spread(values);
            let median = spread["median"].as_f64().unwrap_or_default();
            // Writing to a string doesn't fail.
            let _ = write!(shown, "  {name} {median:.3}");
            point[name] = spread;
        }
        println!("{shown}");
        point
    }
}

type Curve = fn(&mut Workshop, &Options) -> io::Result<Vec<Value>>;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let options = Options::parse(std::env::args().skip(1))?;
    let mut workshop = Workshop::new(&options.folder)?;
    let mut curves = serde_json::Map::new();
    let all: [(&str, Curve); 5] = [
        ("targets", targets),
        ("size", by_size),
        ("files", by_files),
        ("shards", by_shards),
        ("readers", by_readers),
    ];
    for (name, curve) in all {
        if options.wants(name) {
            println!("== {name}");
            curves.insert(name.to_owned(), curve(&mut workshop, &options)?.into());
        }
    }
    let document = json!({ "machine": machine(), "rounds": options.rounds, "curves": curves });
    fs::write(&options.out, serde_json::to_vec_pretty(&document)?)?;
    eprintln!("written: {}", options.out.display());
    Ok(())
}

fn targets(workshop: &mut Workshop, options: &Options) -> io::Result<Vec<Value>> {
    let mut points = Vec::new();
    let model = workshop.sparse(200, 5_000_000_000)?;
    points.push(mounted(workshop, options, &model, 200, "1 TB, 200 files")?);
    if !options.quick {
        let model = workshop.files(1_000_000)?;
        points.push(mounted(
            workshop,
            options,
            &model,
            1_000_000,
            "1,000,000 files",
        )?);
    }
    Ok(points)
}

fn by_size(workshop: &mut Workshop, options: &Options) -> io::Result<Vec<Value>> {
    const FILES: u64 = 128;
    let gb: &[u64] = if options.quick {
        &[1, 32]
    } else {
        &[1, 4, 16, 64, 256, 1000, 2000]
    };
    let mut points = Vec::new();
    for &gb in gb {
        let model = workshop.sparse(FILES, gb * 1_000_000_000 / FILES)?;
        points.push(mounted(workshop, options, &model, gb, &format!("{gb} GB"))?);
    }
    Ok(points)
}

fn by_files(workshop: &mut Workshop, options: &Options) -> io::Result<Vec<Value>> {
    counted(workshop, options, "files", Workshop::files)
}

fn by_shards(workshop: &mut Workshop, options: &Options) -> io::Result<Vec<Value>> {
    counted(workshop, options, "shards", Workshop::shards)
}

fn counted(
    workshop: &mut Workshop,
    options: &Options,
    what: &str,
    make: fn(&mut Workshop, u64) -> io::Result<Model>,
) -> io::Result<Vec<Value>> {
    let mut points = Vec::new();
    for exponent in 0..if options.quick { 5 } else { 7 } {
        let count = 10_u64.pow(exponent);
        let model = make(workshop, count)?;
        let label = format!("{count} {what}");
        points.push(mounted(workshop, options, &model, count, &label)?);
    }
    Ok(points)
}

/// Mounts a model a few times, and reads from all of the files that are known of it.
fn mounted(
    workshop: &Workshop,
    options: &Options,
    model: &Model,
    x: u64,
    label: &str,
) -> io::Result<Value> {
    let mut samples = Samples::default();
    // Once for the kernel's caches.
    drop(workshop.host.mount(&model.path)?);
    for _ in 0..options.rounds {
        touch_memory();
        let mount = workshop.host.mount(&model.path)?;
        samples.add("mount_ms", mount.taken.as_secs_f64() * 1e3);
        samples.add("mounted_mib", peak_mib(&mount));
        samples.add("held_mib", resident_mib(&mount));
        let mut page = [0; PAGE];
        let mut files = Vec::new();
        for (index, name) in model.files.iter().enumerate() {
            let started = Instant::now();
            let file = File::open(mount.mountpoint.join(name))?;
            let read = file.read_at(&mut page, model.file_len / 2)?;
            if index == 0 {
                samples.add("first_read_ms", started.elapsed().as_secs_f64() * 1e3);
            }
            if page[..read].iter().any(|&byte| byte != 0) {
                return Err(io::Error::other("zeros were signed"));
            }
            files.push(file);
        }
        samples.add("all_open_mib", peak_mib(&mount));
        if model.file_len > 2 * PAGE as u64 {
            let mut latencies = Vec::new();
            for (turn, offset) in scattered(model.file_len, 1).take(RANDOM_READS).enumerate() {
                let started = Instant::now();
                files[turn % files.len()].read_exact_at(&mut page, offset)?;
                latencies.push(started.elapsed().as_secs_f64() * 1e6);
            }
            samples.add("read_p50_us", percentile(&mut latencies, 50));
            samples.add("read_p99_us", percentile(&mut latencies, 99));
        }
    }
    Ok(samples.point(x, label))
}

fn by_readers(workshop: &mut Workshop, options: &Options) -> io::Result<Vec<Value>> {
    let len = if options.quick { 256 << 20 } else { 1 << 30 };
    let model = workshop.noise(len)?;
    let source = model.path.join(&model.files[0]);
    let mut points = Vec::new();
    for readers in [1, 2, 4, 8, 16, 32, 64] {
        let mut samples = Samples::default();
        for _ in 0..options.rounds {
            warm(&source)?;
            touch_memory();
            let mount = workshop.host.mount(&model.path)?;
            let file = &File::open(mount.mountpoint.join(&model.files[0]))?;
            rustix::fs::fadvise(file, 0, None, Advice::Random)?;
            let each = RANDOM_READS.div_ceil(readers);
            let started = Instant::now();
            let latencies = std::thread::scope(|scope| {
                let threads: Vec<_> = (0..readers)
                    .map(|reader| scope.spawn(move || random_reads(file, len, reader, each)))
                    .collect();
                threads
                    .into_iter()
                    .map(|thread| thread.join().expect("a reader that doesn't panic"))
                    .collect::<io::Result<Vec<_>>>()
            })?;
            let seconds = started.elapsed().as_secs_f64();
            let mut latencies: Vec<f64> = latencies.into_iter().flatten().collect();
            #[expect(clippy::cast_precision_loss, reason = "a few thousand")]
            samples.add("reads_per_second", latencies.len() as f64 / seconds);
            samples.add("read_p50_us", percentile(&mut latencies, 50));
            samples.add("read_p99_us", percentile(&mut latencies, 99));
            samples.add("peak_mib", peak_mib(&mount));
        }
        points.push(samples.point(readers as u64, &format!("{readers} readers")));
    }
    Ok(points)
}

fn random_reads(file: &File, len: u64, seed: usize, count: usize) -> io::Result<Vec<f64>> {
    let mut page = [0; PAGE];
    scattered(len, seed as u64 + 1)
        .take(count)
        .map(|offset| {
            let started = Instant::now();
            file.read_exact_at(&mut page, offset)?;
            Ok(started.elapsed().as_secs_f64() * 1e6)
        })
        .collect()
}

/// Pages of a file of `len` bytes, scattered, the same in each run.
fn scattered(len: u64, seed: u64) -> impl Iterator<Item = u64> {
    let pages = (len / PAGE as u64).max(1);
    // xorshift64 (Marsaglia 2003)
    let mut state = 0x9e37_79b9_7f4a_7c15_u64.wrapping_mul(seed);
    std::iter::repeat_with(move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state % pages * PAGE as u64
    })
}

/// Brings a file into the page cache.
fn warm(path: &Path) -> io::Result<()> {
    io::copy(&mut File::open(path)?, &mut io::sink()).map(|_| ())
}

/// Takes memory and gives it back. A virtual machine may have lent free memory to its host, and
/// then the first use of it is slow; that time shouldn't be part of the next sample.
fn touch_memory() {
    std::hint::black_box(vec![1_u8; ENOUGH]);
}

fn peak_mib(mount: &Mount) -> f64 {
    peak_memory(mount.pid).map_or(f64::NAN, mib)
}

/// What the daemon holds now.
fn resident_mib(mount: &Mount) -> f64 {
    let field = || {
        let statm = fs::read_to_string(format!("/proc/{}/statm", mount.pid)).ok()?;
        let pages: u64 = statm.split(' ').nth(1)?.parse().ok()?;
        Some(pages * PAGE as u64)
    };
    field().map_or(f64::NAN, mib)
}

#[expect(clippy::cast_precision_loss, reason = "bytes for people")]
fn mib(bytes: u64) -> f64 {
    bytes as f64 / 1_048_576.0
}
