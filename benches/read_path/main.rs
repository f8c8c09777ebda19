//! The read path against others, in one run over the same data.
//!
//! ```sh
//! cargo bench --bench read_path -- [--quick] [--size 2GiB] [--rounds N] [--only NAME]...
//!     [--out FILE] [--against OTHER_BUILD_OF_MODEL_FS]
//! ```
//!
//! Guarantees: contestants of a scenario take turns, in another order each round, and what is
//! reported is the median of the ratios *within* rounds: a machine that is slower from one minute
//! to the next slows both sides of a ratio. Each sample has a fresh mount and a fresh reader
//! process. Doesn't: assert anything. Numbers belong to a machine.

mod contestants;
mod methods;
mod passthrough;

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::{Value, json};
use test_support::bench::arguments::Arguments;
use test_support::bench::report::{machine, spread};
use test_support::built;

use self::contestants::{Arena, Contestant, Place, Sample, System, installed};
use self::methods::Method;

/// One side of a comparison: who reads, and how.
#[derive(Clone, Copy)]
struct Entry {
    label: &'static str,
    contestant: Contestant,
    method: Method,
}

/// A ratio of two throughputs and what it should be.
struct Ratio(&'static str, &'static str, Option<f64>);

/// Entries that take turns.
struct Scenario {
    name: &'static str,
    entries: Vec<Entry>,
    ratios: Vec<Ratio>,
}

impl Scenario {
    /// Has each entry of ours run by another build too.
    fn add_other_build(&mut self) {
        for mut entry in self.entries.clone() {
            if matches!(
                entry.contestant.system,
                System::Blake3 | System::Sha256 | System::Shards | System::Pages
            ) {
                let label = entry.label;
                // A few bytes for as long as the benchmark runs.
                entry.label = format!("{label}-other").leak();
                entry.contestant.other_build = true;
                self.ratios.push(Ratio(label, entry.label, None));
                self.entries.push(entry);
            }
        }
    }
}

const fn entry(label: &'static str, system: System, place: Place, method: Method) -> Entry {
    Entry {
        label,
        contestant: Contestant {
            system,
            place,
            ordinary: false,
            other_build: false,
        },
        method,
    }
}

const fn as_user(mut entry: Entry) -> Entry {
    entry.contestant.ordinary = true;
    entry
}

#[expect(clippy::too_many_lines, reason = "a table, and easier to read as one")]
fn scenarios() -> Vec<Scenario> {
    use Method::{
        Direct, Mmap, Mmap4, Mmap16, OneMib, RandomFault, RandomFaultAround, RandomRead, ReRead,
        Read, Read8,
    };
    use Place::{Cold, Slow, Warm};
    use System::{Bindfs, Blake3, Gocryptfs, Passthrough, Sha256, Shards};
    let basic = |name, method, target| Scenario {
        name,
        entries: vec![
            entry("direct", System::Direct, Warm, method),
            entry("unverified", Passthrough, Warm, method),
            entry("blake3", Blake3, Warm, method),
        ],
        ratios: vec![Ratio("blake3", "unverified", target)],
    };
    // Both lanes of one model, and the file itself.
    let lanes = |name, place, method, to_fuse, to_direct| Scenario {
        name,
        entries: vec![
            entry("direct", System::Direct, place, method),
            entry("fuse", Blake3, place, method),
            entry("pages", System::Pages, place, method),
        ],
        ratios: vec![
            Ratio("pages", "fuse", to_fuse),
            Ratio("pages", "direct", to_direct),
        ],
    };
    vec![
        lanes("lanes-read", Warm, Read, Some(1.6), None),
        lanes("lanes-re-read", Warm, ReRead, None, Some(0.95)),
        lanes("lanes-mmap", Warm, Mmap, Some(1.5), None),
        lanes("lanes-mmap-4-threads", Warm, Mmap4, Some(1.5), None),
        lanes("lanes-re-walk", Warm, Method::ReMap, None, Some(0.90)),
        lanes("lanes-disk-cold", Cold, Read, None, Some(0.90)),
        lanes("lanes-random-fault", Warm, RandomFault, Some(0.95), None),
        lanes("lanes-random-read", Warm, RandomRead, None, None),
        Scenario {
            name: "lanes-others",
            entries: vec![
                entry("pages", System::Pages, Warm, Read),
                entry("bindfs", System::Bindfs, Warm, Read),
                entry("gocryptfs", System::Gocryptfs, Warm, Read),
            ],
            ratios: vec![
                Ratio("pages", "bindfs", Some(2.0)),
                Ratio("pages", "gocryptfs", Some(3.5)),
            ],
        },
        Scenario {
            name: "read",
            entries: vec![
                entry("direct", System::Direct, Warm, Read),
                entry("unverified", Passthrough, Warm, Read),
                entry("bindfs", Bindfs, Warm, Read),
                entry("gocryptfs", Gocryptfs, Warm, Read),
                entry("blake3", Blake3, Warm, Read),
                entry("sha256", Sha256, Warm, Read),
                entry("shards", Shards, Warm, Read),
            ],
            ratios: vec![
                Ratio("blake3", "unverified", Some(0.80)),
                Ratio("blake3", "bindfs", Some(1.15)),
                Ratio("blake3", "gocryptfs", Some(2.0)),
                Ratio("sha256", "blake3", Some(0.97)),
                Ratio("shards", "unverified", Some(0.45)),
            ],
        },
        Scenario {
            name: "re-read",
            entries: vec![
                entry("direct", System::Direct, Warm, ReRead),
                entry("direct-single-pages", System::SinglePages, Warm, ReRead),
                entry("unverified", Passthrough, Warm, ReRead),
                entry("blake3", Blake3, Warm, ReRead),
            ],
            ratios: vec![
                Ratio("blake3", "direct", Some(0.95)),
                Ratio("blake3", "direct-single-pages", None),
                Ratio("blake3", "unverified", None),
            ],
        },
        Scenario {
            name: "mmap",
            entries: vec![
                entry("read", Blake3, Warm, Read),
                entry("mmap", Blake3, Warm, Mmap),
                entry("unverified", Passthrough, Warm, Mmap),
                entry("direct", System::Direct, Warm, Mmap),
            ],
            ratios: vec![
                Ratio("mmap", "read", Some(0.90)),
                Ratio("mmap", "unverified", None),
            ],
        },
        basic("mmap-4-threads", Mmap4, None),
        basic("mmap-16-threads", Mmap16, None),
        basic("o-direct", Direct, None),
        basic("random-read", RandomRead, None),
        basic("random-fault", RandomFault, Some(0.50)),
        basic("random-fault-around", RandomFaultAround, None),
        Scenario {
            name: "disk-cold",
            entries: vec![
                entry("direct", System::Direct, Cold, Read),
                entry("unverified", Passthrough, Cold, Read),
                entry("blake3", Blake3, Cold, Read),
                entry("blake3-mmap", Blake3, Cold, Mmap),
                entry("direct-mmap", System::Direct, Cold, Mmap),
            ],
            ratios: vec![
                Ratio("blake3", "direct", Some(0.90)),
                Ratio("blake3", "unverified", None),
                Ratio("blake3-mmap", "direct-mmap", None),
            ],
        },
        Scenario {
            name: "ordinary-user",
            entries: vec![
                entry("root", Blake3, Warm, Read),
                as_user(entry("user", Blake3, Warm, Read)),
                as_user(entry("user-unverified", Passthrough, Warm, Read)),
                entry("root-mmap", Blake3, Warm, Mmap),
                as_user(entry("user-mmap", Blake3, Warm, Mmap)),
            ],
            ratios: vec![
                Ratio("user", "root", Some(0.85)),
                Ratio("user", "user-unverified", None),
                Ratio("user-mmap", "root-mmap", None),
            ],
        },
        Scenario {
            name: "slow-source",
            entries: vec![
                entry("8-in-flight", System::Direct, Slow, Read8),
                entry("1-in-flight", System::Direct, Slow, Read),
                entry("blake3", Blake3, Slow, Read),
                entry("blake3-mmap", Blake3, Slow, Mmap),
                as_user(entry("blake3-user", Blake3, Slow, Read)),
                entry("unverified", Passthrough, Slow, Read),
            ],
            ratios: vec![
                Ratio("blake3", "8-in-flight", Some(0.90)),
                Ratio("blake3-mmap", "8-in-flight", None),
                Ratio("blake3-user", "8-in-flight", None),
            ],
        },
        Scenario {
            name: "one-mib",
            entries: vec![
                entry("warm", Blake3, Warm, OneMib),
                entry("slow", Blake3, Slow, OneMib),
                as_user(entry("user", Blake3, Warm, OneMib)),
            ],
            ratios: vec![],
        },
    ]
}

struct Options {
    size: u64,
    rounds: usize,
    only: Vec<String>,
    labels: Vec<String>,
    against: Option<PathBuf>,
    out: PathBuf,
    folder: PathBuf,
}

impl Options {
    fn parse(arguments: impl Iterator<Item = String>) -> Result<Self, String> {
        let mut options = Self {
            size: 2 << 30,
            rounds: 7,
            only: Vec::new(),
            labels: Vec::new(),
            against: None,
            out: PathBuf::from("target/read_path.json"),
            folder: built::scratch().join("read_path"),
        };
        let mut arguments = Arguments::new(arguments);
        while let Some(argument) = arguments.next() {
            match argument.as_str() {
                "--quick" => {
                    options.size = 256 << 20;
                    options.rounds = 3;
                }
                "--size" => options.size = parse_size(&arguments.value()?)?,
                "--rounds" => options.rounds = arguments.number()?,
                "--only" => options.only.push(arguments.value()?),
                "--label" => options.labels.push(arguments.value()?),
                "--against" => options.against = Some(arguments.value()?.into()),
                "--out" => options.out = arguments.value()?.into(),
                "--folder" => options.folder = arguments.value()?.into(),
                _ => return Err(format!("{argument}: unknown")),
            }
        }
        Ok(options)
    }
}

fn parse_size(text: &str) -> Result<u64, String> {
    let digits = text.trim_end_matches(|c: char| !c.is_ascii_digit());
    let unit = match &text[digits.len()..] {
        "" => 1,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        _ => return Err(format!("{text}: not a size")),
    };
    let number: u64 = digits.parse().map_err(|_| format!("{text}: not a size"))?;
    Ok(number * unit)
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["--serve", source, mountpoint, delay] => {
            let delay = Duration::from_millis(delay.parse()?);
            passthrough::serve(Path::new(source), Path::new(mountpoint), delay)?;
        }
        ["--read", method, file] => {
            let measured = methods::run(serde_json::from_str(method)?, Path::new(file))?;
            serde_json::to_writer(io::stdout(), &measured)?;
        }
        _ => contest(&Options::parse(arguments.into_iter())?)?,
    }
    Ok(())
}

fn contest(options: &Options) -> Result<(), Box<dyn std::error::Error>> {
    let against = options.against.as_deref();
    let arena = Arena::new(&options.folder, options.size, against)?;
    let gocryptfs = arena.prepare_gocryptfs()?;
    let is_root = rustix::process::geteuid().is_root();
    let mut results = BTreeMap::new();
    for mut scenario in scenarios() {
        if !options.only.is_empty() && !options.only.iter().any(|name| name == scenario.name) {
            continue;
        }
        scenario.entries.retain(|entry| {
            let there = match entry.contestant.system {
                System::Bindfs => installed("bindfs"),
                System::Gocryptfs => gocryptfs,
                _ => true,
            };
            let wanted = options.labels.is_empty()
                || options.labels.iter().any(|label| label == entry.label);
            there && wanted && (is_root || !entry.contestant.ordinary)
        });
        if against.is_some() {
            scenario.add_other_build();
        }
        eprintln!("== {}", scenario.name);
        let mut samples: BTreeMap<&str, Vec<Sample>> = BTreeMap::new();
        for round in 0..options.rounds {
            let first = round % scenario.entries.len().max(1);
            let (before, after) = scenario.entries.split_at(first);
            for entry in after.iter().chain(before) {
                let sample = arena.run(entry.contestant, entry.method)?;
                samples.entry(entry.label).or_default().push(sample);
            }
        }
        let report = report(&scenario, &samples);
        print_report(&report);
        results.insert(scenario.name, report);
    }
    let document = json!({
        "machine": machine(),
        "size": arena.size,
        "rounds": options.rounds,
        "scenarios": results,
    });
    std::fs::write(&options.out, serde_json::to_vec_pretty(&document)?)?;
    eprintln!("written: {}", options.out.display());
    Ok(())
}

fn gb_per_second(sample: &Sample) -> f64 {
    bytes_in_gb(sample.measured.bytes) / sample.measured.seconds
}

#[expect(clippy::cast_precision_loss, reason = "bytes for people")]
fn bytes_in_gb(bytes: u64) -> f64 {
    bytes as f64 / 1e9
}

fn report(scenario: &Scenario, samples: &BTreeMap<&str, Vec<Sample>>) -> Value {
    let mut entries = serde_json::Map::new();
    for entry in &scenario.entries {
        let Some(samples) = samples.get(entry.label) else {
            continue;
        };
        let stats =
            |get: &dyn Fn(&Sample) -> Option<f64>| spread(samples.iter().filter_map(get).collect());
        let per_gb = |sample: &Sample, seconds: f64| seconds / bytes_in_gb(sample.measured.bytes);
        entries.insert(
            entry.label.to_owned(),
            json!({
                "gb_per_second": stats(&|s| Some(gb_per_second(s))),
                "seconds": stats(&|s| Some(s.measured.seconds)),
                "reader_cpu_seconds_per_gb": stats(&|s| Some(per_gb(s, s.measured.cpu_seconds))),
                "daemon_cpu_seconds_per_gb":
                    stats(&|s| s.daemon_cpu_seconds.map(|seconds| per_gb(s, seconds))),
                "peak_memory_mib":
                    stats(&|s| s.peak_memory.map(|bytes| bytes_in_gb(bytes) * 1e9 / 1_048_576.0)),
                "source_bytes_per_byte": stats(&|s| {
                    s.source_bytes.map(|b| bytes_in_gb(b) / bytes_in_gb(s.measured.bytes))
                }),
                "p50_us": stats(&|s| s.measured.p50_us),
                "p99_us": stats(&|s| s.measured.p99_us),
            }),
        );
    }
    let mut ratios = Vec::new();
    for Ratio(over, under, target) in &scenario.ratios {
        if let (Some(over_samples), Some(under_samples)) = (samples.get(over), samples.get(under)) {
            let paired = over_samples
                .iter()
                .zip(under_samples)
                .map(|(over, under)| gb_per_second(over) / gb_per_second(under))
                .collect();
            ratios.push(json!({
                "over": over, "under": under, "target": target, "ratio": spread(paired),
            }));
        }
    }
    json!({ "entries": entries, "ratios": ratios })
}

fn print_report(report: &Value) {
    let number = |value: &Value| value["median"].as_f64();
    let shown = |value: Option<f64>| value.map_or("-".to_owned(), |value| format!("{value:.2}"));
    for (label, entry) in report["entries"].as_object().into_iter().flatten() {
        println!(
            "  {label:16} {:>6} GB/s  cpu/GB reader {} daemon {}  peak {} MiB  source/byte {}  \
             p50 {} p99 {} us",
            shown(number(&entry["gb_per_second"])),
            shown(number(&entry["reader_cpu_seconds_per_gb"])),
            shown(number(&entry["daemon_cpu_seconds_per_gb"])),
            shown(number(&entry["peak_memory_mib"])),
            shown(number(&entry["source_bytes_per_byte"])),
            shown(number(&entry["p50_us"])),
            shown(number(&entry["p99_us"])),
        );
    }
    for ratio in report["ratios"].as_array().into_iter().flatten() {
        let spread = &ratio["ratio"];
        println!(
            "  {} / {}: {} ({} to {}), target {}",
            ratio["over"].as_str().unwrap_or_default(),
            ratio["under"].as_str().unwrap_or_default(),
            shown(number(spread)),
            shown(spread["q1"].as_f64()),
            shown(spread["q3"].as_f64()),
            shown(ratio["target"].as_f64()),
        );
    }
}
