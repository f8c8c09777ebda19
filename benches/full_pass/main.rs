//! `model-fs verify` against what the cores could do, and against the reference implementation;
//! `model-fs sign`, which hashes twice at once, against signing with SHA-256 alone.
//!
//! ```sh
//! cargo bench --bench full_pass -- [--quick] [--size 256MiB] [--rounds N] [--out FILE]
//!     [--earlier PROGRAM]
//! ```
//!
//! `--earlier` has another build of model-fs take part in signing, with `--hash sha256`.
//!
//! Guarantees: contestants take turns over the same eight files, which are in the page cache; whole
//! processes are timed, their start included; ratios are taken within a round. Doesn't: install the
//! reference implementation. It takes part where the interoperability tests have installed it.

use std::collections::BTreeMap;
use std::error::Error;
use std::fs::{self, File};
use std::hint::black_box;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use model_fs::digest::Algorithm;
use serde_json::{Value, json};
use test_support::bench::arguments::Arguments;
use test_support::built;
use test_support::keys::write_keys;
use test_support::reference;

const FILES: usize = 8;
const MIB: usize = 1 << 20;

/// Two contestants, and the target for the ratio of their throughputs, if there is one.
const RATIOS: [(&str, &str, Option<f64>); 8] = [
    ("sha256 again", "all cores' SHA-256", Some(0.90)),
    ("sha256", "all cores' SHA-256", Some(0.90)),
    ("sha256", "reference sha256", Some(1.5)),
    ("sha256 again", "reference sha256", Some(1.5)),
    ("blake3", "reference blake3", Some(5.0)),
    ("blake3", "all cores' BLAKE3", None),
    ("sign", "sign --plain", None),
    ("sign", "earlier sign", Some(0.80)),
];

struct Options {
    size: usize,
    rounds: usize,
    out: PathBuf,
    earlier: Option<PathBuf>,
}

fn options() -> Result<Options, Box<dyn Error>> {
    let mut options = Options {
        size: 256 * MIB,
        rounds: 7,
        out: PathBuf::from("target/full_pass.json"),
        earlier: None,
    };
    let mut arguments = Arguments::new(std::env::args().skip(1));
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--quick" => {
                options.size = 32 * MIB;
                options.rounds = 3;
            }
            "--size" => {
                options.size = arguments
                    .value()?
                    .trim_end_matches("MiB")
                    .parse::<usize>()?
                    * MIB;
            }
            "--rounds" => options.rounds = arguments.number()?,
            "--out" => options.out = arguments.value()?.into(),
            "--earlier" => options.earlier = Some(arguments.value()?.into()),
            _ => return Err(format!("{argument}: unknown").into()),
        }
    }
    Ok(options)
}

/// Signs the files in each way, one after the other, each into an index store of its own.
#[expect(clippy::cast_precision_loss, reason = "bytes for people")]
fn sign_in_turns(
    folder: &Path,
    options: &Options,
    rates: &mut BTreeMap<String, Vec<f64>>,
) -> Result<(), Box<dyn Error>> {
    let program = Path::new(built::program());
    let mut contestants: Vec<(&str, &Path, &[&str])> = vec![
        ("sign", program, &[]),
        ("sign --plain", program, &["--plain"]),
    ];
    if let Some(earlier) = &options.earlier {
        contestants.push(("earlier sign", earlier, &[]));
    }
    let total = (options.size * FILES) as f64;
    for round in 0..options.rounds {
        for (name, program, flags) in &contestants {
            let index = folder.join(format!("index-sign-{round}"));
            let seconds = timed(
                Command::new(program)
                    .arg("sign")
                    .arg(folder.join("sha256"))
                    .arg("--private-key")
                    .arg(folder.join("key.pem"))
                    .args(["--hash", "sha256", "--index-dir"])
                    .arg(&index)
                    .args(*flags),
            )?;
            rates
                .entry((*name).to_owned())
                .or_default()
                .push(total / 1e9 / seconds);
            fs::remove_dir_all(index)?;
        }
        contestants.rotate_left(1);
    }
    Ok(())
}

#[expect(clippy::cast_precision_loss, reason = "bytes for people")]
fn main() -> Result<(), Box<dyn Error>> {
    let options = options()?;
    let folder = tempfile::tempdir_in(built::scratch())?;
    let folder = folder.path();
    write_models(folder, options.size)?;
    let packages = packages();
    let total = options.size * FILES;
    let cores = std::thread::available_parallelism()?.get();

    let mut rates: BTreeMap<String, Vec<f64>> = BTreeMap::new();
    for round in 0..options.rounds {
        for (name, algorithm) in [("sha256", Algorithm::Sha256), ("blake3", Algorithm::Blake3)] {
            let shown = if name == "sha256" {
                "SHA-256"
            } else {
                "BLAKE3"
            };
            let mut contestants = vec![
                format!("all cores' {shown}"),
                name.to_owned(),
                format!("{name} again"),
            ];
            if packages.is_some() {
                contestants.push(format!("reference {name}"));
            }
            // `NAME again` has to come after `NAME`; which contestant begins alternates.
            if round % 2 == 1 {
                contestants.rotate_left(1);
            }
            let index = folder.join(format!("index-{name}-{round}"));
            for contestant in contestants {
                let model = folder.join(name);
                let seconds = if contestant.starts_with("all") {
                    hash_on_one_core(algorithm, options.size) * FILES as f64 / cores as f64
                } else if let Some(python) = packages
                    .as_deref()
                    .filter(|_| contestant.starts_with("ref"))
                {
                    timed(
                        Command::new("python3")
                            .env("PYTHONPATH", python)
                            .env("PYTHONDONTWRITEBYTECODE", "1")
                            .arg(reference::script())
                            .arg("verify")
                            .arg(&model)
                            .args(["--method", "files", "--hash", name, "--signature"])
                            .arg(model.join("model.sig"))
                            .arg("--public-key")
                            .arg(folder.join("key.pub")),
                    )?
                } else {
                    timed(
                        Command::new(built::program())
                            .arg("verify")
                            .arg(&model)
                            .arg("--public-key")
                            .arg(folder.join("key.pub"))
                            .arg("--index-dir")
                            .arg(&index),
                    )?
                };
                let rate = total as f64 / 1e9 / seconds;
                rates.entry(contestant).or_default().push(rate);
            }
        }
    }
    sign_in_turns(folder, &options, &mut rates)?;
    let report = report(&rates, &options, cores);
    fs::write(&options.out, serde_json::to_vec_pretty(&report)?)?;
    eprintln!("written: {}", options.out.display());
    Ok(())
}

fn report(rates: &BTreeMap<String, Vec<f64>>, options: &Options, cores: usize) -> Value {
    let mut entries = serde_json::Map::new();
    for (contestant, rates) in rates {
        let rates = spread(rates.clone());
        println!("{contestant:20} {:6.2} GB/s", rates[1]);
        entries.insert(contestant.clone(), json!(rates));
    }
    let mut ratios = Vec::new();
    for (over, under, target) in RATIOS {
        if let (Some(overs), Some(unders)) = (rates.get(over), rates.get(under)) {
            let ratio = spread(overs.iter().zip(unders).map(|(a, b)| a / b).collect());
            println!(
                "{over} / {under}: {:.2} ({:.2} to {:.2}), target {target:?}",
                ratio[1], ratio[0], ratio[2]
            );
            ratios.push(json!({"over": over, "under": under, "target": target, "ratio": ratio}));
        }
    }
    json!({
        "cores": cores,
        "files": FILES,
        "size": options.size,
        "rounds": options.rounds,
        "gb_per_second": entries,
        "ratios": ratios,
    })
}

/// First quartile, median, third quartile.
fn spread(mut values: Vec<f64>) -> [f64; 3] {
    values.sort_by(f64::total_cmp);
    [1, 2, 3].map(|quarter| values[(values.len() - 1) * quarter / 4])
}

/// Seconds that one core takes to hash so many bytes that are in its cache, and nothing else.
fn hash_on_one_core(algorithm: Algorithm, bytes: usize) -> f64 {
    let block = vec![1; MIB];
    let started = Instant::now();
    let mut hasher = algorithm.hasher();
    for _ in 0..bytes / MIB {
        hasher.update(black_box(&block));
    }
    black_box(hasher.finish());
    started.elapsed().as_secs_f64()
}

/// Seconds that a process takes, which must succeed.
fn timed(command: &mut Command) -> io::Result<f64> {
    let started = Instant::now();
    let output = command.stdin(Stdio::null()).output()?;
    let seconds = started.elapsed().as_secs_f64();
    if output.status.success() {
        return Ok(seconds);
    }
    let message = String::from_utf8_lossy(&output.stderr);
    Err(io::Error::other(format!("{command:?}: {message}")))
}

/// The Python packages of the reference implementation, if tests have installed them.
fn packages() -> Option<PathBuf> {
    let entries = fs::read_dir(built::target().join("engines")).ok()?;
    entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .find(|path| path.join("model_signing").is_dir())
}

/// The same eight files twice, signed with SHA-256 and with BLAKE3.
fn write_models(folder: &Path, size: usize) -> Result<(), Box<dyn Error>> {
    write_keys(folder)?;
    for name in ["sha256", "blake3"] {
        fs::create_dir(folder.join(name))?;
    }
    let mut noise = blake3::Hasher::new().finalize_xof();
    let mut block = vec![0; MIB];
    for index in 0..FILES {
        let file = format!("model-{index}.safetensors");
        let path = folder.join("sha256").join(&file);
        let mut out = File::create(&path)?;
        for _ in 0..size / MIB {
            noise.fill(&mut block);
            out.write_all(&block)?;
        }
        out.sync_all()?;
        fs::hard_link(path, folder.join("blake3").join(file))?;
    }
    for name in ["sha256", "blake3"] {
        timed(
            Command::new(built::program())
                .arg("sign")
                .arg(folder.join(name))
                .arg("--private-key")
                .arg(folder.join("key.pem"))
                .args(["--hash", name, "--plain", "--no-tables", "--index-dir"])
                .arg(folder.join("index")),
        )?;
    }
    Ok(())
}
