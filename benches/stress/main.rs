//! Sixteen threads faulting at random for a minute while the source changes.
//!
//! ```sh
//! cargo bench --bench stress -- [--quick] [--seconds N] [--threads N] [--out FILE]
//!     [--folder DIRECTORY]
//! ```
//!
//! A third of the time each goes to a model signed with BLAKE3, with SHA-256, and in shards. Ends
//! with an error if anything was read that wasn't signed, or if anything took longer than a second.

use std::fs;
use std::io;
use std::num::NonZeroU64;
use std::path::{Path, PathBuf};
use std::time::Duration;

use model_fs::digest::Algorithm;
use model_fs::manifest::Serialization;
use model_fs::name::FileName;
use model_fs::reading::whole::hash::{HashPlan, hash_model};
use model_fs::reading::{Links, LocalDirectory};
use serde_json::{Value, json};
use test_support::bench::arguments::Arguments;
use test_support::bench::mount::Host;
use test_support::bench::report::machine;
use test_support::built;
use test_support::storm::{Golden, Outcome, Storm};

const MIB: usize = 1 << 20;

/// Sizes of the files, of many chunks and of few, with and without a short end.
const FILES: [usize; 6] = [
    24 * MIB,
    16 * MIB + 4097,
    8 * MIB + 1,
    2 * MIB,
    700_001,
    5000,
];

struct Form {
    name: &'static str,
    algorithm: Algorithm,
    shard_size: Option<NonZeroU64>,
}

struct Options {
    time: Duration,
    threads: u64,
    out: PathBuf,
    folder: PathBuf,
}

impl Options {
    fn parse(arguments: impl Iterator<Item = String>) -> Result<Self, String> {
        let mut options = Self {
            time: Duration::from_secs(60),
            threads: 16,
            out: PathBuf::from("target/stress.json"),
            folder: built::scratch().join("stress"),
        };
        let mut arguments = Arguments::new(arguments);
        while let Some(argument) = arguments.next() {
            match argument.as_str() {
                "--quick" => options.time = Duration::from_secs(6),
                "--seconds" => options.time = Duration::from_secs(arguments.number()?),
                "--threads" => options.threads = arguments.number()?,
                "--out" => options.out = arguments.value()?.into(),
                "--folder" => options.folder = arguments.value()?.into(),
                _ => return Err(format!("{argument}: unknown")),
            }
        }
        Ok(options)
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let options = Options::parse(std::env::args().skip(1))?;
    let forms = [
        Form {
            name: "blake3",
            algorithm: Algorithm::Blake3,
            shard_size: None,
        },
        Form {
            name: "sha256",
            algorithm: Algorithm::Sha256,
            shard_size: None,
        },
        Form {
            name: "shards",
            algorithm: Algorithm::Sha256,
            shard_size: NonZeroU64::new(1 << 20),
        },
    ];
    fs::create_dir_all(&options.folder)?;
    let host = Host::new(&options.folder)?;
    let files: Vec<Golden> = FILES
        .iter()
        .enumerate()
        .map(|(index, &len)| golden(index, len))
        .collect();
    let mut results = serde_json::Map::new();
    let mut good = true;
    for form in &forms {
        let model = options.folder.join(form.name);
        make(&host, &model, form, &files)?;
        let mount = host.mount(&model)?;
        let outcome = Storm {
            source: &model,
            mount: &mount.mountpoint,
            files: &files,
            threads: options.threads,
            time: options.time / 3,
        }
        .run()?;
        let report = to_json(&outcome);
        println!("{}: {report:#}", form.name);
        good &= outcome.wrong.is_empty() && outcome.stalls == 0;
        results.insert(form.name.to_owned(), report);
    }
    let document = json!({
        "machine": machine(),
        "threads": options.threads,
        "seconds": options.time.as_secs(),
        "storms": results,
    });
    fs::write(&options.out, serde_json::to_vec_pretty(&document)?)?;
    if good {
        Ok(())
    } else {
        Err("something was wrong, or took longer than a second".into())
    }
}

fn golden(index: usize, len: usize) -> Golden {
    let mut bytes = vec![0; len];
    blake3::Hasher::new()
        .update(&[u8::try_from(index).expect("a few files")])
        .finalize_xof()
        .fill(&mut bytes);
    Golden {
        name: format!("weights-{index}.bin"),
        bytes,
    }
}

/// Makes and signs a model.
fn make(host: &Host, model: &Path, form: &Form, files: &[Golden]) -> io::Result<()> {
    if model.exists() {
        fs::remove_dir_all(model)?;
    }
    fs::create_dir(model)?;
    let mut names = Vec::new();
    for file in files {
        fs::write(model.join(&file.name), &file.bytes)?;
        names.push(FileName::new(&file.name).map_err(io::Error::other)?);
    }
    let source = LocalDirectory::open(model, Links::Refuse)?;
    let plan = HashPlan::plain(Serialization {
        hash: form.algorithm,
        shard_size: form.shard_size,
    });
    let hashed = hash_model(&source, &names, plan, &|_| Ok(()), &()).map_err(io::Error::other)?;
    host.sign(model, hashed.files)
}

fn to_json(outcome: &Outcome) -> Value {
    json!({
        "checked_reads": outcome.reads,
        "checked_faults": outcome.faults,
        "refused": outcome.refused,
        "changes": outcome.changes,
        "slowest_ms": outcome.slowest.as_secs_f64() * 1e3,
        "stalls": outcome.stalls,
        "wrong": outcome.wrong,
    })
}
